"""Samples of ops/reduce.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .base import boolean, f32, f64, i32, i64, sample

INF = float("inf")


def _call(name: str, *arguments: Any, **attributes: Any) -> Callable[..., Any]:
    return lambda p, x: getattr(p, name)(x, *arguments, **attributes)


for _op in ("sum", "mean", "max", "min", "prod", "amax", "amin", "logsumexp"):
    sample(_op, _call(_op), x=f32(2, 3, 4))
    sample(_op, _call(_op, axis=-1, keepdim=True), x=f64(2, 3, 4))
    sample(_op, _call(_op, axis=[0, 2]), x=f32(2, 3, 4))
    sample(_op, _call(_op), x=f32())
for _op in ("sum", "max", "min", "prod", "amax", "amin"):
    sample(_op, _call(_op, axis=1), x=i32(2, 3, low=-4))
    sample(_op, _call(_op), x=i64(2, 3, low=-4))
sample("sum", _call("sum"), x=boolean(2, 5))
sample("sum", _call("sum", dtype="float64"), x=f32(2, 5))
sample("sum", _call("sum", axis=0), x=f32(0, 3))
sample("mean", _call("mean", axis=1), x=boolean(3, 4))
sample("mean", _call("mean"), x=i64(2, 3, low=-9))
sample("logsumexp", _call("logsumexp", axis=1), x=np.array([[-INF, 2], [1e4, 1e4]], "float32"))
for _op in ("any", "all"):
    sample(_op, _call(_op), x=boolean(2, 3))
    sample(_op, _call(_op, axis=-1, keepdim=True), x=boolean(2, 3))
    sample(_op, _call(_op, axis=[0]), x=f32(2, 3).round())
    sample(_op, _call(_op), x=np.asarray(True))
TIES = np.array([[1, 3, 3, 2], [2, 0, 2, 0], [-5, -5, -5, -7]], "float32")
for _op in ("argmax", "argmin"):
    sample(_op, _call(_op), x=TIES)
    sample(_op, _call(_op, axis=-1), x=TIES)
    sample(_op, _call(_op, axis=0, keepdim=True, dtype="int32"), x=i64(3, 4))
    sample(_op, _call(_op, keepdim=True), x=f64(2, 3, 2))
    sample(_op, _call(_op), x=f32())
for _p in (2.0, 1.0, 0.0, 3.5, INF, -INF):
    sample("p_norm", _call("norm", p=_p, axis=1), x=f32(2, 3, 4))
    sample("dist", lambda p, x, y, order=_p: p.dist(x, y, order), x=f32(2, 3), y=f32(3, seed=1))
sample("p_norm", _call("norm"), x=f64(2, 3))
sample("p_norm", _call("norm", p=2, axis=-1, keepdim=True), x=f32(2, 3))
sample("frobenius_norm", _call("norm", p="fro", axis=[0, 1]), x=f32(2, 3, 4))
sample("frobenius_norm", _call("norm", p="fro", axis=[-2, -1], keepdim=True), x=f64(2, 3))
sample("frobenius_norm", lambda paddle, x: paddle._C_ops.frobenius_norm(x, [-1, 0], True, False), x=f64(2, 3, 4))
sample("frobenius_norm", lambda paddle, x: paddle._C_ops.frobenius_norm(x, [1], False, False), x=f32(2, 3, 4))
sample("squared_l2_norm", lambda p, x: p._C_ops.squared_l2_norm(x), x=f32(2, 3))
sample("squared_l2_norm", lambda p, x: p._C_ops.squared_l2_norm(x), x=f64(2, 1, 3))
sample("squared_l2_norm", lambda p, x: p._C_ops.squared_l2_norm(x), x=f32())
sample("l1_norm", lambda p, x: p._C_ops.l1_norm(x), x=f32(2, 3))
sample("l1_norm", lambda p, x: p._C_ops.l1_norm(x), x=f32(5, 1, 2))
sample("l1_norm", lambda p, x: p._C_ops.l1_norm(x), x=f32())
sample("mean_all", lambda p, x: p._C_ops.mean_all(x), x=f32(2, 3))
sample("mean_all", lambda p, x: p._C_ops.mean_all(x), x=f64(3, 1, 2))
sample("mean_all", lambda p, x: p._C_ops.mean_all(x), x=f32())
sample("clip_by_norm", lambda p, x: p._C_ops.clip_by_norm(x, 1.0), x=f32(2, 3))
sample("clip_by_norm", lambda paddle, x: paddle._C_ops.clip_by_norm(x, 100.0), x=f32(2, 3))
sample("clip_by_norm", lambda paddle, x: paddle._C_ops.clip_by_norm(x, 0.5), x=f32(4))
sample("reduce_as", lambda p, x, y: p.reduce_as(x, y), x=f32(4, 2, 3), y=f32(2, 1), dynamic="which dims are 1 must be known")
sample("reduce_as", lambda p, x, y: p.reduce_as(x, y), x=f32(2, 3), y=f32(3), dynamic="which dims are 1 must be known")
sample("reduce_as", lambda p, x, y: p.reduce_as(x, y), x=i64(2, 3), y=i64(), dynamic="which dims are 1 must be known")
sample("reduce_as", lambda p, x, y: p.reduce_as(x, y), x=i32(2, 3), y=i32(1, 3), dynamic="which dims are 1 must be known")
sample("std", _call("std"), x=f32(2, 3, 4))
sample("std", _call("std", axis=1, unbiased=False, keepdim=True), x=f64(2, 3, 4))
sample("std", lambda p, x: p._C_ops.std(x, [1], False, True, 0.5), x=f32(2, 5))
sample("variance", _call("var", axis=[0, 2]), x=f32(2, 3, 4))
sample("variance", lambda p, x: p._C_ops.variance(x, [1], True), x=f32(2, 3))
sample("variance", lambda p, x: p._C_ops.variance(x, [-1, 0], False), x=f64(2, 3, 4))


def _with_nan(x: np.ndarray) -> np.ndarray:
    return np.where(np.arange(x.size).reshape(x.shape) % 3 == 1, np.float32("nan"), x).astype(x.dtype)


sample("nansum", lambda paddle, x: paddle._C_ops.nansum(x, [1], paddle.float32, True), x=_with_nan(f32(3, 4)))
sample("nansum", lambda paddle, x: paddle._C_ops.nansum(x, [-1, 0], paddle.float64, False), x=_with_nan(f32(3, 4, 2)))
sample("nansum", lambda paddle, x: paddle._C_ops.nansum(x, [], paddle.float64, False), x=_with_nan(f32(3, 4)).astype("float64"))
sample("nansum", lambda paddle, x: paddle._C_ops.nansum(x, [0], paddle.int64, False), x=boolean(3, 4))

for _op in ("sum", "mean", "max", "min", "prod"):
    for _keep in (False, True):
        sample(_op, lambda p, x, axis, n=_op, k=_keep: getattr(p, n)(x, axis, keepdim=k), x=f32(2, 3, 4), axis=np.array([-2]), static=(0,))
