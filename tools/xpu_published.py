"""The models whose latency on an R200 is published, and the nets of those that paddle.vision lacks.

Source: Paddle-Lite, docs/demo_guides/kunlunxin_xpu.md, the column "x86 + R200" (ms; its models take one picture of 224 × 224; kernels of
the vendor's library are launched from the host, with operands of 16 bits).  Thirteen of its classifiers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SOURCE = "https://github.com/PaddlePaddle/Paddle-Lite/blob/develop/docs/demo_guides/kunlunxin_xpu.md"


@dataclass(frozen=True)
class Published:
    """``ms``: as published; ``make``: the net."""

    ms: float
    make: Callable[[], Any]


def models() -> dict[str, Published]:
    """By the name that the source has."""
    from paddle.vision import models as vision

    def of(name: str) -> Callable[[], Any]:
        return lambda: getattr(vision, name)(pretrained=False)

    return {
        "SqueezeNet-v1": Published(0.5519, of("squeezenet1_0")),
        "MobileNet-v1": Published(0.48536, of("mobilenet_v1")),
        "MobileNet-v2": Published(0.71952, of("mobilenet_v2")),
        "ResNet-18": Published(0.41304, of("resnet18")),
        "ResNet-50": Published(0.90894, of("resnet50")),
        "ResNet-101": Published(1.55288, of("resnet101")),
        "ResNeXt50": Published(1.0345, of("resnext50_32x4d")),
        "GoogLeNet": Published(1.25748, lambda: _first(vision.googlenet(pretrained=False))),
        "Inception-v4": Published(2.84598, inception_v4),
        "DarkNet53": Published(1.04676, darknet53),
        "AlexNet": Published(0.5762, of("alexnet")),
        "VGG16": Published(1.4011, of("vgg16")),
        "VGG19": Published(1.51684, of("vgg19")),
    }


def _first(net: Any) -> Any:
    """A net's first result alone: the others are there for training."""
    import paddle

    class First(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Any) -> Any:
            return self.net(x)[0]

    return First()


def _conv(channels: int, filters: int, window: Any, stride: int = 1, padding: Any = 0, act: str = "relu") -> Any:
    from paddle import nn

    after = {"relu": nn.ReLU, "leaky": lambda: nn.LeakyReLU(0.1)}[act]()
    return nn.Sequential(nn.Conv2D(channels, filters, window, stride, padding, bias_attr=False), nn.BatchNorm2D(filters), after)


def darknet53() -> Any:
    """DarkNet-53 (YOLOv3's backbone, as a classifier)."""
    import paddle
    from paddle import nn

    class Residual(nn.Layer):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.narrow = _conv(width, width // 2, 1, act="leaky")
            self.wide = _conv(width // 2, width, 3, padding=1, act="leaky")

        def forward(self, x: Any) -> Any:
            return x + self.wide(self.narrow(x))

    class DarkNet(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            layers = [_conv(3, 32, 3, padding=1, act="leaky")]
            for stage, count in enumerate((1, 2, 8, 8, 4)):
                layers.append(_conv(32 << stage, 64 << stage, 3, 2, 1, "leaky"))
                layers += [Residual(64 << stage) for _ in range(count)]
            self.body = nn.Sequential(*layers)
            self.head = nn.Linear(1024, 1000)

        def forward(self, x: Any) -> Any:
            return self.head(paddle.flatten(nn.functional.adaptive_avg_pool2d(self.body(x), 1), 1))

    return DarkNet()


def inception_v4() -> Any:
    """Inception-v4 (Szegedy and others, 2016)."""
    import paddle
    from paddle import nn

    row, column = {"padding": (0, 3), "window": (1, 7)}, {"padding": (3, 0), "window": (7, 1)}

    def chain(channels: int, *steps: tuple[Any, ...]) -> Any:
        """Convolutions one after another: (filters, window, stride, padding)."""
        layers = []
        for filters, window, stride, padding in steps:
            layers.append(_conv(channels, filters, window, stride, padding))
            channels = filters
        return nn.Sequential(*layers)

    class Branches(nn.Layer):
        """What several branches give for the same input, joined; a branch that is a tuple splits once more."""

        def __init__(self, *branches: Any) -> None:
            super().__init__()
            self.branches = nn.LayerList(branches)

        def forward(self, x: Any) -> Any:
            return paddle.concat([branch(x) for branch in self.branches], 1)

    def pooled(channels: int, filters: int) -> Any:
        return nn.Sequential(nn.AvgPool2D(3, 1, 1), _conv(channels, filters, 1))

    def a() -> Any:
        return Branches(
            pooled(384, 96),
            chain(384, (96, 1, 1, 0)),
            chain(384, (64, 1, 1, 0), (96, 3, 1, 1)),
            chain(384, (64, 1, 1, 0), (96, 3, 1, 1), (96, 3, 1, 1)),
        )

    def b() -> Any:
        across, down = (row["window"], 1, row["padding"]), (column["window"], 1, column["padding"])
        return Branches(
            pooled(1024, 128),
            chain(1024, (384, 1, 1, 0)),
            chain(1024, (192, 1, 1, 0), (224, *across), (256, *down)),
            chain(1024, (192, 1, 1, 0), (192, *across), (224, *down), (224, *across), (256, *down)),
        )

    def c() -> Any:
        def both(channels: int) -> Any:
            return Branches(_conv(channels, 256, (1, 3), padding=(0, 1)), _conv(channels, 256, (3, 1), padding=(1, 0)))

        return Branches(
            pooled(1536, 256),
            chain(1536, (256, 1, 1, 0)),
            nn.Sequential(_conv(1536, 384, 1), both(384)),
            nn.Sequential(chain(1536, (384, 1, 1, 0), (448, (1, 3), 1, (0, 1)), (512, (3, 1), 1, (1, 0))), both(512)),
        )

    stem = nn.Sequential(
        chain(3, (32, 3, 2, 0), (32, 3, 1, 0), (64, 3, 1, 1)),
        Branches(nn.MaxPool2D(3, 2), _conv(64, 96, 3, 2)),
        Branches(
            chain(160, (64, 1, 1, 0), (96, 3, 1, 0)),
            chain(160, (64, 1, 1, 0), (64, (7, 1), 1, (3, 0)), (64, (1, 7), 1, (0, 3)), (96, 3, 1, 0)),
        ),
        Branches(_conv(192, 192, 3, 2), nn.MaxPool2D(3, 2)),
    )
    reduce_a = Branches(nn.MaxPool2D(3, 2), chain(384, (384, 3, 2, 0)), chain(384, (192, 1, 1, 0), (224, 3, 1, 1), (256, 3, 2, 0)))
    reduce_b = Branches(
        nn.MaxPool2D(3, 2),
        chain(1024, (192, 1, 1, 0), (192, 3, 2, 0)),
        chain(1024, (256, 1, 1, 0), (256, (1, 7), 1, (0, 3)), (320, (7, 1), 1, (3, 0)), (320, 3, 2, 0)),
    )
    body = [*(a() for _ in range(4)), reduce_a, *(b() for _ in range(7)), reduce_b, *(c() for _ in range(3))]
    return nn.Sequential(stem, *body, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(1536, 1000))
