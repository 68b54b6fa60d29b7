"""Reading by index: gather, index_select, take_along_axis, embedding, masks, nonzero, repeat_interleave …

A wrong index never reads other memory: it is kept inside (Paddle raises an error there).  Negative ones count from the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, tirx

from ..errors import UnsupportedError
from .builder import Builder, floordiv
from .kernels import clamped, flat, positions
from .registry import NotKnown, Scalar, operator
from .serial import cell, i64, kernel, loop, when
from .shape import axis_of, no_symbols
from .tensor import Dim, PrimExpr, Tensor

# ---- gather ----------------------------------------------------------------------------------------------------------


def take(b: Builder, x: Tensor, index: Tensor, axis: int, name: str = "gather") -> Tensor:
    """x with one axis replaced by the axes of an index."""
    shape = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    width, size = index.ndim, x.shape[axis]

    def element(t: Any, at: Any, *i: Any) -> PrimExpr:
        return t(*i[:axis], clamped(at(*i[axis : axis + width]), size), *i[axis + width :])

    return b.compute(shape, element, x, index, name=name)


def _column(b: Builder, index: Tensor) -> Tensor:
    """An index of shape [n, 1] as [n]."""
    if index.ndim == 2:
        return b.reshape(b.match(index, [index.shape[0], 1]), [index.shape[0]])
    return index


def _fold_gather(x: np.ndarray, index: np.ndarray, axis: Any = 0) -> np.ndarray:
    if index.dtype == object or index.ndim > 1:
        raise NotKnown
    no_symbols(axis)
    return np.asarray(x.take(index.reshape(-1), axis=int(axis))).reshape([*x.shape[: int(axis)], *index.shape, *x.shape[int(axis) + 1 :]])


@operator(fold=_fold_gather)
def gather(b: Builder, x: Tensor, index: Tensor, axis: Scalar = 0) -> Tensor:
    """Slices of an axis by index; an index of rank 0 drops the axis."""
    if isinstance(axis, Tensor):
        raise UnsupportedError("gather along an axis that is known only at run time is not supported")
    return take(b, x, _column(b, index), axis_of(axis, x.ndim))


@operator(fold=_fold_gather)
def index_select(b: Builder, x: Tensor, index: Tensor, axis: int = 0) -> Tensor:
    """Slices of an axis by index."""
    return take(b, x, index, axis_of(axis, x.ndim), "index_select")


@operator
def index_select_strided(b: Builder, x: Tensor, index: int, axis: int = 0) -> Tensor:
    """One slice of an axis."""
    axis = axis_of(axis, x.ndim)
    begin = index if index >= 0 else b.simplify(x.shape[axis] + index)
    return b.reshape(b.slice(x, axis, begin, b.simplify(begin + 1)), [*x.shape[:axis], *x.shape[axis + 1 :]])


@operator
def gather_nd(b: Builder, x: Tensor, index: Tensor) -> Tensor:
    """x[index[…, 0], index[…, 1], …] for each row of the last axis of the index.

    The length of a row decides the rank of the result: where it is not known it must be x's rank, which run time checks.
    """
    width = index.shape[-1]
    if not isinstance(width, int):
        width = x.ndim
        index = b.match(index, [*index.shape[:-1], width])
    lead = index.ndim - 1

    def element(t: Any, at: Any, *i: Any) -> PrimExpr:
        return t(*[clamped(at(*i[:lead], k), x.shape[k]) for k in range(width)], *i[lead:])

    return b.compute([*index.shape[:-1], *x.shape[width:]], element, x, index, name="gather_nd")


@operator
def take_along_axis(b: Builder, arr: Tensor, indices: Tensor, axis: int) -> Tensor:
    """Elements along an axis, an index for each."""
    axis = axis_of(axis, arr.ndim)

    def element(t: Any, at: Any, *i: Any) -> PrimExpr:
        return t(*i[:axis], clamped(at(*i), arr.shape[axis]), *i[axis + 1 :])

    return b.compute(indices.shape, element, arr, indices, name="take_along_axis")


@operator
def index_sample(b: Builder, x: Tensor, index: Tensor) -> Tensor:
    """out[i, j] = x[i, index[i, j]]."""
    return b.compute(index.shape, lambda t, at, i, j: t(i, clamped(at(i, j), x.shape[1])), x, index, name="index_sample")


@operator
def multiplex(b: Builder, inputs: list[Tensor], index: Tensor) -> Tensor:
    """Row i of the tensor that index[i] names."""
    choice = b.reshape(index, [index.shape[0]])

    def element(at: Any, *args: Any) -> PrimExpr:
        tensors, i = args[: len(inputs)], args[len(inputs) :]
        value = tensors[-1](*i)
        for k in range(len(inputs) - 2, -1, -1):
            value = tirx.if_then_else(at(i[0]) == k, tensors[k](*i), value)
        return value

    return b.compute([index.shape[0], *inputs[0].shape[1:]], element, choice, *inputs, name="multiplex")


# ---- embedding -------------------------------------------------------------------------------------------------------


@operator("embedding", "embedding_with_scaled_gradient")
def embedding(b: Builder, x: Tensor, weight: Tensor, padding_idx: int = -1, sparse: bool = False) -> Tensor:
    """Rows of the weight; zeros where x is the padding index."""
    rows, width = weight.shape

    def element(at: Any, table: Any, *i: Any) -> PrimExpr:
        value = table(clamped(at(*i[:-1]), rows), i[-1])
        if padding_idx == -1:
            return value
        return tirx.Select(i64(at(*i[:-1])) == padding_idx, tirx.const(0, weight.dtype), value)

    return b.compute([*x.shape, width], element, x, weight, name="embedding")


@operator
def c_embedding(b: Builder, weight: Tensor, x: Tensor, start_index: int = 0, vocab_size: int = -1) -> Tensor:
    """Rows of one part of a weight that is spread over devices; zeros for the rows of other parts."""
    rows, width = weight.shape

    def element(at: Any, table: Any, *i: Any) -> PrimExpr:
        row = i64(at(*i[:-1])) - start_index
        return tirx.if_then_else(tirx.all(row >= 0, row < i64(rows)), table(row, i[-1]), tirx.const(0, weight.dtype))

    return b.compute([*x.shape, width], element, x, weight, name="c_embedding")


@operator
def shard_index(b: Builder, input: Tensor, index_num: int, nshards: int, shard_id: int, ignore_value: int = -1) -> Tensor:
    """The index inside one shard, or the ignored value when it belongs to another."""
    size = (index_num + nshards - 1) // nshards

    def element(t: Any, *i: Any) -> PrimExpr:
        v = t(*i)
        return tirx.Select(tirx.truncdiv(v, tirx.const(size, input.dtype)) == shard_id, tirx.truncmod(v, tirx.const(size, input.dtype)),
                           tirx.const(ignore_value, input.dtype))  # fmt: skip

    return b.compute(input.shape, element, input, name="shard_index")


# ---- masks -----------------------------------------------------------------------------------------------------------


@operator
def nonzero(b: Builder, condition: Tensor) -> Tensor:
    """The indices of what is not zero, int64 [count, rank]."""
    if condition.empty:
        return b.full([0, condition.ndim], 0, "int64")
    where = positions(b, flat(b, condition).astype("bool"))
    strides: list[Dim] = []
    step: Dim = 1
    for d in reversed(condition.shape):
        strides.insert(0, step)
        step = b.simplify(step * d)

    def element(at: Any, i: Any, k: Any) -> PrimExpr:
        value: Any = i64(0)
        for axis in range(condition.ndim):
            coordinate = floordiv(at(i), strides[axis])
            if axis:
                coordinate = tirx.floormod(coordinate, i64(condition.shape[axis]))
            value = coordinate if axis == 0 else tirx.Select(k == axis, coordinate, value)
        return value

    return b.compute([where.shape[0], condition.ndim], element, where, name="nonzero")


@operator
def masked_select(b: Builder, x: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask is true, flat."""
    shape = b.broadcast_shape(x.shape, mask.shape)
    where = positions(b, flat(b, b.broadcast_to(mask, shape)))
    return b.compute(where.shape, lambda t, at, i: t(at(i)), flat(b, b.broadcast_to(x, shape)), where, name="masked_select")


@operator
def masked_fill(b: Builder, x: Tensor, mask: Tensor, value: Tensor) -> Tensor:
    """``value`` where the mask is true, else x."""
    return b.where(mask, value.astype(x.dtype), x)


# ---- repeating -------------------------------------------------------------------------------------------------------


def _flat_axis(b: Builder, x: Tensor, axis: Any) -> tuple[Tensor, int]:
    return (flat(b, x), 0) if axis is None else (x, axis_of(axis, x.ndim))


@operator
def repeat_interleave(b: Builder, x: Tensor, repeats: int, axis: int, output_size: int = -1) -> Tensor:
    """Every slice of an axis several times."""
    x, axis = _flat_axis(b, x, axis)
    shape = [*x.shape[:axis], b.simplify(x.shape[axis] * repeats), *x.shape[axis + 1 :]]
    return b.compute(shape, lambda t, *i: t(*i[:axis], floordiv(i[axis], repeats), *i[axis + 1 :]), x, name="repeat_interleave")


@operator
def repeat_interleave_with_tensor_index(b: Builder, x: Tensor, repeats: Tensor, axis: int, output_size: int = -1) -> Tensor:
    """Slice i of an axis repeats[i] times."""
    x, axis = _flat_axis(b, x, axis)
    n = x.shape[axis]
    times = b.broadcast_to(flat(b, repeats).astype("int64"), [n])
    if output_size > 0:
        total: Dim = output_size
    else:
        (total,) = b.dims(b.emit(relax.op.sum(times.expr)))

    def body(count: Any, source: Any) -> None:
        at = cell("int64", 0)
        with loop(n) as i, loop(count[i]), when(at.v < i64(total)):
            source[at.v] = i64(i)
            at.v = at.v + 1

    (source,) = kernel(b, body, [times], [([total], "int64")], "repeat_index")
    return take(b, x, source, axis, "repeat_interleave")


# ---- windows and shifts ----------------------------------------------------------------------------------------------


@operator
def temporal_shift(b: Builder, x: Tensor, seg_num: int, shift_ratio: float = 0.25, data_format: str = "NCHW") -> Tensor:
    """The first channels from the frame before, the next ones from the frame after, the rest as it is; zeros outside."""
    channel = 1 if data_format == "NCHW" else 3
    channels = x.shape[channel]
    if not isinstance(channels, int):
        raise UnsupportedError("temporal_shift with an unknown number of channels is not supported")
    back, forth = int(channels * shift_ratio), int(channels * 2 * shift_ratio)

    def element(t: Any, *i: Any) -> PrimExpr:
        c = i[channel]
        shift = tirx.Select(c < back, i64(-1), tirx.Select(c < forth, i64(1), i64(0)))
        frame_number = tirx.floormod(i[0], i64(seg_num)) + shift
        valid = tirx.all(frame_number >= 0, frame_number < seg_num)
        return tirx.if_then_else(valid, t(i[0] + shift, *i[1:]), tirx.const(0, x.dtype))

    return b.compute(x.shape, element, x, name="temporal_shift")


@operator
def frame(b: Builder, x: Tensor, frame_length: int, hop_length: int, axis: int = -1) -> Tensor:
    """Overlapping windows: […, n] → […, frame_length, frames]; along axis 0: [n, …] → [frames, frame_length, …]."""
    size = x.shape[0 if axis == 0 else -1]
    frames = b.simplify(floordiv(b.simplify(size - frame_length), hop_length) + 1)
    if axis == 0:
        return b.compute([frames, frame_length, *x.shape[1:]], lambda t, f, k, *i: t(f * hop_length + k, *i), x, name="frame")
    return b.compute([*x.shape[:-1], frame_length, frames], lambda t, *i: t(*i[:-2], i[-1] * hop_length + i[-2]), x, name="frame")


@operator
def overlap_add(b: Builder, x: Tensor, hop_length: int, axis: int = -1) -> Tensor:
    """The inverse of frame: windows summed where they overlap."""
    front = axis == 0
    frames, length = (x.shape[0], x.shape[1]) if front else (x.shape[-1], x.shape[-2])
    if not isinstance(length, int):
        raise UnsupportedError("overlap_add with an unknown window length is not supported")
    size = b.simplify((frames - 1) * hop_length + length)

    def element(t: Any, *i: Any) -> PrimExpr:
        at, rest = (i[0], i[1:]) if front else (i[-1], i[:-1])
        total: Any = tirx.const(0, x.dtype)
        for back in range(-(-length // hop_length) - 1, -1, -1):
            number = floordiv(at, hop_length) - back
            offset = at - number * hop_length
            value = t(number, offset, *rest) if front else t(*rest, offset, number)
            total = total + tirx.if_then_else(tirx.all(number >= 0, number < i64(frames), offset < length), value, tirx.const(0, x.dtype))
        return total

    return b.compute([size, *x.shape[2:]] if front else [*x.shape[:-2], size], element, x, name="overlap_add")


@operator
def gather_tree(b: Builder, ids: Tensor, parents: Tensor) -> Tensor:
    """Full beams from the tokens and parents of each step, [steps, batch, beams]."""
    steps, batch, beams = ids.shape

    def body(token: Any, parent: Any, out: Any) -> None:
        with loop(batch) as n, loop(beams) as k:
            at = cell("int64", 0)
            at.v = i64(k)
            with loop(steps) as s:
                t = i64(steps) - 1 - s
                out[t, n, k] = token[t, n, at.v]
                at.v = clamped(parent[t, n, at.v], beams)

    return kernel(b, body, [ids, parents], [(ids.shape, ids.dtype)], "gather_tree")[0]
