"""Samples of ops/nn.py."""

from __future__ import annotations

import numpy as np

from .base import f32, f64, sample

sample("softmax", lambda paddle, x: paddle.nn.functional.softmax(x), x=f32(2, 5))
sample("softmax", lambda paddle, x: paddle.nn.functional.softmax(x, axis=1), x=f64(2, 5, 3))
sample("softmax", lambda paddle, x: paddle.nn.functional.softmax(x, axis=-3), x=f32(2, 5, 3, 2, low=-90, high=90))
sample("softmax", lambda paddle, x: paddle.nn.functional.softmax(x), x=f32())
sample("log_softmax", lambda paddle, x: paddle.nn.functional.log_softmax(x), x=f32(2, 5))
sample("log_softmax", lambda paddle, x: paddle.nn.functional.log_softmax(x, axis=0), x=f64(2, 5, 3))
sample("log_softmax", lambda paddle, x: paddle.nn.functional.log_softmax(x), x=f32())
sample("dropout", lambda paddle, x: paddle.nn.functional.dropout(x, 0.3, training=False), x=f32(2, 5))
sample("dropout", lambda paddle, x: paddle.nn.functional.dropout(x, 0.3, training=False, mode="downscale_in_infer"), x=f32(2, 5))
sample("dropout", lambda paddle, x: paddle.nn.functional.dropout(x, 0.6, axis=1, training=False, mode="downscale_in_infer"), x=f64(2, 3, 4))
sample("dropout", lambda paddle, x: paddle.nn.functional.dropout(x, 0.9, training=False), x=f32())
sample(
    "fused_softmax_mask",
    lambda paddle, x, m: paddle.incubate.softmax_mask_fuse(x, m),
    x=f32(1, 2, 8, 32),
    m=f32(1, 1, 8, 32),
    static=(0, 1),
)
sample(
    "fused_softmax_mask",
    lambda paddle, x, m: paddle.incubate.softmax_mask_fuse(x, m),
    x=f64(2, 3, 4, 33),
    m=f64(2, 1, 4, 33),
    static=(0, 1),
)
sample(
    "fused_softmax_mask",
    lambda paddle, x, m: paddle.incubate.softmax_mask_fuse(x, m),
    x=f32(1, 2, 8, 32), m=np.where(f32(1, 1, 8, 32) > -1, 0, -1e4).astype("float32"), static=(0, 1),
)  # fmt: skip
sample(
    "fc",
    lambda paddle, x, w, c: paddle._C_ops.fc(x, w, c, 2, "", False),
    x=f32(2, 3, 4),
    constants={"w": f32(4, 5), "c": f32(5)},
    static=(2,),
)
sample(
    "fc",
    lambda paddle, x, w, c: paddle._C_ops.fc(x, w, c, 1, "relu", False),
    x=f32(2, 3, 4),
    constants={"w": f32(12, 5), "c": f32(5)},
    static=(1, 2),
)
sample("fc", lambda paddle, x, w: paddle._C_ops.fc(x, w, None, 1, "", False), x=f64(2, 4), constants={"w": f64(4, 3)}, static=(1,))
sample(
    "fc",
    lambda paddle, x, w, c: paddle._C_ops.fc(x, w, c, 3, "relu", False),
    x=f32(2, 1, 3, 4), w=f32(4, 2), c=f32(1, 2), static=(-1,), dynamic="Paddle asks for the bias's sizes",
)  # fmt: skip
