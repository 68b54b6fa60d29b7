"""Denoisers and autoencoders of ppdiffusers, two narrow levels each, and 3-D backbones of Paddle3D."""

from __future__ import annotations

from typing import Any

from . import compat
from .recipe import OFFICIAL, REDUCED, Input, Recipe, image

DIFFUSERS, PADDLE3D = "ppdiffusers==0.29.0", "paddle3d==1.0.0"
_VAE: dict[str, Any] = {
    **{"in_channels": 3, "out_channels": 3, "block_out_channels": (16, 32), "layers_per_block": 1, "latent_channels": 4},
    **{"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2},
    **{"norm_num_groups": 8, "sample_size": 32},
}


def setup() -> None:
    compat.without_paddlenlp_extras()
    compat.without("open3d", "pyquaternion", "nuscenes", "trimesh", "pymesh", "h5py", "visualdl")
    compat.paddle_fluid()


def build_denoiser(conditional: bool, options: dict[str, Any]) -> Any:
    import ppdiffusers

    from .nets.diffusion import Denoiser, Guided

    if conditional:
        return Guided(ppdiffusers.UNet2DConditionModel(**options))
    return Denoiser(ppdiffusers.UNet2DModel(**options))


def build_vae(part: str) -> Any:
    import ppdiffusers

    from .nets.diffusion import Decoder, Encoder

    return {"encoder": Encoder, "decoder": Decoder}[part](ppdiffusers.AutoencoderKL(**_VAE))


def build_3d(parts: tuple[tuple[str, dict[str, Any]], ...], form: str) -> Any:
    import paddle3d.models as models

    from .nets import diffusion, wrappers

    made = [getattr(models, name)(**options) for name, options in parts]
    if form == "chain":
        return diffusion.Chain(*made)
    return wrappers.Listed(made[0]) if form == "list" else made[0]


def recipes() -> list[Recipe]:
    def diffuser(name: str, build: str, *inputs: Input, **arguments: Any) -> Recipe:
        return Recipe("diffusion", name, f"diffusion:{build}", inputs, DIFFUSERS, REDUCED, arguments=arguments, setup="diffusion:setup")

    common = {"sample_size": 16, "layers_per_block": 1, "block_out_channels": (32, 64), "norm_num_groups": 8, "attention_head_dim": 8}
    guided = common | {
        **{"in_channels": 4, "out_channels": 4, "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")},
        **{"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "cross_attention_dim": 32},
    }
    plain = common | {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    step = Input((1,), (1,), "int64", ("array", (10,)))
    return [
        diffuser(
            *("StableDiffusion_UNet", "build_denoiser", Input((None, 4, 16, 16)), step, Input((None, 7, 32))),
            **{"conditional": True, "options": guided},
        ),
        diffuser("DDPM_UNet2D", "build_denoiser", Input((None, 3, 16, 16)), step, conditional=False, options=plain),
        diffuser("VAE_encoder", "build_vae", image(32), part="encoder"),
        diffuser("VAE_decoder", "build_vae", image(16, channels=4), part="decoder"),
        *_volumes(),
    ]


def _volumes() -> list[Recipe]:
    def one(name: str, parts: tuple[tuple[str, dict[str, Any]], ...], *inputs: Input, form: str = "", kind: str = REDUCED) -> Recipe:
        arguments = {"parts": parts, "form": form}
        return Recipe("3d", name, "diffusion:build_3d", inputs, PADDLE3D, kind, arguments=arguments, setup="diffusion:setup")

    second = {"in_channels": 16, "out_channels": [16, 32, 64], "layer_nums": [1, 1, 1], "downsample_strides": [2, 2, 2]}
    fpn = {"in_channels": [16, 32, 64], "out_channels": [32, 32, 32], "upsample_strides": [1, 2, 4]}
    smoke = {"num_classes": 3, "reg_channels": (1, 2, 3, 2, 2), "num_chanels": 32, "norm_type": "gn", "in_channels": 32}
    return [
        one("SECOND_backbone_fpn", (("SecondBackbone", second), ("SecondFPN", fpn)), Input((None, 16, 32, 32)), form="chain"),
        one("SMOKE_predictor", (("SMOKEPredictor", smoke),), image(32, channels=32)),
        one(
            *("PETR_CPFPN", (("CPFPN", {"in_channels": [32, 64], "out_channels": 32, "num_outs": 2}),)),
            *(image(16, channels=32), image(8, channels=64)),
            form="list",
        ),
        one("Paddle3D_HRNet_W18", (("HRNet_W18", {}),), image(64), kind=OFFICIAL),
    ]
