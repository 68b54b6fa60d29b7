"""The schedule of reductions over axes before the last (targets/cpu/rows.py): the last axis in vectors, sums in registers."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx

from ..machine import Machine
from ..rows import COLUMN
from . import blocks

VECTORS = 4  # accumulators side by side, to hide the latency of an addition


def schedule(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc | None:
    """A kernel with column blocks; None for any other kernel."""
    sch = s_tir.Schedule(function, enable_check=False, error_render_level="none")
    leaves = blocks.leaf_blocks(sch)
    marked = [COLUMN in sch.get(b).annotations for b in leaves]
    if not any(marked):
        return None
    for block, mark in zip(leaves[:-1], marked, strict=False):
        if not mark:
            sch.compute_inline(block)  # elementwise operators before and after
    for block, mark in zip(leaves, marked, strict=True):
        if mark:
            reduce_columns(sch, block, int(sch.get(block).annotations[COLUMN][0]), machine)
    return sch.mod["main"]


def reduce_columns(sch: s_tir.Schedule, block: Any, count: int, machine: Machine) -> None:
    """Schedule a reduction in the innermost ``count`` loops, the loop outside them being one over neighbouring elements."""
    nest = blocks.nest_of(sch, block)
    *outer, column = nest.loops[:-count]
    reduces = nest.loops[-count:]
    size, dynamic = nest.extents[-count - 1], nest.dynamic[-count - 1]
    lanes = machine.lanes(str(sch.get(block).writes[0].source.dtype))
    parallel = machine.threads > 1 and blocks.work(nest.extents) >= blocks.PARALLEL_WORK
    whole = not dynamic and size % lanes == 0
    if whole:
        vectors = next(v for v in (VECTORS, 2, 1) if size % (lanes * v) == 0)
        tile, vector, lane = sch.split(column, [None, vectors, lanes])
        sch.reorder(tile, *reduces, vector, lane)
        outer.append(tile)
    else:
        sch.reorder(*reduces, column)
    if parallel and outer:  # now: TVM refuses it when initial values have loops of their own
        outer = [sch.fuse(*outer) if len(outer) > 1 else outer[0]]
        sch.parallel(outer[0])
    if whole:
        out = sch.cache_write(block, 0, "global")  # on the stack; in scope "local", TVM allocates it in each parallel iteration
        sch.reverse_compute_at(out, outer[-1], preserve_unit_loops=True)
        _, last = sch.split(sch.get_loops(out)[-1], [None, lanes])
        sch.vectorize(last)
        sch.unroll(vector)
        sch.vectorize(lane)
    sch.decompose_reduction(block, reduces[0])
