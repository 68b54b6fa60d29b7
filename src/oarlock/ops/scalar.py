"""Elements: TE functions of broadcast tensors, and mathematics that TVM lacks or does inaccurately.

The formulas take and give tirx expressions of float32 or float64 and are good to a few units in the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import tvm
from tvm import te, tirx

from .builder import Builder, cast_expr
from .tensor import PrimExpr, Tensor, as_dim

HALF = frozenset(["float16", "bfloat16"])


def elementwise(b: Builder, name: str, fn: Callable[..., PrimExpr], *xs: Tensor, wide: bool = True) -> Tensor:
    """fn(an element of each tensor…) → element, with numpy broadcasting; one kernel named ``name``.

    ``wide``: half floats reach fn as float32 and its float32 result is rounded back to the first tensor's dtype.
    """
    xs = tuple(b.broadcast(*xs))
    shape = b.broadcast_shape(*(x.shape for x in xs))
    half = xs[0].dtype if wide and xs[0].dtype in HALF else ""
    given = [x for x in xs if _number(x) is None]

    def element(*args: Any) -> PrimExpr:
        tensors, index = iter(args[: len(given)]), args[len(given) :]
        values = []
        for x in xs:
            number = _number(x)
            value = next(tensors)(*_own(x, index, shape)) if number is None else tirx.const(number, x.dtype)
            values.append(cast_expr(value, "float32") if wide and x.dtype in HALF else value)
        out = fn(*values)
        return cast_expr(out, half) if half and str(out.ty) == "float32" else out

    return b.compute(shape, element, *given, name=name)


def _number(x: Tensor) -> Any:
    """The value of a known 0-D tensor: it becomes part of the kernel."""
    if x.ndim or x.known is None or x.known.dtype == object:
        return None
    return x.known.item() if x.dtype != "bfloat16" else float(x.known)


def _own(x: Tensor, index: Sequence[Any], shape: Sequence[Any]) -> list[Any]:
    own = index[len(index) - x.ndim :]
    wanted = shape[len(shape) - x.ndim :]
    return [i if _is_one(w) or not _is_one(d) else 0 for d, i, w in zip(x.shape, own, wanted, strict=True)]


def _is_one(dim: Any) -> bool:
    return isinstance(dim, int) and dim == 1


def floating(x: Tensor) -> Tensor:
    """Integers and bools as float32, what Paddle's float-only kernels make of them."""
    return x if x.is_float else x.astype("float32")


def scalar_tensor(b: Builder, value: Any, dtype: str) -> Tensor:
    """A Scalar parameter as a 0-D tensor of the dtype."""
    tensor = b.as_tensor(value, dtype)
    return tensor.reshape([]).astype(dtype)


def is_number(value: Any) -> bool:
    """Whether a Scalar parameter is known while importing."""
    return isinstance(as_dim(value), int | float) and not isinstance(value, Tensor)


def num(like: PrimExpr, value: float) -> PrimExpr:
    """A constant of an expression's dtype."""
    return tirx.const(value, str(like.ty))


def polynomial(x: PrimExpr, coefficients: Sequence[float]) -> PrimExpr:
    """Horner's rule, the highest power first."""
    out = num(x, coefficients[0])
    for c in coefficients[1:]:
        out = out * x + num(x, c)
    return out


def select(condition: PrimExpr, x: PrimExpr, y: PrimExpr) -> PrimExpr:
    return tirx.Select(condition, x, y)


def tanh(x: PrimExpr) -> PrimExpr:
    """Taylor's series near 0, where TVM's own formula cancels, else 1 − 2 / (exp(2|x|) + 1)."""
    y = tirx.abs(x)
    near = x * polynomial(x * x, _TANH[-13:] if str(x.ty) == "float64" else _TANH[-7:])
    far = num(x, 1.0) - num(x, 2.0) / (tirx.exp(y + y) + num(x, 1.0))
    return select(y < num(x, 0.35), near, tirx.copysign(far, x))


def _tanh_series(count: int) -> list[float]:
    """Taylor coefficients of tanh(x) / x in x², the highest first, from tanh' = 1 − tanh²."""
    a = [Fraction(1)]
    for n in range(1, count):
        a.append(-sum((a[i] * a[n - 1 - i] for i in range(n)), Fraction(0)) / (2 * n + 1))
    return [float(c) for c in reversed(a)]


_TANH = _tanh_series(13)
_EXPM1 = [1 / math.factorial(k + 1) for k in range(13, -1, -1)]  # expm1(x) / x


def expm1(x: PrimExpr) -> PrimExpr:
    """exp(x) − 1, by Taylor's series near 0."""
    near = x * polynomial(x, _EXPM1 if str(x.ty) == "float64" else _EXPM1[-8:])
    return select(tirx.abs(x) < num(x, 0.5), near, tirx.exp(x) - num(x, 1.0))


def log1p(x: PrimExpr) -> PrimExpr:
    """log(1 + x)."""
    return tirx.log1p(x)


def atanh(x: PrimExpr) -> PrimExpr:
    """½·log1p(2x / (1 − x)), which keeps small x."""
    y = tirx.abs(x)
    return tirx.copysign(num(x, 0.5) * tirx.log1p(num(x, 2.0) * y / (num(x, 1.0) - y)), x)


def round_away(x: PrimExpr) -> PrimExpr:
    """To the nearest integer, ties away from zero as C's round (TVM's takes them to even); no sum that could round itself."""
    whole = tirx.trunc(x)
    return whole + select(tirx.abs(x - whole) >= num(x, 0.5), select(x < num(x, 0.0), num(x, -1.0), num(x, 1.0)), num(x, 0.0))


def sigmoid(x: PrimExpr) -> PrimExpr:
    """1 / (1 + exp(−x))."""
    return num(x, 1.0) / (num(x, 1.0) + tirx.exp(-x))


def softplus(x: PrimExpr) -> PrimExpr:
    """log(1 + exp(x)) without overflow."""
    return tirx.max(x, num(x, 0.0)) + tirx.log1p(tirx.exp(-tirx.abs(x)))


def maximum(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    """The larger one, NaN when either is."""
    return _extreme("llvm.maximum", tirx.max, x, y)


def minimum(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    """The smaller one, NaN when either is."""
    return _extreme("llvm.minimum", tirx.min, x, y)


def _extreme(intrinsic: str, plain: Callable[[PrimExpr, PrimExpr], PrimExpr], x: PrimExpr, y: PrimExpr) -> PrimExpr:
    """Each operand once where that is possible: fusing copies a producer to every use, which grows exponentially along a chain."""
    if "float" not in str(x.ty):
        return plain(x, y)
    target = tvm.target.Target.current(allow_none=True)
    if target is not None and target.kind.name == "llvm" and str(x.ty) in ("float32", "float64"):
        return tirx.call_llvm_pure_intrin(str(x.ty), intrinsic, x, y)
    return select(is_nan(x), x, plain(x, y))


def is_nan(x: PrimExpr) -> PrimExpr:
    """Whether x is no number; TVM's isnan does not know bfloat16."""
    return tirx.isnan(tirx.Cast("float32", x) if str(x.ty) == "bfloat16" else x)


def clamp(x: PrimExpr, low: PrimExpr, high: PrimExpr) -> PrimExpr:
    """x limited to low … high; NaN stays (LLVM's code for max(a, b) is a > b ? a : b), and x is used once."""
    return tirx.min(high, tirx.max(low, x))


def power(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    """pow(x, y); tirx.pow itself prints a warning for a constant y ≥ 3."""
    return tirx.call_intrin(str(x.ty), "tirx.pow", x, y)


def integer_power(x: PrimExpr, n: int) -> PrimExpr:
    """xⁿ, n ≥ 1, by repeated squaring."""
    out: PrimExpr | None = None
    while n:
        if n & 1:
            out = x if out is None else out * x
        x, n = x * x, n >> 1
    assert out is not None
    return out


def te_elementwise(fn: Callable[[PrimExpr], PrimExpr]) -> Callable[[te.Tensor], te.Tensor]:
    """A formula as a TE function of one tensor; half floats are computed in float32."""

    def apply(x: te.Tensor) -> te.Tensor:
        dtype = str(x.dtype)

        def element(*index: Any) -> PrimExpr:
            value = x(*index)
            return cast_expr(fn(cast_expr(value, "float32")), dtype) if dtype in HALF else fn(value)

        return te.compute(x.shape, element, name=getattr(fn, "__name__", "elementwise"))

    return apply
