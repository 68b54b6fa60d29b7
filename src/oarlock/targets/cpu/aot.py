"""Ahead-of-time executor: a model of static shapes as one native function over one arena, instead of a VM program.

Before: ``main(x, weight_0, …)`` is a sequence of ``call_tir``.  After: ``main(x, weights)`` is one ``call_tir`` of a function that
calls every kernel directly with pointers: into the inputs, the outputs, one block of weights, and one arena that all
intermediate tensors share by their lifetimes.  The VM makes a tensor object for each result and checks every argument; here
neither is needed, and loading a model makes one tensor of weights.

Models that this cannot say (symbolic dims, control flow, library calls) stay VM programs; ``NotStatic`` says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from ... import compat
from ...rules.weights import Weights

ALIGNMENT = 64
ENTRY = "forward"


class NotStatic(Exception):
    """Why a module cannot be one function; the message ends "main has …"."""


class Dynamic(NotStatic):
    """It has sizes that are known only at run time, as many models have."""


@dataclass(eq=False)
class Value:
    """The memory of one tensor: ``size`` bytes at ``offset`` in ``region`` (an input's or output's name, "weights" or "arena").

    ``first`` and ``last``: the steps that make it and that read it last.
    """

    size: int
    region: str = "arena"
    offset: int = 0
    first: int = 0
    last: int = 0


@dataclass(frozen=True)
class Step:
    kernel: tvm.ir.GlobalVar
    arguments: list[Value]


def compile_ahead(mod: tvm.IRModule, weights: Weights) -> tvm.IRModule:
    """The module with ``main`` as one kernel; ``weights`` becomes one array of bytes.  Raises NotStatic."""
    main = mod["main"]
    plan = _Plan(main, weights)
    kernels = {step.kernel: mod[step.kernel] for step in plan.steps}
    for gv, function in kernels.items():
        _check_kernel(gv.name_hint, function)
    arena = place(plan.arena)
    offsets = weights.pack(list(plan.constants.values()), ALIGNMENT)
    for value, offset in zip([*plan.weights, *plan.constants], offsets, strict=True):
        value.offset = offset
    return _assemble(mod, main, plan, kernels, arena, weights)


# ---- what main does ---------------------------------------------------------------------------------------------------


class _Plan:
    """The steps of ``main`` and the memory that each touches."""

    def __init__(self, main: relax.Function, weights: Weights) -> None:
        self.steps: list[Step] = []
        self.arena: list[Value] = []
        self.constants: dict[Value, np.ndarray] = {}  # small ones that were not lifted
        self.values: dict[relax.Var, Any] = {}  # a Value, or a list of them for a tuple
        count = len(main.params) - len(weights.arrays)
        self.inputs = list(main.params[:count])
        for p in self.inputs:
            self.values[p] = Value(_bytes(p.ty), _region(p))
        self.weights = [Value(_bytes(p.ty), "weights") for p in main.params[count:]]
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
        if isinstance(value, relax.Var | compat.Constant):
            return self._read(value)
        if isinstance(value, relax.Tuple):
            return [self._bind(f) for f in value.fields]
        if isinstance(value, relax.TupleGetItem):
            return self._bind(value.tuple_value)[int(value.index)]
        if isinstance(value, relax.Call):
            name = getattr(value.op, "name", getattr(value.op, "name_hint", "a function"))
            if name == "relax.reshape":
                return self._read(value.args[0])
            if name == "relax.call_tir":
                return self._call(value)
            raise NotStatic(f"a call of {name.removeprefix('relax.')}")
        raise NotStatic(f"a {type(value).__name__}")

    def _call(self, call: relax.Call) -> Any:
        if len(call.args) > 2:
            raise Dynamic("kernels with sizes as arguments")
        arguments = [self._read(a) for a in call.args[1].fields]
        types = call.ty_args[0]
        fields = list(types.fields) if isinstance(types, relax.TupleType) else [types]
        made = [Value(_bytes(t), first=len(self.steps), last=len(self.steps)) for t in fields]
        self.arena += made
        for value in arguments:
            value.last = len(self.steps)
        self.steps.append(Step(call.args[0], arguments + made))
        return made if isinstance(types, relax.TupleType) else made[0]

    def _read(self, value: relax.Expr) -> Value:
        if isinstance(value, compat.Constant):
            array = compat.constant_array(value)
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


def _bytes(ty: relax.Type) -> int:
    if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
        raise NotStatic("values that are no tensors of known shape")
    dims = [d for d in map(compat.static, ty.shape.values) if isinstance(d, int)]
    if len(dims) < len(ty.shape.values):
        raise Dynamic("symbolic dims")
    return math.prod(dims) * ((tvm.DataType(str(ty.dtype)).bits + 7) // 8)


def _check_kernel(name: str, function: tirx.PrimFunc) -> None:
    for p in function.params:
        if not isinstance(p.ty, tirx.BufferType):
            raise NotStatic(f"the kernel {name}, which takes more than tensors")
        if not all(isinstance(compat.static(d), int) for d in p.ty.shape):
            raise Dynamic(f"the kernel {name}, which takes any shape")


# ---- memory -----------------------------------------------------------------------------------------------------------


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


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


# ---- the function -----------------------------------------------------------------------------------------------------


def _assemble(
    mod: tvm.IRModule, main: relax.Function, plan: _Plan, kernels: dict[Any, tirx.PrimFunc], arena: int, weights: Weights
) -> tvm.IRModule:
    inner = {gv: tvm.ir.GlobalVar(gv.name_hint) for gv in kernels}
    parameters: dict[str, tirx.Buffer] = {}
    for p in plan.inputs:
        parameters[_region(p)] = _buffer(p.name, p.ty)
    parameters["weights"] = compat.byte_buffer("weights", weights.arrays[0].nbytes)
    for i, ty in enumerate(main.ret_ty.fields):
        parameters[f"output {i}"] = _buffer(f"output_{i}", ty)
    parameters["arena"] = compat.byte_buffer("arena", arena)
    calls = []
    for step in plan.steps:
        function = kernels[step.kernel]
        pointers = [
            compat.buffer_pointer(parameters[v.region], v.offset, str(p.ty.dtype))
            for v, p in zip(step.arguments, function.params, strict=True)
        ]
        calls.append(compat.direct_call(inner[step.kernel], pointers))
    forward = tirx.PrimFunc(list(parameters.values()), tirx.SeqStmt(calls) if len(calls) != 1 else calls[0])
    forward = forward.with_attrs({"global_symbol": ENTRY, "tirx.noalias": True})
    new = {inner[gv]: compat.direct_callee(function) for gv, function in kernels.items()}
    new |= {gv: f for gv, f in mod.functions.items() if gv.name_hint != "main" and gv not in kernels}
    bb = relax.BlockBuilder(tvm.IRModule(new, attrs=mod.attrs, global_infos=mod.global_infos))
    entry = bb.add_func(forward, ENTRY)
    blob = relax.Var("weights", weights.types[0])
    with bb.function("main", [*plan.inputs, blob], attrs=dict(main.attrs.items()) if main.attrs else None):
        types = [*main.ret_ty.fields, relax.TensorType((arena,), "uint8")]
        with bb.dataflow():
            made = bb.emit(relax.call_tir(entry, relax.Tuple([*plan.inputs, blob]), types))
            results = [bb.emit_output(relax.TupleGetItem(made, i)) for i in range(len(plan.outputs))]
        bb.emit_func_output(relax.Tuple(results))
    return bb.get()


def _buffer(name: str, ty: relax.TensorType) -> tirx.Buffer:
    return tirx.decl_buffer([int(d) for d in ty.shape.values], str(ty.dtype), name)
