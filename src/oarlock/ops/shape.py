"""Shapes, constants and moving data: full, shape64, reshape, transpose, slice, concat, split, stack, expand, tile …"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_max, dim_min
from .registry import Ints, NotKnown, Scalar, operator
from .tensor import Dim, PrimExpr, Tensor, as_dim

# ---- constants -------------------------------------------------------------------------------------------------------


@operator
def full(b: Builder, shape: Ints, value: Scalar, dtype: str = "float32") -> Tensor:
    """A tensor of one number."""
    return b.full(shape, value, dtype)


@operator
def full_int_array(b: Builder, value: list, dtype: str = "int64") -> Tensor:
    """A 1-D integer constant: shapes, axes."""
    return b.known(value, dtype)


@operator("shape64", "shape")
def shape64(b: Builder, input: Tensor) -> Tensor:
    """The shape as a 1-D int64 (shape64) or int32 (legacy shape) tensor of known contents."""
    return b.known(input.shape, "int64")


# ---- reshaping -------------------------------------------------------------------------------------------------------


def resolve_shape(b: Builder, x: Tensor, shape: list[Dim]) -> list[Dim]:
    """Paddle's reshape rule: 0 copies the input's dim, one −1 takes what is left."""
    out = [x.shape[i] if isinstance(d, int) and d == 0 and i < x.ndim and not _zero_size(x) else d for i, d in enumerate(shape)]
    free = [i for i, d in enumerate(out) if isinstance(d, int) and d == -1]
    if len(free) > 1:
        raise UnsupportedError(f"a shape with {len(free)} times −1: {shape}")
    if free:
        out[free[0]] = b.exact_div(x.shape, [d for i, d in enumerate(out) if i != free[0]])
    return out


def _zero_size(x: Tensor) -> bool:
    return any(isinstance(d, int) and d == 0 for d in x.shape)


def _fold_reshape(x: np.ndarray, shape: Any) -> np.ndarray:
    if any(isinstance(d, PrimExpr) for d in shape):
        raise NotKnown
    return x.reshape([x.shape[i] if d == 0 else d for i, d in enumerate(shape)])


@operator(fold=_fold_reshape)
def reshape(b: Builder, x: Tensor, shape: Ints) -> Tensor:
    """The same elements in another shape."""
    return b.reshape(x, resolve_shape(b, x, shape))


def _fold_slice(input: np.ndarray, axes: list[int], starts: list[Dim], ends: list[Dim], infer_flags: Any = None, decrease_axis: Any = ()) -> np.ndarray:
    index: list[Any] = [slice(None)] * input.ndim
    for axis, start, end in zip(axes, starts, ends, strict=True):
        if isinstance(start, PrimExpr) or isinstance(end, PrimExpr):
            raise NotKnown
        index[axis] = slice(start, end)
    out = input[tuple(index)]
    return out.reshape([d for i, d in enumerate(out.shape) if i not in set(decrease_axis or ())])


@operator("slice", fold=_fold_slice)
def slice_(b: Builder, input: Tensor, axes: list[int], starts: Ints, ends: Ints, infer_flags: list | None = None, decrease_axis: list | None = None) -> Tensor:
    """x[…, start:end, …] on some axes; the axes in decrease_axis are dropped."""
    out = input
    for axis, start, end in zip(axes, starts, ends, strict=True):
        axis += input.ndim if axis < 0 else 0
        size = out.shape[axis]
        begin, stop = clamp_index(b, start, size), clamp_index(b, end, size)
        out = b.slice(out, axis, begin, b.simplify(dim_max(begin, stop)))
    drop = {a + input.ndim if a < 0 else a for a in decrease_axis or ()}
    return out.reshape([d for i, d in enumerate(out.shape) if i not in drop]) if drop else out


def clamp_index(b: Builder, index: Dim, size: Dim) -> Dim:
    """Numpy's meaning of a slice bound: negative from the end, then clamped to 0 … size."""
    if isinstance(index, int) and isinstance(size, int):
        return min(max(index + size if index < 0 else index, 0), size)
    if isinstance(index, int):
        if index < 0:
            shifted = b.simplify(size + index)
            return shifted if b.prove(shifted >= 0) else b.simplify(dim_max(shifted, 0))
        if index == 0:
            return 0
        if index >= 2**31 - 1:
            return size
        return b.simplify(dim_min(index, size))
    if b.equal(index, size):
        return size
    return b.simplify(dim_min(dim_max(_from_end(index, size), 0), size))


def _from_end(index: PrimExpr, size: Dim) -> PrimExpr:
    return tirx.Select(index < 0, index + size, index)


@operator(fold=lambda x, axis: np.concatenate([np.asarray(v, dtype=object) if v.dtype == object else v for v in x], axis=int(axis)))
def concat(b: Builder, x: list[Tensor], axis: Scalar = 0) -> Tensor:
    """Join along one axis."""
    if not isinstance(axis, int):
        raise UnsupportedError("concat along an axis known only at run time")
    parts = [t for t in x if not (t.ndim == 1 and t.shape == [0] and any(o.ndim != 1 for o in x))]
    return b.concat(parts, axis)


@operator(fold=lambda x, axis=0: np.stack(x, axis=axis))
def stack(b: Builder, x: list[Tensor], axis: int = 0) -> Tensor:
    """Join along a new axis."""
    axis += x[0].ndim + 1 if axis < 0 else 0
    return b.concat([t.reshape([*t.shape[:axis], 1, *t.shape[axis:]]) for t in x], axis)


@operator
def transpose(b: Builder, x: Tensor, perm: list[int]) -> Tensor:
    """Permute the axes."""
    return x.transpose([p + x.ndim if p < 0 else p for p in perm])


@operator
def cast(b: Builder, x: Tensor, dtype: str) -> Tensor:
    """Convert the dtype."""
    return x.astype(dtype)


def normal_axes(axes: Any, rank: int) -> list[int]:
    """Axes counted from the front, in the order given."""
    return [a + rank if a < 0 else a for a in (as_dim(v) for v in axes)]  # type: ignore[operator]

