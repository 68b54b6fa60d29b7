"""Repeating and reordering: expand, tile, broadcast_tensors, meshgrid, flip, roll, channel shuffles …"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder
from .registry import Ints, NotKnown, operator
from .shape import axes_of, no_symbols
from .tensor import Dim, PrimExpr, Tensor

# ---- repeating -------------------------------------------------------------------------------------------------------


def _fold_expand(x: np.ndarray, shape: Any) -> np.ndarray:
    no_symbols(shape)
    lead = len(shape) - x.ndim
    target = [x.shape[i - lead] if d == -1 else d for i, d in enumerate(shape)]
    if math.prod(target) > 4096:
        raise NotKnown
    return np.broadcast_to(x, target).copy()


def expand_to(b: Builder, x: Tensor, shape: list[Dim]) -> Tensor:
    """Broadcast to a shape where −1 keeps the tensor's own dim."""
    lead = len(shape) - x.ndim
    if lead < 0:
        raise UnsupportedError(f"a tensor of rank {x.ndim} cannot expand to {shape}")
    target = [x.shape[i - lead] if isinstance(d, int) and d == -1 and i >= lead else d for i, d in enumerate(shape)]
    for i, (d, t) in enumerate(zip(x.shape, target[lead:], strict=True)):
        if isinstance(d, int) and d != 1 and not isinstance(t, int):
            target[lead + i] = d  # a static size that is not 1 cannot expand: the run-time one is the same
    return b.broadcast_to(x, target)


@operator(fold=_fold_expand)
def expand(b: Builder, x: Tensor, shape: Ints) -> Tensor:
    """Broadcast to a shape; −1 keeps a dim."""
    return expand_to(b, x, shape)


@operator
def expand_as(b: Builder, x: Tensor, y: Tensor | None = None, target_shape: list | None = None) -> Tensor:
    """Broadcast to the shape of y."""
    return expand_to(b, x, list(y.shape if y is not None else target_shape or []))


def _fold_tile(x: np.ndarray, repeat_times: Any = ()) -> np.ndarray:
    no_symbols(repeat_times)
    if x.size * math.prod(repeat_times) > 4096:
        raise NotKnown
    return np.tile(x, repeat_times)


@operator(fold=_fold_tile)
def tile(b: Builder, x: Tensor, repeat_times: Ints | None = None) -> Tensor:
    """The tensor repeated along each axis."""
    times = list(repeat_times or [])
    rank = max(len(times), x.ndim)
    times = [1] * (rank - len(times)) + times
    dims = [1] * (rank - x.ndim) + x.shape
    shape = [b.simplify(d * t) for d, t in zip(dims, times, strict=True)]
    if all(isinstance(t, int) and t == 1 for t in times):
        return b.reshape(x, shape)
    if all((isinstance(d, int) and d == 1) or (isinstance(t, int) and t == 1) for d, t in zip(dims, times, strict=True)):
        return b.broadcast_to(x, shape)
    if any(isinstance(d, int) and d == 0 for d in shape):  # of nothing: TVM divides by the 0 while it compiles
        return b.full(shape, 0, x.dtype)
    lead = rank - x.ndim

    def element(t: Any, *index: Any) -> PrimExpr:
        once = [isinstance(n, int) and n == 1 for n in times[lead:]]
        return t(*[i if own else tirx.floormod(i, d) for i, d, own in zip(index[lead:], _i64s(x.shape), once, strict=True)])

    return b.compute(shape, element, x, name="tile")


def _i64s(dims: list[Dim]) -> list[PrimExpr]:
    return [tirx.IntImm("int64", d) if isinstance(d, int) else d for d in dims]


@operator
def broadcast_tensors(b: Builder, input: list[Tensor]) -> list[Tensor]:
    """All tensors in their common shape."""
    shape = b.broadcast_shape(*(t.shape for t in input))
    return [b.broadcast_to(t, shape) for t in input]


@operator
def meshgrid(b: Builder, inputs: list[Tensor]) -> list[Tensor]:
    """One tensor an input, each varying along its own axis."""
    flat = [b.reshape(t, [1]) if t.ndim == 0 else t for t in inputs]
    shape = [t.shape[0] for t in flat]
    return [b.broadcast_to(b.reshape(t, [t.shape[0] if i == k else 1 for i in range(len(flat))]), shape) for k, t in enumerate(flat)]


# ---- reordering ------------------------------------------------------------------------------------------------------


def _flip(b: Builder, x: Tensor, axes: list[int]) -> Tensor:
    back = set(axes_of(axes, x.ndim))
    return b.compute(x.shape, lambda t, *index: t(*[x.shape[a] - 1 - i if a in back else i for a, i in enumerate(index)]), x, name="flip")


@operator
def flip(b: Builder, x: Tensor, axis: list[int]) -> Tensor:
    """Backwards along some axes."""
    return _flip(b, x, axis)


@operator
def reverse(b: Builder, x: Tensor, axis: Ints) -> Tensor:
    """Backwards along some axes."""
    return _flip(b, x, axis)


@operator
def roll(b: Builder, x: Tensor, shifts: Ints | None = None, axis: list | None = None) -> Tensor:
    """Shifted along some axes, what leaves at the end comes back at the front; without axes over the flat tensor."""
    if not axis:
        flat = b.reshape(x, [x.size])
        return b.reshape(_roll(b, flat, list(shifts or [])[:1], [0]), x.shape)
    return _roll(b, x, list(shifts or []), axes_of(axis, x.ndim))


def _roll(b: Builder, x: Tensor, shifts: list[Dim], axes: list[int]) -> Tensor:
    by: dict[int, Any] = {}
    for axis, shift in zip(axes, shifts, strict=True):
        by[axis] = by.get(axis, 0) + shift

    if x.empty:
        return x

    def element(t: Any, *index: Any) -> PrimExpr:
        return t(*[tirx.floormod(i - by[a], _i64s([x.shape[a]])[0]) if a in by else i for a, i in enumerate(index)])

    return b.compute(x.shape, element, x, name="roll")


@operator
def channel_shuffle(b: Builder, x: Tensor, groups: int, data_format: str = "NCHW") -> Tensor:
    """Channels read group-wise are written interleaved."""
    if data_format == "NHWC":
        n, h, w, c = x.shape
        return x.reshape([n, h, w, groups, b.exact_div([c], [groups])]).transpose([0, 1, 2, 4, 3]).reshape(x.shape)
    n, c, h, w = x.shape
    return x.reshape([n, groups, b.exact_div([c], [groups]), h, w]).transpose([0, 2, 1, 3, 4]).reshape(x.shape)


@operator
def shuffle_channel(b: Builder, x: Tensor, group: int = 1) -> Tensor:
    """Channels of an NCHW tensor read group-wise are written interleaved."""
    return channel_shuffle(b, x, group)
