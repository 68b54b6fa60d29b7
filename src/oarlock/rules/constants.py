"""Moves and arithmetic of constants are done at compile time, by numpy: TVM's FoldConstant builds a kernel for each, which takes 0.1 s.

Before: ``reshape(const, (1, 64, 1, 1))``.  After: the constant of that shape.  Before: ``const · scale / 127``, the weights of a
quantised model.  After: one constant.  Arithmetic is that of floats only, and not where the result is bigger than both operands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from .. import compat
from .rewriting import rewrite_functions

_ARITHMETIC: dict[str, Any] = {"relax.add": np.add, "relax.subtract": np.subtract, "relax.multiply": np.multiply, "relax.divide": np.divide}
_FLOATS = ("float32", "float64")
_VIEWS = ("relax.reshape", "relax.expand_dims", "relax.squeeze", "relax.flatten")


def fold_moves(mod: tvm.IRModule) -> tvm.IRModule:
    """Fold reshapes, transposes and arithmetic of constants in all functions of ``mod``."""
    return rewrite_functions(_Fold(mod), mod)


@relax.expr_functor.mutator
class _Fold(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.constants: dict[relax.Var, compat.Constant] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        if isinstance(binding.value, relax.Call) and isinstance(binding.var, relax.DataflowVar):
            value = self.visit_expr(binding.value)
            if isinstance(value, compat.Constant):
                self.constants[binding.var] = value
                return
        super().visit_var_binding_(binding)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        folded = self._fold(call)
        return call if folded is None else folded

    def visit_dataflow_var_(self, var: relax.DataflowVar) -> relax.Expr:
        constant = self.constants.get(var)
        return super().visit_dataflow_var_(var) if constant is None else constant

    def _fold(self, call: relax.Call) -> compat.Constant | None:
        name = getattr(call.op, "name", "")
        if name in _ARITHMETIC:
            return _computed(name, *call.args)
        if name not in (*_VIEWS, "relax.permute_dims"):
            return None
        source = call.args[0]
        if not isinstance(source, compat.Constant) or not isinstance(call.ty.shape, relax.ShapeExpr):
            return None
        shape: list = [compat.static(d) for d in call.ty.shape.values]
        if not all(isinstance(d, int) for d in shape):
            return None
        array = compat.constant_array(source)
        if name == "relax.permute_dims":
            return compat.constant(array.transpose(None if call.attrs.axes is None else [int(a) for a in call.attrs.axes]))
        return compat.constant(array.reshape(shape))


def _computed(name: str, a: relax.Expr, b: relax.Expr) -> compat.Constant | None:
    if not isinstance(a, compat.Constant) or not isinstance(b, compat.Constant):
        return None
    x, y = compat.constant_array(a), compat.constant_array(b)
    if str(x.dtype) not in _FLOATS or x.dtype != y.dtype or np.broadcast(x, y).size > max(x.size, y.size):
        return None
    with np.errstate(all="ignore"):
        return compat.constant(np.asarray(_ARITHMETIC[name](x, y), x.dtype))
