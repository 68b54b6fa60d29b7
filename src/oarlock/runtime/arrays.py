"""Memory that kernels can use where it lies."""

from __future__ import annotations

import math

import numpy as np

ALIGNMENT = 64  # bytes: kernels assume it, as vector stores do


def aligned_empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An uninitialised array that kernels can use where it lies."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)
