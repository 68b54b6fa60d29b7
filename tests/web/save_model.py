"""Save a small network with Paddle, and what it gives for seeded inputs (``python save_model.py FOLDER``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import nn


class Net(nn.Layer):
    """A residual block, a depthwise convolution with hardswish, erf and pow, words, and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2D(3, 16, 3, 2, 1), nn.BatchNorm2D(16), nn.Hardswish())
        self.deep = nn.Sequential(nn.Conv2D(16, 16, 5, padding=2, groups=16), nn.Hardswish(), nn.Conv2D(16, 16, 1))
        self.words = nn.Embedding(20, 16)
        self.last = nn.Linear(16, 10)

    def forward(self, image: paddle.Tensor, words: paddle.Tensor) -> tuple:
        x = self.first(image)
        x = nn.functional.relu(x + self.deep(x))
        y = x.mean([2, 3]) + self.words(words).sum(1)
        z = self.last(paddle.erf(y) + paddle.pow(paddle.abs(y) + 0.1, 1.7))
        return nn.functional.softmax(z), z.argmax(-1), z > 0


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    paddle.seed(3)
    net = Net()
    net.eval()
    spec = [paddle.static.InputSpec([1, 3, 30, 26], "float32", "image"), paddle.static.InputSpec([1, 5], "int64", "words")]
    paddle.jit.save(net, str(folder / "net"), input_spec=spec)
    spec = [paddle.static.InputSpec([1, 3, -1, 26], "float32", "image"), spec[1]]
    paddle.jit.save(net, str(folder / "dynamic"), input_spec=spec)
    rng = np.random.default_rng(0)
    image, words = rng.standard_normal((1, 3, 30, 26)).astype("float32"), rng.integers(0, 20, (1, 5))
    image.tofile(folder / "image.bin")
    words.tofile(folder / "words.bin")
    tensors = {"image": image, "words": words}
    described = {n: {"dtype": str(a.dtype), "shape": list(a.shape), "file": f"{n}.bin"} for n, a in tensors.items()}
    (folder / "sets.json").write_text(json.dumps([described] * 2))  # two runs: of the second nothing is left from the first
    outputs = net(paddle.to_tensor(image), paddle.to_tensor(words))
    np.savez(folder / "expected.npz", *(o.numpy() for o in outputs))
