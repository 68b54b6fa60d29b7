"""Samples of ops/scatter.py."""

from __future__ import annotations

import numpy as np

from .base import boolean, f32, f64, i64, sample

ROWS = np.array([2, 0, 2, 1])

sample("scatter", lambda paddle, x, i, u: paddle.scatter(x, i, u), x=f32(4, 3), i=ROWS, u=f32(4, 3, seed=1))
sample("scatter", lambda paddle, x, i, u: paddle.scatter(x, i, u, overwrite=False), x=f32(4, 2, 3), i=ROWS, u=f32(4, 2, 3, seed=1))
sample("scatter", lambda paddle, x, i, u: paddle.scatter(x, i, u), x=i64(4), i=ROWS.astype("int32"), u=i64(4, seed=1))
sample(
    "scatter_nd_add", lambda paddle, x, i, u: paddle.scatter_nd_add(x, i, u), static=(-1,), x=f32(3, 4, 2), i=i64(5, 2, high=3), u=f32(5, 2)
)
sample("scatter_nd_add", lambda paddle, i, u: paddle.scatter_nd(i, u, [6]), static=(-1,), i=i64(5, 1, high=6), u=f32(5))
sample(
    "scatter_nd_add",
    lambda paddle, x, i, u: paddle.scatter_nd_add(x, i, u),
    static=(-1,),
    x=i64(4),
    i=np.array([[3], [0], [3]], "int32"),
    u=i64(3),
)
sample("index_add", lambda paddle, x, i, u: paddle.index_add(x, i, 1, u), x=f32(2, 4, 3), i=ROWS[:3], u=f32(2, 3, 3))
sample("index_add", lambda paddle, x, i, u: paddle.index_add(x, i, 0, u), x=i64(4), i=ROWS, u=i64(4))
sample("index_add", lambda paddle, x, i, v: paddle.index_add(x, i, -1, v), x=i64(2, 3), i=np.array([2, 2, 0]), v=i64(2, 3, seed=1))
sample("index_add", lambda paddle, x, i, v: paddle.index_add(x, i, 0, v), x=f64(4), i=np.array([3], "int32"), v=f64(1))
sample("index_put", lambda paddle, x, i, j, v: paddle.index_put(x, [i, j], v), x=f32(4, 5), i=ROWS, j=ROWS + 1, v=f32(4))
sample("index_put", lambda paddle, x, i, v: paddle.index_put(x, [i], v, accumulate=True), x=f64(4, 3), i=ROWS, v=f64(4, 3))
sample(
    "index_put", lambda paddle, x, i, v: paddle.index_put(x, [i], v, accumulate=True), x=boolean(3, 4), i=ROWS - 1, v=boolean(4, 4, seed=1)
)
sample("index_put", lambda paddle, x, m, v: paddle.index_put(x, [m], v), dynamic="ranks only", x=f32(3, 4), m=boolean(3, 4), v=f32(1))
for _how in ("assign", "add", "mul", "mean", "amin", "amax"):
    for _own in (True, False):
        sample(
            "put_along_axis",
            lambda paddle, x, i, v, how=_how, own=_own: paddle.put_along_axis(x, i, v, 0, how, include_self=own, broadcast=False),
            x=f32(4, 3),
            i=i64(3, 3, high=4),
            v=f32(3, 3, seed=1),
        )
sample("put_along_axis", lambda paddle, x, i: paddle.put_along_axis(x, i, 7, -1), x=i64(3, 4), i=i64(3, 1, high=4))
for _how in ("sum", "mean", "max", "min"):
    sample(
        "segment_pool",
        lambda paddle, x, i, how=_how: getattr(paddle.geometric, f"segment_{how}")(x, i),
        x=f32(5, 2),
        i=np.array([0, 0, 1, 3, 3]),
    )
