"""Ahead-of-time executor: a model as one native function over one arena, instead of a VM program.

Before: ``main(x, weight_0, …)`` is a sequence of ``call_tir``.  After: ``main(x, weights)`` is one ``call_tir`` of a function that
calls every kernel directly with pointers: into the inputs, the outputs, one block of weights, and one arena that all
intermediate tensors share by their lifetimes.  The VM makes a tensor object for each result and checks every argument; here
neither is needed, and loading a model makes one tensor of weights.

Where the inputs have symbolic dims, the function computes from them the sizes that kernels take and where in the arena things lie.
Models that this cannot say (sizes that the data decide, control flow, library calls) stay VM programs; ``NotStatic`` says why.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import ir, relax, sym, tirx

from ... import compat
from ...rules.weights import Weights
from . import inplace
from .forms import product

ALIGNMENT = 64
GRAIN = 1 << 20  # an arena of symbolic size is a multiple of this: the VM's allocator keeps memory by its size
LIKELY = 256  # a symbolic dim, where sizes are compared to place them
ENTRY = "forward"
Size = Any  # bytes, as an int or as an expression of the inputs' symbols


class NotStatic(Exception):
    """Why a module cannot be one function; the message ends "main has …"."""


class Dynamic(NotStatic):
    """It has sizes that are known only at run time, as many models have."""


@dataclass(eq=False)
class Value:
    """The memory of one tensor: ``size`` bytes at ``offset`` in ``region`` (an input's or output's name, "weights" or "arena").

    ``first`` and ``last``: the steps that make it and that read it last.
    """

    size: Size
    region: str = "arena"
    offset: Size = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Step:
    """One call of a kernel; ``sizes``: what its scalar parameters and the symbols in its buffers' shapes are.

    ``upon``: (operand, result): by the kernel's numbers, an operand that is no argument, for the result lies upon it.
    """

    kernel: tvm.ir.GlobalVar
    arguments: list[Value]
    sizes: dict[Any, Any]
    upon: tuple[int, int] | None = None


@dataclass(frozen=True)
class Layout:
    """``main`` as steps over memory: ``arena`` bytes for what lies there, one block of weights, and the caller's inputs and outputs.

    ``inputs``: parameters.  ``outputs``: the results' types, in order.  ``dims``: expressions of ``symbols`` that must not be below 0.
    """

    inputs: list[relax.Var]
    outputs: list[relax.TensorType]
    steps: list[Step]
    arena: Size
    symbols: set[tirx.Var]
    dims: list[Any]


@dataclass(frozen=True)
class Memory:
    """Where tensors lie: bytes of an element by its type, constants as they are stored, and what places the values that kernels make.

    ``place`` gives what becomes the layout's ``arena``.  By default tensors lie as NumPy has them, in one block.
    """

    alignment: int = ALIGNMENT
    itemsize: Callable[[str], int] = lambda dtype: (tvm.DataType(dtype).bits + 7) // 8
    stored: Callable[[np.ndarray], np.ndarray] = lambda array: array
    place: Callable[[list[Value]], Any] | None = None


def compile_ahead(mod: tvm.IRModule, weights: Weights) -> tvm.IRModule:
    """The module with ``main`` as one kernel; ``weights`` becomes one array of bytes.  Raises NotStatic."""
    return _assemble(mod, lay_out(mod, weights), weights)


def lay_out(mod: tvm.IRModule, weights: Weights, memory: Memory = Memory()) -> Layout:  # noqa: B008
    """What ``main`` does, and where all that it touches lies; ``weights`` becomes one array of bytes.  Raises NotStatic."""
    main = mod["main"]
    symbols = _symbols(main, len(weights.arrays))
    try:
        plan = _Plan(mod, main, weights, symbols, memory)
    except NotStatic as reason:
        raise (Dynamic(str(reason)) if symbols else reason) from reason
    steps = share(plan.steps, plan.arena, {step.kernel: inplace.operands(mod[step.kernel]) for step in plan.steps})
    arena = place_symbolic(plan.arena) if symbols else (memory.place or place)(plan.arena)
    offsets = weights.pack(list(plan.constants.values()), memory.alignment)
    for value, offset in zip([*plan.weights, *plan.constants], offsets, strict=True):
        value.offset = offset
    return Layout(plan.inputs, list(main.ret_ty.fields), steps, arena, symbols, plan.dims)


def callees(mod: tvm.IRModule, steps: list[Step]) -> dict[tuple[Any, Any], tuple[tvm.ir.GlobalVar, tirx.PrimFunc]]:
    """What the steps call, by (kernel, upon): a name of its own, and the kernel, without the operand that its result lies upon."""
    found: dict[tuple[Any, Any], tuple[tvm.ir.GlobalVar, tirx.PrimFunc]] = {}
    for step in steps:
        if (step.kernel, step.upon) not in found:
            name, function = step.kernel.name_hint, mod[step.kernel]
            if step.upon is not None:
                name, function = f"{name}_upon_{step.upon[0]}", inplace.upon(function, *step.upon)
            found[step.kernel, step.upon] = tvm.ir.GlobalVar(name), function
    return found


# ---- what main does ---------------------------------------------------------------------------------------------------


class _Plan:
    """The steps of ``main`` and the memory that each touches."""

    def __init__(self, mod: tvm.IRModule, main: relax.Function, weights: Weights, symbols: set[tirx.Var], memory: Memory) -> None:
        self.mod, self.symbols, self.memory = mod, symbols, memory
        self.steps: list[Step] = []
        self.dims: list[Any] = []  # expressions that are dims: they are negative for inputs that are too small
        self.arena: list[Value] = []
        self.constants: dict[Value, np.ndarray] = {}  # small ones that were not lifted
        self.values: dict[relax.Var, Any] = {}  # a Value, or a list of them for a tuple
        count = len(main.params) - len(weights.arrays)
        self.inputs = list(main.params[:count])
        for p in self.inputs:
            self.values[p] = Value(self._bytes(p.ty), _region(p))
        self.weights = [Value(self._bytes(p.ty), "weights") for p in main.params[count:]]
        self.values |= dict(zip(main.params[count:], self.weights, strict=True))
        if not isinstance(main.body, relax.SeqExpr):
            raise NotStatic("no sequence of calls")
        for block in main.body.blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding):
                    raise Dynamic("sizes that are known only at run time")
                self.values[binding.var] = self._bind(binding.value)
        self.outputs = self._outputs(main)

    def _bind(self, value: relax.Expr) -> Any:
        if isinstance(value, relax.Var) and isinstance(held := self.values.get(value), list):
            return held
        if isinstance(value, relax.Var | compat.Constant):
            return self._read(value)
        if isinstance(value, relax.Tuple):
            return [self._bind(f) for f in value.fields]
        if isinstance(value, relax.TupleGetItem):
            return self._bind(value.tuple_value)[int(value.index)]
        if isinstance(value, relax.Call):
            name = getattr(value.op, "name", getattr(value.op, "name_hint", "a function"))
            if name == "relax.reshape":
                if not equal_sizes(self._bytes(value.args[0].ty), self._bytes(value.ty)):
                    raise Dynamic("a reshape that may fail at run time")  # the VM says so; here nothing would
                return self._read(value.args[0])
            if name == "relax.call_tir":
                return self._call(value)
            if name == "relax.call_pure_packed":
                raise NotStatic(f"a call of {value.args[0].global_symbol}")
            raise NotStatic(f"a call of {name.removeprefix('relax.')}")
        raise NotStatic(f"a {type(value).__name__}")

    def _call(self, call: relax.Call) -> Any:
        kernel, fields = call.args[0], list(call.args[1].fields)
        results = call.ty_args[0]
        types = list(results.fields) if isinstance(results, relax.TupleType) else [results]
        scalars = [*(f for f in fields if not _tensor(f)), *(call.args[2].values if len(call.args) > 2 else ())]
        tensors = [f for f in fields if _tensor(f)]
        arguments = [self._read(a) for a in tensors]
        sizes = _sizes(kernel.name_hint, self.mod[kernel], [*(a.ty for a in tensors), *types], scalars)
        if any(not compat.variables(size) <= self.symbols for size in sizes.values()):
            raise Dynamic("kernels with sizes that are known only at run time")
        made = [Value(self._bytes(t), first=len(self.steps), last=len(self.steps)) for t in types]
        self.arena += made
        for value in arguments:
            value.last = len(self.steps)
        self.steps.append(Step(kernel, arguments + made, sizes))
        return made if isinstance(results, relax.TupleType) else made[0]

    def _bytes(self, ty: relax.Type) -> Size:
        if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
            raise NotStatic("values that are no tensors of known shape")
        if any(not compat.variables(d) <= self.symbols for d in ty.shape.values):
            raise Dynamic("sizes that are known only at run time")
        for dim in ty.shape.values:
            if not isinstance(dim, int | tirx.IntImm | tirx.Var) and not any(tvm_ffi.structural_equal(dim, d) for d in self.dims):
                self.dims.append(dim)
        return product([compat.static(d) for d in ty.shape.values]) * self.memory.itemsize(str(ty.dtype))

    def _read(self, value: relax.Expr) -> Value:
        if isinstance(value, compat.Constant):
            array = self.memory.stored(compat.constant_array(value))
            made = Value(array.nbytes, "weights")
            self.constants[made] = array
            return made
        found = self.values.get(value) if isinstance(value, relax.Var) else None
        if not isinstance(found, Value):
            raise NotStatic(f"a kernel that takes a {type(value).__name__}")
        return found

    def _outputs(self, main: relax.Function) -> list[Value]:
        """The results' values, moved out of the arena: each into the tensor that is returned."""
        result = self._bind(main.body.body)
        outputs = result if isinstance(result, list) else [result]
        if not isinstance(main.ret_ty, relax.TupleType) or not all(isinstance(o, Value) for o in outputs):
            raise NotStatic("results that are no tensors")
        for i, value in enumerate(outputs):
            if value.region != "arena":
                raise NotStatic("an input, a weight or another result as a result")
            value.region = f"output {i}"
            self.arena.remove(value)
        return outputs


def _region(parameter: relax.Var) -> str:
    return f"input {parameter.name}"


def _symbols(main: relax.Function, weights: int) -> set[tirx.Var]:
    """The symbols that are dims of inputs: all others must follow from these."""
    found: set[tirx.Var] = set()
    for p in main.params[: len(main.params) - weights]:
        if isinstance(p.ty, relax.TensorType) and isinstance(p.ty.shape, relax.ShapeExpr):
            found.update(d for d in p.ty.shape.values if isinstance(d, tirx.Var))
    return found


def _tensor(value: relax.Expr) -> bool:
    return isinstance(value.ty, relax.TensorType)


def _sizes(name: str, kernel: tirx.PrimFunc, types: list[relax.TensorType], scalars: list[Any]) -> dict[tirx.Var, Any]:
    """The values of ``compat.direct_sizes(kernel)`` in a call with arguments of these types and these scalars.

    A kernel that the VM calls checks its arguments' shapes, one that is called directly does not: raises Dynamic unless they fit for sure.
    """
    buffers = compat.tensors(kernel)
    others = [p for p in kernel.params if not isinstance(p.ty, tirx.BufferType)]
    if len(buffers) != len(types) or len(others) != len(scalars):
        raise NotStatic(f"the kernel {name}, which takes more than tensors")
    known: dict[tirx.Var, Any] = dict(zip(others, scalars, strict=True))
    for buffer, ty in zip(buffers, types, strict=True):
        for dim, value in zip(buffer.ty.shape, ty.shape.values, strict=True):
            if isinstance(dim, tirx.Var):
                known.setdefault(dim, value)
    wanted = compat.direct_sizes(kernel)
    if any(size not in known for size in wanted):
        raise Dynamic(f"the kernel {name}, which takes any shape")
    for buffer, ty in zip(buffers, types, strict=True):
        for dim, value in zip(buffer.ty.shape, ty.shape.values, strict=True):
            if not equal_sizes(compat.substitute(compat.static(dim), known), compat.static(value)):
                raise Dynamic(f"the kernel {name}, whose arguments may not fit")
    return {size: known[size] for size in wanted}


def equal_sizes(a: Any, b: Any) -> bool:
    """Whether two sizes are the same whatever the symbols are."""
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    atoms: list[Any] = []
    return _terms(a, atoms) == _terms(b, atoms)


def _terms(size: Any, atoms: list[Any]) -> dict[tuple[int, ...], int]:
    """A size multiplied out: products of ``atoms`` (their numbers, sorted), each with how often it is there."""
    if isinstance(size, int | tirx.IntImm):
        return {(): int(size)} if int(size) else {}
    if isinstance(size, tirx.Add | tirx.Sub | tirx.Mul):
        a, b = _terms(size.a, atoms), _terms(size.b, atoms)
        out: dict[tuple[int, ...], int] = {}
        if isinstance(size, tirx.Mul):
            found = [(tuple(sorted(p + q)), m * n) for p, m in a.items() for q, n in b.items()]
        else:
            found = [*a.items(), *((q, -n if isinstance(size, tirx.Sub) else n) for q, n in b.items())]
        for key, count in found:
            out[key] = out.get(key, 0) + count
        return {key: count for key, count in out.items() if count}
    at = next((i for i, atom in enumerate(atoms) if tvm_ffi.structural_equal(atom, size)), len(atoms))
    if at == len(atoms):
        atoms.append(size)
    return {(at,): 1}


# ---- memory -----------------------------------------------------------------------------------------------------------


def share(steps: list[Step], arena: list[Value], operands: dict[Any, list[tuple[int, int]]]) -> list[Step]:
    """The steps with results upon operands that are read there last, where kernels allow that; ``arena`` loses such results.

    ``operands``: kernel → (argument, result that may lie upon it), by their numbers.
    """
    moved: dict[Value, Value] = {}
    out = []
    for n, step in enumerate(steps):
        arguments = [moved.get(value, value) for value in step.arguments]
        pair = next((p for p in operands[step.kernel] if _free(arguments, *p, n)), None)
        if pair is not None:
            under, result = arguments[pair[0]], arguments[pair[1]]
            arena.remove(result)
            under.last = result.last
            moved[result] = arguments[pair[1]] = under
            del arguments[pair[0]]
        out.append(replace(step, arguments=arguments, upon=pair))
    return out


def _free(arguments: list[Value], operand: int, result: int, step: int) -> bool:
    """Whether nobody but one parameter of this step reads the operand any more, and the result is not the caller's."""
    under = arguments[operand]
    return under.region == arguments[result].region == "arena" and under.last == step and arguments.count(under) == 1


def place(values: list[Value]) -> int:
    """Give every value an offset such that no two that live at the same time overlap; returns the bytes needed.

    The biggest first, each at the lowest place that is free during its life.
    """
    placed: list[Value] = []
    top = 0
    for value in sorted(values, key=lambda v: (-v.size, v.first)):
        offset = 0
        for other in placed:  # in the order of their offsets
            if other.last < value.first or value.last < other.first:
                continue
            if offset + value.size <= other.offset:
                break
            offset = max(offset, _aligned(other.offset + other.size))
        value.offset = offset
        top = max(top, offset + value.size)
        at = next((i for i, other in enumerate(placed) if other.offset > offset), len(placed))
        placed.insert(at, value)
    return _aligned(max(top, 1))  # at least one place: a buffer of no bytes has no address


def place_symbolic(values: list[Value]) -> Size:
    """``place`` for sizes that are expressions: which of two is bigger is not known, so each place is as big as all that it ever holds."""
    if not values:
        return ALIGNMENT
    analyzer = sym.Analyzer()
    guessed = {value: _likely(value.size) for value in values}
    places: list[list[Value]] = []
    for value in sorted(values, key=lambda v: (-guessed[v], v.first)):
        free = [held for held in places if all(other.last < value.first or value.last < other.first for other in held)]
        if free:
            free[-1].append(value)  # the smallest
        else:
            places.append([value])
    top: Size = 0
    for held in places:
        for value in held:
            value.offset = top
        sizes: list[Size] = []
        for value in held:
            # not below 0, wherever the inputs are too small for the model: the function refuses them, but has its arena by then
            size = tirx.max(analyzer.simplify(value.size), 0) if isinstance(value.size, ir.Expr) else tirx.const(value.size, "int64")
            if not any(tvm_ffi.structural_equal(size, other) for other in sizes):
                sizes.append(size)
        top = top + _aligned(functools.reduce(tirx.max, sizes))
    return (top + GRAIN) // GRAIN * GRAIN


def _likely(size: Size) -> int:
    if not isinstance(size, ir.Expr):
        return size
    values = {v: tirx.const(LIKELY, str(v.ty.dtype)) for v in compat.variables(size)}
    return int(sym.Analyzer().simplify(compat.substitute(size, values)))


def _aligned(size: Size) -> Size:
    return (size + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT


# ---- the function -----------------------------------------------------------------------------------------------------


def _assemble(mod: tvm.IRModule, layout: Layout, weights: Weights) -> tvm.IRModule:
    main, kernels = mod["main"], callees(mod, layout.steps)
    own = {v: tirx.Var(v.name, str(v.ty.dtype)) for v in layout.symbols}  # the function's own symbols

    def named(size: Any) -> Any:
        return compat.substitute(size, own)

    parameters: dict[str, tirx.Buffer] = {}
    for p in layout.inputs:
        parameters[_region(p)] = _buffer(p.name, p.ty, named)
    parameters["weights"] = compat.byte_buffer("weights", weights.arrays[0].nbytes)
    for i, ty in enumerate(layout.outputs):
        parameters[f"output {i}"] = _buffer(f"output_{i}", ty, named)
    parameters["arena"] = compat.byte_buffer("arena", tirx.Var("arena_bytes", "int64") if layout.symbols else layout.arena)
    body: list[tirx.Stmt] = []
    names: list[tuple[Any, tirx.Var]] = []

    def once(size: Any, name: str) -> Any:
        """An expression computed once, at the first use."""
        if isinstance(size, int | tirx.IntImm | tirx.Var):
            return named(size)
        for known, var in names:
            if tvm_ffi.structural_equal(known, size):
                return var
        names.append((size, tirx.Var(f"{name}_{len(names)}", str(size.ty.dtype))))
        body.append(tirx.Bind(names[-1][1], named(size)))
        return names[-1][1]

    for dim in layout.dims:
        body.append(compat.assertion(named(dim) >= 0, f"an input is too small: {dim} is a size, and would be below 0"))
    for step in layout.steps:
        callee, function = kernels[step.kernel, step.upon]
        buffers = compat.tensors(function)
        pointers = [
            compat.buffer_pointer(parameters[v.region], once(v.offset, "offset"), str(p.ty.dtype))
            for v, p in zip(step.arguments, buffers, strict=True)
        ]
        sizes = [once(step.sizes[size], "size") for size in compat.direct_sizes(function)]
        body.append(compat.direct_call(callee, pointers + sizes))
    forward = tirx.PrimFunc(list(parameters.values()), tirx.SeqStmt(body) if len(body) != 1 else body[0])
    forward = forward.with_attrs({"global_symbol": ENTRY, "tirx.noalias": True})
    new = {callee: compat.direct_callee(function) for callee, function in kernels.values()}
    called = {step.kernel for step in layout.steps}
    new |= {gv: f for gv, f in mod.functions.items() if gv.name_hint != "main" and gv not in called}
    bb = relax.BlockBuilder(tvm.IRModule(new, attrs=mod.attrs, global_infos=mod.global_infos))
    entry = bb.add_func(forward, ENTRY)
    blob = relax.Var("weights", weights.types[0])
    with bb.function("main", [*layout.inputs, blob], attrs=dict(main.attrs.items()) if main.attrs else None):
        types = [*layout.outputs, relax.TensorType((layout.arena,), "uint8")]
        with bb.dataflow():
            made = bb.emit(relax.call_tir(entry, relax.Tuple([*layout.inputs, blob]), types))
            results = [bb.emit_output(relax.TupleGetItem(made, i)) for i in range(len(layout.outputs))]
        bb.emit_func_output(relax.Tuple(results))
    return bb.get()


def _buffer(name: str, ty: relax.TensorType, named: Callable[[Any], Any]) -> tirx.Buffer:
    return tirx.decl_buffer([named(compat.static(d)) for d in ty.shape.values], str(ty.dtype), name)
