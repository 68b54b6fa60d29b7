"""Names of element types ↔ numpy's: numpy's own names, plus bfloat16 and the float8 family from ml_dtypes."""

from __future__ import annotations

from functools import cache

import numpy as np

PLAIN = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64".split(),
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


def carrier(dtype: np.dtype) -> np.dtype | None:
    """The unsigned type that carries ``dtype``'s bits where numpy's DLPack does not know it; None when it does."""
    return np.dtype(f"u{dtype.itemsize}") if dtype.name in EXTENDED else None
