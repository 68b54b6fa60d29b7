"""Host memory that a GPU reads and writes by itself (page-locked), as numpy arrays.

Copies from and to such memory run at the rate of the bus; others go through a buffer of the driver, and a new array's pages are made one
by one as they are first touched.  Page-locking takes longer than a copy, so memory is used again when its array is gone.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from typing import Any

import numpy as np

from . import dtypes, ffi
from .arrays import aligned_empty

_LEAST, _MOST = 1 << 12, 1 << 28  # bytes: for smaller ones it does not pay, greater ones would lock too much memory
_KEPT = 1 << 29  # bytes that wait to be used again


class Pinned:
    """A pool of page-locked memory."""

    def __init__(self) -> None:
        self._free: dict[int, list[ffi.Tensor]] = defaultdict(list)
        self._kept = 0
        self._lock = threading.RLock()  # collecting garbage may end an array while it is held

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised array; its memory is ordinary where it is small, very large, or the system locks no more."""
        size = math.prod(shape) * dtype.itemsize
        if not _LEAST <= size <= _MOST:
            return aligned_empty(shape, dtype)
        capacity = 1 << (size - 1).bit_length()
        with self._lock:
            tensor = self._free[capacity].pop() if self._free[capacity] else None
            self._kept -= capacity if tensor else 0
        if tensor is None:
            try:
                tensor = ffi.empty((capacity,), "uint8", ffi.Device(ffi.CUDA_HOST, 0))
            except ffi.ForeignError:
                return aligned_empty(shape, dtype)
        whole = np.asarray(_Block(self, tensor, capacity))
        carrier = dtypes.carrier(dtype)
        array = whole[:size].view(carrier or dtype).reshape(shape)
        return array if carrier is None else array.view(dtype)

    def give_back(self, tensor: ffi.Tensor, capacity: int) -> None:
        """The array over this memory is gone."""
        with self._lock:
            if self._kept + capacity <= _KEPT:
                self._kept += capacity
                self._free[capacity].append(tensor)


class _Block:
    """What arrays over page-locked memory keep alive."""

    def __init__(self, pool: Pinned, tensor: ffi.Tensor, capacity: int) -> None:
        self._pool, self._tensor, self._capacity = pool, tensor, capacity

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "shape": (self._capacity,), "typestr": "|u1", "data": (self._tensor.data, False)}

    def __del__(self) -> None:
        self._pool.give_back(self._tensor, self._capacity)


pool = Pinned()
