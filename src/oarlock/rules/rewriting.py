"""What rules that rewrite with a mutator share."""

from __future__ import annotations

import tvm
from tvm import relax


def rewrite_functions(rewriter: relax.PyExprMutator, mod: tvm.IRModule) -> tvm.IRModule:
    """All Relax functions of ``mod`` as ``rewriter``, which was made for it, gives them."""
    for gv, function in list(mod.functions.items()):
        if isinstance(function, relax.Function):
            rewriter.builder_.update_func(gv, rewriter.visit_expr(function))
    return rewriter.builder_.get()
