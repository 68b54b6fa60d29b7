"""Groups of kernels that take single sizes beside a list of sizes get one list.

FuseOps passes a size that a kernel takes and no shape mentions as an argument of its own, and those that shapes need as a shape behind the
arguments.  FuseTIR 0.27 fails on groups that have both ("VarRemapGet(source) == nullptr").  tests/rules/test_scalars.py tells when it
does not any more.
"""

from __future__ import annotations

import tvm
from tvm import relax

from ..compat import is_dim
from .rewriting import rewrite_functions, substituted


def join_sizes(mod: tvm.IRModule) -> tvm.IRModule:
    """``mod`` after FuseOps, with all sizes that a group takes in its last argument."""
    found = {gv: function for gv, function in mod.functions.items() if _takes_both(function)}
    if not found:
        return mod
    rest = tvm.IRModule({gv: function for gv, function in mod.functions.items() if gv not in found}, attrs=mod.attrs)
    return rewrite_functions(_Calls(rest, found), rest)


def _takes_both(function: tvm.ir.BaseFunc) -> bool:
    if not isinstance(function, relax.Function) or "Primitive" not in (function.attrs or {}) or not function.params:
        return False
    return isinstance(function.params[-1].ty, relax.ShapeType) and any(is_dim(p) for p in function.params)


def _joined(function: relax.Function) -> relax.Function:
    *params, sizes = function.params
    every = relax.Var(sizes.name, relax.ShapeType([*sizes.ty.values, *(p for p in params if is_dim(p))]))
    body = substituted(function.body, {sizes: every})
    return relax.Function([*(p for p in params if not is_dim(p)), every], body, function.ret_ty, function.is_pure, function.attrs)


@relax.expr_functor.mutator
class _Calls(relax.PyExprMutator):
    """Adds ``groups`` in their new form, and calls them with their sizes behind the other arguments."""

    def __init__(self, mod: tvm.IRModule, groups: dict[tvm.ir.GlobalVar, relax.Function]) -> None:
        super().__init__(mod)
        self.groups = {
            gv.name_hint: (self.builder_.add_func(_joined(function), gv.name_hint), [is_dim(p) for p in function.params])
            for gv, function in groups.items()
        }

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        if not isinstance(call.op, tvm.ir.GlobalVar) or call.op.name_hint not in self.groups:
            return super().visit_call_(call)
        group, sizes = self.groups[call.op.name_hint]
        arguments = [self.visit_expr(a) for a in call.args]
        single = [a for a, size in zip(arguments, sizes, strict=True) if size]
        *others, last = [a for a, size in zip(arguments, sizes, strict=True) if not size]
        return relax.Call(group, [*others, relax.ShapeExpr([*last.values, *single])], call.attrs, call.ty_args)
