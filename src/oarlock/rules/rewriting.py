"""What rules that rewrite with a mutator share."""

from __future__ import annotations

from collections import defaultdict

import tvm
from tvm import relax


def rewrite_functions(rewriter: relax.PyExprMutator, mod: tvm.IRModule) -> tvm.IRModule:
    """All Relax functions of ``mod`` as ``rewriter``, which was made for it, gives them."""
    for gv, function in list(mod.functions.items()):
        if isinstance(function, relax.Function):
            rewriter.builder_.update_func(gv, rewriter.visit_expr(function))
    return rewriter.builder_.get()


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
