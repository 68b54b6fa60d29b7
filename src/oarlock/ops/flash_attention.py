"""Attention by the names of the kernels that Paddle calls: with masks told by columns (flashmask), FlashAttention 3, cuDNN's."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from ..errors import UnsupportedError
from .attention import seen_only
from .builder import Builder
from .nn import attention, no_dropout, usual_scale
from .registry import operator
from .serial import both, either, i64
from .tensor import Tensor


@operator
def flashmask_attention(
    b: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    startend_row_indices: Tensor | None = None,
    fixed_seed_offset: Tensor | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    return_softmax: bool = False,
    is_test: bool = False,
    rng_name: str = "",
) -> tuple[Tensor | None, ...]:
    """Attention where each key tells the rows (queries) that do not see it: (batch, heads or 1, keys, 1, 2 or 4).

    Causal: from the first number on (to the second, if there is one).  Else the first numbers are of the lower left triangle, and the last
    ones of the upper right: up to a row, or from a row to another.
    """
    no_dropout(dropout, is_test)
    return _flashmask(b, q, k, v, startend_row_indices, causal, usual_scale(q)), None, None, None


def _flashmask(b: Builder, q: Tensor, k: Tensor, v: Tensor, rows: Tensor | None, causal: bool, scale: float) -> Tensor:
    if rows is None:
        return attention(b, q, k, v, None, scale, causal)
    bounds = rows.shape[3]
    if (bounds not in (1, 2)) if causal else (bounds not in (2, 4)):
        raise UnsupportedError(f"flashmask_attention with {bounds} numbers a key, causal={causal}")
    groups = rows.shape[1]
    heads = q.shape[2]
    if groups != 1 and not b.equal(groups, heads):
        if not isinstance(groups, int) or not isinstance(heads, int) or heads % groups:
            raise UnsupportedError(f"flashmask_attention of {heads} heads with masks for {groups}")
        share = heads // groups
        shape = [rows.shape[0], heads, *rows.shape[2:]]
        rows = b.compute(shape, lambda t, n, h, *i: t(n, tirx.floordiv(h, share), *i), rows, name="shared_rows")

    def visible(t: te.Tensor, n: Any, h: Any, i: Any, j: Any) -> Any:
        def at(c: int) -> Any:
            return i64(t(n, h, j, c))

        row, column = i64(i), i64(j)
        if causal:
            hidden = both(row >= at(0), row < at(1)) if bounds == 2 else row >= at(0)
            return both(column <= row, tirx.Not(hidden))
        below = both(row > column, row >= at(0), row < at(1)) if bounds == 4 else both(row > column, row >= at(0))
        above = both(row < column, row >= at(2), row < at(3)) if bounds == 4 else both(row < column, row < at(1))
        return tirx.Not(either(below, above))

    mask = b.compute([rows.shape[0], rows.shape[1], q.shape[1], k.shape[1]], visible, rows, name="flashmask")
    return seen_only(b, attention(b, q, k, v, mask, scale, False), mask)


@operator
def flashmask_attention_v2(
    b: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    startend_row_indices: Tensor | None = None,
    block_mask: Tensor | None = None,
    softmax_scale: float = 1.0,
    is_causal: bool = False,
) -> tuple[Tensor, None]:
    """flashmask_attention with a scale of its own."""
    if block_mask is not None:
        raise UnsupportedError("flashmask_attention_v2 with a mask of blocks")
    return _flashmask(b, q, k, v, startend_row_indices, is_causal, softmax_scale), None


@operator
def flash_attn_v3(
    b: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    q_v_: Tensor | None = None,
    q_descale_: Tensor | None = None,
    k_descale_: Tensor | None = None,
    v_descale_: Tensor | None = None,
    softmax_scale: float = 1.0,
    is_causal: bool = False,
    window_size_left: int = -1,
    window_size_right: int = -1,
    softcap: float = 0.0,
    num_splits: int = 1,
    manual_set_pack_gqa: bool = False,
    pack_gqa_: bool = False,
    sm_margin: int = 0,
) -> tuple[Tensor, None]:
    """Attention of (batch, length, heads, depth); how the kernel splits its work says nothing about the result."""
    if any(t is not None for t in (q_v_, q_descale_, k_descale_, v_descale_)):
        raise UnsupportedError("flash_attn_v3 of float8, or with more numbers for the values")
    if softcap or window_size_left >= 0 or window_size_right > 0 or (window_size_right == 0 and not is_causal):
        raise UnsupportedError(f"flash_attn_v3 with softcap={softcap} and windows of {window_size_left} and {window_size_right}")
    return attention(b, q, k, v, None, softmax_scale, is_causal), None


@operator
def fused_dot_product_attention(
    b: Builder,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    cu_seqlen_q: Tensor | None,
    cu_seqlen_kv: Tensor | None,
    scaling_factor: float,
    dropout_probability: float,
    is_training: bool = False,
    mask_type_str: str = "none",
    bias_type_str: str = "none",
) -> tuple[Tensor, None, None]:
    """Attention of (batch, length, heads, depth), with a bias that is added to the scaled scores."""
    no_dropout(dropout_probability, not is_training)
    if cu_seqlen_q is not None or cu_seqlen_kv is not None or mask_type_str not in ("none", "causal"):
        raise UnsupportedError(f"fused_dot_product_attention of sequences of given lengths, or with mask_type_str={mask_type_str!r}")
    if bias_type_str not in ("none", "post_scale_bias") or (bias is not None and (bias_type_str == "none" or mask_type_str == "causal")):
        raise UnsupportedError(f"fused_dot_product_attention with bias_type_str={bias_type_str!r} and mask_type_str={mask_type_str!r}")
    return attention(b, q, k, v, bias, scaling_factor, mask_type_str == "causal"), None, None
