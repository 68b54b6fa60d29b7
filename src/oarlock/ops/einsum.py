"""einsum: operands are contracted pairwise, each pair as one batched matmul (or a broadcast product when nothing is summed)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from tvm import relax

from ..errors import UnsupportedError
from .builder import Builder
from .complex_pair import each
from .creation import diagonal
from .linalg import product
from .registry import operator
from .tensor import Tensor

Label = str  # a letter, or ".k": the k-th axis from the right that "..." stands for


@operator
def einsum(b: Builder, x: list[Tensor], equation: str) -> tuple[Tensor, None, None]:
    """Sums of products of the operands by Einstein's convention; complex ones too (registry.GENERIC)."""
    inputs, output = parse(equation, [t.ndim for t in x])
    operands = [_diagonals(b, t, labels) for t, labels in zip(x, inputs, strict=True)]
    value, labels = operands[0]
    for i, (other, other_labels) in enumerate(operands[1:], 1):
        later = {label for _, ls in operands[i + 1 :] for label in ls}
        value, labels = _contract(b, value, labels, other, other_labels, later | set(output))
    value, labels = _sum_out(b, value, labels, set(output))
    return value.transpose([labels.index(label) for label in output]), None, None


def parse(equation: str, ranks: Sequence[int]) -> tuple[list[list[Label]], list[Label]]:
    """The labels of every axis of every operand, and of the result."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise UnsupportedError(f"einsum {equation!r} with {len(ranks)} operand(s)")
    inputs = [_labels(term, rank, equation) for term, rank in zip(terms, ranks, strict=True)]
    dots = max((sum(label[0] == "." for label in labels) for labels in inputs), default=0)
    ellipsis = [f".{k}" for k in range(dots - 1, -1, -1)]
    if arrow:
        head, found, tail = right.partition("...")
        output = [*head, *(ellipsis if found else []), *tail]
    else:
        counts = Counter(label for labels in inputs for label in labels if label[0] != ".")
        output = [*ellipsis, *sorted(label for label, n in counts.items() if n == 1)]
    if len(set(output)) != len(output) or not set(output) <= {label for labels in inputs for label in labels}:
        raise UnsupportedError(f"einsum {equation!r}: the result has a label twice, or one that no operand has")
    return inputs, output


def _labels(term: str, rank: int, equation: str) -> list[Label]:
    head, found, tail = term.partition("...")
    dots = rank - len(head) - len(tail)
    if dots < 0 or (dots and not found):
        raise UnsupportedError(f"einsum {equation!r}: the operand {term!r} has rank {rank}")
    return [*head, *(f".{k}" for k in range(dots - 1, -1, -1)), *tail]


def _diagonals(b: Builder, x: Tensor, labels: list[Label]) -> tuple[Tensor, list[Label]]:
    """A label that stands twice means the diagonal."""
    for label in [label for label, n in Counter(labels).items() if n > 1]:
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = each(x, lambda t, at=(first, second): diagonal(b, t, 0, *at))
            labels = [*(name for i, name in enumerate(labels) if i not in (first, second)), label]
    return x, labels


def _sum_out(b: Builder, x: Tensor, labels: list[Label], keep: set[Label]) -> tuple[Tensor, list[Label]]:
    axes = [i for i, label in enumerate(labels) if label not in keep]
    if not axes:
        return x, labels
    return each(x, lambda t: b.emit(relax.op.sum(t.expr, axis=axes))), [label for label in labels if label in keep]


def _contract(b: Builder, x: Tensor, xs: list[Label], y: Tensor, ys: list[Label], keep: set[Label]) -> tuple[Tensor, list[Label]]:
    """The product of two operands, summed over the labels that nothing else needs."""
    x, xs = _sum_out(b, x, xs, keep | set(ys))
    y, ys = _sum_out(b, y, ys, keep | set(xs))
    common = [label for label in xs if label in ys]
    x, y = _same_sizes(b, x, xs, y, ys, common)
    batch, summed = [label for label in common if label in keep], [label for label in common if label not in keep]
    left, right = [label for label in xs if label not in ys], [label for label in ys if label not in xs]
    x = x.transpose([xs.index(label) for label in [*batch, *left, *summed]])
    y = y.transpose([ys.index(label) for label in [*batch, *summed, *right]])
    nb, nl, nr = len(batch), len(left), len(right)
    shape = [*x.shape[:nb], *x.shape[nb : nb + nl], *y.shape[y.ndim - nr :]]
    if not summed:
        out = x.reshape([*x.shape, *[1] * nr]) * y.reshape([*y.shape[:nb], *[1] * nl, *y.shape[nb:]])
        return out, [*batch, *left, *right]
    rows, inner, columns = (b.simplify(math.prod(dims)) for dims in (x.shape[nb : nb + nl], x.shape[nb + nl :], y.shape[y.ndim - nr :]))
    out = product(b, x.reshape([*x.shape[:nb], rows, inner]), y.reshape([*y.shape[:nb], inner, columns]))
    return out.reshape(shape), [*batch, *left, *right]


def _same_sizes(b: Builder, x: Tensor, xs: list[Label], y: Tensor, ys: list[Label], common: list[Label]) -> tuple[Tensor, Tensor]:
    """Both operands with the same size of every common label (1 broadcasts)."""
    want_x, want_y = list(x.shape), list(y.shape)
    for label in common:
        i, j = xs.index(label), ys.index(label)
        want_x[i] = want_y[j] = b.broadcast_shape([x.shape[i]], [y.shape[j]])[0]
    return each(x, lambda t: b.broadcast_to(t, want_x)), each(y, lambda t: b.broadcast_to(t, want_y))
