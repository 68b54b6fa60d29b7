"""Samples of ops/order.py."""

from __future__ import annotations

import numpy as np

from .base import f32, f64, i32, i64, sample

HOLES = np.array([[1, np.nan, 3, 2], [np.nan, np.nan, np.nan, np.nan], [4, 3, 2, 1]], "float32")
for _op in ("median", "nanmedian"):
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=f32(3, 5))
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x, axis=1, keepdim=True), x=f64(3, 4))
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x, axis=1), x=HOLES)
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x, axis=0), x=i64(3, 4))
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x, axis=-1, mode="min"), x=f32(3, 6))
sample("nanmedian", lambda p, x: p.nanmedian(x, axis=1), x=i64(5, 4, low=-9))
sample("median", lambda p, x: p._C_ops.median(x, [1], False, "avg"), x=i64(5, 4, low=-900, high=900))
sample("nanmedian", lambda p, x: p.nanmedian(x, axis=[0, 2]), x=f32(2, 3, 4))
for _op in ("median", "nanmedian"):
    sample(_op, lambda p, x, op=_op: getattr(p._C_ops, op)(x, [1], True, "avg"), x=f32(3, 6))
sample("kthvalue", lambda p, x: p.kthvalue(x, 2), x=f32(3, 5))
sample("kthvalue", lambda p, x: p.kthvalue(x, 3, axis=0, keepdim=True), x=f64(4, 2))
for _n, _k in ((9, 4), (40, 33), (150, 2)):  # many ties: Paddle's own choice of them
    sample("kthvalue", lambda p, x, k=_k: p.kthvalue(x, k, axis=1, keepdim=True), x=i64(2, _n, 2, high=4))
sample("kthvalue", lambda p, x: p.kthvalue(x, 2, axis=0), x=np.array([np.nan, 3, 1, np.nan, 1], "float32"))
sample("mode", lambda p, x: p.mode(x), x=i64(3, 7, high=4))
sample("mode", lambda p, x: p.mode(x, axis=0, keepdim=True), x=f32(6, 2, high=2).round())
sample("mode", lambda p, x: p.mode(x, -2), x=f64(2, 5, 3, high=1).round())
sample("bincount", lambda p, x: p.bincount(x), x=i64(9, high=5))
sample("bincount", lambda p, x: p.bincount(x, minlength=8), x=i32(9, high=5))
sample("bincount", lambda p, x, w: p.bincount(x, weights=w), x=i32(9, high=5), w=f32(9))
sample("bincount", lambda p, x, w: p.bincount(x, weights=w), x=i64(9, high=5), w=i32(9))
sample("histogram", lambda p, x: p.histogram(x, 5), x=f32(4, 5))
sample("histogram", lambda p, x: p.histogram(x, 4, -1.0, 1.0), x=f64(20))
sample("histogram", lambda p, x: p.histogram(x, 4, 1, 7), x=i64(20))
sample("histogram", lambda p, x: p.histogram(x, 4, -1.0, 1.0, density=True), x=f32(20))
sample("histogram", lambda p, x, w: p.histogram(x, 4, -2.0, 1.0, weight=w), x=f32(20), w=f32(20, seed=1))
sample("histogram", lambda p, x: p.histogram(x, 3), x=np.full(4, 2.5, "float32"))
