"""The kernel of Winograd's convolutions (targets/cpu/winograd.py): transform, multiply and transform back, block of tiles by block.

The loops are written here and not made by schedule primitives: a block is a run of the tiles of all images in a row, whatever rows
they lie in, so that the products have whole register tiles; a schedule's regions cannot say that. ::

    for block: (parallel)
        for tile in block: data[n², tile, channel] = Bᵀ d B            in vectors of channels
        for panel of columns:
            for point in n²: sums[point, tile, column] = data[point] × weights[panel, point]      in register tiles
            for tile in block: out = tail(Aᵀ sums A)                   in vectors of columns

``data`` of a block and ``sums`` of a panel stay in the second-level cache.  The elementwise operators that were fused after the
convolution are one expression of an element: it is put where the results are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from .... import compat
from ....kernels.choice import CANDIDATE, WORKLOAD
from ..machine import Machine
from ..state import flushing, with_flushing
from ..winograd import ATTRIBUTE, DTYPE, POINTS, Winograd, from_tile, tiles_of, to_tile
from . import blocks

SKEW = 16  # elements between what would else lie a power of 2 apart, in one set of the first-level cache


def schedule(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc | None:
    """A kernel with a convolution by Winograd → loops over blocks of tiles; None for any other kernel."""
    sch = s_tir.Schedule(function, enable_check=False, error_render_level="none")
    leaves = blocks.leaf_blocks(sch)
    noted = [sch.get(b) for b in leaves if ATTRIBUTE in sch.get(b).annotations]
    if not noted:
        return None
    data, sums, result = noted  # the blocks that read the input, that read the weights, and that make the results
    how, top, left = Winograd.read(sums.annotations[ATTRIBUTE])
    named = {key: str(sums.annotations[key]) for key in (WORKLOAD, CANDIDATE)}
    x = next(r.source for r in data.reads if len(r.source.ty.shape) == 4)
    packed = next(r.source for r in sums.reads if len(r.source.ty.shape) == 4)
    tile = result.writes[0].source
    if not any(x.same_as(p) for p in function.params):
        raise ValueError("the input is made by the kernel itself")
    for block in leaves[:-1]:
        if not sch.get(block).name_hint.startswith("winograd_"):
            sch.compute_inline(block)  # the results in their places, and elementwise operators
    out = sch.get(blocks.leaf_blocks(sch)[-1])
    if not isinstance(out.body, tirx.BufferStore) or len(out.iter_vars) != 4:
        raise ValueError("the results are not stored element by element")
    code = _Kernel(how, (top, left), x, packed, tile, out, machine)
    made = function.with_body(s_tir.SBlockRealize([], True, s_tir.SBlock([], [], [], "root", code.whole()))).with_attrs(named)
    return with_flushing(made) if machine.flushes else made


class _Writer:
    """Statements, one after the other; loops and conditions are ``with`` blocks.

    ``index``: the type of indices.  ``on_thread``: what becomes of the statements that one thread runs.
    """

    def __init__(self, index: str, on_thread: Callable[[tirx.Stmt], tirx.Stmt]) -> None:
        self.index, self.on_thread = index, on_thread
        self._open: list[list[tirx.Stmt]] = [[]]

    def add(self, statement: tirx.Stmt) -> None:
        self._open[-1].append(statement)

    def take(self) -> tirx.Stmt:
        """The statements since the innermost loop or condition was opened."""
        statements = self._open.pop()
        return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)

    def number(self, value: Any) -> Any:
        """An int as an index."""
        return tirx.const(value, self.index) if isinstance(value, int) else value

    @contextmanager
    def loop(self, name: str, extent: Any, kind: Any = tirx.ForKind.SERIAL) -> Iterator[Any]:
        """for name in range(extent); a loop of one iteration is none."""
        if isinstance(extent, int) and extent == 1 and kind == tirx.ForKind.SERIAL:
            yield self.number(0)
            return
        var = tirx.Var(name, self.index)
        self._open.append([])
        yield var
        body = self.on_thread(self.take()) if kind == tirx.ForKind.PARALLEL else self.take()
        self.add(tirx.For(var, self.number(0), self.number(extent), kind, body))

    def branches(self, condition: Any, yes: Callable[[], None], no: Callable[[], None]) -> None:
        """If condition: yes, else: no."""
        parts = []
        for part in (yes, no):
            self._open.append([])
            part()
            parts.append(self.take())
        self.add(tirx.IfThenElse(condition, *parts))

    def vectors(self, size: Any, lanes: int) -> Iterator[tuple[Any, int]]:
        """(place, lanes) of the vectors of a row of ``size``, a multiple of 4: a loop over the whole ones, then shorter ones."""
        if whole := size // lanes:
            with self.loop("vector", whole) as vector:
                yield vector * lanes, lanes
        place, rest = whole * lanes, size % lanes
        while rest:
            lanes //= 2
            if rest >= lanes:
                yield self.number(place), lanes
                place, rest = place + lanes, rest - lanes

    def bind(self, value: Any, name: str = "v") -> Any:
        """A variable of the value that an expression has now."""
        if isinstance(value, int) or isinstance(value, tirx.IntImm | tirx.Var):
            return value
        var = tirx.Var(name, value.ty)
        self.add(tirx.Bind(var, value))
        return var

    def hidden(self, value: Any, name: str) -> Any:
        """``bind`` through memory (LLVM takes it out again): TVM's arithmetic is slow over quotients of symbolic sizes."""
        held = tirx.decl_buffer([self.number(1)], self.index, name, scope="local")
        self.add(tirx.AllocBuffer(held))
        self.add(tirx.BufferStore(held, value, [self.number(0)]))
        return self.bind(tirx.BufferLoad(held, [self.number(0)]), name)

    def buffer(self, name: str, shape: Sequence[Any], scope: str = "global") -> Any:
        made = tirx.decl_buffer([self.number(d) for d in shape], DTYPE, name, scope=scope)
        self.add(tirx.AllocBuffer(made))
        return made

    def vector(self, buffer: Any, *at: Any, lanes: int) -> Any:
        """``lanes`` neighbours from a place on."""
        return tirx.BufferLoad(buffer, self._ramp(at, lanes))

    def put(self, buffer: Any, value: Any, *at: Any, lanes: int) -> None:
        self.add(tirx.BufferStore(buffer, value, self._ramp(at, lanes)))

    def _ramp(self, at: Sequence[Any], lanes: int) -> list[Any]:
        *lead, last = map(self.number, at)
        return [*lead, tirx.Ramp(last, self.number(1), lanes)]


class _Kernel:
    """One convolution: ``x`` and ``packed`` are its operands, ``out`` the block that stores its results by what it loads of ``tile``."""

    def __init__(self, how: Winograd, padding: tuple[int, int], x: Any, packed: Any, tile: Any, out: Any, machine: Machine) -> None:
        self.how, self.padding, self.x, self.packed, self.tile, self.out = how, padding, x, packed, tile, out
        # symbolic sizes are expressions, the numbers of channels are ints
        self.batch, self.height, self.width, *_ = map(compat.static, x.ty.shape)
        _, self.oh, self.ow, _ = map(compat.static, out.body.buffer.ty.shape)
        self.depth, self.channels = int(x.ty.shape[-1]), int(out.body.buffer.ty.shape[-1])
        self.panels = int(packed.ty.shape[0])
        # weights of denormal numbers would make it fifty times slower: see state.py
        self.w = _Writer(str(out.iter_vars[0].var.ty), flushing if machine.flushes else lambda body: body)
        self.machine = machine

    def whole(self) -> tirx.Stmt:
        w, how = self.w, self.how
        across = tiles_of(self.ow, how.m)
        image = tiles_of(self.oh, how.m) * across
        self.tiles, self.across, self.image = (
            size if isinstance(size, int) else w.hidden(size, "size") for size in (self.batch * image, across, image)
        )
        each, panels = tirx.ForKind.SERIAL, tirx.ForKind.SERIAL
        if how.way == "parallel":
            each = tirx.ForKind.PARALLEL
        elif how.way == "panels":
            panels = tirx.ForKind.PARALLEL
        with w.loop("block", tiles_of(self.tiles, how.block), each) as block:
            first = w.bind(block * how.block, "first")
            here = self._left(first)
            stacks = tiles_of(here, how.rows) if isinstance(here, int) else w.bind(tiles_of(here, how.rows), "stacks")
            points = how.n * how.n
            data = w.buffer("data", (points, how.block, self.depth + SKEW))
            with w.loop("tile", stacks * how.rows, panels) as k:
                self._forward(data, first + k, k)
            sums = w.buffer("sums", (points, how.block * how.columns + SKEW)) if how.way != "panels" else None
            with w.loop("panel", self.panels, panels) as panel:
                into = w.buffer("sums", (points, how.block * how.columns + SKEW)) if sums is None else sums
                with w.loop("point", points) as point, w.loop("stack", stacks) as stack:
                    self._products(data, into, panel, point, stack * how.rows)
                with w.loop("tile", here) as k:
                    self._back(into, panel, first + k, k)
        return w.on_thread(w.take()) if how.way == "serial" else w.take()

    def _left(self, first: Any) -> Any:
        """How many tiles the block has."""
        if isinstance(self.tiles, int) and self.tiles % self.how.block == 0:
            return self.how.block
        if isinstance(self.tiles, int) and self.tiles <= self.how.block:
            return self.tiles
        return self.w.bind(tirx.min(self.tiles - first, self.w.number(self.how.block)), "here")

    def _place(self, t: Any) -> tuple[Any, Any, Any]:
        """The image, row and column of a tile."""
        w = self.w
        # where sizes are known, arithmetic finds tests of padding that need not be made
        keep = w.bind if isinstance(self.image, int) else w.hidden
        if isinstance(self.batch, int) and self.batch == 1:
            image, rest = w.number(0), t
        else:
            image = keep(tirx.truncdiv(t, self.image), "image")
            rest = w.bind(t - image * self.image, "rest")
        row = keep(tirx.truncdiv(rest, self.across), "row")
        return image, row, keep(rest - row * self.across, "column")

    # ---- Bᵀ d B ------------------------------------------------------------------------------------------------------

    def _forward(self, data: Any, t: Any, k: Any) -> None:
        """A tile of ``x`` into ``data[:, k]``; tiles past the last, which only fill a register tile up, read the last again."""
        w, n = self.w, self.how.n
        image, row, column = self._place(w.bind(tirx.min(t, self.tiles - 1), "t"))
        y, x = (w.bind(i * self.how.m - before, name) for i, before, name in zip((row, column), self.padding, "yx", strict=True))

        def transform(load: Callable[[int, int, Any, int], Any]) -> None:
            for c, lanes in w.vectors(self.depth, self.machine.lanes(DTYPE)):
                half = [to_tile(POINTS[self.how.m], [w.bind(load(i, j, c, lanes)) for i in range(n)], w.bind) for j in range(n)]
                half = [[w.bind(v) for v in values] for values in half]
                for p in range(n):
                    for q, value in enumerate(to_tile(POINTS[self.how.m], [half[j][p] for j in range(n)], w.bind)):
                        w.put(data, value, p * n + q, k, c, lanes=lanes)

        def inside(i: int, j: int, c: Any, lanes: int) -> Any:
            return w.vector(self.x, image, y + i, x + j, c, lanes=lanes)

        def padded(i: int, j: int, c: Any, lanes: int) -> Any:
            here = tirx.all(y + i >= 0, y + i < self.height, x + j >= 0, x + j < self.width)
            zero = tirx.Broadcast(tirx.const(0, DTYPE), lanes)
            return tirx.if_then_else(here, inside(i, j, c, lanes), zero)

        fits = tirx.all(y >= 0, y + n <= self.height, x >= 0, x + n <= self.width)
        w.branches(fits, lambda: transform(inside), lambda: transform(padded))

    # ---- products ----------------------------------------------------------------------------------------------------

    def _products(self, data: Any, sums: Any, panel: Any, point: Any, first: Any) -> None:
        """A register tile: rows of ``data[point]`` from ``first`` on by a panel of weights."""
        w, how = self.w, self.how
        lanes, columns = how.lanes, how.columns
        acc = w.buffer("acc", (how.rows, columns), "local")
        unrolled = tirx.ForKind.UNROLLED
        with w.loop("row", how.rows, unrolled) as row, w.loop("vector", columns // lanes, unrolled) as v:
            w.put(acc, tirx.Broadcast(tirx.const(0, DTYPE), lanes), row, v * lanes, lanes=lanes)
        with w.loop("c", self.depth) as c, w.loop("row", how.rows, unrolled) as row, w.loop("vector", columns // lanes, unrolled) as v:
            left = tirx.Broadcast(tirx.BufferLoad(data, [point, first + row, c]), lanes)
            right = w.vector(self.packed, panel, point, c, v * lanes, lanes=lanes)
            w.put(acc, w.vector(acc, row, v * lanes, lanes=lanes) + left * right, row, v * lanes, lanes=lanes)
        with w.loop("row", how.rows, unrolled) as row, w.loop("vector", columns // lanes, unrolled) as v:
            w.put(sums, w.vector(acc, row, v * lanes, lanes=lanes), point, (first + row) * columns + v * lanes, lanes=lanes)

    # ---- Aᵀ M A, and what follows --------------------------------------------------------------------------------------

    def _back(self, sums: Any, panel: Any, t: Any, k: Any) -> None:
        """The results of a tile in the columns of a panel, through the fused tail."""
        w, m, n = self.w, self.how.m, self.how.n
        image, row, column = self._place(t)
        y, x = w.bind(row * m, "y"), w.bind(column * m, "x")
        rows, columns = (
            m if isinstance(size, int) and size % m == 0 else w.bind(tirx.min(size - at, w.number(m)), name)
            for size, at, name in ((self.oh, y, "rows"), (self.ow, x, "columns"))
        )
        tile = w.buffer("tile", (m, m, self.machine.lanes(DTYPE)), "local")

        def transform(width: int) -> None:
            for c, lanes in w.vectors(width, self.machine.lanes(DTYPE)):
                half = []
                for q in range(n):
                    loads = [w.bind(w.vector(sums, p * n + q, k * self.how.columns + c, lanes=lanes)) for p in range(n)]
                    half.append([w.bind(v) for v in from_tile(POINTS[m], loads, w.bind)])
                for u in range(m):
                    for v, value in enumerate(from_tile(POINTS[m], [half[q][u] for q in range(n)], w.bind)):
                        w.put(tile, value, u, v, 0, lanes=lanes)
                with w.loop("u", rows) as u, w.loop("v", columns) as v, w.loop("lane", lanes, tirx.ForKind.VECTORIZED) as lane:
                    at = [image, y + u, x + v, panel * self.how.columns + c + lane]
                    w.add(self._stored(at, tirx.BufferLoad(tile, [u, v, lane])))

        last = self.channels % self.how.columns
        if last == 0:
            transform(self.how.columns)
        elif self.panels == 1:
            transform(last)
        else:
            w.branches(panel < self.panels - 1, lambda: transform(self.how.columns), lambda: transform(last))

    def _stored(self, at: Sequence[Any], value: Any) -> tirx.Stmt:
        """What the last block does at a place where the convolution gives ``value``."""
        place = {i.var: index for i, index in zip(self.out.iter_vars, at, strict=True)}

        def load(node: ir.TensorLoad) -> Any:
            return value if node.source.same_as(self.tile) else node

        body = tvm_ffi.structural_map(self.out.body, (ir.TensorLoad, load))
        return compat.substitute(body, place)
