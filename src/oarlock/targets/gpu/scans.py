"""Scans and orders.  TVM's own kernels for a GPU launch loops of kernels, which its lowering of 0.27 rejects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm
from tvm import relax, te, tirx

from ... import compat, compat_gpu
from ...ops.serial import both, cell, either, i64, loop, parallel, when


def cumulative(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    """cumsum or cumprod along an axis: one thread a line."""
    (x,) = call.args
    axis, exclusive, product = call.attrs.axis, bool(call.attrs.exclusive), call.op.name == "relax.cumprod"
    if axis is None or x.ty.shape is None:
        return call
    dtype = str(call.ty.dtype)

    def fill(ins: Sequence[Any], outs: Sequence[Any]) -> None:
        (a,), (out,), at = ins, outs, int(axis) % len(x.ty.shape)
        shape = [i64(d) for d in a.shape]
        others = shape[:at] + shape[at + 1 :]
        with parallel(_size(others)) as line:
            place = _unravel(line, others)
            total = cell(dtype, 1 if product else 0)
            with loop(shape[at]) as k:
                index = (*place[:at], k, *place[at:])
                if exclusive:
                    out[index] = total.v
                value = tirx.Cast(dtype, a[index])
                total.v = total.v * value if product else total.v + value
                if not exclusive:
                    out[index] = total.v

    return _statements(bb, fill, x, list(x.ty.shape), dtype, "cumulative")


def argsort(bb: relax.BlockBuilder, call: tvm.ir.Call) -> relax.Expr:
    """The stable order of each line: an element stands where as many others belong before it.

    That is n² comparisons, all of them independent: one thread an element.
    """
    (x,) = call.args
    descending, dtype = bool(call.attrs.descending), str(call.attrs.dtype)
    if x.ty.shape is None or int(call.attrs.axis) not in (-1, len(x.ty.shape) - 1):
        return call

    def fill(ins: Sequence[Any], outs: Sequence[Any]) -> None:
        (a,), (out,) = ins, outs
        shape = [i64(d) for d in a.shape]
        with parallel(_size(shape)) as element:
            *line, i = _unravel(element, shape)
            own = (*line, i)
            before = cell(dtype, 0)
            with loop(shape[-1]) as j:
                other = (*line, j)
                first = a[other] > a[own] if descending else a[other] < a[own]
                with when(either(first, both(a[other].equal(a[own]), j < i))):
                    before.v = before.v + tirx.const(1, dtype)
            out[(*line, before.v)] = tirx.Cast(dtype, i)

    return _statements(bb, fill, x, list(x.ty.shape), dtype, "argsort")


def _size(dims: Sequence[Any]) -> Any:
    out: Any = i64(1)
    for d in dims:
        out = out * d
    return out


def _unravel(number: Any, dims: Sequence[Any]) -> list[Any]:
    """The index of element ``number`` of a tensor of these dims."""
    index: list[Any] = []
    for d in reversed(dims):
        index.insert(0, tirx.floormod(number, d))
        number = tirx.floordiv(number, d)
    return index


def _statements(bb: relax.BlockBuilder, fill: Callable, x: relax.Expr, shape: list, dtype: str, name: str) -> relax.Expr:
    """A kernel of plain statements over ``x`` with one result."""

    def body(ins: Sequence[Any], outs: Sequence[Any]) -> Any:
        t = compat.tir_builder()
        with t.IRBuilder() as ib:
            with t.seq_scope():
                fill([t.buffer_proxy(b) for b in ins], [t.buffer_proxy(b) for b in outs])
            return ib.get().body

    def kernel(a: te.Tensor) -> te.Tensor:
        return te.extern([[i64(d) for d in a.shape]], [a], body, dtype=[dtype], name=name)

    return bb.call_te(kernel, x, primfunc_name_hint=name, primfunc_attrs={"op_pattern": compat_gpu.OPAQUE})
