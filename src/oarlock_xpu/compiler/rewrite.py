"""Write a plan back into the module: each fusion is one call of an external function, whose meaning goes with the module.

After: ``R.call_dps_packed("xpu_conv2d_fusion_3", (x, w, bias), out_ty=…)`` and, in the module's attribute CALLS, ``{"xpu_conv2d_fusion_3":
{"api": "conv2d_fusion", "inputs": ["x", "w", "bias"], "strides": [2, 2], …}}``.
"""

from __future__ import annotations

import json
from typing import Any

import tvm
from tvm import relax

from oarlock.rules.rewriting import rewrite_functions

from .engine import Fusion, Plan

CALLS = "oarlock.xpu.calls"
PREFIX = "xpu_"


def apply_plan(mod: tvm.IRModule, plan: Plan) -> tvm.IRModule:
    """The module with its fusions as calls; what they replaced is removed."""
    if not plan.fusions:
        return mod
    rewriter = _Rewriter(mod, plan)
    mod = relax.transform.DeadCodeElimination()(rewrite_functions(rewriter, mod))
    return mod.with_attr(CALLS, json.dumps(rewriter.calls))


def calls_of(mod: tvm.IRModule) -> dict[str, dict[str, Any]]:
    """The library calls of a module: external function → what it is."""
    return json.loads(str(mod.attrs[CALLS])) if mod.attrs and CALLS in mod.attrs else {}


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule, plan: Plan) -> None:
        super().__init__(mod)
        self.plan = plan
        self.calls: dict[str, dict[str, Any]] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        fusion = self.plan.fusions.get(binding.var)
        if fusion is None:
            super().visit_var_binding_(binding)
            return
        call = self._call(fusion, binding.var)
        super().visit_var_binding_(relax.VarBinding(binding.var, call))

    def _call(self, fusion: Fusion, var: relax.Var) -> relax.Call:
        symbol = f"{PREFIX}{fusion.api}_{len(self.calls)}"
        self.calls[symbol] = {"api": fusion.api, "inputs": list(fusion.inputs), **fusion.attributes}
        return relax.call_dps_packed(symbol, list(fusion.inputs.values()), out_ty=var.ty)
