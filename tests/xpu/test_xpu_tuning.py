"""Schedules of generated kernels: all give the same numbers, under the emulator's checks; and tuning, by modelled time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.compiler import compile_program, make_target
from oarlock.errors import OarlockError
from oarlock.kernels import Choices, Records, contest, worker
from oarlock.kernels.trials import TrialError
from oarlock.model import load_model
from oarlock_xpu.chips import chip
from oarlock_xpu.compiler.schedules import Work, pieces
from oarlock_xpu.device import counters

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models")
nn = paddle.nn
Spec = paddle.static.InputSpec

COUNT = 8


class Chains(nn.Layer):
    """Chains of elements that differ by a number, so that each may have another schedule; of integers, which the library does not take."""

    def forward(self, x: Any, rows: Any, one: Any) -> Any:
        return tuple((x + k) * rows - one for k in range(COUNT))


class Maxima(nn.Layer):
    """Loops that differ by a number."""

    def __init__(self, count: int = COUNT, dim: int = 0) -> None:
        super().__init__()
        self.count, self.dim = count, dim

    def forward(self, x: Any) -> Any:
        return tuple((x + k).max(self.dim) for k in range(self.count))


X = np.random.default_rng(0).integers(-99, 99, (4, 700)).astype("int32")
ROWS, ONE = np.array([[3], [-1], [2], [5]], "int32"), np.array([7], "int32")


class Order(nn.Layer):
    """Sorts that differ by a number, whose steps read what they wrote, in places that the data say."""

    def forward(self, x: Any) -> Any:
        return tuple((x * (2 * k - 5)).argsort(1) for k in range(5))


@pytest.fixture
def saved(export: Callable[..., tuple[Path, Any]], tmp_path: Path) -> Callable[..., Path]:
    return lambda make, *shapes: export(make, tmp_path / "m", [Spec(s, "int32", n) for n, s in zip("xro", shapes, strict=False)], 0)[0]


def each_by_another(path: Path, **options: Any) -> tuple[oarlock.Session, dict[str, str]]:
    """A session whose kernels are made by one candidate after another; and the candidates of all kernels."""
    numbers = itertools.count()
    choices = Choices(lambda workload, names: names[next(numbers) * len(names) // COUNT % len(names)])
    artifact = compile_program(load_model(path), make_target("xpu/r200", None, options), None, choices)
    return oarlock.Session(artifact), {name: k["candidate"] for name, k in artifact.manifest["kernels"].items() if "candidate" in k}


@pytest.mark.parametrize("shapes", [[(4, 700), (4, 1), (1,)], [(-1, -1), (-1, 1), (1,)]], ids=["static", "dynamic"])
def test_chains_are_the_same_by_every_schedule(saved: Any, shapes: Sequence[Any]) -> None:
    session, made = each_by_another(saved(Chains, *shapes), checked=True)
    used = {candidate for name, candidate in made.items() if "add" in name}
    assert len(used) >= COUNT - 2 and any("double" in name for name in used) and any("x2" in name for name in used)
    for x, rows in ((X, ROWS), (X[:1, :3], ROWS[:1])) if shapes[0][0] == -1 else ((X, ROWS),):
        for k, found in enumerate(session.run(dict(zip("xro", (x, rows, ONE), strict=True))).values()):
            assert np.array_equal(found, (x + k) * rows - ONE)


def test_loops_are_the_same_by_every_schedule(saved: Any) -> None:
    session, made = each_by_another(saved(Maxima, (4, 700)), checked=True)
    assert len(set(made.values())) > 3 and any("shared" in name for name in made.values())
    for k, found in enumerate(session.run({"x": X}).values()):
        assert np.array_equal(found, (X + k).max(0))


@pytest.mark.parametrize("shared", [True, False])
def test_what_the_data_address_lies_in_shared_memory(saved: Any, shared: bool) -> None:
    """By default, where it fits: a sort moves nothing but its tensors, once, instead of a window at most of its steps."""
    choices = Choices(None if shared else lambda workload, names: next(n for n in names if "shared" not in n))
    target = make_target("xpu/r200", None, {"graphs": False, "checked": True})
    session = oarlock.Session(compile_program(load_model(saved(Order, (3, 65))), target, None, choices))
    x = np.random.default_rng(2).permutation(3 * 65).reshape(3, 65).astype("int32")
    counters(reset=True)
    for k, found in enumerate(session.run({"x": x}).values()):
        assert np.array_equal(found, (x * (2 * k - 5)).argsort(1))
    kernels = {name: k for name, k in counters()["kernels"].items() if "sort" in name}
    # 64 cores move a part each of the three tensors, which are read or written, or both
    moves = {k["dma"] <= 6 * 64 * k["launches"] and k["sm_peak"] >= 3 * 65 * 12 for k in kernels.values()}
    assert moves == {shared}


def test_the_first_schedule_is_about_the_best(saved: Any) -> None:
    """Candidates are ordered without a run, by a model of the emulator's model."""
    session, made = each_by_another(saved(Chains, (4, 700), (4, 1), (1,)), graphs=False)
    counters(reset=True)
    session.run(dict(zip("xro", (X, ROWS, ONE), strict=True)))
    times = {made[name.removesuffix("_kernel")]: k["modelled_us"] - chip("r200").launch_us for name, k in counters()["kernels"].items()}
    work = Work(4, 700, loaded=4, stored=4, transfers=3, once=1, ops=3)
    first = pieces(work, chip("r200"), lambda buffers: 960 // buffers, 16)[0]
    assert times[str(first)] <= 1.1 * min(times.values()) < max(times.values()) / 1.5


def test_the_first_candidate_keeps_all_cores_busy() -> None:
    """20,000 elements are shared by all cores, not taken by twenty of them in pieces of a thousand."""
    first = pieces(Work(1, 20000, loaded=8, stored=4, transfers=3, once=0, ops=2), chip("r200"), lambda buffers: 640 // buffers, 16)[0]
    assert -(-20000 // first.piece) > 200


def test_tuning_records_modelled_times_that_compile_chooses_by(saved: Any, tmp_path: Path) -> None:
    """Stopped in the middle, as by Ctrl-C: what was found until then counts."""
    path, database = saved(lambda: Maxima(2, 1), (64, 1000)), tmp_path / "records.json"

    def stop(what: str, done: int, total: int) -> None:
        if what == "building" and done > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        oarlock.tune(path, "xpu/r200", minutes=60, records=database, progress=stop)
    found: dict[str, dict[str, Any]] = {}
    for key, workload, candidate, entry in Records.load(database):
        assert key == "xpu/r200" and entry["modelled"] and entry["seconds"] > chip("r200").launch_us * 1e-6
        found.setdefault(workload, {})[candidate] = entry["seconds"]
    assert len(found) == 2 and all(len(times) > 2 for times in found.values())
    chosen = oarlock.compile(path, "xpu/r200", records=database)
    winners = {k["workload"]: k["candidate"] for k in chosen.manifest["kernels"].values() if "workload" in k}
    assert winners == {workload: min(times, key=times.__getitem__) for workload, times in found.items()}
    assert set(winners.values()) != {"window 64 x1"}  # the default
    x = np.random.default_rng(1).integers(-9999, 9999, (64, 1000)).astype("int32")
    for k, result in enumerate(oarlock.Session(chosen).run({"x": x}).values()):
        assert np.array_equal(result, (x + k).max(1))


def test_one_program_is_tuned_at_a_time(saved: Any, tmp_path: Path) -> None:
    with pytest.raises(OarlockError, match="several chips or devices are not tuned"):
        oarlock.tune(saved(lambda: Maxima(1), (4, 7)), "xpu/r200", options={"chips": "k200"}, records=tmp_path / "r.json")


def test_what_each_kernel_gives_is_compared(saved: Any) -> None:
    """A wrong kernel is named, and found where no output of the model shows it."""
    session, _ = each_by_another(saved(Chains, (4, 700), (4, 1), (1,)), graphs=False)
    found = worker._results(session, dict(zip("xro", (X, ROWS, ONE), strict=True)))
    own = {name: array for name, array in found.items() if "#" in name}
    assert len(own) == COUNT and len(found) == 2 * COUNT
    assert any(np.array_equal(array, (X + 3) * ROWS - ONE) for array in own.values())
    judge = contest._Contest.__new__(contest._Contest)
    judge.expected, judge.tolerance = found, 1e-3
    judge._same(found)
    wrong = next(iter(own))
    with pytest.raises(TrialError, match="wrong numbers") as caught:
        judge._same({**found, wrong: found[wrong] + 1})
    assert caught.value.kernel == wrong.split()[0]
