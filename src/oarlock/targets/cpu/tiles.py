"""Register tiles: how many rows and columns of a product one innermost kernel computes, and how the loops around it run.

``product_tiles`` and ``depthwise_tiles`` give candidates, the first by a model of the core's ports and caches.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import tvm

from .machine import Machine

ATTRIBUTE = "oarlock.tile"  # block annotation: what ``annotation`` gives
PAGE, WAYS = 4096, 8  # bytes that the sets of a first-level cache span, and how many lines a set holds
MOST_ROWS = 28
# What a symbolic number of rows may be: pixels, a sequence.  Many of each magnitude: no tile shall win because it divides one of them.
UNKNOWN_ROWS = tuple(magnitude + i for magnitude in (24, 80, 320, 1600) for i in range(12))
UNKNOWN_BATCH = (1, 4, 32, 256)  # … when the rows are a batch, often one
L2_BYTES = 512 * 1024  # what of the packed weights may count on staying in the second-level cache
# Work below which threads cost more than they give, 10 to 20 µs (docs/threads.md): multiply-adds, or bytes of weights where those are more.
PARALLEL_MACS = 600_000
PARALLEL_DEPTHWISE = 400_000  # multiply-adds of a depthwise convolution, which is not as fast
UNROLL = 4  # steps of a reduction that a candidate writes out
RAGGED = 1.15  # what a result that ends within a vector costs more where it is written element by element
ENDS = 1.04  # … where its end is written in vectors, if narrower ones
SHAPES = 10  # how many tiles beside the first are candidates
WORST = 1.8  # … none of which costs more than this many times the first


@dataclass(frozen=True)
class Tile:
    """``rows`` × ``columns`` accumulators, ``columns`` in vectors of ``lanes``.

    ``ragged``: the columns of the product are no multiple of ``columns``; the last tile has columns that nobody reads.
    ``panels``: the loop over panels of columns is the outermost (a panel of weights stays in the cache), not that over rows.
    ``unroll``: steps of the innermost reduction loop that are written out.
    ``parallel``: the outer loops run on all threads.
    ``whole``: a padded input is padded as a whole first, not row by row as its rows are needed (panels need it anyway).
    ``direct``: a padded input is not copied at all: what lies outside is left out (schedule/borders.py); for depthwise convolutions.
    ``group``: elements of the depth that one step of the sum takes (dots.py).
    ``strip``: rows of a tile register (amx.py); 0: sums are in vector registers.
    """

    rows: int
    columns: int
    lanes: int
    ragged: bool
    panels: bool = False
    unroll: int = 1
    parallel: bool = False
    whole: bool = False
    group: int = 1
    strip: int = 0
    direct: bool = False

    @property
    def name(self) -> str:
        """The candidate's name in records."""
        size = f"{self.rows}x{self.columns}"
        words = [f"amx {size}/{self.strip}" if self.strip else f"{size}/{self.lanes}", "panels" if self.panels else "rows"]
        words += [f"unroll{self.unroll}"] if self.unroll > 1 else []
        words += ["whole"] if self.whole and not self.strip else []
        words += ["direct"] if self.direct else []
        words += ["parallel"] if self.parallel else []
        return " ".join(words)

    def annotation(self, kind: str) -> list[str | int]:
        """The tile as a block annotation; ``read`` is its inverse."""
        flags = (self.ragged, self.panels, self.unroll, self.parallel, self.whole)
        return [kind, self.rows, self.columns, self.lanes, *map(int, flags), self.group, self.strip, int(self.direct)]

    @staticmethod
    def read(annotation: Sequence[Any]) -> tuple[str, Tile]:
        """The kernel's kind and tile."""
        kind, *numbers = annotation
        rows, columns, lanes, ragged, panels, unroll, parallel, whole, group, strip, direct = map(int, numbers)
        flags = bool(ragged), bool(panels), unroll, bool(parallel), bool(whole), group, strip, bool(direct)
        return str(kind), Tile(rows, columns, lanes, *flags)


def by_name(tiles: Iterable[Tile]) -> dict[str, Tile]:
    return {tile.name: tile for tile in tiles}


def product_tile(rows: int | tuple[int, ...], columns: int, machine: Machine, dtype: str, stride: int = 0) -> Tile:
    """The cheapest tile for a product of ``rows`` × ``columns``; see ``product_tiles``."""
    return _ranked(rows, columns, machine, dtype, stride)[0]


def product_tiles(
    rows: int | tuple[int, ...],
    columns: int | tuple[int, ...],
    machine: Machine,
    dtype: str,
    stride: int = 0,
    *,
    depth: tuple[int, ...],
    macs: int,
    padded: bool = False,
    whole: bool = False,
    group: int = 1,
) -> list[Tile]:
    """Candidates for a product of ``rows`` × ``columns``, the best by the model first, then different ones.

    ``rows``, ``columns``: their number, or some likely numbers (UNKNOWN_ROWS, UNKNOWN_BATCH) when it is symbolic.
    ``stride``: elements from one row of the first operand to the next (0: unknown).
    ``depth``: the loops of each sum.  ``macs``: multiply-adds in all.  ``padded``: the first operand is padded on the way,
    ``whole``: better at once than row by row.  ``group``: of narrow numbers that one element of ``dtype`` stands for.
    """
    stride, depth, macs = stride // group, (*depth[:-1], depth[-1] // group), macs // group
    shapes = [replace(tile, group=group) for tile in _ranked(rows, columns, machine, dtype, stride)]
    width = columns if isinstance(columns, int) else statistics.median_high(columns)
    panel_bytes = math.prod(depth) * tvm.DataType(dtype).bits // 8 * width
    first, *others = [replace(_with_loops(t, panel_bytes, width, macs, machine), whole=padded and whole) for t in shapes]
    unrolls = depth[-1] % UNROLL == 0 and depth[-1] > UNROLL
    out = [first]
    out += [replace(first, panels=not first.panels)] if width > first.columns else []
    out += [replace(first, parallel=not first.parallel)] if machine.threads > 1 else []
    out += [replace(first, whole=not whole)] if padded and not first.panels else []
    out += others[:3]
    out += [replace(first, unroll=UNROLL)] if unrolls else []
    out += others[3:]
    out += [replace(tile, panels=not tile.panels) for tile in others if width > tile.columns]
    out += [replace(tile, whole=not whole) for tile in others if padded and not tile.panels]
    out += [replace(tile, unroll=UNROLL) for tile in others if unrolls]
    return list(dict.fromkeys(out))


def _with_loops(tile: Tile, panel_bytes: int, columns: int, macs: int, machine: Machine) -> Tile:
    panels = panel_bytes > L2_BYTES and columns > tile.columns
    return replace(tile, panels=panels, parallel=machine.shares(max(macs, panel_bytes), PARALLEL_MACS))


@lru_cache(maxsize=4096)
def _ranked(rows: int | tuple[int, ...], columns: int | tuple[int, ...], machine: Machine, dtype: str, stride: int) -> list[Tile]:
    """Tiles that differ in more than a row or two, the cheapest first.

    A step of the inner loop costs the larger of its multiply-adds, its loads (two a cycle) and the latency of a multiply-add.
    """
    full = machine.lanes(dtype)
    likely = (rows,) if isinstance(rows, int) else rows
    # rows a multiple of a page apart lie in one set of the first-level cache: one more than its ways, and every read misses
    apart = stride * tvm.DataType(dtype).bits // 8
    most = min(MOST_ROWS, PAGE // math.gcd(apart, PAGE) * (WAYS - 1)) if apart else MOST_ROWS
    widths = (columns,) if isinstance(columns, int) else columns
    priced = sorted(
        ((_cost(t, likely, widths, machine, full), i, t) for i, t in enumerate(_all_tiles(likely, widths, machine, full, most)))
    )
    if not priced:  # columns or rows of 0: nothing will run
        return [Tile(1, full, full, columns % full != 0 if isinstance(columns, int) else True)]
    out: list[Tile] = []
    for cost, _, tile in priced:
        if len(out) > SHAPES or cost > WORST * priced[0][0]:
            break
        if not any((t.columns, t.lanes) == (tile.columns, tile.lanes) and _near(t.rows, tile.rows) for t in out):
            out.append(tile)
    return out


def _near(a: int, b: int) -> bool:
    return abs(a - b) * 4 < max(a, b)


def _all_tiles(likely: tuple[int, ...], widths: tuple[int, ...], machine: Machine, full: int, most: int) -> Iterator[Tile]:
    choices = [lanes for lanes in (full, full // 2, full // 4) if lanes >= 4 or lanes == full]
    exact = [lanes for lanes in choices if len(widths) == 1 and widths[0] % lanes == 0]
    columns = max(widths)
    for lanes in dict.fromkeys([full, *exact]) if exact else choices:
        for vectors in range(1, 9):
            width = vectors * lanes
            ragged = len(widths) > 1 or columns % width != 0
            if ragged and (lanes in exact or width - lanes >= columns):
                continue
            for height in range(1, most + 1):
                spread = height if machine.spreads and vectors > 1 else 1
                if height * vectors + vectors + spread > machine.registers or height > max(likely):
                    break
                yield Tile(height, width, lanes, ragged)


def _cost(tile: Tile, rows: tuple[int, ...], widths: tuple[int, ...], machine: Machine, full: int) -> float:
    vectors = tile.columns // tile.lanes
    if machine.halves:
        # narrow vectors have half the work but not half the cost: the front end sees as many instructions
        fma = tile.rows * vectors * max(tile.lanes / full, 0.55)
        loads = 0.5 * (vectors * max(tile.lanes / full, 0.5) + tile.rows)
    else:
        fma, loads = 0.5 * tile.rows * vectors, 0.5 * (vectors + tile.rows)
    step = max(fma, loads, 4.0)
    step += 0.3 + 0.02 * (vectors + tile.rows)  # loop overhead, and a little against large tiles: they gain nothing past 10 or so
    down = sum(-(-r // tile.rows) * step / max(r, 1) for r in rows)
    across = sum(-(-c // tile.columns) / c for c in widths) if len(widths) > 1 else -(-widths[0] // tile.columns)
    return down * across * (_edge(tile, widths) if tile.ragged else 1.0)


def _edge(tile: Tile, widths: tuple[int, ...]) -> float:
    """What a result costs more that ends within a tile."""
    return ENDS if len(widths) == 1 and tail_lanes(widths[0], tile.lanes) > 1 else RAGGED


def tail_lanes(columns: int, lanes: int) -> int:
    """Lanes of the vectors that the end of ``columns`` (0: not known) past its last whole vector of ``lanes`` can be stored by."""
    return math.gcd(columns % lanes, lanes) if columns else 1


def depthwise_tiles(
    width: int | None, channels: int, machine: Machine, dtype: str, macs: int, padded: bool, whole: bool = False
) -> list[Tile]:
    """Candidates for a depthwise convolution with rows of ``width`` places (None: symbolic): few past the end, many that share input.

    ``macs``, ``padded``, ``whole``: see ``product_tiles``.
    """
    full = machine.lanes(dtype)
    lanes = next((n for n in (full, full // 2, full // 4, full // 8) if n > 1 and channels % n == 0), 1)
    vectors = [v for v in (2, 1, 4) if channels % (lanes * v) == 0]
    best, *others = _depthwise_rows(UNKNOWN_ROWS if width is None else (width,), vectors[0] if vectors else 1, machine)
    parallel = machine.shares(macs, PARALLEL_DEPTHWISE)
    first, *wider = [Tile(best, lanes * v, lanes, False, parallel=parallel, whole=padded and whole) for v in vectors]
    out = [replace(first, whole=False, direct=True)] if padded else []
    out += [first]
    out += [replace(first, parallel=not parallel)] if machine.threads > 1 else []
    # by panels: the rows of input that one panel of channels needs stay in the first-level cache
    panels = [replace(t, panels=True, whole=padded) for t in (first, *wider)] if channels > first.columns else []
    out += panels[:1]
    out += [replace(first, whole=not whole)] if padded else []
    out += [replace(first, unroll=2), *(replace(first, rows=r) for r in others[:2]), *wider]
    out += [*panels[1:], *(replace(t, unroll=2) for t in panels[:1]), replace(first, unroll=2, rows=others[0] if others else best)]
    out += [replace(t, rows=r, unroll=u) for r in others for t in (first, *panels, *wider) for u in (1, 2)]
    return [t for t in dict.fromkeys(out) if t.rows * (t.columns // t.lanes) + t.columns // t.lanes < machine.registers]


def _depthwise_rows(widths: tuple[int, ...], vectors: int, machine: Machine) -> list[int]:
    """Rows of a tile of ``vectors``, the cheapest first."""
    most = 8 if machine.halves or machine.registers < 32 else 20 // vectors if vectors > 1 else 16
    # each sum waits 4 cycles for the one before it, and two are begun in a cycle: fewer than 12 in all leave gaps
    sums = 1 if machine.halves else 12

    def cost(rows: int) -> float:
        gaps = max(1.0, sums / (rows * vectors))
        return sum(-(-w // rows) * rows * (gaps + 1 / rows) / max(w, 1) for w in widths)

    return sorted(range(1, min(max(*widths, 1), most) + 1), key=lambda r: (cost(r), -r))
