"""Choices: what a target asks whenever it has several ways to make a kernel.

A workload is a kernel's job in plain words (``product float32 3136x64 o256``), a candidate one way to do it (``14x32/16 rows``).
Equal jobs have equal words, so that what was measured once helps every model; records (records.py) and the contest (contest.py)
know both by their words alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

# attributes of a scheduled kernel (a PrimFunc), by which the pipeline tells what it is
SCHEDULE, WORKLOAD, CANDIDATE = "oarlock.schedule", "oarlock.workload", "oarlock.candidate"

Chooser = Callable[[str, Sequence[str]], str | None]


class Choices:
    """Answers by ``chooser(workload, candidate names)``; where that gives None or no name on offer, the first candidate wins.

    ``asked`` and ``picked`` tell afterwards what was on offer and what was taken, by workload.
    """

    def __init__(self, chooser: Chooser | None = None) -> None:
        self._chooser = chooser
        self.asked: dict[str, tuple[str, ...]] = {}
        self.picked: dict[str, str] = {}

    @classmethod
    def of_plan(cls, plan: Mapping[str, str]) -> Choices:
        """For a trial: ``plan`` names the candidate of each workload."""
        return cls(lambda workload, candidates: plan.get(workload))

    def pick(self, workload: str, candidates: Mapping[str, T]) -> T:
        """The candidate to use.  ``candidates`` (at least one) stand in the order that the target's own model prefers."""
        names = tuple(candidates)
        chosen = self._chooser(workload, names) if self._chooser else None
        if chosen is None or chosen not in candidates:
            chosen = names[0]
        self.asked[workload] = tuple(dict.fromkeys((*self.asked.get(workload, ()), *names)))
        self.picked[workload] = chosen
        return candidates[chosen]
