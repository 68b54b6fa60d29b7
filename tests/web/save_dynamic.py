"""Save models of dynamic sizes and control flow with Paddle, inputs, and what it gives (``python save_dynamic.py FOLDER [MODEL WIDTH…]``).

FOLDER/<name>/: model.json, sets.json and the inputs' files (web/run.mjs), expected.npz (<set>.<output>).  MODEL: a real recogniser of
text lines, the path of its graph: it is run with seeded pictures of these widths, and nothing is saved but inputs and results.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

F32, I64 = "float32", "int64"


class Picture(nn.Layer):
    """Convolutions over a picture whose width is known only when it comes, down to a row of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2D(3, 16, 3, 2, 1), nn.BatchNorm2D(16), nn.Hardswish())
        self.deep = nn.Sequential(nn.Conv2D(16, 16, 5, padding=2, groups=16), nn.ReLU(), nn.Conv2D(16, 24, 1))
        self.last = nn.Linear(24, 7)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = nn.functional.max_pool2d(self.deep(self.first(x)), (2, 1), (2, 1)).mean(2)
        return nn.functional.softmax(self.last(y.transpose([0, 2, 1])))


class Branch(nn.Layer):
    """Of the sign of a sum: one of two products, or a selection."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 5), nn.Linear(4, 3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if x.sum() > 0:
            y = self.left(x).sum(1)
            if x.max() > 100:
                y = y * 2
        else:
            y = paddle.masked_select(x, x < 0)
        return y


class Joined(nn.Layer):
    """A layer after a branch: the compiler knows no shape of what the branch gives."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 5)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if x.sum() > 0:
            y = x * 2
        else:
            y = x - 1
        return self.last(y)


class Count(nn.Layer):
    """A loop that runs as often as an input says, and one within it that ends by what it computes."""

    def forward(self, n: paddle.Tensor, x: paddle.Tensor) -> tuple:
        i, y = paddle.zeros([], I64), x
        while i < n:
            y = paddle.where(y > 1e3, y * 0.5, y + 1)
            i += 1
        rounds = paddle.zeros([], I64)
        while y.sum() > 10:
            y = y * 0.5
            rounds += 1
        return i, rounds, y


class Nested(nn.Layer):
    """A loop within a loop, with a branch in it: the sum of j · x for j < i < n, but of odd i its negative."""

    def forward(self, n: paddle.Tensor, x: paddle.Tensor) -> paddle.Tensor:
        i, y = paddle.zeros([], I64), x * 0
        while i < n:
            j, z = paddle.zeros([], I64), x * 0
            while j < i:
                if i % 2 == 0:
                    z = z + x * j.astype(F32)
                else:
                    z = z - x * j.astype(F32)
                j += 1
            y = y + z
            i += 1
        return y


class Grow(nn.Layer):
    """A loop whose tensor is longer after every turn."""

    def forward(self, n: paddle.Tensor, x: paddle.Tensor) -> paddle.Tensor:
        i, y = paddle.zeros([], I64), x
        while i < n:
            y = paddle.concat([y, y[-1:] * 0.5 + 1])
            i += 1
        return y


class Select(nn.Layer):
    """Sizes that the data decide."""

    def forward(self, x: paddle.Tensor, n: paddle.Tensor) -> tuple:
        values, counts = paddle.unique(paddle.cast(x * 2, I64), return_counts=True)
        picked = paddle.masked_select(x, x > 0.5)
        return paddle.nonzero(x > 0), picked, picked * 2 + 1, values, counts, paddle.sort(x)[:, :n], paddle.full([n, 2], 3.0)


class Same(nn.Layer):
    """Results that are an input, a weight, and one another."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self.create_parameter([5, 16], default_initializer=nn.initializer.Uniform(-1, 1))

    def forward(self, x: paddle.Tensor) -> tuple:
        y = paddle.tanh(x)
        return x, self.weight, y, y.reshape([-1]), paddle.ones([3])


class Pair(nn.Layer):
    def forward(self, a: paddle.Tensor, b: paddle.Tensor) -> paddle.Tensor:
        return paddle.matmul(a, b, transpose_y=True)


def random(*shape: int, seed: int = 0, low: float = -1, high: float = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(F32)


def whole(n: int) -> np.ndarray:
    return np.array(n, I64)


Sets = Sequence[dict[str, np.ndarray]]
MODELS: dict[str, tuple[Callable[[], nn.Layer], list[InputSpec], Sets]] = {
    "picture": (
        Picture,
        [InputSpec([1, 3, 16, -1], F32, "x")],
        [{"x": random(1, 3, 16, w, seed=w)} for w in (40, 73, 9, 40)],
    ),
    "branch": (
        Branch,
        [InputSpec([-1, 4], F32, "x")],
        [{"x": x} for x in (random(3, 4, high=3), random(2, 4, high=-0.5), random(3, 4, low=90, high=120), random(6, 4, low=-2, high=0.5))],
    ),
    "joined": (Joined, [InputSpec([-1, 4], F32, "x")], [{"x": random(3, 4, high=3)}, {"x": random(2, 4, high=-0.5)}]),
    "count": (
        Count,
        [InputSpec([], I64, "n"), InputSpec([-1], F32, "x")],
        [{"n": whole(n), "x": random(k)} for n, k in ((0, 3), (1, 3), (9, 1), (700, 5))],
    ),
    "nested": (Nested, [InputSpec([], I64, "n"), InputSpec([-1], F32, "x")], [{"n": whole(n), "x": random(3)} for n in (0, 1, 2, 7)]),
    "grow": (Grow, [InputSpec([], I64, "n"), InputSpec([-1, 3], F32, "x")], [{"n": whole(n), "x": random(2, 3)} for n in (0, 1, 40)]),
    "select": (
        Select,
        [InputSpec([-1, -1], F32, "x"), InputSpec([], I64, "n")],
        [{"x": random(*s, seed=s[0]), "n": whole(n)} for s, n in (((3, 5), 2), ((8, 2), 1), ((1, 1), 0))]
        + [{"x": random(2, 3, high=-0.5), "n": whole(3)}],
    ),
    "same": (Same, [InputSpec([-1, 2], F32, "x")], [{"x": random(3, 2)}, {"x": random(1, 2)}]),
    "same-static": (Same, [InputSpec([3, 2], F32, "x")], [{"x": random(3, 2)}]),
    "pair": (Pair, [InputSpec([-1, 4], F32, "a"), InputSpec([-1, 4], F32, "b")], [{"a": random(3, 4), "b": random(3, 4, seed=1)}]),
}


def write(folder: Path, sets: Sets, run: Callable[..., Any]) -> None:
    expected, described = {}, []
    for i, inputs in enumerate(sets):
        tensors = {}
        for name, array in inputs.items():
            array.tofile(folder / f"{i}.{name}.bin")
            tensors[name] = {"dtype": str(array.dtype), "shape": list(array.shape), "file": f"{i}.{name}.bin"}
        described.append(tensors)
        results = run(*(paddle.to_tensor(a) for a in inputs.values()))
        for n, result in enumerate(results if isinstance(results, list | tuple) else [results]):
            expected[f"{i}.{n}"] = result.numpy()
    (folder / "sets.json").write_text(json.dumps(described))
    np.savez(folder / "expected.npz", **expected)


def main(folder: Path, graph: str = "", *widths: str) -> None:
    if graph:
        from paddle import inference

        config = inference.Config(graph, str(Path(graph).with_suffix(".pdiparams")))
        config.disable_glog_info()
        predictor = inference.create_predictor(config)
        folder.mkdir(parents=True)
        write(folder, [{"x": random(1, 3, 48, int(w), seed=int(w))} for w in widths], lambda x: predictor.run([x]))
        return
    for name, (make, spec, sets) in MODELS.items():
        paddle.seed(3)
        layer = make()
        layer.eval()
        (folder / name).mkdir(parents=True)
        with paddle.no_grad():
            write(folder / name, sets, layer)  # before it is saved: as Python runs it
        paddle.jit.save(layer, str(folder / name / "model"), input_spec=spec)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
