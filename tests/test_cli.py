"""The command line: what each command prints, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from oarlock.cli import FAILED, USER_ERROR, main

pytest.importorskip("paddle", reason="paddlepaddle makes the model")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x [?, 3, 8, 8] → relu(conv(x)), with a known kernel."""
    from oarlock.checking.oracle import export_call

    folder = tmp_path_factory.mktemp("model")
    kernel = np.random.RandomState(0).uniform(-1, 1, (4, 3, 3, 3)).astype("float32")
    x = np.zeros((2, 3, 8, 8), "float32")
    call = lambda paddle, x, w: paddle.nn.functional.relu(paddle.nn.functional.conv2d(x, w, padding=1))  # noqa: E731
    export_call(call, {"x": x}, {"w": kernel}, folder / "inference", dynamic=True)
    return folder


@pytest.fixture(scope="module")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("artifact") / "model.oar"
    done = invoke("compile", model, "-o", path, "--shape", "x=?,3,8,8", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["bytes"] == path.stat().st_size
    assert facts["signature"]["inputs"][0]["shape"][1:] == [3, 8, 8]
    return path


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_inspect_counts_operators_parameters_and_macs(model: Path) -> None:
    done = invoke("inspect", model, "--shape", "x=1,3,8,8", "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert {o["name"]: o["count"] for o in facts["operators"]} == {"pd_op.conv2d": 1, "pd_op.relu": 1}
    assert facts["supported"]
    assert facts["parameters"]["elements"] == 4 * 3 * 3 * 3
    assert facts["macs"] == 8 * 8 * 4 * 3 * 3 * 3
    assert "pd_op.conv2d" in invoke("inspect", model, "--text").output


def test_run_gives_the_numbers_of_an_npz_back(artifact: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.full((1, 3, 8, 8), -1.0, "float32"))
    done = invoke("run", artifact, "--npz", tmp_path / "in.npz", "--save", tmp_path / "out.npz", "--json")
    assert done.exit_code == 0, done.output
    (fact,) = json.loads(done.stdout)["outputs"]
    assert fact["shape"] == [1, 4, 8, 8]
    assert fact["minimum"] >= 0
    with np.load(tmp_path / "out.npz") as saved:
        assert saved[fact["name"]].shape == (1, 4, 8, 8)


def test_run_reads_a_picture(artifact: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    image.new("RGB", (20, 30), (255, 0, 0)).save(tmp_path / "red.png")
    done = invoke("run", artifact, "--image", tmp_path / "red.png", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["outputs"][0]["shape"] == [1, 4, 8, 8]


def test_bench_reports_times(artifact: Path) -> None:
    done = invoke("bench", artifact, "--runs", 3, "--warmup", 1, "--threads", 1, "--json")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["runs"] == 3
    assert facts["minimum_ms"] <= facts["median_ms"] <= facts["p90_ms"] <= facts["maximum_ms"]


def test_check_agrees_with_paddle(model: Path) -> None:
    done = invoke("check", model, "--shape", "x=2,3,8,8", "--json")
    assert done.exit_code == 0, done.output
    (output,) = json.loads(done.stdout)["outputs"]
    assert output["ok"]
    assert output["shape"] == output["expected_shape"] == [2, 4, 8, 8]


def test_check_fails_beyond_the_tolerance(model: Path) -> None:
    assert invoke("check", model, "--shape", "x=2,3,8,8", "--tolerance", "-1").exit_code == FAILED


def test_operators_lists_pir_and_legacy_names() -> None:
    rows = {row["pir"]: row for row in json.loads(invoke("operators", "--json").stdout)}
    assert "elementwise_add" in rows["pd_op.add"]["legacy"]
    assert "matmul_v2" in rows["pd_op.matmul"]["legacy"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["inspect", "no/such/folder"], "no such file"),
        (["run", "ARTIFACT", "--shape", "x=1,3,8"], "has 3 dims"),
        (["run", "ARTIFACT", "--shape", "x"], "is no shape"),
        (["run", "ARTIFACT", "--shape", "y=1"], "unknown inputs"),
        (["run", "ARTIFACT", "--shape", "x=1,4,8,8"], "expected 3"),
        (["compile", "ARTIFACT"], "archive"),
        (["compile", "MODEL", "--target", "toaster"], "toaster"),
    ],
)
def test_user_errors_say_what_is_wrong(arguments: list[str], says: str, model: Path, artifact: Path) -> None:
    done = invoke(*[{"ARTIFACT": artifact, "MODEL": model}.get(a, a) for a in arguments])
    assert done.exit_code == USER_ERROR, done.output
    assert says in done.stderr
