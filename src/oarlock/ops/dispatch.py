"""Mixtures of experts: sending each token's row to its experts, and bringing the rows back."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import inside, sort_rows
from .linalg import product
from .registry import operator
from .serial import bind, both, cell, i64, kernel, loop, parallel, when
from .tensor import PrimExpr, Tensor

I32, F32 = "int32", "float32"


@operator("moe_gate_dispatch", "moe_gate_dispatch_auto")
def moe_gate_dispatch(
    b: Builder, x: Tensor, gate_logits: Tensor, corr_bias: Tensor | None, k: int, capacity: int, use_pad: bool
) -> tuple[Tensor, ...]:
    """Rows of x grouped by expert, each token at the k experts of the largest logits (with corr_bias added, where it is given).

    Results: the rows, (experts · capacity) with use_pad, else (tokens · k); the logits of each token's experts, 0 where an expert has
    had ``capacity`` tokens; where each went, (k, tokens); how many went to each expert or one before it; each token's experts.
    Rows that no token fills are 0.
    """
    tokens, experts = gate_logits.shape
    if not isinstance(experts, int):
        raise UnsupportedError("moe_gate_dispatch to a number of experts that is not static")
    bias = b.full([experts], 0.0, F32) if corr_bias is None else corr_bias.astype(F32).reshape([experts])
    logits = gate_logits.astype(F32)

    def best(gate: Any, extra: Any, weight: Any, expert: Any) -> None:
        with parallel(tokens) as t, loop(k) as choice:
            top, at = cell(F32, -1.0), cell(I32, 0)
            with loop(experts) as e:
                taken = cell("bool", False)
                with loop(choice) as c, when(expert[t, c] == e):
                    taken.v = tirx.const(True, "bool")
                with when(both(tirx.Not(taken.v), gate[t, e] + extra[e] > top.v)):
                    top.v, at.v = gate[t, e] + extra[e], tirx.Cast(I32, e)
            expert[t, choice], weight[t, choice] = at.v, gate[t, at.v]

    outputs: list[Any] = [([tokens, k], F32), ([tokens, k], I32)]
    weight, expert = kernel(b, best, [logits, bias], outputs, "gate")
    count = b.simplify(tokens * k)

    def before(keys: list[Any], r: Any, i: Any, j: Any) -> PrimExpr:
        """By expert; with use_pad all first choices come before the second ones, and so on."""
        (e,) = keys
        if not use_pad:
            return e[r, i] < e[r, j]
        choice_i, choice_j = tirx.floormod(i, k), tirx.floormod(j, k)
        return tirx.any(e[r, i] < e[r, j], both(e[r, i] == e[r, j], choice_i < choice_j))

    order = sort_rows(b, 1, count, [expert.reshape([1, count])], before, "by_expert")
    width = x.shape[1]
    room = experts * capacity if use_pad else count

    def send(data: Any, rank: Any, to: Any, given: Any, y: Any, share: Any, where: Any, until: Any) -> None:
        with loop(room) as r, loop(width) as j:
            y[r, j] = tirx.const(0, x.dtype)
        with loop(experts) as e:
            until[e] = i64(0)
        with loop(count) as i:
            at = to[tirx.floordiv(i, k), tirx.floormod(i, k)]
            until[at] = until[at] + 1
        with loop(experts) as e, when(i64(e) > 0):
            until[e] = until[e] + until[tirx.max(e - 1, 0)]
        with loop(count) as place:
            token, choice = bind(tirx.floordiv(rank[0, place], k)), bind(tirx.floormod(rank[0, place], k))
            at = bind(i64(to[token, choice]))
            begin = bind(tirx.if_then_else(at > 0, until[tirx.max(at - 1, i64(0))], i64(0)))
            own = bind(i64(place) - begin)
            fits = bind(own < i64(capacity))
            row = bind(at * capacity + own if use_pad else i64(place))
            share[token, choice] = tirx.if_then_else(fits, given[token, choice], tirx.const(0.0, F32))
            where[choice, token] = tirx.Cast(I32, tirx.if_then_else(fits, row, i64(0)))
            with when(fits), loop(width) as j:
                y[row, j] = data[token, j]

    outputs = [([room, width], x.dtype), ([tokens, k], F32), ([k, tokens], I32), ([experts], "int64")]
    y, share, where, until = kernel(b, send, [x, order, expert, weight], outputs, "moe_dispatch")
    return y, share, where, until, expert


@operator
def moe_permute(
    b: Builder,
    hidden_states: Tensor,
    scale: Tensor | None,
    expert_routemap_topk: Tensor,
    expert_prob_topk: Tensor,
    num_experts: int,
    tokens_per_expert: list[int],
    padding_alignment: int,
    do_gather: bool = True,
    using_ue8m0_scale: bool = False,
    return_expert_indices: bool = False,
    override_buffer_size: int = -1,
) -> tuple[Tensor | None, ...]:
    """Each token's row once for each of its experts, grouped by expert, each group filled up with zeros to padding_alignment rows.

    Then where the row of each token at each expert is (−1: nowhere), the probability of each row, and with return_expert_indices each
    row's expert (−1: a filling).
    """
    if scale is not None or not do_gather or override_buffer_size >= 0:
        raise UnsupportedError("moe_permute with scales, without rows, or into a buffer of another size")
    tokens, width = hidden_states.shape
    begins, total = [], 0
    for count in tokens_per_expert:
        begins.append(total)
        total += -(-count // padding_alignment) * padding_alignment
    starts = b.const(np.array([*begins, total]), "int64")
    probability = expert_prob_topk.dtype

    def body(data: Any, route: Any, prob: Any, first: Any, y: Any, where: Any, share: Any, owner: Any, used: Any) -> None:
        with loop(total) as r:
            share[r], owner[r] = tirx.const(0, probability), tirx.const(-1, I32)
            with loop(width) as j:
                y[r, j] = tirx.const(0, hidden_states.dtype)
        with loop(num_experts) as e:
            used[e] = first[e]
        with loop(tokens) as t:
            with loop(num_experts) as e:
                where[t, e] = tirx.const(-1, I32)
            with loop(expert_routemap_topk.shape[1]) as c, when(inside(i64(route[t, c]), num_experts)):
                at = bind(i64(route[t, c]))
                row = bind(used[at])
                with when(row < first[at + 1]):  # tokens_per_expert tells no more than there are
                    used[at] = row + 1
                    where[t, at] = tirx.Cast(I32, row)
                    share[row], owner[row] = prob[t, c], tirx.Cast(I32, at)
                    with loop(width) as j:
                        y[row, j] = data[t, j]

    outputs: list[Any] = [([total, width], hidden_states.dtype), ([tokens, num_experts], I32), ([total], probability), ([total], I32)]
    outputs.append(([num_experts], "int64"))
    inputs = [hidden_states, expert_routemap_topk, expert_prob_topk, starts]
    y, where, share, owner, _ = kernel(b, body, inputs, outputs, "moe_permute")
    return y, where, share, b.full([0], 0.0, F32), owner if return_expert_indices else b.full([0], 0, I32)


@operator
def moe_unpermute(
    b: Builder,
    hidden_states_unzipped: Tensor,
    zipped_expertwise_rowmap: Tensor,
    expert_routemap_topk: Tensor,
    token_prob_unzipped: Tensor,
    total_zipped_tokens_num: int,
    num_experts: int,
    use_mix_precision: bool = True,
    using_weighted_combine: bool = False,
) -> tuple[Tensor, Tensor]:
    """The sum of each token's rows (times their probabilities: using_weighted_combine), in float32; and the probability of each choice."""
    data, rows = hidden_states_unzipped, hidden_states_unzipped.shape[0]
    tokens, prob = zipped_expertwise_rowmap.shape[0], token_prob_unzipped.reshape([rows])
    axis = te.reduce_axis((0, num_experts), name="e")

    def element(t: te.Tensor, at: te.Tensor, p: te.Tensor, i: Any, j: Any) -> PrimExpr:
        row = i64(at(i, axis))
        value = tirx.Cast(F32, t(row, j))
        value = value * tirx.Cast(F32, p(row)) if using_weighted_combine else value
        return te.sum(tirx.if_then_else(inside(row, rows), value, tirx.const(0.0, F32)), axis=axis)

    summed = b.compute([tokens, data.shape[1]], element, data, zipped_expertwise_rowmap, prob, name="moe_unpermute").astype(data.dtype)

    def choice(route: te.Tensor, at: te.Tensor, p: te.Tensor, i: Any, c: Any) -> PrimExpr:
        expert = i64(route(i, c))
        row = tirx.if_then_else(inside(expert, num_experts), i64(at(i, expert)), i64(-1))
        return tirx.if_then_else(inside(row, rows), p(row), tirx.const(0, prob.dtype))

    back = b.compute(expert_routemap_topk.shape, choice, expert_routemap_topk, zipped_expertwise_rowmap, prob, name="probabilities")
    return summed, back


@operator
def batched_gemm(b: Builder, lhs: Tensor, rhs: Tensor, batch_sizes: list[int], trans_lhs: bool = False, trans_rhs: bool = False) -> Tensor:
    """Runs of batch_sizes rows of lhs, each times the matrix of rhs that has its number, one below the other."""
    if trans_lhs:
        raise UnsupportedError("batched_gemm of a transposed lhs")
    parts, at = [], 0
    for number, count in enumerate(batch_sizes):
        matrix = b.slice(rhs, 0, number, number + 1).reshape(rhs.shape[1:])
        parts.append(product(b, b.slice(lhs, 0, at, at + count), matrix.transpose([1, 0]) if trans_rhs else matrix))
        at += count
    return b.concat(parts, 0)
