"""Sums of products take denormal numbers as 0 on x86, and nothing else does."""

from __future__ import annotations

import platform

import numpy as np
import pytest
from runner import build, var
from tvm import relax

op = relax.op
TINY = np.float32(1e-39)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other CPUs are not slow with them")
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
