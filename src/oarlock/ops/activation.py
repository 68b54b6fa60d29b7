"""Activations.  Where Relax has one, it is kept as such, so that targets can fuse it; the others are one kernel each."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from ..errors import UnsupportedError
from . import scalar as s
from .builder import Builder, floordiv
from .registry import operator
from .scalar import elementwise, num, select
from .tensor import PrimExpr, Tensor

# ---- as Relax has them -----------------------------------------------------------------------------------------------


@operator
def relu(b: Builder, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return b.emit(relax.op.nn.relu(x.expr))


@operator
def relu6(b: Builder, x: Tensor) -> Tensor:
    """x limited to 0 … 6."""
    return b.emit(relax.op.clip(x.expr, 0, 6))


@operator
def leaky_relu(b: Builder, x: Tensor, negative_slope: float = 0.02) -> Tensor:
    """x, or negative_slope · x where that is negative."""
    return b.emit(relax.op.nn.leakyrelu(x.expr, negative_slope))


@operator
def gelu(b: Builder, x: Tensor, approximate: bool = False) -> Tensor:
    """x · Φ(x), by erf, or by tanh when approximate."""
    return b.emit((relax.op.nn.gelu_tanh if approximate else relax.op.nn.gelu)(x.expr))


@operator("silu", "swish")
def silu(b: Builder, x: Tensor) -> Tensor:
    """x · sigmoid(x)."""
    return b.emit(relax.op.nn.silu(x.expr))


@operator
def hardtanh(b: Builder, x: Tensor, t_min: float = -1.0, t_max: float = 1.0) -> Tensor:
    """x limited to t_min … t_max; t_max everywhere if that is the lower one."""
    return b.emit(relax.op.clip(x.expr, min(t_min, t_max), t_max))


# ---- piecewise linear ------------------------------------------------------------------------------------------------


@operator
def hardsigmoid(b: Builder, x: Tensor, slope: float = 0.2, offset: float = 0.5) -> Tensor:
    """slope · x + offset limited to 0 … 1."""
    return elementwise(b, "hardsigmoid", lambda v: s.clamp(v * num(v, slope) + num(v, offset), num(v, 0.0), num(v, 1.0)), x)


@operator
def hardswish(b: Builder, x: Tensor) -> Tensor:
    """x · relu6(x + 3) / 6."""
    # divided as Paddle does: times 1 / 6 is another number in one of four
    return elementwise(b, "hardswish", lambda v: v * s.clamp(v + num(v, 3.0), num(v, 0.0), num(v, 6.0)) / num(v, 6.0), x)


@operator
def hardshrink(b: Builder, x: Tensor, threshold: float = 0.5) -> Tensor:
    """0 where |x| < threshold, else x."""
    return elementwise(b, "hardshrink", lambda v: select(tirx.abs(v) < num(v, threshold), num(v, 0.0), v), x)


@operator
def softshrink(b: Builder, x: Tensor, threshold: float = 0.5) -> Tensor:
    """x moved towards 0 by threshold, at most to 0."""

    def element(v: PrimExpr) -> PrimExpr:
        t = num(v, threshold)
        return select(v > t, v - t, select(v < -t, v + t, select(tirx.isnan(v), v, num(v, 0.0))))

    return elementwise(b, "softshrink", element, x)


@operator
def thresholded_relu(b: Builder, x: Tensor, threshold: float = 1.0, value: float = 0.0) -> Tensor:
    """x where x > threshold, else value."""
    return elementwise(b, "thresholded_relu", lambda v: select(v <= num(v, threshold), num(v, value), v), x)


@operator
def prelu(b: Builder, x: Tensor, alpha: Tensor, data_format: str = "NCHW", mode: str = "all") -> Tensor:
    """x, or alpha · x where x is negative; alpha is one number (all), one a channel, or one an element of a sample."""
    if mode == "all":
        alpha = alpha.reshape([])
    elif mode == "channel":
        after = x.ndim - 2 if data_format == "NCHW" else 0
        alpha = alpha.reshape([alpha.size, *[1] * max(after, 0)])
    elif mode == "element":
        alpha = alpha.reshape([1, *x.shape[1:]])
    else:
        raise UnsupportedError(f"prelu mode {mode!r} is not supported")
    return elementwise(b, "prelu", lambda v, a: select(v > num(v, 0.0), v, v * a), x, alpha)


@operator
def rrelu(b: Builder, x: Tensor, lower: float = 0.125, upper: float = 1 / 3, is_test: bool = True) -> tuple[Tensor, None]:
    """x, or x times the middle of lower … upper where x is negative (what training draws at random)."""
    slope = (lower + upper) / 2
    return elementwise(b, "rrelu", lambda v: select(v < num(v, 0.0), v * num(v, slope), v), x), None


@operator
def maxout(b: Builder, x: Tensor, groups: int, axis: int = 1) -> Tensor:
    """The largest of each ``groups`` neighbouring channels."""
    axis += x.ndim if axis < 0 else 0
    channels = floordiv(x.shape[axis], groups)
    parts = x.reshape([*x.shape[:axis], channels, groups, *x.shape[axis + 1 :]])
    return b.emit(relax.op.max(parts.expr, axis + 1))


# ---- with exponentials -----------------------------------------------------------------------------------------------


@operator
def elu(b: Builder, x: Tensor, alpha: float = 1.0) -> Tensor:
    """x, or alpha · (exp(x) − 1) where x is negative."""
    return elementwise(b, "elu", lambda v: select(v < num(v, 0.0), num(v, alpha) * s.expm1(v), v), x)


@operator
def celu(b: Builder, x: Tensor, alpha: float = 1.0) -> Tensor:
    """x, or alpha · (exp(x / alpha) − 1) where x is negative."""
    return elementwise(b, "celu", lambda v: select(v < num(v, 0.0), num(v, alpha) * s.expm1(v / num(v, alpha)), v), x)


@operator
def selu(b: Builder, x: Tensor, scale: float = 1.0507009873554805, alpha: float = 1.6732632423543772) -> Tensor:
    """scale times x, or times alpha · (exp(x) − 1) where x is not positive."""
    return elementwise(b, "selu", lambda v: num(v, scale) * select(v <= num(v, 0.0), num(v, alpha) * s.expm1(v), v), x)


@operator
def softplus(b: Builder, x: Tensor, beta: Any = 1.0, threshold: Any = 20.0) -> Tensor:
    """log(1 + exp(beta · x)) / beta; x itself where beta · x exceeds the threshold."""

    def element(v: PrimExpr) -> PrimExpr:
        z = v * num(v, beta)
        return select(z > num(v, threshold), v, s.softplus(z) / num(v, beta))

    return elementwise(b, "softplus", element, x)


@operator
def softsign(b: Builder, x: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return elementwise(b, "softsign", lambda v: v / (num(v, 1.0) + tirx.abs(v)), x)


@operator
def soft_relu(b: Builder, x: Tensor, threshold: float = 40.0) -> Tensor:
    """log(1 + exp(x)), x limited to ±threshold."""
    return elementwise(b, "soft_relu", lambda v: s.softplus(s.clamp(v, num(v, -threshold), num(v, threshold))), x)


@operator
def logsigmoid(b: Builder, x: Tensor) -> Tensor:
    """log(sigmoid(x))."""
    return elementwise(b, "logsigmoid", lambda v: -s.softplus(-v), x)


@operator
def tanh_shrink(b: Builder, x: Tensor) -> Tensor:
    """x − tanh(x)."""
    return elementwise(b, "tanh_shrink", lambda v: v - s.tanh(v), x)


@operator
def mish(b: Builder, x: Tensor, lambda_: float = 20.0) -> Tensor:
    """x · tanh(softplus(x)), softplus being x itself above the threshold lambda."""

    def element(v: PrimExpr) -> PrimExpr:
        e = tirx.exp(tirx.min(v, num(v, 20.0)))  # tanh(log(1 + e)) = n / (n + 2), n = e · (e + 2); above 20 it is 1
        n = e * (e + num(v, 2.0))
        below = v * (n / (n + num(v, 2.0)))
        return below if lambda_ >= 20.0 else select(v > num(v, lambda_), v * s.tanh(v), below)

    return elementwise(b, "mish", element, x)


@operator
def swiglu(b: Builder, x: Tensor, y: Tensor | None = None) -> Tensor:
    """silu(x) · y; without y, the halves of x along the last axis."""
    if y is None:
        half = b.simplify(floordiv(x.shape[-1], 2))
        x, y = b.slice(x, x.ndim - 1, 0, half), b.slice(x, x.ndim - 1, half, b.simplify(half * 2))
    return elementwise(b, "swiglu", lambda u, v: u * s.sigmoid(u) * v, x, y)
