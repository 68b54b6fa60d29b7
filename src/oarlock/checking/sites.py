"""Tensors of kernels beside what the model has for them: as arrays, and in what layout they are."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from ..rules.sites import Held, Site, sites
from ..runtime import dtypes
from ..runtime.arrays import aligned_empty

__all__ = ["Held", "Site", "in_layout", "read", "sites", "tensor_view", "write"]


def read(tensor: Any) -> np.ndarray | None:
    """The contents of a dense tensor: of the CPU as a view, of a device as a copy.  None where the element type is none of numpy's."""
    if str(tensor.device) == "cpu:0":
        return tensor_view(tensor)
    try:
        array = np.empty(tuple(int(d) for d in tensor.shape), dtypes.numpy_dtype(str(tensor.dtype)))
    except KeyError:
        return None
    if array.size:
        _copy(tensor, array, from_tensor=True)
    return array


def write(tensor: Any, array: np.ndarray) -> None:
    """Other contents of the same shape and type for a tensor that ``read`` can read."""
    view = tensor_view(tensor)
    if view is not None:
        view[...] = array
    elif array.size:
        _copy(tensor, np.ascontiguousarray(array), from_tensor=False)


def _copy(tensor: Any, array: np.ndarray, from_tensor: bool) -> None:
    import tvm_ffi

    here = aligned_empty(array.shape, array.dtype)
    here[...] = array
    held = tvm_ffi.from_dlpack(here)
    copy = tvm_ffi.get_global_func("runtime.TVMTensorCopyFromTo")
    if from_tensor:
        copy(tensor, held)
        array[...] = here
    else:
        copy(held, tensor)


def tensor_view(tensor: Any) -> np.ndarray | None:
    """A dense CPU tensor of the VM as an array on its memory, which may be written; None for any other."""
    try:
        dtype = dtypes.numpy_dtype(str(tensor.dtype))
    except KeyError:
        return None
    shape = tuple(int(d) for d in tensor.shape)
    if not tensor.is_contiguous() or str(tensor.device) != "cpu:0":
        return None
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    memory = memoryview((ctypes.c_char * size).from_address(tensor.data_ptr()))
    return np.frombuffer(memory, dtype).reshape(shape)


def in_layout(reference: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """``reference`` in the layout and type of ``like``, which should hold the same, perhaps with channels at another place.

    Where shapes do not tell the layout it is the one that ``like`` is nearest to: in what is finite, and in where that is.
    None where there are more or fewer elements.
    """
    if reference.size != like.size or reference.dtype.kind == "c" or (reference.dtype.kind == "b") != (like.dtype.kind == "b"):
        return None
    layouts = _layouts(reference)
    found = [a.reshape(like.shape) for a in [a for a in layouts if a.shape == like.shape] or layouts]
    if len(found) > 1:
        mine = like.astype("float64")
        found.sort(key=lambda a: _distance(a.astype("float64"), mine))
    return found[0].astype(like.dtype)


def _layouts(reference: np.ndarray) -> list[np.ndarray]:
    """As it is, with channels last, and with channels that are last first."""
    return [reference, *(reference.transpose(p) for p in ((0, 2, 3, 1), (0, 3, 1, 2)) if reference.ndim == 4)]


def _distance(a: np.ndarray, b: np.ndarray) -> tuple[int, float]:
    """How many elements are finite in one alone, and how far the others are from each other."""
    finite = np.isfinite(a) & np.isfinite(b)
    return int((np.isfinite(a) != np.isfinite(b)).sum()), float(np.abs(a[finite] - b[finite]).sum())
