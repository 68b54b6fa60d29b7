"""Kernels that may put their result where an operand lies that nobody reads afterwards, such as the shortcut of a residual block.

A result that lies elsewhere costs a core as much again as the operand: its lines are read before they are written.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from ... import compat
from ...kernels.choice import SCHEDULE

STORES_ONCE = ("tiled", "winograd", "generic")  # schedules that store each element of a result once


def operands(function: tirx.PrimFunc) -> list[tuple[int, int]]:
    """Pairs (operand, result) of tensor parameters, by number, of which the result may lie upon the operand.

    Such an operand is read only where the element at the same place of the result is made, as the same type.
    """
    buffers = compat.tensors(function)
    if str((function.attrs or {}).get(SCHEDULE, "")) not in STORES_ONCE:
        return []
    stores: list[tirx.BufferStore] = []
    loads: list[Any] = []
    views: list[Any] = []  # what is read by another name too, such as operands of tensorised sums
    visits = [
        (tirx.BufferStore, stores.append),
        (ir.TensorLoad, loads.append),
        (s_tir.SBlock, lambda block: views.extend(match.source.source for match in block.match_buffers)),
    ]
    tvm_ffi.structural_walk(function.body, visits)
    made = [n for n, buffer in enumerate(buffers) if any(store.buffer.same_as(buffer) for store in stores)]
    pairs = []
    for n in made:
        mine = [(store, compat.loads(store.value)) for store in stores if store.buffer.same_as(buffers[n])]
        if any(load.source.same_as(buffers[n]) for _, within in mine for load in within):
            continue  # a sum: it is stored more than once
        there = [load for store, within in mine for load in within if _same_place(load, store)]
        for i, buffer in enumerate(buffers):
            reads = sum(load.source.same_as(buffer) for load in loads)
            if i in made or any(buffer.same_as(view) for view in views):
                continue
            if _alike(buffer, buffers[n]) and 0 < sum(load.source.same_as(buffer) for load in there) == reads:
                pairs.append((i, n))
    return pairs


def _alike(a: Any, b: Any) -> bool:
    return tvm_ffi.structural_equal(a.ty.shape, b.ty.shape) and str(a.ty.dtype) == str(b.ty.dtype)


def _same_place(load: Any, store: tirx.BufferStore) -> bool:
    return len(load.indices) == len(store.indices) and all(map(tvm_ffi.structural_equal, load.indices, store.indices))


def upon(function: tirx.PrimFunc, operand: int, result: int) -> tirx.PrimFunc:
    """The kernel without tensor parameter ``operand``: ``result`` holds it when the kernel is called."""
    buffers = compat.tensors(function)
    body = compat.substitute(function.body, {buffers[operand]: buffers[result]})
    params = [p for p in function.params if not p.same_as(buffers[operand])]
    return tirx.PrimFunc(params, body, function.ret_type).with_attrs(function.attrs)
