"""Strategies of detection's operators."""

from __future__ import annotations

from typing import Any

from drawing import Call, Values, drawn, expression, flag, listed, pick, size, unknown, values
from hypothesis import strategies as st


def _boxes(draw: Any, n: int, extent: float = 16.0, dtype: str = "float32", dims: tuple[int, ...] = ()) -> Values:
    """n boxes x0, y0, x1, y1 (all of them in one array of ``dims``, where given)."""
    text = f"boxes({n}, {extent}, seed={draw(st.integers(0, 3))})"
    text = f'{text}.astype("{dtype}")' if dtype != "float32" else text
    return Values(dtype, dims or (n, 4), text=f"{text}.reshape({list(dims)})" if dims else text)


def _shares(draw: Any, images: int, most: int = 4) -> list[int]:
    """How many boxes each image has; one of them has some."""
    return [draw(st.integers(0, most)) for _ in range(images - 1)] + [draw(st.integers(1, most))]


@drawn("roi_align")
def roi_align(draw: Any, operator: str) -> Call:
    images, dtype = size(draw, 1, 3), pick(draw, "float32", "float64")
    x = values(draw, dtype, (images, size(draw, 1, 5), size(draw, 2, 16), size(draw, 2, 16)))
    shares = _shares(draw, images)
    r = _boxes(draw, sum(shares), pick(draw, 16.0, 40.0), dtype)
    given: dict[str, Any] = {"output_size": (pick(draw, 2, 1, 3, 7), pick(draw, 2, 1, 3, 7)), "spatial_scale": pick(draw, 1.0, 0.5, 0.3)}
    given |= {"sampling_ratio": pick(draw, -1, 1, 2), "aligned": flag(draw)}
    free = {"x": (0, 2, 3), "r": (0,), "n": (0,)}
    code = expression("paddle.vision.ops.roi_align", "x", "r", "n", **given)
    return Call(operator, code, {"x": x, "r": r, "n": listed("int32", shares)}, unknown=unknown(draw, free))


@drawn("yolo_box")
def yolo_box(draw: Any, operator: str) -> Call:
    images, classes, count, aware = size(draw, 1, 3), draw(st.integers(1, 4)), draw(st.integers(1, 3)), flag(draw)
    anchors = [pick(draw, 10, 13, 30, 61) for _ in range(2 * count)]
    dtype = pick(draw, "float32", "float64")
    channels = count * (5 + classes + aware)
    x = values(draw, dtype, (images, channels, size(draw, 1, 8), size(draw, 1, 8)))
    s = values(draw, "int32", (images, 2), 20, 200)
    given: dict[str, Any] = {"conf_thresh": pick(draw, 0.3, 0.01, 0.6), "downsample_ratio": pick(draw, 32, 8)}
    given |= {"clip_bbox": flag(draw), "scale_x_y": pick(draw, 1.0, 1.2, 0.9), "iou_aware": aware, "iou_aware_factor": pick(draw, 0.5, 0.3)}
    code = expression("paddle.vision.ops.yolo_box", "x", "s", repr(anchors), str(classes), **given)
    return Call(operator, code, {"x": x, "s": s}, unknown=unknown(draw, {"x": (0, 2, 3), "s": (0,)}))


@drawn("prior_box")
def prior_box(draw: Any, operator: str) -> Call:
    x = values(draw, "float32", (size(draw, 1, 2), size(draw, 1, 3), size(draw, 1, 5), size(draw, 1, 5)))
    im = values(draw, "float32", (x.shape[0], 3, size(draw, 7, 33), size(draw, 7, 33)))
    least = [pick(draw, 4.0, 3.0, 6.0) for _ in range(draw(st.integers(1, 2)))]
    given: dict[str, Any] = {"min_sizes": least, "max_sizes": [n + pick(draw, 4.0, 2.5) for n in least] if flag(draw) else None}
    given |= {
        "aspect_ratios": pick(draw, [2.0], [1.0], [2.0, 3.0], [0.5, 1.0]),
        "variance": pick(draw, [0.1, 0.1, 0.2, 0.2], [0.1, 0.2, 0.3, 0.4]),
    }
    given |= {"flip": flag(draw), "clip": flag(draw), "steps": pick(draw, [0.0, 0.0], [7.0, 8.0]), "offset": pick(draw, 0.5, 0.3)}
    given["min_max_aspect_ratios_order"] = flag(draw)
    code = expression("paddle.vision.ops.prior_box", "x", "im", **given)
    return Call(operator, code, {"x": x, "im": im}, unknown=unknown(draw, {"x": (0, 2, 3), "im": (0, 2, 3)}))


@drawn("multiclass_nms3")
def multiclass_nms3(draw: Any, operator: str) -> Call:
    images, classes, n = size(draw, 1, 3), draw(st.integers(1, 4)), size(draw, 1, 17)
    b = _boxes(draw, images * n, pick(draw, 16.0, 6.0), dims=(images, n, 4))
    # ties among scores: multiples of 1/8
    s = values(draw, "float32", (images, classes, n), 0.0, 1.0, pick(draw, 0.0, 0.125))
    attributes = (
        pick(draw, 0.1, 0.0, 0.5, 2.0), pick(draw, 10, -1, 3), pick(draw, 8, -1, 2), pick(draw, 0.3, 0.7, 0.05),
        flag(draw), pick(draw, 1.0, 0.8), pick(draw, -1, 0, 1),
    )  # fmt: skip
    code = f"paddle._C_ops.multiclass_nms3(b, s, None, {', '.join(map(repr, attributes))})"
    return Call(operator, code, {"b": b, "s": s}, unknown=unknown(draw, {"b": (0, 1), "s": (0, 2)}))


@drawn("generate_proposals")
def generate_proposals(draw: Any, operator: str) -> Call:
    images, count, h, w = size(draw, 1, 2), draw(st.integers(1, 3)), size(draw, 1, 5), size(draw, 1, 5)
    inputs = {
        "s": values(draw, "float32", (images, count, h, w)),
        "d": values(draw, "float32", (images, 4 * count, h, w), -0.5, 0.5),
        "i": values(draw, "float32", (images, 2), 8.0, 20.0),
        "a": _boxes(draw, h * w * count, dims=(h, w, count, 4)),
        "v": values(draw, "float32", (h, w, count, 4), 0.1, 0.9),
    }
    given: dict[str, Any] = {"pre_nms_top_n": pick(draw, 20, 5, 6000), "post_nms_top_n": pick(draw, 8, 3, 1000)}
    given |= {"nms_thresh": pick(draw, 0.4, 0.7), "min_size": pick(draw, 1.0, 0.1, 4.0), "eta": pick(draw, 1.0, 0.9)}
    given |= {"pixel_offset": flag(draw), "return_rois_num": True}
    code = expression("paddle.vision.ops.generate_proposals", *inputs, **given)
    free = {"s": (0, 2, 3), "d": (0, 2, 3), "i": (0,), "a": (0, 1), "v": (0, 1)}
    return Call(operator, code, inputs, unknown=unknown(draw, free))


@drawn("distribute_fpn_proposals")
def distribute_fpn_proposals(draw: Any, operator: str) -> Call:
    images, dtype = size(draw, 1, 3), pick(draw, "float32", "float64")
    shares = _shares(draw, images, 6)
    if sum(shares) == 1:
        # Paddle's Slice of a tensor with one row is that row, also where it should be empty: an image without boxes has the other's
        shares = [n + 1 for n in shares]
    r = _boxes(draw, sum(shares), pick(draw, 700.0, 90.0, 2000.0), dtype)
    low = draw(st.integers(1, 3))
    high = low + draw(st.integers(1, 3))
    arguments = f"{low}, {high}, {draw(st.integers(low, high))}, {pick(draw, 224, 100, 64)}, pixel_offset={flag(draw)}, rois_num=n"
    code = (
        "[t for part in paddle.vision.ops.distribute_fpn_proposals(r, " + arguments + ")"
        " for t in (part if isinstance(part, list) else [part])]"
    )
    return Call(operator, code, {"r": r, "n": listed("int32", shares)}, unknown=unknown(draw, {"r": (0,), "n": (0,)}))
