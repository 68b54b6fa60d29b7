"""Special functions: the gamma family, modified Bessel functions, the inverse of erf.

Everything is computed in float64 and rounded, so float32 results are right to the last place or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, cast_expr
from .dtypes import promote
from .registry import operator
from .scalar import elementwise, floating, num, polynomial, power, select
from .serial import bind, cell, kernel, loop, parallel, when, while_
from .tensor import PrimExpr, Tensor

WIDE = "float64"


def _wide(formula: Callable[[PrimExpr], PrimExpr]) -> Callable[[PrimExpr], PrimExpr]:
    return lambda v: cast_expr(formula(cast_expr(v, WIDE)), str(v.ty))


def _libm(name: str, v: PrimExpr) -> PrimExpr:
    return tirx.call_pure_extern(WIDE, name, v)


def pointwise(b: Builder, name: str, body: Callable[..., PrimExpr], *xs: Tensor) -> Tensor:
    """Like elementwise, for formulas with loops: ``body`` gets float64 values and may use cells; the tensors have one shape."""
    x = xs[0]
    n = x.size
    if isinstance(n, int) and n == 0:
        return x

    def fill(*buffers: Any) -> None:
        *sources, out = buffers
        with parallel(n) as i:
            out[i] = cast_expr(body(*[bind(cast_expr(s[i], WIDE)) for s in sources]), x.dtype)

    (out,) = kernel(b, fill, [t.reshape([n]) for t in xs], [([n], x.dtype)], name)
    return out.reshape(x.shape)


# ---- the gamma family ------------------------------------------------------------------------------------------------


@operator("lgamma", "gammaln")
def lgamma(b: Builder, x: Tensor) -> Tensor:
    """log |Γ(x)|."""
    return elementwise(b, "lgamma", _wide(lambda v: _libm("lgamma", v)), floating(x))


def _bernoulli(count: int) -> list[Fraction]:
    """B₂, B₄, …: count of them."""
    numbers = [Fraction(1)]
    for m in range(1, 2 * count + 1):
        numbers.append(-sum((math.comb(m + 1, k) * numbers[k] for k in range(m)), Fraction(0)) / (m + 1))
    return numbers[2::2]


_BERNOULLI = _bernoulli(12)
_DIGAMMA = [-float(v / (2 * k)) for k, v in reversed(list(enumerate(_BERNOULLI[:8], 1)))]
_SHIFT = 10  # the asymptotic series starts from here


def _digamma(v: PrimExpr) -> PrimExpr:
    """ψ(y) by recurrence up to y + 10 and the asymptotic series there; reflection for v < ½."""
    left = v < num(v, 0.5)
    y = select(left, num(v, 1.0) - v, v)
    z = y + num(v, float(_SHIFT))
    square = num(v, 1.0) / (z * z)
    out = tirx.log(z) - num(v, 0.5) / z + square * polynomial(square, _DIGAMMA)
    for k in range(_SHIFT):
        out = out - num(v, 1.0) / (y + num(v, float(k)))
    turn = v - tirx.floor(v + num(v, 0.5))
    reflected = out - num(v, math.pi) / tirx.tan(num(v, math.pi) * turn)
    pole = tirx.all(v <= num(v, 0.0), v == tirx.floor(v))
    at_pole = select(v == num(v, 0.0), tirx.copysign(num(v, np.inf), -v), num(v, np.nan))
    return select(pole, at_pole, select(left, reflected, out))


@operator
def digamma(b: Builder, x: Tensor) -> Tensor:
    """ψ(x), the derivative of log Γ; ∓inf at ±0, NaN at the poles −1, −2, …"""
    return elementwise(b, "digamma", _wide(_digamma), floating(x))


def _hurwitz_zeta(order: int, q: PrimExpr) -> PrimExpr:
    """ζ(order, q) = Σ (q + k)^−order: summed up to q + k ≥ 10 + order, the rest by Euler and Maclaurin."""
    s = float(order)
    total, at = cell(WIDE, 0.0), cell(WIDE, q)
    with while_(tirx.all(at.v < num(q, 10.0 + s), at.v > num(q, -1e6))):
        total.v = total.v + power(at.v, num(q, -s))
        at.v = at.v + num(q, 1.0)
    z = bind(at.v)
    tail = z / num(q, s - 1.0) + num(q, 0.5)
    factor = s
    for j, bernoulli in enumerate(_BERNOULLI, 1):
        tail = tail + num(q, float(bernoulli) / math.factorial(2 * j) * factor) * power(z, num(q, 1.0 - 2.0 * j))
        factor *= (s + 2 * j - 1) * (s + 2 * j)
    value = total.v + power(z, num(q, -s)) * tail
    pole = tirx.all(q <= num(q, 0.0), q == tirx.floor(q))
    return select(pole, num(q, np.inf), value)


@operator
def polygamma(b: Builder, x: Tensor, n: int) -> Tensor:
    """The n-th derivative of ψ."""
    if n < 0:
        raise UnsupportedError(f"polygamma of order {n}")
    if n == 0:
        return digamma(b, x)
    if n > 100:
        raise UnsupportedError(f"polygamma of order {n} overflows")
    factor = (-1.0) ** (n + 1) * math.factorial(n)
    return pointwise(b, "polygamma", lambda v: num(v, factor) * _hurwitz_zeta(n + 1, v), floating(x))


_TINY, _EPSILON, _MOST = 1e-300, 2.0**-53, 3000


def _upper_gamma(a: PrimExpr, x: PrimExpr) -> PrimExpr:
    """Q(a, x) = Γ(a, x) / Γ(a): 1 − the power series where x is small, else the continued fraction (Lentz)."""
    result = cell(WIDE, np.nan)
    good = tirx.all(a > num(a, 0.0), x >= num(a, 0.0), tirx.isfinite(a))
    with when(tirx.all(good, tirx.any(x == num(a, 0.0), tirx.isinf(x)))):
        result.v = select(tirx.isinf(x), num(a, 0.0), num(a, 1.0))
    with when(tirx.all(good, x > num(a, 0.0), tirx.isfinite(x))):
        scale = bind(tirx.exp(a * tirx.log(x) - x - _libm("lgamma", a)))
        with when(tirx.any(x < num(a, 1.0), x < a)):
            result.v = num(a, 1.0) - scale * _gamma_series(a, x)
        with when(tirx.all(x >= num(a, 1.0), x >= a)):
            result.v = scale * _gamma_fraction(a, x)
    return result.v


def _gamma_series(a: PrimExpr, x: PrimExpr) -> PrimExpr:
    """Σ xⁿ / (a (a + 1) … (a + n))."""
    term, total, count = cell(WIDE, num(a, 1.0) / a), cell(WIDE, num(a, 1.0) / a), cell(WIDE, 0.0)
    with while_(tirx.all(term.v > total.v * num(a, _EPSILON), count.v < num(a, float(_MOST)))):
        count.v = count.v + num(a, 1.0)
        term.v = term.v * x / (a + count.v)
        total.v = total.v + term.v
    return total.v


def _gamma_fraction(a: PrimExpr, x: PrimExpr) -> PrimExpr:
    one = num(a, 1.0)
    base = cell(WIDE, x + one - a)
    c, d = cell(WIDE, 1.0 / _TINY), cell(WIDE, one / base.v)
    value, change, count = cell(WIDE, d.v), cell(WIDE, 2.0), cell(WIDE, 0.0)
    with while_(tirx.all(tirx.abs(change.v - one) > num(a, _EPSILON), count.v < num(a, float(_MOST)))):
        count.v = count.v + one
        factor = bind(count.v * (a - count.v))
        base.v = base.v + num(a, 2.0)
        d.v = one / _not_zero(bind(factor * d.v + base.v))
        c.v = _not_zero(bind(base.v + factor / c.v))
        change.v = c.v * d.v
        value.v = value.v * change.v
    return value.v


def _not_zero(v: PrimExpr) -> PrimExpr:
    return select(tirx.abs(v) < num(v, _TINY), num(v, _TINY), v)


@operator
def gammaincc(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The regularised upper incomplete gamma function Q(x, y)."""
    common = promote(x.dtype, y.dtype)
    shape = b.broadcast_shape(x.shape, y.shape)
    return pointwise(b, "gammaincc", _upper_gamma, b.broadcast_to(x.astype(common), shape), b.broadcast_to(y.astype(common), shape))


# ---- Bessel functions ------------------------------------------------------------------------------------------------

_SWITCH = 20.0  # below: the power series; above: the asymptotic one


def _bessel_coefficients(order: int) -> tuple[list[float], list[float]]:
    """Of I_order: Σ (x²/4)^k / (k! (k + order)!), and the asymptotic series in 1/x; the highest first."""
    series = [1.0 / (math.factorial(k) * math.factorial(k + order)) for k in range(44)]
    tail, term = [1.0], Fraction(1)
    for k in range(1, 28):
        term *= Fraction((2 * k - 1) ** 2 - 4 * order * order, 8 * k)
        tail.append(float(term))
    return series[::-1], tail[::-1]


def _bessel(order: int, scaled: bool) -> Callable[[PrimExpr], PrimExpr]:
    series, tail = _bessel_coefficients(order)

    def formula(v: PrimExpr) -> PrimExpr:
        x = tirx.abs(v)
        small = polynomial(v * v * num(v, 0.25), series)
        small = small * v * num(v, 0.5) if order else small
        large = polynomial(num(v, 1.0) / x, tail) / tirx.sqrt(num(v, 2.0 * math.pi) * x)
        large = select(v < num(v, 0.0), -large, large) if order else large
        if scaled:
            small = small * tirx.exp(-x)
        else:
            half = tirx.exp(x * num(v, 0.5))  # in two factors: exp(x) overflows before the function does
            large = large * half * half
        return select(x < num(v, _SWITCH), small, large)

    return _wide(formula)


def _register_bessel(name: str, order: int, scaled: bool) -> None:
    def function(b: Builder, x: Tensor) -> Tensor:
        return elementwise(b, name, _bessel(order, scaled), floating(x))

    function.__name__ = name
    function.__doc__ = f"The modified Bessel function of order {order}{', times exp(−|x|)' if scaled else ''}."
    operator(name)(function)


_register_bessel("i0", 0, False)
_register_bessel("i0e", 0, True)
_register_bessel("i1", 1, False)
_register_bessel("i1e", 1, True)


# ---- the inverse of erf ----------------------------------------------------------------------------------------------


def _erfinv(v: PrimExpr) -> PrimExpr:
    """Winitzki's approximation, then Newton's steps; on erfc, where |v| is near 1 and erf has no digits left."""
    x = bind(tirx.abs(v))
    one = num(v, 1.0)
    logarithm = bind(tirx.log((one - x) * (one + x)))
    half = bind(num(v, 2.0 / (math.pi * 0.147)) + logarithm * num(v, 0.5))
    guess = tirx.sqrt(tirx.sqrt(half * half - logarithm / num(v, 0.147)) - half)
    y = cell(WIDE, select(x < num(v, 0.1), x * num(v, math.sqrt(math.pi) / 2), guess))
    with loop(4):
        at = bind(y.v)
        miss = select(x < num(v, 0.5), tirx.erf(at) - x, (one - x) - _libm("erfc", at))
        step = bind(miss * num(v, math.sqrt(math.pi) / 2) * tirx.exp(at * at))
        y.v = at - step / (one + at * step)  # Halley's correction
    inside = tirx.copysign(y.v, v)
    return select(tirx.isnan(v), v, select(x < one, inside, tirx.copysign(num(v, np.inf), v)))


@operator
def erfinv(b: Builder, x: Tensor) -> Tensor:
    """The inverse of erf; ±inf outside −1 … 1, as Paddle gives it."""
    return pointwise(b, "erfinv", _erfinv, x)
