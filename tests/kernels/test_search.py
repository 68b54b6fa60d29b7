"""Searches: what MetaSchedule finds is a candidate like others, replayed in any process; what goes wrong costs one trial or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tvm
from test_candidates import case  # noqa: F401
from test_contest import elementwise, tiny_convolution
from tvm import tirx

import oarlock
from oarlock import OarlockError, compat, compat_search, pipeline, targets
from oarlock.compiler import compile_program
from oarlock.importer import import_program
from oarlock.kernels import Choices, Records, contest
from oarlock.kernels.choice import Found, Start
from oarlock.kernels.place import Here
from oarlock.kernels.search import Searched, Searches, Task, losing
from oarlock.kernels.trials import Processes
from oarlock.model import Block, Op, Program, TensorType, Value

HERE = Path(__file__).parent
X = np.random.default_rng(0).standard_normal((1, 16, 24, 24)).astype("float32")


def softmax() -> Program:
    x = Value("x", TensorType("float32", (64, 80)))
    y = Value("y", TensorType("float32", (64, 80)))
    ops = [Op("pd_op.data", {}, {"name": "x"}, [x], ["x"]), Op("pd_op.softmax", {"x": x}, {"axis": -1}, [y], ["y"])]
    return Program(Block([], ops), [x], {"y": y}, {}, {"path": "by hand"})


def starts(module: tvm.IRModule, threads: int = 1) -> dict[str, Start]:
    """What the searches for a module's kernels start from, without compiling it."""

    class Enough(Exception):
        pass

    def look(stage: str, mod: tvm.IRModule) -> None:
        if stage == "note-kernels":
            raise Enough

    choices = Choices()
    choices.starts = {}
    with pytest.raises(Enough):
        pipeline.build(module, targets.get("cpu", threads=threads), choices=choices, dump=look)
    return choices.starts


@pytest.fixture
def processes() -> Iterator[Processes]:
    found = Processes()
    yield found
    found.end_all()


def task(workload_has: str, trials: int) -> Task:
    """The search for a kernel of the convolution."""
    found = starts(import_program(tiny_convolution(2), None))
    (workload,) = [w for w in found if workload_has in w]
    start = found[workload]
    return Task(workload, start.base, compat_search.function_text(start.function), compat_search.function_text(start.made), trials)


def searches(processes: Processes, folder: Path, **options: object) -> Searches:
    folder.mkdir(exist_ok=True)
    job = {"target": "cpu", "options": {"threads": 1}, "imports": [], **options}
    return Searches(processes, job, folder, lambda what, done, total: None)


def test_a_convolution_is_searched_and_replayed(processes: Processes, tmp_path: Path) -> None:
    """Its trace comes from a process of its own, and is applied in this one."""
    wanted = task("conv2d", 3)
    stored: list[Searched] = []
    found = searches(processes, tmp_path).run(wanted, time.monotonic() + 120, stored.append)
    assert found.trials == 3 and found.best is not None and found.base_s and found.best_s and stored
    # one that was stopped after these goes on with the fourth
    resumed = replace(wanted, trials=4, done=3, known=[(found.best, found.best_s)])
    more = searches(processes, tmp_path / "more").run(resumed, time.monotonic() + 120, stored.append)
    assert more.trials == 4 and more.best_s is not None and more.best_s <= found.best_s
    records = Records()
    key, family = targets.get("cpu", threads=1).record_key
    name = compat_search.trace_name(found.best)
    records.put_search(key, family, wanted.workload, name, Found(wanted.base, found.best), 3, found.best_s)
    records.put(key, family, wanted.workload, wanted.base, 2e-3, 9)
    records.save(tmp_path / "waiting.json")
    records.put(key, family, wanted.workload, name, 1e-3, 9)
    records.save(tmp_path / "timed.json")
    results = []
    for file, candidate in (("waiting", wanted.base), ("timed", name)):  # only what was timed in its place is taken
        artifact = oarlock.compile(tiny_convolution(2), threads=1, records=tmp_path / f"{file}.json")
        assert candidate in {kernel.get("candidate") for kernel in artifact.manifest["kernels"].values()}
        assert not artifact.manifest["notes"]
        results.append(oarlock.Session(artifact).run({"x": X})["y"])
    assert np.allclose(*results, rtol=1e-4, atol=1e-4)


class AwayBench:
    """Times nothing; at the first trial its place is away for an hour."""

    def __init__(self, place: Away) -> None:
        self.place = place

    def base(self, made: str) -> float:
        return 1e-3

    def trials(self, kernels: list[str], limit_s: float) -> Iterator[tuple[float | None, str]]:
        for _ in kernels:
            if not self.place.waited_s:
                self.place.waited_s = 3600.0
            yield 0.5, ""

    def again(self, kernel: str, limit_s: float) -> float:
        return 0.5


class Away(Here):
    def bench(self, job: object, folder: object) -> AwayBench:  # type: ignore[override]
        return AwayBench(self)


def test_time_away_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: Processes) -> None:
    place = Away(processes, 1)
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + place.waited_s)
    monkeypatch.setattr(contest._Contest, "_open", lambda self, workload: [])  # nothing but the search
    monkeypatch.setattr("oarlock.kernels.search.LEAST_LOSS", 0.5)
    monkeypatch.setattr("oarlock.kernels.contest.peaks_of", lambda *_: None)
    summary = oarlock.tune(tiny_convolution(2), threads=1, minutes=5, search=3, records=tmp_path / "r.json", place=place)
    (searched,) = summary.searched
    assert place.waited_s and (searched.trials, searched.stopped) == (3, "")


def test_what_is_found_takes_denormal_numbers_as_zero() -> None:
    """As a template's sums do."""
    target = targets.get("cpu", threads=1)
    assert target.search is not None
    (start,) = [start for workload, start in starts(import_program(tiny_convolution(2), None)).items() if "conv2d" in workload]
    finished = target.search.finish(start.function)
    assert ("oarlock_flush_denormals" in finished.script()) == target.machine.flushes


def test_winograd_is_not_searched_for() -> None:
    """MetaSchedule would get its definition, which is no way to run it."""
    assert not [workload for workload in starts(import_program(tiny_convolution(1), None)) if "conv2d" in workload]


@pytest.mark.parametrize("trace", [[[["GetSBlock", [], ["no such block", "main"], ["b0"]]], []], [[["NoSuchStep", [], [], []]], []], ["?"]])
def test_a_trace_that_does_not_apply_is_noted(tmp_path: Path, trace: list) -> None:
    key, family = targets.get("cpu", threads=1).record_key
    choices = Choices()
    plain = compile_program(tiny_convolution(2), targets.get("cpu", threads=1), None, choices)
    (workload,) = [w for w in choices.asked if "conv2d" in w]
    base = choices.asked[workload][0]
    records = Records()
    records.put(key, family, workload, base, 2e-3, 9)
    records.put_search(key, family, workload, "search 0", Found(base, trace), 1, 1e-3)
    records.put(key, family, workload, "search 0", 1e-3, 9)
    records.save(tmp_path / "records.json")
    artifact = oarlock.compile(tiny_convolution(2), threads=1, records=tmp_path / "records.json")
    assert [note for note in artifact.manifest["notes"] if "search 0 does not apply" in note]
    assert artifact.manifest["kernels"] == plain.manifest["kernels"]
    assert np.array_equal(*(oarlock.Session(a).run({"x": X})["y"] for a in (artifact, plain)))


def test_a_trial_that_crashes_or_hangs_costs_one_trial(processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("TROUBLE", str(tmp_path / "trials"))
    run = searches(processes, tmp_path, imports=["troubled_search"])
    run.trial_limit_s = 4.0
    found = run.run(task("conv2d", 4), time.monotonic() + 120, lambda found: None)
    assert (found.trials, found.failed) == (4, 2) and found.best is not None and not found.stopped


def test_tune_with_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the kernel that loses time to a candidate that was timed in its place; the second time, nothing is searched."""
    monkeypatch.setenv("OARLOCK_MACHINE", str(tmp_path / "machine.json"))
    monkeypatch.setattr("oarlock.kernels.search.MEASURE_S", 1e9)
    monkeypatch.setattr("oarlock.kernels.contest.ROUND_S", 0.01)
    database = tmp_path / "records.json"
    summary = oarlock.tune(softmax(), threads=1, minutes=2, search=2, records=database)
    (searched,) = summary.searched
    assert searched.workload.startswith("rows ") and searched.trials == 2 and summary.to_json()["searched"]
    ((workload, names),) = [(w, dict(e)) for w, e in entries(database).items() if w == searched.workload]
    assert len(names) == 2 and "rule" in names and all("seconds" in entry for entry in names.values())
    assert [(row.workload, row.tried) for row in summary.rows] == [(workload, 2)]


def entries(database: Path) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for _, workload, candidate, entry in Records.load(database):
        found.setdefault(workload, {})[candidate] = entry
    return found


def test_a_target_without_search_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oarlock.targets.cpu.CpuTarget.search", None)
    with pytest.raises(OarlockError, match="not searched for"):
        oarlock.tune(elementwise("exp"), threads=1, search=True)


def test_plain_forms_compute_the_same(case: tuple) -> None:  # noqa: F811
    """What a search starts from, as it is, gives what the template gives."""
    found = starts(case[0])
    kinds = {workload.split()[0] for workload in found}
    assert {"conv2d", "depthwise", "product", "batch_product"} <= kinds
    assert not any("?" in workload for workload in found)  # sizes known at run time are not searched for
    for workload, start in found.items():
        if workload.split()[0] in ("conv2d", "depthwise", "product", "batch_product"):
            assert np.allclose(*(_result(f) for f in (start.function, start.made)), rtol=1e-4, atol=1e-4), workload


@pytest.mark.parametrize("kind,threads", [("conv2d", 1), ("depthwise", 2), ("product", 2), ("batch_product", 1)])
def test_what_is_proposed_computes_the_same(case: tuple, kind: str, threads: int) -> None:  # noqa: F811
    target = targets.get("cpu", threads=threads)
    assert target.search is not None
    start = next(start for workload, start in starts(case[0], threads).items() if workload.startswith(f"{kind} "))
    with target.tvm_target:
        evolution = compat_search.Evolution(start.function, target.tvm_target, target.search, trials=4)
        proposals = evolution.batch(4)
    assert proposals
    expected = _result(start.made)
    for proposal in proposals:
        kernel = target.search.finish(compat_search.replay(start.function, proposal.trace))
        assert compat.structural_name(proposal.kernel) == compat.structural_name(compat_search.replay(start.function, proposal.trace))
        assert "local" in kernel.script()  # sums in registers
        assert compat.has_parallel_loops(kernel) == (threads > 1)
        assert np.allclose(_result(kernel), expected, rtol=1e-4, atol=1e-4), proposal.trace


def _result(function: tirx.PrimFunc) -> np.ndarray:
    module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
    module = tirx.build(module, target=targets.get("cpu", threads=1).tvm_target, pipeline=compat.tir_pipeline())
    rng = np.random.default_rng(1)
    arguments = [tvm.runtime.tensor(rng.standard_normal([int(d) for d in p.ty.shape]).astype(str(p.ty.dtype))) for p in function.params]
    tvm.runtime.Executable(module).jit()["main"](*arguments)
    return arguments[-1].numpy()


def test_kernels_that_lose_little_are_not_searched_for() -> None:
    kernels = {name: {"workload": f"w{name}"} for name in "abc"} | {"d": {}}
    times = {"a": (1.0, 1), "b": (2.0, 3), "c": (0.01, 1), "d": (5.0, 1), "other": (9.0, 1)}
    assert list(losing(kernels, times, None).items()) == [("wb", 2.0), ("wa", 1.0)]
