"""Looking at kernels: blocks, their loops, what is cheap to inline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from .... import compat

UNKNOWN = 32  # what a symbolic extent counts as when work is estimated

CHEAP = 4  # operators that cost less than storing their result and reading it again
MOST_REPEATS = 4  # how often a consumer may compute a cheap element anew
MOST_REPEATED = 64  # operators by which inlining one producer may make its consumers longer

_KINDS = {0: "spatial", 2: "reduce"}
_STEPS = (ir.Call, tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Min, tirx.Max, tirx.Select, tirx.Cast)


@dataclass(frozen=True)
class Nest:
    """A block with the loops around it, outermost first; ``extents`` has estimates where ``dynamic``."""

    block: Any
    name: str
    loops: list[Any]
    extents: list[int]
    dynamic: list[bool]
    kinds: list[str]  # spatial, reduce, other: what the loop iterates over

    @property
    def reduces(self) -> bool:
        return "reduce" in self.kinds


def extent(value: Any) -> tuple[int, bool]:
    """A loop's extent as (number, whether it is a guess)."""
    if isinstance(value, int):
        return value, False
    if isinstance(value, tirx.IntImm):
        return int(value.value), False
    return UNKNOWN, True


def work(extents: list[int]) -> int:
    """The product of the extents."""
    return math.prod(extents)


def leaf_blocks(sch: s_tir.Schedule) -> list[Any]:
    """The blocks right under the root block."""
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def fuse_static(sch: s_tir.Schedule, loops: list[Any]) -> list[Any]:
    """Fuse the first loop with the static ones that follow it → that loop and those left.

    A symbolic loop is not fused into another: TVM's arithmetic takes minutes over the division by its size.
    """
    count = next((i for i, loop in enumerate(loops) if i and extent(sch.get(loop).extent)[1]), len(loops))
    return [sch.fuse(*loops[:count]) if count > 1 else loops[0], *loops[count:]]


def nest_of(sch: s_tir.Schedule, block: Any) -> Nest:
    """The loops around ``block``; a loop's kind is that of the iterator bound to it alone."""
    node = sch.get(block)
    loops = list(sch.get_loops(block))
    sizes = [extent(sch.get(loop).extent) for loop in loops]
    kinds = ["other"] * len(loops)
    values = compat.block_values(sch, block)
    for i, loop in enumerate(loops):
        var = sch.get(loop).loop_var
        for iterator, value in zip(node.iter_vars, values, strict=True):
            if isinstance(value, tirx.Var) and value.same_as(var):
                kinds[i] = _KINDS.get(int(iterator.iter_type), "other")
    # a loop of one iteration is bound to no iterator: its value is a constant
    for i, (size, dynamic) in enumerate(sizes):
        if kinds[i] == "other" and size == 1 and not dynamic:
            kinds[i] = "spatial"
    return Nest(block, node.name_hint, loops, [s for s, _ in sizes], [d for _, d in sizes], kinds)


def nests(sch: s_tir.Schedule) -> list[Nest]:
    """All leaf blocks with their loops."""
    return [nest_of(sch, b) for b in leaf_blocks(sch)]


def inline_producers(sch: s_tir.Schedule) -> None:
    """Inline every elementwise producer into its consumers where that repeats little work."""
    for block in leaf_blocks(sch):
        consumers = sch.get_consumers(block)
        if not consumers or sch.get_producers(block) is None or not _inlinable(sch, block, consumers):
            continue
        try:
            sch.compute_inline(block)
        except s_tir.ScheduleError:
            continue  # not injective, or its buffer is an output: it stays a loop nest of its own


def _inlinable(sch: s_tir.Schedule, block: Any, consumers: list[Any]) -> bool:
    mine = nest_of(sch, block)
    if mine.reduces:
        return False
    node = sch.get(block)
    buffer, steps = node.writes[0].source, _steps(node)
    # a formula read in many places doubles with every operator of a chain: compiling it takes minutes
    if steps * (sum(_loads(sch.get(c), buffer) for c in consumers) - 1) > MOST_REPEATED:
        return False
    # a consumer that reads an element several times (or none, where it joins several producers) may as well compute it
    repeats = 1 if steps > CHEAP else MOST_REPEATS
    return all(work(nest_of(sch, c).extents) <= repeats * work(mine.extents) for c in consumers)


def _steps(node: Any) -> int:
    """The size of a block's formula: operators count 1, calls (exp, …) 8."""
    count = 0

    def visit(e: Any) -> None:
        nonlocal count
        if "int" not in str(e.ty.dtype):  # places are cheap
            count += 8 if isinstance(e, ir.Call) and e.op.name != "tirx.if_then_else" else 1

    tvm_ffi.structural_walk(node.body, [(kind, visit) for kind in _STEPS])
    return count


def _loads(node: Any, buffer: Any) -> int:
    """How often a block's formula reads ``buffer``."""
    count = 0

    def visit(e: Any) -> None:
        nonlocal count
        count += e.source.same_as(buffer)

    tvm_ffi.structural_walk(node.body, (ir.TensorLoad, visit))
    return count
