"""The schedule of row kernels (targets/cpu/rows.py): everything of a row is computed together, vectors inside, rows in parallel."""

from __future__ import annotations

from typing import Any

from tvm import s_tir, tirx

from ..machine import Machine
from ..rows import ROW
from . import blocks

MOST_STEPS = 100  # what costs more (digamma) is computed once a row: each block reads it, and TVM would write it out as often
_KEPT = ("_total", "inverse", "shift", "mean", "row_powers")  # blocks whose results are stored: computed once a row, or dear


def schedule(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc | None:
    """A kernel with row blocks → one loop over rows; None for any other kernel."""
    sch = s_tir.Schedule(function, enable_check=False, error_render_level="none")
    leaves = blocks.leaf_blocks(sch)
    marked = [ROW in sch.get(b).annotations for b in leaves]
    if not any(marked):
        return None
    first = marked.index(True)
    lead = int(sch.get(leaves[first]).annotations[ROW][0])
    dear = [b for b in leaves[:first] if blocks.steps(sch.get(b)) > MOST_STEPS and lead]
    for block in leaves[:first]:
        if block not in dear:
            sch.compute_inline(block)
    rows = [*dear, *leaves[first:]]
    for block in rows[len(dear) : -1]:
        if not blocks.nest_of(sch, block).reduces and not sch.get(block).name_hint.endswith(_KEPT):
            sch.compute_inline(block)
    rows = blocks.leaf_blocks(sch)
    *before, out = rows
    work = sum(blocks.work(blocks.nest_of(sch, b).extents) for b in rows)
    loops = sch.get_loops(out)
    outer = blocks.fuse_static(sch, loops[:lead]) if lead else []
    row = outer[-1] if outer else None
    for block in reversed(before) if row is not None else ():
        # what is small lies on the stack; in scope "local", TVM would allocate it for each row
        sch.compute_at(block, row, preserve_unit_loops=True)
    for block in rows:
        _inner(sch, block, machine)
    if outer and machine.threads > 1 and work >= blocks.PARALLEL_WORK:
        # a symbolic first loop left alone is the batch, most often 1
        sch.parallel(outer[1] if len(outer) > 1 and outer[0] is loops[0] else outer[0])
    return sch.mod["main"]


def _inner(sch: s_tir.Schedule, block: Any, machine: Machine) -> None:
    nest = blocks.nest_of(sch, block)
    if nest.name.endswith("_lanes"):
        lane, group = nest.loops[-2], nest.loops[-1]
        sch.reorder(group, lane)
        sch.vectorize(lane)
        sch.decompose_reduction(block, group)
    elif nest.reduces:
        sch.decompose_reduction(block, nest.loops[-1])
    elif len(nest.loops) > 1 and not nest.dynamic[-1]:
        lanes = machine.lanes("float32")
        if nest.extents[-1] % lanes == 0:
            _, lane = sch.split(nest.loops[-1], [None, lanes])
            sch.vectorize(lane)
