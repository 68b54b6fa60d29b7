"""Kernels that compute every element by itself (an importer's ``hardswish``): they can be made again for another layout.

Before: ``call_tir(hardswish, (NCHW tensor))``.  After: ``call_tir(hardswish', (NHWC tensor))`` with the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, te, tirx

Expr = Any


@dataclass(frozen=True)
class Pointwise:
    """``value`` of an element; its loads name the kernel's inputs."""

    value: Expr
    inputs: list[tvm.ir.Var]

    def compute(self, shape: Sequence[Any], tensors: Sequence[te.Tensor], name: str) -> te.Tensor:
        """The kernel for a result of ``shape``; ``tensors`` stand for the inputs and broadcast against it."""
        table = dict(zip(self.inputs, tensors, strict=True))

        def element(*i: Expr) -> Expr:
            def load(old: tvm.ir.TensorLoad) -> Expr:
                tensor = table[old.source]
                mine = i[len(i) - len(tensor.shape) :]
                return tensor[tuple(0 if _one(d) else j for d, j in zip(tensor.shape, mine, strict=True))]

            return tvm_ffi.structural_map(self.value, (tvm.ir.TensorLoad, load))

        return te.compute(tuple(shape), element, name=name)


def _one(dim: Any) -> bool:
    return isinstance(dim, tirx.IntImm) and int(dim.value) == 1


def recognise(function: tirx.PrimFunc) -> Pointwise | None:
    """What a kernel computes for an element, if it depends on nothing but the inputs' elements at that place."""
    if any(not isinstance(p.ty, tirx.BufferType) for p in function.params) or not isinstance(function.body, s_tir.SBlockRealize):
        return None
    *inputs, output = function.params
    root = function.body.block
    statement: Any = root.body
    while isinstance(statement, tirx.For):
        statement = statement.body
    if root.alloc_buffers or not isinstance(statement, s_tir.SBlockRealize):
        return None
    block = statement.block
    store = block.body
    places = [v.var for v in block.iter_vars]
    if block.init is not None or not isinstance(store, tirx.BufferStore) or not store.buffer.same_as(output):
        return None
    if len(store.indices) != len(places) or not all(a.same_as(b) for a, b in zip(store.indices, places, strict=True)):
        return None
    if not _only_loads_in_place(store.value, inputs, places):
        return None
    return Pointwise(store.value, inputs)


def _only_loads_in_place(value: Expr, inputs: list[tvm.ir.Var], places: list[tvm.ir.Var]) -> bool:
    fine = True
    free: list[tvm.ir.Var] = []
    bound: list[tvm.ir.Var] = []

    def load(node: tvm.ir.TensorLoad) -> Expr:
        nonlocal fine
        here = places[len(places) - len(node.indices) :]
        known = any(node.source.same_as(p) for p in inputs) and len(node.indices) <= len(places)
        in_place = known and all(
            index.same_as(place) or (_one(dim) and isinstance(index, tirx.IntImm))
            for index, place, dim in zip(node.indices, here, node.source.shape, strict=True)
        )
        fine = fine and in_place
        return tirx.const(0, str(node.ty.dtype))

    rest = tvm_ffi.structural_map(value, (tvm.ir.TensorLoad, load))
    tvm_ffi.structural_walk(rest, [(tirx.Let, lambda n: bound.append(n.var)), (tvm.ir.Var, free.append)])
    return fine and all(any(v.same_as(b) for b in bound) for v in free)
