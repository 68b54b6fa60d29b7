"""Floats that are rounded as Paddle rounds them, where the last bit may decide which integer comes next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runner import build, var
from test_cpu_int8 import runs
from tvm import te, tirx

import oarlock
from oarlock.targets.cpu.machine import Machine
from oarlock.targets.cpu.rounding import DIVISORS
from oarlock.targets.cpu.target import CpuTarget

EVERY = np.arange(1 << 23, 1 << 24, dtype=np.uint32).astype("float32").reshape(1 << 9, 1 << 14)  # each mantissa once
ODD = np.array([np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-30, -1e-30, 0.0, -0.0, 6.0, -127.0, 1.0] * 4, "float32").reshape(3, 16)


def computed(x: np.ndarray, element: Callable[[Any], Any], **options: object) -> np.ndarray:
    def make(bb, a):
        return bb.emit_te(lambda t: te.compute(t.shape, lambda *i: element(t(*i)), name="made"), a)

    return build([var("x", x.shape)], make, threads=1, **options)(x)[0]


@pytest.mark.parametrize("divisor", DIVISORS)
def test_divisions_are_correctly_rounded(divisor: float) -> None:
    """Of every mantissa (powers of two change none), and of what has none."""
    for x in (EVERY, -EVERY[:1] * np.float32(2.0**-60), ODD):
        got = computed(x, lambda v: v / tirx.const(divisor, "float32"))
        want = x / np.float32(divisor)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got)[~np.isnan(want)], np.signbit(want)[~np.isnan(want)])


def test_without_the_instruction() -> None:
    """A multiply-add that a CPU has no instruction for would be a call, of each element."""
    assert not CpuTarget(threads=1, mcpu="x86-64-v2").machine.fuses
    assert not Machine(128, 16, 1).fuses


@runs
def test_sums_of_products_are_rounded_twice() -> None:
    x = np.random.default_rng(0).standard_normal((64, 256)).astype("float32")
    f = np.float32
    plain, both = x * f(0.1666667) + f(0.5), f(2.5) - x * f(0.3)
    assert (plain != (x.astype("float64") * f(0.1666667) + 0.5).astype("float32")).any()  # one rounding gives other numbers
    got = computed(x, lambda v: v * tirx.const(0.1666667, "float32") + tirx.const(0.5, "float32"), precision="int8")
    np.testing.assert_array_equal(got, plain)
    got = computed(x, lambda v: tirx.const(2.5, "float32") - v * tirx.const(0.3, "float32"), precision="int8")
    np.testing.assert_array_equal(got, both)


@runs
def test_activations_are_paddles_bit_for_bit(tmp_path: Path, in_paddle: Callable) -> None:
    paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the model")
    paddle.disable_static()
    nn = paddle.nn
    net = nn.Sequential(nn.Hardswish(), nn.Hardsigmoid())
    net.eval()
    for part, layer in {"whole": net, "swish": nn.Hardswish()}.items():
        paddle.jit.save(layer, str(tmp_path / part), input_spec=[paddle.static.InputSpec([4, 999], "float32", "x")])
        x = (np.random.default_rng(0).standard_normal((4, 999)) * 4).astype("float32")
        artifact = oarlock.compile(tmp_path / part, threads=1, options={"precision": "int8"})
        (got,) = oarlock.Session(artifact).run({"x": x}).values()
        (want,) = in_paddle(tmp_path / f"{part}.json", {"x": x})
        np.testing.assert_array_equal(got, want)
