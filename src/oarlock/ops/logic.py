"""Comparisons, logic, bits, tests of floats, and the choice by a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, sym, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .dtypes import promote
from .elementwise import binary_formula
from .registry import NotKnown, Scalar, operator
from .scalar import elementwise, num, scalar_tensor, select
from .tensor import PrimExpr, Tensor

# ---- comparisons -----------------------------------------------------------------------------------------------------


def _decide(compare: Callable[[Any, Any], Any], opposite: Callable[[Any, Any], Any]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Fold a comparison; of symbolic dims only when it holds, or fails, for every value they can have (dims are ≥ 0)."""

    def one(x: Any, y: Any) -> bool:
        if not isinstance(x, PrimExpr) and not isinstance(y, PrimExpr):
            return bool(compare(x, y))
        analyzer = sym.Analyzer()
        for var in {v for e in (x, y) if isinstance(e, PrimExpr) for v in tirx.analysis.undefined_vars(e)}:
            analyzer.update(var, sym.ConstIntBound(0, 2**62))
        if analyzer.can_prove(compare(x, y)):
            return True
        if analyzer.can_prove(opposite(x, y)):
            return False
        raise NotKnown

    def fold(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype != object and y.dtype != object:
            return np.asarray(compare(x, y))
        if x.dtype.kind == "f" or y.dtype.kind == "f":
            raise NotKnown
        return np.asarray(np.frompyfunc(one, 2, 1)(x, y)).astype(bool)

    return fold


def _eq(x: Any, y: Any) -> Any:
    return tirx.EQ(x, _like(y, x)) if isinstance(x, PrimExpr) else tirx.EQ(_like(x, y), y) if isinstance(y, PrimExpr) else x == y


def _ne(x: Any, y: Any) -> Any:
    return tirx.NE(x, _like(y, x)) if isinstance(x, PrimExpr) else tirx.NE(_like(x, y), y) if isinstance(y, PrimExpr) else x != y


def _like(value: Any, expr: PrimExpr) -> PrimExpr:
    return value if isinstance(value, PrimExpr) else num(expr, int(value))


def _lt(x: Any, y: Any) -> Any:
    return x < y


def _le(x: Any, y: Any) -> Any:
    return x <= y


def _gt(x: Any, y: Any) -> Any:
    return x > y


def _ge(x: Any, y: Any) -> Any:
    return x >= y


def _comparison(name: str, relax_name: str, compare: Any, opposite: Any, sign: str) -> Callable[..., Tensor]:
    def function(b: Builder, x: Tensor, y: Tensor) -> Tensor:
        if x.dtype == y.dtype == "bool":
            x, y = x.astype("int8"), y.astype("int8")
        return b.binary(relax_name, x, y)

    function.__name__, function.__doc__ = name, f"x {sign} y."
    return operator(name, fold=_decide(compare, opposite))(function)


equal = _comparison("equal", "equal", _eq, _ne, "=")
_comparison("not_equal", "not_equal", _ne, _eq, "≠")
_comparison("less_than", "less", _lt, _ge, "<")
_comparison("less_equal", "less_equal", _le, _gt, "≤")
_comparison("greater_than", "greater", _gt, _le, ">")
_comparison("greater_equal", "greater_equal", _ge, _lt, "≥")


@operator
def equal_all(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Whether two tensors have the same shape and the same elements, 0-D bool."""
    if x.ndim != y.ndim or any(isinstance(p, int) and isinstance(q, int) and p != q for p, q in zip(x.shape, y.shape, strict=True)):
        return b.const(False, "bool")
    if not all(b.equal(p, q) for p, q in zip(x.shape, y.shape, strict=True)):
        raise UnsupportedError(f"equal_all of shapes that may differ at run time: {x.shape}, {y.shape}", todo="name equal dims in shapes=")
    return every(b, equal(b, x, y))


def every(b: Builder, x: Tensor) -> Tensor:
    """Whether all elements of a bool tensor hold, 0-D."""
    return b.emit(relax.op.min(x.astype("int8").expr)).astype("bool") if x.ndim else x


# ---- logic -----------------------------------------------------------------------------------------------------------


def _logical(name: str, relax_name: str, fold: Any) -> None:
    def function(b: Builder, x: Tensor, y: Tensor) -> Tensor:
        return b.binary(relax_name, x.astype("bool"), y.astype("bool"))

    def known(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype == object or y.dtype == object:
            raise NotKnown
        return np.asarray(fold(x, y))

    function.__name__, function.__doc__ = name, f"{name.removeprefix('logical_')} of truth values (0 is false)."
    operator(name, fold=known)(function)


_logical("logical_and", "logical_and", np.logical_and)
_logical("logical_or", "logical_or", np.logical_or)
_logical("logical_xor", "logical_xor", np.logical_xor)


def _fold_not(x: np.ndarray) -> np.ndarray:
    if x.dtype == object:
        raise NotKnown
    return np.asarray(np.logical_not(x))


@operator(fold=_fold_not)
def logical_not(b: Builder, x: Tensor) -> Tensor:
    """Whether x is false (0)."""
    return b.emit(relax.op.logical_not(x.astype("bool").expr))


# ---- bits ------------------------------------------------------------------------------------------------------------


def _bitwise(name: str, logical: str) -> None:
    def function(b: Builder, x: Tensor, y: Tensor) -> Tensor:
        return b.binary(logical if x.dtype == y.dtype == "bool" else name, x, y)

    function.__name__, function.__doc__ = name, f"{name.removeprefix('bitwise_')} of the bits; of bools the logical one."
    operator(name)(function)


_bitwise("bitwise_and", "logical_and")
_bitwise("bitwise_or", "logical_or")
_bitwise("bitwise_xor", "logical_xor")


@operator
def bitwise_not(b: Builder, x: Tensor) -> Tensor:
    """All bits turned over; of bools: not."""
    return b.emit((relax.op.logical_not if x.dtype == "bool" else relax.op.bitwise_not)(x.expr))


def _bits(x: PrimExpr) -> int:
    return int("".join(c for c in str(x.ty) if c.isdigit()))


def _in_range(y: PrimExpr) -> PrimExpr:
    return tirx.all(y >= num(y, 0), y < num(y, _bits(y)))


def _safe(y: PrimExpr) -> PrimExpr:
    """A shift count that the machine defines."""
    return select(_in_range(y), y, num(y, 0))


@operator
def bitwise_left_shift(b: Builder, x: Tensor, y: Tensor, is_arithmetic: bool = True) -> Tensor:
    """x · 2^y; 0 when y is not a valid count.  An arithmetic and a logical left shift are the same."""
    return binary_formula(b, "bitwise_left_shift", lambda u, v: select(_in_range(v), tirx.shift_left(u, _safe(v)), num(u, 0)), x, y)


def _arithmetic_right(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    outside = num(x, 0) if str(x.ty).startswith("u") else select(x < num(x, 0), num(x, -1), num(x, 0))
    return select(_in_range(y), tirx.shift_right(x, _safe(y)), outside)


def _logical_right(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    dtype = str(x.ty)
    unsigned = dtype if dtype.startswith("u") else f"u{dtype}"
    shifted = tirx.shift_right(tirx.Cast(unsigned, x), tirx.Cast(unsigned, _safe(y)))
    return select(_in_range(y), tirx.Cast(dtype, shifted), num(x, 0))


@operator
def bitwise_right_shift(b: Builder, x: Tensor, y: Tensor, is_arithmetic: bool = True) -> Tensor:
    """x shifted right, the sign bit (arithmetic) or zeros (logical) moving in."""
    return binary_formula(b, "bitwise_right_shift", _arithmetic_right if is_arithmetic else _logical_right, x, y)


# ---- tests of floats -------------------------------------------------------------------------------------------------


def _tested(x: Tensor) -> Any:
    """What TVM's tests of floats take: they do not know bfloat16."""
    return x.astype("float32").expr if x.dtype == "bfloat16" else x.expr


@operator
def isnan(b: Builder, x: Tensor) -> Tensor:
    """Whether x is NaN."""
    return b.emit(relax.op.isnan(_tested(x))) if x.is_float else b.full(x.shape, False, "bool")


@operator
def isinf(b: Builder, x: Tensor) -> Tensor:
    """Whether x is ±inf."""
    return b.emit(relax.op.isinf(_tested(x))) if x.is_float else b.full(x.shape, False, "bool")


@operator
def isfinite(b: Builder, x: Tensor) -> Tensor:
    """Whether x is neither NaN nor ±inf."""
    return b.emit(relax.op.isfinite(_tested(x))) if x.is_float else b.full(x.shape, True, "bool")


@operator
def isclose(b: Builder, x: Tensor, y: Tensor, rtol: Scalar = 1e-5, atol: Scalar = 1e-8, equal_nan: bool = False) -> Tensor:
    """|x − y| ≤ atol + rtol · |y|."""

    def element(u: PrimExpr, v: PrimExpr, relative: PrimExpr, absolute: PrimExpr) -> PrimExpr:
        left = tirx.Cast("float64", tirx.abs(u - v))
        right = absolute + tirx.abs(relative * tirx.Cast("float64", v))
        near = tirx.any(u == v, left <= right, tirx.abs(left - right) <= tirx.const(1e-15, "float64"))
        if "float" not in str(u.ty):
            return near
        nan = tirx.isnan(u), tirx.isnan(v)
        return select(tirx.any(*nan), tirx.all(*nan) if equal_nan else tirx.const(False, "bool"), near)

    common = promote(x.dtype, y.dtype)
    common = "int32" if common == "bool" else common
    limits = [scalar_tensor(b, float(t) if isinstance(t, str) else t, "float64") for t in (rtol, atol)]
    return elementwise(b, "isclose", element, x.astype(common), y.astype(common), *limits)


@operator
def allclose(b: Builder, x: Tensor, y: Tensor, rtol: Scalar = 1e-5, atol: Scalar = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether isclose holds everywhere, 0-D bool."""
    return every(b, isclose(b, x, y, rtol, atol, equal_nan))


# ---- choice ----------------------------------------------------------------------------------------------------------


def _fold_where(condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if condition.dtype == object or (object in (x.dtype, y.dtype) and "f" in (x.dtype.kind, y.dtype.kind)):
        raise NotKnown
    return np.where(condition, x, y)


@operator(fold=_fold_where)
def where(b: Builder, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """x where the condition holds, else y."""
    common = promote(x.dtype, y.dtype)
    return b.where(condition.astype("bool"), x.astype(common), y.astype(common))


@operator
def is_empty(b: Builder, x: Tensor) -> Tensor:
    """Whether x has no elements, 0-D bool."""
    size = x.size
    return b.known(size == 0 if isinstance(size, int) else tirx.EQ(size, num(size, 0)), "bool")
