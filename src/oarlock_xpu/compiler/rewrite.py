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

from .engine import Extra, Fusion, Plan, Step

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
        self.calls: dict[str, dict[str, Any]] = {}
        self.extra: dict[tuple[Any, str], relax.Expr] = {}  # by the last variable of a fusion, or a step
        self.steps: dict[Step, relax.Expr] = {}
        self.results: dict[relax.Var, relax.Expr] = {}  # what calls that came before have for a variable
        self.starts: dict[relax.Var, Fusion] = {}  # the variable at whose place a call stands
        for fusion in plan.fusions.values():
            self.starts[(fusion.at or fusion.last).var] = fusion

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        fusion = self.starts.get(binding.var)
        if fusion is None and binding.var not in self.results:
            super().visit_var_binding_(binding)
            return
        if fusion is not None:
            self._emit(fusion)
        if binding.var in self.results:
            super().visit_var_binding_(relax.VarBinding(binding.var, self.results[binding.var]))
        else:
            super().visit_var_binding_(binding)

    def visit_binding_block_(self, block: relax.BindingBlock) -> relax.BindingBlock:
        self.steps.clear()  # a block does not see what another one computes on the way
        return super().visit_binding_block_(block)

    def _emit(self, fusion: Fusion) -> None:
        outputs = {"result": fusion.last, **fusion.more}
        types = [node.var.ty for node in outputs.values()]
        types += [relax.TensorType(dims, dtype) for dims, dtype in fusion.extra.values()]
        roles = [*outputs, *fusion.extra]
        inputs = {role: self._value(x) for role, x in fusion.inputs.items()}
        call = self._call(fusion.api, inputs, fusion.attributes, types, roles)
        if len(types) == 1:
            self.results[fusion.last.var] = call
            return
        made = self._emit_for_all(call)
        for number, node in enumerate(outputs.values()):
            self.results[node.var] = relax.TupleGetItem(made, number)
        for number, role in enumerate(fusion.extra, len(outputs)):
            self.extra[fusion.last.var, role] = self._emit_for_all(relax.TupleGetItem(made, number))

    def _emit_for_all(self, value: relax.Expr) -> relax.Var:
        """Bind it to a variable that later blocks see too, where other results of the call may stand."""
        return self.builder_.emit_output(value) if self.builder_.current_block_is_dataflow() else self.builder_.emit(value)

    def _value(self, x: relax.Expr | Step | Extra) -> relax.Expr:
        if isinstance(x, Extra):
            if isinstance(x.of, Step):
                self._value(x.of)
            return self.extra[x.of, x.role]
        if not isinstance(x, Step):
            return self.visit_expr(x)
        if x not in self.steps:
            inputs = {role: self._value(y) for role, y in x.inputs.items()}
            types = [relax.TensorType(relax.ShapeExpr(list(x.shape)), x.dtype)]
            types += [relax.TensorType(dims, dtype) for dims, dtype in x.extra.values()]
            made = self.builder_.emit(self._call(x.api, inputs, x.attributes, types, ["result", *x.extra]))
            self.steps[x] = self.builder_.emit(relax.TupleGetItem(made, 0)) if x.extra else made
            for number, role in enumerate(x.extra, 1):
                self.extra[x, role] = self.builder_.emit(relax.TupleGetItem(made, number))
        return self.steps[x]

    def _call(self, api: str, inputs: dict[str, relax.Expr], attributes: dict[str, Any], types: list[Any], roles: list[str]) -> relax.Call:
        symbol = f"{PREFIX}{api}_{len(self.calls)}"
        self.calls[symbol] = {"api": api, "inputs": list(inputs), **attributes} | ({"outputs": roles} if len(roles) > 1 else {})
        return relax.call_dps_packed(symbol, list(inputs.values()), out_ty=types if len(types) > 1 else types[0])
