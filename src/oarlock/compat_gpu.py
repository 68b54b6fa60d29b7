"""The churny TVM calls that targets for GPUs share; see compat.py."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir
from tvm.s_tir.dlight.gpu import matmul

from . import compat

OUT_ELEMENTWISE_FUSABLE, OPAQUE = 4, 8  # of TVM's OpPatternKind


def is_host_function(function: tvm.tirx.PrimFunc) -> bool:
    """Whether a function computes sizes on the host."""
    return bool((function.attrs or {}).get("tirx.is_host_func", False))


def is_scheduled(function: tvm.tirx.PrimFunc) -> bool:
    """Whether TVM made a kernel for a GPU already (scans)."""
    return bool((function.attrs or {}).get("tirx.is_scheduled", False))


def statement_kind(stmt: tvm.tirx.Stmt) -> str:
    """ "threads" (a loop or attribute that is bound to threads), or the name of the statement's class."""
    t = tvm.tirx
    if isinstance(stmt, t.For) and stmt.kind == t.ForKind.THREAD_BINDING:
        return "threads"
    if isinstance(stmt, t.AttrStmt) and str(stmt.attr_key) == "thread_extent":
        return "threads"
    return type(stmt).__name__


def root(function: tvm.tirx.PrimFunc) -> tvm.tirx.Stmt:
    """What a kernel does: the body of its outermost block, or of the function."""
    body = function.body
    return body.block.body if isinstance(body, s_tir.SBlockRealize) and not body.block.iter_vars else body


def with_root(function: tvm.tirx.PrimFunc, body: tvm.tirx.Stmt) -> tvm.tirx.PrimFunc:
    """The same kernel with another root."""
    realize = function.body
    if not (isinstance(realize, s_tir.SBlockRealize) and not realize.block.iter_vars):
        return function.with_body(body)
    return function.with_body(s_tir.SBlockRealize(realize.iter_values, realize.predicate, _block(realize.block, body=body)))


def _block(b: s_tir.SBlock, *, name: str = "", body: tvm.tirx.Stmt | None = None) -> s_tir.SBlock:
    """A block with another name or body."""
    rest = (b.init, b.alloc_buffers, b.match_buffers, b.annotations)
    return s_tir.SBlock(b.iter_vars, b.reads, b.writes, name or b.name_hint, b.body if body is None else body, *rest)


def one_root(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """A kernel of which only the outermost block is called root, by which TVM's rules look for it."""

    def rename(block: s_tir.SBlock) -> s_tir.SBlock:
        return _block(block, name="root_of") if block.name_hint == "root" and block.iter_vars else block

    return tvm_ffi.structural_map(function, (s_tir.SBlock, rename))


def thread_loop(axis: str, extent: Any, body: Callable[[tvm.tirx.Var], tvm.tirx.Stmt]) -> tvm.tirx.For:
    """A loop bound to ``axis`` ("threadIdx.x", …)."""
    t = tvm.tirx
    var = t.Var(axis.replace(".", "_"), "int64")
    extent = t.const(extent, "int64") if isinstance(extent, int) else extent
    zero = t.const(0, "int64")
    thread = t.IterVar(tvm.ir.Range(zero, extent), t.Var(axis, "int64"), t.IterVar.ThreadIndex, axis)
    return t.For(var, zero, extent, t.ForKind.THREAD_BINDING, body(var), thread)


def in_thread(stmt: tvm.tirx.Stmt) -> tvm.tirx.Stmt:
    """A statement as one thread runs it: loops in order, work buffers its own."""
    t = tvm.tirx
    own: dict[tvm.ir.Var, tvm.ir.Var] = {}

    def find(node: tvm.tirx.AllocBuffer) -> None:
        ty = node.buffer.ty
        if str(ty.storage_scope) in ("", "global"):
            own[node.buffer] = t.decl_buffer(list(ty.shape), str(ty.dtype), node.buffer.name, scope="local")

    def loop(node: tvm.tirx.For) -> tvm.tirx.For:
        return t.For(node.loop_var, node.min, node.extent, t.ForKind.SERIAL, node.body) if node.kind == t.ForKind.PARALLEL else node

    def allocation(node: tvm.tirx.AllocBuffer) -> tvm.tirx.AllocBuffer:
        return t.AllocBuffer(own.get(node.buffer, node.buffer), node.annotations)

    tvm_ffi.structural_walk(stmt, (t.AllocBuffer, find))
    stmt = tvm_ffi.structural_map(stmt, (t.For, loop))
    if not own:
        return stmt
    return tvm_ffi.structural_map(stmt, [(tvm.ir.Var, lambda var: own.get(var, var)), (t.AllocBuffer, allocation)])


def sized_allocations(stmt: tvm.tirx.Stmt) -> list[tuple[str, bool]]:
    """The work buffers inside a statement: name, and whether the size is a number."""
    found: list[tuple[str, bool]] = []

    def visit(node: tvm.tirx.AllocBuffer) -> None:
        known = all(isinstance(compat.static(d), int) for d in node.buffer.ty.shape)
        found.append((str(node.buffer.name), known))

    tvm_ffi.structural_walk(stmt, (tvm.tirx.AllocBuffer, visit))
    return found


def reduction_length(function: tvm.tirx.PrimFunc) -> int | None:
    """How many terms the longest reduction of a kernel has: 1 for none, None where only run time knows."""
    longest: list[int | None] = [1]

    def visit(block: s_tir.SBlock) -> None:
        dims = [compat.static(iv.dom.extent) for iv in block.iter_vars if iv.iter_type == tvm.tirx.IterVar.CommReduce]
        known = [d for d in dims if isinstance(d, int)]
        longest.append(math.prod(known) if len(known) == len(dims) else None)

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, visit))
    return None if None in longest else max(n for n in longest if n is not None)


def summed_elements(function: tvm.tirx.PrimFunc) -> tuple[int | None, int]:
    """(how many elements the one sum of a kernel has: None where it has several sums or none, or where only run time knows; how many
    the largest tensor has that is computed after it)"""
    found: list[int | None] = []
    after = 0

    def visit(block: s_tir.SBlock) -> None:
        nonlocal after
        kinds = [iv.iter_type == tvm.tirx.IterVar.CommReduce for iv in block.iter_vars]
        dims = [compat.static(iv.dom.extent) for iv, summed in zip(block.iter_vars, kinds, strict=True) if not summed]
        known = [d for d in dims if isinstance(d, int)]
        if any(kinds):
            found.append(math.prod(known) if len(known) == len(dims) else None)
        elif found and block.iter_vars:
            after = max(after, math.prod(known))

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, visit))
    return (found[0] if len(found) == 1 else None), after


def reduction_axes(function: tvm.tirx.PrimFunc) -> int:
    """Over how many axes of more than one term a kernel sums at most: three in a convolution (channels, and a window's two)."""
    most = 0

    def visit(block: s_tir.SBlock) -> None:
        nonlocal most
        kinds = [iv for iv in block.iter_vars if iv.iter_type == tvm.tirx.IterVar.CommReduce and compat.static(iv.dom.extent) != 1]
        most = max(most, len(kinds))

    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, visit))
    return most


def check_reductions(function: tvm.tirx.PrimFunc) -> None:
    """Raise what TVM would raise in the middle of building: not every reduction can be shared among threads."""
    s_tir.transform.LowerCrossThreadReduction()(tvm.IRModule({"main": function}))


def fits_shared_memory(function: tvm.tirx.PrimFunc, target: tvm.target.Target) -> bool:
    """Whether what a block of threads shares fits into the memory that the target gives it."""
    limit = target.attrs.get("max_shared_memory_per_block")
    if limit is None:
        return True
    t = s_tir.transform
    passes = [t.LowerInitBlock(), t.PlanAndUpdateBufferAllocationLocation(), t.ConvertBlocksToOpaque(), t.UnifyThreadBinding()]
    mod = tvm.transform.Sequential([*passes, t.LowerMatchBuffer(), t.CompactBufferAllocation()])(tvm.IRModule({"main": function}))
    most = 0

    def visit(block: s_tir.SBlock) -> None:
        nonlocal most
        size = 0
        for buffer in block.alloc_buffers:
            if str(buffer.ty.storage_scope).startswith("shared"):
                dims = [d for d in map(compat.static, buffer.ty.shape) if isinstance(d, int)]
                size += math.prod(dims) * tvm.DataType(str(buffer.ty.dtype)).bits // 8
        most = max(most, size)

    tvm_ffi.structural_walk(mod["main"].body, (s_tir.SBlock, visit))
    return most <= int(limit)


def without_wide_shifts(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """Shifts of int64 by 32 and more as divisions and products, which mean the same.

    TVM 0.27 makes indices int32 where their values fit, and with them the shifts of an index, whatever the distance.
    """
    t = tvm.tirx
    right, left = type(t.Var("x", "int64") >> 1), type(t.Var("x", "int64") << 1)

    def replace(node: Any) -> object:
        distance = compat.static(node.b)
        if str(node.ty) != "int64" or not isinstance(distance, int) or not 32 <= distance < 63:
            return node
        power = t.const(1 << distance, "int64")
        return t.floordiv(node.a, power) if isinstance(node, right) else node.a * power

    return tvm_ffi.structural_map(function, [(right, replace), (left, replace)])


def skip_empty(stmt: tvm.tirx.Stmt) -> tvm.tirx.Stmt:
    """The root of a kernel with launches of no blocks left out: CUDA refuses them, and TVM runs those of 0 blocks on the host."""
    t = tvm.tirx
    if isinstance(stmt, t.SeqStmt):
        return t.SeqStmt([skip_empty(s) for s in stmt.seq])
    if isinstance(stmt, s_tir.SBlockRealize) and not stmt.block.iter_vars:
        return s_tir.SBlockRealize(stmt.iter_values, stmt.predicate, _block(stmt.block, body=skip_empty(stmt.block.body)))
    if not isinstance(stmt, t.For):
        return stmt
    blocks: list[Any] = []

    def visit(loop: tvm.tirx.For) -> None:
        if loop.kind == t.ForKind.THREAD_BINDING and str(loop.thread_binding.thread_tag).startswith("blockIdx"):
            blocks.append(compat.static(loop.extent))

    tvm_ffi.structural_walk(stmt, (t.For, visit))
    if 0 in [n for n in blocks if isinstance(n, int)]:
        return t.Evaluate(t.const(0, "int32"))
    once = [t.min(n, t.const(1, "int64")) for n in blocks if not isinstance(n, int)]
    # a loop of one turn or none, since TVM allows no barriers under a condition
    return t.For(t.Var("launch", "int64"), t.const(0, "int64"), math.prod(once), t.ForKind.SERIAL, stmt) if once else stmt


def exact_doubles(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """The float64 constants of a kernel by their bits: TVM 0.27 writes them into CUDA sources with 15 decimals, 2**-53 as 0."""

    def replace(number: Any) -> object:
        value = float(number.value)
        if str(number.ty) != "float64" or not math.isfinite(value) or float(f"{value:.15f}") == value:
            return number
        (bits,) = struct.unpack("<q", struct.pack("<d", value))
        return tvm.tirx.call_intrin("float64", "tirx.reinterpret", tvm.tirx.const(bits, "int64"))

    return tvm_ffi.structural_map(function, (tvm.tirx.FloatImm, replace))


@dataclass(frozen=True)
class Traits:
    """What each axis of a sum of products is: S is in both operands and the output, I and J in one operand and the output, K is summed
    over, T has one element.  ``axes``: (kind, extent) of each; ``of``: which axes the operands "a" and "b" and the output "c" have."""

    axes: tuple[tuple[str, Any], ...]
    of: dict[str, tuple[int, ...]]

    def index_map(self, what: str, order: str) -> tvm.tirx.IndexMap:
        """An operand's axes (or "all") → one axis a kind, in this order."""
        t = tvm.tirx
        own = [self.axes[n] for n in (range(len(self.axes)) if what == "all" else self.of[what])]
        variables = [t.Var(f"i{n}", extent.ty) for n, (_, extent) in enumerate(own)]
        fused: dict[str, Any] = {}
        for (kind, extent), var in zip(own, variables, strict=True):
            if kind != "T":
                fused[kind] = fused[kind] * extent + var if kind in fused else var
        zero = t.const(0, str(self.axes[0][1].ty))
        return t.IndexMap(variables, [fused.get(kind, zero) for kind in order], None)


def product_traits(block: s_tir.SBlock) -> Traits | None:
    """The axes of a block that is a sum of products of two tensors' elements; None for any other block."""
    if len(block.reads) != 2 or len(block.writes) != 1:
        return None
    regions = {"a": block.reads[0], "b": block.reads[1], "c": block.writes[0]}
    if any(compat.static(r.extent) != 1 for region in regions.values() for r in region.region):
        return None
    used = {name: {v for r in region.region for v in tvm.tirx.analysis.undefined_vars(r.min)} for name, region in regions.items()}
    kinds = {("a", "b", "c"): "S", ("a", "c"): "I", ("b", "c"): "J", ("a", "b"): "K"}
    axes: list[tuple[str, Any]] = []
    for iv in block.iter_vars:
        kind = "T" if compat.static(iv.dom.extent) == 1 else kinds.get(tuple(name for name in regions if iv.var in used[name]), "")
        summed = iv.iter_type == tvm.tirx.IterVar.CommReduce
        if kind == "" or (kind == "K") != (summed and kind != "T"):
            return None
        axes.append((kind, iv.dom.extent))
    if not {kind for kind, _ in axes} >= set("IJK"):
        return None
    return Traits(tuple(axes), {name: tuple(n for n, iv in enumerate(block.iter_vars) if iv.var in used[name]) for name in regions})


def inline_producers(sch: s_tir.Schedule, block: Any) -> None:
    """Compute what a block reads where it reads it."""
    matmul.auto_inline_producers(sch, block)


def inline_consumers(sch: s_tir.Schedule, block: Any) -> None:
    """Do what follows a block where its elements are written; an error where that cannot be."""
    matmul.auto_inline_consumer_chain(sch, block)


def without_workspaces(function: tvm.tirx.PrimFunc) -> tuple[tvm.tirx.PrimFunc, list[tuple[list[int], str]]]:
    """A kernel whose work space in global memory is given as more parameters, after all others: (kernel, shape and type of each)."""
    realize = function.body
    if not (isinstance(realize, s_tir.SBlockRealize) and not realize.block.iter_vars):
        return function, []
    block = realize.block
    spaces: list[Any] = []
    kept: list[Any] = []
    shapes: list[tuple[list[int], str]] = []
    for buffer in block.alloc_buffers:
        ty = buffer.ty
        dims = [d for d in map(compat.static, ty.shape) if isinstance(d, int)]
        if len(dims) == len(ty.shape) and str(ty.storage_scope) in ("", "global"):
            spaces.append(buffer)
            shapes.append((dims, str(ty.dtype)))
        else:
            kept.append(buffer)
    if not spaces:
        return function, []
    new = s_tir.SBlock(
        block.iter_vars, block.reads, block.writes, block.name_hint, block.body, block.init, kept, block.match_buffers, block.annotations
    )
    body = s_tir.SBlockRealize(realize.iter_values, realize.predicate, new)
    return tvm.tirx.PrimFunc([*function.params, *spaces], body, function.ret_type).with_attrs(function.attrs), shapes
