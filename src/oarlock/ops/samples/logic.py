"""Samples of ops/logic.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...runtime.dtypes import numpy_dtype
from .base import boolean, f32, f64, i32, i64, sample

NAN, INF = np.nan, np.inf
LEFT, RIGHT = np.array([1, NAN, INF, 0.0, NAN, 2, -INF], "float32"), np.array([1, NAN, INF, -0.0, 1, 2.00001, INF], "float32")


def _call(name: str, **attributes: Any) -> Callable[..., Any]:
    return lambda p, *x: getattr(p, name)(*x, **attributes)


for _op in ("equal", "not_equal", "less_than", "less_equal", "greater_than", "greater_equal"):
    sample(_op, _call(_op), x=i64(2, 3, high=3), y=i64(3, high=3, seed=1))
    sample(_op, _call(_op), x=LEFT, y=RIGHT)
    sample(_op, _call(_op), x=boolean(4), y=boolean(4, seed=1))
    sample(_op, lambda p, x, op=_op: getattr(p, op)(x, p.full([], 0.5)), x=f32())
for _op in ("logical_and", "logical_or", "logical_xor"):
    sample(_op, _call(_op), x=boolean(2, 3), y=boolean(3, seed=1))
    sample(_op, _call(_op), x=i32(4, high=2), y=i32(4, high=2, seed=1))
    sample(_op, _call(_op), x=f32(4), y=np.zeros(4, "float32"))
sample("logical_not", _call("logical_not"), x=boolean(2, 3))
sample("logical_not", _call("logical_not"), x=i64(4, high=2))
sample("logical_not", _call("logical_not"), x=LEFT)
sample("logical_not", _call("logical_not"), x=np.array(True))
for _op in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    sample(_op, _call(_op), x=i32(2, 4, low=-9), y=i32(4, low=-9, seed=1))
    sample(_op, _call(_op), x=boolean(4), y=boolean(4, seed=1))
for _op in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    sample(_op, _call(_op), x=i64(), y=i64(3, low=-9))
    sample(_op, _call(_op), x=i32(2, 0, 4).astype("uint8"), y=i32(4).astype("uint8"))
sample("bitwise_not", _call("bitwise_not"), x=i32(4, low=-9))
sample("bitwise_not", _call("bitwise_not"), x=boolean(4))
sample("bitwise_not", _call("bitwise_not"), x=i64(2, 3, low=-9))
sample("bitwise_not", _call("bitwise_not"), x=i32().astype("uint8"))
COUNTS = np.array([0, 1, 3, 31, 32, 40, -1, 2], "int32")
for _op in ("bitwise_left_shift", "bitwise_right_shift"):
    for _arithmetic in (True, False):
        sample(_op, _call(_op, is_arithmetic=_arithmetic), x=i32(2, 8, low=-99, high=99), y=COUNTS)
        sample(_op, _call(_op, is_arithmetic=_arithmetic), x=i64(8, low=-99, high=99), y=COUNTS.astype("int64") * 2)
    sample(_op, _call(_op), x=i32(8, high=200).astype("uint8"), y=i32(8, high=9).astype("uint8"))
for _op in ("isnan", "isinf", "isfinite"):
    sample(_op, _call(_op), x=LEFT)
    sample(_op, _call(_op), x=i32(3))
    sample(_op, _call(_op), x=np.array([[NAN, -INF, 1e308]]))
    sample(_op, _call(_op), x=LEFT.astype(numpy_dtype("bfloat16")))
sample("isclose", _call("isclose"), x=LEFT, y=RIGHT)
sample("isclose", _call("isclose", equal_nan=True), x=LEFT, y=RIGHT)
sample("isclose", _call("isclose", rtol=0.1, atol=0.2), x=f64(3, 4), y=f64(3, 4, seed=1))
sample("allclose", _call("allclose"), x=f32(2, 3), y=f32(2, 3))
sample("allclose", _call("allclose", rtol=0.5), x=f64(4), y=f64(4, seed=1))
sample("allclose", _call("allclose", equal_nan=True), x=LEFT[:5], y=LEFT[:5])
sample("allclose", _call("allclose", rtol=0.0, atol=0.3), x=f32(2, 3), y=f32(2, 3) + np.float32(0.2))
sample("equal_all", _call("equal_all"), x=i64(2, 3), y=i64(2, 3), dynamic="the two shapes may differ")
sample("equal_all", _call("equal_all"), x=f32(2, 3), y=f32(3, 2), dynamic="the two shapes may differ")
sample("equal_all", _call("equal_all"), x=f64(), y=f64(seed=1))
sample("equal_all", _call("equal_all"), x=boolean(3), y=np.logical_not(boolean(3)), dynamic="the two shapes may differ")
sample("where", lambda p, c, x, y: p.where(c, x, y), c=boolean(2, 3), x=f32(2, 3), y=f32(2, 3, seed=1))
sample("where", lambda p, c, x, y: p.where(c, x, y), c=boolean(3), x=i64(2, 3), y=i64(2, 1, seed=1))
sample("where", lambda p, x: p.where(x > 0, x, p.zeros_like(x)), x=f64(4))
sample("where", lambda p, c, x: p.where(c, x, 2.0), c=boolean(2, 3), x=f32(2, 3))
sample("is_empty", _call("is_empty"), x=f32(2, 3))
sample("is_empty", _call("is_empty"), x=i64(0, 3))
sample("is_empty", _call("is_empty"), x=f64())
