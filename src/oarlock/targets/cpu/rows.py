"""Reductions (sum, mean, max, min, softmax, norms of layers, groups and instances) as kernels that keep one accumulator a vector lane.

LLVM may not reorder a sum of floats, so a plain loop adds one number at a time.  Here the reduced axis is cut into vectors: lane l
adds up x[l], x[l + L], …; a tree adds the lanes; the rest that fills no vector is added at the end.  It is also more accurate.
Over axes before the last (mean of an image in NHWC) the last axis has the lanes, and each row of the image its own sum.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tvm
from tvm import relax, te, tirx

from ...rules import extremes
from ...rules.origins import Origins
from ...rules.rewriting import rewrite_functions
from .forms import dims, product
from .machine import Machine

ROW = "oarlock.row"  # block annotation: the number of leading dims, one row each
COLUMN = "oarlock.column"  # block annotation: the number of reduced loops
LONG, CHAINS = 64, 4  # a row of that many vectors is reduced in so many sums at once: an addition waits for the one before it
KEPT = 8192  # elements of a row that fit into the first-level cache, or nearly
DTYPES = ("float32", "float64")
Dim = Any
Reader = Callable[..., Any]


# top: what a softmax subtracts, where a NaN spoils the row in any case
_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "sum": lambda a, b: a + b,
    "top": te.max,
    **extremes.COMBINE,
}
_REDUCE = {"sum": te.sum, "top": te.max, **extremes.REDUCE}


def reduce_row(read: Reader, lead: list[Dim], length: Dim, kind: str, lanes: int, name: str) -> te.Tensor:
    """[lead…] of the ``kind`` over r < length of ``read(*lead, r)``."""
    reducer, combine = _REDUCE[kind], _COMBINE[kind]
    note = {ROW: [len(lead)]}
    static = isinstance(length, int)
    if static and length >= LONG * lanes:
        lanes *= CHAINS
    if static and length < 2 * lanes:
        r = te.reduce_axis((0, length), name="r")
        return te.compute(lead, lambda *s: reducer(read(*s, r), axis=r), name=f"{name}_total", attrs=note)
    groups = length // lanes
    g = te.reduce_axis((0, groups), name="g")
    parts = te.compute([*lead, lanes], lambda *s: reducer(read(*s[:-1], g * lanes + s[-1]), axis=g), name=f"{name}_lanes", attrs=note)

    def tree(*s: Dim) -> Any:
        level = [parts(*s, lane) for lane in range(lanes)]
        while len(level) > 1:
            half = len(level) // 2
            level = [combine(a, b) for a, b in zip(level[:half], level[half:], strict=True)]
        return level[0]

    if static and length % lanes == 0:
        return te.compute(lead, tree, name=f"{name}_total", attrs=note)
    t = te.reduce_axis((0, length - groups * lanes), name="t")
    rest = te.compute(lead, lambda *s: reducer(read(*s, groups * lanes + t), axis=t), name=f"{name}_rest", attrs=note)
    return te.compute(lead, lambda *s: combine(tree(*s), rest(*s)), name=f"{name}_total", attrs=note)


def _rows(x: te.Tensor) -> tuple[list[Dim], Dim]:
    *lead, length = [int(d) if isinstance(d, tirx.IntImm) else d for d in x.shape]
    return lead, length


def reduction(x: te.Tensor, kind: str, lanes: int) -> te.Tensor:
    """Over the last axis."""
    lead, length = _rows(x)
    if kind != "mean":
        return reduce_row(x, lead, length, kind, lanes, kind)
    total = reduce_row(x, lead, length, "sum", lanes, "sum")
    return te.compute(lead, lambda *s: total(*s) / tirx.Cast(str(x.dtype), length), name="mean", attrs={ROW: [len(lead)]})


def column_reduction(x: te.Tensor, kind: str, first: int, last: int, keepdims: bool) -> te.Tensor:
    """Over the axes first … last, which are not the trailing ones: over all but the first of them, then over that."""
    shape = [int(d) if isinstance(d, tirx.IntImm) else d for d in x.shape]
    reducer = _REDUCE["sum" if kind == "mean" else kind]
    lead, size, tail = shape[:first], shape[first], shape[last + 1 :]
    inner = [te.reduce_axis((0, d), name="r") for d in shape[first + 1 : last + 1]]
    source: Reader = x
    if inner:
        source = te.compute(
            [*lead, size, *tail],
            lambda *s: reducer(x(*s[: first + 1], *inner, *s[first + 1 :]), axis=inner),
            name="column_part",
            attrs={COLUMN: [len(inner)]},
        )
    outer = te.reduce_axis((0, size), name="q")
    total = te.compute(
        [*lead, *tail], lambda *s: reducer(source(*s[:first], outer, *s[first:]), axis=outer), name="column_total", attrs={COLUMN: [1]}
    )
    ones = [1] * (last + 1 - first) if keepdims else []
    count = tirx.Cast(str(x.dtype), product(shape[first : last + 1]))

    def element(*s: Dim) -> Any:
        value = total(*s[:first], *s[first + len(ones) :])
        return value / count if kind == "mean" else value

    return te.compute([*lead, *ones, *tail], element, name="column_out")


def softmax(x: te.Tensor, lanes: int, log: bool) -> te.Tensor:
    """Over the last axis; the exponentials of a row are kept when it is not long."""
    lead, length = _rows(x)
    note = {ROW: [len(lead)]}
    top = reduce_row(x, lead, length, "top", lanes, "max")

    def power(*s: Dim) -> Any:
        return te.exp(x(*s) - top(*s[:-1]))

    if log:
        total = reduce_row(power, lead, length, "sum", lanes, "sum")
        # the greatest element is taken off first: added to the logarithm it would swallow it
        shift = te.compute(lead, lambda *s: te.log(total(*s)), name="shift", attrs=note)
        return te.compute(x.shape, lambda *s: x(*s) - top(*s[:-1]) - shift(*s[:-1]), name="log_softmax", attrs=note)
    kept = isinstance(length, int) and length <= KEPT
    powers: Reader = te.compute(x.shape, power, name="row_powers", attrs=note) if kept else power
    total = reduce_row(powers, lead, length, "sum", lanes, "sum")
    # one division a row; a sum of 1 or more (its greatest summand is 1), so its inverse is as good as a division
    inverse = te.compute(lead, lambda *s: tirx.const(1, x.dtype) / total(*s), name="inverse", attrs=note)
    return te.compute(x.shape, lambda *s: powers(*s) * inverse(*s[:-1]), name="softmax", attrs=note)


def _statistics(x: te.Tensor, epsilon: float, lanes: int) -> tuple[te.Tensor, te.Tensor]:
    """Of each row its mean and 1 / √(E[(x − mean)²] + ε)."""
    lead, length = _rows(x)
    note = {ROW: [len(lead)]}
    dtype = str(x.dtype)
    count = tirx.Cast(dtype, length)
    total = reduce_row(x, lead, length, "sum", lanes, "sum")
    mean = te.compute(lead, lambda *s: total(*s) / count, name="mean", attrs=note)

    def square(*s: Dim) -> Any:
        delta = x(*s) - mean(*s[:-1])
        return delta * delta

    squares = reduce_row(square, lead, length, "sum", lanes, "squares")
    one, eps = tirx.const(1, dtype), tirx.const(epsilon, dtype)
    return mean, te.compute(lead, lambda *s: one / te.sqrt(squares(*s) / count + eps), name="inverse", attrs=note)


def layer_norm(x: te.Tensor, gamma: te.Tensor, beta: te.Tensor, epsilon: float, center: bool, scale: bool, lanes: int) -> te.Tensor:
    """Over the last axis: (x − mean) / √(E[(x − mean)²] + ε) · gamma + beta."""
    mean, inverse = _statistics(x, epsilon, lanes)

    def element(*s: Dim) -> Any:
        value = (x(*s) - mean(*s[:-1])) * inverse(*s[:-1])
        value = value * gamma(s[-1]) if scale else value
        return value + beta(s[-1]) if center else value

    return te.compute(x.shape, element, name="layer_norm", attrs={ROW: [len(x.shape) - 1]})


def group_norm(
    x: te.Tensor, gamma: te.Tensor, beta: te.Tensor, epsilon: float, center: bool, scale: bool, channels: int, places: Dim, lanes: int
) -> te.Tensor:
    """[batch, groups, channels of a group · places] over the last axis, gamma and beta by channel → [batch, groups, channels, places]."""
    mean, inverse = _statistics(x, epsilon, lanes)

    def element(n: Dim, g: Dim, c: Dim, p: Dim) -> Any:
        value = (x(n, g, c * places + p) - mean(n, g)) * inverse(n, g)
        value = value * gamma(g * channels + c) if scale else value
        return value + beta(g * channels + c) if center else value

    return te.compute([*x.shape[:2], channels, places], element, name="group_norm", attrs={ROW: [2]})


def rewrite_rows(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    """Replace the reductions of all functions of ``mod`` that this file has kernels for."""
    return relax.transform.DeadCodeElimination()(rewrite_functions(_Rewriter(mod, machine), mod))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator, Origins):
    def __init__(self, mod: tvm.IRModule, machine: Machine) -> None:
        super().__init__(mod)
        self.machine = machine

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        self.enter(binding)
        if isinstance(binding.value, relax.Call) and isinstance(binding.var, relax.DataflowVar):
            made = self._rewritten(self.visit_expr_post_order(binding.value))
            if isinstance(made, relax.Var):
                self.settle(made)
                self.set_var_remap(binding.var, made)
                return
        super().visit_var_binding_(binding)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        return self._rewritten(self.visit_expr_post_order(call))

    def _rewritten(self, call: relax.Call) -> relax.Expr:
        name = getattr(call.op, "name", "").removeprefix("relax.")
        if not call.args or not isinstance(call.args[0].ty, relax.TensorType) or str(call.args[0].ty.dtype) not in DTYPES:
            return call
        shape = dims(call.args[0])
        if shape is None or not shape:
            return call
        lanes = self.machine.lanes(str(call.args[0].ty.dtype))
        if name in ("sum", "mean", "max", "min"):
            return self._reduce(call, name, shape, lanes)
        if name in ("nn.softmax", "nn.log_softmax") and int(call.attrs.axis) in (-1, len(shape) - 1):
            return self._te(functools.partial(softmax, lanes=lanes, log=name == "nn.log_softmax"), name.removeprefix("nn."), call.args[0])
        if name == "nn.layer_norm":
            return self._layer_norm(call, shape, lanes)
        if name in ("nn.group_norm", "nn.instance_norm"):
            return self._group_norm(call, name.removeprefix("nn."), shape, lanes)
        return call

    def _te(self, function: Callable, name: str, *args: relax.Expr) -> relax.Var:
        # 3 = TVM's kCommReduce: elementwise operators before it join it
        return self.emit(self.builder_.call_te(function, *args, primfunc_name_hint=name, primfunc_attrs={"op_pattern": 3}))

    def _reshape(self, x: relax.Expr, shape: list) -> relax.Expr:
        have = dims(x)
        return x if have is not None and len(have) == len(shape) else self.emit(relax.op.reshape(x, tuple(shape)))

    def _reduce(self, call: relax.Call, kind: str, shape: list, lanes: int) -> relax.Expr:
        rank = len(shape)
        axes = sorted(int(a) % rank for a in call.attrs.axis) if call.attrs.axis is not None else list(range(rank))
        if not axes or axes != list(range(axes[0], axes[-1] + 1)):
            return call
        if axes[-1] != rank - 1:
            keep = bool(call.attrs.keepdims)
            function = functools.partial(column_reduction, kind=kind, first=axes[0], last=axes[-1], keepdims=keep)
            return self._te(function, kind, call.args[0])
        lead = shape[: axes[0]]
        length = product(shape[axes[0] :])
        if isinstance(length, int) and (length < 8 or lead and isinstance(lead[-1], int) and 0 in lead):
            return call
        made = self._te(functools.partial(reduction, kind=kind, lanes=lanes), kind, self._reshape(call.args[0], [*lead, length]))
        return self._reshape(made, [*lead, *[1] * len(axes)] if call.attrs.keepdims else lead)

    def _layer_norm(self, call: relax.Call, shape: list, lanes: int) -> relax.Expr:
        axes = sorted(int(a) % len(shape) for a in call.attrs.axes)
        if axes != list(range(axes[0], len(shape))) or any(len(dims(a) or []) != len(axes) for a in call.args[1:]):
            return call
        lead, length = shape[: axes[0]], product(shape[axes[0] :])
        x, gamma, beta = (self._reshape(a, [*head, length]) for a, head in zip(call.args, (lead, [], []), strict=True))
        a = call.attrs
        function = functools.partial(layer_norm, epsilon=float(a.epsilon), center=bool(a.center), scale=bool(a.scale), lanes=lanes)
        return self._reshape(self._te(function, "layer_norm", x, gamma, beta), shape)

    def _group_norm(self, call: relax.Call, name: str, shape: list, lanes: int) -> relax.Expr:
        """Where the channels stand before all places, so that a group lies in one piece."""
        rank, a = len(shape), call.attrs
        axes, channels = sorted(int(axis) % rank for axis in a.axes), shape[1]
        if (
            int(a.channel_axis) % rank != 1
            or axes != list(range(2, rank))
            or not isinstance(channels, int)
            or any(d == 0 for d in shape if isinstance(d, int))
        ):
            return call
        groups, places = int(a.num_groups) if name == "group_norm" else channels, product(shape[2:])
        own = {"center": bool(a.center), "scale": bool(a.scale), "channels": channels // groups, "places": places}
        function = functools.partial(group_norm, epsilon=float(a.epsilon), lanes=lanes, **own)
        x = self.emit(relax.op.reshape(call.args[0], (shape[0], groups, channels // groups * places)))
        return self.emit(relax.op.reshape(self._te(function, name, x, *call.args[1:]), tuple(shape)))
