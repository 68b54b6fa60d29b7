"""Generators, discriminators and restorers of PaddleGAN, some narrower than published."""

from __future__ import annotations

from typing import Any

from . import compat
from .recipe import OFFICIAL, OWN, REDUCED, Input, Recipe, image

PACKAGE = "ppgan==2.1.0"


def setup() -> None:
    """Weights of inner networks, which would be downloaded, stay random."""
    import sys

    compat.without("visualdl", "dlib", "kornia")
    compat.paddle_fluid()
    import paddle
    import ppgan.models.discriminators
    import ppgan.models.generators  # noqa: F401

    for name, module in list(sys.modules.items()):
        if name.startswith("ppgan") and hasattr(module, "get_path_from_url"):
            module.get_path_from_url = lambda *a, **k: ""  # type: ignore[attr-defined]
    paddle.load = lambda *a, **k: {}


def build(name: str, part: str, options: dict[str, Any]) -> Any:
    """``part``: "generator" or "discriminator"."""
    from ppgan.models.discriminators.builder import DISCRIMINATORS
    from ppgan.models.generators.builder import GENERATORS

    return (GENERATORS if part == "generator" else DISCRIMINATORS).get(name)(**options)


def build_style(**options: Any) -> Any:
    from .nets.gan import Style

    return Style(build("StyleGANv2Generator", "generator", options))


def _recipe(name: str, network: str, *inputs: Input, part: str = "generator", slides: tuple[str, ...] = (), **options: Any) -> Recipe:
    kind = options.pop("kind", OFFICIAL)
    return Recipe(
        *("gan", name, "gan:build", inputs, PACKAGE, kind),
        arguments={"name": network, "part": part, "options": options},
        setup="gan:setup",
        calibrate=2,
        slides=slides,
    )


def recipes() -> list[Recipe]:
    return _generators() + _restorers() + _discriminators()


_CLASS = Input((None,), (1,), "int64", ("int", 0, 2))


def _generators() -> list[Recipe]:
    rgb: dict[str, Any] = {"input_nc": 3, "output_nc": 3}
    latent, style = Input((None, 100), (2, 100)), Input((None, 64), (1, 64))
    label = Input((None,), (2,), "int64", ("int", 0, 10))
    spade = {
        **{"ngf": 8, "num_upsampling_layers": "normal", "crop_size": 64, "aspect_ratio": 1.0, "norm_G": "spectralspadebatch3x3"},
        **{"semantic_nc": 14, "use_vae": False, "nef": 16},
    }

    def special(name: str, build: str, *inputs: Input, **arguments: Any) -> Recipe:
        return Recipe("gan", name, build, inputs, PACKAGE, REDUCED, arguments=arguments, setup="gan:setup", calibrate=2)

    faces = (image(64), image(64), Input((None, 3, 64, 64), values="uniform"))

    return [
        _recipe("CycleGAN_resnet9", "ResnetGenerator", image(64), n_blocks=9, slides=("CycleGAN",), **rgb),
        _recipe("CycleGAN_resnet6", "ResnetGenerator", image(64, dynamic="all"), n_blocks=6, ngf=32, kind=REDUCED, **rgb),
        _recipe("Pix2Pix_unet128", "UnetGenerator", image(128), num_downs=7, ngf=32, slides=("Pix2Pix",), kind=REDUCED, **rgb),
        _recipe("DCGAN_deepconv", "DeepConvGenerator", latent, latent_dim=100, output_nc=1, size=32),
        _recipe("CGAN", "ConditionalDeepConvGenerator", latent, label, latent_dim=100, output_nc=1, n_class=10, size=32, slides=("CGAN",)),
        _recipe(
            *("DCGAN", "DCGenerator", Input((None, 100, 1, 1), (2, 100, 1, 1))),
            **{"input_nz": 100, "input_nc": 1, "output_nc": 1, "ngf": 64, "slides": ("DCGAN",)},
        ),
        _recipe("UGATIT_light", "ResnetUGATITGenerator", image(64), ngf=16, n_blocks=4, img_size=64, light=True, kind=REDUCED, **rgb),
        _recipe("UGATIT_P2C", "ResnetUGATITP2CGenerator", image(128), img_size=128, ngf=16, kind=REDUCED),
        _recipe("AnimeGANv2", "AnimeGenerator", image(64)),
        _recipe("AnimeGANv2_lite", "AnimeGeneratorLite", image(64)),
        _recipe("Wav2Lip", "Wav2Lip", Input((None, 1, 80, 16)), Input((None, 6, 96, 96))),
        _recipe(
            "StarGANv2_generator",
            "StarGANv2Generator",
            image(64),
            style,
            img_size=64,
            style_dim=64,
            max_conv_dim=128,
            w_hpf=0,
            kind=REDUCED,
            slides=("StarGAN",),
        ),
        _recipe("LapStyle_encoder", "Encoder", image(64)),
        _recipe("LapStyle_revision", "RevisionNet", image(64, channels=6)),
        _recipe("PhotoPen_SPADE", "SPADEGenerator", image(64, channels=14), kind=REDUCED, **spade),
        special("StyleGANv2_64", "gan:build_style", Input((None, 64)), size=64, style_dim=64, n_mlp=8, channel_multiplier=1),
        special("LapStyle_draft", "nets.gan:LapStyleDraft", image(64), image(64)),
        special("FirstOrderMotion", "nets.gan:FirstOrderMotion", image(64), image(64)),
        Recipe("gan", "PSGAN", "nets.gan:MakeUp", faces, "after the paper", OWN, calibrate=2, slides=("PSGAN",)),
    ]


def _restorers() -> list[Recipe]:
    five = Input((1, 5, 3, 32, 32))
    edvr = {"nf": 32, "front_RBs": 2, "back_RBs": 4, "kind": REDUCED}
    return [
        _recipe("RRDBNet_ESRGAN", "RRDBNet", image(16), in_nc=3, out_nc=3, nf=64, nb=23),
        _recipe("LESRCNN", "LESRCNNGenerator", image(16), scale=4, multi_scale=False),
        _recipe("DRN", "DRNGenerator", image(16), scale=(2, 4), n_blocks=10, kind=REDUCED),
        _recipe("EDVR", "EDVRNet", five, **edvr),
        _recipe("EDVR_noTSA", "EDVRNet", five, w_TSA=False, **edvr),
        _recipe("MPRNet", "MPRNet", image(32), n_feat=24, scale_unetfeats=12, scale_orsnetfeats=8, num_cab=2, kind=REDUCED),
        _recipe("PAN", "PAN", image(16), in_nc=3, out_nc=3, nf=40, unf=24, nb=4, kind=REDUCED),
    ]


def _discriminators() -> list[Recipe]:
    def one(name: str, *inputs: Input, **options: Any) -> Recipe:
        return _recipe(name, name, *inputs, part="discriminator", **options)

    return [
        one("NLayerDiscriminator", image(64), input_nc=3),
        one("DCDiscriminator", image(64, channels=1), input_nc=1),
        one("UGATITDiscriminator", image(64), input_nc=3),
        one("AnimeDiscriminator", image(64)),
        one("StyleGANv2Discriminator", Input((4, 3, 32, 32)), size=32, channel_multiplier=1, kind=REDUCED),
        one("SyncNetColor", Input((None, 1, 80, 16)), Input((None, 15, 48, 96))),
        one("StarGANv2Discriminator", image(64), _CLASS, img_size=64, max_conv_dim=128, kind=REDUCED),
        one("VGGDiscriminator128", image(128), in_channels=3, num_feat=16, kind=REDUCED),
    ]
