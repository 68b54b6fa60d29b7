"""diff(): two builds of a model, or two artifacts, beside each other: kernels, time, memory, size, and numbers.

Kernels are matched by the operations of the model that they compute, whatever fused or split them: a row is the fewest calls of both
sides that compute the same operations.  Both run on the same inputs; their outputs are compared, and in each row the results that both
have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..checking.chunks import chunks
from ..checking.compare import TOLERANCE, OutputCheck, compare, more_than_numbers
from ..checking.sites import beside
from ..errors import InputError
from ..inputs import random_inputs
from ..model.program import Program
from ..profiling.layers import SIZES
from ..profiling.profiler import profile_with_peaks
from ..profiling.roofline import Report
from ..runtime.artifact import Artifact
from ..runtime.session import Session
from .results import Key, Results

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Build:
    """One side: a model (or an Artifact, as it is) with the target, threads and options that it is compiled with, for profiling."""

    model: Program | Artifact | str | Path
    target: str = "cpu"
    threads: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """What one side is and takes.  ``library``, ``weights``: bytes.  ``kernels_s``: None where kernels cannot be timed one by one."""

    name: str
    target: str
    options: dict[str, Any]
    total_s: float
    total_median_s: float
    library: int
    weights: int
    kernels_s: float | None = None
    calls: int = 0
    peak: int | None = None
    planned: int | None = None
    live: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Part:
    """The calls of one side in a row: their numbers, kernels, seconds, and bytes of weights that they read and of what they make."""

    calls: tuple[int, ...]
    kernels: tuple[str, ...]
    seconds: float
    weights: int
    activations: int


@dataclass(frozen=True)
class Row:
    """Calls of both sides that compute the same; one side has none where it does without.

    ``difference``: the largest of the results that both have, by the first's scale; None where there is none.  ``compared``: how many.
    ``why``: how results differ in more than numbers.
    """

    title: str
    handle: str
    a: Part | None
    b: Part | None
    difference: float | None = None
    compared: int = 0
    why: str = ""

    @property
    def change_s(self) -> float:
        return (self.b.seconds if self.b else 0.0) - (self.a.seconds if self.a else 0.0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"change_s": self.change_s}


@dataclass(frozen=True)
class Diff:
    """``outputs``: the second's beside the first's.  ``rows``: in the order of the program."""

    a: Side
    b: Side
    inputs: dict[str, list[int]]
    tolerance: float
    outputs: tuple[OutputCheck, ...]
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether all outputs are within the tolerance."""
        return all(o.ok for o in self.outputs)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok, "rows": [row.to_json() for row in self.rows]}


def diff(
    a: Build | Artifact | str | Path,
    b: Build | Artifact | str | Path,
    inputs: Mapping[str, np.ndarray] | Callable[[Session], Mapping[str, np.ndarray]] | None = None,
    *,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    tolerance: float | None = None,
    runs: int = 10,
    progress: Progress | None = None,
) -> Diff:
    """Compare two builds.

    inputs     arrays by name, or a function that gives them for the first side's session; default: seeded random ones
    shapes     as in compile, for both
    tolerance  of an output's scale; default: what ``check`` has for the less exact of the two precisions
    progress   called with (what, done, total)

    Raises what compile raises, and InputError for sides whose inputs or outputs are not of the same names.
    """
    report: Progress = progress or (lambda what, done, total: None)
    builds = [x if isinstance(x, Build) else Build(x) for x in (a, b)]
    sessions = []
    for number, build in enumerate(builds):
        report("compiling", number, 2)
        sessions.append(_session(build, shapes))
    _must_match(*sessions)
    arrays = inputs(sessions[0]) if callable(inputs) else inputs
    given = random_inputs(sessions[0].inputs, shapes) if arrays is None else dict(arrays)
    outputs = [session.run(given) for session in sessions]
    if tolerance is None:
        tolerance = max(TOLERANCE.get(str(s.artifact.manifest["options"].get("precision", "float32")), 1e-4) for s in sessions)
    checks = tuple(compare(name, outputs[1][name], outputs[0][name], tolerance) for name in outputs[0])
    sides, programs = [], []
    for number, (build, session) in enumerate(zip(builds, sessions, strict=True)):
        report("timing", number, 2)
        side, program = _side(build, session, given, runs)
        sides.append(side)
        programs.append(program)
    rows = match(programs[0], programs[1], [s.artifact.manifest for s in sessions])
    report("comparing kernels", 0, 1)
    rows = _compared(rows, sessions, given, tolerance)
    dims = {name: list(np.shape(array)) for name, array in given.items()}
    return Diff(sides[0], sides[1], dims, tolerance, checks, tuple(rows))


def _session(build: Build, shapes: Any) -> Session:
    if isinstance(build.model, Artifact):
        if build.options:
            what = "an artifact is compiled already, so it takes no options"
            raise InputError(what, where=build.model.path, todo="give the model itself")
        return Session(build.model, threads=build.threads)
    from ..compiler import compile as compile_model
    from ..compiler import profiling_target

    return Session(compile_model(build.model, profiling_target(build.target, build.threads, build.options), shapes))


def _must_match(a: Session, b: Session) -> None:
    for what, of_a, of_b in (("inputs", a.inputs, b.inputs), ("outputs", a.outputs, b.outputs)):
        names = [[spec.name for spec in specs] for specs in (of_a, of_b)]
        if sorted(names[0]) != sorted(names[1]):
            raise InputError(
                f"the {what} differ: {', '.join(names[0])}; and {', '.join(names[1])}", todo="give two builds of one model, or of two alike"
            )


def _side(build: Build, session: Session, given: Mapping[str, np.ndarray], runs: int) -> tuple[Side, dict[str, Any]]:
    artifact = session.artifact
    name = artifact.path or (str(build.model) if isinstance(build.model, str | Path) else "")
    sizes = {"library": len(artifact.library), "weights": sum(w.nbytes for w in artifact.weights)}
    facts: dict[str, Any] = {"name": name, "target": artifact.target, "options": dict(artifact.manifest.get("options", {})), **sizes}
    try:
        found: Report = profile_with_peaks(session, given, runs=runs, model=name)
    except InputError as error:
        whole = _whole(session, given, runs)
        return Side(**facts, total_s=min(whole), total_median_s=float(np.median(whole)), reason=error.what), {"calls": [], "tensors": []}
    program = found.program
    more: dict[str, Any] = {"kernels_s": found.kernels_s, "calls": len(program["calls"]), "live": tuple(program["live"])}
    more |= {"peak": program["peak"]["bytes"], "planned": program["planned"]}
    return Side(**facts, total_s=found.total_s, total_median_s=found.total_median_s, **more), program


def _whole(session: Session, given: Mapping[str, np.ndarray], runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start = session.clock()
        session.run(given)
        times.append(session.clock() - start)
    return times


# ---- which kernels compute the same -----------------------------------------------------------------------------------


def match(a: Mapping[str, Any], b: Mapping[str, Any], manifests: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows of two programs (profiling/layers.py), in the order of the first; what the second has alone stands after what it follows."""
    named = _naming(manifests)
    owners: list[dict[Any, list[int]]] = []
    for program, manifest, names in zip((a, b), manifests, named, strict=True):
        owners.append(_owners(program, manifest, names))
    groups = _Groups()
    for side, owned in enumerate(owners):
        for operation, calls in owned.items():
            for call in calls:
                groups.join((side, call), ("operation", operation))
    for side, program in enumerate((a, b)):
        for call, other in _helpers(program):
            groups.join((side, call), (side, other))
    rows: dict[Any, tuple[list[int], list[int]]] = {}
    for side, program in enumerate((a, b)):
        for call in range(len(program["calls"])):
            rows.setdefault(groups.root((side, call)), ([], []))[side].append(call)
    order, last = [], 0
    for of_a, of_b in sorted(rows.values(), key=lambda r: (min(r[1], default=1 << 60), min(r[0], default=1 << 60))):
        last = min(of_a) if of_a else last
        order.append(((min(of_a) if of_a else last, 0 if of_a else 1, min(of_b, default=0)), of_a, of_b))
    return [_row(a, b, of_a, of_b) for _, of_a, of_b in sorted(order, key=lambda entry: entry[0])]


def _naming(manifests: Sequence[Mapping[str, Any]]) -> list[Callable[[int], Any]]:
    """How the operations of both are told: by their numbers where these mean the same, else by operator and handle."""
    of_a, of_b = (manifest.get("operations", {}) for manifest in manifests)
    same = all(of_b[number] == what for number, what in of_a.items() if number in of_b)

    def named(operations: Mapping[str, Any]) -> Callable[[int], Any]:
        def name(number: int) -> Any:
            operator, handle = operations.get(str(number), ("", ""))
            return (operator, handle) if handle and not same else number

        return name

    return [named(of_a), named(of_b)]


def _owners(program: Mapping[str, Any], manifest: Mapping[str, Any], name: Callable[[int], Any]) -> dict[Any, list[int]]:
    """Operation → the calls that compute it.  Not what several calls compute on their way (a view, a constant)."""
    owners: dict[int, list[int]] = {}
    ends: set[int] = set()
    for number, call in enumerate(program["calls"]):
        if call["place"] < 0:
            continue
        numbers = manifest["calls"][call["function"]][call["place"]][1]
        ends.update(numbers[-1:])
        for operation in numbers:
            if manifest["operations"][str(operation)][0] not in SIZES or operation == numbers[-1]:
                owners.setdefault(operation, []).append(number)
    return {name(operation): calls for operation, calls in owners.items() if len(calls) == 1 or operation in ends}


class _Groups:
    """What belongs together: sets that are joined."""

    def __init__(self) -> None:
        self.parent: dict[Any, Any] = {}

    def root(self, item: Any) -> Any:
        self.parent.setdefault(item, item)
        while self.parent[item] != item:
            self.parent[item] = item = self.parent[self.parent[item]]
        return item

    def join(self, one: Any, other: Any) -> None:
        self.parent[self.root(one)] = self.root(other)


def _helpers(program: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Calls that stand for no operation (a move into another layout), each with the call that it is made for: its first reader."""
    for number, call in enumerate(program["calls"]):
        if not call["operations"]:
            readers = (n for n in range(number + 1, len(program["calls"])) if set(call["gives"]) & set(program["calls"][n]["reads"]))
            reader = next(readers, None)
            if reader is not None:
                yield number, reader


def _row(a: Mapping[str, Any], b: Mapping[str, Any], of_a: list[int], of_b: list[int]) -> Row:
    shown = [a["calls"][n] for n in of_a] or [b["calls"][n] for n in of_b]
    titles = dict.fromkeys(call["title"] for call in shown if call["operations"]) or dict.fromkeys(call["title"] for call in shown)
    handles = [call["operations"][-1][1] for call in shown if call["operations"]]
    return Row(" / ".join(titles), handles[-1] if handles else "", _part(a, of_a), _part(b, of_b))


def _part(program: Mapping[str, Any], numbers: list[int]) -> Part | None:
    calls = [program["calls"][n] for n in numbers]
    sums = {key: sum(call[key] for call in calls) for key in ("seconds", "weights", "activations")}
    return Part(tuple(numbers), tuple(call["kernel"] for call in calls), **sums) if calls else None


# ---- numbers ----------------------------------------------------------------------------------------------------------


def _compared(rows: list[Row], sessions: list[Session], given: Mapping[str, np.ndarray], tolerance: float) -> list[Row]:
    """The rows with the differences of the results that both sides have."""
    names = _naming([session.artifact.manifest for session in sessions])
    results = [Results(session, given, name) for session, name in zip(sessions, names, strict=True)]
    found: dict[int, list[OutputCheck]] = {}
    rows_of = {call: number for number, row in enumerate(rows) for call in (row.a.calls if row.a else ())}
    both = [key for key in results[0].sizes if key in results[1].sizes]
    for chunk in chunks(both, results[0].sizes.__getitem__):
        arrays = results[0].fetch(set(chunk))

        def look(key: Key, mine: np.ndarray, arrays: dict[Key, np.ndarray] = arrays) -> None:
            number = rows_of.get(results[0].calls[key])
            if number is not None:
                found.setdefault(number, []).append(beside(mine, arrays[key], tolerance))

        results[1].visit(set(chunk), look)
    return [_with_checks(row, found.get(number, [])) for number, row in enumerate(rows)]


def _with_checks(row: Row, checks: list[OutputCheck]) -> Row:
    if not checks:
        return row
    return Row(row.title, row.handle, row.a, row.b, max(c.max_rel for c in checks), len(checks), more_than_numbers(checks))
