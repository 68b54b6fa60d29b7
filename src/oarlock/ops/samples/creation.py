"""Samples of ops/creation.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import boolean, f32, f64, i32, i64, sample


def _like(paddle: Any, x: Any, shape: list, value: float, source: int, target: int, dtype: str = "float32") -> Any:
    return paddle._C_ops.full_batch_size_like(x, shape, getattr(paddle, dtype), value, source, target, paddle.CPUPlace())


sample("full", lambda paddle: paddle.full([2, 3], 1.5))
sample("full", lambda paddle, x: paddle.full([paddle.shape(x)[0], 70], 3, "int64"), x=f32(2, 3))
sample("full", lambda paddle: [paddle.full([], float("-inf")), paddle.full([2], True, "bool")])
sample("full_like", lambda paddle, x: [paddle.full_like(x, 2), paddle.zeros_like(x, "int32")], x=f32(2, 3))
sample("full_like", lambda paddle, x, v: paddle.full_like(x, v), x=f32(2, 3), v=np.asarray(1.5, "float32"))
sample(
    "full_like", lambda paddle, x: [paddle.full_like(x, 3), paddle.ones_like(x, "bool"), paddle.full_like(x, -1, "float64")], x=i64(2, 0)
)
sample("full_like", lambda paddle, x: paddle.full_like(x, float("nan")), x=f64())
sample("full_with_tensor", lambda paddle, v, s: paddle.full(s, v, "float32"), dynamic="not exportable", v=f32(1), s=np.array([2, 3]))
sample(
    "full_with_tensor", lambda paddle, v, x: paddle.full([paddle.shape(x)[0], 2], v, "int64"), v=i64(1), x=f32(3), dynamic="not exportable"
)
sample(
    "full_with_tensor",
    lambda paddle, v, s: paddle.full(s, v, "float64"),
    dynamic="not exportable",
    v=f64(1),
    s=np.array([2, 0, 3], "int32"),
)
sample("full_batch_size_like", lambda paddle, x: paddle.tensor.fill_constant([paddle.shape(x)[0], 2], "float32", 3.0), x=f32(4, 2))
sample("full_batch_size_like", lambda paddle, x: _like(paddle, x, [-1, 4, 2], 1.5, 0, 0), x=f32(4, 2))
sample("full_batch_size_like", lambda paddle, x: _like(paddle, x, [5, -1], -2, 1, 1, "int64"), x=f32(4, 3))
sample("full_batch_size_like", lambda paddle, x: _like(paddle, x, [3, 2], 1, 1, 0, "bool"), x=i64(4, 2))
sample("assign_value", lambda paddle, x: x + paddle.assign(np.arange(6, dtype="float32").reshape(2, 3)), x=f32(2, 3))
sample("assign_value", lambda paddle, x: x + paddle.assign(np.array([[3], [-4]], dtype="int64")), x=i64(2, 3))
sample("assign_value", lambda paddle, x: [x * paddle.assign(np.array(1.5)), paddle.assign(np.array([True, False]))], x=f64(2, 3))
sample("assign", lambda paddle, x: paddle.assign(x), x=boolean(2, 3))
sample("assign", lambda paddle, x: paddle.assign(x) + 1, x=f32())
sample("assign", lambda paddle, x: [paddle.assign(x), paddle.clone(x)], x=i64(2, 0, 3))
sample("arange", lambda paddle: [paddle.arange(2, 11, 3), paddle.arange(0.0, 1.0, 0.3), paddle.arange(5, 0, -2, "int32")])
sample("arange", lambda paddle, x: paddle.arange(paddle.shape(x)[0] * 2) + 1, x=f32(4, 2))
sample("arange", lambda paddle, x: paddle.arange(1, paddle.shape(x)[1], 2, "float32"), x=f32(2, 6))
sample("arange", lambda paddle, n: paddle.arange(n[0], n[1], n[2]), n=np.array([3, 12, 2]))
sample("arange", lambda paddle, n: paddle.arange(n[0], n[1], n[2]), n=np.array([12, 3, -2]))
sample("arange", lambda paddle, n: paddle.arange(n[0], n[1], n[2], "float32"), n=np.array([0.5, 3.0, 0.7], "float32"))
sample("linspace", lambda paddle: [paddle.linspace(0, 1, 5), paddle.linspace(0, 9, 4, "int32"), paddle.linspace(3, 1, 1)])
sample("linspace", lambda paddle, x, n: paddle.linspace(x[0], x[1], n), x=f32(2), n=np.asarray(6, "int32"))
sample("linspace", lambda paddle, x, y: paddle.linspace(x, y, 4, "float64"), x=f64(), y=f64(seed=1))
sample("linspace", lambda paddle: [paddle.linspace(5, -3, 7, "int64"), paddle.linspace(-1.5, 2, 6, "float64")])
sample("logspace", lambda paddle: paddle.logspace(0, 3, 7, 2.0))
sample("logspace", lambda paddle: [paddle.logspace(2, -1, 4, 3.0, "float64"), paddle.logspace(0, 5, 6, 2.0, "int32")])
sample("logspace", lambda paddle, x, n: paddle.logspace(x[0], x[1], n), x=f32(2), n=np.asarray(5, "int32"))
sample("eye", lambda paddle: [paddle.eye(3), paddle.eye(2, 4, "int64")])
sample("eye", lambda paddle: [paddle.eye(4, 2, "float64"), paddle.eye(1, 3, "int32"), paddle.eye(2, dtype="int64")])
sample("eye", lambda paddle, x: paddle.eye(3, 2) @ x, x=f32(2, 4))
sample("diag", lambda paddle, x: [paddle.diag(x), paddle.diag(x, 1, 2.0), paddle.diag(x, -2)], x=f32(3))
sample("diag", lambda paddle, x: [paddle.diag(x), paddle.diag(x, 1), paddle.diag(x, -1)], x=i64(3, 4))
sample("diag", lambda paddle, x: [paddle.diag(x, 4), paddle.diag(x, -2, -1.5)], x=f64(2))
sample("diagonal", lambda paddle, x: [paddle.diagonal(x), paddle.diagonal(x, 1, -1, 1), paddle.diagonal(x, -1, 0, 2)], x=f32(3, 4, 5))
sample("diagonal", lambda paddle, x: [paddle.diagonal(x), paddle.diagonal(x, -2), paddle.diagonal(x, 3)], x=i64(4, 5))
sample("diagonal", lambda paddle, x: paddle.diagonal(x, 1, -2, -1), x=f64(2, 0, 3, 4))
sample("diag_embed", lambda paddle, x: [paddle.diag_embed(x), paddle.diag_embed(x, 1, 0, 2), paddle.diag_embed(x, -1, 2, 1)], x=f32(2, 3))
sample("diag_embed", lambda paddle, x: [paddle.diag_embed(x, -2), paddle.diag_embed(x, 3, 1, 0)], x=i64(3))
sample("diag_embed", lambda paddle, x: paddle.diag_embed(x, 1, -1, 0), x=f64(2, 2, 3))
sample("tril", lambda paddle, x: [paddle.tril(x), paddle.tril(x, 1), paddle.tril(x, -1)], x=f32(2, 3, 4))
sample("tril", lambda paddle, x: [paddle.tril(x), paddle.tril(x, -9), paddle.tril(x, 9)], x=i64(4, 3))
sample("tril", lambda paddle, x: paddle.tril(x, 1), x=boolean(2, 2, 3, 3))
sample("triu", lambda paddle, x: [paddle.triu(x), paddle.triu(x, 1), paddle.triu(x, -2)], x=i64(3, 4))
sample("triu", lambda paddle, x: [paddle.triu(x), paddle.triu(x, -9), paddle.triu(x, 9)], x=f64(4, 3))
sample("triu", lambda paddle, x: paddle.triu(x, -1), x=boolean(2, 2, 3, 3))
sample("tril_indices", lambda paddle: paddle.tril_indices(4, 3, 1))
sample("tril_indices", lambda paddle: paddle.tril_indices(3, 3, -2, "int32"))
sample("tril_indices", lambda paddle: [paddle.tril_indices(2, 5, 9), paddle.tril_indices(5, 2, -1)])
sample("triu_indices", lambda paddle: paddle.triu_indices(3, 4, -1))
sample("triu_indices", lambda paddle: paddle.triu_indices(3, offset=2, dtype="int32"))
sample("triu_indices", lambda paddle: [paddle.triu_indices(2, 5, -9), paddle.triu_indices(5, 2, 1)])
sample("one_hot", lambda paddle, x: paddle.nn.functional.one_hot(x, 5), x=i64(2, 3, high=5))
sample("one_hot", lambda paddle, x: paddle.nn.functional.one_hot(x, 4), x=i32(3, high=4))
sample("one_hot", lambda paddle, x: paddle.nn.functional.one_hot(x, 3), x=np.array(2))
sample(
    "one_hot",
    lambda paddle, x, n: paddle._C_ops.one_hot(x, n),
    dynamic="Paddle wants the depth's shape",
    x=i64(2, 1, high=3),
    n=np.array([3], "int32"),
)
sample("fill_diagonal_tensor", lambda paddle, x, y: paddle.diagonal_scatter(x, y, 0), dynamic="needs known sizes", x=f32(3, 4), y=f32(3))
sample(
    "fill_diagonal_tensor",
    lambda paddle, x, y: paddle.diagonal_scatter(x, y, 1, -1, 0), dynamic="needs known sizes", x=f64(3, 2, 4), y=f64(2, 2),
)  # fmt: skip
sample("fill_diagonal_tensor", lambda paddle, x, y: paddle.diagonal_scatter(x, y, -2), dynamic="needs known sizes", x=i64(5, 3), y=i64(3))
sample("sequence_mask", lambda paddle, x: paddle.nn.functional.sequence_mask(x, 5, "float32"), x=np.array([1, 3, 5]))
sample("sequence_mask", lambda paddle, x: paddle.nn.functional.sequence_mask(x), x=np.array([[1, 3], [2, 0]]))
sample(
    "sequence_mask",
    lambda paddle, x, n: paddle.nn.functional.sequence_mask(x, n, "bool"),
    x=np.array([0, 4], "int32"),
    n=np.array(4, "int32"),
)
sample("empty", lambda paddle: paddle.empty([2, 3]), seed_free=True)
sample("empty", lambda paddle, x: paddle.empty([paddle.shape(x)[0], 2], "int64"), seed_free=True, x=f32(3))
sample("empty", lambda paddle: [paddle.empty([]), paddle.empty([2, 0], "bool")], seed_free=True)
sample("full_int_array", lambda paddle: paddle._C_ops.full_int_array([3, -4], paddle.int64, paddle.CPUPlace()))
sample("full_int_array", lambda paddle: paddle._C_ops.full_int_array([5], paddle.int32, paddle.CPUPlace()))
sample("full_int_array", lambda paddle, x: paddle._C_ops.full_int_array([2, 0, -1], paddle.int64, paddle.CPUPlace()) + x, x=i64(3))
sample("empty_like", lambda paddle, x: paddle.empty_like(x), seed_free=True, x=f32(2, 3))
sample("empty_like", lambda paddle, x: paddle.empty_like(x, "int64"), seed_free=True, x=f32(2, 3))
sample("empty_like", lambda paddle, x: [paddle.empty_like(x), paddle.empty_like(x, "float64")], seed_free=True, x=i64(2, 0))
sample("fill", lambda paddle, x: paddle._C_ops.fill(x, 2.5), x=f32(2, 3))
sample("fill", lambda paddle, x: [paddle._C_ops.fill(x, -2.5), paddle._C_ops.fill(x[0], 7)], x=i64(3))
sample("fill", lambda paddle, x: paddle._C_ops.fill(x, -1), x=np.array(False))
sample("fill", lambda paddle, x, v: paddle._C_ops.fill(x, v), x=f32(2, 3), v=np.array([1.5], "float32"))
_FILLS = [(0, False), (1, False), (-2, False), (-6, False), (0, True), (1, True), (-1, True), (3, True)]
for _shape in ((5, 4), (3, 9), (9, 3), (4, 4)):
    sample("fill_diagonal", lambda paddle, x: [paddle._C_ops.fill_diagonal(x, 2.5, k, wrap) for k, wrap in _FILLS], x=f32(*_shape))
sample("fill_diagonal", lambda paddle, x: [paddle._C_ops.fill_diagonal(x, 7, k, wrap) for k, wrap in _FILLS], x=i64(3, 3, 3))
sample("fill_diagonal", lambda paddle, x: [paddle._C_ops.fill_diagonal(x, 1, k, wrap) for k, wrap in _FILLS[:5]], x=boolean(2, 3, 4))
_HANDED_ON = {"memcpy": (0,), "memcpy_d2h": (0,), "memcpy_h2d": (1,), "npu_identity": (-1,), "share_data": ()}
for _name, _arguments in _HANDED_ON.items():
    sample(_name, lambda paddle, x, n=_name, a=_arguments: getattr(paddle._C_ops, n)(x, *a) * 2, x=f32(2, 3))
    sample(_name, lambda paddle, x, n=_name, a=_arguments: getattr(paddle._C_ops, n)(x, *a) - 1, x=i64())
    sample(_name, lambda paddle, x, n=_name, a=_arguments: getattr(paddle._C_ops, n)(x, *a), x=boolean(2, 1, 3))
sample("assign_out", lambda paddle, x: paddle.assign(x * 2, paddle.zeros([2, 3])) + 1, x=f32(2, 3))
sample("assign_out", lambda paddle, x: paddle.assign(x, paddle.full([], 3, "int64")) * 2, x=i64())
sample("assign_out", lambda paddle, x: paddle.assign(x[1:], paddle.assign(x)), x=f64(3, 2), dynamic="the two shapes may differ")
sample("print", lambda paddle, x: paddle.static.Print(x, summarize=1, message="twice") * 2, x=f32(2, 3))
sample("print", lambda paddle, x: paddle.static.Print(x, first_n=1, print_tensor_shape=False, print_tensor_name=False), x=i64(2))
sample("print", lambda paddle, x: paddle.static.Print(x, message="no dims") + 1, x=f64())
