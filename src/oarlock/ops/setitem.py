"""Writing to slices: set_value and set_value_with_tensor (x[…] = value), with everything that a Paddle slice can say."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, cast_expr, floordiv
from .dtypes import numpy_dtype
from .registry import Ints, NotKnown, operator
from .serial import i64
from .shape import axes_of, clamp_index, no_symbols, strided_range
from .tensor import Dim, PrimExpr, Tensor


def _known(x: Any, values: Any, starts: Any, ends: Any, steps: Any, axes: Any, decrease_axes: Any = (), none_axes: Any = ()) -> np.ndarray:
    no_symbols(starts, ends, steps)
    if none_axes:
        raise NotKnown
    index: list[Any] = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        index[axis] = start if axis in (decrease_axes or ()) else slice(start, end, step)
    out = x.astype(object) if values.dtype.kind == "O" else x.copy()
    out[tuple(index)] = values
    return out


@operator(fold=_known)
def set_value_with_tensor(
    b: Builder,
    x: Tensor,
    values: Tensor,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    axes: list,
    decrease_axes: list | None = None,
    none_axes: list | None = None,
) -> Tensor:
    """x[slices] = a tensor, broadcast to start:end:step of some axes.

    The shape of what is written drops the axes in decrease_axes and has axes of size 1 in front of the axes of x in none_axes.
    """
    single = set(axes_of(decrease_axes or (), x.ndim))
    spans: dict[int, tuple[Dim, Dim, int]] = {}
    for axis, start, end, step in zip(axes_of(axes, x.ndim), starts, ends, steps, strict=True):
        if not isinstance(step, int) or step == 0:
            raise UnsupportedError(f"a step of {step} is not supported", todo="steps must be known when the model is compiled")
        if axis in single:
            spans[axis] = (clamp_index(b, start, x.shape[axis]), 1, 1)
        else:
            begin, count = strided_range(b, start, end, step, x.shape[axis])
            spans[axis] = (begin, count, step)
    layout: list[int | None] = []  # the axis of x for each axis of what is written, None for a new one
    new = list(none_axes or ())
    for axis in range(x.ndim):
        while new and new[0] <= axis:
            layout.append(None)
            new.pop(0)
        layout += [] if axis in single else [axis]
    layout += [None] * len(new)
    sizes = [1 if a is None else spans[a][1] if a in spans else x.shape[a] for a in layout]
    value = values.astype(x.dtype)
    if value.ndim > len(layout):
        value = b.reshape(value, value.shape[value.ndim - len(layout) :])
    value = b.broadcast_to(value, sizes)

    def element(t: Any, v: Any, *index: Any) -> PrimExpr:
        inside: list[Any] = []
        place: dict[int, Any] = {}
        for axis, i in enumerate(index):
            if axis not in spans:
                place[axis] = i
                continue
            begin, count, step = spans[axis]
            distance = i - begin if step > 0 else begin - i
            number = floordiv(distance, abs(step)) if abs(step) > 1 else distance
            inside += [distance >= 0, number < i64(count)]
            if abs(step) > 1:
                inside.append(tirx.floormod(distance, i64(abs(step))) == 0)
            place[axis] = number
        written = v(*[i64(0) if a is None else place[a] for a in layout])
        return tirx.if_then_else(tirx.all(*inside), written, t(*index)) if inside else cast_expr(written, x.dtype)

    return b.compute(x.shape, element, x, value, name="set_value")


def _known_values(x: Any, *, shape: Any = (), values: Any = (), **slices: Any) -> np.ndarray:
    return _known(x, np.asarray(values).reshape(shape), **slices)


@operator(fold=_known_values)
def set_value(
    b: Builder,
    x: Tensor,
    starts: Ints,
    ends: Ints,
    steps: Ints,
    axes: list,
    decrease_axes: list | None = None,
    none_axes: list | None = None,
    shape: list | None = None,
    values: list | None = None,
) -> Tensor:
    """x[slices] = a constant."""
    value = b.const(np.asarray(values).reshape(shape or []).astype(numpy_dtype(x.dtype)), x.dtype)
    return set_value_with_tensor(b, x, value, starts, ends, steps, axes, decrease_axes, none_axes)
