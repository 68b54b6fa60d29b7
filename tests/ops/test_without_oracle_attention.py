"""Attention that only Paddle's GPU runs: hand-written programs against plain numpy in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from test_without_oracle import BOTH, F, attention, causal, check, gelu, layer_norm, rand, run


def alone(q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: np.ndarray, scale: float) -> np.ndarray:
    """One head, (length, depth); ``seen``: which query sees which key.  Queries that see nothing give zeros."""
    out = np.zeros((len(q), v.shape[1]))
    for i in range(len(q)):
        keys = np.flatnonzero(seen[i])
        if len(keys):
            scores = np.exp(q[i].astype(F) @ k[keys].astype(F).T * scale)
            out[i] = scores / scores.sum() @ v[keys].astype(F)
    return out


@pytest.mark.parametrize(("is_causal", "masked"), [(False, False), (True, False), (False, True)])
def test_packed(is_causal: bool, masked: bool) -> None:
    qkv, mask = rand(2, 5, 3, 2, 8), rand(2, 1, 5, 5, seed=3) if masked else None
    attrs = {"dropout": 0.1, "causal": is_causal, "is_test": True}
    (out,) = run("flash_attn_qkvpacked", {"qkv": qkv, "fixed_seed_offset": None, "attn_mask": mask}, attrs)
    over = causal(5, 5, 0) if is_causal else None if mask is None else mask.astype(F)
    check(out, attention(qkv[:, :, 0], qkv[:, :, 1], qkv[:, :, 2], 8**-0.5, over))


@pytest.mark.parametrize(
    ("lengths_q", "lengths_k", "is_causal"), [((3, 1, 4), (3, 1, 4), True), ((2, 5), (4, 3), False), ((2, 3), (4, 2), True)]
)
@BOTH
def test_unpadded(lengths_q: tuple[int, ...], lengths_k: tuple[int, ...], is_causal: bool, dynamic: bool) -> None:
    begins = [np.cumsum((0, *n)).astype("int32") for n in (lengths_q, lengths_k)]
    q, k, v = rand(sum(lengths_q), 2, 4), rand(sum(lengths_k), 2, 4, seed=1), rand(sum(lengths_k), 2, 4, seed=2)
    operands: dict[str, Any] = {"q": q, "k": k, "v": v, "cu_seqlens_q": begins[0], "cu_seqlens_k": begins[1]}
    attrs = {"max_seqlen_q": max(lengths_q), "max_seqlen_k": max(lengths_k), "scale": 0.4, "causal": is_causal, "is_test": True}
    (out,) = run("flash_attn_unpadded", operands, attrs, dynamic=(0,) if dynamic else False)
    want = np.zeros(q.shape)
    for s, (n, m) in enumerate(zip(lengths_q, lengths_k, strict=True)):
        mine, theirs = slice(begins[0][s], begins[0][s + 1]), slice(begins[1][s], begins[1][s + 1])
        seen = np.tril(np.ones((n, m)), m - n) if is_causal else np.ones((n, m))
        for h in range(2):
            want[mine, h] = alone(q[mine, h], k[theirs, h], v[theirs, h], seen, 0.4)
    check(out, want)


@pytest.mark.parametrize("is_causal", [False, True])
def test_varlen_packed(is_causal: bool) -> None:
    qkv, begins = rand(7, 3, 2, 4), np.array([0, 2, 7], "int32")
    attrs = {"max_seqlen_q": 5, "max_seqlen_k": 5, "scale": 0.5, "causal": is_causal, "is_test": True, "varlen_padded": False}
    (out,) = run("flash_attn_varlen_qkvpacked", {"qkv": qkv, "cu_seqlens_q": begins, "cu_seqlens_k": begins}, attrs)
    for first, last in ((0, 2), (2, 7)):
        n = last - first
        for h in range(2):
            q, k, v = (qkv[first:last, i, h] for i in range(3))
            check(out[first:last, h], alone(q, k, v, np.tril(np.ones((n, n))) if is_causal else np.ones((n, n)), 0.5))


@pytest.mark.parametrize(("is_causal", "masked", "kv_heads"), [(False, False, 4), (True, False, 4), (False, True, 2)])
def test_variable_length(is_causal: bool, masked: bool, kv_heads: int) -> None:
    q, k, v = rand(2, 4, 5, 8), rand(2, kv_heads, 6, 8, seed=1), rand(2, kv_heads, 6, 8, seed=2)
    lengths, keys = np.array([[5], [2]], "int32"), np.array([[6], [3]], "int32")
    mask = rand(2, 1, 5, 6, seed=4) if masked else None
    operands: dict[str, Any] = {"query": q, "key": k, "value": v, "seq_lens": lengths, "kv_seq_lens": keys, "mask": mask}
    (out,) = run("variable_length_memory_efficient_attention", operands, {"scale": 0.3, "causal": is_causal, "pre_cache_length": 0})
    want = np.zeros(q.shape)
    for n in range(2):
        for h in range(4):
            for i in range(lengths[n, 0]):
                last = min(keys[n, 0], i + 1) if is_causal else keys[n, 0]
                g = h // (4 // kv_heads)
                scores = q[n, h, i].astype(F) @ k[n, g, :last].astype(F).T * 0.3 + (0.0 if mask is None else mask[n, 0, i, :last])
                weights = np.exp(scores)
                want[n, h, i] = weights / weights.sum() @ v[n, g, :last]
    check(out, want)


FLASHMASKS = [  # the rows that do not see a key, and whether they are besides the causal ones
    (np.array([[4], [4], [4], [4], [6], [6]]), True),
    (np.array([[2, 5], [3, 6], [4, 6], [6, 6], [5, 6], [6, 6]]), True),
    (np.array([[3, 0], [3, 0], [3, 0], [6, 3], [6, 3], [6, 3]]), False),
    (np.array([[2, 4, 0, 0], [3, 6, 0, 1], [6, 6, 0, 0], [4, 5, 1, 2], [6, 6, 0, 3], [6, 6, 2, 4]]), False),
]


@pytest.mark.parametrize(("bounds", "is_causal"), FLASHMASKS)
@pytest.mark.parametrize("heads", [1, 2])
def test_flashmask(bounds: np.ndarray, is_causal: bool, heads: int) -> None:
    q, k, v = rand(2, 6, 4, 8), rand(2, 6, 2, 8, seed=1), rand(2, 6, 2, 8, seed=2)
    rows = np.tile(bounds.astype("int32"), (2, heads, 1, 1))
    rows[1, -1, 2] = 6  # a mask of its own
    operands: dict[str, Any] = {"q": q, "k": k, "v": v, "startend_row_indices": rows, "fixed_seed_offset": None}
    (out,) = run("flashmask_attention", operands, {"causal": is_causal, "is_test": True})
    second = {n: operands[n] for n in ("q", "k", "v", "startend_row_indices")} | {"block_mask": None}
    np.testing.assert_array_equal(
        run("flashmask_attention_v2", second, {"softmax_scale": 8**-0.5, "is_causal": is_causal}, 2, wanted=[0])[0], out
    )
    for n in range(2):
        for h in range(4):
            seen = np.tril(np.ones((6, 6))) if is_causal else np.ones((6, 6))
            for j, own in enumerate(rows[n, h * heads // 4]):
                lower, upper = np.arange(6) > j, np.arange(6) < j
                if is_causal:
                    seen[own[0] : own[1] if len(own) == 2 else 6, j] = 0
                elif len(own) == 2:
                    seen[lower & (np.arange(6) >= own[0]), j] = 0
                    seen[upper & (np.arange(6) < own[1]), j] = 0
                else:
                    seen[lower & (np.arange(6) >= own[0]) & (np.arange(6) < own[1]), j] = 0
                    seen[upper & (np.arange(6) >= own[2]) & (np.arange(6) < own[3]), j] = 0
            check(out[n, :, h], alone(q[n, :, h], k[n, :, h // 2], v[n, :, h // 2], seen, 8**-0.5))


@pytest.mark.parametrize(("how", "biased"), [("upscale_in_train", True), ("downgrade_in_infer", True), ("downgrade_in_infer", False)])
def test_residual_layer_norm(how: str, biased: bool) -> None:
    x, residual, bias, scale, shift = rand(2, 3, 4), rand(2, 3, 4, seed=1), rand(4), rand(4, seed=1), rand(4, seed=2)
    operands: dict[str, Any] = {"x": x, "residual": residual, "bias": bias if biased else None, "ln_scale": scale, "ln_bias": shift}
    attrs = {"dropout_rate": 0.25, "is_test": True, "dropout_implementation": how, "ln_epsilon": 1e-4}
    out, total = run("fused_bias_dropout_residual_layer_norm", operands, attrs, 2)
    want = residual + (x.astype(F) + (bias if biased else 0.0)) * (1.0 if how == "upscale_in_train" else 0.75)
    check(total, want)
    check(out, layer_norm(want, scale, shift, 1e-4))


@pytest.mark.parametrize(("first", "residual", "act"), [(True, True, "gelu"), (False, True, "relu"), (False, False, "gelu")])
def test_feedforward(first: bool, residual: bool, act: str) -> None:
    x, w, v = rand(2, 3, 4), rand(4, 6), rand(6, 4)
    c, d, s1, b1, s2, b2 = rand(6), rand(4), rand(4, seed=1), rand(4, seed=2), rand(4, seed=3), rand(4, seed=4)
    operands: dict[str, Any] = {
        "x": x, "dropout1_seed": None, "dropout2_seed": None, "linear1_weight": w, "linear1_bias": c, "linear2_weight": v,
        "linear2_bias": d, "ln1_scale": s1, "ln1_bias": b1, "ln2_scale": s2, "ln2_bias": b2,
    }  # fmt: skip
    attrs = {
        "pre_layer_norm": first, "ln1_epsilon": 1e-5, "ln2_epsilon": 1e-3, "act_method": act, "dropout1_prob": 0.5, "dropout2_prob": 0.2,
        "dropout1_implementation": "downgrade_in_infer", "dropout2_implementation": "upscale_in_train", "is_test": True,
        "dropout1_fix_seed": False, "dropout2_fix_seed": False, "dropout1_seed_val": 0, "dropout2_seed_val": 0, "add_residual": residual,
        "ring_id": -1,
    }  # fmt: skip
    (out,) = run("fused_feedforward", operands, attrs)
    hidden = (layer_norm(x, s1, b1, 1e-5) if first else x.astype(F)) @ w + c
    want = (gelu(hidden) if act == "gelu" else np.maximum(hidden, 0)) * 0.5 @ v + d + (x if residual else 0.0)
    check(out, want if first else layer_norm(want, s2, b2, 1e-3))


@pytest.mark.parametrize(
    ("first", "residual", "turned", "masked"), [(True, True, False, True), (False, True, True, False), (False, False, False, True)]
)
def test_attention_layer(first: bool, residual: bool, turned: bool, masked: bool) -> None:
    x, w, c, o, d = rand(2, 3, 8), rand(3, 2, 4, 8), rand(3, 2, 4), rand(8, 8), rand(8)
    s1, b1, s2, b2 = rand(8, seed=1), rand(8, seed=2), rand(8, seed=3), rand(8, seed=4)
    mask = rand(2, 2, 3, 3, seed=5) if masked else None
    given = np.ascontiguousarray(w.reshape(24, 8).T) if turned else w
    operands: dict[str, Any] = {
        "x": x, "ln_scale": s1, "ln_bias": b1, "qkv_weight": given, "qkv_bias": c.reshape(24) if turned else c, "cache_kv": None,
        "src_mask": mask, "out_linear_weight": o, "out_linear_bias": d, "ln_scale_2": s2, "ln_bias_2": b2,
    }  # fmt: skip
    attrs = {
        "num_heads": 2, "transpose_qkv_wb": turned, "pre_layer_norm": first, "epsilon": 1e-5, "attn_dropout_rate": 0.2, "is_test": True,
        "attn_dropout_implementation": "upscale_in_train", "dropout_rate": 0.25, "dropout_implementation": "downgrade_in_infer",
        "ln_epsilon": 1e-3, "add_residual": residual, "ring_id": -1,
    }  # fmt: skip
    *_, out = run("fused_attention", operands, attrs, 20, wanted=[19])
    data = layer_norm(x, s1, b1, 1e-5) if first else x.astype(F)
    q, k, v = (np.einsum("nse,hde->nshd", data, w[i].astype(F)) + c[i] for i in range(3))
    seen = attention(q, k, v, 1 / math.sqrt(4), None if mask is None else mask.astype(F)).reshape(2, 3, 8)
    want = (seen @ o + d) * 0.75 + (x if residual else 0.0)
    check(out, want if first else layer_norm(want, s2, b2, 1e-3))


@pytest.mark.parametrize(("merged", "gated", "biased"), [(True, True, True), (False, True, False), (False, False, True)])
def test_gate_attention(merged: bool, gated: bool, biased: bool) -> None:
    x, other = rand(2, 3, 4, 8), rand(2, 3, 5, 6, seed=1)
    keys = x if merged else other
    wq, wk, wv = rand(8, 2, 4, seed=2), rand(keys.shape[-1], 2, 4, seed=3), rand(keys.shape[-1], 2, 4, seed=4)
    mask, bias = rand(2, 3, 1, 1, keys.shape[2], seed=5), rand(2, 1, 2, 4, keys.shape[2], seed=6)
    gw, gb, ow, ob = rand(8, 2, 4, seed=7), rand(2, 4, seed=8), rand(2, 4, 8, seed=9), rand(8, seed=10)
    operands: dict[str, Any] = {
        "query": x, "key": None if merged else other, "query_weight": None if merged else wq, "key_weight": None if merged else wk,
        "value_weight": None if merged else wv, "qkv_weight": np.stack([w.transpose(1, 2, 0) for w in (wq, wk, wv)]) if merged else None,
        "nonbatched_bias": bias if biased else None, "src_mask": mask, "gate_weight": gw if gated else None,
        "gate_bias": gb if gated else None, "out_linear_weight": ow, "out_linear_bias": ob,
    }  # fmt: skip
    attrs = {"has_gating": gated, "merge_qkv": merged, "use_flash_attn": False}
    (out,) = run("fused_gate_attention", operands, attrs, 9, wanted=[8])
    q, k, v = (np.einsum("nbqa,ahc->nbqhc", t.astype(F), w) for t, w in ((x, wq), (keys, wk), (keys, wv)))
    scores = np.einsum("nbqhc,nbkhc->nbhqk", q / 2.0, k) + mask + (bias if biased else 0.0)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    seen = np.einsum("nbhqk,nbkhc->nbqhc", weights / weights.sum(-1, keepdims=True), v)
    if gated:
        seen = seen / (1 + np.exp(-(np.einsum("nbqc,chv->nbqhv", x.astype(F), gw) + gb)))
    check(out, np.einsum("nbqhc,hco->nbqo", seen, ow) + ob)


@pytest.mark.parametrize(("keys", "kv_heads", "is_causal", "scale"), [(5, 4, False, 0.3), (5, 2, True, 8**-0.5), (7, 1, True, 0.5)])
def test_flash_attention_3(keys: int, kv_heads: int, is_causal: bool, scale: float) -> None:
    """With a scale of its own; causal attention lets the last query see the last key."""
    q, k, v = rand(2, 5, 4, 8), rand(2, keys, kv_heads, 8, seed=1), rand(2, keys, kv_heads, 8, seed=2)
    operands = {"q": q, "k": k, "v": v} | dict.fromkeys(("q_v_", "q_descale_", "k_descale_", "v_descale_"))
    attrs = {"softmax_scale": scale, "is_causal": is_causal, "window_size_left": -1, "window_size_right": -1, "softcap": 0.0}
    attrs |= {"num_splits": 1, "manual_set_pack_gqa": False, "pack_gqa_": False, "sm_margin": 0}
    (out,) = run("flash_attn_v3", operands, attrs, 2, wanted=[0])
    check(out, attention(q, k, v, scale, causal(5, keys, keys - 5) if is_causal else None))


@pytest.mark.parametrize("kind", ["none", "causal", "bias"])
def test_fused_dot_product_attention(kind: str) -> None:
    q, k, v, bias = rand(2, 6, 3, 4), rand(2, 6, 3, 4, seed=1), rand(2, 6, 3, 4, seed=2), rand(2, 1, 6, 6, seed=3)
    operands = {"q": q, "k": k, "v": v, "bias": bias if kind == "bias" else None, "cu_seqlen_q": None, "cu_seqlen_kv": None}
    attrs = {
        "scaling_factor": 0.4,
        "dropout_probability": 0.1,
        "is_training": False,
        "mask_type_str": "causal" if kind == "causal" else "none",
    }
    attrs["bias_type_str"] = "post_scale_bias" if kind == "bias" else "none"
    (out,) = run("fused_dot_product_attention", operands, attrs, 3, wanted=[0])
    check(out, attention(q, k, v, 0.4, {"none": None, "causal": causal(6, 6, 0), "bias": bias.astype(F)}[kind]))
