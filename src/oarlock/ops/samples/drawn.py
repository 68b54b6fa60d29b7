"""Calls that `make drawn` found to differ from Paddle's, shrunk; all are mended."""

from __future__ import annotations

from typing import Any

from .base import f32, f64, i64, sample

sample("mean", lambda paddle, x: [paddle.mean(x), paddle.mean(x, 0, keepdim=True), paddle.mean(x, 1)], x=f32(0, 3))
sample("mean", lambda paddle, x: [paddle.mean(x, 0), paddle.mean(x, 1)], x=i64(0, 3))
sample("tile", lambda paddle, x: [paddle.tile(x, [2]), paddle.tile(x, [2, 3, 2])], x=f32(0, 3))


def _corners(mode: str, size: list[int]) -> Any:
    return lambda paddle, x: paddle.nn.functional.interpolate(x, size, mode=mode, align_corners=True)


for _mode in ("bilinear", "bicubic"):
    sample(f"{_mode}_interp", _corners(_mode, [3, 2]), x=f32(2, 2, 3, 4))
    sample(f"{_mode}_interp", _corners(_mode, [2, 1]), x=f32(2, 2, 3, 4), static=(1, 3))


def _sparse(masked: bool) -> Any:
    return lambda paddle, x: paddle.nn.functional.max_pool2d(x, [1, 2], [2, 1], return_mask=masked, ceil_mode=True)


for _make in (f32, f64):
    sample("pool2d", _sparse(False), x=_make(2, 2, 2, 2))  # the last windows of rows have no element
    sample("max_pool2d_with_index", _sparse(True), x=_make(2, 2, 2, 2))
