"""What a search may do with the sums of a product or a convolution (plain.py): every tile in registers, not only a template's.

MetaSchedule's own rules tile such a kernel, too, but leave its sums in memory: their best schedules take twice a template's time.
These differ from the templates in tiles of several rows of an image, loops over a few panels inside those over places, and parts of
the reduction written out.  All numbers are sampled, so that MetaSchedule can mutate them.
"""

from __future__ import annotations

import itertools
from typing import Any

from tvm import s_tir, tirx

from .... import compat
from .. import onednn, winograd
from ..machine import Machine
from . import blocks, plain

MOST_HIGH, MOST_WIDE, MOST_VECTORS, MOST_UNROLLED = 4, 28, 4, 8


def schedules(sch: s_tir.Schedule, machine: Machine) -> list[s_tir.Schedule]:
    """The design spaces for a kernel in plain form: one for each order of loops, place of the padding, and part that is written out.

    None for any other kernel.
    """
    if plain.SUMS not in [sch.get(b).name_hint for b in blocks.leaf_blocks(sch)]:
        return []
    nest = blocks.nest_of(sch, sch.get_sblock(plain.SUMS))
    reduces = nest.kinds.count("reduce")
    spatial = len(nest.loops) - reduces
    image = spatial > 2
    lanes = _lanes(nest.extents[spatial - 1], machine.lanes(str(sch.get(nest.block).writes[0].source.dtype)))
    if lanes < 4 or spatial < 2 or nest.kinds[spatial:] != ["reduce"] * reduces:
        return []
    padded = any(sch.get(b).name_hint == "tile_pad" for b in blocks.leaf_blocks(sch))
    made = []
    for panels, rowwise, unrolled in itertools.product((False, True), (False, True) if padded else (False,), range(min(reduces, 2) + 1)):
        if not (panels and rowwise):
            copy = sch.copy()
            _schedule(copy, reduces, image, lanes, panels, rowwise, unrolled, machine.threads > 1)
            made.append(copy)
    return made


def has_any(start: tirx.PrimFunc, machine: Machine) -> bool:
    """Whether a search can find anything good: a kernel of ours needs spaces of ours, MetaSchedule's are worse than a template.

    For Winograd's kernels and oneDNN's there are none.
    """
    sch = s_tir.Schedule(compat.copy_primfunc(start), error_render_level="none")
    found = [sch.get(b) for b in blocks.leaf_blocks(sch)]
    if plain.SUMS not in [block.name_hint for block in found]:
        return not any(attribute in block.annotations for block in found for attribute in (onednn.ATTRIBUTE, winograd.ATTRIBUTE))
    try:
        return bool(schedules(sch, machine))
    except (RuntimeError, ValueError, TypeError, IndexError):
        return False  # fused with something that they do not foresee


def fits(sch: s_tir.Schedule, machine: Machine) -> bool:
    """Whether the sums of a tile, and what they are made of, have registers."""
    for name in (f"{plain.SUMS}_update", plain.SUMS):
        try:
            block = sch.get_sblock(name)
        except s_tir.ScheduleError:
            continue
        loops = [sch.get(loop) for loop in sch.get_loops(block)]
        values = zip(sch.get(block).iter_vars, compat.block_values(sch, block), strict=True)
        summed = [value for i, value in values if int(i.iter_type) == plain.REDUCE]
        sums = [any(blocks.uses(value, loop.loop_var) for value in summed) for loop in loops]
        first = sums.index(True) if any(sums) else 0  # a sum of one summand
        tile = [blocks.extent(loop.extent)[0] for loop, summing in zip(loops[first:-1], sums[first:-1], strict=True) if not summing]
        return not any(sums) or blocks.work(tile) <= machine.registers - 3
    return True


def _lanes(columns: int, full: int) -> int:
    return next((n for n in (full, full // 2, full // 4) if n and columns % n == 0), 1)


def _schedule(
    sch: s_tir.Schedule, reduces: int, image: bool, lanes: int, panels: bool, rowwise: bool, unrolled: int, parallel: bool
) -> None:
    acc, out = sch.get_sblock(plain.SUMS), sch.get_sblock(plain.RESULT)
    *outer, row, column = sch.get_loops(out)
    vectors, lane = sch.split(column, [None, lanes])
    p0, p1, vector = sch.split(vectors, sch.sample_perfect_tile(vectors, n=3, max_innermost_factor=MOST_VECTORS))
    r0, r1 = sch.split(row, sch.sample_perfect_tile(row, n=2, max_innermost_factor=MOST_WIDE))
    tile = [r1, vector]
    if image:
        high = outer.pop()
        h0, h1 = sch.split(high, sch.sample_perfect_tile(high, n=2, max_innermost_factor=MOST_HIGH))
        outer.append(h0)
        tile.insert(0, h1)
    order = [p0, *outer, r0, p1] if panels else [*outer, p0, r0, p1]
    sch.reorder(*order, *tile, lane)
    sch.compute_at(acc, order[-1], preserve_unit_loops=True)
    for loop in tile:
        sch.unroll(loop)
    sch.vectorize(lane)
    at = outer[-1] if rowwise and outer else None
    if parallel:  # now: TVM refuses it when initial values have loops of their own
        first = order[: len(outer) + (1 if panels else 0)] or order[:1]
        fused = sch.fuse(*first) if len(first) > 1 else first[0]
        sch.parallel(fused)
        at = at and fused  # the loop over rows is the last of those
    _sums(sch, acc, len(tile), reduces, lanes, unrolled)
    _padding(sch, at, lanes)


def _sums(sch: s_tir.Schedule, acc: Any, rank: int, reduces: int, lanes: int, unrolled: int) -> None:
    loops = list(sch.get_loops(acc))
    sums, spatial = loops[len(loops) - reduces :], loops[: len(loops) - reduces]
    _, lane = sch.split(spatial[-1], [None, lanes])
    vector = sch.get_loops(acc)[-reduces - 2]
    tile = [*spatial[-rank:-1], vector]
    inner: list[Any] = []
    for i in range(reduces - unrolled, reduces):
        sums[i], part = sch.split(sums[i], sch.sample_perfect_tile(sums[i], n=2, max_innermost_factor=MOST_UNROLLED))
        inner.append(part)
    sch.reorder(*sums, *inner, *tile, lane)
    for loop in (*inner, *tile):
        sch.unroll(loop)
    sch.vectorize(lane)
    sch.decompose_reduction(acc, sums[0])


def _padding(sch: s_tir.Schedule, at: Any, lanes: int) -> None:
    for block in blocks.leaf_blocks(sch):
        if sch.get(block).name_hint != "tile_pad":
            continue
        if at is not None:
            sch.compute_at(block, at, preserve_unit_loops=True)
        last = sch.get_loops(block)[-1]
        size = sch.get(last).extent
        if isinstance(size, tirx.IntImm) and int(size.value) % lanes == 0:
            _, lane = sch.split(last, [None, lanes])
            sch.vectorize(lane)
