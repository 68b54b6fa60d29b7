"""Relax operators that TVM has no good GPU kernel for → kernels that the schedules here take."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import tvm
from tvm import relax

from ...rules.rewriting import rewrite_functions
from .convolutions import convolution
from .scans import argsort, cumulative

Handler = Callable[[relax.BlockBuilder, tvm.ir.Call], relax.Expr]
_HANDLERS: dict[str, Handler] = {
    "relax.argsort": argsort,
    "relax.cumsum": cumulative,
    "relax.cumprod": cumulative,
}


def rewrite_operators(mod: tvm.IRModule, *, sums_first: bool = False) -> tvm.IRModule:
    """Rewrite all functions of ``mod``.  ``sums_first``: see ``convolution``."""
    return relax.transform.DeadCodeElimination()(rewrite_functions(_Rewriter(mod, sums_first), mod))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule, sums_first: bool) -> None:
        super().__init__(mod)
        self.handlers: dict[str, Handler] = {**_HANDLERS, "relax.nn.conv2d": partial(convolution, sums_first=sums_first)}

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        handler = self.handlers.get(getattr(call.op, "name", ""))
        return handler(self.builder_, call) if handler else call
