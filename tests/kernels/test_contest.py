"""The contest: what crashes, hangs or computes something else cannot win, and harms nothing; what was measured is used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import oarlock
from oarlock import OarlockError
from oarlock.cli import main
from oarlock.kernels import Records
from oarlock.kernels.place import Here, Runner
from oarlock.kernels.trials import Processes
from oarlock.model import Block, Op, Parameter, Program, TensorType, Value

HERE = Path(__file__).parent
KEY = "cpu"


def elementwise(*names: str) -> Program:
    """One output for each operator, all of one input."""
    x = Value("x", TensorType("float32", (4, 64)))
    outs = [Value(name, TensorType("float32", (4, 64))) for name in names]
    ops = [Op("pd_op.data", {}, {"name": "x"}, [x], ["x"])]
    ops += [Op(f"pd_op.{name}", {"x": x}, {}, [out], [name]) for name, out in zip(names, outs, strict=True)]
    return Program(Block([], ops), [x], dict(zip(names, outs, strict=True)), {}, {"path": "by hand"})


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The fake target is installed, for workers too; the file gets a line for each build."""
    facts = tmp_path / "site" / "fake_target-1.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-target\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[oarlock.targets]\nfake = fake_target:FakeTarget\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def test_only_good_kernels_win(log: Path, tmp_path: Path) -> None:
    bad = ["wrong", "aborts", "waits", "crashes the compiler", "hangs the compiler"]
    database = tmp_path / "records.json"
    options = {"offers": ";".join(["slow", "good", *bad])}
    model = elementwise("exp", "sin")
    summary = oarlock.tune(model, "fake", threads=1, options=options, records=database, minutes=5, run_limit_s=1.0, build_limit_s=20.0)
    winners = {row.workload: row.winner for row in summary.rows}
    assert winners == {"fake exp": "good", "fake sin": "good"}
    assert {candidate for workload, candidate, _ in summary.failed if workload == "fake exp"} == set(bad)
    reasons = {candidate: reason for _, candidate, reason in summary.failed}
    for name, said in zip(bad, ["wrong numbers in exp", "SIGABRT", "the model hung", "SIGABRT", "the compiler hung"], strict=True):
        assert said in reasons[name]
    assert summary.left == 0 and 0 < summary.tuned_s < summary.default_s / 2
    # the artifact of the winners, and a compilation that finds the records, are made of them
    compiled = oarlock.compile(model, "fake", threads=1, options=options, records=database)
    for artifact in (summary.artifact, compiled):
        assert artifact is not None
        facts = artifact.manifest["kernels"].values()
        assert {(k["workload"], k["candidate"]) for k in facts} == {("fake exp", "good"), ("fake sin", "good")}
    x = np.linspace(-1, 1, 256, dtype="float32").reshape(4, 64)
    assert np.allclose(oarlock.Session(compiled).run({"x": x})["exp"], np.exp(x), atol=1e-6)
    # and nothing is measured twice
    before = len(log.read_text().splitlines())
    again = oarlock.tune(model, "fake", threads=1, options=options, records=database, minutes=5)
    assert (
        again.trials == 0 and len(log.read_text().splitlines()) == before + 3
    )  # the default, and then it and the winners as they will run


def test_a_wrong_kernel_among_others_is_found(log: Path, tmp_path: Path) -> None:
    """A trial that fails is halved: the candidates beside the wrong one are still measured."""
    database = tmp_path / "records.json"
    options = {"offers": "slow;wrong"}
    summary = oarlock.tune(elementwise("sin", "exp", "tanh", "cos"), "fake", threads=1, options=options, records=database, minutes=5)
    assert {row.workload: row.winner for row in summary.rows} == {
        "fake exp": "slow",
        "fake sin": "good",
        "fake tanh": "good",
        "fake cos": "good",
    }
    assert [(w, c) for w, c, _ in summary.failed] == [("fake exp", "wrong")]


def test_a_candidate_that_loses_a_result_fails(log: Path, tmp_path: Path) -> None:
    class Losing(Here):
        def runner(self, artifact: Path, inputs: Path) -> Runner:
            runner = super().runner(artifact, inputs)
            if artifact.parent.name == "build1":  # the only trial
                runner.outputs = lambda limit_s: {}  # type: ignore[method-assign]
            return runner

    processes = Processes()
    try:
        place = Losing(processes, 1)
        summary = oarlock.tune(elementwise("exp"), "fake", threads=1, records=tmp_path / "r.json", minutes=5, place=place)
    finally:
        processes.end_all()
    assert summary.failed == [("fake exp", "good", "there is no result exp")]


def test_no_time_measures_the_default_alone(log: Path, tmp_path: Path) -> None:
    summary = oarlock.tune(elementwise("exp"), "fake", threads=1, records=tmp_path / "r.json", minutes=0.001)
    assert summary.trials == 0 and summary.left == 1 and [row.winner for row in summary.rows] == ["slow"]


def test_a_default_that_does_not_run_is_an_error(log: Path, tmp_path: Path) -> None:
    for offers, said in (("aborts", "does not run"), ("crashes the compiler", "does not compile")):
        with pytest.raises(OarlockError, match=said):
            oarlock.tune(elementwise("exp"), "fake", threads=1, options={"offers": offers + ";good"}, records=tmp_path / "r.json")


def test_interrupt_leaves_records_and_no_process(log: Path, tmp_path: Path) -> None:
    """Ctrl-C in the middle: the database is whole, and the compiler that hung is gone."""
    database = tmp_path / "records.json"
    code = f"""
import signal, sys; sys.path[:0] = {[str(HERE), str(tmp_path / "site")]!r}
signal.signal(signal.SIGINT, signal.default_int_handler)  # what started the tests may have it ignored
import oarlock, test_contest
oarlock.tune(test_contest.elementwise("exp"), "fake", threads=1, options={{"offers": "slow;good;hangs the compiler"}},
             records={str(database)!r}, progress=lambda what, done, total: print(what, done, flush=True))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    builds = 0
    end = time.monotonic() + 120
    while builds < 3 and time.monotonic() < end:  # the default, and both trials: one of them hangs
        builds = len(log.read_text().splitlines()) if log.exists() else 0
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    assert "slow" in {candidate for _, _, candidate, _ in Records.load(database)}
    mine = [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"oarlock.kernels.worker" in _read(p) and str(tmp_path) in _environment(p)]
    assert not mine


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _environment(path: Path) -> str:
    return _read(path.with_name("environ")).decode(errors="replace")


# ---- the CPU target itself -------------------------------------------------------------------------------------------


def tiny_convolution(stride: int = 1) -> Program:
    """With a stride of 1, Winograd's kernel is the default."""
    rng = np.random.default_rng(0)
    x = Value("x", TensorType("float32", (1, 16, 24, 24)))
    w = Value("w", TensorType("float32", (48, 16, 3, 3)))
    y = Value("y", TensorType("float32", (1, 48, 24 // stride, 24 // stride)))
    parameter = Parameter("w", TensorType("float32", (48, 16, 3, 3)), rng.standard_normal((48, 16, 3, 3)).astype("float32"))
    attributes = {
        "strides": [stride, stride],
        "paddings": [1, 1],
        "padding_algorithm": "EXPLICIT",
        "dilations": [1, 1],
        "groups": 1,
        "data_format": "NCHW",
    }
    ops = [
        Op("pd_op.data", {}, {"name": "x"}, [x], ["out"]),
        Op("builtin.parameter", {}, {"parameter_name": "w"}, [w], ["out"]),
        Op("pd_op.conv2d", {"input": x, "filter": w}, attributes, [y], ["out"]),
    ]
    return Program(Block([], ops), [x], {"y": y}, {"w": parameter}, {"path": "by hand"})


def test_a_convolution_is_tuned_and_compile_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "records.json"
    monkeypatch.setenv("OARLOCK_RECORDS", str(database))
    model = tiny_convolution()
    summary = oarlock.tune(model, threads=1, minutes=0.5)
    (row,) = [row for row in summary.rows if row.workload.startswith("conv2d")]
    assert row.workload == "conv2d float32 1x24x24x16 o48 k3x3 s1x1 p1,1,1,1 d1x1 g1"
    assert summary.trials >= 1 and row.tried >= 2
    # whatever won: the fastest recorded is what a second compilation takes, and a record that says otherwise is followed
    (kernel,) = [k for k in oarlock.compile(model, threads=1).manifest["kernels"].values() if "conv2d" in k.get("workload", "")]
    assert kernel["candidate"] == row.winner
    stored = Records.load(database)
    (key,) = {key for key, *_ in stored}
    names = [name for _, workload, name, entry in stored if workload == row.workload and "seconds" in entry]
    other = next(name for name in names if name != row.winner)
    stored.put(key, "", row.workload, other, 1e-9, 1)
    stored.save(database)
    (kernel,) = [k for k in oarlock.compile(model, threads=1).manifest["kernels"].values() if "conv2d" in k.get("workload", "")]
    assert kernel["candidate"] == other
    (kernel,) = [
        k for k in oarlock.compile(model, threads=1, records=False).manifest["kernels"].values() if "conv2d" in k.get("workload", "")
    ]
    assert kernel["candidate"] == row.default


def test_commands(tmp_path: Path) -> None:
    """``records merge`` and ``records show``; the command ``tune`` says what it cannot read."""
    for number, name in enumerate(("a", "b")):
        records = Records()
        records.put(f"cpu {name}", "f", "product", "4x4", 1e-3 * (number + 1), 1)
        records.save(tmp_path / f"{name}.json")
    run = CliRunner().invoke
    joined = str(tmp_path / "c.json")
    assert run(main, ["records", "merge", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "-o", joined]).exit_code == 0
    shown = run(main, ["records", "show", joined, "--json"])
    assert {(row["target"], row["seconds"]) for row in json.loads(shown.stdout)} == {("cpu a", 1e-3), ("cpu b", 2e-3)}
    (tmp_path / "bad.json").write_text("{")
    result = run(main, ["tune", str(HERE), "--records", str(tmp_path / "bad.json")])
    assert result.exit_code == 3
    assert run(main, ["tune", str(HERE), "--search-trials", "0"]).exit_code == 2
