"""Train a small network on scikit-learn's handwritten digits with Paddle, and save it (``python train_ptq.py NAME FOLDER``).

NAME: "mobilenet_v3_small" or "resnet50" (on pictures of 64×64, as ``paddle.vision`` has them), or "PatchEncoder".  Writes float.json,
calibration.npz (of the digits that were trained with), test.npz (of those that were held out, with their labels) and accuracy.json; minutes
on two cores.

A file of its own, since Paddle reads the source of what it converts.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddle.vision import models
from sklearn.datasets import load_digits

HELD_OUT, CALIBRATION, BATCH = 360, 64, 32
SIDE = 64  # of the pictures
EPOCHS = {"mobilenet_v3_small": 6, "resnet50": 4, "PatchEncoder": 8}


class PatchEncoder(nn.Layer):
    """Four layers of 192 on the 16 patches of 2×2 that a digit has."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Linear(4, 192), nn.LayerNorm(192)
        self.places = self.create_parameter([1, 16, 192], default_initializer=nn.initializer.Normal(0.0, 0.5))
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(192, 6, 768, 0.1, "gelu"), 4)
        self.classes = nn.Linear(192, 10)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.layers(self.norm(self.patches(x) + self.places))
        return self.classes(y.mean(1))


def pictures(digits: np.ndarray, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """[N, 8, 8] from 0 to 1 as [N, 3, SIDE, SIDE] from -1 to 1: each pixel is a square, its edges smoothed; moved by ``shift`` pixels."""
    wide = np.kron(digits, np.ones((1, SIDE // 8, SIDE // 8), np.float32))
    for axis in (1, 2):
        wide = sum(np.roll(wide, d, axis) for d in range(-4, 5)) / 9
    wide = np.roll(wide, shift, (1, 2)) * 2 - 1
    return np.ascontiguousarray(np.repeat(wide[:, None], 3, 1).astype(np.float32))


def patches(digits: np.ndarray, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """[N, 8, 8] from 0 to 1 as [N, 16, 4] from -1 to 1; not moved: a pixel is a tenth of a digit."""
    n = len(digits)
    cut = digits.reshape(n, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(n, 16, 4)
    return np.ascontiguousarray((cut * 2 - 1).astype(np.float32))


def accuracy(net: nn.Layer, x: np.ndarray, labels: np.ndarray) -> float:
    net.eval()
    with paddle.no_grad():
        found = [net(paddle.to_tensor(x[i : i + BATCH])).numpy().argmax(-1) for i in range(0, len(x), BATCH)]
    return float((np.concatenate(found) == labels).mean())


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    paddle.seed(7)
    rng = np.random.default_rng(7)
    data = load_digits()
    digits, labels = (data.images / 16).astype(np.float32), data.target.astype(np.int64)
    order = rng.permutation(len(digits))
    digits, labels = digits[order], labels[order]
    seen, known, unseen, wanted = digits[:-HELD_OUT], labels[:-HELD_OUT], digits[-HELD_OUT:], labels[-HELD_OUT:]
    encodes = name == "PatchEncoder"
    net, form = (PatchEncoder(), patches) if encodes else (getattr(models, name)(num_classes=10), pictures)
    for layer in net.sublayers():
        if isinstance(layer, nn.BatchNorm2D):
            layer._momentum = 0.9  # Paddle's 0.99 would need more steps to forget what it starts with
    test = form(unseen)
    epochs = EPOCHS[name]
    steps = epochs * (len(seen) // BATCH)
    rate = paddle.optimizer.lr.LinearWarmup(paddle.optimizer.lr.CosineAnnealingDecay(1e-3, steps), 40, 1e-5, 1e-3)
    optimiser = paddle.optimizer.AdamW(rate, parameters=net.parameters(), weight_decay=0.01)
    for epoch in range(epochs):
        net.train()
        start, losses = time.perf_counter(), []
        order = rng.permutation(len(seen))
        for at in range(0, len(seen) - BATCH + 1, BATCH):
            chosen = order[at : at + BATCH]
            x = form(seen[chosen], tuple(rng.integers(-4, 5, 2)))
            loss = nn.functional.cross_entropy(net(paddle.to_tensor(x)), paddle.to_tensor(known[chosen]))
            loss.backward()
            optimiser.step()
            optimiser.clear_grad()
            rate.step()
            losses.append(float(loss))
        print(f"{name}: epoch {epoch + 1} of {epochs}: loss {np.mean(losses):.3f}, {time.perf_counter() - start:.1f} s", flush=True)
    reached = accuracy(net, test, wanted)
    print(f"{name}: {reached:.2%} of {HELD_OUT} held-out digits", flush=True)
    shape = [1, 16, 4] if encodes else [1, 3, SIDE, SIDE]
    paddle.jit.save(net, str(folder / "float"), input_spec=[paddle.static.InputSpec(shape, "float32", "x")])
    np.savez(folder / "calibration.npz", x=form(seen[:CALIBRATION]))
    np.savez(folder / "test.npz", x=test, labels=wanted)
    (folder / "accuracy.json").write_text(json.dumps({"float": reached}), encoding="utf-8")
