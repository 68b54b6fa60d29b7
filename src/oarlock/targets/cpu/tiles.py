"""Register tiles: how many rows and columns of a product one innermost kernel computes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import tvm

from .machine import Machine

ATTRIBUTE = "oarlock.tile"  # block annotation: [kind, rows, columns, lanes, …]
PAGE, WAYS = 4096, 8  # bytes that the sets of a first-level cache span, and how many lines a set holds
MOST_ROWS = 28
UNKNOWN_ROWS = (14, 40, 161, 1600)  # what a symbolic number of rows may be: pixels, a sequence
UNKNOWN_BATCH = (1, 4, 32, 256)  # … when the rows are a batch, often one


@dataclass(frozen=True)
class Tile:
    """``rows`` × ``columns`` accumulators, ``columns`` in vectors of ``lanes``.

    ``ragged``: the columns of the product are no multiple of ``columns``; the last tile has columns that nobody reads.
    """

    rows: int
    columns: int
    lanes: int
    ragged: bool


@lru_cache(maxsize=4096)
def product_tile(rows: int | tuple[int, ...], columns: int, machine: Machine, dtype: str, stride: int = 0) -> Tile:
    """The cheapest tile for a product of ``rows`` × ``columns`` by a model of the core's ports.

    ``rows``: their number, or some likely numbers (UNKNOWN_ROWS, UNKNOWN_BATCH) when it is symbolic.
    ``stride``: elements from one row of the first operand to the next (0: unknown).

    A step of the inner loop costs the larger of its multiply-adds, its loads (two a cycle) and the latency of a multiply-add.
    """
    full = machine.lanes(dtype)
    likely = (rows,) if isinstance(rows, int) else rows
    # rows a multiple of a page apart lie in one set of the first-level cache: one more than its ways, and every read misses
    apart = stride * tvm.DataType(dtype).bits // 8
    most = min(MOST_ROWS, PAGE // math.gcd(apart, PAGE) * (WAYS - 1)) if apart else MOST_ROWS
    choices = [lanes for lanes in (full, full // 2, full // 4) if lanes >= 4 or lanes == full]
    exact = [lanes for lanes in choices if columns % lanes == 0]
    best: tuple[float, Tile] | None = None
    for lanes in exact or choices:
        for vectors in range(1, 9):
            width = vectors * lanes
            ragged = columns % width != 0
            if ragged and (exact or width - lanes >= columns):
                continue
            for height in range(1, most + 1):
                if height * vectors + vectors + 1 > machine.registers or height > max(likely):
                    break
                tile = Tile(height, width, lanes, ragged)
                cost = _cost(tile, likely, columns, full)
                if best is None or cost < best[0]:
                    best = cost, tile
    if best is None:  # columns or rows of 0: nothing will run
        return Tile(1, full, full, columns % full != 0)
    return best[1]


def _cost(tile: Tile, rows: tuple[int, ...], columns: int, full: int) -> float:
    vectors = tile.columns // tile.lanes
    # narrow vectors have half the work but not half the cost: the front end sees as many instructions
    fma = tile.rows * vectors * max(tile.lanes / full, 0.55)
    loads = 0.5 * (vectors * max(tile.lanes / full, 0.5) + tile.rows)
    step = max(fma, loads, 4.0)
    step += 0.3 + 0.02 * (vectors + tile.rows)  # loop overhead, and a little against large tiles: they gain nothing past 10 or so
    total = 0.0
    for r in rows:
        total += -(-r // tile.rows) * step / max(r, 1)
    return total * -(-columns // tile.columns)
