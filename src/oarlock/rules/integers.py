"""Products of quantised tensors as products of integers.

Before: ``conv2d(q(x) · s / n, w · t / m)`` with whole numbers q(x) (a kernel marked INTEGERS) and w (a constant), s and t constant scales.
After: ``astype(conv2d(astype(q(x), int8), w as int8) → int32, float32) · (s · t / n / m)``; the same for matmul with constant weights.
Does not apply to 16-bit numbers, or where the target has no kernel for the depth and the groups; t may differ by output channel, s may
not differ.  The sum of integers is exact; Paddle's own sum of floats is off by its rounding errors.

``q(max_pool2d(x))`` becomes ``max_pool2d(q(x))``, which is the same number and a quarter of the bytes, where what is pooled is only
quantised: rounding keeps the order of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from .. import compat
from ..ops.quant import INTEGERS
from .origins import Origins
from .pointwise import recognise
from .rewriting import bodies, readers, rewrite_functions

LARGEST = 127


def integer_products(mod: tvm.IRModule, takes: Callable[[Sequence[int], int, int | None], bool]) -> tvm.IRModule:
    """Apply the rule to all functions of ``mod``.

    ``takes``: says of the shape of weights ([O, I/groups, KH, KW], or [K, N]), the number of groups and the last
    dim of the result (None where that is symbolic) whether the target has a kernel that pays.
    """
    return rewrite_functions(_Rewriter(mod, takes), mod)


@dataclass(frozen=True)
class _Quantised:
    """``integers`` · ``scale``, elementwise."""

    integers: relax.Expr
    scale: np.ndarray


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator, Origins):
    def __init__(self, mod: tvm.IRModule, takes: Callable[[Sequence[int], int, int | None], bool]) -> None:
        super().__init__(mod)
        self.takes = takes
        self.marked = {gv for gv, f in mod.functions.items() if 0 < int((f.attrs or {}).get(INTEGERS, 0)) <= LARGEST}
        self.kernels = dict(mod.functions.items())
        self.values: dict[relax.Var, relax.Expr] = {}
        self.readers = readers(*bodies(mod))

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        self.enter(binding)
        self.values[binding.var] = binding.value
        made = self._rewritten(binding.value) if isinstance(binding.value, relax.Call) else None
        if made is None:
            super().visit_var_binding_(binding)
        else:
            self.settle(made)
            self.set_var_remap(binding.var, made)

    def _rewritten(self, call: relax.Call) -> relax.Expr | None:
        name = getattr(call.op, "name", "")
        if name not in ("relax.nn.conv2d", "relax.matmul") or str(call.ty.dtype) != "float32":
            return None
        data, weight = (self._quantised(a) for a in call.args)
        if data is None or weight is None or data.scale.size != 1 or not self._is_marked(data.integers):
            return None
        w = self._constant(weight.integers)
        if w is None or not np.array_equal(w, np.round(w)) or w.min(initial=0) < -LARGEST - 1 or w.max(initial=0) > LARGEST:
            return None
        groups = 1
        if name == "relax.nn.conv2d":
            groups = int(call.attrs.groups)
            if w.ndim != 4 or (str(call.attrs.data_layout), str(call.attrs.kernel_layout)) != ("NCHW", "OIHW"):
                return None
            channels = w.shape[0]
            spread: tuple[int, ...] = (-1, 1, 1, 1)
        else:
            if w.ndim != 2:
                return None
            channels = w.shape[1]
            spread = (1, -1)
        shape = call.ty.shape
        width = compat.static(shape.values[-1]) if isinstance(shape, relax.ShapeExpr) else None
        if not w.size or not self.takes(w.shape, groups, width if isinstance(width, int) else None):
            return None
        if w.size // channels * (LARGEST + 1) * LARGEST >= 2**31:
            return None  # the sum might not fit
        scale = np.broadcast_to(weight.scale, w.shape) if weight.scale.ndim <= w.ndim else None
        if scale is None or weight.scale.size not in (1, channels):
            return None
        by_channel = scale[:, 0, 0, 0] if len(spread) == 4 else scale[0]
        if not np.array_equal(scale, np.broadcast_to(by_channel.reshape(spread), w.shape)):
            return None
        integers = self._pooled(data.integers)
        if integers is None:
            integers = self.emit(relax.op.astype(self.visit_expr(data.integers), "int8"))
        narrow = compat.constant(w.astype("int8"))
        if name == "relax.nn.conv2d":
            a = call.attrs
            strides, padding, dilation = ([int(v) for v in x] for x in (a.strides, a.padding, a.dilation))
            sums = relax.op.nn.conv2d(integers, narrow, strides, padding, dilation, groups, out_dtype="int32")
            factor = (data.scale.reshape(()) * by_channel).reshape(1, -1, 1, 1)
        else:
            sums = relax.op.matmul(integers, narrow, out_dtype="int32")
            factor = (data.scale.reshape(()) * by_channel).reshape([1] * (call.ty.ndim - 1) + [-1])
        wide = self.emit(relax.op.astype(self.emit(sums), "float32"))
        return self.emit(relax.op.multiply(wide, compat.constant(factor.astype("float32"))))

    def _quantised(self, expr: relax.Expr) -> _Quantised | None:
        """``expr`` as integers · scale / largest, which is how quantised tensors become numbers again."""
        value = self._value(expr)
        if not _calls(value, "relax.divide"):
            return None
        largest, product = self._constant(value.args[1]), self._value(value.args[0])
        if largest is None or largest.size != 1 or not _calls(product, "relax.multiply"):
            return None
        scale = self._constant(product.args[1])
        if scale is None or not math.isfinite(float(np.abs(scale).max(initial=0))):
            return None
        return _Quantised(product.args[0], scale.astype("float64") / float(largest.reshape(())))

    def _pooled(self, integers: relax.Expr) -> relax.Var | None:
        """Quantised results of max pooling (a marked kernel's) as int8, pooled after they are quantised; None for anything else."""
        quantise = self._value(integers)
        if len(quantise.args[1].fields) != 2:
            return None
        x, scale = quantise.args[1].fields
        pool = self._value(x)
        if not _calls(pool, "relax.nn.max_pool2d") or bool(pool.attrs.ceil_mode):  # a window may then lie in padding alone
            return None
        factor, made = self._constant(scale), recognise(self.kernels[quantise.args[0]])
        if factor is None or not (factor > 0).all() or made is None or not made.pointwise:
            return None
        if any(reader is None or not _calls(reader, "relax.call_tir") or reader.args[0] not in self.marked for reader in self.readers[x]):
            return None
        source, emit = self.visit_expr(pool.args[0]), self.emit
        name = "quantize_linear"
        tensors = source, self.visit_expr(scale)
        whole = emit(self.builder_.call_te(lambda *t: made.broadcast(t[0].shape, t, name), *tensors, primfunc_name_hint=name))
        return emit(relax.Call(pool.op, [emit(relax.op.astype(whole, "int8"))], pool.attrs))

    def _is_marked(self, expr: relax.Expr) -> bool:
        value = self._value(expr)
        return _calls(value, "relax.call_tir") and value.args[0] in self.marked

    def _value(self, expr: relax.Expr) -> relax.Expr:
        return self.values.get(expr, expr) if isinstance(expr, relax.Var) else expr

    def _constant(self, expr: relax.Expr) -> np.ndarray | None:
        """The number or numbers that ``expr`` is: a constant, perhaps in another shape or type."""
        value = self._value(expr)
        if isinstance(value, compat.Constant):
            return compat.constant_array(value)
        if _calls(value, "relax.reshape") or _calls(value, "relax.astype"):
            inner = self._constant(value.args[0])
            shape = [d for d in map(compat.static, value.ty.shape.values) if isinstance(d, int)]
            if inner is None or str(value.ty.dtype) not in ("float32", "float64", "int8", "int32") or len(shape) < value.ty.ndim:
                return None
            return inner.astype(str(value.ty.dtype)).reshape(shape)
        return None


def _calls(value: relax.Expr, name: str) -> bool:
    return isinstance(value, relax.Call) and getattr(value.op, "name", "") == name
