"""Samples of ops/special.py."""

from __future__ import annotations

import numpy as np

from .base import f32, f64, sample

LINE = np.array([0.05, 0.5, 1, 1.4616, 2, 3.7, 12, 33, 150, -0.3, -1.5, -7.25], "float64")
for _op in ("lgamma", "gammaln", "digamma"):
    _x = LINE[:9] if _op == "gammaln" else LINE
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=_x, rtol=1e-12, atol=1e-13)
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=_x.astype("float32"), rtol=1e-5)
for _op in ("gammaln",):
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=f64(low=0.1))
sample("lgamma", lambda p, x: p.lgamma(x), x=np.array([[0, -0.0, -1, -2, np.inf, -np.inf, np.nan, 1e-30, 1e30]], "float32"))
for _n in (0, 1, 2, 5):
    sample("polygamma", lambda p, x, n=_n: p.polygamma(x, n), x=LINE[:9], rtol=1e-12, atol=1e-13)
    sample("polygamma", lambda p, x, n=_n: p.polygamma(x, n), x=f32(2, 3, low=0.3, high=9))
_a, _y = np.meshgrid([0.1, 0.5, 1, 2.5, 10, 80], [0, 0.01, 0.7, 1, 3, 9, 30, 100])
sample("gammaincc", lambda p, x, y: p.gammaincc(x, y), x=_a, y=_y, rtol=1e-10, atol=1e-14)
sample("gammaincc", lambda p, x, y: p.gammaincc(x, y), x=f32(2, 3, low=0.1, high=5), y=f32(2, 3, low=0, high=6, seed=1))
sample("gammaincc", lambda p, x, y: p.gammainc(x, y), x=f64(4, low=0.1, high=5), y=f64(4, low=0, high=6, seed=1))
WIDE = np.array([0, 0.1, -0.1, 1, 5, -7.9, 8.1, 15, 19.9, 20.1, -25, 60, 300], "float64")
for _op in ("i0", "i0e", "i1", "i1e"):
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=WIDE, rtol=1e-12, atol=0)
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=f32(2, 3, low=-9, high=9))
for _op in ("i0", "i0e", "i1", "i1e"):
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x), x=f64(), rtol=1e-12, atol=0)
sample("erfinv", lambda p, x: p.erfinv(x), x=np.array([0, 0.05, -0.3, 0.5, 0.7, -0.9, 0.999, 1, -1, 1.5], "float64"), rtol=1e-12, atol=0)
sample("erfinv", lambda p, x: p.erfinv(x), x=f32(2, 3, low=-0.99, high=0.99))
sample("erfinv", lambda p, x: p.erfinv(x), x=f32(2, 0, 3))
sample("erfinv", lambda p, x: p.erfinv(x), x=f64(low=-0.9, high=0.9))
