"""Times of a session's kernels where they run: in the model, one after another, with the caches as the model leaves them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .session import Session


@dataclass(frozen=True)
class KernelTime:
    """One function of the program: how often a run calls it, and the seconds that all its calls in one run take."""

    name: str
    calls: int
    seconds: float


def profile(session: Session, inputs: Mapping[str, Any], *, runs: int = 10) -> list[KernelTime]:
    """Run the model ``runs`` times and time each of its functions, the slowest first.

    A call's time is its least over the runs, so that what else the machine does counts little; about a microsecond of each is
    the measuring itself.  Functions of the VM (``vm.builtin.…``: memory, shapes) are among them.  A model that was compiled into
    one function shows as that: compile it with the option ``executor="vm"`` to see its kernels.
    """
    clock = time.perf_counter
    started = 0.0
    times: dict[str, list[float]] = defaultdict(list)

    def hook(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
        nonlocal started
        if before:
            started = clock()
        else:
            times[name].append(clock() - started)
        return 0

    least: dict[str, list[float]] = {}
    session.instrument(hook)
    try:
        for _ in range(max(runs, 1)):
            times.clear()
            session.run(inputs)
            for name, calls in times.items():
                known = least.get(name, calls)
                # a loop of the model may run another number of times: the shorter run is then taken as it is
                least[name] = [min(p) for p in zip(known, calls, strict=True)] if len(known) == len(calls) else min(known, calls, key=len)
    finally:
        session.instrument(None)
    found = [KernelTime(name, len(calls), sum(calls)) for name, calls in least.items()]
    return sorted(found, key=lambda kernel: -kernel.seconds)
