"""Depthwise convolutions that read their padding from nowhere: no copy of the input, and no test where nothing is padded.

Before, in each tile of ``rows`` neighbouring places::

    for r: for s, row, vector: sums[row, vector] += if(line and place are inside, x[line, place], 0) * weights[r, s]

After: the lines that are inside are known before the loop over them, and so is whether a whole tile is inside::

    if tile is inside: for r inside: for s, row, vector: sums += x[…] * weights
    elif tile is the first (the last, …): the same with its number put in, so that each test is decided when it is compiled
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, sym, tirx

from .... import compat
from . import blocks, edges

MOST_CASES = 4  # tiles at borders that get loops of their own; where there are more, they share one that tests


@dataclass(frozen=True)
class Border:
    """The geometry along one axis: the input's size, what is padded before it, the kernel's size, stride and dilation."""

    size: Any
    before: int
    kernel: int
    stride: int
    dilation: int

    def taps(self, place: Any) -> tuple[Any, Any]:
        """The first tap of the kernel that is inside for the result at ``place``, and how many are."""
        start = self.before - place * self.stride
        first = tirx.max(tirx.floordiv(start + (self.dilation - 1), self.dilation), 0)
        end = tirx.min(tirx.floordiv(self.size - 1 + start, self.dilation) + 1, self.kernel)
        return first, tirx.max(end - first, 0)

    def inside(self, tile: Any, rows: int) -> list[Any]:
        """What must hold for all that a tile of ``rows`` results reads to be inside."""
        low = tile * (rows * self.stride) - self.before
        high = low + ((rows - 1) * self.stride + (self.kernel - 1) * self.dilation)
        return [low >= 0, high < self.size]


def split(function: tirx.PrimFunc, taps: tirx.Var, lines: Border, places: Border, rows: int, tiles: Any) -> tirx.PrimFunc:
    """Rewrite the loop over ``taps``, the lines of the kernel; ``tiles``: how many of ``rows`` results a line has."""

    done: list[bool] = []  # what comes out is looked into again

    def rewrite(loop: tirx.For) -> tirx.Stmt:
        if done or not loop.loop_var.same_as(taps):
            return loop
        done.append(True)
        return _cases(loop, lines, places, rows, tiles)

    return tvm_ffi.structural_map(function, (tirx.For, rewrite), order="pre")


def _cases(loop: tirx.For, lines: Border, places: Border, rows: int, tiles: Any) -> tirx.Stmt:
    found: list[s_tir.SBlockRealize] = []
    tvm_ffi.structural_walk(loop, (s_tir.SBlockRealize, found.append))
    (realize,) = found
    _, line, tile, *_ = realize.iter_values  # of (image, line, tile, …): see kernels.depthwise
    first, count = lines.taps(line)
    first, count = (sym.Analyzer().simplify(e) for e in (first, count))

    def over(block: s_tir.SBlockRealize, own: bool) -> tirx.Stmt:
        body = tvm_ffi.structural_map(loop.body, (s_tir.SBlockRealize, lambda _: block))
        made = tirx.For(loop.loop_var, first, count, tirx.ForKind.SERIAL, body)
        return edges.fresh(made) if own else made

    inside = over(_block(realize, None, False), False)
    known = compat.static(tiles)
    if isinstance(known, int):
        border = [n for n in range(known) if not all(_true(test) for test in places.inside(tirx.const(n, "int64"), rows))]
        if len(border) <= MOST_CASES:
            result = inside if len(border) < known else over(_block(realize, border.pop(), True), True)
            for n in border:
                result = tirx.IfThenElse(tile.equal(tirx.const(n, str(tile.ty))), over(_block(realize, n, True), True), result)
            return result
    return tirx.IfThenElse(edges.all_of(places.inside(tile, rows)), inside, over(_block(realize, None, True), True))


def _true(test: Any) -> bool:
    return bool(sym.Analyzer().can_prove(test))


def _block(realize: s_tir.SBlockRealize, tile: int | None, tests: bool) -> s_tir.SBlockRealize:
    """The block without its test of lines, and without that of places unless ``tests``; for tile number ``tile`` where that is given."""
    values = list(realize.iter_values)
    if tile is not None:
        values[2] = tirx.const(tile, str(values[2].ty))
    block = realize.block
    along = [block.iter_vars[n].var for n in (2, 4, 7)]  # the tile, the row in it, the tap: what a place is made of

    def test(call: ir.Call) -> Any:
        if not getattr(call.op, "name", "").endswith("if_then_else"):
            return call
        kept = [t for t in edges.conjuncts(call.args[0]) if any(blocks.uses(t, var) for var in along)] if tests else []
        return tirx.if_then_else(edges.all_of(kept), call.args[1], call.args[2]) if kept else call.args[1]

    body = tvm_ffi.structural_map(block.body, (ir.Call, test))
    more = block.init, block.alloc_buffers, block.match_buffers, block.annotations
    made = s_tir.SBlock(block.iter_vars, block.reads, block.writes, block.name_hint, body, *more)
    return s_tir.SBlockRealize(values, realize.predicate, made)


def of_window(shape: Sequence[Any], window: Any) -> tuple[Border, Border]:
    """The borders of lines and of places, for input of ``shape`` (N, H, W, C)."""
    top, left, _, _ = window.padding
    axes = zip(shape[1:3], (top, left), window.kernel, window.strides, window.dilation, strict=True)
    lines, places = (Border(*axis) for axis in axes)
    return lines, places
