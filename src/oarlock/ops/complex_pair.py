"""Complex: a complex tensor while a program is being imported — two real tensors, since TVM has no complex dtype.

A pair, not a trailing axis of 2: an operator that moves data runs on each part as it is, whatever its axes mean; kernels read
contiguous numbers; and a part that is 0 or is never used costs nothing.  Only where a complex tensor enters or leaves a program
is it one tensor with a trailing axis (numpy's own layout, so that a session needs no copy): see ``joined`` and ``parted``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import tirx

from ..errors import UnsupportedError
from .dtypes import is_complex, numpy_dtype, part_dtype, promote
from .tensor import Dim, PrimExpr, Tensor

if TYPE_CHECKING:
    from .builder import Builder


@dataclass(frozen=True, eq=False, slots=True)
class Complex:
    """re + i·im, two tensors of one shape and dtype (or two tensor arrays)."""

    re: Any
    im: Any

    @property
    def dtype(self) -> str:
        return "complex128" if self.re.dtype == "float64" else "complex64"

    @property
    def shape(self) -> list[Dim]:
        return self.re.shape

    @property
    def ndim(self) -> int:
        return self.re.ndim

    @property
    def size(self) -> Dim:
        return self.re.size

    def map(self, fn: Callable[[Tensor], Tensor]) -> Complex:
        """The same to both parts."""
        return Complex(fn(self.re), fn(self.im))

    def astype(self, dtype: str) -> Any:
        """Cast as Paddle does: to a real dtype the real part, to bool whether it is not 0."""
        if is_complex(dtype):
            return self.map(lambda t: t.astype(part_dtype(dtype)))
        return nonzero(self) if dtype == "bool" else self.re.astype(dtype)

    def reshape(self, shape: list[Dim]) -> Complex:
        return self.map(lambda t: t.reshape(shape))

    def transpose(self, axes: list[int]) -> Complex:
        return self.map(lambda t: t.transpose(axes))

    def conj(self) -> Complex:
        return Complex(self.re, -self.im)

    def __add__(self, other: Any) -> Complex:
        y = to_complex(self.re._b, other, self.dtype)
        return Complex(self.re + y.re, self.im + y.im)

    def __sub__(self, other: Any) -> Complex:
        y = to_complex(self.re._b, other, self.dtype)
        return Complex(self.re - y.re, self.im - y.im)

    def __mul__(self, other: Any) -> Complex:
        if isinstance(other, Complex):
            return product_of(lambda x, y: x * y, self, other)
        a, c = (other, 0.0) if isinstance(other, Tensor) else (complex(other).real, complex(other).imag)
        if not c:
            return self.map(lambda t: t * a)
        return Complex(self.re * a - self.im * c, self.im * a + self.re * c)

    def __neg__(self) -> Complex:
        return self.map(lambda t: -t)


def product_of(fn: Callable[[Tensor, Tensor], Tensor], x: Complex, y: Complex) -> Complex:
    """A product in any sense (bilinear with real coefficients) of complex tensors by four of real ones."""
    return Complex(fn(x.re, y.re) - fn(x.im, y.im), fn(x.im, y.re) + fn(x.re, y.im))


def each(x: Any, fn: Callable[[Tensor], Tensor]) -> Any:
    """``fn`` of a real tensor, or of both parts of a complex one."""
    return x.map(fn) if isinstance(x, Complex) else fn(x)


def nonzero(x: Complex) -> Tensor:
    """Whether a part is not 0, bool."""
    b = x.re._b
    return b.binary("logical_or", x.re.astype("bool"), x.im.astype("bool"))


def common_dtype(*values: Any) -> str:
    """The complex dtype of values of which one or more may be real."""
    out = ""
    for value in values:
        dtype = value.dtype
        out = promote(out, dtype) if out else dtype
    return out if is_complex(out) else "complex128" if out == "float64" else "complex64"


def to_complex(b: Builder, value: Any, dtype: str = "") -> Complex:
    """A real or complex tensor, or a number, as a pair (of ``dtype``; default: its own, or the one that holds its numbers)."""
    if isinstance(value, Complex):
        return value.astype(dtype) if dtype and value.dtype != dtype else value
    if not isinstance(value, Tensor):
        number, part = complex(value), part_dtype(dtype or "complex64")
        return Complex(b.const(number.real, part), b.const(number.imag, part))
    part = part_dtype(dtype or common_dtype(value))
    return Complex(value.astype(part), b.full(value.shape, 0, part))


def complex_const(b: Builder, array: np.ndarray, dtype: str) -> Complex:
    """A constant."""
    array, part = np.asarray(array).astype(numpy_dtype(dtype)), part_dtype(dtype)
    return Complex(b.const(np.ascontiguousarray(array.real), part), b.const(np.ascontiguousarray(array.imag), part))


def joined(b: Builder, x: Complex) -> Tensor:
    """[…] complex as […, 2] real, the way numpy and Paddle store it."""
    shape = [*x.shape, 2]
    return b.compute(shape, lambda re, im, *i: tirx.if_then_else(i[-1] == 0, re(*i[:-1]), im(*i[:-1])), x.re, x.im, name="join_complex")


def parted(b: Builder, x: Tensor) -> Complex:
    """[…, 2] real as […] complex."""

    def part(k: int) -> Tensor:
        def element(t: Any, *i: Any) -> PrimExpr:
            return t(*i, k)

        return b.compute(x.shape[:-1], element, x, name="part_complex")

    return Complex(part(0), part(1))


def need_float(x: Tensor) -> Tensor:
    """A part of a complex tensor: float32 or float64."""
    if x.dtype not in ("float32", "float64"):
        raise UnsupportedError(f"complex numbers of {x.dtype} parts", todo="cast the parts to float32 or float64")
    return x
