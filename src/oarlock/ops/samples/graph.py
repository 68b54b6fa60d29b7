"""Samples of ops/graph.py: five edges between four nodes; nothing arrives at node 3, twice something at node 1."""

from __future__ import annotations

import numpy as np

from .base import f32, f64, i64, sample

FROM = np.array([0, 1, 2, 0, 3])
TO = np.array([1, 2, 1, 0, 2])

for _how in ("sum", "mean", "max", "min"):
    sample(
        "send_u_recv",
        lambda paddle, x, s, d, how=_how: paddle.geometric.send_u_recv(x, s, d, how),
        x=f32(4, 3, low=-2, high=2),
        s=FROM,
        d=TO,
    )
    sample(
        "send_ue_recv",
        lambda paddle, x, y, s, d, how=_how: paddle.geometric.send_ue_recv(x, y, s, d, "add", how),
        x=f32(4, 3),
        y=f32(5, 3, seed=1),
        s=FROM,
        d=TO,
    )
sample("send_u_recv", lambda paddle, x, s, d: paddle.geometric.send_u_recv(x, s, d, "mean", out_size=6), x=f32(4, 2, 3), s=FROM, d=TO)
sample("send_u_recv", lambda paddle, x, s, d: paddle.geometric.send_u_recv(x, s, d, "max"), x=i64(4, 3), s=FROM, d=TO)
sample(
    "send_u_recv",
    lambda paddle, x, s, d, n: paddle.geometric.send_u_recv(x, s, d, "sum", out_size=n),
    dynamic="the length of out_size must be known",
    x=f64(4, 3),
    s=FROM.astype("int32"),
    d=TO.astype("int32"),
    n=np.array([5], "int32"),
)
for _what in ("sub", "mul", "div"):
    sample(
        "send_ue_recv",
        lambda paddle, x, y, s, d, what=_what: paddle.geometric.send_ue_recv(x, y, s, d, what, "sum", out_size=5),
        x=f32(4, 2, 3),
        y=f32(5, 2, 1, seed=1),
        s=FROM,
        d=TO,
    )
    sample(
        "send_uv",
        lambda paddle, x, y, s, d, what=_what: paddle.geometric.send_uv(x, y, s, d, what),
        x=f32(4, 3),
        y=f32(4, 1, seed=1),
        s=FROM,
        d=TO,
    )
sample("send_uv", lambda paddle, x, s, d: paddle.geometric.send_uv(x, x, s, d, "add"), x=i64(4, 2, 3), s=FROM, d=TO)
