"""Segmentation models of PaddleSeg with their backbones, 19 classes, small pictures."""

from __future__ import annotations

from typing import Any

from . import compat
from .recipe import Recipe, image

PACKAGE = "paddleseg==2.8.0"
_OS8: dict[str, Any] = {"output_stride": 8}
_ALL4 = {"backbone_indices": (0, 1, 2, 3)}
_SWIN = "SwinTransformer_tiny_patch4_window7_224"
_VIT = "ViT_small_patch16_224"


def setup() -> None:
    compat.without("visualdl")
    import paddleseg.models.backbones.vision_transformer as transformers

    transformers.VisionTransformer.init_weight = lambda self: None  # it would download weights


def build(model: str, backbone: str, backbone_options: dict[str, Any], last: str, options: dict[str, Any]) -> Any:
    import paddleseg  # noqa: F401
    from paddleseg.cvlibs import manager

    from .nets.wrappers import Segmenter

    given = {"num_classes": 19} | options
    if backbone:
        given["backbone"] = manager.BACKBONES.components_dict[backbone](**backbone_options)
    return Segmenter(manager.MODELS.components_dict[model](**given), last)


def _recipe(
    name: str,
    model: str,
    backbone: str = "",
    side: int = 64,
    dynamic: str = "batch",
    last: str = "",
    on: dict[str, Any] | None = None,
    slides: tuple[str, ...] = (),
    calibrate: int = 2,
    **options: Any,
) -> Recipe:
    """``on``: options of the backbone; the other ones are the model's."""
    arguments = {"model": model, "backbone": backbone, "backbone_options": on or {}, "last": last, "options": options}
    size = image(side, dynamic=dynamic)
    return Recipe(
        *("segmentation", name, "paddleseg:build", (size,), PACKAGE),
        arguments=arguments,
        setup="paddleseg:setup",
        calibrate=calibrate,
        slides=slides,
    )


def recipes() -> list[Recipe]:
    return _resnets() + _own_backbones() + _light() + _transformers()


def _resnets() -> list[Recipe]:
    """Heads on a dilated ResNet."""
    heads = "DeepLabV3 PSPNet GCNet ANN EMANet DNLNet GINet ENCNet DMNet FastFCN GloRe"
    slides = {"PSPNet": ("PSPNet",), "GCNet": ("GCNet",)}
    batches = {"DeepLabV3": 16, "ENCNet": 16}  # their branches of one pixel have a number a picture to normalise
    multi_grid = _OS8 | {"multi_grid": (1, 2, 4)}
    return [
        *(
            _recipe(f"{h}_resnet50", h, "ResNet50_vd", on=_OS8, slides=slides.get(h, ()), calibrate=batches.get(h, 2))
            for h in heads.split()
        ),
        _recipe("DeepLabV3P_resnet18", "DeepLabV3P", "ResNet18_vd", on=_OS8),
        _recipe("DeepLabV3P_resnet50", "DeepLabV3P", "ResNet50_vd", on=multi_grid, dynamic="all", slides=("DeepLabV3+",)),
        _recipe("PSPNet_resnet18", "PSPNet", "ResNet18_vd", on=_OS8),
        _recipe("DANet_resnet50", "DANet", "ResNet50_vd", on=_OS8, backbone_indices=(2, 3)),
        _recipe("CCNet_resnet50", "CCNet", "ResNet50_vd", on=_OS8, recurrence=2),
        _recipe("UPerNet_resnet50", "UPerNet", "ResNet50_vd", on=_OS8, **_ALL4),
        _recipe("UPerNet_resnet18", "UPerNet", "ResNet18_vd", on=_OS8, **_ALL4),
        _recipe("PFPNNet_resnet50", "PFPNNet", "ResNet50_vd", on=_OS8, channels=256, **_ALL4),
        _recipe("BiseNetV1_resnet18", "BiseNetV1", "ResNet18_vd", on=_OS8),
    ]


def _own_backbones() -> list[Recipe]:
    """HRNets, Xception, STDC and nets without a separate backbone."""
    plain = "BiSeNetV2 HarDNet U2Net U2Netp AttentionUNet UNetPlusPlus SegNet ESPNetV1 ENet SINet PPHumanSegLite RTFormer DDRNet_23"
    return [
        *(_recipe(name, name) for name in plain.split()),
        _recipe("FastSCNN", "FastSCNN", slides=("Fast-SCNN",)),
        _recipe("UNet", "UNet", slides=("U-Net",)),
        _recipe("UNet_deconv", "UNet", use_deconv=True, last="argmax", dynamic="all"),
        _recipe("UNet3Plus", "UNet3Plus"),
        _recipe("ESPNetV2", "ESPNetV2", scale=1.0),
        _recipe("DeepLabV3P_xception41", "DeepLabV3P", "Xception41_deeplab", on={"output_stride": 16}, backbone_indices=(0, 1)),
        _recipe("FCN_hrnetw18", "FCN", "HRNet_W18", channels=270, slides=("HRNet",)),
        _recipe("FCN_hrnetw18_small", "FCN", "HRNet_W18_Small_V1", last="argmax"),
        _recipe("FCN_uhrnetw18small", "FCN", "UHRNet_W18_Small"),
        _recipe("FCN_litehrnet18", "FCN", "Lite_HRNet_18"),
        _recipe("OCRNet_hrnetw18", "OCRNet", "HRNet_W18", backbone_indices=(0,)),
        _recipe("MscaleOCRNet_hrnetw18", "MscaleOCRNet", "HRNet_W18"),
        _recipe("HRNetW48Contrast", "HRNetW48Contrast", "HRNet_W48", bb_channels=720, drop_prob=0.1, proj_dim=720),
        _recipe("STDCSeg_stdc1", "STDCSeg", "STDC1"),
        _recipe("STDCSeg_stdc2", "STDCSeg", "STDC2"),
        _recipe("LPSNet_s", "LPSNet", side=128, depths=[1, 3, 3, 10, 10], channels=[8, 24, 48, 96, 96], scale_ratios=[1.0, 0.25]),
    ]


def _light() -> list[Recipe]:
    """Nets for phones."""
    mobile, shuffle, large = "MobileNetV2_x1_0", "ShuffleNetV2_x1_0", "MobileNetV3_large_x1_0"
    three = {"backbone_indices": [0, 1, 2]}
    aam = {"inj_type": "AAM", "out_feat_chs": [32, 64, 128]}
    aam8 = {"inj_type": "AAMSx8", "out_feat_chs": [64, 128, 192]}
    return [
        _recipe("DeepLabV3P_mobilenetv2", "DeepLabV3P", mobile, backbone_indices=(0, 3)),
        _recipe("PPLiteSeg_stdc1", "PPLiteSeg", "STDC1", last="argmax"),
        _recipe("PPLiteSeg_stdc2", "PPLiteSeg", "STDC2", dynamic="all", last="softmax"),
        _recipe("PPLiteSeg_T_ChAtten", "PPLiteSeg", "STDC1", arm_type="UAFM_ChAtten"),
        _recipe("PPLiteSeg_mobilenetv2", "PPLiteSeg", mobile, backbone_indices=[1, 2, 3], cm_bin_sizes=[1, 2, 4]),
        _recipe("PortraitNet_mobilenetv2", "PortraitNet", mobile, min_channel=16, channel_ratio=1.0),
        _recipe("MobileSeg_mobilenetv3", "MobileSeg", large),
        _recipe("MobileSeg_ghostnet", "MobileSeg", "GhostNet_x1_0"),
        _recipe("MobileSeg_litehrnet", "MobileSeg", "Lite_HRNet_18", **three),
        _recipe("MobileSeg_shufflenetv2", "MobileSeg", shuffle, **three),
        _recipe("LRASPP_mobilenetv3", "LRASPP", f"{large}_os8"),
        _recipe("TopFormer_tiny", "TopFormer", "TopTransformer_Tiny"),
        _recipe("TopFormer_base", "TopFormer", "TopTransformer_Base", side=128),
        _recipe("PPMobileSeg_tiny", "PPMobileSeg", "MobileSeg_Tiny", side=128, upsample="intepolate", on=aam),  # the package's spelling
        _recipe("PPMobileSeg_base_vim", "PPMobileSeg", "MobileSeg_Base", side=128, upsample="vim", on=aam8),
    ]


def _transformers() -> list[Recipe]:
    small, four = {"img_size": 64}, {"backbone_indices": (2, 4, 5, 7)}
    return [
        *(
            _recipe(f"SegFormer_{b}", "SegFormer", f"MixVisionTransformer_{b}", embedding_dim=d)
            for b, d in (("B0", 256), ("B1", 256), ("B2", 768))
        ),
        *(
            _recipe(f"SETR_{head}_vit_small", "SegmentationTransformer", _VIT, on=small, head=head, **four)
            for head in ("naive", "pup", "mla")
        ),
        _recipe("LinearSegmenter_vit_small", "LinearSegmenter", _VIT, on=small),
        _recipe("MaskSegmenter_vit_small", "MaskSegmenter", _VIT, on=small, h_embed_dim=768, h_depth=2, h_num_heads=6),
        _recipe("UPerNet_swin_tiny", "UPerNet", _SWIN, side=224, **_ALL4),
    ]
