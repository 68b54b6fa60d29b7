"""Sequential kernels: what te.compute cannot say (factorisations, suppression, dynamic programming), as plain TIR loops.

    def body(a, out):                      # the buffers of the inputs, then of the outputs
        with parallel(n) as i:
            total = cell("float32", 0.0)
            with loop(m) as j, when(a[i, j] > 0):
                total.v = total.v + a[i, j]
            out[i] = total.v

    (out,) = kernel(b, body, [x], [([n], "float32")], "positive_sum")

An expression is evaluated where it is used, again at each use: bind() fixes the value that it has now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tvm import te, tirx

from ..compat import tir_builder
from .builder import Builder
from .tensor import Dim, PrimExpr, Tensor


def i64(value: Any) -> PrimExpr:
    """A dim or an index as an int64 expression."""
    if isinstance(value, PrimExpr):
        return value if str(value.ty) == "int64" else tirx.Cast("int64", value)
    return tirx.IntImm("int64", int(value))


class Cell:
    """One mutable scalar of a kernel; ``v`` reads and writes it."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer

    @property
    def v(self) -> Any:
        return self._buffer[0]

    @v.setter
    def v(self, value: Any) -> None:
        self._buffer[0] = value


def kernel(
    b: Builder,
    body: Callable[..., None],
    inputs: Sequence[Tensor],
    outputs: Sequence[tuple[Sequence[Dim], str]],
    name: str,
) -> list[Tensor]:
    """Run ``body(*input buffers, *output buffers)`` once; every element of every output must be written (no 0-D tensors)."""

    def fill(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        t = tir_builder()
        with t.IRBuilder() as ib:
            with t.seq_scope():  # several statements in a row need a frame around them
                body(*[t.buffer_proxy(x) for x in (*ins, *outs)])
            return ib.get().body  # without that frame: code generators do not know it

    def build(*tensors: te.Tensor) -> list[te.Tensor]:
        shapes = [[i64(d) for d in shape] for shape, _ in outputs]
        result = te.extern(shapes, list(tensors), fill, dtype=[dtype for _, dtype in outputs], name=name)
        return [result] if isinstance(result, te.Tensor) else list(result)

    return b.te(build, *inputs, name=name)


def cell(dtype: str, value: Any) -> Cell:
    """A scalar of the dtype, with its first value."""
    t = tir_builder()
    out = Cell(t.buffer_proxy(t.alloc_buffer((1,), dtype, scope="local")))
    out.v = value if isinstance(value, PrimExpr) else tirx.const(value, dtype)
    return out


def scratch(shape: Sequence[Dim], dtype: str) -> Any:
    """An uninitialised work buffer, local to the iteration that asks for it (sizes of 0 are made 1)."""
    t = tir_builder()
    dims = [tirx.max(i64(d), i64(1)) if isinstance(d, PrimExpr) else i64(max(int(d), 1)) for d in shape]
    return t.buffer_proxy(t.alloc_buffer(dims, dtype))


def bind(value: Any) -> Any:
    """The value that an expression has now."""
    return tir_builder().bind(value)


@contextmanager
def loop(end: Any, begin: Any = 0) -> Iterator[Any]:
    """for i in range(begin, end), one after the other."""
    with tir_builder().serial(i64(begin), i64(end)) as i:
        yield i


@contextmanager
def down(begin: Any) -> Iterator[Any]:
    """for i in begin − 1, …, 1, 0."""
    with tir_builder().serial(i64(0), i64(begin)) as i:
        yield bind(i64(begin) - 1 - i)


@contextmanager
def parallel(end: Any) -> Iterator[Any]:
    """for i in range(end), the iterations independent of each other."""
    with tir_builder().parallel(i64(0), i64(end)) as i:
        yield i


@contextmanager
def while_(condition: Any) -> Iterator[None]:
    """As long as the condition (of cells) holds."""
    with tir_builder().While(condition):
        yield


@contextmanager
def when(condition: Any) -> Iterator[None]:
    """If the condition holds."""
    t = tir_builder()
    with t.If(condition), t.Then():
        yield


@contextmanager
def require(condition: Any, message: str) -> Iterator[None]:
    """Fail the kernel with a message unless the condition holds; not inside parallel()."""
    with tir_builder().Assert(condition, message, "ValueError"):
        yield


def select(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y; only that one is evaluated."""
    return tirx.if_then_else(condition, x, y)


def both(*conditions: Any) -> Any:
    """All of them, the later ones evaluated only when the earlier hold."""
    return tirx.all(*conditions)


def either(*conditions: Any) -> Any:
    """Any of them."""
    return tirx.any(*conditions)
