"""Calls that `make drawn` found to differ from Paddle's, shrunk; all are mended."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...runtime.dtypes import numpy_dtype
from .base import f32, f64, i64, sample

sample("mean", lambda paddle, x: [paddle.mean(x), paddle.mean(x, 0, keepdim=True), paddle.mean(x, 1)], x=f32(0, 3))
sample("mean", lambda paddle, x: [paddle.mean(x, 0), paddle.mean(x, 1)], x=i64(0, 3))
sample("layer_norm", lambda paddle, x: paddle.nn.functional.layer_norm(x, [2, 0]), x=f32(3, 2, 0), static=(1, 2))
sample("cumsum", lambda paddle, x: [paddle.cumsum(x, 1), paddle.cumsum(x, -1), paddle.cumsum(x)], x=f32(2, 2, 0))
sample("tile", lambda paddle, x: [paddle.tile(x, [2]), paddle.tile(x, [2, 3, 2])], x=f32(0, 3))


def _corners(mode: str, size: list[int]) -> Any:
    return lambda paddle, x: paddle.nn.functional.interpolate(x, size, mode=mode, align_corners=True)


for _mode in ("bilinear", "bicubic"):
    sample(f"{_mode}_interp", _corners(_mode, [3, 2]), x=f32(2, 2, 3, 4))
    sample(f"{_mode}_interp", _corners(_mode, [2, 1]), x=f32(2, 2, 3, 4), static=(1, 3))
    for _scale in ([2.0, 0.7], [0.7, 1.3]):
        sample(
            f"{_mode}_interp",
            lambda paddle, x, m=_mode, s=_scale: paddle.nn.functional.interpolate(x, scale_factor=s, mode=m, align_corners=True),
            x=f32(2, 2, 3, 5),
        )


def _sparse(masked: bool) -> Any:
    return lambda paddle, x: paddle.nn.functional.max_pool2d(x, [1, 2], [2, 1], return_mask=masked, ceil_mode=True)


for _make in (f32, f64):
    sample("pool2d", _sparse(False), x=_make(2, 2, 2, 2))  # the last windows of rows have no element
    sample("max_pool2d_with_index", _sparse(True), x=_make(2, 2, 2, 2))
for _type in ("float16", "bfloat16"):
    sample("pool2d", _sparse(False), x=f32(2, 2, 2, 2).astype(numpy_dtype(_type)))
# steps that are rounded each, the last in what a variable is bound to
_BRAIN = {name: f32(3, 5, seed=seed).astype(numpy_dtype("bfloat16")) for seed, name in enumerate("xy")}
sample("tanh", lambda paddle, x, y: paddle.tanh(x * y), **_BRAIN)
sample("log_softmax", lambda paddle, x, y: paddle.nn.functional.log_softmax(paddle.maximum(x - 1, y) * 9.0), **_BRAIN)


sample(
    "grid_sample",
    lambda paddle, x, grid: paddle.nn.functional.grid_sample(x, grid, padding_mode="reflection"),
    x=f32(2, 2, 2, 1), grid=f32(2, 2, 2, 2), static=(-1,),
)  # fmt: skip
sample(
    "grid_sample",
    lambda paddle, x, grid: paddle.nn.functional.grid_sample(x, grid, padding_mode="reflection"),
    x=f32(1, 2, 1, 3), grid=f32(1, 2, 2, 2), static=(-1,),
)  # fmt: skip
# With rows or columns unknown this took minutes to compile.
sample(
    "yolo_box",
    lambda paddle, x, s: paddle.vision.ops.yolo_box(x, s, [30, 30, 13, 13], 4, 0.3, 8, iou_aware=True),
    x=f32(1, 20, 8, 5), s=np.array([[61, 90]], "int32"), static=(1,),
)  # fmt: skip
_WIDE = {"x": f32(3, 5, low=-300, high=60)}  # Paddle's probabilities are no less than exp(−64) of the greatest
sample("log_softmax", lambda paddle, x: [paddle.nn.functional.log_softmax(x, axis=a) for a in (0, 1)], **_WIDE)
for _soft in (False, True):
    sample(
        "cross_entropy_with_softmax",
        lambda paddle, x, y, soft=_soft: paddle.nn.functional.cross_entropy(x, y, soft_label=soft, reduction="none"),
        **_WIDE, y=f32(3, 5, low=0) if _soft else i64(3, 1, high=5), static=(1,),
    )  # fmt: skip
sample("full", lambda paddle: [paddle.full([2, 2, 17, 16], v, "bfloat16") for v in (1.5, float("-inf"))])
