"""Kernels that several families need: compaction (positions of what is true) and stable sorting, as plain TIR loops.

Everything here works on flat or [rows, n] tensors; results whose size depends on the data come as a padded buffer and a
count, and are cut to their size with a dim that is known at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from .builder import Builder
from .serial import both, cell, either, i64, kernel, loop, parallel, when, while_
from .tensor import Dim, PrimExpr, Tensor

Before = Callable[[Any, Any], PrimExpr]
RowBefore = Callable[[list[Any], Any, Any, Any], PrimExpr]


def flat(b: Builder, x: Tensor) -> Tensor:
    """The tensor as one axis."""
    return b.reshape(x, [x.size])


def wrapped(index: PrimExpr, size: Dim) -> PrimExpr:
    """An index that may count from the end, as int64."""
    index = i64(index)
    return tirx.Select(index < 0, index + i64(size), index)


def clamped(index: PrimExpr, size: Dim) -> PrimExpr:
    """An index, from the end when negative, kept inside so that a wrong one never reads other memory."""
    return tirx.max(tirx.min(wrapped(index, size), i64(size) - 1), i64(0))


def inside(index: PrimExpr, size: Dim) -> PrimExpr:
    """Whether an index that is not negative any more is a valid one."""
    return both(index >= 0, index < i64(size))


def positions(b: Builder, mask: Tensor) -> Tensor:
    """Where a flat bool tensor is true, int64 [count] with a run-time count."""
    n = mask.shape[0]

    def body(keep: Any, where: Any, count: Any) -> None:
        found = cell("int64", 0)
        with loop(n) as i, when(keep[i]):
            where[found.v] = i64(i)
            found.v = found.v + 1
        count[0] = found.v

    where, count = kernel(b, body, [mask], [([n], "int64"), ([1], "int64")], "positions")
    return cut(b, where, count)


def cut(b: Builder, padded: Tensor, count: Tensor) -> Tensor:
    """The first rows of a padded tensor; ``count`` holds how many, int64 [1]."""
    (rows,) = b.dims(count)
    return b.slice(padded, 0, 0, rows)


def take_rows(b: Builder, x: Tensor, rows: Tensor) -> Tensor:
    """x[rows] along the first axis; the rows are valid ones."""
    return b.compute([*rows.shape, *x.shape[1:]], lambda t, r, i, *rest: t(r(i), *rest), x, rows, name="take_rows")


def earlier(dtype: str, descending: bool) -> Before:
    """The strict order of Paddle's sorts: NaN is the largest number."""

    def before(x: Any, y: Any) -> PrimExpr:
        if "float" not in dtype:
            return x > y if descending else x < y
        if dtype in ("float16", "bfloat16"):
            x, y = tirx.Cast("float32", x), tirx.Cast("float32", y)
        odd_x, odd_y = tirx.isnan(x), tirx.isnan(y)  # TVM takes x != x for false
        if descending:
            return either(both(odd_x, tirx.Not(odd_y)), x > y)
        return either(both(tirx.Not(odd_x), odd_y), x < y)

    return before


def sort_rows(b: Builder, rows: Dim, n: Dim, keys: list[Tensor], before: RowBefore, name: str) -> Tensor:
    """The stable order of each row, int64 [rows, n].

    ``before(key buffers, row, i, j)``: whether element i of the row belongs strictly before element j; it may emit statements.
    A merge sort from the bottom up: order and scratch take turns in memory that the caller's memory planner owns.
    """

    def body(*buffers: Any) -> None:
        ins, (order, scratch) = list(buffers[:-2]), buffers[-2:]
        size = i64(n)
        with parallel(rows) as r:
            with loop(n) as i:
                order[r, i] = i64(i)
            width = cell("int64", 1)
            with while_(width.v < size):
                low = cell("int64", 0)
                with while_(low.v < size):
                    middle, high = cell("int64", 0), cell("int64", 0)
                    middle.v = tirx.min(low.v + width.v, size)
                    high.v = tirx.min(middle.v + width.v, size)
                    left, right = cell("int64", 0), cell("int64", 0)
                    left.v, right.v = low.v, middle.v
                    with loop(high.v, low.v) as k:
                        take_right = cell("bool", False)
                        take_right.v = left.v >= middle.v
                        with when(both(left.v < middle.v, right.v < high.v)):
                            take_right.v = before(ins, r, order[r, right.v], order[r, left.v])
                        with when(take_right.v):
                            scratch[r, k] = order[r, right.v]
                            right.v = right.v + 1
                        with when(tirx.Not(take_right.v)):
                            scratch[r, k] = order[r, left.v]
                            left.v = left.v + 1
                    low.v = high.v
                with loop(n) as i:
                    order[r, i] = scratch[r, i]
                width.v = width.v * 2

    return kernel(b, body, keys, [([rows, n], "int64"), ([rows, n], "int64")], name)[0]


def sorted_order(b: Builder, x: Tensor, descending: bool = False) -> Tensor:
    """The stable order of each row of [rows, n], int64 [rows, n]."""
    x = x.astype("int8") if x.dtype == "bool" else x
    before = earlier(x.dtype, descending)
    return sort_rows(b, x.shape[0], x.shape[1], [x], lambda keys, r, i, j: before(keys[0][r, i], keys[0][r, j]), "sort")


def last_axis(b: Builder, x: Tensor, axis: int) -> tuple[Tensor, list[int], list[Dim]]:
    """x as [rows, n] with an axis moved to the end, the permutation that did it, and the shape before flattening."""
    perm = [i for i in range(x.ndim) if i != axis] + [axis]
    moved = x.transpose(perm)
    rows: Dim = 1
    for d in moved.shape[:-1]:
        rows = rows * d
    return b.reshape(moved, [b.simplify(rows), moved.shape[-1]]), perm, list(moved.shape)


def put_back(b: Builder, rows: Tensor, perm: list[int], moved: list[Dim]) -> Tensor:
    """Undo last_axis for a result of [rows, k]."""
    inverse = [perm.index(i) for i in range(len(perm))]
    return b.reshape(rows, [*moved[:-1], rows.shape[1]]).transpose(inverse)
