"""The plan, written into a program: its tensors lie at offsets in one allocation of L3.

Before: ``alloc = R.memory.alloc_tensor(storage7, 0, …)`` with ``storage7 = R.memory.alloc_storage(…, "global")``.  After:
``alloc = R.memory.alloc_tensor(l3, 802816, …)`` with ``l3 = R.memory.alloc_storage(R.shape([arena]), 0, "global.l3", "uint8")`` at the
beginning of main, and no storage that no tensor is left in.
"""

from __future__ import annotations

import tvm
from tvm import relax

from oarlock import compat
from oarlock.rules.rewriting import rewrite_functions

from .planner import Plan
from .program import Program

SCOPE, TENSOR_AT = "global.l3", "oarlock_xpu.tensor_at"
_PLACED = "relax.vm.alloc_tensor"


def write_plan(mod: tvm.IRModule, program: Program, plan: Plan) -> tvm.IRModule:
    """The module with the places that the plan has for tensors between kernels; weights are the session's to place."""
    offsets = {program.tensors[t].var: at for t, at in plan.offsets.items() if at is not None}
    if not offsets:
        return mod
    return rewrite_functions(_Places(mod, offsets, plan.arena), mod)


@relax.expr_functor.mutator
class _Places(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule, offsets: dict[relax.Var, int], arena: int) -> None:
        super().__init__(mod)
        self.offsets, self.arena = offsets, arena
        self.l3: relax.Var | None = None
        main = mod["main"]
        kept = set()
        for block in main.body.blocks:
            for binding in block.bindings:
                if _op(binding.value) == "relax.memory.alloc_tensor" and binding.var not in offsets:
                    kept.add(binding.value.args[0])
        self.gone = {
            b.var
            for block in main.body.blocks
            for b in block.bindings
            if _op(b.value) == "relax.memory.alloc_storage" and b.var not in kept
        }

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if binding.var in self.gone:
            return
        offset = self.offsets.get(binding.var)
        if offset is None:
            super().visit_var_binding_(binding)
            return
        if self.l3 is None:
            self.l3 = self.builder_.emit(relax.op.memory.alloc_storage(relax.ShapeExpr([self.arena]), 0, SCOPE, "uint8"), "l3")
        call = binding.value
        placed = relax.op.memory.alloc_tensor(self.l3, offset, *call.args[2:])
        super().visit_var_binding_(relax.VarBinding(binding.var, placed))


def _op(value: relax.Expr) -> str:
    return str(getattr(value.op, "name", "")) if isinstance(value, relax.Call) else ""


def call_offsets(mod: tvm.IRModule) -> tvm.IRModule:
    """The module, lowered, with its tensors at offsets made by the plug-in, which gives each an address of its own."""
    return rewrite_functions(_Offsets(mod), mod)


@relax.expr_functor.mutator
class _Offsets(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if _op(call) == _PLACED and compat.static(call.args[1]) != 0:
            return relax.Call(relax.ExternFunc(TENSOR_AT), call.args[:4], None, [call.ty])
        return call
