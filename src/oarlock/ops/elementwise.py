"""Elementwise arithmetic of two tensors, and the shape arithmetic that it does on known contents."""

from __future__ import annotations

import operator as py
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, tirx

from . import scalar as s
from .builder import Builder, dim_max, dim_min, floordiv
from .dtypes import promote
from .registry import NotKnown, Scalar, operator
from .scalar import elementwise, is_number, num, scalar_tensor, select
from .tensor import PrimExpr, Tensor

# ---- folding ---------------------------------------------------------------------------------------------------------


Fold = Callable[[np.ndarray, np.ndarray], np.ndarray]


def fold_binary(numbers: Callable[[Any, Any], Any], symbols: Callable[[Any, Any], Any] | None = None) -> Fold:
    """Fold by ``numbers`` (a numpy function) on numbers, by ``symbols`` on symbolic elements; NotKnown without it."""

    def fold(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype == object or y.dtype == object:
            if symbols is None or x.dtype.kind == "f" or y.dtype.kind == "f":
                raise NotKnown
            return np.asarray(np.frompyfunc(symbols, 2, 1)(x, y), dtype=object)
        return np.asarray(numbers(x, y)).astype(np.result_type(x, y) if x.ndim or y.ndim or x.dtype != y.dtype else x.dtype)

    return fold


def _positive(divide: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Division of dims, by a positive number only: any other divisor could be 0 at run time."""

    def fold(x: Any, y: Any) -> Any:
        if isinstance(y, PrimExpr) or y <= 0:
            raise NotKnown
        return divide(x, int(y))

    return fold


def _floormod(x: Any, y: int) -> Any:
    return tirx.floormod(x, tirx.IntImm("int64", y)) if isinstance(x, PrimExpr) else x % y


def _no_zero(fn: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def fold(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if y.dtype.kind in "iu" and not np.all(y):
            raise NotKnown
        return fn(x, y)

    return fold


# ---- arithmetic ------------------------------------------------------------------------------------------------------


@operator(fold=fold_binary(np.add, py.add))
def add(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x + y; of bools: or."""
    return _or(b, x, y) if x.dtype == y.dtype == "bool" else x + y


@operator(fold=fold_binary(np.subtract, py.sub))
def subtract(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x − y."""
    return x - y


@operator(fold=fold_binary(np.multiply, py.mul))
def multiply(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x · y; of bools: and."""
    return elementwise(b, "multiply", tirx.all, x, y) if x.dtype == y.dtype == "bool" else x * y


def _or(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    return elementwise(b, "add", tirx.any, x, y)


def binary_formula(b: Builder, name: str, formula: Callable[[PrimExpr, PrimExpr], PrimExpr], x: Tensor, y: Tensor) -> Tensor:
    """A formula of two elements of the promoted dtype."""
    common = promote(x.dtype, y.dtype)
    return elementwise(b, name, formula, x.astype(common), y.astype(common))


def _nonzero(y: PrimExpr) -> PrimExpr:
    """Integer division by 0 or of the least number by −1 is a trap on CPUs; Paddle reports the first, so no result is right."""
    if isinstance(y, tirx.IntImm) and y.value not in (0, -1):
        return y
    traps = y == num(y, 0) if str(y.ty).startswith("u") else tirx.any(y == num(y, 0), y == num(y, -1))
    return select(traps, num(y, 1), y)


def _integer_division(divide: Callable[[PrimExpr, PrimExpr], PrimExpr]) -> Callable[[PrimExpr, PrimExpr], PrimExpr]:
    def formula(x: PrimExpr, y: PrimExpr) -> PrimExpr:
        quotient = divide(x, _nonzero(y))
        if str(y.ty).startswith("u") or (isinstance(y, tirx.IntImm) and y.value != -1):
            return quotient
        return select(y == num(y, -1), num(x, 0) - x, quotient)

    return formula


@operator(fold=_no_zero(fold_binary(np.divide, _positive(floordiv))))
def divide(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x / y; of integers: truncated towards 0; of bools (the divisor must hold): x."""
    if x.is_float or y.is_float:
        return x / y
    if x.dtype == y.dtype == "bool":
        return elementwise(b, "divide", tirx.all, x, y)
    return binary_formula(b, "divide", _integer_division(tirx.truncdiv), x, y)


@operator
def trunc_divide(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x / y truncated towards 0."""
    if x.is_float or y.is_float:
        return binary_formula(b, "trunc_divide", lambda u, v: tirx.trunc(u / v), x, y)
    return binary_formula(b, "trunc_divide", _integer_division(tirx.truncdiv), x, y)


def _python_floor_divide(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    """Python's x // y of floats: the quotient without the remainder, so that rounding cannot reach the next integer."""
    zero, rest = num(x, 0.0), tirx.truncmod(x, y)
    quotient = (x - rest) / y
    quotient = select(_signs_differ(rest, y), quotient - num(x, 1.0), quotient)
    whole = tirx.floor(quotient)
    whole = select(quotient - whole > num(x, 0.5), whole + num(x, 1.0), whole)
    return select(y == zero, x / y, select(quotient == zero, tirx.copysign(zero, x / y), whole))


def _signs_differ(rest: PrimExpr, y: PrimExpr) -> PrimExpr:
    zero = num(y, 0)
    return tirx.any(tirx.all(rest > zero, y < zero), tirx.all(rest < zero, y > zero))


@operator(fold=_no_zero(fold_binary(np.floor_divide, _positive(floordiv))))
def floor_divide(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x / y rounded down."""
    if x.is_float or y.is_float:
        return binary_formula(b, "floor_divide", _python_floor_divide, x, y)
    return binary_formula(b, "floor_divide", _integer_division(tirx.floordiv), x, y)


def _remainder(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    if "int" in str(x.ty):
        return tirx.floormod(x, _nonzero(y))
    rest = tirx.truncmod(x, y)
    return select(_signs_differ(rest, y), rest + y, rest)


@operator(fold=_no_zero(fold_binary(np.remainder, _positive(_floormod))))
def remainder(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x − y·⌊x / y⌋: the sign of y."""
    return binary_formula(b, "remainder", _remainder, x, y)


# ---- powers ----------------------------------------------------------------------------------------------------------


def _power(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    if "int" in str(x.ty):  # as Paddle: through float64, and no number for an inverse of 0
        power = tirx.Cast(str(x.ty), s.power(tirx.Cast("float64", x), tirx.Cast("float64", y)))
        return power if str(x.ty).startswith("u") else select(tirx.all(x == num(x, 0), y < num(y, 0)), num(x, 0), power)
    return s.power(x, y)


def constant_power(b: Builder, x: Tensor, exponent: float) -> Tensor:
    """x to a known power: multiplications and roots where they give the same number as pow."""
    if not x.is_float:
        exponent = int(exponent)
    if exponent == 1:
        return x
    if exponent == 2:
        return x * x
    if exponent == 0.5:
        return b.emit(relax.op.sqrt(x.expr))
    if exponent == -0.5:
        return b.emit(relax.op.rsqrt(x.expr))
    if exponent == -1 and x.is_float:
        return elementwise(b, "reciprocal", lambda v: num(v, 1.0) / v, x)
    if exponent == int(exponent) and 3 <= exponent <= 4:
        return elementwise(b, "power", lambda v: s.integer_power(v, int(exponent)), x)
    return elementwise(b, "power", lambda v: _power(v, num(v, exponent)), x)


@operator("pow")
def pow_(b: Builder, x: Tensor, y: float = 1.0) -> Tensor:
    """x to a known power; on integers the power is truncated first."""
    return constant_power(b, x, y)


def _fold_power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "iu" or y.dtype.kind not in "iu" or np.any(y < 0):
        raise NotKnown
    return np.asarray(np.power(x, y), dtype=np.result_type(x, y))


@operator(fold=_fold_power)
def elementwise_pow(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x to the power y."""
    common = promote(x.dtype, y.dtype)
    if y.known is not None and y.known.size == 1 and y.known.dtype != object and y.ndim <= x.ndim and x.dtype == common:
        return constant_power(b, x, float(y.known.reshape(-1)[0]))
    return binary_formula(b, "elementwise_pow", _power, x, y)


# ---- extremes and signs ----------------------------------------------------------------------------------------------


def _extreme(b: Builder, name: str, x: Tensor, y: Tensor) -> Tensor:
    if x.dtype == y.dtype == "bool":
        return elementwise(b, name, tirx.any if name == "maximum" else tirx.all, x, y)
    return b.binary(name, x, y)


@operator(fold=fold_binary(np.maximum, dim_max))
def maximum(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The larger one, NaN if either is."""
    return _extreme(b, "maximum", x, y)


@operator(fold=fold_binary(np.minimum, dim_min))
def minimum(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The smaller one, NaN if either is."""
    return _extreme(b, "minimum", x, y)


def _numeric(formula: Callable[[PrimExpr, PrimExpr], PrimExpr]) -> Callable[[PrimExpr, PrimExpr], PrimExpr]:
    """The other operand where one is NaN."""

    def element(x: PrimExpr, y: PrimExpr) -> PrimExpr:
        if "float" not in str(x.ty):
            return formula(x, y)
        return select(tirx.isnan(y), x, select(tirx.isnan(x), y, formula(x, y)))

    return element


@operator
def fmax(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The larger one; NaN only if both are."""
    return binary_formula(b, "fmax", _numeric(lambda u, v: select(u > v, u, v)), x, y)


@operator
def fmin(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The smaller one; NaN only if both are."""
    return binary_formula(b, "fmin", _numeric(lambda u, v: select(u < v, u, v)), x, y)


@operator
def heaviside(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """1 where x > 0, y where x = 0, else 0 (also for NaN)."""

    def formula(u: PrimExpr, v: PrimExpr) -> PrimExpr:
        return select(u == num(u, 0), v, select(u > num(u, 0), num(u, 1), num(u, 0)))

    return binary_formula(b, "heaviside", formula, x, y)


@operator
def copysign(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """|x| with the sign of y, in their own type."""
    common = promote(x.dtype, y.dtype)

    def whole(u: PrimExpr, v: PrimExpr) -> PrimExpr:
        if common in ("bool", "uint8"):
            return u
        zero = num(u, 0)
        return select(v < zero, select(u < zero, u, zero - u), select(u < zero, zero - u, u))

    return binary_formula(b, "copysign", tirx.copysign if "float" in common else whole, x, y)


@operator
def nextafter(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The next float after x in the direction of y."""
    return binary_formula(b, "nextafter", tirx.nextafter, x, y)


@operator
def atan2(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """The angle of the point (y, x); integers become float64."""
    common = promote(x.dtype, y.dtype)
    common = common if "float" in common else "float64"
    return elementwise(b, "atan2", tirx.atan2, x.astype(common), y.astype(common))


# ---- with scalars ----------------------------------------------------------------------------------------------------


def _scale_known(x: np.ndarray, scale: Any = 1.0, bias: float = 0.0, bias_after_scale: bool = True) -> np.ndarray:
    if x.dtype.kind == "f" or x.dtype == bool or isinstance(scale, PrimExpr):
        raise NotKnown
    scale, bias = int(scale), int(bias)
    return x * scale + bias if bias_after_scale else (x + bias) * scale


def _scale_bool(b: Builder, x: Tensor, scale: Any, bias: bool, bias_after_scale: bool) -> Tensor:
    factor = bool(scale) if is_number(scale) else scalar_tensor(b, scale, "bool")
    if bias and not bias_after_scale:
        x = b.full(x.shape, True, "bool")
    if factor is False:
        x = b.full(x.shape, False, "bool")
    elif factor is not True:
        x = elementwise(b, "scale", tirx.all, x, factor)
    return b.full(x.shape, True, "bool") if bias and bias_after_scale else x


@operator(fold=_scale_known)
def scale(b: Builder, x: Tensor, scale: Scalar = 1.0, bias: float = 0.0, bias_after_scale: bool = True) -> Tensor:
    """x · scale + bias, or (x + bias) · scale; on integers scale and bias are truncated first, on bools they are bools."""
    if x.dtype == "bool":
        return _scale_bool(b, x, scale, bool(bias), bias_after_scale)
    if is_number(scale):
        scale = int(scale) if x.is_int else scale
    else:
        scale = scalar_tensor(b, scale, x.dtype)
    bias = int(bias) if x.is_int else bias
    if not bias_after_scale:
        return (x + bias if bias else x) * scale
    x = x if is_number(scale) and scale == 1 else x * scale
    return x + bias if bias else x


@operator
def clip(b: Builder, x: Tensor, min: Scalar, max: Scalar) -> Tensor:
    """x limited to min … max (of x's dtype); NaN stays."""
    if is_number(min) and is_number(max) and x.dtype in ("float32", "float64"):
        return b.emit(relax.op.clip(x.expr, min, max))
    low, high = (scalar_tensor(b, _limit(v, x.dtype), x.dtype) for v in (min, max))
    return elementwise(b, "clip", s.clamp, x, low, high)


def _limit(value: Any, dtype: str) -> Any:
    """A limit as a number of an integer dtype, saturated: Paddle's default limits are the dtype's own, rounded to float32."""
    if "int" not in dtype or not is_number(value):
        return value
    info = np.iinfo(dtype)
    return info.max if value >= info.max else info.min if value <= info.min else int(value)


@operator
def lerp(b: Builder, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """x + weight · (y − x)."""
    return elementwise(b, "lerp", lambda u, v, w: u + w * (v - u), x, y, weight)


def _fold_add_n(inputs: list[np.ndarray]) -> np.ndarray:
    out = inputs[0]
    for x in inputs[1:]:
        out = out + x
    return out


@operator(fold=_fold_add_n)
def add_n(b: Builder, inputs: list[Tensor]) -> Tensor:
    """The sum of tensors of one shape."""
    out = inputs[0]
    for x in inputs[1:]:
        out = out + x
    return out
