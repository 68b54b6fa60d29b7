"""TensorArray: the value of a tensor array.

It is a list of tensors while its length is known; in a loop it becomes one tensor, the elements stacked on a first
axis (``stack``).  Elements of a stacked array have one shape: where that is not known at import time it is checked at run time.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_max
from .kernels import clamped
from .serial import i64, select
from .tensor import Dim, PrimExpr, Tensor


class TensorArray:
    """Either ``items``, a list, or ``stack``, a tensor [length, *shape of an element]."""

    __slots__ = ("items", "stack")

    def __init__(self, items: Sequence[Tensor] | None = None, stack: Tensor | None = None) -> None:
        self.items = None if items is None else list(items)
        self.stack = stack

    @property
    def length(self) -> Dim:
        return len(self.items) if self.items is not None else self.stack.shape[0]  # type: ignore[union-attr]

    def __repr__(self) -> str:
        return f"TensorArray({self.items if self.items is not None else self.stack})"

    def stacked(self, b: Builder) -> Tensor:
        """The elements stacked on a first axis; UnsupportedError when there is none, or their shapes differ."""
        if self.stack is not None:
            return self.stack
        assert self.items is not None
        if not self.items:
            raise UnsupportedError("the elements of an empty tensor array have no shape")
        first = self.items[0]
        for other in self.items[1:]:
            if other.ndim != first.ndim or any(
                isinstance(p, int) and isinstance(q, int) and p != q for p, q in zip(other.shape, first.shape, strict=True)
            ):
                raise UnsupportedError(
                    f"a tensor array whose elements have different shapes, {first.shape} and {other.shape}, is indexed at run time"
                )
        return b.concat([t.reshape([1, *t.shape]) for t in self.items], 0)

    def read(self, b: Builder, index: Dim) -> Tensor:
        """Element ``index``, counted from the end when negative; at run time a wrong one is kept inside."""
        if self.items is not None and isinstance(index, int):
            if not -len(self.items) <= index < len(self.items):
                raise UnsupportedError(f"element {index} of a tensor array of {len(self.items)}")
            return self.items[index]
        data = self.stacked(b)
        at = clamped(i64(index), self.length)
        return b.compute(data.shape[1:], lambda t, *i: t(at, *i), data, name="array_read")

    def write(self, b: Builder, index: Dim, x: Tensor) -> TensorArray:
        """The array with element ``index`` replaced, or appended."""
        if self.items is not None and isinstance(index, int):
            if not 0 <= index <= len(self.items):
                raise UnsupportedError(f"writing element {index} of a tensor array of {len(self.items)}")
            return TensorArray([*self.items[:index], x, *self.items[index + 1 :]])
        if self.items == []:
            return TensorArray([x]) if b.equal(index, 0) else TensorArray(stack=_first(b, index, x))
        return TensorArray(stack=_write(b, self.stacked(b), index, x))


def _first(b: Builder, index: Dim, x: Tensor) -> Tensor:
    """An array whose first element is written at an index known only at run time: zeros before it."""

    def element(new: te.Tensor, k: tirx.Var, *i: tirx.Var) -> PrimExpr:
        return select(k == i64(index), new(*i), tirx.const(0, x.dtype))

    return b.compute([b.simplify(index + 1), *x.shape], element, x, name="array_write")


def _write(b: Builder, data: Tensor, index: Dim, x: Tensor) -> Tensor:
    length, shape = data.shape[0], data.shape[1:]
    if x.dtype != data.dtype or x.ndim != len(shape):
        raise UnsupportedError(f"a tensor array of {data.dtype}{shape} gets an element of {x.dtype}{x.shape}")
    agreed = [own if b.equal(own, new) else _agree(b, length, own, new) for own, new in zip(shape, x.shape, strict=True)]
    x = b.match(x, agreed)  # the first element gives the shape; a later one of another shape fails here at run time
    new_length = b.simplify(length + 1) if b.equal(index, length) else b.simplify(dim_max(length, index + 1))

    def element(t: te.Tensor, new: te.Tensor, k: tirx.Var, *i: tirx.Var) -> PrimExpr:
        old = t(k, *i)
        if not b.prove(new_length <= length + 1):  # written past its end: zeros between
            old = select(k < i64(length), old, tirx.const(0, data.dtype))
        return select(k == i64(index), new(*i), old)

    return b.compute([new_length, *agreed], element, data, x, name="array_write")


def _agree(b: Builder, length: Dim, own: Dim, new: Dim) -> Dim:
    if isinstance(own, int) and isinstance(new, int):
        raise UnsupportedError(f"a tensor array in a loop gets elements of different sizes ({own} and {new})")
    return tirx.Select(i64(length) == 0, i64(new), i64(own))
