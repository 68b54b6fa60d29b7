"""Tensor parallel: the products of a model split among devices.

A region begins with products whose weights are split by columns (each device computes some of the features, or some of the heads) and
ends with products whose weights are split by rows, the sums of which are added up over the devices:

    before:  y = matmul(gelu(matmul(x, w1) + b1), w2) + b2
    after:   y = allreduce(matmul(gelu(matmul(x, w1[:, mine]) + b1[mine]), w2[mine, :])) + b2

What lies between (bias, activation, the heads of an attention) computes on parts, when every operator of it has a rule here; else the
region stays as it is, on every device, and a note says why.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from oarlock import compat
from oarlock.rules.rewriting import readers, rewrite_functions

from ..compiler.graph import shape_of, static_shape

_ELEMENTWISE = {
    *("nn.relu", "nn.gelu", "nn.gelu_tanh", "nn.silu", "nn.leaky_relu", "tanh", "sigmoid", "exp", "sqrt", "rsqrt", "square", "abs", "erf"),
    *("negative", "log", "sin", "cos", "clip", "astype", "add", "subtract", "multiply", "divide", "maximum", "minimum", "power"),
}


class _Refused(Exception):
    """Why a region cannot be split."""


@dataclass
class Splits:
    """``axis``: of the variables that each device has a part of; ``rows``: products that are sums over the devices; ``constants``: which
    constants are split, by the variable that reads them and the number of the argument, along which dim."""

    axis: dict[relax.Var, int] = field(default_factory=dict)
    rows: set[relax.Var] = field(default_factory=set)
    constants: dict[tuple[relax.Var, int], int] = field(default_factory=dict)


def plan_splits(main: relax.Function, count: int, note: Callable[[str], None]) -> Splits:
    """What of ``main`` is split among ``count`` devices."""
    finder, splits = _Finder(main, count), Splits()
    reasons: dict[str, int] = {}
    for seed in finder.products:
        if seed in splits.axis or seed in splits.rows:
            continue
        region = _Region(finder, splits)
        try:
            region.have(seed, len(shape_of(seed) or []) - 1)
            region.follow()
        except _Refused as why:
            reasons[str(why)] = reasons.get(str(why), 0) + 1
            continue
        if region.found.rows:
            splits.axis |= region.found.axis
            splits.rows |= region.found.rows
            splits.constants |= region.found.constants
    begun = len(finder.split_products(splits))
    note(f"{len(splits.rows)} products of {len(finder.products)} are sums over {count} devices, {begun} are split")
    for reason, times in reasons.items():
        note(f"not split: {reason}" + (f" ({times} times)" if times > 1 else ""))
    return splits


class _Finder:
    """The calls of a function, and who reads what."""

    def __init__(self, main: relax.Function, count: int) -> None:
        self.count = count
        self.calls: dict[relax.Var, relax.Call] = {}
        for block in main.body.blocks:
            for binding in block.bindings:
                if isinstance(binding, relax.VarBinding) and isinstance(binding.value, relax.Call):
                    self.calls[binding.var] = binding.value
        by_call = {call: var for var, call in self.calls.items()}
        self.readers: dict[relax.Var, list[relax.Var | None]] = {
            var: [by_call.get(call) for call in calls] for var, calls in readers(main.body).items()
        }
        self.products = [v for v, c in self.calls.items() if name_of(c) == "matmul" and self.weight(c) is not None]

    def weight(self, call: relax.Call) -> list[int] | None:
        """The shape of a product's second operand where that is a constant matrix."""
        shape = static_shape(call.args[1]) if isinstance(call.args[1], compat.Constant) else None
        return shape if shape is not None and len(shape) == 2 else None

    def split_products(self, splits: Splits) -> list[relax.Var]:
        """The products that begin regions."""
        return [v for v in self.products if (v, 1) in splits.constants and v not in splits.rows]


def name_of(call: relax.Call) -> str:
    """The operator's name, without "relax."; "" for no operator."""
    return str(call.op.name).removeprefix("relax.") if isinstance(call.op, tvm.ir.Op) else ""


class _Region:
    """What has to be split together: grows from one variable to all that read it, and all that those need."""

    def __init__(self, finder: _Finder, done: Splits) -> None:
        self.finder, self.done, self.found = finder, done, Splits()
        self.waiting: list[relax.Var] = []

    def follow(self) -> None:
        """Let what reads the parts have parts too, up to products that add them up."""
        while self.waiting:
            var = self.waiting.pop()
            for reader in self.finder.readers.get(var, []):
                if reader is None:
                    raise _Refused(f"{self.title(var)} is read by no operator (a result of the model, …)")
                if reader not in self.found.axis and reader not in self.found.rows:
                    self.reach(reader, var, self.found.axis[var])
        for var, number in self.found.constants:  # what a product needs whole may have been split after it was asked
            if name_of(call := self.finder.calls[var]) == "matmul" and number == 1 and var not in self.found.rows:
                self.whole(call.args[0])

    def title(self, var: relax.Var) -> str:
        call = self.finder.calls.get(var)
        return f"the result of {name_of(call) or 'a kernel of its own'}" if call is not None else "an input"

    def have(self, var: relax.Var, axis: int) -> None:
        """Each device has its part of ``var`` along ``axis``."""
        if var in self.found.axis:
            if self.found.axis[var] != axis:
                raise _Refused(f"{self.title(var)} would be split along two dims")
            return
        call, shape = self.finder.calls.get(var), shape_of(var)
        if var in self.found.rows or var in self.done.axis or var in self.done.rows:
            raise _Refused(f"{self.title(var)} belongs to another region")
        if call is None or shape is None or not isinstance(var, relax.DataflowVar):
            raise _Refused(f"{self.title(var)} is whole on every device")
        self.even(shape[axis], self.title(var))
        self.found.axis[var] = axis
        self.waiting.append(var)
        self.need(var, call, axis)

    def even(self, dim: object, what: str) -> None:
        if not isinstance(dim, int) or dim % self.finder.count:
            raise _Refused(f"a dim of {what} is {dim}, which {self.finder.count} devices do not divide")

    def operand(self, var: relax.Var, number: int, axis: int) -> None:
        """Argument ``number`` of ``var``'s call is needed in parts."""
        argument = self.finder.calls[var].args[number]
        if isinstance(argument, compat.Constant):
            self.even(compat.constant_array(argument).shape[axis], "a constant")
            self.found.constants[(var, number)] = axis
        elif isinstance(argument, relax.Var):
            self.have(argument, axis)
        else:
            raise _Refused(f"{name_of(self.finder.calls[var])} has an operand that is no variable")

    def whole(self, argument: relax.Expr) -> None:
        if isinstance(argument, relax.Var) and argument in self.found.axis:
            raise _Refused("a product has parts of an operand that it needs whole")

    def need(self, var: relax.Var, call: relax.Call, axis: int) -> None:
        """What the operands have to be so that the result is in parts along ``axis``."""
        name, rank = name_of(call), len(shape_of(var) or [])
        if name == "matmul":
            if self.finder.weight(call) is not None and axis == rank - 1:
                self.whole(call.args[0])
                self.operand(var, 1, 1)
            elif self.finder.weight(call) is not None:
                self.operand(var, 0, axis)
            elif axis >= rank - 2:
                raise _Refused("a product of two results would be split inside")
            else:
                self.broadcast(var, call, axis, rank, shape_of(var) or [])
        elif name in _ELEMENTWISE:
            self.broadcast(var, call, axis, rank, shape_of(var) or [])
        elif name in ("nn.softmax", "nn.log_softmax"):
            if int(call.attrs.axis) % rank == axis:
                raise _Refused("softmax needs its rows whole")
            self.operand(var, 0, axis)
        elif name == "permute_dims":
            self.operand(var, 0, _order(call, rank)[axis])
        elif name == "reshape":
            source = _reshaped(shape_of(var), shape_of(call.args[0]), axis)
            if source is None:
                raise _Refused("a reshape mixes the dim that is split with others")
            self.operand(var, 0, source)
        else:
            raise _Refused(f"{name or 'a kernel of its own'} has no rule for parts")

    def broadcast(self, var: relax.Var, call: relax.Call, axis: int, rank: int, out: list) -> None:
        for number, argument in enumerate(call.args):
            shape = shape_of(argument) if isinstance(argument.ty, relax.TensorType) else []
            if shape is None:
                raise _Refused("an operand has no known shape")
            own = axis - (rank - len(shape))
            if own >= 0 and shape[own] != 1:
                self.operand(var, number, own)
            elif own >= 0 and out[axis] == 1:
                raise _Refused("a dim of 1 cannot be split")

    def reach(self, reader: relax.Var, var: relax.Var, axis: int) -> None:
        """``reader`` reads parts of ``var`` along ``axis``."""
        call = self.finder.calls[reader]
        name, rank = name_of(call), len(shape_of(var) or [])
        places = [number for number, argument in enumerate(call.args) if isinstance(argument, relax.Var) and argument.same_as(var)]
        if name == "matmul" and self.finder.weight(call) is not None and places == [0] and axis == rank - 1:
            self.found.rows.add(reader)
            self.operand(reader, 1, 0)
            return
        out = shape_of(reader)
        if out is None or not places:
            raise _Refused(f"{name or 'a kernel of its own'} has no rule for parts")
        if name == "permute_dims":
            target: int | None = _order(call, rank).index(axis)
        elif name == "reshape":
            target = _reshaped(shape_of(var), out, axis)
            if target is None:
                raise _Refused("a reshape mixes the dim that is split with others")
        elif name == "matmul" and axis >= rank - 2 and not (self.finder.weight(call) is not None and axis == rank - 2):
            raise _Refused("a product of two results would be split inside")
        else:
            target = axis + len(out) - rank
        assert target is not None
        self.have(reader, target)


def _order(call: relax.Call, rank: int) -> list[int]:
    return [int(a) % rank for a in call.attrs.axes] if call.attrs.axes is not None else list(range(rank))[::-1]


def _reshaped(given: list | None, wanted: list | None, axis: int) -> int | None:
    """Where a dim of ``given`` is in ``wanted``, of a reshape in either direction: equal parts of the one are those of the other."""
    if given is None or wanted is None:
        return None
    same = tvm.sym.Analyzer().can_prove_equal
    first = 0
    while first < min(len(given), len(wanted)) and same(given[first], wanted[first]):
        first += 1
    last = 0
    while last < min(len(given), len(wanted)) - first and same(given[-1 - last], wanted[-1 - last]):
        last += 1
    if axis < first:
        return axis
    if axis >= len(given) - last:
        return axis + len(wanted) - len(given)
    # the dims in the middle are each other's: the outermost of them (of more than one element) is split
    outer = [next((i for i in range(first, len(dims) - last) if dims[i] != 1), None) for dims in (given, wanted)]
    return outer[1] if outer[0] == axis else None


def part_of(array: np.ndarray, axis: int, rank: int, count: int) -> np.ndarray:
    """One device's part of a constant."""
    size = array.shape[axis] // count
    return np.take(array, range(rank * size, (rank + 1) * size), axis)


def apply_splits(mod: tvm.IRModule, splits: Splits, rank: int, count: int) -> tvm.IRModule:
    """The program of one of the devices."""
    return rewrite_functions(_Rewriter(mod, splits, rank, count), mod)


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule, splits: Splits, rank: int, count: int) -> None:
        super().__init__(mod)
        self.splits, self.rank, self.count = splits, rank, count

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        var, call = binding.var, binding.value
        if var not in self.splits.axis and var not in self.splits.rows:
            super().visit_var_binding_(binding)
            return
        arguments = []
        for number, argument in enumerate(call.args):
            axis = self.splits.constants.get((var, number))
            if axis is not None:
                arguments.append(compat.constant(part_of(compat.constant_array(argument), axis, self.rank, self.count)))
            else:
                arguments.append(self.visit_expr(argument))
        if name_of(call) == "reshape":
            dims = list(call.args[1].values)
            dims[self.splits.axis[var]] = dims[self.splits.axis[var]] // self.count
            arguments[1] = relax.ShapeExpr(dims)
        made = self.builder_.emit(self.builder_.normalize(relax.Call(call.op, arguments, call.attrs)), name_hint=var.name)
        if var in self.splits.rows:
            summed = relax.op.ccl.allreduce(made, "sum", in_group=True)
            emit = self.builder_.emit if isinstance(var, relax.DataflowVar) else self.builder_.emit_output
            made = emit(summed, name_hint=var.name)
        self.set_var_remap(var, made)
