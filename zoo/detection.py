"""Detectors of PaddleDetection at their published widths, on small pictures (transformers with two layers)."""

from __future__ import annotations

from .detection_rcnn import rcnn_recipes
from .ppdet import ALIGNED, FPN5, RESNET3, Config, detector, nms, resnet
from .recipe import REDUCED, Recipe


def recipes() -> list[Recipe]:
    return _yolo3() + _ppyoloe() + _yolox() + _ssd() + rcnn_recipes() + _dense() + _centers() + _queries() + _pico() + _faces() + _rotated()


_ANCHORS = [[10, 13], [16, 30], [33, 23], [30, 61], [62, 45], [59, 119], [116, 90], [156, 198], [373, 326]]
_MASKS = [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
# their last maps are of so few pixels that statistics of one picture let another one's numbers grow from layer to layer
_UNSTEADY = ("PPYOLO_r50vd_dcn", "PPYOLOv2_r50vd_dcn", "BlazeFace_FPN_SSH")
_MATRIX_NMS = {
    **{"name": "MatrixNMS", "keep_top_k": 100, "score_threshold": 0.01, "post_threshold": 0.01},
    **{"nms_top_k": -1, "background_label": -1},
}


def yolo_box(**options: object) -> Config:
    return {"name": "YOLOBox", "conf_thresh": 0.005, "downsample_ratio": 32, "clip_bbox": True} | options


def yolo3(
    backbone: str,
    options: Config,
    neck: str = "YOLOv3FPN",
    neck_options: Config | None = None,
    head: Config | None = None,
    post: Config | None = None,
) -> Config:
    return {
        "YOLOv3": {"backbone": backbone, "neck": neck, "yolo_head": "YOLOv3Head", "post_process": "BBoxPostProcess"},
        "YOLOv3Head": {"anchors": _ANCHORS, "anchor_masks": _MASKS, "loss": "YOLOv3Loss"} | (head or {}),
        "BBoxPostProcess": post or {"decode": yolo_box(), "nms": nms()},
        backbone: options,
        neck: neck_options or {},
    }


def _mobilenet3(model: str, maps: list[int], scale: float = 1.0, **more: object) -> Config:
    return {"model_name": model, "scale": scale, "with_extra_blocks": False, "extra_block_filters": [], "feature_maps": maps} | more


def _yolo3() -> list[Recipe]:
    dcn = resnet(variant="d", return_idx=[1, 2, 3], dcn_v2_stages=[3])
    aware = {"iou_aware": True, "iou_aware_factor": 0.4}
    pp_post = {"decode": yolo_box(conf_thresh=0.01, scale_x_y=1.05), "nms": _MATRIX_NMS}
    drop = {"drop_block": True, "block_size": 3, "keep_prob": 0.9, "spp": True}
    small_anchors = {
        "anchors": [[11, 18], [34, 47], [51, 126], [115, 71], [120, 195], [254, 235]],
        "anchor_masks": [[3, 4, 5], [0, 1, 2]],
    }
    small_neck = {"coord_conv": True, "conv_block_num": 0, "spp": True, "drop_block": True}
    tiny_neck = {"detection_block_channels": [160, 128, 96], "spp": True, "drop_block": True}
    tiny_post = {"decode": yolo_box(scale_x_y=1.05), "nms": nms(score_threshold=0.005)}
    mobilenet1 = {"scale": 1, "feature_maps": [4, 6, 13], "with_extra_blocks": False, "extra_block_filters": []}
    small_post = {"decode": yolo_box(scale_x_y=1.05), "nms": _MATRIX_NMS}
    configs = {
        "YOLOv3_darknet53": yolo3("DarkNet", {"depth": 53, "return_idx": [2, 3, 4]}),
        "YOLOv3_mobilenet_v1": yolo3("MobileNet", mobilenet1),
        "YOLOv3_mobilenet_v3": yolo3("MobileNetV3", _mobilenet3("large", [7, 13, 16])),
        "YOLOv3_r50vd_dcn": yolo3("ResNet", dcn),
        "YOLOv3_r34": yolo3("ResNet", resnet(depth=34, return_idx=[1, 2, 3])),
        "PPYOLO_r50vd_dcn": yolo3("ResNet", dcn, "PPYOLOFPN", {"coord_conv": True} | drop, aware, pp_post),
        "PPYOLO_mbv3_small": yolo3("MobileNetV3", _mobilenet3("small", [9, 12]), "PPYOLOFPN", small_neck, small_anchors, small_post),
        "PPYOLO_tiny": yolo3("MobileNetV3", _mobilenet3("large", [7, 13, 16], 0.5), "PPYOLOTinyFPN", tiny_neck, None, tiny_post),
        "PPYOLOv2_r50vd_dcn": yolo3("ResNet", dcn, "PPYOLOPAN", drop, aware | {"iou_aware_factor": 0.5}, pp_post),
    }
    seen = {"YOLOv3_darknet53": ("YOLOv3",)}
    return [
        detector(n, "YOLOv3", c, slides=seen.get(n, ()), finish="ppdet:temper_scores", calibrate=8 if n in _UNSTEADY else 1)
        for n, c in configs.items()
    ]


_CSP_RESNET: Config = {
    **{"layers": [3, 6, 6, 3], "channels": [64, 128, 256, 512, 1024], "return_idx": [1, 2, 3]},
    **{"use_large_stem": True, "use_alpha": True},
}
_CSP_PAN: Config = {"out_channels": [768, 384, 192], "stage_num": 1, "block_num": 3, "act": "swish", "spp": True}


def _ppyoloe() -> list[Recipe]:
    def one(name: str, depth: float, width: float, alpha: bool = True, **head: object) -> Recipe:
        config = {
            "YOLOv3": {"backbone": "CSPResNet", "neck": "CustomCSPPAN", "yolo_head": "PPYOLOEHead", "post_process": None},
            "CSPResNet": _CSP_RESNET | {"use_alpha": alpha},
            "CustomCSPPAN": _CSP_PAN,
            "PPYOLOEHead": {
                **{"fpn_strides": [32, 16, 8], "grid_cell_scale": 5.0, "grid_cell_offset": 0.5, "static_assigner_epoch": 30},
                **{"use_varifocal_loss": True, "nms": nms(keep_top_k=300, nms_threshold=0.7), **ALIGNED, **head},
            },
        }
        return detector(name, "YOLOv3", config, inputs="image scale_factor", depth_mult=depth, width_mult=width)

    return [
        one("PPYOLOE_crn_s", 0.33, 0.5, False),
        one("PPYOLOE_plus_crn_s", 0.33, 0.5),
        one("PPYOLOE_crn_m", 0.67, 0.75, False),
        one("PPYOLOE_plus_crn_m", 0.67, 0.75),
        one("PPYOLOE_plus_s_exclude_nms", 0.33, 0.5, exclude_nms=True),
        one("PPYOLOE_plus_s_exclude_post_process", 0.33, 0.5, exclude_post_process=True),
    ]


def _yolox() -> list[Recipe]:
    out = []
    for name, width, depthwise in (("nano", 0.25, True), ("tiny", 0.375, False), ("s", 0.5, False)):
        head = {
            **{"l1_epoch": 285, "depthwise": depthwise, "assigner": {"name": "SimOTAAssigner", "candidate_topk": 10, "use_vfl": False}},
            "nms": nms(nms_top_k=10000, keep_top_k=1000, score_threshold=0.001, nms_threshold=0.65),
        }
        config = {
            "YOLOX": {"backbone": "CSPDarkNet", "neck": "YOLOCSPPAN", "head": "YOLOXHead"},
            "CSPDarkNet": {"arch": "X", "return_idx": [2, 3, 4], "depthwise": depthwise},
            "YOLOCSPPAN": {"depthwise": depthwise},
            "YOLOXHead": head,
        }
        out.append(detector(f"YOLOX_{name}", "YOLOX", config, depth_mult=0.33, width_mult=width, act="silu", calibrate=8))
    return out


_SSD_POST: Config = {
    "decode": {"name": "SSDBox"},
    "nms": nms(keep_top_k=200, nms_top_k=400, nms_eta=1.0),
}


def _ssd() -> list[Recipe]:
    def one(name: str, backbone: str, options: Config, anchors: Config, head: Config, side: int, slides: tuple[str, ...] = ()) -> Recipe:
        generator = {"offset": 0.5, "flip": True, "min_max_aspect_ratios_order": False} | anchors
        config = {
            "SSD": {"backbone": backbone, "ssd_head": "SSDHead", "post_process": "BBoxPostProcess"},
            backbone: options,
            "SSDHead": {"anchor_generator": generator} | head,
            "BBoxPostProcess": _SSD_POST,
        }
        return detector(name, "SSD", config, size=(side, side), num_classes=20, slides=slides)

    extra = {"with_extra_blocks": True, "extra_block_filters": [[256, 512], [128, 256], [128, 256], [64, 128]]}
    ratios = [[2.0]] + [[2.0, 3.0]] * 5
    vgg_anchors = {
        **{"steps": [8, 16, 32, 64, 100, 300], "aspect_ratios": [[2.0]] + [[2.0, 3.0]] * 3 + [[2.0]] * 2, "min_ratio": 20},
        **{"max_ratio": 90, "min_sizes": [30.0, 60.0, 111.0, 162.0, 213.0, 264.0], "min_max_aspect_ratios_order": True},
        **{"max_sizes": [60.0, 111.0, 162.0, 213.0, 264.0, 315.0]},
    }
    mobile_anchors = {
        **{"steps": [0] * 6, "aspect_ratios": ratios, "min_ratio": 20, "max_ratio": 90, "base_size": 300},
        **{"min_sizes": [60.0, 105.0, 150.0, 195.0, 240.0, 285.0], "max_sizes": [[], 150.0, 195.0, 240.0, 285.0, 300.0]},
    }
    lite_anchors = {
        **{"steps": [16, 32, 64, 107, 160, 320], "aspect_ratios": ratios, "min_ratio": 20, "max_ratio": 95, "base_size": 320},
        **{"min_sizes": [], "max_sizes": [], "clip": True},
    }
    vgg = {"depth": 16, "normalizations": [20.0, -1, -1, -1, -1, -1]}
    mobile1 = {"norm_decay": 0.0, "scale": 1, "conv_learning_rate": 0.1, "feature_maps": [11, 13, 14, 15, 16, 17]} | extra
    mobile3 = _mobilenet3("small", [5, 11, 12, 13, 14, 15], conv_decay=4e-5) | extra
    return [
        one("SSD_vgg16_300", "VGG", vgg, vgg_anchors, {}, 300, ("SSD",)),
        one("SSD_mobilenet_v1_300", "MobileNet", mobile1, mobile_anchors, {"kernel_size": 1, "padding": 0}, 160),
        one("SSDLite_mobilenet_v3_small", "MobileNetV3", mobile3, lite_anchors, {"use_sepconv": True, "conv_decay": 4e-5}, 160),
    ]


_RETINA_ANCHORS = {
    **{"name": "RetinaAnchorGenerator", "octave_base_scale": 4, "scales_per_octave": 3, "aspect_ratios": [0.5, 1.0, 2.0]},
    "strides": [8.0, 16.0, 32.0, 64.0, 128.0],
}


def _fcos_feat(dcn: bool = False) -> Config:
    return {"name": "FCOSFeat", "feat_in": 256, "feat_out": 256, "num_convs": 4, "norm_type": "gn", "use_dcn": dcn}


def _dense() -> list[Recipe]:
    """One box for each place of a feature pyramid: RetinaNet, FCOS, GFL, TOOD, YOLOF."""
    retina_head = {
        "conv_feat": {"name": "RetinaFeat", "feat_in": 256, "feat_out": 256, "num_convs": 4, "norm_type": None, "use_dcn": False},
        **{"anchor_generator": _RETINA_ANCHORS, "nms": nms(score_threshold=0.05, nms_threshold=0.5)},
        "bbox_assigner": {"name": "MaxIoUAssigner", "positive_overlap": 0.5, "negative_overlap": 0.4},
    }
    bifpn = {
        **{"in_channels": [512, 1024, 2048], "out_channel": 256, "num_extra_levels": 2, "fpn_strides": [8, 16, 32, 64, 128]},
        **{"num_stacks": 2, "use_weighted_fusion": True, "norm_type": "bn"},
    }

    def retina(name: str, neck: str, options: Config, slide: str) -> Recipe:
        model = {"backbone": "ResNet", "neck": neck, "head": "RetinaHead"}
        config = {"RetinaNet": model, "ResNet": RESNET3, neck: options, "RetinaHead": retina_head}
        return detector(name, "RetinaNet", config, slides=(slide,))

    strides = {"fpn_stride": [8, 16, 32, 64, 128], "prior_prob": 0.01, "nms": nms(score_threshold=0.025, nms_threshold=0.6)}

    def fcos(name: str, backbone: Config, dcn: bool, slides: tuple[str, ...] = ()) -> Recipe:
        head = {"fcos_feat": _fcos_feat(dcn), "norm_reg_targets": True, "centerness_on_reg": True} | strides
        model = {"backbone": "ResNet", "neck": "FPN", "fcos_head": "FCOSHead"}
        return detector(name, "FCOS", {"FCOS": model, "ResNet": backbone, "FPN": FPN5, "FCOSHead": head}, slides=slides)

    def gfl(name: str, more: Config) -> Recipe:
        model = {"backbone": "ResNet", "neck": "FPN", "head": "GFLHead"}
        head = {"conv_feat": _fcos_feat(), "reg_max": 16} | strides | more
        return detector(name, "GFL", {"GFL": model, "ResNet": RESNET3, "FPN": FPN5, "GFLHead": head})

    quality = {"dgqp_module": {"name": "DGQP", "reg_topk": 4, "reg_channels": 64, "add_mean": True}}
    tood = {"stacked_convs": 6, "grid_cell_scale": 8, "static_assigner_epoch": 4} | ALIGNED
    yolof_feat = {"name": "YOLOFFeat", "feat_in": 512, "feat_out": 512, "num_cls_convs": 2, "num_reg_convs": 4, "norm_type": "bn"}
    yolof = {
        "YOLOF": {"backbone": "ResNet", "neck": "DilatedEncoder", "head": "YOLOFHead"},
        "ResNet": resnet(return_idx=[3]),
        "DilatedEncoder": {
            **{"in_channels": [2048], "out_channels": [512], "block_mid_channels": 128, "num_residual_blocks": 4},
            "block_dilations": [2, 4, 6, 8],
        },
        "YOLOFHead": {
            "conv_feat": yolof_feat,
            "anchor_generator": {
                **{"name": "AnchorGenerator", "anchor_sizes": [[32, 64, 128, 256, 512]], "aspect_ratios": [1.0], "strides": [32]}
            },
            "bbox_assigner": {"name": "UniformAssigner", "pos_ignore_thr": 0.15, "neg_ignore_thr": 0.7, "match_times": 4},
            "nms": nms(nms_threshold=0.6),
        },
    }
    tood_model = {
        "TOOD": {"backbone": "ResNet", "neck": "FPN", "head": "TOODHead"},
        **{"ResNet": RESNET3, "FPN": FPN5, "TOODHead": tood | {"nms": nms(score_threshold=0.05, nms_threshold=0.6)}},
    }
    return [
        retina("RetinaNet_r50_fpn", "FPN", FPN5, "RetinaNet"),
        retina("EfficientDet_like_bifpn", "BiFPN", bifpn, "EfficientDet"),
        fcos("FCOS_r50_fpn", RESNET3, False, ("FCOS",)),
        fcos("FCOS_dcn_r50", resnet(return_idx=[1, 2, 3], dcn_v2_stages=[1, 2, 3]), True),
        gfl("GFL_r50_fpn", {}),
        gfl("GFLv2_r50_fpn", quality),
        detector("TOOD_r50_fpn", "TOOD", tood_model),
        detector("YOLOF_r50", "YOLOF", yolof),
    ]


def _centers() -> list[Recipe]:
    """Heat maps of centres: CenterNet, TTFNet, PAFNet."""
    centernet = {
        "CenterNet": {
            **{"backbone": "DLA", "neck": "CenterNetDLAFPN", "head": "CenterNetHead", "post_process": "CenterNetPostProcess"},
        },
        **{"DLA": {"depth": 34}, "CenterNetDLAFPN": {"down_ratio": 4}, "CenterNetHead": {"head_planes": 256, "regress_ltrb": False}},
        "CenterNetPostProcess": {"max_per_img": 100, "regress_ltrb": False},
    }

    def ttf(name: str, backbone: str, options: Config, neck: Config, head: Config) -> Recipe:
        config = {
            "TTFNet": {"backbone": backbone, "neck": "TTFFPN", "ttf_head": "TTFHead", "post_process": "BBoxPostProcess"},
            **{backbone: options, "TTFFPN": neck, "TTFHead": head},
            "BBoxPostProcess": {
                **{"decode": {"name": "TTFBox", "max_per_img": 100, "score_thresh": 0.01, "down_ratio": 4}, "nms": None},
            },
        }
        return detector(name, "TTFNet", config)

    planes = {"planes": [256, 128, 64], "shortcut_num": [3, 2, 1]}
    lite_neck = {"planes": [96, 48], "shortcut_num": [2, 2, 1], "lite_neck": True, "fusion_method": "concat"}
    lite = {
        **{"scale": 1.0, "model_name": "large", "feature_maps": [5, 8, 14, 17], "with_extra_blocks": True, "conv_decay": 4e-5},
        **{"lr_mult_list": [0.25, 0.25, 0.5, 0.5, 0.75], "multiplier": 1.0},
    }
    darknet = {"depth": 53, "freeze_at": -1, "return_idx": [1, 2, 3, 4], "norm_type": "bn"}
    return [
        detector("CenterNet_dla34", "CenterNet", centernet),
        ttf("TTFNet_darknet53", "DarkNet", darknet, planes, {}),
        ttf("PAFNet_r50vd", "ResNet", resnet(variant="d", dcn_v2_stages=[1, 2, 3]), planes, {"dcn_head": True}),
        ttf("PAFNet_lite_mbv3", "MobileNetV3", lite, lite_neck, {"hm_head_planes": 48, "wh_head_planes": 24, "lite_head": True}),
    ]


def _queries() -> list[Recipe]:
    """Learnt queries: DETR, Deformable DETR, DINO."""
    layers = {
        **{"num_queries": 50, "position_embed_type": "sine", "nhead": 8, "num_encoder_layers": 2, "num_decoder_layers": 2},
        **{"dropout": 0.0, "dim_feedforward": 512},
    }

    def detr(name: str, transformer: str, head: str, maps: list[int], options: Config, head_options: Config, **more: object) -> Recipe:
        model = {"backbone": "ResNet", "transformer": transformer, "detr_head": head, "post_process": "DETRBBoxPostProcess"}
        config = {"DETR": model, "ResNet": resnet(return_idx=maps), transformer: layers | options, head: head_options}
        return detector(name, "DETR", config, kind=REDUCED, hidden_dim=256, **more)

    deformable = {"num_feature_levels": 4, "num_encoder_points": 4, "num_decoder_points": 4}
    dino = {
        **{"num_levels": 4, "activation": "relu", "num_denoising": 100, "label_noise_ratio": 0.5, "box_noise_scale": 1.0},
        "learnt_init_query": True,
    }
    mlp, three = {"num_mlp_layers": 3}, [1, 2, 3]
    return [
        detr("DETR_r50", "DETRTransformer", "DETRHead", [3], {}, mlp),
        detr("DeformableDETR_r50", "DeformableTransformer", "DeformableDETRHead", three, deformable, mlp, use_focal_loss=True),
        detr("DINO_r50", "DINOTransformer", "DINOHead", three, dino, {}, use_focal_loss=True),
    ]


def _pico() -> list[Recipe]:
    def one(name: str, backbone: str, options: Config, channels: int, convs: int, second: bool) -> Recipe:
        neck, head = ("LCPAN", "PicoHeadV2") if second else ("CSPPAN", "PicoHead")
        feat = {
            **{"name": "PicoFeat", "feat_in": channels, "feat_out": channels, "num_convs": convs, "num_fpn_stride": 4},
            **{"norm_type": "bn", "share_cls_reg": True},
        }
        options_of_head = {
            **{"conv_feat": feat | ({"use_se": True} if second else {}), "fpn_stride": [8, 16, 32, 64], "feat_in_chan": channels},
            **{"prior_prob": 0.01, "reg_max": 7, "cell_offset": 0.5, "nms": nms(score_threshold=0.025, nms_threshold=0.6)},
            "loss_class": {"name": "VarifocalLoss"},
        }
        if second:
            options_of_head |= {"grid_cell_scale": 5.0, "static_assigner_epoch": 100, "use_align_head": True} | ALIGNED
        else:
            options_of_head["assigner"] = {"name": "SimOTAAssigner", "candidate_topk": 10, "iou_weight": 6}
        pan = {"out_channels": channels, "use_depthwise": True, "num_features": 4} | ({} if second else {"num_csp_blocks": 1})
        model = {"backbone": backbone, "neck": neck, "head": head}
        config = {"PicoDet": model, backbone: options, neck: pan, head: options_of_head}
        return detector(f"PicoDet_{name}", "PicoDet", config, inputs="image scale_factor")

    hard, maps = {"act": "hard_swish"}, {"feature_maps": [4, 11, 14]}
    small = [0.875, 0.5, 0.5, 0.5, 0.625, 0.5, 0.625, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    large = [0.875, 0.5, 1.0, 0.625, 0.5, 0.75, 0.625, 0.625, 0.5, 0.625, 1.0, 0.625, 0.75]
    sizes = (("xs", 0.35, 96, 2), ("s", 0.75, 96, 2), ("m", 1.5, 128, 4), ("l", 2.0, 160, 4))
    return [
        one("s_esnet", "ESNet", {"scale": 0.75, "channel_ratio": small} | maps | hard, 96, 2, False),
        one("l_esnet", "ESNet", {"scale": 1.25, "channel_ratio": large} | maps | hard, 160, 4, False),
        *(one(f"{n}_lcnet", "LCNet", {"scale": s, "feature_maps": [3, 4, 5]}, c, k, True) for n, s, c, k in sizes),
        one("m_shufflenetv2", "ShuffleNetV2", {"scale": 1.0, "feature_maps": [5, 13, 17], "act": "leaky_relu"}, 96, 2, False),
        one("m_ghostnet", "GhostNet", {"scale": 1.3, "feature_maps": [6, 12, 16]}, 96, 2, False),
    ]


def _faces() -> list[Recipe]:
    net = {
        "blaze_filters": [[24, 24], [24, 24], [24, 48, 2], [48, 48], [48, 48]],
        "double_blaze_filters": [[48, 24, 96, 2], [96, 24, 96], [96, 24, 96], [96, 24, 96, 2], [96, 24, 96], [96, 24, 96]],
    }
    anchors = {
        **{"steps": [8.0, 16.0], "aspect_ratios": [[1.0], [1.0]], "min_sizes": [[16.0, 24.0], [32.0, 48.0, 64.0, 80.0, 96.0, 128.0]]},
        **{"max_sizes": [[], []], "offset": 0.5, "flip": False, "min_max_aspect_ratios_order": False},
    }
    post = {"decode": {"name": "SSDBox"}, "nms": nms(keep_top_k=750, nms_threshold=0.3, nms_top_k=5000, nms_eta=1.0)}
    out = []
    for name, neck, channels, act in (("BlazeFace", "None", [96, 96], "relu"), ("BlazeFace_FPN_SSH", "fpn_ssh", [48, 48], "hard_swish")):
        config = {
            "BlazeFace": {"backbone": "BlazeNet", "neck": "BlazeNeck", "blaze_head": "FaceHead", "post_process": "BBoxPostProcess"},
            **{"BlazeNet": {"act": act} | net, "BlazeNeck": {"neck_type": neck, "in_channel": [96, 96]}},
            "FaceHead": {"in_channels": channels, "anchor_generator": "AnchorGeneratorSSD"},
            **{"AnchorGeneratorSSD": anchors, "BBoxPostProcess": post},
        }
        out.append(detector(name, "BlazeFace", config, size=(160, 160), num_classes=1, calibrate=8 if name in _UNSTEADY else 1))
    return out


def _rotated() -> list[Recipe]:
    """Boxes at any angle: S2ANet, PP-YOLOE-R, FCOSR."""
    rotated_nms = nms(nms_top_k=200, nms_threshold=0.1, normalized=False)
    pyramid = {
        **{"in_channels": [256, 512, 1024], "out_channel": 256, "spatial_scales": [0.25, 0.125, 0.0625], "has_extra_convs": True},
        **{"extra_stage": 2, "relu_before_extra_convs": False},
    }

    def s2a(name: str, align: str) -> Recipe:
        head = {
            **{"anchor_strides": [8, 16, 32, 64, 128], "anchor_scales": [4], "anchor_ratios": [1.0], "anchor_assign": "RBoxAssigner"},
            **{"stacked_convs": 2, "feat_in": 256, "feat_out": 256, "align_conv_type": align, "align_conv_size": 3},
            **{"use_sigmoid_cls": True, "nms_pre": 200, "nms": rotated_nms | {"score_threshold": 0.05}},
        }
        model = {"backbone": "ResNet", "neck": "FPN", "head": "S2ANetHead"}
        config = {"S2ANet": model, "ResNet": resnet(variant="d", return_idx=[1, 2, 3]), "FPN": pyramid, "S2ANetHead": head}
        return detector(name, "S2ANet", config, num_classes=15)

    ppyoloe_r = {
        "YOLOv3": {"backbone": "CSPResNet", "neck": "CustomCSPPAN", "yolo_head": "PPYOLOERHead", "post_process": None},
        **{"CSPResNet": _CSP_RESNET, "CustomCSPPAN": _CSP_PAN | {"use_alpha": True}},
        "PPYOLOERHead": {"fpn_strides": [32, 16, 8], "grid_cell_offset": 0.5, "static_assigner_epoch": -1, "nms": rotated_nms},
    }
    fcosr = {
        "YOLOv3": {"backbone": "ResNet", "neck": "FPN", "yolo_head": "FCOSRHead", "post_process": None},
        "ResNet": RESNET3,
        "FPN": {"out_channel": 256, "extra_stage": 2, "has_extra_convs": True, "use_c5": False, "relu_before_extra_convs": True},
        "FCOSRHead": {"feat_channels": 256, "fpn_strides": [8, 16, 32, 64, 128], "stacked_convs": 4, "nms": rotated_nms},
    }
    return [
        s2a("S2ANet_conv_r50", "Conv"),
        s2a("S2ANet_alignconv_r50", "AlignConv"),
        detector("PPYOLOE_R_crn_s", "YOLOv3", ppyoloe_r, num_classes=15, depth_mult=0.33, width_mult=0.5),
        detector("FCOSR_r50", "YOLOv3", fcosr, num_classes=15),
    ]
