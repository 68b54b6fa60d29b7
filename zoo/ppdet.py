"""How a model of PaddleDetection is made from a configuration: what its YAML files hold, as Python dicts (the wheel has no YAML)."""

from __future__ import annotations

from typing import Any

from . import compat
from .recipe import Input, Recipe

PACKAGE = "paddledet==2.6.0"
Config = dict[str, Any]


def setup() -> None:
    """NMS and proposals by Paddle 3's operators (the package calls those of the legacy program), and 0-D tensors where it expects 1-D."""
    compat.without("lap", "motmetrics", "visualdl")
    import paddle
    import ppdet.modeling.ops as operators
    from paddle.vision import ops
    from ppdet.modeling.post_process import BBoxPostProcess

    from .nets import ppdet

    operators.multiclass_nms = ppdet.multiclass_nms
    operators.matrix_nms = ppdet.matrix_nms
    for name in ("prior_box", "box_coder", "distribute_fpn_proposals", "generate_proposals"):
        setattr(operators, name, getattr(ops, name))
    compat.zero_dim_tensors("ppdet")
    compat.mixed_arithmetic()
    compat.rewrite_method(BBoxPostProcess, "get_pred", "bbox_num_i = bbox_num[i]\n", "bbox_num_i = bbox_num[i:i + 1]\n")
    assert paddle.in_dynamic_mode()


def build(architecture: str, config: Config, inputs: str, options: Config) -> Any:
    """``inputs``: "image", "image scale_factor" or "image im_shape scale_factor"; ``options``: the configuration's globals."""
    import ppdet.modeling  # noqa: F401
    from ppdet.core.workspace import create, global_config, merge_config
    from ppdet.modeling.proposal_generator.rpn_head import RPNHead

    from .nets import ppdet

    global_config.update({"num_classes": 80, "norm_type": "bn", "use_gpu": False, "for_mot": False} | options)
    RPNHead._gen_proposal = ppdet.proposals_of_one if options.get("bs1") else ppdet.proposals
    merge_config(dict(config))
    model = create(architecture)
    model.eval()
    if hasattr(model, "deploy"):
        model.deploy = True
    for layer in model.sublayers():
        if hasattr(layer, "convert_to_deploy"):
            layer.convert_to_deploy()
    return ppdet.WRAPPERS[inputs](model)


def build_reid(name: str, options: Config) -> Any:
    import ppdet.modeling.reid as reid

    return getattr(reid, name)(**options)


def sharpen_scores(layer: Any) -> None:
    """Random class scores are all alike, and none would pass the threshold: spread them."""
    import numpy as np

    rng = np.random.default_rng(1)
    for name, parameter in layer.named_parameters():
        if "bbox_score" in name and name.endswith("weight"):
            parameter.set_value((rng.standard_normal(parameter.shape) * 0.3).astype("float32"))


def shrink_boxes(layer: Any) -> None:
    """YOLOX takes the exponential of its box sizes: keep random ones small."""
    for name, parameter in layer.named_parameters():
        if "conv_reg" in name:
            parameter.set_value(parameter.numpy() * 0.05)


def temper_scores(layer: Any) -> None:
    """Random YOLO heads give logits of ±100: every score is exactly 1, and which boxes are kept is a matter of rounding."""
    for name, parameter in layer.named_parameters():
        if "yolo_output" in name and name.endswith("weight"):
            parameter.set_value(parameter.numpy() * 0.01)


def detector(
    name: str,
    architecture: str,
    config: Config,
    *,
    size: tuple[int, int] = (128, 128),
    inputs: str = "image im_shape scale_factor",
    family: str = "detection",
    dynamic: bool = True,
    slides: tuple[str, ...] = (),
    kind: str = "official",
    finish: str = "",
    calibrate: int = 1,
    **options: Any,
) -> Recipe:
    batch = None if dynamic else 1
    made = {
        "image": Input((batch, 3, *size), (1, 3, *size), name="image"),
        "im_shape": Input((batch, 2), (1, 2), values=("array", ((float(size[0]), float(size[1])),)), name="im_shape"),
        "scale_factor": Input((batch, 2), (1, 2), values=("array", ((1.0, 1.0),)), name="scale_factor"),
    }
    if "RCNN" in architecture and "Sparse" not in architecture:
        finish = "ppdet:sharpen_scores"
    elif architecture == "YOLOX":
        finish = "ppdet:shrink_boxes"
    return Recipe(
        family,
        name,
        "ppdet:build",
        tuple(made[i] for i in inputs.split()),
        PACKAGE,
        kind,
        arguments={"architecture": architecture, "config": config, "inputs": inputs, "options": options},
        setup="ppdet:setup",
        finish=finish,
        calibrate=calibrate,
        slides=slides,
    )


# ---- pieces that many configurations share


def nms(**options: Any) -> Config:
    return {"name": "MultiClassNMS", "nms_top_k": 1000, "keep_top_k": 100, "score_threshold": 0.01, "nms_threshold": 0.45} | options


def resnet(**options: Any) -> Config:
    return {"depth": 50, "norm_type": "bn", "freeze_at": -1, "return_idx": [0, 1, 2, 3], "num_stages": 4} | options


RESNET3 = resnet(return_idx=[1, 2, 3])
FPN5: Config = {
    **{"out_channel": 256, "spatial_scales": [0.125, 0.0625, 0.03125], "extra_stage": 2},
    **{"has_extra_convs": True, "use_c5": False},
}
ALIGNED: Config = {
    "static_assigner": {"name": "ATSSAssigner", "topk": 9},
    "assigner": {"name": "TaskAlignedAssigner", "topk": 13, "alpha": 1.0, "beta": 6.0},
}
