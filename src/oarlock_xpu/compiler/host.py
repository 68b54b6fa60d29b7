"""What runs on the host: kernels that neither the library nor the generator has, with copies around them.

Before: ``y = call_tir(k, (x,), out)``.  After: ``y = to_device(call_tir(k, (to_host(x),), out on the host))``; k is compiled for the host.
TVM's own functions of the CPU (sort) are called the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tvm
from tvm import relax

from oarlock import compat
from oarlock.kernels.choice import SCHEDULE
from oarlock.rules.rewriting import rewrite_functions
from oarlock.targets import Notes, Place

from .. import compat_xpu

TO_HOST, TO_DEVICE = "oarlock_xpu.to_host", "oarlock_xpu.to_device"
_OF_CPU = ("tvm.contrib.sort.", "tvm.contrib.random.")


def to_host(
    mod: tvm.IRModule, reasons: Mapping[str, str], target: tvm.target.Target, host: tvm.target.Target, notes: Notes
) -> tvm.IRModule:
    """The module with the kernels that ``reasons`` names, and functions of the CPU, on the host; ``notes`` get a place for each."""
    placed, here = compat_xpu.host_device(mod, target, host)
    rewriter = _Rewriter(placed, reasons, here)
    new = rewrite_functions(rewriter, placed)
    if not rewriter.found:
        return mod
    marked = {
        gv: f.with_attrs({"target": host, SCHEDULE: "host"})
        for gv, f in new.functions.items()
        if gv.name_hint in reasons and isinstance(f, tvm.tirx.PrimFunc)
    }
    if marked:
        new.update(tvm.IRModule(marked))
    for name, why, size in rewriter.found:
        notes.places.append(Place(name, "host", why, size))
    return new


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule, reasons: Mapping[str, str], here: Any) -> None:
        super().__init__(mod)
        self.reasons, self.here = reasons, here
        self.found: list[tuple[str, str, int | None]] = []

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        name = str(getattr(call.op, "name", ""))
        if name == "relax.call_tir" and (why := self.reasons.get(call.args[0].name_hint)):
            return self._around(call, call.args[0].name_hint, why)
        if name == "relax.call_dps_packed" and str(getattr(call.args[0], "global_symbol", "")).startswith(_OF_CPU):
            symbol = str(call.args[0].global_symbol)
            return self._around(call, symbol, "it is a function of the CPU")
        return call

    def _around(self, call: relax.Call, name: str, why: str) -> relax.Expr:
        types = list(call.ty_args)
        outs = [t for ty in types for t in (ty.fields if isinstance(ty, relax.TupleType) else [ty])]
        given = list(call.args[1].fields)
        self.found.append((name, why, _bytes([a.ty for a in given] + outs)))
        moved = [self.builder_.emit(_moved(TO_HOST, a, a.ty)) if isinstance(a.ty, relax.TensorType) else a for a in given]
        there = [relax.TensorType(t.shape, t.dtype, self.here) for t in outs]
        if str(call.op.name) == "relax.call_tir":
            rest = list(call.args[2:])
            made = relax.call_tir(call.args[0], moved, there if len(there) > 1 else there[0], *(rest[:1] if rest else ()))
        else:
            made = relax.call_dps_packed(call.args[0], moved, there if len(there) > 1 else there[0])
        result = self.builder_.emit(made)
        if len(outs) == 1:
            return _moved(TO_DEVICE, result, outs[0])
        parts = [self.builder_.emit(_moved(TO_DEVICE, relax.TupleGetItem(result, i), t)) for i, t in enumerate(outs)]
        return relax.Tuple(parts)


def _moved(function: str, tensor: relax.Expr, ty: relax.Type) -> relax.Call:
    return relax.op.call_pure_packed(function, tensor, ty_args=relax.TensorType(ty.shape, ty.dtype))


def _bytes(types: list[relax.Type]) -> int | None:
    """Bytes of tensors; None where only run time knows."""
    total = 0
    for ty in types:
        if not isinstance(ty, relax.TensorType):
            continue
        values = list(ty.shape.values) if isinstance(ty.shape, relax.ShapeExpr) else [None]
        dims = [d for d in map(compat.static, values) if isinstance(d, int)]
        if len(dims) < len(values):
            return None
        total += math.prod(dims) * max(tvm.DataType(str(ty.dtype)).bits // 8, 1)
    return total
