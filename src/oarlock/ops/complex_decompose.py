"""Hermitian eigenproblems and singular values of complex matrices, by Jacobi rotations in complex128.

A rotation first turns one column by the phase of the product that it removes, so that the rotation itself is a real one.
The phases of vectors are not unique: they may differ from LAPACK's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from .builder import Builder
from .complex_linalg import Cells, Sum, adjoint, chosen, number, run, square, stacked
from .complex_pair import Complex
from .complex_scalar import C, magnitude
from .kernels import sorted_order
from .linalg_decompose import SWEEPS, constant, factors, matrix_rank, matrix_rank_atol_rtol, matrix_rank_tol, rotation
from .registry import complex_operator
from .serial import bind, both, cell, i64, kernel, loop, parallel, when, while_
from .tensor import Dim, Tensor

F64 = "float64"


def _turn(get: Callable[[Any], C], put: Callable[[Any, C], None], p: Any, q: Any, phase: C, cosine: Any, sine: Any) -> None:
    """Rotate the elements p and q, the second one first turned by a phase."""
    x, y = get(p).bound(), (get(q) * phase).bound()
    put(p, x.scaled(cosine) - y.scaled(sine))
    put(q, x.scaled(sine) + y.scaled(cosine))


def hermitian(b: Builder, x: Complex, lower: bool) -> tuple[Tensor, Complex]:
    """Eigenvalues [batch, n] float64, rising, and eigenvectors [batch, n, n] in columns, of one triangle of x."""
    flat = stacked(b, square(b, x, "an eigenproblem"))
    batch, n, _ = flat.shape

    def body(a: Cells, v: Cells, work: Cells, w: Any) -> None:
        with parallel(batch) as s:
            with loop(n) as i, loop(n) as j:
                v[s, i, j] = chosen(i == j, number(1.0), number(0.0))
                own = i > j if lower else i < j
                value = chosen(own, a[s, i, j], a[s, j, i].conj())
                work[s, i, j] = chosen(i == j, C(a.re[s, i, i], constant(0.0)), value)
            rest, sweep = cell(F64, 1.0), cell("int64", 0)
            with while_(both(rest.v > constant(0.0), sweep.v < SWEEPS)):
                rest.v = constant(0.0)
                sweep.v = sweep.v + 1
                with loop(n) as p, loop(n, p + 1) as q:
                    apq = work[s, p, q].bound()
                    size = bind(magnitude(apq))
                    scale = tirx.sqrt(tirx.abs(work.re[s, p, p])) * tirx.sqrt(tirx.abs(work.re[s, q, q]))
                    with when(size > tirx.max(scale * constant(1e-16), constant(1e-300))):
                        rest.v = constant(1.0)
                        phase = apq.over(size).bound()
                        cosine, sine = rotation(bind(work.re[s, p, p]), bind(work.re[s, q, q]), size)
                        with loop(n) as k:
                            for target in (work, v):
                                _turn(*_row(target, s, k), p, q, phase.conj(), cosine, sine)
                        with loop(n) as k:
                            _turn(*_column(work, s, k), p, q, phase, cosine, sine)
                        work[s, p, q] = number(0.0)
                        work[s, q, p] = number(0.0)
                        for i in (p, q):
                            work.im[s, i, i] = constant(0.0)
            with loop(n) as i:
                w[s, i] = work.re[s, i, i]

    vectors, _, values = run(b, body, [flat], [flat.shape, flat.shape], "complex_eigh", [([batch, n], F64)])
    order = sorted_order(b, values)
    values = b.compute([batch, n], lambda t, o, s, i: t(s, o(s, i)), values, order, name="eigenvalues")
    return values, _in_order(b, vectors, order)


def _row(m: Cells, s: Any, i: Any) -> tuple[Callable[[Any], C], Callable[[Any, C], None]]:
    return lambda j: m[s, i, j], lambda j, value: m.__setitem__((s, i, j), value)


def _column(m: Cells, s: Any, j: Any) -> tuple[Callable[[Any], C], Callable[[Any, C], None]]:
    return lambda i: m[s, i, j], lambda i, value: m.__setitem__((s, i, j), value)


def _in_order(b: Builder, vectors: Complex, order: Tensor) -> Complex:
    return vectors.map(lambda v: b.compute(v.shape, lambda t, o, s, i, j: t(s, i, o(s, j)), v, order, name="vectors"))


@complex_operator
def eigh(b: Builder, x: Complex, UPLO: str = "L") -> tuple[Tensor, Complex]:  # noqa: N803 - Paddle's name
    """Eigenvalues (real), rising, and eigenvectors of a Hermitian matrix."""
    values, vectors = hermitian(b, x, UPLO == "L")
    return values.astype(x.re.dtype).reshape(x.shape[:-1]), vectors.astype(x.dtype).reshape(x.shape)


@complex_operator
def eigvalsh(b: Builder, x: Complex, uplo: str = "L", is_test: bool = False) -> tuple[Tensor, None]:
    """Eigenvalues (real) of a Hermitian matrix, rising."""
    return hermitian(b, x, uplo == "L")[0].astype(x.re.dtype).reshape(x.shape[:-1]), None


# ---- singular values -----------------------------------------------------------------------------------------------------


def singular(b: Builder, flat: Complex, columns: Dim) -> tuple[Complex, Tensor, Complex]:
    """One-sided Jacobi of [batch, m, n] with m ≥ n → U [batch, m, columns], S [batch, n] falling, V [batch, n, n]."""
    batch, m, n = flat.shape

    def rotate(a: Cells, w: Cells, v: Cells, norms: Any) -> None:
        with parallel(batch) as s:
            with loop(m) as i, loop(n) as j:
                w[s, i, j] = a[s, i, j]
            with loop(n) as i, loop(n) as j:
                v[s, i, j] = chosen(i == j, number(1.0), number(0.0))
            rest, sweep = cell(F64, 1.0), cell("int64", 0)
            with while_(both(rest.v > constant(0.0), sweep.v < SWEEPS)):
                rest.v = constant(0.0)
                sweep.v = sweep.v + 1
                with loop(n) as p, loop(n, p + 1) as q:
                    pp, qq, pq = cell(F64, 0.0), cell(F64, 0.0), Sum()
                    with loop(m) as i:
                        x, y = w[s, i, p].bound(), w[s, i, q].bound()
                        pp.v, qq.v = pp.v + x.square_of_abs(), qq.v + y.square_of_abs()
                        pq.v = pq.v + x.conj() * y
                    size = bind(magnitude(pq.v))
                    with when(size > tirx.max(constant(1e-15) * tirx.sqrt(pp.v) * tirx.sqrt(qq.v), constant(1e-300))):
                        rest.v = constant(1.0)
                        phase = pq.v.over(size).conj().bound()
                        cosine, sine = rotation(pp.v, qq.v, size)
                        with loop(m) as k:
                            _turn(*_row(w, s, k), p, q, phase, cosine, sine)
                        with loop(n) as k:
                            _turn(*_row(v, s, k), p, q, phase, cosine, sine)
            with loop(n) as j:
                total = cell(F64, 0.0)
                with loop(m) as i:
                    total.v = total.v + w[s, i, j].square_of_abs()
                norms[s, j] = tirx.sqrt(total.v)

    w, v, norms = run(b, rotate, [flat], [flat.shape, [batch, n, n]], "complex_jacobi_svd", [([batch, n], F64)])
    order = sorted_order(b, norms, descending=True)
    values = b.compute([batch, n], lambda t, o, s, i: t(s, o(s, i)), norms, order, name="singular_values")
    return _left_vectors(b, w, values, order, columns), values, _in_order(b, v, order)


def _left_vectors(b: Builder, w: Complex, values: Tensor, order: Tensor, columns: Dim) -> Complex:
    """Normalised columns; those of singular value 0, and those beyond n, complete an orthonormal basis (Gram-Schmidt)."""
    batch, m, n = w.shape

    def body(w_re: Any, w_im: Any, sigma: Any, sequence: Any, u_re: Any, u_im: Any) -> None:
        product, u = Cells(w_re, w_im), Cells(u_re, u_im)
        with parallel(batch) as s, loop(columns) as j:
            done = cell("bool", False)
            with when(j < n), when(sigma[s, j] > sigma[s, 0] * constant(1e-15)):
                done.v = tirx.const(True, "bool")
                with loop(m) as i:
                    u[s, i, j] = product[s, i, sequence[s, j]].over(sigma[s, j])
            start = cell("int64", 0)
            with while_(both(tirx.Not(done.v), start.v < i64(m))):
                with loop(m) as i:
                    u[s, i, j] = chosen(i == start.v, number(1.0), number(0.0))
                with loop(2), loop(j) as k:
                    along = Sum()
                    with loop(m) as i:
                        along.v = along.v + u[s, i, k].conj() * u[s, i, j]
                    with loop(m) as i:
                        u[s, i, j] = u[s, i, j] - along.v * u[s, i, k]
                length = cell(F64, 0.0)
                with loop(m) as i:
                    length.v = length.v + u[s, i, j].square_of_abs()
                # some unit vector keeps at least the mean of what is left
                with when(length.v > constant(0.5) / tirx.Cast(F64, i64(m))):
                    done.v = tirx.const(True, "bool")
                    with loop(m) as i:
                        u[s, i, j] = u[s, i, j].over(tirx.sqrt(length.v))
                start.v = start.v + 1

    return Complex(*kernel(b, body, [w.re, w.im, values, order], [([batch, m, columns], F64)] * 2, "complex_left_vectors"))


def _factors(b: Builder, x: Complex, full: bool) -> tuple[Complex, Tensor, Complex]:
    """U, S and Vᴴ in double precision, [batch, …]."""
    return factors(b, x, full, stacked, adjoint, singular)  # type: ignore[return-value]


@complex_operator
def svd(b: Builder, x: Complex, full_matrices: bool = False) -> tuple[Complex, Tensor, Complex]:
    """U, S (real, falling) and Vᴴ."""
    u, values, vh = _factors(b, x, full_matrices)
    lead = x.shape[:-2]

    def unstacked(t: Any, dtype: str) -> Any:
        return t.astype(dtype).reshape([*lead, *t.shape[1:]])

    return unstacked(u, x.dtype), unstacked(values, x.re.dtype), unstacked(vh, x.dtype)


@complex_operator
def svdvals(b: Builder, x: Complex) -> Tensor:
    """Singular values, falling."""
    return svd(b, x)[1]


# ---- rank: of the spectrum, which is real ----------------------------------------------------------------------------------


def _diagonal(b: Builder, x: Complex, is_hermitian: bool) -> Tensor:
    """A real matrix of x's shape with x's singular values (magnitudes of eigenvalues) on its diagonal: it has x's rank."""
    values = (
        b.compute((v := hermitian(b, x, True)[0]).shape, lambda t, *i: tirx.abs(t(*i)), v) if is_hermitian else _factors(b, x, False)[1]
    )
    batch, k = values.shape
    last = i64(b.simplify(k - 1))

    def element(t: Any, s: Any, i: Any, j: Any) -> Any:
        return tirx.if_then_else(tirx.all(i == j, i <= last), t(s, tirx.min(i, last)), tirx.const(0.0, F64))

    out = b.compute([batch, *x.shape[-2:]], element, values, name="spectrum")
    return out.astype(x.re.dtype).reshape(x.shape)


@complex_operator("matrix_rank")
def complex_matrix_rank(b: Builder, x: Complex, tol: float = 0.0, use_default_tol: bool = True, hermitian: bool = False) -> Tensor:
    """The rank: how many singular values are above a tolerance."""
    return matrix_rank(b, _diagonal(b, x, hermitian), tol, use_default_tol, False)


@complex_operator("matrix_rank_tol")
def complex_matrix_rank_tol(b: Builder, x: Complex, atol_tensor: Tensor, use_default_tol: bool = True, hermitian: bool = False) -> Tensor:
    """The rank with tolerances given as a tensor."""
    return matrix_rank_tol(b, _diagonal(b, x, hermitian), atol_tensor, use_default_tol, False)


@complex_operator("matrix_rank_atol_rtol")
def complex_matrix_rank_atol_rtol(b: Builder, x: Complex, atol: Tensor, rtol: Tensor | None = None, hermitian: bool = False) -> Tensor:
    """The rank with an absolute and a relative tolerance."""
    return matrix_rank_atol_rtol(b, _diagonal(b, x, hermitian), atol, rtol, False)
