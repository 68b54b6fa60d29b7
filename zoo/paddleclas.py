"""Image classifiers of PaddleClas at their published widths; pictures of 64×64 where a net takes any size."""

from __future__ import annotations

from typing import Any

from . import compat
from .recipe import Recipe, image

PACKAGE = "paddleclas==2.6.0"

# side of the picture → architectures
_NAMES = {
    64: """
        CSPDarkNet53 DLA102 DLA34 DLA46_c DLA46x_c DLA60 DLA60x DLA60x_c DPN68 DPN92 DarkNet53 DenseNet121 DenseNet161 DenseNet201
        ESNet_x0_25 ESNet_x0_5 ESNet_x0_75 ESNet_x1_0 EfficientNetB0 EfficientNetB0_small EfficientNetB1 EfficientNetB2
        EfficientNetB3 EfficientNetB3_watermark EfficientNetB4 EfficientNetB5 EfficientNetV2_S FasterNet_L FasterNet_M FasterNet_S
        FasterNet_T0 FasterNet_T1 FasterNet_T2 GhostNet_x0_5 GhostNet_x1_0 GhostNet_x1_3 HRNet_W18_C HRNet_W30_C HRNet_W32_C
        HarDNet39_ds HarDNet68 HarDNet68_ds HarDNet85 MicroNet_M0 MicroNet_M1 MicroNet_M2 MicroNet_M3 MobileNeXt_x0_35
        MobileNeXt_x0_5 MobileNeXt_x0_75 MobileNeXt_x1_0 MobileNeXt_x1_4 MobileNetV1 MobileNetV1_x0_25 MobileNetV1_x0_5
        MobileNetV1_x0_75 MobileNetV2 MobileNetV2_x0_25 MobileNetV2_x0_5 MobileNetV2_x0_75 MobileNetV2_x1_5 MobileNetV2_x2_0
        MobileNetV3_small_x0_35 MobileNetV3_small_x0_5 MobileNetV3_small_x0_75 MobileNetV3_small_x1_0 MobileNetV3_small_x1_25
        MobileNetV4_conv_medium MobileNetV4_conv_small MobileViTV2_x0_5 MobileViTV2_x1_0 MobileViTV2_x1_5 MobileViTV2_x2_0
        MobileViTV3_S MobileViTV3_S_L2 MobileViTV3_XS MobileViTV3_XS_L2 MobileViTV3_XXS MobileViTV3_XXS_L2 MobileViTV3_x0_5
        MobileViTV3_x0_75 MobileViTV3_x1_0 MobileViT_S MobileViT_XS MobileViT_XXS PPHGNetV2_B0 PPHGNetV2_B1 PPHGNetV2_B2
        PPHGNetV2_B3 PPHGNetV2_B4 PPHGNet_small PPHGNet_tiny PPLCNetBaseNet PPLCNetV2_base PPLCNetV2_base_ShiTu PPLCNetV2_small
        PPLCNet_x0_25 PPLCNet_x0_35 PPLCNet_x0_5 PPLCNet_x0_75 PPLCNet_x1_0 PPLCNet_x1_5 PPLCNet_x2_0 PPLCNet_x2_5 PPLCNet_x2_5_Tanh
        PeleeNet ReXNet_1_0 ReXNet_1_3 ReXNet_1_5 ReXNet_2_0 ReXNet_3_0 RedNet101 RedNet26 RedNet38 RedNet50 RegNetX_1600MF
        RegNetX_200MF RegNetX_3200MF RegNetX_400MF RegNetX_4GF RegNetX_600MF RegNetX_6400MF RegNetX_800MF RegNetX_8GF RepVGG_A0
        RepVGG_A1 RepVGG_A2 RepVGG_B0 Res2Net101_vd_26w_4s Res2Net50_14w_8s Res2Net50_26w_4s Res2Net50_vd_26w_4s ResNeSt50
        ResNeSt50_fast_1s1x64d ResNeXt101_32x4d ResNeXt101_vd_32x4d ResNeXt101_vd_64x4d ResNeXt152_32x4d ResNeXt152_64x4d
        ResNeXt152_vd_32x4d ResNeXt152_vd_64x4d ResNeXt50_32x4d ResNeXt50_64x4d ResNeXt50_vd_32x4d ResNeXt50_vd_64x4d ResNet101
        ResNet101_vd ResNet18 ResNet18_vd ResNet34 ResNet34_vd ResNet50 ResNet50_adaptive_max_pool2d ResNet50_last_stage_stride1
        ResNet50_metabin ResNet50_vc ResNet50_vd SE_ResNeXt101_32x4d SE_ResNeXt50_32x4d SE_ResNeXt50_vd_32x4d SE_ResNet18_vd
        SE_ResNet34_vd SE_ResNet50_vd ShuffleNetV2_swish ShuffleNetV2_x0_25 ShuffleNetV2_x0_33 ShuffleNetV2_x0_5 ShuffleNetV2_x1_0
        ShuffleNetV2_x1_5 ShuffleNetV2_x2_0 SqueezeNet1_0 SqueezeNet1_1 StarNet_S1 StarNet_S2 StarNet_S3 StarNet_S4 TinyNet_A
        TinyNet_B TinyNet_C TinyNet_D TinyNet_E VAN_B0 VAN_B1 VAN_B2 VAN_B3 Xception41 Xception41_deeplab Xception65
        Xception65_deeplab Xception71
    """,
    96: """
        InceptionV3 InceptionV4
    """,
    112: """
        AdaFace_IR_101 AdaFace_IR_152 AdaFace_IR_18 AdaFace_IR_34 AdaFace_IR_50 AdaFace_IR_SE_101 AdaFace_IR_SE_152
        AdaFace_IR_SE_200 AdaFace_IR_SE_50 MobileFaceNet
    """,
    224: """
        AlexNet BEiTv2_vit_base_patch16_224 BEiTv2_vit_large_patch16_224 CAE_vit_base_patch16_224 CLIP_vit_base_patch16_224
        CLIP_vit_base_patch32_224 CLIP_vit_large_patch14_224 CSWinTransformer_tiny_224 ConvNeXt_small ConvNeXt_tiny CvT_13_224
        CvT_21_224 DSNet_small DSNet_tiny DeiT_base_distilled_patch16_224 DeiT_small_distilled_patch16_224 DeiT_small_patch16_224
        DeiT_tiny_distilled_patch16_224 DeiT_tiny_patch16_224 GoogLeNet LeViT_128 LeViT_128S LeViT_192 MOCOV3_vit_base
        MOCOV3_vit_small NextViT_small_224 PVT_V2_B0 PVT_V2_B1 PVT_V2_B2 PVT_V2_B2_Linear SVTR_tiny
        SwinTransformer_tiny_patch4_window7_224 TNT_base TNT_small UniFormer_small UniFormer_small_plus UniFormer_small_plus_dim64
        ViT_small_patch16_224 alt_gvt_small pcpvt_small
    """,
    384: """
        NextViT_small_384
    """,
}
# those that are exported again in the form that their branches are merged into for deployment
_MERGED = ("RepVGG_A0", "PPLCNetV2_base", "FasterNet_T0", "LeViT_128S", "MobileNetV4_conv_small", "StarNet_S1")
_SLIDES = {
    "MobileNetV1": "MobileNet",
    "ResNet50_vd": "ResNet",
    "InceptionV4": "Inception",
    "SE_ResNet50_vd": "SENet-vd",
    "Res2Net50_26w_4s": "Res2Net",
    "DPN68": "DPN",
    "Xception41": "Xception",
}


def setup() -> None:
    """PaddleClas imports its own insides as ``ppcls``, and a search library that its networks do not use."""
    import logging

    compat.package_folder("paddleclas")
    compat.without("faiss", "visualdl")
    import ppcls.arch.backbone  # noqa: F401
    import ppcls.utils.logger

    ppcls.utils.logger._logger = logging.getLogger("ppcls")


def build(name: str) -> Any:
    import ppcls.arch.backbone as backbones

    make = getattr(backbones, name)
    try:
        return make(pretrained=False)
    except TypeError:
        return make()


def merge_branches(layer: Any) -> None:
    for part in layer.sublayers(include_self=True):
        for method in ("re_parameterize", "rep", "fuse", "switch_to_deploy"):
            if callable(getattr(part, method, None)):
                try:
                    getattr(part, method)()
                    break
                except TypeError:  # another method of that name
                    pass


# Statistics of two images let another one's numbers grow from layer to layer in RedNets (involutions multiply activations) and in these.
_BATCHES = {"RedNet101": 64, "EfficientNetV2_S": 16, "TinyNet_A": 16, "TinyNet_B": 16, "ResNeSt50_fast_1s1x64d": 16}


def recipes() -> list[Recipe]:
    out = []
    for side, names in _NAMES.items():
        for name in names.split():
            # attention blocks of these reshape with the batch as a number
            dynamic = "none" if name.startswith("MobileViTV2") or name.startswith("MobileViTV3_x") else "batch"
            recipe = Recipe(
                "paddleclas",
                name,
                "paddleclas:build",
                (image(side, dynamic=dynamic),),
                PACKAGE,
                arguments={"name": name},
                setup="paddleclas:setup",
                calibrate=_BATCHES.get(name, 16 if name.startswith("RedNet") else 2),
                slides=(_SLIDES[name],) if name in _SLIDES else (),
            )
            out.append(recipe)
            if name in _MERGED:
                merged = Recipe(**{**vars(recipe), "name": f"{name}_merged", "finish": "paddleclas:merge_branches", "slides": ()})
                out.append(merged)
    return out
