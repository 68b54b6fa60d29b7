"""The benchmark's networks as PyTorch has them, with weights of its own: for time, not for numbers."""

from __future__ import annotations

from typing import Any

NAMES = {
    "MobileNetV3-S": "mobilenet_v3_small",
    "MobileNetV3-L": "mobilenet_v3_large",
    "ShuffleNetV2": "shufflenet_v2_x1_0",
    "ResNet50": "resnet50",
    "Encoder-6x384": "",
}


def network(name: str) -> Any:
    """A module of the same layers and sizes, in evaluation mode on the GPU."""
    import torch
    import torchvision

    torch.manual_seed(7)
    made = getattr(torchvision.models, NAMES[name])() if NAMES[name] else _encoder()
    return made.eval().cuda()


def _encoder() -> Any:
    """benchmarks/cpu/export.py's."""
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(40000, 384), nn.Embedding(2048, 384)
            self.norm = nn.LayerNorm(384)
            layer = nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
            self.pooler = nn.Linear(384, 384)

        def forward(self, ids: Any) -> Any:
            places = torch.cumsum(torch.ones_like(ids), -1) - 1
            x = self.layers(self.norm(self.words(ids) + self.places(places)), src_key_padding_mask=ids == 0)
            return x, torch.tanh(self.pooler(x[:, 0]))

    return Encoder()
