"""Non-maximum suppression, to Paddle's order and rules of ties.

Results whose size depends on the data are computed into a padded buffer with a count, and cut to the count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_min
from .kernels import cut, sorted_order
from .registry import operator
from .roi import image_of_each
from .serial import Cell, bind, both, cell, either, i64, kernel, loop, parallel, select, when, while_
from .tensor import PrimExpr, Tensor

Corner = Any  # a function of 0 … 3 that gives a coordinate of a box


def box_area(box: Corner, dtype: str, normalized: bool) -> PrimExpr:
    """The area; 0 when a side is negative; pixel boxes (not normalized) include both edges."""
    one = tirx.const(0.0 if normalized else 1.0, dtype)
    w, h = box(2) - box(0), box(3) - box(1)
    return select(either(w < tirx.const(0, dtype), h < tirx.const(0, dtype)), tirx.const(0, dtype), (w + one) * (h + one))


def overlap(p: Corner, q: Corner, dtype: str, normalized: bool) -> PrimExpr:
    """Intersection over union of two boxes; emits cells for the parts."""
    one = tirx.const(0.0 if normalized else 1.0, dtype)
    w = tirx.min(p(2), q(2)) - tirx.max(p(0), q(0)) + one
    h = tirx.min(p(3), q(3)) - tirx.max(p(1), q(1)) + one
    common = cell(dtype, w * h)
    apart = either(q(0) > p(2), q(2) < p(0), q(1) > p(3), q(3) < p(1))
    whole = box_area(p, dtype, normalized) + box_area(q, dtype, normalized) - common.v
    return select(apart, tirx.const(0.0, dtype), common.v / whole)


# ---- one class at a time -----------------------------------------------------------------------------------------------


@operator
def nms(b: Builder, x: Tensor, threshold: float = 1.0) -> Tensor:
    """Indices (int64) of the boxes, in the order given, that overlap no earlier kept one by more than the threshold."""
    rows, t = x.shape[0], x.dtype

    def iou(box: Any, i: Any, j: Any) -> PrimExpr:
        def side(k: Any, axis: int) -> tuple[PrimExpr, PrimExpr]:
            return tirx.min(box[k, axis], box[k, axis + 2]), tirx.max(box[k, axis], box[k, axis + 2])

        (ax0, ax1), (ay0, ay1), (bx0, bx1), (by0, by1) = side(i, 0), side(i, 1), side(j, 0), side(j, 1)
        zero = tirx.const(0.0, t)
        w, h = tirx.max(tirx.min(ax1, bx1) - tirx.max(ax0, bx0), zero), tirx.max(tirx.min(ay1, by1) - tirx.max(ay0, by0), zero)
        return w * h / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - w * h)

    def body(box: Any, kept: Any, count: Any) -> None:
        found = cell("int64", 0)
        with loop(rows) as i:
            keep, k = cell("bool", True), cell("int64", 0)
            with while_(both(keep.v, k.v < found.v)):
                keep.v = tirx.Not(iou(box, kept[k.v], i) > tirx.const(threshold, t))
                k.v = k.v + 1
            with when(keep.v):
                kept[found.v] = i64(i)
                found.v = found.v + 1
        count[0] = found.v

    kept, count = kernel(b, body, [x], [([rows], "int64"), ([1], "int64")], "nms")
    return cut(b, kept, count)


def greedy(
    position: Any, limit: Any, corner: Any, kept: Any, found: Any, *, threshold: float, eta: float, dtype: str, normalized: bool
) -> None:
    """Emit: go through candidates position(0) … position(limit − 1); keep those that overlap no kept one by more than the threshold."""
    adaptive = cell(dtype, threshold)
    with loop(limit) as s:
        i = bind(i64(position(s)))
        keep, k = cell("bool", True), cell("int64", 0)
        with while_(both(keep.v, k.v < found.v)):
            other = bind(kept(k.v))
            keep.v = overlap(lambda c, i=i: corner(i, c), lambda c, o=other: corner(o, c), dtype, normalized) <= adaptive.v
            k.v = k.v + 1
        with when(keep.v):
            kept(found.v, i)
            found.v = found.v + 1
            if eta < 1.0:
                with when(adaptive.v > tirx.const(0.5, dtype)):
                    adaptive.v = adaptive.v * tirx.const(eta, dtype)


def row_of(buffer: Any, *lead: Any) -> Callable[..., Any]:
    """A function that reads element k of a buffer's row (k), or writes it (k, value)."""

    def element(k: Any, value: Any = None) -> Any:
        if value is None:
            return buffer[(*lead, k)]
        buffer[(*lead, k)] = value
        return None

    return element


@operator("multiclass_nms3")
def multiclass_nms3(
    b: Builder,
    bboxes: Tensor,
    scores: Tensor,
    rois_num: Tensor | None = None,
    score_threshold: float = 0.0,
    nms_top_k: int = -1,
    keep_top_k: int = -1,
    nms_threshold: float = 0.3,
    normalized: bool = True,
    nms_eta: float = 1.0,
    background_label: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """[label, score, box] of what survives in every class, the index of each, and the number of each image.

    Boxes [N, M, 4] with scores [N, C, M]; or boxes of all images together, [R, C, 4] with scores [R, C] and rois_num [N].
    """
    if scores.ndim == 2:
        return _multiclass_nms_of_rois(
            b, bboxes, scores, rois_num, score_threshold, nms_top_k, keep_top_k, nms_threshold, normalized, nms_eta, background_label
        )
    _need_four(bboxes)
    (n, classes, m), t = scores.shape, scores.dtype
    order = sorted_order(b, scores.reshape([b.simplify(n * classes), m]), descending=True).reshape([n, classes, m])
    room = b.simplify(dim_min(m, nms_top_k)) if nms_top_k > -1 else m

    def select_boxes(box: Any, score: Any, sequence: Any, kept: Any, count: Any) -> None:
        with parallel(i64(n) * i64(classes)) as line:
            i, c = bind(line // i64(classes)), bind(line % i64(classes))
            found, limit = cell("int64", 0), cell("int64", 0)
            if background_label >= 0:
                allowed = c != background_label
            else:
                allowed = tirx.const(True, "bool")
            with when(allowed), loop(room) as k, when(score[i, c, sequence[i, c, k]] > tirx.const(score_threshold, t)):
                limit.v = i64(k) + 1

            greedy(
                lambda s: sequence[i, c, s], limit.v, lambda k, a: box[i, k, a], row_of(kept, i, c), found,
                threshold=nms_threshold, eta=nms_eta, dtype=t, normalized=normalized,
            )  # fmt: skip
            count[i, c] = found.v

    kept, count = kernel(
        b, select_boxes, [bboxes, scores, order], [([n, classes, room], "int64"), ([n, classes], "int64")], "nms_of_classes"
    )
    count = _keep_best(b, count, keep_top_k, [kept, scores], lambda bufs, i, c, k: bufs[1][i, c, bufs[0][i, c, k]], t)

    def output(box: Any, score: Any, keep: Any, number: Any, out: Any, index: Any, each: Any, total: Any) -> None:
        row = cell("int64", 0)
        with loop(n) as i:
            start = bind(row.v)
            with loop(classes) as c, loop(number[i, c]) as k:
                at = bind(keep[i, c, k])
                _write(out, index, row, c, score[i, c, at], lambda a, i=i, at=at: box[i, at, a], i64(i) * i64(m) + at)
            each[i] = tirx.Cast("int32", row.v - start)
        total[0] = row.v

    most = b.simplify(n * (classes * room if keep_top_k < 0 else dim_min(classes * room, keep_top_k)))
    outputs: list[Any] = [([most, 6], t), ([most, 1], "int32"), ([n], "int32"), ([1], "int64")]
    out, index, each, total = kernel(b, output, [bboxes, scores, kept, count], outputs, "nms_output")
    out, index = cut_all(b, [out, index], total)
    return out, index, each


def _write(out: Any, index: Any, row: Cell, label: Any, score: Any, corner: Corner, place: Any) -> None:
    """Emit: write the next row, [label, score, box], and the place that the box had."""
    out[row.v, 0] = tirx.Cast(str(score.ty), label)
    out[row.v, 1] = score
    for a in range(4):
        out[row.v, a + 2] = corner(a)
    index[row.v, 0] = tirx.Cast("int32", place)
    row.v = row.v + 1


def _need_four(boxes: Tensor) -> None:
    if isinstance(boxes.shape[-1], int) and boxes.shape[-1] != 4:
        raise UnsupportedError(f"suppression of boxes of {boxes.shape[-1]} numbers (polygons)")


def cut_all(b: Builder, padded: list[Tensor], total: Tensor) -> tuple[Tensor, ...]:
    """Padded tensors cut to one run-time number of rows."""
    (rows,) = b.dims(total)
    return tuple(b.slice(t, 0, 0, rows) for t in padded)


def _keep_best(b: Builder, count: Tensor, keep: int, values: list[Tensor], score: Any, dtype: str) -> Tensor:
    """How many of each class's boxes, which stand in falling order, are among the best ``keep`` of their image (a merge of the heads)."""
    if keep < 0:
        return count
    n, classes = count.shape

    def body(number: Any, *buffers: Any) -> None:
        *bufs, out = buffers
        with parallel(n) as i:
            total = cell("int64", 0)
            with loop(classes) as c:
                total.v = total.v + number[i, c]
                out[i, c] = number[i, c]
            with when(total.v > keep):
                with loop(classes) as c:
                    out[i, c] = i64(0)
                with loop(keep):
                    best, best_score = cell("int64", -1), cell(dtype, 0.0)
                    with loop(classes) as c, when(out[i, c] < number[i, c]):
                        own = bind(score(bufs, i, c, out[i, c]))
                        with when(either(best.v < 0, own > best_score.v)):
                            best.v, best_score.v = i64(c), own
                    out[i, best.v] = out[i, best.v] + 1

    return kernel(b, body, [count, *values], [(count.shape, "int64")], "keep_top_k")[0]


def _multiclass_nms_of_rois(
    b: Builder, bboxes: Tensor, scores: Tensor, rois_num: Tensor | None, score_threshold: float, nms_top_k: int, keep_top_k: int,
    nms_threshold: float, normalized: bool, eta: float, background: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The form with boxes [R, C, 4] and scores [R, C] of all images together; within a class boxes come out in their own order."""
    if rois_num is None:
        raise UnsupportedError("multiclass_nms3 of 2-D scores without rois_num")
    _need_four(bboxes)
    (r, classes), t, n = scores.shape, scores.dtype, rois_num.shape[0]
    order = sorted_order(b, scores.transpose([1, 0]), descending=True)  # [C, R]
    owner = image_of_each(b, bboxes, rois_num, n)

    def select_boxes(box: Any, score: Any, sequence: Any, own: Any, kept: Any, count: Any, work: Any) -> None:
        with loop(n) as i, loop(classes) as c:
            found, limit = cell("int64", 0), cell("int64", 0)
            with when(c != background), loop(r) as k:
                at = bind(sequence[c, k])
                fits = both(own[at] == i64(i), score[at, c] > tirx.const(score_threshold, t))
                with when(both(fits, limit.v < nms_top_k) if nms_top_k > -1 else fits):
                    work[limit.v] = at
                    limit.v = limit.v + 1

            greedy(
                lambda s: work[s], limit.v, lambda k, a: box[k, c, a], row_of(kept, i, c), found,
                threshold=nms_threshold, eta=eta, dtype=t, normalized=normalized,
            )  # fmt: skip
            count[i, c] = found.v

    shapes: list[Any] = [([n, classes, r], "int64"), ([n, classes], "int64"), ([r], "int64")]
    kept, count, _ = kernel(b, select_boxes, [bboxes, scores, order, owner], shapes, "nms_of_rois")
    count = _keep_best(b, count, keep_top_k, [kept, scores], lambda bufs, i, c, k: bufs[1][bufs[0][i, c, k], c], t)

    def output(box: Any, score: Any, keep: Any, number: Any, out: Any, index: Any, each: Any, total: Any, work: Any) -> None:
        row = cell("int64", 0)
        with loop(n) as i:
            start = bind(row.v)
            with loop(classes) as c:
                with loop(r) as at:
                    work[at] = tirx.const(0, "int8")
                with loop(number[i, c]) as k:
                    work[keep[i, c, k]] = tirx.const(1, "int8")
                with loop(r) as at, when(work[at] == 1):
                    _write(out, index, row, c, score[at, c], lambda a, c=c, at=at: box[at, c, a], i64(at) * i64(classes) + c)
            each[i] = tirx.Cast("int32", row.v - start)
        total[0] = row.v

    most = b.simplify(classes * r)
    outputs: list[Any] = [([most, 6], t), ([most, 1], "int32"), ([n], "int32"), ([1], "int64"), ([r], "int8")]
    out, index, each, total, _ = kernel(b, output, [bboxes, scores, kept, count], outputs, "nms_rois_output")
    out, index = cut_all(b, [out, index], total)
    return out, index, each


@operator
def matrix_nms(
    b: Builder,
    bboxes: Tensor,
    scores: Tensor,
    score_threshold: float,
    nms_top_k: int,
    keep_top_k: int,
    post_threshold: float = 0.0,
    use_gaussian: bool = False,
    gaussian_sigma: float = 2.0,
    background_label: int = 0,
    normalized: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores decayed by the overlap with better boxes of the class → [label, score, box] by falling score, indices, and counts."""
    _need_four(bboxes)
    (n, classes, m), t = scores.shape, scores.dtype
    order = sorted_order(b, scores.reshape([b.simplify(n * classes), m]), descending=True).reshape([n, classes, m])
    room = b.simplify(dim_min(m, nms_top_k)) if nms_top_k > -1 else m
    slots = b.simplify(classes * room)

    def decay(box: Any, score: Any, sequence: Any, decayed: Any, most: Any) -> None:
        with parallel(i64(n) * i64(classes)) as line:
            i, c = bind(line // i64(classes)), bind(line % i64(classes))
            with loop(room) as k:
                decayed[i, c * room + k] = tirx.min_value(t)
            limit = cell("int64", 0)
            with when(c != background_label), loop(room) as k, when(score[i, c, sequence[i, c, k]] > tirx.const(score_threshold, t)):
                limit.v = i64(k) + 1
            with loop(limit.v) as k:
                at, least, largest = bind(sequence[i, c, k]), cell(t, 1.0), cell(t, 0.0)
                with loop(k) as j:
                    other = bind(sequence[i, c, j])
                    iou = bind(overlap(lambda a, p=at: box[i, p, a], lambda a, q=other: box[i, q, a], t, normalized))
                    largest.v = tirx.Select(largest.v < iou, iou, largest.v)
                    worst = bind(most[i, c, j])
                    one = tirx.const(1.0, t)
                    # two boxes alike make it 0 / 0, which is passed over
                    if use_gaussian:
                        factor = tirx.exp((worst * worst - iou * iou) * tirx.const(gaussian_sigma, t))
                    else:
                        factor = (one - iou) / (one - worst)
                    with when(factor < least.v):
                        least.v = factor
                most[i, c, k] = largest.v
                value = bind(least.v * score[i, c, at])
                with when(value > tirx.const(post_threshold, t)):
                    decayed[i, c * room + k] = value

    decayed, _ = kernel(b, decay, [bboxes, scores, order], [([n, slots], t), ([n, classes, room], t)], "matrix_nms")
    best = sorted_order(b, decayed, descending=True)
    most_each = slots if keep_top_k < 0 else b.simplify(dim_min(slots, keep_top_k))

    def output(box: Any, sequence: Any, value: Any, ranked: Any, out: Any, index: Any, each: Any, total: Any) -> None:
        row = cell("int64", 0)
        with loop(n) as i:
            start = bind(row.v)
            with loop(most_each) as k:
                slot = bind(ranked[i, k])
                with when(value[i, slot] > tirx.min_value(t)):
                    c = bind(tirx.floordiv(slot, i64(room)))
                    at = bind(sequence[i, c, tirx.floormod(slot, i64(room))])
                    _write(out, index, row, c, value[i, slot], lambda a, i=i, at=at: box[i, at, a], i64(i) * i64(m) + at)
            each[i] = tirx.Cast("int32", row.v - start)
        total[0] = row.v

    rows = b.simplify(n * most_each)
    outputs: list[Any] = [([rows, 6], t), ([rows, 1], "int32"), ([n], "int32"), ([1], "int64")]
    out, index, each, total = kernel(b, output, [bboxes, order, decayed, best], outputs, "matrix_nms_output")
    out, index = cut_all(b, [out, index], total)
    return out, index, each
