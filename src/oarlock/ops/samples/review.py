"""Samples of values that are seldom met: NaN, poles, ties and rounding at the edge of what a float can say."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, sample

NAN, INF = np.nan, np.inf
HOLES = np.array([[NAN, 3, 1, 3], [2, NAN, NAN, 5], [NAN, NAN, NAN, NAN], [-INF, -INF, NAN, -INF]], "float32")
REPEATED = np.array([2, 2, NAN, NAN, INF, INF, -1, NAN], "float32")

for _op in ("argmax", "argmin"):
    for _axis in (0, 1, None):
        sample(_op, lambda p, x, o=_op, a=_axis: getattr(p, o)(x, a), x=HOLES)
    sample(_op, lambda p, x, o=_op: getattr(p, o)(x, 1, keepdim=True, dtype="int32"), x=HOLES.astype("float64"))
sample("heaviside", lambda p, x, y: p.heaviside(x, y), x=np.array([NAN, 0, -1, 2, INF], "float32"), y=f32(5))
sample("digamma", lambda p, x: p.digamma(x), x=np.array([0.0, -0.0, -1.0, 0.5], "float32"))
sample("unique", lambda p, x: p.unique(x), x=REPEATED)  # Paddle gives no counts of NaN
sample("unique_consecutive", lambda p, x: p.unique_consecutive(x, return_inverse=True, return_counts=True), x=REPEATED)


def _roi_pool(paddle: Any, x: Any, boxes: Any, number: Any) -> Any:
    return paddle.vision.ops.roi_pool(x, boxes, number, 2)


# 0.49999997 + 0.5 is 1 in float32, but C's round gives 0
sample(
    "roi_pool", _roi_pool,
    x=f32(1, 1, 6, 6), boxes=np.array([[0.49999997, 0.49999997, 3.4999998, 2.5]], "float32"), number=np.array([1], "int32"), static=(1,),
)  # fmt: skip
sample("kthvalue", lambda p, x: p.kthvalue(x, 3, axis=0), x=f32(3, 4))


def _far_tail(paddle: Any) -> Any:
    x = paddle._C_ops.truncated_gaussian_random([2000], 0.0, 1.0, 0, 4.0, 5.0, paddle.float32, paddle.CPUPlace())
    return [x.max() <= 5, x.min() >= 4]


sample("truncated_gaussian_random", _far_tail)
sample(
    "truncated_gaussian_random",
    lambda p: p._C_ops.truncated_gaussian_random([2, 3], 1.0, 2.0, 5, -2.0, 2.0, p.float64, p.CPUPlace()),
    seed_free=True,
)
sample("standard_gamma", lambda p, x: p.standard_gamma(x).isfinite(), x=np.array([0.5, 3.0], "float32"))
sample("standard_gamma", lambda p, x: p.standard_gamma(x).mean(), atol=0.03, x=np.full([4, 5000], 0.5))
