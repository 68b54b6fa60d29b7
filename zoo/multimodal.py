"""Models of pictures and text, and depth, of PaddleNLP; reduced as its language models are."""

from __future__ import annotations

from .paddlenlp import PACKAGE, VISION, _recipe
from .recipe import REDUCED, Input, Recipe, image, tokens


def recipes() -> list[Recipe]:
    ids = tokens(999, low=3, name="input_ids")
    picture = {"names": "pixel_values", "family": "multimodal"}
    depth = {"backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [16, 32, 64, 64], "fusion_hidden_size": 32, "is_hybrid": False}
    sound = {
        **{"spec_size": 64, "patch_embeds_hidden_size": 16, "depths": [2, 2], "num_attention_heads": [2, 2], "num_hidden_layers": 2},
        **{"window_size": 4, "hidden_size": 32, "num_mel_bins": 64, "enable_fusion": False},
    }
    return [
        _recipe("CLIPVisionModel", "CLIPVisionConfig", **picture, **VISION),
        _recipe("CLIPTextModel", "CLIPTextConfig", family="multimodal", projection_dim=32),
        Recipe(*("multimodal", "CLIPModel", "paddlenlp:build_clip", (ids, image(64, batch=2)), PACKAGE, REDUCED), setup="paddlenlp:setup"),
        _recipe("ErnieViLTextModel", "ErnieViLTextConfig", family="multimodal"),
        _recipe("ErnieViLVisionModel", "ErnieViLVisionConfig", **picture, **VISION),
        _recipe("BlipVisionModel", "BlipVisionConfig", **picture, **VISION),
        _recipe("DPTForDepthEstimation", "DPTConfig", **picture, **depth, **{"image_size": 64, "patch_size": 16, "num_hidden_layers": 4}),
        _recipe(
            "ClapAudioModel",
            "ClapAudioConfig",
            names="input_features",
            inputs=(Input((None, 1, 64, 64), (1, 1, 64, 64)),),
            family="multimodal",
            **sound,
        ),
    ]
