"""The safe schedule for any kernel: inline what is cheap, run outer loops in parallel, leave the inner ones to LLVM."""

from __future__ import annotations

import math

import tvm_ffi
from tvm import ir, s_tir, tirx

from ..machine import Machine
from .blocks import PARALLEL_WORK, Nest, inline_producers, neighbours, nest_of, nests, steps, vector_reductions, work
from .columns import reduce_columns

CHUNK_WORK = 8192  # steps that one parallel iteration should have at least
PARTITION = "pragma_loop_partition_hint"  # TVM cuts such a loop where a condition on its variable changes
MOST_CUTS = 16


def schedule(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc | None:
    """Any PrimFunc of blocks → the same with producers inlined and outer spatial loops parallel."""
    sch = s_tir.Schedule(function)
    inline_producers(sch, machine)
    for nest in nests(sch):
        if (count := vector_reductions(sch, nest, machine)) > 0:
            reduce_columns(sch, nest.block, count, machine)
            continue
        if machine.threads > 1:
            _parallel(sch, nest)
        _initialise_first(sch, nest)
        if not nest.reduces:
            _cut(sch, nest_of(sch, nest.block), machine)
    return sch.mod["main"]


def _parallel(sch: s_tir.Schedule, nest: Nest) -> None:
    """Fuse outer spatial loops until there are enough iterations, and run them in parallel."""
    total = work(nest.extents)
    if total * max(1, steps(sch.get(nest.block)) // 4) < PARALLEL_WORK:
        return
    outer: list = []
    left = total
    for loop, extent, kind in zip(nest.loops, nest.extents, nest.kinds, strict=True):
        if kind != "spatial" or left // max(1, extent) < CHUNK_WORK and outer:
            break
        outer.append(loop)
        left //= max(1, extent)
        if left < CHUNK_WORK:
            break
    if not outer:
        return
    fused = sch.fuse(*outer) if len(outer) > 1 else outer[0]
    sch.parallel(fused)


def _initialise_first(sch: s_tir.Schedule, nest: Nest) -> None:
    """Initial values in loops of their own: inside the reduction loops they would be missing when those run 0 times."""
    reduce = next((loop for loop, kind in zip(nest.loops, nest.kinds, strict=True) if kind == "reduce"), None)
    if reduce is not None:
        sch.decompose_reduction(nest.block, reduce)


def _cut(sch: s_tir.Schedule, nest: Nest, machine: Machine) -> None:
    """The last axis in whole vectors; where its parts are computed differently (a concatenation of channels), a loop for each part.

    Without the loops every element asks which part it is in, and no element is copied together with the next.
    """
    if len(nest.loops) < 2 or nest.kinds[-1] != "spatial" or nest.dynamic[-1]:
        return
    block = sch.get(nest.block)
    last = block.iter_vars[-1].var
    ends: set[int] = set()

    def compare(node: tirx.LT | tirx.LE | tirx.GT | tirx.GE) -> None:
        for side, other, right in ((node.a, node.b, False), (node.b, node.a, True)):
            if isinstance(side, tirx.IntImm) and isinstance(other, tirx.Var) and other.same_as(last):
                above = isinstance(node, (tirx.LT, tirx.GE)) == right  # whether the first of a part is the constant itself
                ends.add(int(side.value) + (0 if above else 1))

    tvm_ffi.structural_walk(block.body, [(kind, compare) for kind in (tirx.LT, tirx.LE, tirx.GT, tirx.GE)])
    ends = {end for end in ends if 0 < end < nest.extents[-1]}
    full, size = machine.lanes(str(block.writes[0].source.dtype)), nest.extents[-1]
    lanes = math.gcd(full, size, *ends)
    if lanes < 4 or len(ends) > MOST_CUTS or ends and _selects_of_parts(block):
        return
    # LLVM does well by a long row that ends within a vector
    if not ends and (not neighbours(block, last) or lanes < full and size > 4 * full):
        return
    part, lane = sch.split(nest.loops[-1], [None, lanes])
    if ends:
        sch.annotate(part, PARTITION, True)
    sch.vectorize(lane)


def _selects_of_parts(block: s_tir.SBlock) -> bool:
    """Whether an if_then_else stands in a Select: cutting the loop, TVM 0.27 then compares numbers of int32 and int64, and fails.

    tests/targets/test_cpu_moves.py tells when it does not any more.
    """
    found: list[bool] = []

    def call(node: ir.Call) -> None:
        found.append(getattr(node.op, "name", "") == "prim.if_then_else")

    tvm_ffi.structural_walk(block.body, (tirx.Select, lambda node: tvm_ffi.structural_walk(node, (ir.Call, call))))
    return any(found)
