"""Making tensors: full, arange, linspace, eye, diag, tril, one_hot …, and operators that only hand a tensor on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import relax, tirx

from ..errors import UnsupportedError
from ..model.program import Op
from .builder import Builder, cast_expr, dim_max, floordiv
from .dtypes import is_float, numpy_dtype
from .registry import Ints, Scalar, operator
from .serial import i64
from .shape import axis_of
from .tensor import Dim, PrimExpr, Tensor

# ---- constants -------------------------------------------------------------------------------------------------------


@operator
def full(b: Builder, shape: Ints, value: Scalar, dtype: str = "float32", output: Tensor | None = None) -> Tensor:
    """A tensor of one number."""
    return b.full(shape, value, output.dtype if dtype == "undefined" and output is not None else dtype)


@operator
def full_int_array(b: Builder, value: list, dtype: str = "int64") -> Tensor:
    """A 1-D integer constant: shapes, axes."""
    return b.known(value, dtype)


@operator
def full_like(b: Builder, x: Tensor, value: Scalar, dtype: str = "undefined") -> Tensor:
    """A tensor of one number, shaped as x."""
    return b.full(x.shape, value, x.dtype if dtype == "undefined" else dtype)


@operator
def full_with_tensor(b: Builder, value: Tensor, shape: Ints, dtype: str = "float32") -> Tensor:
    """A tensor of one number that a tensor of one element holds."""
    known = value.known is not None and value.known.dtype != object
    return b.full(shape, value.known.reshape(-1)[0].item() if known else b.reshape(value, []), dtype)  # type: ignore[union-attr]


@operator("full_batch_size_like")
def full_batch_size_like(
    b: Builder, input: Tensor, shape: list, dtype: str, value: Scalar, input_dim_idx: int = 0, output_dim_idx: int = 0
) -> Tensor:
    """A tensor of one number with one dim taken from a tensor."""
    return b.full([input.shape[input_dim_idx] if i == output_dim_idx else d for i, d in enumerate(shape)], value, dtype)


@operator("ones", "zeros")
def ones_or_zeros(b: Builder, op: Op, shape: Ints, dtype: str = "float32") -> Tensor:
    """A tensor of 1 or of 0."""
    return b.full(shape, int(op.short_name == "ones"), dtype)


@operator("ones_like", "zeros_like")
def ones_or_zeros_like(b: Builder, op: Op, x: Tensor, dtype: str = "undefined") -> Tensor:
    """A tensor of 1 or of 0, shaped as x."""
    return b.full(x.shape, int(op.short_name == "ones_like"), x.dtype if dtype == "undefined" else dtype)


@operator
def empty(b: Builder, shape: Ints, dtype: str = "float32") -> Tensor:
    """A tensor whose contents nobody may rely on: zeros."""
    return b.full(shape, 0, dtype)


@operator
def empty_like(b: Builder, x: Tensor, dtype: str = "undefined") -> Tensor:
    """A tensor shaped as x whose contents nobody may rely on: zeros."""
    return b.full(x.shape, 0, x.dtype if dtype == "undefined" else dtype)


@operator
def fill(b: Builder, x: Tensor, value: Scalar = 0) -> Tensor:
    """x with every element replaced by one number."""
    return b.full(x.shape, value, x.dtype)


@operator
def assign_value(b: Builder, shape: list, dtype: str, values: list, output: Tensor | None = None) -> Tensor:
    """A constant."""
    array = np.asarray(values, dtype=None if values else "float64")
    return b.const(array.reshape(shape).astype(numpy_dtype(dtype)), dtype)


# ---- handing on ------------------------------------------------------------------------------------------------------


@operator("assign", "share_data", "npu_identity", "memcpy", "memcpy_d2h", "memcpy_h2d", "shadow_feed", "copy_to", "nop", "c_identity")
def assign(
    b: Builder,
    x: Tensor,
    dst_place_type: Any = 0,
    place: Any = None,
    blocking: bool = True,
    format: int = -1,
    ring_id: int = 0,
    use_calc_stream: bool = False,
    use_model_parallel: bool = False,
) -> Tensor:
    """The tensor itself; where it lies is the target's business."""
    return x


@operator("assign_out")
def assign_out(b: Builder, x: Tensor, output: Tensor | None = None) -> Tensor:
    """The tensor itself."""
    return x


@operator("shadow_feed_tensors")
def shadow_feed_tensors(b: Builder, x: list[Tensor], dst_place_type: Any = 0) -> list[Tensor]:
    """The tensors themselves."""
    return x


@operator("depend")
def depend(b: Builder, x: Tensor, dep: list[Tensor] | None = None) -> Tensor:
    """The tensor itself: execution order is data flow here."""
    return x


@operator("print")
def print_(
    b: Builder,
    in_: Tensor,
    first_n: int = -1,
    message: str = "",
    summarize: int = 20,
    print_tensor_name: bool = True,
    print_tensor_type: bool = True,
    print_tensor_shape: bool = True,
    print_tensor_layout: bool = True,
    print_tensor_lod: bool = True,
    print_phase: str = "BOTH",
    is_forward: bool = True,
) -> Tensor:
    """The tensor itself: a compiled model does not print."""
    return in_


# ---- ranges ----------------------------------------------------------------------------------------------------------


def _range_numbers(start: Any, end: Any, step: Any, dtype: str) -> np.ndarray:
    """Paddle's arange: the count is rounded up, float values are summed one step after the other."""
    kind = numpy_dtype(dtype)
    count = max(0, math.ceil((end - start) / step)) if is_float(dtype) else len(range(int(start), int(end), int(step)))
    if not is_float(dtype):
        return (int(start) + np.arange(count, dtype="int64") * int(step)).astype(kind)
    steps = np.full(count, step, dtype=kind)
    steps[:1] = start
    return np.add.accumulate(steps, dtype=kind) if count else steps


@operator("arange", "range_v2")
def arange(b: Builder, start: Scalar, end: Scalar, step: Scalar, dtype: str = "float64") -> Tensor:
    """start, start + step, … below end."""
    ends = (start, end, step)
    if all(isinstance(v, int | float) for v in ends):
        if step == 0:
            raise UnsupportedError("arange with a step of 0")
        return b.known(_range_numbers(start, end, step, dtype), dtype)
    count = _range_count(b, start, end, step)

    def element(*args: Any) -> PrimExpr:
        given, i = iter(args[:-1]), args[-1]
        first, _, width = [next(given)() if isinstance(v, Tensor) else v for v in ends]
        work = dtype if is_float(dtype) else "int64"
        return cast_expr(cast_expr(first, work) + cast_expr(i, work) * cast_expr(width, work), dtype)

    return b.compute([count], element, *[v for v in ends if isinstance(v, Tensor)], name="arange")


def _range_count(b: Builder, start: Any, end: Any, step: Any) -> Dim:
    ends = (start, end, step)
    if any(v.is_float if isinstance(v, Tensor) else isinstance(v, float) and v != int(v) for v in ends):
        first, last, each = (b.as_tensor(v, "float64").astype("float64") for v in ends)
        steps = (last - first) / each
        return b.dims(b.emit(relax.op.maximum(relax.op.ceil(steps.expr), relax.const(0.0, "float64"))).astype("int64"))[0]
    low, high, width = (b.dims(v)[0] if isinstance(v, Tensor) else v if isinstance(v, PrimExpr) else int(v) for v in ends)
    if isinstance(width, int):
        span = b.simplify(high - low if width > 0 else low - high)
        width = abs(width)
        exact = b.simplify(floordiv(span + (width - 1), width))
        return exact if b.prove(span >= 0) else b.simplify(dim_max(exact, 0))
    up, down = floordiv(high - low + (width - 1), width), floordiv(low - high + (-width - 1), -width)
    return b.simplify(dim_max(tirx.Select(width > 0, up, down), 0))


def _value(b: Builder, value: Any) -> Any:
    """A number, or a 0-D tensor, of a tensor operand that holds one element."""
    if isinstance(value, Tensor):
        if value.known is not None and value.known.dtype != object:
            return value.known.reshape(-1)[0].item()
        return b.reshape(value, [])
    return value


def _spaced(b: Builder, start: Any, stop: Any, number: Any, dtype: str, name: str, last: Any) -> Tensor:
    """start … stop in equal steps, from both ends to the middle as Paddle does it; ``last`` maps a float64 to the element."""
    start, stop = _value(b, start), _value(b, stop)
    count = b.dims(number)[0] if isinstance(number, Tensor) else b.simplify(number)
    ends = (start, stop)

    def element(*args: Any) -> PrimExpr:
        given, i = iter(args[:-1]), args[-1]
        low, high = [cast_expr(cast_expr(next(given)() if isinstance(v, Tensor) else tirx.const(v, dtype), dtype), "float64") for v in ends]
        gaps = dim_max(b.simplify(count - 1), 1)
        step = (high - low) / cast_expr(gaps, "float64")
        value = tirx.Select(i < floordiv(count, 2), low + step * cast_expr(i, "float64"), high - step * cast_expr(count - 1 - i, "float64"))
        one = count == 1
        value = low if one is True else value if one is False else tirx.Select(one, low, value)
        return cast_expr(last(value), dtype)

    return b.compute([count], element, *[v for v in ends if isinstance(v, Tensor)], name=name)


@operator
def linspace(b: Builder, start: Tensor, stop: Tensor, number: Scalar, dtype: str) -> Tensor:
    """``number`` values in equal steps, both ends included."""
    return _spaced(b, start, stop, number, dtype, "linspace", lambda v: v)


@operator
def logspace(b: Builder, start: Tensor, stop: Tensor, num: Scalar, base: Scalar, dtype: str) -> Tensor:
    """base to the power of ``num`` values in equal steps."""
    base = _value(b, base)
    if isinstance(base, Tensor):
        raise UnsupportedError("logspace with a base that is known only at run time is not supported")
    return _spaced(b, start, stop, num, dtype, "logspace", lambda v: tirx.pow(tirx.const(base, "float64"), v))


# ---- matrices --------------------------------------------------------------------------------------------------------


@operator
def eye(b: Builder, num_rows: Scalar, num_columns: Scalar, dtype: str = "float32") -> Tensor:
    """Ones on the diagonal."""
    rows, columns = b.dims([num_rows, num_columns])
    columns = rows if isinstance(columns, int) and columns == -1 else columns
    return b.compute([rows, columns], lambda i, j: tirx.Select(i == j, tirx.const(1, dtype), tirx.const(0, dtype)), name="eye")


@operator
def diag(b: Builder, x: Tensor, offset: int = 0, padding_value: float = 0.0) -> Tensor:
    """A vector as a diagonal of a square matrix, or the diagonal of a matrix."""
    right, down = max(offset, 0), max(-offset, 0)
    if x.ndim <= 1:
        x = b.reshape(x, [1]) if x.ndim == 0 else x
        size = b.simplify(x.shape[0] + abs(offset))

        def place(t: Any, i: Any, j: Any) -> PrimExpr:
            fill = tirx.const(padding_value, x.dtype)
            return tirx.if_then_else(tirx.all(i - down == j - right, i >= down, j >= right), t(i - down), fill)

        return b.compute([size, size], place, x, name="diag")
    return diagonal(b, x, offset, 0, 1)


def diagonal_length(b: Builder, rows: Dim, columns: Dim, offset: int) -> Dim:
    """The number of elements on a diagonal of a matrix."""
    rows, columns = b.simplify(rows - max(-offset, 0)), b.simplify(columns - max(offset, 0))
    shorter = min(rows, columns) if isinstance(rows, int) and isinstance(columns, int) else tirx.min(*_pair(rows, columns))
    return b.simplify(dim_max(b.simplify(shorter), 0))


def _pair(a: Dim, c: Dim) -> list[PrimExpr]:
    return [tirx.IntImm("int64", d) if isinstance(d, int) else d for d in (a, c)]


@operator
def diagonal(b: Builder, x: Tensor, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonals of the planes of two axes, as a new last axis."""
    first, second = axis_of(axis1, x.ndim), axis_of(axis2, x.ndim)
    right, down = max(offset, 0), max(-offset, 0)
    rest = [i for i in range(x.ndim) if i not in (first, second)]

    def element(t: Any, *index: Any) -> PrimExpr:
        at = dict(zip(rest, index[:-1], strict=True)) | {first: index[-1] + down, second: index[-1] + right}
        return t(*[at[i] for i in range(x.ndim)])

    length = diagonal_length(b, x.shape[first], x.shape[second], offset)
    return b.compute([*[x.shape[i] for i in rest], length], element, x, name="diagonal")


@operator
def diag_embed(b: Builder, input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last axis as diagonals of the planes of two new axes."""
    rank = input.ndim + 1
    first, second = axis_of(dim1, rank), axis_of(dim2, rank)
    right, down = max(offset, 0), max(-offset, 0)
    if first > second:
        first, second, right, down = second, first, down, right
    size = b.simplify(input.shape[-1] + abs(offset))
    rest = list(input.shape[:-1])
    shape = [size if i in (first, second) else rest.pop(0) for i in range(rank)]

    def element(t: Any, *index: Any) -> PrimExpr:
        i, j = index[first] - down, index[second] - right
        outer = [v for k, v in enumerate(index) if k not in (first, second)]
        return tirx.if_then_else(tirx.all(i == j, i >= 0, j >= 0), t(*outer, i), tirx.const(0, input.dtype))

    return b.compute(shape, element, input, name="diag_embed")


def _triangle(b: Builder, x: Tensor, keep: Any, name: str) -> Tensor:
    def element(t: Any, *index: Any) -> PrimExpr:
        return tirx.Select(keep(index[-1] - index[-2]), t(*index), tirx.const(0, x.dtype))

    return b.compute(x.shape, element, x, name=name)


@operator
def tril(b: Builder, x: Tensor, diagonal: int = 0) -> Tensor:
    """The lower triangle, zeros above."""
    return _triangle(b, x, lambda right: right <= diagonal, "tril")


@operator
def triu(b: Builder, x: Tensor, diagonal: int = 0) -> Tensor:
    """The upper triangle, zeros below."""
    return _triangle(b, x, lambda right: right >= diagonal, "triu")


@operator
def tril_indices(b: Builder, rows: int, cols: int, offset: int, dtype: str) -> Tensor:
    """The indices of the lower triangle, [2, n]."""
    return b.const(np.stack(np.tril_indices(rows, offset, cols)), dtype)


@operator
def triu_indices(b: Builder, row: int, col: int, offset: int, dtype: str) -> Tensor:
    """The indices of the upper triangle, [2, n]."""
    return b.const(np.stack(np.triu_indices(row, offset, col)), dtype)


@operator
def one_hot(b: Builder, x: Tensor, num_classes: Scalar) -> Tensor:
    """A new last axis of zeros with a one where x says."""
    (classes,) = b.dims([num_classes])

    def element(t: Any, *i: Any) -> PrimExpr:
        return tirx.Select(cast_expr(t(*i[:-1]), "int64") == i[-1], tirx.const(1, "float32"), tirx.const(0, "float32"))

    return b.compute([*x.shape, classes], element, x, name="one_hot")


@operator
def fill_diagonal(b: Builder, x: Tensor, value: float = 0, offset: int = 0, wrap: bool = False) -> Tensor:
    """x with a number on its diagonal (of all axes when there are more than two); ``wrap``: again below a tall matrix.

    As Paddle does it: every step-th element of the flat tensor, moved by the offset where it stays in its row; without wrap
    only the first width² elements count, which is little of more than two axes (Paddle's own API wraps those).
    """
    if x.ndim < 2:
        raise UnsupportedError(f"fill_diagonal of {x.ndim} axes")
    fresh = tirx.const(bool(value) if x.dtype == "bool" else value, x.dtype)
    width = i64(x.shape[1])
    strides = [i64(b.simplify(math.prod(x.shape[k + 1 :]))) for k in range(x.ndim)]
    step = sum(strides[1:], strides[0])

    def element(t: Any, *index: Any) -> PrimExpr:
        place = sum((i * s for i, s in zip(index, strides, strict=True)), i64(-offset))
        column = tirx.floormod(place, width) + offset
        hit = tirx.all(place >= 0, tirx.floormod(place, step) == 0, column >= 0, column < width)
        return tirx.Select(hit if wrap else tirx.all(hit, place < width * width), fresh, t(*index))

    return b.compute(x.shape, element, x, name="fill_diagonal")


@operator
def fill_diagonal_tensor(b: Builder, x: Tensor, y: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """x with y (its last axis along the diagonal) on the diagonals of the planes of two axes."""
    first, second = axis_of(dim1, x.ndim), axis_of(dim2, x.ndim)
    right, down = max(offset, 0), max(-offset, 0)
    y = b.reshape(y, [*[x.shape[i] for i in range(x.ndim) if i not in (first, second)], y.shape[-1]])

    def element(t: Any, values: Any, *index: Any) -> PrimExpr:
        i, j = index[first] - down, index[second] - right
        outer = [v for k, v in enumerate(index) if k not in (first, second)]
        return tirx.if_then_else(tirx.all(i == j, i >= 0, j >= 0), values(*outer, i), t(*index))

    return b.compute(x.shape, element, x, y, name="fill_diagonal_tensor")


@operator
def sequence_mask(b: Builder, x: Tensor, max_len: Scalar = -1, out_dtype: str = "int64") -> Tensor:
    """[…, max_len]: whether the position is below x (the longest when max_len is negative)."""
    if isinstance(max_len, int) and max_len < 0:
        longest = b.emit(relax.op.max(b.reshape(x, [x.size]).expr))
        (length,) = b.dims(longest.astype("int64"))
    else:
        (length,) = b.dims([max_len])

    def element(t: Any, *i: Any) -> PrimExpr:
        return cast_expr(tirx.Cast("int32", i[-1] < cast_expr(t(*i[:-1]), "int64")), out_dtype)

    return b.compute([*x.shape, length], element, x, name="sequence_mask")
