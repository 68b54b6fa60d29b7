"""oarlock profile: the report, its three forms, the artifacts that it refuses, dynamic dims, and the machine's file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from test_contest import tiny_convolution

import oarlock
from oarlock import InputError
from oarlock.cli import USER_ERROR, main
from oarlock.profiling import machine as machines
from oarlock.profiling import measure as measuring
from oarlock.profiling.machine import Level, Peaks
from oarlock.profiling.roofline import Report, Row
from oarlock.reporting import page

PLACES = 12 * 12 * 48
FLOPS = 2 * PLACES * 9 * 16
WEIGHTS = 48 * 16 * 9 * 4
MOVED = (24 * 24 * 16 + PLACES) * 4


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], env={"COLUMNS": "100"})


def artifact(folder: Path, executor: str, **options: Any) -> Path:
    path = folder / f"{executor}.oar"
    oarlock.compile(tiny_convolution(2), threads=1, options={"executor": executor}, **options).save(path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("artifact"), "vm")


def test_json_page_and_table_tell_the_same(file: Path, machine: dict, tmp_path: Path) -> None:
    done = invoke("profile", file, "--runs", 3, "--html", tmp_path / "page.html", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["machine"] == machine and facts["threads"] == 1 and facts["inputs"] == {"x": [1, 16, 24, 24]}
    (kernel,) = [k for k in facts["kernels"] if "conv2d" in k["workload"]]
    assert kernel["flops"] == {"float32": FLOPS} and kernel["weights"] == WEIGHTS and kernel["bytes"] == MOVED + WEIGHTS
    assert kernel["schedule"] == "tiled" and kernel["candidate"]
    assert 0 < kernel["seconds"] <= kernel["median_s"]
    assert sum(k["share"] for k in facts["kernels"]) == pytest.approx(1)
    # weights and data are small enough for the smallest cache: 1e11 bytes and 1e11 operations a second
    assert kernel["roofline_s"] == pytest.approx(max(FLOPS / 1e11, (MOVED + WEIGHTS) / 1e11))
    assert kernel["limit"] == "compute" and kernel["reached"] == pytest.approx(kernel["roofline_s"] / kernel["seconds"])
    assert facts["roofline_s"] == pytest.approx(sum(k["roofline_s"] for k in facts["kernels"]))

    text = (tmp_path / "page.html").read_text()
    embedded = re.search(r'<script type="application/json" id="report">(.*?)</script>', text)
    assert embedded
    shown = json.loads(embedded[1])
    assert {k: shown[k] for k in facts if k != "html"} == {k: v for k, v in facts.items() if k != "html"}
    # nothing is loaded from elsewhere
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")

    table = invoke("profile", file, "--runs", 3, "--top", 1)
    assert table.exit_code == 0, table.output
    assert facts["kernels"][0]["candidate"] in table.output and f"{len(facts['kernels']) - 1} more kernels" in table.output
    assert all(len(line) <= 100 for line in table.output.splitlines() if str(file) not in line)


def test_an_artifact_of_one_function_is_refused(machine: dict, tmp_path: Path) -> None:
    done = invoke("profile", artifact(tmp_path, "aot"))
    assert done.exit_code == USER_ERROR
    assert "one native function" in done.output and "executor=vm" in done.output


def test_an_artifact_takes_no_options(file: Path, machine: dict) -> None:
    done = invoke("profile", file, "--option", "executor=vm")
    assert done.exit_code == USER_ERROR and "takes no options" in done.output


def test_a_page_that_cannot_be_written(file: Path, tmp_path: Path) -> None:
    done = invoke("profile", file, "--html", tmp_path / "none" / "page.html")
    assert done.exit_code == USER_ERROR and "cannot be written there" in done.output


def test_a_model_is_compiled_for_it(machine: dict) -> None:
    """Static dims would make it one function."""
    report = oarlock.profile(tiny_convolution(2), threads=1, runs=2)
    assert report.options["executor"] == "vm" and any("conv2d" in row.workload for row in report.rows)


@pytest.mark.parametrize("size", [24, 40])
def test_dynamic_dims_are_those_of_the_inputs(machine: dict, size: int) -> None:
    shapes = {"x": (1, 16, "h", "w")}
    x = np.zeros((1, 16, size, 32), "float32")
    report = oarlock.profile(tiny_convolution(2), shapes=shapes, threads=1, runs=2, inputs={"x": x})
    (row,) = [row for row in report.rows if "conv2d" in row.workload]
    places = size // 2 * 16 * 48
    assert row.operations == 2 * places * 9 * 16
    assert row.bytes == (size * 32 * 16 + places) * 4 + WEIGHTS
    assert any("dynamic dims" in note for note in report.notes)


def test_a_machine_is_measured_once(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machines.ENV_PATH, str(tmp_path / "folder" / "machine.json"))
    measured = []

    def measure(threads: int, progress: Any = None) -> Peaks:
        measured.append(threads)
        return Peaks(machines.cpu_name(), threads, {"float32": 1e11 + len(measured)}, (Level("memory", 0, 1e10),), 1e-6, "2020-01-02")

    monkeypatch.setattr(measuring, "measure", measure)
    loaded = oarlock.Artifact.load(file)
    assert [oarlock.profile(loaded, runs=1).peaks.flops["float32"] for _ in range(2)] == [1e11 + 1] * 2
    # other load can only slow a measurement down: the best counts
    assert oarlock.profile(loaded, runs=1, remeasure=True).peaks.flops["float32"] == 1e11 + 2
    measured[:] = []
    assert oarlock.profile(loaded, runs=1, remeasure=True).peaks.flops["float32"] == 1e11 + 2
    assert measured == [1]
    machines.file_path().write_text('{"' + machines.cpu_name() + ', 1 thread": {"cpu": 3}}')
    assert machines.known(1) is None
    machines.file_path().write_text("no JSON")
    assert machines.known(1) is None


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(machines.ENV_PATH, str(tmp_path / "file" / "machine.json"))
    with pytest.raises(InputError, match="cannot be kept"):
        machines.keep(Peaks("cpu", 1, {"float32": 1.0}, (Level("memory", 0, 1.0),), 1e-6))


def test_measuring_gives_plausible_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "MEASURE_S", 0.02)
    monkeypatch.setattr(measuring, "ROUNDS", 2)
    peaks = measuring.measure(2)
    rates = [level.rate for level in peaks.levels]
    assert rates == sorted(rates, reverse=True) and peaks.levels[-1].name == "memory"
    assert 1e9 < peaks.flops["float32"] < 1e14 and 1e8 < rates[-1] < 1e13
    assert 0 < peaks.call_s < 1e-3
    assert Peaks.from_json(json.loads(json.dumps(peaks.to_json()))) == peaks


def test_where_data_can_be_sets_the_time() -> None:
    peaks = Peaks("cpu", 1, {"float32": 1e11}, (Level("L2", 1000, 1e11), Level("memory", 0, 1e10)), 1e-6)
    assert [peaks.level_of(size).name for size in (0, 1000, 1001)] == ["L2", "L2", "memory"]
    # float64 takes twice as long; a type that was not measured is taken for float32
    assert peaks.compute_s({"float32": 100, "float64": 100, "bfloat16": 100}) == pytest.approx(4e-9)


def test_names_are_text_on_the_page(machine: dict) -> None:
    row = Row("a<b>&c", 1, 1e-3, 1e-3, 1.0, {"float32": 10}, 5, 5, 0, 1e-4, "memory", "tiled", "w <x> y z", "</script>")
    report = Report("m/<model>", "cpu", {}, 1, {"x": [1]}, 1, 1e-3, 1e-3, (row,), 0.0, 0, Peaks.from_json(machine))
    text = page.render(report)
    assert "<b>&c" not in text and "<model>" not in text.split("<script")[0] and text.count("</script>") == 2


def test_a_profile_needs_no_compiler(file: Path, machine: dict) -> None:
    code = (
        "import sys, oarlock\n"
        f"report = oarlock.profile(oarlock.Artifact.load({str(file)!r}), runs=1)\n"
        "assert report.reached and report.rows\n"
        "assert not {'tvm', 'paddle'} & set(sys.modules)\n"
        "assert 'libtvm_compiler' not in open('/proc/self/maps').read()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.returncode == 0, done.stderr
