"""What rules that rewrite with a mutator share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import tvm
from tvm import relax

from ..compat import set_type


def rewrite_functions(rewriter: relax.PyExprMutator, mod: tvm.IRModule) -> tvm.IRModule:
    """All Relax functions of ``mod`` as ``rewriter``, which was made for it, gives them."""
    named = getattr(rewriter, "named", lambda function: function)  # see origins.py
    for gv, function in list(mod.functions.items()):
        if isinstance(function, relax.Function):
            rewriter.builder_.update_func(gv, named(rewriter.visit_expr(function)))
    return rewriter.builder_.get()


def substituted(expr: relax.Expr, new: Mapping[relax.Var, relax.Var]) -> relax.Expr:
    """``expr`` with other variables, those that its blocks bind too; every type stays as it is."""
    made: relax.Expr
    if isinstance(expr, relax.Var):
        return new.get(expr, expr)
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([substituted(f, new) for f in expr.fields])  # typed by its fields
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(substituted(expr.tuple_value, new), expr.index)
    if isinstance(expr, relax.Call):
        made = relax.Call(expr.op, [substituted(a, new) for a in expr.args], expr.attrs, expr.ty_args)
    elif isinstance(expr, relax.If):
        made = relax.If(*(substituted(e, new) for e in (expr.cond, expr.true_branch, expr.false_branch)))
    elif isinstance(expr, relax.SeqExpr):
        blocks = [type(b)([rebound(binding, new) for binding in b.bindings]) for b in expr.blocks]
        made = relax.SeqExpr(blocks, substituted(expr.body, new))
    else:
        return expr
    if made.ty.is_missing():
        set_type(made, expr.ty)
    return made


def rebound(binding: relax.Binding, new: Mapping[relax.Var, relax.Var]) -> relax.Binding:
    """A binding with other variables."""
    var, value = new.get(binding.var, binding.var), substituted(binding.value, new)
    return relax.MatchCast(var, value, binding.ty) if isinstance(binding, relax.MatchCast) else relax.VarBinding(var, value)


def readers(*places: relax.Expr | relax.BindingBlock) -> dict[relax.Var, list[relax.Call | None]]:
    """What reads each variable in functions' bodies, or in blocks: a call, once for each time that it does; None for anything else."""
    found: dict[relax.Var, list[relax.Call | None]] = defaultdict(list)

    def read(value: relax.Expr) -> None:
        reader = value if isinstance(value, relax.Call) else None
        relax.analysis.post_order_visit(value, lambda e: found[e].append(reader) if isinstance(e, relax.Var) else None)

    def visit(place: relax.Expr | relax.BindingBlock) -> None:
        if isinstance(place, relax.SeqExpr):
            for block in place.blocks:
                visit(block)
            read(place.body)
        elif isinstance(place, relax.BindingBlock):
            for value in (binding.value for binding in place.bindings):
                if isinstance(value, relax.If):
                    visit(value.true_branch)
                    visit(value.false_branch)
                    read(value.cond)
                else:
                    read(value)
        else:
            read(place)

    for place in places:
        visit(place)
    return found


def bodies(mod: tvm.IRModule) -> list[relax.Expr]:
    """The bodies of all Relax functions of ``mod``."""
    return [function.body for function in mod.functions.values() if isinstance(function, relax.Function)]
