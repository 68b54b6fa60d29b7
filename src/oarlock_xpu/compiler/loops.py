"""Kernels of anything: loops as they are, for what neither the library nor elements.py has (reductions, scans, sorting, lookups, …).

Before: loops, reads and writes of tensors.  After, for each core of the grid:

    xpu_window(0, x) …                              # some elements of a tensor in local memory, moved where the loops go
    for p in its part of the outermost loops that are independent:
        write(1, i, read(0, i + 1) * …)
    xpu_flush(…)

Statements one behind the other are stages: one cluster runs them, which waits for all of its cores between two.  What a stage leaves to
another one lies in shared memory, or in further results of the kernel, which the program then has (``work``).  A stage without
independent loops runs on one core.  Elements are computed one by one: correct for all, quick for little.  How many elements of what is
read are loaded at once, and how many clusters share the loops, is the schedule (schedules.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir, tirx

from oarlock import compat, compat_gpu
from oarlock.rules.rewriting import rewrite_functions

from .. import compat_xpu
from ..chips import Chip
from .codegen import ELEMENT_TYPES
from .schedules import Windows, shares, windows

WRITTEN = 64  # elements of a window of what is written (codegen.py)
_OF_SHARED = 131072  # bytes
_ROOM = 512  # bytes of local memory that are left to the rest
_TURNS = 64  # what a loop counts as that has as many turns as run time says
_SCALAR = 16  # the time model counts vectors of 16


@dataclass(frozen=True)
class Kernel:
    """``work``: shape and element type of further results, in the kernel's sizes."""

    function: tirx.PrimFunc
    work: list[tuple[list[Any], str]]


class _Refused(Exception):
    """Why there is no kernel."""


class Loops:
    """A kernel as loops, for a chip; ``refused``: why there is none."""

    def __init__(self, function: tirx.PrimFunc, chip: Chip) -> None:
        self.chip, self.refused = chip, ""
        try:
            self._function = _lowered(function)
            self._maker = _Maker(self._function, chip, Windows(WRITTEN, chip.clusters))
            self._plain = self._maker.make()
        except _Refused as refused:
            self.refused = str(refused)

    def schedules(self) -> dict[str, Windows]:
        """The candidates by name, the likely best first."""
        maker = self._maker
        # one cluster does it all where it is no slower than several, each core of which moves windows
        shared = Windows(WRITTEN, 1, shared=True)
        all_there = len(maker.sharable(1)) == len(maker.parameters) and not maker.work
        first = shared if all_there and maker.clusters == 1 and shares(maker.accesses, maker.size, self.chip) else maker.schedule
        first = replace(first, clusters=maker.clusters)
        return {str(found): found for found in windows(maker.clusters, maker.fits, first, lambda count: bool(maker.sharable(count)))}

    def kernel(self, schedule: Windows) -> Kernel:
        """The kernel by one of its schedules."""
        if schedule == Windows(WRITTEN, self._maker.clusters):
            return self._plain
        return _Maker(self._function, self.chip, schedule).make()


def _lowered(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """The function as loops and buffers, with what can be computed in place inlined."""
    mod = tvm.IRModule({"main": function})
    schedule = s_tir.Schedule(mod)
    try:
        for block in schedule.get_child_blocks(schedule.get_sblock("root"))[:-1]:
            compat_xpu.inline(schedule, block)
        mod = schedule.mod
    except Exception:  # whatever TVM raises for a kernel without a root: it is loops already
        pass
    return compat_xpu.plain_loops(mod)["main"]


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
        totals = [compat.static(self._product(extents)) for extents in plans if extents is not None]
        most = (
            max((t for t in totals if isinstance(t, int)), default=0)
            if len(totals) == len([t for t in totals if isinstance(t, int)])
            else None
        )
        clusters = (
            1 if together or not totals else self.chip.clusters if most is None else min(self.chip.clusters, -(-most // self.chip.cores))
        )
        self.clusters = clusters = min(max(clusters, 1), self.schedule.clusters)
        self.accesses = sum(
            self._accesses(stage) / (min(_count_of(extents), clusters * self.chip.cores) if extents is not None else 1)
            for stage, extents in zip(stages, plans, strict=True)
        )
        moved = self._move_in(clusters) if self.schedule.shared else []
        self._share_windows()

        def body(cluster: Any, core: Any) -> tirx.Stmt:
            unit = tirx.Cast("int64", cluster) * _big(self.chip.cores) + tirx.Cast("int64", core)
            made: list[tirx.Stmt] = [_share(self.shared[b], b, load=True) for b in moved if b in self.read]
            made += [_extern("xpu_fence"), _extern("xpu_sync")] if made else []
            for number, (stage, loops) in enumerate(zip(stages, plans, strict=True)):
                made.append(self._stage(stage, loops, unit, clusters * self.chip.cores))
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
        self.local = sum(-(-(_bytes(b) or 0) // 64) * 64 for b in own)
        for buffer in held:
            size = _bytes(buffer)
            if compat_xpu.scope_of(buffer) != "global" and _is_cell(buffer):
                self.declared.append(self._cell(buffer))
            elif compat_xpu.scope_of(buffer) != "global":
                self._near(buffer, outer=True)
            elif size is not None and self.shared_bytes + size <= _OF_SHARED and not one_stage:
                self.shared_bytes += -(-size // 64) * 64
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
                room -= -(-size // 64) * 64
        return found

    @property
    def size(self) -> int:
        """Bytes of all tensors whose sizes are known."""
        return sum(_bytes(b) or 0 for b in self.parameters)

    def _accesses(self, s: Any) -> float:
        """How often a statement reads tensors, about: as many turns of a loop as it is known to have, else _TURNS."""
        far = self.parameters

        def reads(node: Any) -> int:
            return sum(any(load.source.same_as(b) for b in far) for load in compat.loads(node))

        match s:
            case tirx.SeqStmt():
                return sum(map(self._accesses, s.seq))
            case tirx.For():
                return _count_of([s.extent]) * self._accesses(s.body)
            case tirx.While():
                return _TURNS * (self._accesses(s.body) + reads(s.condition))
            case tirx.IfThenElse():
                both = [s.then_case, *([s.else_case] if s.else_case is not None else [])]
                return sum(map(self._accesses, both)) + reads(s.condition)
            case tirx.AttrStmt():
                return self._accesses(s.body)
            case _:
                return float(reads(s))

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
        new = tirx.decl_buffer((max(size // max(compat.bits(buffer) // 8, 1), 1),), str(buffer.ty.dtype), buffer.name, scope="local")
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

    def _stage(self, stage: tirx.Stmt, extents: list[Any] | None, unit: Any, units: int) -> tirx.Stmt:
        if extents is None:
            return tirx.IfThenElse(tirx.EQ(unit, _big(0)), self.stmt(stage), None)
        loops, inside = list[Any](), stage
        for _ in extents:
            loops.append(inside)
            inside = inside.body
        total = self._product(extents)
        chunk = tirx.Var("chunk", "int64")
        first, turn, at = (tirx.Var(n, "int64") for n in ("first", "turn", "at"))
        statements: list[tirx.Stmt] = [tirx.Bind(at, first + turn)]
        rest: Any = at
        for loop in reversed(loops):
            extent = tirx.Cast("int64", loop.extent)
            kind = str(loop.loop_var.ty.dtype) if hasattr(loop.loop_var.ty, "dtype") else str(loop.loop_var.ty)
            value = rest if loop is loops[0] else tirx.floormod(rest, extent)
            statements.append(tirx.Bind(loop.loop_var, tirx.Cast(kind, value) + loop.min))
            rest = tirx.floordiv(rest, extent)
        turns = tirx.max(tirx.min(chunk, total - first), _big(0))
        body = tirx.For(turn, _big(0), turns, tirx.ForKind.SERIAL, tirx.SeqStmt([*statements, self.stmt(inside)]))
        return tirx.SeqStmt([tirx.Bind(chunk, tirx.floordiv(total + _big(units - 1), _big(units))), tirx.Bind(first, unit * chunk), body])

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


def _bytes(buffer: Any) -> int | None:
    """The size of a buffer; None where run time decides it."""
    dims = [compat.static(d) for d in buffer.ty.shape]
    known = [d for d in dims if isinstance(d, int)]
    return math.prod(known) * max(compat.bits(buffer) // 8, 1) if len(known) == len(dims) else None


def _elements(buffer: Any) -> int:
    return (_bytes(buffer) or 0) // max(compat.bits(buffer) // 8, 1)


def _count_of(extents: list[Any]) -> int:
    known = [compat.static(e) for e in extents]
    return max(math.prod(n if isinstance(n, int) else _TURNS for n in known), 1)


def _share(number: int, buffer: Any, *, load: bool) -> tirx.Stmt:
    dtype, of = tvm.ir.StringImm(str(buffer.ty.dtype)), tirx.buffer_data(buffer)
    return _extern("xpu_share", number, dtype, of, _big(_elements(buffer)), int(load))


def _is_cell(buffer: Any) -> bool:
    return all(compat.static(d) == 1 for d in buffer.ty.shape)


def _stores(body: tirx.Stmt) -> set[Any]:
    return {n.buffer for n in compat_xpu.nodes_in(body, tirx.BufferStore)}


def _count(e: Any) -> tirx.Stmt:
    return _extern("xpu_count", _big(_SCALAR * (compat_xpu.arithmetic(e) + len(compat.loads(e)) + 1)))


def _big(n: int) -> Any:
    return tirx.const(n, "int64")


def _extern(name: str, *args: Any) -> tirx.Stmt:
    return tirx.Evaluate(tirx.call_extern("int32", name, *args))


# ---- further results


def with_work(mod: tvm.IRModule, kernels: dict[str, Kernel]) -> tvm.IRModule:
    """The module with these kernels in place of those of their names, whose calls have the further results that they write."""
    if not kernels:
        return mod
    rewriter = _Rewriter(mod, kernels)
    new = rewrite_functions(rewriter, mod)
    # a function's type belongs to its name in the module: with other results it is another one
    for gv in [gv for gv in new.get_global_vars() if gv.name_hint in kernels]:
        del new[gv]
    return new


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule, kernels: dict[str, Kernel]) -> None:
        super().__init__(mod)
        self.kernels = kernels
        self.new = {name: self.builder_.add_func(kernel.function, f"{name}_work") for name, kernel in kernels.items()}

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if str(getattr(call.op, "name", "")) != "relax.call_tir" or call.args[0].name_hint not in self.kernels:
            return call
        name, given = call.args[0].name_hint, list(call.args[1].fields)
        sizes: dict[Any, Any] = {}
        for parameter, value in zip(self.kernels[name].function.params, given, strict=False):
            if not isinstance(parameter.ty, tirx.BufferType):
                sizes[parameter] = getattr(value, "value", value)
                continue
            for dim, known in zip(parameter.ty.shape, value.ty.shape.values, strict=True):
                if isinstance(dim, tvm.ir.Var):
                    sizes.setdefault(dim, known)
        rest = list(call.args[2:])
        types = list(call.ty_args)
        outs = [t for ty in types for t in (ty.fields if isinstance(ty, relax.TupleType) else [ty])]
        more = [
            relax.TensorType(relax.ShapeExpr([compat.substitute(d, sizes) for d in dims]), dtype) for dims, dtype in self.kernels[name].work
        ]
        made = self.builder_.emit(relax.call_tir(self.new[name], given, [*outs, *more], *(rest[:1] if rest else ())))
        parts = [relax.TupleGetItem(made, i) for i in range(len(outs))]
        return parts[0] if len(parts) == 1 else relax.Tuple(parts)
