"""Boxes: priors and anchors, coding against them, clipping, YOLO heads."""

from __future__ import annotations

import math

import numpy as np
from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder
from .registry import operator
from .scalar import sigmoid
from .serial import both, i64, select
from .tensor import Dim, PrimExpr, Tensor

F32 = np.float32


def _const(value: float, dtype: str) -> PrimExpr:
    return tirx.const(value, dtype)


def _filled(b: Builder, height: Dim, width: Dim, count: int, values: list[float], dtype: str) -> Tensor:
    """[height, width, count, 4] of four numbers."""
    row = b.const(np.asarray(values), dtype)
    return b.compute([height, width, count, 4], lambda v, y, x, k, c: v(c), row, name="variances")


# ---- priors and anchors ------------------------------------------------------------------------------------------------


def _prior_sizes(min_sizes: list, max_sizes: list, aspect_ratios: list, flip: bool, max_second: bool) -> list[tuple[float, float]]:
    """Half width and half height of each prior of a cell, in Paddle's order and precision."""
    ratios = [F32(1.0)]
    for ratio in map(F32, aspect_ratios):
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios += [ratio, F32(1.0) / ratio] if flip else [ratio]
    out = []
    for i, size in enumerate(map(F32, min_sizes)):
        square = [(float(size / F32(2)),) * 2]
        extra = [(float(np.sqrt(size * F32(max_sizes[i])) / F32(2)),) * 2] if max_sizes else []
        shaped = [(float(size * np.sqrt(r) / F32(2)), float(size / np.sqrt(r) / F32(2))) for r in ratios]
        if max_second:
            out += square + extra + [s for s, r in zip(shaped, ratios, strict=True) if abs(r - 1.0) >= 1e-6]
        else:
            out += shaped + extra
    return out


@operator
def prior_box(
    b: Builder,
    input: Tensor,
    image: Tensor,
    min_sizes: list,
    max_sizes: list | None = None,
    aspect_ratios: list | None = None,
    variances: list | None = None,
    flip: bool = True,
    clip: bool = True,
    step_w: float = 0.0,
    step_h: float = 0.0,
    offset: float = 0.5,
    min_max_aspect_ratios_order: bool = False,
) -> tuple[Tensor, Tensor]:
    """Boxes around the centre of every cell of a feature map, as fractions of the image, and their variances."""
    t, (height, width), (image_h, image_w) = input.dtype, input.shape[2:], image.shape[2:]
    sizes = _prior_sizes(list(min_sizes), list(max_sizes or []), list(aspect_ratios or []), flip, min_max_aspect_ratios_order)
    halves = b.const(np.asarray(sizes), t)

    def number(v: Dim) -> PrimExpr:
        return tirx.Cast(t, i64(v))

    def element(half: te.Tensor, y: PrimExpr, x: PrimExpr, k: PrimExpr, c: PrimExpr) -> PrimExpr:
        automatic = step_w == 0 or step_h == 0
        step_x = number(image_w) / number(width) if automatic else _const(step_w, t)
        step_y = number(image_h) / number(height) if automatic else _const(step_h, t)
        centre_x = (tirx.Cast(t, x) + _const(offset, t)) * step_x
        centre_y = (tirx.Cast(t, y) + _const(offset, t)) * step_y
        low = select(c == 0, (centre_x - half(k, 0)) / number(image_w), (centre_y - half(k, 1)) / number(image_h))
        high = select(c == 2, (centre_x + half(k, 0)) / number(image_w), (centre_y + half(k, 1)) / number(image_h))
        value = select(c < 2, low, high)
        return tirx.min(tirx.max(value, _const(0.0, t)), _const(1.0, t)) if clip else value

    boxes = b.compute([height, width, len(sizes), 4], element, halves, name="prior_box")
    return boxes, _filled(b, height, width, len(sizes), list(variances or [0.1, 0.1, 0.2, 0.2]), t)


@operator
def anchor_generator(
    b: Builder, input: Tensor, anchor_sizes: list, aspect_ratios: list, variances: list, stride: list | None = None, offset: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Anchors in pixels around every cell of a feature map, and their variances."""
    t, (height, width) = input.dtype, input.shape[2:]
    stride_x, stride_y = (F32(s) for s in stride or [16.0, 16.0])
    sizes = []
    for ratio in map(F32, aspect_ratios):
        for size in map(F32, anchor_sizes):
            base_w = F32(_round(float(np.sqrt(stride_x * stride_y / ratio))))
            base_h = F32(_round(float(base_w * ratio)))
            sizes.append((size / stride_x * base_w, size / stride_y * base_h))
    halves = b.const(np.asarray([(F32(0.5) * (w - 1), F32(0.5) * (h - 1)) for w, h in sizes]), t)

    def element(half: te.Tensor, y: PrimExpr, x: PrimExpr, k: PrimExpr, c: PrimExpr) -> PrimExpr:
        centre_x = tirx.Cast(t, x) * _const(float(stride_x), t) + _const(offset * (float(stride_x) - 1), t)
        centre_y = tirx.Cast(t, y) * _const(float(stride_y), t) + _const(offset * (float(stride_y) - 1), t)
        low = select(c == 0, centre_x - half(k, 0), centre_y - half(k, 1))
        return select(c < 2, low, select(c == 2, centre_x + half(k, 0), centre_y + half(k, 1)))

    boxes = b.compute([height, width, len(sizes), 4], element, halves, name="anchor_generator")
    return boxes, _filled(b, height, width, len(sizes), list(variances), t)


def _round(value: float) -> float:
    """C's round: halves away from zero."""
    return math.floor(float(value) + 0.5) if value >= 0 else math.ceil(float(value) - 0.5)


# ---- coding ------------------------------------------------------------------------------------------------------------


@operator
def box_coder(
    b: Builder,
    prior_box: Tensor,
    prior_box_var: Tensor | None,
    target_box: Tensor,
    code_type: str = "encode_center_size",
    box_normalized: bool = True,
    axis: int = 0,
    variance: list | None = None,
) -> Tensor:
    """Boxes as offsets from priors (encode: [N, 4], [M, 4] → [N, M, 4]), or back (decode: [N, M, 4] → [N, M, 4])."""
    t = target_box.dtype
    one = _const(0.0 if box_normalized else 1.0, t)
    half = _const(0.5, t)
    weights = prior_box_var if prior_box_var is not None else b.const(np.asarray([list(variance or [1.0] * 4)]), t)
    single = prior_box_var is None

    def weight(v: te.Tensor, k: PrimExpr, c: int) -> PrimExpr:
        return v(0 if single else k, c)

    def extent(box: te.Tensor, k: PrimExpr, c: int) -> PrimExpr:
        return box(k, c + 2) - box(k, c) + one

    def pick(c: PrimExpr, values: list[PrimExpr]) -> PrimExpr:
        return select(c == 0, values[0], select(c == 1, values[1], select(c == 2, values[2], values[3])))

    def encode(prior: te.Tensor, v: te.Tensor, target: te.Tensor, i: PrimExpr, j: PrimExpr, c: PrimExpr) -> PrimExpr:
        out = []
        for k in (0, 1):
            centre = (target(i, k + 2) + target(i, k)) * half
            out.append((centre - (prior(j, k) + extent(prior, j, k) * half)) / extent(prior, j, k) / weight(v, j, k))
        for k in (0, 1):
            out.append(tirx.log(tirx.abs(extent(target, i, k) / extent(prior, j, k))) / weight(v, j, k + 2))
        return pick(c, out)

    def decode(prior: te.Tensor, v: te.Tensor, target: te.Tensor, i: PrimExpr, j: PrimExpr, c: PrimExpr) -> PrimExpr:
        p = j if axis == 0 else i
        low, high = [], []
        for k in (0, 1):
            size = extent(prior, p, k)
            centre = weight(v, p, k) * target(i, j, k) * size + (prior(p, k) + size * half)
            reach = tirx.exp(weight(v, p, k + 2) * target(i, j, k + 2)) * size * half
            low.append(centre - reach)
            high.append(centre + reach - one)
        return pick(c, low + high)

    if code_type == "encode_center_size":
        return b.compute([target_box.shape[0], prior_box.shape[0], 4], encode, prior_box, weights, target_box, name="box_encode")
    if code_type == "decode_center_size":
        return b.compute(target_box.shape, decode, prior_box, weights, target_box, name="box_decode")
    raise UnsupportedError(f"box_coder with code_type {code_type!r}")


@operator
def box_clip(b: Builder, input: Tensor, im_info: Tensor) -> Tensor:
    """Boxes of one image, clipped to its size before scaling; im_info is [[height, width, scale]]."""
    if im_info.shape[0] != 1:
        raise UnsupportedError("box_clip for several images: the boxes of each are told by LoD")
    t = input.dtype

    def element(boxes: te.Tensor, info: te.Tensor, *i: PrimExpr) -> PrimExpr:
        size = select(tirx.floormod(i[-1], 2) == 0, info(0, 1), info(0, 0)) / info(0, 2)
        limit = tirx.floor(size + _const(0.5, t)) - _const(1.0, t)
        return tirx.max(tirx.min(boxes(*i), limit), _const(0.0, t))

    return b.compute(input.shape, element, input, im_info, name="box_clip")


# ---- YOLO --------------------------------------------------------------------------------------------------------------


@operator
def yolo_box(
    b: Builder,
    x: Tensor,
    img_size: Tensor,
    anchors: list | None = None,
    class_num: int = 1,
    conf_thresh: float = 0.01,
    downsample_ratio: int = 32,
    clip_bbox: bool = True,
    scale_x_y: float = 1.0,
    iou_aware: bool = False,
    iou_aware_factor: float = 0.5,
) -> tuple[Tensor, Tensor]:
    """Boxes [N, anchors·H·W, 4] in pixels and scores [N, anchors·H·W, classes]; 0 where the confidence is below the threshold."""
    sizes = list(anchors or [])
    number, t, (height, width) = len(sizes) // 2, x.dtype, x.shape[2:]
    first = number if iou_aware else 0

    def confidence(v: te.Tensor, n: PrimExpr, a: PrimExpr, y: PrimExpr, z: PrimExpr) -> PrimExpr:
        own = sigmoid(v(n, first + a * (5 + class_num) + 4, y, z))
        if not iou_aware:
            return own
        overlap = sigmoid(v(n, a, y, z))
        return tirx.power(own, _const(1.0 - iou_aware_factor, t)) * tirx.power(overlap, _const(iou_aware_factor, t))

    # a confidence of its own: it decides, and the two results must decide alike
    cells = [x.shape[0], number, height, width]
    sure = b.compute(cells, confidence, x, name="yolo_confidence")

    def box(v: te.Tensor, size: te.Tensor, anchor: te.Tensor, conf: te.Tensor, *index: PrimExpr) -> PrimExpr:
        n, a, y, z, c = index
        channel = first + a * (5 + class_num)
        scale, bias = _const(scale_x_y, t), _const(-0.5 * (scale_x_y - 1.0), t)

        def corner(k: int, at: PrimExpr, grid: Dim) -> tuple[PrimExpr, PrimExpr]:
            extent = tirx.Cast(t, size(n, 1 - k))
            centre = (tirx.Cast(t, at) + sigmoid(v(n, channel + k, y, z)) * scale + bias) * extent / tirx.Cast(t, i64(grid))
            full = tirx.exp(v(n, channel + 2 + k, y, z)) * anchor(a * 2 + k) * extent / tirx.Cast(t, i64(grid) * downsample_ratio)
            low, high = centre - full / _const(2.0, t), centre + full / _const(2.0, t)
            if clip_bbox:
                low, high = tirx.max(low, _const(0.0, t)), tirx.min(high, extent - _const(1.0, t))
            return low, high

        (x0, x1), (y0, y1) = corner(0, z, width), corner(1, y, height)
        value = select(c == 0, x0, select(c == 1, y0, select(c == 2, x1, y1)))
        return select(conf(n, a, y, z) < _const(conf_thresh, t), _const(0.0, t), value)

    def score(v: te.Tensor, conf: te.Tensor, n: PrimExpr, a: PrimExpr, y: PrimExpr, z: PrimExpr, c: PrimExpr) -> PrimExpr:
        value = conf(n, a, y, z) * sigmoid(v(n, first + a * (5 + class_num) + 5 + c, y, z))
        return select(conf(n, a, y, z) < _const(conf_thresh, t), _const(0.0, t), value)

    # anchors, rows and columns are told apart by axes: of one axis, divided by unknown sizes, TVM takes minutes to simplify the places
    rows = [x.shape[0], b.simplify(number * height * width)]
    boxes = b.compute([*cells, 4], box, x, img_size, b.const(np.asarray(sizes), t), sure, name="yolo_boxes")
    scores = b.compute([*cells, class_num], score, x, sure, name="yolo_scores")
    return boxes.reshape([*rows, 4]), scores.reshape([*rows, class_num])


@operator
def yolo_box_head(b: Builder, x: Tensor, anchors: list, class_num: int) -> Tensor:
    """The activations of a YOLO head: sigmoid of all but the sizes, which are exponentiated."""
    number = len(anchors) // 2

    def element(v: te.Tensor, n: PrimExpr, c: PrimExpr, y: PrimExpr, z: PrimExpr) -> PrimExpr:
        entry = tirx.floormod(c, 5 + class_num)
        value = v(n, c, y, z)
        return select(both(entry >= 2, entry <= 3), tirx.exp(value), sigmoid(value))

    if isinstance(x.shape[1], int) and x.shape[1] != number * (5 + class_num):
        raise UnsupportedError(f"yolo_box_head: {x.shape[1]} channels for {number} anchors of {class_num} classes")
    return b.compute(x.shape, element, x, name="yolo_box_head")
