"""Tensor: a value while a program is being imported — a Relax expression, or contents that are known already.

Shape arithmetic is everywhere in Paddle models (shape64 → slice → stack → reshape).  A small tensor whose contents are
known at import time carries them in ``known``: a numpy array, of the tensor's own dtype when every element is a number,
of dtype object when some are symbolic (tirx expressions of the inputs' dims).  It becomes a Relax expression only when an
operator asks for ``expr``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from tvm import ir, relax, tirx

from ..errors import UnsupportedError
from .dtypes import numpy_dtype

if TYPE_CHECKING:
    from .builder import Builder

PrimExpr: TypeAlias = ir.Expr  # TVM's expressions of dims
Dim: TypeAlias = int | PrimExpr  # one size: a number, or an expression of symbolic dims

KNOWN_LIMIT = 4096  # elements; larger contents are left to constant folding


def as_dim(value: Any) -> Dim:
    """A Python int where the expression is a constant, else the expression."""
    if isinstance(value, tirx.IntImm):
        return int(value.value)
    if isinstance(value, np.integer | bool | np.bool_):
        return int(value)
    return value


class Tensor:
    """shape: list of Dim; dtype: str; known: contents as numpy, or None; expr: the Relax expression (made on demand)."""

    __slots__ = ("_b", "_expr", "_scope", "dtype", "known", "shape")

    def __init__(self, b: Builder, expr: relax.Expr | None = None, *, known: np.ndarray | None = None, dtype: str = "") -> None:
        self._b, self._expr, self.known = b, expr, known
        self._scope = b.scope
        if expr is not None:
            ty = expr.ty
            if ty.shape is None:
                raise AssertionError("Builder.emit gives every tensor a shape")
            self.shape: list[Dim] = [as_dim(d) for d in ty.shape.values]
            self.dtype = "float32" if ty.dtype is None else str(ty.dtype)
        else:
            assert known is not None
            self.shape = list(known.shape)
            self.dtype = dtype or str(known.dtype)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def expr(self) -> relax.Expr:
        if self._expr is not None:
            return self._expr
        assert self.known is not None
        if self.known.dtype != object:
            self._expr = relax.const(np.ascontiguousarray(self.known).reshape(self.known.shape), self.dtype)
            return self._expr
        expr = self._b.materialise(self.known, self.dtype)
        if self._scope is self._b.scope:  # a variable bound inside a branch must not leak out of it
            self._expr = expr
        return expr

    @property
    def variable(self) -> relax.Var | None:
        """The variable that holds it, if there is one already."""
        return self._expr if isinstance(self._expr, relax.Var) else None

    @property
    def size(self) -> Dim:
        """The number of elements."""
        total: Dim = 1
        for d in self.shape:
            total = total * d
        return self._b.simplify(total)

    @property
    def is_float(self) -> bool:
        return "float" in self.dtype

    @property
    def empty(self) -> bool:
        """Whether it is known to have no elements."""
        return any(isinstance(d, int) and d == 0 for d in self.shape)

    @property
    def is_int(self) -> bool:
        return "int" in self.dtype

    def static_shape(self, why: str) -> list[int]:
        """The shape as ints; UnsupportedError(why) when a dim is symbolic."""
        if not all(isinstance(d, int) for d in self.shape):
            raise UnsupportedError(f"{why} needs static dims, not {self.shape}", todo="pass shapes= with fixed sizes")
        return self.shape  # type: ignore[return-value]

    # arithmetic as Paddle means it: numpy broadcasting; a Python number takes the tensor's dtype
    def __add__(self, other: Any) -> Tensor:
        return self._b.binary("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._b.binary("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._b.binary("subtract", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._b.binary("subtract", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._b.binary("multiply", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._b.binary("multiply", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._b.binary("divide", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._b.binary("divide", other, self)

    def __neg__(self) -> Tensor:
        return self._b.emit(relax.op.negative(self.expr))

    def __lt__(self, other: Any) -> Tensor:
        return self._b.binary("less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return self._b.binary("less_equal", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return self._b.binary("greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return self._b.binary("greater_equal", self, other)

    def astype(self, dtype: str) -> Tensor:
        """Cast as Paddle does (to bool: != 0; float to int: truncation)."""
        return self._b.cast(self, dtype)

    def reshape(self, shape: list[Dim]) -> Tensor:
        return self._b.reshape(self, shape)

    def transpose(self, axes: list[int]) -> Tensor:
        if list(axes) == list(range(self.ndim)):
            return self
        return self._b.emit(relax.op.permute_dims(self.expr, list(axes)))

    def __repr__(self) -> str:
        body = f" = {self.known.tolist()}" if self.known is not None else ""
        return f"Tensor({self.dtype}{self.shape}{body})"


def known_array(values: Any, dtype: str) -> np.ndarray | None:
    """Values (numbers and expressions, nested) as a ``known`` array; None when too large to carry."""
    array = _object_array(values)
    if array.size > KNOWN_LIMIT:
        return None
    array = np.frompyfunc(as_dim, 1, 1)(array) if array.size else array
    array = np.asarray(array, dtype=object)
    if any(isinstance(v, PrimExpr) for v in array.flat):
        return array
    return array.astype(numpy_dtype(dtype))


def _object_array(values: Any) -> np.ndarray:
    """np.asarray(values, dtype=object) that never looks inside an expression."""
    if isinstance(values, PrimExpr):
        out = np.empty((), dtype=object)
        out[()] = values
        return out
    if isinstance(values, list | tuple):
        parts = [_object_array(v) for v in values]
        out = np.empty((len(parts), *(parts[0].shape if parts else ())), dtype=object)
        for i, part in enumerate(parts):
            out[i] = part if part.ndim else part[()]
        return out
    return np.asarray(values, dtype=object)
