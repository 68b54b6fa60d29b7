"""Convolutions: conv2d, conv3d, transposed, depthwise and deformable ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder, floordiv
from .registry import Ints, operator
from .spatial import Edges, along, channel_axis, from_channels_first, is_static, pad, per_axis, resolve_padding, to_channels_first
from .tensor import Dim, PrimExpr, Tensor

_LAYOUTS = {1: ("NCW", "OIW", "IOW"), 2: ("NCHW", "OIHW", "IOHW"), 3: ("NCDHW", "OIDHW", "IODHW")}


def _with_channels(b: Builder, x: Tensor, channels: Dim) -> Tensor:
    """The same tensor with the number of channels that the weights promise."""
    return b.match(x, [x.shape[0], channels, *x.shape[2:]]) if isinstance(channels, int) and not isinstance(x.shape[1], int) else x


def _flat(edges: Edges) -> list[int]:
    """Relax's order of paddings: all before, then all after."""
    return [e[0] for e in edges] + [e[1] for e in edges]  # type: ignore[misc]


@operator("conv2d", "depthwise_conv2d", "conv3d")
def convolve(
    b: Builder,
    input: Tensor,
    filter: Tensor,
    strides: list = [1],  # noqa: B006 - never changed
    paddings: list = [0],  # noqa: B006
    padding_algorithm: str = "EXPLICIT",
    dilations: list = [1],  # noqa: B006
    groups: int = 1,
    data_format: str = "NCHW",
) -> Tensor:
    """Convolution of an input (N, C, …) or (N, …, C) with a filter (out, in / groups, …)."""
    rank = input.ndim - 2
    strides, dilations = per_axis(strides, rank), per_axis(dilations, rank)
    groups = max(int(groups), 1)
    x = _with_channels(b, to_channels_first(input, data_format), filter.shape[1] * groups)
    edges, dilations = resolve_padding(padding_algorithm, paddings, x.shape[2:], filter.shape[2:], strides, dilations)
    if not is_static(edges):
        x, edges = pad(b, x, edges), [(0, 0)] * rank
    data, kernel, _ = _LAYOUTS[rank]
    conv = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}[rank]
    out = conv(x.expr, filter.expr, strides, _flat(edges), dilations, groups, data, kernel)
    return from_channels_first(b.emit(out), data_format)


def add_channels(x: Tensor, bias: Tensor, data_format: str) -> Tensor:
    """x plus one number a channel."""
    return x + along(bias, channel_axis(data_format, x.ndim), x.ndim)


# ---- transposed ------------------------------------------------------------------------------------------------------


@operator("conv2d_transpose", "depthwise_conv2d_transpose", "conv3d_transpose")
def transposed(
    b: Builder,
    x: Tensor,
    filter: Tensor,
    output_size: Ints = [],  # noqa: B006
    strides: list = [1],  # noqa: B006
    paddings: list = [0],  # noqa: B006
    output_padding: list = [],  # noqa: B006
    padding_algorithm: str = "EXPLICIT",
    groups: int = 1,
    dilations: list = [1],  # noqa: B006
    data_format: str = "NCHW",
) -> Tensor:
    """Transposed convolution of an input (N, C, …) or (N, …, C) with a filter (in, out / groups, …).

    The result has (size − 1) · stride − padding + extent of the filter places, plus output_padding, or exactly output_size.
    """
    rank = x.ndim - 2
    strides, dilations = per_axis(strides, rank), per_axis(dilations, rank)
    groups = max(int(groups), 1)
    x = _with_channels(b, to_channels_first(x, data_format), filter.shape[0])
    kernel = filter.shape[2:]
    edges, dilations = resolve_padding(padding_algorithm, paddings, x.shape[2:], kernel, strides, dilations)
    natural = [
        b.simplify((size - 1) * s - before - after + d * (k - 1) + 1)
        for size, s, (before, after), d, k in zip(x.shape[2:], strides, edges, dilations, kernel, strict=True)
    ]
    extra: list[Dim] = list(per_axis(output_padding, rank)) if output_padding else [0] * rank
    if output_size:
        extra = [b.simplify(wanted - n) for wanted, n in zip(output_size, natural, strict=True)]
    plain = is_static(edges) and all(isinstance(e, int) and 0 <= e < max(s, 2) for e, s in zip(extra, strides, strict=True))
    if plain and all(e < s for e, s in zip(extra, strides, strict=True)):  # type: ignore[operator]
        data, _, layout = _LAYOUTS[rank]
        conv = {1: relax.op.nn.conv1d_transpose, 2: relax.op.nn.conv2d_transpose, 3: relax.op.nn.conv3d_transpose}[rank]
        out = b.emit(conv(x.expr, filter.expr, strides, _flat(edges), extra, dilations, groups, data, layout))
    else:
        sizes = [b.simplify(n + e) for n, e in zip(natural, extra, strict=True)]
        out = _gathered(b, x, filter, strides, [e[0] for e in edges], sizes, groups, dilations)
    return from_channels_first(out, data_format)


def _gathered(
    b: Builder, x: Tensor, w: Tensor, strides: list[int], before: list[Dim], sizes: list[Dim], groups: int, dilations: Sequence[int]
) -> Tensor:
    """The same computed from the output's side, for sizes that are only known at run time."""
    channels, per_group = w.shape[0], w.shape[1]
    in_group = floordiv(channels, groups)

    def body(data: te.Tensor, weight: te.Tensor) -> te.Tensor:
        rc = te.reduce_axis((0, in_group), name="rc")
        rk = [te.reduce_axis((0, k), name="rk") for k in w.shape[2:]]

        def element(n: Any, o: Any, *place: Any) -> PrimExpr:
            raw = [p + pad_ - k * d for p, pad_, k, d in zip(place, before, rk, dilations, strict=True)]
            index = [tirx.floordiv(r, s) for r, s in zip(raw, strides, strict=True)]
            inside = [
                tirx.all(r >= 0, tirx.floormod(r, s) == 0, i < d) for r, s, i, d in zip(raw, strides, index, x.shape[2:], strict=True)
            ]
            channel = tirx.floordiv(o, per_group) * in_group + rc
            product = data(n, channel, *index) * weight(channel, tirx.floormod(o, per_group), *rk)
            return te.sum(tirx.if_then_else(tirx.all(*inside), product, tirx.const(0, x.dtype)), axis=[rc, *rk])

        return te.compute([x.shape[0], per_group * groups, *sizes], element, name="conv_transpose")

    return b.te(body, x, w, name="conv_transpose")


@operator
def conv2d_transpose_bias(
    b: Builder,
    x: Tensor,
    filter: Tensor,
    bias: Tensor,
    output_size: Ints = [],  # noqa: B006
    strides: list = [1, 1],  # noqa: B006
    paddings: list = [0, 0],  # noqa: B006
    output_padding: list = [],  # noqa: B006
    padding_algorithm: str = "EXPLICIT",
    groups: int = 1,
    dilations: list = [1, 1],  # noqa: B006
    data_format: str = "NCHW",
) -> Tensor:
    """conv2d_transpose, plus one number an output channel."""
    out = transposed(b, x, filter, output_size, strides, paddings, output_padding, padding_algorithm, groups, dilations, data_format)
    return add_channels(out, bias, data_format)


# ---- deformable ------------------------------------------------------------------------------------------------------


@operator
def deformable_conv(
    b: Builder,
    x: Tensor,
    offset: Tensor,
    filter: Tensor,
    mask: Tensor | None = None,
    strides: list = [1, 1],  # noqa: B006
    paddings: list = [0, 0],  # noqa: B006
    dilations: list = [1, 1],  # noqa: B006
    deformable_groups: int = 1,
    groups: int = 1,
    im2col_step: int = 64,
) -> Tensor:
    """2-D convolution that samples its input at learned offsets (v1), weighted by a mask (v2).

    offset (N, 2 · deformable_groups · kh · kw, H', W') holds (y, x) pairs; mask (N, deformable_groups · kh · kw, H', W').
    """
    if len(paddings) != 2:
        raise UnsupportedError(f"deformable_conv with {len(paddings)} paddings")
    x = _with_channels(b, x, filter.shape[1] * groups)
    batch, channels, height, width = x.shape
    out_channels, per_group, kh, kw = filter.shape
    # the offsets may be larger than needed: the size is that of a plain convolution
    oh, ow = (
        b.simplify(floordiv(size + 2 * p - (d * (k - 1) + 1), s) + 1)
        for size, p, d, k, s in zip((height, width), paddings, dilations, (kh, kw), strides, strict=True)
    )
    share = floordiv(channels, deformable_groups)
    tensors = [x, offset] + ([mask] if mask is not None else [])

    def column(*args: Any) -> PrimExpr:
        data, shift, *weight = args[: len(tensors)]
        n, c, ky, kx, y, u = args[len(tensors) :]
        place = (tirx.floordiv(c, share) * kh + ky) * kw + kx
        py = shift(n, 2 * place, y, u) + (y * strides[0] - paddings[0] + ky * dilations[0]).astype(x.dtype)
        px = shift(n, 2 * place + 1, y, u) + (u * strides[1] - paddings[1] + kx * dilations[1]).astype(x.dtype)
        value = _bilinear(data, n, c, py, px, height, width, x.dtype)
        return value * weight[0](n, place, y, u) if weight else value

    columns = b.compute([batch, channels, kh, kw, oh, ow], column, *tensors, name="deformable_columns")
    depth = b.simplify(per_group * kh * kw)
    places = b.simplify(oh * ow)
    weights = filter.reshape([1, groups, floordiv(out_channels, groups), depth])
    product = b.emit(relax.op.matmul(weights.expr, columns.reshape([batch, groups, depth, places]).expr))
    return product.reshape([batch, out_channels, oh, ow])


def _bilinear(data: te.Tensor, n: Any, c: Any, y: PrimExpr, x: PrimExpr, height: Dim, width: Dim, dtype: str) -> PrimExpr:
    """Bilinear sample with zeros outside; nothing at all from one step outside on."""
    one = tirx.const(1, dtype)
    y0, x0 = tirx.floor(y), tirx.floor(x)
    top, left = y0.astype("int64"), x0.astype("int64")
    fy, fx = y - y0, x - x0

    def corner(i: PrimExpr, j: PrimExpr) -> PrimExpr:
        inside = tirx.all(i >= 0, i < height, j >= 0, j < width)
        return tirx.if_then_else(inside, data(n, c, i, j), tirx.const(0, dtype))

    value = (
        (one - fy) * (one - fx) * corner(top, left)
        + (one - fy) * fx * corner(top, left + 1)
        + fy * (one - fx) * corner(top + 1, left)
        + fy * fx * corner(top + 1, left + 1)
    )
    minus = tirx.const(-1, dtype)
    inside = tirx.all(y > minus, x > minus, y < tirx.Cast(dtype, height), x < tirx.Cast(dtype, width))
    return tirx.if_then_else(inside, value, tirx.const(0, dtype))
