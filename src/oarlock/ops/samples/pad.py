"""Samples of ops/pad.py."""

from __future__ import annotations

import numpy as np

from .base import f32, f64, i32, i64, sample

SIDES = [1, 2, 0, 1]
BOX = [1, 2, 0, 1, 2, 1]

sample("pad", lambda paddle, x: paddle.nn.functional.pad(x, [1, 0, 2, 3], value=1.5), x=f32(2, 3))
sample("pad", lambda paddle, x: paddle.nn.functional.pad(x, [0, 1], value=2), x=i32(3))
sample("pad", lambda paddle, x: paddle.nn.functional.pad(x, [0, 0, 1, 0, 2, 1, 0, 3], value=-0.5), x=f64(2, 1, 2, 3))
sample("pad", lambda paddle, x: paddle.nn.functional.pad(x, [1, 2, 0, 1], pad_from_left_axis=False), x=i64(2, 3))
for _mode in ("constant", "reflect", "replicate", "circular"):
    sample("pad3d", lambda paddle, x, mode=_mode: paddle.nn.functional.pad(x, SIDES, mode=mode), x=f32(2, 2, 3, 4))
    sample("pad3d", lambda paddle, x, mode=_mode: paddle.nn.functional.pad(x, BOX, mode=mode, data_format="NDHWC"), x=f32(1, 3, 4, 5, 2))
sample("pad3d", lambda paddle, x: paddle.nn.functional.pad(x, [1, 2], value=-1.0, data_format="NLC"), x=f32(2, 3, 4))
sample("pad3d", lambda paddle, x, p: paddle.nn.functional.pad(x, p), static=(0,), x=f32(4, 2, 3, 4), p=np.array([1, 0, 2, 1], "int32"))
