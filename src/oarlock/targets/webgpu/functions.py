"""Functions of float32 that WGSL does not have, or has otherwise than C, as arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tvm import tirx

from ..cpu import elementary

_PRODUCTS = 8  # the greatest exponent that is a product
_SIGN, _SIZE = -(1 << 31), (1 << 31) - 1  # the bits of a float32
_INFINITY = 0x7F800000


def _f(value: float) -> Any:
    return tirx.const(value, "float32")


def power(base: Any, exponent: Any) -> Any:
    """base ** exponent as C has it: WGSL's pow takes no negative base, and is not exact where powers are products."""
    dtype = str(base.ty)
    number = float(exponent.value) if isinstance(exponent, tirx.FloatImm) else None
    one, zero = tirx.const(1.0, dtype), tirx.const(0.0, dtype)
    if number is not None and number == int(number) and abs(number) <= _PRODUCTS:
        product = one
        for _ in range(abs(int(number))):
            product = base if product is one else product * base
        return product if number >= 0 else one / product
    size = tirx.pow(tirx.abs(base), exponent)
    if number is not None and number != math.floor(number):
        return tirx.Select(base < zero, tirx.const(math.nan, dtype), size)
    half = exponent * tirx.const(0.5, dtype)
    whole, even = tirx.floor(exponent).equal(exponent), tirx.floor(half).equal(half)
    signed = tirx.Select(even, size, tirx.Select(whole, zero - size, tirx.const(math.nan, dtype)))
    return tirx.Select(exponent.equal(zero), one, tirx.Select(base < zero, signed, size))


def rounded(value: Any) -> Any:
    """To the nearest whole number, halves away from 0: WGSL's round takes halves to even numbers."""
    dtype = str(value.ty)
    whole = tirx.trunc(value)
    step = tirx.Select(value < tirx.const(0.0, dtype), tirx.const(-1.0, dtype), tirx.const(1.0, dtype))
    return tirx.Select(tirx.abs(value - whole) >= tirx.const(0.5, dtype), whole + step, whole)


def copied_sign(value: Any, sign: Any) -> Any:
    """The size of one number with the sign of another, that of a zero too."""

    def part(x: Any, mask: int) -> Any:
        return tirx.reinterpret("int32", x) & tirx.const(mask, "int32")

    return tirx.reinterpret("float32", part(value, _SIZE) | part(sign, _SIGN))


def _series(x: Any, terms: list[float]) -> Any:
    """terms[0]·x + terms[1]·x² + …"""
    value = _f(terms[-1])
    for c in terms[-2::-1]:
        value = value * x + _f(c)
    return value * x


def log1p(x: Any) -> Any:
    """ln(1 + x); WGSL's log is not exact near 1."""
    near = _series(x, [(-1.0) ** (n + 1) / n for n in range(1, 9)])
    return tirx.Select(tirx.abs(x) < _f(0.0625), near, elementary.log(x + _f(1.0)))


def expm1(x: Any) -> Any:
    """e^x − 1"""
    near = _series(x, [1 / math.factorial(n) for n in range(1, 10)])
    return tirx.Select(tirx.abs(x) < _f(0.35), near, elementary.exp(x) - _f(1.0))


def fmod(x: Any, y: Any) -> Any:
    """What remains of a division towards 0; a quotient may be rounded up to the next whole number, which is seen by the sign."""
    rest = x - y * tirx.trunc(x / y)
    zero = _f(0.0)
    over = tirx.Select(x < zero, rest > zero, rest < zero)
    return tirx.Select(over, rest + copied_sign(y, x), rest)


def _turned(x: Any, quarters: int) -> Any:
    """sin(x + quarters · π/2): x less whole quarters of a turn, in three parts of π/2, then a polynomial; exact to 1e-7 up to 1e4."""
    n = tirx.nearbyint(x * _f(2 / math.pi))
    r = x - n * _f(1.5703125) - n * _f(4.837512969970703e-4) - n * _f(7.549789948768648e-8)
    r2 = r * r
    sine = r + r * r2 * (_f(-1 / 6) + r2 * (_f(1 / 120) + r2 * (_f(-1 / 5040) + r2 * _f(1 / 362880))))
    cosine = _f(1.0) + r2 * (_f(-0.5) + r2 * (_f(1 / 24) + r2 * (_f(-1 / 720) + r2 * (_f(1 / 40320) + r2 * _f(-1 / 3628800)))))
    quarter = (tirx.Cast("int32", n) + tirx.const(quarters, "int32")) & tirx.const(3, "int32")
    value = tirx.Select((quarter & tirx.const(1, "int32")).equal(tirx.const(0, "int32")), sine, cosine)
    return tirx.Select(quarter >= tirx.const(2, "int32"), _f(0.0) - value, value)


def sin(x: Any) -> Any:
    """WGSL's own may be wrong by 5e-4."""
    return _turned(x, 0)


def cos(x: Any) -> Any:
    """See sin."""
    return _turned(x, 1)


def log(x: Any) -> Any:
    """WGSL does not say what its own gives below 0."""
    return tirx.Select(x < _f(0.0), _f(math.nan), tirx.log(x))


def _bits(x: Any) -> Any:
    return tirx.reinterpret("int32", x) & tirx.const(_SIZE, "int32")


def isnan(x: Any) -> Any:
    """By its bits: compilers of WGSL may take x = x for true."""
    return _bits(x) > tirx.const(_INFINITY, "int32")


def isinf(x: Any) -> Any:
    return tirx.EQ(_bits(x), tirx.const(_INFINITY, "int32"))


OWN: dict[str, Callable[..., Any]] = {
    "tirx.sin": sin,
    "tirx.cos": cos,
    "tirx.log": log,
    "tirx.isnan": isnan,
    "tirx.isinf": isinf,
    "tirx.pow": power,
    "tirx.round": rounded,
    "tirx.copysign": copied_sign,
    "tirx.log1p": log1p,
    "tirx.expm1": expm1,
    "tirx.fmod": fmod,
    "tirx.tanh": elementary.tanh,
    "tirx.erf": elementary.erf,
}
