"""Operators of language models' serving: sampling of the next token, pruning of tokens, rotation of a part of each head."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from ..model.program import Op
from .builder import Builder
from .kernels import sort_rows, sorted_order
from .random import TINY, draw01, key_of
from .registry import operator
from .serial import both, cell, i64, kernel, parallel, when, while_
from .tensor import Dim, PrimExpr, Tensor

F32 = "float32"


@operator
def top_p_sampling(
    b: Builder,
    op: Op,
    x: Tensor,
    ps: Tensor,
    threshold: Tensor | None = None,
    topp_seed: Tensor | None = None,
    seed: int = -1,
    k: int = 0,
    mode: str = "truncated",
) -> tuple[Tensor | None, ...]:
    """One token a row of probabilities x, out of the likeliest ones that make up ps: its probability and number, [rows, 1] each.

    mode "truncated" takes the token where the sum of the sorted probabilities reaches a random share of ps, and of those below the
    threshold the next likelier one that is not; else a token wins by its probability over a random number of the exponential
    distribution.  Rows of one topp_seed, or all rows where a ``seed`` is given, draw the same random numbers.  With k the k likeliest
    tokens are told, too.
    """
    rows, words = x.shape
    key = key_of(op, max(seed, 0))
    order = sorted_order(b, x.astype(F32), descending=True)
    zeros = b.full([rows], 0.0, F32)
    nucleus = ps.astype(F32).reshape([rows])
    least = zeros if threshold is None else threshold.astype(F32).reshape([rows])
    seeds = b.full([rows], 0, "int64") if topp_seed is None else topp_seed.astype("int64").reshape([rows])

    def state(given: Any, r: Any) -> PrimExpr:
        """What tells the random numbers of rows apart."""
        return i64(given[r]) if topp_seed is not None else i64(0) if seed != -1 else i64(r)

    def truncated(p: Any, rank: Any, r: Any, share: Any, low: Any, at: Any, given: Any) -> None:
        total, i, target = cell(F32, 0.0), cell("int64", 0), cell(F32, 0.0)
        target.v = share * tirx.Cast(F32, draw01(state(given, r), 0, key))
        with while_(both(at.v < 0, i.v < i64(words))):
            total.v = total.v + p[r, rank[r, i.v]]
            with when(total.v >= target.v):
                at.v = i.v
            i.v = i.v + 1
        with while_(both(at.v > 0, p[r, rank[r, tirx.max(at.v, i64(0))]] < low)):
            at.v = at.v - 1

    def raced(p: Any, rank: Any, r: Any, share: Any, low: Any, at: Any, given: Any) -> None:
        total, i, best = cell(F32, 0.0), cell("int64", 0), cell("float64", 0.0)
        with while_(both(tirx.any(i.v == 0, total.v < share), i.v < i64(words))):
            value, time = cell(F32, p[r, rank[r, i.v]]), cell("float64", 0.0)
            total.v = total.v + value.v
            # numbers of a row, then of the next: by their rank
            time.v = -tirx.log(tirx.const(1.0, "float64") - draw01(state(given, r), i.v, key)) + tirx.const(TINY, "float64")
            with when(both(value.v >= low, tirx.Cast("float64", value.v) / time.v > best.v)):
                best.v, at.v = tirx.Cast("float64", value.v) / time.v, i.v
            i.v = i.v + 1

    def body(p: Any, rank: Any, share: Any, low: Any, given: Any, value: Any, token: Any) -> None:
        with parallel(rows) as r:
            at = cell("int64", -1)
            (truncated if mode == "truncated" else raced)(p, rank, r, share[r], low[r], at, given)
            token[r] = rank[r, tirx.max(at.v, i64(0))]
            value[r] = p[r, token[r]]

    data = x.astype(F32)
    outputs: list[Any] = [([rows], F32), ([rows], "int64")]
    value, token = kernel(b, body, [data, order, nucleus, least, seeds], outputs, "top_p_sampling")
    chosen = value.astype(x.dtype).reshape([rows, 1]), token.reshape([rows, 1])
    if k <= 0:
        return *chosen, None, None
    first = b.slice(order, 1, 0, k)
    return *chosen, b.compute(first.shape, lambda t, o, r, i: t(r, o(r, i)), x, first, name="likeliest"), first


@operator
def fused_token_prune(
    b: Builder, attn: Tensor, x: Tensor, mask: Tensor, new_mask: Tensor, keep_first_token: bool = True, keep_order: bool = False
) -> tuple[Tensor, Tensor]:
    """The rows of x (batch, tokens, …) that most attention goes to, as many as new_mask has, and their numbers.

    attn (batch, heads, tokens, tokens) counts where the mask is not negative.  The first token stays if keep_first_token.
    """
    batch, tokens, kept = x.shape[0], x.shape[1], new_mask.shape[2]
    counted = b.compute(
        attn.shape,
        lambda a, m, *i: tirx.if_then_else(m(*i) >= tirx.const(0, mask.dtype), a(*i), tirx.const(0, attn.dtype)),
        attn, b.broadcast_to(mask, attn.shape), name="counted_attention",
    )  # fmt: skip
    score = b.emit(relax.op.sum(counted.expr, [1, 2]))

    def before(keys: list[Any], r: Any, i: Any, j: Any) -> PrimExpr:
        (value,) = keys
        higher = value[r, i] > value[r, j]
        return both(tirx.any(i == 0, higher), j != 0) if keep_first_token else higher

    order = b.slice(sort_rows(b, batch, tokens, [score], before, "by_attention"), 1, 0, kept)
    if keep_order:
        rank = sorted_order(b, order)
        order = b.compute(order.shape, lambda t, o, r, i: t(r, o(r, i)), order, rank, name="in_order")
    slim = b.compute([batch, kept, *x.shape[2:]], lambda t, o, n, i, *rest: t(n, o(n, i), *rest), x, order, name="kept_tokens")
    return slim, order


@operator
def fused_partial_rope(b: Builder, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (batch, length, heads, depth) with the last cos.shape[-1] numbers of each head turned: pairs of neighbours become halves."""
    turned, depth = cos.shape[-1], x.shape[-1]
    if not isinstance(turned, int) or not isinstance(depth, int) or turned % 2 or turned > depth:
        raise UnsupportedError(f"fused_partial_rope of {turned} of {depth} numbers")
    fixed, half = depth - turned, turned // 2

    def element(t: te.Tensor, c: te.Tensor, s: te.Tensor, n: Any, place: Any, h: Any, j: Any) -> PrimExpr:
        at = j - i64(fixed)
        first = at < i64(half)
        own = i64(fixed) + tirx.if_then_else(first, 2 * at, 2 * (at - i64(half)) + 1)
        other = i64(fixed) + tirx.if_then_else(first, 2 * at + 1, 2 * (at - i64(half)))
        value, pair = tirx.Cast(wide, t(n, place, h, own)), tirx.Cast(wide, t(n, place, h, other))
        pair = tirx.if_then_else(first, -pair, pair)
        new = value * tirx.Cast(wide, c(0, place, 0, at)) + pair * tirx.Cast(wide, s(0, place, 0, at))
        return tirx.if_then_else(j < i64(fixed), t(n, place, h, j), tirx.Cast(x.dtype, new))

    wide = F32 if x.dtype in ("float16", "bfloat16") else x.dtype
    length: Dim = x.shape[1]
    cos, sin = (b.match(t, [1, length, 1, turned]) for t in (cos, sin))
    return b.compute(x.shape, element, x, cos, sin, name="partial_rope")
