"""Kernels that an importer made for the model's layout (``hardswish``, ``resize``, ``slice``), made again for another layout.

Before: ``call_tir(hardswish, (NCHW tensor))``.  After: ``call_tir(hardswish', (NHWC tensor))`` with the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, te, tirx

from .. import compat

Expr = Any


@dataclass(frozen=True)
class Element:
    """What a kernel computes for one element: ``value``, of the output's place ``places`` and loads from ``inputs``.

    ``sizes`` are the kernel's parameters that are no tensors, ``shape`` is the output's.
    ``pointwise``: the value depends on nothing but the inputs' elements at the same place.
    """

    value: Expr
    places: list[tvm.ir.Var]
    inputs: list[tvm.ir.Var]
    sizes: list[tvm.ir.Var]
    shape: list[Expr]
    pointwise: bool

    def broadcast(self, shape: Sequence[Any], tensors: Sequence[te.Tensor], name: str) -> te.Tensor:
        """The pointwise kernel for a result of ``shape``; ``tensors`` stand for the inputs and broadcast against it."""
        table = dict(zip(self.inputs, tensors, strict=True))

        def element(*i: Expr) -> Expr:
            def load(old: tvm.ir.TensorLoad) -> Expr:
                tensor = table[old.source]
                first = len(i) - len(tensor.shape)
                # a dim of 1 that the result has too is read in step with it: else TVM takes the kernel for no elementwise one
                at = zip(tensor.shape, shape[first:], i[first:], strict=True)
                return tensor[tuple(0 if _one(d) and not _one(out) else j for d, out, j in at)]

            return tvm_ffi.structural_map(self.value, (tvm.ir.TensorLoad, load))

        return te.compute(tuple(shape), element, name=name)

    def channels_last(
        self, shape: Sequence[Any], tensors: Sequence[te.Tensor], moved: Sequence[bool], sizes: Sequence[Expr], name: str
    ) -> te.Tensor:
        """The kernel for a result of ``shape`` (N, H, W, C) where it was NCHW; ``moved``: which tensors are NHWC too."""
        known = dict(zip(self.sizes, sizes, strict=True))
        for old, new, last in zip(self.inputs, tensors, moved, strict=True):
            dims = [new.shape[i] for i in (0, 3, 1, 2)] if last else new.shape
            known |= {d: e for d, e in zip(old.ty.shape, dims, strict=True) if isinstance(d, tvm.ir.Var) and d not in known}
        result = [shape[i] for i in (0, 3, 1, 2)]
        known |= {d: e for d, e in zip(self.shape, result, strict=True) if isinstance(d, tvm.ir.Var) and d not in known}
        table = {old: (new, m) for old, new, m in zip(self.inputs, tensors, moved, strict=True)}

        def element(n: Expr, h: Expr, w: Expr, c: Expr) -> Expr:
            here = known | dict(zip(self.places, (n, c, h, w), strict=True))

            def load(old: tvm.ir.TensorLoad) -> Expr:
                tensor, last = table[old.source]
                at = list(old.indices)
                return tensor[(at[0], at[2], at[3], at[1]) if last else tuple(at)]

            place = (tvm.ir.Var, lambda v: here.get(v, v))
            return tvm_ffi.structural_map(tvm_ffi.structural_map(self.value, place), (tvm.ir.TensorLoad, load))

        # places have the type of their dims, and the kernel compares them with numbers of int64
        return te.compute(tuple(tirx.IntImm("int64", d) if isinstance(d, int) else d for d in shape), element, name=name)

    def keeps_channels(self) -> bool:
        """Whether every load of a rank-4 input reads the channel of the place that is computed."""
        fine = len(self.places) == 4

        def load(node: tvm.ir.TensorLoad) -> None:
            nonlocal fine
            fine = fine and (len(node.indices) != 4 or node.indices[1].same_as(self.places[1]))

        if fine:
            tvm_ffi.structural_walk(self.value, (tvm.ir.TensorLoad, load))
        return fine


def _one(dim: Any) -> bool:
    size = compat.static(dim)
    return isinstance(size, int) and size == 1


def recognise(function: tirx.PrimFunc) -> Element | None:
    """What a kernel of one spatial block computes for an element; None for any other kernel."""
    if not isinstance(function.body, s_tir.SBlockRealize):
        return None
    *inputs, output = compat.tensors(function)
    sizes = [p for p in function.params if not isinstance(p.ty, tirx.BufferType)]
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
    return Element(store.value, places, inputs, sizes, list(output.ty.shape), _only_loads_in_place(store.value, inputs, places))


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
