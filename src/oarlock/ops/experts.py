"""Mixtures of experts: counting, limiting and combining what tokens are sent to."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import clamped, flat, inside
from .registry import operator
from .serial import both, cell, i64, kernel, loop, when
from .tensor import PrimExpr, Tensor


@operator
def number_count(b: Builder, numbers: Tensor, upper_range: int) -> Tensor:
    """How often 0 … upper_range − 1 stand in numbers; others do not count."""

    def body(given: Any, out: Any) -> None:
        with loop(upper_range) as e:
            out[e] = tirx.const(0, numbers.dtype)
        with loop(numbers.size) as i, when(inside(i64(given[i]), upper_range)):
            out[given[i]] = out[given[i]] + tirx.const(1, numbers.dtype)

    return kernel(b, body, [flat(b, numbers)], [([upper_range], numbers.dtype)], "number_count")[0]


@operator
def limit_by_capacity(b: Builder, expert_count: Tensor, capacity: Tensor, n_worker: int) -> Tensor:
    """How many tokens each worker may send to each expert, (workers · experts), until the expert's capacity is used up."""
    experts = capacity.size

    def body(counts: Any, most: Any, out: Any) -> None:
        with loop(experts) as e:
            left = cell(expert_count.dtype, 0)
            left.v = most[e]
            with loop(n_worker) as w:
                out[w * experts + e] = tirx.max(tirx.min(counts[w * experts + e], left.v), tirx.const(0, expert_count.dtype))
                left.v = left.v - counts[w * experts + e]

    inputs = [flat(b, expert_count), flat(b, capacity.astype(expert_count.dtype))]
    return kernel(b, body, inputs, [([expert_count.size], expert_count.dtype)], "limit_by_capacity")[0].reshape(expert_count.shape)


@operator
def prune_gate_by_capacity(b: Builder, gate_idx: Tensor, expert_count: Tensor, n_expert: int = 0, n_worker: int = 0) -> Tensor:
    """The expert of each token, −1 for those that come after as many tokens as the expert takes."""
    experts = expert_count.size

    def body(gates: Any, most: Any, out: Any, left: Any) -> None:
        with loop(experts) as e:
            left[e] = most[e]
        with loop(gate_idx.size) as i:
            out[i] = tirx.const(-1, gate_idx.dtype)
            with when(inside(i64(gates[i]), experts)):
                with when(left[gates[i]] > 0):
                    out[i] = gates[i]
                left[gates[i]] = left[gates[i]] - tirx.const(1, expert_count.dtype)

    outputs: list[Any] = [([gate_idx.size], gate_idx.dtype), ([experts], expert_count.dtype)]
    return kernel(b, body, [flat(b, gate_idx), flat(b, expert_count)], outputs, "prune_gate")[0].reshape(gate_idx.shape)


@operator
def random_routing(b: Builder, prob: Tensor, topk_value: Tensor, topk_idx: Tensor) -> Tensor:
    """The two experts of each token; no second one (−1) where twice its weight is below the token's number."""

    def element(p: te.Tensor, v: te.Tensor, e: te.Tensor, i: Any, j: Any) -> PrimExpr:
        drop = both(j == 1, v(i, 1) * tirx.const(2, topk_value.dtype) < p(i))
        return tirx.if_then_else(drop, tirx.const(-1, topk_idx.dtype), e(i, j))

    if topk_idx.shape[-1] != 2:
        raise UnsupportedError(f"random_routing to {topk_idx.shape[-1]} experts")
    return b.compute(topk_idx.shape, element, prob, topk_value, topk_idx, name="random_routing")


@operator("moe_combine", "moe_combine_auto")
def moe_combine(b: Builder, x: Tensor, combine_weights: Tensor, scatter_index: Tensor) -> Tensor:
    """Each token's sum of what its experts gave, rows scatter_index of x, times their weights; both (tokens, experts a token)."""
    tokens, experts = combine_weights.shape
    wide = "float32" if x.dtype in ("float16", "bfloat16") else x.dtype
    axis = te.reduce_axis((0, experts), name="k")

    def element(t: te.Tensor, w: te.Tensor, at: te.Tensor, i: Any, j: Any) -> PrimExpr:
        row = clamped(at(i, axis), x.shape[0])
        return te.sum(t(row, j).astype(wide) * w(i, axis).astype(wide), axis=axis)

    return b.compute([tokens, x.shape[1]], element, x, combine_weights, scatter_index, name="moe_combine").astype(x.dtype)
