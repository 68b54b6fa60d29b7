"""Samples of detection operators."""

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
sample("roi_align", lambda paddle, x, r, n: paddle.vision.ops.roi_align(x, r, n, 2, spatial_scale=2.0), x=f64(1, 2, 6, 6), r=boxes(3).astype("float64"), n=counts(3))
sample("roi_pool", lambda paddle, x, r, n: paddle.vision.ops.roi_pool(x, r.reshape([-1, 4]), n, 3), x=f32(2, 3, 8, 9), r=boxes(5), n=counts(2, 3))
sample("roi_pool", lambda paddle, x, r, n: paddle.vision.ops.roi_pool(x, r.reshape([-1, 4]), n, (2, 3), spatial_scale=0.5), x=f32(2, 3, 8, 9), r=boxes(4, 30.0), n=counts(4, 0))
sample("psroi_pool", lambda paddle, x, r, n: paddle.vision.ops.psroi_pool(x, r.reshape([-1, 4]), n, (2, 3)), x=f32(2, 12, 8, 9), r=boxes(5), n=counts(2, 3))
sample("psroi_pool", lambda paddle, x, r, n: paddle.vision.ops.psroi_pool(x, r.reshape([-1, 4]), n, 2, spatial_scale=0.5), x=f32(1, 8, 8, 9), r=boxes(3, 30.0), n=counts(3))
