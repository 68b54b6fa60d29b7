"""Samples of ops/elementwise.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import boolean, f32, f64, i32, i64, sample

NAN, INF = np.nan, np.inf
ODD = np.array([NAN, 1, NAN, 0.0, -0.0, INF, -INF, 2, -3.5], "float32")
ODD2 = np.array([1, NAN, NAN, -0.0, 0.0, NAN, 1, 2, 2], "float32")
SIGNED, DIVISORS = np.array([7, -7, 7, -7, 0, 5], "int32"), np.array([3, 3, -3, -3, 2, -1], "int32")


def _call(name: str) -> Callable[..., Any]:
    return lambda p, x, y: getattr(p, name)(x, y)


for _name, _op in (("add", "add"), ("subtract", "subtract"), ("multiply", "multiply")):
    sample(_op, _call(_name), x=f32(2, 3, 4), y=f32(3, 1, seed=1))
    sample(_op, _call(_name), x=i64(4, low=-5), y=i64(2, 4, low=-5))
    sample(_op, _call(_name), x=f64(3), y=f64())

for _op in ("maximum", "minimum", "fmax", "fmin"):
    sample(_op, _call(_op), x=f32(2, 3), y=f32(3, seed=1))
    sample(_op, _call(_op), x=i32(2, 3, low=-9), y=i32(2, 1, low=-9))
    sample(_op, _call(_op), x=ODD, y=ODD2)

sample("divide", _call("divide"), x=f32(2, 3), y=f32(2, 1, low=0.5))
sample("divide", _call("divide"), x=SIGNED, y=DIVISORS)
sample("divide", lambda p, x: x / 2, x=i64(2, 3))
sample("divide", lambda p, x, y: p._C_ops.divide(x, y), x=SIGNED, y=DIVISORS)
FLOATS = np.array([7, -7, 7.5, -7.5, 0, -0.0, 1, INF, 1, NAN, -1, 1, -1, 0.3, 1e8], "float32")
BY = np.array([3, 3, -3, -3, 2, 2, 0, 2, INF, 1, INF, -INF, -INF, 0.1, 0.3], "float32")
for _op in ("floor_divide", "remainder"):
    sample(_op, _call(_op), x=SIGNED, y=DIVISORS)
    sample(_op, _call(_op), x=FLOATS, y=BY)
    sample(_op, _call(_op), x=f64(3, 4, low=-20, high=20), y=f64(4, low=1, high=3))
    sample(_op, _call(_op), x=i64(3, 4, low=-20, high=20), y=i64(4, low=1))
sample("floor_divide", lambda p, x: x // 3, x=i64(5, low=-9))
sample("floor_divide", lambda p, x: x // -1, x=i64(5, low=-9))
sample("floor_divide", _call("floor_divide"), x=i32(6).astype("uint8"), y=i32(6, low=1).astype("uint8"))
sample("remainder", lambda p, x: x % -3, x=i32(5, low=-9))
sample("trunc_divide", lambda p, x, y: p._C_ops.trunc_divide(x, y), x=SIGNED, y=DIVISORS)
sample("trunc_divide", lambda p, x, y: p._C_ops.trunc_divide(x, y), x=i64(2, 3, low=-20), y=np.array([[-3], [4]]))
sample("trunc_divide", lambda p, x, y: p._C_ops.trunc_divide(x, y), x=i32(5, high=200).astype("uint8"), y=np.array(7, "uint8"))

sample("elementwise_pow", _call("pow"), x=f32(2, 3, low=0.1), y=f32(3))
sample("elementwise_pow", _call("pow"), x=i32(2, 3, low=-3, high=5), y=i32(3, low=0, high=4))
sample("elementwise_pow", lambda p, x: x**2, x=f32(2, 3))
sample("elementwise_pow", lambda p, x: 2**x, x=f64(2, 3))
for _exponent in (2, 3, 0.5, -0.5, -1, 1.7, 0):
    sample("pow", lambda p, x, e=_exponent: p.pow(x, e), x=f32(2, 3, low=0.1))
sample("pow", lambda p, x: p.pow(x, 3), x=f64(2, 3))
sample("pow", lambda p, x: p.pow(x, 2), x=i64(5, low=-5))
sample("pow", lambda p, x: p.pow(x, 3.0), x=f32())

ZEROS = np.array([0, 1, -1, -1, 2, -2, 0], "int64"), np.array([-1, -3, -3, -2, -1, -2, 0], "int64")
sample("elementwise_pow", _call("pow"), x=ZEROS[0], y=ZEROS[1])
sample("divide", lambda p, x, y: p._C_ops.divide(x, y), x=boolean(2, 3), y=np.ones(3, "bool"))
for _after in (True, False):
    sample("scale", lambda p, x, a=_after: [p._C_ops.scale(x, s, c, a) for s in (0.0, 0.5, -1.0) for c in (0.0, 0.3)], x=boolean(4))

sample("heaviside", _call("heaviside"), x=np.array([-1.5, 0, 2, -0.0], "float32"), y=f32(4))
sample("heaviside", _call("heaviside"), x=i64(2, 3, low=-2, high=2), y=i64(3, low=3))
sample("copysign", _call("copysign"), x=f32(2, 4), y=np.array([0.0, -0.0, 3, -2], "float32"))
sample("copysign", _call("copysign"), x=f64(2, 1), y=f64(3))
sample("copysign", _call("copysign"), x=i32(2, 3, low=-5), y=i32(3, low=-5, seed=1))
sample("copysign", _call("copysign"), x=f32(), y=np.array([[-1.0], [np.inf]], "float32"))
sample("nextafter", _call("nextafter"), x=f32(5), y=f32(5, seed=1), rtol=0, atol=0)
sample("nextafter", _call("nextafter"), x=f64(5), y=f64(5, seed=1), rtol=0, atol=0)
sample("nextafter", _call("nextafter"), x=ODD, y=ODD2, rtol=0, atol=0)
sample("atan2", _call("atan2"), x=f32(3, 4), y=f32(3, 4, seed=1))
sample("atan2", _call("atan2"), x=i32(4, low=-3), y=i32(4, low=-3, seed=1))
sample(
    "atan2",
    _call("atan2"),
    x=np.array([0.0, -0.0, 0.0, -0.0, 1, INF, -INF, NAN], "float32"),
    y=np.array([-1, -1, 1, 1, 0, INF, -INF, 1], "float32"),
)
sample("atan2", _call("atan2"), x=f64(), y=f64(seed=1))

sample("scale", lambda p, x: p.scale(x, 2.5, 1.5), x=f32(2, 3))
sample("scale", lambda p, x: p.scale(x, 2.5, 1.5, bias_after_scale=False), x=f64(2, 3))
sample("scale", lambda p, x: p.scale(x, 2.5, 1.5), x=i64(5))
sample("scale", lambda p, x, s: p.scale(x, s, -1.0), x=f32(2, 3), s=f32(1))
sample("scale", lambda p, x: -x, x=i32(2, 2))
sample("scale", lambda p, x: [p.scale(x, 0.5), p.scale(x, 0.0, 0.1), p.scale(x, 0.0, 1.0, False)], x=boolean(2, 3))
sample("clip", lambda p, x: p.clip(x, -0.3, 0.7), x=f32(2, 3))
sample("clip", lambda p, x: p.clip(x, min=-1.0, max=1.0), x=ODD)
sample("clip", lambda p, x: p.clip(x, min=3), x=i64(6))
sample("clip", lambda p, x, m: p.clip(x, m, 1.0), x=f64(2, 3), m=f64(1, low=-1, high=0))
sample("clip", lambda p, x: p.clip(x, 2, 7.9), x=i32(6))
sample("lerp", lambda p, x, y: p.lerp(x, y, 0.3), x=f32(2, 3), y=f32(2, 3, seed=1))
sample("lerp", lambda p, x, y, w: p.lerp(x, y, w), x=f64(2, 3), y=f64(3), w=f64(2, 1))
sample("lerp", lambda p, x, y, w: p.lerp(x, y, w), x=f32(3, 1), y=f32(4), w=f32())
sample("add_n", lambda p, x, y, z: p.add_n([x, y, z]), x=f32(2, 3), y=f32(2, 3, seed=1), z=f32(2, 3, seed=2))
sample("add_n", lambda p, x: p.add_n([x]), x=f32(2, 3))
sample("add_n", lambda p, x, y: p.add_n([x, y]), x=i64(2, 0, 3), y=i64(2, 0, 3))
sample("add_n", lambda p, x, y: p.add_n([x, y, x]), x=f64(), y=f64(seed=1))
