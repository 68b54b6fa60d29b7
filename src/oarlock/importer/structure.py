"""Structured values of control flow: a tensor, a pair (a complex tensor), a list, a tensor array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..ops.complex_pair import Complex
from ..ops.tensor import Tensor
from ..ops.tensor_array import TensorArray


class Skip(Exception):
    """A value that is needed could not be computed; the cause is reported already."""


def leaves(value: Any) -> list[Tensor]:
    """The tensors that a value consists of, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list):
        return [leaf for v in value for leaf in leaves(v)]
    if isinstance(value, Complex):
        return [*leaves(value.re), *leaves(value.im)]
    if isinstance(value, TensorArray):
        return leaves(value.items) if value.items is not None else [value.stack]  # type: ignore[list-item]
    raise Skip


def shape_of(value: Any) -> Any:
    """How a value is put together, comparable with ==."""
    if isinstance(value, list):
        return [shape_of(v) for v in value]
    if isinstance(value, Complex):
        return ("complex", shape_of(value.re), shape_of(value.im))
    if isinstance(value, TensorArray):
        return "stack" if value.items is None else ("array", len(value.items))
    return "tensor"


def rebuild(shape: Any, tensors: Iterator[Tensor]) -> Any:
    """The value of this structure with other tensors as leaves."""
    if isinstance(shape, list):
        return [rebuild(s, tensors) for s in shape]
    if shape == "stack":
        return TensorArray(stack=next(tensors))
    if isinstance(shape, tuple) and shape[0] == "complex":
        re = rebuild(shape[1], tensors)
        return Complex(re, rebuild(shape[2], tensors))
    if isinstance(shape, tuple):
        return TensorArray([next(tensors) for _ in range(shape[1])])
    return next(tensors)
