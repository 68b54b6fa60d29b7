"""Samples of ops/scan.py."""

from __future__ import annotations

import numpy as np

from .base import f32, f64, i32, i64, sample

sample("cumsum", lambda p, x: p.cumsum(x, 1), x=f32(2, 3, 4))
sample("cumsum", lambda p, x: p.cumsum(x), x=f32(2, 3))
sample("cumsum", lambda p, x: p.cumsum(x, -1, dtype="float64"), x=i32(2, 3))
sample("cumsum", lambda p, x: p._C_ops.cumsum(x, -1, False, True, True), x=i64(2, 4))
sample("cumsum", lambda p, x: p._C_ops.cumsum(x, 0, False, False, True), x=f64(3, 2))
sample("cumsum", lambda p, x: p.cumsum(x, 0), x=f32())
sample("cumsum", lambda p, x, a: p.cumsum(x, a), x=f32(2, 3, 2), a=np.array([-2], "int64"))
sample("cumprod", lambda p, x: p.cumprod(x, 2), x=f32(2, 2, 3, 2, 2))
sample("cumprod", lambda p, x: p.cumprod(x, 1), x=f32(2, 3, 4))
sample("cumprod", lambda p, x: p.cumprod(x), x=f64(2, 3))
sample("cumprod", lambda p, x: p._C_ops.cumprod(x, -1, True, True), x=f32(2, 4))
sample("cumprod", lambda p, x: p.cumprod(x, -1), x=i64(2, 3))
sample("logcumsumexp", lambda p, x: p.logcumsumexp(x, 1), x=f32(2, 3, 4))
sample("logcumsumexp", lambda p, x: p.logcumsumexp(x), x=f64(2, 3, low=-50, high=50))
sample("logcumsumexp", lambda p, x: p._C_ops.logcumsumexp(x, -1, False, False, True), x=f32(2, 4))
PEAKS = np.array([[1, 3, 3, 2, np.nan, 9], [5, -1, 5, 7, 0, 7]], "float32")
for _op in ("cummax", "cummin"):
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x, axis=1), x=PEAKS)
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x, axis=0, dtype="int32"), x=i64(4, 3))
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=f64(2, 3))
