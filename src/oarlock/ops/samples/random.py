"""Samples of ops/random.py: Paddle's numbers are others, so shapes and dtypes are compared, and moments where Paddle gives them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, f64, sample

MANY = np.full([4, 5000], 0.3, "float32")

sample("uniform", lambda paddle: paddle.uniform([3, 4], min=-2.0, max=5.0), seed_free=True)
sample("uniform", lambda paddle, x: paddle.rand([paddle.shape(x)[0], 3]), seed_free=True, x=f32(2, 3))
sample("uniform", lambda paddle: paddle.uniform([20000], min=-2.0, max=4.0).mean(), atol=0.1)
sample("gaussian", lambda paddle: paddle.randn([2, 3]), seed_free=True)
sample("gaussian", lambda paddle: [paddle.normal(1.0, 2.0, [20000]).mean(), paddle.normal(1.0, 2.0, [20000]).std()], atol=0.1)
sample("gaussian", lambda paddle, x: paddle.randn([paddle.shape(x)[1], 2], "float64"), seed_free=True, x=f32(2, 3))
sample("gaussian", lambda paddle: paddle.normal(-5.0, 0.0, [2, 3]))
sample("randint", lambda paddle: paddle.randint(2, 9, [3, 4]), seed_free=True)
sample("randint", lambda paddle: [paddle.randint(2, 9, [9000]).max(), paddle.randint(2, 9, [9000]).min()])
sample("randint", lambda paddle: [paddle.randint(-4, -3, [2, 2], "int32"), paddle.randint(7, 8, [])])
sample("randint", lambda paddle, x: paddle.randint(-5, 0, [paddle.shape(x)[0], 2]) < 0, x=f32(3, 1))
sample("randperm", lambda paddle: [paddle.randperm(20).sort(), paddle.randperm(7).astype("int32").sum()])
sample("randperm", lambda paddle: [paddle.randperm(1), paddle.randperm(9, "float32").sort(), paddle.randperm(5, "float64").sort()])
sample("randperm", lambda paddle: paddle.randperm(6, "int32"), seed_free=True)
sample("bernoulli", lambda paddle, x: paddle.bernoulli(x).mean(), atol=0.03, x=MANY)
sample("bernoulli", lambda paddle, x: paddle.bernoulli(x), x=np.array([[0, 1, 1], [1, 0, 0]], "float64"))
sample("bernoulli", lambda paddle, x: paddle.bernoulli(x), seed_free=True, x=f32(2, 0, 3, low=0.0, high=1.0))
sample("poisson", lambda paddle, x: paddle.poisson(x * 10).mean(), atol=0.1, x=MANY)
sample("poisson", lambda paddle, x: paddle.poisson(x), x=np.zeros([2, 3], "float64"))
sample("poisson", lambda paddle, x: paddle.poisson(x), seed_free=True, x=f32(2, 3, low=0.1, high=40))
sample("multinomial", lambda paddle, x: paddle.multinomial(x, 3), seed_free=True, x=f32(2, 6, low=0.1))
sample("multinomial", lambda paddle, x: paddle.multinomial(x, 9, replacement=True), seed_free=True, x=f32(6, low=0.1))
sample("multinomial", lambda paddle, x: paddle.multinomial(x, 4, replacement=True), x=np.array([[0, 2, 0], [0, 0, 0.5]], "float64"))
sample("standard_gamma", lambda paddle, x: paddle.standard_gamma(x * 5).mean(), atol=0.1, x=MANY)
sample("binomial", lambda paddle, x: paddle.binomial(paddle.full([4, 5000], 10, "int32"), x).astype("float32").mean(), atol=0.1, x=MANY)
sample("binomial", lambda paddle, n, x: paddle.binomial(n, x), n=np.array([0, 5, 9], "int64"), x=np.array([0.5, 1, 0], "float64"))
sample(
    "binomial", lambda paddle, n, x: paddle.binomial(n, x), seed_free=True, n=np.array([[3], [5]], "int32"), x=f32(2, 1, low=0.0, high=1.0)
)


def _truncated(paddle: Any) -> Any:
    x = paddle._C_ops.truncated_gaussian_random([50000], 1.0, 2.0, 0, -1.0, 2.0, paddle.float32, paddle.CPUPlace())
    return [x.mean(), x.std(), x.max(), x.min()]


sample("truncated_gaussian_random", _truncated, atol=0.05)
sample("gaussian_inplace", lambda paddle, x: paddle._C_ops.gaussian_inplace(x, 1.0, 2.0, 3).mean(), atol=0.1, x=MANY)
sample("gaussian_inplace", lambda paddle, x: paddle._C_ops.gaussian_inplace(x, 1.0, 2.0, 3), seed_free=True, x=f32(2, 3))
sample("gaussian_inplace", lambda paddle, x: paddle._C_ops.gaussian_inplace(x, -2.0, 0.5, 0).std(), atol=0.1, x=MANY.astype("float64"))
sample("uniform_inplace", lambda paddle, x: paddle._C_ops.uniform_inplace(x, -1.0, 3.0, 0, 0, 0, 1.0).mean(), atol=0.1, x=MANY)
sample("uniform_inplace", lambda paddle, x: paddle._C_ops.uniform_inplace(x, -1.0, 3.0, 0, 0, 0, 1.0), seed_free=True, x=f32(2, 3))
sample("uniform_inplace", lambda paddle, x: paddle._C_ops.uniform_inplace(x, 2.0, 2.5, 7, 0, 0, 1.0).floor(), x=f64(2, 3))
sample("exponential", lambda paddle, x: paddle._C_ops.exponential_(x, 2.0).mean(), atol=0.05, x=MANY)
sample("exponential", lambda paddle, x: paddle._C_ops.exponential_(x, 0.5).mean(), atol=0.1, x=MANY.astype("float64"))
sample("exponential", lambda paddle, x: paddle._C_ops.exponential_(x, 1.0) >= 0, x=f32(2, 3))
sample(
    "dirichlet", lambda paddle, x: [paddle._C_ops.dirichlet(x).sum(-1), paddle._C_ops.dirichlet(x * 9).mean()], atol=0.01, x=MANY[:, :50]
)
sample("dirichlet", lambda paddle, x: paddle._C_ops.dirichlet(x).sum(-1), x=f64(3, 2, 4, low=0.5, high=3))
sample("dirichlet", lambda paddle, x: paddle._C_ops.dirichlet(x), seed_free=True, x=f32(4, low=0.5))


def _batch_size_like(paddle: Any, x: Any, shape: list, source: int, target: int) -> Any:
    return paddle._C_ops.uniform_random_batch_size_like(x, shape, source, target, -1.0, 3.0, 0, 0, 0, 1.0, paddle.float32)


sample("uniform_random_batch_size_like", lambda paddle, x: _batch_size_like(paddle, x, [-1, 4], 0, 0), seed_free=True, x=f32(2, 3))
sample("uniform_random_batch_size_like", lambda paddle, x: _batch_size_like(paddle, x, [5, -1], 1, 1), seed_free=True, x=f32(2, 3))
sample("uniform_random_batch_size_like", lambda paddle, x: _batch_size_like(paddle, x, [-1, 9000], 0, 0).mean(), atol=0.1, x=f32(2, 3))
