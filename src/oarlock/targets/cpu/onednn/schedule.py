"""Kernels whose sums oneDNN makes: its call in place of the block, with what follows inside the call, or after it.

Before: ``library[…] = Σ …; T_add[…] = library[…] + bias[…]; …``.  After: ``oarlock_onednn_run("conv2d … bias …", x, w, out, bias, …)``.
Where oneDNN does not have what follows, it writes the sums, and loops of our own read them.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from .... import compat
from ....kernels.choice import CANDIDATE, WORKLOAD
from ..machine import Machine
from ..schedule import blocks
from . import ATTRIBUTE, SYMBOL
from .after import EXTRAS, After, recognise


def schedule(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc | None:
    """A kernel with one block for oneDNN → a call and what is left; None for any other kernel."""
    sch = s_tir.Schedule(function, error_render_level="none")
    leaves = blocks.leaf_blocks(sch)
    marked = [b for b in leaves if ATTRIBUTE in sch.get(b).annotations]
    if len(marked) != 1:
        return None
    block = sch.get(marked[0])
    position = [sch.get(b).name_hint for b in leaves].index(block.name_hint)
    values = list(block.annotations[ATTRIBUTE])
    parts = [(str(text), int(data), int(result)) for text, data, result in zip(values[::3], values[1::3], values[2::3], strict=True)]
    named = {key: str(block.annotations[key]) for key in (WORKLOAD, CANDIDATE)}
    sums, operands = block.writes[0].source, _operands(block)
    before, after = leaves[:position], leaves[position + 1 :]
    for b in after[:-1]:
        sch.compute_inline(b)
    drop, joined, result = "", After(), sums
    if after:
        last = sch.get(after[-1])
        store = last.body
        found = recognise(store.value, sums, store.indices) if isinstance(store, tirx.BufferStore) else None
        if found is None:
            before.append(after[-1])
        else:
            drop, joined, result = last.name_hint, found, store.buffer
    for b in before:
        _simple(sch, b, machine)
    call = _call(parts, joined, operands, result)
    return _replaced(sch.mod["main"], block.name_hint, call, drop, sums if drop else None).with_attrs(named)


def _operands(block: s_tir.SBlock) -> list[tirx.Buffer]:
    """The data and the weights, in this order: as they are multiplied."""
    found: list[tirx.Buffer] = []
    own = block.writes[0].source

    def visit(load: ir.TensorLoad) -> None:
        if not load.source.same_as(own) and not any(load.source.same_as(b) for b in found):
            found.append(load.source)

    tvm_ffi.structural_walk(block.body, (ir.TensorLoad, visit))
    if len(found) != 2:
        raise ValueError(f"a product of {len(found)} operands")
    return found


def _simple(sch: s_tir.Schedule, block: Any, machine: Machine) -> None:
    """Vectors along the last dim, and threads along the first."""
    *outer, last = sch.get_loops(block)
    size, _ = blocks.extent(sch.get(last).extent)
    total = blocks.work([blocks.extent(sch.get(loop).extent)[0] for loop in (*outer, last)])
    lanes = machine.lanes(str(sch.get(block).writes[0].source.ty.dtype))
    if size % lanes == 0:
        _, lane = sch.split(last, [None, lanes])
        sch.vectorize(lane)
    if machine.threads > 1 and outer and total >= blocks.PARALLEL_WORK:
        sch.parallel(sch.fuse(*outer) if len(outer) > 1 else outer[0])


def _call(parts: list[tuple[str, int, int]], joined: After, operands: list[tirx.Buffer], result: tirx.Buffer) -> s_tir.SBlockRealize:
    """A block that calls the binding for each part, all at once, and fails the kernel with its error."""
    (data, weights), calls = operands, []
    for text, start, end in parts:
        first = _place(data, start)
        # what is of the result's shape begins where the result does; a channel's values are the same for all parts
        extras = [_place(b, end if _shape(b) == _shape(result) else 0) for b in joined.operands]
        extras += [first] * (EXTRAS - len(extras))  # the text does not speak of these
        given = [first, _place(weights, 0), _place(result, end), *extras]
        calls.append(compat.checked(tirx.call_extern("int32", SYMBOL, ir.StringImm(" ".join([text, *joined.words])), *given)))
    *others, body = calls
    if others:
        part = tirx.Var("part", "int32")
        for number, call in reversed(list(enumerate(others))):
            body = tirx.IfThenElse(part == tirx.const(number, "int32"), call, body)
        body = tirx.For(part, tirx.const(0, "int32"), tirx.const(len(calls), "int32"), tirx.ForKind.PARALLEL, body)
    reads, writes = ([compat.whole(b) for b in buffers] for buffers in ([*operands, *joined.operands], [result]))
    return s_tir.SBlockRealize([], True, s_tir.SBlock([], reads, writes, "onednn", body))


def _place(buffer: tirx.Buffer, offset: int) -> Any:
    """The address of an element of a dense buffer."""
    if offset == 0:
        return tirx.buffer_data(buffer)
    indices: list[Any] = []
    for size in reversed(_shape(buffer)):
        indices.insert(0, tirx.const(offset % size, "int64"))
        offset //= size
    return tirx.address_of(tirx.BufferLoad(buffer, indices))


def _shape(buffer: tirx.Buffer) -> list[int]:
    return [int(d) for d in buffer.ty.shape]


def _replaced(function: tirx.PrimFunc, name: str, call: Any, drop: str, unused: tirx.Buffer | None) -> tirx.PrimFunc:
    """The kernel with the nest of the block ``name`` replaced by ``call``, without that of ``drop`` and the buffer between them."""
    realize = function.body
    root = realize.block
    nests = list(root.body.seq) if isinstance(root.body, tirx.SeqStmt) else [root.body]
    kept = []
    for nest in nests:
        inside = _blocks(nest)
        if name in inside:
            kept.append(call)
        elif not drop or drop not in inside:
            kept.append(nest)
    buffers = [b for b in root.alloc_buffers if unused is None or not b.same_as(unused)]
    body = tirx.SeqStmt(kept) if len(kept) > 1 else kept[0]
    new = s_tir.SBlock([], root.reads, root.writes, root.name_hint, body, None, buffers, root.match_buffers, root.annotations)
    return function.with_body(s_tir.SBlockRealize([], True, new))


def _blocks(stmt: Any) -> set[str]:
    names: set[str] = set()
    tvm_ffi.structural_walk(stmt, (s_tir.SBlock, lambda block: names.add(block.name_hint)))
    return names
