"""Searches: MetaSchedule looks for schedules of the kernels that lose the most time, and what it finds becomes a candidate.

A kernel loses what it takes in its place over its roofline.  Its search runs in a process of its own (searcher.py), which times schedules
alone; a trial that crashes or hangs costs one trial and a new process.  The best of a search is recorded with its trace, so that a
compilation replays it without searching, and a search that was stopped goes on.  Whether it is better where it runs, the contest says.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import pickle
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InternalError, OarlockError
from ..profiling import machine
from ..profiling.machine import Peaks
from ..profiling.roofline import lost_seconds
from .trials import Lines, Processes, TrialError

if TYPE_CHECKING:
    from .place import Bench

TRIALS = 64  # of a kernel, unless said otherwise
LEAST_LOSS = 0.01  # part of the time of all kernels that one must lose to be searched for
MEASURE_S = 120.0  # time that must be left for the machine to be measured first, where it was not
START_S = 180.0  # in which a search must propose its first schedules, and the next ones
EXHAUSTED = "there are no more schedules"
TRIAL_S = 10.0  # after which the building or running of a schedule is given up: one that takes so long to compile is no good one
FINALISTS = 4
CRASHES = 6  # trials in a row that crash or hang: what is tried is hopeless

Report = Callable[[str, int, int], None]


@dataclass
class Searched:
    """What one search did.  ``base_s``, ``best_s``: seconds of a call alone, of the kernel as it was and with the best schedule.

    ``best``: the trace of that schedule; None where no schedule could be built and run.  ``trials``: those of earlier searches, too.
    """

    workload: str
    base: str
    trials: int = 0
    failed: int = 0
    base_s: float | None = None
    best_s: float | None = None
    best: Any = None
    stopped: str = ""  # why it ended early
    done: int = 0  # trials that need no repetition: those that were asked for, where there are no more schedules

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "best"}


@dataclass(frozen=True)
class Task:
    """A kernel to search for: ``start`` and ``made`` are kernels as text (choice.Start); ``known``: traces with their seconds."""

    workload: str
    base: str
    start: str
    made: str
    trials: int
    done: int = 0
    known: Sequence[tuple[Any, float | None]] = ()


Store = Callable[[Searched], None]


@dataclass
class Searches:
    """Runs searches one after the other, each kernel's in a process that is started anew when it dies.

    ``bench``: times what that process proposes, instead of the process itself.  ``journal``: a folder for what each trial took, so that a
    search that was killed goes on after its last trial; ``key``: of the records.
    """

    processes: Processes
    job: Mapping[str, Any]
    folder: Path
    report: Report
    trial_limit_s: float = TRIAL_S
    bench: Bench | None = None
    journal: Path | None = None
    key: str = ""
    now: Callable[[], float] = time.monotonic  # a clock that may stand still while nobody is there to run a trial
    numbers: Any = field(default_factory=itertools.count)
    _finalists: list[tuple[float, Any, str]] = field(default_factory=list)

    def run(self, task: Task, end: float, store: Callable[[Searched], None]) -> Searched:
        """Search until the task's trials are done or it is ``end`` by ``now``; ``store`` is called whenever there is a better schedule."""
        found = Searched(task.workload, task.base, trials=task.done)
        journal = _Journal(self.journal, self.key, task)
        known = [*task.known, *journal.trials]
        found.trials = max(found.trials, journal.before + len(journal.trials))
        found.failed = sum(seconds is None for _, seconds in journal.trials)
        if timed := [(seconds, trace) for trace, seconds in known if seconds]:
            found.best_s, found.best = min(timed, key=lambda pair: pair[0])
        crashes = 0
        self._finalists = []
        try:
            while found.trials < task.trials and not found.stopped:
                before = found.trials
                reason, trace = self._process(task, found, known, end, store, journal)
                if trace is None:
                    found.stopped = reason if found.trials < task.trials else ""
                    found.done = task.trials if reason == EXHAUSTED else 0
                    break
                # the trial that was under way is to blame
                journal.add(trace, None)
                known.append((trace, None))
                found.trials += 1
                found.failed += 1
                crashes = crashes + 1 if found.trials == before + 1 else 1
                if crashes >= CRASHES:
                    found.stopped = f"{crashes} trials in a row: {reason}"
            self._again(found)
        except TrialError as error:
            found.stopped = str(error)
        finally:
            store(found)
        if found.trials >= task.trials or found.stopped == EXHAUSTED:
            journal.end()
        return found

    def _process(
        self, task: Task, found: Searched, known: list[tuple[Any, float | None]], end: float, store: Store, journal: _Journal
    ) -> tuple[str, Any]:
        """One process, until it has nothing more to say → (why it ended, the trace of the trial that ended it)."""
        number = next(self.numbers)
        request, errors = self.folder / f"search{number}", self.folder / f"search{number}.stderr"
        job = {
            **self.job,
            "start": task.start,
            "made": task.made,
            "base_s": found.base_s,
            "trials": task.trials - found.trials,
            "seed": found.trials + 1,
            "known": known,
            "proposes": self.bench is not None,
        }
        if self.bench is not None and found.base_s is None:
            found.base_s = job["base_s"] = self.bench.base(task.made)
        request.write_bytes(pickle.dumps(job))
        process = self.processes.start(["search", str(request)], errors, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert process.stdout is not None and process.stdin is not None
        lines, trying = Lines(process.stdout), None

        def took(trace: Any, seconds: float | None) -> None:
            journal.add(trace, seconds)
            known.append((trace, seconds))
            found.trials += 1
            if seconds is None:
                found.failed += 1
            elif found.best_s is None or seconds < found.best_s:
                found.best_s, found.best = seconds, trace
                store(found)

        try:
            while self.now() < end:
                limit = self.trial_limit_s if trying is not None else START_S
                line = lines.next(min(limit, max(0.0, end - self.now()) + 1.0))
                if line is None:
                    return ("the time is over", None) if self.now() >= end else (f"hung (over {limit:.0f} s)", trying)
                if not line.endswith(b"\n"):
                    return self._ended(process, errors, trying)
                match json.loads(line):
                    case {"base": float(seconds)}:
                        found.base_s = seconds
                    case {"trying": trace}:
                        trying = trace
                        self.report(f"searching {task.workload}", found.trials, task.trials)
                    case {"final": trace, "took": float(seconds)}:
                        earlier = [(s, t) for t, s in task.known if s]
                        found.best_s, found.best = min([(seconds, trace), *earlier], key=lambda pair: pair[0])
                    case {"took": float(seconds)}:
                        took(trying, seconds)
                        trying = None
                    case {"failed": str()}:
                        took(trying, None)
                        trying = None
                    case {"batch": [*proposals]}:
                        results = self._bench(task, found, proposals, end, took)
                        try:
                            process.stdin.write(json.dumps(results).encode() + b"\n")
                        except BrokenPipeError:
                            return self._ended(process, errors, None)
                    case other:
                        raise InternalError(f"a search said {other!r}")
            return "the time is over", None
        finally:
            self.processes.end(process)

    def _bench(
        self, task: Task, found: Searched, proposals: list[Any], end: float, took: Callable[[Any, float | None], None]
    ) -> list[float | None]:
        """Seconds of what the process proposed, as (trace, kernel), in order; those that there is no time for are left out."""
        assert self.bench is not None and found.base_s is not None
        results: list[float | None] = []
        trials = self.bench.trials([kernel for _, kernel in proposals], self.trial_limit_s)
        for trace, kernel in proposals:
            self.report(f"searching {task.workload}", found.trials, task.trials)
            if self.now() >= end:
                break
            ratio, _ = next(trials)
            results.append(found.base_s * ratio if ratio else None)
            took(trace, results[-1])
            if seconds := results[-1]:
                self._finalists = sorted([*self._finalists, (seconds, trace, kernel)], key=lambda f: f[0])[:FINALISTS]
        trials.close()
        return results

    def _again(self, found: Searched) -> None:
        """The best of many measurements was lucky: the first few are timed again, for longer."""
        if self.bench is None or found.base_s is None:
            return
        again = [(self.bench.again(kernel, self.trial_limit_s), trace) for _, trace, kernel in self._finalists]
        if times := [(found.base_s * ratio, trace) for ratio, trace in again if ratio]:
            if found.best in [trace for _, trace, _ in self._finalists]:
                found.best_s, found.best = min(times, key=lambda pair: pair[0])

    def _ended(self, process: subprocess.Popen[bytes], errors: Path, trying: Any) -> tuple[str, Any]:
        status = process.wait()
        if trying is None and status == 0:
            return EXHAUSTED, None
        lines = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
        return f"ended with status {status}{': ' + lines[-1].strip()[:300] if lines else ''}", trying


class _Journal:
    """A file of one search's trials, one a line, each written before the next begins."""

    def __init__(self, folder: Path | None, key: str, task: Task) -> None:
        self.trials: list[tuple[Any, float | None]] = []
        self.before = task.done  # trials of searches that ended
        if folder is None:
            self._path = None
            return
        # the same search: of this kernel as it is made here and now
        name = hashlib.sha256(json.dumps([key, task.workload, task.base, task.start]).encode()).hexdigest()[:24]
        self._path = folder / f"{name}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        except OSError as error:
            raise OarlockError(f"trials cannot be kept: {error.strerror or error}", where=str(folder)) from error
        for line in lines:
            with contextlib.suppress(ValueError):  # the last one may be cut off
                match json.loads(line):
                    case {"before": int(before)}:
                        self.before = before
                    case {"trace": list(trace), "seconds": float() | None as seconds}:
                        self.trials.append((trace, seconds))

    def add(self, trace: Any, seconds: float | None) -> None:
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                if not file.tell():
                    file.write(json.dumps({"before": self.before}) + "\n")
                file.write(json.dumps({"trace": trace, "seconds": seconds}) + "\n")

    def end(self) -> None:
        """The search is done: records have what it found."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # of other searches
                self._path.parent.rmdir()


def losing(kernels: Mapping[str, Mapping[str, Any]], times: Mapping[str, tuple[float, int]], peaks: Peaks | None) -> dict[str, float]:
    """Workload → the seconds that its kernels lose in a run, the most first; only those that lose enough to be searched for.

    ``kernels``: of the manifest.  ``times``: function → (seconds in a run, calls).  Without ``peaks`` all of a kernel's time counts.
    """
    lost: dict[str, float] = {}
    for name, seconds in lost_seconds(kernels, times, peaks).items():
        if workload := kernels[name].get("workload"):
            lost[workload] = lost.get(workload, 0.0) + seconds
    least = LEAST_LOSS * sum(seconds for name, (seconds, _) in times.items() if name in kernels)
    return {workload: seconds for workload, seconds in sorted(lost.items(), key=lambda pair: -pair[1]) if seconds >= least}


def peaks_of(target: str, threads: int, time_left_s: float, report: Report) -> Peaks | None:
    """This machine's peaks, measured now if there is time for it."""
    if target != "cpu":
        return None
    if (peaks := machine.known(threads)) is not None or time_left_s < MEASURE_S:
        return peaks
    from ..profiling.measure import measure

    return machine.keep(measure(threads, report))
