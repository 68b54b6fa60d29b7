"""Samples of branches, loops and tensor arrays."""

from typing import Any

import numpy as np

from .base import boolean, f32, f64, i64, sample


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


def _array_at(paddle: Any, x: Any, i: Any) -> Any:
    """The first element is written where a number of run time says; what is before it has no content in Paddle."""
    array = paddle.tensor.create_array("float32")
    paddle.tensor.array_write(x, i, array)
    return paddle.tensor.array_read(array, i), paddle.tensor.array_length(array)


def _array_by_counter(paddle: Any, x: Any, n: Any) -> Any:
    """Elements are written at the loop's own counter, the way paddle.nn.dynamic_decode does."""
    array = paddle.tensor.create_array("float32")

    def body(i: Any, y: Any) -> Any:
        paddle.tensor.array_write(y, i, array)
        return [i + 1, y * 2]

    paddle.static.nn.while_loop(lambda i, y: i < n, body, [paddle.zeros([1], "int64"), x])
    from paddle.tensor.manipulation import tensor_array_to_tensor

    return tensor_array_to_tensor(array, axis=0, use_stack=True)[0], paddle.tensor.array_length(array)


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
sample("array_write", _array_at, x=f32(2, 3), i=_count(0))
sample("array_write", _array_at, x=f32(2, 3), i=_count(3))
sample("array_write", _array_by_counter, x=f32(2, 3), n=_count(4))
sample("if", lambda paddle, x, m: paddle.static.nn.cond(m.any(), lambda: x + 1, lambda: x), x=f32(2, 3), m=boolean(4))


def _three(paddle: Any, x: Any) -> Any:
    return paddle.tensor.create_array("float32", [x, x * 2, x - 1])


def _pop(paddle: Any, x: Any, index: int) -> list:
    array = _three(paddle, x)
    out = paddle._C_ops.array_pop(array, index)
    out = out[-1] if isinstance(out, list | tuple) else out
    return [out, paddle.tensor.array_length(array), paddle.tensor.array_read(array, paddle.full([1], 1, "int64"))]


def _pop_in_loop(paddle: Any, x: Any, n: Any) -> Any:
    """The array has a length known only at run time when an element is taken out."""
    array = paddle.tensor.create_array("float32")

    def body(i: Any) -> list:
        paddle.tensor.array_write(x + i.astype("float32"), paddle.tensor.array_length(array), array)
        return [i + 1]

    paddle.static.nn.while_loop(lambda i: i < n, body, [paddle.zeros([], "int64")])
    out = paddle._C_ops.array_pop(array, 1)
    return [out[-1] if isinstance(out, list | tuple) else out, paddle.tensor.array_length(array)]


def _sliced(paddle: Any, x: Any, begin: int, end: int) -> Any:
    from paddle.tensor.manipulation import tensor_array_to_tensor

    part = paddle._C_ops.slice_array(_three(paddle, x), [begin], [end])
    return tensor_array_to_tensor(part, axis=1, use_stack=False)


def _added(paddle: Any, x: Any) -> list:
    total = paddle._C_ops.add_n_array([_three(paddle, x), _three(paddle, x * 3)])
    return [paddle.tensor.array_read(total, paddle.full([1], i, "int64")) for i in range(3)]


def _filled(paddle: Any, x: Any) -> list:
    like = paddle._C_ops.create_array_like(_three(paddle, x), 2.5)
    return [paddle.tensor.array_read(like, paddle.full([1], 2, "int64")), paddle.tensor.array_length(like)]


def _filled_whole(paddle: Any, x: Any) -> list:
    """Of whole numbers, and what it holds is written over."""
    like = paddle._C_ops.create_array_like(paddle.tensor.create_array("int64", [x.astype("int64")] * 2), -1.0)
    paddle.tensor.array_write(x.astype("int64"), paddle.full([1], 0, "int64"), like)
    return [paddle.tensor.array_read(like, paddle.full([1], i, "int64")) for i in range(2)]


def _length_in_loop(paddle: Any, x: Any, n: Any) -> Any:
    array = paddle.tensor.create_array("float32", [x])

    def body(i: Any) -> list:
        paddle.tensor.array_write(x * 2, paddle.tensor.array_length(array), array)
        return [i + 2]

    paddle.static.nn.while_loop(lambda i: i < n, body, [paddle.zeros([], "int64")])
    return paddle.tensor.array_length(array)


def _joined(paddle: Any, x: Any) -> Any:
    """Joined along the first axis; of a negative one Paddle tells no true sizes."""
    from paddle.tensor.manipulation import tensor_array_to_tensor

    return tensor_array_to_tensor(paddle.tensor.create_array("float32", [x[:, :2], x[:, 1:]]), axis=0, use_stack=False)


def _rewritten(paddle: Any, x: Any, i: Any) -> list:
    """The place is known only at run time."""
    array = _three(paddle, x)
    paddle.tensor.array_write(x * 5, i, array)
    return [paddle.tensor.array_read(array, paddle.full([1], k, "int64")) for k in range(3)]


sample("create_array", lambda paddle, x: paddle.tensor.array_length(_three(paddle, x)), x=f32(2, 3))
sample("create_array", lambda paddle, x: paddle.tensor.array_read(_three(paddle, x), paddle.full([1], 2, "int64")), x=f32(2))
sample("create_array", lambda paddle, x: paddle.tensor.array_length(paddle.tensor.create_array("int64")) + x, x=i64(2))
sample("create_array_like", _filled, x=f32(2, 3))
sample("create_array_like", _filled, x=f32())
sample("create_array_like", _filled_whole, x=f32(2, 3))
sample("array_length", lambda paddle, x: paddle.tensor.array_length(paddle.tensor.create_array("float32")) + x, x=i64(2))
sample("array_length", lambda paddle, x: paddle.tensor.array_length(_three(paddle, x)) * 2, x=f32(2, 3))
sample("array_length", _length_in_loop, x=f32(3), n=_count(4))
sample("array_read", lambda paddle, x, i: paddle.tensor.array_read(_three(paddle, x), i), static=(0,), x=f32(2, 3), i=np.array([2]))
sample(
    "array_read", lambda paddle, x: paddle.tensor.array_read(_three(paddle, x), paddle.full([1], 1, "int64")), x=np.float32(2).reshape([])
)
sample("array_read", lambda paddle, x: paddle.tensor.array_read(_three(paddle, x[:, 1:]), paddle.full([1], 0, "int64")), x=f32(2, 3))
for _index in (0, 1, -1):
    sample("array_pop", lambda paddle, x, i=_index: _pop(paddle, x, i), x=f32(2, 3))
sample("array_pop", _pop_in_loop, x=f32(2, 3), n=_count(4))
for _begin, _end in ((1, 3), (0, 1), (-2, 3), (0, -1)):
    sample("slice_array", lambda paddle, x, i=_begin, j=_end: _sliced(paddle, x, i, j), x=f32(2, 3))
sample("slice_array_dense", lambda paddle, x: paddle._C_ops.slice_array_dense(_three(paddle, x), [1]), x=f32(2, 3))
sample(
    "slice_array_dense", lambda paddle, x, i: paddle._C_ops.slice_array_dense(_three(paddle, x), i), static=(0,), x=f32(2), i=np.array([2])
)
sample("slice_array_dense", lambda paddle, x: paddle._C_ops.slice_array_dense(_three(paddle, x), [0]), x=f32())
sample("add_n_array", _added, x=f32(2, 3))
sample("add_n_array", _added, x=f64(3))
sample("add_n_array", _added, x=i64())
sample("array_to_tensor", _joined, x=f32(2, 3))
sample("array_write", _rewritten, x=f32(2, 3), i=np.array([1], dtype="int64"), static=(0,))
sample("array_write", _array_static, x=f32())
