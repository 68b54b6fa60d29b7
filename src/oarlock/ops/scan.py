"""Running sums, products and extremes along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, tirx

from .builder import Builder
from .registry import Scalar, operator
from .scalar import HALF, elementwise, num, select
from .serial import bind, cell, kernel, loop, parallel
from .tensor import Dim, PrimExpr, Tensor


def _prepared(b: Builder, x: Tensor, axis: Any, flatten: bool) -> tuple[Tensor, int]:
    """The tensor and axis that are scanned: 1-D when flattened, a 0-D tensor as one element."""
    if flatten or x.ndim == 0:
        return x.reshape([x.size]), 0
    axis = int(axis)
    return x, axis + x.ndim if axis < 0 else axis


def flipped(b: Builder, x: Tensor, axis: int) -> Tensor:
    """x in the opposite order along an axis."""
    n = x.shape[axis]
    return b.compute(x.shape, lambda t, *i: t(*i[:axis], n - 1 - i[axis], *i[axis + 1 :]), x, name="flip")


def _scanned(b: Builder, op: Callable[..., relax.Expr], x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    """A scan that Relax has, so that targets with a parallel one can use it."""
    if x.dtype in HALF:
        return _scanned(b, op, x.astype("float32"), axis, exclusive, reverse).astype(x.dtype)
    if any(isinstance(d, int) and d == 0 for d in x.shape):  # of nothing: TVM divides by the 0 while it compiles
        return x
    lines = x.reshape([b.simplify(d) for d in _lines(x, axis)])  # TVM takes minutes for a scan of five symbolic dims
    lines = flipped(b, lines, 1) if reverse else lines
    out = b.emit(op(lines.expr, 1, x.dtype, exclusive))
    return (flipped(b, out, 1) if reverse else out).reshape(x.shape)


def _as_given(out: Tensor, x: Tensor, flatten: bool) -> Tensor:
    return out if flatten else out.reshape(x.shape)


def _along_run_time_axis(b: Builder, x: Tensor, axis: Tensor, scan: Callable[[int], Tensor]) -> Tensor:
    """The scan along every axis, and the choice of one."""
    if x.ndim == 0:
        return x
    at = axis.reshape([]).astype("int64")
    at = elementwise(b, "axis", lambda v: select(v < num(v, 0), v + num(v, x.ndim), v), at)
    out = scan(x.ndim - 1)
    for known in range(x.ndim - 1):
        out = b.where(b.binary("equal", at, known), scan(known), out)
    return out


@operator
def cumsum(b: Builder, x: Tensor, axis: Scalar = -1, flatten: bool = False, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running sums; exclusive: of the elements before; reverse: from the end."""
    if isinstance(axis, Tensor) and not flatten:
        return _along_run_time_axis(b, x, axis, lambda known: cumsum(b, x, known, False, exclusive, reverse))
    given, along = _prepared(b, x, -1 if flatten else axis, flatten)
    return _as_given(_scanned(b, relax.op.cumsum, given, along, exclusive, reverse), x, flatten)


@operator
def cumprod(b: Builder, x: Tensor, dim: int, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running products; exclusive: of the elements before; reverse: from the end."""
    given, along = _prepared(b, x, dim, False)
    return _as_given(_scanned(b, relax.op.cumprod, given, along, exclusive, reverse), x, False)


def _lines(x: Tensor, axis: int) -> tuple[Dim, Dim, Dim]:
    """A shape as (before the axis, the axis, after it)."""
    before: Dim = 1
    after: Dim = 1
    for d in x.shape[:axis]:
        before = before * d
    for d in x.shape[axis + 1 :]:
        after = after * d
    return before, x.shape[axis], after


@operator
def logcumsumexp(b: Builder, x: Tensor, axis: int = -1, flatten: bool = False, exclusive: bool = False, reverse: bool = False) -> Tensor:
    """Running log Σ exp(x), without overflow."""
    given, along = _prepared(b, x, axis, flatten)
    wide = "float32" if x.dtype in HALF else x.dtype
    before, n, after = (b.simplify(d) for d in _lines(given, along))

    def body(source: Any, out: Any) -> None:
        with parallel(before * after) as line:
            row, column = bind(line // after), bind(line % after)
            running = cell(wide, -np.inf)
            with loop(n) as step:
                at = bind(n - 1 - step) if reverse else step
                value = bind(source[row, at, column])
                if exclusive:
                    out[row, at, column] = running.v
                running.v = _log_add_exp(bind(running.v), value)
                if not exclusive:
                    out[row, at, column] = running.v

    (out,) = kernel(b, body, [given.astype(wide).reshape([before, n, after])], [([before, n, after], wide)], "logcumsumexp")
    return _as_given(out.reshape(given.shape).astype(x.dtype), x, flatten)


def _log_add_exp(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    top = tirx.max(x, y)
    return select(tirx.isinf(top), top, top + tirx.log1p(tirx.exp(tirx.min(x, y) - top)))


def _running_extreme(b: Builder, x: Tensor, axis: int, dtype: str, name: str, better: Callable[[Any, Any], Any]) -> tuple[Tensor, Tensor]:
    """The extreme so far and where it stands: the last of equal ones; once NaN, always NaN."""
    given, along = _prepared(b, x, axis, False)
    before, n, after = (b.simplify(d) for d in _lines(given, along))
    shape = [before, n, after]

    def body(source: Any, values: Any, places: Any) -> None:
        with parallel(before * after) as line:
            row, column = bind(line // after), bind(line % after)
            place = cell("int64", 0)
            with loop(n) as at:
                value = bind(source[row, at, column])
                best = bind(source[row, place.v, column])
                wins = better(value, best)
                if x.is_float:
                    wins = tirx.any(tirx.isnan(value), tirx.all(tirx.Not(tirx.isnan(best)), wins))
                place.v = tirx.if_then_else(wins, at, place.v)
                values[row, at, column] = source[row, place.v, column]
                places[row, at, column] = tirx.Cast(dtype, place.v)

    values, places = kernel(b, body, [given.reshape(shape)], [(shape, x.dtype), (shape, dtype)], name)
    return values.reshape(x.shape), places.reshape(x.shape)


def _index_dtype(dtype: Any) -> str:
    return dtype if dtype in ("int32", "int64") else "int64"


@operator
def cummax(b: Builder, x: Tensor, axis: int = -1, dtype: str = "int64") -> tuple[Tensor, Tensor]:
    """The largest so far, and where it stands."""
    return _running_extreme(b, x, axis, _index_dtype(dtype), "cummax", lambda u, v: u >= v)


@operator
def cummin(b: Builder, x: Tensor, axis: int = -1, dtype: str = "int64") -> tuple[Tensor, Tensor]:
    """The smallest so far, and where it stands."""
    return _running_extreme(b, x, axis, _index_dtype(dtype), "cummin", lambda u, v: u <= v)
