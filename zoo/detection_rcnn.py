"""Two-stage detectors of PaddleDetection: proposals, then boxes and masks for each."""

from __future__ import annotations

from typing import Any

from .ppdet import Config, detector, nms, resnet
from .recipe import Recipe


def rcnn(
    architecture: str,
    backbone: str = "ResNet",
    options: Config | None = None,
    neck: str = "FPN",
    neck_options: Config | None = None,
    *,
    mask: bool = False,
    cascade: bool = False,
    head: Config | None = None,
    **more: Config,
) -> Config:
    """Without a neck: proposals and boxes from the backbone's fourth stage, the fifth in the head (C4)."""
    c4 = not neck
    model: Config = {
        **{"backbone": backbone, "rpn_head": "RPNHead", "bbox_head": "CascadeHead" if cascade else "BBoxHead"},
        "bbox_post_process": "BBoxPostProcess",
    }
    extractor = {"resolution": 14 if c4 else 7, "sampling_ratio": 0, "aligned": True}
    decode: Config = {"name": "RCNNBox"} | ({"prior_box_var": [30.0, 30.0, 15.0, 15.0]} if cascade else {})
    config: Config = {
        architecture: model,
        backbone: options or resnet(),
        "RPNHead": _proposals(c4),
        "BBoxPostProcess": {"decode": decode, "nms": nms(score_threshold=0.05, nms_threshold=0.5)},
    }
    if neck:
        model["neck"] = neck
        config[neck] = neck_options or {"out_channel": 256}
    if cascade:
        config["CascadeHead"] = {"head": "CascadeTwoFCHead", "roi_extractor": extractor, "bbox_assigner": "BBoxAssigner"}
        config["BBoxAssigner"] = {"cascade_iou": [0.5, 0.6, 0.7]}
    else:
        config["BBoxHead"] = {
            **{"head": "Res5Head" if c4 else "TwoFCHead", "roi_extractor": extractor, "bbox_assigner": "BBoxAssigner", "with_pool": c4},
            **(head or {}),
        }
        config["TwoFCHead"] = {"out_channel": 256}
    if mask:
        model |= {"mask_head": "MaskHead", "mask_post_process": "MaskPostProcess"}
        config |= _masks(c4)
    return config | more


def _proposals(c4: bool) -> Config:
    sizes: list[Any] = [32, 64, 128, 256, 512] if c4 else [[32], [64], [128], [256], [512]]
    return {
        "anchor_generator": {
            **{"aspect_ratios": [0.5, 1.0, 2.0], "anchor_sizes": sizes, "strides": [16] if c4 else [4, 8, 16, 32, 64]},
        },
        "rpn_target_assign": {
            **{"batch_size_per_im": 256, "fg_fraction": 0.5, "negative_overlap": 0.3, "positive_overlap": 0.7, "use_random": True}
        },
        "train_proposal": {
            **{"min_size": 0.0, "nms_thresh": 0.7, "pre_nms_top_n": 2000, "post_nms_top_n": 1000, "topk_after_collect": not c4}
        },
        "test_proposal": {"min_size": 0.0, "nms_thresh": 0.7, "pre_nms_top_n": 200, "post_nms_top_n": 50},
    }


def _masks(c4: bool) -> Config:
    return {
        "MaskHead": {
            **{"head": "MaskFeat", "roi_extractor": {"resolution": 14, "sampling_ratio": 0, "aligned": True}},
            **{"mask_assigner": "MaskAssigner", "share_bbox_feat": c4},
        },
        "MaskFeat": {"num_convs": 0 if c4 else 4, "out_channel": 256},
        "MaskAssigner": {"mask_resolution": 14 if c4 else 28},
        "MaskPostProcess": {"binary_thresh": 0.5},
    }


def rcnn_recipes() -> list[Recipe]:
    c4: dict[str, Any] = {"options": resnet(return_idx=[2], num_stages=3), "neck": ""}
    dcn = resnet(variant="d", dcn_v2_stages=[1, 2, 3])
    swin = {
        **{"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7, "ape": False},
        **{"drop_path_rate": 0.1, "patch_norm": True, "out_indices": [0, 1, 2, 3]},
    }
    stages = {"norm_type": "bn", "freeze_at": -1, "return_idx": [0, 1, 2, 3], "num_stages": 4}
    hrnet = {"width": 18, "freeze_at": -1, "return_idx": [0, 1, 2, 3]}
    faster = {
        "r50_C4": rcnn("FasterRCNN", **c4),
        "r50_fpn": rcnn("FasterRCNN"),
        "r34_fpn": rcnn("FasterRCNN", options=resnet(depth=34)),
        "r50vd_dcn_fpn": rcnn("FasterRCNN", options=dcn),
        "x50vd_32x4d": rcnn("FasterRCNN", options=resnet(groups=32, base_width=4, variant="d")),
        "swin_tiny_fpn": rcnn("FasterRCNN", "SwinTransformer", swin),
        "hrnetw18_hrfpn": rcnn("FasterRCNN", "HRNet", hrnet, "HRFPN", {"out_channel": 256, "share_conv": False}),
        "res2net50_fpn": rcnn("FasterRCNN", "Res2Net", {"depth": 50, "width": 26, "scales": 4} | stages),
        "senet_fpn": rcnn("FasterRCNN", "SENet", {"depth": 50, "variant": "d"} | stages),
        "r50_xconv_gn": rcnn("FasterRCNN", head={"head": "XConvNormHead"}, XConvNormHead={"norm_type": "gn", "num_convs": 2}),
    }
    mask = {
        "r50_C4": rcnn("MaskRCNN", mask=True, **c4),
        "r50_fpn": rcnn("MaskRCNN", mask=True),
        "r50vd_dcn": rcnn("MaskRCNN", options=dcn, mask=True),
    }
    libra = rcnn("FasterRCNN", options=resnet(variant="d"), neck_options={"out_channel": 64}, head={"bbox_assigner": "BBoxLibraAssigner"})
    one: dict[str, Any] = {"dynamic": False, "bs1": True}
    return [
        *(detector(f"FasterRCNN_{n}", "FasterRCNN", c, slides=("Faster-RCNN",) if n == "r50_fpn" else ()) for n, c in faster.items()),
        *(detector(f"MaskRCNN_{n}", "MaskRCNN", c, slides=("Mask-RCNN",) if n == "r50_fpn" else ()) for n, c in mask.items()),
        detector("LibraRCNN_enhance_r50vd", "FasterRCNN", libra, slides=("Libra R-CNN",)),
        detector("CascadeRCNN_r50_fpn", "CascadeRCNN", rcnn("CascadeRCNN", cascade=True)),
        detector("CascadeMaskRCNN_r50_fpn", "CascadeRCNN", rcnn("CascadeRCNN", cascade=True, mask=True)),
        detector("FasterRCNN_r50_fpn_bs1", "FasterRCNN", rcnn("FasterRCNN"), **one),
        detector("MaskRCNN_r50_fpn_bs1", "MaskRCNN", rcnn("MaskRCNN", mask=True), **one),
        detector("CascadeRCNN_r50_fpn_bs1", "CascadeRCNN", rcnn("CascadeRCNN", cascade=True), **one),
    ]
