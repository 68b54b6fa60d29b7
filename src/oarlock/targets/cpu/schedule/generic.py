"""The safe schedule for any kernel: inline what is cheap, run outer loops in parallel, leave the inner ones to LLVM."""

from __future__ import annotations

from tvm import s_tir, tirx

from ..machine import Machine
from .blocks import Nest, inline_producers, nests, work

PARALLEL_WORK = 32768  # elementary steps below which starting threads costs more than it gives
CHUNK_WORK = 8192  # steps that one parallel iteration should have at least


def schedule(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc | None:
    """Any PrimFunc of blocks → the same with producers inlined and outer spatial loops parallel."""
    sch = s_tir.Schedule(function)
    inline_producers(sch)
    for nest in nests(sch):
        if machine.threads > 1:
            _parallel(sch, nest)
        _initialise_first(sch, nest)
    return sch.mod["main"]


def _parallel(sch: s_tir.Schedule, nest: Nest) -> None:
    """Fuse outer spatial loops until there are enough iterations, and run them in parallel."""
    total = work(nest.extents)
    if total < PARALLEL_WORK:
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
