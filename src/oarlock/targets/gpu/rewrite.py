"""Relax operators that TVM has no good GPU kernel for → kernels that the schedules here take."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax

from ...rules.rewriting import rewrite_functions
from .convolutions import convolution
from .scans import argsort, cumulative

_HANDLERS: dict[str, Callable[[relax.BlockBuilder, tvm.ir.Call], relax.Expr]] = {
    "relax.nn.conv2d": convolution,
    "relax.argsort": argsort,
    "relax.cumsum": cumulative,
    "relax.cumprod": cumulative,
}


def rewrite_operators(mod: tvm.IRModule) -> tvm.IRModule:
    """Rewrite all functions of ``mod``."""
    return relax.transform.DeadCodeElimination()(rewrite_functions(_Rewriter(mod), mod))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        handler = _HANDLERS.get(getattr(call.op, "name", ""))
        return handler(self.builder_, call) if handler else call
