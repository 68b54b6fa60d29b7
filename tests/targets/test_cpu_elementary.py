"""exp, log, sigmoid, tanh and erf as arithmetic: how far from the exact value, and the ends of their ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tvm
from runner import build, dim, var
from tvm import relax, s_tir, te, tirx

op = relax.op
REFERENCE = {
    "exp": np.exp,
    "log": np.log,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=["float64"]),
}
ULPS = {"exp": 2, "log": 2, "sigmoid": 3, "tanh": 4, "erf": 5}
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-45,
    1.1e-38,
    1.2e-38,
    3.4e38,
    -3.4e38,
    1.0,
    -1.0,
    88.7,
    89.0,
    -87.4,
    -103.9,
    -104.1,
    0.99999994,
]


@pytest.mark.parametrize("name", list(REFERENCE))
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_elementary_functions(name: str, dynamic: bool) -> None:
    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(-100, 88, 20000))
    values = np.concatenate([SPECIAL, wide, -wide, rng.uniform(-12, 12, 20000), rng.uniform(0.5, 2, 20000), rng.uniform(-104, 89, 5000)])
    x = values.astype("float32")
    kernel = getattr(op, name)
    got = build([var("x", (dim("n") if dynamic else x.size,))], lambda bb, a: kernel(a))(x)[0]
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype("float64"))
        want = exact.astype("float32")
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    if name == "sigmoid":  # below, 1 / (1 + e^−x) is 0 where the exact value is subnormal
        assert np.abs(got[x < -87]).max() <= 2e-38
        want[x < -87] = got[x < -87]
        exact[x < -87] = got[x < -87]
    fine = np.isfinite(want)
    np.testing.assert_array_equal(got[~fine & ~np.isnan(want)], want[~fine & ~np.isnan(want)])
    unit = np.spacing(np.maximum(np.abs(want[fine]), np.finfo("float32").tiny)).astype("float64")
    error = np.abs(got[fine].astype("float64") - exact[fine]) / unit
    assert error.max() <= ULPS[name], (x[fine][error.argmax()], error.max())


@pytest.mark.parametrize("name", ["sinh", "cosh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_without_vectors(name: str, dtype: str) -> None:
    """Alone and behind a product, where the schedule would make vectors of them."""
    x = np.random.default_rng(0).uniform(-3, 3, (8, 64)).astype(dtype)
    w = (np.random.default_rng(1).standard_normal((64, 32)) / 8).astype(dtype)
    function = getattr(op, name)
    program = build([var("x", x.shape, dtype)], lambda bb, a: [function(a), function(bb.emit(op.matmul(a, relax.const(w, dtype))))])
    reference = getattr(np, name)
    for got, want in zip(program(x), [reference(x), reference(x @ w)], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["sinh", "cosh", "fmod"])
def test_tvm_has_no_vectors_of_them(name: str) -> None:
    """When this fails, the work-around in elementary.py can go."""
    a = te.placeholder((16,), "float32", "a")
    function = te.create_prim_func([a, te.compute((16,), lambda i: getattr(tirx, name)(*[a[i]] * (2 if name == "fmod" else 1)), name="b")])
    sch = s_tir.Schedule(function)
    sch.vectorize(sch.get_loops("b")[0])
    with pytest.raises(Exception, match="unknown intrinsic"):
        tvm.tirx.build(sch.mod, target="llvm")


@pytest.mark.parametrize("name", list(REFERENCE))
def test_of_bfloat16(name: str) -> None:
    """Computed in float32 and rounded once, to the nearest, ties to even."""
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.random.default_rng(0).uniform(0.1, 8, 4096).astype(bfloat16)
    wide = REFERENCE[name](x.astype("float64"))

    def kernel(bb: relax.BlockBuilder, a: relax.Expr) -> relax.Expr:
        def rounded(t: te.Tensor) -> te.Tensor:
            return te.compute(t.shape, lambda i: tirx.Cast("bfloat16", getattr(tirx, name)(tirx.Cast("float32", t[i]))), name=name)

        return bb.emit_te(rounded, a)

    got = build([var("x", x.shape, "bfloat16")], kernel)(x)[0]
    assert got.dtype == bfloat16
    # within half a unit in bfloat16's last place, and float32's errors
    np.testing.assert_allclose(got.astype("float64"), wide, rtol=2**-8 * (1 + 1e-3), atol=1e-7)


def test_nan_stays_nan_in_bfloat16() -> None:
    """Whatever its mantissa: all ones would round up to −0, a few at its end to infinity."""
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    bits = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFF8000FF, 0x7FC00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0x3F800000], "uint32")
    x = np.tile(bits.view("float32"), 8)
    got = build([var("x", x.shape)], lambda bb, a: op.astype(a, "bfloat16"))(x)[0]
    np.testing.assert_array_equal(got.astype("float32"), x.astype(bfloat16).astype("float32"))


def test_tvm_leaves_bfloat16_out_of_variables() -> None:
    """When this fails, the conversions on bits in elementary.py can go, if values are no longer copied where they are rounded."""
    a = te.placeholder((16,), "bfloat16", "a")

    def element(i: tirx.PrimExpr) -> tirx.PrimExpr:
        t = tirx.Var("t", "float32")
        return tirx.Let(t, tirx.Cast("float32", a[i]), t * t)

    function = te.create_prim_func([a, te.compute((16,), element, name="b")])
    run = tvm.tirx.build(tvm.IRModule({"main": function}), target="llvm")
    x, y = np.full(16, 2, pytest.importorskip("ml_dtypes").bfloat16), tvm.runtime.empty((16,), "float32")
    run(tvm.runtime.tensor(x), y)
    assert y.numpy()[0] != 4


def test_logarithm_in_an_index() -> None:
    """A bucket of positions (MPNet, T5): rows of a table, by the whole part of a logarithm."""
    x = np.exp(np.random.default_rng(0).uniform(0.1, 5.9, 40)).astype("float32")
    table = np.random.default_rng(1).standard_normal((6, 8)).astype("float32")
    program = build(
        [var("x", (dim("n"),))],
        lambda bb, a: op.take(relax.const(table, "float32"), bb.emit(op.astype(bb.emit(op.log(a)), "int64")), axis=0),
    )
    np.testing.assert_array_equal(program(x)[0], table[np.log(x).astype("int64")])
