"""Losses over paths: of a transducer through its lattice, of a class through a binary tree; and softmax with a margin."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import clamped
from .nn import softmax_of
from .registry import operator
from .serial import bind, both, cell, i64, kernel, loop, parallel, when
from .tensor import PrimExpr, Tensor


@operator
def warprnnt(
    b: Builder,
    input: Tensor,
    label: Tensor,
    input_lengths: Tensor,
    label_lengths: Tensor,
    blank: int = 0,
    fastemit_lambda: float = 0.0,
) -> tuple[Tensor, None]:
    """The transducer's loss: −log of the probability of every label sequence, (batch); input (batch, time, labels + 1, classes).

    The input is normalised here, as Paddle's GPU kernel does; its CPU kernel expects logarithms of probabilities, for which that changes
    nothing.  fastemit_lambda counts for the gradient only.
    """
    (batch, steps, places, classes), dtype = input.shape, input.dtype
    logs = softmax_of(b, input, 3, log=True)
    never = tirx.const(-1e30, dtype)

    def joined(x: PrimExpr, y: PrimExpr) -> PrimExpr:
        return tirx.max(x, y) + tirx.log1p(tirx.exp(-tirx.abs(x - y)))

    def body(p: Any, c: Any, times: Any, lengths: Any, loss: Any, paths: Any) -> None:
        with parallel(batch) as n:  # lengths are kept inside, so that wrong ones read nothing else
            time = bind(tirx.max(tirx.min(i64(times[n]), i64(steps)), i64(1)))
            length = bind(tirx.max(tirx.min(tirx.min(i64(lengths[n]), i64(places) - 1), i64(label.shape[1])), i64(0)))
            with loop(time) as t, loop(length + 1) as u:
                stay, emit = cell(dtype, never), cell(dtype, never)
                with when(t > 0):
                    stay.v = paths[n, t - 1, u] + p[n, t - 1, u, blank]
                with when(u > 0):
                    emit.v = paths[n, t, u - 1] + p[n, t, u - 1, clamped(c[n, u - 1], classes)]
                paths[n, t, u] = tirx.if_then_else(both(t == 0, u == 0), tirx.const(0, dtype), joined(stay.v, emit.v))
            loss[n] = -(paths[n, time - 1, length] + p[n, time - 1, length, blank])

    outputs: list[Any] = [([batch], dtype), ([batch, steps, places], dtype)]
    inputs = [logs, label, input_lengths.reshape([batch]), label_lengths.reshape([batch])]
    return kernel(b, body, inputs, outputs, "warprnnt")[0], None


@operator
def hsigmoid_loss(
    b: Builder,
    x: Tensor,
    label: Tensor,
    w: Tensor,
    bias: Tensor | None,
    path: Tensor | None,
    code: Tensor | None,
    num_classes: int,
    is_sparse: bool = False,
) -> tuple[Tensor, Tensor, None]:
    """The loss of every row's class in a binary tree of classifiers, and log(1 + exp) of what they say along its path.

    The tree is complete, unless path (the classifiers, then negative numbers) and code (the turns) tell it.  A path that is shorter than
    the longest one costs log 2 for every step that is missing, as in Paddle.
    """
    (rows, width), dtype = x.shape, x.dtype
    own = path is not None and code is not None
    steps: Any = path.shape[1] if own and path is not None else max(num_classes - 1, 0).bit_length()
    zero = tirx.const(0, dtype)
    given = [t for t in (bias.reshape([bias.size]) if bias is not None else None, path, code) if t is not None]

    def body(data: Any, classes: Any, weight: Any, *rest: Any) -> None:
        extra, (out, before) = rest[:-2], rest[-2:]
        shift = extra[0] if bias is not None else None
        with parallel(rows) as n:
            total, ended = cell(dtype, 0.0), cell("bool", False)
            with loop(steps) as j:
                place, turn = cell("int64", 0), cell("bool", False)
                if own:
                    place.v, turn.v = i64(extra[-2][n, j]), extra[-1][n, j] != 0
                    with when(place.v < 0):
                        ended.v = tirx.const(True, "bool")
                else:
                    leaf = bind(i64(classes[n]) + num_classes)
                    place.v = tirx.shift_right(leaf, i64(j) + 1) - 1
                    turn.v = tirx.bitwise_and(tirx.shift_right(leaf, i64(j)), i64(1)) != 0
                    ended.v = place.v < 0
                score = cell(dtype, 0.0)
                with when(tirx.Not(ended.v)):
                    at = bind(clamped(place.v, w.shape[0]))
                    if shift is not None:
                        score.v = shift[at]
                    with loop(width) as k:
                        score.v = score.v + weight[at, k] * data[n, k]
                    score.v = tirx.max(tirx.min(score.v, tirx.const(40, dtype)), tirx.const(-40, dtype))
                    with when(turn.v):
                        total.v = total.v - score.v
                before[n, j] = tirx.max(score.v, zero) + tirx.log1p(tirx.exp(-tirx.abs(score.v)))
                total.v = total.v + before[n, j]
            out[n, 0] = total.v

    inputs = [x, label.reshape([rows]), w, *given]
    out, before = kernel(b, body, inputs, [([rows, 1], dtype), ([rows, steps], dtype)], "hsigmoid_loss")
    return out, before, None


@operator
def margin_cross_entropy(
    b: Builder,
    logits: Tensor,
    label: Tensor,
    return_softmax: bool = False,
    ring_id: int = 0,
    rank: int = 0,
    nranks: int = 1,
    margin1: float = 1.0,
    margin2: float = 0.5,
    margin3: float = 0.0,
    scale: float = 64.0,
) -> tuple[Tensor, Tensor]:
    """Softmax and loss of cosines, where the label's angle θ becomes cos(margin1 · θ + margin2) − margin3, times scale."""
    if nranks != 1:
        raise UnsupportedError("margin_cross_entropy over several devices")
    rows, classes = logits.shape
    dtype = logits.dtype

    def element(t: te.Tensor, c: te.Tensor, n: Any, j: Any) -> PrimExpr:
        value = t(n, j)
        cosine = value
        if margin1 != 1.0 or margin2 != 0.0:
            angle = tirx.acos(tirx.max(tirx.min(value, tirx.const(1, dtype)), tirx.const(-1, dtype)))
            cosine = tirx.cos(angle * tirx.const(margin1, dtype) + tirx.const(margin2, dtype))
        moved = cosine - tirx.const(margin3, dtype)
        return tirx.if_then_else(i64(c(n)) == j, moved, value) * tirx.const(scale, dtype)

    places = label.reshape([rows])
    scaled = b.compute([rows, classes], element, logits, places, name="margins")
    logs = softmax_of(b, scaled, 1, log=True)
    loss = b.compute([rows, 1], lambda t, c, n, _: -t(n, clamped(c(n), classes)), logs, places, name="margin_loss")
    return softmax_of(b, scaled, 1), loss
