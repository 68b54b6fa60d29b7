"""Sorting, and the k first elements of each row, in the very order that Paddle gives them, ties included.

Paddle's CPU kernel orders equal elements as the C++ library's algorithms happen to: for topk a partial heap sort when k is
small beside the row, else a quick-select followed by an introspective sort; for argsort the latter alone.  Detection heads
with many equal scores depend on it, so the same steps are taken here.  All of them cost O(n log n) at worst, a selection O(n)
as a rule.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from tvm import tirx

from .builder import Builder
from .kernels import earlier
from .serial import Cell, both, cell, i64, kernel, loop, parallel, require, scratch, when, while_
from .tensor import Dim, PrimExpr, Tensor

SMALL = 16  # ranges that are left to insertion sort
HEAP_FACTOR = 64  # a row that is longer than this times k is heap-selected
STACK = 160  # open ranges of a sort: at most one more than the depth, which is 2·log2(n)


def _fixed(value: Any) -> Cell:
    """A copy of what an expression is worth now."""
    return cell("int64", i64(value))


class _Row:
    """One row's order, permuted in place; positions and elements (numbers of the row's items) are int64 expressions."""

    def __init__(self, keys: Any, order: Any, row: Any, dtype: str, descending: bool) -> None:
        self.keys, self.order, self.row = keys, order, row
        self._before = earlier(dtype, descending)

    def __getitem__(self, position: Any) -> PrimExpr:
        return self.order[self.row, position]

    def __setitem__(self, position: Any, element: Any) -> None:
        self.order[self.row, position] = element

    def before(self, x: Any, y: Any) -> PrimExpr:
        """Whether element x belongs strictly before element y."""
        return self._before(self.keys[self.row, x], self.keys[self.row, y])

    def swap(self, p: Any, q: Any) -> None:
        first = _fixed(self[p])
        self[p] = self[q]
        self[q] = first.v

    # ---- quick steps -----------------------------------------------------------------------------------------------

    def partition(self, first: Cell, last: Cell) -> Cell:
        """Split [first, last) around the median of three, which goes to the front; gives where the second part begins."""
        x, y, z = _fixed(first.v + 1), _fixed(first.v + (last.v - first.v) // 2), _fixed(last.v - 1)
        xy, yz, xz = (self.before(self[p.v], self[q.v]) for p, q in ((x, y), (y, z), (x, z)))
        rising = tirx.Select(yz, y.v, tirx.Select(xz, z.v, x.v))
        falling = tirx.Select(xz, x.v, tirx.Select(yz, z.v, y.v))
        median = _fixed(tirx.Select(xy, rising, falling))
        self.swap(first.v, median.v)
        pivot, low, high = _fixed(self[first.v]), _fixed(first.v + 1), _fixed(last.v)
        open_ = cell("bool", True)
        with while_(open_.v):
            with while_(self.before(self[low.v], pivot.v)):
                low.v = low.v + 1
            high.v = high.v - 1
            with while_(self.before(pivot.v, self[high.v])):
                high.v = high.v - 1
            open_.v = low.v < high.v
            with when(open_.v):
                self.swap(low.v, high.v)
                low.v = low.v + 1
        return low

    def insertion_sort(self, first: Any, last: Any) -> None:
        first, last = _fixed(first), _fixed(last)
        with loop(last.v, first.v + 1) as i:
            element, hole, moving = _fixed(self[i]), _fixed(i), cell("bool", True)
            with while_(both(moving.v, hole.v > first.v)):
                moving.v = self.before(element.v, self[hole.v - 1])
                with when(moving.v):
                    self[hole.v] = self[hole.v - 1]
                    hole.v = hole.v - 1
            self[hole.v] = element.v

    # ---- heaps: the last element in order on top ---------------------------------------------------------------------

    def sift(self, base: Cell, hole: Cell, size: Cell, element: Cell) -> None:
        """Fill a hole: down to a leaf along the later children, then up until the element fits."""
        top, child = _fixed(hole.v), _fixed(hole.v)
        with while_(child.v < (size.v - 1) // 2):
            child.v = 2 * (child.v + 1)
            with when(self.before(self[base.v + child.v], self[base.v + child.v - 1])):
                child.v = child.v - 1
            self[base.v + hole.v] = self[base.v + child.v]
            hole.v = child.v
        with when(both(size.v % 2 == 0, child.v == (size.v - 2) // 2)):
            self[base.v + hole.v] = self[base.v + 2 * child.v + 1]
            hole.v = 2 * child.v + 1
        moving = cell("bool", True)
        with while_(both(moving.v, hole.v > top.v)):
            parent = _fixed((hole.v - 1) // 2)
            moving.v = self.before(self[base.v + parent.v], element.v)
            with when(moving.v):
                self[base.v + hole.v] = self[base.v + parent.v]
                hole.v = parent.v
        self[base.v + hole.v] = element.v

    def pop_to(self, base: Cell, size: Cell, place: Cell) -> None:
        """The top goes to a place, and what stood there into the heap."""
        element = _fixed(self[place.v])
        self[place.v] = self[base.v]
        self.sift(base, _fixed(0), size, element)

    def heap_select(self, first: Any, middle: Any, last: Any) -> None:
        """The elements that belong to [first, middle), as a heap."""
        base, size = _fixed(first), _fixed(middle - first)
        with loop(size.v // 2) as k:
            hole = _fixed((size.v - 2) // 2 - k)
            self.sift(base, hole, size, _fixed(self[base.v + hole.v]))
        with loop(last, middle) as i, when(self.before(self[i], self[base.v])):
            self.pop_to(base, size, _fixed(i))

    def heap_sort(self, first: Any, middle: Any, last: Any) -> None:
        """Sort the elements that belong to [first, middle)."""
        self.heap_select(first, middle, last)
        base, size = _fixed(first), _fixed(middle - first)
        with while_(size.v > 1):
            size.v = size.v - 1
            self.pop_to(base, size, _fixed(base.v + size.v))

    # ---- what topk is made of ----------------------------------------------------------------------------------------

    def quick_select(self, nth: Any, size: Any) -> None:
        """Put the right element at ``nth``, what belongs before it in front of it."""
        first, last, depth = _fixed(0), _fixed(size), _depth(size)
        done = cell("bool", False)
        with while_(both(tirx.Not(done.v), last.v - first.v > 3)):
            with when(depth.v == 0):
                self.heap_select(first.v, i64(nth) + 1, last.v)
                self.swap(first.v, nth)
                done.v = tirx.const(True, "bool")
            with when(tirx.Not(done.v)):
                depth.v = depth.v - 1
                cut = self.partition(first, last)
                with _either(cut.v <= i64(nth)) as (yes, no):
                    with yes:
                        first.v = cut.v
                    with no:
                        last.v = cut.v
        with when(tirx.Not(done.v)):
            self.insertion_sort(first.v, last.v)

    def sort(self, size: Any) -> None:
        """Sort [0, size): quick steps down to small ranges, heap sort where they go too deep, insertion sort over all."""
        todo, ranges = scratch([STACK, 3], "int64"), _fixed(1)
        todo[0, 0], todo[0, 1], todo[0, 2] = i64(0), i64(size), _depth(size).v
        with while_(ranges.v > 0):
            ranges.v = ranges.v - 1
            first, last, depth = (_fixed(todo[ranges.v, k]) for k in range(3))
            with when(both(last.v - first.v > SMALL, depth.v == 0)):
                self.heap_sort(first.v, last.v, last.v)
            with when(both(last.v - first.v > SMALL, depth.v > 0)):
                cut = self.partition(first, last)
                for begin, end in ((first, cut), (cut, last)):
                    todo[ranges.v, 0], todo[ranges.v, 1], todo[ranges.v, 2] = begin.v, end.v, depth.v - 1
                    ranges.v = ranges.v + 1
        self.insertion_sort(i64(0), i64(size))


class _either:
    """``with _either(condition) as (yes, no)``: two contexts of statements, by what the condition is worth now."""

    def __init__(self, condition: PrimExpr) -> None:
        self._condition = condition

    def __enter__(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        verdict = cell("bool", False)
        verdict.v = self._condition
        return when(verdict.v), when(tirx.Not(verdict.v))

    def __exit__(self, *error: Any) -> None:
        return None


def _depth(size: Any) -> Cell:
    """2·⌊log2(size)⌋: how deep quick steps may go."""
    depth, rest = _fixed(0), _fixed(size)
    with while_(rest.v > 1):
        rest.v = rest.v // 2
        depth.v = depth.v + 2
    return depth


def sorted_as_paddle(b: Builder, x: Tensor, descending: bool) -> Tensor:
    """The order of each row of [rows, n] that Paddle's unstable sort gives, int64 [rows, n]."""
    x = x.astype("int8") if x.dtype == "bool" else x
    rows, n = x.shape

    def body(keys: Any, order: Any) -> None:
        with parallel(rows) as r:
            with loop(n) as i:
                order[r, i] = i64(i)
            _Row(keys, order, r, x.dtype, descending).sort(n)

    return kernel(b, body, [x], [([rows, n], "int64")], "argsort")[0]


def first_in_order(b: Builder, x: Tensor, k: Dim, descending: bool, in_order: bool) -> Tensor:
    """The places of the k first elements of each row of [rows, n], int64 [rows, k]; sorted if ``in_order``."""
    x = x.astype("int8") if x.dtype == "bool" else x
    rows, n = x.shape
    heap = k * HEAP_FACTOR < n

    def body(keys: Any, order: Any) -> None:
        enough = both(i64(k) >= 0, i64(k) <= i64(n))
        with require(enough, f"topk of {k} along an axis of {n}"), parallel(rows) as r:
            with loop(n) as i:
                order[r, i] = i64(i)
            row = _Row(keys, order, r, x.dtype, descending)

            def by_heap() -> None:
                row.heap_sort(i64(0), i64(k), i64(n))

            def by_selection() -> None:
                row.quick_select(i64(k) - 1, n)
                if in_order:
                    row.sort(i64(k) - 1)

            if isinstance(k, int) and isinstance(n, int):
                if k:
                    by_heap() if heap else by_selection()
                return
            with when(both(i64(k) > 0, heap)):
                by_heap()
            with when(both(i64(k) > 0, tirx.Not(heap))):
                by_selection()

    (order,) = kernel(b, body, [x], [([rows, n], "int64")], "topk")
    return b.slice(order, 1, 0, k)
