"""Samples of matching, looking up, and losses over paths."""

import numpy as np

from .base import f32, f64, i32, i64, sample

for _k, _rows in ((1, 6), (2, 5), (3, 1)):
    sample(
        "accuracy",
        lambda paddle, x, y, k=_k: list(paddle._C_ops.accuracy(*paddle.topk(x, k), y)),
        x=f32(_rows, 4),
        y=i64(_rows, 1, high=4),
    )
sample("accuracy", lambda paddle, x, i, y: list(paddle._C_ops.accuracy(x, i, y)), x=f32(3, 0), i=i64(3, 0), y=i64(3, 1))
for _kind, _least, _x in (
    ("bipartite", 0.5, f32(3, 5, low=0.0, high=1.0)),
    ("per_prediction", 0.3, f32(4, 6, low=0.0, high=1.0)),
    ("per_prediction", 0.7, f64(6, 3, low=-0.5, high=1.0)),
):
    sample("bipartite_match", lambda paddle, x, k=_kind, t=_least: list(paddle._C_ops.bipartite_match(x, k, t)), x=_x)

_TREE = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 2, 3], [0, 1, 1, 4, 5], [0, 1, 1, 6, 0], [7, 2, 2, 0, 0], [8, 2, 2, 0, 0], [9, 2, 3, 0, 0]])
for _dtype in ("int32", "int64"):
    sample(
        "tdm_child",
        lambda paddle, x, t, d=_dtype: list(paddle._C_ops.tdm_child(x, t, 2, getattr(paddle, d))),
        x=np.array([[0], [1], [2], [3], [6]]),
        t=_TREE.astype(_dtype),
        static=(1,),
    )
sample(
    "tdm_child",
    lambda paddle, x, t: list(paddle._C_ops.tdm_child(x, t, 1, paddle.int64)),
    x=np.array([[1, 2, 3]], "int32"),
    t=_TREE,
    static=(1,),
)
for _nodes, _near, _count in (
    ([0, 1, 2], [8, 9, 0, 4, 7, 6, 7], [2, 3, 2]),
    ([5, 3], [3, 5, 5, 9], [0, 4]),
    ([0, 1, 2], [8, 9, 0, 4, 7, 6, 7, 0, 2, 3, 5], [2, 3, 2, 1, 2, 1]),
    (list(range(0, 900, 9)), (np.arange(400) ** 2 % 1009 - 7).tolist(), [4] * 100),  # enough that places in the table are taken
):
    sample(
        "reindex_graph",
        lambda paddle, x, n, c: list(paddle._C_ops.reindex_graph(x, n, c, None, None)),
        x=np.array(_nodes),
        n=np.array(_near),
        c=np.array(_count, "int32"),
    )
for _alpha, _x in ((0.5, f32(2, 4, 3, 2, 4)), (1.0, f32(1, 7, 3, 1, 8)), (0.2, f32(3, 2, 3, 4, 2))):
    sample("self_dp_attention", lambda paddle, x, a=_alpha: paddle._C_ops.self_dp_attention(x, a, x.shape[3]), x=_x, static=(2, 3, 4))


def _rnnt(paddle, x, y, n, m, blank, emit):  # type: ignore[no-untyped-def]
    x = paddle.nn.functional.log_softmax(x, -1)  # Paddle's CPU kernel does not normalise
    return paddle.nn.functional.rnnt_loss(x, y, n, m, blank=blank, fastemit_lambda=emit, reduction="none")


for _blank, _emit, _x, _n, _m in (
    (0, 0.0, f32(2, 4, 3, 5), [4, 3], [2, 1]),
    (2, 0.1, f32(3, 6, 5, 4), [6, 5, 6], [4, 2, 3]),
    (0, 0.0, f64(1, 3, 2, 6), [3], [1]),
):
    sample(
        "warprnnt",
        lambda paddle, x, y, n, m, blank=_blank, emit=_emit: _rnnt(paddle, x, y, n, m, blank, emit),
        x=_x,
        y=(1 + i32(_x.shape[0], _x.shape[2] - 1, high=_x.shape[3] - 1) + _blank).astype("int32") % _x.shape[3],
        n=np.array(_n, "int32"),
        m=np.array(_m, "int32"),
        static=(3,),
    )
for _classes, _x in ((6, f32(5, 4)), (8, f64(3, 2)), (2, f32(2, 3))):
    sample(
        "hsigmoid_loss",
        lambda paddle, x, y, w, c, n=_classes: list(paddle._C_ops.hsigmoid_loss(x, y, w, c, None, None, n, False))[:2],
        x=_x,
        y=i64(_x.shape[0], 1, high=_classes),
        constants={"w": f64(_classes - 1, _x.shape[1]).astype(_x.dtype), "c": f64(_classes - 1, 1).astype(_x.dtype)},
        static=(1,),
    )
sample(
    "hsigmoid_loss",
    lambda paddle, x, y, w, p, c: list(paddle._C_ops.hsigmoid_loss(x, y, w, None, p, c, 3, False))[:2],
    x=f32(3, 4),
    y=i64(3, 1, high=3),
    w=f32(4, 4, seed=1),
    p=np.array([[0, 2, -1], [0, 1, 3], [0, -1, -1]]),
    c=np.array([[1, 0, -1], [0, 1, 1], [1, -1, -1]]),
    static=(1,),
)
