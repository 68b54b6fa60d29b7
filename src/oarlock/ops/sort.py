"""Sorting and searching: topk, argsort, searchsorted, unique, unique_consecutive.  NaN counts as the largest number."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, cast_expr
from .kernels import earlier, flat, last_axis, put_back, sort_rows, sorted_order, take_rows
from .registry import Scalar, operator
from .scalar import is_nan
from .select import first_in_order, sorted_as_paddle
from .serial import both, cell, either, i64, kernel, loop, parallel, when, while_
from .shape import axis_of
from .tensor import Dim, Tensor


def _picked(b: Builder, rows: Tensor, order: Tensor) -> Tensor:
    return b.compute(order.shape, lambda t, o, r, i: t(r, o(r, i)), rows, order, name="picked")


@operator
def topk(b: Builder, x: Tensor, k: Scalar = 1, axis: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest or smallest elements along an axis in order, and where they stand (int64); equal ones as Paddle has them."""
    if x.ndim == 0:
        return x, b.full([], 0, "int64")
    axis = axis_of(axis, x.ndim)
    (count,) = b.dims([k])
    size = x.shape[axis]
    if isinstance(count, int) and isinstance(size, int) and not 0 <= count <= size:
        raise UnsupportedError(f"topk of {count} along an axis of {size}")
    rows, perm, moved = last_axis(b, x, axis)
    order = first_in_order(b, rows, count, largest, sorted)
    return put_back(b, _picked(b, rows, order), perm, moved), put_back(b, order, perm, moved)


@operator
def argsort(b: Builder, x: Tensor, axis: int = -1, descending: bool = False, stable: bool = False) -> tuple[Tensor, Tensor]:
    """The elements along an axis in order, and where each stood (int64); equal ones in their order if stable, else as Paddle."""
    if x.ndim == 0:
        return x, b.full([], 0, "int64")
    rows, perm, moved = last_axis(b, x, axis_of(axis, x.ndim))
    order = sorted_order(b, rows, descending) if stable else sorted_as_paddle(b, rows, descending)
    return put_back(b, _picked(b, rows, order), perm, moved), put_back(b, order, perm, moved)


@operator
def searchsorted(b: Builder, sorted_sequence: Tensor, values: Tensor, out_int32: bool = False, right: bool = False) -> Tensor:
    """Where each value belongs in its (last axis of a) sorted sequence: before equal ones, or after them with ``right``."""
    size = sorted_sequence.shape[-1]
    dtype = "int32" if out_int32 else "int64"
    many = sorted_sequence.ndim > 1
    sequence, _, _ = last_axis(b, sorted_sequence, sorted_sequence.ndim - 1)
    wanted = b.reshape(values, [sequence.shape[0], values.shape[-1]]) if many else b.reshape(values, [1, values.size])

    def body(table: Any, value: Any, out: Any) -> None:
        with parallel(wanted.shape[0]) as r, loop(wanted.shape[1]) as c:
            low, high, middle = cell("int64", 0), cell("int64", 0), cell("int64", 0)
            high.v = i64(size)
            with while_(low.v < high.v):
                middle.v = (low.v + high.v) // 2
                at = table[r, middle.v]
                before = at <= value[r, c] if right else at < value[r, c]
                go_right = cell("bool", False)
                go_right.v = before
                with when(go_right.v):
                    low.v = middle.v + 1
                with when(tirx.Not(go_right.v)):
                    high.v = middle.v
            found = low.v
            if values.is_float:  # Paddle puts what is not finite behind everything
                v = value[r, c]
                found = tirx.Select(tirx.Or(tirx.isnan(v), tirx.isinf(v)), i64(size), found)
            out[r, c] = cast_expr(found, dtype)

    (out,) = kernel(b, body, [sequence, wanted], [(wanted.shape, dtype)], "searchsorted")
    return b.reshape(out, values.shape)


# ---- unique ----------------------------------------------------------------------------------------------------------


def _axis(axis: Any) -> int | None:
    if isinstance(axis, list | tuple):
        return int(axis[0]) if axis else None
    return axis


def _as_rows(b: Builder, x: Tensor, axis: int | None) -> tuple[Tensor, list[int], list[Dim]]:
    """x as [n, width]: the things that are compared, the permutation that put them in front, and the shape then."""
    if axis is None:
        return b.reshape(x, [x.size, 1]), [0], [x.size]
    axis = axis_of(axis, x.ndim)
    perm = [axis] + [i for i in range(x.ndim) if i != axis]
    moved = x.transpose(perm)
    width: Dim = 1
    for d in moved.shape[1:]:
        width = width * d
    return b.reshape(moved, [x.shape[axis], b.simplify(width)]), perm, list(moved.shape)


def _row_order(b: Builder, rows: Tensor) -> Tensor:
    """The stable lexicographic order of the rows of [n, width], int64 [1, n]."""
    n, width = rows.shape
    smaller = earlier(rows.dtype, False)

    def before(keys: list[Any], r: Any, i: Any, j: Any) -> Any:
        (key,) = keys
        left, right = cell("int64", 0), cell("int64", 0)
        left.v, right.v = i, j
        verdict, at = cell("int32", 0), cell("int64", 0)  # 1: before, 2: after
        with while_(both(verdict.v == 0, at.v < i64(width))):
            x, y = key[left.v, at.v], key[right.v, at.v]
            verdict.v = tirx.Select(smaller(x, y), 1, tirx.Select(smaller(y, x), 2, 0))
            at.v = at.v + 1
        return verdict.v == 1

    return sort_rows(b, 1, n, [rows], before, "sort_rows")


def _differ(x: Any, y: Any, is_float: bool) -> Any:
    """Whether two elements are not equal; no NaN is equal to another (TVM's own comparison is false then)."""
    return either(x != y, is_nan(x), is_nan(y)) if is_float else x != y


def _groups(b: Builder, rows: Tensor, order: Tensor | None, by_value: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Equal rows (in an order, or side by side) → first row of each group, group of each row, size of each group.

    Groups are numbered in the order given, or (by_value false) by their first row.
    """
    n, width = rows.shape

    def body(*buffers: Any) -> None:
        key, place = buffers[0], buffers[1] if order is not None else None
        start, group, size, rank, total = buffers[-5:]
        at = cell("int64", -1)
        with loop(n) as p:
            row, last = cell("int64", 0), cell("int64", 0)
            row.v = place[0, p] if place is not None else i64(p)
            last.v = place[0, tirx.max(i64(p) - 1, i64(0))] if place is not None else tirx.max(i64(p) - 1, i64(0))
            new = cell("bool", False)
            new.v = i64(p) == 0
            with loop(width) as j, when(_differ(key[row.v, j], key[last.v, j], rows.is_float)):
                new.v = tirx.const(True, "bool")
            with when(new.v):
                at.v = at.v + 1
                start[at.v] = row.v
                size[at.v] = i64(0)
            group[row.v] = at.v
            size[at.v] = size[at.v] + 1
        total[0] = at.v + 1
        if not by_value:
            count = cell("int64", 0)
            with loop(n) as i, when(start[group[i]] == i64(i)):
                rank[group[i]] = count.v
                count.v = count.v + 1

    inputs = [rows] if order is None else [rows, order]
    outputs: list[tuple[list[Dim], str]] = [([n], "int64")] * 4 + [([1], "int64")]
    start, group, size, rank, total = kernel(b, body, inputs, outputs, "groups")
    (count,) = b.dims(total)
    start, size, rank = (b.slice(t, 0, 0, count) for t in (start, size, rank))
    if by_value:
        return start, group, size

    def reorder(first: Any, many: Any, to: Any, new_first: Any, new_many: Any) -> None:
        with loop(count) as g:
            new_first[to[g]] = first[g]
            new_many[to[g]] = many[g]

    start, size = kernel(b, reorder, [start, size, rank], [([count], "int64"), ([count], "int64")], "reorder")
    return start, take_rows(b, rank, group), size


def _distinct(b: Builder, rows: Tensor, start: Tensor, perm: list[int], moved: list[Dim]) -> Tensor:
    out = take_rows(b, rows, start)
    return b.reshape(out, [start.shape[0], *moved[1:]]).transpose([perm.index(i) for i in range(len(perm))])


@operator
def unique(
    b: Builder,
    x: Tensor,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = (),
    dtype: str = "int64",
    is_sorted: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The distinct elements (or slices of an axis): sorted, or by first occurrence; their first places, the number of each
    element's, how often each comes."""
    rows, perm, moved = _as_rows(b, x, _axis(axis))
    rows = rows.astype("int8") if x.dtype == "bool" else rows
    order = sorted_order(b, b.reshape(flat(b, rows), [1, rows.shape[0]])) if _axis(axis) is None else _row_order(b, rows)
    start, inverse, counts = _groups(b, rows, order, by_value=is_sorted)
    out = _distinct(b, rows, start, perm, moved).astype(x.dtype)
    return out, start.astype(dtype), inverse.astype(dtype), counts.astype(dtype)


@operator
def unique_consecutive(
    b: Builder, x: Tensor, return_inverse: bool = False, return_counts: bool = False, axis: Any = (), dtype: str = "int64"
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs of equal elements (or slices of an axis) as one; the run of each element, and how long each run is."""
    rows, perm, moved = _as_rows(b, x, _axis(axis))
    start, inverse, counts = _groups(b, rows, None, by_value=True)
    index = dtype if dtype in ("int32", "int64") else "int64"
    return _distinct(b, rows, start, perm, moved), inverse.astype(index), counts.astype(index)
