"""Linear layers whose weights are integers of 8 or 4 bits in the order that tensor cores read them in.

Paddle stores such a weight ready for one generation of GPUs.  From Turing (arch 75) to Hopper (90) it is the same order: rows are exchanged
within groups, columns are interleaved in tiles of 64 rows, the integers are made unsigned, and exchanged within words of 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .linalg import product
from .registry import operator
from .serial import bind, kernel, loop
from .shape import product as product_of
from .tensor import PrimExpr, Tensor

_ORDERED = (75, 80, 86, 89, 90)  # GPU generations that share the order
_TILE = 64


def _place(row: Any, column: Any, rows: Any, bits: int) -> PrimExpr:
    """Where an element of the weight (rows, columns) is stored, counted in elements."""
    group, columns = (16, 2) if bits == 8 else (32, 4)
    r = tirx.floormod(row, group)
    # pairs of rows of each eight stand side by side
    moved = tirx.floordiv(tirx.floormod(r, 8), 2) * (group // 4) + tirx.floordiv(r, 8) * 2 + tirx.floormod(r, 2)
    at = tirx.floordiv(row, group) * group + moved
    tile = tirx.floordiv(at, _TILE) * (_TILE * columns) + tirx.floormod(column, columns) * _TILE + tirx.floormod(at, _TILE)
    place = tirx.floordiv(column, columns) * (rows * columns) + tile
    if bits == 8:  # 0 2 1 3
        low = tirx.floormod(place, 4)
        return place - low + tirx.floormod(low, 2) * 2 + tirx.floordiv(low, 2)
    low = tirx.floormod(place, 8)  # 0 2 4 6 1 3 5 7
    return place - low + tirx.floormod(low, 2) * 4 + tirx.floordiv(low, 2)


def dequantised(b: Builder, weight: Tensor, scale: Tensor, bits: int, group_size: int, dtype: str) -> Tensor:
    """The weight as numbers, (inputs, outputs); scale holds one for each output, or for each group of inputs and output."""
    rows, columns = weight.shape[1], b.simplify(weight.shape[0] * (8 // bits))
    if not isinstance(rows, int) or rows % _TILE:
        raise UnsupportedError(f"an ordered weight of {rows} rows, which are no multiple of {_TILE}")
    grouped = scale.reshape([1, scale.size]) if scale.ndim == 1 else scale
    bytes_ = weight.reshape([weight.size])

    def element(t: te.Tensor, s: te.Tensor, i: Any, j: Any) -> PrimExpr:
        place = _place(i, j, rows, bits)
        byte = tirx.bitwise_and(tirx.Cast("int32", t(place if bits == 8 else tirx.floordiv(place, 2))), tirx.const(255, "int32"))
        if bits == 4:
            shift = tirx.Cast("int32", tirx.floormod(place, 2) * 4)
            byte = tirx.bitwise_and(tirx.shift_right(byte, shift), tirx.const(15, "int32"))
        whole = byte - tirx.const(128 if bits == 8 else 8, "int32")
        factor = s(tirx.floordiv(i, group_size) if group_size > 0 else 0, j)
        return tirx.Cast(dtype, whole) * factor.astype(dtype)

    return b.compute([rows, columns], element, bytes_, grouped, name="dequantised_weight")


def _bits(kind: str, name: str) -> int:
    if kind not in ("int8", "int4"):
        raise UnsupportedError(f"{name} of {kind!r} weights")
    return int(kind.removeprefix("int"))


@operator
def weight_only_linear(
    b: Builder,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    weight_scale: Tensor,
    weight_dtype: str,
    arch: int = 80,
    group_size: int = -1,
) -> Tensor:
    """x · weight + bias, the weight int8 or int4 with a scale for each output."""
    if arch not in _ORDERED:
        raise UnsupportedError(f"weight_only_linear with weights in the order of arch={arch}", todo="quantize them for arch 80")
    numbers = dequantised(b, weight, weight_scale, _bits(weight_dtype, "weight_only_linear"), group_size, x.dtype)
    out = product(b, x, numbers)
    return out if bias is None else out + bias


@operator
def weight_dequantize(b: Builder, x: Tensor, scale: Tensor, algo: str = "weight_only_int8", group_size: int = -1) -> Tensor:
    """The weight as numbers, (inputs, outputs)."""
    return dequantised(b, x, scale, _bits(algo.removeprefix("weight_only_"), "weight_dequantize"), group_size, scale.dtype)


@operator
def weight_quantize(b: Builder, x: Tensor, algo: str = "weight_only_int8", arch: int = 80, group_size: int = -1) -> tuple[Tensor, Tensor]:
    """The weight (inputs, outputs) as integers, and a scale for each output, or for each group of inputs and output.

    llm.int8 gives (outputs, inputs) as they are; else they are in the order of tensor cores, of int4 two a byte.
    """
    rows, columns = x.shape
    plain = algo == "llm.int8"
    bits = 8 if plain else _bits(algo.removeprefix("weight_only_"), "weight_quantize")
    span = group_size if group_size > 0 else rows
    if not isinstance(rows, int) or not isinstance(columns, int) or not isinstance(span, int) or rows % span:
        raise UnsupportedError(f"weight_quantize of {rows} × {columns} in groups of {group_size}")
    if not plain and (arch not in _ORDERED or rows % _TILE):
        raise UnsupportedError(f"weight_quantize of {rows} rows in the order of arch={arch}")
    top = 127 if bits == 8 else 7
    axis = te.reduce_axis((0, span), name="i")
    most = b.compute(
        [rows // span, columns],
        lambda t, g, j: te.max(tirx.abs(tirx.Cast("float32", t(g * span + axis, j))), axis=axis),
        x, name="largest",
    )  # fmt: skip
    # rounded to its type before it divides
    bound = tirx.const(float(top), "float32")
    scale = b.compute(most.shape, lambda t, *i: t(*i) / bound, most, name="scale").astype("float32" if plain else x.dtype)
    integers = b.compute([rows, columns], _rounded(span, top), x, scale, name="integers")
    told = scale if group_size > 0 else scale.reshape([columns])
    if plain:
        return integers.transpose([1, 0]).astype("int8"), told
    return _ordered(b, integers, bits), told


def _rounded(span: int, top: int) -> Callable[..., PrimExpr]:
    """An element of the weight by its scale as a whole number, halves away from 0."""

    def element(t: te.Tensor, s: te.Tensor, i: Any, j: Any) -> PrimExpr:
        value = tirx.Cast("float32", t(i, j)) / tirx.Cast("float32", s(tirx.floordiv(i, span), j))
        half, zero = tirx.const(0.5, "float32"), tirx.const(0.0, "float32")
        whole = tirx.Select(value < zero, tirx.ceil(value - half), tirx.floor(value + half))
        bound = tirx.const(float(top), "float32")
        return tirx.Cast("int32", tirx.max(tirx.min(whole, bound), -bound))

    return element


def _ordered(b: Builder, integers: Tensor, bits: int) -> Tensor:
    """Integers (inputs, outputs) as tensor cores read them, int8 (outputs · bits / 8, inputs)."""
    rows, columns = integers.shape
    assert isinstance(rows, int) and isinstance(columns, int)

    def body(t: Any, out: Any) -> None:
        if bits == 4:
            with loop(rows * columns // 2) as k:
                out[k] = tirx.const(0, "int32")
        with loop(rows) as i, loop(columns) as j:
            place = bind(_place(i, j, rows, bits))
            if bits == 8:
                out[place] = t[i, j] + tirx.const(128, "int32")
            else:
                shift = tirx.Cast("int32", tirx.floormod(place, 2) * 4)
                byte = tirx.floordiv(place, 2)
                out[byte] = tirx.bitwise_or(out[byte], tirx.shift_left(t[i, j] + tirx.const(8, "int32"), shift))

    count = rows * columns * bits // 8
    (out,) = kernel(b, body, [integers], [([count], "int32")], "ordered_weight")
    return out.astype("int8").reshape([columns * bits // 8, rows])


@operator
def llm_int8_linear(b: Builder, x: Tensor, weight: Tensor, bias: Tensor | None, weight_scale: Tensor, threshold: float = 6.0) -> Tensor:
    """x · weightᵀ + bias, the weight int8 (outputs, inputs) with a scale for each output, rows of x rounded to int8.

    Columns of x that have a number above the threshold are multiplied as they are, by the weight as numbers.  (Paddle's kernel takes
    other elements of the weight there: it undoes an order that its own weight_quantize does not make.)
    """
    inputs, outputs = weight.shape[1], weight.shape[0]
    rows = product_of(b, x.shape[:-1])
    flat = b.match(x, [*x.shape[:-1], inputs]).reshape([rows, inputs]).astype("float32")
    limit, top = tirx.const(threshold, "float32"), tirx.const(127.0, "float32")
    r, k = te.reduce_axis((0, rows), name="r"), te.reduce_axis((0, inputs), name="k")
    column = b.compute([inputs], lambda t, j: te.max(tirx.abs(t(r, j)), axis=r), flat, name="column_range")
    small = tirx.const(0.0, "float32")
    row = b.compute(
        [rows], lambda t, i: te.max(tirx.Select(tirx.abs(t(i, k)) > limit, small, tirx.abs(t(i, k))), axis=k), flat, name="row_range"
    )

    def rounded(t: te.Tensor, of: te.Tensor, c: te.Tensor, i: Any, j: Any) -> PrimExpr:
        value = t(i, j) * top * (tirx.const(1.0, "float32") / of(i))
        half = tirx.const(0.5, "float32")
        whole = tirx.Select(value < small, tirx.ceil(value - half), tirx.floor(value + half))
        kept = tirx.all(c(j) <= limit, of(i) > small)
        return tirx.if_then_else(kept, tirx.max(tirx.min(whole, top), -top), small)

    wide = weight.astype("float32").transpose([1, 0])
    # sums of products of int8 are exact in float32 up to 1024 of them; int32 is exact always
    whole = b.compute([rows, inputs], rounded, flat, row, column, name="rounded_rows").astype("int8")
    summed = b.emit(relax.op.matmul(whole.expr, weight.transpose([1, 0]).expr, out_dtype="int32"))
    large = b.compute(
        [rows, inputs], lambda t, c, i, j: tirx.if_then_else(c(j) <= limit, small, t(i, j)), flat, column, name="large_columns"
    )
    scale = weight_scale.reshape([1, outputs]).astype("float32")
    out = product(b, large, wide * scale) + summed.astype("float32") * row.reshape([rows, 1]) * scale * (1.0 / 127.0)
    out = out.astype(x.dtype).reshape([*x.shape[:-1], outputs])
    return out if bias is None else out + bias
