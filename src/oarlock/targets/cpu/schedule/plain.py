"""What a search for a kernel's schedule starts from: the kernel without the tiles of a template.

Before (kernels.py): ``tile_acc[…, j // rows, o // columns, j % rows, o % columns]`` sums, ``tile_out[…, j, o]`` reads them from
there, operators follow.  After: ``plain_sums[…, j, o]``, and ``plain_out[…, j, o]`` reads them and does all that followed.  The blocks
have the same names and loops whatever follows, so a trace that was found for one such kernel applies to every kernel of its workload.
Weights stay packed as the tile wants them: a search may split columns in any way, and need not pack anything.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import ir, s_tir, sym, tirx

from .... import compat
from ..tiles import ATTRIBUTE, Tile
from . import blocks

SUMS, RESULT = "plain_sums", "plain_out"
REDUCE = 2  # the type of an iterator that is summed over


def start(function: tirx.PrimFunc) -> tirx.PrimFunc | None:
    """The kernel to search a schedule for; None where there is none: sizes known at run time, several results, products in groups or in
    parts."""
    if not compat.has_root_block(function) or not _static(function) or _results(function) > 1:
        return None
    sch = s_tir.Schedule(function, enable_check=False, error_render_level="none")
    leaves = blocks.leaf_blocks(sch)
    tiled = [b for b in leaves if ATTRIBUTE in sch.get(b).annotations]
    if not tiled:
        return function
    if len(tiled) != 1:
        return None
    at = [sch.get(b).name_hint for b in leaves].index(sch.get(tiled[0]).name_hint)
    acc, out = sch.get(tiled[0]), sch.get(leaves[at + 1])
    if Tile.read(acc.annotations[ATTRIBUTE])[1].group > 1 or out.name_hint != "tile_out":
        return None
    return _canonical(_untiled(function, acc, out))


def _static(function: tirx.PrimFunc) -> bool:
    return all(isinstance(p.ty, tirx.BufferType) and all(isinstance(d, int | tirx.IntImm) for d in p.ty.shape) for p in function.params)


def _results(function: tirx.PrimFunc) -> int:
    stored = compat.stored_buffers(function)
    return sum(any(p.same_as(buffer) for buffer in stored) for p in function.params)


def _untiled(function: tirx.PrimFunc, acc: Any, out: Any) -> tirx.PrimFunc:
    """The sums of ``acc`` at the places where ``out`` reads them, as a block of their own."""
    analyzer = sym.Analyzer()
    read = out.body.value
    tile, shape = read.source, out.writes[0].source.ty.shape
    spatial = [i for i in acc.iter_vars if int(i.iter_type) != REDUCE]
    reduce = [i for i in acc.iter_vars if int(i.iter_type) == REDUCE]
    mine = [_iterator(i, f"s{n}") for n, i in enumerate(out.iter_vars)]
    sums = tirx.decl_buffer(shape, str(tile.ty.dtype), SUMS)
    place = [i.var for i in mine]
    for i in [*mine, *reduce]:
        analyzer.bind(i.var, i.dom)
    to = {i.var: j.var for i, j in zip(out.iter_vars, mine, strict=True)}
    where = {i.var: compat.substitute(index, to) for i, index in zip(spatial, read.indices, strict=True)}

    def moved(node: Any) -> Any:
        return compat.substitute(node, where)

    def load(node: ir.TensorLoad) -> Any:
        if node.source.same_as(tile):
            return tirx.BufferLoad(sums, place)
        return tirx.BufferLoad(node.source, [analyzer.simplify(i) for i in node.indices])

    value = tvm_ffi.structural_map(moved(acc.body.value), (ir.TensorLoad, load))
    regions = [_region(r, where, analyzer) for r in acc.reads]
    written = tirx.BufferRegion(sums, [_point(v) for v in place])
    block = s_tir.SBlock(
        [*mine, *reduce],
        regions,
        [written],
        SUMS,
        tirx.BufferStore(sums, value, place),
        tirx.BufferStore(sums, acc.init.value, place),
    )
    loops = [tirx.Var(i.var.name, str(i.var.ty.dtype)) for i in block.iter_vars]
    nest: Any = s_tir.SBlockRealize(loops, True, block)
    for loop, i in zip(reversed(loops), reversed(block.iter_vars), strict=True):
        nest = tirx.For(loop, i.dom.min, i.dom.extent, tirx.ForKind.SERIAL, nest)
    result = s_tir.SBlock(
        out.iter_vars,
        [tirx.BufferRegion(sums, [_point(i.var) for i in out.iter_vars])],
        out.writes,
        out.name_hint,
        tirx.BufferStore(out.body.buffer, tirx.BufferLoad(sums, [i.var for i in out.iter_vars]), out.body.indices),
    )
    swap = {acc.name_hint: nest, out.name_hint: result}
    return _replaced(function, swap, tile, sums)


def _iterator(i: Any, name: str) -> Any:
    return tirx.IterVar(i.dom, tirx.Var(name, str(i.var.ty.dtype)), int(i.iter_type))


def _point(index: Any) -> Any:
    return ir.Range.from_min_extent(index, tirx.const(1, str(index.ty.dtype)))


def _region(region: Any, where: dict, analyzer: sym.Analyzer) -> Any:
    ranges = [ir.Range.from_min_extent(analyzer.simplify(compat.substitute(r.min, where)), r.extent) for r in region.region]
    return tirx.BufferRegion(region.source, ranges)


def _replaced(function: tirx.PrimFunc, swap: dict[str, Any], old: Any, new: Any) -> tirx.PrimFunc:
    """The kernel with the nest of the sums and the block of the results replaced."""
    root = function.body.block

    def nest(statement: tirx.Stmt) -> tirx.Stmt:
        inner = statement
        while isinstance(inner, tirx.For):
            inner = inner.body
        name = inner.block.name_hint
        if name == "tile_acc":
            return swap[name]
        if name == "tile_out":
            return tvm_ffi.structural_map(statement, (s_tir.SBlock, lambda block: swap[block.name_hint]))
        return statement

    body = tirx.SeqStmt([nest(s) for s in root.body.seq])
    buffers = [new if b.same_as(old) else b for b in root.alloc_buffers]
    block = s_tir.SBlock([], root.reads, root.writes, "root", body, alloc_buffers=buffers, annotations=root.annotations)
    return function.with_body(s_tir.SBlockRealize([], True, block))


def _canonical(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """All that follows the sums in one block; names that do not tell what followed."""
    sch = s_tir.Schedule(function, enable_check=False, error_render_level="none")
    names = [sch.get(b).name_hint for b in blocks.leaf_blocks(sch)]
    at = names.index(SUMS)
    for name in names[at + 1 : -1]:
        sch.compute_inline(sch.get_sblock(name))
    for name in names[:at]:
        readers = [sch.get(c).name_hint for c in sch.get_consumers(sch.get_sblock(name))]
        if readers and all(r.startswith(("tile_pad", "tile_pack")) for r in readers):
            sch.compute_inline(sch.get_sblock(name))
    last = names[-1]

    def rename(block: s_tir.SBlock) -> s_tir.SBlock:
        if block.name_hint != last:
            return block
        return s_tir.SBlock(block.iter_vars, block.reads, block.writes, RESULT, block.body, block.init, annotations=block.annotations)

    return tvm_ffi.structural_map(sch.mod["main"], (s_tir.SBlock, rename))
