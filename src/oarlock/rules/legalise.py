"""Our own lowering of Relax operators whose lowering in TVM loses accuracy, or a NaN (extremes.py).

TVM lowers layer_norm, group_norm and instance_norm with var = E[x²] − E[x]², which cancels when the mean is large against
the deviation (and may turn negative).  Here the variance is E[(x − E[x])²], as in Paddle.  Sums are in float32 or wider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import ir, relax, te, tirx

from .extremes import legalise_extreme
from .legalise_elementwise import ELEMENTWISE

Legalise = Callable[[relax.BlockBuilder, ir.Call], relax.Expr]


def _accumulator(dtype: str) -> str:
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _normalised(x: te.Tensor, groups: int, channel: int, axes: list[int], epsilon: float, affine: Callable[..., Any]) -> te.Tensor:
    """(x − mean) · 1/√(var + ε), then ``affine(value, index)``; statistics over ``axes`` and over the channels of a group.

    channel < 0: no groups, ``axes`` alone are reduced.
    """
    dtype = str(x.dtype)
    wide = _accumulator(dtype)
    rank = len(x.shape)
    share = tirx.floordiv(x.shape[channel], groups) if channel >= 0 else None
    kept = [a for a in range(rank) if a not in axes]
    stat_shape = [groups if a == channel else x.shape[a] for a in kept] or [1]
    count: Any = share if share is not None else tirx.IntImm("int64", 1)
    for a in axes:
        count = count * x.shape[a]
    count = tirx.Cast(wide, count)

    def reduction() -> tuple[list[Any], Callable[..., list[Any]]]:
        within = [te.reduce_axis((0, share), name="rc")] if share is not None else []
        over = {a: te.reduce_axis((0, x.shape[a]), name="r") for a in axes}

        def place(*stat: Any) -> list[Any]:
            named = dict(zip(kept, stat, strict=False))
            if within:
                named[channel] = named[channel] * share + within[0]
            return [over[a] if a in over else named[a] for a in range(rank)]

        return [*within, *over.values()], place

    first, at_first = reduction()
    second, at_second = reduction()
    total = te.compute(stat_shape, lambda *s: te.sum(x(*at_first(*s)).astype(wide), axis=first), name="norm_sum")

    def square(*s: Any) -> Any:
        delta = x(*at_second(*s)).astype(wide) - total(*s) / count
        return te.sum(delta * delta, axis=second)

    squares = te.compute(stat_shape, square, name="norm_squares")

    def element(*index: Any) -> Any:
        stat = [tirx.floordiv(index[a], share) if a == channel else index[a] for a in kept] or [0]
        inverse = tirx.const(1.0, wide) / te.sqrt(squares(*stat) / count + tirx.const(epsilon, wide))
        return affine((x(*index).astype(wide) - total(*stat) / count) * inverse, index, wide).astype(dtype)

    return te.compute(x.shape, element, name="norm")


def _positive(axes: Any, rank: int) -> list[int]:
    return sorted(int(a) % rank for a in axes)


def _layer_norm(bb: relax.BlockBuilder, call: ir.Call) -> relax.Expr:
    axes, epsilon = list(call.attrs.axes), float(call.attrs.epsilon)

    def layer_norm(x: te.Tensor, gamma: te.Tensor, beta: te.Tensor) -> te.Tensor:
        over = _positive(axes, len(x.shape))

        def affine(value: Any, index: Any, wide: str) -> Any:
            own = [index[a] for a in over]
            return value * gamma(*own).astype(wide) + beta(*own).astype(wide)

        return _normalised(x, 1, -1, over, epsilon, affine)

    return bb.call_te(layer_norm, *call.args, primfunc_name_hint="layer_norm")


def _group_norm(bb: relax.BlockBuilder, call: ir.Call) -> relax.Expr:
    groups, channel = int(call.attrs.num_groups), int(call.attrs.channel_axis)
    return _by_channel(bb, call, "group_norm", groups, channel)


def _instance_norm(bb: relax.BlockBuilder, call: ir.Call) -> relax.Expr:
    return _by_channel(bb, call, "instance_norm", 0, int(call.attrs.channel_axis))


def _by_channel(bb: relax.BlockBuilder, call: ir.Call, name: str, groups: int, channel: int) -> relax.Expr:
    axes, epsilon = list(call.attrs.axes), float(call.attrs.epsilon)

    def norm(x: te.Tensor, gamma: te.Tensor, beta: te.Tensor) -> te.Tensor:
        rank = len(x.shape)
        own = channel % rank

        def affine(value: Any, index: Any, wide: str) -> Any:
            return value * gamma(index[own]).astype(wide) + beta(index[own]).astype(wide)

        return _normalised(x, groups, own if groups else -1, _positive(axes, rank), epsilon, affine)

    return bb.call_te(norm, *call.args, primfunc_name_hint=name)


LEGALISATIONS: dict[str, Legalise] = {
    "relax.nn.layer_norm": _layer_norm,
    "relax.nn.group_norm": _group_norm,
    "relax.nn.instance_norm": _instance_norm,
    "relax.max": legalise_extreme,
    "relax.min": legalise_extreme,
    **ELEMENTWISE,
}
