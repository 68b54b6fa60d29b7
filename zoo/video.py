"""Video models of PaddleVideo, on few small frames."""

from __future__ import annotations

from typing import Any

from . import compat
from .recipe import OFFICIAL, REDUCED, Input, Recipe, image, numbers

PACKAGE = "ppvideo==2.3.1"


def setup() -> None:
    import types

    compat.without("decord", "visualdl", "av", "SimpleITK")
    fluid = compat.paddle_fluid()
    compat.package_folder("ppvideo")
    import paddle
    import paddlevideo.modeling  # noqa: F401

    no = {f"is_compiled_with_{device}": lambda: False for device in ("npu", "cuda", "xpu")}
    paddle.is_compiled_with_npu = paddle.device.is_compiled_with_npu = no["is_compiled_with_npu"]
    fluid.core = types.SimpleNamespace(**no)  # type: ignore[attr-defined]
    compat.zero_dim_tensors("paddlevideo")
    compat.mixed_arithmetic()


def build(backbone: dict[str, Any], head: dict[str, Any] | None, form: str) -> Any:
    """``form``: a class of nets.video, or "backbone" for the backbone alone."""
    from paddlevideo.modeling.registry import BACKBONES, HEADS

    from .nets import video

    def make(registry: Any, options: dict[str, Any]) -> Any:
        given = dict(options)
        return registry.get(given.pop("name"))(**given)

    made = make(BACKBONES, backbone)
    return made if form == "backbone" else getattr(video, form)(made, make(HEADS, head) if head else None)


def build_resnext() -> Any:
    from paddlevideo.modeling.backbones.resnext101 import ResNext101

    return ResNext101()


def _recipe(
    name: str, backbone: dict[str, Any], head: dict[str, Any] | None, form: str, *inputs: Input, kind: str = OFFICIAL, slide: str = ""
) -> Recipe:
    return Recipe(
        *("video", name, "video:build", inputs, PACKAGE, kind),
        arguments={"backbone": backbone, "head": head, "form": form},
        setup="video:setup",
        calibrate=1,
        slides=(slide,) if slide else (),
    )


def recipes() -> list[Recipe]:
    return _frames() + _volumes() + _skeletons() + _features()


def _frames() -> list[Recipe]:
    """A net of pictures on eight frames each."""
    frames = Input((None, 8, 3, 64, 64))

    def one(name: str, backbone: str, head: str, width: int, slide: str = "", **options: Any) -> Recipe:
        classes = {"name": head, "num_classes": 400, "in_channels": width}
        return _recipe(name, {"name": backbone} | options, classes, "Frames", frames, slide=slide)

    return [
        one("TSN_resnet50", "ResNet", "TSNHead", 2048, "TSN", depth=50),
        one("TSM_resnet50", "ResNetTSM", "TSMHead", 2048, "TSM", depth=50),
        one("PPTSM_resnet50", "ResNetTweaksTSM", "ppTSMHead", 2048, depth=50),
        one("PPTSN_resnet50", "ResNetTweaksTSN", "ppTSNHead", 2048),
        _recipe("TSN_MRI", {"name": "ResNetTSN_MRI", "layers": 50}, None, "backbone", image(64, channels=1, batch=2)),
    ]


def _volumes() -> list[Recipe]:
    """Nets of space and time."""
    four, eight = Input((None, 3, 4, 64, 64)), Input((None, 3, 8, 64, 64))
    transformer = {
        **{"img_size": 64, "embed_dim": 192, "depth": 4, "num_heads": 3, "qkv_bias": True, "epsilon": 1e-6, "num_seg": 4},
    }
    divided = transformer | {"attention_type": "divided_space_time"}
    slow_fast = {"alpha": 4, "beta": 8, "width_per_group": 32}
    slow_head = {"name": "SlowFastHead", "num_classes": 400, "num_frames": 16, "crop_size": 64, "dropout_rate": 0.5} | slow_fast
    movinet = {"name": "MoViNet", "model_type": "A0", "num_classes": 400}

    def head(name: str, width: int = 192, classes: int = 400, **more: Any) -> dict[str, Any]:
        return {"name": name, "num_classes": classes, "in_channels": width} | more

    return [
        _recipe(
            *("SlowFast", {"name": "ResNetSlowFast", "fusion_kernel_sz": 5} | slow_fast, slow_head, "SlowFast"),
            *(four, Input((None, 3, 16, 64, 64))),
        ),
        _recipe("TimeSformer", {"name": "VisionTransformer"} | divided, head("TimeSformerHead"), "Volume", four, kind=REDUCED),
        _recipe("PPTimeSformer", {"name": "VisionTransformer_tweaks"} | divided, head("ppTimeSformerHead"), "Volume", four, kind=REDUCED),
        _recipe(
            *("TokenShift", {"name": "TokenShiftVisionTransformer"} | transformer, head("TokenShiftHead", num_seg=4), "Volume", four),
            kind=REDUCED,
        ),
        _recipe("MoViNet_A0", movinet | {"causal": False}, None, "backbone", eight),
        _recipe(
            *("ADDS_depth", {"name": "ADDS_DepthNet", "num_layers": 18, "height": 64, "width": 128, "batch_size": 1}, None, "backbone"),
            Input((None, 3, 64, 128)),
        ),
        Recipe(*("video", "ResNext101_3D", "video:build_resnext", (Input((1, 3, 16, 64, 64)),), PACKAGE), setup="video:setup", calibrate=1),
    ]


def _skeletons() -> list[Recipe]:
    body = Input((None, 2, 60, 25, 1))
    two_streams = {
        **{"name": "AGCN2s", "num_point": 25, "num_person": 2, "graph": "ntu_rgb_d", "in_channels": 3},
        "graph_args": {"labeling_mode": "spatial"},
    }
    two_head = {"name": "AGCN2sHead", "num_classes": 60, "in_channels": 64, "M": 2}
    head = {"name": "STGCNHead", "num_classes": 30}
    return [
        _recipe("STGCN", {"name": "STGCN", "in_channels": 2, "layout": "fsd10"}, head, "Volume", body),
        _recipe("AGCN", {"name": "AGCN", "in_channels": 2}, head, "Volume", body),
        _recipe("AGCN2s", two_streams, two_head, "Volume", Input((None, 3, 30, 25, 2))),
        _recipe(
            *("CTRGCN", {"name": "CTRGCN", "in_channels": 3}, {"name": "CTRGCNHead", "num_classes": 60}, "Volume"),
            Input((None, 3, 32, 25, 2)),
        ),
    ]


def _features() -> list[Recipe]:
    """Nets on features of a whole video."""
    series = Input((None, 256, None), (1, 256, 60))
    asrf = {"num_classes": 19, "num_features": 64, "num_stages": 4, "num_layers": 10}
    bmn = {
        **{"name": "BMN", "tscale": 50, "dscale": 50, "prop_boundary_ratio": 0.5, "num_sample": 16, "num_sample_perbin": 3},
        "feat_dim": 100,
    }
    mstcn = {"name": "MSTCN", "num_stages": 4, "num_layers": 10, "num_f_maps": 64, "dim": 256, "num_classes": 19}
    lengths = numbers(12, 7)
    streams = [i for w in (64, 32) for i in (Input((None, 12, w), (2, 12, w)), lengths, Input((None, 12, w), (2, 12, w), values="ones"))]
    return [
        _recipe("BMN", bmn, None, "backbone", Input((None, 100, 50)), kind=REDUCED, slide="BMN"),
        _recipe("MSTCN", mstcn, None, "backbone", series),
        _recipe(
            *("ASRF", {"name": "ASRF", "in_channel": 256} | asrf),
            *({"name": "ASRFHead", "num_stages_asb": 4, "num_stages_brb": 4} | asrf, "Volume", series),
        ),
        Recipe(
            *("video", "AttentionLSTM", "nets.video:AttentionLSTM", tuple(streams), PACKAGE, REDUCED),
            setup="video:setup",
            slides=("Attention LSTM",),
        ),
    ]
