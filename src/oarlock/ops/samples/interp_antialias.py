"""Samples of resizing with anti-aliasing."""

import numpy as np

from .base import f32, f64, sample

_BYTES = np.random.default_rng(2).integers(0, 256, (1, 3, 7, 8)).astype("uint8")  # no result is near a half


def _resize(paddle, x, **how):  # type: ignore[no-untyped-def]
    return paddle.nn.functional.interpolate(x, antialias=True, **how)


for _mode in ("bilinear", "bicubic"):
    sample("interp_antialias", lambda paddle, x, m=_mode: _resize(paddle, x, size=[3, 4], mode=m), x=f32(2, 3, 7, 9))
    sample("interp_antialias", lambda paddle, x, m=_mode: _resize(paddle, x, size=[11, 4], mode=m), x=f64(1, 2, 7, 13))
    sample(
        "interp_antialias",
        lambda paddle, x, m=_mode: _resize(paddle, x, scale_factor=[0.4, 0.7], mode=m, align_corners=False),
        x=f32(2, 2, 10, 9),
    )
    # bytes, which are rounded after each axis
    sample("interp_antialias", lambda paddle, x, m=_mode: _resize(paddle, x, size=[9, 5], mode=m), x=_BYTES)
    sample("interp_antialias", lambda paddle, x, m=_mode: _resize(paddle, x, size=[5, 2], mode=m, align_corners=True), x=f32(1, 2, 9, 8))
    sample(
        "interp_antialias",
        lambda paddle, x, m=_mode: _resize(paddle, x, size=[4, 5], mode=m, data_format="NHWC"),
        x=f32(2, 8, 6, 3),
        static=(3,),
    )
sample("interp_antialias", lambda paddle, x: _resize(paddle, x, scale_factor=1.05, mode="bilinear"), x=f32(1, 2, 7, 9))
sample("interp_antialias", lambda paddle, x: _resize(paddle, x, size=[7, 3], mode="bicubic"), x=f32(1, 2, 7, 9))
