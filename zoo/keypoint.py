"""Key points, tracking and re-identification of PaddleDetection."""

from __future__ import annotations

from typing import Any

from .detection import yolo3
from .ppdet import PACKAGE, Config, detector, nms
from .recipe import Input, Recipe


def recipes() -> list[Recipe]:
    return _keypoints() + _tracking()


def _keypoints() -> list[Recipe]:
    plain = {"freeze_at": -1, "freeze_norm": False, "return_idx": [0]}

    def top_down(name: str, backbone: str, options: Config, width: int, **more: Any) -> Recipe:
        model = {
            **{"backbone": backbone, "post_process": "HRNetPostProcess", "flip_perm": None, "num_joints": 17, "width": width},
            **{"loss": "KeyPointMSELoss", **more},
        }
        config = {"TopDownHRNet": model, backbone: options | plain}
        return detector(name, "TopDownHRNet", config, size=(128, 96), inputs="image", family="keypoint")

    higher = {
        "HigherHRNet": {
            "backbone": "HRNet",
            "hrhrnet_head": "HrHRNetHead",
            "post_process": "HrHRNetPostProcess",
            "eval_flip": False,
            "flip_perm": [*range(17)],
        },
        **{"HRNet": {"width": 32} | plain, "HrHRNetHead": {"num_joints": 17, "width": 32, "swahr": False}},
        "HrHRNetLoss": {"num_joints": 17, "swahr": False},
    }
    return [
        top_down("HRNet_w32_keypoint", "HRNet", {"width": 32}, 32),
        top_down("LiteHRNet18_keypoint", "LiteHRNet", {"network_type": "lite_18"}, 40),
        top_down("TinyPose_128x96", "LiteHRNet", {"network_type": "wider_naive"}, 40, use_dark=True),
        detector("HigherHRNet_w32", "HigherHRNet", higher, family="keypoint", dynamic=False),
    ]


def _tracking() -> list[Recipe]:
    anchors = [
        *([128, 384], [180, 540], [256, 640], [512, 640], [32, 96], [45, 135], [64, 192], [90, 271]),
        *([8, 24], [11, 34], [16, 48], [23, 68]),
    ]
    post = {"name": "JDEBox", "conf_thresh": 0.3, "downsample_ratio": 32}
    jde = yolo3("DarkNet", {"depth": 53, "return_idx": [2, 3, 4]}) | {
        "JDE": {"detector": "YOLOv3", "reid": "JDEEmbeddingHead", "tracker": "JDETracker"},
        "YOLOv3": {
            **{"backbone": "DarkNet", "neck": "YOLOv3FPN", "yolo_head": "YOLOv3Head", "post_process": "JDEBBoxPostProcess"},
            "for_mot": True,
        },
        "YOLOv3Head": {"anchors": anchors, "anchor_masks": [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], "loss": "JDEDetectionLoss"},
        "JDEBBoxPostProcess": {
            "decode": post,
            "nms": nms(nms_threshold=0.5, nms_top_k=400, normalized=True, return_index=True),
        },
        "JDEEmbeddingHead": {"anchor_levels": 3, "anchor_scales": 4, "embedding_dim": 128},
    }
    fairmot = {
        "FairMOT": {"detector": "CenterNet", "reid": "FairMOTEmbeddingHead", "loss": "FairMOTLoss", "tracker": "JDETracker"},
        "CenterNet": {
            **{"backbone": "DLA", "neck": "CenterNetDLAFPN", "head": "CenterNetHead", "post_process": "CenterNetPostProcess"},
        },
        "CenterNetDLAFPN": {"down_ratio": 4, "last_level": 5, "out_channel": 0, "dcn_v2": True, "with_sge": False},
        "CenterNetHead": {"head_planes": 256, "prior_bias": -2.19, "regress_ltrb": True},
        "FairMOTEmbeddingHead": {"ch_head": 256, "ch_emb": 128},
        "CenterNetPostProcess": {"max_per_img": 100, "down_ratio": 4, "regress_ltrb": True},
    }
    networks: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("ReID_PCBPyramid", "PCBPyramid", {"num_conv_out_channels": 32, "num_classes": 10}),
        ("ReID_PPLCNet", "PPLCNetEmbedding", {"scale": 1.0}),
        ("ReID_ResNet50", "ResNetEmbedding", {}),
    )
    crops = (Input((None, 3, 96, 64), (2, 3, 96, 64)),)
    return [
        detector("JDE_darknet53", "JDE", jde, family="tracking", num_classes=1, for_mot=True),
        detector("FairMOT_dla34", "FairMOT", fairmot, family="tracking", num_classes=1, for_mot=True, calibrate=8),
        *(
            Recipe(
                *("tracking", name, "ppdet:build_reid", crops, PACKAGE),
                arguments={"name": network, "options": options},
                setup="ppdet:setup",
            )
            for name, network, options in networks
        ),
    ]
