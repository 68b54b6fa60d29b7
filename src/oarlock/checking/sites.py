"""Tensors of kernels beside what the model has for them: as arrays, and in what layout they are."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from ..rules.sites import Held, Site, sites
from ..runtime import dtypes

__all__ = ["Held", "Site", "in_layout", "sites", "tensor_view"]


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
    """``reference``, a result of an operation as the model has it, in the layout and type of ``like``, which should hold the same.

    Layouts are the model's own and channels last, in any shape of as many elements; the one that ``like`` is nearest to.
    None where there are more or fewer elements.
    """
    if reference.size != like.size or reference.dtype.kind == "c" or (reference.dtype.kind == "b") != (like.dtype.kind == "b"):
        return None
    found = [a.reshape(like.shape) for a in _layouts(reference)]
    if len(found) > 1:
        mine = like.astype("float64")
        with np.errstate(all="ignore"):
            found.sort(key=lambda a: float(np.nan_to_num(np.abs(a.astype("float64") - mine), nan=0.0, posinf=0.0).sum()))
    return found[0].astype(like.dtype)


def _layouts(reference: np.ndarray) -> list[np.ndarray]:
    return [reference, reference.transpose(0, 2, 3, 1)] if reference.ndim == 4 else [reference]
