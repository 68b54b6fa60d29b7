"""Products of float32, and convolutions that are products, for GPUs with many multiprocessors.

    out[s, i, j] = Σ a[s, i, k] · b[s, j, k]

A block of threads computes a tile of I by J: in steps of K it copies the tiles of a and b into shared memory, K first, so that a thread
reads what it needs as vectors, and adds a small outer product for each k in registers.  At the batch sizes of inference a product has too
few tiles for a GPU: its sum is then split, each part is one more tile, and a second kernel adds the parts and does what follows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import s_tir, tirx

from ... import compat, compat_gpu

_VECTOR = 4  # floats that a thread loads at once
_SUM_THREADS = 128  # of a block that adds the parts of a split sum


@dataclass(frozen=True)
class Tile:
    """``rows`` × ``columns`` of the output by a block, ``height`` × ``width`` of these by a thread; ``depth`` terms a step."""

    rows: int
    columns: int
    depth: int
    height: int
    width: int
    parts: int = 1

    @property
    def threads(self) -> int:
        return self.rows // self.height * (self.columns // self.width)

    def __str__(self) -> str:
        parts = f" in {self.parts}" if self.parts > 1 else ""
        return f"tile {self.rows}x{self.columns}x{self.depth}/{self.height}x{self.width}{parts}"


_TILES = (
    Tile(128, 128, 16, 8, 8),
    Tile(128, 64, 16, 8, 4),
    Tile(64, 128, 16, 4, 8),
    Tile(64, 64, 16, 4, 4),
    Tile(64, 64, 32, 4, 4),
    Tile(32, 128, 16, 4, 4),
    Tile(32, 64, 32, 4, 4),
    Tile(64, 32, 32, 4, 4),
    Tile(32, 32, 32, 4, 4),
    Tile(16, 64, 32, 2, 4),
)
_PARTS = (1, 2, 4, 8, 16, 32)
_CANDIDATES = 12

# In a step: a's tile into registers, from there into shared memory, b's the same, and the sums.  The tiles of the next step are on their
# way from memory while this one's sums are made.
_STAGES, _ORDER = [0, 1, 0, 1, 1], [2, 0, 3, 1, 4]

# What the order of the candidates goes by: fitted to a thousand times of 80 products on an NVIDIA H200 (tools/gpu_records.py --times).
_PROCESSORS, _THREADS = 132, 570  # multiprocessors; threads of each that are at work at once
_STEP, _SLOWER = 1050, 1.4  # clocks of a step that waits for memory; of one that computes, as a part of what 128 sums a clock would take
_LOAD, _READ = 1.9, 0.8  # sums that copying an element of a tile costs, and that reading shared memory adds to each
_LAUNCH, _PART = 4400, 0.00046  # clocks of one more kernel, and of a part of an element


@dataclass(frozen=True)
class Sizes:
    """Of a product; None where only run time knows."""

    batch: int | None
    rows: int | None
    columns: int | None
    depth: int | None


def tiles(sizes: Sizes) -> list[Tile]:
    """The tiles that are worth a trial, the most promising first."""
    found = []
    for tile in _TILES:
        for parts in _PARTS if sizes.depth is not None else _PARTS[:1]:
            if parts == 1 or sizes.depth % parts == 0 and sizes.depth // parts >= 2 * tile.depth:  # type: ignore[operator]
                found.append(Tile(tile.rows, tile.columns, tile.depth, tile.height, tile.width, parts))
    return sorted(found, key=lambda tile: _clocks(tile, sizes))


def _clocks(tile: Tile, sizes: Sizes) -> float:
    """About what a product takes."""
    rows, columns, depth = (128 if n is None else n for n in (sizes.rows, sizes.columns, sizes.depth))
    batch = 1 if sizes.batch is None else sizes.batch
    blocks = batch * math.ceil(rows / tile.rows) * math.ceil(columns / tile.columns) * tile.parts
    at_once = max(1, _THREADS // tile.threads)  # blocks of a multiprocessor
    sums = tile.rows * tile.columns * tile.depth * (1 + _READ * (1 / tile.height + 1 / tile.width))
    computing = (sums + _LOAD * (tile.rows + tile.columns) * tile.depth) / 128 * _SLOWER
    step = max(_STEP, min(at_once, math.ceil(blocks / _PROCESSORS)) * computing)
    total = math.ceil(blocks / (_PROCESSORS * at_once)) * math.ceil(depth / tile.parts / tile.depth) * step
    return total + (0 if tile.parts == 1 else _LAUNCH + _PART * batch * rows * columns * tile.parts)


def candidates(function: tirx.PrimFunc) -> dict[str, Callable[[], s_tir.Schedule | None]]:
    """The ways to make a product, the most promising first; none for other kernels."""
    sizes = sizes_of(function)
    return {str(tile): partial(schedule, function, tile) for tile in tiles(sizes)[:_CANDIDATES]} if sizes else {}


def sizes_of(function: tirx.PrimFunc) -> Sizes | None:
    """The sizes of a kernel that is a product of float32; None for any other."""
    sch = s_tir.Schedule(function)
    main = _only_sum(sch)
    traits = None if main is None else compat_gpu.product_traits(sch.get(main))
    if traits is None or not _is_float32(sch.get(main)):
        return None
    sizes: dict[str, Any] = dict.fromkeys("SIJK", 1)
    for kind, extent in traits.axes:
        n = compat.static(extent)
        if kind in sizes:
            sizes[kind] = sizes[kind] * n if isinstance(n, int) and sizes[kind] is not None else None
    return Sizes(*(sizes[kind] for kind in "SIJK"))


def schedule(function: tirx.PrimFunc, tile: Tile) -> s_tir.Schedule | None:
    """The kernel by tiles; None where it is no product."""
    sch = s_tir.Schedule(function)
    main = _only_sum(sch)
    if main is None or compat_gpu.product_traits(sch.get(main)) is None:
        return None
    along = [_runs_along_sum(sch.get(main), n) for n in (0, 1)]
    direct = [_is_parameter(function, sch, main, n) for n in (0, 1)]
    _normalise(sch, main)
    final = None
    if tile.parts > 1:
        k = sch.get_loops(main)[-1]
        part, _ = sch.split(k, [tile.parts, None])
        final, main = main, sch.rfactor(part, 0)
        *space, part, rest = sch.get_loops(main)
        sch.reorder(part, *space, rest)
        _normalise(sch, main)
    _tiled(sch, main, tile, along, direct, final)
    if final is not None:
        _add_parts(sch, final)
    return sch


def _tiled(sch: Any, main: Any, tile: Tile, along: list[bool], direct: list[bool], final: Any) -> None:
    sch.pad_einsum(main, [1, tile.rows, tile.columns, tile.depth])
    s, i, j, k = sch.get_loops(main)
    bi, vi, ti, ii = sch.split(i, [None, *_rows_of_a_thread(tile.rows, tile.height)])
    bj, vj, tj, jj = sch.split(j, [None, *_rows_of_a_thread(tile.columns, tile.width)])
    ko, ki = sch.split(k, [None, tile.depth])
    # where a block stands is found by division: by known numbers alone where what only run time knows is outermost
    blocks = sorted((s, bi, bj), key=lambda loop: isinstance(compat.static(sch.get(loop).extent), int))
    sch.reorder(*blocks, vi, vj, ti, tj, ko, ki, ii, jj)
    sch.bind(sch.fuse(*blocks), "blockIdx.x")
    sch.bind(vi, "vthread.y")
    sch.bind(vj, "vthread.x")
    thread = sch.fuse(ti, tj)
    sch.bind(thread, "threadIdx.x")
    steps = compat.static(sch.get(ko).extent)
    ahead = isinstance(steps, int) and steps >= len(set(_STAGES)) + 1
    # the sum of a thread's elements stays in registers
    out = sch.cache_write(main, 0, "local")
    sch.reverse_compute_at(out, thread, preserve_unit_loops=True)
    sch.vectorize(sch.get_loops(out)[-1])
    for n in (0, 1):
        shared = sch.cache_read(main, n, "shared")
        local = sch.cache_read(main, n, "local")
        sch.compute_at(local, ki, preserve_unit_loops=True)
        sch.vectorize(sch.get_loops(local)[-1])
        sch.compute_at(shared, ko, preserve_unit_loops=True)
        _, kk, xx = sch.get_loops(shared)[-3:]
        if along[n]:  # neighbours in memory are neighbours of the sum
            sch.reorder(xx, kk)
            kk, xx = xx, kk
        width = _VECTOR if direct[n] and not along[n] else 1
        extent = tile.depth * (tile.rows, tile.columns)[n]
        while extent % (tile.threads * width):
            width //= 2
        if ahead:
            sch.annotate(shared, "tirx.manifest_shared_memory_local_stage", 1)
        turns, lane, vector = sch.split(sch.fuse(kk, xx), [None, tile.threads, width])
        sch.bind(lane, "threadIdx.x")
        sch.vectorize(vector)
        if not ahead:  # else TVM takes the loop apart, and wants it plain
            sch.unroll(turns)
        if along[n]:
            sch.storage_align(shared, 0, axis=-2, factor=32, offset=_VECTOR)  # a column of it in different banks
        compat_gpu.inline_producers(sch, shared)
    if ahead:
        sch.annotate(ko, "software_pipeline_stage", _STAGES)
        sch.annotate(ko, "software_pipeline_order", _ORDER)
    sch.unroll(ii)
    sch.unroll(jj)
    sch.unroll(ki)
    if final is None:
        compat_gpu.inline_consumers(sch, out)
    else:
        while len(after := [b for b in sch.get_consumers(out) if not sch.get(b).same_as(sch.get(final))]):
            for block in after:
                sch.reverse_compute_inline(block)
    sch.decompose_reduction(main, ko)


def _add_parts(sch: Any, final: Any) -> None:
    """A thread an element adds the parts of a split sum, and does what follows."""
    out = sch.cache_write(final, 0, "local")
    *space, _ = sch.get_loops(final)
    _, thread = sch.split(sch.fuse(*space), [None, _SUM_THREADS])
    sch.bind(_, "blockIdx.x")
    sch.bind(thread, "threadIdx.x")
    sch.reverse_compute_at(out, thread, preserve_unit_loops=True)
    compat_gpu.inline_consumers(sch, out)
    part = sch.get_loops(final)[-1]
    sch.unroll(part)
    sch.decompose_reduction(final, part)


def _rows_of_a_thread(size: int, each: int) -> tuple[int, int, int]:
    """(strips, threads, elements of a thread in a strip): vectors of neighbouring threads lie side by side, in different banks."""
    in_strip = min(each, _VECTOR)
    return each // in_strip, size // each, in_strip


def _normalise(sch: Any, main: Any) -> None:
    """The sum as one over (s, i, j, k), its operands as (s, k, i) and (s, k, j)."""
    a, b, c = sch.reindex(main, ("read", 0)), sch.reindex(main, ("read", 1)), sch.reindex(main, ("write", 0))
    traits = compat_gpu.product_traits(sch.get(main))
    assert traits is not None
    sch.transform_layout(a, ("write", 0), traits.index_map("a", "SKI"))
    sch.transform_layout(b, ("write", 0), traits.index_map("b", "SKJ"))
    sch.transform_layout(c, ("read", 0), traits.index_map("c", "SIJ"))
    sch.transform_block_layout(main, traits.index_map("all", "SIJK"))


def _only_sum(sch: Any) -> Any:
    """The kernel's one sum; None where it has none, or several."""
    sums = [b for b in sch.get_child_blocks(sch.get_sblock("root")) if _axes(sch.get(b), tirx.IterVar.CommReduce)]
    return sums[0] if len(sums) == 1 else None


def _axes(block: Any, kind: int) -> list[Any]:
    return [iv.var for iv in block.iter_vars if iv.iter_type == kind]


def _is_float32(block: Any) -> bool:
    return all(str(region.source.dtype) == "float32" for region in (*block.reads, *block.writes))


def _runs_along_sum(block: Any, operand: int) -> bool:
    """Whether neighbours in an operand's memory are neighbours of the sum."""
    terms = _axes(block, tirx.IterVar.CommReduce)
    last = block.reads[operand].region[-1].min
    return any(var.same_as(term) for var in tirx.analysis.undefined_vars(last) for term in terms)


def _is_parameter(function: tirx.PrimFunc, sch: Any, main: Any, operand: int) -> bool:
    """Whether an operand lies in memory as the sum reads it, and is not computed as it is loaded."""
    source = sch.get(main).reads[operand].source
    return not any(write.source.same_as(source) for p in sch.get_producers(main) for write in sch.get(p).writes)
