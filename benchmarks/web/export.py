"""Make one of the web benchmark's own models with Paddle (``python export.py NAME PATH``): seeded weights, saved as PIR json.

A file of its own, since Paddle reads the source of what it converts.
"""

from __future__ import annotations

import sys

import paddle
from paddle import nn


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size (but for its stride), a batch norm, and a relu unless told otherwise."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> None:
        layers = [nn.Conv2D(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias_attr=False), nn.BatchNorm2D(outputs)]
        super().__init__(*layers, *([nn.ReLU()] if act else []))


class Blaze(nn.Layer):
    """Depthwise 5×5 and pointwise, once or twice, beside a shortcut that is pooled and widened where the sizes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, middle: int = 0) -> None:
        super().__init__()
        first = middle or outputs
        layers = [ConvNorm(inputs, inputs, 5, stride, inputs, act=False), ConvNorm(inputs, first, 1, act=bool(middle))]
        if middle:
            layers += [ConvNorm(first, first, 5, 1, first, act=False), ConvNorm(first, outputs, 1, act=False)]
        self.deep = nn.Sequential(*layers)
        self.short = nn.Sequential(nn.MaxPool2D(2, 2), ConvNorm(inputs, outputs, 1, act=False)) if stride == 2 else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return nn.functional.relu(self.deep(x) + self.short(x))


class BlazeFace(nn.Layer):
    """BlazeFace's front model: five single and six double blocks; boxes and scores of 896 anchors, before overlaps are dropped."""

    def __init__(self) -> None:
        super().__init__()
        single = [Blaze(24, 24), Blaze(24, 24), Blaze(24, 48, 2), Blaze(48, 48), Blaze(48, 48)]
        self.eighth = nn.Sequential(ConvNorm(3, 24, 5, 2), *single, Blaze(48, 96, 2, 24), Blaze(96, 96, 1, 24), Blaze(96, 96, 1, 24))
        self.sixteenth = nn.Sequential(Blaze(96, 96, 2, 24), Blaze(96, 96, 1, 24), Blaze(96, 96, 1, 24))
        self.boxes = nn.LayerList([nn.Conv2D(96, anchors * 4, 3, padding=1) for anchors in (2, 6)])
        self.scores = nn.LayerList([nn.Conv2D(96, anchors * 2, 3, padding=1) for anchors in (2, 6)])

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        eighth = self.eighth(x)
        maps = [eighth, self.sixteenth(eighth)]
        # Paddle translates this source, and its zip knows no "strict"
        boxes = [conv(m).transpose([0, 2, 3, 1]).reshape([0, -1, 4]) for conv, m in zip(self.boxes, maps)]  # noqa: B905
        scores = [conv(m).transpose([0, 2, 3, 1]).reshape([0, -1, 2]) for conv, m in zip(self.scores, maps)]  # noqa: B905
        return paddle.concat(boxes, 1), nn.functional.softmax(paddle.concat(scores, 1))


class Encoder(nn.Layer):
    """A text encoder of four layers of 256."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(8000, 256), nn.Embedding(512, 256)
        self.norm = nn.LayerNorm(256)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(256, 4, 1024, 0.0, "gelu"), 4)
        self.pooler = nn.Linear(256, 256)

    def forward(self, ids: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        places = paddle.cumsum(paddle.ones_like(ids), axis=-1) - 1
        mask = paddle.unsqueeze((ids == 0).astype("float32") * -1e4, [1, 2])
        x = self.layers(self.norm(self.words(ids) + self.places(places)), mask)
        return x, paddle.tanh(self.pooler(x[:, 0]))


def mobilenet() -> nn.Layer:
    return paddle.vision.models.mobilenet_v3_small()


def calibrate(network: nn.Layer, shape: list[int]) -> None:
    """Give batch norms the statistics of random data: with the initial ones a deep net's output vanishes or explodes."""
    for norm in (m for m in network.sublayers() if isinstance(m, nn.BatchNorm2D)):
        norm._momentum = 0.0
    network.train()
    with paddle.no_grad():
        network(paddle.randn(shape))
    network.eval()


if __name__ == "__main__":
    name, path = sys.argv[1:]
    paddle.seed(7)
    network, shape, dtype = {
        "BlazeFace": (BlazeFace, [1, 3, 128, 128], "float32"),
        "Encoder": (Encoder, [1, 64], "int64"),
        "MobileNetV3": (mobilenet, [1, 3, 224, 224], "float32"),
    }[name]
    net = network()
    if dtype == "float32":
        calibrate(net, shape)
    net.eval()
    paddle.jit.save(net, path, input_spec=[paddle.static.InputSpec(shape, dtype, "x")])
