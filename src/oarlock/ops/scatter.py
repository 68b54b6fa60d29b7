"""Writing by index: scatter, scatter_nd_add, put_along_axis, index_add, index_put, segment_pool.

Duplicate indices are written in order, one after the other, as Paddle's CPU kernels do: the last one stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder
from .index import nonzero
from .kernels import flat, inside, wrapped
from .registry import operator
from .scalar import HALF
from .serial import bind, i64, kernel, loop, when
from .shape import axis_of, product
from .tensor import Dim, Tensor


def _rows(b: Builder, x: Tensor, lead: int) -> Tensor:
    """[rows, rest]: the first ``lead`` axes as one, the others as one."""
    return b.reshape(x, [product(b, x.shape[:lead]), product(b, x.shape[lead:])])


def write_rows(b: Builder, x: Tensor, rows: Tensor, updates: Tensor, *, add: bool, clear: bool = False, name: str = "scatter") -> Tensor:
    """x [n, w] with updates [k, w] written to (or added to) rows [k]; ``clear``: those rows are zeroed first.

    A sum of bools is their or.
    """
    n, w = x.shape
    count = rows.shape[0]

    def joined(old: Any, new: Any) -> Any:
        return tirx.any(old, new) if x.dtype == "bool" else old + new

    def body(source: Any, at: Any, fresh: Any, out: Any) -> None:
        with loop(n) as i, loop(w) as j:
            out[i, j] = source[i, j]
        if clear:
            with loop(count) as k:
                row = bind(wrapped(at[k], n))
                with when(inside(row, n)), loop(w) as j:
                    out[row, j] = tirx.const(0, x.dtype)
        with loop(count) as k:
            row = bind(wrapped(at[k], n))
            with when(inside(row, n)), loop(w) as j:
                out[row, j] = joined(out[row, j], fresh[k, j]) if add else fresh[k, j]

    return kernel(b, body, [x, rows, updates], [([n, w], x.dtype)], name)[0]


@operator
def scatter(b: Builder, x: Tensor, index: Tensor, updates: Tensor, overwrite: bool = True) -> Tensor:
    """x with rows replaced by the updates, or (overwrite false) by their sum over equal indices."""
    rest = x.shape[1:]
    rows = flat(b, index)
    fresh = b.reshape(updates, [rows.shape[0], product(b, rest)])
    out = write_rows(b, _rows(b, x, 1), rows, fresh, add=not overwrite, clear=not overwrite)
    return b.reshape(out, x.shape)


def _row_numbers(b: Builder, columns: Sequence[Tensor], sizes: Sequence[Dim], count: Dim) -> Tensor:
    """One number for each tuple of indices, counting as a flat tensor of these sizes does; −1 for a tuple outside."""

    def element(*args: Any) -> Any:
        row: Any = i64(0)
        valid = []
        for t, size in zip(args[:-1], sizes, strict=True):
            at = wrapped(t(args[-1]), size)
            valid.append(inside(at, size))
            row = row * i64(size) + at
        # −(everything) counts from the end to a negative number still: nothing is written there
        return tirx.Select(tirx.all(*valid), row, tirx.const(-(2**62), "int64"))

    return b.compute([count], element, *columns, name="row_numbers")


@operator
def scatter_nd_add(b: Builder, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """x with the updates added at x[index[…, 0], index[…, 1], …]."""
    width = index.shape[-1]
    if not isinstance(width, int):
        raise UnsupportedError("scatter_nd_add with an unknown number of index columns is not supported")
    count = product(b, index.shape[:-1])
    table = b.reshape(index, [count, width])
    columns = [b.compute([count], lambda t, i, k=k: t(i, k), table, name="column") for k in range(width)]
    rows = _row_numbers(b, columns, x.shape[:width], count)
    source = _rows(b, x, width)
    fresh = b.reshape(updates, [count, source.shape[1]])
    return b.reshape(write_rows(b, source, rows, fresh, add=True, name="scatter_nd_add"), x.shape)


@operator
def index_add(b: Builder, x: Tensor, index: Tensor, add_value: Tensor, axis: int = 0) -> Tensor:
    """x with slices added along an axis."""
    axis = axis_of(axis, x.ndim)
    perm = [axis, *[i for i in range(x.ndim) if i != axis]]
    moved, fresh = x.transpose(perm), add_value.transpose(perm)
    out = write_rows(b, _rows(b, moved, 1), flat(b, index), _rows(b, fresh, 1), add=True, name="index_add")
    return b.reshape(out, moved.shape).transpose([perm.index(i) for i in range(x.ndim)])


@operator
def index_put(b: Builder, x: Tensor, indices: list[Tensor], value: Tensor, accumulate: bool = False) -> Tensor:
    """x[indices] = value, or += value; a bool index stands for the indices of what is true in it."""
    columns: list[Tensor] = []
    for index in indices:
        if index.dtype == "bool":
            where = nonzero(b, index)
            columns += [b.compute([where.shape[0]], lambda t, i, k=k: t(i, k), where, name="column") for k in range(index.ndim)]
        else:
            columns.append(index)
    shape = b.broadcast_shape(*(c.shape for c in columns))
    count = product(b, shape)
    lead = len(columns)
    rows = _row_numbers(b, [b.reshape(b.broadcast_to(c, shape), [count]) for c in columns], x.shape[:lead], count)
    source = _rows(b, x, lead)
    fresh = b.reshape(b.broadcast_to(value, [*shape, *x.shape[lead:]]), [count, source.shape[1]])
    return b.reshape(write_rows(b, source, rows, fresh, add=accumulate, name="index_put"), x.shape)


# ---- put_along_axis --------------------------------------------------------------------------------------------------

_IDENTITY = {"add": 0, "mul": 1, "mean": 0}
_REDUCE = {"assign": "assign", "add": "add", "mul": "mul", "multiply": "mul", "mean": "mean", "amin": "amin", "amax": "amax"}


def _combine(how: str, old: Any, new: Any) -> Any:
    if how in ("add", "mean"):
        return old + new
    return {"assign": new, "mul": old * new, "amin": tirx.min(old, new), "amax": tirx.max(old, new)}[how]


@operator
def put_along_axis(
    b: Builder, arr: Tensor, indices: Tensor, values: Tensor, axis: int, reduce: str = "assign", include_self: bool = True
) -> Tensor:
    """arr with values put in along an axis, an index for each; what was there takes part in the reduction or not."""
    if reduce not in _REDUCE:
        raise UnsupportedError(f"put_along_axis with reduce={reduce!r} is not supported")
    if arr.dtype == "bool":
        raise UnsupportedError("put_along_axis of bool tensors is not supported")
    if arr.ndim == 0:
        arr, indices, values = (b.reshape(t, [1]) for t in (arr, indices, values))
        return b.reshape(put_along_axis(b, arr, indices, values, 0, reduce, include_self), [])
    how, axis = _REDUCE[reduce], axis_of(axis, arr.ndim)
    size = arr.shape[axis]
    if values.ndim != indices.ndim or values.size == 1:
        values = b.broadcast_to(values if values.ndim <= indices.ndim else flat(b, values), indices.shape)

    def body(source: Any, at: Any, fresh: Any, out: Any, count: Any) -> None:
        def everywhere(dims: Sequence[Dim], stack: ExitStack) -> list[Any]:
            return [stack.enter_context(loop(d)) for d in dims]

        def target(stack: ExitStack) -> tuple[list[Any], list[Any]]:
            i = everywhere(indices.shape, stack)
            row = bind(wrapped(at[tuple(i)], size))
            stack.enter_context(when(inside(row, size)))
            return i, [*i[:axis], row, *i[axis + 1 :]]

        with ExitStack() as stack:
            i = everywhere(arr.shape, stack)
            out[tuple(i)] = source[tuple(i)]
            count[tuple(i)] = tirx.const(1 if include_self else 0, "int64")
        if not include_self and how != "assign":
            with ExitStack() as stack:
                i, to = target(stack)
                out[tuple(to)] = tirx.const(_IDENTITY[how], arr.dtype) if how in _IDENTITY else fresh[tuple(i)]
        with ExitStack() as stack:
            i, to = target(stack)
            out[tuple(to)] = _combine(how, out[tuple(to)], fresh[tuple(i)])
            count[tuple(to)] = count[tuple(to)] + 1
        if how == "mean":
            with ExitStack() as stack:
                i = everywhere(arr.shape, stack)
                stack.enter_context(when(count[tuple(i)] > 1))
                number = tirx.Cast(arr.dtype, count[tuple(i)])
                out[tuple(i)] = out[tuple(i)] / number if arr.is_float else tirx.floordiv(out[tuple(i)], number)

    outputs = [(arr.shape, arr.dtype), (arr.shape, "int64")]
    return kernel(b, body, [arr, indices, values], outputs, "put_along_axis")[0]


# ---- segments --------------------------------------------------------------------------------------------------------


def pool_rows(b: Builder, source: Tensor, ids: Tensor, segments: Dim, how: str, name: str) -> tuple[Tensor, Tensor]:
    """Rows [n, w] of equal id pooled (SUM, MEAN, MAX or MIN) to [segments, w], and how many there were [segments, 1]; zeros where none.

    Rows are added in order, as Paddle's CPU kernels do; ids outside are left out.  Half floats are counted and added in float32.
    """
    n, width = source.shape
    dtype = source.dtype
    if dtype in HALF:
        out, count = pool_rows(b, source.astype("float32"), ids, segments, how, name)
        return out.astype(dtype), count

    def body(value: Any, segment: Any, out: Any, count: Any) -> None:
        with loop(segments) as s:
            count[s, 0] = tirx.const(0, dtype)
            with loop(width) as j:
                out[s, j] = tirx.const(0, dtype)
        with loop(n) as i:
            s = bind(i64(segment[i]))
            with when(inside(s, segments)):
                with loop(width) as j:
                    old, new = out[s, j], value[i, j]
                    if how in ("SUM", "MEAN"):
                        out[s, j] = old + new
                    else:
                        best = tirx.max(old, new) if how == "MAX" else tirx.min(old, new)
                        out[s, j] = tirx.Select(count[s, 0] == tirx.const(0, dtype), new, best)
                count[s, 0] = count[s, 0] + tirx.const(1, dtype)
        if how == "MEAN":
            with loop(segments) as s, when(count[s, 0] > tirx.const(0, dtype)), loop(width) as j:
                out[s, j] = out[s, j] / count[s, 0] if source.is_float else tirx.truncdiv(out[s, j], count[s, 0])

    out, count = kernel(b, body, [source, ids], [([segments, width], dtype), ([segments, 1], dtype)], name)
    return out, count


@operator
def segment_pool(b: Builder, x: Tensor, segment_ids: Tensor, pooltype: str = "SUM") -> tuple[Tensor, Tensor | None]:
    """Rows of equal (sorted) segment ids pooled: SUM, MEAN, MAX or MIN; segments without rows are zeros."""
    if pooltype not in ("SUM", "MEAN", "MAX", "MIN"):
        raise UnsupportedError(f"segment_pool with pooltype={pooltype!r} is not supported")
    ids = flat(b, segment_ids).astype("int64")
    n = ids.shape[0]
    last = b.compute([1], lambda t, i: tirx.max(t(i64(n) - 1), i64(-1)) + 1, ids, name="segments")
    (segments,) = b.dims(last)
    out, count = pool_rows(b, _rows(b, x, 1), ids, segments, pooltype, "segment_pool")
    return b.reshape(out, [segments, *x.shape[1:]]), count.astype(x.dtype) if pooltype == "MEAN" else None
