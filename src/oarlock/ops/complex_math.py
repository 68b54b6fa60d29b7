"""Operators on complex tensors, element by element: arithmetic, elementary functions, comparisons, conversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from . import complex_scalar as z
from .builder import Builder
from .complex_pair import Complex, common_dtype, joined, need_float, nonzero, parted, to_complex
from .complex_scalar import C, choose, pairwise, real_valued
from .dtypes import is_complex, part_dtype, promote
from .logic import every
from .registry import Scalar, Value, complex_operator, operator
from .scalar import num, round_away, select
from .tensor import PrimExpr, Tensor

# ---- putting together and taking apart ------------------------------------------------------------------------------------


@operator("complex")
def complex_(b: Builder, real: Tensor, imag: Tensor) -> Complex:
    """real + i·imag."""
    wide = promote(need_float(real).dtype, need_float(imag).dtype)
    shape = b.broadcast_shape(real.shape, imag.shape)
    return Complex(b.broadcast_to(real.astype(wide), shape), b.broadcast_to(imag.astype(wide), shape))


@operator
def as_complex(b: Builder, x: Tensor) -> Complex:
    """[…, 2] real as […] complex."""
    if x.ndim < 1 or x.shape[-1] != 2:
        x = b.match(x, [*x.shape[:-1], 2])
    return parted(b, need_float(x))


@operator
def as_real(b: Builder, x: Complex) -> Tensor:
    """[…] complex as […, 2] real."""
    return joined(b, x)


@complex_operator("real")
def real(b: Builder, x: Complex) -> Tensor:
    """The real part."""
    return x.re


@complex_operator("imag")
def imag(b: Builder, x: Complex) -> Tensor:
    """The imaginary part."""
    return x.im


@complex_operator("conj")
def conj(b: Builder, x: Complex) -> Complex:
    """re − i·im."""
    return x.conj()


@complex_operator("cast")
def cast(b: Builder, x: Value, dtype: str) -> Any:
    """To a complex dtype from a real one with an imaginary part of 0; to a real one the real part, to bool whether it is not 0."""
    return x.astype(dtype) if isinstance(x, Complex) else to_complex(b, x, dtype)


@complex_operator("eye")
def eye(b: Builder, num_rows: Scalar, num_columns: Scalar, dtype: str = "complex64") -> Complex:
    """Ones on the diagonal."""
    from .creation import eye as identity

    return to_complex(b, identity(b, num_rows, num_columns, part_dtype(dtype)), dtype)


@complex_operator("nansum")
def nansum(b: Builder, x: Complex, axis: Any = (), dtype: Any = "undefined", keepdim: bool = False) -> Complex:
    """Σx of what has no part that is NaN."""
    from .reduce import sum_

    kept = pairwise(b, "no_nan", lambda v: choose(tirx.any(tirx.isnan(v.re), tirx.isnan(v.im)), v.number(0), v), x)
    return kept.map(lambda t: sum_(b, t, axis, part_dtype(dtype) if isinstance(dtype, str) else dtype, keepdim))


@complex_operator("view_dtype")
def view_dtype(b: Builder, input: Value, dtype: str) -> Any:
    """The same bytes as a complex or as a real dtype: along the last axis two numbers are a complex one."""
    if isinstance(input, Complex):
        if dtype == input.dtype:
            return input
        flat = joined(b, input)
        if dtype == flat.dtype and input.ndim:
            return flat.reshape([*input.shape[:-1], b.simplify(input.shape[-1] * 2)])
    elif is_complex(dtype) and dtype == ("complex128" if input.dtype == "float64" else "complex64") and input.is_float and input.ndim:
        return parted(b, input.reshape([*input.shape[:-1], b.exact_div([input.shape[-1]], [2]), 2]))
    raise UnsupportedError(f"viewing {input.dtype}{input.shape} as {dtype} is not supported", todo="use as_complex or as_real")


# ---- arithmetic ------------------------------------------------------------------------------------------------------------


def both(b: Builder, x: Any, y: Any) -> tuple[Complex, Complex]:
    """Two operands of the common dtype."""
    dtype = common_dtype(x, y)
    return to_complex(b, x, dtype), to_complex(b, y, dtype)


@complex_operator("add", "grad_add")
def add(b: Builder, x: Value, y: Value) -> Complex:
    """x + y."""
    p, q = both(b, x, y)
    return p + q


@complex_operator("multiply")
def multiply(b: Builder, x: Value, y: Value) -> Complex:
    """x · y."""
    p, q = both(b, x, y)
    return p * q


@complex_operator("divide")
def divide(b: Builder, x: Value, y: Value) -> Complex:
    """x / y."""
    return pairwise(b, "divide", lambda u, v: u / v, *both(b, x, y))


@complex_operator("remainder")
def remainder(b: Builder, x: Value, y: Value) -> Complex:
    """x − y·q, both parts of the quotient q rounded to the nearest integer."""

    def formula(u: C, v: C) -> C:
        quotient = u / v
        return u - C(round_away(quotient.re), round_away(quotient.im)) * v

    return pairwise(b, "remainder", formula, *both(b, x, y))


@complex_operator("pow")
def pow_(b: Builder, x: Complex, y: Any = 1.0) -> Complex:
    """x to a known power."""
    number = complex(y)
    if number.imag == 0 and number.real.is_integer() and abs(number.real) <= 16:
        return pairwise(b, "power", lambda v: z.integer_power(v, int(number.real)), x)
    return pairwise(b, "power", lambda v: z.power(v, v.number(number)), x)


@complex_operator("elementwise_pow")
def elementwise_pow(b: Builder, x: Value, y: Value) -> Complex:
    """x to the power y."""
    return pairwise(b, "power", z.power, *both(b, x, y))


@complex_operator("scale")
def scale(b: Builder, x: Complex, scale: Scalar = 1.0, bias: Any = 0.0, bias_after_scale: bool = True) -> Complex:
    """x · scale + bias, or (x + bias) · scale."""

    def scaled(t: Complex) -> Complex:
        if isinstance(scale, Tensor | Complex):
            return t * to_complex(b, scale, x.dtype)
        return t * scale

    def moved(t: Complex) -> Complex:
        return t + bias if bias else t

    return moved(scaled(x)) if bias_after_scale else scaled(moved(x))


@complex_operator("increment")
def increment(b: Builder, x: Complex, value: Any = 1.0) -> Complex:
    """x + value."""
    return x + value


@complex_operator("lerp")
def lerp(b: Builder, x: Value, y: Value, weight: Value) -> Complex:
    """x + weight · (y − x)."""
    p, q = both(b, x, y)
    return p + to_complex(b, weight, p.dtype) * (q - p)


# ---- elementary functions ----------------------------------------------------------------------------------------------------


def _elementary(name: str, formula: Callable[[C], C]) -> None:
    def function(b: Builder, x: Complex) -> Complex:
        return pairwise(b, name, formula, x)

    function.__name__, function.__doc__ = name, f"{name}(x) of complex numbers."
    complex_operator(name)(function)


for _name in "acos acosh asin asinh atan atanh cos cosh exp expm1 log log1p reciprocal rsqrt sigmoid sin sinh sqrt tan tanh".split():
    _elementary(_name, getattr(z, _name))
_elementary("log2", z.log_by(2.0))
_elementary("log10", z.log_by(10.0))
_elementary("square", lambda v: v * v)
_elementary("logsigmoid", lambda v: -z.log(v.number(1) + z.exp(-v)))
_elementary("softsign", lambda v: v.over(num(v.re, 1.0) + z.magnitude(v)))
_elementary("tanh_shrink", lambda v: v - z.tanh(v))


@complex_operator("silu", "swish")
def silu(b: Builder, x: Complex) -> Complex:
    """x · sigmoid(x)."""
    return pairwise(b, "silu", lambda v: v * z.sigmoid(v), x)


@complex_operator("stanh")
def stanh(b: Builder, x: Complex, scale_a: float = 0.67, scale_b: float = 1.7159) -> Complex:
    """scale_b · tanh(scale_a · x)."""
    return pairwise(b, "stanh", lambda v: z.tanh(v.scaled(num(v.re, scale_a))).scaled(num(v.re, scale_b)), x)


@complex_operator("softplus")
def softplus(b: Builder, x: Complex, beta: float = 1.0, threshold: float = 20.0) -> Complex:
    """log(1 + exp(beta · x)) / beta; x itself where the real part of beta · x is above the threshold."""

    def formula(v: C) -> C:
        by = v.scaled(num(v.re, beta))
        return choose(by.re > num(v.re, threshold), v, z.log(v.number(1) + z.exp(by)).over(num(v.re, beta)))

    return pairwise(b, "softplus", formula, x)


@complex_operator("round")
def round_(b: Builder, x: Complex, decimals: int = 0) -> Complex:
    """Both parts rounded, halves to the even neighbour."""
    from .unary import round_ as rounded

    return x.map(lambda t: rounded(b, t, decimals))


@complex_operator("abs")
def abs_(b: Builder, x: Complex) -> Tensor:
    """√(re² + im²)."""
    return real_valued(b, "abs", z.magnitude, x)


@complex_operator("angle")
def angle(b: Builder, x: Complex) -> Tensor:
    """The argument, −π … π."""
    return real_valued(b, "angle", z.angle, x)


@complex_operator("sign")
def sign(b: Builder, x: Complex) -> Complex:
    """x / |x|, 0 of 0."""

    def formula(v: C) -> C:
        size = z.magnitude(v)
        zero = size == num(size, 0.0)
        return choose(zero, v.number(0), v.over(select(zero, num(size, 1.0), size)))

    return pairwise(b, "sign", formula, x)


# ---- comparisons and tests -----------------------------------------------------------------------------------------------------


@complex_operator("equal")
def equal(b: Builder, x: Value, y: Value) -> Tensor:
    """Whether both parts are equal."""
    return real_valued(b, "equal", lambda u, v: tirx.all(u.re == v.re, u.im == v.im), *both(b, x, y))


@complex_operator("not_equal")
def not_equal(b: Builder, x: Value, y: Value) -> Tensor:
    """Whether a part differs."""
    return real_valued(b, "not_equal", lambda u, v: tirx.any(u.re != v.re, u.im != v.im), *both(b, x, y))


def _ordered(name: str, strict: Callable[[Any, Any], Any], also_equal: bool) -> None:
    def formula(u: C, v: C) -> PrimExpr:
        second = tirx.any(strict(u.im, v.im), u.im == v.im) if also_equal else strict(u.im, v.im)
        odd = tirx.any(*(tirx.isnan(p) for p in (u.re, u.im, v.re, v.im)))
        return tirx.all(tirx.Not(odd), tirx.any(strict(u.re, v.re), tirx.all(u.re == v.re, second)))

    def function(b: Builder, x: Value, y: Value) -> Tensor:
        return real_valued(b, name, formula, *both(b, x, y))

    function.__name__, function.__doc__ = name, f"{name} of the real parts, and of the imaginary ones where those are equal; not of NaN."
    complex_operator(name)(function)


_ordered("less_than", lambda u, v: u < v, False)
_ordered("less_equal", lambda u, v: u < v, True)
_ordered("greater_than", lambda u, v: u > v, False)
_ordered("greater_equal", lambda u, v: u > v, True)


@complex_operator("equal_all")
def equal_all(b: Builder, x: Value, y: Value) -> Tensor:
    """Whether two tensors have the same shape and the same elements, 0-D bool."""
    from .logic import equal_all as same

    p, q = both(b, x, y)
    return b.binary("logical_and", same(b, p.re, q.re), same(b, p.im, q.im))


def _logical(name: str) -> None:
    def function(b: Builder, x: Value, y: Value) -> Tensor:
        return b.binary(name, x.astype("bool"), y.astype("bool"))

    function.__name__, function.__doc__ = name, f"{name.removeprefix('logical_')} of truth values (0 is false)."
    complex_operator(name)(function)


for _name in ("logical_and", "logical_or", "logical_xor"):
    _logical(_name)


@complex_operator("logical_not")
def logical_not(b: Builder, x: Complex) -> Tensor:
    """Whether x is 0."""
    return real_valued(b, "logical_not", lambda v: tirx.all(v.re == num(v.re, 0.0), v.im == num(v.im, 0.0)), x)


@complex_operator("isnan")
def isnan(b: Builder, x: Complex) -> Tensor:
    """Whether a part is NaN."""
    return real_valued(b, "isnan", lambda v: tirx.any(tirx.isnan(v.re), tirx.isnan(v.im)), x)


@complex_operator("isinf")
def isinf(b: Builder, x: Complex) -> Tensor:
    """Whether a part is infinite."""
    return real_valued(b, "isinf", lambda v: tirx.any(tirx.isinf(v.re), tirx.isinf(v.im)), x)


@complex_operator("isfinite")
def isfinite(b: Builder, x: Complex) -> Tensor:
    """Whether both parts are finite."""
    return real_valued(b, "isfinite", lambda v: tirx.Not(tirx.any(*(f(p) for f in (tirx.isnan, tirx.isinf) for p in (v.re, v.im)))), x)


@complex_operator("isclose")
def isclose(b: Builder, x: Value, y: Value, rtol: Scalar = 1e-5, atol: Scalar = 1e-8, equal_nan: bool = False) -> Tensor:
    """|x − y| ≤ atol + rtol · |y|."""
    limits = [to_complex(b, float(t) if isinstance(t, str) else t, "complex128") for t in (rtol, atol)]

    def formula(u: C, v: C, relative: C, absolute: C) -> PrimExpr:
        left, right = z.magnitude(u - v), absolute.re + relative.re * z.magnitude(v)
        near = tirx.any(left <= right, tirx.all(u.re == v.re, u.im == v.im))
        odd = [tirx.any(tirx.isnan(w.re), tirx.isnan(w.im)) for w in (u, v)]
        return select(tirx.any(*odd), tirx.all(*odd) if equal_nan else tirx.const(False, "bool"), near)

    p, q = both(b, x, y)
    return real_valued(b, "isclose", formula, p.astype("complex128"), q.astype("complex128"), *limits)


@complex_operator("allclose")
def allclose(b: Builder, x: Value, y: Value, rtol: Scalar = 1e-5, atol: Scalar = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether isclose holds everywhere, 0-D bool."""
    return every(b, isclose(b, x, y, rtol, atol, equal_nan))


@complex_operator("any")
def any_(b: Builder, x: Complex, axis: Any = (), keepdim: bool = False) -> Tensor:
    """Whether any is not 0."""
    from .reduce import any_ as some

    return some(b, nonzero(x), axis, keepdim)


@complex_operator("all")
def all_(b: Builder, x: Complex, axis: Any = (), keepdim: bool = False) -> Tensor:
    """Whether all are not 0."""
    from .reduce import all_ as whole

    return whole(b, nonzero(x), axis, keepdim)


@complex_operator("nonzero")
def nonzero_places(b: Builder, condition: Complex) -> Tensor:
    """The indices of what is not 0."""
    from .index import nonzero as places

    return places(b, nonzero(condition))
