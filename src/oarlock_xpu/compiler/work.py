"""Further results of kernels: memory that a kernel leaves between its stages, which the program then has.

Before: ``y = call_tir(k, (x,), out)``.  After: ``r = call_tir(k_work, (x,), (out, work)); y = r[0]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax, tirx

from oarlock import compat
from oarlock.rules.rewriting import rewrite_functions


@dataclass(frozen=True)
class Kernel:
    """``work``: shape and element type of further results, in the kernel's sizes."""

    function: tirx.PrimFunc
    work: list[tuple[list[Any], str]]


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
