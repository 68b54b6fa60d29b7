"""Make a float model with Paddle, and examples for it (``python export_ptq.py NAME FOLDER``): float.json, calibration.npz, test.npz.

Seeded weights; batch norms have the statistics of their own inputs on seeded pictures, as training would leave them: without that the
outputs of a network of random weights hardly depend on its input, and rounding does no harm that one could see.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
from export import Encoder
from paddle import nn
from paddle.vision import models

CALIBRATION, TEST = 20, 8


def pictures(count: int, seed: int) -> np.ndarray:
    """Normalised pictures of random coarse shapes under noise: contrast, colour and detail differ from one to the next."""
    rng = np.random.default_rng(seed)
    made = np.zeros((count, 3, 224, 224), np.float32)
    for picture in made:
        for side in (2, 7, 28):
            coarse = rng.standard_normal((3, side, side)) * rng.uniform(0.2, 1.0)
            picture += np.kron(coarse, np.ones((1, 224 // side, 224 // side)))
        picture += rng.standard_normal(picture.shape) * rng.uniform(0.05, 0.4)
    return made


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    paddle.seed(7)
    text = name == "Encoder"
    net = Encoder() if text else getattr(models, name)()
    if text:
        examples = np.random.default_rng(1).integers(1, 30000, (CALIBRATION + TEST, 128))
    else:
        examples = pictures(CALIBRATION + TEST, 1)
        for layer in net.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer._momentum = 0.0  # the statistics are those of the one batch that follows
        net.train()
        for layer in net.sublayers():
            if isinstance(layer, nn.Dropout):
                layer.eval()
        with paddle.no_grad():
            net(paddle.to_tensor(pictures(24, 2)))
    net.eval()
    spec = paddle.static.InputSpec([1, 128], "int64", "ids") if text else paddle.static.InputSpec([1, 3, 224, 224], "float32", "x")
    paddle.jit.save(net, str(folder / "float"), input_spec=[spec])
    np.savez(folder / "calibration.npz", **{spec.name: examples[:CALIBRATION]})
    np.savez(folder / "test.npz", **{spec.name: examples[CALIBRATION:]})
