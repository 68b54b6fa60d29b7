"""Winograd's convolutions: F(m × m, 3 × 3) makes m × m results of a tile with (m + 2)² multiplications instead of 9 m².

A tile of n × n input places (n = m + 2) is turned into n × n numbers by Bᵀ d B, multiplied with the filter's G g Gᵀ, which is made
when the model is compiled, summed over the channels, and turned into m × m results by Aᵀ M A.  The sums over channels of many tiles
are n² matrix products.  Here is the definition as tensor expressions, which count-work and the generic schedule read; the kernel that
runs is written by schedule/winograd.py.

The transforms come from the values of polynomials at n − 1 points, one of them infinity.  The usual points of F(4 × 4), 0, ±1, ±2,
lose a digit.  With ±11/16 and ±3/2 the greatest error is a quarter of theirs, not twice that of the direct kernel
(tests/targets/test_cpu_winograd.py has numbers), and every constant of the transforms is still a float32 of few bits.  F(2 × 2) is
more exact than the direct kernel: its sums are shorter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from tvm import te, tirx

from ...kernels.choice import CANDIDATE, WORKLOAD
from .kernels import Window
from .machine import Machine
from .tiles import L2_BYTES, PARALLEL_MACS, Tile
from .workloads import guess, work

ATTRIBUTE = "oarlock.winograd"  # block annotation: what ``Winograd.annotation`` gives
POINTS = {2: (1.0,), 4: (11 / 16, 3 / 2)}  # m → the points beside 0 and infinity, each with both signs
DTYPE, ITEM = "float32", 4
SHORTEST = 4  # lanes of the shortest vectors: channels are a multiple of them
MOST_ROWS, MOST_VECTORS = 28, 4  # of a register tile
BLOCK_BYTES = 512 * 1024  # transformed input of a block, which stays in the second-level cache beside weights and sums
L1_BYTES = 32 * 1024  # what of the weights may count on staying in the first-level cache
FEWEST = 16  # tiles of a block, unless there are fewer: each block reads all weights
TRANSFORM = 7  # cycles that a point of a tile takes in each transform, for a vector of channels
STACK = 20  # half cycles by which a register tile costs more than its multiply-adds: its sums are cleared and stored
STREAM = 8  # bytes a cycle from the third-level cache
WORTH = 1.15  # the gain over the direct kernel, by the model, from which on it is left: its weights are smaller
Dim = Any


# ---- the transforms ----------------------------------------------------------------------------------------------------


def _polynomial(roots: Sequence[float]) -> list[float]:
    """The coefficients of Π (x² − r²) in powers of x², the lowest first."""
    out = [1.0]
    for r in roots:
        out = [a - r * r * b for a, b in zip([0.0, *out], [*out, 0.0], strict=True)]
    return out


def _others(points: tuple[float, ...], i: int) -> tuple[float, ...]:
    return points[:i] + points[i + 1 :]


def to_tile(points: tuple[float, ...], d: Sequence[Any], keep: Any = lambda value: value) -> list[Any]:
    """Bᵀ d for n values ``d``, in the order 0, p, −p, …, infinity; ``keep`` binds what is used twice.

    Row ±p is even ± p · odd: a pair shares its sums.
    """
    n = len(d)
    rows = [_sum(_polynomial(points), d[0::2])]
    for i, p in enumerate(points):
        factors = _polynomial(_others(points, i))
        even, odd = keep(_sum(factors, d[2 : n - 1 : 2])), keep(_sum(factors, d[1 : n - 2 : 2]))
        rows += [even + odd, even - odd] if p == 1 else [even + odd * p, even - odd * p]
    return [*rows, _sum(_polynomial(points), d[1::2])]


def from_tile(points: tuple[float, ...], values: Sequence[Any], keep: Any = lambda value: value) -> list[Any]:
    """Aᵀ v: the m results of n values in the order of ``to_tile``."""
    m = len(values) - 2
    even = [keep(values[1 + 2 * i] + values[2 + 2 * i]) for i in range(len(points))]
    odd = [keep(values[1 + 2 * i] - values[2 + 2 * i]) for i in range(len(points))]
    out = []
    for power in range(m):
        total = _sum([p**power for p in points], odd if power % 2 else even)
        if power == 0:
            total = values[0] + total
        if power == m - 1:
            total = total + values[-1]
        out.append(total)
    return out


def _sum(factors: Sequence[float], values: Sequence[Any]) -> Any:
    """Σ factor · value; the last, which has the simplest factor, first."""
    total = None
    for factor, value in sorted(zip(factors, values, strict=True), key=lambda pair: abs(pair[0]) != 1):
        term = value if factor == 1 else value * factor
        total = term if total is None else total + term
    return total


@cache
def matrices(m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aᵀ [m, n], G [n, 3] and Bᵀ [n, n] in float64."""
    points, n = POINTS[m], m + 2
    bt = np.array(to_tile(points, list(np.eye(n))))
    at = np.array(from_tile(points, list(np.eye(n))))
    g = np.zeros((n, 3))
    g[0, 0] = 1 / _polynomial(points)[0]
    g[-1, -1] = 1
    for i, p in enumerate(points):
        rest = 2 * p * p * math.prod(p * p - r * r for r in _others(points, i))
        g[1 + 2 * i], g[2 + 2 * i] = np.array([1, p, p * p]) / rest, np.array([1, -p, p * p]) / rest
    return at, g, bt


def transformed(weights: np.ndarray, m: int) -> np.ndarray:
    """[3, 3, I, O] → [n², I, O], computed in float64."""
    _, g, _ = matrices(m)
    made = np.einsum("ai,ijco,bj->abco", g, weights.astype("float64"), g, optimize=True)
    return made.reshape(-1, *weights.shape[2:]).astype(weights.dtype)


# ---- ways to do it -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Winograd:
    """F(``m`` × ``m``, 3 × 3) with products in register tiles of ``rows`` × ``columns`` accumulators in vectors of ``lanes``.

    ``block``: tiles that are transformed, multiplied and transformed back together: a multiple of ``rows``.
    ``way``: "serial"; "parallel": blocks on all threads; "panels": in each block first its tiles, then its panels of columns.
    """

    m: int
    rows: int
    columns: int
    lanes: int
    block: int
    way: str = "serial"

    @property
    def n(self) -> int:
        return self.m + 2

    @property
    def tile(self) -> Tile:
        """What the weights are packed by."""
        return Tile(self.rows, self.columns, self.lanes, False)

    @property
    def name(self) -> str:
        """The candidate's name in records."""
        words = [f"winograd{self.m}", f"{self.rows}x{self.columns}/{self.lanes}", f"block{self.block}"]
        return " ".join(words + ([self.way] if self.way != "serial" else []))

    def annotation(self, window: Window) -> list[str | int]:
        """As a block annotation; ``read`` is its inverse."""
        return [self.way, self.m, self.rows, self.columns, self.lanes, self.block, *window.padding[:2]]

    @staticmethod
    def read(annotation: Sequence[Any]) -> tuple[Winograd, int, int]:
        """The way, and the padding above and on the left."""
        way, *numbers = annotation
        m, rows, columns, lanes, block, top, left = map(int, numbers)
        return Winograd(m, rows, columns, lanes, block, str(way)), top, left


# ---- the definition ----------------------------------------------------------------------------------------------------


def tiles_of(size: Dim, m: int) -> Dim:
    return (size + (m - 1)) // m


def _matrix(values: np.ndarray, name: str) -> te.Tensor:
    """A matrix of constants as a tensor."""

    def element(i: Dim, j: Dim) -> Dim:
        out: Any = tirx.const(0, DTYPE)
        for (a, b), value in np.ndenumerate(values):
            if value:
                out = tirx.Select(tirx.And(i == a, j == b), tirx.const(float(value), DTYPE), out)
        return out

    return te.compute(values.shape, element, name=name)


def convolution(x: te.Tensor, packed: te.Tensor, channels: int, window: Window, how: Winograd, workload: str) -> te.Tensor:
    """x [N, H, W, C] * packed [O/columns, n², C, columns] (``transformed``) → [N, OH, OW, O]."""
    batch, h, w, depth = x.shape
    oh, ow = window.out(h, w)
    m, n, (top, left, _, _) = how.m, how.n, window.padding
    at, _, bt = matrices(m)
    front, back = _matrix(bt, "winograd_front"), _matrix(at, "winograd_back")
    lead, panel = (batch, tiles_of(oh, m), tiles_of(ow, m)), (packed.shape[0], how.columns)

    def place(b: Dim, y: Dim, z: Dim, c: Dim) -> Dim:
        inside = te.all(y >= top, y < h + top, z >= left, z < w + left)
        return te.if_then_else(inside, x(b, y - top, z - left, c), tirx.const(0, DTYPE))

    def axis(size: int) -> Any:
        return te.reduce_axis((0, size), name="k")

    k = axis(n)
    half = te.compute(
        (*lead, n, n, depth),
        lambda b, i, j, p, q, c: te.sum(front[p, k] * place(b, i * m + k, j * m + q, c), axis=k),
        name="winograd_half",
        attrs={ATTRIBUTE: []},
    )
    k1 = axis(n)
    data = te.compute(
        (*lead, n, n, depth), lambda b, i, j, p, q, c: te.sum(front[q, k1] * half[b, i, j, p, k1, c], axis=k1), name="winograd_data"
    )
    c = te.reduce_axis((0, depth), name="c")
    sums = te.compute(
        (*lead, n, n, *panel),
        lambda b, i, j, p, q, ot, oi: te.sum(data[b, i, j, p, q, c] * packed[ot, p * n + q, c, oi], axis=c),
        name="winograd_sums",
        attrs={ATTRIBUTE: how.annotation(window), WORKLOAD: workload, CANDIDATE: how.name},
    )
    k2, k3 = axis(n), axis(n)
    rows = te.compute(
        (*lead, m, n, *panel),
        lambda b, i, j, u, q, ot, oi: te.sum(back[u, k2] * sums[b, i, j, k2, q, ot, oi], axis=k2),
        name="winograd_rows",
    )
    tile = te.compute(
        (*lead, m, m, *panel),
        lambda b, i, j, u, v, ot, oi: te.sum(back[v, k3] * rows[b, i, j, u, k3, ot, oi], axis=k3),
        name="winograd_tile",
        attrs={ATTRIBUTE: []},
    )
    return te.compute(
        (batch, oh, ow, channels),
        lambda b, y, z, o: tile[b, y // m, z // m, y % m, z % m, o // how.columns, o % how.columns],
        name="tile_out",
    )


# ---- candidates --------------------------------------------------------------------------------------------------------
#
# The gain of the default over the direct kernel by the costs below, and as measured on one thread of an Emerald Rapids that others
# used too: 56×56, 64 → 64: 2.5, 2.6 to 3.1; 28×28, 128 → 128: 2.3, 2.2 to 2.9; 14×14, 256 → 256 by F(2 × 2): 1.4, 2.0 to 3.4 (by
# F(4 × 4): 1.5 to 1.9); 160×160, 96 → 24: 2.2, 3.3 to 3.7; 160×160, 24 → 24: 1.6, 2.6 to 2.9; 16×16, 16 → 16: 1.2.  At 7×7,
# 512 → 512 F(2 × 2) gained 1.0 to 1.3, and nothing in the whole model: the direct kernel stays the default (by the costs 0.94).


@dataclass(frozen=True)
class Job:
    """A convolution as far as its cost goes: images, rows and columns of results, channels before and after."""

    batch: Dim
    height: Dim
    width: Dim
    depth: int
    channels: int

    @property
    def known(self) -> bool:
        return all(isinstance(size, int) for size in (self.batch, self.height, self.width))

    def tiles(self, m: int) -> int:
        """How many tiles of m × m there are, guessed where a size is symbolic."""
        return work(self.batch, *(tiles_of(guess(size), m) for size in (self.height, self.width)))


def applies(dtype: str, job: Job, groups: int, window: Window) -> bool:
    """Whether a convolution can be made so."""
    shape = (window.kernel, window.strides, window.dilation, groups) == ((3, 3), (1, 1), (1, 1), 1)
    return dtype == DTYPE and shape and job.depth % SHORTEST == 0 and job.channels % SHORTEST == 0 and job.tiles(1) > 0


def candidates(job: Job, machine: Machine) -> tuple[list[Winograd], bool]:
    """Different ways, the likely best first, and whether that is likely better than the direct kernel."""
    best = {m: _ranked(job, m, machine) for m in POINTS}
    # the best of each m, then others: of F(4 × 4), which wins nearly everywhere, more
    first = sorted((ways[0] for ways in best.values()), key=lambda way: _cost(way, job, machine))
    out = first + best[4][1:4] + best[2][1:2]
    if machine.threads > 1:
        out += [replace(first[0], way=way) for way in ("serial", "parallel", "panels")]
    return list(dict.fromkeys(out)), _cost(first[0], job, machine) * WORTH < _direct_cost(job, machine)


def _ranked(job: Job, m: int, machine: Machine) -> list[Winograd]:
    """F(m × m) in the likely best register tiles, each in larger and in smaller blocks."""
    lanes = machine.lanes(DTYPE)
    shapes = [
        Winograd(m, rows, vectors * lanes, lanes, rows)
        for vectors in range(1, min(MOST_VECTORS, -(-job.channels // lanes)) + 1)
        for rows in range(1, min(MOST_ROWS, job.tiles(m)) + 1)
        if rows * vectors + vectors + 1 <= machine.registers
    ]
    priced = sorted(((_cost(way, job, machine), i, way) for i, way in enumerate(_in_blocks(s, job, machine, BLOCK_BYTES) for s in shapes)))
    out: list[Winograd] = []
    for _, _, way in priced:
        if not any(w.columns == way.columns and abs(w.rows - way.rows) * 4 < max(w.rows, way.rows) for w in out):
            out += [way, _in_blocks(way, job, machine, 2 * BLOCK_BYTES)]
    return sorted(dict.fromkeys(out), key=lambda way: _cost(way, job, machine))


def _in_blocks(way: Winograd, job: Job, machine: Machine, size: int) -> Winograd:
    """The register tiles of ``way`` in blocks whose transformed input takes ``size`` bytes, or in larger ones where weights are many."""
    tiles, bytes_a_tile = job.tiles(way.m), way.n * way.n * job.depth * ITEM
    most = max(size // bytes_a_tile, FEWEST, way.rows) // way.rows * way.rows
    if not job.known:
        return replace(way, block=most, way=_way(machine, job, 2 * machine.threads, 1))
    blocks, stacks, panels = -(-tiles // most), -(-tiles // way.rows), -(-job.channels // way.columns)
    if machine.threads > 1 and (stacks >= 2 * machine.threads or panels < machine.threads):
        blocks = -(-blocks // machine.threads) * machine.threads
    block = -(-stacks // blocks) * way.rows
    return replace(way, block=block, way=_way(machine, job, -(-tiles // block), panels))


def _way(machine: Machine, job: Job, blocks: int, panels: int) -> str:
    """How threads share the work of so many blocks, each of so many panels."""
    if not machine.shares(9 * job.tiles(1) * job.depth * job.channels, PARALLEL_MACS):
        return "serial"
    if blocks >= machine.threads:
        return "parallel"
    return "panels" if panels >= machine.threads else "serial"


def _cost(way: Winograd, job: Job, machine: Machine) -> float:
    """Cycles of one thread, as a core with two multiply-adds and two loads a cycle takes them."""
    tiles, points, lanes = job.tiles(way.m), way.n * way.n, machine.lanes(DTYPE)
    vectors, panels, stacks = way.columns // lanes, -(-job.channels // way.columns), -(-tiles // way.rows)
    # half cycles: multiply-adds, what their operands cost beside them, and not less than the latency of one
    step = max(way.rows * vectors + 0.4 * (way.rows + vectors), 8.0)
    if job.depth * way.columns * ITEM > L1_BYTES:
        step += vectors  # each register tile reads a panel's weights from the second-level cache again
    products = points * stacks * panels * (step * job.depth + STACK) / 2
    weights = points * job.depth * panels * way.columns * ITEM
    transforms = TRANSFORM * points * tiles * (_vectors(job.depth, lanes) + _vectors(job.channels, lanes))
    return products + _streamed(weights) * -(-tiles // way.block) + transforms


def _direct_cost(job: Job, machine: Machine) -> float:
    """The same of the direct kernel at its best."""
    lanes = machine.lanes(DTYPE)
    columns = -(-job.channels // lanes) * lanes
    return 9 * job.depth * (job.tiles(1) * columns / (2 * lanes)) + _streamed(9 * job.depth * columns * ITEM)


def _streamed(size: int) -> float:
    """Cycles in which weights of ``size`` bytes come from beyond the second-level cache."""
    return size / STREAM if size > 2 * L2_BYTES else 0.0


def _vectors(channels: int, lanes: int) -> int:
    """Vectors of a row of channels, with shorter ones at its end."""
    return channels // lanes + (channels % lanes // SHORTEST).bit_count()
