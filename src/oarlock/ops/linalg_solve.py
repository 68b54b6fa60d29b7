"""Linear systems and determinants: LU and Cholesky factors, substitution.  All kernels compute in float64."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_min
from .kernels import inside
from .linalg import identity_like, swap_last
from .registry import operator
from .serial import bind, both, cell, down, i64, kernel, loop, parallel, select, when
from .tensor import Dim, Tensor


def stacked(b: Builder, x: Tensor) -> Tensor:
    """[…, m, n] as [batch, m, n] in float64."""
    if not x.is_float:
        raise UnsupportedError(f"a matrix of dtype {x.dtype}")
    batch: Dim = 1
    for d in x.shape[:-2]:
        batch = batch * d
    return x.astype("float64").reshape([b.simplify(batch), *x.shape[-2:]])


def need_square(b: Builder, x: Tensor, what: str) -> Tensor:
    """x with its last two dims known to be equal."""
    rows, columns = x.shape[-2:]
    if isinstance(rows, int) and isinstance(columns, int) and rows != columns:
        raise UnsupportedError(f"{what} of a matrix of {rows} × {columns}")
    size = rows if isinstance(rows, int) else columns
    return b.match(x, [*x.shape[:-2], size, size])


def broadcast_batch(b: Builder, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the common batch dims."""
    batch = b.broadcast_shape(x.shape[:-2], y.shape[:-2])
    return b.broadcast_to(x, [*batch, *x.shape[-2:]]), b.broadcast_to(y, [*batch, *y.shape[-2:]])


# ---- LU --------------------------------------------------------------------------------------------------------------


def lu_factors(b: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """[batch, m, n] float64 → L and U in one matrix, and the row that each step swapped with (0-based int32), partial pivoting."""
    batch, rows, columns = x.shape
    steps = b.simplify(dim_min(rows, columns))

    def body(a: Any, lu: Any, pivots: Any) -> None:
        with parallel(batch) as s:
            with loop(rows) as i, loop(columns) as j:
                lu[s, i, j] = a[s, i, j]
            with loop(steps) as k:
                best, at = cell("float64", tirx.abs(lu[s, k, k])), cell("int64", k)
                with loop(rows, k + 1) as i, when(tirx.abs(lu[s, i, k]) > best.v):
                    best.v = tirx.abs(lu[s, i, k])
                    at.v = i
                p = bind(at.v)
                pivots[s, k] = tirx.Cast("int32", p)
                with when(p != k), loop(columns) as j:
                    held = bind(lu[s, k, j])
                    lu[s, k, j] = lu[s, p, j]
                    lu[s, p, j] = held
                with when(lu[s, k, k] != 0), loop(rows, k + 1) as i:
                    factor = bind(lu[s, i, k] / lu[s, k, k])
                    lu[s, i, k] = factor
                    with loop(columns, k + 1) as j:
                        lu[s, i, j] = lu[s, i, j] - factor * lu[s, k, j]

    lu, pivots = kernel(b, body, [x], [(x.shape, "float64"), ([batch, steps], "int32")], "lu")
    return lu, pivots


def solve_factored(b: Builder, lu: Tensor, pivots: Tensor, y: Tensor) -> Tensor:
    """x of (P L U) x = y for [batch, n, n], [batch, n], [batch, n, k]."""
    batch, n, columns = y.shape

    def body(f: Any, p: Any, rhs: Any, out: Any) -> None:
        with parallel(batch) as s:
            with loop(n) as i, loop(columns) as c:
                out[s, i, c] = rhs[s, i, c]
            with loop(n) as k:
                row = bind(i64(p[s, k]))
                with when(row != k), loop(columns) as c:
                    held = bind(out[s, k, c])
                    out[s, k, c] = out[s, row, c]
                    out[s, row, c] = held
            with loop(columns) as c:
                _forward(out, s, c, n, lambda i, j: f[s, i, j], None)
                _backward(out, s, c, n, lambda i, j: f[s, i, j], lambda i: f[s, i, i])

    return kernel(b, body, [lu, pivots, y], [(y.shape, "float64")], "lu_solve")[0]


def solve_transposed(b: Builder, lu: Tensor, pivots: Tensor, y: Tensor) -> Tensor:
    """x of (P L U)ᵀ x = y for [batch, n, n], [batch, n], [batch, n, k]."""
    batch, n, columns = y.shape

    def body(f: Any, p: Any, rhs: Any, out: Any) -> None:
        with parallel(batch) as s:
            with loop(n) as i, loop(columns) as c:
                out[s, i, c] = rhs[s, i, c]
            with loop(columns) as c:
                _forward(out, s, c, n, lambda i, j: f[s, j, i], lambda i: f[s, i, i])
                _backward(out, s, c, n, lambda i, j: f[s, j, i], None)
            with down(n) as k:
                row = bind(i64(p[s, k]))
                with when(row != k), loop(columns) as c:
                    held = bind(out[s, k, c])
                    out[s, k, c] = out[s, row, c]
                    out[s, row, c] = held

    return kernel(b, body, [lu, pivots, y], [(y.shape, "float64")], "lu_solve_transposed")[0]


def _forward(out: Any, s: Any, c: Any, n: Dim, low: Any, diagonal: Any) -> None:
    with loop(n) as i:
        total = cell("float64", out[s, i, c])
        with loop(i) as j:
            total.v = total.v - low(i, j) * out[s, j, c]
        out[s, i, c] = total.v if diagonal is None else total.v / diagonal(i)


def _backward(out: Any, s: Any, c: Any, n: Dim, up: Any, diagonal: Any) -> None:
    with down(n) as i:
        total = cell("float64", out[s, i, c])
        with loop(n, i + 1) as j:
            total.v = total.v - up(i, j) * out[s, j, c]
        out[s, i, c] = total.v if diagonal is None else total.v / diagonal(i)


@operator
def det(b: Builder, x: Tensor) -> Tensor:
    """The determinant."""
    sign, log_or_value = _determinant(b, need_square(b, x, "det"), logarithm=False)
    return (sign * log_or_value).astype(x.dtype).reshape(x.shape[:-2])


@operator
def slogdet_v2(b: Builder, x: Tensor) -> tuple[Tensor, Tensor]:
    """The determinant's sign and the logarithm of its magnitude."""
    sign, logarithm = _determinant(b, need_square(b, x, "slogdet"), logarithm=True)
    return sign.astype(x.dtype).reshape(x.shape[:-2]), logarithm.astype(x.dtype).reshape(x.shape[:-2])


@operator
def slogdet(b: Builder, x: Tensor) -> Tensor:
    """The determinant's sign and the logarithm of its magnitude, stacked on a new first axis."""
    return b.concat([t.reshape([1, *t.shape]) for t in slogdet_v2(b, x)], 0)


def _determinant(b: Builder, x: Tensor, *, logarithm: bool) -> tuple[Tensor, Tensor]:
    lu, pivots = lu_factors(b, stacked(b, x))
    batch, n = lu.shape[0], lu.shape[1]

    def body(f: Any, p: Any, sign: Any, value: Any) -> None:
        with parallel(batch) as s:
            parity, total = cell("float64", 1.0), cell("float64", 0.0 if logarithm else 1.0)
            with loop(n) as k:
                d = bind(f[s, k, k])
                with when(i64(p[s, k]) != k):
                    parity.v = -parity.v
                if logarithm:
                    parity.v = parity.v * select(
                        d > 0, tirx.const(1.0, "float64"), select(d < 0, tirx.const(-1.0, "float64"), tirx.const(0.0, "float64"))
                    )
                    total.v = total.v + tirx.log(tirx.abs(d))
                else:
                    total.v = total.v * d
            sign[s] = parity.v
            value[s] = total.v

    sign, value = kernel(b, body, [lu, pivots], [([batch], "float64"), ([batch], "float64")], "determinant")
    return sign, value


@operator
def inverse(b: Builder, x: Tensor) -> Tensor:
    """The inverse matrix (infinite or NaN where there is none)."""
    x = need_square(b, x, "inverse")
    flat = stacked(b, x)
    lu, pivots = lu_factors(b, flat)
    return solve_factored(b, lu, pivots, identity_like(b, flat)).astype(x.dtype).reshape(x.shape)


@operator
def solve(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The X of x · X = y; a 1-D y is one vector."""
    x = need_square(b, x, "solve")
    vector = y.ndim == 1
    y = y.reshape([y.shape[0], 1]) if vector else y
    y = b.match(y, [*y.shape[:-2], x.shape[-1], y.shape[-1]])
    x, y = broadcast_batch(b, x, y)
    lu, pivots = lu_factors(b, stacked(b, x))
    out = solve_factored(b, lu, pivots, stacked(b, y)).astype(y.dtype)
    return out.reshape(y.shape[:-1] if vector else y.shape)


@operator
def lu(b: Builder, x: Tensor, pivot: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """L and U in one matrix, LAPACK's 1-based pivots, and a status (the first zero pivot's number, or 0)."""
    if not pivot:
        raise UnsupportedError("lu without pivoting")
    factors, pivots = lu_factors(b, stacked(b, x))
    zero = b.compute(pivots.shape, lambda f, s, k: f(s, k, k) == 0, factors, name="zero_pivots")
    return factors.astype(x.dtype).reshape(x.shape), *lu_told(b, x.shape[:-2], pivots, zero)


def lu_told(b: Builder, lead: list[Dim], pivots: Tensor, zero: Tensor) -> tuple[Tensor, Tensor]:
    """What LAPACK tells of a factorisation: its pivots counted from 1, and the number of the first that is ``zero`` (none: 0)."""
    batch, steps = pivots.shape

    def body(none: Any, info: Any) -> None:
        with parallel(batch) as s:
            found = cell("int32", 0)
            with down(steps) as k, when(none[s, k]):
                found.v = tirx.Cast("int32", k + 1)
            info[s] = found.v

    (info,) = kernel(b, body, [zero], [([batch], "int32")], "lu_info")
    return (pivots + 1).reshape([*lead, steps]), info.reshape(lead or [1])


@operator
def lu_unpack(
    b: Builder, x: Tensor, y: Tensor, unpack_ludata: bool = True, unpack_pivots: bool = True
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """P, L and U of a packed factorisation and its 1-based pivots."""
    rows, columns = x.shape[-2:]
    steps = b.simplify(dim_min(rows, columns))
    lower = upper = permutation = None
    if unpack_ludata:
        zero, one = tirx.const(0, x.dtype), tirx.const(1, x.dtype)
        lower = b.compute(
            [*x.shape[:-1], steps], lambda t, *i: tirx.Select(i[-1] == i[-2], one, tirx.Select(i[-1] < i[-2], t(*i), zero)), x, name="lower"
        )
        upper = b.compute([*x.shape[:-2], steps, columns], lambda t, *i: tirx.Select(i[-1] >= i[-2], t(*i), zero), x, name="upper")
    if unpack_pivots:
        permutation = _permutation(b, x, y)
    return permutation, lower, upper


def _permutation(b: Builder, x: Tensor, pivots: Tensor) -> Tensor:
    rows, steps = x.shape[-2], pivots.shape[-1]
    batch: Dim = 1
    for d in x.shape[:-2]:
        batch = batch * d
    flat = pivots.reshape([b.simplify(batch), steps])

    def body(p: Any, out: Any) -> None:
        with parallel(flat.shape[0]) as s:
            with loop(rows) as i, loop(rows) as j:
                out[s, i, j] = tirx.Cast(x.dtype, i == j)
            with down(steps) as k:
                row = bind(i64(p[s, k]) - 1)
                with when(both(row != k, inside(row, rows))), loop(rows) as j:
                    held = bind(out[s, k, j])
                    out[s, k, j] = out[s, row, j]
                    out[s, row, j] = held

    (out,) = kernel(b, body, [flat], [([flat.shape[0], rows, rows], x.dtype)], "permutation")
    return out.reshape([*x.shape[:-2], rows, rows])


# ---- Cholesky and triangles ------------------------------------------------------------------------------------------


@operator
def cholesky(b: Builder, x: Tensor, upper: bool = False) -> Tensor:
    """L of L · Lᵀ = x, or U of Uᵀ · U = x; NaN where x is not positive definite."""
    x = need_square(b, x, "cholesky")
    flat = stacked(b, x)
    batch, n, _ = flat.shape

    def body(a: Any, out: Any) -> None:
        with parallel(batch) as s:
            with loop(n) as i, loop(n) as j:
                out[s, i, j] = tirx.const(0.0, "float64")
            with loop(n) as j:
                total = cell("float64", a[s, j, j])
                with loop(j) as k:
                    total.v = total.v - out[s, j, k] * out[s, j, k]
                out[s, j, j] = tirx.sqrt(total.v)
                with loop(n, j + 1) as i:
                    rest = cell("float64", a[s, j, i] if upper else a[s, i, j])
                    with loop(j) as k:
                        rest.v = rest.v - out[s, i, k] * out[s, j, k]
                    out[s, i, j] = rest.v / out[s, j, j]

    (lower,) = kernel(b, body, [flat], [(flat.shape, "float64")], "cholesky")
    return (swap_last(lower) if upper else lower).astype(x.dtype).reshape(x.shape)


def substitute(b: Builder, a: Tensor, y: Tensor, *, upper: bool, transpose: bool, unit: bool) -> Tensor:
    """The X of op(A) · X = y for a triangular A, [batch, n, n] and [batch, n, k]."""
    batch, n, columns = y.shape

    def body(t: Any, rhs: Any, out: Any) -> None:
        with parallel(batch) as s:

            def at(i: Any, j: Any) -> Any:
                return t[s, j, i] if transpose else t[s, i, j]

            with loop(columns) as c:
                with loop(n) as i:
                    out[s, i, c] = rhs[s, i, c]
                run = _backward if upper != transpose else _forward
                run(out, s, c, n, at, None if unit else lambda i: t[s, i, i])

    return kernel(b, body, [a, y], [(y.shape, "float64")], "triangular_solve")[0]


@operator
def triangular_solve(b: Builder, x: Tensor, y: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Tensor:
    """The X of op(x) · X = y for a triangular x."""
    x = need_square(b, x, "triangular_solve")
    y = b.match(y, [*y.shape[:-2], x.shape[-1], y.shape[-1]])
    x, y = broadcast_batch(b, x, y)
    out = substitute(b, stacked(b, x), stacked(b, y), upper=upper, transpose=transpose, unit=unitriangular)
    return out.astype(y.dtype).reshape(y.shape)


@operator
def cholesky_solve(b: Builder, x: Tensor, y: Tensor, upper: bool = False) -> Tensor:
    """The X of A · X = x where y is A's Cholesky factor."""
    y = need_square(b, y, "cholesky_solve")
    x = b.match(x, [*x.shape[:-2], y.shape[-1], x.shape[-1]])
    y, x = broadcast_batch(b, y, x)
    factor = stacked(b, y)
    half = substitute(b, factor, stacked(b, x), upper=upper, transpose=upper, unit=False)
    return substitute(b, factor, half, upper=upper, transpose=not upper, unit=False).astype(x.dtype).reshape(x.shape)
