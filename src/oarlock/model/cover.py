"""Which operations of a program each call of a kernel stands for."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .program import STRUCTURAL, Op, Program, Value


def cover(program: Program, calls: Iterable[Collection[int]]) -> list[list[int]]:
    """For each call the operations that it computes, as numbers in the order of ``program.walk()``.

    ``calls``: for each the operations that it is known to be for.  It computes those, and all that they need and no other call is for.
    An operation that two calls need (a view, a constant) is in both.  Of several calls for one operation (steps of it, moves into another
    layout) the first has what it needs.
    """
    ops = list(program.walk())
    makers: dict[Value, int] = {v: number for number, op in enumerate(ops) for v in op.results}
    calls = list(calls)
    given: set[int] = {number for call in calls for number in call}
    out, before = [], set[int]()
    for call in calls:
        out.append(sorted({*call} | _needed(ops, makers, {*call} - before, given)))
        before.update(call)
    return out


def _needed(ops: list[Op], makers: dict[Value, int], roots: set[int], given: set[int]) -> set[int]:
    seen, todo = set(roots), list(roots)
    while todo:
        for value in ops[todo.pop()].operands.values():
            number = None if value is None else makers.get(value)
            if number is not None and number not in seen and number not in given:
                seen.add(number)
                todo.append(number)
    return {number for number in seen if ops[number].name not in STRUCTURAL}
