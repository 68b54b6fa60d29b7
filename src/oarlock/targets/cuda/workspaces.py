"""Work space of kernels as outputs that nobody reads.

Before: a kernel allocates what its launches hand to each other (the parts of a split sum) in GPU memory as it runs.  After: that is one
more output of its, so that memory planning gives it a place among the other tensors: nothing is allocated at run time, and a captured
graph holds no memory that a pool could take back.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, tirx

from ... import compat_gpu


def lift_workspaces(mod: tvm.IRModule) -> tvm.IRModule:
    """Give each scheduled kernel its work space of known size from outside."""
    functions = dict(mod.functions.items())
    types = relax.BlockBuilder()  # knows what a kernel's type is for callers
    renewed: dict[str, tuple[tvm.ir.GlobalVar, list[Any]]] = {}
    for gv, function in list(functions.items()):
        if not isinstance(function, tirx.PrimFunc):
            continue
        new, spaces = compat_gpu.without_workspaces(function)
        if spaces:
            del functions[gv]
            made = types.add_func(new, gv.name_hint)
            functions[made] = new
            renewed[gv.name_hint] = made, spaces
    if not renewed:
        return mod
    for gv, function in list(functions.items()):
        if isinstance(function, relax.Function):
            functions[gv] = _Rewriter(renewed).visit_expr(function)
    return tvm.IRModule(functions, attrs=mod.attrs, global_infos=mod.global_infos)


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, renewed: dict[str, tuple[tvm.ir.GlobalVar, list[Any]]]) -> None:
        super().__init__()
        self.renewed = renewed

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") != "relax.call_tir" or call.args[0].name_hint not in self.renewed:
            return call
        gv, spaces = self.renewed[call.args[0].name_hint]
        made = call.ty_args[0]
        several = isinstance(made, relax.TupleType)
        types = list(made.fields) if several else [made]
        types += [relax.TensorType(shape, dtype) for shape, dtype in spaces]
        new = self.builder_.emit(relax.Call(call.op, [gv, *call.args[1:]], call.attrs, [relax.TupleType(types)]))
        results = [relax.TupleGetItem(new, n) for n in range(len(types) - len(spaces))]
        return relax.Tuple([self.builder_.emit(r) for r in results]) if several else results[0]
