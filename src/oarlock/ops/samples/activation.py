"""Samples of ops/activation.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import f32, f64, sample

ODD = np.array([np.nan, np.inf, 0.0, -0.0, 0.5, 2.5, -0.5, -1.5, 25, -25, 100], "float32")


def _call(name: str, **attributes: Any) -> Callable[..., Any]:
    return lambda p, x: getattr(p.nn.functional, name)(x, **attributes)


_PLAIN = {
    "relu6": "relu6", "hardswish": "hardswish", "hardsigmoid": "hardsigmoid", "hardtanh": "hardtanh", "hardshrink": "hardshrink",
    "softshrink": "softshrink", "tanh_shrink": "tanhshrink", "thresholded_relu": "thresholded_relu", "softplus": "softplus",
    "softsign": "softsign", "mish": "mish", "logsigmoid": "log_sigmoid", "silu": "silu", "swish": "swish", "gelu": "gelu", "elu": "elu",
    "celu": "celu", "selu": "selu", "leaky_relu": "leaky_relu",
}  # fmt: skip
for _op, _name in _PLAIN.items():
    sample(_op, _call(_name), x=f32(2, 3, 4, low=-5, high=5))
    sample(_op, _call(_name), x=f64(3, low=-5, high=5), rtol=1e-12, atol=1e-14)
    sample(_op, _call(_name), x=ODD if _op != "softshrink" else ODD[2:])  # Paddle's own gives inf · 0 there

sample("relu", _call("relu"), x=f32(2, 3))
sample("relu", _call("relu"), x=f64())
sample("relu", _call("relu"), x=ODD)
sample("gelu", _call("gelu", approximate=True), x=f32(2, 3))
sample("leaky_relu", _call("leaky_relu", negative_slope=0.3), x=f32(2, 3))
sample("elu", _call("elu", alpha=0.3), x=f32(2, 3))
sample("celu", _call("celu", alpha=0.3), x=f32(2, 3))
sample("selu", _call("selu", scale=1.5, alpha=0.3), x=f32(2, 3))
sample("hardtanh", _call("hardtanh", min=-0.3, max=0.6), x=f32(2, 3))
sample("hardtanh", _call("hardtanh", min=0.3, max=-0.3), x=f32(2, 3))
sample("hardsigmoid", _call("hardsigmoid", slope=0.3, offset=0.2), x=f32(2, 3))
sample("hardshrink", _call("hardshrink", threshold=0.9), x=f32(2, 3))
sample("softshrink", _call("softshrink", threshold=0.9), x=f32(2, 3))
sample("mish", lambda p, x: p._C_ops.mish(x, 0.5), x=f32(2, 3))
sample("thresholded_relu", _call("thresholded_relu", threshold=0.2, value=-1.0), x=f32(2, 3))
sample("softplus", _call("softplus", beta=3.0, threshold=4.0), x=f32(2, 3))
sample("prelu", lambda p, x, w: p.nn.functional.prelu(x, w), x=f32(2, 3, 4), constants={"w": f32(3)}, static=(1,))
sample("prelu", lambda p, x, w: p.nn.functional.prelu(x, w), x=f32(2, 3, 2, 2), constants={"w": f32(1)})
sample("prelu", lambda p, x, w: p.nn.functional.prelu(x, w, data_format="NHWC"), x=f32(2, 2, 2, 3), constants={"w": f32(3)}, static=(3,))
sample("rrelu", lambda p, x: p.nn.functional.rrelu(x, 0.1, 0.3, training=False), x=f32(2, 3))
sample("rrelu", lambda p, x: p.nn.functional.rrelu(x, training=False), x=f64(2, 3, 2))
sample("rrelu", lambda p, x: p.nn.functional.rrelu(x, 0.25, 0.25, training=False), x=f32())
sample("maxout", lambda p, x: p.nn.functional.maxout(x, 2), x=f32(2, 4, 3, 3), static=(1,))
sample("maxout", lambda p, x: p.nn.functional.maxout(x, 3, axis=-1), x=f32(2, 2, 2, 6), static=(3,))
sample("maxout", lambda p, x: p.nn.functional.maxout(x, 3, axis=1), x=f64(1, 6, 1, 2), static=(1,))
sample("swiglu", lambda p, x: p.nn.functional.swiglu(x), x=f32(2, 6), static=(1,))
sample("swiglu", lambda p, x, y: p.nn.functional.swiglu(x, y), x=f32(2, 3), y=f32(2, 3, seed=1))
sample("swiglu", lambda p, x: p.nn.functional.swiglu(x), x=f64(2, 3, 4), static=(-1,))
