"""Samples of ops/loss.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, f64, i32, i64, sample


def _call(name: str, **kw: Any) -> Any:
    return lambda paddle, *x: getattr(paddle.nn.functional, name)(*x, **kw)


def _entropy(**kw: Any) -> Any:
    return lambda paddle, x, y: paddle.nn.functional.softmax_with_cross_entropy(x, y, return_softmax=True, **kw)


IGNORED = np.array([[0], [3], [-100], [2]], "int64")
SHARES = f32(4, 5, low=0.0) / f32(4, 5, low=0.0).sum(1, keepdims=True)
sample("cross_entropy_with_softmax", _entropy(), x=f32(4, 5), y=i64(4, 1, high=5))
sample("cross_entropy_with_softmax", _entropy(), x=f32(4, 5), y=IGNORED)
sample("cross_entropy_with_softmax", _entropy(ignore_index=3), x=f64(4, 5), y=i32(4, 1, high=5))
sample("cross_entropy_with_softmax", _entropy(axis=1), x=f32(2, 5, 3), y=i64(2, 1, 3, high=5), dynamic="Paddle compares the sizes")
sample("cross_entropy_with_softmax", _entropy(soft_label=True), x=f32(4, 5), y=SHARES)
sample("cross_entropy_with_softmax", _entropy(soft_label=True, axis=0), x=f32(4, 5), y=SHARES)
sample(
    "cross_entropy_with_softmax",
    _call("cross_entropy", use_softmax=False, reduction="none"),
    x=SHARES,
    y=i64(4, high=5),
    dynamic="Paddle compares the sizes",
)
sample("nll_loss", _call("nll_loss", reduction="none"), x=f32(4, 5), y=i64(4, high=5), static=(1,))
sample("nll_loss", _call("nll_loss"), x=f32(4, 5), y=i64(4, high=5), w=f32(5, low=0.5), static=(1,))
sample("nll_loss", _call("nll_loss", reduction="sum", ignore_index=2), x=f32(6, 5), y=i64(6, high=5), w=f32(5), static=(1,))
sample("label_smooth", _call("label_smooth", epsilon=0.2), x=f32(4, 5))
sample("label_smooth", _call("label_smooth", epsilon=0.3), x=f32(4, 5), p=f32(1, 5), static=(-1,))
sample("label_smooth", _call("label_smooth"), x=f64(2, 3, 4))
sample(
    "sigmoid_cross_entropy_with_logits",
    _call("binary_cross_entropy_with_logits", reduction="none"),
    x=f32(3, 4, low=-9, high=9),
    y=f32(3, 4, low=0, high=1),
)
sample(
    "sigmoid_cross_entropy_with_logits",
    lambda paddle, x, y, w: paddle.nn.functional.binary_cross_entropy_with_logits(x, y, pos_weight=w),
    x=f32(3, 4),
    y=f32(3, 4, low=0, high=1),
    w=f32(4, low=0.5),
)
sample(
    "sigmoid_cross_entropy_with_logits",
    lambda paddle, x, y: paddle._C_ops.sigmoid_cross_entropy_with_logits(x, y, None, True, 1),
    x=f32(3, 4),
    y=np.array([[0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 0, 1]], "float32"),
)
sample(
    "bce_loss",
    _call("binary_cross_entropy", reduction="none"),
    x=np.array([[0.0, 1.0, 0.3, 0.9]], "float32"),
    y=np.array([[0.0, 0.0, 1.0, 0.4]], "float32"),
)
sample("bce_loss", _call("binary_cross_entropy"), x=f64(2, 3, low=0.01, high=0.99), y=f64(2, 3, low=0, high=1), w=f64(3, low=0.5))
sample("bce_loss", _call("binary_cross_entropy", reduction="sum"), x=f32(5, low=0.01, high=0.99), y=np.array([0, 1, 1, 0, 0.5], "float32"))
sample("log_loss", _call("log_loss", epsilon=0.01), x=f32(4, 1, low=0, high=1), y=f32(4, 1, low=0, high=1), static=(-1,))
sample("log_loss", _call("log_loss"), x=f32(3, 1, low=0, high=1), y=np.array([[0], [1], [1]], "float32"), static=(-1,))
sample(
    "log_loss", _call("log_loss"), x=np.array([[0], [1], [1], [0]], "float32"), y=np.array([[0], [1], [0], [1]], "float32"), static=(-1,)
)
sample(
    "hinge_loss",
    lambda paddle, x, y: paddle._C_ops.hinge_loss(x, y),
    x=f32(4, 1),
    y=np.array([[0], [1], [1], [0]], "float32"),
    static=(-1,),
)
sample(
    "hinge_loss",
    lambda paddle, x, y: paddle._C_ops.hinge_loss(x, y),
    x=f32(5, 1, low=-3, high=3, seed=1),
    y=f32(5, 1, low=0, high=1),
    static=(-1,),
)
sample("hinge_loss", lambda paddle, x, y: paddle._C_ops.hinge_loss(x, y), x=f32(1, 1), y=np.ones([1, 1], "float32"), static=(-1,))
for reduction in ("none", "mean", "sum", "batchmean"):
    sample("kldiv_loss", _call("kl_div", reduction=reduction), x=f32(3, 4), y=f32(3, 4))
sample("kldiv_loss", lambda paddle, x, y: paddle.nn.functional.kl_div(x, y, "none", log_target=True), x=f32(3, 4), y=f32(3, 4))
sample("huber_loss", _call("smooth_l1_loss", reduction="none", delta=0.7), x=f32(3, 4), y=f32(3, 4, seed=1))
sample("huber_loss", lambda paddle, x, y: paddle._C_ops.huber_loss(x, y, 1.5), x=f32(3, 4), y=f32(3, 4, seed=1))
sample("huber_loss", lambda paddle, x, y: paddle._C_ops.huber_loss(x, y, 0.1), x=f64(5), y=f64(5, seed=1))
sample("huber_loss", _call("smooth_l1_loss", delta=2.0), x=f64(2, 2, 3), y=f64(2, 2, 3, seed=1))
for number in (0, 1, 2):
    sample("identity_loss", lambda paddle, x, n=number: paddle._C_ops.identity_loss(x, n), x=f32(3, 4))


def _ctc(blank: int = 0, **kw: Any) -> Any:
    return lambda paddle, x, y, t, n: paddle.nn.functional.ctc_loss(x, y, t, n, blank=blank, reduction="none", **kw)


LABELS = np.array([[1, 2, 2, 3], [3, 1, 0, 0], [2, 2, 2, 2]], "int32")
LENGTHS = {"t": np.array([7, 5, 4], "int64"), "n": np.array([4, 2, 4], "int64")}
sample("warpctc", _ctc(), x=f32(7, 3, 5), y=LABELS, **LENGTHS, static=(-1,))
sample("warpctc", _ctc(blank=4), x=f32(7, 3, 5), y=LABELS, t=LENGTHS["t"], n=np.array([3, 0, 2], "int64"), static=(-1,))
sample("warpctc", _ctc(norm_by_times=True), x=f64(4, 1, 3), y=np.array([[1, 1]], "int32"), t=np.array([4]), n=np.array([2]), static=(-1,))
