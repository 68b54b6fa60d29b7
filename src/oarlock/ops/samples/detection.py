"""Samples of detection operators."""

from typing import Any

import numpy as np

from .base import f32, f64, i64, sample


def boxes(n: int, size: float = 16.0, seed: int = 0) -> np.ndarray:
    """n boxes x0, y0, x1, y1 inside [0, size]."""
    low, extent = f64(n, 2, low=0.0, high=size * 0.7, seed=seed), f64(n, 2, low=0.5, high=size * 0.3, seed=seed + 1)
    return np.concatenate([low, low + extent], 1).astype("float32")


def counts(*n: int) -> np.ndarray:
    return np.array(n, dtype="int32")


sample("roi_align", lambda paddle, x, r, n: paddle.vision.ops.roi_align(x, r, n, 3), x=f32(2, 3, 8, 9), r=boxes(5), n=counts(2, 3))
sample(
    "roi_align",
    lambda paddle, x, r, n: paddle.vision.ops.roi_align(x, r, n, (2, 3), spatial_scale=0.5, sampling_ratio=2, aligned=False),
    x=f32(2, 3, 8, 9),
    r=boxes(5, 20.0),
    n=counts(4, 1),
)
sample(
    "roi_align",
    lambda paddle, x, r, n: paddle.vision.ops.roi_align(x, r, n, 2, spatial_scale=2.0),
    x=f64(1, 2, 6, 6),
    r=boxes(3).astype("float64"),
    n=counts(3),
)
# of integers Paddle keeps only the bins with one sample
for _pooled, _scale, _ratio, _aligned in (((2, 3), 0.6, -1, True), ((4, 9), 1.0, -1, False), ((2, 2), 0.4, 1, False)):
    sample(
        "roi_align",
        lambda paddle, x, r, n, o=(_pooled, _scale, _ratio, _aligned): paddle.vision.ops.roi_align(x, r, n, *o),
        x=i64(1, 2, 6, 5).astype("int32"),
        r=np.array([[0, 1, 4, 4], [-3, -2, 6, 9], [1, 1, 3, 3], [-9, -9, 30, 2]], "int32"),
        n=counts(4),
    )
sample(
    "roi_pool",
    lambda paddle, x, r, n: paddle.vision.ops.roi_pool(x, r.reshape([-1, 4]), n, 3),
    x=f32(2, 3, 8, 9),
    r=boxes(5),
    n=counts(2, 3),
)
sample(
    "roi_pool",
    lambda paddle, x, r, n: paddle.vision.ops.roi_pool(x, r.reshape([-1, 4]), n, (2, 3), spatial_scale=0.5),
    x=f32(2, 3, 8, 9),
    r=boxes(4, 30.0),
    n=counts(4, 0),
)
sample(
    "roi_pool",
    lambda paddle, x, r, n: paddle.vision.ops.roi_pool(x, r.reshape([-1, 4]), n, (2, 3), spatial_scale=0.5),
    x=i64(1, 2, 6, 5, low=-9).astype("int32"),
    r=np.array([[0, 1, 5, 7], [-3, 2, 9, 9]], "int32"),
    n=counts(2),
)
sample(
    "psroi_pool",
    lambda paddle, x, r, n: paddle.vision.ops.psroi_pool(x.reshape([-1, 12, 8, 9]), r.reshape([-1, 4]), n, (2, 3)),
    x=f32(2, 12, 8, 9),
    r=boxes(5),
    n=counts(2, 3),
)
sample(
    "psroi_pool",
    lambda paddle, x, r, n: paddle.vision.ops.psroi_pool(x.reshape([-1, 8, 8, 9]), r.reshape([-1, 4]), n, 2, spatial_scale=0.5),
    x=f32(1, 8, 8, 9),
    r=boxes(3, 30.0),
    n=counts(3),
)
sample(
    "psroi_pool",
    lambda paddle, x, r, n: paddle.vision.ops.psroi_pool(x.reshape([-1, 6, 5, 4]), r.reshape([-1, 4]), n, (3, 1), spatial_scale=2.0),
    x=f64(2, 6, 5, 4),
    r=boxes(3, 4.0).astype("float64"),
    n=counts(0, 3),
)
sample(
    "prior_box",
    lambda paddle, x, im: paddle.vision.ops.prior_box(x, im, [4.0, 6.0], [8.0, 9.0], [2.0, 3.0], flip=True, clip=True),
    x=f32(1, 2, 3, 4),
    im=f32(1, 3, 24, 30),
)
sample(
    "prior_box",
    lambda paddle, x, im: paddle.vision.ops.prior_box(
        x, im, [4.0], [8.0], [2.0], variance=[0.1, 0.2, 0.3, 0.4], steps=[7.0, 8.0], offset=0.3, min_max_aspect_ratios_order=True
    ),
    x=f32(1, 2, 3, 4),
    im=f32(1, 3, 24, 30),
)
sample("prior_box", lambda paddle, x, im: paddle.vision.ops.prior_box(x, im, [3.0, 5.0]), x=f64(1, 1, 2, 2), im=f64(1, 3, 9, 11))
sample(
    "anchor_generator",
    lambda paddle, x: paddle._C_ops.anchor_generator(x, [32.0, 64.0], [0.5, 1.0, 2.0], [0.1, 0.1, 0.2, 0.2], [16.0, 16.0], 0.5),
    x=f32(1, 2, 3, 4),
)
sample(
    "anchor_generator",
    lambda paddle, x: paddle._C_ops.anchor_generator(x, [16.0], [0.7], [0.1, 0.2, 0.3, 0.4], [8.0, 4.0], 0.25),
    x=f32(2, 1, 2, 5),
)
sample(
    "anchor_generator",
    lambda paddle, x: paddle._C_ops.anchor_generator(x, [30.0, 60.0, 90.0], [1.0, 3.0], [1.0, 1.0, 1.0, 1.0], [10.5, 7.5], 0.0),
    x=f64(1, 2, 1, 3),
)
sample(
    "box_coder",
    lambda paddle, p, v, t: paddle.vision.ops.box_coder(p, v, t.reshape([-1, 4])),
    p=boxes(4),
    v=f32(4, 4, low=0.1, high=0.3),
    t=boxes(3, seed=5),
)
sample(
    "box_coder",
    lambda paddle, p, t: paddle.vision.ops.box_coder(p, [0.1, 0.1, 0.2, 0.2], t.reshape([-1, 4]), box_normalized=False),
    p=boxes(4),
    t=boxes(3, seed=5),
)
sample(
    "box_coder",
    lambda paddle, p, v, t: paddle.vision.ops.box_coder(p, v, t, "decode_center_size", axis=0),
    p=boxes(4),
    v=f32(4, 4, low=0.1, high=0.3),
    t=f32(3, 4, 4),
)
sample(
    "box_coder",
    lambda paddle, p, t: paddle.vision.ops.box_coder(p, [0.1, 0.1, 0.2, 0.2], t, "decode_center_size", box_normalized=False, axis=1),
    p=boxes(3),
    t=f32(3, 4, 4),
)
sample(
    "yolo_box",
    lambda paddle, x, s: paddle.vision.ops.yolo_box(x.reshape([-1, 16, 3, 4]), s.reshape([-1, 2]), [10, 13, 16, 30], 3, 0.3, 32),
    x=f32(2, 16, 3, 4),
    s=np.array([[90, 100], [64, 70]], dtype="int32"),
)
sample(
    "yolo_box",
    lambda paddle, x, s: paddle.vision.ops.yolo_box(
        x.reshape([-1, 9, 3, 4]),
        s.reshape([-1, 2]),
        [10, 13],
        3,
        0.2,
        16,
        clip_bbox=False,
        scale_x_y=1.2,
        iou_aware=True,
        iou_aware_factor=0.4,
    ),
    x=f32(2, 9, 3, 4),
    s=np.array([[90, 100], [64, 70]], dtype="int32"),
)
sample(
    "yolo_box",
    lambda paddle, x, s: paddle.vision.ops.yolo_box(
        x.reshape([-1, 18, 2, 2]), s.reshape([-1, 2]), [10, 13, 16, 30, 33, 23], 1, 0.6, 8, scale_x_y=0.9
    ),
    x=f64(1, 18, 2, 2),
    s=np.array([[40, 31]], dtype="int32"),
)


def scored(*shape: int, seed: int = 0) -> np.ndarray:
    """Scores with ties: multiples of 1/16."""
    return (i64(*shape, low=0, high=17, seed=seed) / 16).astype("float32")


def _multiclass(paddle: Any, b: Any, s: Any, n: Any = None, **options: Any) -> Any:
    settings = {
        "score_threshold": 0.1,
        "nms_top_k": 10,
        "keep_top_k": 8,
        "nms_threshold": 0.3,
        "normalized": True,
        "nms_eta": 1.0,
        "background_label": -1,
    }
    settings.update(options)
    return paddle._C_ops.multiclass_nms3(b, s, n, *settings.values())


def images(n: int, m: int, size: float = 16.0) -> np.ndarray:
    return np.stack([boxes(m, size, seed=3 * i) for i in range(n)])


sample("nms", lambda paddle, x: paddle.vision.ops.nms(x, 0.2), x=boxes(20))
sample("nms", lambda paddle, x, s: paddle.vision.ops.nms(x, 0.5, s), x=boxes(12), s=f32(12))
sample("nms", lambda paddle, x: paddle.vision.ops.nms(x, 0.0), x=boxes(1))
sample("multiclass_nms3", lambda paddle, b, s: _multiclass(paddle, b, s), b=images(2, 12), s=scored(2, 3, 12))
sample(
    "multiclass_nms3",
    lambda paddle, b, s: _multiclass(paddle, b, s, keep_top_k=-1, background_label=0, nms_top_k=5),
    b=images(2, 12),
    s=f32(2, 3, 12),
)
sample(
    "multiclass_nms3",
    lambda paddle, b, s: _multiclass(paddle, b, s, normalized=False, nms_threshold=0.7, nms_eta=0.8, nms_top_k=-1),
    b=images(2, 12),
    s=scored(2, 3, 12),
)
sample("multiclass_nms3", lambda paddle, b, s: _multiclass(paddle, b, s, score_threshold=5.0), b=images(2, 5), s=scored(2, 3, 5))
sample(
    "multiclass_nms3",
    lambda paddle, b, s, n: _multiclass(paddle, b, s, n),
    b=images(12, 3).astype("float32"),
    s=scored(12, 3),
    n=counts(5, 7),
)
for _gaussian in (False, True):
    sample(
        "matrix_nms",
        lambda paddle, b, s, g=_gaussian: paddle.vision.ops.matrix_nms(
            b, s, 0.1, 0.05, 8, 10, use_gaussian=g, background_label=-1, return_index=True, return_rois_num=True
        ),
        b=images(2, 12),
        s=f32(2, 3, 12, low=0.0, high=1.0),
    )
sample(
    "matrix_nms",
    lambda paddle, b, s: paddle.vision.ops.matrix_nms(b, s, 0.3, 0.4, -1, -1, background_label=0, normalized=False, return_index=True),
    b=images(1, 9),
    s=f32(1, 2, 9, low=0.0, high=1.0),
)
# boxes that are alike, before others
sample(
    "matrix_nms",
    lambda paddle, b, s: paddle.vision.ops.matrix_nms(b, s, 0.01, 0.01, -1, 30, background_label=-1, return_rois_num=True),
    b=np.concatenate([np.repeat(images(1, 1), 8, 1), images(1, 24)], 1),
    s=f32(1, 4, 32, low=0.0, high=0.4),
)
sample(
    "generate_proposals",
    lambda paddle, s, d, i, a, v: paddle.vision.ops.generate_proposals(s, d, i, a, v, 20, 8, 0.4, 1.0, return_rois_num=True),
    s=f32(2, 3, 4, 4),
    d=f32(2, 12, 4, 4, low=-0.5, high=0.5),
    i=np.array([[16, 16], [12, 15]], dtype="float32"),
    a=boxes(48).reshape(4, 4, 3, 4),
    v=np.full((4, 4, 3, 4), 0.5, dtype="float32"),
)
sample(
    "generate_proposals",
    lambda paddle, s, d, i, a, v: paddle.vision.ops.generate_proposals(
        s, d, i, a, v, 200, 80, 0.6, 2.0, eta=0.9, pixel_offset=True, return_rois_num=True
    ),
    s=f32(1, 3, 4, 4),
    d=f32(1, 12, 4, 4, low=-0.5, high=0.5),
    i=np.array([[16, 16]], dtype="float32"),
    a=boxes(48).reshape(4, 4, 3, 4),
    v=np.full((4, 4, 3, 4), 0.5, dtype="float32"),
)
sample(
    "generate_proposals",
    lambda paddle, s, d, i, a, v: paddle.vision.ops.generate_proposals(s, d, i, a, v, 6, 3, 0.9, 30.0, return_rois_num=True),
    s=f32(2, 2, 3, 3),
    d=f32(2, 8, 3, 3, low=-0.5, high=0.5),
    i=np.array([[16, 16], [1, 2]], dtype="float32"),
    a=boxes(18).reshape(3, 3, 2, 4),
    v=f32(3, 3, 2, 4, low=0.1, high=0.9),
)
sample(
    "distribute_fpn_proposals",
    lambda paddle, r, n: [
        t
        for part in paddle.vision.ops.distribute_fpn_proposals(r, 2, 5, 4, 224, rois_num=n)
        for t in (part if isinstance(part, list) else [part])
    ],
    r=boxes(12, 700.0),
    n=counts(5, 7),
)
sample(
    "distribute_fpn_proposals",
    lambda paddle, r, n: [
        t
        for part in paddle.vision.ops.distribute_fpn_proposals(r, 2, 4, 3, 100, pixel_offset=True, rois_num=n)
        for t in (part if isinstance(part, list) else [part])
    ],
    r=boxes(12, 700.0),
    n=counts(12),
)
sample(
    "distribute_fpn_proposals",
    lambda paddle, r, n: [
        t
        for part in paddle.vision.ops.distribute_fpn_proposals(r, 1, 3, 2, 64, rois_num=n)
        for t in (part if isinstance(part, list) else [part])
    ],
    r=boxes(6, 90.0).astype("float64"),
    n=counts(0, 6, 0),
)


def _collect(paddle: Any, *tensors: Any, top: int = 6) -> Any:
    rois, scores, numbers = tensors[:2], tensors[2:4], tensors[4:]
    return paddle._C_ops.collect_fpn_proposals(list(rois), list(scores), list(numbers), top)


for _top, _scores in ((6, f32), (7, scored), (100, scored), (1, scored)):
    sample(
        "collect_fpn_proposals",
        lambda paddle, *tensors, top=_top: _collect(paddle, *tensors, top=top),
        dynamic="Paddle does not infer the number of boxes",
        r=boxes(5), q=boxes(4, seed=3), s=_scores(5, 1), t=_scores(4, 1, seed=2), n=counts(*((2, 3) if _top > 1 else (5,))),
        m=counts(*((1, 3) if _top > 1 else (4,))),
    )  # fmt: skip
