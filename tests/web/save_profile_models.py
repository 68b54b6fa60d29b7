"""Save small networks with Paddle for the tests of profiles, and what they give for a seeded picture (``python … FOLDER``)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import nn


class Squeeze(nn.Layer):
    """What Paddle.js has operators for: norms into convolutions or on their own, a squeeze and excitation, pools, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2D(3, 8, 3, 2, 1, bias_attr=False), nn.BatchNorm2D(8), nn.Hardswish())
        self.alone = nn.BatchNorm2D(8)
        self.deep = nn.Sequential(nn.Conv2D(8, 8, 5, padding=2, groups=8), nn.BatchNorm2D(8), nn.ReLU())
        self.narrow = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Conv2D(8, 4, 1), nn.ReLU(), nn.Conv2D(4, 8, 1), nn.Hardsigmoid())
        self.up = nn.Conv2DTranspose(8, 4, 2, 2)
        self.last = nn.Linear(4, 5)

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        x = self.first(image)
        x = self.alone(nn.functional.max_pool2d(x, 3, 1, 1)) + x
        y = self.deep(x)
        y = y * self.narrow(y)
        y = self.up(y * 0.5 + x)
        z = nn.functional.avg_pool2d(nn.functional.interpolate(y, scale_factor=2), 2)
        return nn.functional.softmax(self.last(z.mean([2, 3]))), paddle.transpose(z, [0, 2, 3, 1])


class Chain(nn.Layer):
    """A few convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.LayerList([nn.Conv2D(a, b, 3, padding=1, bias_attr=False) for a, b in ((3, 8), (8, 8), (8, 4))])

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        x = nn.functional.relu(self.layers[1](nn.functional.relu(self.layers[0](image))))
        return self.layers[2](nn.functional.max_pool2d(x, 2))


class Blocks(nn.Layer):
    """Two blocks whose input goes around them, as BlazeFace has, between convolutions; the odd pixel of the first padding comes after."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2D(3, 8, 3, 2, padding=[0, 1, 0, 1])
        self.deep = nn.LayerList([nn.Conv2D(8, 8, 3, padding=1, groups=8) for _ in range(2)])
        self.flat = nn.LayerList([nn.Conv2D(8, 8, 1) for _ in range(2)])
        self.last = nn.Conv2D(8, 4, 3, padding=1)

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        x = nn.functional.relu(self.first(image))
        for deep, flat in zip(self.deep, self.flat):  # noqa: B905  Paddle knows no strict
            x = nn.functional.relu(x + flat(deep(x)))
        y = self.last(nn.functional.max_pool2d(x, 2))
        return y, paddle.reshape(paddle.transpose(x, [0, 2, 3, 1]), [1, -1, 2])


class Halves(nn.Layer):
    """Two operators that read the picture, and give an output each."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv2D(3, 3, 3, 2, padding=[0, 1, 0, 1], groups=3)

    def forward(self, image: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        return self.deep(image), nn.functional.max_pool2d(image, 2)


class Odd(nn.Layer):
    """What Paddle.js has not."""

    def forward(self, image: paddle.Tensor) -> paddle.Tensor:
        return paddle.exp(nn.functional.gelu(image)) + nn.functional.gelu(image * 2.0)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    paddle.seed(5)
    spec = [paddle.static.InputSpec([1, 3, 20, 16], "float32", "image")]
    image = np.random.default_rng(0).standard_normal((1, 3, 20, 16)).astype("float32")
    net = Squeeze()
    for norm in (m for m in net.sublayers() if isinstance(m, nn.BatchNorm2D)):
        norm._momentum = 0.0
    net.train()
    net(paddle.to_tensor(np.random.default_rng(1).standard_normal((4, 3, 20, 16)).astype("float32")))
    for name, network in (("squeeze", net), ("chain", Chain()), ("blocks", Blocks()), ("halves", Halves()), ("odd", Odd())):
        network.eval()
        paddle.jit.save(network, str(folder / name), input_spec=spec)
        outputs = network(paddle.to_tensor(image))
        np.savez(folder / f"{name}.expected.npz", *(o.numpy() for o in (outputs if isinstance(outputs, tuple) else [outputs])))
    image.tofile(folder / "image.bin")
    np.savez(folder / "image.npz", image=image)
