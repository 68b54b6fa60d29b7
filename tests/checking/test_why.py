"""why: planted faults are traced to the operator and the stage, right models have none, memory does not grow with depth."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from faulty import FAULTS, MODELS, converter

from oarlock.checking import trace as tracing
from oarlock.checking.oracle import export_call
from oarlock.checking.reference import PaddleReference
from oarlock.checking.sites import in_layout
from oarlock.checking.why import Why, why
from oarlock.cli import main
from oarlock.errors import TargetError
from oarlock.runtime import host

pytest.importorskip("paddle", reason="paddlepaddle is the reference")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = {}
    for name, model in MODELS.items():
        folder = tmp_path_factory.mktemp(name)
        export_call(model.call, model.inputs, {}, folder / "inference", dynamic=False)
        out[name] = folder / "inference.json"
    return out


def find(exported: dict[str, Path], name: str, in_paddle: object, folder: Path | None = None) -> Why:
    return why(exported[name], MODELS[name].inputs, threads=1, run=in_paddle, folder=folder)


@pytest.mark.parametrize("name", MODELS)
def test_a_right_model_has_no_guilty_kernel(name: str, exported: dict[str, Path], in_paddle: object) -> None:
    found = find(exported, name, in_paddle)
    assert found.ok and found.wrong == 0
    assert len(found.layers) >= 3
    assert max(layer.introduced for layer in found.layers) < 1e-5


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_traced_to_its_operator_and_stage(
    name: str, exported: dict[str, Path], in_paddle: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault = FAULTS[name]
    with monkeypatch.context() as patch:
        fault.plant(patch)
        found = find(exported, fault.model, in_paddle, tmp_path)
        (guilt,) = found.guilty
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(guilt.script, run_name="__main__")
        assert ended.value.code == 1
    assert fault.operator in [o.operator for o in guilt.operations], guilt.text
    assert guilt.blame is not None and guilt.blame.stage == fault.stage, guilt.text
    # with the fault taken out, what showed it passes
    done = subprocess.run([sys.executable, guilt.script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_tells_the_same(exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **MODELS["decoder"].inputs)
    arguments = ["why", str(exported["decoder"]), "--npz", str(tmp_path / "x.npz"), "--threads", "1"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0 and "no kernel introduces more" in done.stdout, done.output
    FAULTS["legalising"].plant(monkeypatch)
    done = CliRunner().invoke(main, [*arguments, "--json", "-o", str(tmp_path / "fault")])
    assert done.exit_code == 1
    facts = json.loads(done.stdout)
    (guilt,) = facts["guilty"]
    assert [o["operator"] for o in guilt["operations"]] == ["tanh"] and guilt["blame"]["stage"] == "legalise"
    assert {p.name for p in Path(guilt["script"]).parent.iterdir()} == {
        "model", "inputs.npz", "expected.npz", "reproduce.py", "why.json"
    }  # fmt: skip


def test_memory_does_not_grow_with_depth(monkeypatch: pytest.MonkeyPatch, in_paddle: object, tmp_path: Path) -> None:
    monkeypatch.setattr(tracing, "CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(tracing, "MOST_SITES", 6)
    most: dict[int, int] = {}

    class Counted(PaddleReference):
        def fetch(self, wanted: Any) -> Any:
            out = super().fetch(wanted)
            most[depth] = max(most.get(depth, 0), sum(a.nbytes for a in out.values()))
            return out

    monkeypatch.setattr("oarlock.checking.why.PaddleReference", Counted)
    for depth in (6, 30):

        def call(paddle: Any, x: Any, depth: int = depth) -> Any:
            for _ in range(depth):
                x = paddle.nn.functional.softmax(paddle.cumsum(x, 1))
            return x

        folder = tmp_path / str(depth)
        export_call(call, {"x": np.ones((16, 64), "float32")}, {}, folder / "inference", dynamic=False)
        assert len(why(folder / "inference.json", threads=1, run=in_paddle).layers) == 2 * depth
    assert most[30] == most[6]


def test_where_chunks_end_changes_nothing(exported: dict[str, Path], in_paddle: object, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS["product"].plant(monkeypatch)
    whole = find(exported, "tabular", in_paddle)
    monkeypatch.setattr(tracing, "MOST_SITES", 1)
    parts = find(exported, "tabular", in_paddle)
    assert [(layer.kernel, layer.introduced) for layer in whole.layers] == [(layer.kernel, layer.introduced) for layer in parts.layers]


def test_what_reads_a_loop_is_given_what_the_loop_should_give(in_paddle: object, tmp_path: Path) -> None:
    def call(paddle: Any, x: Any, n: Any) -> Any:
        i = paddle.zeros([], "int64")
        _, y = paddle.static.nn.while_loop(lambda i, x: i < n, lambda i, x: [i + 1, paddle.tanh(x) * 0.5], [i, x])
        return paddle.nn.functional.softmax(y)

    inputs = {"x": np.linspace(-2, 2, 20, dtype="float32").reshape(4, 5), "n": np.array(3)}
    export_call(call, inputs, {}, tmp_path / "inference", dynamic=False)
    found = why(tmp_path / "inference.json", inputs, threads=1, run=in_paddle)
    (last,) = [layer for layer in found.layers if layer.operations[-1].operator == "softmax"]
    assert found.ok and last.fed


def test_a_wrong_function_of_the_host_is_named(in_paddle: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(paddle: Any, x: Any) -> Any:
        return paddle.nn.functional.softmax(paddle.digamma(paddle.exp(x)))

    inputs = {"x": np.linspace(0, 2, 20, dtype="float32").reshape(4, 5)}
    export_call(call, inputs, {}, tmp_path / "inference", dynamic=False)

    def digamma(x: np.ndarray) -> np.ndarray:
        """By its asymptotic series, which is too rough near 1."""
        return (np.log(x) - 0.5 / x).astype(x.dtype)

    monkeypatch.setitem(host._REGISTRY, "digamma", host.HostOperator("digamma", digamma, replace=True))
    found = why(tmp_path / "inference.json", inputs, threads=1, run=in_paddle)
    (guilt,) = found.guilty
    assert [o.operator for o in guilt.operations] == ["digamma"] and guilt.blame is not None and guilt.blame.stage == "host call"
    assert "host call digamma" in guilt.text


def test_a_wrong_size_is_the_fault_of_who_makes_it(in_paddle: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is filled at that size reads nothing that Paddle's could be put in place of, and is no fault of its own."""

    def call(paddle: Any, x: Any) -> Any:
        chosen = paddle.masked_select(x, x > 0)
        return chosen * 2.0, paddle.full_like(chosen, 3.0)

    inputs = {"x": np.linspace(-1, 1, 20, dtype="float32").reshape(4, 5)}
    export_call(call, inputs, {}, tmp_path / "inference", dynamic=False)

    def masked_select(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return x[mask][1:]

    monkeypatch.setitem(host._REGISTRY, "masked_select", host.HostOperator("masked_select", masked_select, replace=True))
    found = why(tmp_path / "inference.json", inputs, threads=1, run=in_paddle, most=5)
    assert [[o.operator for o in g.operations] for g in found.guilty] == [["masked_select"]]


def test_why_json_is_strict(exported: dict[str, Path], in_paddle: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fault that makes NaN of everything: what is written has no word for that."""
    converter("tanh", lambda t: t * float("nan"))(monkeypatch)
    found = find(exported, "decoder", in_paddle, tmp_path)
    (guilt,) = found.guilty
    assert guilt.layer is not None and guilt.layer.introduced == float("inf")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    facts = json.loads((Path(guilt.script).parent / "why.json").read_text(), parse_constant=refuse)
    assert facts["layer"]["introduced"] is None


@pytest.mark.parametrize("like", ["finite", "nan"])
def test_a_layout_is_told_by_shapes_and_then_by_contents(like: str) -> None:
    reference = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype("float32")
    mine = reference.transpose(0, 2, 3, 1).copy()
    if like == "nan":
        mine[:] = np.nan  # nothing but its shape tells that channels are last
    np.testing.assert_array_equal(in_layout(reference, mine), reference.transpose(0, 2, 3, 1))
    square = np.random.default_rng(1).standard_normal((1, 4, 4, 4)).astype("float32")
    holes = square.transpose(0, 2, 3, 1).copy()
    holes[0, 0] = np.nan
    np.testing.assert_array_equal(in_layout(square, holes), square.transpose(0, 2, 3, 1))
    back = np.ascontiguousarray(reference.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(in_layout(back, reference), reference)


def test_targets_whose_tensors_cannot_be_read_are_refused(exported: dict[str, Path]) -> None:
    with pytest.raises(TargetError, match="cannot for target web"):
        why(exported["conv"], target="web")
