"""Shapes and views: shape64, reshape, squeeze, transpose, slice, concat, split, stack …"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_max, dim_min, floordiv
from .dtypes import numpy_dtype
from .registry import Ints, NotKnown, Scalar, operator
from .serial import i64
from .tensor import Dim, PrimExpr, Tensor

# ---- what the shape is -----------------------------------------------------------------------------------------------


@operator
def shape64(b: Builder, input: Tensor) -> Tensor:
    """The shape as a 1-D int64 tensor of known contents."""
    return b.known(input.shape, "int64")


@operator
def shape(b: Builder, input: Tensor) -> Tensor:
    """The shape as a 1-D int32 tensor of known contents."""
    return b.known(input.shape, "int32")


@operator
def numel(b: Builder, x: Tensor) -> Tensor:
    """The number of elements, 0-D int64."""
    return b.known(x.size, "int64")


# ---- helpers ---------------------------------------------------------------------------------------------------------


def axis_of(axis: Any, rank: int) -> int:
    """An axis counted from the front; UnsupportedError when it is known only at run time or out of range."""
    if isinstance(axis, list) and len(axis) == 1:
        axis = axis[0]
    if not isinstance(axis, int):
        raise UnsupportedError("an axis that is known only at run time is not supported")
    if not -rank <= axis < max(rank, 1):
        raise UnsupportedError(f"axis {axis} does not exist in a tensor of rank {rank}")
    return axis + rank if axis < 0 else axis


def axes_of(axes: Any, rank: int) -> list[int]:
    """Axes counted from the front, in the order given."""
    return [axis_of(a, rank) for a in axes]


def no_symbols(*lists: Any) -> None:
    """For fold functions: decline when an argument is not a number."""
    if any(isinstance(d, PrimExpr | Tensor) for values in lists for d in (values if isinstance(values, list | tuple) else [values])):
        raise NotKnown


def _run_time_axis(axis: PrimExpr, rank: int) -> PrimExpr:
    return tirx.Select(axis < 0, axis + rank, axis)


def product(b: Builder, dims: list[Dim]) -> Dim:
    """The number of elements of a shape."""
    total: Dim = 1
    for d in dims:
        total = total * d
    return b.simplify(total)


# ---- reshaping -------------------------------------------------------------------------------------------------------


def resolve_shape(b: Builder, x: Tensor, shape: list[Dim]) -> list[Dim]:
    """Paddle's reshape rule: 0 copies the input's dim, one −1 takes what is left."""
    empty = any(isinstance(d, int) and d == 0 for d in x.shape)
    out = [x.shape[i] if isinstance(d, int) and d == 0 and i < x.ndim and not empty else d for i, d in enumerate(shape)]
    free = [i for i, d in enumerate(out) if isinstance(d, int) and d == -1]
    if len(free) > 1:
        raise UnsupportedError(f"a shape with {len(free)} times −1: {shape}")
    if free:
        out[free[0]] = b.exact_div(x.shape, [d for i, d in enumerate(out) if i != free[0]])
    return out


def _fold_reshape(x: np.ndarray, shape: Any) -> np.ndarray:
    no_symbols(shape)
    return x.reshape([x.shape[i] if d == 0 and x.size else d for i, d in enumerate(shape)])


@operator(fold=_fold_reshape)
def reshape(b: Builder, x: Tensor, shape: Ints) -> Tensor:
    """The same elements in another shape."""
    return b.reshape(x, resolve_shape(b, x, shape))


@operator
def view_shape(b: Builder, input: Tensor, dims: list | None = None) -> Tensor:
    """The same elements in another shape."""
    return b.reshape(input, resolve_shape(b, input, list(dims or [])))


@operator
def flatten(b: Builder, x: Tensor, start_axis: int = 1, stop_axis: int = 1) -> Tensor:
    """Axes start … stop become one."""
    if x.ndim == 0:
        return b.reshape(x, [1])
    first, last = axis_of(start_axis, x.ndim), axis_of(stop_axis, x.ndim)
    return b.reshape(x, [*x.shape[:first], product(b, x.shape[first : last + 1]), *x.shape[last + 1 :]])


def _fold_squeeze(x: np.ndarray, axis: Any = ()) -> np.ndarray:
    no_symbols(axis or [])
    drop = {a + x.ndim if a < 0 else a for a in axis or range(x.ndim)}
    return x.reshape([d for i, d in enumerate(x.shape) if not (i in drop and d == 1)])


@operator(fold=_fold_squeeze)
def squeeze(b: Builder, x: Tensor, axis: Ints | None = None) -> Tensor:
    """Drop the axes of size 1: those named, or all.  An unknown size that is named must be 1 at run time."""
    if not axis:
        drop = {i for i, d in enumerate(x.shape) if isinstance(d, int) and d == 1}
    else:
        drop = {a for a in axes_of(axis, x.ndim) if not (isinstance(x.shape[a], int) and x.shape[a] != 1)} if x.ndim else set()
        x = b.match(x, [1 if i in drop else d for i, d in enumerate(x.shape)])
    return b.reshape(x, [d for i, d in enumerate(x.shape) if i not in drop])


def _insert_ones(shape: list[Dim], axes: Any) -> list[Dim]:
    out = list(shape)
    for a in axes:
        if isinstance(a, PrimExpr):
            at, after, before = _run_time_axis(a, len(out) + 1), [*out, 1], [1, *out]
            out = [tirx.Select(at > k, i64(after[k]), tirx.Select(at == k, i64(1), i64(before[k]))) for k in range(len(after))]
        else:
            out.insert(a + len(out) + 1 if a < 0 else a, 1)
    return out


def _fold_unsqueeze(x: np.ndarray, axis: Any = ()) -> np.ndarray:
    no_symbols(axis or [])
    return x.reshape(_insert_ones(list(x.shape), axis or []))


@operator(fold=_fold_unsqueeze)
def unsqueeze(b: Builder, x: Tensor, axis: Ints | None = None) -> Tensor:
    """New axes of size 1, put in one after the other."""
    return b.reshape(x, _insert_ones(x.shape, axis or []))


@operator("transpose", "trans_layout")
def transpose(b: Builder, x: Tensor, perm: list[int]) -> Tensor:
    """Permute the axes."""
    return x.transpose(axes_of(perm, x.ndim))


@operator
def cast(b: Builder, x: Tensor, dtype: str) -> Tensor:
    """Convert the dtype."""
    return x.astype(dtype)


@operator
def view_dtype(b: Builder, input: Tensor, dtype: str) -> Tensor:
    """The same bytes as another dtype of the same width."""
    if numpy_dtype(dtype).itemsize != numpy_dtype(input.dtype).itemsize or "bool" in (dtype, input.dtype):
        raise UnsupportedError(f"viewing {input.dtype} as {dtype} is not supported: the widths differ")
    return b.compute(input.shape, lambda t, *i: tirx.reinterpret(dtype, t(*i)), input, name="view_dtype") if dtype != input.dtype else input


@operator
def as_strided(b: Builder, input: Tensor, dims: list | None = None, stride: list | None = None, offset: int = 0) -> Tensor:
    """Elements of the flat tensor at offset (in bytes) + Σ index · stride; a place outside of it is an error, or moved inside."""
    flat = b.reshape(input, [input.size])
    start = offset // numpy_dtype(input.dtype).itemsize
    steps, shape, last = list(stride or []), list(dims or []), b.simplify(input.size - 1)
    reach = [step * (size - 1) for step, size in zip(steps, shape, strict=True)]
    low, high = start + sum(r for r in reach if r < 0), start + sum(r for r in reach if r > 0)
    if 0 not in shape and (low < 0 or (isinstance(last, int) and high > last)):
        raise UnsupportedError(f"as_strided from element {low} to {high} of a tensor of {input.size}")

    def element(t: Any, *index: Any) -> PrimExpr:
        at: Any = i64(start)
        for i, step in zip(index, steps, strict=True):
            at = at + i * step
        return t(at if isinstance(last, int) else dim_min(at, last))

    return b.compute(shape, element, flat, name="as_strided")


# ---- slicing ---------------------------------------------------------------------------------------------------------


def clamp_index(b: Builder, index: Dim, size: Dim) -> Dim:
    """Numpy's meaning of a slice bound: negative from the end, then clamped to 0 … size."""
    if isinstance(index, int) and isinstance(size, int):
        return min(max(index + size if index < 0 else index, 0), size)
    if isinstance(index, int):
        if index < 0:
            return b.simplify(dim_max(size + index, 0)) if index > -(2**31) + 1 else 0
        if index >= 2**31 - 1:
            return size
        return b.simplify(dim_min(index, size)) if index else 0
    if b.equal(index, size):
        return size
    if b.prove(index >= 0):
        return b.simplify(dim_min(index, size))
    return b.simplify(dim_min(dim_max(tirx.Select(index < 0, index + size, index), 0), size))


def take_span(b: Builder, x: Tensor, axis: int, start: Dim, end: Dim, single: bool = False) -> Tensor:
    """x[…, start:end, …] with Python's meaning of the bounds; ``single``: one element, by the program's promise."""
    size = x.shape[axis]
    begin = clamp_index(b, start, size)
    if single:
        length: Dim = 1
    else:
        stop = clamp_index(b, end, size)
        length = b.simplify(dim_max(b.simplify(stop - begin), 0))
    exact = b.simplify_positive(length)
    if isinstance(exact, int) and exact == 0:
        return b.full([*x.shape[:axis], 0, *x.shape[axis + 1 :]], 0, x.dtype)
    if isinstance(exact, int) and not (isinstance(begin, int) and isinstance(size, int) and 0 <= begin <= size - exact):
        return _guarded_span(b, x, axis, begin, exact)
    return b.slice(x, axis, begin, b.simplify(begin + length))


def _guarded_span(b: Builder, x: Tensor, axis: int, begin: Dim, length: int) -> Tensor:
    """A span of a length that holds for sizes that are not 0; reads nothing outside in any case."""
    size = x.shape[axis]
    limit = b.simplify(dim_max(dim_min(begin, size - length), 0))

    def element(t: Any, *i: Any) -> PrimExpr:
        value = t(*i[:axis], i[axis] + limit, *i[axis + 1 :])
        return value if isinstance(size, int) else tirx.if_then_else(size > 0, value, tirx.const(0, x.dtype))

    return b.compute([*x.shape[:axis], length, *x.shape[axis + 1 :]], element, x, name="slice")


def _fold_slice(
    input: np.ndarray, axes: list[int], starts: list[Dim], ends: list[Dim], infer_flags: Any = None, decrease_axis: Any = ()
) -> np.ndarray:
    no_symbols(starts, ends)
    index: list[Any] = [slice(None)] * input.ndim
    for axis, start, end in zip(axes, starts, ends, strict=True):
        index[axis] = slice(start, None if start == -1 and end == 0 and axis in set(decrease_axis or ()) else end)
    out = input[tuple(index)]
    return out.reshape([d for i, d in enumerate(out.shape) if i not in set(decrease_axis or ())])


@operator("slice", fold=_fold_slice)
def slice_(
    b: Builder, input: Tensor, axes: list[int], starts: Ints, ends: Ints, infer_flags: list | None = None, decrease_axis: list | None = None
) -> Tensor:
    """x[…, start:end, …] on some axes; the axes in decrease_axis are dropped."""
    drop = set(axes_of(decrease_axis or (), input.ndim))
    out = input
    for axis, start, end in zip(axes_of(axes, input.ndim), starts, ends, strict=True):
        out = take_span(b, out, axis, start, end, single=axis in drop)
    return b.reshape(out, [d for i, d in enumerate(out.shape) if i not in drop]) if drop else out


@operator
def view_slice(b: Builder, input: Tensor, begin_idx: int, end_idx: int) -> Tensor:
    """x[begin:end] of the first axis."""
    return take_span(b, input, 0, begin_idx, end_idx)


def strided_range(b: Builder, start: Dim, end: Dim, step: int, size: Dim) -> tuple[Dim, Dim]:
    """(first index, count) of start:end:step over an axis, as Python means it; a negative step walks down to the front for
    an end below −size."""
    if step > 0:
        begin, stop = clamp_index(b, start, size), clamp_index(b, end, size)
        return begin, b.simplify(dim_max(floordiv(b.simplify(stop - begin + (step - 1)), step), 0))
    if isinstance(size, int) and isinstance(start, int) and isinstance(end, int):
        indices = range(*slice(start, end, step).indices(size))
        return (indices[0] if len(indices) else 0), len(indices)
    begin, stop = _clamp_down(b, start, size), _clamp_down(b, end, size)
    return begin, b.simplify(dim_max(floordiv(b.simplify(begin - stop + (-step - 1)), -step), 0))


def _clamp_down(b: Builder, index: Dim, size: Dim) -> Dim:
    """A bound of a slice with a negative step: −1 (before the front) … size − 1."""
    if isinstance(index, int):
        if index >= 0:
            return b.simplify(dim_min(index, size - 1))
        return -1 if index <= -(2**31) + 1 else b.simplify(dim_max(size + index, -1))
    return b.simplify(dim_min(dim_max(tirx.Select(index < 0, index + size, index), -1), size - 1))


def _fold_strided(x: np.ndarray, axes: list[int], starts: list[Dim], ends: list[Dim], strides: list[Dim]) -> np.ndarray:
    no_symbols(starts, ends, strides)
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, strides, strict=True):
        index[axis] = slice(start, end, step)
    return x[tuple(index)]


@operator(fold=_fold_strided)
def strided_slice(b: Builder, x: Tensor, axes: list[int], starts: Ints, ends: Ints, strides: Ints) -> Tensor:
    """x[…, start:end:stride, …] on some axes."""
    spans: dict[int, tuple[Dim, Dim, int]] = {}
    for axis, start, end, step in zip(axes_of(axes, x.ndim), starts, ends, strides, strict=True):
        if not isinstance(step, int) or step == 0:
            raise UnsupportedError(f"a stride of {step} is not supported", todo="strides must be known when the model is compiled")
        begin, count = strided_range(b, start, end, step, x.shape[axis])
        spans[axis] = (begin, count, step)
    shape = [spans[i][1] if i in spans else d for i, d in enumerate(x.shape)]

    def element(t: Any, *index: Any) -> PrimExpr:
        return t(*[i * spans[a][2] + spans[a][0] if a in spans else i for a, i in enumerate(index)])

    return b.compute(shape, element, x, name="strided_slice")


@operator
def crop(b: Builder, x: Tensor, shape: Ints | None = None, offsets: Ints | None = None) -> Tensor:
    """A box of a shape (−1: all that is left) at some offsets."""
    out = x
    for axis, (size, offset) in enumerate(zip(shape or [-1] * x.ndim, offsets or [0] * x.ndim, strict=True)):
        end = x.shape[axis] if isinstance(size, int) and size == -1 else b.simplify(offset + size)
        out = b.slice(out, axis, offset, end)
    return out


# ---- joining and splitting -------------------------------------------------------------------------------------------


def _fold_concat(x: list[np.ndarray], axis: Any = 0) -> np.ndarray:
    no_symbols(axis)
    return np.concatenate(x, axis=int(axis))


@operator(fold=_fold_concat)
def concat(b: Builder, x: list[Tensor], axis: Scalar = 0) -> Tensor:
    """Join along one axis."""
    rank = max(t.ndim for t in x)
    axis = axis_of(axis, rank)
    parts = [t for t in x if t.ndim == rank]  # Paddle skips empty tensors of rank 1 beside others
    full = [t for t in parts if not (isinstance(t.shape[axis], int) and t.shape[axis] == 0)]
    if (contents := _mixed_contents(b, parts)) is not None:
        return b.known(np.concatenate(contents, axis=axis), parts[0].dtype)
    return b.concat(full or parts[:1], axis)


def _mixed_contents(b: Builder, parts: list[Tensor]) -> list[np.ndarray] | None:
    """The contents of sizes that are joined to a shape with a known placeholder (0 or −1) among them.

    Sizes known only at run time become symbolic dims; otherwise the placeholder would be a run-time number too, and reshape
    could not tell what it asks for.  None for anything else.
    """
    if any(t.dtype not in ("int32", "int64") or t.size != 1 or t.ndim > 1 for t in parts) or len(parts) > 8:
        return None
    known = [t.known.reshape(-1)[0] for t in parts if t.known is not None]
    if len(known) == len(parts) or not any(isinstance(v, int | np.integer) and v in (0, -1) for v in known):
        return None
    out = []
    for t in parts:
        value = np.empty(t.static_shape("a size"), dtype=object)
        value.reshape(-1)[0] = b.dims(t)[0]
        out.append(value)
    return out


@operator(fold=lambda x, axis=0: np.stack(x, axis=axis))
def stack(b: Builder, x: list[Tensor], axis: int = 0) -> Tensor:
    """Join along a new axis."""
    axis = axis_of(axis, x[0].ndim + 1)
    if (contents := _mixed_contents(b, x)) is not None:
        return b.known(np.stack(contents, axis=axis), x[0].dtype)
    return b.concat([b.reshape(t, [*t.shape[:axis], 1, *t.shape[axis:]]) for t in x], axis)


def _pieces(b: Builder, x: Tensor, axis: int, sections: list[Dim]) -> list[Tensor]:
    out, begin = [], 0
    for section in sections:
        end = b.simplify(begin + section)
        out.append(b.slice(x, axis, begin, end))
        begin = end
    return out


def _pieces_of_any_axis(b: Builder, x: Tensor, axis: Any, sections: list[Dim]) -> list[Tensor]:
    """Parts along an axis that is known only at run time; the section 0 stands for an equal part."""
    (number,) = b.dims([axis])
    at = number if isinstance(number, int) else _run_time_axis(number, x.ndim)
    sizes = [i64(d) for d in x.shape]
    fixed = sum(s for s in sections if not (isinstance(s, int) and s == -1))
    begins: list[Any] = [i64(0)] * x.ndim
    out = []
    for section in sections:
        if isinstance(section, int) and section == 0:
            parts: list[Any] = [floordiv(d, len(sections)) for d in sizes]
        elif isinstance(section, int) and section == -1:
            parts = [d - fixed for d in sizes]
        else:
            parts = [i64(section)] * x.ndim
        shape = [tirx.Select(at == k, part, d) for k, (part, d) in enumerate(zip(parts, sizes, strict=True))]

        def element(t: Any, *i: Any, begins: list[Any] = begins) -> PrimExpr:
            return t(*[v + tirx.Select(at == k, begin, i64(0)) for k, (v, begin) in enumerate(zip(i, begins, strict=True))])

        out.append(b.compute(shape, element, x, name="split"))
        begins = [begin + part for begin, part in zip(begins, parts, strict=True)]
    return out


def _fold_split(x: np.ndarray, sections: Any, axis: Any) -> list[np.ndarray]:
    no_symbols(sections, axis)
    sizes = [x.shape[axis] - sum(s for s in sections if s != -1) if s == -1 else s for s in sections]
    return np.split(x, np.cumsum(sizes)[:-1].astype(int), axis=axis)


@operator(fold=_fold_split)
def split(b: Builder, x: Tensor, sections: Ints, axis: Scalar) -> list[Tensor]:
    """Parts of given sizes along an axis; one size may be −1."""
    if not isinstance(axis, int | list):
        return _pieces_of_any_axis(b, x, axis, sections)
    axis = axis_of(axis, x.ndim)
    rest: Dim = x.shape[axis]
    for s in sections:
        rest = rest if isinstance(s, int) and s == -1 else b.simplify(rest - s)
    return _pieces(b, x, axis, [rest if isinstance(s, int) and s == -1 else s for s in sections])


def _fold_split_num(x: np.ndarray, num: int, axis: Any) -> list[np.ndarray]:
    no_symbols(axis)
    return np.split(x, num, axis=axis)


@operator(fold=_fold_split_num)
def split_with_num(b: Builder, x: Tensor, num: int, axis: Scalar) -> list[Tensor]:
    """Equal parts along an axis."""
    if not isinstance(axis, int | list):
        return _pieces_of_any_axis(b, x, axis, [0] * num)
    axis = axis_of(axis, x.ndim)
    size = x.shape[axis]
    if isinstance(size, int) and size % num:
        raise UnsupportedError(f"an axis of {size} cannot be split into {num} equal parts")
    return _pieces(b, x, axis, [b.exact_div([size], [num])] * num)


def _fold_unbind(x: np.ndarray, axis: int) -> list[np.ndarray]:
    rest = np.delete(x.shape, axis).astype(int)
    return [x.take([i], axis=axis).reshape(rest) for i in range(x.shape[axis])]


def _unbind(b: Builder, x: Tensor, axis: int, num: int) -> list[Tensor]:
    axis = axis_of(axis, x.ndim)
    count = x.shape[axis]
    if not isinstance(count, int):
        if not num:
            raise UnsupportedError("taking an axis of unknown size apart is not supported", todo="pass shapes= with a fixed size for it")
        count = num
        x = b.match(x, [*x.shape[:axis], num, *x.shape[axis + 1 :]])
    rest = [*x.shape[:axis], *x.shape[axis + 1 :]]
    return [b.reshape(b.slice(x, axis, i, i + 1), rest) for i in range(count)]


@operator(fold=lambda input, axis=0: _fold_unbind(input, axis))
def unbind(b: Builder, input: Tensor, axis: int = 0) -> list[Tensor]:
    """Every element along an axis."""
    return _unbind(b, input, axis, 0)


@operator(fold=lambda x, axis=0, num=0: _fold_unbind(x, axis))
def unstack(b: Builder, x: Tensor, axis: int = 0, num: int = 0) -> list[Tensor]:
    """Every element along an axis."""
    return _unbind(b, x, axis, num)
