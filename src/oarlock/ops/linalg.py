"""Products of vectors and matrices: matmul and what reduces to it.

These functions take complex tensors too (registry.GENERIC): ``product`` makes four real products of one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .complex_pair import Complex, each, product_of
from .creation import diagonal
from .registry import operator
from .tensor import Dim, Tensor

# ---- matmul ----------------------------------------------------------------------------------------------------------


def product(b: Builder, x: Any, y: Any) -> Any:
    """x · y for ranks ≥ 2 as relax.op.matmul, whatever is known of the dims; half precision sums in float32."""
    if isinstance(x, Complex) and isinstance(y, Complex):
        return product_of(lambda p, q: product(b, p, q), x, y)
    if x.dtype != y.dtype:
        raise UnsupportedError(f"matmul of {x.dtype} and {y.dtype}")
    if isinstance(x.shape[-1], int) and isinstance(y.shape[-2], int) and x.shape[-1] != y.shape[-2]:
        raise UnsupportedError(
            f"matmul of shapes {x.shape} and {y.shape}: {x.shape[-1]} ≠ {y.shape[-2]}", todo="check the shapes given to compile"
        )
    if not isinstance(x.shape[-1], int):
        x = b.match(x, [*x.shape[:-1], y.shape[-2]])
    else:
        y = b.match(y, [*y.shape[:-2], x.shape[-1], y.shape[-1]])
    if x.shape[-1] == 0 or x.dtype == "bool":
        return _explicit_product(b, x, y)
    x, y = _fit_batch(b, x, y)
    if x.dtype in ("float16", "bfloat16"):
        return b.emit(relax.op.matmul(x.expr, y.expr, out_dtype="float32")).astype(x.dtype)
    return b.emit(relax.op.matmul(x.expr, y.expr))


def _fit_batch(b: Builder, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Batch dims that Relax can compare: equal, or 1, or absent."""
    batch = b.broadcast_shape(x.shape[:-2], y.shape[:-2])

    def fit(t: Tensor) -> Tensor:
        lead = len(batch) - (t.ndim - 2)
        own = t.shape[:-2]
        target = [d if isinstance(d, int) and d == 1 else batch[lead + i] for i, d in enumerate(own)]
        return t if all(b.equal(a, c) for a, c in zip(own, target, strict=True)) else b.broadcast_to(t, [*target, *t.shape[-2:]])

    return fit(x), fit(y)


def _explicit_product(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """An empty sum is 0, which Relax's matmul does not always know."""
    if x.dtype == "bool":
        raise UnsupportedError("matmul of bool")
    batch = b.broadcast_shape(x.shape[:-2], y.shape[:-2])
    return b.full([*batch, x.shape[-2], y.shape[-1]], 0, x.dtype)


def swap_last(x: Tensor) -> Tensor:
    """The transpose of the last two axes."""
    return x.transpose([*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


@operator
def matmul(b: Builder, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Matrix product with broadcast batch dims; a 1-D operand is a row on the left, a column on the right (never transposed)."""
    row, column = x.ndim == 1, y.ndim == 1
    if x.ndim == 0 or y.ndim == 0:
        raise UnsupportedError("matmul of a 0-D tensor")
    left = x.reshape([1, x.shape[0]]) if row else swap_last(x) if transpose_x else x
    right = y.reshape([y.shape[0], 1]) if column else swap_last(y) if transpose_y else y
    out = product(b, left, right)
    shape = out.shape[:-2] + ([] if row else [out.shape[-2]]) + ([] if column else [out.shape[-1]])
    return out.reshape(shape) if row or column else out


@operator
def legacy_matmul(b: Builder, x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False, alpha: float = 1.0) -> Tensor:
    """The first matmul: a factor alpha, and vector · vector gives shape [1]; a transposed vector is a column (left), a row (right)."""
    left = x.reshape([x.shape[0], 1] if transpose_x else [1, x.shape[0]]) if x.ndim == 1 else swap_last(x) if transpose_x else x
    right = y.reshape([1, y.shape[0]] if transpose_y else [y.shape[0], 1]) if y.ndim == 1 else swap_last(y) if transpose_y else y
    out = product(b, left, right)
    out = out if alpha == 1.0 else out * alpha
    shape = (
        out.shape[:-2]
        + ([] if x.ndim == 1 and not transpose_x else [out.shape[-2]])
        + ([] if y.ndim == 1 and not transpose_y else [out.shape[-1]])
    )
    return out.reshape(shape or [1])


@operator
def matmul_with_flatten(b: Builder, x: Tensor, y: Tensor, x_num_col_dims: int = 1, y_num_col_dims: int = 1) -> Tensor:
    """The legacy ``mul``: both operands are flattened to matrices at the given axes."""
    left = x.reshape([_product(b, x.shape[:x_num_col_dims]), _product(b, x.shape[x_num_col_dims:])])
    right = y.reshape([_product(b, y.shape[:y_num_col_dims]), _product(b, y.shape[y_num_col_dims:])])
    return product(b, left, right).reshape([*x.shape[:x_num_col_dims], *y.shape[y_num_col_dims:]])


def _product(b: Builder, dims: Sequence[Dim]) -> Dim:
    return b.simplify(math.prod(dims))


@operator
def bmm(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Batched product of 3-D tensors."""
    return product(b, x, y)


@operator
def mv(b: Builder, x: Tensor, vec: Tensor) -> Tensor:
    """Matrix · vector."""
    return matmul(b, x, vec)


@operator
def dot(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Inner product of the last axis."""
    return each(x * y, lambda t: b.emit(relax.op.sum(t.expr, axis=[-1])))


@operator
def addmm(b: Builder, input: Tensor, x: Tensor, y: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta · input + alpha · (x · y)."""
    out = _scaled(product(b, x, y), alpha)
    if beta == 0.0:
        return out
    return _scaled(input, beta) + out


@operator
def baddbmm(b: Builder, input: Tensor, x: Tensor, y: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """beta · input + alpha · (x · y), batched."""
    return addmm(b, input, x, y, beta, alpha)


def _scaled(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1.0 else x * factor


@operator
def multi_dot(b: Builder, x: list[Tensor]) -> Tensor:
    """A chain of products in the order that costs least (left to right where dims are unknown)."""
    first, last = x[0], x[-1]
    chain = list(x)
    if first.ndim == 1:
        chain[0] = first.reshape([1, first.shape[0]])
    if last.ndim == 1:
        chain[-1] = last.reshape([last.shape[0], 1])
    sizes = [t.shape[0] for t in chain] + [chain[-1].shape[1]]
    out = _chain(b, chain, _split_points(sizes), 0, len(chain) - 1)
    shape = ([] if first.ndim == 1 else [out.shape[0]]) + ([] if last.ndim == 1 else [out.shape[1]])
    return out.reshape(shape)


def _chain(b: Builder, chain: list[Tensor], split: dict[tuple[int, int], int], i: int, j: int) -> Tensor:
    if i == j:
        return chain[i]
    k = split.get((i, j), j - 1)
    return product(b, _chain(b, chain, split, i, k), _chain(b, chain, split, k + 1, j))


def _split_points(sizes: list[Dim]) -> dict[tuple[int, int], int]:
    """Where to cut each part of a chain of matrices (dynamic programming); empty when a size is unknown."""
    if not all(isinstance(s, int) for s in sizes):
        return {}
    n = len(sizes) - 1
    cost: dict[tuple[int, int], int] = {(i, i): 0 for i in range(n)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]  # type: ignore[operator]
            cost[i, j], split[i, j] = min(options)
    return split


@operator
def bilinear(b: Builder, x: Tensor, y: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[n, k] = x[n] · weight[k] · y[n] + bias[k]."""
    outs, rows, columns = weight.shape
    by_x = product(b, x, weight.transpose([1, 0, 2]).reshape([rows, b.simplify(outs * columns)])).reshape([x.shape[0], outs, columns])
    out = product(b, by_x, y.reshape([y.shape[0], y.shape[1], 1])).reshape([x.shape[0], outs])
    return out if bias is None else out + bias


# ---- other products --------------------------------------------------------------------------------------------------


@operator
def cross(b: Builder, x: Tensor, y: Tensor, axis: int = 9) -> Tensor:
    """Cross product along an axis of size 3 (9: the first one)."""
    if isinstance(x, Complex):
        return product_of(lambda p, q: cross(b, p, q, axis), x, y)
    if axis == 9:
        candidates = [i for i, d in enumerate(x.shape) if d == 3 or not isinstance(d, int)]
        sure = next((n for n, i in enumerate(candidates) if x.shape[i] == 3), len(candidates))
        candidates = candidates[: sure + 1]
        if not candidates:
            raise UnsupportedError(f"cross of shape {x.shape}: no dim is 3")
    else:
        candidates = [axis + x.ndim if axis < 0 else axis]
        if isinstance(x.shape[candidates[0]], int) and x.shape[candidates[0]] != 3:
            raise UnsupportedError(f"cross along an axis of size {x.shape[candidates[0]]}")
    shape = b.broadcast_shape(x.shape, y.shape)
    x, y = b.broadcast_to(x, shape), b.broadcast_to(y, shape)

    def element(s: te.Tensor, t: te.Tensor, *i: tirx.Var) -> tirx.Expr:
        def along(axis: int) -> tirx.Expr:
            def at(tensor: te.Tensor, step: int) -> tirx.Expr:
                return tensor(*i[:axis], tirx.floormod(i[axis] + step, 3), *i[axis + 1 :])

            return at(s, 1) * at(t, 2) - at(s, 2) * at(t, 1)

        value = along(candidates[-1])
        for axis in reversed(candidates[:-1]):  # which axis is the first of size 3, the run tells
            value = tirx.if_then_else(shape[axis] == 3, along(axis), value)
        return value

    return b.compute(shape, element, x, y, name="cross")


@operator
def kron(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """Kronecker product; the shorter shape gets leading ones."""
    if isinstance(x, Complex):
        return product_of(lambda p, q: kron(b, p, q), x, y)
    rank = max(x.ndim, y.ndim)
    xs, ys = [1] * (rank - x.ndim) + x.shape, [1] * (rank - y.ndim) + y.shape
    x, y = x.reshape(xs), y.reshape(ys)
    if x.empty or y.empty:
        return b.full([b.simplify(p * q) for p, q in zip(xs, ys, strict=True)], 0, x.dtype)

    def element(s: te.Tensor, t: te.Tensor, *i: tirx.Var) -> tirx.Expr:
        return s(*[tirx.floordiv(k, d) for k, d in zip(i, ys, strict=True)]) * t(*[tirx.floormod(k, d) for k, d in zip(i, ys, strict=True)])

    return b.compute([b.simplify(p * q) for p, q in zip(xs, ys, strict=True)], element, x, y, name="kron")


@operator
def trace(b: Builder, x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of a diagonal of two axes."""
    along = diagonal(b, x, offset, axis1, axis2)
    if along.shape[-1] == 0:
        return b.full(along.shape[:-1], 0, x.dtype)
    return b.emit(relax.op.sum(along.expr, axis=[-1]))


@operator
def matrix_power(b: Builder, x: Tensor, n: int) -> Tensor:
    """x · x · … n times by squaring; n = 0 is the identity, n < 0 a power of the inverse."""
    from .complex_linalg import complex_inverse
    from .linalg_solve import inverse

    if n == 0:
        return Complex(identity_like(b, x.re), b.full(x.shape, 0, x.re.dtype)) if isinstance(x, Complex) else identity_like(b, x)
    base = x if n > 0 else complex_inverse(b, x) if isinstance(x, Complex) else inverse(b, x)
    out: Tensor | None = None
    n = abs(n)
    while n:
        if n & 1:
            out = base if out is None else product(b, out, base)
        n >>= 1
        base = product(b, base, base) if n else base
    assert out is not None
    return out


def identity_like(b: Builder, x: Tensor) -> Tensor:
    """Identity matrices of x's shape."""
    return b.compute(x.shape, lambda *i: tirx.Select(i[-1] == i[-2], tirx.const(1, x.dtype), tirx.const(0, x.dtype)), name="identity")
