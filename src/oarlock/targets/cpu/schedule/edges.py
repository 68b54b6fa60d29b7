"""Results of tiles that may reach past the end: whole tiles are stored without a test, others row by row and vector by vector.

Before: ``for row: for column: if row and column lie inside: out[row, column] = …``.  After, where the columns may end within a tile::

    if the tile lies inside: for row: for vector: out[row, vector] = …
    else: for row: if it lies inside: for vector: if it lies inside: out[row, vector] = …
                                                  else: for lane: if it lies inside: out[row, lane] = …

where the lanes are narrower vectors, if the number of columns is a multiple of such.

A test for each row costs more than its own time: LLVM moves a row's sum behind its test, and then the rows share nothing that they
read, and no sum hides another's latency.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import ir, s_tir, tirx

from .... import compat
from ..tiles import Tile, tail_lanes
from . import blocks


def store(function: tirx.PrimFunc, row: tirx.Var, tile: Tile, columns: int | None) -> tirx.PrimFunc:
    """Rewrite the loops over the results of a tile, the outer of which is over ``row``.

    ``columns``: how many there are (0: not known) where the inner loop is not in vectors yet; None where it is.
    """

    def rewrite(loop: tirx.For) -> tirx.Stmt:
        return _stored(loop, tile, columns) if loop.loop_var.same_as(row) else loop

    return tvm_ffi.structural_map(function, (tirx.For, rewrite), order="pre")


def _stored(row: tirx.For, tile: Tile, columns: int | None) -> tirx.Stmt:
    loops = [row]
    while isinstance(loops[-1].body, tirx.For):
        loops.append(loops[-1].body)
    result = loops[-1].body
    if not isinstance(result, s_tir.SBlockRealize) or isinstance(result.predicate, tirx.IntImm):
        return row
    tests = conjuncts(result.predicate)
    if columns is None:
        return tirx.IfThenElse(_last(tests, loops), _nest(loops, _always(result)), fresh(row))
    column, index = loops[1], str(loops[1].loop_var.ty.dtype)
    vector, lane = tirx.Var("vector", index), tirx.Var("lane", index)
    zero, lanes = tirx.const(0, index), tirx.const(tile.lanes, index)
    vectors = tirx.For(vector, zero, tirx.const(tile.columns // tile.lanes, index), tirx.ForKind.UNROLLED, row)
    together = tirx.For(lane, zero, lanes, tirx.ForKind.VECTORIZED, row)
    place = {column.loop_var: vector * lanes + lane}
    whole = compat.substitute(_always(result), place)
    down = [t for t in tests if not blocks.uses(t, column.loop_var)]
    across = [compat.substitute(t, place) for t in tests if blocks.uses(t, column.loop_var)]
    line = _nest([together], whole)
    if across:
        line = tirx.IfThenElse(_last(across, [together]), line, fresh(_end(whole, across, together, tail_lanes(columns, tile.lanes))))
    line = _nest([vectors], line)
    inside, ends = _nest([row, vectors, together], whole), _nest([row], line)
    if down:
        some = _nest([_serial(row)], tirx.IfThenElse(all_of(down), line, None))
        ends = tirx.IfThenElse(_last(down, [row]), ends, fresh(some)) if across else some
    return tirx.IfThenElse(_last(tests, [row, column]), inside, fresh(ends))


def _end(whole: s_tir.SBlockRealize, tests: list[Any], lanes: tirx.For, narrow: int) -> tirx.Stmt:
    """A vector of results that the tests let in a part of: in vectors of ``narrow`` lanes, each of which is in or out."""
    if narrow == 1:
        return _nest([_serial(lanes)], s_tir.SBlockRealize(whole.iter_values, all_of(tests), whole.block))
    index = str(lanes.loop_var.ty.dtype)
    part, lane, count = tirx.Var("part", index), tirx.Var("lane", index), tirx.const(narrow, index)
    parts = tirx.For(part, lanes.min, tirx.const(int(lanes.extent) // narrow, index), tirx.ForKind.UNROLLED, lanes)
    few = tirx.For(lane, lanes.min, count, tirx.ForKind.VECTORIZED, lanes)
    place = {lanes.loop_var: part * count + lane}
    tests = [compat.substitute(t, place) for t in tests]
    return _nest([parts], tirx.IfThenElse(_last(tests, [few]), _nest([few], compat.substitute(whole, place)), None))


def conjuncts(test: Any) -> list[Any]:
    """What all must hold for ``test`` to hold."""
    return [*conjuncts(test.a), *conjuncts(test.b)] if isinstance(test, tirx.And) else [test]


def all_of(tests: list[Any]) -> Any:
    """Whether all tests (at least one) hold."""
    first, *others = tests
    for test in others:
        first = tirx.And(first, test)
    return first


def _last(tests: list[Any], loops: list[tirx.For]) -> Any:
    """The tests in the last iteration: they say that an index is below an end, so they then hold in all."""
    return all_of([compat.substitute(t, {loop.loop_var: loop.extent - 1 for loop in loops}) for t in tests])


def _always(result: s_tir.SBlockRealize) -> s_tir.SBlockRealize:
    return s_tir.SBlockRealize(result.iter_values, True, result.block)


def _nest(loops: list[tirx.For], body: tirx.Stmt) -> tirx.Stmt:
    for loop in reversed(loops):
        body = tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, annotations=loop.annotations)
    return body


def _serial(loop: tirx.For) -> tirx.For:
    return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, loop.body)


def fresh(statement: tirx.Stmt) -> tirx.Stmt:
    """A copy whose variables are its own."""
    bound: list[ir.Var] = []
    found = [
        (tirx.For, lambda loop: bound.append(loop.loop_var)),
        (s_tir.SBlock, lambda block: bound.extend(i.var for i in block.iter_vars)),
        (tirx.Let, lambda let: bound.append(let.var)),
    ]
    tvm_ffi.structural_walk(statement, found)
    return compat.substitute(statement, {var: tirx.Var(var.name, str(var.ty.dtype)) for var in bound})
