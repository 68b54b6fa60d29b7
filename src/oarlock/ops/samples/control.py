"""Samples of branches, loops and tensor arrays."""

from typing import Any

import numpy as np

from .base import boolean, f32, i64, sample


def _count(n: int) -> np.ndarray:
    return np.array(n, dtype="int64")


def _grow(paddle: Any, x: Any, n: Any) -> Any:
    """Loop-carried shapes change; the condition has shape [1]."""
    i = paddle.zeros([1], "int64")
    _, out = paddle.static.nn.while_loop(lambda i, y: i < n, lambda i, y: [i + 1, paddle.concat([y, y[-1:] * 2 + x[:1]])], [i, x])
    return out


def _nested(paddle: Any, x: Any, n: Any) -> Any:
    """A loop in a loop; the inner one ends at the outer counter."""

    def outer(i: Any, y: Any) -> Any:
        _, z = paddle.static.nn.while_loop(lambda j, z: j < i, lambda j, z: [j + 1, z + x], [paddle.zeros([], "int64"), y])
        return [i + 1, z]

    return paddle.static.nn.while_loop(lambda i, y: i < n, outer, [paddle.zeros([], "int64"), x])[1]


def _branch_in_loop(paddle: Any, x: Any, n: Any) -> Any:
    def body(i: Any, y: Any) -> Any:
        z = paddle.static.nn.cond(i % 2 == 0, lambda: y + i.astype("float32"), lambda: y * x.sum())
        return [i + 1, z]

    return paddle.static.nn.while_loop(lambda i, y: i < n, body, [paddle.zeros([], "int64"), x])


def _loop_in_branch(paddle: Any, x: Any, c: Any) -> Any:
    def yes() -> Any:
        return paddle.static.nn.while_loop(lambda i, y: i < 3, lambda i, y: [i + 1, y * 2], [paddle.zeros([], "int64"), x])[1]

    return paddle.static.nn.cond(c, yes, lambda: x - 1)


def _index_by_counter(paddle: Any, x: Any) -> Any:
    def body(i: Any, y: Any) -> Any:
        return [i + 1, y + x[i] * paddle.ones([4])]

    return paddle.static.nn.while_loop(lambda i, y: i < paddle.shape(x)[0], body, [paddle.zeros([], "int64"), paddle.zeros([4])])[1]


def _array_in_loop(paddle: Any, x: Any, n: Any, stack: bool) -> Any:
    array = paddle.tensor.create_array("float32")
    i = paddle.zeros([], "int64")

    def body(i: Any) -> Any:
        paddle.tensor.array_write(x + i.astype("float32"), paddle.tensor.array_length(array), array)
        return [i + 1]

    paddle.static.nn.while_loop(lambda i: i < n, body, [i])
    from paddle.tensor.manipulation import tensor_array_to_tensor

    out, sizes = tensor_array_to_tensor(array, axis=1, use_stack=stack)
    return out, sizes, paddle.tensor.array_length(array), paddle.tensor.array_read(array, n - 1)


def _array_static(paddle: Any, x: Any) -> Any:
    array = paddle.tensor.create_array("float32")
    zero, one = paddle.full([1], 0, "int64"), paddle.full([1], 1, "int64")
    paddle.tensor.array_write(x, zero, array)
    paddle.tensor.array_write(x * 2, one, array)
    paddle.tensor.array_write(x * 3, zero, array)
    return paddle.tensor.array_read(array, zero), paddle.tensor.array_read(array, one), paddle.tensor.array_length(array)


sample("if", lambda paddle, x, c: paddle.static.nn.cond(c, lambda: x + 1, lambda: x * 2), x=f32(2, 3), c=np.array(True))
sample("if", lambda paddle, x, c: paddle.static.nn.cond(c, lambda: x + 1, lambda: x * 2), x=f32(2, 3), c=np.array([False]))
sample("if", lambda paddle, x: paddle.static.nn.cond(x.sum() > 0, lambda: (x[:1], x.max()), lambda: (x * 2, x.min())), x=f32(2, 3))
sample("if", lambda paddle, x, c: paddle.static.nn.cond(c, lambda: x[:, :2], lambda: x[:, 1:]), x=f32(2, 4), c=np.array(False))
sample(
    "if",
    lambda paddle, x, c: paddle.static.nn.cond(c, lambda: paddle.full([2], 3, "int64"), lambda: paddle.full([2], 4, "int64")).sum() + x,
    x=i64(3),
    c=np.array(True),
)
sample("if", _loop_in_branch, x=f32(2, 3), c=np.array(True))
sample("while", _grow, x=f32(2, 3), n=np.array([3], dtype="int64"), dynamic="Paddle's own broadcast of shapes")
sample("while", _grow, x=f32(2, 3), n=np.array([0], dtype="int64"), dynamic="Paddle's own broadcast of shapes")
sample("while", _nested, x=f32(2, 3), n=_count(4))
sample("while", _branch_in_loop, x=f32(2, 3), n=_count(5))
sample("while", _index_by_counter, x=f32(3, 4))
sample("array_to_tensor", lambda paddle, x, n: _array_in_loop(paddle, x, n, True), x=f32(2, 3), n=_count(4))
sample("array_to_tensor", lambda paddle, x, n: _array_in_loop(paddle, x, n, False), x=f32(2, 3), n=_count(4))
sample("array_write", _array_static, x=f32(2, 3))
sample("if", lambda paddle, x, m: paddle.static.nn.cond(m.any(), lambda: x + 1, lambda: x), x=f32(2, 3), m=boolean(4))
