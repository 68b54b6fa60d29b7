"""Layers: what each kernel gives, dumped and beside Paddle; on the XPU, and on the CPU."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import oarlock
from oarlock.cli import main
from oarlock.errors import ArtifactError, InputError
from oarlock.profiling.profiler import profile
from oarlock.runtime.layers import dump_layers, read_index, read_layer

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models and computes what is expected")
nn = paddle.nn


class Net(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2D(3, 6, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2D(6, 4, 1), nn.Hardswish())
        self.head = nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        x = self.second(self.first(x))
        return nn.functional.log_softmax(self.head(x.mean([2, 3])), -1)


@pytest.fixture(scope="module")
def model(
    tmp_path_factory: pytest.TempPathFactory, export: Callable[..., Any]
) -> tuple[Path, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A model, an input, and what Paddle's own layers give for it."""
    spec = [paddle.static.InputSpec([1, 3, 9, 8], "float32", "x")]
    path, net = export(Net, tmp_path_factory.mktemp("layers") / "net", spec, 2)
    x = np.random.default_rng(0).standard_normal((1, 3, 9, 8)).astype("f4")
    first = net.first(paddle.to_tensor(x))
    second = net.second(first)
    return path, {"x": x}, {"relu": first.numpy(), "hardswish": second.numpy()}


@pytest.mark.parametrize(("target", "options"), [("xpu/r200", {"graphs": False}), ("cpu", {"executor": "vm"})])
def test_layers_are_dumped_by_name(target: str, options: dict[str, Any], model: Any, tmp_path: Path) -> None:
    path, inputs, expected = model
    with oarlock.Session(oarlock.compile(path, target, options=options, records=False)) as session:
        outputs, count = dump_layers(session, inputs, tmp_path)
        assert list(session.run(inputs).values())[0].tobytes() == list(outputs.values())[0].tobytes()
        entries = list(read_index(tmp_path))
        assert count == len(entries) == len(list(tmp_path.glob("*.npz"))) >= 3
        for operator, values in expected.items():
            (entry,) = [e for e in entries if e["name"].endswith(f"{operator}_0") and not e["step"]]
            assert operator in entry["operators"] and entry["name"].startswith("/Sequential")
            (found,) = read_layer(tmp_path, entry)
            if found.shape != values.shape:  # the CPU's layout has channels last, in blocks or not
                found = np.moveaxis(found, -1, 1) if found.shape[-1] == values.shape[1] else found
            assert np.abs(np.sort(found, None) - np.sort(values, None)).max() <= 1e-6
        _, some = dump_layers(session, inputs, tmp_path / "some", "*hardswish*")
        assert 0 < some < count
        with pytest.raises(InputError, match=r"no layer has a name like 'nothing\*'"):
            dump_layers(session, inputs, tmp_path, "nothing*")


def test_check_compares_layers_with_paddle(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _, _ = model
    done = CliRunner().invoke(main, ["check", str(path), "--target", "xpu/r200", "--layers", "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    names = [layer["name"].rsplit("/", 1)[-1] for layer in report["layers"]["layers"]]
    assert report["ok"] and report["layers"]["ok"] and "relu_0" in names and "hardswish_0" in names
    assert all(layer["max_rel"] < 1e-5 for layer in report["layers"]["layers"])
    # a library that computes relu of half of what it should is found at its layer, and not before
    from oarlock_xpu.compiler import rewrite

    def wrong(mod: Any, plan: Any, known: Any = rewrite.apply_plan) -> Any:
        made = known(mod, plan)
        calls = rewrite.calls_of(made)
        for call in calls.values():
            if call.get("act") == "relu":
                call["act"] = "relu6" if "act_alpha" in call else "sigmoid"
        return made.with_attr(rewrite.CALLS, json.dumps(calls))

    monkeypatch.setattr("oarlock_xpu.target.apply_plan", wrong)
    done = CliRunner().invoke(main, ["check", str(path), "--target", "xpu/r200", "--layers", "--json"])
    assert done.exit_code == 1
    wrong_layers = [layer["name"] for layer in json.loads(done.stdout)["layers"]["layers"] if not layer["ok"]]
    assert wrong_layers[0].endswith("relu_0")


def test_profiles_tell_bytes_by_memory(model: Any, tmp_path: Path) -> None:
    path, inputs, _ = model
    page = tmp_path / "page.html"
    for options, there in (({}, {"GDDR", "L3"}), ({"l3": "0"}, {"GDDR"})):
        report = profile(path, "xpu/r200", options=options, inputs=inputs, runs=1)
        assert there <= set(report.memory) <= there | {"local", "shared"}
        assert any("modelled" in note for note in report.notes)
        rows = {row.schedule.removeprefix("library "): row for row in report.rows}
        for row in (rows["conv2d_fusion"], rows["fc_fusion"]):  # what their shapes say, the emulator has counted
            for how, size in (("read", row.read), ("written", row.written)):
                assert sum(sizes.get(how, 0) for memory, sizes in row.memory.items() if memory in there) == size, (row.name, how)
        assert rows["conv2d_fusion"].memory["local"]["held"] <= 1 << 20  # a matrix unit's buffer
    done = CliRunner().invoke(main, ["profile", str(path), "--target", "xpu/r200", "--runs", "1", "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert "GDDR, L3: MB moved" in done.output and re.search(r"GDDR: [\d,]+ bytes read, [\d,]+ bytes written", done.output)
    text = page.read_text(encoding="utf-8")
    assert "to and from GDDR" in text and '"L3": {"' in text.replace('":{"', '": {"')
    done = CliRunner().invoke(main, ["profile", str(path), "--target", "xpu/r200", "--runs", "1", "--json"])
    found = json.loads(done.stdout)
    totals = [sum(kernel["memory"].get("GDDR", {}).get("read", 0) for kernel in found["kernels"]), found["memory"]["GDDR"]["read"]]
    assert totals[0] == totals[1] > 0
    assert profile(path, "cpu", inputs=inputs, runs=1).memory == {}  # where nothing counts


def test_artifacts_whose_kernels_run_together_have_no_layers(model: Any, tmp_path: Path) -> None:
    path, inputs, _ = model
    for target, options, what in (("xpu/r200", {}, "graphs=false"), ("cpu", {"executor": "aot"}, "executor=vm")):
        artifact = oarlock.compile(path, target, options=options, records=False)
        with oarlock.Session(artifact) as session, pytest.raises(ArtifactError) as raised:
            dump_layers(session, inputs, tmp_path)
        assert what in raised.value.todo
    done = CliRunner().invoke(main, ["run", str(path), "--target", "xpu/r200", "--dump", str(tmp_path / "d"), "--dump-layers", "*relu*"])
    assert done.exit_code == 0 and (tmp_path / "d" / "index.json").exists(), done.output
