"""Schedules of generated kernels: all give the same numbers, under the emulator's checks; and tuning, by modelled time."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.compiler import compile_program, make_target
from oarlock.errors import OarlockError
from oarlock.kernels import Choices, Records
from oarlock.model import load_model
from oarlock_xpu import native
from oarlock_xpu.chips import chip
from oarlock_xpu.compiler import toolchain
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
        return tuple((x * (2 * k - 1)).argsort(1) for k in range(2))


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


@pytest.mark.parametrize("dim", [0, 1])
def test_loops_are_the_same_by_every_schedule(saved: Any, dim: int) -> None:
    """Few results of many elements have schedules by which cores share what is reduced, too."""
    session, made = each_by_another(saved(lambda: Maxima(dim=dim), (4, 700)), checked=True)
    assert len(set(made.values())) > 3 and any("shared" in name for name in made.values())
    assert len({name for name in made.values() if "split" in name}) >= 3 * dim
    for k, found in enumerate(session.run({"x": X}).values()):
        assert np.array_equal(found, (X + k).max(dim))


@pytest.mark.parametrize("shared", [True, False])
def test_what_the_data_address_lies_in_shared_memory(saved: Any, shared: bool) -> None:
    """By default, where it fits: a sort moves nothing but its tensors, once, instead of a window at most of its steps."""
    choices = Choices(None if shared else lambda workload, names: next(n for n in names if "shared" not in n))
    target = make_target("xpu/r200", None, {"graphs": False, "checked": True})
    session = oarlock.Session(compile_program(load_model(saved(Order, (3, 65))), target, None, choices))
    x = np.random.default_rng(2).permutation(3 * 65).reshape(3, 65).astype("int32")
    counters(reset=True)
    for k, found in enumerate(session.run({"x": x}).values()):
        assert np.array_equal(found, (x * (2 * k - 1)).argsort(1))
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


class Detector(nn.Layer):
    """Suppression, whose results are larger than what it finds, beside a loop whose first candidate is not the best."""

    def forward(self, boxes: Any, scores: Any, x: Any) -> Any:
        out, _, each = paddle._C_ops.multiclass_nms3(boxes, scores, None, 0.5, 20, -1, 0.3, True, 1.0, -1)
        return out, each, x.max(1)


# The sorting kernel, where it has windows of 256: it loses the last box, for the one before.
PLANT = """set -e
cp "$1" "$1.cc"
if grep -q "float, true, false, 256> xpu_w" "$1"; then
  sed -i -E '/ sort_kernel\\(/,/^}/s/(xpu_w0\\.write\\(.*, )v_1\\);/\\1v_1 < 38 ? v_1 : 38);/' "$1.cc"
fi
"""


def test_tuning_records_modelled_times_that_compile_chooses_by(export: Any, tmp_path: Path) -> None:
    """No right candidate fails, and a wrong one does, though no output of the model shows it.  Stopped in the middle, as by Ctrl-C: what
    was found until then counts."""
    specs = [Spec((1, 40, 4), "float32", "boxes"), Spec((1, 3, 40), "float32", "scores"), Spec((64, 1000), "int32", "x")]
    path, _ = export(Detector, tmp_path / "m", specs, 0)
    rng, script, database = np.random.default_rng(1), tmp_path / "xcc", tmp_path / "records.json"
    boxes, scores = rng.random((1, 40, 4), dtype="float32"), rng.random((1, 3, 40), dtype="float32")
    boxes[..., 2:] += boxes[..., :2]
    scores[..., 38:] = 0
    inputs = {"boxes": boxes, "scores": scores, "x": rng.integers(-9999, 9999, (64, 1000)).astype("int32")}
    script.write_text(f'{PLANT}{shlex.join(toolchain.host_command(native.compiler(), False))} "$1.cc" -o "$2"\n')

    def stop(what: str, done: int, total: int) -> None:
        if what == "building" and done > 1:
            raise KeyboardInterrupt

    options = {"xcc": f"sh {script} {{source}} {{output}}"}
    with pytest.raises(KeyboardInterrupt):
        oarlock.tune(path, "xpu/r200", minutes=60, records=database, progress=stop, options=options, inputs=inputs)
    found: dict[str, dict[str, Any]] = {}
    failed: dict[tuple[str, str], str] = {}
    for key, workload, candidate, entry in Records.load(database):
        if "failed" in entry:
            failed[workload, candidate] = entry["failed"]
            continue
        assert key == "xpu/r200" and entry["modelled"] and entry["seconds"] > chip("r200").launch_us * 1e-6
        found.setdefault(workload, {})[candidate] = entry["seconds"]
    chosen = oarlock.compile(path, "xpu/r200", records=database)
    made = {name: (k["workload"], k["candidate"]) for name, k in chosen.manifest["kernels"].items() if "workload" in k}
    assert [*failed] == [(made["sort"][0], "window 256 x1")] and all("wrong numbers in sort #" in why for why in failed.values())
    assert len(found) == len(made) == 4 and all(len(times) > 1 for times in found.values())
    assert dict(made.values()) == {workload: min(times, key=times.__getitem__) for workload, times in found.items()}
    assert made["max"][1] != "window 64 x1"  # the default
    out, each, most = oarlock.Session(chosen).run(inputs).values()
    expected = [array.numpy() for array in Detector()(*map(paddle.to_tensor, inputs.values()))]
    assert np.allclose(out, expected[0]) and np.array_equal(each, expected[1]) and np.array_equal(most, expected[2])


def test_one_program_is_tuned_at_a_time(saved: Any, tmp_path: Path) -> None:
    with pytest.raises(OarlockError, match="several chips or devices are not tuned"):
        oarlock.tune(saved(lambda: Maxima(1), (4, 7)), "xpu/r200", options={"chips": "k200"}, records=tmp_path / "r.json")
