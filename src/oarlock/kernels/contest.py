"""tune(): measure the candidates of a model's kernels where they run, and record what each takes.

A trial is the whole model, compiled with one candidate for every workload at once: so a kernel is timed with the caches as its
neighbours leave them, and eight builds try eight candidates of all kernels.  Each is timed in turns with the reference, which is
the model with the first candidate of everything: a time is told as the reference's times the ratio of the quietest turns, so that
other load on the machine, and other days, count little.  A trial that crashes, hangs or computes something else is halved
until the candidates that are to blame are known.

Where a device models its time (Target.modelled) one run tells it, so there are no turns; and what each kernel gives is compared, too.
"""

from __future__ import annotations

import itertools
import math
import os
import pickle
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checking.compare import TOLERANCE as CHECKED
from ..checking.compare import compare
from ..errors import InternalError, OarlockError, TargetError
from ..inputs import random_inputs, save_npz
from ..model import Program, load_model
from ..ops import registry
from ..runtime.artifact import Artifact
from .choice import Found
from .place import Here, Place, Runner
from .records import Records, is_timed, user_path
from .search import TRIALS, Searched, Searches, Task, losing, peaks_of
from .summary import Row, Summary, Watch
from .trials import Processes, TrialError, Variant, build

if TYPE_CHECKING:
    from ..targets import Target

FIRST_ROUND = 8  # candidates of a workload that are tried before the neighbours of the best
ROUNDS = 9  # turns of a trial and the reference
ROUND_S = 0.12  # what a turn should take
TOLERANCE = 1e-3  # of an output's scale: other orders of summation, but no other kernel; in fewer bits it is that of a check
BUILD_LIMIT_S, RUN_LIMIT_S = 300.0, 20.0

Report = Callable[[str, int, int], None]
Shapes = Mapping[str, Sequence[int | str | None]]


def tune(
    model: Program | str | os.PathLike[str] | bytes,
    target: str = "cpu",
    shapes: Shapes | None = None,
    threads: int | None = None,
    *,
    minutes: float = 3.0,
    search: bool | int = False,
    options: Mapping[str, Any] | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    at: Shapes | None = None,
    records: str | os.PathLike[str] | None = None,
    progress: Report | None = None,
    place: Place | None = None,
    build_limit_s: float = BUILD_LIMIT_S,
    run_limit_s: float = RUN_LIMIT_S,
) -> Summary:
    """Measure candidates for the kernels of a model for about ``minutes``; results go into the database of records.

    model, target, shapes, threads, options: as in compile.  ``search``: TVM's MetaSchedule looks for schedules of the kernels that lose
    the most time, up to this many trials a kernel (True: 64), in the second half of the time; what it finds are candidates like others.
    ``inputs``: arrays to run it on (default: seeded random ones, where
    dynamic dims take the sizes of ``at``, else 1 or usual ones).  ``records``: the database's file (default: the user's own, which
    compile looks into).  It is written after every trial: a tuning that was stopped goes on where it was.
    ``progress``: called with (what is done, trials done, trials in all).  ``place``: where trials run (default: here).
    ``build_limit_s``, ``run_limit_s``: after these seconds
    a compiler or a run has hung.

    Raises what compile raises for the model, OarlockError when the default build itself does not run, and TargetError for a search where
    the target has none.
    """
    from ..compiler import make_target

    program = model if isinstance(model, Program) else load_model(model)
    chosen = make_target(target, threads, options)
    if place is None and chosen.tuned_by:
        raise TargetError(
            "this target's kernels are not measured here, but where they run", where=f"target {chosen.name}", todo=f"use {chosen.tuned_by}"
        )
    if search and chosen.search is None:
        raise TargetError("kernels of this target are not searched for", where=f"target {chosen.name}", todo="tune without the search")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oarlock-tune-")))
        processes = Processes()
        stack.callback(processes.end_all)
        where = place or Here(processes, int(chosen.runtime.get("threads", 1)))
        contest = _Contest(program, chosen, shapes, Path(records or user_path()), folder, processes, where, minutes, progress)
        contest.build_limit_s, contest.run_limit_s = build_limit_s, run_limit_s
        contest.search_trials = TRIALS if search is True else int(search)
        return contest.run(inputs, at)


class _Contest:
    build_limit_s: float
    run_limit_s: float
    search_trials: int

    def __init__(
        self,
        program: Program,
        target: Target,
        shapes: Shapes | None,
        database: Path,
        folder: Path,
        processes: Processes,
        place: Place,
        minutes: float,
        progress: Report | None,
    ) -> None:
        self.folder, self.processes, self.database, self.place = folder, processes, database, place
        self.key, self.family = place.record_key(target)
        self.threads = int(target.runtime.get("threads", 1))
        self.modelled = target.modelled
        self.rounds, self.round_s = 1 if self.modelled else ROUNDS, ROUND_S
        self.records = Records.load(database, missing_ok=True)
        self.begin, self.minutes = self._now(), minutes
        self.end = self.begin + 60 * minutes
        self.progress, self.watch = progress, Watch(place, self.key, minutes)
        self.summary = Summary(self.key, str(database), modelled=self.modelled)
        self.numbers = itertools.count()
        self.tried: set[tuple[str, str]] = set()
        program_file = folder / "program"
        program_file.write_bytes(pickle.dumps(program, protocol=5))
        users = {spec.function.__module__ for spec in registry.registered().values() if spec.user}
        self.job = {
            "program": str(program_file),
            "target": target.name,
            "options": dict(target.profiling_options),
            "shapes": shapes,
            "imports": sorted(users - {"__main__"}),
        }
        self.job["searched"] = self.searched = {}  # of workloads, what searches found: builds replay it
        for key, workload, _, _ in self.records:
            if key == self.key and (found := self.records.searched(key, workload)):
                self.searched[workload] = found
        self.final_job = {**self.job, "options": dict(target.options)}
        self.tolerance = max(TOLERANCE, CHECKED.get(str(target.options.get("precision", "float32")), 0.0))
        self.input_shapes = shapes

    def run(self, inputs: Mapping[str, np.ndarray] | None, at: Shapes | None) -> Summary:
        self.report("compiling the default", 0, 0)
        self.reference = self._reference()
        self.asked = dict(self.reference.asked)  # and what searches find
        artifact = Artifact.load(self.reference.artifact)
        signature = artifact.signature
        if artifact.parts:
            raise TargetError("models for several chips or devices are not tuned", where=self.key, todo="tune the model for one")
        self.inputs = self.folder / "inputs.npz"
        save_npz(self.inputs, inputs if inputs is not None else random_inputs(signature.inputs, at or self.input_shapes))
        with self._runner(self.reference) as runner:
            self._check_reference(runner)
            self.before = self._winners(kept=True)
            if self.search_trials:
                self.end = self.begin + 30 * self.minutes
            self._trials()
            if self.search_trials:
                self.end = self.begin + 60 * self.minutes
                self._search()
                # there must be time for one trial of all that was found
                self.end = max(self.end, self._now() + 1.1 * self._trial_s()) if self.summary.searched else self.end
                self._trials()
        self._finish()
        return self.summary

    # ---- the reference ---------------------------------------------------------------------------------------------

    def _reference(self) -> Variant:
        try:
            return self._build({})
        except TrialError as error:
            raise OarlockError(f"the model does not compile: {error}", where=self.key) from error

    def _check_reference(self, runner: Runner) -> None:
        try:
            begin = self._now()
            self.expected = runner.outputs(self.build_limit_s)
            if self.modelled:  # what a run takes here is another thing
                once, self.runs = self._now() - begin, 1
                self.round_s += once
            else:
                once = runner.seconds(2, self.build_limit_s)
                self.runs = max(2, min(50, int(ROUND_S / max(once, 1e-6))))
            self.limit_s = self.run_limit_s + 20 * once * self.runs
            found = runner.kernels(3 * self.runs if self.rounds > 1 else 1, self.limit_s)
            self.measured = self._by_workload(self.reference, found)
        except TrialError as error:
            raise OarlockError(f"the model does not run on these inputs: {error}", where=self.key) from error
        workloads = self.reference.workloads
        if workloads and not workloads.keys() & found.keys():
            raise InternalError("none of the kernels of the default build was seen running")
        self.calls = {w: sum(found[name][1] for name in found if workloads.get(name) == w) for w in self.measured}
        self.base: dict[str, float] = {}
        for workload in self.measured:
            if len(self.asked[workload]) > 1:
                self._admit(workload)
        self._store()

    def _admit(self, workload: str) -> None:
        """Put a workload that has several candidates into the contest."""
        default = self.asked[workload][0]
        self.base[workload] = self.measured[workload]
        if "seconds" not in self.records.entries(self.key, workload).get(default, {}):
            self._record(workload, default, self.base[workload])

    # ---- trials ----------------------------------------------------------------------------------------------------

    def _trials(self) -> None:
        """Waves of plans: the first candidates of every workload, then the rest, those like the winners first."""
        at_once = max(1, min(4, len(os.sched_getaffinity(0))))
        with ThreadPoolExecutor(at_once) as pool:
            try:
                while plans := self._plans():
                    if not self._wave(plans, pool, at_once):
                        break
            except BaseException:
                self.processes.end_all()  # the pool waits for its builds
                raise
        self.summary.left = sum(len(self._open(workload)) for workload in self.base)

    def _open(self, workload: str) -> list[str]:
        """The candidates of a workload that nothing is known of, the most promising first."""
        known, names = self.records.entries(self.key, workload), self.asked[workload]
        unknown = [name for name in names if not is_timed(known.get(name)) and (workload, name) not in self.tried]
        if found := [name for name in unknown if name in self.searched.get(workload, ())]:
            return found  # the best of many already
        if early := [name for name in unknown if name in names[:FIRST_ROUND]]:
            return early
        best = self.records.best(self.key, workload, names) or names[0]
        words = _words(best)
        return sorted(unknown, key=lambda name: len(words ^ _words(name)))

    def _plans(self) -> list[dict[str, str]]:
        """One plan for each open candidate of the workload that has most of them."""
        queues = {workload: names for workload in self.base if (names := self._open(workload))}
        longest = max(map(len, queues.values()), default=0)
        return [{w: names[i] for w, names in queues.items() if i < len(names)} for i in range(longest)]

    def _wave(self, plans: list[dict[str, str]], pool: ThreadPoolExecutor, at_once: int) -> bool:
        """Try all plans; False when time is out."""
        done, total = 0, len(plans)
        while plans:
            batch = [plans.pop(0) for _ in range(min(len(plans), at_once))]
            if self._now() + self._trial_s() > self.end:
                return False
            self.report("building", done, total)
            builds = [pool.submit(self._build, plan) for plan in batch]
            errors = [b.exception() for b in builds]  # waits for all: nothing is timed beside a build
            for plan, made, error in zip(batch, builds, errors, strict=True):
                self.report("timing", done, total)
                done += 1
                try:
                    if error is not None:
                        raise error
                    self._time(made.result())
                    self.tried.update(plan.items())
                except TrialError as failure:
                    halves = self._blame(plan, failure, None if error else made.result())
                    plans[:0] = halves
                    total += len(halves)
                self.summary.trials += 1
                self._store()
        return True

    def _blame(self, plan: dict[str, str], failure: TrialError, variant: Variant | None) -> list[dict[str, str]]:
        """A candidate that is known to have failed is recorded, and the others of its plan are tried again; else they become halves."""
        guilty = variant.workloads.get(failure.kernel or "") if variant else None
        if len(plan) > 1 and guilty not in plan:
            items = list(plan.items())
            return [dict(items[: len(items) // 2]), dict(items[len(items) // 2 :])]
        for workload in [guilty] if guilty in plan else list(plan):
            assert workload is not None
            self._fail(workload, plan[workload], str(failure))
        rest = {workload: name for workload, name in plan.items() if workload != guilty}
        return [rest] if guilty in plan and rest else []

    def _fail(self, workload: str, name: str, reason: str, trials: int | None = None) -> None:
        self.tried.add((workload, name))
        self.records.fail(self.key, self.family, workload, name, reason, trials)
        self.summary.failed.append((workload, name, reason))

    def _time(self, variant: Variant) -> None:
        """Compare with the reference and time, in turns with it where times are measured."""
        plan = dict(variant.plan)
        for workload, candidate in variant.plan.items():
            made = {variant.made[name] for name, of in variant.workloads.items() if of == workload}
            if made and candidate in self.searched.get(workload, ()) and candidate not in made:
                # of another version of Oarlock or TVM: a search may find better, so its trials do not count
                self._fail(workload, plan.pop(workload), "the schedule does not apply any more", trials=0)
        base, mine = [], []
        with ExitStack() as stack:
            reference = None if self.modelled else stack.enter_context(self._runner(self.reference))
            runner = stack.enter_context(self._runner(variant))
            self._same(runner.outputs(self.limit_s))
            for _ in range(self.rounds):
                if reference is not None:
                    base.append(self._by_workload(self.reference, reference.kernels(self.runs, self.limit_s)))
                mine.append(self._by_workload(variant, runner.kernels(self.runs, self.limit_s)))
        for workload, candidate in plan.items():
            if reference is None and workload in mine[0]:
                self._record(workload, candidate, mine[0][workload])
            elif workload in mine[0] and workload in base[0]:
                default = self.asked[workload][0]
                anchor = self.records.entries(self.key, workload)[default]["seconds"]
                ratio = _quiet(turn[workload] for turn in mine) / _quiet(turn[workload] for turn in base)
                self._record(workload, candidate, anchor * ratio)

    def _same(self, outputs: Mapping[str, np.ndarray]) -> None:
        # kernels first: they come before what they make wrong
        for name, expected in sorted(self.expected.items(), key=lambda item: _call(item[0])):
            if name not in outputs:
                if _call(name) < math.inf:
                    continue  # a graph launches it, or a branch that went the other way
                raise TrialError(f"there is no result {name}")
            found = compare(name, outputs[name], expected, self.tolerance)
            if expected.dtype.kind in "biu" and found.shape == found.expected_shape:
                # a near tie may fall the other way
                if np.count_nonzero(outputs[name] != expected) <= expected.size // 100:
                    continue
            if not found.ok:
                error = TrialError(f"wrong numbers in {name}: {found.why}")
                error.kernel = name.split()[0] if _call(name) < math.inf else None
                raise error

    # ---- search ----------------------------------------------------------------------------------------------------

    def _search(self) -> None:
        """Search for schedules of the kernels that lose the most; each becomes one more candidate of its workload."""
        end = self.end - self._trial_s()
        if self._now() >= end:
            return
        plan = self._winners()
        starts_file = self.folder / "starts"
        self.report("looking for kernels that lose time", 0, 0)
        variant = self._build(plan, {**self.job, "starts": str(starts_file)})
        with self._runner(variant) as runner:
            times = runner.kernels(3 * self.runs, self.limit_s)
        kernels = Artifact.load(variant.artifact).manifest["kernels"]
        peaks = peaks_of(str(self.job["target"]), self.threads, end - self._now(), self.report)
        starts = pickle.loads(starts_file.read_bytes()) if starts_file.exists() else {}
        bench, journal = self.place.bench(self.job, self.folder), self.database.with_name(f".{self.database.name}.trials")
        searches = Searches(self.processes, self.job, self.folder, self.report, bench=bench, journal=journal, key=self.key, now=self._now)
        for workload in losing(kernels, times, peaks):
            if workload not in starts or self._now() >= end:
                continue
            base, start, made = starts[workload]
            entries = self.records.entries(self.key, workload)
            done = max((int(entry.get("trials", 0)) for entry in entries.values()), default=0)
            if done < self.search_trials:
                known = [(entry["trace"], entry["alone"]) for entry in entries.values() if "trace" in entry]
                task = Task(workload, base, start, made, self.search_trials, done, known)
                self.summary.searched.append(searches.run(task, end, self._found))

    def _found(self, searched: Searched) -> None:
        """Record the best schedule so far of a search."""
        workload = searched.workload
        if searched.best is not None and searched.best_s is not None:
            from ..compat_search import trace_name

            found = Found(searched.base, searched.best)
            name = trace_name(searched.best)
            self.records.put_search(self.key, self.family, workload, name, found, max(searched.trials, searched.done), searched.best_s)
            self.searched[workload] = self.records.searched(self.key, workload)
            names = [n for n in self.asked[workload] if not n.startswith("search ") or n in self.searched[workload]]
            self.asked[workload] = tuple(dict.fromkeys((*names, name)))
            if workload in self.measured:
                self._admit(workload)
        elif searched.trials:
            reason = f"none of {searched.trials} schedules could be built and run"
            self.records.fail(self.key, self.family, workload, "search", reason, searched.trials)
        self._store()

    # ---- the end ---------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The build of all winners beside the default one."""
        self.report("timing the winners", 0, 0)
        plan = self._winners()
        try:
            if plan and self.summary.trials and not self.modelled:
                # the best of many measurements is too good on average: the winners are measured once more, and some lose
                self._time(self._build(plan))
                self._store()
                plan = self._winners()
            plans = [{}, plan] if self.before in ({}, plan) else [{}, plan, self.before]
            untuned = self._build({}, self.final_job)
            builds = [self._build(p, self.final_job) if p else untuned for p in plans]
            turns = self._alternate(builds)
        except TrialError as error:
            raise OarlockError(f"the winners do not run together: {error}", where=str(self.database)) from error
        self.summary.default_s = min(turns[0])
        # of two ways to compare on a busy machine, the one that says less for the winners
        pairs = [statistics.median(b / a for a, b in zip(turns[0], times, strict=True)) for times in turns]
        ratios = [max(_quiet(times) / _quiet(turns[0]), pair) for times, pair in zip(turns, pairs, strict=True)]
        taken = ratios.index(min(ratios)) if plan != self.before else 1
        self.summary.kept = taken != 1
        for workload in self.base:
            default = self.asked[workload][0]
            choice = plans[taken].get(workload, default)
            self.records.keep(self.key, workload, choice if choice != plan.get(workload, default) else None)
        plan = plans[taken]
        self.summary.tuned_s = self.summary.default_s * (ratios[taken] if plan else 1.0)
        self._store()
        self.summary.artifact = Artifact.load(builds[taken].artifact)
        self.summary.artifact.path = ""  # its file goes with the folder
        for workload in sorted(self.base, key=lambda w: -self.base[w] * self.calls[w]):
            entries, default = self.records.entries(self.key, workload), self.asked[workload][0]
            winner = plan.get(workload, default)
            tried = sum("seconds" in entry for entry in entries.values())
            times = [entries[name]["seconds"] * self.calls[workload] for name in (default, winner)]
            self.summary.rows.append(Row(workload, self.calls[workload], default, winner, times[0], times[1], tried))

    def _alternate(self, variants: Sequence[Variant]) -> list[list[float]]:
        """Seconds of whole runs of each, in turns; all must compute what the default does."""
        with ExitStack() as stack:
            runners = [stack.enter_context(self._runner(variant)) for variant in variants]
            for runner in runners[1:]:
                self._same(runner.outputs(self.limit_s))
            if self.modelled:  # a device's graphs are recorded at the second run
                return [[runner.seconds(3, 3 * self.limit_s)] for runner in runners]
            turns = [[runner.seconds(self.runs, self.limit_s) for runner in runners] for _ in range(2 * ROUNDS)]
        return [[turn[n] for turn in turns] for n in range(len(runners))]

    def _winners(self, kept: bool = False) -> dict[str, str]:
        """The best candidate of each workload where it is not the default; ``kept``: as a compilation chooses."""
        plan = {}
        for workload in self.base:
            names = self.asked[workload]
            best = self.records.best(self.key, workload, names, kept=kept)
            if best is not None and best != names[0]:
                plan[workload] = best
        return plan

    # ---- tools -----------------------------------------------------------------------------------------------------

    def _build(self, plan: Mapping[str, str], job: Mapping[str, Any] | None = None) -> Variant:
        start = time.monotonic()
        variant = build(self.processes, job or self.job, plan, self.folder / f"build{next(self.numbers)}", self.build_limit_s)
        self.build_s = time.monotonic() - start
        return variant

    def _trial_s(self) -> float:
        """What a trial may take, with the build and timing of the winners that must still fit in."""
        return 3 * (self.build_s + 3 * self.rounds * self.round_s)

    @contextmanager
    def _runner(self, variant: Variant) -> Iterator[Runner]:
        runner = self.place.runner(variant.artifact, self.inputs)
        try:
            yield runner
        finally:
            runner.close()

    def _now(self) -> float:
        """Seconds on a clock that stands still while nobody is there to run a trial."""
        return time.monotonic() - self.place.waited_s

    def report(self, what: str, done: int, total: int) -> None:
        if self.progress:
            self.progress(what, done, total)
        self.watch.doing(what, done, total)

    def _by_workload(self, variant: Variant, times: Mapping[str, tuple[float, int]]) -> dict[str, float]:
        """Seconds of a call by workload, the mean over all its calls in a run."""
        sums: dict[str, tuple[float, int]] = {}
        for name, workload in variant.workloads.items():
            if name in times:
                seconds, calls = sums.get(workload, (0.0, 0))
                sums[workload] = seconds + times[name][0], calls + times[name][1]
        return {workload: seconds / calls for workload, (seconds, calls) in sums.items()}

    def _record(self, workload: str, candidate: str, seconds: float) -> None:
        """Put the mean of this measurement and those before; of a modelled time, it alone."""
        if self.modelled:
            self.records.put(self.key, self.family, workload, candidate, seconds, 1, modelled=True)
            return
        known = self.records.entries(self.key, workload).get(candidate, {})
        count = known["count"] if "seconds" in known else 0
        mean = (seconds * ROUNDS + known["seconds"] * count) / (ROUNDS + count) if count else seconds
        self.records.put(self.key, self.family, workload, candidate, mean, ROUNDS + count)

    def _store(self) -> None:
        self.records.add_to(self.database)
        self.watch.counted(self.summary.trials, self.summary.failed)
        self.watch.measured(self.records, self.base, self.calls, self.asked)


def _quiet(times: Iterable[float]) -> float:
    """The mean of the lowest third: what else runs on the machine only adds, and one least time may be luck."""
    return statistics.fmean(sorted(times)[: ROUNDS // 3])


def _call(name: str) -> float:
    """The number of the kernel call that a result belongs to (worker.py); infinite for an output of the model."""
    found = re.fullmatch(r"\S+ #(\d+) \d+", name)
    return int(found[1]) if found else math.inf


def _words(name: str) -> set[str]:
    return set(re.split(r"[ /x]", name))
