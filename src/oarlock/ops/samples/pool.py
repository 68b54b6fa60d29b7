"""Samples of ops/pool.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, f64, sample


def _call(name: str, **kw: Any) -> Any:
    return lambda paddle, x: getattr(paddle.nn.functional, name)(x, **kw)


sample("pool2d", _call("max_pool2d", kernel_size=3, stride=2, padding=1), x=f32(2, 3, 8, 7))
sample("pool2d", _call("max_pool2d", kernel_size=[3, 2], stride=2, ceil_mode=True), x=f32(1, 2, 8, 7))
sample("pool2d", _call("max_pool2d", kernel_size=2, stride=3, ceil_mode=True, padding=1), x=f32(1, 2, 7, 9))
sample("pool2d", _call("max_pool2d", kernel_size=3, padding="SAME", stride=2, data_format="NHWC"), x=f32(1, 8, 7, 2))
sample("pool2d", _call("max_pool2d", kernel_size=2, padding=[0, 1, 1, 0]), x=f32(1, 2, 5, 5))
sample("pool2d", _call("avg_pool2d", kernel_size=3, stride=2, padding=1), x=f32(2, 3, 8, 7))
sample("pool2d", _call("avg_pool2d", kernel_size=3, stride=2, padding=1, exclusive=False), x=f32(2, 3, 8, 7))
sample("pool2d", _call("avg_pool2d", kernel_size=3, stride=2, padding=1, exclusive=False, ceil_mode=True), x=f32(2, 3, 8, 7))
sample("pool2d", _call("avg_pool2d", kernel_size=3, stride=2, ceil_mode=True), x=f32(2, 3, 8, 6))
sample("pool2d", _call("avg_pool2d", kernel_size=3, padding=[0, 1, 1, 2], exclusive=False), x=f32(2, 3, 6, 6))
sample("pool2d", _call("avg_pool2d", kernel_size=3, padding=[2, 0, 1, 2]), x=f32(2, 3, 6, 6))
sample("pool2d", _call("avg_pool2d", kernel_size=3, padding="SAME", stride=2), x=f64(1, 3, 6, 5))
sample("pool2d", _call("avg_pool2d", kernel_size=3, divisor_override=2), x=f32(1, 3, 6, 5))
sample("pool2d", _call("adaptive_avg_pool2d", output_size=1), x=f32(2, 3, 5, 4))
sample("pool2d", _call("adaptive_avg_pool2d", output_size=[3, 2]), x=f32(2, 3, 5, 4))
sample("pool2d", _call("adaptive_avg_pool2d", output_size=[None, 3], data_format="NHWC"), x=f32(2, 5, 4, 3), static=(1,))
sample("pool2d", _call("adaptive_avg_pool2d", output_size=[7, 6]), x=f32(1, 2, 5, 4))
sample("pool2d", _call("adaptive_max_pool2d", output_size=[3, 2]), x=f32(2, 3, 5, 4))
sample("pool2d", _call("adaptive_max_pool2d", output_size=1), x=f32(2, 3, 5, 4))
sample("pool2d", _call("avg_pool1d", kernel_size=3, stride=2, padding=1), x=f32(2, 3, 8))
sample("pool2d", _call("max_pool1d", kernel_size=2, stride=2), x=f32(2, 3, 8))
sample("pool2d", _call("adaptive_avg_pool1d", output_size=3), x=f32(2, 3, 8))
sample("pool2d", lambda paddle, x, y: paddle.nn.functional.adaptive_avg_pool2d(x, paddle.shape(y)), x=f32(1, 2, 5, 6), y=f32(3, 2))
sample("pool3d", _call("max_pool3d", kernel_size=2, stride=2, padding=1), x=f32(1, 2, 5, 6, 4))
sample("pool3d", _call("max_pool3d", kernel_size=[2, 3, 2], stride=2, ceil_mode=True, data_format="NDHWC"), x=f32(1, 5, 6, 5, 2))
sample("pool3d", _call("avg_pool3d", kernel_size=3, stride=2, padding=1, exclusive=False), x=f32(1, 2, 5, 6, 4))
sample("pool3d", _call("avg_pool3d", kernel_size=3, stride=2, padding="SAME"), x=f32(1, 2, 5, 6, 4))
sample("pool3d", _call("adaptive_avg_pool3d", output_size=[2, 3, 1]), x=f32(1, 2, 5, 4, 3))
sample("pool3d", _call("adaptive_max_pool3d", output_size=2), x=f32(1, 2, 5, 4, 3))
sample("max_pool2d_with_index", _call("max_pool2d", kernel_size=3, stride=2, padding=1, return_mask=True), x=f32(1, 2, 6, 5))
sample("max_pool2d_with_index", _call("max_pool2d", kernel_size=2, ceil_mode=True, return_mask=True), x=f32(1, 2, 5, 5))
sample("max_pool2d_with_index", _call("adaptive_max_pool2d", output_size=[2, 3], return_mask=True), x=f32(1, 2, 5, 7))
sample("max_pool2d_with_index", _call("max_pool1d", kernel_size=2, return_mask=True), x=f32(1, 2, 6))
sample("max_pool3d_with_index", _call("max_pool3d", kernel_size=2, stride=2, padding=1, return_mask=True), x=f32(1, 2, 4, 5, 4))
sample("max_pool3d_with_index", _call("adaptive_max_pool3d", output_size=2, return_mask=True), x=f32(1, 2, 4, 5, 3))
sample(
    "max_pool3d_with_index",
    _call("max_pool3d", kernel_size=[1, 2, 3], stride=[1, 2, 2], ceil_mode=True, return_mask=True),
    x=f64(1, 1, 2, 5, 6),
)
sample(
    "fractional_max_pool2d",
    _call("fractional_max_pool2d", output_size=3, random_u=0.3, return_mask=True),
    x=f32(1, 2, 7, 8),
    dynamic="spatial dims",
)
sample(
    "fractional_max_pool2d",
    _call("fractional_max_pool2d", output_size=[3, 4], kernel_size=2, random_u=0.7),
    x=f32(1, 2, 7, 9),
    dynamic="spatial dims",
)
sample(
    "fractional_max_pool2d", _call("fractional_max_pool2d", output_size=[2, 2], kernel_size=[2, 3], random_u=0.1),
    x=f64(2, 1, 5, 6), dynamic="spatial dims",
)  # fmt: skip
sample("fractional_max_pool3d", _call("fractional_max_pool3d", output_size=2, random_u=0.5), x=f32(1, 2, 5, 4, 6), dynamic="spatial dims")
sample(
    "fractional_max_pool3d", _call("fractional_max_pool3d", output_size=[2, 3, 2], kernel_size=2, random_u=0.3, return_mask=True),
    x=f32(1, 1, 5, 6, 5), dynamic="spatial dims",
)  # fmt: skip
sample(
    "fractional_max_pool3d", _call("fractional_max_pool3d", output_size=[1, 2, None], random_u=0.9),
    x=f64(2, 1, 3, 4, 2), dynamic="spatial dims",
)  # fmt: skip
sample("lp_pool2d", _call("lp_pool2d", norm_type=2, kernel_size=3, stride=2, padding=1), x=f32(1, 2, 6, 5))
sample("lp_pool2d", _call("lp_pool2d", norm_type=3.0, kernel_size=2, ceil_mode=True), x=f32(1, 2, 5, 5, low=0.0))
sample("lp_pool2d", _call("lp_pool2d", norm_type=float("inf"), kernel_size=[2, 3], padding=1), x=f32(1, 2, 5, 5))
sample("lp_pool2d", _call("lp_pool2d", norm_type=-float("inf"), kernel_size=2), x=f32(1, 2, 4, 4))
sample("lp_pool2d", _call("lp_pool1d", norm_type=4, kernel_size=2), x=f32(1, 2, 6, low=0.0))


def _places(n: int, c: int, total: int, chosen: int) -> np.ndarray:
    """Different places for every channel, as pooling would give them."""
    rng = np.random.RandomState(total)
    return np.stack([np.sort(rng.permutation(total)[:chosen]) for _ in range(n * c)]).astype("int32")


sample(
    "unpool", lambda paddle, x, i: paddle.nn.functional.max_unpool2d(x, i, 2),
    x=f32(1, 2, 3, 2), i=_places(1, 2, 24, 6).reshape(1, 2, 3, 2), dynamic="the sizes are attributes",
)  # fmt: skip
sample(
    "unpool", lambda paddle, x, i: paddle.nn.functional.max_unpool2d(x, i, 2, output_size=[7, 5]),
    x=f32(2, 1, 3, 2), i=_places(2, 1, 35, 6).reshape(2, 1, 3, 2), dynamic="the sizes are attributes",
)  # fmt: skip
sample(
    "unpool", lambda paddle, x, i: paddle.nn.functional.max_unpool1d(x, i, 2),
    x=f32(1, 2, 4), i=_places(1, 2, 8, 4).reshape(1, 2, 4), dynamic="the sizes are attributes",
)  # fmt: skip
sample(
    "unpool3d", lambda paddle, x, i: paddle.nn.functional.max_unpool3d(x, i, 2),
    x=f32(1, 2, 2, 3, 2), i=_places(1, 2, 96, 12).reshape(1, 2, 2, 3, 2), dynamic="the sizes are attributes",
)  # fmt: skip
sample(
    "unpool3d", lambda paddle, x, i: paddle.nn.functional.max_unpool3d(x, i, 2, output_size=[3, 4, 5]),
    x=f64(2, 1, 1, 2, 2), i=_places(2, 1, 60, 4).reshape(2, 1, 1, 2, 2), dynamic="the sizes are attributes",
)  # fmt: skip
sample(
    "unpool3d", lambda paddle, x, i: paddle.nn.functional.max_unpool3d(x, i, [1, 2, 3], stride=[1, 2, 2]),
    x=f32(1, 2, 2, 2, 1), i=_places(1, 2, 24, 4).reshape(1, 2, 2, 2, 1), dynamic="the sizes are attributes",
)  # fmt: skip
