"""Samples of ops/index.py."""

from __future__ import annotations

import numpy as np

from .base import boolean, f32, f64, i32, i64, sample

sample("gather", lambda paddle, x, i: paddle.gather(x, i), x=f32(5, 3), i=i64(4, high=5))
sample("gather", lambda paddle, x, i: paddle.gather(x, i, 1), x=i64(2, 5, 3), i=i32(4, high=5))
sample("gather", lambda paddle, x, i: paddle.gather(x, i, -1), x=f32(2, 5), i=np.asarray(3))
sample("gather", lambda paddle, x: paddle.gather(paddle.shape(x), paddle.to_tensor([1, 0])), x=f32(2, 5))
sample("gather_nd", lambda paddle, x, i: paddle.gather_nd(x, i), static=(-1,), x=f32(3, 4, 2), i=i64(2, 5, 2, high=3))
sample("gather_nd", lambda paddle, x, i: paddle.gather_nd(x, i), static=(-1,), x=boolean(3, 4), i=i32(5, 1, high=3))
sample("gather_nd", lambda paddle, x, i: paddle.gather_nd(x, i), static=(-1,), x=f64(3, 4), i=np.array([[-1, 0], [2, -4]]))
sample(
    "gather_nd",
    lambda paddle, x, i: paddle.gather_nd(x, i),
    static=(-1,),
    x=i64(2, 3),
    i=np.zeros([2, 0], "int64"),
    dynamic="Paddle asks for the index's size",
)
sample("take_along_axis", lambda paddle, x, i: paddle.take_along_axis(x, i, 1), x=f32(3, 5), i=i64(3, 2, high=5))
sample("take_along_axis", lambda paddle, x, i: paddle.take_along_axis(x, i, -2, broadcast=False), x=i64(5, 3), i=i32(2, 3, high=5))
sample("take_along_axis", lambda paddle, x, i: paddle.take_along_axis(x, i, -1), x=f64(2, 3, 4), i=i64(1, 3, 2, high=4))
sample("take_along_axis", lambda paddle, x, i: paddle.take_along_axis(x, i, 0), x=i32(5).astype("uint8"), i=i64(7, high=5))
sample("index_select", lambda paddle, x, i: paddle.index_select(x, i, 1), x=f32(2, 4, 3), i=i32(5, high=4))
sample("index_select", lambda paddle, x, i: paddle.index_select(x, i, -1), x=f64(2, 4), i=np.array([3, -1, 0]))
sample("index_select", lambda paddle, x, i: paddle.index_select(x, i, -2), x=boolean(3, 4), i=i64(2, high=3))
sample("index_select", lambda paddle, x, i: paddle.index_select(x, i), x=i32(4), i=np.array([-1, 0, -4], "int32"))
sample("index_sample", lambda paddle, x, i: paddle.index_sample(x, i), x=f32(3, 5), i=i64(3, 2, high=5))
sample("index_sample", lambda paddle, x, i: paddle.index_sample(x, i), x=i64(2, 4), i=i32(2, 6, high=4))
sample("index_sample", lambda paddle, x, i: paddle.index_sample(x, i), x=f64(1, 3), i=np.array([[2, 2, 0]]))
sample("multiplex", lambda paddle, x, y, i: paddle.multiplex([x, y], i), static=(1,), x=f32(3, 4), y=f32(3, 4, seed=1), i=i32(3, 1, high=2))
sample(
    "multiplex",
    lambda paddle, x, y, z, i: paddle.multiplex([x, y, z], i),
    static=(1,),
    x=i64(3, 3),
    y=i64(3, 3, seed=1),
    z=i64(3, 3, seed=2),
    i=i32(3, 1, high=3),
)
sample(
    "multiplex",
    lambda paddle, x, y, i: paddle.multiplex([x, y], i),
    static=(1,),
    x=f64(4, 2, 3),
    y=f64(4, 2, 3, seed=1),
    i=i32(4, 1, high=2),
)
sample("embedding", lambda paddle, x, w: paddle.nn.functional.embedding(x, w), constants={"w": f32(6, 4)}, x=i64(2, 3, high=6))
sample("embedding", lambda paddle, x, w: paddle.nn.functional.embedding(x, w, 2), constants={"w": f32(6, 4)}, x=i32(2, 5, high=4))
sample("embedding", lambda paddle, x, w: paddle.nn.functional.embedding(x, w, -1), x=np.array([[5, 0], [2, 5]]), constants={"w": f64(6, 3)})
sample("embedding", lambda paddle, x, w: paddle.nn.functional.embedding(x, w), constants={"w": f32(4, 2)}, x=np.array(3))
sample("shard_index", lambda paddle, x: paddle.shard_index(x, 20, 2, 0, -1), x=i64(4, 1, high=20))
sample("shard_index", lambda paddle, x: paddle.shard_index(x, 20, 3, 2, -5), x=i32(2, 3, 1, high=20))
sample("shard_index", lambda paddle, x: paddle.shard_index(x, 7, 2, 1), x=np.array([[0], [3], [4], [6]]))
sample("nonzero", lambda paddle, x: paddle.nonzero(x), x=boolean(3, 4))
sample("nonzero", lambda paddle, x: paddle.nonzero(x), x=i64(7, high=2))
sample("nonzero", lambda paddle, x: paddle.nonzero(x > 5), x=f32(2, 3, 2))
sample("nonzero", lambda paddle, x: paddle.nonzero(x), x=f64(2, 0, 3))
sample("masked_select", lambda paddle, x, m: paddle.masked_select(x, m), x=f32(3, 4), m=boolean(3, 4))
sample("masked_select", lambda paddle, x, m: paddle.masked_select(x, m), x=i64(3, 4), m=boolean(1, 4))
sample("masked_select", lambda paddle, x, m: paddle.masked_select(x, m), x=f64(2, 1), m=boolean(2, 3))
sample("masked_select", lambda paddle, x, m: paddle.masked_select(x, m), x=f32(2, 3), m=np.zeros([2, 3], bool))
sample("masked_fill", lambda paddle, x, m: paddle.masked_fill(x, m, 3.0), x=f32(3, 4), m=boolean(3, 4))
sample("masked_fill", lambda paddle, x, m, v: paddle.masked_fill(x, m, v), x=i64(3, 4), m=boolean(4), v=np.array(-7))
sample("masked_fill", lambda paddle, x, m, v: paddle.masked_fill(x, m, v), x=f64(2, 1), m=boolean(2, 3), v=f64())
sample("repeat_interleave", lambda paddle, x: [paddle.repeat_interleave(x, 2, 1), paddle.repeat_interleave(x, 3)], x=f32(2, 3))
sample("repeat_interleave", lambda paddle, x, r: paddle.repeat_interleave(x, r, 0), x=f32(3, 2), r=np.array([2, 0, 3]))
sample("repeat_interleave", lambda paddle, x: [paddle.repeat_interleave(x, 1, -1), paddle.repeat_interleave(x, 2, -2)], x=i64(2, 3))
sample("temporal_shift", lambda paddle, x: paddle.nn.functional.temporal_shift(x, 2, 0.25), static=(1,), x=f32(4, 8, 2, 2))
sample(
    "temporal_shift",
    lambda paddle, x: paddle.nn.functional.temporal_shift(x, 3, 0.2, data_format="NHWC"),
    static=(3,),
    x=f32(6, 2, 2, 5),
)
sample("temporal_shift", lambda paddle, x: paddle.nn.functional.temporal_shift(x, 1, 0.4), static=(1,), x=f64(3, 4, 1, 2))
sample("frame", lambda paddle, x: paddle.signal.frame(x, 4, 2), static=(-1,), x=f32(2, 10))
sample("frame", lambda paddle, x: paddle.signal.frame(x, 3, 2, axis=0), static=(0,), x=f32(9, 2))
sample("frame", lambda paddle, x: paddle.signal.frame(x, 5, 1), static=(-1,), x=f64(7))
sample("frame", lambda paddle, x: paddle.signal.frame(x, 2, 4, axis=0), static=(0,), x=i64(9, 2, 2))
sample("overlap_add", lambda paddle, x: paddle.signal.overlap_add(x, 2), static=(-1, -2), x=f32(2, 5, 4))
sample("overlap_add", lambda paddle, x: paddle.signal.overlap_add(x, 3, axis=0), static=(0, 1), x=f32(4, 5, 2))
sample("overlap_add", lambda paddle, x: paddle.signal.overlap_add(x, 3), static=(-1, -2), x=f64(3, 4))
sample("gather_tree", lambda paddle, i, p: paddle.nn.functional.gather_tree(i, p), i=i64(3, 2, 2, high=9), p=i64(3, 2, 2, high=2))
sample("gather_tree", lambda paddle, i, p: paddle.nn.functional.gather_tree(i, p), i=i32(4, 1, 3, high=9), p=i32(4, 1, 3, high=3))
sample("gather_tree", lambda paddle, i, p: paddle.nn.functional.gather_tree(i, p), i=i64(1, 3, 2, high=9), p=i64(1, 3, 2, high=2))
sample("c_embedding", lambda paddle, x, w: paddle._C_ops.c_embedding(w, x, 3, 20), constants={"w": f32(5, 4)}, x=i64(3, 4))
sample("c_embedding", lambda paddle, x, w: paddle._C_ops.c_embedding(w, x, 0, -1), constants={"w": f64(5, 4)}, x=i32(3, high=5))
sample("c_embedding", lambda paddle, x, w: paddle._C_ops.c_embedding(w, x, 4, 9), x=i64(2, 2, 3, low=2, high=9), constants={"w": f32(5, 3)})
sample(
    "embedding_with_scaled_gradient",
    lambda paddle, x, w: [paddle._C_ops.embedding_with_scaled_gradient(x, w, k) for k in (-1, 2)],
    x=i64(3, 4, high=6), w=f32(6, 4),
)  # fmt: skip
sample(
    "embedding_with_scaled_gradient",
    lambda paddle, x, w: paddle._C_ops.embedding_with_scaled_gradient(x, w, 0),
    x=i32(5, high=3),
    w=f64(3, 2),
)
sample(
    "embedding_with_scaled_gradient",
    lambda paddle, x, w: paddle._C_ops.embedding_with_scaled_gradient(x, w, 1),
    x=i64(2, 0, high=3),
    w=f32(3, 2),
)
sample(
    "repeat_interleave_with_tensor_index",
    lambda paddle, x, r: [paddle._C_ops.repeat_interleave_with_tensor_index(x, r, axis, -1) for axis in (1, -1)],
    x=f32(2, 3, 3), r=np.array([2, 0, 3]),
)  # fmt: skip
sample(
    "repeat_interleave_with_tensor_index",
    lambda paddle, x, r: paddle._C_ops.repeat_interleave_with_tensor_index(x, r, 0, 5),
    x=i64(3, 2), r=np.array([2, 0, 3], "int32"),
)  # fmt: skip
sample(
    "repeat_interleave_with_tensor_index",
    lambda paddle, x, r: paddle._C_ops.repeat_interleave_with_tensor_index(x, r, 0, -1),
    x=f64(4), r=np.array([0, 1, 0, 4]),
)  # fmt: skip
