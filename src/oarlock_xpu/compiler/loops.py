"""Kernels of anything: loops as they are, for what neither the library nor elements.py has (reductions, scans, sorting, lookups, …).

Before: loops, reads and writes of tensors.  After, for each core of the grid:

    xpu_window(0, x) …                              # some elements of a tensor in local memory, moved where the loops go
    for p in its part of the outermost loops that are independent:
        write(1, i, read(0, i + 1) * …)
    xpu_flush(…)

Statements one behind the other are stages: a cluster waits for all of its cores between two.  Clusters share them where the outermost
loops of all stages are the same, and a turn reads nothing that another one wrote; else one cluster runs them.  What a stage leaves to
another one lies in shared memory, or in further results of the kernel, which the program then has (``work``).  A stage without
independent loops runs on one core.  Elements are computed one by one: correct for all, quick for little.  How many elements of what is
read are loaded at once, how many clusters share the loops, and whether the cores of a cluster share what is reduced (each a part, in a
stage before the one that combines the parts), is the schedule (schedules.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from oarlock import compat, compat_gpu

from .. import compat_xpu
from ..chips import Chip
from .codegen import ELEMENT_TYPES
from .schedules import RARELY, Windows, by_turns, shares, whole_ns, windows, windows_ns
from .work import Kernel

WRITTEN = 64  # elements of a window of what is written (codegen.py)
_OF_SHARED = 131072  # bytes
_ROOM = 512  # bytes of local memory that are left to the rest
_TURNS, _MANY = 64, 1024  # what an independent loop counts as that has as many turns as run time says, and what another one does
_SCALAR = 16  # the time model counts vectors of 16


class _Refused(Exception):
    """Why there is no kernel."""


class _Way(NamedTuple):
    """``maker`` has all clusters, ``likely`` as many as are likely best; ``made`` is the first one's kernel."""

    maker: _Maker
    likely: _Maker
    made: Kernel


class Loops:
    """A kernel as loops, for a chip; ``refused``: why there is none."""

    def __init__(self, function: tirx.PrimFunc, chip: Chip) -> None:
        self.chip, self.refused = chip, ""
        self._ways: list[_Way] = []  # whole reductions and, where it is quicker, split ones
        try:
            whole, split = _lowered(function, chip.cores)
            self._try(whole, Windows(WRITTEN, chip.clusters))
            if split is not None:
                self._try(split, Windows(WRITTEN, chip.clusters, split=True))
        except _Refused as refused:
            self.refused = "" if self._ways else str(refused)

    def _try(self, function: tirx.PrimFunc, schedule: Windows) -> None:
        made = (maker := _Maker(function, self.chip, schedule)).make()
        likely = maker
        if maker.lead and maker.clusters > 1:
            (one := _Maker(function, self.chip, replace(schedule, clusters=1))).make()
            likely = min(maker, one, key=lambda m: m.modelled_ns)
        if not self._ways or likely.modelled_ns < self._ways[0].likely.modelled_ns:
            self._ways.append(_Way(maker, likely, made))

    def schedules(self) -> dict[str, Windows]:
        """The candidates by name, the likely best first."""
        each = [
            windows(way.maker.clusters, way.maker.fits, way.likely.first, lambda count, m=way.maker: bool(m.sharable(count)))
            for way in reversed(self._ways)
        ]
        return {str(found): found for found in by_turns(each)}

    def kernel(self, schedule: Windows) -> Kernel:
        """The kernel by one of its schedules."""
        way = self._ways[schedule.split]
        if schedule == replace(way.maker.schedule, clusters=way.maker.clusters):
            return way.made
        return _Maker(way.maker.function, self.chip, schedule).make()


def _lowered(function: tirx.PrimFunc, parts: int) -> tuple[tirx.PrimFunc, tirx.PrimFunc | None]:
    """The function as loops and buffers, with what can be computed in place inlined; and, if it reduces, that with so many parts."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    try:
        for block in schedule.get_child_blocks(schedule.get_sblock("root"))[:-1]:
            compat_xpu.inline(schedule, block)
    except Exception:  # whatever TVM raises for a kernel without a root: it is loops already
        return compat_xpu.plain_loops(tvm.IRModule({"main": function}))["main"], None
    return compat_xpu.plain_loops(schedule.mod)["main"], compat_xpu.split_reductions(schedule.mod, parts)


class _Maker:
    def __init__(self, function: tirx.PrimFunc, chip: Chip, schedule: Windows) -> None:
        self.function, self.chip, self.schedule = function, chip, schedule
        self.analyzer = tvm.sym.Analyzer()
        self.parameters = [p for p in function.params if isinstance(p.ty, tirx.BufferType)]
        self.work: list[Any] = []  # buffers that become results
        self.near: dict[Any, Any] = {}  # the kernel's buffers → new ones of local memory
        self.shared: dict[Any, int] = {}  # those in shared memory → number
        self.cells: dict[Any, int] = {}  # those of one element, which are variables → number
        self.local = 0  # bytes of local memory that the loops' own buffers take
        self.made: set[Any] = set()
        self.windows: dict[Any, int] = {}  # a buffer, or a buffer and the text of an index → number
        self.declared: list[tirx.Stmt] = []
        self.written = _stores(function.body)
        self.read = {load.source for load in compat.loads(function.body)}
        self.sites = 0

    def make(self) -> Kernel:
        if any("packed" in compat_xpu.operator_name(node) for node in compat_xpu.calls_in(self.function.body)):
            raise _Refused("it calls a function of the host")
        statements = list(self.function.body.seq) if isinstance(self.function.body, tirx.SeqStmt) else [self.function.body]
        checks = [s for s in statements if isinstance(s, tirx.AssertStmt) and not compat.loads(s.condition)]
        held = [s.buffer for s in statements if isinstance(s, tirx.AllocBuffer)]
        stages = [s for s in statements if not isinstance(s, tirx.AllocBuffer) and not any(s.same_as(c) for c in checks)]
        bound = next((k for k, s in enumerate(stages) if isinstance(s, tirx.Bind)), len(stages))
        if bound + 1 < len(stages):  # what follows a variable may read it: one stage
            stages[bound:] = [tirx.SeqStmt(stages[bound:])]
        cells = [b for b in held if compat_xpu.scope_of(b) != "global"]
        if cells and len(stages) > 1:  # what one core keeps to itself
            stages = [tirx.SeqStmt(stages)]
        self._place(held, one_stage=len(stages) == 1)
        together = len(stages) > 1
        plans = [self._parallel(s, allowed=not cells) for s in stages]
        self.lead = _leading(stages, plans) if together else 0
        totals = [compat.static(self._product(p[: self.lead or len(p)])) for p in plans if p is not None]
        known = [t for t in totals if isinstance(t, int)]
        if not totals or (together and not self.lead):
            clusters = 1
        elif len(known) < len(totals):
            clusters = self.chip.clusters
        else:
            most = max(known)
            clusters = min(self.chip.clusters, most if self.lead else -(-most // self.chip.cores))
        self.clusters = clusters = min(max(clusters, 1), self.schedule.clusters)
        units = clusters * self.chip.cores
        # what the core that has the most to do has of each stage
        turns = [
            (-(-_count_of(p, _TURNS) // units), _nest(s, len(p))[-1].body) if p else (1, s) for s, p in zip(stages, plans, strict=True)
        ]
        self.accesses = sum(n * self._total(inside, self._reads) for n, inside in turns)
        self.steps = sum(n * self._total(inside, _steps) for n, inside in turns)
        moved = self._move_in(clusters) if self.schedule.shared else []
        self._share_windows()

        def body(cluster: Any, core: Any) -> tirx.Stmt:
            made: list[tirx.Stmt] = [_share(self.shared[b], b, load=True) for b in moved if b in self.read]
            made += [_extern("xpu_fence"), _extern("xpu_sync")] if made else []
            for number, (stage, loops) in enumerate(zip(stages, plans, strict=True)):
                made.append(self._stage(stage, loops, cluster, core))
                made.append(_extern("xpu_flush"))
                if number + 1 < len(stages):
                    made.append(_extern("xpu_sync"))
            if back := [_share(self.shared[b], b, load=False) for b in moved if b in self.written]:
                made += [_extern("xpu_sync"), *back, _extern("xpu_fence")]
            near = [tirx.AllocBuffer(b) for b in self.near.values() if id(b) in self._outer]
            return tirx.SeqStmt([*near, *self.declared, *made])

        grid = compat_gpu.thread_loop(
            "blockIdx.x", clusters, lambda cluster: compat_gpu.thread_loop("threadIdx.x", self.chip.cores, lambda core: body(cluster, core))
        )
        whole = tirx.SeqStmt([*checks, grid]) if checks else grid
        made = tirx.PrimFunc([*self.function.params, *self.work], whole, self.function.ret_type, attrs=self.function.attrs)
        return Kernel(made, [(list(b.ty.shape), str(b.ty.dtype)) for b in self.work])

    # ---- memory

    def _place(self, held: list[Any], one_stage: bool) -> None:
        """Where the buffers outside of loops lie."""
        self._outer: set[int] = set()
        self.shared_bytes = 0
        inner = {n.buffer for n in compat_xpu.nodes_in(self.function.body, tirx.AllocBuffer)} - set(held)
        own = [b for b in (*inner, *(b for b in held if compat_xpu.scope_of(b) != "global")) if not _is_cell(b)]
        self.local = sum(_padded(_bytes(b) or 0) for b in own)
        for buffer in held:
            size = _bytes(buffer)
            if compat_xpu.scope_of(buffer) != "global" and _is_cell(buffer):
                self.declared.append(self._cell(buffer))
            elif compat_xpu.scope_of(buffer) != "global":
                self._near(buffer, outer=True)
            elif size is not None and self.shared_bytes + size <= _OF_SHARED and not one_stage:
                self.shared_bytes += _padded(size)
                self._in_shared(buffer)
            else:
                self.work.append(buffer)

    def _in_shared(self, buffer: Any) -> None:
        self.shared[buffer] = number = len(self.shared)
        self.declared.append(_extern("xpu_shared", number, tvm.ir.StringImm(str(buffer.ty.dtype)), max(_elements(buffer), 1)))

    def sharable(self, clusters: int) -> list[Any]:
        """Tensors that fit the shared memory of each of so many clusters, the small ones first.  What is written has one place."""
        room = self.chip.sm - self.shared_bytes
        found = []
        for buffer in sorted(self.parameters, key=lambda b: _bytes(b) or 0):
            size = _bytes(buffer)
            if size and size <= room and (clusters == 1 or buffer not in self.written):
                found.append(buffer)
                room -= _padded(size)
        return found

    @property
    def size(self) -> int:
        """Bytes of all tensors whose sizes are known."""
        return sum(_bytes(b) or 0 for b in self.parameters)

    def _total(self, s: Any, of: Callable[[Any], float]) -> float:
        """``of`` summed over what is run, statements and conditions: as many turns of a loop as it is known to have."""
        match s:
            case tirx.SeqStmt():
                return sum(self._total(part, of) for part in s.seq)
            case tirx.For():
                return _count_of([s.extent], _MANY) * self._total(s.body, of)
            case tirx.While():
                return _TURNS * (self._total(s.body, of) + of(s.condition))
            case tirx.IfThenElse():
                both = [s.then_case, *([s.else_case] if s.else_case is not None else [])]
                return sum(self._total(case, of) for case in both) + of(s.condition)
            case tirx.AttrStmt():
                return self._total(s.body, of)
            case _:
                return of(s)

    def _reads(self, node: Any) -> float:
        """How often a statement reads tensors, about; what the kernel leaves to itself in one (``work``) comes element by element."""
        found = [load.source for load in compat.loads(node)]
        return sum(any(b.same_as(p) for p in self.parameters) + RARELY * any(b.same_as(w) for w in self.work) for b in found)

    @property
    def first(self) -> Windows:
        """The likely best schedule."""
        # shared memory serves what one cluster does, or several that wait for their cores anyway
        there = self.sharable(self.clusters)
        all_there = not self.work and all(b in there for b in self.parameters if self.clusters == 1 or b in self.read)
        shared = all_there and (self.clusters == 1 or self.lead > 0) and shares(self.accesses, self.size * self.clusters, self.chip)
        return replace(self.schedule, clusters=self.clusters, shared=shared)

    @property
    def modelled_ns(self) -> float:
        """About what a core takes, by the emulator's model and the first schedule."""
        moved = whole_ns(self.size * self.clusters, self.chip) if self.first.shared else windows_ns(self.accesses)
        return moved + self.steps * 1e3 / self.chip.mhz

    def _move_in(self, clusters: int) -> list[Any]:
        """The tensors that shared memory holds while the kernel runs."""
        for buffer in (found := self.sharable(clusters)):
            self._in_shared(buffer)
        return found

    def _cell(self, buffer: Any) -> tirx.Stmt:
        self.cells[buffer] = number = len(self.cells)
        return _extern("xpu_cell", number, tvm.ir.StringImm(str(buffer.ty.dtype)))

    def _near(self, buffer: Any, outer: bool = False) -> Any:
        size = _bytes(buffer)
        if size is None or self.local > self.chip.lm // 2 + _ROOM:
            raise _Refused(f"a buffer {list(buffer.ty.shape)} of its own does not fit a core's local memory")
        new = tirx.decl_buffer((max(_elements(buffer), 1),), str(buffer.ty.dtype), buffer.name, scope="local")
        self.near[buffer] = new
        self.made.add(new)
        if outer:
            self._outer.add(id(new))
        return new

    def _share_windows(self) -> None:
        """How many windows there is room for: one for each place of a read, or one a tensor."""
        self.sites = self._sites(self.schedule.window)
        if self.sites < 0:
            far = len(self.parameters) + len(self.work)
            raise _Refused(f"{far} tensors at a time leave no room in {self.chip.lm} bytes of local memory")

    def _sites(self, window: int) -> int:
        """How many windows there is room for beyond one a tensor."""
        far = [b for b in (*self.parameters, *self.work) if b not in self.shared]
        each = max([64, *((WRITTEN if b in self.written else window) * max(compat.bits(b) // 8, 1) + 64 for b in far)])
        return (self.chip.lm - _ROOM - self.local) // each - len(far)

    def fits(self, window: int) -> bool:
        """Whether windows of so many elements leave as many places of reads a window of their own as this kernel has."""
        return self._sites(window) >= max(len(self.windows) - len(self.parameters) - len(self.work), 0)

    def _window(self, buffer: Any, index: Any) -> int:
        """The window for a read or a write; what is written has one for both."""
        key: Any = buffer
        if buffer not in self.written:
            site = (buffer, str(index))
            if site in self.windows:
                return self.windows[site]
            if buffer in self.windows and self.sites > 0:
                self.sites -= 1
                key = site
        if key not in self.windows:
            self.windows[key] = number = len(self.windows)
            kind = (1 if buffer in self.read else 0) + (2 if buffer in self.written else 0)
            size = self._product([d for d in buffer.ty.shape])
            of = tirx.buffer_data(buffer)
            most = WRITTEN if buffer in self.written else self.schedule.window
            self.declared.append(_extern("xpu_window", number, tvm.ir.StringImm(str(buffer.ty.dtype)), of, size, kind, most))
        return self.windows[key]

    # ---- loops

    def _product(self, dims: list[Any]) -> Any:
        total: Any = _big(1)
        for d in dims:
            total = total * tirx.Cast("int64", d) if not isinstance(d, int) else total * _big(d)
        return self.analyzer.simplify(total)

    def _parallel(self, stage: tirx.Stmt, allowed: bool) -> list[Any] | None:
        """The extents of the outermost loops whose turns are independent; None where there are none."""
        found: list[Any] = []
        inside = stage
        while allowed and isinstance(inside, tirx.For) and self._independent(inside):
            found.append(inside.extent)
            inside = inside.body
        return found or None

    def _independent(self, loop: tirx.For) -> bool:
        if loop.kind == tirx.ForKind.PARALLEL:
            return True
        own = {n.buffer for n in compat_xpu.nodes_in(loop.body, tirx.AllocBuffer)}
        stores = [(n.buffer, list(n.indices)) for n in compat_xpu.nodes_in(loop.body, tirx.BufferStore)]
        loads = [(n.source, list(n.indices)) for n in compat.loads(loop.body)]
        for buffer in {b for b, _ in stores} - own:
            places = [i for b, i in (*stores, *loads) if b.same_as(buffer)]
            # all of them have, in one dim, the loop's variable and nothing else
            if not any(all(place[d].same_as(loop.loop_var) for place in places) for d in range(len(places[0]))):
                return False
        return True

    def _stage(self, stage: tirx.Stmt, extents: list[Any] | None, cluster: Any, core: Any) -> tirx.Stmt:
        cores, cluster, core = _big(self.chip.cores), tirx.Cast("int64", cluster), tirx.Cast("int64", core)
        if extents is None:
            return tirx.IfThenElse(tirx.EQ(cluster * cores + core, _big(0)), self.stmt(stage), None)
        loops = _nest(stage, len(extents))
        inside = loops[-1].body
        total = self._product(extents)
        chunk = tirx.Var("chunk", "int64")
        first, turn, at = (tirx.Var(n, "int64") for n in ("first", "turn", "at"))
        if self.lead:  # a cluster takes its part of the leading loops' turns, its cores share those
            groups, each = self._product(extents[: self.lead]), self._product(extents[self.lead :])
            share = tirx.floordiv(groups + _big(self.clusters - 1), _big(self.clusters)) * each
            begin, end, units = cluster * share, tirx.min(total, (cluster + _big(1)) * share), cores
            unit = core
        else:
            begin, end, unit, units = _big(0), total, cluster * cores + core, _big(self.clusters * self.chip.cores)
        statements: list[tirx.Stmt] = [tirx.Bind(at, first + turn)]
        rest: Any = at
        for loop in reversed(loops):
            extent = tirx.Cast("int64", loop.extent)
            kind = str(loop.loop_var.ty.dtype) if hasattr(loop.loop_var.ty, "dtype") else str(loop.loop_var.ty)
            value = rest if loop is loops[0] else tirx.floormod(rest, extent)
            statements.append(tirx.Bind(loop.loop_var, tirx.Cast(kind, value) + loop.min))
            rest = tirx.floordiv(rest, extent)
        turns = tirx.max(tirx.min(chunk, end - first), _big(0))
        body = tirx.For(turn, _big(0), turns, tirx.ForKind.SERIAL, tirx.SeqStmt([*statements, self.stmt(inside)]))
        part = tirx.floordiv(tirx.max(end - begin, _big(0)) + units - _big(1), units)
        return tirx.SeqStmt([tirx.Bind(chunk, part), tirx.Bind(first, begin + unit * chunk), body])

    # ---- statements and expressions

    def stmt(self, s: tirx.Stmt) -> tirx.Stmt:
        match s:
            case tirx.SeqStmt():
                return tirx.SeqStmt([self.stmt(part) for part in s.seq])
            case tirx.For():
                return tirx.For(s.loop_var, self.expr(s.min), self.expr(s.extent), tirx.ForKind.SERIAL, self.stmt(s.body))
            case tirx.While():
                return tirx.While(self.expr(s.condition), tirx.SeqStmt([self.stmt(s.body), _count(s.condition)]))
            case tirx.IfThenElse():
                other = self.stmt(s.else_case) if s.else_case is not None else None
                return tirx.IfThenElse(self.expr(s.condition), self.stmt(s.then_case), other)
            case tirx.BufferStore():
                return tirx.SeqStmt([self._store(s), _count(s.value)])
            case tirx.Bind():
                return tirx.Bind(s.var, self.expr(s.value))
            case tirx.AllocBuffer():
                return self._cell(s.buffer) if _is_cell(s.buffer) else tirx.AllocBuffer(self._near(s.buffer))
            case tirx.AssertStmt():
                return _extern("xpu_assert", self.expr(s.condition))
            case tirx.Evaluate():
                return tirx.Evaluate(self.expr(s.value))
            case tirx.AttrStmt():
                return self.stmt(s.body)
            case _:
                raise _Refused(f"it has a statement {compat_xpu.class_name(s)}")

    def _store(self, s: tirx.BufferStore) -> tirx.Stmt:
        index, value = self._flat(s.buffer, s.indices), self.expr(s.value)
        if s.buffer in self.near:
            return tirx.BufferStore(self.near[s.buffer], value, [index])
        if s.buffer in self.cells:
            return _extern("xpu_cell_write", self.cells[s.buffer], value)
        if s.buffer in self.shared:
            return _extern("xpu_shared_write", self.shared[s.buffer], index, value)
        return _extern("xpu_write", self._window(s.buffer, index), index, value)

    def _flat(self, buffer: Any, indices: Any) -> Any:
        flat: Any = _big(0)
        for index, dim in zip(indices, buffer.ty.shape, strict=True):
            flat = flat * tirx.Cast("int64", dim) + tirx.Cast("int64", self.expr(index))
        return self.analyzer.simplify(flat)

    def expr(self, e: Any) -> Any:
        return tvm_ffi.structural_map(e, (compat.Load, self._load)) if compat.loads(e) else e

    def _load(self, load: Any) -> Any:
        if load.source in self.made:
            return load
        index = self._flat(load.source, load.indices)
        if load.source in self.near:
            return tirx.BufferLoad(self.near[load.source], [index])
        if load.source in self.cells:
            return tirx.call_extern(str(load.source.ty.dtype), "xpu_cell_read", self.cells[load.source])
        if load.source in self.shared:
            return tirx.call_extern(str(load.source.ty.dtype), "xpu_shared_read", self.shared[load.source], index)
        return tirx.call_extern(str(load.source.ty.dtype), "xpu_read", self._window(load.source, index), index)


def odd_type(function: tirx.PrimFunc) -> str:
    """Why a kernel cannot be printed: a type that its tensors or expressions have; "" where it can."""
    found = {str(p.ty.dtype) for p in function.params if isinstance(p.ty, tirx.BufferType)}
    found |= {str(load.source.ty.dtype) for load in compat.loads(function.body)}
    found |= {compat_xpu.dtype_of(cast) for cast in compat_xpu.nodes_in(function.body, tirx.Cast)}
    odd = sorted(found - ELEMENT_TYPES)
    return f"kernels have no elements of type {odd[0]}" if odd else ""


def _leading(stages: list[tirx.Stmt], plans: list[list[Any] | None]) -> int:
    """How many of the outermost loops all stages have in common, with turns that share nothing between stages."""
    levels = list(zip(*(_nest(s, len(extents or ())) for s, extents in zip(stages, plans, strict=True)), strict=False))
    places = [
        [(n.buffer, n.indices, True) for n in compat_xpu.nodes_in(s, tirx.BufferStore)]
        + [(n.source, n.indices, False) for n in compat.loads(s)]
        for s in stages
    ]
    stored = {b for found in places for b, _, stores in found if stores}
    common = [b for b in stored if sum(any(b.same_as(o) for o, _, _ in found) for found in places) > 1]
    for level, loops in enumerate(levels):
        same = all(tvm_ffi.structural_equal(loop.extent, loops[0].extent) and compat.static(loop.min) == 0 for loop in loops)
        apart = all(
            any(
                all(i[d].same_as(loop.loop_var) for found, loop in zip(places, loops, strict=True) for o, i, _ in found if o.same_as(b))
                for d in range(len(b.ty.shape))
            )
            for b in common
        )
        if not same or not apart:
            return level
    return len(levels)


def _nest(stage: tirx.Stmt, depth: int) -> list[tirx.For]:
    found: list[tirx.For] = []
    for _ in range(depth):
        found.append(stage)
        stage = stage.body
    return found


def _steps(node: Any) -> float:
    """What a statement counts (_count), in vectors."""
    return _operations(node.value) if isinstance(node, tirx.BufferStore) else 0


def _bytes(buffer: Any) -> int | None:
    """The size of a buffer; None where run time decides it."""
    dims = [compat.static(d) for d in buffer.ty.shape]
    known = [d for d in dims if isinstance(d, int)]
    return math.prod(known) * max(compat.bits(buffer) // 8, 1) if len(known) == len(dims) else None


def _elements(buffer: Any) -> int:
    return (_bytes(buffer) or 0) // max(compat.bits(buffer) // 8, 1)


def _padded(size: int) -> int:
    """Bytes that a buffer takes on a core or in shared memory."""
    return -(-size // 64) * 64


def _count_of(extents: list[Any], unknown: int) -> int:
    known = [compat.static(e) for e in extents]
    return max(math.prod(n if isinstance(n, int) else unknown for n in known), 1)


def _share(number: int, buffer: Any, *, load: bool) -> tirx.Stmt:
    dtype, of = tvm.ir.StringImm(str(buffer.ty.dtype)), tirx.buffer_data(buffer)
    return _extern("xpu_share", number, dtype, of, _big(_elements(buffer)), int(load))


def _is_cell(buffer: Any) -> bool:
    return all(compat.static(d) == 1 for d in buffer.ty.shape)


def _stores(body: tirx.Stmt) -> set[Any]:
    return {n.buffer for n in compat_xpu.nodes_in(body, tirx.BufferStore)}


def _operations(e: Any) -> int:
    return compat_xpu.arithmetic(e) + len(compat.loads(e)) + 1


def _count(e: Any) -> tirx.Stmt:
    return _extern("xpu_count", _big(_SCALAR * _operations(e)))


def _big(n: int) -> Any:
    return tirx.const(n, "int64")


def _extern(name: str, *args: Any) -> tirx.Stmt:
    return tirx.Evaluate(tirx.call_extern("int32", name, *args))
