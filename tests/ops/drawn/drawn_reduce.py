"""Strategies of reductions, sums along an axis, and sorting."""

from __future__ import annotations

from typing import Any

from drawing import FLOATS, Call, axes, axis, drawn, everywhere, expression, flag, pick, shape, unknown, values
from hypothesis import strategies as st

REDUCTIONS = {
    "mean": (*FLOATS, "int32", "int64", "bool"),
    "sum": (*FLOATS, "int32", "int64", "bool", "int8", "uint8", "int16"),
    "max": ("float32", "float64", "int32", "int64", "float16", "bfloat16"),
}


@drawn(*REDUCTIONS)
def reduction(draw: Any, operator: str) -> Call:
    # the greatest of nothing is an error of Paddle's, the mean of nothing NaN
    x = values(draw, pick(draw, *REDUCTIONS[operator]), shape(draw, 0, 4), grain=pick(draw, 0.0, 0.5), odd=True)
    rank = len(x.shape)
    how = pick(draw, "all", "one", "some")
    given: dict[str, Any] = {"axis": None}
    if rank and how != "all":
        given["axis"] = axis(draw, rank) if how == "one" else axes(draw, rank)
    given["keepdim"] = flag(draw)
    # of nothing Paddle computes in the operand's own type, whatever it declares
    if operator == "sum" and 0 not in x.shape and flag(draw):
        given["dtype"] = pick(draw, "float64", "int64", "float32", "int32")
    return Call(operator, expression(f"paddle.{operator}", "x", **given), {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("argmax")
def argmax(draw: Any, operator: str) -> Call:
    x = values(
        draw, pick(draw, "float32", "float64", "int32", "int64", "int16", "uint8"), shape(draw, 0, 4, zero=False), grain=1.0, odd=True
    )
    given: dict[str, Any] = {"axis": axis(draw, len(x.shape)) if x.shape and flag(draw) else None, "keepdim": flag(draw)}
    given["dtype"] = pick(draw, "int64", "int32")
    return Call(operator, expression("paddle.argmax", "x", **given), {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("p_norm")
def p_norm(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, "float32", "float64"), shape(draw, 1, 4, zero=False))
    # Paddle's exponent 1/p is a float32 in float64, too: of 3.5 it is off by 2e-8
    order = pick(draw, "2.0", "1.0", "0.0", "3.5" if x.dtype == "float32" else "4.0", "float('inf')", "-float('inf')", "0.5")
    along = f", axis={axis(draw, len(x.shape))}" if flag(draw) else ""
    code = f"paddle.norm(x, p={order}{along}, keepdim={flag(draw)})"
    return Call(operator, code, {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("cumsum")
def cumsum(draw: Any, operator: str) -> Call:
    dtype = pick(draw, "float32", "int64", "float64", "int32", "float16", "bfloat16", "int8", "uint8", "bool")
    x = values(draw, dtype, shape(draw, 0, 4))
    along = axis(draw, len(x.shape)) if x.shape and flag(draw) else None
    if along is not None and flag(draw):
        # the API has no such attributes, the operator does
        rest = f"False, {flag(draw)}, {flag(draw)}"
        code = f"paddle._C_ops.cumsum(x, {along}, {rest})"
    else:
        code = expression("paddle.cumsum", "x", axis=along)
    return Call(operator, code, {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("topk")
def topk(draw: Any, operator: str) -> Call:
    x = values(
        draw, pick(draw, "float32", "int64", "float64", "int32"), shape(draw, 1, 3, zero=False), grain=pick(draw, 0.0, 1.0), odd=True
    )
    along = axis(draw, len(x.shape))
    given = {"k": draw(st.integers(1, x.shape[along])), "axis": along, "largest": flag(draw), "sorted": flag(draw)}
    free = {"x": [a for a in range(len(x.shape)) if a != along % len(x.shape)]}
    return Call(operator, expression("paddle.topk", "x", **given), {"x": x}, unknown=unknown(draw, free))


@drawn("argsort")
def argsort(draw: Any, operator: str) -> Call:
    dtype = pick(draw, "float32", "int64", "float64", "int32", "uint8", "int16")
    x = values(draw, dtype, shape(draw, 0, 3), grain=pick(draw, 0.0, 1.0), odd=True)
    # elements that are equal stand as std::sort leaves them, which is no order to keep unless asked for by stable
    given = {"axis": axis(draw, len(x.shape)) if x.shape else -1, "descending": flag(draw), "stable": flag(draw)}
    return Call(operator, expression("paddle.argsort", "x", **given), {"x": x}, unknown=unknown(draw, everywhere(x=x)))
