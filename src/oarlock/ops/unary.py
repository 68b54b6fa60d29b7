"""Elementwise operators of one tensor: roots, logarithms, trigonometry, rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, tirx

from ..errors import UnsupportedError
from . import scalar as s
from .builder import Builder
from .registry import NotKnown, operator
from .scalar import elementwise, floating, num, select
from .tensor import PrimExpr, Tensor


def _float_unary(name: str, relax_name: str = "") -> None:
    """Register an operator that Relax has; integers become float32."""

    def function(b: Builder, x: Tensor) -> Tensor:
        return b.emit(getattr(relax.op, relax_name or name)(floating(x).expr))

    function.__name__, function.__doc__ = name, f"{name}(x), elementwise; integers become float32."
    operator(name)(function)


def _formula(name: str, formula: Callable[[PrimExpr], PrimExpr]) -> None:
    """Register an operator by a formula of one element; integers become float32."""

    def function(b: Builder, x: Tensor) -> Tensor:
        return elementwise(b, name, formula, floating(x))

    function.__name__, function.__doc__ = name, f"{name}(x), elementwise; integers become float32."
    operator(name)(function)


for _name in "acos acosh asin asinh atan atanh cos cosh erf exp log rsqrt sigmoid sin sinh sqrt tan tanh".split():
    _float_unary(_name)

_formula("expm1", s.expm1)
_formula("log1p", s.log1p)
_formula("log2", tirx.log2)
_formula("log10", tirx.log10)
_formula("reciprocal", lambda x: num(x, 1.0) / x)


def _whole(name: str, relax_name: str, fold: Callable[[np.ndarray], np.ndarray]) -> None:
    """Register a rounding operator: integers stay as they are."""

    def function(b: Builder, x: Tensor) -> Tensor:
        return b.emit(getattr(relax.op, relax_name)(x.expr)) if x.is_float else x

    def known(x: np.ndarray) -> np.ndarray:
        return x if x.dtype == object or x.dtype.kind in "iub" else fold(x)

    function.__name__, function.__doc__ = name, f"{name}(x), elementwise; integers stay as they are."
    operator(name, fold=known)(function)


_whole("floor", "floor", np.floor)
_whole("ceil", "ceil", np.ceil)
_whole("rint", "round", np.rint)


def _fold_trunc(input: np.ndarray) -> np.ndarray:
    return input if input.dtype == object or input.dtype.kind in "iub" else np.trunc(input)


@operator(fold=_fold_trunc)
def trunc(b: Builder, input: Tensor) -> Tensor:
    """x rounded towards 0."""
    return b.emit(relax.op.trunc(input.expr)) if input.is_float else input


def _fold_round(x: np.ndarray, decimals: int = 0) -> np.ndarray:
    if decimals:
        raise NotKnown
    return x if x.dtype == object or x.dtype.kind in "iub" else np.rint(x)


@operator("round", fold=_fold_round)
def round_(b: Builder, x: Tensor, decimals: int = 0) -> Tensor:
    """x rounded to ``decimals`` digits, halves to the even neighbour."""
    if not x.is_float:
        if decimals < 0:
            raise UnsupportedError("round of integers to tens or hundreds is not supported")
        return x
    if decimals == 0:
        return b.emit(relax.op.round(x.expr))
    power = 10.0 ** abs(decimals)

    def element(v: PrimExpr) -> PrimExpr:
        if decimals > 0:
            return tirx.nearbyint(v * num(v, power)) / num(v, power)
        return tirx.nearbyint(v / num(v, power)) * num(v, power)

    return elementwise(b, "round", element, x)


def _symbolic_abs(v: Any) -> Any:
    return tirx.abs(v) if isinstance(v, PrimExpr) else abs(v)


@operator("abs", fold=lambda x: np.frompyfunc(_symbolic_abs, 1, 1)(x) if x.dtype == object else np.abs(x))
def abs_(b: Builder, x: Tensor) -> Tensor:
    """|x|."""
    return x if x.dtype in ("bool", "uint8") else b.emit(relax.op.abs(x.expr))


@operator(fold=lambda x: x * x)
def square(b: Builder, x: Tensor) -> Tensor:
    """x²."""
    return x * x


@operator
def sign(b: Builder, x: Tensor) -> Tensor:
    """−1, 0 or 1; NaN stays."""
    if x.dtype in ("bool", "uint8"):
        return x.astype("bool").astype(x.dtype)

    def element(v: PrimExpr) -> PrimExpr:
        out = select(v > num(v, 0), num(v, 1), select(v < num(v, 0), num(v, -1), num(v, 0)))
        return select(tirx.isnan(v), v, out) if x.is_float else out

    return elementwise(b, "sign", element, x)


@operator
def logit(b: Builder, x: Tensor, eps: float = 1e-6) -> Tensor:
    """log(x / (1 − x)), x clipped to eps … 1 − eps; without eps NaN outside 0 … 1."""

    def element(v: PrimExpr) -> PrimExpr:
        one = num(v, 1.0)
        if eps > 0:
            v = s.clamp(v, num(v, eps), one - num(v, eps))
            return tirx.log(v / (one - v))
        return select(tirx.any(v < num(v, 0.0), v > one), num(v, float("nan")), tirx.log(v / (one - v)))

    return elementwise(b, "logit", element, floating(x))


@operator
def stanh(b: Builder, x: Tensor, scale_a: float = 0.67, scale_b: float = 1.7159) -> Tensor:
    """scale_b · tanh(scale_a · x)."""
    return elementwise(b, "stanh", lambda v: num(v, scale_b) * s.tanh(num(v, scale_a) * v), floating(x))


@operator
def angle(b: Builder, x: Tensor) -> Tensor:
    """The argument of a real number: 0 or π."""
    return elementwise(b, "angle", lambda v: select(v < num(v, 0.0), num(v, np.pi), num(v, 0.0)), floating(x))


@operator("conj", "real")
def real(b: Builder, x: Tensor) -> Tensor:
    """A real number is its own conjugate and real part."""
    return x


@operator
def imag(b: Builder, x: Tensor) -> Tensor:
    """The imaginary part of a real tensor: 0."""
    return b.full(x.shape, 0, x.dtype)


def _fold_increment(x: np.ndarray, value: float = 1.0) -> np.ndarray:
    if x.dtype.kind == "f":
        raise NotKnown
    return x + int(value)


@operator("increment", fold=_fold_increment)
def increment(b: Builder, x: Tensor, value: float = 1.0) -> Tensor:
    """x + value, for counters of one element."""
    return x + (value if x.is_float else int(value))
