"""yolo_box_post: the boxes of YOLOv3's three heads, overlapping ones of a class suppressed, as Paddle's GPU kernel does it."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder
from .kernels import cut, sort_rows
from .registry import operator
from .serial import bind, both, cell, i64, kernel, loop, parallel, when
from .tensor import Dim, PrimExpr, Tensor

F32 = "float32"


@operator
def yolo_box_post(
    b: Builder,
    boxes0: Tensor,
    boxes1: Tensor,
    boxes2: Tensor,
    image_shape: Tensor,
    image_scale: Tensor,
    anchors0: list[int],
    anchors1: list[int],
    anchors2: list[int],
    class_num: int,
    conf_thresh: float,
    downsample_ratio0: int,
    downsample_ratio1: int,
    downsample_ratio2: int,
    clip_bbox: bool = True,
    scale_x_y: float = 1.0,
    nms_threshold: float = 0.45,
) -> tuple[Tensor, Tensor]:
    """[boxes, 6] of class, objectness, left, top, right, bottom, and how many boxes each image has (int32).

    Heads are those of yolo_box_head, (images, anchors · (5 + classes), height, width).  Boxes are sorted by class and falling probability;
    a suppressed one stays, with an objectness of 0.  Without any box there is one row of zeros.
    """
    images, five = boxes0.shape[0], 5 + class_num
    heads = list(
        zip(
            (boxes0, boxes1, boxes2),
            (anchors0, anchors1, anchors2),
            (downsample_ratio0, downsample_ratio1, downsample_ratio2),
            strict=True,
        )
    )
    if any(t.dtype != F32 for t in (boxes0, boxes1, boxes2)):
        raise UnsupportedError(f"yolo_box_post of {boxes0.dtype}")
    most: Dim = 0
    for t, anchors, _ in heads:
        most = most + len(anchors) // 2 * t.shape[2] * t.shape[3]
    most = b.simplify(most)
    least, zero = tirx.const(conf_thresh, F32), tirx.const(0.0, F32)

    def found(t0: Any, t1: Any, t2: Any, shape: Any, scale: Any, box: Any, label: Any, prob: Any, count: Any) -> None:
        with parallel(images) as n:
            high, wide = cell(F32, shape[n, 0] / scale[n, 0]), cell(F32, shape[n, 1] / scale[n, 1])
            at = cell("int64", 0)
            for t, (head, anchors, ratio) in zip((t0, t1, t2), heads, strict=True):
                rows, columns = head.shape[2], head.shape[3]
                for a in range(len(anchors) // 2):
                    with loop(rows) as y, loop(columns) as x, when(t[n, a * five + 4, y, x] >= least):
                        objectness, best, top = cell(F32, t[n, a * five + 4, y, x]), cell("int32", -1), cell(F32, 0.0)
                        # Paddle takes all heads for squares
                        cx = cell(F32, (t[n, a * five, y, x] + tirx.Cast(F32, x)) * wide.v / tirx.Cast(F32, i64(rows)))
                        cy = cell(F32, (t[n, a * five + 1, y, x] + tirx.Cast(F32, y)) * high.v / tirx.Cast(F32, i64(rows)))
                        size = [
                            cell(F32, t[n, a * five + 2 + k, y, x] * tirx.const(float(anchors[2 * a + k]), F32) * whole.v
                                 / tirx.Cast(F32, i64(extent) * ratio))
                            for k, whole, extent in ((0, wide, columns), (1, high, rows))
                        ]  # fmt: skip
                        half, one = tirx.const(0.5, F32), tirx.const(1.0, F32)
                        box[n, at.v, 0] = objectness.v
                        for k, (middle, whole) in enumerate(((cx, wide), (cy, high))):
                            box[n, at.v, 1 + k] = tirx.max(middle.v - size[k].v * half, zero)
                            box[n, at.v, 3 + k] = tirx.min(middle.v + size[k].v * half, whole.v - one)
                        with loop(class_num) as c:
                            value = bind(t[n, a * five + 5 + c, y, x] * objectness.v)
                            with when(value > top.v):
                                top.v, best.v = value, tirx.Cast("int32", c)
                        # where no class has a probability, the objectness is what boxes are sorted by
                        label[n, at.v] = best.v
                        prob[n, at.v] = tirx.if_then_else(best.v >= 0, top.v, objectness.v)
                        at.v = at.v + 1
            count[n] = tirx.Cast("int32", at.v)
            with loop(i64(most) - at.v) as k:
                label[n, at.v + k], prob[n, at.v + k] = tirx.const(2**30, "int32"), zero

    outputs: list[Any] = [([images, most, 5], F32), ([images, most], "int32"), ([images, most], F32), ([images], "int32")]
    inputs = [boxes0, boxes1, boxes2, image_shape.astype(F32), image_scale.astype(F32)]
    box, label, prob, count = kernel(b, found, inputs, outputs, "yolo_boxes")

    def before(keys: list[Any], r: Any, i: Any, j: Any) -> PrimExpr:
        kind, value = keys
        return tirx.any(kind[r, i] < kind[r, j], both(kind[r, i] == kind[r, j], value[r, i] > value[r, j]))

    order = sort_rows(b, images, most, [label, prob], before, "yolo_order")

    def suppressed(where: Any, rank: Any, kind: Any, number: Any, out: Any, total: Any) -> None:
        at = cell("int64", 0)
        with loop(6) as k:
            out[0, k] = zero
        with loop(images) as n:
            with loop(i64(number[n])) as i:
                row = bind(rank[n, i])
                out[at.v + i, 0] = tirx.Cast(F32, kind[n, row])
                with loop(5) as k:
                    out[at.v + i, 1 + k] = where[n, row, k]
            with loop(i64(number[n])) as i, when(out[at.v + i, 1] != zero), loop(i64(number[n]), i + 1) as j:
                same = both(out[at.v + j, 1] != zero, out[at.v + j, 0] == out[at.v + i, 0])
                with when(same):
                    share = bind(_overlap(out, at.v + i, at.v + j))
                    with when(share > tirx.const(nms_threshold, F32)):
                        out[at.v + j, 1] = zero
            at.v = at.v + i64(number[n])
        total[0] = tirx.max(at.v, i64(1))

    room = b.simplify(images * most + 1)
    out, total = kernel(b, suppressed, [box, order, label, count], [([room, 6], F32), ([1], "int64")], "yolo_suppress")
    return cut(b, out, total), count


def _overlap(out: Any, i: Any, j: Any) -> PrimExpr:
    """Intersection over union; Paddle takes a box's left upper corner for its middle here."""
    sides, areas = [], []
    half, zero = tirx.const(0.5, F32), tirx.const(0.0, F32)
    for k in range(2):
        begins = [(out[r, 2 + k], out[r, 4 + k] - out[r, 2 + k]) for r in (i, j)]
        low = [p - w * half for p, w in begins]
        high = [p + w * half for p, w in begins]
        sides.append(tirx.min(*high) - tirx.max(*low))
        areas.append([w for _, w in begins])
    common = tirx.if_then_else(tirx.any(sides[0] < zero, sides[1] < zero), zero, sides[0] * sides[1])
    return common / (areas[0][0] * areas[1][0] + areas[0][1] * areas[1][1] - common)
