"""Tensors of the VM as arrays: of the CPU where they lie, of any device as copies."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from . import dtypes
from .arrays import aligned_empty


def view(tensor: Any) -> np.ndarray | None:
    """A dense CPU tensor of the VM as an array on its memory, which may be written; None for any other."""
    try:
        dtype = dtypes.numpy_dtype(str(tensor.dtype))
    except KeyError:
        return None
    shape = _shape(tensor)
    if not tensor.is_contiguous() or str(tensor.device) != "cpu:0":
        return None
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    memory = memoryview((ctypes.c_char * size).from_address(tensor.data_ptr()))
    return np.frombuffer(memory, dtype).reshape(shape)


def copied(tensor: Any) -> np.ndarray:
    """The contents of a dense tensor of any device.  KeyError where the element type is none of numpy's."""
    import tvm_ffi

    shape, dtype = _shape(tensor), dtypes.numpy_dtype(str(tensor.dtype))
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    here = tvm_ffi.get_global_func("runtime.TVMTensorAllocWithScope")(tvm_ffi.Shape(shape), tensor.dtype, tvm_ffi.device("cpu:0"), None)
    tvm_ffi.get_global_func("runtime.TVMTensorCopyFromTo")(tensor, here)
    tvm_ffi.get_global_func("runtime.Device_StreamSync")(tensor.device, 0)
    return np.frombuffer(bytearray(ctypes.string_at(here.data_ptr(), size)), dtype).reshape(shape)


def read(tensor: Any) -> np.ndarray | None:
    """The contents of a dense tensor: of the CPU as a view, of a device as a copy.  None where the element type is none of numpy's."""
    if str(tensor.device) == "cpu:0":
        return view(tensor)
    try:
        return copied(tensor)
    except KeyError:
        return None


def write(tensor: Any, array: np.ndarray) -> None:
    """Other contents of the same shape and type for a tensor that ``read`` can read."""
    import tvm_ffi

    there = view(tensor)
    if there is not None:
        there[...] = array
    elif array.size:
        here = aligned_empty(array.shape, array.dtype)
        here[...] = array
        tvm_ffi.get_global_func("runtime.TVMTensorCopyFromTo")(tvm_ffi.from_dlpack(here), tensor)


def fill(tensor: Any, byte: int) -> None:
    """Set every byte of a dense tensor of any device."""
    array = copied(tensor)
    array.reshape(-1).view(np.uint8)[...] = byte
    write(tensor, array)


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(d) for d in tensor.shape)
