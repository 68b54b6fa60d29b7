"""What a tuning tells: at its end (Summary), and while it goes on (Watch)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..runtime.artifact import Artifact
from .search import Searched

if TYPE_CHECKING:
    from .place import Place
    from .records import Records

LINES, POINTS = 200, 400  # what the chart of a tuning gets of its log and of its history


@dataclass(frozen=True)
class Row:
    """What was found for one workload: seconds of all its kernels in a run, with the first candidate and with the best."""

    workload: str
    calls: int
    default: str
    winner: str
    default_s: float
    winner_s: float
    tried: int

    @property
    def gain(self) -> float:
        """The part of the default's time that is saved."""
        return 1.0 - self.winner_s / self.default_s if self.default_s else 0.0


@dataclass
class Summary:
    """What a tuning found.  ``default_s`` and ``tuned_s``: the least time of a whole run, before and after."""

    target: str
    records: str
    rows: list[Row] = field(default_factory=list)
    failed: list[tuple[str, str, str]] = field(default_factory=list)  # workload, candidate, reason
    trials: int = 0
    left: int = 0  # candidates that there was no time for
    searched: list[Searched] = field(default_factory=list)
    default_s: float = 0.0
    tuned_s: float = 0.0
    modelled: bool = False  # times are those of a device's model
    kept: bool = False  # the winners together were no faster than the choices before: those stay
    artifact: Artifact | None = None

    def to_json(self) -> dict[str, Any]:
        facts = {k: v for k, v in vars(self).items() if k not in ("artifact", "rows", "searched")}
        rows = [asdict(row) | {"gain": row.gain} for row in self.rows]
        return facts | {"rows": rows, "searched": [searched.to_json() for searched in self.searched]}


class Watch:
    """Keeps what a chart shows (web/src/tuning.ts: State), and shows it whenever something happened."""

    def __init__(self, place: Place, key: str, minutes: float) -> None:
        self._place, self._key, self._minutes = place, key, minutes
        self._begin = time.monotonic() - place.waited_s
        self._best: dict[str, str] = {}
        self._rows: list[dict[str, Any]] = []
        self._history: list[float] = []
        self._log: list[str] = []
        self._facts: dict[str, Any] = {"doing": "", "done": 0, "total": 0, "trials": 0, "failed": 0}

    def doing(self, what: str, done: int, total: int) -> None:
        self._facts |= {"doing": what, "done": done, "total": total}
        self._show()

    def measured(self, records: Records, base: Mapping[str, float], calls: Mapping[str, int], asked: Mapping[str, tuple[str, ...]]) -> None:
        """After a trial: ``base`` has the workloads in the contest."""
        self._rows = []
        for workload in base:
            entries, names = records.entries(self._key, workload), asked[workload]
            before = entries[names[0]]["seconds"]
            winner = records.best(self._key, workload, names, kept=False) or names[0]
            best = entries[winner]["seconds"]
            if winner != self._best.setdefault(workload, names[0]):
                self._best[workload] = winner
                self._log.append(f"{workload}: {winner} is the best so far, {before * 1e6:.1f} → {best * 1e6:.1f} µs")
            tried = sum(name in names and ("seconds" in entry or "failed" in entry) for name, entry in entries.items())
            row = {"workload": workload, "calls": calls.get(workload, 1), "candidate": winner, "tried": tried, "offered": len(names)}
            self._rows.append(row | {"before": 1e3 * before * row["calls"], "best": 1e3 * best * row["calls"]})
        self._history.append(sum(row["best"] for row in self._rows))
        self._show()

    def counted(self, trials: int, failed: list[tuple[str, str, str]]) -> None:
        for workload, candidate, reason in failed[int(self._facts["failed"]) :]:
            self._log.append(f"{workload}: {candidate} failed: {reason}")
        self._facts |= {"trials": trials, "failed": len(failed)}

    def say(self, text: str) -> None:
        self._log.append(text)
        self._show()

    def end(self, text: str) -> None:
        self._facts["end"] = text
        self.say(text)

    def _show(self) -> None:
        spent = (time.monotonic() - self._begin - self._place.waited_s) / 60
        times = {"minutes": self._minutes, "spent": spent}
        step = max(1, -(-len(self._history) // POINTS))
        history = self._history[:1] + self._history[1::step] + self._history[-1:]
        self._place.show({"title": self._key, **self._facts, **times, "rows": self._rows, "log": self._log[-LINES:], "history": history})
