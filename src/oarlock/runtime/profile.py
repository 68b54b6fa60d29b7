"""Times of a session's kernels where they run: in the model, one after another, with the caches as the model leaves them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .session import Session


@dataclass(frozen=True)
class KernelTime:
    """One function of the program: how often a run calls it, and the seconds that all its calls in one run take.

    ``seconds`` adds up the least of each call over the runs (``each``); ``median`` is that of whole runs.  ``arguments``: for each call
    in a run what it was given, where that was asked for: the shape of a tensor, or a number.
    """

    name: str
    calls: int
    seconds: float
    median: float = 0.0
    arguments: tuple[tuple[Any, ...], ...] = ()
    each: tuple[float, ...] = ()


@dataclass(frozen=True)
class Span:
    """One call in one run: when it began, and how long it took, in seconds of the session's clock."""

    run: int
    name: str
    start: float
    seconds: float


def profile(
    session: Session,
    inputs: Mapping[str, Any],
    *,
    runs: int = 10,
    arguments_of: Collection[str] = (),
    spans: list[Span] | None = None,
) -> list[KernelTime]:
    """Run the model ``runs`` times and time each of its functions, the slowest first.

    A call's time is its least over the runs, so that what else the machine does counts little; about a microsecond of each is
    the measuring itself.  Functions of the VM (``vm.builtin.…``: memory, shapes) are among them.  A model that was compiled into
    one function shows as that: compile it with the option ``executor="vm"`` to see its kernels.
    ``arguments_of``: functions whose arguments are to be told, from one run more, which is not timed.
    ``spans``: gets every call of every run.
    """
    given: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    clock = session.clock
    run = 0
    started = 0.0
    times: dict[str, list[float]] = defaultdict(list)

    def hook(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
        nonlocal started
        session.synchronise()
        if before:
            started = clock()
        else:
            seconds = clock() - started
            times[name].append(seconds)
            if spans is not None:
                spans.append(Span(run, name, started, seconds))
        return 0

    def note(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
        if before and name in arguments_of:
            given[name].append(tuple(_shape(argument) for argument in arguments))
        return 0

    least: dict[str, list[float]] = {}
    sums: dict[str, list[float]] = defaultdict(list)
    try:
        if arguments_of:
            session.instrument(note)
            session.run(inputs)
        session.instrument(hook)
        for run in range(max(runs, 1)):  # noqa: B007 - the hook reads it
            times.clear()
            session.run(inputs)
            for name, calls in times.items():
                sums[name].append(sum(calls))
                known = least.get(name, calls)
                # a loop of the model may run another number of times: the shorter run is then taken as it is
                least[name] = [min(p) for p in zip(known, calls, strict=True)] if len(known) == len(calls) else min(known, calls, key=len)
    finally:
        session.instrument(None)
    found = [KernelTime(name, len(c), sum(c), statistics.median(sums[name]), tuple(given[name]), tuple(c)) for name, c in least.items()]
    return sorted(found, key=lambda kernel: -kernel.seconds)


def _shape(argument: Any) -> Any:
    """The shape of a tensor, a number as it is, None for anything else."""
    if isinstance(argument, int):
        return argument
    shape = getattr(argument, "shape", None)
    return None if shape is None else tuple(int(d) for d in shape)
