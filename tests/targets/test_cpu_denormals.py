"""Sums of products take denormal numbers as 0 on x86, and nothing else does."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import numpy as np
import pytest
from runner import build, var
from tvm import relax

from oarlock.kernels import Choices

op = relax.op
TINY = np.float32(1e-39)
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="other CPUs are not slow with them")


@pytest.mark.parametrize("threads", [1, 2])
def test_products_take_them_as_zero_and_nothing_else_does(threads: int) -> None:
    x, w = np.ones((128, 64), "float32"), np.full((64, 128), TINY, "float32")
    w[:, 0] = 1.0

    def make(bb, a):
        return [op.matmul(a, relax.const(w)), op.multiply(a, relax.const(TINY))]

    product, scaled = build([var("x", x.shape)], make, threads=threads)(x)
    assert (product[:, 0] == 64).all() and (product[:, 1:] == 0).all()
    np.testing.assert_array_equal(scaled, x * TINY)
    assert TINY * np.float32(0.5) != 0, "the thread that called is as it was"


@pytest.mark.parametrize("way", ["", "parallel", "panels"])
def test_winograd_takes_them_as_zero(way: str) -> None:
    x, w = np.ones((1, 64, 28, 28), "float32"), np.full((128, 64, 3, 3), TINY, "float32")
    w[0] = 1.0

    def choose(workload: str, names: Sequence[str]) -> str | None:
        ways = [n for n in names if n.startswith("winograd")]
        return next((n for n in ways if (n.endswith(way) if way else n.split()[-1].startswith("block"))), None)

    choices = Choices(choose)
    program = build([var("x", x.shape)], lambda bb, a: op.nn.conv2d(a, relax.const(w)), threads=2, choices=choices)
    assert program.built.notes == [] and next(iter(choices.picked.values())).startswith("winograd")
    (out,) = program(x)
    np.testing.assert_allclose(out[:, 0], 9 * 64, rtol=1e-5)
    assert (out[:, 1:] == 0).all() and TINY * np.float32(0.5) != 0, "sums are 0, and the thread that called is as it was"
