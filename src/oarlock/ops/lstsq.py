"""Least squares, and systems whose factors are known."""

from __future__ import annotations

from typing import Any

from tvm import relax, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import cut
from .linalg import product, swap_last
from .linalg_decompose import svd
from .linalg_solve import broadcast_batch, need_square, solve_factored, solve_transposed, stacked
from .registry import Scalar, operator
from .scalar import elementwise
from .serial import i64
from .shape import product as count
from .tensor import Tensor

F64 = "float64"
_EPSILON = {"float32": 2.0**-23, F64: 2.0**-52}


@operator
def lstsq(b: Builder, x: Tensor, y: Tensor, rcond: Scalar = 0.0, driver: str = "gels") -> tuple[Tensor | None, ...]:
    """The shortest s that makes |x · s − y| least; then the squares of what is left, the rank, and the singular values.

    Singular values below rcond times the largest one count as 0 (but for gels, which trusts x to have full rank).  As in Paddle the
    squares are there for a tall x of full rank only; for a stack of matrices they are given for every rank.
    """
    if not isinstance(rcond, int | float):
        raise UnsupportedError("lstsq with rcond known only at run time")
    lead, (rows, columns) = x.shape[:-2], x.shape[-2:]
    wide, right = x.astype(F64), y.astype(F64)
    u, values, vh = svd(b, wide)
    least = _EPSILON.get(x.dtype, _EPSILON["float32"]) if rcond < 0 else float(rcond)
    if driver == "gels":
        least = 0.0
    top = b.compute([*lead, 1], lambda s, *i: s(*i), values, name="largest")
    limit = top * least
    nothing = tirx.const(0.0, F64)
    inverse = elementwise(b, "inverse_values", lambda s, t: tirx.if_then_else(s > t, tirx.const(1.0, F64) / s, nothing), values, limit)
    least_side = inverse.shape[-1]
    turned = product(b, swap_last(u), right) * inverse.reshape([*lead, least_side, 1])
    solution = product(b, swap_last(vh), turned)
    kept = elementwise(b, "kept", lambda s, t: tirx.Cast("int32", s > t), values, limit)
    rank = b.emit(relax.op.sum(kept.expr, [-1]))
    none = b.full([0], 0.0, x.dtype)
    residuals = none
    if driver != "gelsy" and not b.prove(rows <= columns):
        rest = product(b, wide, solution) - right
        residuals = b.emit(relax.op.sum((rest * rest).expr, [-2])).astype(x.dtype)
        if not lead:
            # a size of its own: all of them, or none
            full = elementwise(
                b, "tall", lambda r: tirx.if_then_else(
                    tirx.all(i64(rows) > i64(columns), tirx.any(tirx.const(driver == "gels", "bool"), i64(r) == i64(columns))),
                    i64(residuals.shape[0]), i64(0)), rank,
            )  # fmt: skip
            residuals = cut(b, residuals, full.reshape([1]))
    if any(d == 0 for d in (*x.shape, *y.shape)):  # Paddle leaves the others empty then
        return solution.astype(x.dtype), residuals, b.full([0], 0, "int64"), none
    return (
        solution.astype(x.dtype),
        residuals,
        b.full([0], 0, "int32") if driver == "gels" else rank,
        values.astype(x.dtype) if driver in ("gelsd", "gelss") else none,
    )


@operator
def lu_solve(b: Builder, b_: Tensor, lu: Tensor, pivots: Tensor, trans: str = "N") -> Tensor:
    """The solution of A · x = b (trans "N") or Aᵀ · x = b ("T", "C") by A's factors and row exchanges, counted from 1."""
    lu = need_square(b, lu, "lu_solve")
    right, factors = broadcast_batch(b, b_, lu)
    size = lu.shape[-1]
    swaps = b.broadcast_to(pivots, [*factors.shape[:-2], pivots.shape[-1]])
    rows = [count(b, factors.shape[:-2]), size]
    flat = (swaps.reshape(rows).astype("int32")) - 1
    solve: Any = solve_factored if trans == "N" else solve_transposed
    wide = stacked(b, b.match(right, [*right.shape[:-2], size, right.shape[-1]]))
    return solve(b, stacked(b, factors), flat, wide).astype(b_.dtype).reshape(right.shape)
