"""Tiles of whole rows, as the library's kernels choose them (native/xpu/kernels/src/tiles.h)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..chips import Chip


@dataclass(frozen=True)
class Planes:
    """So many planes, the columns of each, rows and columns of its result; ``extra``: floats that a tile reads beside rows;
    ``operations``: for each result; ``branch``: a second operand as large as the result."""

    count: int
    w: int
    oh: int
    ow: int
    extra: int
    operations: int
    branch: bool


_ROOM, _TRANSFER, _OPERATIONS = 2032, 9600, 5


def tiling(p: Planes, chip: Chip, clusters: int, height: Callable[[int], int]) -> int:
    """Rows of the result in a tile, 0 where none fits; ``height``: rows of the input under so many."""
    best, least = 0, math.inf
    for rows in range(1, p.oh + 1):
        out = rows * p.ow
        read = height(rows) * p.w + p.extra
        size = max(read, out if p.branch else 0)
        if size + out > _ROOM:
            break
        pieces = p.count * math.ceil(p.oh / rows)
        units = min(max(math.ceil(pieces / chip.cores), 1), chip.clusters, clusters) * chip.cores
        turns = math.ceil(pieces / units)
        ahead = turns > 1 and 2 * size + out <= _ROOM
        moves = units * (read + (2 if p.branch else 1) * out) + 4 * _TRANSFER
        works = out * p.operations * _OPERATIONS
        cost = turns * moves + (1 if ahead else turns) * works
        if cost < least:
            best, least = rows, cost
    return best


_LINE, _OUT = 1024, 512  # floats of an input row that a core holds, and results of it at a time


def spans(width: int, out: int, stride: int, left: int, window: int) -> list[int]:
    """Row by row (windows.h): the columns of the input under each part of a row of ``out`` results, where there are any; ``window``:
    columns of the input under one."""
    most = min((_LINE - window) // stride + 1, _OUT)
    found = []
    for at in range(0, out, most):
        first = at * stride - left
        size = min(first + (min(most, out - at) - 1) * stride + window, width) - max(first, 0)
        if size > 0:
            found.append(size)
    return found
