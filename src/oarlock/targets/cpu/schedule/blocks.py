"""Looking at kernels: blocks, their loops, what is cheap to inline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from .... import compat
from ..machine import Machine

UNKNOWN = 32  # what a symbolic extent counts as when work is estimated

PARALLEL_WORK = 150_000  # elements below which threads cost more than they give (10 to 20 µs)
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


def neighbours(node: Any, last: tirx.Var) -> bool:
    """Whether a block loads neighbouring elements for neighbouring values of its iterator ``last`` (or one for all)."""
    fine = True

    def load(e: ir.TensorLoad) -> None:
        nonlocal fine
        fine = fine and all(i.same_as(last) and n == len(e.indices) or not uses(i, last) for n, i in enumerate(e.indices, 1))

    tvm_ffi.structural_walk(node.body, (ir.TensorLoad, load))
    return fine


def uses(expr: ir.Expr, var: tirx.Var) -> bool:
    """Whether ``var`` occurs in ``expr``."""
    found = False

    def visit(v: ir.Var) -> None:
        nonlocal found
        found = found or v.same_as(var)

    tvm_ffi.structural_walk(expr, (ir.Var, visit))
    return found


def vector_reductions(sch: s_tir.Schedule, nest: Nest, machine: Machine) -> int:
    """The number of reduction loops of a block that reduces vectors (pooling of channels at the end); 0 for any other block."""
    count = nest.kinds.count("reduce")
    if not count or len(nest.kinds) < count + 2 or nest.kinds != ["spatial"] * (len(nest.kinds) - count) + ["reduce"] * count:
        return 0
    block = sch.get(nest.block)
    if nest.dynamic[-count - 1] or nest.extents[-count - 1] % machine.lanes(str(block.writes[0].source.dtype)):
        return 0
    loop = sch.get(nest.loops[-count - 1]).loop_var
    values = zip(block.iter_vars, compat.block_values(sch, nest.block), strict=True)
    column = next((i.var for i, value in values if isinstance(value, tirx.Var) and value.same_as(loop)), None)
    if column is None or not block.writes[0].region[-1].min.same_as(column):
        return 0
    return count if neighbours(block, column) else 0


def inline_producers(sch: s_tir.Schedule, machine: Machine) -> None:
    """Inline every elementwise producer into its consumers where that repeats little work."""
    for block in leaf_blocks(sch):
        consumers = sch.get_consumers(block)
        if not consumers or sch.get_producers(block) is None or not _inlinable(sch, block, consumers, machine):
            continue
        try:
            sch.compute_inline(block)
        except s_tir.ScheduleError:
            continue  # not injective, or its buffer is an output: it stays a loop nest of its own


def _inlinable(sch: s_tir.Schedule, block: Any, consumers: list[Any], machine: Machine) -> bool:
    mine = nest_of(sch, block)
    if mine.reduces:
        return False
    node = sch.get(block)
    buffer, size = node.writes[0].source, steps(node)
    # a formula read in many places doubles with every operator of a chain: compiling it takes minutes
    if size * (sum(_loads(sch.get(c), buffer) for c in consumers) - 1) > MOST_REPEATED:
        return False
    # a consumer that reads an element a few times (or none, where it joins several producers) may as well compute it
    for reader in (nest_of(sch, c) for c in consumers):
        few = size <= CHEAP and (not reader.reduces or vector_reductions(sch, reader, machine) > 0)
        if work(reader.extents) > (MOST_REPEATS if few else 1) * work(mine.extents):
            return False
    return True


def steps(node: Any) -> int:
    """The size of a block's formula: operators count 1, calls (exp, …) 8."""
    count = 0

    def visit(e: Any) -> None:
        nonlocal count
        if "int" not in str(e.ty.dtype):  # places are cheap
            count += 8 if isinstance(e, ir.Call) and not e.op.name.endswith("if_then_else") else 1

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
