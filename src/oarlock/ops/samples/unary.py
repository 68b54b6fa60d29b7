"""Samples of ops/unary.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import f32, f64, i32, i64, sample

ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -1.5, 1e-4, -1e-7, 1e-12], "float32")


def _call(name: str) -> Callable[..., Any]:
    return lambda p, x: getattr(p, name)(x)


_WHOLE_LINE = ("atan", "asinh", "cos", "cosh", "exp", "expm1", "sin", "sinh", "tan", "tanh", "erf")
_POSITIVE = ("log", "log1p", "log2", "log10", "sqrt", "rsqrt", "reciprocal")
_UNIT = ("acos", "asin", "atanh")
for _names, _low, _high in ((_WHOLE_LINE, -3.0, 3.0), (_POSITIVE, 1e-3, 9.0), (_UNIT, -0.99, 0.99), (("acosh",), 1.01, 5.0)):
    for _name in _names:
        sample(_name, _call(_name), x=f32(2, 3, low=_low, high=_high), rtol=1e-6, atol=0)
        sample(_name, _call(_name), x=f64(5, low=_low, high=_high), rtol=1e-14, atol=0)
        # Paddle's sqrt(inf) is NaN, its exp(−inf) not 0
        sample(_name, _call(_name), x=ODD if _name not in ("exp", "sqrt") else ODD[3:], rtol=1e-6, atol=0)
for _name in ("exp", "sqrt", "sin"):
    sample(_name, _call(_name), x=i64(4, low=1))

sample("sigmoid", lambda p, x: p.nn.functional.sigmoid(x), x=f32(2, 3), rtol=1e-6)
sample("sigmoid", lambda p, x: p.nn.functional.sigmoid(x), x=f64())
sample("sigmoid", lambda p, x: p.nn.functional.sigmoid(x), x=np.array([-100, -20, -0.0, 20, 100, np.inf, -np.inf, np.nan], "float32"))
for _name in ("abs", "floor", "ceil", "sign", "square"):
    sample(_name, _call(_name), x=f32(2, 3))
    sample(_name, _call(_name), x=i32(4, low=-5))
    sample(_name, _call(_name), x=ODD)
for _name in ("round", "trunc"):
    sample(_name, _call(_name), x=f64(2, 3, low=-9))
    sample(_name, _call(_name), x=ODD)
sample("round", lambda p, x: p.round(x, decimals=2), x=f32(2, 3))
sample("round", lambda p, x: p.round(x, decimals=-1), x=f32(2, 3, low=-99, high=99))
sample("trunc", _call("trunc"), x=i32(4, low=-5))
sample("logit", lambda p, x: p.logit(x), x=f32(2, 3, low=-0.2, high=1.2))
sample("logit", lambda p, x: p.logit(x, 1e-2), x=f64(5, low=-0.2, high=1.2))
sample("logit", lambda p, x: p.logit(x), x=np.array([0, 1, 0.5, 1.5, -0.5, np.nan], "float32"))
sample("stanh", lambda p, x: p.stanh(x), x=f32(2, 3))
sample("stanh", lambda p, x: p.stanh(x, 0.3, 2.0), x=f64(2, 3))
sample("stanh", lambda p, x: p.stanh(x, scale_b=-0.5), x=f32())
sample("angle", _call("angle"), x=f32(2, 3))
sample("angle", _call("angle"), x=f64())
sample("angle", _call("angle"), x=ODD[3:])
sample("angle", _call("angle"), x=f64(2, 0, 3))
sample("conj", _call("conj"), x=f32(2, 3))
sample("conj", _call("conj"), x=i64(2, 3))
sample("conj", lambda p, x: p.conj(x) * 2, x=f64())
sample("increment", lambda p, x: p.increment(p.exp(x), 2.5) * 1, x=f32(1), static=(0,))
sample("increment", lambda p, x: p.increment(p.floor(x)) + 1, x=f64(1), static=(0,))
sample("increment", lambda p, x: p.increment(x * 2, -3.0) * 1, x=i64(1), static=(0,))
sample("rint", lambda paddle, x: paddle._C_ops.rint(x), x=np.array([0.5, 1.5, -0.5, -1.5, 2.4, -2.6, np.inf], "float32"))
sample("rint", lambda paddle, x: [paddle._C_ops.rint(x), paddle._C_ops.rint(x[0])], x=i64(3, low=-5))
sample("rint", lambda paddle, x: paddle._C_ops.rint(x), x=f64(2, 3, low=-9, high=9))
