"""Names of dtypes between Paddle, numpy and TVM."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from ..errors import UnsupportedError

SUPPORTED = frozenset(
    ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"],
)
_PARTS = {"complex64": "float32", "complex128": "float64"}


def numpy_dtype(dtype: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16) if dtype == "bfloat16" else np.dtype(dtype)


def check_dtype(dtype: str) -> str:
    """The dtype of a real tensor itself, or UnsupportedError (complex numbers are pairs, strings, fp8)."""
    if dtype not in SUPPORTED:
        raise UnsupportedError(f"tensors of {dtype} are not supported")
    return dtype


def is_float(dtype: str) -> bool:
    return "float" in dtype


def is_complex(dtype: object) -> bool:
    """Whether a dtype (or whatever stands for one in an attribute) is complex."""
    return dtype in _PARTS if isinstance(dtype, str) else False


def part_dtype(dtype: str) -> str:
    """The dtype of the parts of a complex dtype; a real dtype as it is."""
    return _PARTS.get(dtype, dtype)


def promote(a: str, b: str) -> str:
    """The common dtype of two operands, by Paddle's rule: complex wins over a float, a float over an int, else the wider one."""
    if a == b:
        return a
    if is_complex(a) or is_complex(b):
        wide = "complex128" in (a, b) or "float64" in (a, b)
        return "complex128" if wide else "complex64"
    if is_float(a) != is_float(b):
        return a if is_float(a) else b
    if {a, b} == {"float16", "bfloat16"}:
        return "float32"
    return str(np.promote_types(numpy_dtype(a), numpy_dtype(b)))
