"""The program: what the runtime runs where a plan of fixed places will not do (dynamic sizes, control flow).

JSON, in the module's custom section ``oarlock.plan``, with ``kind`` "program"; ``web/src/program.ts`` has it as types::

    weights      bytes of the block that all constants lie in
    constants    [[offset, bytes of an element, dims…], …]
    kernels      [{export, name, sizes, checks?, schedule?, …}], by number
    functions    [{registers, symbols, parameters, body}]; the first is main

A function keeps tensors and shapes in *registers*, and sizes that are known only at run time in *symbols*.  Tuples are flat: a function
takes and gives as many registers as its types have leaves.  An operand is a register, or −1 − n for constant n.  A size is a number,
``[symbol]`` or ``[operator, size, …]``.  Memory is given back by the instruction ``drop``, right after the last reader.

A body is ``[instructions, results, what is dropped at its end]``; the instructions::

    ["kernel", kernel, operands, results, [[bytes of an element, dims…], …], scalars]
    ["call", function, operands, results, dropped]         dropped: before the function runs, so that it owns what nobody else reads
    ["loop", function, state, places, captured, results, dropped]     while state[0]: state = function(…); a place ≥ 0 is one of the
                                                           state, −1 − n one of the captured
    ["if", operand, body, body, results]
    ["view", operand, result, dims]   ["reshape", operand, result, operand of a shape]
    ["shape", result, dims]           ["read", operand, result, "int64" or "int32"]         a tensor's elements as a shape
    ["match", operand, rank or −1, [[axis, symbol], …], [[axis, size], …]]                  binds symbols, and checks
    ["drop", registers]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx

from ... import compat
from ...errors import InternalError, UnsupportedError
from ...importer.control import LOOP
from ...rules.weights import Weights
from ..cpu.aot import ALIGNMENT, equal_sizes
from .plan import PLAN, facts_of

VERSION = 2  # of sections that hold a program: runtimes that know none say so
_BINARY = {
    "Add": "+", "Sub": "-", "Mul": "*", "FloorDiv": "//", "FloorMod": "%", "Div": "/", "Mod": "rem", "Min": "min", "Max": "max",
    "EQ": "==", "NE": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">=", "And": "and", "Or": "or",
}  # fmt: skip
_CALLS = {"if_then_else": "if", "shift_left": "<<", "shift_right": ">>"}
_TO_SHAPE = ("relax.tensor_to_shape", "vm.builtin.tensor_to_shape")
Size = Any  # a number, [symbol] or [operator, size, …]


def program_of(mod: tvm.IRModule, weights: Weights) -> tvm.IRModule:
    """The kernels of the module as functions of pointers and sizes, named as they are exported, with the program as attribute PLAN.

    ``weights`` becomes one array of bytes.  Raises UnsupportedError that names all that the runtime has nothing for.
    """
    made = _Program(mod, weights)
    made.function(mod.get_global_var("main"))
    if made.refused:
        lines = "\n".join(f"    {what}" for what in dict.fromkeys(made.refused))
        raise UnsupportedError(f"the web runtime cannot run this model: it has nothing for\n{lines}", where="target web")
    offsets = weights.pack(made.constants, ALIGNMENT)
    constants = [[offset, *ty] for offset, ty in zip(offsets, made.types, strict=True)]
    kernels = [kernel.entry() for kernel in made.kernels.values()]
    program = {"version": VERSION, "kind": "program", "weights": weights.arrays[0].nbytes, "constants": constants}
    program |= {"kernels": kernels, "functions": made.functions}
    functions = {tvm.ir.GlobalVar(kernel.export): compat.direct_callee(kernel.function) for kernel in made.kernels.values()}
    return tvm.IRModule(functions).with_attr(PLAN, json.dumps(program, separators=(",", ":")))


class _Refused(Exception):
    """Something that has no counterpart in a program."""


class _Kernel:
    """A kernel and how its sizes follow from what it is called with."""

    def __init__(self, function: tirx.PrimFunc, number: int, name: str) -> None:
        self.function, self.number, self.export, self.name = function, number, f"k{number}", name
        self.buffers = compat.tensors(function)
        self.scalars = [p for p in function.params if not isinstance(p.ty, tirx.BufferType)]
        if called := compat.packed_calls(function):
            raise _Refused(f"{', '.join(sorted(called))}, which the kernel {name} calls")
        if any(str(p.ty) != "int64" for p in self.scalars):
            raise _Refused(f"the kernel {name}, which takes a scalar that is no int64")
        places: dict[Any, list[int]] = {p: [i] for i, p in enumerate(self.scalars)}
        for i, buffer in enumerate(self.buffers):
            for axis, dim in enumerate(buffer.ty.shape):
                if isinstance(dim, tirx.Var):
                    places.setdefault(dim, [i, axis])
        self.order = compat.direct_sizes(function)
        if missing := [size.name for size in self.order if size not in places]:
            raise _Refused(f"the kernel {name}, whose size {missing[0]} follows from nothing that it is given")
        self.sizes = [places[size] for size in self.order]
        self.checks: dict[tuple[int, int], Size] = {}

    def check(self, types: Sequence[relax.TensorType], scalars: Sequence[Any]) -> None:
        """Note which dims of the arguments must be checked at run time for a call with arguments of these types.

        All of an argument whose shape nothing tells (it left a branch): the kernel's sizes are what it has then.
        """
        for buffer, ty in zip(self.buffers, types, strict=True):
            if len(buffer.ty.shape) != ty.ndim:
                raise _Refused(f"the kernel {self.name} on a tensor of rank {ty.ndim}")
        shapes = [_dims(ty) or [None] * ty.ndim for ty in types]
        known = dict(zip(self.scalars, scalars, strict=True))
        for size, place in zip(self.order, self.sizes, strict=True):
            if len(place) == 2 and (value := shapes[place[0]][place[1]]) is not None:
                known[size] = value
        number = {size: [i] for i, size in enumerate(self.order)}
        for i, (buffer, dims) in enumerate(zip(self.buffers, shapes, strict=True)):
            for axis, (dim, value) in enumerate(zip(buffer.ty.shape, dims, strict=True)):
                if value is None or not equal_sizes(compat.substitute(compat.static(dim), known), compat.static(value)):
                    self.checks[i, axis] = _size(dim, number.__getitem__)

    def entry(self) -> dict[str, Any]:
        checks = {"checks": [[*place, size] for place, size in self.checks.items()]} if self.checks else {}
        return {"export": self.export, "name": self.name, "sizes": self.sizes} | checks | facts_of(self.function)


@dataclass
class _Instruction:
    """``made``: registers that it fills.  ``read``: registers that it reads.  ``owned``: where a call keeps what it drops itself."""

    code: list[Any]
    made: list[int] = field(default_factory=list)
    read: set[int] = field(default_factory=set)
    owned: int | None = None


class _Program:
    """Functions, kernels and constants as they are found, from main on."""

    def __init__(self, mod: tvm.IRModule, weights: Weights) -> None:
        self.mod, self.weights = mod, weights
        self.numbers: dict[str, int] = {}
        self.functions: list[Any] = []
        self.kernels: dict[str, _Kernel] = {}
        self.constants: list[np.ndarray] = []  # beside the weights
        self.types = [[array.itemsize, *array.shape] for array in weights.arrays]
        self.refused: list[str] = []

    def function(self, gv: relax.GlobalVar) -> int:
        if gv.name_hint not in self.numbers:
            number = self.numbers[gv.name_hint] = len(self.functions)
            self.functions.append(None)
            self.functions[number] = _Function(self, self.mod[gv], gv.name_hint == "main").json
        return self.numbers[gv.name_hint]

    def kernel(self, gv: relax.GlobalVar) -> _Kernel:
        if gv.name_hint not in self.kernels:
            self.kernels[gv.name_hint] = _Kernel(self.mod[gv], len(self.kernels), gv.name_hint)
        return self.kernels[gv.name_hint]

    def constant(self, array: np.ndarray) -> int:
        self.constants.append(array)
        self.types.append([array.itemsize, *array.shape])
        return -len(self.types)

    def loop(self, gv: relax.GlobalVar) -> _Loop | None:
        """What a function that the importer made of a loop repeats; None where it cannot be seen any more."""
        function = self.mod[gv]
        if LOOP not in (function.attrs or {}):
            return None
        found = _repeated(function)
        if found and LOOP in (self.mod[found.body].attrs or {}):
            below = self.loop(found.body)
            return found.upon(below) if below else None
        return found


@dataclass(frozen=True)
class _Loop:
    """``while state[0]: state = body(arguments)``; both are numbers of parameters of the function that stands for the loop."""

    body: relax.GlobalVar
    state: tuple[int, ...]
    arguments: tuple[int, ...]

    def upon(self, below: _Loop) -> _Loop | None:
        """The loop whose body is a loop: a level of the importer's tower, where both have the same state."""
        if tuple(self.arguments[n] for n in below.state) != self.state:
            return None
        return _Loop(below.body, self.state, tuple(self.arguments[n] for n in below.arguments))


def _repeated(function: relax.Function) -> _Loop | None:
    """What the first step of a level of the importer's tower is: if condition: state = body(…)."""
    parameter = {p: n for n, p in enumerate(function.params)}
    bindings = [b for block in function.body.blocks for b in block.bindings]
    choice = next((b.value for b in bindings if isinstance(b, relax.VarBinding) and isinstance(b.value, relax.If)), None)
    if choice is None:
        return None
    try:
        _, same = _last(choice.false_branch)
        called, _ = _last(choice.true_branch)
        if not isinstance(same, relax.Tuple) or not isinstance(called, relax.Call) or not isinstance(called.op, relax.GlobalVar):
            return None
        state = tuple(parameter[f] for f in same.fields)
        arguments = tuple(parameter[a] for a in called.args)
        return _Loop(called.op, state, arguments) if state[0] == parameter[choice.cond] else None
    except KeyError:
        return None


def _last(branch: relax.SeqExpr) -> tuple[Any, Any]:
    """The one call of a branch, and the expression that it gives."""
    values = {b.var: b.value for block in branch.blocks for b in block.bindings}
    calls = [v for v in values.values() if isinstance(v, relax.Call)]
    given = branch.body
    while isinstance(given, relax.Var) and given in values:
        given = values[given]
    return (calls[0] if len(calls) == 1 else None), given


class _Function:
    """One function, translated; ``values``: what Relax variables are: an operand, or a list of these for a tuple."""

    def __init__(self, program: _Program, function: relax.Function, main: bool) -> None:
        self.program = program
        self.values: dict[relax.Var, Any] = {}
        self.symbols: dict[tirx.Var, int] = {}
        self.registers = self.bound = 0
        self.code: list[_Instruction] = []
        lifted = len(program.weights.arrays) if main else 0
        given = len(function.params) - lifted
        for p in function.params[:given]:
            self.values[p] = self._fresh(p.ty)
        for n, p in enumerate(function.params[given:]):
            self.values[p] = -1 - n  # main's weights are constants
        parameters = _flat([self.values[p] for p in function.params[:given]])
        checks: list[Any] = []
        for p in function.params[:given]:  # a dim may be said in terms of a symbol that a later parameter binds
            self._match(self.values[p], p.ty, checks)
        self._emit_matches(checks)
        results = self._sequence(function.body)
        body = self._finished(self.code, results, parameters)
        self.json = {"registers": self.registers, "symbols": self.bound, "parameters": parameters, "body": body}

    # ---- values ----

    def _fresh(self, ty: relax.Type) -> Any:
        if isinstance(ty, relax.TupleType):
            return [self._fresh(f) for f in ty.fields]
        if not isinstance(ty, relax.TensorType | relax.ShapeType):
            raise _Refused(f"values of type {ty}")
        self.registers += 1
        return self.registers - 1

    def _operand(self, value: relax.Expr) -> Any:
        """A variable, a constant, a shape or a tuple as operands."""
        if isinstance(value, relax.Var):
            return self.values[value]
        if isinstance(value, compat.Constant):
            return self.program.constant(compat.constant_array(value))
        if isinstance(value, relax.Tuple):
            return [self._operand(f) for f in value.fields]
        if isinstance(value, relax.ShapeExpr):
            self.registers += 1
            return self._emit(["shape", self.registers - 1, self._sizes(value.values)], [self.registers - 1], [])
        raise _Refused(f"a {type(value).__name__} as an operand")

    def _sizes(self, dims: Sequence[Any]) -> list[Size]:
        return [_size(d, self._symbol) for d in dims]

    def _symbol(self, var: tirx.Var) -> list[int]:
        if var not in self.symbols:
            raise InternalError(f"the size {var.name} is used before it is known")
        return [self.symbols[var]]

    # ---- instructions ----

    def _emit(self, code: list[Any], made: list[int], read: Sequence[int], owned: int | None = None) -> int:
        self.code.append(_Instruction(code, made, {r for r in read if r >= 0}, owned))
        return made[0] if made else -1

    def _sequence(self, sequence: relax.Expr) -> list[int]:
        if not isinstance(sequence, relax.SeqExpr):
            return _flat(self._operand(sequence))
        for block in sequence.blocks:
            for binding in block.bindings:
                try:
                    if isinstance(binding, relax.MatchCast):
                        self.values[binding.var] = self._bind(binding.value)
                        checks: list[Any] = []
                        self._match(self.values[binding.var], binding.ty, checks, binding.value.ty)
                        self._emit_matches(checks)
                    else:
                        self.values[binding.var] = self._bind(binding.value)
                except _Refused as reason:
                    self.program.refused.append(str(reason))
                    self.values[binding.var] = self._placeholder(binding.var.ty)
        return _flat(self._operand(sequence.body))

    def _placeholder(self, ty: relax.Type) -> Any:
        """Registers that nothing fills, so that what comes after a refusal is looked at too."""
        try:
            return self._fresh(ty)
        except _Refused:
            return self.registers - 1

    def _bind(self, value: relax.Expr) -> Any:
        if isinstance(value, relax.TupleGetItem):
            return self._operand(value.tuple_value)[int(value.index)]
        if isinstance(value, relax.If):
            return self._if(value)
        if isinstance(value, relax.Call):
            return self._call(value)
        return self._operand(value)

    def _if(self, choice: relax.If) -> Any:
        outer, bodies = self.code, []
        for branch in (choice.true_branch, choice.false_branch):
            known = dict(self.symbols)  # what a branch binds is known in it alone
            self.code = []
            results = self._sequence(branch)
            used = {r for i in self.code for r in i.read} | {r for r in results if r >= 0}
            bodies.append((self._finished(self.code, results, []), used))
            self.symbols = known
        self.code = outer
        made = self._fresh(choice.ty)
        condition = self._operand(choice.cond)
        read = [condition, *bodies[0][1], *bodies[1][1]]
        self._emit(["if", condition, bodies[0][0], bodies[1][0], _flat(made)], _flat(made), read)
        return made

    def _call(self, call: relax.Call) -> Any:
        name = getattr(call.op, "name", "")
        arguments = list(call.args)
        if isinstance(call.op, relax.ExternFunc):
            name = str(call.op.global_symbol)
        elif name == "relax.call_pure_packed":
            name, arguments = str(call.args[0].global_symbol), arguments[1:]
        if isinstance(call.op, relax.GlobalVar):
            return self._call_function(call)
        if name == "relax.call_tir":
            return self._call_kernel(call)
        if name in _TO_SHAPE:
            source, made = self._operand(arguments[0]), self._fresh(call.ty)
            dtype = str(arguments[0].ty.dtype)
            if dtype not in ("int64", "int32"):
                raise _Refused(f"sizes that are elements of {dtype}")
            self._emit(["read", source, made, dtype], [made], [source])
            return made
        if name == "relax.reshape":
            source, made = self._operand(arguments[0]), self._fresh(call.ty)
            if isinstance(arguments[1], relax.ShapeExpr):
                self._emit(["view", source, made, self._sizes(arguments[1].values)], [made], [source])
            else:
                shape = self._operand(arguments[1])
                self._emit(["reshape", source, made, shape], [made], [source, shape])
            return made
        raise _Refused(f"calls of {name.removeprefix('relax.')}")

    def _call_kernel(self, call: relax.Call) -> Any:
        gv, fields = call.args[0], list(call.args[1].fields)
        kernel = self.program.kernel(gv)
        types = list(call.ty_args[0].fields) if isinstance(call.ty_args[0], relax.TupleType) else [call.ty_args[0]]
        tensors = [f for f in fields if isinstance(f.ty, relax.TensorType)]
        scalars = [f for f in fields if not isinstance(f.ty, relax.TensorType)] + (list(call.args[2].values) if len(call.args) > 2 else [])
        every = [*(t.ty for t in tensors), *types]
        # the results must be allocated; operands have their shapes with them
        if not all(isinstance(ty, relax.TensorType) for ty in every) or not all(isinstance(ty.shape, relax.ShapeExpr) for ty in types):
            raise _Refused(f"the kernel {gv.name_hint} on tensors of unknown shape")
        if len(every) != len(kernel.buffers) or len(scalars) != len(kernel.scalars):
            raise _Refused(f"the kernel {gv.name_hint}, which takes more than tensors and sizes")
        kernel.check(every, scalars)
        operands = [self._operand(t) for t in tensors]
        made = self._fresh(call.ty)
        results = [[_width(ty), *self._sizes(ty.shape.values)] for ty in types]
        self._emit(["kernel", kernel.number, operands, _flat(made), results, self._sizes(scalars)], _flat(made), operands)
        return made

    def _call_function(self, call: relax.Call) -> Any:
        operands = [self._operand(a) for a in call.args]
        made = self._fresh(call.ty)
        loop = self.program.loop(call.op)
        # a carried value that is a tuple would need as many places as it has leaves: the importer makes none
        if loop is None or any(isinstance(o, list) for o in operands):
            flat = _flat(operands)
            self._emit(["call", self.program.function(call.op), flat, _flat(made), []], _flat(made), flat, 4)
            return made
        outside = [n for n in dict.fromkeys(loop.arguments) if n not in loop.state]
        places = [loop.state.index(n) if n in loop.state else -1 - outside.index(n) for n in loop.arguments]
        state, captured = [operands[n] for n in loop.state], [operands[n] for n in outside]
        code = ["loop", self.program.function(loop.body), state, places, captured, _flat(made), []]
        self._emit(code, _flat(made), [*state, *captured], 6)
        return made

    # ---- symbols ----

    def _match(self, operand: Any, ty: relax.Type, checks: list[Any], known: relax.Type | None = None) -> None:
        """Bind the symbols in a type to the dims of a value, and put the other dims into ``checks``; ``known``: the type it has anyway."""
        if isinstance(ty, relax.TupleType):
            for n, (part, own) in enumerate(zip(operand, ty.fields, strict=True)):
                self._match(part, own, checks, known.fields[n] if isinstance(known, relax.TupleType) else None)
            return
        dims = _dims(ty)
        if dims is None:
            return
        sure = _dims(known) if known is not None else None
        binds, rest = [], []
        for axis, dim in enumerate(dims):
            if isinstance(dim, tirx.Var) and dim not in self.symbols:
                self.symbols[dim] = self.bound
                self.bound += 1
                binds.append([axis, self.symbols[dim]])
            elif sure is None or not equal_sizes(compat.static(dim), compat.static(sure[axis])):
                rest.append((axis, dim))
        if binds or rest:
            checks.append((operand, len(dims) if sure is None else -1, binds, rest))

    def _emit_matches(self, checks: list[Any]) -> None:
        for operand, rank, binds, _ in checks:
            if binds:
                self._emit(["match", operand, rank, binds, []], [], [operand])
        for operand, rank, binds, rest in checks:
            # a dim of symbols that nothing binds says nothing
            sizes = [[axis, _size(dim, self._symbol)] for axis, dim in rest if compat.variables(dim) <= set(self.symbols)]
            if sizes:
                self._emit(["match", operand, -1 if binds else rank, [], sizes], [], [operand])

    # ---- memory ----

    def _finished(self, code: list[_Instruction], results: list[int], parameters: list[int]) -> list[Any]:
        """The instructions with what is dropped after each, for registers that belong to this body."""
        mine = {*parameters, *(r for i in code for r in i.made)}
        kept = {r for r in results if r in mine}
        last: dict[int, int] = dict.fromkeys(parameters, -1)
        for n, instruction in enumerate(code):
            for r in (*instruction.made, *(instruction.read & mine)):
                last[r] = n
        out: list[Any] = []
        dead = [r for r, n in last.items() if n < 0 and r not in kept]
        if dead:
            out.append(["drop", dead])
        for n, instruction in enumerate(code):
            dead = [r for r, at in last.items() if at == n and r not in kept]
            if instruction.owned is not None:
                own = [r for r in dead if r not in instruction.made]
                instruction.code[instruction.owned] = own
                dead = [r for r in dead if r in instruction.made]
            out.append(instruction.code)
            if dead:
                out.append(["drop", dead])
        return [out, results, sorted(kept)]


def _flat(value: Any) -> list[int]:
    return [leaf for v in value for leaf in _flat(v)] if isinstance(value, list) else [value]


def _dims(ty: relax.Type | None) -> list[Any] | None:
    """The dims of a tensor's or a shape's type, where it has them."""
    if isinstance(ty, relax.TensorType) and isinstance(ty.shape, relax.ShapeExpr):
        return list(ty.shape.values)
    return list(ty.values) if isinstance(ty, relax.ShapeType) and ty.values is not None else None


def _width(ty: relax.TensorType) -> int:
    return int((tvm.DataType(str(ty.dtype)).bits + 7) // 8)


def _size(dim: Any, symbol: Callable[[tirx.Var], list[int]]) -> Size:
    """An expression of sizes as JSON.  Raises _Refused."""
    if isinstance(dim, int | tirx.IntImm):
        return int(dim)
    if isinstance(dim, tirx.Var):
        return symbol(dim)
    if isinstance(dim, tirx.Cast):
        return _size(dim.value, symbol)
    if isinstance(dim, tirx.Not):
        return ["not", _size(dim.a, symbol)]
    if isinstance(dim, tirx.Select):
        return ["if", *(_size(d, symbol) for d in (dim.condition, dim.true_value, dim.false_value))]
    if isinstance(dim, relax.Call) and (name := getattr(dim.op, "name", "").rpartition(".")[2]) in _CALLS:
        return [_CALLS[name], *(_size(d, symbol) for d in dim.args)]
    if operator := _BINARY.get(type(dim).__name__):
        return [operator, _size(dim.a, symbol), _size(dim.b, symbol)]
    raise _Refused(f"sizes like {dim}")
