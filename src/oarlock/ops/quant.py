"""Quantisation as Paddle writes it: integers held in floats, a scale that stands for the largest integer.

q = clip(round(x · qmax / scale)), x ≈ q · scale / qmax        qmax = 2^(bits − 1) − 1
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx

from .. import compat
from ..errors import UnsupportedError
from ..model.program import Op
from .builder import Builder
from .kernels import clamped
from .registry import operator
from .scalar import round_away
from .spatial import along
from .tensor import PrimExpr, Tensor

INTEGERS = "oarlock.integers"  # attribute of a kernel with one scale: its result is whole numbers from −n − 1 to n
TIES_TO_EVEN = 0  # round_type; any other value rounds ties away from zero
_TINY = 1e-6


def _qmax(bit_length: int) -> int:
    return 2 ** (bit_length - 1) - 1


def _inverse(scale: PrimExpr, dtype: str) -> PrimExpr:
    """1 / scale, kept finite."""
    one, tiny = tirx.const(1.0, dtype), tirx.const(_TINY, dtype)
    return tirx.Select(scale <= tiny, one / (scale + tiny), one / scale)


def quantised(value: PrimExpr, scale: PrimExpr, qmax: int, round_type: int, dtype: str) -> PrimExpr:
    """The integer (as a float) of one value: ties to even are clipped after rounding, ties away before."""
    top = tirx.const(float(qmax), dtype)
    if round_type == TIES_TO_EVEN:
        whole = tirx.nearbyint(top * _inverse(scale, dtype) * value)
        return tirx.max(tirx.min(whole, top), tirx.const(-float(qmax) - 1.0, dtype))
    clipped = tirx.max(tirx.min(value, scale), -scale)
    return round_away(top * _inverse(scale, dtype) * clipped)


def quantise(b: Builder, x: Tensor, scale: Tensor, qmax: int, round_type: int, axis: int = -1, back: bool = False) -> Tensor:
    """Integers of x, held in x's dtype; ``scale`` has one number (axis < 0), or one for every channel of ``axis``.

    ``back``: those integers as numbers again, which is x rounded to what integers can say.
    """
    flat = scale.astype(x.dtype).reshape([scale.size])
    if (stored := _stored(x)) is not None and (factors := _stored(flat)) is not None:
        # weights become integers now: rules see what they are, and nothing is left to compute
        whole = b.const(_whole(stored, factors, qmax, round_type, axis), x.dtype)
        return dequantise(b, whole, flat if axis >= 0 else flat.reshape([]), float(qmax), axis) if back else whole

    def element(t: te.Tensor, s: te.Tensor, *index: Any) -> PrimExpr:
        return quantised(t(*index), s(index[axis] if axis >= 0 else 0), qmax, round_type, x.dtype)

    whole = b.compute(x.shape, element, x, flat, name="quantize_linear", attrs={INTEGERS: qmax} if axis < 0 else None)
    return dequantise(b, whole, flat if axis >= 0 else flat.reshape([]), float(qmax), axis) if back else whole


def _stored(x: Tensor) -> np.ndarray | None:
    """The contents of a constant of float32 or float64, None for any other tensor."""
    if x.dtype not in ("float32", "float64"):
        return None
    if x.known is not None:
        return x.known if x.known.dtype != object else None
    return compat.constant_array(x.expr) if isinstance(x.expr, compat.Constant) else None


def _whole(x: np.ndarray, scale: np.ndarray, qmax: int, round_type: int, axis: int) -> np.ndarray:
    """``quantised`` of an array, operation by operation in its type, so that each number is the kernel's."""
    kind = x.dtype.type
    top, tiny = kind(qmax), kind(_TINY)
    shape = [1] * axis + [-1] + [1] * (x.ndim - axis - 1) if axis >= 0 else [1] * x.ndim
    scale = scale.reshape(shape)
    inverse = kind(1) / np.where(scale <= tiny, scale + tiny, scale)
    if round_type == TIES_TO_EVEN:
        return np.maximum(np.minimum(np.rint(top * inverse * x), top), kind(-qmax - 1))
    scaled = top * inverse * np.maximum(np.minimum(x, scale), -scale)
    whole = np.trunc(scaled)
    return whole + np.where(np.abs(scaled - whole) >= kind(0.5), np.sign(scaled), kind(0))


def _largest(b: Builder, x: Tensor, axis: int = -1) -> Tensor:
    """max |x|: of everything as [1], or of every channel of ``axis``."""
    axes = [a for a in range(x.ndim) if a != axis] if axis >= 0 else None
    if (stored := _stored(x)) is not None and stored.size:
        return b.const(np.abs(stored).max(axis=None if axes is None else tuple(axes)).reshape(-1), x.dtype)
    top = b.emit(relax.op.max(relax.op.abs(x.expr), axes))
    return top if axis >= 0 else top.reshape([1])


# ---- linear ----------------------------------------------------------------------------------------------------------


def _zero(zero_point: Tensor | None) -> None:
    """Paddle's kernels do not read the zero point; refuse one that says something."""
    if zero_point is not None and zero_point.known is not None and (zero_point.known != 0).any():
        raise UnsupportedError("a zero point other than 0")


@operator
def quantize_linear(
    b: Builder,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    in_accum: Tensor | None = None,
    in_state: Tensor | None = None,
    quant_axis: int = 0,
    bit_length: int = 8,
    qmin: int = -128,
    qmax: int = 127,
    round_type: int = 0,
    is_test: bool = True,
    only_observer: bool = False,
) -> tuple[Tensor | None, ...]:
    """clip(round(x · qmax / scale)) with one scale, or one for every channel of quant_axis."""
    if not is_test:
        raise UnsupportedError("quantize_linear in training mode", todo="export the model in evaluation mode")
    _zero(zero_point)
    y = x if only_observer else quantise(b, x, scale, _qmax(bit_length), round_type, quant_axis if quant_axis >= 0 else -1)
    return y, None, None, scale


@operator
def dequantize_linear(
    b: Builder,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    in_accum: Tensor | None = None,
    in_state: Tensor | None = None,
    quant_axis: int = 0,
    bit_length: int = 8,
    qmin: int = -128,
    qmax: int = 127,
    round_type: int = 0,
    is_test: bool = True,
    only_observer: bool = False,
) -> tuple[Tensor | None, ...]:
    """x · scale / qmax with one scale, or one for every channel of quant_axis."""
    _zero(zero_point)
    if only_observer:
        return x, None, None, scale
    return dequantise(b, x, scale, float(_qmax(bit_length)), quant_axis if quant_axis >= 0 else -1), None, None, scale


def dequantise(b: Builder, x: Tensor, scale: Tensor, max_range: float, axis: int = -1) -> Tensor:
    """x · scale / max_range in the scale's dtype."""
    spread = along(scale, axis, x.ndim) if axis >= 0 else scale.reshape([])
    return x.astype(scale.dtype) * spread / max_range


# ---- simulated -------------------------------------------------------------------------------------------------------


def _simulates(op: Op) -> bool:
    """Whether an operator gives numbers again, not the integers."""
    return "dequantize" in op.short_name


@operator("fake_quantize_moving_average_abs_max", "fake_quantize_dequantize_moving_average_abs_max")
def fake_quantize_moving_average_abs_max(
    b: Builder,
    op: Op,
    x: Tensor,
    in_scale: Tensor,
    in_accum: Tensor | None = None,
    in_state: Tensor | None = None,
    moving_rate: float = 0.9,
    bit_length: int = 8,
    is_test: bool = False,
    round_type: int = 1,
) -> tuple[Tensor | None, ...]:
    """Integers of x by the recorded scale (…_dequantize_…: as numbers again)."""
    scale, state, accum = _moving_average(b, x, in_scale, in_accum, in_state, moving_rate, is_test)
    return quantise(b, x, scale, _qmax(bit_length), round_type, back=_simulates(op)), scale, state, accum


def _moving_average(
    b: Builder, x: Tensor, in_scale: Tensor, in_accum: Tensor | None, in_state: Tensor | None, rate: float, is_test: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """(scale, state, accum) after seeing x; in test mode the scale as recorded."""
    if is_test:
        return in_scale, None, None
    if in_accum is None or in_state is None:
        raise UnsupportedError("a moving average in training mode without its state")
    state = in_state * rate + 1.0
    accum = in_accum * rate + _largest(b, x)
    return accum / state, state, accum


@operator
def moving_average_abs_max_scale(
    b: Builder,
    x: Tensor,
    in_accum: Tensor | None = None,
    in_state: Tensor | None = None,
    moving_rate: float = 0.9,
    is_test: bool = False,
) -> tuple[Tensor | None, ...]:
    """x as it is: training alone observes how large it gets."""
    if not is_test:
        raise UnsupportedError("moving_average_abs_max_scale in training mode", todo="export the model in evaluation mode")
    return x, None, None, None


@operator
def fake_quantize_range_abs_max(
    b: Builder,
    x: Tensor,
    in_scale: Tensor,
    iter: Tensor | None = None,
    window_size: int = 10000,
    bit_length: int = 8,
    is_test: bool = False,
    round_type: int = 1,
) -> tuple[Tensor | None, ...]:
    """Integers of x by the recorded scale."""
    if not is_test:
        raise UnsupportedError("fake_quantize_range_abs_max in training mode", todo="export the model in evaluation mode")
    return quantise(b, x, in_scale, _qmax(bit_length), round_type), in_scale, None


@operator("fake_quantize_abs_max", "fake_quantize_dequantize_abs_max")
def fake_quantize_abs_max(b: Builder, op: Op, x: Tensor, bit_length: int = 8, round_type: int = 1) -> tuple[Tensor, Tensor]:
    """Integers of x by its own largest magnitude (…_dequantize_…: as numbers again), and that."""
    scale = _largest(b, x)
    return quantise(b, x, scale, _qmax(bit_length), round_type, back=_simulates(op)), scale


@operator("fake_channel_wise_quantize_abs_max", "fake_channel_wise_quantize_dequantize_abs_max")
def fake_channel_wise_quantize_abs_max(
    b: Builder, op: Op, x: Tensor, bit_length: int = 8, round_type: int = 1, quant_axis: int = 0, is_test: bool = False
) -> tuple[Tensor, Tensor]:
    """Integers of x by the largest magnitude of every channel (…_dequantize_…: as numbers again), and those."""
    scale = _largest(b, x, quant_axis)
    return quantise(b, x, scale, _qmax(bit_length), round_type, quant_axis, back=_simulates(op)), scale


@operator("fake_dequantize_max_abs", "dequantize_abs_max")
def fake_dequantize_max_abs(b: Builder, x: Tensor, scale: Tensor, max_range: float) -> Tensor:
    """x · scale / max_range."""
    return dequantise(b, x, scale, max_range)


@operator
def fake_channel_wise_dequantize_max_abs(
    b: Builder,
    x: Tensor,
    scales: list[Tensor],
    quant_bits: list = [8],  # noqa: B006 - never changed
    quant_axis: int = 0,
    x_num_col_dims: int = 1,
) -> Tensor:
    """x · scale / qmax by channel; a second scale is that of the other factor of the product that made x."""
    ranges = 1.0
    for bits in quant_bits[: len(scales)]:
        ranges *= _qmax(int(bits))
    first = scales[0]
    if len(scales) == 1:
        return dequantise(b, x, first, ranges, quant_axis)
    # the product's channels stand behind the batch (convolution) or after the rows of a flattened matrix
    axis = 1 if quant_axis == 0 else x_num_col_dims
    return x.astype(first.dtype) * along(first, axis, x.ndim) * scales[1].reshape([]) / ranges


# ---- tables ----------------------------------------------------------------------------------------------------------


@operator
def dequantize_log(b: Builder, x: Tensor, dict: Tensor) -> Tensor:  # noqa: A002 - Paddle's name
    """What a dictionary of 128 numbers says of int8 values; its negative for x + 128 where x is negative."""

    def element(t: te.Tensor, d: te.Tensor, *index: Any) -> PrimExpr:
        value = tirx.Cast("int64", t(*index))
        return tirx.if_then_else(value < 0, -d(clamped(value + 128, 128)), d(clamped(value, 128)))

    return b.compute(x.shape, element, x, dict.reshape([dict.size]), name="dequantize_log")


@operator
def lookup_table_dequant(b: Builder, w: Tensor, ids: Tensor, padding_idx: int = -1) -> Tensor:
    """Rows of a table of bytes: a row is the least number, the largest one, and floats of four bytes each; ids end with an axis of 1."""
    rows, words = w.shape
    width = b.simplify((words - 2) * 4)

    def element(at: te.Tensor, table: te.Tensor, *index: Any) -> PrimExpr:
        given, j = tirx.Cast("int64", at(*index[:-1], 0)), tirx.Cast("int64", index[-1])
        row = clamped(given, rows)
        word = tirx.reinterpret("uint32", table(row, tirx.floordiv(j, 4) + 2))
        shift = tirx.Cast("uint32", tirx.floormod(j, 4) * 8)
        byte = tirx.Cast("float32", tirx.bitwise_and(tirx.shift_right(word, shift), tirx.const(255, "uint32")))
        low, high = table(row, 0), table(row, 1)
        value = (high - low) / tirx.const(256.0, "float32") * byte + low
        return value if padding_idx == -1 else tirx.if_then_else(given == padding_idx, tirx.const(0, "float32"), value)

    return b.compute([*ids.shape[:-1], width], element, ids, w, name="lookup_table_dequant")


@operator
def apply_per_channel_scale(b: Builder, x: Tensor, scales: Tensor) -> Tensor:
    """x · scales along the last axis."""
    return x * scales.astype(x.dtype).reshape([scales.size])
