"""A lowered program (after StaticPlanBlockMemory) as what it keeps in memory: tensors with their lives, and kernels with what they move.

Time is counted in bindings of ``main``; what loops and branches inside it do lies in functions and blocks of their own, which are not
looked into: a tensor that they read lives until after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from oarlock import compat
from oarlock.rules.origins import result

from ..chips import Chip
from ..compiler.rewrite import calls_of
from .traffic import Work, plain, work_of
from .view import View

ALIGNMENT = 256  # of the runtime's allocations
INPUT, OUTPUT, WEIGHT, DYNAMIC, HOST = "input", "output", "weight", "dynamic", "host"
VALUE = "value"  # a result of a kernel that others read: what StaticPlanBlockMemory gave a place


@dataclass(eq=False)
class Tensor:
    """``kind``: one of the above.  ``first``, ``last``: the kernels (numbers) that are the first and the last to touch it.

    ``var``: what the program calls its memory.  ``operation``: of the model, whose result it is; ``weight``: its number among the
    weights.  ``name``: what people call it.
    """

    var: Any
    kind: str
    bytes: int
    operation: tuple[int, int] | None = None
    weight: int | None = None
    first: int = -1
    last: int = -1
    name: str = ""
    layers: list[str] = field(default_factory=list)
    read: float = 0.0
    written: float = 0.0

    @property
    def size(self) -> int:
        """Bytes that it takes in a memory."""
        return -(-max(self.bytes, 1) // ALIGNMENT) * ALIGNMENT


@dataclass(eq=False)
class Kernel:
    """One call: what it is called in the program, the binding that calls it, its tensors with the bytes that it moves of each."""

    name: str
    binding: int
    work: Work
    moves: dict[int, float] = field(default_factory=dict)  # number of a tensor → bytes
    writes: set[int] = field(default_factory=set)
    layer: str = ""
    host: bool = False
    known: bool = True  # sizes are, when the model is compiled


@dataclass
class Program:
    tensors: list[Tensor]
    kernels: list[Kernel]


def program_of(mod: tvm.IRModule, weights: int, chip: Chip, operations: Sequence[tuple[str, str]] = ()) -> Program:
    """``weights``: how many of main's last parameters are weights; ``operations``: operator and name of each of the model's."""
    return _Reader(mod, weights, chip, operations).program


class _Reader:
    def __init__(self, mod: tvm.IRModule, weights: int, chip: Chip, operations: Sequence[tuple[str, str]]) -> None:
        self.mod, self.chip, self.operations = mod, chip, operations
        self.calls = calls_of(mod)
        self.tensors: list[Tensor] = []
        self.kernels: list[Kernel] = []
        self.of: dict[Any, tuple[int, ...]] = {}  # variable → the tensors whose memory it may be
        self.seen: set[int] = set()
        main = mod["main"]
        inputs = len(main.params) - weights
        for place, parameter in enumerate(main.params):
            size = _bytes(parameter.ty)
            kind = INPUT if place < inputs else WEIGHT
            self._add(parameter, Tensor(parameter, kind, size or 0, weight=place - inputs if place >= inputs else None))
        for at, binding in enumerate(_bindings(main)):
            self._read(at, binding)
        for var in _variables(main.body.body):
            for tensor in self.of.get(var, ()):
                if self.tensors[tensor].kind == DYNAMIC:
                    self.tensors[tensor].kind = OUTPUT
        self._names()
        self.program = Program(self.tensors, self.kernels)

    def _add(self, var: Any, tensor: Tensor) -> None:
        self.of[var] = (len(self.tensors),)
        self.tensors.append(tensor)

    def _read(self, at: int, binding: relax.Binding) -> None:
        value = binding.value
        op = str(getattr(getattr(value, "op", None), "name", "")) if isinstance(value, relax.Call) else ""
        if op == "relax.memory.alloc_tensor":
            here = len(value.args) < 5 or compat.static(value.args[4]) == 0
            size = _bytes(value.ty)
            self._add(binding.var, Tensor(binding.var, HOST if not here else DYNAMIC if size is None else VALUE, size or 0))
            return
        if op == "relax.builtin.alloc_tensor":
            self._add(binding.var, Tensor(binding.var, DYNAMIC, _bytes(value.ty) or 0))
            return
        if op.startswith("relax.memory."):
            return
        kernel = _called(value, self.mod)
        if kernel:
            self._kernel(at, kernel, value)
            if isinstance(binding.var.ty, relax.TensorType | relax.TupleType) and isinstance(value.op, relax.ExternFunc):
                # what a function returns may lie in what it was given
                self.of[binding.var] = tuple(self.kernels[-1].moves)
            return
        touched = tuple(dict.fromkeys(t for var in _variables(value) for t in self.of.get(var, ())))
        if touched:
            # another name, a view, a tuple, or a call of a function of the program: it may give what it gets
            self.of[binding.var] = touched
            self._touch(touched)
            found = result(binding.var.name)
            if len(touched) == 1 and found is not None:
                tensor = self.tensors[touched[0]]
                tensor.operation = tensor.operation or found
            if isinstance(value, relax.If) or (isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.GlobalVar)):
                for t in touched:
                    self.tensors[t].last = len(self.kernels)  # until the next kernel starts

    def _touch(self, tensors: Sequence[int]) -> None:
        for tensor in tensors:
            self.tensors[tensor].last = max(self.tensors[tensor].last, len(self.kernels) - 1)

    def _kernel(self, at: int, name: str, call: relax.Call) -> None:
        place = len(self.kernels)
        arguments = [a for a in call.args if isinstance(a.ty, relax.TensorType)]
        roots = [self.of.get(a, ()) if isinstance(a, relax.Var) else () for a in arguments]
        views = [View(tuple(_dims(a.ty) or ()), _itemsize(a.ty), str(a.ty.dtype)) for a in arguments]
        described = self.calls.get(name)
        if described is not None:
            roles = [str(role) for role in (*described["inputs"], *described.get("outputs", ["result"]))]
        else:
            roles = [str(i) for i in range(len(arguments))]
        written = [
            i for i, of in enumerate(roots) if any(t not in self.seen and self.tensors[t].kind in (VALUE, DYNAMIC, HOST) for t in of)
        ]
        by_role = dict(zip(roles, views, strict=False))
        known = all(_dims(a.ty) is not None for a in arguments) and len(roles) == len(arguments)
        work = work_of(described, by_role, self.chip) if described is not None and known else plain(by_role)
        callee = self.mod[call.op] if isinstance(call.op, tvm.ir.GlobalVar) else None
        kernel = Kernel(name, at, work, host=callee is not None and _on_host(callee), known=known)
        for i, (role, of) in enumerate(zip(roles, roots, strict=False)):
            for t in of:
                tensor = self.tensors[t]
                moved = work.bytes.get(role, 0.0)
                kernel.moves[t] = kernel.moves.get(t, 0.0) + moved
                if i in written:
                    kernel.writes.add(t)
                    tensor.written += moved
                else:
                    tensor.read += moved
                tensor.first = place if tensor.first < 0 else tensor.first
                tensor.last = max(tensor.last, place)
                self.seen.add(t)
        self.kernels.append(kernel)

    def _names(self) -> None:
        """Names of tensors: the operation's whose result it is, and which of its results where it has several; of weights the
        kernel's that reads it first, and what it is there."""
        for kernel in self.kernels:
            made = [self.tensors[t].operation for t in kernel.writes]
            found = next((m for m in made if m is not None), None)
            kernel.layer = self._operation(found[0]) if found else kernel.name
        taken: dict[str, int] = {}
        for t, tensor in enumerate(self.tensors):
            if tensor.kind == INPUT:
                tensor.name = tensor.var.name
            elif tensor.operation is not None:
                which, of = tensor.operation[1], self._operation(tensor.operation[0])
                tensor.name = f"{of}:{which}" if which else of
            elif tensor.kind == WEIGHT:
                reader = next((k for k in self.kernels if t in k.moves), None)
                tensor.name = f"{reader.layer}:{self._role(reader, t)}" if reader else f"weight {tensor.weight}"
            else:
                maker = next((k for k in self.kernels if t in k.writes), None)
                tensor.name = f"{maker.name} result" if maker else tensor.var.name
            taken[tensor.name] = count = taken.get(tensor.name, 0) + 1
            tensor.name += f" ({count})" if count > 1 else ""
            tensor.layers = list(dict.fromkeys(k.layer for k in self.kernels if t in (k.moves if tensor.kind == WEIGHT else k.writes)))

    def _role(self, kernel: Kernel, tensor: int) -> str:
        described = self.calls.get(kernel.name)
        place = list(kernel.moves).index(tensor)
        return str(described["inputs"][place]) if described is not None and place < len(described["inputs"]) else f"operand {place}"

    def _operation(self, at: int) -> str:
        return self.operations[at][1] if at < len(self.operations) else f"operation {at}"


def _bindings(function: relax.Function) -> Iterator[relax.Binding]:
    for block in function.body.blocks:
        yield from block.bindings


def _called(value: relax.Expr, mod: tvm.IRModule) -> str:
    """The kernel, or function of a library, that is called on memory; "" for anything else."""
    if not isinstance(value, relax.Call):
        return ""
    if isinstance(value.op, relax.ExternFunc):
        return str(value.op.global_symbol)
    if isinstance(value.op, tvm.ir.GlobalVar) and isinstance(mod[value.op], tvm.tirx.PrimFunc):
        return str(value.op.name_hint)
    return ""


def _on_host(function: tvm.tirx.PrimFunc) -> bool:
    target = (function.attrs or {}).get("target")
    return target is not None and str(target.kind.name) != "ext_dev"


def _variables(expr: relax.Expr) -> list[relax.Var]:
    found: list[relax.Var] = []
    relax.analysis.post_order_visit(expr, lambda e: found.append(e) if isinstance(e, relax.Var) else None)
    return found


def _dims(ty: Any) -> list[int] | None:
    if not isinstance(ty, relax.TensorType) or not isinstance(ty.shape, relax.ShapeExpr):
        return None
    dims = [compat.static(d) for d in ty.shape.values]
    return [int(d) for d in dims] if all(isinstance(d, int) for d in dims) else None  # type: ignore[call-overload]


def _itemsize(ty: Any) -> int:
    return max(tvm.DataType(str(ty.dtype)).bits // 8, 1) if str(ty.dtype) else 1


def _bytes(ty: Any) -> int | None:
    dims = _dims(ty)
    if dims is None:
        return None
    return View(tuple(dims), _itemsize(ty)).bytes
