"""Fold constant factors and summands that follow a convolution or product into its weights.

Before: ``conv2d(x, w) · s + b`` with s, b constant, one number a channel (a batch norm, a learned scale) or one for all.
After: ``conv2d(x, w · s) + b``; ``(conv2d(x, w) + a) · s + b`` becomes ``conv2d(x, w · s) + (a · s + b)``.
The scales of a product of integers, ``astype(conv2d(i, j), float32) · t``, take the place of its weights.
Does not apply where the convolution's result has another reader (it would run twice), or where constants vary over places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from .. import compat
from .origins import Origins
from .rewriting import bodies, readers, rewrite_functions

_AXIS = {"relax.nn.conv2d": 1, "relax.nn.conv1d": 1, "relax.matmul": -1}  # where the channels of the result are


@dataclass(frozen=True)
class _Affine:
    """A value that is ``call`` (constant weights, channels along ``axis`` of ``rank`` dims) plus ``bias`` (float64, by channel)."""

    call: relax.Call
    axis: int
    rank: int
    bias: np.ndarray | None


def fold_affine(mod: tvm.IRModule) -> tvm.IRModule:
    """Apply the rule to all functions of ``mod``."""
    return relax.transform.DeadCodeElimination()(rewrite_functions(_Fold(mod), mod))


@relax.expr_functor.mutator
class _Fold(relax.PyExprMutator, Origins):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.readers = readers(*bodies(mod))
        self.known: dict[relax.Var, _Affine] = {}
        self.sums: dict[relax.Var, int] = {}  # sums of integers, as they are or as floats: the axis of their channels

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        self.enter(binding)
        self._note_sums(binding)
        folded = self._fold(binding.value)
        if folded is not None and isinstance(binding.var, relax.DataflowVar):
            self.known[binding.var] = folded
            if folded.call is not binding.value:
                made = self._bind(folded)
                self.settle(made)
                self.set_var_remap(binding.var, made)
                return
        super().visit_var_binding_(binding)

    def _note_sums(self, binding: relax.VarBinding) -> None:
        value = binding.value
        name = getattr(value.op, "name", "") if isinstance(value, relax.Call) else ""
        if name in _AXIS and isinstance(value.ty, relax.TensorType) and str(value.ty.dtype) == "int32" and value.ty.ndim > 0:
            self.sums[binding.var] = _AXIS[name] % value.ty.ndim
        elif name == "relax.astype" and value.args[0] in self.sums:
            self.sums[binding.var] = self.sums[value.args[0]]

    def _fold(self, value: relax.Expr) -> _Affine | None:
        """``value`` as an affine function of a convolution with constant weights."""
        name = getattr(value.op, "name", "") if isinstance(value, relax.Call) else ""
        if name in _AXIS:
            return self._start(value, name)
        if name not in ("relax.multiply", "relax.add", "relax.subtract", "relax.divide"):
            return None
        a, b = value.args
        if name == "relax.multiply" and isinstance(a, relax.Var) and a in self.sums and isinstance(b, compat.Constant):
            axis, rank = self.sums[a], value.ty.ndim
            scales = b.ty.shape.values
            whole = str(value.ty.dtype) == "float32" and len(scales) == rank and all(int(d) == 1 for i, d in enumerate(scales) if i != axis)
            return _Affine(value, axis, rank, None) if whole else None
        if isinstance(a, compat.Constant) and name in ("relax.multiply", "relax.add"):
            a, b = b, a
        before = self.known.get(a) if isinstance(a, relax.Var) and len(self.readers[a]) == 1 else None
        if before is None or not isinstance(b, compat.Constant) or str(b.ty.dtype) != str(value.ty.dtype):
            return None
        constant = _by_channel(compat.constant_array(b), before, value)
        if constant is None:
            return None
        if name in ("relax.add", "relax.subtract"):
            sign = 1.0 if name == "relax.add" else -1.0
            return _Affine(before.call, before.axis, before.rank, sign * constant + (0.0 if before.bias is None else before.bias))
        if name == "relax.divide" and not constant.all():
            return None
        factor = constant if name == "relax.multiply" else 1.0 / constant
        call = _scaled(before, factor)
        if call is None:
            return None
        return _Affine(call, before.axis, before.rank, None if before.bias is None else before.bias * factor)

    def _start(self, call: relax.Call, name: str) -> _Affine | None:
        weight = call.args[1]
        ty = call.ty
        if not isinstance(weight, compat.Constant) or str(weight.ty.dtype) not in ("float32", "float64") or ty.dtype != weight.ty.dtype:
            return None
        if not isinstance(ty, relax.TensorType) or ty.ndim < 1 or (name == "relax.matmul" and len(weight.ty.shape.values) != 2):
            return None
        if name != "relax.matmul" and (str(call.attrs.out_layout)[1] != "C" or str(call.attrs.kernel_layout)[0] != "O"):
            return None
        return _Affine(call, _AXIS[name] % ty.ndim, ty.ndim, None)

    def _bind(self, affine: _Affine) -> relax.Var:
        call = affine.call
        out = self.emit(relax.Call(call.op, [self.visit_expr(a) for a in call.args], call.attrs, call.ty_args))
        if affine.bias is None:
            return out
        dtype = compat.constant_array(call.args[1]).dtype
        shape = [1] * affine.rank
        shape[affine.axis] = -1
        return self.emit(relax.op.add(out, compat.constant(affine.bias.astype(dtype).reshape(shape))))


def _weight_axis(affine: _Affine) -> int:
    """Where the output's channels are in the constant."""
    return {"relax.matmul": 1, "relax.multiply": affine.axis}.get(affine.call.op.name, 0)


def _channels(affine: _Affine) -> int:
    return int(affine.call.args[1].ty.shape.values[_weight_axis(affine)])


def _by_channel(array: np.ndarray, affine: _Affine, value: relax.Expr) -> np.ndarray | None:
    """The constant as one float64 a channel, or None when it varies over places, is not finite, or widens the result."""
    channels = _channels(affine)
    if array.ndim > affine.rank or not isinstance(value.ty, relax.TensorType) or value.ty.ndim != affine.rank:
        return None
    padded = array.reshape([1] * (affine.rank - array.ndim) + list(array.shape))
    if any(d != 1 for i, d in enumerate(padded.shape) if i != affine.axis) or padded.shape[affine.axis] not in (1, channels):
        return None
    if not np.isfinite(padded).all():
        return None
    return np.broadcast_to(padded.reshape(-1), channels).astype("float64")


def _scaled(affine: _Affine, factor: np.ndarray) -> relax.Call | None:
    """The call with its weights multiplied; None when a weight would overflow or lose its precision."""
    call = affine.call
    weight = compat.constant_array(call.args[1])
    where = [1] * weight.ndim
    where[_weight_axis(affine)] = -1
    exact = weight.astype("float64") * factor.reshape(where)
    limits = np.finfo(weight.dtype)
    size = np.abs(exact[exact != 0])
    if size.size and (size.max() > limits.max or size.min() < limits.tiny):
        return None
    new = relax.Call(call.op, [call.args[0], compat.constant(exact.astype(weight.dtype))], call.attrs, call.ty_args)
    compat.set_type(new, call.ty)
    return new
