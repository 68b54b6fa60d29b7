"""Names of element types ↔ numpy's: numpy's own names, plus bfloat16 and the float8 family from ml_dtypes."""

from __future__ import annotations

from functools import cache

import numpy as np

COMPLEX = {"complex64": "float32", "complex128": "float64"}  # programs have them as real tensors with a trailing axis of 2
PLAIN = frozenset(
    "complex64 complex128 bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split(),
)
EXTENDED = frozenset("bfloat16 float8_e4m3fn float8_e5m2".split())


@cache
def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of an element type's name; KeyError when Oarlock has no such element type."""
    if name in PLAIN:
        return np.dtype(name)
    if name in EXTENDED:
        # Imported when needed: a deployment whose models have no such tensors does without the package (24 MB).
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    raise KeyError(name)


def parts(array: np.ndarray) -> np.ndarray:
    """A contiguous complex array as the real one, […, 2], that lies in its memory."""
    return array.reshape(*array.shape, 1).view(COMPLEX[array.dtype.name])


def whole(array: np.ndarray, name: str) -> np.ndarray:
    """What ``parts`` undoes: a contiguous […, 2] as an array of a complex type."""
    return array.view(name).reshape(array.shape[:-1])


def carrier(dtype: np.dtype) -> np.dtype | None:
    """The unsigned type that carries ``dtype``'s bits where numpy's DLPack does not know it; None when it does."""
    return np.dtype(f"u{dtype.itemsize}") if dtype.name in EXTENDED else None
