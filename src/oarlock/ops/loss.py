"""Losses, which inference models carry now and then."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import clamped
from .nn import log_softmax, softmax_of
from .registry import operator
from .serial import bind, both, cell, i64, kernel, loop, parallel, when
from .tensor import Dim, PrimExpr, Tensor


def _log(b: Builder, x: Tensor) -> Tensor:
    return b.emit(relax.op.log(x.expr))


def _abs(b: Builder, x: Tensor) -> Tensor:
    return b.emit(relax.op.abs(x.expr))


def _sum(b: Builder, x: Tensor) -> Tensor:
    return b.emit(relax.op.sum(x.expr))


def _at_least(b: Builder, x: Tensor, bottom: float) -> Tensor:
    return b.emit(relax.op.maximum(x.expr, b.const(bottom, x.dtype).expr))


# ---- classes ---------------------------------------------------------------------------------------------------------


@operator
def cross_entropy_with_softmax(
    b: Builder,
    input: Tensor,
    label: Tensor,
    soft_label: bool = False,
    use_softmax: bool = True,
    numeric_stable_mode: bool = True,
    ignore_index: int = -100,
    axis: int = -1,
) -> tuple[Tensor, Tensor]:
    """(softmax of the logits, −log of the probability of the label): label holds classes, or probabilities (soft_label)."""
    axis += input.ndim if axis < 0 else 0
    probability = softmax_of(b, input, axis) if use_softmax else input
    logs = log_softmax(b, input, axis) if use_softmax else _log(b, input)
    if soft_label:
        return probability, -b.emit(relax.op.sum((label * logs).expr, [axis], keepdims=True))
    shape = [*input.shape[:axis], 1, *input.shape[axis + 1 :]]
    classes = input.shape[axis]
    if label.ndim == input.ndim - 1:
        label = label.reshape([*label.shape[:axis], 1, *label.shape[axis:]])

    def element(p: te.Tensor, c: te.Tensor, *index: Any) -> PrimExpr:
        own = c(*index).astype("int64")
        valid = tirx.all(own != ignore_index, own >= 0, own < classes)
        return tirx.if_then_else(valid, -p(*index[:axis], own, *index[axis + 1 :]), tirx.const(0, input.dtype))

    return probability, b.compute(shape, element, logs, label, name="cross_entropy")


@operator
def nll_loss(
    b: Builder, input: Tensor, label: Tensor, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[Tensor, Tensor]:
    """−weight · input at the label (axis 1), reduced; and the sum of the weights."""
    dtype, classes = input.dtype, input.shape[1]
    tensors = [input, label] + ([weight] if weight is not None else [])

    def weighed(with_value: bool) -> Tensor:
        def element(*args: Any) -> PrimExpr:
            x, c, *w = args[: len(tensors)]
            index = args[len(tensors) :]
            own = c(*index).astype("int64")
            valid = tirx.all(own != ignore_index, own >= 0, own < classes)
            share = w[0](own) if w else tirx.const(1, dtype)
            value = -x(index[0], own, *index[1:]) * share if with_value else share
            return tirx.if_then_else(valid, value, tirx.const(0, dtype))

        return b.compute(label.shape, element, *tensors, name="nll_loss")

    losses = weighed(True)
    if reduction == "none":
        return losses, b.full([], 0.0, dtype)
    total, weights = _sum(b, losses), _sum(b, weighed(False))
    return (total / weights if reduction == "mean" else total), weights


@operator
def label_smooth(b: Builder, label: Tensor, prior_dist: Tensor | None = None, epsilon: float = 0.0) -> Tensor:
    """(1 − ε) · label + ε · prior, the prior uniform over the last axis by default."""
    if prior_dist is not None:
        return label * (1.0 - epsilon) + prior_dist.reshape([*[1] * (label.ndim - 1), label.shape[-1]]) * epsilon
    classes = label.shape[-1]
    if isinstance(classes, int):
        return label * (1.0 - epsilon) + epsilon / classes
    keep, share = tirx.const(1.0 - epsilon, label.dtype), tirx.const(epsilon, label.dtype)
    return b.compute(label.shape, lambda t, *i: t(*i) * keep + share / tirx.Cast(label.dtype, classes), label, name="label_smooth")


# ---- binary ----------------------------------------------------------------------------------------------------------


@operator
def sigmoid_cross_entropy_with_logits(
    b: Builder, x: Tensor, label: Tensor, pos_weight: Tensor | None = None, normalize: bool = False, ignore_index: int = -100
) -> Tensor:
    """Cross entropy of sigmoid(x) and label, 0 where the label is ignore_index; normalize: divided by how many count."""
    dtype = x.dtype
    zero, one, ignored = tirx.const(0, dtype), tirx.const(1, dtype), tirx.const(ignore_index, dtype)
    if pos_weight is not None:
        pos_weight = b.broadcast_to(pos_weight, x.shape)
    tensors = [x, label] + ([pos_weight] if pos_weight is not None else [])

    def element(*args: Any) -> PrimExpr:
        v, t, *w = (p(*args[len(tensors) :]) for p in args[: len(tensors)])
        tail = tirx.log(one + tirx.exp(-tirx.abs(v)))
        if w:
            value = (one - t) * v + w[0] * (tail + tirx.max(-v, zero))
        else:
            value = tirx.max(v, zero) - v * t + tail
        return tirx.Select(t == ignored, zero, value)

    out = b.compute(x.shape, element, *tensors, name="sigmoid_cross_entropy")
    if not normalize:
        return out
    counted = b.compute(x.shape, lambda t, *i: tirx.Select(t(*i) == ignored, zero, one), label, name="counted")
    return out / _at_least(b, _sum(b, counted), 1e-5)


@operator
def bce_loss(b: Builder, input: Tensor, label: Tensor) -> Tensor:
    """−label · log(x) − (1 − label) · log(1 − x), each logarithm at least −100."""
    one = b.const(1.0, input.dtype)
    return (label - one) * _at_least(b, _log(b, one - input), -100.0) - label * _at_least(b, _log(b, input), -100.0)


@operator
def log_loss(b: Builder, input: Tensor, label: Tensor, epsilon: float) -> Tensor:
    """−label · log(x + ε) − (1 − label) · log(1 − x + ε)."""
    one = b.const(1.0, input.dtype)
    return -(label * _log(b, input + epsilon)) - (one - label) * _log(b, one - input + epsilon)


@operator
def hinge_loss(b: Builder, logits: Tensor, labels: Tensor) -> Tensor:
    """max(1 − (2 · label − 1) · x, 0)."""
    one = b.const(1.0, logits.dtype)
    return _at_least(b, one - logits * (labels * 2.0 - 1.0), 0.0)


# ---- distances -------------------------------------------------------------------------------------------------------


@operator
def kldiv_loss(b: Builder, x: Tensor, label: Tensor, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """label · (log(label) − x), 0 where the label is not positive; or exp(label) · (label − x) with log_target."""
    if log_target:
        out = b.emit(relax.op.exp(label.expr)) * (label - x)
    else:
        zero = tirx.const(0, x.dtype)

        def element(v: te.Tensor, t: te.Tensor, *i: Any) -> PrimExpr:
            return tirx.if_then_else(t(*i) > zero, t(*i) * (tirx.log(t(*i)) - v(*i)), zero)

        out = b.compute(x.shape, element, x, label, name="kldiv")
    if reduction == "none":
        return out
    if reduction == "mean":
        return b.emit(relax.op.mean(out.expr))
    total = _sum(b, out)
    return _over(b, total, x.shape[0]) if reduction == "batchmean" else total


def _over(b: Builder, x: Tensor, count: Any) -> Tensor:
    """x divided by a dim."""
    if isinstance(count, int):
        return x / float(count)
    return b.compute(x.shape, lambda t, *i: t(*i) / tirx.Cast(x.dtype, count), x, name="divide_by_size")


@operator
def huber_loss(b: Builder, input: Tensor, label: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """½ r² for |r| ≤ δ, else δ · (|r| − ½ δ), r = label − x; and r."""
    rest = label - input
    size = _abs(b, rest)
    return b.where(size <= delta, rest * rest * 0.5, (size - delta * 0.5) * delta), rest


@operator
def identity_loss(b: Builder, x: Tensor, reduction: int = 1) -> Tensor:
    """The sum (0), the mean (1), or x as it is (2)."""
    if reduction == 2:
        return x
    return _sum(b, x) if reduction == 0 else b.emit(relax.op.mean(x.expr))


# ---- sequences -------------------------------------------------------------------------------------------------------


@operator
def warpctc(
    b: Builder,
    logits: Tensor,
    label: Tensor,
    logits_length: Tensor | None = None,
    labels_length: Tensor | None = None,
    blank: int = 0,
    norm_by_times: bool = False,
) -> tuple[Tensor, None]:
    """CTC: −log of the probability of every label sequence; logits (time, batch, classes), label (batch, length) → (batch, 1).

    A label that is too long for its time has the loss 0, as in warp-ctc.
    """
    if logits_length is None or labels_length is None:
        raise UnsupportedError("warpctc without lengths")
    (steps, batch, classes), dtype = logits.shape, logits.dtype
    width = b.simplify(label.shape[1] * 2 + 1)
    logs = softmax_of(b, logits, 2, log=True)

    def body(p: Any, c: Any, times: Any, lengths: Any, loss: Any, paths: Any) -> None:
        with parallel(batch) as n:  # lengths are kept inside, so that wrong ones read nothing else
            time, length = (bind(tirx.max(tirx.min(i64(v[n]), i64(d)), i64(0))) for v, d in ((times, steps), (lengths, label.shape[1])))
            _ctc(p, c, classes, time, length, loss, paths, n, blank)

    outputs: list[Any] = [([batch, 1], dtype), ([2, batch, width], dtype)]
    inputs = [logs, label, logits_length.reshape([batch]), labels_length.reshape([batch])]
    return kernel(b, body, inputs, outputs, "warpctc")[0], None


def _ctc(p: Any, c: Any, classes: Dim, times: PrimExpr, length: PrimExpr, loss: Any, paths: Any, n: Any, blank: int) -> None:
    """The forward recursion of one sequence in logarithms; ``paths`` holds two rows of path ends, blanks between labels."""
    dtype = str(p.dtype)
    never = tirx.const(-1e30, dtype)
    zero = tirx.const(0, dtype)
    ends = length * 2 + 1

    def symbol(s: Any) -> PrimExpr:
        place = tirx.max(tirx.min(tirx.floordiv(s, 2), length - 1), 0)
        return tirx.if_then_else(tirx.floormod(s, 2) == 0, tirx.const(blank, "int64"), clamped(c[n, place], classes))

    def joined(x: PrimExpr, y: PrimExpr) -> PrimExpr:
        return tirx.max(x, y) + tirx.log(tirx.const(1, dtype) + tirx.exp(-tirx.abs(x - y)))

    repeats = cell("int64", 0)
    with loop(length) as j, when(both(j > 0, c[n, j] == c[n, tirx.max(j - 1, 0)])):
        repeats.v = repeats.v + 1
    with loop(ends) as s:
        paths[0, n, s] = tirx.if_then_else(s < 2, p[0, n, symbol(s)], never)
    with loop(times - 1) as step:
        t = step + 1
        now, before = tirx.floormod(t, 2), tirx.floormod(step, 2)
        with loop(ends) as s:
            total = cell(dtype, paths[before, n, s])
            with when(s > 0):
                total.v = joined(total.v, paths[before, n, tirx.max(s - 1, 0)])
            with when(both(both(s > 1, tirx.floormod(s, 2) == 1), symbol(s) != symbol(tirx.max(s - 2, 0)))):
                total.v = joined(total.v, paths[before, n, tirx.max(s - 2, 0)])
            paths[now, n, s] = total.v + p[t, n, symbol(s)]
    row = tirx.floormod(times - 1, 2)
    final = cell(dtype, paths[row, n, ends - 1])
    with when(ends > 1):
        final.v = joined(final.v, paths[row, n, tirx.max(ends - 2, 0)])
    loss[n, 0] = tirx.if_then_else(length + repeats.v > times, zero, -final.v)
