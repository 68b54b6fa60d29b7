"""Complex numbers inside kernels: a pair of scalar expressions with arithmetic, and elementary functions of them.

The formulas avoid what overflows or cancels (Smith's division, Kahan's inverse functions); signed zeros choose the side of a
branch cut as C's functions do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from . import scalar as s
from .builder import Builder
from .complex_pair import Complex
from .scalar import elementwise, num, select
from .serial import bind
from .tensor import PrimExpr


@dataclass(frozen=True, eq=False, slots=True)
class C:
    """re + i·im, two expressions of one float dtype."""

    re: Any
    im: Any

    def __add__(self, other: C) -> C:
        return C(self.re + other.re, self.im + other.im)

    def __sub__(self, other: C) -> C:
        return C(self.re - other.re, self.im - other.im)

    def __mul__(self, other: C) -> C:
        return C(self.re * other.re - self.im * other.im, self.im * other.re + self.re * other.im)

    def __neg__(self) -> C:
        return C(-self.re, -self.im)

    def __truediv__(self, other: C) -> C:
        """Smith's: the smaller part of the divisor by the larger one first."""
        a, b, c, d = self.re, self.im, other.re, other.im
        wide = tirx.abs(c) >= tirx.abs(d)
        ratio = select(wide, d / c, c / d)
        scale = num(c, 1.0) / select(wide, c + d * ratio, d + c * ratio)
        return C(select(wide, a + b * ratio, a * ratio + b) * scale, select(wide, b - a * ratio, b * ratio - a) * scale)

    def conj(self) -> C:
        return C(self.re, -self.im)

    def scaled(self, factor: Any) -> C:
        """Times a real expression."""
        return C(self.re * factor, self.im * factor)

    def over(self, divisor: Any) -> C:
        """By a real expression."""
        return C(self.re / divisor, self.im / divisor)

    def square_of_abs(self) -> Any:
        return self.re * self.re + self.im * self.im

    def bound(self) -> C:
        """Its value now, in a kernel of statements."""
        return C(bind(self.re), bind(self.im))

    def number(self, value: complex) -> C:
        """A constant of the same dtype."""
        return C(num(self.re, complex(value).real), num(self.re, complex(value).imag))


def choose(condition: PrimExpr, x: C, y: C) -> C:
    return C(select(condition, x.re, y.re), select(condition, x.im, y.im))


def pairwise(b: Builder, name: str, fn: Callable[..., C], *xs: Complex) -> Complex:
    """fn(an element of each tensor…) → element, with broadcasting; one kernel a part."""
    return Complex(*(real_valued(b, name, lambda *v, part=part: getattr(fn(*v), part), *xs) for part in ("re", "im")))


def real_valued(b: Builder, name: str, fn: Callable[..., PrimExpr], *xs: Complex) -> Any:
    """fn(an element of each tensor…) → a real element, or a truth value."""
    flat = [part for x in xs for part in (x.re, x.im)]
    return elementwise(b, name, lambda *v: fn(*[C(v[k], v[k + 1]) for k in range(0, len(v), 2)]), *flat)


# ---- magnitude, angle, roots -------------------------------------------------------------------------------------------


def magnitude(z: C) -> PrimExpr:
    """√(re² + im²) without overflow; infinite when a part is."""
    a, c = tirx.abs(z.re), tirx.abs(z.im)
    large, small = tirx.max(a, c), tirx.min(a, c)
    zero = num(a, 0.0)
    ratio = small / select(large == zero, num(a, 1.0), large)
    plain = large * tirx.sqrt(num(a, 1.0) + ratio * ratio)
    endless = tirx.any(tirx.isinf(a), tirx.isinf(c))
    return select(endless, num(a, math.inf), select(tirx.any(tirx.isnan(a), tirx.isnan(c)), a + c, plain))


def angle(z: C) -> PrimExpr:
    return tirx.atan2(z.im, z.re)


def sqrt(z: C) -> C:
    """The root in the right half plane."""
    zero, half = num(z.re, 0.0), num(z.re, 0.5)
    root = tirx.sqrt((tirx.abs(z.re) * half) + (magnitude(z) * half))
    other = z.im / (select(root == zero, num(root, 1.0), root) * num(root, 2.0))
    right = z.re >= zero
    out = C(select(right, root, tirx.abs(other)), select(right, other, tirx.copysign(root, z.im)))
    nothing = tirx.all(z.re == zero, z.im == zero)
    return choose(nothing, C(zero, z.im), out)


def log_magnitude(z: C) -> PrimExpr:
    """log |z| without overflow, and near |z| = 1 without the rounding of |z|."""
    a, c = tirx.abs(z.re), tirx.abs(z.im)
    large, small = tirx.max(a, c), tirx.min(a, c)
    one = num(a, 1.0)
    ratio = small / select(large == num(a, 0.0), one, large)
    far = tirx.log(large) + num(a, 0.5) * tirx.log1p(ratio * ratio)
    near = num(a, 0.5) * tirx.log1p((large - one) * (large + one) + small * small)
    close = tirx.all(large > num(a, 0.5), large < num(a, 2.0))
    return select(tirx.any(tirx.isinf(a), tirx.isinf(c)), num(a, math.inf), select(close, near, far))


# ---- exponentials and trigonometry ---------------------------------------------------------------------------------------


def exp(z: C) -> C:
    size = tirx.exp(z.re)
    flat = z.im == num(z.im, 0.0)
    return C(size * tirx.cos(z.im), select(flat, z.im, size * tirx.sin(z.im)))


def expm1(z: C) -> C:
    """exp(re)·cos(im) − 1 as expm1(re)·cos(im) − 2·sin²(im / 2)."""
    half = tirx.sin(z.im * num(z.im, 0.5))
    return C(s.expm1(z.re) * tirx.cos(z.im) - num(z.im, 2.0) * half * half, tirx.exp(z.re) * tirx.sin(z.im))


def log(z: C) -> C:
    return C(log_magnitude(z), angle(z))


def log1p(z: C) -> C:
    """log(1 + z), which keeps small z."""
    one, two, half = num(z.re, 1.0), num(z.re, 2.0), num(z.re, 0.5)
    small = tirx.all(tirx.abs(z.re) < half, tirx.abs(z.im) < half)
    near = half * tirx.log1p(z.re * (two + z.re) + z.im * z.im)
    moved = C(one + z.re, z.im)
    return C(select(small, near, log_magnitude(moved)), angle(moved))


def log_by(base: float) -> Callable[[C], C]:
    return lambda z: log(z).scaled(num(z.re, 1.0 / math.log(base)))


def _sinh(x: PrimExpr) -> PrimExpr:
    e = s.expm1(tirx.abs(x))
    half = num(x, 0.5)
    return tirx.copysign(select(tirx.abs(x) > num(x, 20.0), half * tirx.exp(tirx.abs(x)), half * (e + e / (e + num(x, 1.0)))), x)


def _cosh(x: PrimExpr) -> PrimExpr:
    e = tirx.exp(tirx.abs(x))
    return num(x, 0.5) * (e + num(x, 1.0) / e)


def sinh(z: C) -> C:
    return C(_sinh(z.re) * tirx.cos(z.im), _cosh(z.re) * tirx.sin(z.im))


def cosh(z: C) -> C:
    return C(_cosh(z.re) * tirx.cos(z.im), _sinh(z.re) * tirx.sin(z.im))


def tanh(z: C) -> C:
    """Kahan's: of tan(im) and sinh(re), neither of which is ever as large as exp(2·re); far out ±1."""
    bound = num(z.re, 22.0 if str(z.re.ty) == "float64" else 11.0)
    x = tirx.max(tirx.min(z.re, bound), -bound)
    one = num(x, 1.0)
    sine, cosine = _sinh(x), tirx.cos(z.im)
    below = sine * sine + cosine * cosine
    inside = C(sine * tirx.sqrt(one + sine * sine) / below, tirx.sin(z.im) * cosine / below)
    far = tirx.exp(num(x, -2.0) * tirx.abs(z.re)) * num(x, 4.0)
    outside = C(tirx.copysign(one, z.re), far * tirx.sin(z.im) * cosine)
    return choose(tirx.abs(z.re) > bound, outside, inside)


def turned(fn: Callable[[C], C]) -> Callable[[C], C]:
    """−i·fn(i·z): sin of sinh, tan of tanh, asinh of asin, atan of atanh."""

    def out(z: C) -> C:
        value = fn(C(-z.im, z.re))
        return C(value.im, -value.re)

    return out


sin, tan = turned(sinh), turned(tanh)


def cos(z: C) -> C:
    return cosh(C(-z.im, z.re))


# ---- inverse functions -------------------------------------------------------------------------------------------------


def _asinh(x: PrimExpr) -> PrimExpr:
    a = tirx.abs(x)
    one = num(x, 1.0)
    large = tirx.log(a) + num(x, math.log(2.0))
    return tirx.copysign(select(a > num(x, 1e9), large, tirx.log1p(a + a * a / (one + tirx.sqrt(one + a * a)))), x)


def _edges(z: C) -> tuple[C, C]:
    """√(1 − z) and √(1 + z)."""
    one = num(z.re, 1.0)
    return sqrt(C(one - z.re, -z.im)), sqrt(C(one + z.re, z.im))


def asin(z: C) -> C:
    low, high = _edges(z)
    return C(tirx.atan2(z.re, (low * high).re), _asinh((low.conj() * high).im))


def acos(z: C) -> C:
    low, high = _edges(z)
    return C(num(z.re, 2.0) * tirx.atan2(low.re, high.re), _asinh((high.conj() * low).im))


def acosh(z: C) -> C:
    one = num(z.re, 1.0)
    low, high = sqrt(C(z.re - one, z.im)), sqrt(C(z.re + one, z.im))
    return C(_asinh((low.conj() * high).re), num(z.re, 2.0) * tirx.atan2(low.im, high.re))


def atanh(z: C) -> C:
    one, x, y = num(z.re, 1.0), z.re, z.im
    below = (one - x) * (one - x) + y * y
    return C(num(x, 0.25) * tirx.log1p(num(x, 4.0) * x / below), num(x, 0.5) * tirx.atan2(num(x, 2.0) * y, (one - x) * (one + x) - y * y))


asinh, atan = turned(asin), turned(atanh)


# ---- what activations are made of ---------------------------------------------------------------------------------------


def reciprocal(z: C) -> C:
    return z.number(1) / z


def rsqrt(z: C) -> C:
    return reciprocal(sqrt(z))


def sigmoid(z: C) -> C:
    return reciprocal(z.number(1) + exp(-z))


def power(z: C, w: C) -> C:
    """exp(w·log z); 0 to the power 0 is 1."""
    zero = num(z.re, 0.0)
    nothing, none = tirx.all(z.re == zero, z.im == zero), tirx.all(w.re == zero, w.im == zero)
    return choose(none, z.number(1), choose(nothing, z.number(0), exp(w * log(z))))


def integer_power(z: C, n: int) -> C:
    """zⁿ by repeated squaring."""
    out: C | None = None  # not 1: times 1 + 0·i an infinite part becomes NaN
    step, count = z, abs(n)
    while count:
        if count & 1:
            out = step if out is None else out * step
        step, count = step * step, count >> 1
    if out is None:
        return z.number(1)
    return reciprocal(out) if n < 0 else out
