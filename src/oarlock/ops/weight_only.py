"""Linear layers whose weights are integers of 8 or 4 bits in the order that tensor cores read them in.

Paddle stores such a weight ready for one generation of GPUs.  From Turing (arch 75) to Hopper (90) it is the same order: rows are exchanged
within groups, columns are interleaved in tiles of 64 rows, the integers are made unsigned, and exchanged within words of 32 bits.
"""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .linalg import product
from .registry import operator
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
