"""Kernels of elements, which the library has none for: TIR with explicit transfers, from what FuseOps joined.

Before: blocks without reductions over the dims of the result.  After, for each core of the grid:

    for p in its pieces (a part of a row of the result each):
        xpu_load(x, offset, lm_x, n) …  xpu_fence()
        for i in n: lm_out[i] = expression of lm_x[i], lm_bias[0], …
        xpu_store(lm_out, out, offset, n)

Dims along which all tensors lie alike are joined first, so that equal shapes are one row.  An operand that is one element for all is
loaded once.  How many elements a piece has, of how many clusters, and whether the next piece is loaded and the one before stored while one
is computed, is the schedule (schedules.py).  codegen.py prints it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from oarlock import compat, compat_gpu

from .. import compat_xpu
from ..chips import Chip
from .schedules import Pieces, Work, pieces

MOST = 1024  # elements of a piece
_ALIGNED = 16
_SMALL = 64  # bytes that one element takes in local memory


@dataclass
class _Access:
    """A tensor as the kernel reads or writes it: its element at Σ steps · index + base."""

    buffer: Any
    steps: list[Any]
    base: Any
    local: Any = None


@dataclass
class Chain:
    """What a kernel of elements computes: ``store`` of ``value`` over ``rows``, (variable, extent) each."""

    function: tirx.PrimFunc
    chip: Chip
    rows: list[tuple[Any, Any]]
    out: _Access
    accesses: list[_Access]
    by_load: dict[Any, _Access]
    value: Any
    analyzer: tvm.sym.Analyzer

    @property
    def last(self) -> int:
        return len(self.rows) - 1

    def wide(self, access: _Access) -> bool:
        """Whether a piece has as many elements of the tensor as of the result; else it has one."""
        return compat.static(access.steps[self.last]) == 1

    def once(self, access: _Access) -> bool:
        """Whether one element serves all pieces."""
        return all(compat.static(step) == 0 for step in access.steps)

    def most(self, buffers: int) -> int:
        """Elements of a piece that local memory has room for."""
        room = self.chip.lm - _SMALL * (len(self.accesses) + 1) * buffers
        each = sum(_bytes(a) for a in (self.out, *self.accesses) if self.wide(a))
        return min(MOST, room // (each * buffers) // _ALIGNED * _ALIGNED)

    @property
    def work(self) -> Work:
        rows = compat.static(self.analyzer.simplify(math.prod([e for _, e in self.rows[: self.last]], start=_big(1))))
        width = compat.static(self.rows[self.last][1])
        loaded = sum(_bytes(a) for a in self.accesses if self.wide(a))
        once = sum(map(self.once, self.accesses))
        known = [n if isinstance(n, int) else None for n in (rows, width)]
        ops = max(compat_xpu.arithmetic(self.value), 1)
        return Work(known[0], known[1], loaded, _bytes(self.out), 1 + len(self.accesses) - once, once, ops)

    def schedules(self) -> dict[str, Pieces]:
        """The candidates by name, the likely best first."""
        return {str(found): found for found in pieces(self.work, self.chip, self.most, _ALIGNED)}

    def kernel(self, schedule: Pieces) -> tirx.PrimFunc:
        """The kernel by one of its schedules."""
        return self.function.with_body(_Grid(self, schedule).grid())


def elementwise(function: tirx.PrimFunc, chip: Chip) -> Chain | str:
    """What a kernel computes, for a chip, or why it is none of elements."""
    block = compat_xpu.inline_all(function)
    if isinstance(block, str):
        return block
    dims = [(iv.var, iv.dom.extent) for iv in block.iter_vars]
    once = {var: tirx.const(0, str(var.ty)) for var, extent in dims if compat.static(extent) == 1}  # no loop will run over these
    store = compat.substitute(block.body, once)
    if not isinstance(store, tirx.BufferStore):
        return "it has more than one statement"
    analyzer = tvm.sym.Analyzer()
    for var, extent in dims:
        analyzer.bind(var, tvm.ir.Range(tirx.const(0, str(var.ty)), extent))
    out = _access(store.buffer, list(store.indices), dims, analyzer)
    if isinstance(out, str):
        return out
    accesses: list[_Access] = []
    trouble: list[str] = []
    by_load: dict[Any, _Access] = {}
    for load in compat.loads(store.value):
        found = _access(load.source, list(load.indices), dims, analyzer)
        if isinstance(found, str):
            trouble.append(found)
        elif load not in by_load:
            same = next((a for a in accesses if _equal(a, found, analyzer)), None)
            if same is None:
                accesses.append(same := found)
            by_load[load] = same
    if trouble:
        return trouble[0]
    bare = compat_xpu.replace_loads(store.value, lambda load: tirx.const(0, compat_xpu.dtype_of(load)))
    places = bool(compat.variables(bare) & {var for var, _ in dims})  # the element's place is part of its value
    rows = _joined(dims, [out, *accesses], analyzer, join=not places)
    if not rows:
        rows = [(tirx.Var("one", "int64"), tirx.const(1, "int64"))]
        for access in (out, *accesses):
            access.steps = [tirx.const(1, "int64")]
    last = len(rows) - 1
    if compat.static(out.steps[last]) != 1 or any(compat.static(a.steps[last]) not in (0, 1) for a in accesses):
        return "it reads a tensor along another dim than it writes the result"
    chain = Chain(function, chip, rows, out, accesses, by_load, store.value, analyzer)
    if chain.most(1) < _ALIGNED:
        return f"{len(accesses)} operands at a time leave no room in {chip.lm} bytes of local memory"
    return chain


def _access(buffer: Any, indices: list[Any], dims: list[tuple[Any, Any]], analyzer: tvm.sym.Analyzer) -> _Access | str:
    if any(compat.loads(i) for i in indices):
        return f"it looks {buffer.name} up where another tensor says"
    flat: Any = tirx.const(0, "int64")
    for index, dim in zip(indices, buffer.ty.shape, strict=True):
        if not (analyzer.can_prove(index >= 0) and analyzer.can_prove(index < dim)):
            return f"it reads {buffer.name} under conditions, some of it beyond the edge"
        flat = flat * dim + index
    found = compat_xpu.linear(analyzer.simplify(flat), [var for var, _ in dims])
    if found is None:
        return f"it reads {buffer.name} in an order that is no stride"
    return _Access(buffer, [analyzer.simplify(f) for f in found[:-1]], analyzer.simplify(found[-1]))


def _equal(a: _Access, b: _Access, analyzer: tvm.sym.Analyzer) -> bool:
    pairs = zip([*a.steps, a.base], [*b.steps, b.base], strict=True)
    return a.buffer.same_as(b.buffer) and all(analyzer.can_prove_equal(x, y) for x, y in pairs)


def _joined(dims: list[tuple[Any, Any]], accesses: list[_Access], analyzer: tvm.sym.Analyzer, join: bool) -> list[tuple[Any, Any]]:
    """The dims without those of one element, neighbours joined where every tensor allows it; the accesses' steps change with them."""
    kept = [k for k, (_, extent) in enumerate(dims) if compat.static(extent) != 1]
    steps = {id(a): [a.steps[k] for k in kept] for a in accesses}
    rows = [dims[k] for k in kept]
    k = 0
    while join and k + 1 < len(rows):
        extent = rows[k + 1][1]
        if all(analyzer.can_prove_equal(s[k], s[k + 1] * extent) for s in steps.values()):
            rows[k : k + 2] = [(rows[k + 1][0], analyzer.simplify(rows[k][1] * extent))]
            for s in steps.values():
                s[k : k + 2] = [s[k + 1]]
        else:
            k += 1
    for a in accesses:
        a.steps = steps[id(a)]
    return rows


def _bytes(access: _Access) -> int:
    return max(compat.bits(access.buffer) // 8, 1)


class _Grid:
    """The kernel of a chain by one schedule."""

    def __init__(self, chain: Chain, schedule: Pieces) -> None:
        self.chain, self.schedule = chain, schedule
        self.piece, self.buffers = _big(schedule.piece), schedule.buffers
        self.width = chain.rows[chain.last][1]
        simplify = chain.analyzer.simplify
        self.chunks = simplify(tirx.floordiv(self.width + _big(schedule.piece - 1), self.piece))
        self.total = simplify(math.prod([extent for _, extent in chain.rows[: chain.last]], start=self.chunks))
        known = compat.static(self.total)
        least = max(-(-known // chain.chip.cores), 1) if isinstance(known, int) else chain.chip.clusters
        self.clusters = min(schedule.clusters, least)
        for number, access in enumerate([chain.out, *chain.accesses]):
            many = schedule.piece * self.buffers if chain.wide(access) else 1 if chain.once(access) else self.buffers
            access.local = tirx.decl_buffer((many,), str(access.buffer.ty.dtype), f"lm{number}", scope="local")

    def grid(self) -> tirx.Stmt:
        cores = self.chain.chip.cores

        def cluster(number: Any) -> tirx.Stmt:
            return compat_gpu.thread_loop("threadIdx.x", cores, lambda core: self._core(number, core))

        return compat_gpu.thread_loop("blockIdx.x", self.clusters, cluster)

    def _core(self, cluster: Any, core: Any) -> tirx.Stmt:
        chain = self.chain
        self.unit = tirx.Cast("int64", cluster) * _big(chain.chip.cores) + tirx.Cast("int64", core)
        self.units = _big(self.clusters * chain.chip.cores)
        turns = tirx.Var("turns", "int64")
        begin = [self._load(access, self._at(_big(0))) for access in chain.accesses if chain.once(access)]
        body = self._single(turns) if self.buffers == 1 else self._double(turns)
        return tirx.SeqStmt(
            [
                *(tirx.AllocBuffer(a.local) for a in (chain.out, *chain.accesses)),
                tirx.Bind(turns, tirx.floordiv(self.total + self.units - _big(1) - self.unit, self.units)),
                tirx.IfThenElse(turns > _big(0), _sequence([*begin, *body]), None),
            ]
        )

    def _single(self, turns: Any) -> list[tirx.Stmt]:
        turn = tirx.Var("turn", "int64")
        here = self._at(turn)
        inside = [*here.binds, *self._loads(here), _extern("xpu_fence"), *self._compute(here), self._store("xpu_store", here)]
        return [tirx.For(turn, _big(0), turns, tirx.ForKind.SERIAL, tirx.SeqStmt(inside))]

    def _double(self, turns: Any) -> list[tirx.Stmt]:
        """A fence waits for all transfers: what it need not wait for is started behind it."""
        turn = tirx.Var("turn", "int64")
        first, here, before, after = self._at(_big(0)), self._at(turn), self._at(turn - _big(1)), self._at(turn + _big(1))
        final = self._at(turns - _big(1))
        inside = [
            _extern("xpu_fence"),
            tirx.IfThenElse(turn > _big(0), _sequence([*before.binds, self._store("xpu_store_async", before)]), None),
            *([tirx.IfThenElse(after.turn < turns, _sequence([*after.binds, *loads]), None)] if (loads := self._loads(after)) else []),
            *here.binds,
            *self._compute(here),
        ]
        loop = tirx.For(turn, _big(0), turns, tirx.ForKind.SERIAL, tirx.SeqStmt(inside))
        return [*first.binds, *self._loads(first), loop, *final.binds, self._store("xpu_store_async", final), _extern("xpu_fence")]

    def _at(self, turn: Any) -> _Turn:
        return _Turn(self, turn)

    def _loads(self, here: _Turn) -> list[tirx.Stmt]:
        return [self._load(access, here) for access in self.chain.accesses if not self.chain.once(access)]

    def _load(self, access: _Access, here: _Turn) -> tirx.Stmt:
        if self.chain.once(access):
            return _extern("xpu_load", tirx.buffer_data(access.buffer), access.base, tirx.buffer_data(access.local), _big(0), _big(1))
        count = here.n if self.chain.wide(access) else _big(1)
        return _extern(
            "xpu_load", tirx.buffer_data(access.buffer), here.offset(access), tirx.buffer_data(access.local), here.slot(access), count
        )

    def _store(self, how: str, here: _Turn) -> tirx.Stmt:
        out = self.chain.out
        return _extern(how, tirx.buffer_data(out.local), here.slot(out), tirx.buffer_data(out.buffer), here.offset(out), here.n)

    def _compute(self, here: _Turn) -> list[tirx.Stmt]:
        chain, i = self.chain, tirx.Var("i", "int64")

        def place(access: _Access) -> list[Any]:
            return [here.slot(access) + i if chain.wide(access) else here.slot(access)]

        def local(load: Any) -> Any:
            access = chain.by_load[load]
            return tirx.BufferLoad(access.local, place(access))

        element = compat.substitute(compat_xpu.replace_loads(chain.value, local), here.index(i))
        store = tirx.BufferStore(chain.out.local, element, place(chain.out))
        loop = tirx.For(i, _big(0), here.n, tirx.ForKind.SERIAL, store)
        return [loop, _extern("xpu_ops", here.n * _big(max(compat_xpu.arithmetic(chain.value), 1)))]


class _Turn:
    """One piece of a core: ``n`` elements from ``start`` of a row, which ``binds`` compute."""

    def __init__(self, grid: _Grid, turn: Any) -> None:
        self.grid, self.turn = grid, turn
        at, self.start, self.n, self.row = (tirx.Var(name, "int64") for name in ("piece", "start", "n", "row"))
        self.binds = [
            tirx.Bind(at, turn * grid.units + grid.unit),
            tirx.Bind(self.start, tirx.floormod(at, grid.chunks) * grid.piece),
            tirx.Bind(self.n, tirx.min(grid.piece, grid.width - self.start)),
            tirx.Bind(self.row, tirx.floordiv(at, grid.chunks)),
        ]

    def index(self, i: Any) -> dict[Any, Any]:
        """The chain's variables at an element of the piece."""
        rows, rest = self.grid.chain.rows, self.row
        index: dict[Any, Any] = {rows[-1][0]: self.start + i}
        for var, extent in reversed(rows[:-1]):
            index[var] = tirx.floormod(rest, extent)
            rest = tirx.floordiv(rest, extent)
        return index

    def offset(self, access: _Access) -> Any:
        """Where the piece begins in a tensor."""
        chain = self.grid.chain
        index = self.index(_big(0))
        terms = [index[var] * access.steps[k] for k, (var, _) in enumerate(chain.rows[:-1])]
        return chain.analyzer.simplify(sum([*terms, self.start] if chain.wide(access) else terms, access.base))

    def slot(self, access: _Access) -> Any:
        """Where the piece begins in a tensor's local memory."""
        if self.grid.buffers == 1 or self.grid.chain.once(access):
            return _big(0)
        slot = tirx.floormod(self.turn, _big(2))
        return slot * self.grid.piece if self.grid.chain.wide(access) else slot


def _sequence(statements: list[tirx.Stmt]) -> tirx.Stmt:
    return tirx.SeqStmt(statements) if len(statements) > 1 else statements[0]


def _big(n: int) -> Any:
    return tirx.const(n, "int64")


def _extern(name: str, *args: Any) -> tirx.Stmt:
    return tirx.Evaluate(tirx.call_extern("int32", name, *args))
