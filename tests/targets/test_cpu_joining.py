"""Elementwise readers that join the kernel of what they read (targets/cpu/joining.py)."""

from __future__ import annotations

import numpy as np
import pytest
from runner import build, dim, var
from test_cpu_convolutions import convolve
from tvm import relax

op = relax.op
WEIGHTS = np.random.default_rng(0).standard_normal((24, 12, 3, 3)).astype("float32") / 8
WINDOW = ((1, 1), (1, 1, 1, 1), (1, 1), 1)


def quantised(bb: relax.BlockBuilder, y: relax.Expr, scale: float) -> relax.Expr:
    whole = bb.emit(op.round(bb.emit(op.multiply(y, relax.const(scale, "float32")))))
    return bb.emit(op.astype(bb.emit(op.clip(whole, -100, 100)), "int8"))


def readers(*scales: float):
    """A convolution whose result is returned, and quantised by each scale."""

    def make(bb: relax.BlockBuilder, x: relax.Expr) -> list[relax.Expr]:
        y = bb.emit(op.nn.relu(bb.emit(op.nn.conv2d(x, relax.const(WEIGHTS), padding=1))))
        return [y, *(quantised(bb, y, scale) for scale in scales)]

    return make


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("scales", [(8.0,), (8.0, 3.0), (8.0, 3.0, 5.0)], ids=["one", "two", "too many"])
def test_readers_join(scales: tuple[float, ...], dynamic: bool, threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((1, 12, 9, 11)).astype("float32")
    shape = (1, 12, dim("h"), dim("w")) if dynamic else x.shape
    program = build([var("x", shape)], readers(*scales), threads=threads)
    assert program.built.notes == []
    y, *made = program(x)
    np.testing.assert_allclose(y, np.maximum(convolve(x, WEIGHTS, *WINDOW), 0), rtol=1e-4, atol=1e-5)
    for scale, got in zip(scales, made, strict=True):
        np.testing.assert_array_equal(got, np.clip(np.round(y * np.float32(scale)), -100, 100).astype("int8"))


def test_one_kernel_makes_both() -> None:
    def make(bb: relax.BlockBuilder, x: relax.Expr) -> list[relax.Expr]:
        """Both are read by reductions over channels, which take NHWC: nothing is moved back."""
        y, q = readers(8.0)(bb, x)
        return [bb.emit(op.sum(y, [2, 3])), bb.emit(op.max(q, [2, 3]))]

    program = build([var("x", (1, 12, 9, 11))], make)
    kinds = sorted(kernel["schedule"] for kernel in program.built.kernels.values())
    assert kinds.count("tiled") == 1 and len(kinds) == 4, f"the input is moved, two reductions: {kinds}"


def test_what_reads_more_stays_apart() -> None:
    """A reader of another tensor too is no part of the kernel."""

    def make(bb: relax.BlockBuilder, x: relax.Expr, z: relax.Expr) -> list[relax.Expr]:
        y = bb.emit(op.nn.relu(bb.emit(op.nn.conv2d(x, relax.const(WEIGHTS), padding=1))))
        return [y, bb.emit(op.multiply(bb.emit(op.add(y, z)), z))]

    x, z = (np.random.default_rng(i).standard_normal((1, c, 9, 11)).astype("float32") for i, c in ((1, 12), (2, 24)))
    y, other = build([var("x", x.shape), var("z", z.shape)], make)(x, z)
    np.testing.assert_allclose(other, (y + z) * z, rtol=1e-5, atol=1e-5)
