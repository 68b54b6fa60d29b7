"""Samples of ops/shape.py."""

from __future__ import annotations

import numpy as np

from .base import boolean, f32, f64, i32, i64, sample

sample("shape64", lambda paddle, x: paddle.shape(x), x=f32(2, 3))
sample("shape64", lambda paddle, x: paddle.shape(x) * 2 - 1, x=i64(2, 3, 4))
sample("numel", lambda paddle, x: paddle.numel(x), x=f32(2, 3))
sample("reshape", lambda paddle, x: paddle.reshape(x, [0, -1]), x=f32(2, 3, 4))
sample("reshape", lambda paddle, x: paddle.reshape(x, [-1, 2, 0, 2]), x=i32(2, 2, 3, 4))
sample("reshape", lambda paddle, x: paddle.reshape(x, [paddle.shape(x)[0], -1, 2]), x=f64(3, 2, 4))
sample("reshape", lambda paddle, x: paddle.reshape(x, []), x=f32(1))
sample("flatten", lambda paddle, x: paddle.flatten(x, 1, -1), x=f32(2, 3, 4))
sample("flatten", lambda paddle, x: paddle.flatten(x), x=boolean(2, 3))
sample("flatten", lambda paddle, x: paddle.flatten(x.sum()), x=f32(2, 3))
sample("squeeze", lambda paddle, x: paddle.squeeze(x, [1, -1]), x=f32(2, 1, 3, 1))
sample("squeeze", lambda paddle, x: paddle.squeeze(x), dynamic="the rank depends on the sizes", x=f32(1, 2, 1, 3))
sample("unsqueeze", lambda paddle, x: paddle.unsqueeze(x, [0, -1]), x=f32(2, 3))
sample("unsqueeze", lambda paddle, x: paddle.unsqueeze(x, [-2, 1]), x=i64(2, 3))
sample("transpose", lambda paddle, x: paddle.transpose(x, [2, 0, 1]), x=f32(2, 3, 4))
sample("cast", lambda paddle, x: [paddle.cast(x, "int32"), paddle.cast(x, "bool"), paddle.cast(x, "float64")], x=f32(2, 3))
sample("cast", lambda paddle, x: [paddle.cast(x, t) for t in ("int64", "float64", "bfloat16")], x=np.array(True))
sample("cast", lambda paddle, x: [paddle.cast(x, t) for t in ("int16", "float32", "int64")], x=f64(2, 0, 3, low=-99, high=99))
sample(
    "cast", lambda paddle, x: [paddle.cast(x, t) for t in ("int8", "uint8", "float16", "bool", "float32")], x=i64(2, 3, low=-300, high=300)
)

sample("slice", lambda paddle, x: [x[1], x[-1], x[:, 1:], x[:, :-1], x[..., 0:1]], x=f32(3, 4, 5))
sample("slice", lambda paddle, x: x[0:1] + x, x=f32(3, 4))
sample("slice", lambda paddle, x: [x[:, :100], x[2:1], x[-100:2]], x=i64(3, 4))
sample("slice", lambda paddle, x, i: [x[i[0]], x[:, i[1] : i[1] + 2], x[: i[0]]], x=f32(3, 4), i=np.array([2, 1]))
sample("slice", lambda paddle, x: x[: paddle.shape(x)[1] - 2], x=f32(3, 4))
sample("strided_slice", lambda paddle, x: [x[::2, 1::2], x[::-1], x[:, ::-2], x[2:0:-1]], x=f32(5, 6))
sample("strided_slice", lambda paddle, x: paddle.strided_slice(x, [0, 1], [-1, 4], [-5, 0], [-2, -1]), x=f32(4, 6))
sample("strided_slice", lambda paddle, x: paddle.strided_slice(x, [1], [0], [paddle.shape(x)[1]], [3]), x=f32(2, 7))
sample("crop", lambda paddle, x: paddle.crop(x, [2, -1], [1, 2]), x=f32(4, 5))
sample("crop", lambda paddle, x: paddle.crop(x, [1, 2, -1], [1, 0, 1]), x=i64(3, 2, 4))
sample("crop", lambda paddle, x, o: paddle.crop(x, [2, 2], o), x=f64(4, 5), o=np.array([2, 1], "int32"), static=(0,))

sample("concat", lambda paddle, x, y: paddle.concat([x, y, x], axis=-1), x=f32(2, 3), y=f32(2, 4))
sample("concat", lambda paddle, x, y: paddle.concat([x, y], axis=0), x=i64(2, 3), y=i64(1, 3))
sample("concat", lambda paddle, x, y: paddle.concat([x, y, x[:1]]), x=f64(2), y=f64(0))
sample("concat", lambda paddle, x, y: paddle.concat([x, y], axis=-2), x=boolean(2, 1, 3), y=boolean(2, 4, 3))
sample("stack", lambda paddle, x, y: paddle.stack([x, y], axis=-1), x=f32(2, 3), y=f32(2, 3))
sample("stack", lambda paddle, x: paddle.stack([x.sum(), x.max()]), x=f32(2, 3))
sample("split", lambda paddle, x: paddle.split(x, [1, -1, 2], axis=1), x=f32(2, 6))
sample("split", lambda paddle, x: paddle.split(x, [2, 1], axis=-2), x=i32(3, 2))
sample("split_with_num", lambda paddle, x: paddle.split(x, 3, axis=-1), x=f32(2, 6))
sample("unbind", lambda paddle, x: paddle.unbind(x, 1), dynamic="the number of results must be known", x=f32(2, 3, 2))
sample("unstack", lambda paddle, x: paddle.unstack(x, -1), dynamic="the number of results must be known", x=i64(2, 3))
sample("shape", lambda paddle, x: paddle._C_ops.shape(x), x=f32(2, 3))
sample("shape", lambda paddle, x: paddle._C_ops.shape(x) + paddle._C_ops.shape(x.sum()).sum().astype("int32"), x=i64(2, 3, 4))
sample("view_slice", lambda paddle, x: paddle._C_ops.view_slice(x, 1, 3), static=(0,), x=f32(5, 4))
sample("view_slice", lambda paddle, x: paddle._C_ops.view_slice(x, 0, 1), static=(0,), x=i64(2))
sample("trans_layout", lambda paddle, x: paddle._C_ops.trans_layout(x, [0, 2, 3, 1]), x=f32(2, 3, 4, 5))
sample("trans_layout", lambda paddle, x: paddle._C_ops.trans_layout(x, [1, 0]), x=i32(2, 3))
