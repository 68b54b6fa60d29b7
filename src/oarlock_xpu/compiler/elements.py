"""Kernels of elements, which the library has none for: TIR with explicit transfers, from what FuseOps joined.

Before: blocks without reductions over the dims of the result.  After, for each core of the grid:

    for p in its pieces (a part of a row of the result each):
        xpu_load(x, offset, lm_x, n) …  xpu_fence()
        for i in n: lm_out[i] = expression of lm_x[i], lm_bias[0], …
        xpu_store(lm_out, out, offset, n)

Dims along which all tensors lie alike are joined first, so that equal shapes are one row.  codegen.py prints it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from oarlock import compat, compat_gpu

from .. import compat_xpu
from ..chips import Chip

MOST = 1024  # elements of a piece
_ALIGNED = 16
_SMALL = 64  # bytes that one element takes in local memory


@dataclass
class _Access:
    """A tensor as the kernel reads or writes it: its element at Σ steps · index + base."""

    buffer: Any
    steps: list[Any]
    base: Any
    local: Any = None


def elementwise(function: tirx.PrimFunc, chip: Chip) -> tirx.PrimFunc | str:
    """The kernel for a chip, or why there is none."""
    block = compat_xpu.inline_all(function)
    if isinstance(block, str):
        return block
    dims = [(iv.var, iv.dom.extent) for iv in block.iter_vars]
    once = {var: tirx.const(0, str(var.ty)) for var, extent in dims if compat.static(extent) == 1}  # no loop will run over these
    store = compat.substitute(block.body, once)
    if not isinstance(store, tirx.BufferStore):
        return "it has more than one statement"
    analyzer = tvm.sym.Analyzer()
    for var, extent in dims:
        analyzer.bind(var, tvm.ir.Range(tirx.const(0, str(var.ty)), extent))
    out = _access(store.buffer, list(store.indices), dims, analyzer)
    if isinstance(out, str):
        return out
    accesses: list[_Access] = []
    trouble: list[str] = []
    by_load: dict[Any, _Access] = {}
    for load in compat.loads(store.value):
        found = _access(load.source, list(load.indices), dims, analyzer)
        if isinstance(found, str):
            trouble.append(found)
        elif load not in by_load:
            same = next((a for a in accesses if _equal(a, found, analyzer)), None)
            if same is None:
                accesses.append(same := found)
            by_load[load] = same
    if trouble:
        return trouble[0]
    bare = compat_xpu.replace_loads(store.value, lambda load: tirx.const(0, compat_xpu.dtype_of(load)))
    places = bool(compat.variables(bare) & {var for var, _ in dims})  # the element's place is part of its value
    rows = _joined(dims, [out, *accesses], analyzer, join=not places)
    if not rows:
        rows = [(tirx.Var("one", "int64"), tirx.const(1, "int64"))]
        for access in (out, *accesses):
            access.steps = [tirx.const(1, "int64")]
    last = len(rows) - 1
    if compat.static(out.steps[last]) != 1 or any(compat.static(a.steps[last]) not in (0, 1) for a in accesses):
        return "it reads a tensor along another dim than it writes the result"
    wide = [a for a in (out, *accesses) if compat.static(a.steps[last]) == 1]
    room = chip.lm - _SMALL * (len(accesses) + 1)
    piece = min(MOST, room // sum(_bytes(a) for a in wide) // _ALIGNED * _ALIGNED)
    if piece < _ALIGNED:
        return f"{len(accesses)} operands at a time leave no room in {chip.lm} bytes of local memory"
    return _kernel(function, chip, rows, out, accesses, by_load, store.value, piece, analyzer)


def _access(buffer: Any, indices: list[Any], dims: list[tuple[Any, Any]], analyzer: tvm.sym.Analyzer) -> _Access | str:
    if any(compat.loads(i) for i in indices):
        return f"it looks {buffer.name} up where another tensor says"
    flat: Any = tirx.const(0, "int64")
    for index, dim in zip(indices, buffer.ty.shape, strict=True):
        if not (analyzer.can_prove(index >= 0) and analyzer.can_prove(index < dim)):
            return f"it reads {buffer.name} under conditions, some of it beyond the edge"
        flat = flat * dim + index
    found = compat_xpu.linear(analyzer.simplify(flat), [var for var, _ in dims])
    if found is None:
        return f"it reads {buffer.name} in an order that is no stride"
    return _Access(buffer, [analyzer.simplify(f) for f in found[:-1]], analyzer.simplify(found[-1]))


def _equal(a: _Access, b: _Access, analyzer: tvm.sym.Analyzer) -> bool:
    pairs = zip([*a.steps, a.base], [*b.steps, b.base], strict=True)
    return a.buffer.same_as(b.buffer) and all(analyzer.can_prove_equal(x, y) for x, y in pairs)


def _joined(dims: list[tuple[Any, Any]], accesses: list[_Access], analyzer: tvm.sym.Analyzer, join: bool) -> list[tuple[Any, Any]]:
    """The dims without those of one element, neighbours joined where every tensor allows it; the accesses' steps change with them."""
    kept = [k for k, (_, extent) in enumerate(dims) if compat.static(extent) != 1]
    steps = {id(a): [a.steps[k] for k in kept] for a in accesses}
    rows = [dims[k] for k in kept]
    k = 0
    while join and k + 1 < len(rows):
        extent = rows[k + 1][1]
        if all(analyzer.can_prove_equal(s[k], s[k + 1] * extent) for s in steps.values()):
            rows[k : k + 2] = [(rows[k + 1][0], analyzer.simplify(rows[k][1] * extent))]
            for s in steps.values():
                s[k : k + 2] = [s[k + 1]]
        else:
            k += 1
    for a in accesses:
        a.steps = steps[id(a)]
    return rows


def _bytes(access: _Access) -> int:
    return max(compat.bits(access.buffer) // 8, 1)


def _kernel(
    function: tirx.PrimFunc,
    chip: Chip,
    rows: list[tuple[Any, Any]],
    out: _Access,
    accesses: list[_Access],
    by_load: dict[Any, _Access],
    value: Any,
    piece: int,
    analyzer: tvm.sym.Analyzer,
) -> tirx.PrimFunc:
    def big(n: int) -> Any:
        return tirx.const(n, "int64")

    last = len(rows) - 1
    width = rows[last][1]
    piece = min(piece, -(-static // _ALIGNED) * _ALIGNED) if isinstance(static := compat.static(width), int) else piece
    chunks = analyzer.simplify(tirx.floordiv(width + big(piece - 1), big(piece)))
    total = analyzer.simplify(math.prod([extent for _, extent in rows[:last]], start=chunks))
    known = compat.static(total)
    clusters = min(chip.clusters, max(-(-known // chip.cores), 1)) if isinstance(known, int) else chip.clusters
    units = clusters * chip.cores

    def body(cluster: Any, core: Any) -> tirx.Stmt:
        unit = tirx.Cast("int64", cluster) * big(chip.cores) + tirx.Cast("int64", core)
        turn, at, row = (tirx.Var(n, "int64") for n in ("turn", "piece", "row"))
        start, n, i = tirx.Var("start", "int64"), tirx.Var("n", "int64"), tirx.Var("i", "int64")
        statements: list[tirx.Stmt] = [
            tirx.Bind(at, turn * big(units) + unit),
            tirx.Bind(start, tirx.floormod(at, chunks) * big(piece)),
            tirx.Bind(n, tirx.min(big(piece), width - start)),
            tirx.Bind(row, tirx.floordiv(at, chunks)),
        ]
        index: dict[Any, Any] = {rows[last][0]: start + i}
        rest: Any = row
        for var, extent in reversed(rows[:last]):
            index[var] = tirx.floormod(rest, extent)
            rest = tirx.floordiv(rest, extent)

        def offset(access: _Access) -> Any:
            terms = [index[var] * access.steps[k] for k, (var, _) in enumerate(rows[:last])]
            if compat.static(access.steps[last]) == 1:
                terms.append(start)
            return analyzer.simplify(sum(terms, access.base))

        def count(access: _Access) -> Any:
            return n if compat.static(access.steps[last]) == 1 else big(1)

        for number, access in enumerate([out, *accesses]):
            many = compat.static(access.steps[last]) == 1
            access.local = tirx.decl_buffer((piece if many else 1,), str(access.buffer.ty.dtype), f"lm{number}", scope="local")
        for access in accesses:
            statements.append(
                _extern("xpu_load", tirx.buffer_data(access.buffer), offset(access), tirx.buffer_data(access.local), count(access))
            )
        statements.append(_extern("xpu_fence"))

        def local(load: Any) -> Any:
            access = by_load[load]
            return tirx.BufferLoad(access.local, [i if compat.static(access.steps[last]) == 1 else big(0)])

        element = compat.substitute(compat_xpu.replace_loads(value, local), index)
        statements.append(tirx.For(i, big(0), n, tirx.ForKind.SERIAL, tirx.BufferStore(out.local, element, [i])))
        statements.append(_extern("xpu_ops", n * big(max(compat_xpu.arithmetic(value), 1))))
        statements.append(_extern("xpu_store", tirx.buffer_data(out.local), tirx.buffer_data(out.buffer), offset(out), n))
        turns = tirx.floordiv(total + big(units - 1) - unit, big(units))
        loop = tirx.For(turn, big(0), turns, tirx.ForKind.SERIAL, tirx.SeqStmt(statements))
        return tirx.SeqStmt([*(tirx.AllocBuffer(a.local) for a in (out, *accesses)), loop])

    grid = compat_gpu.thread_loop(
        "blockIdx.x", clusters, lambda cluster: compat_gpu.thread_loop("threadIdx.x", chip.cores, lambda core: body(cluster, core))
    )
    return function.with_body(grid)


def _extern(name: str, *args: Any) -> tirx.Stmt:
    return tirx.Evaluate(tirx.call_extern("int32", name, *args))
