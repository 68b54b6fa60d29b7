"""Samples of ops/movement.py."""

from __future__ import annotations

import numpy as np

from .base import f32, f64, i32, i64, sample

sample("expand", lambda paddle, x: paddle.expand(x, [2, 3, -1]), x=f32(3, 4))
sample("expand", lambda paddle, x: paddle.expand(x, [5, 3]), x=i64(1, 3))
sample("expand", lambda paddle, x, y: paddle.expand(x, [paddle.shape(y)[0], -1]), x=f32(1, 3), y=f32(4, 2))
sample("expand", lambda paddle, x: paddle.expand(x.sum(), [2, 2]), x=f32(3))
sample("expand_as", lambda paddle, x, y: paddle.expand_as(x, y), x=f32(3, 1), y=f32(2, 3, 4))
sample("expand_as", lambda paddle, x, y: paddle.expand_as(x, y), x=i64(), y=f32(2, 3))
sample("expand_as", lambda paddle, x, y: paddle.expand_as(x, y), x=f64(2, 3), y=i32(2, 3))
sample("tile", lambda paddle, x: paddle.tile(x, [2, 1, 3]), x=f32(2, 3))
sample("tile", lambda paddle, x: paddle.tile(x, [2]), x=i64(2, 3))
sample("tile", lambda paddle, x, y: paddle.tile(x, [paddle.shape(y)[0], 1]), x=f64(2, 3), y=f32(3, 1))
sample("broadcast_tensors", lambda paddle, x, y: paddle.broadcast_tensors([x, y]), x=f32(2, 1, 3), y=f32(4, 1))
sample("broadcast_tensors", lambda paddle, x, y, z: paddle.broadcast_tensors([x, y, z]), x=i64(3, 1), y=i64(1, 2), z=i64())
sample("broadcast_tensors", lambda paddle, x, y: paddle.broadcast_tensors([x, y]), x=f64(2, 0, 1), y=f64(3))
sample("meshgrid", lambda paddle, x, y: paddle.meshgrid(x, y), x=f32(3), y=f32(2))
sample("meshgrid", lambda paddle, x, y, z: paddle.meshgrid(x, y, z), x=i32(3), y=i32(2), z=i32(1))
sample("meshgrid", lambda paddle, x, y: paddle.meshgrid(x, y), x=f64(3), y=f64())
sample("flip", lambda paddle, x: paddle.flip(x, [0, -1]), x=f32(2, 3, 4))
sample("flip", lambda paddle, x: paddle.flip(x, 1), x=i64(3, 4))
sample("flip", lambda paddle, x: paddle.flip(x, [-3, 1, 2]), x=f64(2, 3, 4))
sample("flip", lambda paddle, x: paddle.flip(x, [0]), x=f32(0, 3))
sample("reverse", lambda paddle, x: paddle.reverse(x, [1]), x=i64(2, 3))
sample("reverse", lambda paddle, x: paddle.reverse(x, [-1, 0]), x=f32(2, 2, 3))
sample("reverse", lambda paddle, x: paddle.reverse(x, 0), x=f64(1))
sample("roll", lambda paddle, x: paddle.roll(x, [1, -2], [0, 1]), x=f32(3, 4))
sample("roll", lambda paddle, x: paddle.roll(x, 5), x=i64(3, 4))
sample("roll", lambda paddle, x: [paddle.roll(x, 2, 1), paddle.roll(x, 1)], x=f32(2, 0, 3))
sample("roll", lambda paddle, x: paddle.roll(x, -4, -1), x=f64(2, 2, 3))
sample("roll", lambda paddle, x, n: paddle.roll(x, n, 0), static=(0,), x=i32(4, 2), n=np.array([3]))
sample("channel_shuffle", lambda paddle, x: paddle.nn.functional.channel_shuffle(x, 3), static=(1,), x=f32(2, 6, 2, 3))
sample("channel_shuffle", lambda paddle, x: paddle.nn.functional.channel_shuffle(x, 2, "NHWC"), static=(3,), x=f32(2, 2, 3, 4))
sample("channel_shuffle", lambda paddle, x: paddle.nn.functional.channel_shuffle(x, 4), static=(1,), x=f64(1, 4, 1, 2))
