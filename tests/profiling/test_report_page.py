"""The report's page in a browser, the run call by call behind it, the trace, and diff."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from faulty import FAULTS, MODELS
from test_contest import tiny_convolution

import oarlock
from oarlock.checking.oracle import export_call
from oarlock.cli import main
from oarlock.profiling.profiler import profile_with_peaks
from oarlock.profiling.trace import chrome_trace
from oarlock.reporting.report import ModelReport
from oarlock.runtime.profile import profile
from oarlock.runtime.recording import record
from oarlock.targets.web import chromium

ROOT = Path(__file__).parents[2]
browser = pytest.mark.skipif(
    chromium.find() is None or shutil.which("node") is None or not (ROOT / "web/node_modules/playwright-core").exists(),
    reason="there is no Chromium, or no Node with web/node_modules",
)
CONV = 48 * 12 * 12 * 4  # bytes
INPUT = 16 * 24 * 24 * 4


@pytest.fixture(scope="module")
def tiny() -> oarlock.Artifact:
    return oarlock.compile(tiny_convolution(2), threads=1, options={"executor": "vm"})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    pytest.importorskip("paddle", reason="paddlepaddle is the reference")
    out = {}
    for name in ("conv", "decoder"):
        folder = tmp_path_factory.mktemp(name)
        export_call(MODELS[name].call, MODELS[name].inputs, {}, folder / "inference", dynamic=False)
        out[name] = folder / "inference.json"
    return out


def strict(text: str) -> Any:
    """JSON as its standard has it."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def open_page(page: Path) -> dict[str, Any]:
    script = str(ROOT / "tools/page_pictures.mjs")
    done = subprocess.run(["node", script, str(page)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- the run call by call ---------------------------------------------------------------------------------------------


def test_memory_is_what_the_tensors_take(tiny: oarlock.Artifact, machine: dict) -> None:
    """Into channels last, the convolution, back: what one call reads is there until it is done."""
    program = oarlock.profile(tiny, runs=2).program
    assert [call["title"] for call in program["calls"]] == ["transpose", "conv2d", "conv2d"]
    assert program["live"] == [INPUT, INPUT + CONV, 2 * CONV]
    assert program["peak"]["call"] == 1 and program["peak"]["bytes"] == INPUT + CONV
    tensors = program["tensors"]
    assert {tensors[n]["bytes"] for n in program["peak"]["tensors"]} == {INPUT, CONV}
    assert program["weights"] == 48 * 16 * 9 * 4 and program["inputs"] == INPUT and program["planned"] >= INPUT + CONV
    assert [call["weights"] for call in program["calls"]] == [0, 48 * 16 * 9 * 4, 0]
    kinds = {t["name"]: t["kind"] for t in tensors}
    assert kinds["x"] == "input" and sorted(t["kind"] for t in tensors) == ["activation", "activation", "input", "output", "weight"]
    # each reads what the one before makes
    for before, after in zip(program["calls"], program["calls"][1:], strict=False):
        assert set(before["gives"]) & set(after["reads"])


def test_calls_in_a_loop_stand_once(in_paddle: object, machine: dict, tmp_path: Path) -> None:
    def call(paddle: Any, x: Any, n: Any) -> Any:
        i = paddle.zeros([], "int64")
        _, y = paddle.static.nn.while_loop(lambda i, x: i < n, lambda i, x: [i + 1, paddle.tanh(x) * 0.5], [i, x])
        return paddle.nn.functional.softmax(y)

    inputs = {"x": np.linspace(-2, 2, 20, dtype="float32").reshape(4, 5), "n": np.array(7)}
    export_call(call, inputs, {}, tmp_path / "inference", dynamic=False)
    report = oarlock.profile(tmp_path, threads=1, inputs=inputs, runs=2)
    (inside,) = [c for c in report.program["calls"] if "tanh" in c["title"]]
    assert inside["times"] == 7 and inside["function"] != "main"
    (row,) = [r for r in report.rows if r.name == inside["kernel"]]
    assert row.calls == 7 and inside["seconds"] == pytest.approx(row.seconds)
    events = strict(chrome_trace(report))["traceEvents"]
    assert len([e for e in events if e.get("args", {}).get("kernel") == inside["kernel"]]) == 2 * 7


def test_a_device_brings_its_own_time(tiny: oarlock.Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    session = oarlock.Session(tiny)
    ticks = iter(range(1 << 20))
    monkeypatch.setattr(session, "clock", lambda: float(next(ticks)))
    times = profile(session, {"x": np.zeros((1, 16, 24, 24), "float32")}, runs=3)
    assert {(t.seconds, t.median) for t in times if t.name == "conv2d"} == {(1.0, 1.0)}


def test_profiling_keeps_the_compiler_driver(machine: dict, tmp_path: Path) -> None:
    driver = tmp_path / "driver"
    driver.write_text(f'#!/bin/sh\ntouch "{tmp_path}/used"\nexec c++ "$@"\n')
    driver.chmod(driver.stat().st_mode | stat.S_IXUSR)
    oarlock.profile(tiny_convolution(2), threads=1, options={"cxx": str(driver)}, runs=1)
    assert (tmp_path / "used").exists()


# ---- the trace --------------------------------------------------------------------------------------------------------


def test_a_trace_has_what_perfetto_reads(tiny: oarlock.Artifact, machine: dict) -> None:
    report = oarlock.profile(tiny, runs=4)
    document = strict(chrome_trace(report))
    events = document["traceEvents"]
    assert {e["ph"] for e in events} == {"M", "X", "C"}
    for event in events:
        assert isinstance(event["name"], str) and isinstance(event["pid"], int)
        if event["ph"] == "X":
            assert event["ts"] >= 0 and event["dur"] >= 0 and isinstance(event["tid"], int) and event["cat"]
    stamps = [e["ts"] for e in events if "ts" in e]
    assert stamps == sorted(stamps)
    lanes = {e["args"]["name"]: e["tid"] for e in events if e["name"] == "thread_name"}
    runs = [e for e in events if e.get("cat") == "run"]
    kernels = [e for e in events if e.get("cat") == "kernel"]
    assert len(runs) == 4 and len(kernels) == 4 * 3 and {e["tid"] for e in runs} == {lanes["runs"]}
    for run in runs:  # each run holds its own three calls, one after another
        inside = [e for e in kernels if run["ts"] <= e["ts"] and e["ts"] + e["dur"] <= run["ts"] + run["dur"] + 1e-6]
        assert [e["name"] for e in inside] == ["transpose", "conv2d", "conv2d"]
        assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-6 for a, b in zip(inside, inside[1:], strict=False))
        facts = inside[1]["args"]
        assert facts["FLOP"] == 2 * 48 * 12 * 12 * 9 * 16 and facts["bytes"] == INPUT + CONV + 48 * 16 * 9 * 4
        assert facts["reads"][0] == "float32[1, 24, 24, 16]" and facts["gives"] == ["float32[1, 12, 12, 48]"]
    assert {e["args"]["bytes"] for e in events if e["ph"] == "C"} == {INPUT, INPUT + CONV, 2 * CONV}


# ---- the page ---------------------------------------------------------------------------------------------------------


@browser
def test_the_page_shows_every_kernel_and_picks_one_everywhere(
    exported: dict[str, Path], in_paddle: Any, machine: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FAULTS["hardswish"].plant(monkeypatch)
    report: ModelReport = oarlock.report(exported["conv"], threads=1, inputs=MODELS["conv"].inputs, runs=2, run=in_paddle)
    page = tmp_path / "page.html"
    page.write_text(report.html(), encoding="utf-8")
    shown = open_page(page)
    assert shown["errors"] == []
    artifact = oarlock.compile(exported["conv"], threads=1, options={"executor": "vm"})
    calls = artifact.manifest["calls"]["main"]  # there is no branch: each runs once
    assert shown["nodes"] == shown["calls"] == len(calls)
    assert shown["rows"] == len({kernel for kernel, _ in calls})
    operations = artifact.manifest["operations"]
    named = [[operations[str(n)][0] for n in numbers] for _, numbers in calls]
    assert shown["found"] == sum(any("conv2d" in operator for operator in operators) for operators in named)
    assert set(shown["picked"]) == {"node", "row", "dot", "block", "layer"}
    for way, marks in shown["picked"].items():
        assert len(marks["nodes"]) == 1 and marks["layers"] == marks["nodes"], way
        assert marks["rows"] == [calls[marks["nodes"][0]][0]] and marks["dots"] in ([], marks["rows"]), way
        assert marks["title"] and marks["blocks"], way
    # the planted fault is on the page
    assert report.accuracy is not None and report.accuracy.wrong == 1
    text = page.read_text()
    assert "1 over the tolerance" in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_a_report_without_paddle_says_so(machine: dict) -> None:
    found = oarlock.report(tiny_convolution(2), threads=1, runs=1, python=shutil.which("false"))
    assert found.accuracy is None and found.without
    assert "Not compared with Paddle" in found.html()


def test_names_cannot_break_out_of_the_page(tiny: oarlock.Artifact, machine: dict) -> None:
    manifest = json.loads(json.dumps(tiny.manifest))
    manifest["operations"] = {n: [o, "</script><b>"] for n, (o, _) in manifest["operations"].items()}
    artifact = oarlock.Artifact(tiny.library, tiny.weights, tiny.signature, manifest)
    report = profile_with_peaks(oarlock.Session(artifact), {"x": np.zeros((1, 16, 24, 24), "float32")}, runs=1, model="m/<model>")
    text = ModelReport(report, None).html()
    assert "</script><b>" not in text and "<model>" not in text.split("<script")[0] and text.count("</script>") == 2


# ---- diff -------------------------------------------------------------------------------------------------------------


def test_diff_finds_where_two_builds_part(
    exported: dict[str, Path], machine: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"threads": 1, "options": {"executor": "vm"}}
    oarlock.compile(exported["decoder"], **options).save(tmp_path / "a.oar")
    with monkeypatch.context() as patch:
        FAULTS["legalising"].plant(patch)  # tanh gives 1.02 of what it should
        oarlock.compile(exported["decoder"], **options).save(tmp_path / "b.oar")
    np.savez(tmp_path / "x.npz", **MODELS["decoder"].inputs)
    arguments = ["diff", str(tmp_path / "a.oar"), str(tmp_path / "b.oar"), "--npz", str(tmp_path / "x.npz"), "--runs", "2"]
    done = CliRunner().invoke(main, [*arguments, "--json", "--html", str(tmp_path / "diff.html")])
    assert done.exit_code == 1, done.output
    facts = strict(done.stdout)
    assert not facts["ok"] and facts["outputs"][0]["max_rel"] == pytest.approx(0.02, rel=1e-3)
    rows = facts["rows"]
    for side in "ab":  # every call of both stands in one row
        assert sorted(n for row in rows if row[side] for n in row[side]["calls"]) == list(range(facts[side]["calls"]))
    differ = [row for row in rows if row["difference"] and row["difference"] > facts["tolerance"]]
    assert len(differ) == 1 and "tanh" in differ[0]["title"]
    assert sum(row["compared"] for row in rows) >= len(rows) - 1
    if shutil.which("node") and chromium.find() and (ROOT / "web/node_modules/playwright-core").exists():
        shown = open_page(tmp_path / "diff.html")
        assert shown["errors"] == [] and "Kernels that compute the same" in shown["sections"]
    same = CliRunner().invoke(main, ["diff", str(tmp_path / "a.oar"), str(tmp_path / "a.oar"), "--runs", "1"], env={"COLUMNS": "120"})
    assert same.exit_code == 0 and "the same within the tolerance" in same.output, same.output
    wider = CliRunner().invoke(main, [*arguments, "--tolerance", "0.05"])
    assert wider.exit_code == 0


def test_diff_matches_what_was_fused_otherwise(exported: dict[str, Path], machine: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """One side without fusion: rows have several calls of it for one of the other, and the numbers are the same."""
    from oarlock.reporting.diff import Build, diff

    options = {"executor": "vm"}
    a = oarlock.compile(exported["conv"], threads=1, options=options)
    with monkeypatch.context() as patch:
        patch.setattr("oarlock.pipeline._fuse_operators", lambda mod, groups: mod)
        b = oarlock.compile(exported["conv"], threads=1, options=options)
    found = diff(a, Build(b), MODELS["conv"].inputs, runs=1)
    assert found.ok and found.b.calls > found.a.calls
    assert all(row.difference < 1e-5 for row in found.rows if row.difference is not None)
    assert any(row.a and row.b and len(row.b.calls) > len(row.a.calls) for row in found.rows)
    assert all(row.a and row.b for row in found.rows)


def test_diff_refuses_models_that_have_other_inputs(tiny: oarlock.Artifact, exported: dict[str, Path]) -> None:
    with pytest.raises(oarlock.InputError, match="differ"):
        oarlock.diff(tiny, oarlock.Build(exported["conv"], threads=1))


def test_a_recording_needs_no_compiler(tiny: oarlock.Artifact, tmp_path: Path) -> None:
    tiny.save(tmp_path / "m.oar")
    code = (
        "import sys, numpy as np, oarlock\n"
        "from oarlock.runtime.recording import record\n"
        f"session = oarlock.Session({str(tmp_path / 'm.oar')!r})\n"
        "found = record(session, {'x': np.zeros((1, 16, 24, 24), 'float32')})\n"
        "assert len(found.calls) == 3 and not {'tvm', 'paddle'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert len(record(oarlock.Session(tiny), {"x": np.zeros((1, 16, 24, 24), "float32")}).calls) == 3
