"""Softmax, dropout, attention, and the fused operators of inference models that are sums of their parts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .activation import gelu, relu, silu
from .builder import Builder
from .conv import add_channels, convolve
from .index import embedding
from .kernels import clamped
from .linalg import matmul_with_flatten, product
from .norm import normalise_layer
from .reduce import reduced
from .registry import Scalar, operator
from .serial import i64
from .tensor import PrimExpr, Tensor

_LOWEST = -1e30  # what a masked score becomes where −∞ could make 0 · ∞


def activated(b: Builder, x: Tensor, name: str, alpha: float = 0.0) -> Tensor:
    """x after the activation that a fused operator names."""
    if name in ("", "identity", "none"):
        return x
    if name == "relu":
        return relu(b, x)
    if name == "gelu":
        return gelu(b, x)
    if name in ("swish", "silu"):
        return silu(b, x)
    if name == "sigmoid":
        return b.emit(relax.op.sigmoid(x.expr))
    if name == "tanh":
        return b.emit(relax.op.tanh(x.expr))
    if name == "leaky_relu":
        return b.where(x >= 0.0, x, x * alpha)
    raise UnsupportedError(f"the fused activation {name!r}")


# ---- softmax ---------------------------------------------------------------------------------------------------------


def _axis(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


def softmax_of(b: Builder, x: Tensor, axis: int, log: bool = False) -> Tensor:
    """(log) softmax along an axis; halves are computed in float32."""
    if x.ndim == 0:
        return b.full([], 0.0 if log else 1.0, x.dtype)
    wide = "float32" if x.dtype in ("float16", "bfloat16") else x.dtype
    op = relax.op.nn.log_softmax if log else relax.op.nn.softmax
    return b.emit(op(x.astype(wide).expr, _axis(axis, x.ndim))).astype(x.dtype)


@operator
def softmax(b: Builder, x: Tensor, axis: int = -1) -> Tensor:
    """exp(x) / Σ exp(x) along one axis."""
    return softmax_of(b, x, axis)


@operator
def log_softmax(b: Builder, x: Tensor, axis: int = -1) -> Tensor:
    """x − log Σ exp(x) along one axis; Paddle takes x for no less than the greatest − 64."""
    if x.ndim:
        x = b.binary("maximum", x, reduced(b, relax.op.max, x, [_axis(axis, x.ndim)], True) - 64.0)
    return softmax_of(b, x, axis, log=True)


@operator
def fused_softmax_mask(b: Builder, x: Tensor, mask: Tensor) -> Tensor:
    """softmax(x + mask) along the last axis."""
    return softmax_of(b, x + mask, -1)


@operator
def fused_softmax_mask_upper_triangle(b: Builder, X: Tensor) -> Tensor:  # noqa: N803 - Paddle's name
    """Causal softmax: what is above the diagonal does not count, and is 0."""
    low = tirx.const(_LOWEST if X.dtype not in ("float16",) else -6e4, X.dtype)
    scores = b.compute(X.shape, lambda t, *i: tirx.if_then_else(i[-1] <= i[-2], t(*i), low), X, name="causal_mask")
    return softmax_of(b, scores, -1)


# ---- dropout ---------------------------------------------------------------------------------------------------------


def _dropped(x: Tensor, p: Any, is_test: bool, mode: str) -> Tensor:
    if not isinstance(p, int | float):
        raise UnsupportedError("dropout by a probability that is only known at run time")
    if p == 0:
        return x
    if not is_test:
        raise UnsupportedError("dropout in training mode: its result is random", todo="export the model in evaluation mode")
    return x if mode == "upscale_in_train" else x * (1.0 - float(p))


@operator
def dropout(
    b: Builder,
    x: Tensor,
    seed_tensor: Tensor | None = None,
    p: Scalar = 0.5,
    is_test: bool = False,
    mode: str = "downgrade_in_infer",
    seed: int = 0,
    fix_seed: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """At inference: x, or x · (1 − p) when training did not scale up (downgrade_in_infer)."""
    return _dropped(x, p, is_test, mode), None


@operator
def fused_dropout_add(
    b: Builder,
    x: Tensor,
    y: Tensor,
    seed_tensor: Tensor | None = None,
    p: Scalar = 0.5,
    is_test: bool = False,
    mode: str = "downgrade_in_infer",
    seed: int = 0,
    fix_seed: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """dropout(x) + y."""
    return _dropped(x, p, is_test, mode) + y, None


# ---- attention -------------------------------------------------------------------------------------------------------


def attention(
    b: Builder, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float, causal: bool, from_the_end: bool = True
) -> Tensor:
    """softmax(q · kᵀ · scale + mask) · v of (batch, length, heads, depth) tensors; fewer key heads are shared by groups.

    ``causal``: a query sees no later key, where the last query and the last key (else the first ones) are at one time.
    """
    batch, length, heads, depth = q.shape
    kv_heads = k.shape[2]
    query, key, value = (t.transpose([0, 2, 1, 3]) for t in (q, k, v))
    if not b.equal(heads, kv_heads):
        if not isinstance(heads, int) or not isinstance(kv_heads, int) or heads % kv_heads:
            raise UnsupportedError(f"attention with {heads} query heads and {kv_heads} key heads")
        share = heads // kv_heads

        def spread(t: Tensor) -> Tensor:
            shape = [batch, heads, t.shape[2], t.shape[3]]
            return b.compute(shape, lambda p, n, h, *i: p(n, tirx.floordiv(h, share), *i), t, name="shared_heads")

        key, value = spread(key), spread(value)
    scores = product(b, query, key.transpose([0, 1, 3, 2])) * scale
    if mask is not None:
        scores = b.where(mask, scores, _LOWEST) if mask.dtype == "bool" else scores + mask.astype(scores.dtype)
    if causal:
        past = b.simplify(key.shape[2] - length) if from_the_end else 0
        low = te.min_value(scores.dtype)
        scores = b.compute(
            scores.shape, lambda t, n, h, i, j: tirx.if_then_else(j <= i + past, t(n, h, i, j), low), scores, name="causal_mask"
        )
    return product(b, softmax_of(b, scores, -1), value).transpose([0, 2, 1, 3])


@operator
def flash_attn(
    b: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    fixed_seed_offset: Tensor | None = None,
    attn_mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    return_softmax: bool = False,
    is_test: bool = False,
    rng_name: str = "",
) -> tuple[Tensor | None, ...]:
    """Attention of (batch, length, heads, depth) tensors, scaled by 1 / √depth."""
    no_dropout(dropout, is_test)
    return attention(b, q, k, v, attn_mask, usual_scale(q), causal), None, None, None


def no_dropout(rate: float, is_test: bool) -> None:
    """Refuse dropout that would drop something."""
    if rate and not is_test:
        raise UnsupportedError("attention with dropout in training mode: its result is random", todo="export in evaluation mode")


def usual_scale(q: Tensor) -> float:
    """1 / √depth."""
    return 1.0 / math.sqrt(_depth(q))


def _depth(q: Tensor) -> int:
    depth = q.shape[-1]
    if not isinstance(depth, int):
        raise UnsupportedError("attention over a depth that is not static", todo="pass shapes= with a fixed last dim")
    return depth


@operator
def memory_efficient_attention(
    b: Builder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    cu_seqlens_q: Tensor | None = None,
    cu_seqlens_k: Tensor | None = None,
    causal_diagonal: Tensor | None = None,
    seqlen_k: Tensor | None = None,
    max_seqlen_q: Scalar = 0,
    max_seqlen_k: Scalar = 0,
    causal: bool = False,
    dropout_p: float = 0.0,
    scale: float = -1.0,
    is_test: bool = True,
) -> tuple[Tensor | None, ...]:
    """Attention of (batch, length, heads, depth) tensors; a scale < 0 stands for 1 / √depth."""
    if any(t is not None for t in (cu_seqlens_q, cu_seqlens_k, causal_diagonal, seqlen_k)):
        raise UnsupportedError("memory_efficient_attention over packed sequences")
    no_dropout(dropout_p, is_test)
    factor = scale if scale >= 0 else usual_scale(query)
    return attention(b, query, key, value, bias, factor, causal, from_the_end=False), None, None


@operator
def multihead_matmul(
    b: Builder,
    input: Tensor,
    w: Tensor,
    bias: Tensor,
    bias_qk: Tensor | None = None,
    transpose_q: bool = False,
    transpose_k: bool = True,
    transpose_v: bool = False,
    alpha: float = 1.0,
    head_number: int = 1,
) -> Tensor:
    """Self-attention with one weight (hidden, 3, heads · depth) and bias (3, heads · depth) for queries, keys and values."""
    if transpose_q or transpose_v or not transpose_k:
        raise UnsupportedError("multihead_matmul with other transpositions than of the keys")
    batch, length, hidden = input.shape
    width = w.shape[-1] if w.ndim == 3 else b.simplify(w.size // (hidden * 3))  # type: ignore[operator]
    projected = product(b, input, w.reshape([hidden, b.simplify(width * 3)])) + bias.reshape([b.simplify(width * 3)])
    parts = projected.reshape([batch, length, 3, head_number, b.simplify(width // head_number)])  # type: ignore[operator]
    heads = [b.slice(parts, 2, i, i + 1).reshape([*parts.shape[:2], *parts.shape[3:]]) for i in range(3)]
    query, key, value = heads
    return attention(b, query, key, value, bias_qk, alpha, False).reshape([batch, length, width])


# ---- fused -----------------------------------------------------------------------------------------------------------


@operator("fc", "gemm_epilogue")
def fc(
    b: Builder,
    input: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    in_num_col_dims: int = 1,
    activation_type: str = "",
    padding_weights: bool = False,
) -> Tensor:
    """activation(input · w + bias), the input flattened to a matrix behind in_num_col_dims axes."""
    if padding_weights:
        raise UnsupportedError("fc with padded weights")
    out = matmul_with_flatten(b, input, w, in_num_col_dims, 1)
    return activated(b, out if bias is None else out + bias.reshape([bias.size]), activation_type)


@operator
def fused_gemm_epilogue(
    b: Builder, x: Tensor, y: Tensor, bias: Tensor, trans_x: bool = False, trans_y: bool = False, activation: str = "none"
) -> tuple[Tensor, Tensor | None]:
    """activation(x · y + bias)."""
    left, right = (t.transpose([*range(t.ndim - 2), t.ndim - 1, t.ndim - 2]) if flip else t for t, flip in ((x, trans_x), (y, trans_y)))
    return activated(b, product(b, left, right) + bias, activation), None


@operator
def fused_bias_act(
    b: Builder,
    x: Tensor,
    bias: Tensor | None = None,
    dequant_scales: Tensor | None = None,
    shift: Tensor | None = None,
    smooth: Tensor | None = None,
    act_method: str = "gelu",
    compute_dtype: str = "default",
    quant_scale: float = -1.0,
    quant_round_type: int = 1,
    quant_max_bound: float = 127.0,
    quant_min_bound: float = -127.0,
) -> Tensor:
    """activation(x + bias); geglu, swiglu: activation(first half) · second half of the last axis."""
    if quant_scale > 0 or any(t is not None for t in (dequant_scales, shift, smooth)):
        raise UnsupportedError("fused_bias_act of quantised tensors")
    total = x if bias is None else x + bias
    if act_method not in ("geglu", "swiglu"):
        return activated(b, total, act_method)
    half = b.exact_div([total.shape[-1]], [2])
    gate, value = b.slice(total, x.ndim - 1, 0, half), b.slice(total, x.ndim - 1, half, b.simplify(half * 2))
    return (gelu(b, gate) if act_method == "geglu" else silu(b, gate)) * value


@operator
def fused_conv2d_add_act(
    b: Builder,
    input: Tensor,
    filter: Tensor,
    bias: Tensor | None = None,
    residual_data: Tensor | None = None,
    strides: list = [1, 1],  # noqa: B006 - never changed
    paddings: list = [0, 0],  # noqa: B006
    padding_algorithm: str = "EXPLICIT",
    dilations: list = [1, 1],  # noqa: B006
    groups: int = 1,
    data_format: str = "NCHW",
    activation: str = "relu",
    split_channels: list = [],  # noqa: B006
    fuse_alpha: float = 0.0,
) -> tuple[Tensor, None]:
    """activation(conv2d(input) + bias + residual_data)."""
    if split_channels:
        raise UnsupportedError("fused_conv2d_add_act with split channels")
    out = convolve(b, input, filter, strides, paddings, padding_algorithm, dilations, groups, data_format)
    out = out if bias is None else add_channels(out, bias, data_format)
    return activated(b, out if residual_data is None else out + residual_data, activation, fuse_alpha), None


@operator
def depthwise_conv2d_bias(
    b: Builder,
    input: Tensor,
    filter: Tensor,
    bias: Tensor | None = None,
    strides: list = [1, 1],  # noqa: B006
    paddings: list = [0, 0],  # noqa: B006
    padding_algorithm: str = "EXPLICIT",
    groups: int = 1,
    dilations: list = [1, 1],  # noqa: B006
    data_format: str = "NCHW",
) -> Tensor:
    """conv2d of one channel a group, plus one number an output channel."""
    out = convolve(b, input, filter, strides, paddings, padding_algorithm, dilations, groups, data_format)
    return out if bias is None else add_channels(out, bias, data_format)


@operator
def fused_fc_elementwise_layernorm(
    b: Builder,
    x: Tensor,
    w: Tensor,
    y: Tensor,
    bias0: Tensor | None = None,
    scale: Tensor | None = None,
    bias1: Tensor | None = None,
    x_num_col_dims: int = 1,
    activation_type: str = "",
    epsilon: float = 1e-5,
    begin_norm_axis: int = 1,
) -> tuple[Tensor | None, ...]:
    """layer_norm(fc(x) + y)."""
    hidden = fc(b, x, w, bias0, x_num_col_dims, activation_type)
    return normalise_layer(b, hidden.reshape(y.shape) + y, scale, bias1, epsilon, begin_norm_axis), None, None


@operator
def fused_embedding_eltwise_layernorm(
    b: Builder, ids: list[Tensor], embs: list[Tensor], bias: Tensor, scale: Tensor, epsilon: float = 1e-5
) -> Tensor:
    """layer_norm(Σ embedding(ids))."""
    total: Tensor | None = None
    for places, table in zip(ids, embs, strict=True):
        index = places.reshape(places.shape[:2]) if places.ndim == 3 else places
        rows = embedding(b, index, table)
        total = rows if total is None else total + rows
    assert total is not None
    return normalise_layer(b, total, scale, bias, epsilon, total.ndim - 1)


@operator
def fused_rotary_position_embedding(
    b: Builder,
    q: Tensor,
    k: Tensor | None = None,
    v: Tensor | None = None,
    sin: Tensor | None = None,
    cos: Tensor | None = None,
    position_ids: Tensor | None = None,
    use_neox_rotary_style: bool = True,
    time_major: bool = False,
    rotary_emb_base: float = 10000.0,
) -> tuple[Tensor | None, ...]:
    """Rotate pairs of (batch, length, heads, depth) tensors by angles of their position: pairs are neighbours, or halves.

    Without tables of sines and cosines the angles are position / rotary_emb_base^(2k / depth), in either style of pairs the
    same two for neighbours: that is what Paddle's kernel takes.
    """
    depth = _depth(q)
    half = depth // 2
    time_axis, batch_axis = (0, 1) if time_major else (1, 0)
    if sin is not None and cos is not None:
        tables = [t.reshape([b.exact_div([t.size], [depth]), depth]) for t in (sin, cos)]
    else:
        frequencies = rotary_emb_base ** (-(np.arange(depth) // 2 * 2) / depth)
        tables = [b.const(frequencies, "float32")] * 2
    held = [*tables, *([position_ids] if position_ids is not None else [])]

    def turn(table: te.Tensor, row: Any, i: Any, function: Any) -> PrimExpr:
        if sin is not None and cos is not None:
            return table(clamped(row, tables[0].shape[0]), i)
        return function(tirx.Cast("float32", row) * table(i))

    def rotated(x: Tensor) -> Tensor:
        def element(t: te.Tensor, s: te.Tensor, c: te.Tensor, *rest: Any) -> PrimExpr:
            places, index = (rest[0], rest[1:]) if position_ids is not None else (None, rest)
            i = index[3]
            row: Any = index[time_axis]
            row = i64(places(index[batch_axis], row)) if places is not None else row
            if use_neox_rotary_style:
                partner, negative = i + 1 - 2 * tirx.floormod(i, 2), tirx.floormod(i, 2) == 0
            else:
                partner, negative = tirx.Select(i < half, i + half, i - half), i < half
            other = t(*index[:3], partner)
            other = tirx.Select(negative, -other, other)
            sine, cosine = turn(s, row, i, tirx.sin).astype(x.dtype), turn(c, row, i, tirx.cos).astype(x.dtype)
            return t(*index) * cosine + other * sine

        return b.compute(x.shape, element, x, *held, name="rotary")

    return tuple(None if t is None else rotated(t) for t in (q, k, v))
