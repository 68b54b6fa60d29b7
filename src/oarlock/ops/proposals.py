"""Region proposals: generated from anchors, distributed to the levels of a pyramid, collected again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm import te, tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_min
from .kernels import sorted_order, take_rows
from .nms import box_area, cut_all, greedy, row_of
from .registry import operator
from .roi import image_of_each
from .serial import bind, both, cell, i64, kernel, loop, parallel, select, when
from .tensor import Dim, PrimExpr, Tensor


@operator
def generate_proposals(
    b: Builder,
    scores: Tensor,
    bbox_deltas: Tensor,
    im_shape: Tensor,
    anchors: Tensor,
    variances: Tensor,
    pre_nms_top_n: int,
    post_nms_top_n: int,
    nms_thresh: float,
    min_size: float,
    eta: float,
    pixel_offset: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """The best anchors, moved by their deltas, clipped, and suppressed: boxes [R, 4], scores [R, 1], and the number of each image."""
    (n, a, height, width), t = scores.shape, scores.dtype
    m = b.simplify(height * width * a)
    flat_scores = scores.transpose([0, 2, 3, 1]).reshape([n, m])
    deltas = bbox_deltas.transpose([0, 2, 3, 1]).reshape([n, m, 4])
    priors, spread = anchors.reshape([m, 4]), variances.reshape([m, 4])
    order = sorted_order(b, flat_scores, descending=True)
    taken = m if pre_nms_top_n <= 0 else b.simplify(dim_min(m, pre_nms_top_n))
    boxes = _moved_anchors(b, deltas, priors, spread, im_shape, pixel_offset)
    room = taken if post_nms_top_n <= 0 or nms_thresh <= 0 else b.simplify(dim_min(taken, post_nms_top_n))

    def body(score: Any, box: Any, size: Any, sequence: Any, kept: Any, count: Any, work: Any, all_kept: Any) -> None:
        smallest, one = tirx.const(max(min_size, 1.0), t), tirx.const(1.0 if pixel_offset else 0.0, t)
        half = tirx.const(0.5, t)
        with parallel(n) as i:
            limit, found = cell("int64", 0), cell("int64", 0)
            with loop(taken) as k:
                at = bind(sequence[i, k])
                w, h = bind(box[i, at, 2] - box[i, at, 0] + one), bind(box[i, at, 3] - box[i, at, 1] + one)
                large = both(w >= smallest, h >= smallest)
                if pixel_offset:
                    large = both(large, box[i, at, 0] + half * w <= size[i, 1], box[i, at, 1] + half * h <= size[i, 0])
                with when(large):
                    work[i, limit.v] = at
                    limit.v = limit.v + 1

            if nms_thresh > 0:
                greedy(
                    lambda s: work[i, s], limit.v, lambda k, c: box[i, k, c], row_of(all_kept, i), found,
                    threshold=nms_thresh, eta=eta, dtype=t, normalized=not pixel_offset,
                )  # fmt: skip
            else:
                with loop(limit.v) as k:
                    all_kept[i, k] = work[i, k]
                found.v = limit.v
            count[i] = tirx.min(found.v, i64(room))
            with loop(count[i]) as k:
                kept[i, k] = all_kept[i, k]

    shapes: list[Any] = [([n, room], "int64"), ([n], "int64"), ([n, taken], "int64"), ([n, taken], "int64")]
    kept, count, _, _ = kernel(b, body, [flat_scores, boxes, im_shape, order], shapes, "proposals")

    def output(score: Any, box: Any, keep: Any, number: Any, rois: Any, probs: Any, each: Any, total: Any) -> None:
        row = cell("int64", 0)
        with loop(n) as i:
            with loop(number[i]) as k:
                for c in range(4):
                    rois[row.v, c] = box[i, keep[i, k], c]
                probs[row.v, 0] = score[i, keep[i, k]]
                row.v = row.v + 1
            with when(number[i] == 0):  # an image without proposals gets one empty box
                for c in range(4):
                    rois[row.v, c] = tirx.const(0.0, t)
                probs[row.v, 0] = tirx.const(0.0, t)
                row.v = row.v + 1
            each[i] = tirx.Cast("int32", tirx.max(number[i], i64(1)))
        total[0] = row.v

    rows = b.simplify(n * room)
    outputs: list[Any] = [([rows, 4], t), ([rows, 1], t), ([n], "int32"), ([1], "int64")]
    rois, probs, each, total = kernel(b, output, [flat_scores, boxes, kept, count], outputs, "proposals_output")
    rois, probs = cut_all(b, [rois, probs], total)
    return rois, probs, each


def _moved_anchors(b: Builder, deltas: Tensor, priors: Tensor, spread: Tensor, im_shape: Tensor, pixel_offset: bool) -> Tensor:
    """Anchors moved and scaled by their deltas, clipped to the image, [N, M, 4]."""
    t = deltas.dtype
    one, half = tirx.const(1.0 if pixel_offset else 0.0, t), tirx.const(0.5, t)
    largest = tirx.const(float(np.float32(math.log(1000.0 / 16.0))), t)

    def element(d: te.Tensor, p: te.Tensor, v: te.Tensor, size: te.Tensor, i: PrimExpr, k: PrimExpr, c: PrimExpr) -> PrimExpr:
        def corner(axis: int, high: bool) -> PrimExpr:
            extent = p(k, axis + 2) - p(k, axis) + one
            centre = v(k, axis) * d(i, k, axis) * extent + (p(k, axis) + half * extent)
            reach = tirx.exp(tirx.min(v(k, axis + 2) * d(i, k, axis + 2), largest)) * extent / tirx.const(2.0, t)
            value = centre + reach - one if high else centre - reach
            return tirx.max(tirx.min(value, size(i, 1 - axis) - one), tirx.const(0.0, t))

        return select(c == 0, corner(0, False), select(c == 1, corner(1, False), select(c == 2, corner(0, True), corner(1, True))))

    return b.compute(deltas.shape, element, deltas, priors, spread, im_shape, name="moved_anchors")


@operator
def distribute_fpn_proposals(
    b: Builder,
    fpn_rois: Tensor,
    rois_num: Tensor | None,
    min_level: int,
    max_level: int,
    refer_level: int,
    refer_scale: int,
    pixel_offset: bool,
) -> tuple[list[Tensor], list[Tensor] | None, Tensor]:
    """Boxes sorted to the levels of a pyramid by their size; per level their number in each image; where each box went."""
    rows, t, levels = fpn_rois.shape[0], fpn_rois.dtype, max_level - min_level + 1
    counts = rois_num if rois_num is not None else b.full([1], 0, "int32")
    n = counts.shape[0]
    owner = image_of_each(b, fpn_rois, rois_num, n)

    def body(box: Any, own: Any, order: Any, restore: Any, number: Any, each: Any, level: Any) -> None:
        with loop(rows) as r:
            area = cell(t, box_area(lambda c: box[r, c], t, not pixel_offset))
            ratio = tirx.sqrt(area.v) / tirx.const(refer_scale, t) + tirx.const(1e-6, t)
            wanted = i64(tirx.floor(tirx.log2(ratio) + tirx.const(refer_level, t)))
            level[r] = tirx.min(tirx.max(wanted, i64(min_level)), i64(max_level)) - min_level
        place = cell("int64", 0)
        with loop(levels) as k:
            start = bind(place.v)
            with loop(n) as i:
                each[k, i] = tirx.const(0, "int32")
            with loop(rows) as r, when(level[r] == i64(k)):
                order[place.v] = i64(r)
                restore[r, 0] = tirx.Cast("int32", place.v)
                each[k, own[r]] = each[k, own[r]] + 1
                place.v = place.v + 1
            number[k] = place.v - start

    shapes: list[Any] = [([rows], "int64"), ([rows, 1], "int32"), ([levels], "int64"), ([levels, n], "int32"), ([rows], "int64")]
    order, restore, number, each, _ = kernel(b, body, [fpn_rois, owner], shapes, "distribute")
    sizes = b.dims(number)
    rois, begin = [], 0
    for size in sizes:
        rois.append(take_rows(b, fpn_rois, b.slice(order, 0, begin, begin + size)))
        begin = begin + size
    numbers = [b.slice(each, 0, k, k + 1).reshape([n]) for k in range(levels)] if rois_num is not None else None
    return rois, numbers, restore


@operator
def collect_fpn_proposals(
    b: Builder,
    multi_level_rois: list[Tensor],
    multi_level_scores: list[Tensor],
    multi_level_rois_num: list[Tensor] | None,
    post_nms_topn: int,
) -> tuple[Tensor, Tensor]:
    """The best boxes of all levels, image by image, and the number of each image."""
    if not multi_level_rois_num:
        raise UnsupportedError("collect_fpn_proposals without the number of boxes of each image")
    n = multi_level_rois_num[0].shape[0]
    rois = b.concat(multi_level_rois, 0)
    scores = b.concat([s.reshape([s.shape[0]]) for s in multi_level_scores], 0)
    owner = b.concat([image_of_each(b, r, c, n) for r, c in zip(multi_level_rois, multi_level_rois_num, strict=True)], 0)
    rows = rois.shape[0]
    taken: Dim = b.simplify(dim_min(rows, post_nms_topn))
    rising = sorted_order(b, scores.reshape([1, rows])).reshape([rows])
    order = b.compute([rows], lambda t, k: t(i64(rows) - 1 - k), rising, name="falling")  # of equal scores the last is first

    def body(best: Any, own: Any, out: Any, each: Any) -> None:
        place = cell("int64", 0)
        with loop(n) as i:
            start = bind(place.v)
            with loop(taken) as k, when(own[best[k]] == i64(i)):
                out[place.v] = best[k]
                place.v = place.v + 1
            each[i] = tirx.Cast("int32", place.v - start)

    chosen, each = kernel(b, body, [order, owner], [([taken], "int64"), ([n], "int32")], "collect")
    return take_rows(b, rois, chosen), each
