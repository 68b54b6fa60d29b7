"""What convolutions, pooling, resizing and normalisation share: layouts, padding rules, contents of weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import te, tirx

from ..compat import Constant, constant_array
from ..errors import UnsupportedError
from .builder import Builder, dim_max, floordiv
from .tensor import Dim, PrimExpr, Tensor

Edges = list[tuple[Dim, Dim]]  # padding before and after, for each spatial axis


def contents(x: Tensor | None) -> np.ndarray | None:
    """The numbers of a tensor that is a constant of the model, else None."""
    if x is None:
        return None
    if x.known is not None:
        return x.known if x.known.dtype != object else None
    return constant_array(x.expr) if isinstance(x.expr, Constant) else None


def channels_last(data_format: str) -> bool:
    """Whether the channels are the last axis (NHWC, NDHWC, NLC, NWC)."""
    return len(data_format) > 1 and data_format[-1] == "C"


def to_channels_first(x: Tensor, data_format: str) -> Tensor:
    """N…C → NC…; a channels-first tensor as it is."""
    return x.transpose([0, x.ndim - 1, *range(1, x.ndim - 1)]) if channels_last(data_format) else x


def from_channels_first(x: Tensor, data_format: str) -> Tensor:
    """NC… → N…C where data_format says so."""
    return x.transpose([0, *range(2, x.ndim), 1]) if channels_last(data_format) else x


def channel_axis(data_format: str, rank: int) -> int:
    """Where the channels stand; a tensor of rank 2 (or less) has them last."""
    return rank - 1 if channels_last(data_format) or rank <= 1 else 1


def along(x: Tensor, axis: int, rank: int) -> Tensor:
    """A vector of one number a channel, shaped to broadcast along ``axis``."""
    return x.reshape([1] * axis + [x.size] + [1] * (rank - axis - 1))


def ints(values: Sequence[Any], why: str) -> list[int]:
    """Values that must be numbers at import time."""
    if not all(isinstance(v, int | np.integer) for v in values):
        raise UnsupportedError(f"{why} must be known when the model is compiled")
    return [int(v) for v in values]


def per_axis(values: Sequence[int] | int, count: int) -> list[int]:
    """One number for every spatial axis; a single one counts for all."""
    values = [values] if isinstance(values, int) else list(values)
    return [int(v) for v in (values * count if len(values) == 1 else values)]


def resolve_padding(
    algorithm: str, paddings: Sequence[int], sizes: Sequence[Dim], kernel: Sequence[Dim], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[Edges, list[int]]:
    """Paddle's padding rule → (edges, dilations): SAME computes the padding and drops the dilation, VALID has none."""
    count = len(sizes)
    if algorithm == "VALID":
        return [(0, 0)] * count, list(dilations)
    if algorithm == "SAME":
        edges: Edges = []
        for size, k, stride in zip(sizes, kernel, strides, strict=True):
            outputs = floordiv(size + stride - 1, stride)
            total = dim_max((outputs - 1) * stride + k - size, 0)
            before = floordiv(total, 2)
            edges.append((before, total - before))
        return edges, [1] * count
    values = [int(p) for p in paddings]
    if len(values) == 1:
        values = values * count
    if len(values) == count:
        return [(p, p) for p in values], list(dilations)
    if len(values) == 2 * count:
        return list(zip(values[::2], values[1::2], strict=True)), list(dilations)
    raise UnsupportedError(f"{len(values)} paddings for {count} spatial axes")


def is_static(edges: Edges) -> bool:
    return all(isinstance(d, int) for edge in edges for d in edge)


def pad(b: Builder, x: Tensor, edges: Edges, value: float = 0.0) -> Tensor:
    """Constant padding of the last ``len(edges)`` axes; amounts may be symbolic."""
    if all(isinstance(d, int) and d == 0 for edge in edges for d in edge):
        return x
    lead = x.ndim - len(edges)
    shape = [*x.shape[:lead], *(b.simplify(d + before + after) for d, (before, after) in zip(x.shape[lead:], edges, strict=True))]

    def element(t: te.Tensor, *index: Any) -> PrimExpr:
        source = [i - before for i, (before, _) in zip(index[lead:], edges, strict=True)]
        inside = [tirx.all(i >= 0, i < d) for i, d in zip(source, x.shape[lead:], strict=True)]
        return tirx.if_then_else(tirx.all(*inside), t(*index[:lead], *source), tirx.const(value, x.dtype))

    return b.compute(shape, element, x, name="pad")


def float_min(dtype: str) -> PrimExpr:
    """The lowest number of a dtype."""
    return te.min_value(dtype)
