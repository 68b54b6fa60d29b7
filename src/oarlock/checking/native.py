"""The program that a target makes by default (the CPU's native function) beside the same kernels called one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import InternalError, OarlockError
from ..model.cut import extract
from ..rules.weights import Weights
from ..runtime.artifact import Artifact
from ..runtime.host import Host
from ..runtime.session import Session
from ..targets import Target
from .compare import compare
from .excerpt import Excerpt
from .reference import PaddleReference
from .reproducer import write_reproducer
from .sites import Site
from .stages import LAST, LOWERING, Blame, Steps, compile_steps

SLACK = 4  # times the tolerance a result may be off that carries the errors of all before it
Fault = tuple[tuple[int, ...], Blame, str]


def whole_program(
    steps: Steps,
    usual: Target,
    session: Session,
    reference: PaddleReference,
    calls: Sequence[Site],
    tolerance: float,
    folder: Path | None,
) -> Fault | None:
    """None where ``usual``'s program gives what the kernels of ``session`` give one by one; else the operation at which the shortest model
    that ends with it goes wrong, the stage that makes the program, and a script that shows it, in ``folder``."""
    expected = session.run(reference.inputs)
    got = _run(steps, steps.compile(usual), reference.inputs)
    if got is not None and all(compare(name, a, e, tolerance).ok for a, (name, e) in zip(got, expected.items(), strict=True)):
        return None
    whole = Excerpt(reference.program, tuple(_given(calls)), reference.inputs, tuple(reference.outputs()))
    part = _shortest(usual, reference, calls, tolerance, steps.host) or whole
    blame = Blame(_stage(usual, steps.target), LAST, {})
    numbers = part.operations[-1:]
    if folder is None:
        return numbers, blame, ""
    about = f"the program of stage {blame.stage}"
    facts = {"stage": blame.stage, "operations": list(numbers)}
    return numbers, blame, str(write_reproducer(folder, part, about, usual.name, usual.options, tolerance, facts))


def _stage(usual: Target, plain: Target) -> str:
    """The first stage that only one of the two has."""
    known = {stage.name for stage in plain.program_stages(Weights())}
    return next((stage.name for stage in usual.program_stages(Weights()) if stage.name not in known), LOWERING)


def _given(calls: Sequence[Site]) -> list[int]:
    return list(dict.fromkeys(held[0] for site in calls for held in site.gives if held is not None))


def _shortest(usual: Target, reference: PaddleReference, calls: Sequence[Site], tolerance: float, host: Host | None) -> Excerpt | None:
    """By bisection: the model up to one operation that is wrong, where that up to the one before is right; None where none is wrong."""
    ends = [held for site in calls for held in site.gives if held is not None and reference.knows(held)]
    low, high = -1, len(ends)
    found = None
    while high - low > 1:
        middle = (low + high) // 2
        part = _until(reference, ends[middle])
        if part is not None and _is_wrong(part, usual, tolerance, host):
            high, found = middle, part
        else:
            low = middle
    return found


def _until(reference: PaddleReference, held: tuple[int, int]) -> Excerpt | None:
    arrays = reference.fetch([held])
    if held not in arrays:
        return None
    program = extract(reference.program, {f"r{held[0]}_{held[1]}": reference.values[held]})
    inputs = {value.name: reference.inputs[value.name] for value in program.inputs}
    return Excerpt(program, (held[0],), inputs, (arrays[held],))


def _is_wrong(part: Excerpt, usual: Target, tolerance: float, host: Host | None) -> bool:
    try:
        steps = compile_steps(part.program, usual, part.shapes, keep=(LAST,), host=host)
    except (OarlockError, InternalError):
        return False  # what cannot be compiled alone shows nothing
    got = _run(steps, steps.artifact, part.inputs)
    return got is None or not all(check.ok for check in part.check(got, SLACK * tolerance))


def _run(steps: Steps, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray] | None:
    """None where it fails as it runs."""
    try:
        return steps.run(artifact, inputs)
    except OarlockError:
        return None
