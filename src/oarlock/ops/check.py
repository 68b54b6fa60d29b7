"""Operators that look at numbers and change none: assert, check_numerics, accuracy_check."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import flat
from .registry import operator
from .scalar import is_nan
from .serial import both, cell, i64, kernel, loop, when
from .tensor import PrimExpr, Tensor


@operator("assert")
def assert_(b: Builder, cond: Tensor, data: list[Tensor] | None = None, summarize: int = -1) -> tuple[()]:
    """Nothing: a compiled model does not check.  A condition known to be false is refused."""
    if cond.known is not None and cond.known.dtype != object and not cond.known.all():
        raise UnsupportedError("an assertion that does not hold")
    return ()


@operator("enable_check_model_nan_inf", "disable_check_model_nan_inf")
def check_model(b: Builder, x: Tensor, flag: int = 0) -> Tensor:
    """The tensor itself: whether Paddle checks the operators that follow says nothing about numbers."""
    return x


@operator
def check_numerics(
    b: Builder,
    tensor: Tensor,
    op_type: str = "",
    var_name: str = "",
    check_nan_inf_level: int = 0,
    stack_height_limit: int = -1,
    output_dir: str = "",
) -> tuple[Tensor, Tensor]:
    """How many elements are NaN, infinite and 0 (int64), and the largest, the smallest and their mean (float32).

    A compiled model neither prints nor stops.  A comparison with NaN is false, so NaN is largest and smallest only where it comes first.
    """
    wide = "float64" if tensor.dtype == "float64" else "float32"
    if not tensor.is_float:
        raise UnsupportedError(f"check_numerics of {tensor.dtype}")
    size = tensor.size

    def body(t: Any, counts: Any, values: Any) -> None:
        found = [cell("int64", 0) for _ in range(3)]
        most, least, total = (cell(wide, 0.0) for _ in range(3))
        with loop(size) as i:
            value = tirx.Cast(wide, t[i])
            zero = tirx.const(0, wide)
            for count, hit in zip(found, (is_nan(value), tirx.isinf(value), value == zero), strict=True):
                count.v = count.v + tirx.Cast("int64", hit)
            for extreme, better in ((most, value > most.v), (least, value < least.v)):
                with when(tirx.any(i64(i) == 0, better)):
                    extreme.v = value
            total.v = total.v + value / tirx.Cast(wide, i64(size))
        for at, (count, value) in enumerate(zip(found, (most, least, total), strict=True)):
            counts[at], values[at] = count.v, tirx.Cast("float32", value.v)

    stats, values = kernel(b, body, [flat(b, tensor)], [([3], "int64"), ([3], "float32")], "check_numerics")
    return stats, values


@operator
def accuracy_check(
    b: Builder, x: Tensor, y: Tensor, fn_name: str = "", rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether x and y are near, said of every element (Paddle stops where they are not)."""
    if x.dtype != y.dtype:
        raise UnsupportedError(f"accuracy_check of {x.dtype} and {y.dtype}")
    wide = "float64" if x.dtype in ("float64", "int32", "int64") else "float32"
    odd = x.is_float

    def near(p: PrimExpr, q: PrimExpr) -> PrimExpr:
        left, right = tirx.Cast(wide, p), tirx.Cast(wide, q)
        close = tirx.abs(left - right) <= tirx.const(atol, wide) + tirx.const(rtol, wide) * tirx.abs(right)
        alike = tirx.any(left == right, close)
        return tirx.any(alike, both(is_nan(left), is_nan(right))) if odd and equal_nan else alike

    each = b.compute(x.shape, lambda s, t, *i: tirx.Cast("int8", near(s(*i), t(*i))), x, b.broadcast_to(y, x.shape), name="near")
    if x.ndim == 0:
        return each.astype("bool")
    least = b.emit(relax.op.min(each.expr))
    return b.compute(x.shape, lambda t, *i: t() != tirx.const(0, "int8"), least, name="all_near")
