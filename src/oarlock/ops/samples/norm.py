"""Samples of ops/norm.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, f64, sample


def _batch_norm(**kw: Any) -> Any:
    return lambda paddle, x, *s: paddle.nn.functional.batch_norm(x, *s, **kw)


STATS = {"mean": f32(3), "var": f32(3, low=0.1), "scale": f32(3, seed=1), "bias": f32(3, seed=2)}
MANY = {"mean": f32(70), "var": f32(70, low=0.1), "scale": f32(70, seed=1), "bias": f32(70, seed=2)}
sample("batch_norm", _batch_norm(), x=f32(2, 3, 4, 5), constants=STATS)
sample("batch_norm", _batch_norm(), x=f32(2, 70, 3, 2), constants=MANY)
sample("batch_norm", _batch_norm(epsilon=0.01, data_format="NHWC"), x=f32(2, 4, 5, 3), constants=STATS)
sample("batch_norm", _batch_norm(), x=f32(5, 3), constants=STATS)
sample("batch_norm", _batch_norm(), x=f32(2, 3, 4), constants=STATS)
sample("batch_norm", _batch_norm(), x=f32(2, 3, 2, 4, 3), constants={k: STATS[k] for k in ("mean", "var")})
sample("batch_norm", _batch_norm(), x=f32(2, 3, 4, 5), **STATS)
sample("batch_norm", _batch_norm(training=True, use_global_stats=False, momentum=0.7), x=f32(2, 3, 4, 5), constants=STATS)
sample("batch_norm", _batch_norm(), x=f64(2, 3, 4), constants={k: v.astype("float64") for k, v in STATS.items()})
sample("batch_norm", _batch_norm(training=True, use_global_stats=True), x=f32(2, 3, 4, 5), constants=STATS)


def _layer_norm(shape: Any, **kw: Any) -> Any:
    return lambda paddle, x, *w: paddle.nn.functional.layer_norm(x, shape, *w, **kw)


sample("layer_norm", _layer_norm(6), x=f32(2, 5, 6), constants={"w": f32(6), "b": f32(6, seed=1)}, static=(-1,))
sample("layer_norm", _layer_norm([5, 6], epsilon=1e-3), x=f32(2, 5, 6), constants={"w": f32(30), "b": f32(30, seed=1)}, static=(1, 2))
sample("layer_norm", _layer_norm([6]), x=f32(2, 5, 6), static=(-1,))
sample("layer_norm", _layer_norm([6]), x=f32(2, 6), constants={"w": f32(6)}, static=(-1,))
sample("layer_norm", _layer_norm([6]), x=f64(2, 6), constants={"w": f64(6), "b": f64(6)}, static=(-1,))
# a mean far larger than the deviation (in float32 it is known to 1e-5 of that): E[x²] − E[x]² would be wrong by 1e-3
sample("layer_norm", _layer_norm([64]), x=f32(3, 64) + np.float32(100), static=(-1,), atol=2e-5)


def _group_norm(groups: int, affine: bool = True, **kw: Any) -> Any:
    def call(paddle: Any, x: Any, *w: Any) -> Any:
        weights = {"weight": w[0], "bias": w[1]} if affine else {}
        return paddle.nn.functional.group_norm(x, groups, **weights, **kw)

    return call


sample("group_norm", _group_norm(2), x=f32(2, 6, 4, 3), constants={"w": f32(6), "b": f32(6, seed=1)}, static=(1,))
sample(
    "group_norm", _group_norm(3, epsilon=0.01, data_format="NHWC"), x=f32(2, 4, 3, 6), constants={"w": f32(6), "b": f32(6)}, static=(-1,)
)
sample("group_norm", _group_norm(2, affine=False), x=f32(2, 4, 5), static=(1,))
sample("group_norm", _group_norm(2, affine=False), x=f32(2, 4, 3, 2, 2), static=(1,))


def _instance_norm(affine: bool = True, **kw: Any) -> Any:
    def call(paddle: Any, x: Any, *w: Any) -> Any:
        weights = {"weight": w[0], "bias": w[1]} if affine else {}
        return paddle.nn.functional.instance_norm(x, **weights, **kw)

    return call


sample("instance_norm", _instance_norm(), x=f32(2, 3, 4, 5), constants={"w": f32(3), "b": f32(3, seed=1)}, static=(1,))
sample("instance_norm", _instance_norm(affine=False, eps=0.01), x=f32(2, 3, 7), static=(1,))
sample("instance_norm", _instance_norm(affine=False), x=f32(2, 3, 2, 3, 2), static=(1,))
sample("norm", lambda paddle, x: paddle._C_ops.norm(x, 1, 1e-10, False), x=f32(2, 3, 4))
sample("norm", lambda paddle, x: paddle._C_ops.norm(x, -1, 1e-2, False), x=f32(2, 3))
sample("norm", lambda paddle, x: paddle._C_ops.norm(x, 0, 1e-3, False), x=f64(3, 2))
sample("spectral_norm", lambda paddle, w, u, v: paddle._C_ops.spectral_norm(w, u, v, 0, 1, 1e-12), w=f32(4, 3, 2), u=f32(4), v=f32(6))
sample("spectral_norm", lambda paddle, w, u, v: paddle._C_ops.spectral_norm(w, u, v, 1, 3, 1e-12), w=f32(4, 3, 2), u=f32(3), v=f32(8))
sample("spectral_norm", lambda paddle, w, u, v: paddle._C_ops.spectral_norm(w, u, v, 0, 0, 1e-3), w=f64(2, 3, 1, 2), u=f64(2), v=f64(6))
sample("renorm", lambda paddle, x: paddle.renorm(x, 2.0, 1, 2.5), x=f32(2, 3, 4), static=(1,))
sample("renorm", lambda paddle, x: paddle.renorm(x, 1.5, -1, 3.0), x=f64(2, 3, 4), static=(1, 2))
sample("renorm", lambda paddle, x: paddle.renorm(x, 1.0, 0, 0.5), x=f32(4, 2), static=(0, 1))


def _fused_norm(name: str, *attributes: Any, results: int = 2) -> Any:
    """x, then the operands named b(ias), r(esidual), w(eight) and c (the norm's bias) where they are given."""

    def call(paddle: Any, x: Any, *given: Any, names: str) -> Any:
        operands = dict(zip(names, given, strict=True))
        out = getattr(paddle._C_ops, name)(x, *(operands.get(k) for k in "brwc"), *attributes)
        return list(out)[: results if "r" in names else 1]

    return call


_QUANT = (-1.0, 0, 0.0, 0.0)
_OPERANDS = {"b": f32(4), "r": f32(3, 4, seed=1), "w": f32(4, seed=2), "c": f32(4, seed=3)}
for _names in ("brwc", "rw", "bwc", "w"):
    sample(
        "fused_rms_norm_quant",
        lambda paddle, *t, n=_names: _fused_norm("fused_rms_norm_quant", 1e-3, 1, *_QUANT)(paddle, *t, names=n),
        static=(-1,), x=f32(3, 4), **{k: _OPERANDS[k] for k in _names},
    )  # fmt: skip
for _names in ("brwc", "rwc", "bwc", "wc"):
    sample(
        "fused_bias_residual_layernorm",
        lambda paddle, *t, n=_names: _fused_norm("fused_bias_residual_layernorm", 1e-3, 0.5, 1, *_QUANT)(paddle, *t, names=n),
        static=(-1,), x=f32(3, 4), **{k: _OPERANDS[k] for k in _names},
    )  # fmt: skip
sample(
    "fused_bias_residual_layernorm",
    lambda paddle, *t: _fused_norm("fused_bias_residual_layernorm", 1e-3, 0.5, 1, *_QUANT, results=1)(paddle, *t, names="br"),
    static=(-1,), x=f32(3, 4), b=_OPERANDS["b"], r=_OPERANDS["r"],
)  # fmt: skip
sample(
    "fused_rms_norm_quant",
    lambda paddle, *t: _fused_norm("fused_rms_norm_quant", 1e-3, 2, *_QUANT)(paddle, *t, names="rw"),
    static=(-1,), x=f32(2, 3, 4), r=f32(2, 3, 4, seed=1), w=f32(4),
)  # fmt: skip
