"""Schedules of generated kernels: the candidates of each, the likely best first, and what they are called in records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..chips import Chip

LATENCY_NS = 100.0  # of a transfer, as the emulator has it (native/xpu/runtime/src/dma.cc)
RARELY = 16  # a window is taken to move at one access in so many
LANES = 16  # numbers that a core computes in a cycle
_MOST = 16  # candidates: a trial of each is a build of the model
_ROWS, _WIDTH = 16, 8192  # what sizes count as that only run time knows


@dataclass(frozen=True)
class Pieces:
    """Of a chain of elements: a core takes so many elements of a row at a time, of as many clusters; ``buffers``: 2: the next piece is on
    its way, and the one before leaves, while it computes one."""

    piece: int
    clusters: int
    buffers: int = 1

    def __str__(self) -> str:
        return f"{self.piece} x{self.clusters}{' double' if self.buffers > 1 else ''}"


@dataclass(frozen=True)
class Windows:
    """Of loops: so many elements of what is read are loaded at once; so many clusters share the outermost loops; ``shared``: tensors that
    fit lie in the clusters' shared memory instead, those that are written too where there is one cluster; ``split``: the cores of a cluster
    share what is reduced."""

    window: int
    clusters: int
    shared: bool = False
    split: bool = False

    def __str__(self) -> str:
        return f"window {self.window} x{self.clusters}{' shared' if self.shared else ''}{' split' if self.split else ''}"


@dataclass(frozen=True)
class Work:
    """What a chain of elements has to do: ``rows`` of ``width`` elements (None: run time knows).

    ``loaded``, ``stored``: bytes of an element; ``transfers``: of a piece, ``once``: those of a core for all pieces; ``ops`` of an element.
    """

    rows: int | None
    width: int | None
    loaded: int
    stored: int
    transfers: int
    once: int
    ops: int


def pieces(work: Work, chip: Chip, most: Callable[[int], int], aligned: int) -> list[Pieces]:
    """Candidates, the likely best first.  ``most(buffers)``: elements of a piece that there is room for; a multiple of ``aligned``."""
    found: dict[Pieces, None] = {}
    for buffers in (1, 2):
        for clusters in _halves(chip.clusters):
            units = clusters * chip.cores
            sizes = {most(buffers), most(buffers) // 2, most(buffers) // 4}
            if work.width is not None and work.rows is not None:
                # as many turns for all cores alike, of pieces that are alike
                sizes |= {_balanced(work, units, turns) for turns in (1, 2, 3, 4, 6, 8)}
            for size in sizes:
                piece = max(-(-min(size, most(buffers)) // aligned) * aligned, aligned)
                made = Pieces(piece, clusters, buffers)
                if piece <= most(buffers) and _differs(work, made, chip):
                    found[made] = None
    return sorted(found, key=lambda p: (modelled_ns(work, p, chip), p.buffers, -p.piece, p.clusters))[:_MOST]


def windows(clusters: int, fits: Callable[[int], bool], first: Windows, sharing: Callable[[int], bool]) -> list[Windows]:
    """Candidates for loops that ``clusters`` can share: windows that ``fits`` has room for; ``first`` is the default, and
    ``sharing(clusters)`` says whether there is a tensor that fits shared memory."""
    sizes = [size for size in (64, 256, 128, 512, 32, 1024) if size == 64 or fits(size)]
    found = [first]
    for count in _halves(clusters):
        found += [replace(first, window=64, clusters=count, shared=True)] * sharing(count)
        found += [replace(first, window=size, clusters=count, shared=False) for size in sizes]
    return list(dict.fromkeys(found))[:_MOST]


def by_turns(each: list[list[Windows]]) -> list[Windows]:
    """The first of each list, the second of each, …: as many as a kernel has candidates."""
    return [found for group in itertools.zip_longest(*each) for found in group if found is not None][:_MOST]


def shares(accesses: float, size: int, chip: Chip) -> bool:
    """Whether ``size`` bytes in shared memory serve a core's ``accesses`` sooner than windows."""
    return whole_ns(size, chip) < windows_ns(accesses)


def whole_ns(size: int, chip: Chip) -> float:
    """What ``size`` bytes into shared memory and back take."""
    return 3 * LATENCY_NS + size / chip.gm_rate


def windows_ns(accesses: float) -> float:
    """What windows take to move at one access in RARELY."""
    return accesses / RARELY * LATENCY_NS


def _halves(count: int) -> Iterable[int]:
    """count, and its halves rounded up, to 1: 12, 6, 3, 2, 1"""
    while True:
        yield count
        if count == 1:
            return
        count = -(-count // 2)


def _differs(work: Work, schedule: Pieces, chip: Chip) -> bool:
    """Whether a core has several pieces, for two buffers, and the first cluster has not all of them, for several."""
    if work.rows is None or work.width is None:
        return True
    count = work.rows * -(-work.width // schedule.piece)
    enough = schedule.clusters == 1 or count > (schedule.clusters // 2) * chip.cores
    return enough and (schedule.buffers == 1 or count > schedule.clusters * chip.cores)


def _balanced(work: Work, units: int, turns: int) -> int:
    rows, width = _guessed(work)
    per_row = max(units * turns // max(rows, 1), 1)
    return -(-width // per_row)


def _guessed(work: Work) -> tuple[int, int]:
    return (
        max(_ROWS if work.rows is None else work.rows, 1),
        max(_WIDTH if work.width is None else work.width, 1),
    )


def modelled_ns(work: Work, schedule: Pieces, chip: Chip) -> float:
    """What the core that has the most to do takes, by the emulator's model, with everything in L3."""
    rows, width = _guessed(work)
    units = schedule.clusters * chip.cores
    chunks = -(-width // schedule.piece)
    turns = -(-rows * chunks // units)
    n = min(schedule.piece, width)
    rate = min(chip.l3_rate / units, 16e-3 * chip.mhz)
    moved = work.transfers * LATENCY_NS + n * (work.loaded + work.stored) / rate
    computed = n * work.ops / (LANES * 1e-3 * chip.mhz)
    begin = work.once * LATENCY_NS
    if schedule.buffers == 1:
        return begin + turns * (moved + computed)
    return begin + moved + max(moved, computed) * max(turns - 1, 0) + computed
