"""Pooling over regions of interest: roi_align, roi_pool, psroi_pool."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder
from .registry import operator
from .scalar import round_away
from .serial import both, cell, i64, kernel, loop, parallel, select, when
from .tensor import PrimExpr, Tensor


def image_of_each(b: Builder, boxes: Tensor, boxes_num: Tensor | None, images: Any) -> Tensor:
    """Which image each box belongs to, int64 [boxes], from the number of boxes of each image."""
    rows = boxes.shape[0]
    if boxes_num is None:
        if images != 1:
            raise UnsupportedError("regions of several images without their number for each image", todo="export the model with boxes_num")
        return b.full([rows], 0, "int64")
    boxes_num = b.match(boxes_num, [images])

    def body(count: Any, out: Any) -> None:
        row = cell("int64", 0)
        with loop(rows) as i:
            out[i] = i64(0)
        with loop(images) as k, loop(i64(count[k])), when(row.v < i64(rows)):
            out[row.v] = i64(k)
            row.v = row.v + 1

    return kernel(b, body, [boxes_num], [([rows], "int64")], "image_of_each")[0]


def _number(dtype: str, value: Any) -> PrimExpr:
    return tirx.Cast(dtype, value) if isinstance(value, PrimExpr) else tirx.const(value, dtype)


@operator
def roi_align(
    b: Builder,
    x: Tensor,
    boxes: Tensor,
    boxes_num: Tensor | None = None,
    pooled_height: int = 1,
    pooled_width: int = 1,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """The mean of bilinear samples in each bin of each box; sampling_ratio ≤ 0 takes as many as the bin has pixels."""
    owner = image_of_each(b, boxes, boxes_num, x.shape[0])
    if x.is_int:
        return _roi_align_of_integers(b, x, boxes, owner, [pooled_height, pooled_width], spatial_scale, sampling_ratio, aligned)
    rows, channels, (height, width), t = boxes.shape[0], x.shape[1], x.shape[2:], x.dtype

    def body(image: Any, box: Any, own: Any, out: Any) -> None:
        def num(v: Any) -> PrimExpr:
            return _number(t, v)

        with parallel(rows) as r:
            offset = 0.5 if aligned else 0.0
            left, top, right, bottom = (cell(t, box[r, k] * num(spatial_scale) - num(offset)) for k in range(4))
            w, h = cell(t, right.v - left.v), cell(t, bottom.v - top.v)
            if not aligned:
                w.v, h.v = tirx.max(w.v, num(1.0)), tirx.max(h.v, num(1.0))
            bin_h, bin_w = cell(t, h.v / num(pooled_height)), cell(t, w.v / num(pooled_width))
            grid_h = cell("int64", sampling_ratio if sampling_ratio > 0 else i64(tirx.ceil(h.v / num(pooled_height))))
            grid_w = cell("int64", sampling_ratio if sampling_ratio > 0 else i64(tirx.ceil(w.v / num(pooled_width))))
            count = cell(t, num(tirx.max(grid_h.v * grid_w.v, i64(1))))
            with loop(channels) as c, loop(pooled_height) as ph, loop(pooled_width) as pw:
                total = cell(t, 0.0)
                with loop(grid_h.v) as iy:
                    y = cell(t, top.v + num(ph) * bin_h.v + (num(iy) + num(0.5)) * bin_h.v / num(grid_h.v))
                    with loop(grid_w.v) as ix:
                        z = cell(t, left.v + num(pw) * bin_w.v + (num(ix) + num(0.5)) * bin_w.v / num(grid_w.v))
                        with when(both(y.v >= num(-1.0), y.v <= num(height), z.v >= num(-1.0), z.v <= num(width))):
                            total.v = total.v + _bilinear(image, own[r], c, y.v, z.v, height, width, t)
                out[r, c, ph, pw] = total.v / count.v

    shape = [rows, channels, pooled_height, pooled_width]
    return kernel(b, body, [x, boxes, owner], [(shape, t)], "roi_align")[0]


def _roi_align_of_integers(
    b: Builder, x: Tensor, boxes: Tensor, owner: Tensor, pooled: list[int], spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """As Paddle computes it in integers: the pixel at a bin's corner when the bin has one sample, else 0, for 1 / count is 0."""
    rows, channels, size, t = boxes.shape[0], x.shape[1], x.shape[2:], x.dtype
    least = i64(0 if aligned else 1)

    def body(image: Any, box: Any, own: Any, out: Any) -> None:
        with parallel(rows) as r:
            ends = [cell("int64", i64(tirx.Cast("float32", box[r, k]) * _number("float32", spatial_scale))) for k in range(4)]
            start = [ends[1], ends[0]]
            extent = [cell("int64", tirx.max(ends[3 - k].v - ends[1 - k].v, least)) for k in range(2)]
            grid = [i64(sampling_ratio) if sampling_ratio > 0 else tirx.truncdiv(e.v, i64(p)) for e, p in zip(extent, pooled, strict=True)]
            single = tirx.EQ(grid[0] * grid[1], i64(1))
            with loop(channels) as c, loop(pooled[0]) as ph, loop(pooled[1]) as pw:
                at = [s.v + tirx.truncdiv(e.v, i64(p)) * i for s, e, p, i in zip(start, extent, pooled, (ph, pw), strict=True)]
                inside = both(single, *[a >= 0 for a in at], *[a <= i64(d) for a, d in zip(at, size, strict=True)])
                y, z = (tirx.min(a, i64(d) - 1) for a, d in zip(at, size, strict=True))
                out[r, c, ph, pw] = select(inside, image[own[r], c, y, z], tirx.const(0, t))

    return kernel(b, body, [x, boxes, owner], [([rows, channels, *pooled], t)], "roi_align")[0]


def _bilinear(image: Any, n: Any, c: Any, y: Any, z: Any, height: Any, width: Any, dtype: str) -> PrimExpr:
    """Bilinear sample at (y, z), which is at most one pixel outside; emits cells."""

    def axis(at: Any, size: Any) -> tuple[Any, Any, Any]:
        p = cell(dtype, tirx.max(at, tirx.const(0.0, dtype)))
        low = cell("int64", tirx.min(i64(p.v), i64(size) - 1))
        high = cell("int64", tirx.min(low.v + 1, i64(size) - 1))
        rest = cell(dtype, select(low.v >= i64(size) - 1, tirx.const(0.0, dtype), p.v - tirx.Cast(dtype, low.v)))
        return low.v, high.v, rest.v

    y0, y1, fy = axis(y, height)
    x0, x1, fx = axis(z, width)
    one = tirx.const(1.0, dtype)
    top = (one - fy) * (one - fx) * image[n, c, y0, x0] + (one - fy) * fx * image[n, c, y0, x1]
    return top + fy * (one - fx) * image[n, c, y1, x0] + fy * fx * image[n, c, y1, x1]


def _clamp(value: Any, size: Any) -> PrimExpr:
    return tirx.min(tirx.max(value, i64(0)), i64(size))


@operator
def roi_pool(
    b: Builder,
    x: Tensor,
    boxes: Tensor,
    boxes_num: Tensor | None = None,
    pooled_height: int = 1,
    pooled_width: int = 1,
    spatial_scale: float = 1.0,
) -> tuple[Tensor, None]:
    """The maximum of each bin of each box, boxes rounded to pixels; an empty bin is 0."""
    owner = image_of_each(b, boxes, boxes_num, x.shape[0])
    rows, channels, (height, width), t = boxes.shape[0], x.shape[1], x.shape[2:], x.dtype
    wide = "float32" if boxes.is_int else boxes.dtype

    def body(image: Any, box: Any, own: Any, out: Any) -> None:
        with parallel(rows) as r:
            left, top, right, bottom = (
                cell("int64", i64(round_away(tirx.Cast(wide, box[r, k]) * _number(wide, spatial_scale)))) for k in range(4)
            )
            bin_h = cell("float32", tirx.Cast("float32", tirx.max(bottom.v - top.v + 1, i64(1))) / _number("float32", pooled_height))
            bin_w = cell("float32", tirx.Cast("float32", tirx.max(right.v - left.v + 1, i64(1))) / _number("float32", pooled_width))

            def edges(k: Any, size: Any, start: Any, limit: Any) -> tuple[Any, Any]:
                low = cell("int64", _clamp(i64(tirx.floor(tirx.Cast("float32", k) * size)) + start, limit))
                high = cell("int64", _clamp(i64(tirx.ceil(tirx.Cast("float32", k + 1) * size)) + start, limit))
                return low.v, high.v

            with loop(pooled_height) as ph, loop(pooled_width) as pw:
                y0, y1 = edges(ph, bin_h.v, top.v, height)
                x0, x1 = edges(pw, bin_w.v, left.v, width)
                with loop(channels) as c:
                    best = cell(t, select(both(y1 > y0, x1 > x0), tirx.min_value(t), tirx.const(0.0, t)))
                    with loop(y1, y0) as i, loop(x1, x0) as j:
                        best.v = tirx.max(best.v, image[own[r], c, i, j])
                    out[r, c, ph, pw] = best.v

    shape = [rows, channels, pooled_height, pooled_width]
    return kernel(b, body, [x, boxes, owner], [(shape, t)], "roi_pool")[0], None


@operator
def psroi_pool(
    b: Builder,
    x: Tensor,
    boxes: Tensor,
    boxes_num: Tensor | None = None,
    pooled_height: int = 1,
    pooled_width: int = 1,
    output_channels: int = 1,
    spatial_scale: float = 1.0,
) -> Tensor:
    """The mean of each bin of each box, every bin from input channels of its own."""
    x = b.match(x, [x.shape[0], output_channels * pooled_height * pooled_width, *x.shape[2:]])
    owner = image_of_each(b, boxes, boxes_num, x.shape[0])
    rows, (height, width), t = boxes.shape[0], x.shape[2:], x.dtype

    def body(image: Any, box: Any, own: Any, out: Any) -> None:
        scale = _number(t, spatial_scale)
        with parallel(rows) as r:
            left, top = (cell(t, round_away(box[r, k]) * scale) for k in range(2))
            right, bottom = (cell(t, (round_away(box[r, k]) + _number(t, 1.0)) * scale) for k in (2, 3))
            bin_h = cell(t, tirx.max(bottom.v - top.v, _number(t, 0.1)) / _number(t, pooled_height))
            bin_w = cell(t, tirx.max(right.v - left.v, _number(t, 0.1)) / _number(t, pooled_width))
            with loop(pooled_height) as ph, loop(pooled_width) as pw:
                y0 = cell("int64", _clamp(i64(tirx.floor(_number(t, ph) * bin_h.v + top.v)), height))
                x0 = cell("int64", _clamp(i64(tirx.floor(_number(t, pw) * bin_w.v + left.v)), width))
                y1 = cell("int64", _clamp(i64(tirx.ceil(_number(t, ph + 1) * bin_h.v + top.v)), height))
                x1 = cell("int64", _clamp(i64(tirx.ceil(_number(t, pw + 1) * bin_w.v + left.v)), width))
                area = cell(t, _number(t, tirx.max((y1.v - y0.v) * (x1.v - x0.v), i64(1))))
                with loop(output_channels) as c:
                    total = cell(t, 0.0)
                    with loop(y1.v, y0.v) as i, loop(x1.v, x0.v) as j:
                        total.v = total.v + image[own[r], (c * pooled_height + ph) * pooled_width + pw, i, j]
                    out[r, c, ph, pw] = total.v / area.v

    shape = [rows, output_channels, pooled_height, pooled_width]
    return kernel(b, body, [x, boxes, owner], [(shape, t)], "psroi_pool")[0]
