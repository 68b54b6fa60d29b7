"""Choices: what a target asks whenever it has several ways to make a kernel.

A workload is a kernel's job in plain words (``product float32 3136x64 o256``), a candidate one way to do it (``14x32/16 rows``).
Equal jobs have equal words, so that what was measured once helps every model; records (records.py) and the contest (contest.py)
know both by their words alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tvm import tirx

T = TypeVar("T")

# attributes of a scheduled kernel (a PrimFunc), by which the pipeline tells what it is
SCHEDULE, WORKLOAD, CANDIDATE = "oarlock.schedule", "oarlock.workload", "oarlock.candidate"

Chooser = Callable[[str, Sequence[str]], str | None]


@dataclass(frozen=True)
class Found:
    """A schedule that a search found for a workload: what it did (``trace``, as JSON), to the kernel as candidate ``base`` has it."""

    base: str
    trace: Any


@dataclass(frozen=True)
class Start:
    """What a search for a workload's schedule starts from: ``function``; ``made`` is what candidate ``base`` makes of it."""

    function: tirx.PrimFunc
    made: tirx.PrimFunc
    base: str


Searched = Callable[[str], Mapping[str, Found]]


class Choices:
    """Answers by ``chooser(workload, candidate names)``; where that gives None or no name on offer, the first candidate wins.

    ``searched(workload)``: what searches found, by name: candidates after those of the target.  ``starts``: None, or a dict that a
    target puts into what a search of each workload would start from.
    ``trial``: the kernels will be timed for the contest.
    ``asked`` and ``picked`` tell afterwards what was on offer and what was taken, by workload.
    """

    def __init__(self, chooser: Chooser | None = None, searched: Searched | None = None, *, trial: bool = False) -> None:
        self._chooser, self._searched, self.trial = chooser, searched, trial
        self.asked: dict[str, tuple[str, ...]] = {}
        self.picked: dict[str, str] = {}
        self.starts: dict[str, Start] | None = None

    @classmethod
    def of_plan(cls, plan: Mapping[str, str], searched: Mapping[str, Mapping[str, Found]] | None = None) -> Choices:
        """For a trial: ``plan`` names the candidate of each workload, ``searched`` has what searches found."""
        return cls(lambda workload, candidates: plan.get(workload), lambda workload: (searched or {}).get(workload, {}), trial=True)

    def pick(self, workload: str, candidates: Mapping[str, T]) -> T:
        """The candidate to use.  ``candidates`` (at least one) stand in the order that the target's own model prefers.

        Where the schedule of a search is picked (see ``found``), this gives the candidate that it starts from.
        """
        searched = {name: found for name, found in self._of(workload).items() if found.base in candidates}
        names = (*candidates, *searched)
        chosen = self._chooser(workload, names) if self._chooser else None
        if chosen is None or chosen not in names:
            chosen = names[0]
        self.asked[workload] = tuple(dict.fromkeys((*self.asked.get(workload, ()), *names)))
        self.picked[workload] = chosen
        return candidates[searched[chosen].base if chosen in searched else chosen]

    def found(self, workload: str) -> Found | None:
        """The schedule of a search that was picked for a workload."""
        return self._of(workload).get(self.picked.get(workload, ""))

    def _of(self, workload: str) -> Mapping[str, Found]:
        return self._searched(workload) if self._searched else {}
