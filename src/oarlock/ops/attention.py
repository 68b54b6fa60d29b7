"""Attention as GPU kernels offer it: packed, of sequences one behind the other, with masks told by rows, and in whole layers."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .linalg import product
from .nn import activated, attention, no_dropout, usual_scale
from .norm import normalise_layer
from .registry import Scalar, operator
from .serial import both, cell, i64, kernel, loop
from .shape import product as count
from .tensor import Tensor


def _part(b: Builder, x: Tensor, axis: int, i: int) -> Tensor:
    return b.slice(x, axis, i, i + 1).reshape([*x.shape[:axis], *x.shape[axis + 1 :]])


def seen_only(b: Builder, out: Tensor, mask: Tensor) -> Tensor:
    """What attention gave (batch, length, heads, depth), with zeros for queries that see no key at all."""
    seen = b.emit(relax.op.max(mask.astype("int8").expr, [-1]))  # (batch, heads or 1, length)
    kept = seen.transpose([0, 2, 1]).reshape([seen.shape[0], seen.shape[2], seen.shape[1], 1]) > 0
    return b.where(kept, out, b.full([], 0.0, out.dtype))


# ---- packed ----------------------------------------------------------------------------------------------------------


def _unpacked(b: Builder, qkv: Tensor, name: str) -> list[Tensor]:
    """Queries, keys and values of (…, 3, heads, depth)."""
    axis = qkv.ndim - 3
    if qkv.shape[axis] != 3:
        raise UnsupportedError(f"{name} with {qkv.shape[axis]} parts: fewer key heads than query heads")
    return [_part(b, qkv, axis, i) for i in range(3)]


@operator
def flash_attn_qkvpacked(
    b: Builder,
    qkv: Tensor,
    fixed_seed_offset: Tensor | None = None,
    attn_mask: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    return_softmax: bool = False,
    is_test: bool = False,
    rng_name: str = "",
) -> tuple[Tensor | None, ...]:
    """Attention of (batch, length, 3, heads, depth), scaled by 1 / √depth."""
    no_dropout(dropout, is_test)
    q, k, v = _unpacked(b, qkv, "flash_attn_qkvpacked")
    return attention(b, q, k, v, attn_mask, usual_scale(q), causal), None, None, None


@operator
def self_dp_attention(b: Builder, x: Tensor, alpha: float = 1.0, head_number: int = 1) -> Tensor:
    """softmax(alpha · q · kᵀ) · v of (batch, length, 3, heads, depth)."""
    q, k, v = _unpacked(b, x, "self_dp_attention")
    return attention(b, q, k, v, None, alpha, False)


# ---- sequences one behind the other ----------------------------------------------------------------------------------


def _of_sequence(b: Builder, rows: Any, begins: Tensor, name: str) -> Tensor:
    """The number of the sequence that each row belongs to, int64; how many there are for rows behind the last one."""

    def body(begin: Any, out: Any) -> None:
        with loop(rows) as i:
            number = cell("int64", 0)
            with loop(i64(begins.shape[0]) - 1) as s:
                number.v = number.v + tirx.Cast("int64", i64(begin[s + 1]) <= i64(i))
            out[i] = number.v

    return kernel(b, body, [begins], [([rows], "int64")], name)[0]


def _packed(b: Builder, q: Tensor, k: Tensor, v: Tensor, begins_q: Tensor, begins_k: Tensor, scale: float, causal: bool) -> Tensor:
    """Attention of (rows, heads, depth) within sequences that begin where begins_… says, the last entry their end."""
    of_q, of_k = _of_sequence(b, q.shape[0], begins_q, "sequence_of_query"), _of_sequence(b, k.shape[0], begins_k, "sequence_of_key")
    sequences = i64(begins_q.shape[0]) - 1

    def visible(sq: te.Tensor, sk: te.Tensor, cq: te.Tensor, ck: te.Tensor, *index: Any) -> Any:
        i, j = index[-2:]
        mine = tirx.max(tirx.min(sq(i), sequences - 1), i64(0))
        together = both(sq(i) == sk(j), sq(i) < sequences)
        if not causal:
            return together
        # the last query of a sequence sees its last key
        past = (i64(ck(mine + 1)) - i64(ck(mine))) - (i64(cq(mine + 1)) - i64(cq(mine)))
        return both(together, i64(j) - i64(ck(mine)) <= i64(i) - i64(cq(mine)) + past)

    shape = [1, 1, q.shape[0], k.shape[0]]
    mask = b.compute(shape, visible, of_q, of_k, begins_q, begins_k, name="same_sequence")
    query, key, value = (t.reshape([1, *t.shape]) for t in (q, k, v))
    out = attention(b, query, key, value, mask, scale, False)
    return seen_only(b, out, mask).reshape([*q.shape[:2], v.shape[2]])


@operator
def flash_attn_unpadded(
    b: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    fixed_seed_offset: Tensor | None = None,
    attn_mask: Tensor | None = None,
    max_seqlen_q: Scalar = 0,
    max_seqlen_k: Scalar = 0,
    scale: float = 1.0,
    dropout: float = 0.0,
    causal: bool = False,
    return_softmax: bool = False,
    is_test: bool = False,
    rng_name: str = "",
) -> tuple[Tensor | None, ...]:
    """Attention within sequences that stand one behind the other as (rows, heads, depth)."""
    no_dropout(dropout, is_test)
    if attn_mask is not None:
        raise UnsupportedError("flash_attn_unpadded with a mask")
    return _packed(b, q, k, v, cu_seqlens_q, cu_seqlens_k, scale, causal), None, None, None


@operator
def flash_attn_varlen_qkvpacked(
    b: Builder,
    qkv: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    fixed_seed_offset: Tensor | None = None,
    attn_mask: Tensor | None = None,
    max_seqlen_q: Scalar = 0,
    max_seqlen_k: Scalar = 0,
    scale: float = 1.0,
    dropout: float = 0.0,
    causal: bool = False,
    return_softmax: bool = False,
    is_test: bool = False,
    rng_name: str = "",
    varlen_padded: bool = True,
) -> tuple[Tensor | None, ...]:
    """As flash_attn_unpadded, of (rows, 3, heads, depth)."""
    no_dropout(dropout, is_test)
    if attn_mask is not None or varlen_padded:
        raise UnsupportedError("flash_attn_varlen_qkvpacked with a mask, or of padded sequences")
    q, k, v = _unpacked(b, qkv, "flash_attn_varlen_qkvpacked")
    return _packed(b, q, k, v, cu_seqlens_q, cu_seqlens_k, scale, causal), None, None, None


@operator
def variable_length_memory_efficient_attention(
    b: Builder,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    seq_lens: Tensor,
    kv_seq_lens: Tensor,
    mask: Tensor | None = None,
    scale: float = 1.0,
    causal: bool = False,
    pre_cache_length: int = 0,
) -> Tensor:
    """Attention of (batch, heads, length, depth) over the first kv_seq_lens keys; zeros behind the first seq_lens queries."""
    if pre_cache_length:
        raise UnsupportedError("variable_length_memory_efficient_attention behind a cache")
    q, k, v = (t.transpose([0, 2, 1, 3]) for t in (query, key, value))
    batch = query.shape[0]

    def visible(nq: te.Tensor, nk: te.Tensor, n: Any, _: Any, i: Any, j: Any) -> Any:
        inside = both(i64(i) < i64(nq(n)), i64(j) < i64(nk(n)))
        return both(inside, i64(j) <= i64(i)) if causal else inside

    lengths = [t.reshape([batch]) for t in (seq_lens, kv_seq_lens)]
    seen = b.compute([batch, 1, query.shape[2], key.shape[2]], visible, *lengths, name="inside")
    bias = seen
    if mask is not None:
        cropped = b.slice(b.slice(mask, 2, 0, query.shape[2]), 3, 0, key.shape[2])
        bias = b.where(seen, cropped.astype(query.dtype), b.full([], -1e30 if query.dtype != "float16" else -6e4, query.dtype))
    return seen_only(b, attention(b, q, k, v, bias, scale, False), seen).transpose([0, 2, 1, 3])


# ---- masks told by rows ----------------------------------------------------------------------------------------------


# ---- whole layers ----------------------------------------------------------------------------------------------------


def _dropped(x: Tensor, rate: float, is_test: bool, how: str) -> Tensor:
    no_dropout(rate, is_test)
    return x if how == "upscale_in_train" or not rate else x * (1.0 - rate)


@operator
def fused_bias_dropout_residual_layer_norm(
    b: Builder,
    x: Tensor,
    residual: Tensor,
    bias: Tensor | None = None,
    ln_scale: Tensor | None = None,
    ln_bias: Tensor | None = None,
    dropout_rate: float = 0.5,
    is_test: bool = False,
    dropout_fix_seed: bool = True,
    dropout_seed: int = 0,
    dropout_implementation: str = "downgrade_in_infer",
    ln_epsilon: float = 1e-5,
) -> tuple[Tensor | None, ...]:
    """layer_norm(residual + dropout(x + bias)), and what is normalised."""
    total = residual + _dropped(x if bias is None else x + bias, dropout_rate, is_test, dropout_implementation)
    return normalise_layer(b, total, ln_scale, ln_bias, ln_epsilon, x.ndim - 1), total, None, None, None


@operator
def fused_feedforward(
    b: Builder,
    x: Tensor,
    dropout1_seed: Tensor | None,
    dropout2_seed: Tensor | None,
    linear1_weight: Tensor,
    linear1_bias: Tensor | None,
    linear2_weight: Tensor,
    linear2_bias: Tensor | None,
    ln1_scale: Tensor | None,
    ln1_bias: Tensor | None,
    ln2_scale: Tensor | None,
    ln2_bias: Tensor | None,
    pre_layer_norm: bool,
    ln1_epsilon: float,
    ln2_epsilon: float,
    act_method: str,
    dropout1_prob: float,
    dropout2_prob: float,
    dropout1_implementation: str,
    dropout2_implementation: str,
    is_test: bool,
    dropout1_fix_seed: bool = False,
    dropout2_fix_seed: bool = False,
    dropout1_seed_val: int = 0,
    dropout2_seed_val: int = 0,
    add_residual: bool = True,
    ring_id: int = -1,
) -> tuple[Tensor | None, ...]:
    """x + linear2(activation(linear1(x))), normalised in front (pre_layer_norm) or behind."""
    hidden = normalise_layer(b, x, ln1_scale, ln1_bias, ln1_epsilon, x.ndim - 1) if pre_layer_norm else x
    hidden = product(b, hidden, linear1_weight)
    hidden = activated(b, hidden if linear1_bias is None else hidden + linear1_bias, act_method)
    hidden = _dropped(hidden, dropout1_prob, is_test, dropout1_implementation)
    hidden = product(b, hidden, linear2_weight)
    hidden = hidden if linear2_bias is None else hidden + linear2_bias
    hidden = _dropped(hidden, dropout2_prob, is_test, dropout2_implementation)
    out = x + hidden if add_residual else hidden
    out = out if pre_layer_norm else normalise_layer(b, out, ln2_scale, ln2_bias, ln2_epsilon, x.ndim - 1)
    return out, *[None] * 10


@operator
def fused_attention(
    b: Builder,
    x: Tensor,
    ln_scale: Tensor | None,
    ln_bias: Tensor | None,
    qkv_weight: Tensor,
    qkv_bias: Tensor | None,
    cache_kv: Tensor | None,
    src_mask: Tensor | None,
    out_linear_weight: Tensor,
    out_linear_bias: Tensor | None,
    ln_scale_2: Tensor | None,
    ln_bias_2: Tensor | None,
    num_heads: int,
    transpose_qkv_wb: bool,
    pre_layer_norm: bool,
    epsilon: float,
    attn_dropout_rate: float,
    is_test: bool,
    attn_dropout_fix_seed: bool = False,
    attn_dropout_seed: int = 0,
    attn_dropout_implementation: str = "upscale_in_train",
    dropout_rate: float = 0.0,
    dropout_fix_seed: bool = False,
    dropout_seed: int = 0,
    dropout_implementation: str = "upscale_in_train",
    ln_epsilon: float = 1e-5,
    add_residual: bool = True,
    ring_id: int = -1,
) -> tuple[Tensor | None, ...]:
    """x + linear(self-attention(x)), normalised in front (pre_layer_norm) or behind.

    The weight is (3, heads, depth, width), or (width, 3 · width) with transpose_qkv_wb.
    """
    if cache_kv is not None:
        raise UnsupportedError("fused_attention with a cache")
    batch, length, width = x.shape
    data = normalise_layer(b, x, ln_scale, ln_bias, epsilon, 2) if pre_layer_norm else x
    if transpose_qkv_wb:
        heads, depth = num_heads, b.simplify(qkv_weight.shape[1] // (3 * num_heads))  # type: ignore[operator]
        weight = qkv_weight
    else:
        heads, depth = qkv_weight.shape[1:3]  # type: ignore[assignment]
        weight = qkv_weight.reshape([count(b, qkv_weight.shape[:3]), qkv_weight.shape[3]]).transpose([1, 0])
    total = b.simplify(heads * depth * 3)
    parts = product(b, data, weight)
    parts = (parts if qkv_bias is None else parts + qkv_bias.reshape([total])).reshape([batch, length, 3, heads, depth])
    q, k, v = (_part(b, parts, 2, i) for i in range(3))
    no_dropout(attn_dropout_rate, is_test)
    seen = attention(b, q, k, v, src_mask, usual_scale(q), False).reshape([batch, length, b.simplify(heads * depth)])
    if attn_dropout_implementation != "upscale_in_train":
        seen = seen * (1.0 - attn_dropout_rate)
    out = product(b, seen, out_linear_weight)
    out = _dropped(out if out_linear_bias is None else out + out_linear_bias, dropout_rate, is_test, dropout_implementation)
    out = x + out if add_residual else out
    out = out if pre_layer_norm else normalise_layer(b, out, ln_scale_2, ln_bias_2, ln_epsilon, 2)
    return *[None] * 19, out


@operator
def fused_gate_attention(
    b: Builder,
    query: Tensor,
    key: Tensor | None,
    query_weight: Tensor | None,
    key_weight: Tensor | None,
    value_weight: Tensor | None,
    qkv_weight: Tensor | None,
    nonbatched_bias: Tensor | None,
    src_mask: Tensor,
    gate_weight: Tensor | None,
    gate_bias: Tensor | None,
    out_linear_weight: Tensor,
    out_linear_bias: Tensor,
    has_gating: bool = True,
    merge_qkv: bool = True,
    use_flash_attn: bool = False,
) -> tuple[Tensor | None, ...]:
    """Attention along the third axis of (batch, rows, length, width), scaled by 1 / √depth, with gates of sigmoid(linear(query)).

    The mask is added to all heads, the bias (batch, heads, length, keys) to all rows.  Weights are (width, heads, depth), or one of
    (3, heads, depth, width) with merge_qkv.
    """
    batch, rows, length, width = query.shape

    def projected(x: Tensor, weight: Tensor) -> Tensor:
        heads, depth = weight.shape[1:]
        out = product(b, x, weight.reshape([weight.shape[0], b.simplify(heads * depth)]))
        return out.reshape([b.simplify(batch * rows), x.shape[2], heads, depth])

    if merge_qkv:
        if qkv_weight is None:
            raise UnsupportedError("fused_gate_attention without its merged weight")
        weights = [_part(b, qkv_weight, 0, i).transpose([2, 0, 1]) for i in range(3)]
        q, k, v = (projected(query, w) for w in weights)
    else:
        if key is None or query_weight is None or key_weight is None or value_weight is None:
            raise UnsupportedError("fused_gate_attention without a key or its weights")
        q, k, v = projected(query, query_weight), projected(key, key_weight), projected(key, value_weight)
    heads, depth = q.shape[2:]
    bias = src_mask
    if nonbatched_bias is not None:
        bias = bias + (nonbatched_bias if nonbatched_bias.ndim == 5 else nonbatched_bias.reshape([batch, 1, *nonbatched_bias.shape[1:]]))
    bias = b.broadcast_to(bias, [batch, rows, *bias.shape[2:]])
    seen = attention(b, q, k, v, bias.reshape([b.simplify(batch * rows), *bias.shape[2:]]), usual_scale(q), False)
    total = b.simplify(heads * depth)
    out = seen.reshape([batch, rows, length, total])
    if has_gating:
        if gate_weight is None or gate_bias is None:
            raise UnsupportedError("fused_gate_attention without its gates' weight or bias")
        gates = product(b, query, gate_weight.reshape([width, total])) + gate_bias.reshape([total])
        out = out * b.emit(relax.op.sigmoid(gates.expr))
    out = product(b, out, out_linear_weight.reshape([total, out_linear_weight.shape[-1]])) + out_linear_bias
    return *[None] * 8, out
