"""Elementwise readers that join the kernel of what they read (targets/cpu/joining.py)."""

from __future__ import annotations

import numpy as np
import pytest
from runner import Program, build, dim, module, var
from test_cpu_convolutions import convolve
from tvm import relax

from oarlock.kernels import Choices

op = relax.op
PLAIN = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
SHAPES = {"3x3": (24, 12, 3, 3), "1x1": (24, 12, 1, 1), "depthwise": (12, 1, 3, 3), "whole vectors": (32, 12, 1, 1), "long": (24, 12, 9, 9)}


def rounded(y: np.ndarray, scale: float) -> np.ndarray:
    return np.clip(np.round(y * np.float32(scale)), -100, 100)


def network(weights: np.ndarray, *scales: float):
    """Of a convolution's result y: its sums, and its rounded numbers by each scale, through products that take them channels last."""
    channels = weights.shape[0]
    same = relax.const(np.eye(channels, dtype="float32").reshape(channels, channels, 1, 1))
    groups = 12 if weights.shape[1] == 1 else 1

    def make(bb: relax.BlockBuilder, x: relax.Expr) -> list[relax.Expr]:
        y = bb.emit(op.nn.conv2d(x, relax.const(weights), padding=weights.shape[2] // 2, groups=groups))
        y = bb.emit(op.nn.relu(bb.emit(op.add(y, relax.const(np.float32(0.5))))))
        out = [bb.emit(op.nn.conv2d(y, same))]
        for scale in scales:
            whole = bb.emit(op.round(bb.emit(op.multiply(y, relax.const(scale, "float32")))))
            out.append(bb.emit(op.nn.conv2d(bb.emit(op.clip(whole, -100, 100)), same)))
        return out

    return make


def joined(program: Program) -> list[str]:
    return [name for name in program.built.kernels if ("conv2d" in name or "depthwise" in name or "product" in name) and "round" in name]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("scales", [(8.0,), (8.0, 3.0), (8.0, 3.0, 5.0)], ids=["one", "two", "more than join"])
@pytest.mark.parametrize("kind", SHAPES)
def test_readers_join(kind: str, scales: tuple[float, ...], dynamic: bool, threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((1, 12, 9, 11)).astype("float32")
    weights = np.random.default_rng(0).standard_normal(SHAPES[kind]).astype("float32") / 8
    shape = (1, 12, dim("h"), dim("w")) if dynamic else x.shape
    program = build([var("x", shape)], network(weights, *scales), threads=threads)
    assert program.built.notes == []
    # a matrix of h · w rows takes that size as a parameter, as its readers do
    assert len(joined(program)) == (0 if dynamic and kind in ("1x1", "whole vectors") else 1), list(program.built.kernels)
    groups, pad = 12 if kind == "depthwise" else 1, SHAPES[kind][2] // 2
    want = np.maximum(convolve(x, weights, (1, 1), (pad,) * 4, (1, 1), groups) + 0.5, 0)
    y, *made = program(x)
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)
    for scale, got in zip(scales, made, strict=True):
        np.testing.assert_array_equal(got, rounded(y, scale))


def test_kernels_of_trials_do_one_job() -> None:
    """The contest compares kernels of one workload; searches start from them."""
    weights = np.random.default_rng(0).standard_normal(SHAPES["3x3"]).astype("float32")
    mod = module([var("x", (1, 12, 9, 11))], network(weights, 8.0))
    choices = Choices()
    choices.starts = {}
    assert len(joined(Program(mod, choices=choices))) == 1
    assert all("round" not in start.function.attrs.get("global_symbol", "") for start in choices.starts.values())
    assert joined(Program(mod, choices=Choices.of_plan({}))) == []


def test_what_reads_more_stays_apart() -> None:
    """A reader of another tensor too is no part of the kernel."""
    weights = np.random.default_rng(0).standard_normal(SHAPES["3x3"]).astype("float32")
    same = relax.const(np.eye(24, dtype="float32").reshape(24, 24, 1, 1))

    def make(bb: relax.BlockBuilder, x: relax.Expr, z: relax.Expr) -> list[relax.Expr]:
        y = bb.emit(op.nn.relu(bb.emit(op.nn.conv2d(x, relax.const(weights), padding=1))))
        z = bb.emit(op.nn.conv2d(z, same))
        return [bb.emit(op.nn.conv2d(v, same)) for v in (y, bb.emit(op.round(bb.emit(op.add(y, z)))))]

    x, z = (np.random.default_rng(i).standard_normal((1, c, 9, 11)).astype("float32") for i, c in ((1, 12), (2, 24)))
    program = build([var("x", x.shape), var("z", z.shape)], make)
    y, other = program(x, z)
    np.testing.assert_allclose(y, np.maximum(convolve(x, weights, (1, 1), (1, 1, 1, 1), (1, 1), 1), 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(other, np.round(y + convolve(z, np.eye(24).reshape(24, 24, 1, 1), *PLAIN).astype("float32")))
