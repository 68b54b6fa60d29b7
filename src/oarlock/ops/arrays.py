"""Tensor arrays: create_array, array_write, array_read, array_length, array_to_tensor, slice_array …"""

from __future__ import annotations

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_max
from .registry import Ints, operator
from .serial import i64
from .shape import clamp_index
from .tensor import Tensor
from .tensor_array import TensorArray


@operator
def create_array(b: Builder, dtype: str = "float32") -> TensorArray:
    """An empty array."""
    return TensorArray([])


@operator
def create_array_like(b: Builder, input: Tensor, val: float = 0.0) -> TensorArray:
    """An array of the same shapes, filled with one number."""
    array = _need(input)
    if array.items is not None:
        return TensorArray([b.full(t.shape, val, t.dtype) for t in array.items])
    data = array.stacked(b)
    return TensorArray(stack=b.full(data.shape, val, data.dtype))


@operator
def assign_array(b: Builder, x: Tensor) -> TensorArray:
    """The array itself."""
    return _need(x)


@operator
def array_length(b: Builder, x: Tensor) -> Tensor:
    """The number of elements, int64 of shape [1]."""
    return b.known([_need(x).length], "int64")


@operator
def array_read(b: Builder, array: Tensor, i: Ints) -> Tensor:
    """Element i."""
    return _need(array).read(b, i[0])


@operator
def array_write(b: Builder, array: Tensor, x: Tensor, i: Ints) -> TensorArray:
    """The array with element i replaced, or appended."""
    return _need(array).write(b, i[0], x)


@operator
def array_pop(b: Builder, input: Tensor, index: int = -1) -> tuple[TensorArray, Tensor]:
    """The array without element ``index``, and that element."""
    array = _need(input)
    out = array.read(b, index)
    if array.items is not None:
        at = index % len(array.items)
        return TensorArray([*array.items[:at], *array.items[at + 1 :]]), out
    data = array.stacked(b)
    length = data.shape[0]
    at_dim = i64(index if index >= 0 else length + index)
    rest = b.compute(
        [b.simplify(length - 1), *data.shape[1:]], lambda t, k, *i: t(k + tirx.Cast("int64", k >= at_dim), *i), data, name="array_pop"
    )
    return TensorArray(stack=rest), out


@operator
def slice_array(b: Builder, input: Tensor, starts: Ints, ends: Ints) -> TensorArray:
    """Elements starts[0] … ends[0] − 1."""
    array = _need(input)
    if array.items is not None and isinstance(starts[0], int) and isinstance(ends[0], int):
        return TensorArray(array.items[starts[0] : ends[0]])
    data = array.stacked(b)
    begin, end = clamp_index(b, starts[0], data.shape[0]), clamp_index(b, ends[0], data.shape[0])
    return TensorArray(stack=b.slice(data, 0, begin, b.simplify(dim_max(begin, end))))


@operator
def slice_array_dense(b: Builder, input: Tensor, starts: Ints) -> Tensor:
    """Element starts[0]."""
    return _need(input).read(b, starts[0])


@operator
def add_n_array(b: Builder, inputs: list[Tensor]) -> TensorArray:
    """Arrays added element by element."""
    arrays = [_need(a) for a in inputs]
    if all(a.items is not None for a in arrays):
        columns = [[a.items[i] for a in arrays if i < len(a.items)] for i in range(max(len(a.items) for a in arrays))]  # type: ignore[index,arg-type]
        return TensorArray([sum(column[1:], column[0]) for column in columns])
    first, *rest = [a.stacked(b) for a in arrays]
    return TensorArray(stack=sum(rest, first))


@operator
def array_to_tensor(b: Builder, x: Tensor, axis: int = 0, use_stack: bool = False) -> tuple[Tensor, Tensor]:
    """The elements stacked on a new axis or concatenated along one, and the size of each along it (int32)."""
    array = _need(x)
    if array.items is not None:
        if not array.items:
            raise UnsupportedError("array_to_tensor of an empty tensor array")
        axis = _front(axis, array.items[0].ndim + (1 if use_stack else 0))
        sizes = [t.shape[axis] if axis < t.ndim else 1 for t in array.items]  # Paddle tells the elements' own sizes, also when it stacks
        parts = [t.reshape([*t.shape[:axis], 1, *t.shape[axis:]]) for t in array.items] if use_stack else array.items
        return b.concat(parts, axis), b.known(sizes, "int32")
    data = array.stacked(b)
    axis = _front(axis, data.ndim - (0 if use_stack else 1))
    moved = data.transpose([*range(1, axis + 1), 0, *range(axis + 1, data.ndim)])
    size = data.shape[axis + 1] if axis + 1 < data.ndim else 1
    each = b.compute([data.shape[0]], lambda _: tirx.Cast("int32", i64(size)), name="sizes")
    if use_stack:
        return moved, each
    joined = moved.reshape([*moved.shape[:axis], b.simplify(moved.shape[axis] * size), *moved.shape[axis + 2 :]])
    return joined, each


def _front(axis: int, rank: int) -> int:
    return axis + rank if axis < 0 else axis


def _need(x: object) -> TensorArray:
    if not isinstance(x, TensorArray):
        raise UnsupportedError("a tensor where a tensor array is expected")
    return x
