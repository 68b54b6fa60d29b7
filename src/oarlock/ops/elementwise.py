"""Elementwise operators of two tensors, and the shape arithmetic that they do on known contents."""

from __future__ import annotations

import operator as py
from typing import Any

import numpy as np
from tvm import relax, tirx

from .builder import Builder, dim_max, dim_min, floordiv
from .registry import NotKnown, Scalar, operator
from .tensor import PrimExpr, Tensor


def _fold(fn: Any) -> Any:
    """Fold with numpy on numbers, with fn on symbolic elements."""

    def fold(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype == object or y.dtype == object:
            return np.frompyfunc(fn, 2, 1)(x, y)
        return np.asarray(fn(x, y), dtype=np.result_type(x, y))

    return fold


@operator(fold=_fold(py.add))
def add(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x + y."""
    return x + y


@operator(fold=_fold(py.sub))
def subtract(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x − y."""
    return x - y


@operator(fold=_fold(py.mul))
def multiply(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """x · y."""
    return x * y


def _scale_known(x: np.ndarray, scale: Any = 1.0, bias: float = 0.0, bias_after_scale: bool = True) -> np.ndarray:
    if x.dtype != object or not all(isinstance(v, int | float) and v == int(v) for v in (scale, bias)):
        raise NotKnown
    return x * int(scale) + int(bias) if bias_after_scale else (x + int(bias)) * int(scale)


@operator(fold=_scale_known)
def scale(b: Builder, x: Tensor, scale: Scalar = 1.0, bias: float = 0.0, bias_after_scale: bool = True) -> Tensor:
    """x · scale + bias, or (x + bias) · scale; on integers scale and bias are truncated first."""
    if not isinstance(scale, Tensor):
        scale = int(scale) if x.is_int else scale
    bias = int(bias) if x.is_int else bias
    if not bias_after_scale:
        x = x + bias if bias else x
        return x * scale
    x = x if not isinstance(scale, Tensor | PrimExpr) and scale == 1 else x * scale
    return x + bias if bias else x


