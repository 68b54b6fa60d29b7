"""Lowering of elementwise Relax operators where TVM's own cancels near 0 (tanh, atanh) or mistreats NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import ir, relax, te, tirx, topi

from ..compat import Constant, constant_array
from ..ops import scalar as s
from ..ops.scalar import num, te_elementwise

Legalise = Callable[[relax.BlockBuilder, ir.Call], relax.Expr]


def _unary(name: str, formula: Callable[[Any], Any]) -> Legalise:
    kernel = te_elementwise(formula)
    return lambda bb, call: bb.call_te(kernel, call.args[0], primfunc_name_hint=name)


def _binary(name: str, formula: Callable[[Any, Any], Any], plain: Callable[[Any, Any], Any]) -> Legalise:
    """Floats by the formula, which knows NaN; other dtypes by ``plain``, TVM's own."""

    def kernel(x: Any, y: Any) -> te.Tensor:
        out = plain(x, y)
        if "float" not in str(x.dtype if isinstance(x, te.Tensor) else y.dtype):
            return out

        def own(t: Any, index: tuple[Any, ...]) -> Any:
            if not isinstance(t, te.Tensor):
                return t
            tail = index[len(index) - len(t.shape) :]
            return t(*[0 if isinstance(d, tirx.IntImm) and d.value == 1 else i for d, i in zip(t.shape, tail, strict=True)])

        return te.compute(out.shape, lambda *index: formula(own(x, index), own(y, index)), name=name)

    def legalise(bb: relax.BlockBuilder, call: ir.Call) -> relax.Expr:
        x, y = (_number_or_tensor(a) for a in call.args)
        if x is not call.args[0] and y is not call.args[1]:
            x = call.args[0]  # a kernel of numbers alone would have no shape
        return bb.call_te(kernel, x, y, primfunc_name_hint=name)

    return legalise


def _number_or_tensor(arg: relax.Expr) -> Any:
    """A 0-D constant becomes a part of the kernel."""
    if isinstance(arg, Constant) and len(arg.ty.shape.values) == 0:
        return tirx.const(constant_array(arg).item(), str(arg.ty.dtype))
    return arg


def _not_equal(x: Any, y: Any) -> Any:
    """TVM's comparison is ordered: false where one is NaN."""
    return tirx.any(x != y, s.is_nan(x), s.is_nan(y))


def _clip(bb: relax.BlockBuilder, call: ir.Call) -> relax.Expr:
    low, high = (float(a.value) for a in call.args[1:3])

    def clip(v: Any) -> Any:
        return s.clamp(v, num(v, low), num(v, high))

    if "float" not in str(call.ty.dtype):
        return bb.call_te(topi.clip, call.args[0], low, high)
    return bb.call_te(te_elementwise(clip), call.args[0], primfunc_name_hint="clip")


def _gelu_tanh(v: Any) -> Any:
    inner = num(v, math.sqrt(2.0 / math.pi)) * v * (num(v, 1.0) + num(v, 0.044715) * v * v)
    return num(v, 0.5) * v * (num(v, 1.0) + s.tanh(inner))


ELEMENTWISE: dict[str, Legalise] = {
    "relax.tanh": _unary("tanh", s.tanh),
    "relax.atanh": _unary("atanh", s.atanh),
    "relax.nn.gelu_tanh": _unary("gelu_tanh", _gelu_tanh),
    "relax.maximum": _binary("maximum", s.maximum, topi.maximum),
    "relax.minimum": _binary("minimum", s.minimum, topi.minimum),
    "relax.not_equal": _binary("not_equal", _not_equal, topi.not_equal),
    "relax.clip": _clip,
}
