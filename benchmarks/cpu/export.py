"""Make one of the benchmark's models with Paddle (``python export.py NAME PATH``): seeded weights, saved as PIR json.

A file of its own, since Paddle reads the source of what it converts.
"""

from __future__ import annotations

import sys

import paddle
from paddle import nn
from paddle.vision import models


class Encoder(nn.Layer):
    """A text encoder of ERNIE 3.0 mini's dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(40000, 384), nn.Embedding(2048, 384)
        self.norm = nn.LayerNorm(384)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu"), 6)
        self.pooler = nn.Linear(384, 384)

    def forward(self, ids: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        places = paddle.cumsum(paddle.ones_like(ids), axis=-1) - 1
        mask = paddle.unsqueeze((ids == 0).astype("float32") * -1e4, [1, 2])
        x = self.layers(self.norm(self.words(ids) + self.places(places)), mask)
        return x, paddle.tanh(self.pooler(x[:, 0]))


if __name__ == "__main__":
    name, path = sys.argv[1:]
    paddle.seed(7)
    net = Encoder() if name == "Encoder" else getattr(models, name)()
    net.eval()
    spec = ([None, None], "int64", "ids") if name == "Encoder" else ([None, 3, 224, 224], "float32", "x")
    paddle.jit.save(net, path, input_spec=[paddle.static.InputSpec(*spec)])
