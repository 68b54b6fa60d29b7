"""Normalisation: batch, layer, group, instance, RMS, L2, local response, spectral."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .registry import operator
from .spatial import along, channel_axis, channels_last, contents
from .tensor import Dim, Tensor


def _wide(dtype: str) -> str:
    """What statistics are computed in."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _vector(b: Builder, x: Tensor | None, default: float, size: Dim, dtype: str) -> Tensor:
    """Scale or bias of ``size`` numbers; the default where the operator has none."""
    return b.full([size], default, dtype) if x is None else x.astype(dtype).reshape([x.size])


def _rsqrt(b: Builder, x: Tensor) -> Tensor:
    """1 / √x, not the processor's approximation."""
    return b.const(1.0, x.dtype) / b.emit(relax.op.sqrt(x.expr))


# ---- batch norm ------------------------------------------------------------------------------------------------------


def scale_and_shift(
    b: Builder, mean: Tensor, variance: Tensor, scale: Tensor | None, bias: Tensor | None, epsilon: float, dtype: str
) -> tuple[Tensor, Tensor]:
    """(a, c) with batch_norm(x) = x · a + c; constants when the statistics are constants."""
    arrays = [contents(t) for t in (mean, variance, scale, bias)]
    if all(a is not None or t is None for a, t in zip(arrays, (mean, variance, scale, bias), strict=True)):
        m, v, s, c = (a if a is None else a.astype("float64").reshape(-1) for a in arrays)
        assert m is not None and v is not None
        factor = (1.0 if s is None else s) / np.sqrt(v + epsilon)
        shift = (0.0 if c is None else c) - m * factor
        return b.const(factor, dtype), b.const(shift, dtype)
    mean, variance = mean.astype(dtype), variance.astype(dtype)
    factor_ = _rsqrt(b, variance + epsilon)
    factor_ = factor_ if scale is None else factor_ * scale.astype(dtype)
    shift_ = -(mean * factor_) if bias is None else bias.astype(dtype) - mean * factor_
    return factor_, shift_


@operator("batch_norm", "sync_batch_norm")
def batch_norm(
    b: Builder,
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    is_test: bool = False,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    data_format: str = "NCHW",
    use_global_stats: bool = False,
    trainable_statistics: bool = False,
) -> tuple[Tensor | None, ...]:
    """x · scale / √(variance + ε) + (bias − mean · scale / √(variance + ε)); the batch's own statistics when training."""
    axis = channel_axis(data_format, x.ndim) if x.ndim > 2 else x.ndim - 1
    wide = _wide(x.dtype)
    channels = mean.size
    if isinstance(channels, int) and not isinstance(x.shape[axis], int):
        x = b.match(x, [*x.shape[:axis], channels, *x.shape[axis + 1 :]])
    data = x.astype(wide)
    if (is_test and not trainable_statistics) or use_global_stats:
        factor, shift = scale_and_shift(b, mean, variance, scale, bias, epsilon, wide)
        out = (data * along(factor, axis, x.ndim) + along(shift, axis, x.ndim)).astype(x.dtype)
        return out, mean, variance, None, None, None
    axes = [a for a in range(x.ndim) if a != axis]
    own_mean = b.emit(relax.op.mean(data.expr, axes))
    centred = data - along(own_mean, axis, x.ndim)
    own_variance = b.emit(relax.op.mean((centred * centred).expr, axes))
    inverse = _rsqrt(b, own_variance + epsilon)
    out = centred * along(inverse if scale is None else inverse * scale.astype(wide), axis, x.ndim)
    out = out if bias is None else out + along(bias.astype(wide), axis, x.ndim)
    running = [old.astype(wide) * momentum + new * (1.0 - momentum) for old, new in ((mean, own_mean), (variance, own_variance))]
    return out.astype(x.dtype), *running, own_mean, inverse, None


@operator
def fused_batch_norm_act(
    b: Builder, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, momentum: float, epsilon: float, act_type: str
) -> tuple[Tensor | None, ...]:
    """batch_norm of channels-last data by the batch's own statistics (Paddle's kernel knows nothing else), then an activation."""
    if act_type != "relu":
        raise UnsupportedError(f"fused_batch_norm_act with act_type={act_type!r}")
    out = batch_norm(b, x, mean, variance, scale, bias, False, momentum, epsilon, "NHWC")[0]
    assert out is not None
    return b.emit(relax.op.nn.relu(out.expr)), None, None, None, None, None


# ---- layer, group, instance ------------------------------------------------------------------------------------------


def normalise_layer(b: Builder, x: Tensor, scale: Tensor | None, bias: Tensor | None, epsilon: float, begin_norm_axis: int) -> Tensor:
    """(x − mean) / √(var + ε) · scale + bias over the axes from begin_norm_axis on."""
    begin = begin_norm_axis + x.ndim if begin_norm_axis < 0 else begin_norm_axis
    known = scale if scale is not None else bias
    if begin == x.ndim - 1 and known is not None:
        x = b.match(x, [*x.shape[:-1], known.size]) if isinstance(known.size, int) else x
    over = x.shape[begin:]
    if any(isinstance(d, int) and d == 0 for d in over):
        return x
    wide = _wide(x.dtype)
    gamma, beta = (b.full(over, default, wide) if t is None else t.astype(wide).reshape(over) for t, default in ((scale, 1.0), (bias, 0.0)))
    axes = list(range(begin - x.ndim, 0))
    out = relax.op.nn.layer_norm(x.astype(wide).expr, gamma.expr, beta.expr, axes, epsilon)
    return b.emit(out).astype(x.dtype)


@operator
def layer_norm(
    b: Builder, x: Tensor, scale: Tensor | None = None, bias: Tensor | None = None, epsilon: float = 1e-5, begin_norm_axis: int = 1
) -> tuple[Tensor | None, ...]:
    """Mean 0 and variance 1 over the trailing axes, then scale and bias."""
    return normalise_layer(b, x, scale, bias, epsilon, begin_norm_axis), None, None


@operator
def fast_ln(b: Builder, x: Tensor, scale: Tensor, bias: Tensor, epsilon: float) -> tuple[Tensor | None, ...]:
    """layer_norm over the last axis."""
    return normalise_layer(b, x, scale, bias, epsilon, x.ndim - 1), None, None


@operator
def skip_layernorm(
    b: Builder, x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, epsilon: float = 1e-5, begin_norm_axis: int = 2
) -> Tensor:
    """layer_norm(x + y)."""
    return normalise_layer(b, x + y, scale, bias, epsilon, begin_norm_axis)


@operator
def group_norm(
    b: Builder,
    x: Tensor,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    epsilon: float = 1e-5,
    groups: int = -1,
    data_format: str = "NCHW",
) -> tuple[Tensor | None, ...]:
    """Mean 0 and variance 1 over the channels of a group and all places, then scale and bias by channel."""
    axis = channel_axis(data_format, x.ndim)
    known = scale if scale is not None else bias
    channels = known.size if known is not None else x.shape[axis]
    x = b.match(x, [*x.shape[:axis], channels, *x.shape[axis + 1 :]])
    wide = _wide(x.dtype)
    gamma, beta = _vector(b, scale, 1.0, channels, wide), _vector(b, bias, 0.0, channels, wide)
    axes = [a for a in range(1, x.ndim) if a != axis]
    out = relax.op.nn.group_norm(x.astype(wide).expr, gamma.expr, beta.expr, groups, axis, axes, epsilon)
    return b.emit(out).astype(x.dtype), None, None


@operator
def add_group_norm_silu(
    b: Builder,
    x: Tensor,
    residual: Tensor | None = None,
    scale: Tensor | None = None,
    bias: Tensor | None = None,
    epsilon: float = 1e-5,
    groups: int = -1,
    data_format: str = "NCHW",
    activation: str = "",
) -> tuple[Tensor | None, ...]:
    """group_norm(x + residual), with silu behind it where activation says so; and the sum."""
    if activation not in ("", "silu"):
        raise UnsupportedError(f"add_group_norm_silu with activation={activation!r}")
    total = x if residual is None else x + residual
    out = group_norm(b, total, scale, bias, epsilon, groups, data_format)[0]
    assert out is not None
    return (b.emit(relax.op.nn.silu(out.expr)) if activation else out), total, None, None


@operator
def instance_norm(
    b: Builder, x: Tensor, scale: Tensor | None = None, bias: Tensor | None = None, epsilon: float = 1e-5
) -> tuple[Tensor | None, ...]:
    """Mean 0 and variance 1 over the places of every channel, then scale and bias by channel."""
    known = scale if scale is not None else bias
    channels = known.size if known is not None else x.shape[1]
    x = b.match(x, [x.shape[0], channels, *x.shape[2:]])
    shape, wide = x.shape, _wide(x.dtype)
    data = x.reshape([*shape, 1]) if x.ndim == 2 else x
    gamma, beta = _vector(b, scale, 1.0, channels, wide), _vector(b, bias, 0.0, channels, wide)
    out = relax.op.nn.instance_norm(data.astype(wide).expr, gamma.expr, beta.expr, 1, list(range(2, data.ndim)), epsilon)
    return b.emit(out).astype(x.dtype).reshape(shape), None, None


def normalise_rms(b: Builder, x: Tensor, scale: Tensor | None, epsilon: float, begin: int) -> Tensor:
    """x / √(mean(x²) + ε) · scale over the axes from ``begin`` on."""
    wide = _wide(x.dtype)
    data = x.astype(wide)
    mean = b.emit(relax.op.mean((data * data).expr, list(range(begin, x.ndim)), keepdims=True))
    out = data * _rsqrt(b, mean + epsilon)
    return (out if scale is None else out * scale.astype(wide).reshape(x.shape[begin:])).astype(x.dtype)


@operator
def rms_norm(
    b: Builder,
    x: Tensor,
    scale: Tensor | None = None,
    normalized_shape: list = [],  # noqa: B006 - never changed
    epsilon: float = 1e-5,
) -> tuple[Tensor | None, ...]:
    """x / √(mean(x²) + ε) · scale over the last len(normalized_shape) axes."""
    return normalise_rms(b, x, scale, epsilon, x.ndim - max(len(normalized_shape), 1)), None


@operator("fused_rms_norm_ext", "fast_rms_norm")
def fused_rms_norm_ext(b: Builder, x: Tensor, scale: Tensor, epsilon: float = 1e-5) -> tuple[Tensor | None, ...]:
    """rms_norm over the last axis."""
    return normalise_rms(b, x, scale, epsilon, x.ndim - 1), None


def _with_residual(x: Tensor, bias: Tensor | None, residual: Tensor | None) -> Tensor:
    """What a fused norm normalises.  Paddle's kernels do not read the bias where there is no residual."""
    if residual is None:
        return x
    return (x if bias is None else x + bias) + residual


@operator
def fused_rms_norm_quant(
    b: Builder,
    x: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    epsilon: float = 1e-5,
    begin_norm_axis: int = 1,
    quant_scale: float = -1.0,
    quant_round_type: int = 0,
    quant_max_bound: float = 0.0,
    quant_min_bound: float = 0.0,
) -> tuple[Tensor | None, ...]:
    """rms_norm(x + bias + residual) · norm_weight + norm_bias, and the sum that was normalised; without a residual x alone."""
    if quant_scale > 0:
        raise UnsupportedError("fused_rms_norm_quant with a quantised result")
    total = _with_residual(x, bias, residual)
    begin = begin_norm_axis + x.ndim if begin_norm_axis < 0 else begin_norm_axis
    out = normalise_rms(b, total, norm_weight, epsilon, begin)
    out = out if norm_bias is None else out + norm_bias.reshape(x.shape[begin:])
    return out, total if residual is not None else None, None


@operator
def fused_bias_residual_layernorm(
    b: Builder,
    x: Tensor,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    epsilon: float = 1e-5,
    residual_alpha: float = 1.0,
    begin_norm_axis: int = 1,
    quant_scale: float = -1.0,
    quant_round_type: int = 0,
    quant_max_bound: float = 0.0,
    quant_min_bound: float = 0.0,
) -> tuple[Tensor | None, ...]:
    """layer_norm(x + bias + residual_alpha · residual), and the sum that was normalised; without a residual of x alone."""
    if quant_scale > 0:
        raise UnsupportedError("fused_bias_residual_layernorm with a quantised result")
    total = _with_residual(x, bias, None if residual is None else residual * residual_alpha)
    if residual is not None and norm_weight is None and norm_bias is None:  # then it is only the sum
        return total, None, None, None
    out = normalise_layer(b, total, norm_weight, norm_bias, epsilon, begin_norm_axis)
    return out, total if residual is not None else None, None, None


# ---- the others ------------------------------------------------------------------------------------------------------


@operator
def norm(b: Builder, x: Tensor, axis: int, epsilon: float, is_test: bool = True) -> tuple[Tensor, Tensor]:
    """x / √(Σ x² + ε) along one axis, and the divisor."""
    total = b.emit(relax.op.sum((x * x).expr, [axis], keepdims=True)) + epsilon
    length = b.emit(relax.op.sqrt(total.expr))
    return x / length, length


@operator
def lrn(
    b: Builder, x: Tensor, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, data_format: str = "AnyLayout"
) -> tuple[Tensor, Tensor | None]:
    """x / (k + α · Σ x²)^β, the sum over n channels around."""
    axis = x.ndim - 1 if channels_last(data_format) else 1
    before = (n - 1) // 2

    def scaled(t: te.Tensor, *index: Any) -> Any:
        total: Any = tirx.const(k, x.dtype)
        for step in range(-before, n - before):
            at = index[axis] + step
            value = t(*index[:axis], at, *index[axis + 1 :])
            term = tirx.if_then_else(tirx.all(at >= 0, at < x.shape[axis]), value * value, tirx.const(0, x.dtype))
            total = total + term * tirx.const(alpha, x.dtype)
        return t(*index) * tirx.pow(total, tirx.const(-beta, x.dtype))

    return b.compute(x.shape, scaled, x, name="lrn"), None


@operator
def spectral_norm(b: Builder, weight: Tensor, u: Tensor, v: Tensor, dim: int = 0, power_iters: int = 1, eps: float = 1e-12) -> Tensor:
    """weight / σ, its largest singular value as estimated by power_iters steps of power iteration."""
    first = [dim, *(a for a in range(weight.ndim) if a != dim)]
    turned = weight.transpose(first)
    rows = turned.shape[0]
    columns = b.simplify(_product(turned.shape[1:]))
    matrix = turned.reshape([rows, columns])
    left, right = u.reshape([1, rows]), v.reshape([columns, 1])

    def unit(t: Tensor) -> Tensor:
        square = b.emit(relax.op.sum((t * t).expr))
        return t / (b.emit(relax.op.sqrt(square.expr)) + eps)

    for _ in range(power_iters):
        right = unit(b.emit(relax.op.matmul(left.expr, matrix.expr))).reshape([columns, 1])
        left = unit(b.emit(relax.op.matmul(matrix.expr, right.expr))).reshape([1, rows])
    sigma = b.emit(relax.op.matmul(b.emit(relax.op.matmul(left.expr, matrix.expr)).expr, right.expr)).reshape([])
    return weight / sigma


def _product(dims: list[Dim]) -> Dim:
    total: Dim = 1
    for d in dims:
        total = total * d
    return total


@operator
def renorm(b: Builder, x: Tensor, p: float, axis: int, max_norm: float) -> Tensor:
    """Every slice of ``axis`` scaled down to a p-norm of max_norm where it is larger."""
    axis += x.ndim if axis < 0 else 0
    over = [a for a in range(x.ndim) if a != axis]
    exponent = b.const(p, x.dtype)
    powers = b.emit(relax.op.power(relax.op.abs(x.expr), exponent.expr))
    total = b.emit(relax.op.sum(powers.expr, over, keepdims=True))
    length = b.emit(relax.op.power(total.expr, b.const(1.0 / p, x.dtype).expr))
    return x * b.where(length > max_norm, b.const(max_norm, x.dtype) / length, 1.0)
