"""Samples of ops/sort.py."""

from __future__ import annotations

import numpy as np

from .base import boolean, f32, f64, i32, i64, sample

ODD = np.array([[3.0, np.nan, -1.0, np.inf, 2.0, -np.inf], [1.0, 2.0, 0.5, -4.0, np.nan, 8.0]], "float32")
STEPS = np.array([1.0, 2.5, 2.5, 4.0, 7.0], "float32")

sample("topk", lambda paddle, x: paddle.topk(x, 3), x=f32(2, 7))
sample("topk", lambda paddle, x: paddle.topk(x, 2, axis=0, largest=False), x=f64(5, 3))
sample("topk", lambda paddle, x, k: paddle.topk(x, k, axis=1), x=f32(2, 6, 2), k=np.asarray(4))
sample("topk", lambda paddle, x: paddle.topk(x, 4), x=ODD)
for _n, _k in ((17, 4), (40, 40), (100, 30), (300, 4)):
    sample("topk", lambda paddle, x, k=_k: paddle.topk(x, k), x=i64(3, _n, high=5))  # many ties: Paddle's own order of them
sample("topk", lambda paddle, x: paddle.topk(x, 9, largest=False), x=i32(2, 30, high=3))
sample("topk", lambda paddle, x: paddle.topk(x, 20, sorted=False), x=np.round(f32(2, 50)))
sample("argsort", lambda paddle, x: [paddle.sort(x), paddle.argsort(x, descending=True)], x=f32(3, 9))
sample("argsort", lambda paddle, x: paddle.argsort(x, axis=0, stable=True), x=i32(20, 2, high=4))
sample("argsort", lambda paddle, x: [paddle.argsort(x), paddle.argsort(x, descending=True)], x=i64(2, 150, high=6))
sample("argsort", lambda paddle, x: [paddle.argsort(x), paddle.argsort(x, descending=True), paddle.sort(x)], x=ODD)
sample("searchsorted", lambda paddle, s, v: paddle.searchsorted(s, v), s=STEPS, v=f32(2, 3, high=8))
sample("searchsorted", lambda paddle, s, v: paddle.searchsorted(s, v, right=True), s=STEPS, v=np.array([4.0, 2.5, 9.0], "float32"))
sample("searchsorted", lambda paddle, s, v: paddle.searchsorted(s, v, True), s=np.sort(i64(2, 5)), v=i64(2, 3))
sample("searchsorted", lambda paddle, s, v: paddle.searchsorted(s, v), s=STEPS, v=np.array([2.5, np.nan, np.inf, -np.inf], "float32"))
sample("searchsorted", lambda paddle, s, v: paddle.bucketize(v, s, right=True), s=STEPS, v=f32(2, 3, high=8))
sample("unique", lambda paddle, x: paddle.unique(x), x=i64(9, high=5))
sample("unique", lambda paddle, x: paddle.unique(x, True, True, True), x=i64(3, 4, high=5))
sample("unique", lambda paddle, x: paddle.unique(x, True, True, True, axis=1), x=i64(2, 6, high=2))
sample("unique", lambda paddle, x: paddle.unique(x, return_counts=True, axis=0, dtype="int32"), x=np.round(f32(5, 2, high=2)))
sample("unique_consecutive", lambda paddle, x: paddle.unique_consecutive(x, True, True), x=i64(12, high=2))
sample("unique_consecutive", lambda paddle, x: paddle.unique_consecutive(x, True, True, axis=0), x=i64(6, 2, high=2))
sample("unique_consecutive", lambda paddle, x: paddle.unique_consecutive(x), x=np.round(f32(3, 4, high=1)))
sample("topk", lambda paddle, x: paddle.topk(paddle.cast(x, "int32"), 3)[0], x=boolean(2, 5))
