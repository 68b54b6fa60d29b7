"""Softmax, extremes and norms of short, long, ragged and dynamic rows."""

from __future__ import annotations

import numpy as np
import pytest
from runner import build, dim, module, var
from tvm import relax, te, tirx

from oarlock import pipeline, targets
from oarlock.targets.cpu.schedule.rows import MOST_STEPS

op = relax.op


@pytest.mark.parametrize("length", [1, 7, 16, 100, 128, 6625, 9000])
@pytest.mark.parametrize("dynamic", ["", "rows", "all"])
@pytest.mark.parametrize("log", [False, True], ids=["softmax", "log_softmax"])
def test_softmax(length: int, dynamic: str, log: bool) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 3, length)) * 5).astype("float32")
    x[0, 1] += 1e4  # would overflow without the greatest element taken off
    x[1, 0, 1:] = -np.inf
    x[1, 1, : length // 2] = -3.4e38
    shape = {"": x.shape, "rows": (dim("n"), 3, length), "all": (dim("n"), dim("m"), dim("k"))}[dynamic]
    function = op.nn.log_softmax if log else op.nn.softmax
    got = build([var("x", shape)], lambda bb, a: function(bb.emit(op.multiply(a, relax.const(np.float32(0.5))))))(x)[0]
    z = x.astype("float64") * 0.5
    z = z - z.max(-1, keepdims=True)
    total = np.exp(z).sum(-1, keepdims=True)
    want = z - np.log(total) if log else np.exp(z) / total
    np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-6 if log else 1e-7)


def test_rows_in_parallel_allocate_nothing() -> None:
    """What a row needs lies on the stack: an allocation for each row would cost more than the row."""
    program = build([var("x", (8, 1024, 128))], lambda bb, a: op.nn.softmax(a), threads=2)
    assert b"TVMBackendParallelLaunch" in program.built.library
    assert b"TVMBackendAllocWorkspace" not in program.built.library


def test_pooling_in_parallel_allocates_nothing() -> None:
    program = build(
        [var("x", (1, 112, 112, 64))], lambda bb, a: op.nn.max_pool2d(a, (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC"), threads=2
    )
    assert b"TVMBackendParallelLaunch" in program.built.library
    assert b"TVMBackendAllocWorkspace" not in program.built.library


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(
    "shape, axis", [((5, 70), (1,)), ((3, 7), (1,)), ((4, 6, 40), (0, 1)), ((2, 3, 16), (1,)), ((33,), (0,)), ((4, 5, 6), (0, 2))]
)
def test_extremes_of_nan_and_infinity(shape: tuple, axis: tuple, dynamic: bool, name: str) -> None:
    sizes = [dim(f"d{i}") for i in range(len(shape))] if dynamic else shape
    program = build([var("x", sizes)], lambda bb, x: getattr(op, name)(x, axis=list(axis)))
    rng = np.random.default_rng(0)
    plain = rng.standard_normal(shape).astype("float32")
    some = plain.copy()
    some.reshape(-1)[rng.integers(0, plain.size, 3)] = np.nan
    for x in (plain, some, np.full_like(plain, np.inf), np.full_like(plain, -np.inf)):
        np.testing.assert_array_equal(program(x)[0], getattr(np, name)(x, axis=axis))


@pytest.mark.parametrize("places", ["known", "unknown"])
@pytest.mark.parametrize("groups", [1, 4, 8], ids=["layer", "group", "instance"])
def test_norms_of_long_groups_stay_accurate(groups: int, places: str) -> None:
    """Half a million numbers in a group: added one by one in float32, they would be off by 1e-3."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 8, 256, 257)) * 2 + 3).astype("float32")
    gamma, beta = (rng.standard_normal(8).astype("float32") for _ in range(2))
    shape = x.shape if places == "known" else (dim("n"), 8, dim("h"), dim("w"))
    args = [var("x", shape), var("gamma", (8,)), var("beta", (8,))]
    if groups == 8:
        program = build(args, lambda bb, x, g, b: op.nn.instance_norm(x, g, b, 1, [2, 3], 1e-3))
    else:
        program = build(args, lambda bb, x, g, b: op.nn.group_norm(x, g, b, groups, 1, [2, 3], 1e-3))
    wide = x.astype("float64").reshape(2, groups, -1)
    normal = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-3)
    want = normal.reshape(x.shape) * gamma[:, None, None] + beta[:, None, None]
    np.testing.assert_allclose(program(x, gamma, beta)[0], want, atol=2e-5)


def test_what_costs_much_is_computed_once_a_row() -> None:
    """A formula of more steps than MOST_STEPS before a softmax stays a block: three sums of the row read it."""

    def dear(a: te.Tensor) -> te.Tensor:
        def element(*i: tirx.Var) -> tirx.PrimExpr:
            value = a(*i)
            for _ in range(MOST_STEPS // 2 + 1):
                value = value * tirx.const(0.5, "float32") + tirx.const(1.0, "float32")
            return value

        return te.compute(a.shape, element, name="dear")

    inputs, make = [var("x", (6, 5))], lambda bb, a: op.nn.softmax(bb.emit_te(dear, a))
    stages: dict[str, str] = {}
    pipeline.build(module(inputs, make), targets.get("cpu", threads=1), dump=lambda name, mod: stages.update({name: mod.script()}))
    assert stages["cpu-schedule"].count('T.sblock("dear")') == 1
    x = np.random.default_rng(0).standard_normal((6, 5)).astype("float32")
    value = x.astype("float64")
    for _ in range(MOST_STEPS // 2 + 1):
        value = value * 0.5 + 1
    want = np.exp(value) / np.exp(value).sum(-1, keepdims=True)
    np.testing.assert_allclose(build(inputs, make)(x)[0], want, rtol=1e-5)
