"""Orthogonal factorisations in float64: QR by Householder, symmetric eigenproblems and SVD by Jacobi rotations.

The signs of singular vectors and eigenvectors are not unique: they may differ from LAPACK's.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx

from .builder import Builder, dim_max, dim_min
from .complex_pair import each
from .kernels import sorted_order
from .linalg import swap_last
from .linalg_solve import need_square, stacked
from .registry import operator
from .serial import bind, both, cell, down, i64, kernel, loop, parallel, select, when, while_
from .tensor import Dim, PrimExpr, Tensor

SWEEPS = 60  # a Jacobi iteration converges quadratically: six to ten sweeps are usual
F64 = "float64"


def constant(value: float) -> PrimExpr:
    return tirx.const(value, F64)


# ---- QR ----------------------------------------------------------------------------------------------------------------


@operator
def qr(b: Builder, x: Tensor, mode: str = "reduced") -> tuple[Tensor | None, Tensor]:
    """Q and R as LAPACK gives them (Householder): Q [m, k] or, mode "complete", [m, m]; mode "r" gives no Q."""
    flat = stacked(b, x)
    batch, m, n = flat.shape
    k = b.simplify(dim_min(m, n))
    wide = m if mode == "complete" else k

    def body(a: Any, q: Any, r: Any, work: Any, tau: Any) -> None:
        with parallel(batch) as s:
            with loop(m) as i, loop(n) as j:
                work[s, i, j] = a[s, i, j]
            with loop(k) as j:
                _reflect(work, tau, s, j, m, n)
            with loop(wide) as i, loop(n) as j:
                r[s, i, j] = select(i <= j, work[s, i, j], constant(0.0))
            with loop(m) as i, loop(wide) as j:
                q[s, i, j] = select(i == j, constant(1.0), constant(0.0))
            with down(k) as j, loop(wide) as c:
                _apply(work, tau, q, s, j, c, m)

    shapes: list[Any] = [([batch, m, wide], F64), ([batch, wide, n], F64), ([batch, m, n], F64), ([batch, k], F64)]
    q, r, _, _ = kernel(b, body, [flat], shapes, "qr")
    lead = x.shape[:-2]
    upper = r.astype(x.dtype).reshape([*lead, wide, n])
    return (None if mode == "r" else q.astype(x.dtype).reshape([*lead, m, wide])), upper


def _reflect(work: Any, tau: Any, s: Any, j: Any, m: Dim, n: Dim) -> None:
    """One Householder step: work's column j becomes beta and, below, the reflector (whose first element is 1)."""
    below = cell(F64, 0.0)
    with loop(m, j + 1) as i:
        below.v = below.v + work[s, i, j] * work[s, i, j]
    alpha = bind(work[s, j, j])
    tau[s, j] = constant(0.0)
    with when(below.v > constant(0.0)):
        norm = bind(tirx.sqrt(alpha * alpha + below.v))
        beta = bind(select(alpha >= constant(0.0), -norm, norm))
        tau[s, j] = (beta - alpha) / beta
        with loop(m, j + 1) as i:
            work[s, i, j] = work[s, i, j] / (alpha - beta)
        with loop(n, j + 1) as c:
            _apply(work, tau, work, s, j, c, m)
        work[s, j, j] = beta


def _apply(work: Any, tau: Any, target: Any, s: Any, j: Any, c: Any, m: Dim) -> None:
    """Reflect column c of the target by reflector j."""
    total = cell(F64, target[s, j, c])
    with loop(m, j + 1) as i:
        total.v = total.v + work[s, i, j] * target[s, i, c]
    step = bind(total.v * tau[s, j])
    target[s, j, c] = target[s, j, c] - step
    with loop(m, j + 1) as i:
        target[s, i, c] = target[s, i, c] - step * work[s, i, j]


# ---- symmetric eigenproblems ---------------------------------------------------------------------------------------------


def rotation(app: Any, aqq: Any, apq: Any) -> tuple[Any, Any]:
    """Cosine and sine of the Jacobi rotation that makes apq zero."""
    theta = bind((aqq - app) / (constant(2.0) * apq))
    sign = select(theta >= constant(0.0), constant(1.0), constant(-1.0))
    t = bind(sign / (tirx.abs(theta) + tirx.sqrt(theta * theta + constant(1.0))))
    cosine = bind(constant(1.0) / tirx.sqrt(t * t + constant(1.0)))
    return cosine, bind(t * cosine)


def symmetric(b: Builder, x: Tensor, lower: bool) -> tuple[Tensor, Tensor]:
    """Eigenvalues [batch, n], rising, and eigenvectors [batch, n, n] in columns, of one triangle of x."""
    flat = stacked(b, need_square(b, x, "an eigenproblem"))
    batch, n, _ = flat.shape

    def body(a: Any, w: Any, v: Any, work: Any) -> None:
        with parallel(batch) as s:
            with loop(n) as i, loop(n) as j:
                v[s, i, j] = select(i == j, constant(1.0), constant(0.0))
                triangle = i >= j if lower else i <= j
                work[s, i, j] = select(triangle, a[s, i, j], a[s, j, i])
            rest, sweep = cell(F64, 1.0), cell("int64", 0)
            with while_(both(rest.v > constant(0.0), sweep.v < SWEEPS)):
                rest.v = constant(0.0)
                sweep.v = sweep.v + 1
                with loop(n) as p, loop(n, p + 1) as q:
                    apq = bind(work[s, p, q])
                    scale = tirx.sqrt(tirx.abs(work[s, p, p])) * tirx.sqrt(tirx.abs(work[s, q, q]))
                    with when(tirx.abs(apq) > tirx.max(scale * constant(1e-16), constant(1e-300))):
                        rest.v = constant(1.0)
                        cosine, sine = rotation(bind(work[s, p, p]), bind(work[s, q, q]), apq)
                        with loop(n) as k:
                            _turn(lambda i, value=None, k=k: _at(work, s, k, i, value), p, q, cosine, sine)
                        with loop(n) as k:
                            _turn(lambda i, value=None, k=k: _at(work, s, i, k, value), p, q, cosine, sine)
                            _turn(lambda i, value=None, k=k: _at(v, s, k, i, value), p, q, cosine, sine)
                        work[s, p, q] = constant(0.0)
                        work[s, q, p] = constant(0.0)
            with loop(n) as i:
                w[s, i] = work[s, i, i]

    w, v, _ = kernel(b, body, [flat], [([batch, n], F64), (flat.shape, F64), (flat.shape, F64)], "eigh")
    order = sorted_order(b, w)
    values = b.compute([batch, n], lambda t, o, s, i: t(s, o(s, i)), w, order, name="eigenvalues")
    return values, b.compute([batch, n, n], lambda t, o, s, i, j: t(s, i, o(s, j)), v, order, name="eigenvectors")


def _at(buffer: Any, s: Any, i: Any, j: Any, value: Any) -> Any:
    if value is None:
        return buffer[s, i, j]
    buffer[s, i, j] = value
    return None


def _turn(element: Any, p: Any, q: Any, cosine: Any, sine: Any) -> None:
    """Rotate the two elements p and q."""
    x, y = bind(element(p)), bind(element(q))
    element(p, cosine * x - sine * y)
    element(q, sine * x + cosine * y)


@operator
def eigh(b: Builder, x: Tensor, UPLO: str = "L") -> tuple[Tensor, Tensor]:  # noqa: N803 - Paddle's name
    """Eigenvalues, rising, and eigenvectors of a symmetric matrix."""
    values, vectors = symmetric(b, x, UPLO == "L")
    return values.astype(x.dtype).reshape(x.shape[:-1]), vectors.astype(x.dtype).reshape(x.shape)


@operator
def eigvalsh(b: Builder, x: Tensor, uplo: str = "L", is_test: bool = False) -> tuple[Tensor, None]:
    """Eigenvalues of a symmetric matrix, rising."""
    values, _ = symmetric(b, x, uplo == "L")
    return values.astype(x.dtype).reshape(x.shape[:-1]), None


# ---- singular values -----------------------------------------------------------------------------------------------------


def singular(b: Builder, flat: Tensor, columns: Dim) -> tuple[Tensor, Tensor, Tensor]:
    """One-sided Jacobi of [batch, m, n] with m ≥ n → U [batch, m, columns], S [batch, n] falling, V [batch, n, n]."""
    batch, m, n = flat.shape

    def rotate(a: Any, w: Any, v: Any, norms: Any) -> None:
        with parallel(batch) as s:
            with loop(m) as i, loop(n) as j:
                w[s, i, j] = a[s, i, j]
            with loop(n) as i, loop(n) as j:
                v[s, i, j] = select(i == j, constant(1.0), constant(0.0))
            rest, sweep = cell(F64, 1.0), cell("int64", 0)
            with while_(both(rest.v > constant(0.0), sweep.v < SWEEPS)):
                rest.v = constant(0.0)
                sweep.v = sweep.v + 1
                with loop(n) as p, loop(n, p + 1) as q:
                    pp, qq, pq = cell(F64, 0.0), cell(F64, 0.0), cell(F64, 0.0)
                    with loop(m) as i:
                        x, y = bind(w[s, i, p]), bind(w[s, i, q])
                        pp.v, qq.v, pq.v = pp.v + x * x, qq.v + y * y, pq.v + x * y
                    with when(tirx.abs(pq.v) > tirx.max(constant(1e-15) * tirx.sqrt(pp.v) * tirx.sqrt(qq.v), constant(1e-300))):
                        rest.v = constant(1.0)
                        cosine, sine = rotation(pp.v, qq.v, pq.v)
                        with loop(m) as k:
                            _turn(lambda i, value=None, k=k: _at(w, s, k, i, value), p, q, cosine, sine)
                        with loop(n) as k:
                            _turn(lambda i, value=None, k=k: _at(v, s, k, i, value), p, q, cosine, sine)
            with loop(n) as j:
                total = cell(F64, 0.0)
                with loop(m) as i:
                    total.v = total.v + w[s, i, j] * w[s, i, j]
                norms[s, j] = tirx.sqrt(total.v)

    w, v, norms = kernel(b, rotate, [flat], [(flat.shape, F64), ([batch, n, n], F64), ([batch, n], F64)], "jacobi_svd")
    order = sorted_order(b, norms, descending=True)
    values = b.compute([batch, n], lambda t, o, s, i: t(s, o(s, i)), norms, order, name="singular_values")
    right = b.compute([batch, n, n], lambda t, o, s, i, j: t(s, i, o(s, j)), v, order, name="right_vectors")
    return _left_vectors(b, w, values, order, columns), values, right


def _left_vectors(b: Builder, w: Tensor, values: Tensor, order: Tensor, columns: Dim) -> Tensor:
    """Normalised columns; those of singular value 0, and those beyond n, complete an orthonormal basis (Gram-Schmidt)."""
    batch, m, n = w.shape

    def body(product: Any, sigma: Any, sequence: Any, u: Any) -> None:
        with parallel(batch) as s, loop(columns) as j:
            done = cell("bool", False)
            with when(j < n), when(sigma[s, j] > sigma[s, 0] * constant(1e-15)):
                done.v = tirx.const(True, "bool")
                with loop(m) as i:
                    u[s, i, j] = product[s, i, sequence[s, j]] / sigma[s, j]
            start = cell("int64", 0)
            with while_(both(tirx.Not(done.v), start.v < i64(m))):
                with loop(m) as i:
                    u[s, i, j] = select(i == start.v, constant(1.0), constant(0.0))
                with loop(2), loop(j) as k:
                    along = cell(F64, 0.0)
                    with loop(m) as i:
                        along.v = along.v + u[s, i, j] * u[s, i, k]
                    with loop(m) as i:
                        u[s, i, j] = u[s, i, j] - along.v * u[s, i, k]
                length = cell(F64, 0.0)
                with loop(m) as i:
                    length.v = length.v + u[s, i, j] * u[s, i, j]
                # some unit vector keeps at least the mean of what is left
                with when(length.v > constant(0.5) / tirx.Cast(F64, i64(m))):
                    done.v = tirx.const(True, "bool")
                    with loop(m) as i:
                        u[s, i, j] = u[s, i, j] / tirx.sqrt(length.v)
                start.v = start.v + 1

    return kernel(b, body, [w, values, order], [([batch, m, columns], F64)], "left_vectors")[0]


def factors(
    b: Builder, x: Any, full: bool, stacked: Any = stacked, transposed: Any = swap_last, singular: Any = singular
) -> tuple[Any, ...]:
    """U, S and Vᴴ in double precision, [batch, …].  Where the longer side is known only at run time, rows of zeros make x tall.

    The functions are those of real matrices, or of complex ones.
    """
    m, n = x.shape[-2:]
    k = b.simplify(dim_min(m, n))
    tall = b.prove(m >= n)
    if not tall and b.prove(m < n):
        left, values, right = singular(b, stacked(b, transposed(x)), n if full else k)
        return right, values, transposed(left)
    flat = stacked(b, x)
    if not tall:
        zero = tirx.const(0.0, F64)
        shape = [flat.shape[0], b.simplify(dim_max(m, n)), n]
        flat = each(flat, lambda t: b.compute(shape, lambda v, s, i, j: select(i < i64(m), v(s, i, j), zero), t, name="padded"))
    left, values, right = singular(b, flat, m if full else k)
    rows = transposed(right)
    left = each(left, lambda t: b.slice(t, 1, 0, m))
    return left, b.slice(values, 1, 0, k), rows if full else each(rows, lambda t: b.slice(t, 1, 0, k))


@operator
def svd(b: Builder, x: Tensor, full_matrices: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """U, S (falling) and Vᴴ."""
    lead = x.shape[:-2]
    u, values, vh = (t.astype(x.dtype).reshape([*lead, *t.shape[1:]]) for t in factors(b, x, full_matrices))
    return u, values, vh


@operator
def svdvals(b: Builder, x: Tensor) -> Tensor:
    """Singular values, falling."""
    return svd(b, x)[1]


# ---- rank ----------------------------------------------------------------------------------------------------------------


def _spectrum(b: Builder, x: Tensor, hermitian: bool) -> Tensor:
    """Singular values (magnitudes of eigenvalues for a symmetric x), [batch, k] float64."""
    if hermitian:
        values, _ = symmetric(b, x, lower=True)
        return b.compute(values.shape, lambda t, *i: tirx.abs(t(*i)), values, name="magnitudes")
    return factors(b, x, False)[1]


def _rank(b: Builder, x: Tensor, hermitian: bool, absolute: Tensor | float, relative: Tensor | float) -> Tensor:
    """How many values are above max(absolute, relative · largest value)."""
    values = _spectrum(b, x, hermitian).astype(x.dtype).astype(F64)
    batch, k = values.shape
    bounds = [t.astype(F64) if isinstance(t, Tensor) else b.known(t, F64) for t in (absolute, relative)]
    lead = x.shape[:-2]
    for t in bounds:
        lead = b.broadcast_shape(lead, t.shape)
    limits = [b.broadcast_to(t, lead).reshape([t_size(b, lead)]) for t in bounds]
    if len(lead) != x.ndim - 2 or not all(b.equal(p, q) for p, q in zip(lead, x.shape[:-2], strict=True)):
        values = b.broadcast_to(values.reshape([*x.shape[:-2], k]), [*lead, k]).reshape([t_size(b, lead), k])

    def body(v: Any, least: Any, share: Any, out: Any) -> None:
        with loop(t_size(b, lead)) as s:
            largest, count = cell(F64, 0.0), cell("int64", 0)
            with loop(k) as i:
                largest.v = tirx.max(largest.v, v[s, i])
            with loop(k) as i, when(v[s, i] > tirx.max(least[s], share[s] * largest.v)):
                count.v = count.v + 1
            out[s] = count.v

    return kernel(b, body, [values, *limits], [([t_size(b, lead)], "int64")], "matrix_rank")[0].reshape(lead)


def t_size(b: Builder, dims: list[Dim]) -> Dim:
    """The number of elements of a shape."""
    total: Dim = 1
    for d in dims:
        total = total * d
    return b.simplify(total)


def _default_relative(b: Builder, x: Tensor) -> Tensor:
    """Machine precision times the longer side, in x's own precision."""
    eps = 1.1920928955078125e-07 if x.dtype == "float32" else 2.220446049250313e-16
    longer = b.simplify(dim_max(*x.shape[-2:]))
    return b.compute([1], lambda _: tirx.const(eps, F64) * tirx.Cast(F64, i64(longer)), name="tolerance").reshape([])


@operator
def matrix_rank(b: Builder, x: Tensor, tol: float = 0.0, use_default_tol: bool = True, hermitian: bool = False) -> Tensor:
    """The rank: how many singular values are above a tolerance (default: precision · longer side · largest)."""
    return _rank(b, x, hermitian, 0.0 if use_default_tol else tol, _default_relative(b, x) if use_default_tol else 0.0)


@operator
def matrix_rank_tol(b: Builder, x: Tensor, atol_tensor: Tensor, use_default_tol: bool = True, hermitian: bool = False) -> Tensor:
    """The rank with tolerances given as a tensor; the default one is a lower bound when use_default_tol is set."""
    return _rank(b, x, hermitian, atol_tensor, _default_relative(b, x) if use_default_tol else 0.0)


@operator
def matrix_rank_atol_rtol(b: Builder, x: Tensor, atol: Tensor, rtol: Tensor | None = None, hermitian: bool = False) -> Tensor:
    """The rank with an absolute and a relative tolerance; without a relative one, it is the default where the absolute one is 0."""
    if rtol is None:
        own = _default_relative(b, x)
        positive = atol.astype(F64) > 0.0
        rtol = b.where(positive, b.known(0.0, F64), own)
    return _rank(b, x, hermitian, atol, rtol)
