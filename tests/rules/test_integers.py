"""The rule that makes products of integers of products of quantised tensors."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, te, tirx

from oarlock import compat
from oarlock.ops.quant import INTEGERS
from oarlock.rules.integers import integer_products

op = relax.op


def takes(shape: tuple, groups: int, width: int | None) -> bool:
    return True


def quantise(bb: relax.BlockBuilder, x: relax.Expr, largest: int, marked: bool = True) -> relax.Expr:
    """round(8 · x) within ±largest by a kernel as the importer makes it."""

    def kernel(t: te.Tensor) -> te.Tensor:
        top = tirx.const(float(largest), "float32")
        return te.compute(t.shape, lambda *i: tirx.max(tirx.min(tirx.nearbyint(t(*i) * 8.0), top), -top), name="quantize_linear")

    a = te.placeholder([int(d) for d in x.ty.shape.values], "float32")
    function = te.create_prim_func([a, kernel(a)]).without_attr("global_symbol")
    gv = bb.add_func(function.with_attr(INTEGERS, largest) if marked else function, "quantize_linear")
    return bb.emit(relax.call_tir(gv, [x], x.ty))


def dequantise(bb: relax.BlockBuilder, x: relax.Expr, scale: np.ndarray | float, largest: float) -> relax.Expr:
    scaled = bb.emit(op.multiply(x, compat.constant(np.asarray(scale, "float32"))))
    return bb.emit(op.divide(scaled, relax.const(largest, "float32")))


def convolution(*, weight_scale: np.ndarray, weights: np.ndarray, largest: int = 127, marked: bool = True, groups: int = 1) -> tvm.IRModule:
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 8, 6, 5), "float32"))
    with bb.function("main", [x]):
        data = dequantise(bb, quantise(bb, x, largest, marked), 15.875, float(largest))
        w = dequantise(bb, compat.constant(weights), weight_scale, 127.0)
        bb.emit_func_output(relax.Tuple([bb.emit(op.nn.conv2d(data, w, padding=(1, 1), groups=groups))]))
    return bb.get()


def run(mod: tvm.IRModule, *inputs: np.ndarray) -> np.ndarray:
    vm = relax.VirtualMachine(tvm.compile(mod, "llvm"), tvm.cpu())
    return vm["main"](*map(tvm.runtime.tensor, inputs))[0].numpy()


def products(mod: tvm.IRModule) -> list[str]:
    """The dtypes of all convolutions' and products' results."""
    found = []

    def visit(e: relax.Expr) -> None:
        if isinstance(e, relax.Call) and getattr(e.op, "name", "") in ("relax.nn.conv2d", "relax.matmul"):
            found.append(str(e.ty.dtype))

    for block in mod["main"].body.blocks:
        for binding in block.bindings:
            visit(binding.value)
    return found


WHOLE = np.random.default_rng(0).integers(-127, 128, (4, 8, 3, 3)).astype("float32")
BY_CHANNEL = np.linspace(0.2, 2.0, 4).reshape(4, 1, 1, 1)


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("scale", [np.float64(0.7), BY_CHANNEL], ids=["one scale", "a scale a channel"])
def test_convolution(scale: np.ndarray, groups: int) -> None:
    weights = WHOLE[:, : 8 // groups]
    if groups == 8:
        weights, scale = np.concatenate([weights, weights[::-1]]), scale if scale.ndim == 0 else np.concatenate([scale, scale])
    mod = convolution(weight_scale=scale, weights=weights, groups=groups)
    new = integer_products(mod, takes)
    assert products(mod) == ["float32"] and products(new) == ["int32"]
    x = np.random.default_rng(1).standard_normal((1, 8, 6, 5)).astype("float32") * 8
    assert np.abs(x * 8).max() > 127  # some are cut off
    want = run(mod, x)
    np.testing.assert_allclose(run(new, x), want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def test_matmul() -> None:
    weights = np.random.default_rng(0).integers(-127, 128, (12, 5)).astype("float32")
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2, 3, 12), "float32"))
    with bb.function("main", [x]):
        data = dequantise(bb, quantise(bb, x, 127), 15.875, 127.0)
        w = dequantise(bb, compat.constant(weights), np.linspace(1, 2, 5), 127.0)
        bb.emit_func_output(relax.Tuple([bb.emit(op.matmul(data, w))]))
    mod = bb.get()
    new = integer_products(mod, takes)
    assert products(new) == ["int32"]
    x = np.random.default_rng(1).standard_normal((2, 3, 12)).astype("float32")
    np.testing.assert_allclose(run(new, x), run(mod, x), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "facts",
    [
        {"weight_scale": BY_CHANNEL, "weights": WHOLE, "marked": False},
        {"weight_scale": BY_CHANNEL, "weights": WHOLE, "largest": 32767},
        {"weight_scale": BY_CHANNEL, "weights": WHOLE + 0.5},
        {"weight_scale": BY_CHANNEL, "weights": WHOLE * 2},
        {"weight_scale": np.linspace(1, 2, 8).reshape(1, 8, 1, 1), "weights": WHOLE},
    ],
    ids=["any kernel", "16 bits", "no whole numbers", "too large", "a scale an input channel"],
)
def test_what_stays(facts: dict) -> None:
    assert products(integer_products(convolution(**facts), takes)) == ["float32"]


def pooled(*, scale: float, also: bool) -> tvm.IRModule:
    """A convolution of quantised results of max pooling; ``also``: the pooled numbers are another result."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 8, 9, 8), "float32"))
    with bb.function("main", [x]):
        pool = bb.emit(op.nn.max_pool2d(x, (3, 3), (2, 2), (1, 1, 1, 1)))
        a, s = te.placeholder([1, 8, 5, 4], "float32"), te.placeholder([], "float32")
        top = tirx.const(127.0, "float32")
        whole = te.compute(a.shape, lambda *i: tirx.max(tirx.min(tirx.nearbyint(a(*i) * s()), top), -top - 1.0), name="quantize_linear")
        function = te.create_prim_func([a, s, whole]).without_attr("global_symbol").with_attr(INTEGERS, 127)
        gv = bb.add_func(function, "quantize_linear")
        q = bb.emit(relax.call_tir(gv, [pool, relax.const(scale, "float32")], pool.ty))
        data, w = dequantise(bb, q, 15.875, 127.0), dequantise(bb, compat.constant(WHOLE), 0.7, 127.0)
        out = bb.emit(op.nn.conv2d(data, w, padding=(1, 1)))
        bb.emit_func_output(relax.Tuple([out, *[pool] * also]))
    return bb.get()


@pytest.mark.parametrize(("scale", "also", "moves"), [(8.0, False, True), (8.0, True, False), (-8.0, False, False)])
def test_pooling_of_integers(scale: float, also: bool, moves: bool) -> None:
    mod = pooled(scale=scale, also=also)
    new = integer_products(mod, takes)
    assert products(new) == ["int32"]
    values = [b.value for block in new["main"].body.blocks for b in block.bindings]
    pools = [str(v.ty.dtype) for v in values if getattr(v, "op", None) == tvm.ir.Op.get("relax.nn.max_pool2d")]
    assert ("int8" in pools) == moves
    x = np.random.default_rng(1).standard_normal((1, 8, 9, 8)).astype("float32") * 8
    want = run(mod, x)
    np.testing.assert_allclose(run(new, x), want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def test_a_depth_that_fills_no_group() -> None:
    """The target says so of the shape of the weights."""
    asked = []

    def none(shape: tuple, groups: int, width: int | None) -> bool:
        asked.append((tuple(shape), groups, width))
        return False

    mod = convolution(weight_scale=BY_CHANNEL, weights=WHOLE)
    assert products(integer_products(mod, none)) == ["float32"]
    assert asked == [((4, 8, 3, 3), 1, 5)]
