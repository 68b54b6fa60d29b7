"""Complex matrices: LU, systems, inverses, determinants, QR.  Kernels compute in complex128, as the real ones in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_min
from .complex_pair import Complex, to_complex
from .complex_scalar import C, magnitude
from .linalg import swap_last
from .linalg_solve import lu_told, need_square
from .registry import Ints, Value, complex_operator
from .serial import bind, cell, down, i64, kernel, loop, parallel, select, when
from .shape import product as count
from .tensor import Dim

F64 = "float64"


class Cells:
    """A buffer pair in a kernel: m[i, j] is a complex number."""

    def __init__(self, re: Any, im: Any) -> None:
        self.re, self.im = re, im

    def __getitem__(self, at: Any) -> C:
        return C(self.re[at], self.im[at])

    def __setitem__(self, at: Any, value: C) -> None:
        value = value.bound()  # before the first part is written: the second may read it
        self.re[at], self.im[at] = value.re, value.im

    def swap(self, one: Any, other: Any) -> None:
        held = self[one].bound()
        self[one] = self[other]
        self[other] = held


class Sum:
    """A complex accumulator in a kernel."""

    def __init__(self, start: C | None = None) -> None:
        self.re, self.im = cell(F64, 0.0 if start is None else start.re), cell(F64, 0.0 if start is None else start.im)

    @property
    def v(self) -> C:
        return C(self.re.v, self.im.v)

    @v.setter
    def v(self, value: C) -> None:
        value = value.bound()
        self.re.v, self.im.v = value.re, value.im


def number(re: float, im: float = 0.0) -> C:
    return C(tirx.const(re, F64), tirx.const(im, F64))


def chosen(condition: Any, x: C, y: C) -> C:
    """Only the one that is chosen is evaluated."""
    return C(select(condition, x.re, y.re), select(condition, x.im, y.im))


def run(
    b: Builder, body: Any, inputs: Sequence[Complex], outputs: Sequence[Sequence[Dim]], name: str, reals: Sequence[Any] = ()
) -> list[Any]:
    """``kernel`` of complex buffers: body(*inputs, *outputs, *real outputs) → complex outputs, then the real ones."""
    given, total = len(inputs), len(inputs) + len(outputs)

    def flat(*buffers: Any) -> None:
        pairs = [Cells(*buffers[2 * k : 2 * k + 2]) for k in range(total)]
        body(*pairs[:given], *pairs[given:], *buffers[2 * total :])

    made = kernel(b, flat, [p for x in inputs for p in (x.re, x.im)], [(s, F64) for s in outputs for _ in range(2)] + list(reals), name)
    return [*(Complex(*made[2 * k : 2 * k + 2]) for k in range(len(outputs))), *made[2 * len(outputs) :]]


def stacked(b: Builder, x: Complex) -> Complex:
    """[…, m, n] as [batch, m, n] in complex128."""
    return x.astype("complex128").reshape([count(b, x.shape[:-2]), *x.shape[-2:]])


def square(b: Builder, x: Complex, what: str) -> Complex:
    """x with its last two dims known to be equal."""
    return x.map(lambda t: need_square(b, t, what))


# ---- LU ------------------------------------------------------------------------------------------------------------------


def lu_factors(b: Builder, x: Complex) -> tuple[Complex, Any]:
    """[batch, m, n] → L and U in one matrix, and the row that each step swapped with (0-based int32); pivots as LAPACK chooses them."""
    batch, rows, columns = x.shape
    steps = b.simplify(dim_min(rows, columns))

    def size(value: C) -> Any:
        return tirx.abs(value.re) + tirx.abs(value.im)

    def body(a: Cells, lu: Cells, pivots: Any) -> None:
        with parallel(batch) as s:
            with loop(rows) as i, loop(columns) as j:
                lu[s, i, j] = a[s, i, j]
            with loop(steps) as k:
                best, at = cell(F64, size(lu[s, k, k])), cell("int64", k)
                with loop(rows, k + 1) as i, when(size(lu[s, i, k]) > best.v):
                    best.v = size(lu[s, i, k])
                    at.v = i
                p = bind(at.v)
                pivots[s, k] = tirx.Cast("int32", p)
                with when(p != k), loop(columns) as j:
                    lu.swap((s, k, j), (s, p, j))
                with when(best.v > 0), loop(rows, k + 1) as i:
                    factor = (lu[s, i, k] / lu[s, k, k]).bound()
                    lu[s, i, k] = factor
                    with loop(columns, k + 1) as j:
                        lu[s, i, j] = lu[s, i, j] - factor * lu[s, k, j]

    factors, pivots = run(b, body, [x], [x.shape], "complex_lu", [([batch, steps], "int32")])
    return factors, pivots


def solve_factored(b: Builder, lu: Complex, pivots: Any, y: Complex) -> Complex:
    """x of (P L U) x = y for [batch, n, n], [batch, n], [batch, n, k]."""
    batch, n, columns = y.shape

    def whole(f_re: Any, f_im: Any, p: Any, y_re: Any, y_im: Any, out_re: Any, out_im: Any) -> None:
        f, rhs, out = Cells(f_re, f_im), Cells(y_re, y_im), Cells(out_re, out_im)
        with parallel(batch) as s:
            with loop(n) as i, loop(columns) as c:
                out[s, i, c] = rhs[s, i, c]
            with loop(n) as k:
                row = bind(i64(p[s, k]))
                with when(row != k), loop(columns) as c:
                    out.swap((s, k, c), (s, row, c))
            with loop(columns) as c:
                substitute_rows(out, s, c, n, lambda i, j: f[s, i, j], lower=True, unit=True)
                substitute_rows(out, s, c, n, lambda i, j: f[s, i, j], lower=False, unit=False)

    made = kernel(b, whole, [lu.re, lu.im, pivots, y.re, y.im], [(y.shape, F64)] * 2, "complex_lu_solve")
    return Complex(*made)


def substitute_rows(out: Cells, s: Any, c: Any, n: Dim, at: Any, *, lower: bool, unit: bool) -> None:
    """Solve a triangular system for column c of ``out`` in place."""
    with loop(n) if lower else down(n) as i:
        total = Sum(out[s, i, c])
        with loop(i) if lower else loop(n, i + 1) as j:
            total.v = total.v - at(i, j) * out[s, j, c]
        out[s, i, c] = total.v if unit else total.v / at(i, i)


def identity(b: Builder, x: Complex) -> Complex:
    """Identity matrices of x's shape, complex128."""
    ones = b.compute(x.shape, lambda *i: tirx.Select(i[-1] == i[-2], tirx.const(1.0, F64), tirx.const(0.0, F64)), name="identity")
    return Complex(ones, b.full(x.shape, 0, F64))


@complex_operator("inverse")
def complex_inverse(b: Builder, x: Complex) -> Complex:
    """The inverse matrix (infinite or NaN where there is none)."""
    flat = stacked(b, square(b, x, "inverse"))
    return solve_factored(b, *lu_factors(b, flat), identity(b, flat)).astype(x.dtype).reshape(x.shape)


@complex_operator
def solve(b: Builder, x: Value, y: Value) -> Complex:
    """The X of x · X = y; a 1-D y is one vector."""
    dtype = x.dtype if isinstance(x, Complex) else y.dtype
    x, y = square(b, to_complex(b, x, dtype), "solve"), to_complex(b, y, dtype)
    vector = y.ndim == 1
    y = y.reshape([y.shape[0], 1]) if vector else y
    x, y = _common_batch(b, x, y)
    out = solve_factored(b, *lu_factors(b, stacked(b, x)), stacked(b, y)).astype(dtype)
    return out.reshape(y.shape[:-1] if vector else y.shape)


def _common_batch(b: Builder, x: Complex, y: Complex) -> tuple[Complex, Complex]:
    batch = b.broadcast_shape(x.shape[:-2], y.shape[:-2])
    right = [x.shape[-1], y.shape[-1]]
    y = y.map(lambda t: b.match(t, [*y.shape[:-2], *right]))
    return x.map(lambda t: b.broadcast_to(t, [*batch, *x.shape[-2:]])), y.map(lambda t: b.broadcast_to(t, [*batch, *right]))


@complex_operator
def triangular_solve(b: Builder, x: Value, y: Value, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> Complex:
    """The X of op(x) · X = y for a triangular x."""
    dtype = x.dtype if isinstance(x, Complex) else y.dtype
    x, y = _common_batch(b, square(b, to_complex(b, x, dtype), "triangular_solve"), to_complex(b, y, dtype))
    batch_shape = y.shape
    flat, rhs = stacked(b, x), stacked(b, y)
    batch, n, columns = rhs.shape

    def body(a: Cells, given: Cells, out: Cells) -> None:
        with parallel(batch) as s, loop(columns) as c:
            with loop(n) as i:
                out[s, i, c] = given[s, i, c]
            substitute_rows(
                out, s, c, n, lambda i, j: a[s, j, i] if transpose else a[s, i, j], lower=upper == transpose, unit=unitriangular
            )

    return run(b, body, [flat, rhs], [rhs.shape], "complex_triangular_solve")[0].astype(dtype).reshape(batch_shape)


def _determinant(b: Builder, x: Complex, what: str) -> tuple[Complex, Any]:
    """The determinant's direction (of magnitude 1, or 0) and the logarithm of its magnitude, [batch]."""
    lu, pivots = lu_factors(b, stacked(b, square(b, x, what)))
    batch, n = lu.shape[:2]

    def whole(f_re: Any, f_im: Any, p: Any, d_re: Any, d_im: Any, logarithm: Any) -> None:
        f, direction = Cells(f_re, f_im), Cells(d_re, d_im)
        with parallel(batch) as s:
            turn, total = Sum(number(1.0)), cell(F64, 0.0)
            with loop(n) as k:
                d = f[s, k, k].bound()
                size = bind(magnitude(d))
                with when(i64(p[s, k]) != k):
                    turn.v = -turn.v
                turn.v = turn.v * d.over(select(size > 0, size, tirx.const(1.0, F64)))
                total.v = total.v + tirx.log(size)
            direction[s] = turn.v
            logarithm[s] = total.v

    re, im, logarithm = kernel(b, whole, [lu.re, lu.im, pivots], [([batch], F64)] * 3, "complex_determinant")
    return Complex(re, im), logarithm


@complex_operator
def det(b: Builder, x: Complex) -> Complex:
    """The determinant."""
    lu, pivots = lu_factors(b, stacked(b, square(b, x, "det")))
    batch, n = lu.shape[:2]

    def whole(f_re: Any, f_im: Any, p: Any, d_re: Any, d_im: Any) -> None:
        f, out = Cells(f_re, f_im), Cells(d_re, d_im)
        with parallel(batch) as s:
            total = Sum(number(1.0))
            with loop(n) as k:
                total.v = total.v * f[s, k, k]
                with when(i64(p[s, k]) != k):
                    total.v = -total.v
            out[s] = total.v

    made = kernel(b, whole, [lu.re, lu.im, pivots], [([batch], F64)] * 2, "complex_det")
    return Complex(*made).astype(x.dtype).reshape(x.shape[:-2])


@complex_operator
def slogdet_v2(b: Builder, x: Complex) -> tuple[Complex, Any]:
    """The determinant's direction and the logarithm of its magnitude (real)."""
    direction, logarithm = _determinant(b, x, "slogdet")
    shape = x.shape[:-2]
    return direction.astype(x.dtype).reshape(shape), logarithm.astype(x.re.dtype).reshape(shape)


@complex_operator
def slogdet(b: Builder, x: Complex) -> Complex:
    """The determinant's direction and the logarithm of its magnitude, stacked on a new first axis."""
    direction, logarithm = slogdet_v2(b, x)
    second = to_complex(b, logarithm, x.dtype)
    return Complex(*(b.concat([t.reshape([1, *t.shape]) for t in pair], 0) for pair in zip(_parts(direction), _parts(second), strict=True)))


def _parts(x: Complex) -> tuple[Any, Any]:
    return x.re, x.im


@complex_operator
def lu(b: Builder, x: Complex, pivot: bool = True) -> tuple[Complex, Any, Any]:
    """L and U in one matrix, LAPACK's 1-based pivots, and a status (the first zero pivot's number, or 0)."""
    if not pivot:
        raise UnsupportedError("lu without pivoting")
    factors, pivots = lu_factors(b, stacked(b, x))
    zero = b.compute(
        pivots.shape, lambda re, im, s, k: tirx.all(re(s, k, k) == 0, im(s, k, k) == 0), factors.re, factors.im, name="zero_pivots"
    )
    return factors.astype(x.dtype).reshape(x.shape), *lu_told(b, x.shape[:-2], pivots, zero)


# ---- QR ------------------------------------------------------------------------------------------------------------------


def reflect(work: Cells, tau: Cells, s: Any, j: Any, m: Dim, n: Dim, row: Any) -> None:
    """One Householder step on column j from ``row`` down: beta in its place, below it the reflector (whose first element is 1)."""
    below = cell(F64, 0.0)
    with loop(m, row + 1) as i:
        below.v = below.v + work[s, i, j].square_of_abs()
    alpha = work[s, row, j].bound()
    tau[s, j] = number(0.0)
    with when(tirx.any(below.v > 0, alpha.im != 0)):
        norm = bind(tirx.sqrt(alpha.square_of_abs() + below.v))
        beta = bind(select(alpha.re >= 0, -norm, norm))
        tau[s, j] = C((beta - alpha.re) / beta, -alpha.im / beta)
        scale = (number(1.0) / C(alpha.re - beta, alpha.im)).bound()
        with loop(m, row + 1) as i:
            work[s, i, j] = work[s, i, j] * scale
        with loop(n, j + 1) as c:
            apply_left(work, tau[s, j].conj().bound(), work, s, j, c, m, row)
        work[s, row, j] = C(beta, tirx.const(0.0, F64))


def apply_left(work: Cells, tau: C, target: Cells, s: Any, j: Any, c: Any, m: Dim, row: Any) -> None:
    """Column c of the target minus tau·v·vᴴ of it, v being the reflector of column j that starts at ``row``."""
    total = Sum(target[s, row, c])
    with loop(m, row + 1) as i:
        total.v = total.v + work[s, i, j].conj() * target[s, i, c]
    step = (total.v * tau).bound()
    target[s, row, c] = target[s, row, c] - step
    with loop(m, row + 1) as i:
        target[s, i, c] = target[s, i, c] - step * work[s, i, j]


@complex_operator
def qr(b: Builder, x: Complex, mode: str = "reduced") -> tuple[Complex | None, Complex]:
    """Q and R as LAPACK gives them (Householder): Q [m, k] or, mode "complete", [m, m]; mode "r" gives no Q."""
    flat = stacked(b, x)
    batch, m, n = flat.shape
    k = b.simplify(dim_min(m, n))
    wide = m if mode == "complete" else k

    def body(a: Cells, q: Cells, r: Cells, work: Cells, tau: Cells) -> None:
        with parallel(batch) as s:
            with loop(m) as i, loop(n) as j:
                work[s, i, j] = a[s, i, j]
            with loop(k) as j:
                reflect(work, tau, s, j, m, n, j)
            with loop(wide) as i, loop(n) as j:
                r[s, i, j] = chosen(i <= j, work[s, i, j], number(0.0))
            with loop(m) as i, loop(wide) as j:
                q[s, i, j] = chosen(i == j, number(1.0), number(0.0))
            with down(k) as j:
                factor = tau[s, j].bound()
                with loop(wide) as c:
                    apply_left(work, factor, q, s, j, c, m, j)

    q, r, _, _ = run(b, body, [flat], [[batch, m, wide], [batch, wide, n], [batch, m, n], [batch, k]], "complex_qr")
    lead = x.shape[:-2]
    upper = r.astype(x.dtype).reshape([*lead, wide, n])
    return (None if mode == "r" else q.astype(x.dtype).reshape([*lead, m, wide])), upper


def adjoint(x: Complex) -> Complex:
    """The conjugate transpose of the last two axes."""
    return x.map(swap_last).conj()


# ---- products along axes ---------------------------------------------------------------------------------------------------


@complex_operator
def prod(b: Builder, x: Complex, axis: Ints = (), keepdim: bool = False, reduce_all: bool = False) -> Complex:  # type: ignore[assignment]
    """Πx."""
    from .reduce import resolve_axes, squeezed

    axes = resolve_axes(x.re, () if reduce_all else axis)
    rest = [i for i in range(x.ndim) if i not in axes]
    kept = [x.shape[i] for i in rest]
    outer, inner = (count(b, [x.shape[i] for i in group]) for group in (rest, axes))
    rows = x.astype("complex128").transpose([*rest, *axes]).reshape([outer, inner])

    def body(source: Cells, out: Cells) -> None:
        with parallel(outer) as line:
            total = Sum(number(1.0))
            with loop(inner) as k:
                total.v = total.v * source[line, k]
            out[line] = total.v

    made = run(b, body, [rows], [[outer]], "complex_prod")[0].astype(x.dtype)
    made = made.reshape(kept)
    return made.reshape([1 if i in axes else d for i, d in enumerate(x.shape)]).map(lambda t: squeezed(t, axes, keepdim))


@complex_operator
def cumprod(b: Builder, x: Complex, dim: int, exclusive: bool = False, reverse: bool = False) -> Complex:
    """Running products; exclusive: of the elements before; reverse: from the end."""
    axis = dim + x.ndim if dim < 0 else dim
    before, after = count(b, x.shape[:axis]), count(b, x.shape[axis + 1 :])
    n: Dim = x.shape[axis] if x.ndim else 1
    shape = [before, n, after]

    def body(source: Cells, out: Cells) -> None:
        with parallel(i64(before) * i64(after)) as line:
            row, column = bind(line // i64(after)), bind(line % i64(after))
            running = Sum(number(1.0))
            with loop(n) as step:
                at = bind(i64(n) - 1 - step) if reverse else step
                value = source[row, at, column].bound()
                if exclusive:
                    out[row, at, column] = running.v
                running.v = running.v * value
                if not exclusive:
                    out[row, at, column] = running.v

    return run(b, body, [x.astype("complex128").reshape(shape)], [shape], "complex_cumprod")[0].astype(x.dtype).reshape(x.shape)
