"""Samples of ops/interp.py."""

from __future__ import annotations

from typing import Any

from .base import f32, f64, i32, sample


def _resize(**kw: Any) -> Any:
    return lambda paddle, x: paddle.nn.functional.interpolate(x, **kw)


sample("nearest_interp", _resize(scale_factor=2, mode="nearest"), x=f32(1, 2, 3, 4))
sample("nearest_interp", _resize(scale_factor=[0.5, 1.7], mode="nearest"), x=f32(1, 2, 7, 4))
sample("nearest_interp", _resize(size=[5, 9], mode="nearest"), x=f32(1, 2, 3, 4))
sample("nearest_interp", _resize(size=[5, 3], mode="nearest", align_corners=False, data_format="NHWC"), x=f32(1, 3, 4, 2))
sample("nearest_interp", _resize(size=[4, 5, 3], mode="nearest"), x=f32(1, 2, 3, 4, 2))
sample("nearest_interp", _resize(scale_factor=3, mode="nearest"), x=i32(1, 2, 3, 4), dynamic=False)
for method, shape in (("linear", (2, 3, 5)), ("bilinear", (1, 2, 4, 5)), ("trilinear", (1, 2, 3, 4, 3)), ("bicubic", (1, 2, 5, 4))):
    rank = len(shape) - 2
    fmt = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[rank]
    last = (shape[0], *shape[2:], shape[1])
    name = f"{method}_interp"
    # Paddle 3.3.1 holds the weights of linear_interp in uint8, where they are 0 or 1 (2.6.2: in float32); three axes' are sums in
    # float32, whose last bit may carry over into the integer
    astray = ("uint8",) if method in ("linear", "trilinear") else ()
    sample(name, _resize(size=[7, 9, 4][:rank], mode=method), x=f32(*shape), astray=astray)
    sample(name, _resize(size=[7, 9, 4][:rank], mode=method, align_corners=True), x=f32(*shape), astray=astray)
    sample(name, _resize(size=[3, 2, 2][:rank], mode=method, align_mode=1), x=f32(*shape))
    sample(name, _resize(scale_factor=[2.0, 1.5, 2.5][:rank], mode=method, data_format=fmt), x=f32(*last))
    sample(name, _resize(scale_factor=[0.7, 1.3, 1.9][:rank], mode=method, align_mode=1), x=f32(*shape))
    sample(name, _resize(size=[1] * rank, mode=method), x=f32(*shape))
    sample(name, _resize(size=[1] * rank, mode=method, align_corners=True), x=f32(*shape))
sample("bilinear_interp", _resize(size=[7, 9], mode="bilinear"), x=f64(1, 2, 4, 5))
sample(
    "bilinear_interp",
    lambda paddle, x, y: paddle.nn.functional.interpolate(x, paddle.shape(y)[2:], mode="bilinear"),
    x=f32(1, 2, 4, 5), y=f32(1, 1, 6, 7),
)  # fmt: skip
sample(
    "nearest_interp",
    lambda paddle, x, y: paddle.nn.functional.interpolate(x, [paddle.shape(y)[2], 3], mode="nearest"),
    x=f32(1, 2, 4, 5), y=f32(1, 1, 6, 7),
)  # fmt: skip
sample(
    "bilinear_interp",
    lambda paddle, x, s: paddle.nn.functional.interpolate(x, s, mode="bilinear", align_corners=True),
    x=f32(1, 2, 4, 5), s=i32(2, low=3, high=8), dynamic="Paddle asks for the number of sizes",
)  # fmt: skip
