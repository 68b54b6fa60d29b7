"""Samples of ops/vision.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, f64, sample


def _call(name: str, **kw: Any) -> Any:
    return lambda paddle, *x: getattr(paddle.nn.functional, name)(*x, **kw)


sample("pixel_shuffle", _call("pixel_shuffle", upscale_factor=2), x=f32(2, 8, 3, 2), static=(1,))
sample("pixel_shuffle", _call("pixel_shuffle", upscale_factor=3, data_format="NHWC"), x=f32(1, 2, 3, 18), static=(3,))
sample("pixel_shuffle", _call("pixel_shuffle", upscale_factor=1), x=f64(2, 3, 1, 2), static=(1,))
sample("pixel_unshuffle", _call("pixel_unshuffle", downscale_factor=2), x=f32(2, 3, 4, 6), static=(1, 2, 3))
sample("pixel_unshuffle", _call("pixel_unshuffle", downscale_factor=3, data_format="NHWC"), x=f32(1, 6, 3, 2), static=(1, 2, 3))
sample("pixel_unshuffle", _call("pixel_unshuffle", downscale_factor=1), x=f64(2, 3, 1, 2), static=(1, 2, 3))
sample(
    "affine_channel",
    lambda paddle, x, s, c: paddle._C_ops.affine_channel(x, s, c, "NCHW"),
    x=f32(2, 3, 4, 2),
    s=f32(3),
    c=f32(3),
    static=(0, 1),
)
sample(
    "affine_channel",
    lambda paddle, x, s, c: paddle._C_ops.affine_channel(x, s, c, "NHWC"),
    x=f32(2, 3, 2, 4),
    s=f32(4),
    c=f32(4),
    static=(-1,),
)
sample(
    "affine_channel",
    lambda paddle, x, s, c: paddle._C_ops.affine_channel(x, s, c, "NCHW"),
    x=f64(1, 2, 3, 1),
    s=f64(2),
    c=f64(2, seed=1),
    static=(0, 1),
)
FOUR_BYTES = ("float64",)  # Paddle's kernel copies four bytes of each element, whatever the type
sample("shuffle_channel", lambda paddle, x: paddle._C_ops.shuffle_channel(x, 2), x=f32(2, 6, 2, 3), static=(1, 2, 3), astray=FOUR_BYTES)
sample("shuffle_channel", lambda paddle, x: paddle._C_ops.shuffle_channel(x, 3), x=f32(1, 6, 1, 2), static=(1, 2, 3), astray=FOUR_BYTES)
sample("shuffle_channel", lambda paddle, x: paddle._C_ops.shuffle_channel(x, 1), x=f32(2, 3, 2, 2), static=(1, 2, 3))
for mode in ("bilinear", "nearest"):
    for padding in ("zeros", "border", "reflection"):
        for align in (True, False):
            call = _call("grid_sample", mode=mode, padding_mode=padding, align_corners=align)
            sample("grid_sample", call, x=f32(2, 3, 4, 5), grid=f32(2, 3, 6, 2, low=-3.2, high=3.2), static=(-1,))
TIES = np.array([[[[0.0, 0.5], [-0.5, 0.25]], [[1.0, -1.0], [-0.25, -0.75]]]], "float32")
sample("grid_sample", _call("grid_sample", mode="nearest"), x=f32(1, 1, 5, 5), grid=TIES, static=(-1,))
sample("grid_sample", _call("grid_sample"), x=f32(2, 2, 3, 4, 5), grid=f32(2, 2, 3, 2, 3, low=-1.3, high=1.3), static=(-1,))
sample(
    "grid_sample",
    _call("grid_sample", padding_mode="reflection", align_corners=False),
    x=f64(1, 2, 3, 4),
    grid=f64(1, 3, 2, 2),
    static=(-1,),
)
sample("affine_grid", _call("affine_grid", out_shape=[2, 3, 4, 5]), theta=f32(2, 2, 3), static=(1, 2))
sample("affine_grid", _call("affine_grid", out_shape=[2, 3, 4, 5], align_corners=False), theta=f32(2, 2, 3), static=(1, 2))
sample("affine_grid", _call("affine_grid", out_shape=[1, 3, 2, 4, 5]), theta=f32(1, 3, 4), static=(1, 2))
sample(
    "affine_grid", lambda paddle, t, x: paddle.nn.functional.affine_grid(t, paddle.shape(x)),
    t=f32(2, 2, 3), x=f32(2, 3, 4, 5), dynamic="Paddle asks for the matrix's sizes",
)  # fmt: skip
sample("unfold", _call("unfold", kernel_sizes=[3, 2], strides=2, paddings=1), x=f32(2, 3, 6, 5))
sample("unfold", _call("unfold", kernel_sizes=2, dilations=[1, 2], paddings=[0, 1, 2, 1]), x=f32(1, 2, 5, 6))
sample(
    "unfold",
    _call("unfold", kernel_sizes=2, strides=2),
    x=f32(2, 2, 3, 1),
    dynamic="where sizes are unknown, no block is wider than the input",
)
sample("unfold", _call("unfold", kernel_sizes=[1, 2], strides=[2, 1], paddings=[1, 0], dilations=2), x=f64(1, 1, 4, 5))
sample("fold", _call("fold", output_sizes=[4, 5], kernel_sizes=2), x=f32(2, 12, 12), static=(0, 1, 2))
sample("fold", _call("fold", output_sizes=[5, 6], kernel_sizes=[3, 2], strides=2, paddings=1), x=f32(1, 12, 12), static=(0, 1, 2))
sample(
    "fold",
    _call("fold", output_sizes=[6, 5], kernel_sizes=[2, 3], dilations=[2, 1], paddings=[1, 0, 1, 0]),
    x=f64(2, 6, 18),
    static=(0, 1, 2),
)
