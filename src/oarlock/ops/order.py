"""Order statistics and counts: median, k-th value, most frequent value, histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder, cast_expr, dim_max
from .kernels import last_axis, put_back, sorted_order
from .reduce import extreme_index, reduced, resolve_axes
from .registry import Scalar, operator
from .scalar import HALF, elementwise, is_number, num, scalar_tensor, select
from .select import first_in_order
from .serial import bind, cell, kernel, loop, parallel, when
from .tensor import Dim, PrimExpr, Tensor


def _last(x: Tensor, axes: list[int]) -> Tensor:
    """The axes moved to the end and made one."""
    kept = [i for i in range(x.ndim) if i not in axes]
    count: Dim = 1
    for a in axes:
        count = count * x.shape[a]
    return x.transpose([*kept, *axes]).reshape([*(x.shape[i] for i in kept), count])


def _kept(out: Tensor, x: Tensor, axes: list[int], keepdim: bool) -> Tensor:
    return out.reshape([1 if i in axes else d for i, d in enumerate(x.shape)]) if keepdim else out


def _sorted(b: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending along the last axis (equal ones in their order), and where each stood; NaN last."""
    key = elementwise(b, "nan_last", lambda v: select(tirx.isnan(v), num(v, np.inf), v), x) if x.is_float else x
    rows, _, moved = last_axis(b, key, key.ndim - 1)
    order = b.reshape(sorted_order(b, rows), moved)
    return b.compute(x.shape, lambda t, o, *i: t(*i[:-1], o(*i)), key, order, name="sorted"), order


def _median(b: Builder, x: Tensor, axis: Any, keepdim: bool, mode: str, skip_nan: bool) -> tuple[Tensor, Tensor]:
    if mode not in ("avg", "min"):
        raise UnsupportedError(f"median mode {mode!r} is not supported")
    axes = resolve_axes(x, axis)
    rows = _last(x, axes) if x.ndim else x.reshape([1])
    if x.dtype in HALF:
        rows = rows.astype("float32")
    n = rows.shape[-1]
    values, order = _sorted(b, rows)
    shape = rows.shape[:-1]
    if rows.is_float:
        valid = b.emit(relax.op.sum(elementwise(b, "valid", lambda v: tirx.Cast("int64", tirx.Not(tirx.isnan(v))), rows).expr, [-1]))
    else:
        valid = b.full(shape, tirx.const(n, "int64") if isinstance(n, int) else n, "int64")

    def middle(sorted_row: te.Tensor, count: te.Tensor, *i: Any) -> PrimExpr:
        m = count(*i)
        last = tirx.max(m - 1, num(m, 0))
        low = sorted_row(*i, tirx.floordiv(last, num(m, 2)))
        if mode == "min":
            value = low
        else:
            high = sorted_row(*i, tirx.min(tirx.floordiv(m, num(m, 2)), last))
            wide = "float64" if str(low.ty) == "float64" else "float32"
            low, high = cast_expr(low, wide), cast_expr(high, wide)
            value = select(low == high, low, (low + high) / num(low, 2.0))
        if not rows.is_float:
            return value
        missing = m == num(m, 0) if skip_nan else m < cast_expr(n, "int64")
        return select(missing, num(value, float("nan")), value)

    out = _kept(b.compute(shape, middle, values, valid, name="median"), x, axes, keepdim).astype(x.dtype)
    nan_at = valid
    if rows.is_float:
        nan = elementwise(b, "nan", lambda v: tirx.Cast("int8", tirx.isnan(v)), rows)
        nan_at = extreme_index(b, nan, rows.ndim - 1, True, "int64")

    def place(places: te.Tensor, count: te.Tensor, first_nan: te.Tensor, *index: Any) -> PrimExpr:
        i = index[: len(shape)]
        m = count(*i)
        last = tirx.max(m - 1, num(m, 0))
        at = tirx.floordiv(last, num(m, 2))
        if len(index) > len(shape):  # the pair of middle ones
            at = select(index[-1] == 0, at, tirx.min(tirx.floordiv(m, num(m, 2)), last))
        found = places(*i, at)
        if not rows.is_float:
            return found
        if skip_nan:
            return select(m == num(m, 0), num(m, -1), found)
        return select(m < cast_expr(n, "int64"), first_nan(*i), found)

    pair = [2] if mode == "avg" else []
    where = b.compute([*shape, *pair], place, order, valid, nan_at, name="median_place")
    return out, where.reshape([*out.shape, *pair])


@operator
def median(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = True, mode: str = "avg") -> tuple[Tensor, Tensor]:
    """The middle value (avg: the mean of the two middle ones, min: the lower), NaN if any is; and where it stands (avg: both)."""
    return _median(b, x, axis, keepdim, mode, skip_nan=False)


@operator
def nanmedian(b: Builder, x: Tensor, axis: Any = (), keepdim: bool = True, mode: str = "avg") -> tuple[Tensor, Tensor]:
    """The middle value of what is no NaN."""
    return _median(b, x, axis, keepdim, mode, skip_nan=True)


@operator
def kthvalue(b: Builder, x: Tensor, k: int = 1, axis: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The k-th smallest along an axis, and where it stands: of equal ones where Paddle's selection leaves it."""
    if x.ndim == 0:
        return x, b.full([], 0, "int64")
    axes = resolve_axes(x, axis)
    rows, perm, moved = last_axis(b, x, axes[0])
    n = rows.shape[1]
    if k < 1 or (isinstance(n, int) and k > n):
        raise UnsupportedError(f"kthvalue of the number {k} along an axis of {n}")
    index = b.slice(first_in_order(b, rows, k, False, False), 1, k - 1, k)
    values = b.compute(index.shape, lambda t, j, r, i: t(r, j(r, i)), rows, index, name="kth_value")
    shape = [1 if a in axes else d for a, d in enumerate(x.shape) if keepdim or a not in axes]
    return put_back(b, values, perm, moved).reshape(shape), put_back(b, index, perm, moved).reshape(shape)


@operator
def mode(b: Builder, x: Tensor, axis: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """The most frequent value along an axis (the smallest of several), and where it stands last."""
    if x.ndim == 0:
        return x, b.full([], 0, "int64")
    axes = resolve_axes(x, axis)
    rows = _last(x, axes)
    n = rows.shape[-1]
    count: Dim = 1
    for d in rows.shape[:-1]:
        count = count * d
    flat = rows.reshape([b.simplify(count), n])
    values, order = _sorted(b, flat)

    def body(sorted_rows: Any, places: Any, best: Any, where: Any) -> None:
        with parallel(count) as row:
            run, longest = cell("int64", 0), cell("int64", 0)
            best[row], where[row] = sorted_rows[row, 0], places[row, 0]
            with loop(n) as at:
                before = bind(tirx.max(at - 1, num(at, 0)))
                same = tirx.all(at > 0, sorted_rows[row, at] == sorted_rows[row, before])
                run.v = tirx.if_then_else(same, run.v + 1, num(at, 1))
                with when(tirx.any(run.v > longest.v, tirx.all(run.v == longest.v, sorted_rows[row, at] == best[row]))):
                    longest.v = run.v
                    best[row] = sorted_rows[row, at]
                    where[row] = places[row, at]

    best, where = kernel(b, body, [values, order], [([count], x.dtype), ([count], "int64")], "mode")
    shape = rows.shape[:-1]
    return _kept(best.reshape(shape), x, axes, keepdim), _kept(where.reshape(shape), x, axes, keepdim)


# ---- counts ----------------------------------------------------------------------------------------------------------


def _counted(b: Builder, bins: Dim, index: Tensor, weights: Tensor | None, dtype: str, name: str) -> Tensor:
    """For each bin, how many indices (or the sum of their weights) are equal to it: a reduction, so that it can run in parallel."""
    n = index.size
    inputs = [index, *([weights] if weights is not None else [])]

    def build(at: te.Tensor, weight: te.Tensor | None = None) -> te.Tensor:
        k = te.reduce_axis((0, n), name="k")

        def element(i: Any) -> PrimExpr:
            one = cast_expr(weight(k), dtype) if weight is not None else tirx.const(1, dtype)
            return te.sum(select(at(k) == cast_expr(i, "int64"), one, tirx.const(0, dtype)), axis=k)

        return te.compute((bins,), element, name=name)

    return b.te(build, *inputs, name=name)


@operator
def bincount(b: Builder, x: Tensor, weights: Tensor | None = None, minlength: Scalar = 0) -> Tensor:
    """How often each number 0, 1, … occurs, or the sums of its weights; as long as the largest number asks, at least minlength."""
    at = x.astype("int64")
    least = int(minlength) if is_number(minlength) else b.dims(scalar_tensor(b, minlength, "int64").reshape([1]))[0]
    size = x.shape[0]
    if isinstance(size, int) and size == 0:
        return b.full([least], 0, weights.dtype if weights is not None else "int64")
    top = reduced(b, relax.op.max, at, [0], False)
    length = elementwise(b, "bincount_length", lambda v: tirx.max(v + num(v, 1), num(v, 0)), top)
    bins = b.simplify(dim_max(b.dims(length.reshape([1]))[0], least))
    dtype = "int64" if weights is None else "float32" if weights.dtype == "float32" else "float64"
    return _counted(b, bins, at, weights, dtype, "bincount")


@operator
def histogram(
    b: Builder, input: Tensor, weight: Tensor | None = None, bins: int = 100, min: Any = 0.0, max: Any = 0.0, density: bool = False
) -> Tensor:
    """Counts of equal bins from min to max (of the data when both are 0); density: as a density of integral 1."""
    x = input.reshape([input.size])
    low, high = float(min), float(max)
    if low == 0 and high == 0:
        lowest, highest = reduced(b, relax.op.min, x, [0], False), reduced(b, relax.op.max, x, [0], False)
    else:
        lowest, highest = b.const(low, x.dtype), b.const(high, x.dtype)

    def place(v: PrimExpr, first: PrimExpr, last: PrimExpr) -> PrimExpr:
        begin, end = _range(first, last)
        if "float" in str(v.ty):
            at = tirx.Cast("int64", (v - begin) * num(v, bins) / (end - begin))
        else:
            at = tirx.Cast("int64", tirx.truncdiv((v - begin) * num(v, bins), end - begin))
        inside = tirx.all(v >= begin, v <= end)
        return select(inside, tirx.min(at, tirx.const(bins - 1, "int64")), tirx.const(-1, "int64"))

    index = elementwise(b, "bin_of", place, x, lowest, highest)
    flat = weight.reshape([x.size]) if weight is not None else None
    if not density:
        return _counted(b, bins, index, flat, "int64" if weight is None else "float32", "histogram")
    counts = _counted(b, bins, index, flat, "float32", "histogram")

    def dense(count: PrimExpr, all_: PrimExpr, first: PrimExpr, last: PrimExpr) -> PrimExpr:
        begin, end = _range(first, last)
        return count / (cast_expr(end - begin, "float32") / num(count, bins)) / all_

    return elementwise(b, "density", dense, counts, reduced(b, relax.op.sum, counts, [0], False), lowest, highest)


def _range(first: PrimExpr, last: PrimExpr) -> tuple[PrimExpr, PrimExpr]:
    """A range of one point is widened by 1 on both sides."""
    point = first == last
    return select(point, first - num(first, 1), first), select(point, last + num(last, 1), last)
