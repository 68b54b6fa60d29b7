"""Lift the big constants out of a module: they become parameters after the inputs of ``main``.

Before: ``main(x) = matmul(x, const)``.  After: ``main(x, weight_0) = matmul(x, weight_0)`` and the array in ``Weights``.
Private functions (loops) that use a big constant get it as a parameter too, and every call passes it on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax

from .. import compat
from ..errors import InternalError

LIFT_BYTES = 256  # a smaller constant stays in the executable: passing it would cost more than it saves


@dataclass
class Weights:
    """The lifted arrays, in the order of main's trailing parameters; equal contents are stored once."""

    arrays: list[np.ndarray] = field(default_factory=list)
    types: list[relax.TensorType] = field(default_factory=list)
    least: int = LIFT_BYTES
    """Bytes from which a constant is a weight."""
    _index: dict[tuple, int] = field(default_factory=dict)

    def add(self, constant: compat.Constant) -> int:
        """The number of this constant's content among the weights."""
        return self.add_array(compat.constant_array(constant))

    def add_array(self, array: np.ndarray) -> int:
        """The number of this content among the weights."""
        digest = hashlib.blake2b(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, digest_size=16).digest()
        key = (str(array.dtype), array.shape, digest)
        if key not in self._index:
            self._index[key] = len(self.arrays)
            self.arrays.append(array)
            self.types.append(relax.TensorType(array.shape, str(array.dtype)))
        return self._index[key]

    def pack(self, more: list[np.ndarray], alignment: int) -> list[int]:
        """Make one array of bytes of all arrays and ``more``; returns where each starts, a multiple of ``alignment``."""
        arrays = [*self.arrays, *more]
        offsets, size = [], 0
        for array in arrays:
            offsets.append(size)
            size += -(-array.nbytes // alignment) * alignment
        block = np.zeros(max(size, alignment), np.uint8)
        for array, offset in zip(arrays, offsets, strict=True):
            block[offset : offset + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.arrays, self.types, self._index = [block], [relax.TensorType(block.shape, "uint8")], {}
        return offsets


def lift_weights(mod: tvm.IRModule, weights: Weights) -> tvm.IRModule:
    """Make every constant of at least ``weights.least`` bytes (and every empty one) a parameter of the functions that need it, or whose
    callees do."""
    functions = {gv: f for gv, f in mod.functions.items() if isinstance(f, relax.Function)}
    order = sorted(functions, key=lambda gv: (gv.name_hint != "main", gv.name_hint))
    uses: dict[relax.GlobalVar, set[int]] = {}
    calls: dict[relax.GlobalVar, set[relax.GlobalVar]] = {}
    for gv in order:
        uses[gv], calls[gv] = _scan(functions[gv], weights)
    changed = True
    while changed:  # needs flow from callees to callers, through recursion
        changed = False
        for gv in order:
            for callee in calls[gv]:
                missing = uses.get(callee, set()) - uses[gv]
                uses[gv] |= missing
                changed |= bool(missing)
    if not weights.arrays:
        return mod
    new = dict(mod.functions.items())
    renewed = {gv: relax.GlobalVar(gv.name_hint) for gv in order}
    parameters = {gv: {n: relax.Var(f"weight_{n}", weights.types[n]) for n in sorted(uses[gv])} for gv in order}
    if main := next((gv for gv in order if gv.name_hint == "main"), None):
        # main takes every weight, used or not: the caller passes them all
        parameters[main] = {n: relax.Var(f"weight_{n}", t) for n, t in enumerate(weights.types)}
    for gv in order:
        f = functions[gv]
        compat.set_type(renewed[gv], compat.function_type([*f.params, *parameters[gv].values()], f.ret_ty, f.is_pure))
    for gv in order:
        del new[gv]
        new[renewed[gv]] = _Lift(weights, parameters, renewed, gv).rewrite(functions[gv])
    return tvm.IRModule(new, attrs=mod.attrs, global_infos=mod.global_infos)


def _is_weight(constant: compat.Constant, least: int) -> bool:
    """Whether a constant leaves the module: a big one, or an empty one (TVM's runtime cannot read those from an executable)."""
    array = constant.value
    size = int(np.prod([int(d) for d in array.shape], dtype=np.int64))
    return size == 0 or size * tvm.DataType(str(array.dtype)).bits >= least * 8


def _scan(function: relax.Function, weights: Weights) -> tuple[set[int], set[relax.GlobalVar]]:
    used: set[int] = set()
    called: set[relax.GlobalVar] = set()

    def visit(e: relax.Expr) -> None:
        if isinstance(e, compat.Constant) and _is_weight(e, weights.least):
            used.add(weights.add(e))
        elif isinstance(e, relax.Call) and isinstance(e.op, relax.GlobalVar):
            called.add(e.op)

    relax.analysis.post_order_visit(function, visit)
    return used, called


@relax.expr_functor.mutator
class _Lift(relax.PyExprMutator):
    """Rewrites one function: constants → parameters, calls of private functions get their weights passed."""

    def __init__(self, weights: Weights, parameters: dict, renewed: dict, me: relax.GlobalVar) -> None:
        super().__init__()
        self.weights, self.parameters, self.renewed, self.mine = weights, parameters, renewed, parameters[me]

    def rewrite(self, function: relax.Function) -> relax.Function:
        body = self.visit_expr(function.body)
        parameters = [*function.params, *self.mine.values()]
        return relax.Function(parameters, body, function.ret_ty, function.is_pure, function.attrs)

    def visit_generic_const_(self, constant: compat.Constant) -> relax.Expr:
        return self.mine[self.weights.add(constant)] if _is_weight(constant, self.weights.least) else constant

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        args = [self.visit_expr(a) for a in call.args]
        if isinstance(call.op, relax.GlobalVar) and call.op in self.renewed:
            args += [self.mine[n] for n in self.parameters[call.op]]
            return relax.Call(self.renewed[call.op], args, call.attrs, call.ty_args, call.span)
        return relax.Call(call.op, args, call.attrs, call.ty_args, call.span)

    def visit_global_var_(self, gv: relax.GlobalVar) -> relax.Expr:
        if self.parameters.get(gv):
            raise InternalError(f"function {gv.name_hint} is passed as a value and needs weights")
        return self.renewed.get(gv, gv)
