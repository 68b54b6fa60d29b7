"""Products on tile registers (AMX, Intel's servers since Sapphire Rapids): what a product of bfloat16 or int8 is made of there.

A tile register holds up to 16 rows of 64 bytes, and one instruction adds rows × 16 sums of products of 16 groups.  A ``Tile`` with
``strip`` rows a register computes R × U registers of sums at once: its rows are R strips, its columns U vectors.  The kernels here
are like those of kernels.py, but whole: no row, column or depth reaches past what is there, so that registers load from memory as it
lies.  Where a product's sizes are not so, its data are copied and extended by zeros first.

``lower`` puts the instructions in place of the accumulator's loops, as calls of a few lines of LLVM IR that come with the kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import tvm_ffi
from tvm import s_tir, sym, te, tirx

from ... import compat
from . import dots
from .machine import Machine
from .state import around_sums
from .tiles import L2_BYTES, PARALLEL_MACS, Tile

ROWS = DEPTH = 16  # of a tile register, in rows and in groups
VECTOR = 16  # sums in a row of a register
# strips × vectors of sums; more than four leave so few registers for operands that loads wait for products
BLOCKS = ((2, 2), (1, 4), (4, 1), (1, 3), (3, 1), (1, 2), (2, 1), (1, 1))
CONFIGURE = 250  # cycles to say what the registers are, once a kernel
LATENCY = 52  # cycles from one product to the next on the same sums
PRODUCT = 16  # cycles from the beginning of one product to that of the next; with few rows half of it
ISSUE = 2  # cycles that one more instruction of either kind takes
NEAR, FAR = 1.2, 2.2  # cycles to load a row of a register from the first-level cache, and from the second
AHEAD = 8  # steps by which weights that come from far away are asked for early
COPY = 1.0  # cycles to copy a group of the data
L1_BYTES = 36 * 1024  # what may count on staying in the first-level cache
_FASTER = 3  # times as fast as vectors, with what comes after the sums: by that much more work must be there for threads

Dim = Any


def depth_step(groups: int) -> int:
    """Groups that one instruction takes of a depth of ``groups``: the most that divide it."""
    return next(n for n in range(min(groups, DEPTH), 0, -1) if groups % n == 0)


def whole_depth(groups: int) -> int:
    """``groups``, or a little more where that makes far fewer steps of them."""
    steps = -(-groups // DEPTH)
    return groups if groups // depth_step(groups) <= 1.5 * steps else -(-groups // steps) * steps


@dataclass(frozen=True)
class Sizes:
    """What tiles are chosen by: a product of ``rows`` × ``columns`` (None: symbolic), each sum of ``depth`` groups in ``times`` runs.

    ``unit``: rows that a strip must divide; None where it need not.
    """

    rows: int | None
    columns: int | None
    depth: int
    times: int
    macs: int
    unit: int | None = None


@lru_cache(maxsize=4096)
def tiles(sizes: Sizes, operand: str, machine: Machine) -> list[Tile]:
    """Candidates, the cheapest first; none where the machine has no tile registers for ``operand``."""
    if operand not in machine.tile_registers or not sizes.depth or sizes.rows == 0 or sizes.columns == 0:
        return []
    parallel = machine.threads > 1 and sizes.macs >= _FASTER * PARALLEL_MACS
    priced: list[tuple[float, int, Tile]] = []
    for down, across in BLOCKS:
        width = across * VECTOR
        if sizes.columns is not None and width - VECTOR >= sizes.columns:
            continue
        panels = 4 * sizes.depth * sizes.times * (sizes.columns or 0) > L2_BYTES and (sizes.columns or 0) > width
        for strip in range(1, ROWS + 1):
            if sizes.rows is not None and (down - 1) * strip >= sizes.rows:
                continue
            if sizes.unit % strip if sizes.unit is not None else sizes.rows is None and strip < ROWS:
                continue
            ragged = sizes.columns is None or sizes.columns % width != 0
            tile = Tile(
                down * strip, width, VECTOR, ragged, panels=panels, parallel=parallel, whole=True, group=dots.GROUP[operand], strip=strip
            )
            priced.append((_cost(tile, sizes), len(priced), tile))
    priced.sort()
    best = priced[0][0]
    out: list[Tile] = []
    for cost, _, tile in priced:
        shape = tile.rows // tile.strip, tile.columns
        if cost <= 1.5 * best and len(out) < 5 and all((t.rows // t.strip, t.columns) != shape for t in out):
            out.append(tile)
    first = out[0]
    other = [replace(first, panels=not first.panels)] if sizes.columns is None or sizes.columns > first.columns else []
    other += [replace(first, parallel=not first.parallel)] if machine.threads > 1 else []
    return [first, *other, *out[1:]]


def _cost(tile: Tile, sizes: Sizes) -> float:
    """Cycles, by what the instructions take, and where operands are likely to be."""
    down, across = tile.rows // tile.strip, tile.columns // VECTOR
    groups = whole_depth(sizes.depth)
    step = depth_step(groups)
    rows, columns = sizes.rows or 16 * tile.rows, sizes.columns or 16 * tile.columns
    # What outer loops repeat stays near if all that is touched in between does.  The lines of a window overlap: they count once.
    line = 4 * groups
    panel = tile.columns * line * sizes.times
    data = NEAR if (rows if tile.panels else tile.rows) * line + panel <= L1_BYTES else FAR
    weights = NEAR if tile.rows * line + (1 if tile.panels else -(-columns // tile.columns)) * panel <= L1_BYTES else FAR
    loads = _order(down, across, tile.strip, step)[0]
    loading = sum(data * tile.strip if kind == "data" else weights * step for kind, _, _ in loads)
    products = down * across * max(tile.strip, PRODUCT // 2)
    inner = max(products, loading, LATENCY) + ISSUE * (len(loads) + down * across)
    blocks = -(-rows // tile.rows) * -(-columns // tile.columns)
    # sums are stored, and read again by what follows; an odd vector of its result is half a line of the cache
    after = tile.rows * (3 * across + across % 2 * 2) + 20
    copies = sizes.unit is None and (sizes.rows is None or rows % tile.strip) or groups != sizes.depth
    return blocks * (inner * sizes.times * groups / step + after) + (COPY * rows * groups if copies else 0) + CONFIGURE


@lru_cache
def _order(down: int, across: int, strip: int, step: int) -> tuple[list[tuple[str, int, int]], list[tuple[int, int, int, int]], list[int]]:
    """How one step of sums is computed with few registers for operands: (loads, products, loads before each product).

    A load is (kind, which, register); a product (strip, vector, register of data, register of weights).  Of the two orders that
    ``_nested`` gives it is that with the fewer rows to load, a register of data having ``strip`` rows and one of weights ``step``.
    """
    orders = (_nested(down, across, outer) for outer in ("data", "weights"))
    return min(orders, key=lambda order: sum(strip if kind == "data" else step for kind, _, _ in order[0]))


def _nested(down: int, across: int, outer: str) -> tuple[list[tuple[str, int, int]], list[tuple[int, int, int, int]], list[int]]:
    """``_order`` with loops over ``outer`` outside: each of its operands is loaded once, the others when they are needed."""
    first = down * across
    inner_count, outer_count = (across, down) if outer == "data" else (down, across)
    stay = min(inner_count, 8 - first - 1)
    inner_at = [first + n % stay for n in range(inner_count)]
    outer_at = [first + stay + n % (8 - first - stay) for n in range(outer_count)]
    loads: list[tuple[str, int, int]] = []
    products: list[tuple[int, int, int, int]] = []
    before: list[int] = []
    held: dict[int, tuple[str, int]] = {}
    other = "weights" if outer == "data" else "data"
    for a in range(outer_count):
        for b in range(inner_count):
            for kind, n, register in ((outer, a, outer_at[a]), (other, b, inner_at[b])):
                if held.get(register) != (kind, n):
                    held[register] = kind, n
                    loads.append((kind, n, register))
            before.append(len(loads))
            t, u = (a, b) if outer == "data" else (b, a)
            registers = (outer_at[a], inner_at[b]) if outer == "data" else (inner_at[b], outer_at[a])
            products.append((t, u, *registers))
    return loads, products, before


# ---- kernels ----------------------------------------------------------------------------------------------------------


def deep(weights: np.ndarray, group: int) -> np.ndarray:
    """``weights`` [K, N] with as many rows of zeros as ``whole_depth`` asks for."""
    extra = whole_depth(-(-weights.shape[0] // group)) * group - weights.shape[0]
    return np.concatenate([weights, np.zeros((extra, weights.shape[1]), weights.dtype)]) if extra else weights


def strips(weights: np.ndarray, places: int, group: int, copied: bool) -> np.ndarray:
    """``weights`` [KH, KW, I, O] of a convolution as [KH, …, depth, O], where ``places`` of KW are one depth (KW, or 1).

    Where the data are ``copied``, they may get channels of zeros, so that there are fewer steps.
    """
    kh, kw, i, o = weights.shape

    def steps(channels: int) -> int:
        groups = places * channels // group
        return groups // depth_step(groups)

    c = min(range(i, i + 8 * group, group), key=lambda c: (steps(c), c)) if copied else i
    more = np.concatenate([weights, np.zeros((kh, kw, c - i, o), weights.dtype)], axis=2)
    return more.reshape(kh, kw // places, places * c, o) if places == 1 and kw > 1 else more.reshape(kh, kw * c, o)


def extended(a: te.Tensor, rows: Dim, depth: Dim) -> te.Tensor:
    """``a`` […, M, K] with ``rows`` and ``depth`` at the end, what is more being zeros; ``a`` itself where it has them."""
    *batch, m, k = a.shape
    more_rows, more_depth = not _same(m, rows), not _same(k, depth)
    if not more_rows and not more_depth:
        return a

    def element(*i: Dim) -> Dim:
        inside = [i[-2] < m] * more_rows + [i[-1] < k] * more_depth
        value = dots.held(a(*i))
        return te.if_then_else(te.all(*inside), value, dots.zero(str(value.ty)))

    return te.compute((*batch, rows, depth), element, name="tile_pad")


def _same(a: Dim, b: Dim) -> bool:
    a, b = compat.static(a), compat.static(b)
    return isinstance(a, int) and isinstance(b, int) and a == b


# ---- instructions -----------------------------------------------------------------------------------------------------

_TEXT = """
declare void @llvm.x86.ldtilecfg(ptr)
declare void @llvm.x86.tilerelease()
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare void @llvm.x86.tilezero(i8)
declare void @llvm.x86.tileloadd64(i8, ptr, i64)
declare void @llvm.x86.tilestored64(i8, ptr, i64)
declare void @llvm.x86.{multiply}(i8, i8, i8)
@oarlock_amx_sums = linkonce_odr thread_local global [{bytes} x i8] zeroinitializer, align 64
declare ptr @llvm.threadlocal.address.p0(ptr)
define linkonce_odr ptr @{scratch}() alwaysinline {{
  %sums = call ptr @llvm.threadlocal.address.p0(ptr @oarlock_amx_sums)
  ret ptr %sums
}}
@{name}_layout = linkonce_odr unnamed_addr constant [64 x i8] c"{layout}", align 64
define linkonce_odr i32 @{name}_start() alwaysinline {{
  call void @llvm.x86.ldtilecfg(ptr @{name}_layout)
  ret i32 0
}}
define linkonce_odr i32 @{name}_end() alwaysinline {{
  call void @llvm.x86.tilerelease()
  ret i32 0
}}
define linkonce_odr i32 @{name}_zero() alwaysinline {{
{zeros}
  ret i32 0
}}
define linkonce_odr i32 @{name}_step({data}, i64 %stride, ptr %weights, i64 %row) alwaysinline {{
{steps}
  ret i32 0
}}
define linkonce_odr i32 @{name}_store(ptr %sums, i64 %row) alwaysinline {{
{stores}
  ret i32 0
}}
"""
# The sums lie where rows of registers cross no cache lines; each thread has them once, whatever kernel it runs.
_SCRATCH, _MOST_SUMS = "oarlock_amx_place", 4 * VECTOR * ROWS * max(down * across for down, across in BLOCKS)
_MULTIPLY = {"bfloat16": "tdpbf16ps", "uint8": "tdpbusd"}


@dataclass(frozen=True)
class _Registers:
    """The tile registers of one kernel: ``down`` × ``across`` of sums, then those of data and of weights."""

    operand: str
    strip: int
    step: int
    down: int
    across: int
    ahead: bool

    @property
    def name(self) -> str:
        return f"oarlock_amx_{self.operand}_{self.down}x{self.across}_{self.strip}_{self.step}{'_ahead' * self.ahead}"

    @property
    def order(self) -> tuple[list[tuple[str, int, int]], list[tuple[int, int, int, int]], list[int]]:
        return _order(self.down, self.across, self.strip, self.step)

    def text(self) -> str:
        """The LLVM IR of the functions that ``lower`` calls."""
        sums = self.down * self.across
        loads, products, before = self.order
        lines = [f"  %weights{u} = getelementptr i8, ptr %weights, i64 {64 * u}" for u in range(self.across)]
        if self.ahead:
            for n in range(self.step):
                for u in range(self.across):
                    lines.append(f"  %a{n}_{u} = mul i64 %row, {n + AHEAD * self.step}")
                    lines.append(f"  %b{n}_{u} = getelementptr i8, ptr %weights{u}, i64 %a{n}_{u}")
                    lines.append(f"  call void @llvm.prefetch.p0(ptr %b{n}_{u}, i32 0, i32 2, i32 1)")
        done = 0
        for (t, u, data, weights), until in zip(products, before, strict=True):
            for kind, n, register in loads[done:until]:
                stride = "%stride" if kind == "data" else "%row"
                lines.append(f"  call void @llvm.x86.tileloadd64(i8 {register}, ptr %{kind}{n}, i64 {stride})")
            done = until
            lines.append(f"  call void @llvm.x86.{_MULTIPLY[self.operand]}(i8 {t * self.across + u}, i8 {data}, i8 {weights})")
        stores = []
        for t in range(self.down):
            stores.append(f"  %o{t} = mul i64 %row, {t * self.strip}")
            stores.append(f"  %p{t} = getelementptr i8, ptr %sums, i64 %o{t}")
            for u in range(self.across):
                stores.append(f"  %q{t}_{u} = getelementptr i8, ptr %p{t}, i64 {64 * u}")
                stores.append(f"  call void @llvm.x86.tilestored64(i8 {t * self.across + u}, ptr %q{t}_{u}, i64 %row)")
        return _TEXT.format(
            name=self.name,
            scratch=_SCRATCH,
            bytes=_MOST_SUMS,
            multiply=_MULTIPLY[self.operand],
            layout=self._layout(),
            zeros="\n".join(f"  call void @llvm.x86.tilezero(i8 {n})" for n in range(sums)),
            data=", ".join(f"ptr %data{t}" for t in range(self.down)),
            steps="\n".join(lines),
            stores="\n".join(stores),
        )

    def _layout(self) -> str:
        """What LDTILECFG reads: palette 1, then bytes a row (16 bits each) and rows of each register."""
        data = {register for kind, _, register in self.order[0] if kind == "data"}
        weights = {register for kind, _, register in self.order[0] if kind == "weights"}
        widths, rows = [0] * 16, [0] * 16
        for n in range(8):
            widths[n] = 4 * self.step if n in data else 4 * VECTOR
            rows[n] = self.step if n in weights else self.strip
        raw = bytes([1, *[0] * 15]) + b"".join(w.to_bytes(2, "little") for w in widths) + bytes(rows)
        return "".join(f"\\{b:02X}" for b in raw)


def lower(function: tirx.PrimFunc, row: tirx.Var, tile: Tile, reduces: int) -> tirx.PrimFunc:
    """Put tile registers in place of the accumulator's loops, the outermost of which is over ``row``.

    Before: ``for row: for column: for k…: for kk: sums[row, column] += data[row, k, kk] * weights[k, column, kk]``, with ``reduces``
    loops outside kk.  After: ``zero(); for k…: step(&data[strips…, k], &weights[k]); store(&sums)``, the registers being set up once,
    in each thread.
    """
    found: list[_Registers] = []

    def rewrite(loop: tirx.For) -> tirx.Stmt:
        if not loop.loop_var.same_as(row):
            return loop
        statement, registers = _registers(loop, tile, reduces)
        found.append(registers)
        return statement

    made = tvm_ffi.structural_map(function, (tirx.For, rewrite), order="pre")
    (registers,) = found
    start, end = _call(registers, "start"), _call(registers, "end")
    made = around_sums(made, lambda body: tirx.SeqStmt([start, body, end]))
    return compat.add_llvm_ir(made, registers.text()).with_attr(compat.SCRATCH, _SCRATCH)


def _registers(row: tirx.For, tile: Tile, reduces: int) -> tuple[tirx.Stmt, _Registers]:
    loops = [row]
    while isinstance(loops[-1].body, tirx.For):
        loops.append(loops[-1].body)
    realize = loops[-1].body
    column, over, inner = loops[1], loops[2 : 2 + reduces], loops[-1]
    assert isinstance(realize, s_tir.SBlockRealize) and len(loops) == reduces + 3, "an accumulator in one nest"
    block = realize.block
    bound = dict(zip((i.var for i in block.iter_vars), realize.iter_values, strict=True))
    sums = block.writes[0].source
    data, weights = [load for load in compat.loads(block.body.value) if not load.source.same_as(sums)]
    groups = int(over[-1].extent)
    step = depth_step(groups)
    index = str(row.loop_var.ty.dtype)
    strips = tile.rows // tile.strip
    last = tirx.Var("step", index)

    def placed(index: Any, places: dict[Any, Any]) -> Any:
        return compat.substitute(compat.substitute(index, bound), places)

    def at(load: Any, row_at: int) -> list[Any]:
        places = {row.loop_var: row_at, column.loop_var: 0, inner.loop_var: 0, over[-1].loop_var: last * step}
        places = {v: tirx.const(p, index) if isinstance(p, int) else p for v, p in places.items()}
        return [placed(i, places) for i in load.indices]

    def address(load: Any, row_at: int) -> Any:
        return tirx.address_of(tirx.BufferLoad(load.source, at(load, row_at)))

    registers = _Registers(_operand(str(weights.source.ty.dtype)), tile.strip, step, strips, tile.columns // VECTOR, tile.panels)
    stride = _distance(data.source, at(data, 0), at(data, 1 if tile.strip > 1 else 0))
    width = tirx.const(4 * tile.columns, "int64")  # bytes from one group of weights to the next, and from one row of sums to the next
    body: tirx.Stmt = _call(registers, "step", *(address(data, t * tile.strip) for t in range(strips)), stride, address(weights, 0), width)
    body = tirx.For(last, tirx.const(0, index), tirx.const(groups // step, index), tirx.ForKind.SERIAL, body)
    for loop in reversed(over[:-1]):
        body = tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, body)
    start = tirx.address_of(tirx.BufferLoad(sums, [placed(i, _zeros(row, column)) for i in block.body.indices]))
    body = tirx.SeqStmt([_call(registers, "zero"), body, _call(registers, "store", start, width)])
    reads = [compat.whole(r.source) for r in block.reads if not r.source.same_as(sums)]
    return s_tir.SBlockRealize([], True, s_tir.SBlock([], reads, [compat.whole(sums)], "tile_registers", body)), registers


def _operand(dtype: str) -> str:
    return "uint8" if dtype == "int8" else "bfloat16"


def _zeros(*loops: tirx.For) -> dict[Any, Any]:
    return {loop.loop_var: tirx.const(0, str(loop.loop_var.ty.dtype)) for loop in loops}


def _distance(buffer: Any, a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Bytes from one element to another."""
    offset: Any = tirx.const(0, "int64")
    stride: Any = tirx.const((compat.bits(buffer) + 7) // 8, "int64")
    for dim, i, j in reversed(list(zip(buffer.ty.shape, a, b, strict=True))):
        offset = offset + tirx.Cast("int64", j - i) * stride
        stride = stride * tirx.Cast("int64", dim)
    return sym.Analyzer().simplify(offset)


def _call(registers: _Registers, what: str, *arguments: Any) -> tirx.Stmt:
    return tirx.Evaluate(tirx.call_extern("int32", f"{registers.name}_{what}", *arguments))
