"""The schedule of products and convolutions (kernels.py): register tiles, packed panels, everything after them fused in."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx

from ....kernels.choice import CANDIDATE, WORKLOAD
from .. import amx, dots, words
from ..kernels import GEOMETRY, Window
from ..machine import Machine
from ..state import flush_denormals
from ..tiles import ATTRIBUTE, Tile
from . import blocks, borders, edges

_REDUCES = {"product": 1, "batch_product": 1, "convolution": 3, "strips": 3, "depthwise": 2}  # kind → loops of a sum, groups aside


def schedule(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc | None:
    """A kernel with one accumulator block of ours → tiles in registers; None for any other kernel."""
    # Without checks: with symbolic extents TVM cannot prove that the tiles cover the result; kernels.py makes them so.
    sch = s_tir.Schedule(function, enable_check=False, error_render_level="none")
    leaves = blocks.leaf_blocks(sch)
    accumulators = [b for b in leaves if ATTRIBUTE in sch.get(b).annotations]
    if len(accumulators) != 1:
        return None
    acc = accumulators[0]
    position = [sch.get(b).name_hint for b in leaves].index(sch.get(acc).name_hint)
    kind, tile = Tile.read(sch.get(acc).annotations[ATTRIBUTE])
    geometry = sch.get(acc).annotations.get(GEOMETRY)
    named = {key: str(sch.get(acc).annotations[key]) for key in (WORKLOAD, CANDIDATE)}
    before, after = leaves[:position], leaves[position + 1 :]
    total = after.pop(0) if sch.get(after[0]).name_hint == "tile_sum" else None
    # the first result decides the loops; what is made of it (joining.py) is made tile by tile after it
    results = [any(sch.get(block).writes[0].source.same_as(p) for p in function.params) for block in after]
    for block, result in zip(after, results, strict=True):
        if not result:
            sch.compute_inline(block)
    out, *others = [block for block, result in zip(after, results, strict=True) if result]
    columns, dynamic = blocks.extent(sch.get(sch.get_loops(out)[-1]).extent)
    columns = 0 if dynamic else columns
    ragged = dynamic or columns % tile.columns != 0
    *outer, row, column = sch.get_loops(out)
    row_tile, row_in = sch.split(row, [None, tile.rows])
    column_tile, column_in = sch.split(column, [None, tile.columns])
    if kind == "convolution" or kind == "depthwise":
        order = [column_tile, *outer, row_tile] if tile.panels else [*outer, column_tile, row_tile]
    else:
        order = [*outer, column_tile, row_tile] if tile.panels else [*outer, row_tile, column_tile]
    sch.reorder(*order, row_in, column_in)
    # where padding and packing of inputs happens: once an output row when rows come first, else once for the whole input
    by_rows = kind in ("convolution", "depthwise") and not tile.panels and not tile.whole
    at = outer[-1] if by_rows and not (tile.parallel and _few(sch, outer, machine)) else None
    for other in others:
        sch.reverse_compute_at(other, order[-1], preserve_unit_loops=True)
    rows_of = [row_in, *(sch.get_loops(other)[-2] for other in others)]
    columns_of = [column_in, *(sch.get_loops(other)[-1] for other in others)]
    if total is not None:
        sch.compute_at(total, order[-1], preserve_unit_loops=True)
        sch.set_scope(total, 0, "local")
        inner = _total(sch, total, tile)
    sch.compute_at(acc, order[-1] if total is None else inner, preserve_unit_loops=True)
    sch.set_scope(acc, 0, "local")
    operands = [dtype for region in sch.get(acc).reads if (dtype := str(region.source.ty.dtype)) in dots.HELD]
    if tile.strip:
        first = sch.get(sch.get_loops(acc)[-_REDUCES[kind] - 3]).loop_var
    else:
        lane = _inner(sch, acc, kind, tile)
        for loop in rows_of:
            sch.unroll(loop)
    for loop in () if ragged else columns_of:
        column_vector, column_lane = sch.split(loop, [None, tile.lanes])
        sch.unroll(column_vector)
        sch.vectorize(column_lane)
    _producers(sch, before, at, tile.lanes, tile.parallel)
    if tile.parallel:
        _parallel(sch, order[: len(outer)] if at is not None and before else order, machine)
    if tile.group > 1 and not tile.strip:  # last: the block is another one afterwards
        sch.tensorize(lane, dots.intrinsic(tile.lanes, *operands))
    made = sch.mod["main"]
    for loop in rows_of:
        made = edges.store(made, sch.get(loop).loop_var, tile, columns if ragged else None)
    if tile.direct:
        taps = sch.get(sch.get_loops(acc)[-5]).loop_var  # lines of the kernel; then its places, row, vector, lane
        (x, *_) = [region.source for region in sch.get(acc).reads if len(region.source.ty.shape) == 4]
        made = borders.split(
            made, taps, *borders.of_window(x.ty.shape, Window.read(geometry)), tile.rows, sch.get(acc).writes[0].source.ty.shape[2]
        )
    if kind == "depthwise":
        made = words.summed(made)
    if tile.strip:
        made = amx.lower(made, first, tile, _REDUCES[kind])
    return (flush_denormals(made) if machine.flushes else made).with_attrs(named)


def _few(sch: s_tir.Schedule, outer: list[Any], machine: Machine) -> bool:
    """Whether there are fewer output rows than threads, which would leave threads without work: then tiles of rows are shared out."""
    extents = [blocks.extent(sch.get(loop).extent) for loop in outer]
    return not any(dynamic for _, dynamic in extents) and blocks.work([size for size, _ in extents]) < machine.threads


def _inner(sch: s_tir.Schedule, acc: Any, kind: str, tile: Tile) -> Any:
    """Accumulators in registers: reduction loops outside, the tile's loops unrolled and vectorised inside; returns the innermost loop."""
    loops = list(sch.get_loops(acc))
    count = _REDUCES[kind]
    dot = loops[-1:] if tile.group > 1 else []  # the loop over what one instruction sums
    loops = loops[: len(loops) - len(dot)]
    reduces = loops[-count:]
    row, column = loops[-count - 2], loops[-count - 1]
    vector, lane = sch.split(column, [None, tile.lanes])
    sch.reorder(*reduces, row, vector, lane, *dot)
    sch.unroll(row)
    sch.unroll(vector)
    if not dot:
        sch.vectorize(lane)
    if kind == "depthwise":
        for loop in reduces[-tile.unroll :]:
            sch.unroll(loop)
    elif tile.unroll > 1:
        reduces[-1], steps = sch.split(reduces[-1], [None, tile.unroll])
        sch.unroll(steps)
    init = sch.decompose_reduction(acc, reduces[0])
    if dot:
        sch.vectorize(sch.get_loops(init)[-1])
    return lane


def _total(sch: s_tir.Schedule, total: Any, tile: Tile) -> Any:
    """The sum of partial sums, tile by tile; returns its loop over them."""
    *_, row, column, part = sch.get_loops(total)
    vector, lane = sch.split(column, [None, tile.lanes])
    sch.reorder(part, row, vector, lane)
    sch.unroll(vector)
    sch.vectorize(lane)
    sch.decompose_reduction(total, part)
    return part


def _producers(sch: s_tir.Schedule, before: list[Any], at: Any, lanes: int, parallel: bool) -> None:
    """Padding at the loop ``at`` (when given); packing and fused producers in nests of their own."""
    kept = []
    for block in before:
        readers = [sch.get(c).name_hint for c in sch.get_consumers(block)]
        if readers and all(r.startswith(("tile_pad", "tile_pack")) for r in readers):
            sch.compute_inline(block)
        else:
            kept.append(block)
    for block in kept:
        padding = at is not None and sch.get(block).name_hint.startswith("tile_pad")
        if padding:
            sch.compute_at(block, at, preserve_unit_loops=True)
        loops = list(sch.get_loops(block))
        size, dynamic = blocks.extent(sch.get(loops[-1]).extent)
        if not dynamic and size % lanes == 0:
            _, lane = sch.split(loops[-1], [None, lanes])
            sch.vectorize(lane)
        if parallel and not padding and len(loops) > 2:
            sch.parallel(sch.fuse(*loops[:2]))


def _parallel(sch: s_tir.Schedule, order: list[Any], machine: Machine) -> None:
    """Fuse leading loops until there are a few iterations a thread, and run them in parallel."""
    fused, have = [], 1
    for loop in order:
        size, dynamic = blocks.extent(sch.get(loop).extent)
        fused.append(loop)
        have *= size
        if have >= 4 * machine.threads:
            break
    sch.parallel(sch.fuse(*fused) if len(fused) > 1 else fused[0])
