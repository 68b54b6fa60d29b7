"""Loops beside Paddle: each as a whole, and where one is wrong, its turns as models of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InternalError, OarlockError
from ..model.cut import loop_body
from ..model.program import Op, Program, TensorType, Value
from ..runtime.dtypes import numpy_dtype
from .compare import OutputCheck
from .excerpt import Excerpt, Excerpts
from .reference import PaddleReference
from .stages import Steps

TURNS = 3  # of a wrong loop that are looked into


@dataclass(frozen=True)
class Turn:
    """One turn of a loop, as a program, on what Paddle has there."""

    number: int
    program: Program
    inputs: Mapping[str, np.ndarray]


def loops(program: Program) -> list[tuple[int, ...]]:
    """The loops of the top block, by their numbers in ``program.walk()``, each behind what makes its condition."""
    top = {id(op) for op in program.block.ops}
    found: list[tuple[int, ...]] = []
    makers: dict[Value, int] = {}
    for number, op in enumerate(program.walk()):
        if id(op) in top:
            condition = next(iter(op.operands.values()), None)
            if op.name == "pd_op.while" and condition is not None:
                found.append((makers[condition], number) if condition in makers else (number,))
            makers |= dict.fromkeys(op.results, number)
    return found


def checked(reference: PaddleReference, numbers: Sequence[int], build: Callable[[Excerpt], Steps]) -> list[OutputCheck]:
    """A loop alone, on what Paddle gives it: its results beside Paddle's.  Nothing where it cannot be cut out, or not be compiled alone."""
    try:
        part = Excerpts(reference, numbers).of(numbers)
        if part is None:
            return []
        steps = build(part)
        return part.check(steps.run(steps.artifact, part.inputs))
    except (OarlockError, InternalError):
        return []


def turns(reference: PaddleReference, number: int) -> Iterator[Turn]:
    """The first turns of a loop that runs, each on what Paddle's turns before give."""
    op = list(reference.program.walk())[number]
    try:
        body = loop_body(reference.program, op)
        given = _first(reference, op, body)
        for turn in range(TURNS):
            if given is None:
                return
            yield Turn(turn, body, given)
            given = _next(reference, op, body, given)
    except OarlockError:
        return


def _first(reference: PaddleReference, op: Op, body: Program) -> dict[str, np.ndarray] | None:
    """What the first turn is given; None where there is none, or a part of it is not known."""
    condition, *carried = op.operands.values()
    sources = dict(zip(op.regions[0].args, carried, strict=True))
    held = {value: h for h, value in reference.values.items()}
    makers = {v: o for o in reference.program.block.ops for v in o.results}
    arrays = reference.fetch([held[v] for v in (sources.get(v, v) for v in body.inputs) if v in held])

    def array(value: Value | None) -> np.ndarray | None:
        if value is None:
            return None
        if value in held:
            return arrays.get(held[value])
        return reference.inputs.get(value.name) if value in reference.program.inputs else _constant(reference.program, makers.get(value))

    found = {value.name: array(sources.get(value, value)) for value in body.inputs}
    if condition is None or not _is_true(reference.alone(condition)) or any(a is None for a in found.values()):
        return None
    return {name: a for name, a in found.items() if a is not None}


def _constant(program: Program, op: Op | None) -> np.ndarray | None:
    """What a constant of the program holds; None for one of another kind."""
    if op is None or not isinstance(op.results[0].type, TensorType):
        return None
    dtype = numpy_dtype(op.results[0].type.dtype)
    if op.name == "builtin.parameter":
        return program.parameters[op.results[0].name].data
    if op.name == "pd_op.full":
        return np.full(op.attrs["shape"], op.attrs["value"], dtype)
    return np.array(op.attrs["value"], dtype) if op.name == "pd_op.full_int_array" else None


def _next(reference: PaddleReference, op: Op, body: Program, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    results = dict(zip(body.outputs, PaddleReference(body, given, reference.run).outputs(), strict=True))
    if not _is_true(results["again"]):
        return None
    carried = {value.name: results[f"carried_{i}"] for i, value in enumerate(op.regions[0].args)}
    return {**given, **{name: array for name, array in carried.items() if name in given}}


def _is_true(condition: np.ndarray | None) -> bool:
    return condition is not None and bool(np.asarray(condition).any())
