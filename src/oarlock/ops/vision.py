"""Rearranging and sampling images: pixel shuffle, grid sample, affine grid, unfold, fold."""

from __future__ import annotations

import itertools
from typing import Any

from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder, floordiv
from .registry import Ints, operator
from .spatial import Edges, along, channel_axis, channels_last
from .tensor import Dim, PrimExpr, Tensor

# ---- pixels ----------------------------------------------------------------------------------------------------------


@operator
def pixel_shuffle(b: Builder, x: Tensor, upscale_factor: int = 1, data_format: str = "NCHW") -> Tensor:
    """Channels become places: (N, C · r², H, W) → (N, C, H · r, W · r)."""
    r = upscale_factor
    if channels_last(data_format):
        n, h, w, c = x.shape
        parts = x.reshape([n, h, w, b.simplify(floordiv(c, r * r)), r, r]).transpose([0, 1, 4, 2, 5, 3])
        return parts.reshape([n, b.simplify(h * r), b.simplify(w * r), b.simplify(floordiv(c, r * r))])
    n, c, h, w = x.shape
    parts = x.reshape([n, b.simplify(floordiv(c, r * r)), r, r, h, w]).transpose([0, 1, 4, 2, 5, 3])
    return parts.reshape([n, b.simplify(floordiv(c, r * r)), b.simplify(h * r), b.simplify(w * r)])


@operator
def pixel_unshuffle(b: Builder, x: Tensor, downscale_factor: int = 1, data_format: str = "NCHW") -> Tensor:
    """Places become channels: (N, C, H · r, W · r) → (N, C · r², H, W)."""
    r = downscale_factor
    if channels_last(data_format):
        n, h, w, c = x.shape
        h, w = b.simplify(floordiv(h, r)), b.simplify(floordiv(w, r))
        return x.reshape([n, h, r, w, r, c]).transpose([0, 1, 3, 5, 2, 4]).reshape([n, h, w, b.simplify(c * r * r)])
    n, c, h, w = x.shape
    h, w = b.simplify(floordiv(h, r)), b.simplify(floordiv(w, r))
    return x.reshape([n, c, h, r, w, r]).transpose([0, 1, 3, 5, 2, 4]).reshape([n, b.simplify(c * r * r), h, w])


@operator
def affine_channel(b: Builder, x: Tensor, scale: Tensor, bias: Tensor, data_layout: str = "AnyLayout") -> Tensor:
    """x · scale + bias by channel."""
    axis = channel_axis(data_layout, x.ndim) if data_layout in ("NHWC", "NDHWC") else 1
    return x * along(scale, axis, x.ndim) + along(bias, axis, x.ndim)


# ---- sampling --------------------------------------------------------------------------------------------------------


def _unnormalised(value: PrimExpr, size: Dim, align_corners: bool, dtype: str) -> PrimExpr:
    """From −1 … 1 to places."""
    one, two = tirx.const(1.0, dtype), tirx.const(2.0, dtype)
    length = tirx.Cast(dtype, size) if isinstance(size, PrimExpr) else tirx.const(float(size), dtype)
    if align_corners:
        return (value + one) * ((length - one) / two)
    return ((value + one) * length - one) / two


def _padded(place: PrimExpr, size: Dim, mode: str, align_corners: bool, dtype: str) -> PrimExpr:
    """A place made to fit by the padding mode (zeros: as it is)."""
    if mode == "zeros":
        return place
    one, zero, half = (tirx.const(v, dtype) for v in (1.0, 0.0, 0.5))
    last = (tirx.Cast(dtype, size) if isinstance(size, PrimExpr) else tirx.const(float(size), dtype)) - one
    if mode == "reflection":
        if align_corners:
            turn, distance = tirx.max(last * tirx.const(2.0, dtype), one), tirx.abs(place)  # of a size of 1 the place is 0
        else:
            turn, distance = (last + one) * tirx.const(2.0, dtype), tirx.abs(place + half)
        rest = distance - tirx.floor(distance / turn) * turn
        place = tirx.min(rest, turn - rest)
        place = place if align_corners else place - half
    elif mode != "border":
        raise UnsupportedError(f"grid_sample with padding_mode={mode!r}")
    return tirx.min(tirx.max(place, zero), last)


@operator
def grid_sample(
    b: Builder, x: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = True
) -> Tensor:
    """x (N, C, …) sampled at grid (N, …, rank), whose last axis holds x, y(, z) in −1 … 1."""
    if mode not in ("bilinear", "nearest"):
        raise UnsupportedError(f"grid_sample with mode={mode!r}")
    sizes = x.shape[2:]
    rank = len(sizes)
    dtype = x.dtype

    def inside(places: list[PrimExpr]) -> PrimExpr:
        return tirx.all(*[tirx.all(p >= 0, p < d) for p, d in zip(places, sizes, strict=True)])

    def element(t: te.Tensor, g: te.Tensor, n: Any, c: Any, *at: Any) -> PrimExpr:
        coordinates = [
            _padded(_unnormalised(g(n, *at, rank - 1 - k), sizes[k], align_corners, dtype), sizes[k], padding_mode, align_corners, dtype)
            for k in range(rank)
        ]
        zero = tirx.const(0, dtype)
        if mode == "nearest":
            places = [tirx.nearbyint(p).astype("int64") for p in coordinates]
            return tirx.if_then_else(inside(places), t(n, c, *places), zero)
        lows = [tirx.floor(p) for p in coordinates]
        total: PrimExpr = zero
        for corner in itertools.product((0, 1), repeat=rank):
            weight: PrimExpr = tirx.const(1.0, dtype)
            for step, p, low in zip(corner, coordinates, lows, strict=True):
                weight = weight * ((p - low) if step else (low + tirx.const(1.0, dtype) - p))
            places = [low.astype("int64") + step for low, step in zip(lows, corner, strict=True)]
            total = total + tirx.if_then_else(inside(places), t(n, c, *places), zero) * weight
        return total

    return b.compute([*x.shape[:2], *grid.shape[1:-1]], element, x, grid, name="grid_sample")


@operator
def affine_grid(b: Builder, input: Tensor, output_shape: Ints = [], align_corners: bool = True) -> Tensor:  # noqa: B006 - never changed
    """The grid of affine maps (N, rank, rank + 1) over an output of shape (N, C, …)."""
    sizes = list(output_shape)[2:]
    rank, dtype = len(sizes), input.dtype

    def base(index: PrimExpr, size: Dim) -> PrimExpr:
        length = tirx.Cast(dtype, size) if isinstance(size, PrimExpr) else tirx.const(float(size), dtype)
        one, two, i = tirx.const(1.0, dtype), tirx.const(2.0, dtype), index.astype(dtype)
        if align_corners:
            return i * (two / (length - one)) - one
        return i * (two / length) - (length - one) / length

    def element(theta: te.Tensor, n: Any, *rest: Any) -> PrimExpr:
        at, k = rest[:-1], rest[-1]
        total = theta(n, k, rank)
        for j in range(rank):
            total = total + theta(n, k, j) * base(at[rank - 1 - j], sizes[rank - 1 - j])
        return total

    return b.compute([input.shape[0], *sizes, rank], element, input, name="affine_grid")


# ---- sliding blocks --------------------------------------------------------------------------------------------------


def _block_edges(paddings: list) -> Edges:
    """Two paddings are symmetric; four are top, left, bottom, right."""
    if len(paddings) == 2:
        return [(p, p) for p in paddings]
    if len(paddings) == 4:
        return [(paddings[0], paddings[2]), (paddings[1], paddings[3])]
    raise UnsupportedError(f"unfold with {len(paddings)} paddings")


def _counts(b: Builder, sizes: list[Dim], edges: Edges, kernel: list, strides: list, dilations: list) -> list[Dim]:
    def count(rest: Dim, stride: int) -> Dim:
        # Paddle rounds towards 0: a block that reaches past the end by less than a stride is one, with zeros there
        return 1 if isinstance(rest, int) and -stride < rest < 0 else b.simplify(floordiv(rest, stride) + 1)

    along = zip(sizes, edges, kernel, strides, dilations, strict=True)
    return [count(size + before + after - (d * (k - 1) + 1), s) for size, (before, after), k, s, d in along]


@operator
def unfold(b: Builder, x: Tensor, kernel_sizes: list, strides: list, paddings: list, dilations: list) -> Tensor:
    """Every block of kernel_sizes as a column: (N, C, H, W) → (N, C · kh · kw, blocks)."""
    edges = _block_edges(paddings)
    n, c, height, width = x.shape
    kh, kw = kernel_sizes
    rows, columns = _counts(b, [height, width], edges, kernel_sizes, strides, dilations)

    def element(t: te.Tensor, n_: Any, channel: Any, ky: Any, kx: Any, row: Any, column: Any) -> PrimExpr:
        y = row * strides[0] - edges[0][0] + ky * dilations[0]
        u = column * strides[1] - edges[1][0] + kx * dilations[1]
        inside = tirx.all(y >= 0, y < height, u >= 0, u < width)
        return tirx.if_then_else(inside, t(n_, channel, y, u), tirx.const(0, x.dtype))

    out = b.compute([n, c, kh, kw, rows, columns], element, x, name="unfold")
    return out.reshape([n, b.simplify(c * kh * kw), b.simplify(rows * columns)])


@operator
def fold(b: Builder, x: Tensor, output_sizes: Ints, kernel_sizes: list, strides: list, paddings: list, dilations: list) -> Tensor:
    """The way back from unfold; where blocks overlap they are summed."""
    edges = _block_edges(paddings)
    height, width = output_sizes
    kh, kw = kernel_sizes
    rows, columns = _counts(b, [height, width], edges, kernel_sizes, strides, dilations)
    n = x.shape[0]
    channels = b.simplify(floordiv(x.shape[1], kh * kw))
    blocks = b.match(x, [n, x.shape[1], b.simplify(rows * columns)]).reshape([n, channels, kh, kw, rows, columns])

    def body(t: te.Tensor) -> te.Tensor:
        ky, kx = te.reduce_axis((0, kh), name="ky"), te.reduce_axis((0, kw), name="kx")

        def element(n_: Any, channel: Any, y: Any, u: Any) -> PrimExpr:
            down, right = y + edges[0][0] - ky * dilations[0], u + edges[1][0] - kx * dilations[1]
            row, column = tirx.floordiv(down, strides[0]), tirx.floordiv(right, strides[1])
            met = tirx.all(tirx.floormod(down, strides[0]) == 0, tirx.floormod(right, strides[1]) == 0)
            inside = tirx.all(met, row >= 0, row < rows, column >= 0, column < columns)
            return te.sum(tirx.if_then_else(inside, t(n_, channel, ky, kx, row, column), tirx.const(0, x.dtype)), axis=[ky, kx])

        return te.compute([n, channels, height, width], element, name="fold")

    return b.te(body, blocks, name="fold")
