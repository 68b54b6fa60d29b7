"""Operators of language models' serving that Paddle has for GPUs only, against plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_without_oracle import F, check, rand, run

# ---- sampling ----------------------------------------------------------------------------------------------------------

PROBABILITIES = np.array([0.05, 0.4, 0.1, 0.25, 0.2], "float32")
ROWS = 6000


def sampled(attrs: dict[str, Any], *, p: float, rows: int = ROWS, threshold: float | None = None, seeds: Any = None) -> list[np.ndarray]:
    operands = {
        "x": np.tile(PROBABILITIES, (rows, 1)),
        "ps": np.full((rows, 1), p, "float32"),
        "threshold": None if threshold is None else np.full((rows, 1), threshold, "float32"),
        "topp_seed": seeds,
    }
    k = attrs.get("k", 0)
    return run("top_p_sampling", operands, attrs, 4, wanted=[0, 1, 2, 3] if k else [0, 1])


@pytest.mark.parametrize("mode", ["truncated", "non-truncated"])
def test_top_p_sampling_takes_tokens_by_their_probability(mode: str) -> None:
    value, token = sampled({"mode": mode}, p=0.8)
    assert value.shape == token.shape == (ROWS, 1) and token.dtype == np.int64
    np.testing.assert_array_equal(value, PROBABILITIES[token])
    share = np.bincount(token[:, 0], minlength=5) / ROWS
    # 0.4, 0.25 and 0.2 make up 0.8; a random share of it falls short of the last one's end
    want = [0, 0.4, 0, 0.25, 0.15] if mode == "truncated" else [0, 0.4, 0, 0.25, 0.2]
    np.testing.assert_allclose(share, np.array(want) / sum(want), atol=0.03)


@pytest.mark.parametrize("mode", ["truncated", "non-truncated"])
def test_top_p_sampling_of_the_likeliest_alone(mode: str) -> None:
    value, token, scores, ids = sampled({"mode": mode, "k": 3}, p=0.3, rows=5)
    np.testing.assert_array_equal(token, np.ones((5, 1)))
    np.testing.assert_array_equal(ids, np.tile([1, 3, 4], (5, 1)))
    np.testing.assert_array_equal(scores, np.tile(PROBABILITIES[[1, 3, 4]], (5, 1)))


@pytest.mark.parametrize("mode", ["truncated", "non-truncated"])
def test_top_p_sampling_takes_nothing_below_the_threshold(mode: str) -> None:
    _, token = sampled({"mode": mode}, p=1.0, rows=2000, threshold=0.22)
    assert set(token[:, 0]) == {1, 3}
    _, token = sampled({"mode": mode}, p=1.0, rows=200, threshold=0.9)
    assert set(token[:, 0]) == {1}  # where nothing is likely enough, the likeliest


@pytest.mark.parametrize("mode", ["truncated", "non-truncated"])
def test_top_p_sampling_of_equal_seeds(mode: str) -> None:
    seeds = np.arange(200, dtype="int64").repeat(2).reshape(-1, 1)
    _, token = sampled({"mode": mode}, p=0.9, rows=400, seeds=seeds)
    np.testing.assert_array_equal(token[::2], token[1::2])
    assert len(set(token[:, 0])) > 2
    _, token = sampled({"mode": mode, "seed": 7}, p=0.9, rows=50)
    assert len(set(token[:, 0])) == 1


# ---- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "ordered"), [(True, False), (True, True), (False, False), (False, True)])
def test_token_prune(first: bool, ordered: bool) -> None:
    batch, heads, tokens, kept = 2, 3, 6, 4
    attn, x = rand(batch, heads, tokens, tokens, low=0.0), rand(batch, tokens, 5)
    mask = np.where(np.random.RandomState(3).rand(batch, heads, tokens, tokens) < 0.3, np.float32(-1), np.float32(0))
    operands = {"attn": attn, "x": x, "mask": mask, "new_mask": np.zeros((batch, heads, kept, kept), "float32")}
    slim, index = run("fused_token_prune", operands, {"keep_first_token": first, "keep_order": ordered}, 2)
    score = np.where(mask >= 0, attn, 0).astype(F).sum((1, 2))
    if first:
        score[:, 0] = np.inf
    want = np.argsort(-score, axis=1, kind="stable")[:, :kept]
    want = np.sort(want, 1) if ordered else want
    np.testing.assert_array_equal(index, want)
    np.testing.assert_array_equal(slim, np.take_along_axis(x, want[:, :, None], 1))


@pytest.mark.parametrize(("depth", "turned", "dynamic"), [(8, 4, False), (6, 6, True), (10, 2, False)])
def test_partial_rope(depth: int, turned: int, dynamic: bool) -> None:
    x, cos, sin = rand(2, 3, 4, depth), rand(1, 3, 1, turned), rand(1, 3, 1, turned, seed=1)
    (out,) = run("fused_partial_rope", {"x": x, "cos": cos, "sin": sin}, {}, dynamic=(0, 1) if dynamic else False)
    part = x[..., depth - turned :].astype(F)
    halves = np.concatenate([part[..., 0::2], part[..., 1::2]], -1)
    other = np.concatenate([-part[..., 1::2], part[..., 0::2]], -1)
    check(out, np.concatenate([x[..., : depth - turned], halves * cos + other * sin], -1))


# ---- experts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("padded", "biased", "capacity", "k"), [(True, False, 3, 2), (False, True, 9, 2), (True, True, 2, 3), (False, False, 2, 1)]
)
def test_gate_dispatch(padded: bool, biased: bool, capacity: int, k: int) -> None:
    tokens, experts, width = 7, 4, 3
    x, bias = rand(tokens, width), rand(experts, low=-0.3, high=0.3)
    gate = np.random.RandomState(5).dirichlet(np.ones(experts), tokens).astype("float32")
    attrs = {"k": k, "capacity": capacity, "use_pad": padded}
    operands = {"x": x, "gate_logits": gate, "corr_bias": bias if biased else None}
    got = run("moe_gate_dispatch" if padded else "moe_gate_dispatch_auto", operands, attrs, 5)
    chosen = np.argsort(-(gate + (bias if biased else 0)), axis=1, kind="stable")[:, :k]
    y = np.zeros((experts * capacity if padded else tokens * k, width), "float32")
    weight, where, until = np.take_along_axis(gate, chosen, 1), np.zeros((k, tokens), "int32"), np.zeros(experts, "int64")
    row = 0
    for e in range(experts):
        places = [(t, c) for t in range(tokens) for c in range(k) if chosen[t, c] == e]
        if padded:
            places.sort(key=lambda p: (p[1], p[0]))
        for n, (t, c) in enumerate(places):
            if n < capacity:
                where[c, t] = e * capacity + n if padded else row
                y[where[c, t]] = x[t]
            else:
                weight[t, c] = 0
            row += 1
        until[e] = row
    for mine, want in zip(got, (y, weight, where, until, chosen), strict=True):
        np.testing.assert_array_equal(mine, want)


def routed(tokens: int, experts: int, choices: int) -> tuple[np.ndarray, np.ndarray]:
    """Each token's experts, −1 for none, and their probabilities."""
    rng = np.random.RandomState(tokens)
    route = np.full((tokens, choices), -1, "int32")
    for t in range(tokens):
        used = rng.permutation(experts)[: rng.randint(1, min(experts, choices) + 1)]
        route[t, rng.permutation(choices)[: len(used)]] = used
    return route, np.where(route >= 0, rng.rand(tokens, choices), 0).astype("float32")


@pytest.mark.parametrize(("tokens", "experts", "choices", "align"), [(3, 3, 8, 2), (9, 4, 2, 4), (5, 2, 3, 1)])
def test_permute_and_back(tokens: int, experts: int, choices: int, align: int) -> None:
    x, (route, prob) = rand(tokens, 6), routed(tokens, experts, choices)
    counts = [int((route == e).sum()) for e in range(experts)]
    attrs = {"num_experts": experts, "tokens_per_expert": counts, "padding_alignment": align, "do_gather": True}
    attrs |= {"return_expert_indices": True, "using_ue8m0_scale": False, "override_buffer_size": -1}
    operands = {"hidden_states": x, "scale": None, "expert_routemap_topk": route, "expert_prob_topk": prob}
    rows, where, share, _, owner = run("moe_permute", operands, attrs, 5)
    want_where, begin = np.full((tokens, experts), -1), 0
    want_owner: list[int] = []
    for e, count in enumerate(counts):
        want_where[(route == e).any(1), e] = begin + np.arange(count)
        room = -(-count // align) * align
        want_owner += [e] * count + [-1] * (room - count)
        begin += room
    np.testing.assert_array_equal(where, want_where)
    np.testing.assert_array_equal(owner, want_owner)
    want_rows, want_share = np.zeros((begin, 6), "float32"), np.zeros(begin, "float32")
    for t in range(tokens):
        for c in range(choices):
            if route[t, c] >= 0:
                want_rows[want_where[t, route[t, c]]], want_share[want_where[t, route[t, c]]] = x[t], prob[t, c]
    np.testing.assert_array_equal(rows, want_rows)
    np.testing.assert_array_equal(share, want_share)
    for weighted in (False, True):
        back = {"hidden_states_unzipped": rows, "zipped_expertwise_rowmap": where}
        back |= {"expert_routemap_topk": route, "token_prob_unzipped": share}
        attrs = {"total_zipped_tokens_num": tokens, "num_experts": experts, "use_mix_precision": True, "using_weighted_combine": weighted}
        summed, again = run("moe_unpermute", back, attrs, 2)
        factor = prob.astype(F).sum(1) if weighted else (route >= 0).sum(1)
        check(summed, x.astype(F) * factor[:, None])
        np.testing.assert_array_equal(again, prob)


@pytest.mark.parametrize(("sizes", "turned"), [([2, 3, 1], False), ([4, 0, 2], True), ([6], False)])
def test_batched_gemm(sizes: list[int], turned: bool) -> None:
    lhs, rhs = rand(sum(sizes), 5), rand(len(sizes), 5, 4)
    (out,) = run("batched_gemm", {"lhs": lhs, "rhs": rhs.swapaxes(1, 2) if turned else rhs}, {"batch_sizes": sizes, "trans_rhs": turned})
    parts = np.split(lhs.astype(F), np.cumsum(sizes)[:-1])
    check(out, np.concatenate([p @ m for p, m in zip(parts, rhs.astype(F), strict=True)]))


# ---- int8 --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("outliers", "biased"), [(0, True), (2, False), (3, True)])
def test_llm_int8_linear(outliers: int, biased: bool) -> None:
    rng = np.random.RandomState(outliers)
    x = rng.uniform(-3, 3, (2, 3, 64)).astype("float32")
    x[1, 0, rng.permutation(64)[:outliers]] = 20.0
    x[0, 1] = 0.0
    weight, scale, bias = rng.randint(-127, 128, (16, 64)).astype("int8"), rng.uniform(0.01, 0.02, 16).astype("float32"), rand(16)
    operands = {"x": x, "weight": weight, "bias": bias if biased else None, "weight_scale": scale}
    (out,) = run("llm_int8_linear", operands, {"threshold": 6.0})
    large = (np.abs(x) > 6.0).any((0, 1))
    rows = x.reshape(-1, 64)
    width = np.where(np.abs(rows) > 6.0, 0, np.abs(rows)).max(1, keepdims=True)
    with np.errstate(all="ignore"):
        scaled = rows * np.float32(127) * (np.float32(1) / width)
    whole = np.where(width > 0, np.sign(scaled) * np.floor(np.abs(scaled) + 0.5), 0)
    whole[:, large] = 0
    numbers = weight.astype(F) * scale[:, None].astype(F)
    want = whole.astype(F) @ weight.T.astype(F) * width * scale / 127 + rows[:, large].astype(F) @ numbers[:, large].T
    check(out, want.reshape(2, 3, 16) + (bias if biased else 0.0), 1e-4)
