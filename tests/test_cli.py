"""The command line: what each command prints, and its exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner, Result

import oarlock
from oarlock import compat, targets
from oarlock.cli import FAILED, INTERNAL_ERROR, USER_ERROR, main
from oarlock.inputs import npz_inputs, random_inputs, save_npz
from oarlock.model.program import Block, Op, Program, TensorType, Value
from oarlock.runtime import host as registry
from oarlock.runtime.signature import TensorSpec

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


def test_check_tells_what_bfloat16_costs(tmp_path: Path) -> None:
    if "avx512bf16" not in compat.llvm_features(targets.get("cpu").tvm_target):
        pytest.skip("this machine has no AVX512-BF16")
    folder = export(tmp_path, lambda paddle, x: paddle.matmul(x, x), x=np.zeros((64, 64), "float32"))
    narrow, exact = (
        json.loads(invoke("check", folder, "--shape", "x=64,64", *more, "--json").stdout)
        for more in (["--option", "precision=bfloat16"], [])
    )
    assert narrow["ok"] and narrow["tolerance"] == 0.05
    assert exact["ok"] and exact["tolerance"] == 1e-4
    (mine,), (right,) = narrow["outputs"], exact["outputs"]
    assert right["rms_rel"] < 1e-6 < mine["rms_rel"] < 0.01
    assert 0.5 < mine["same_winner"] <= right["same_winner"] == 1


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
        (["run", "ARTIFACT", "--option", "mcpu=znver4"], "compiled already"),
        (["run", "ARTIFACT", "--shape", "y=1"], "unknown inputs"),
        (["run", "ARTIFACT", "--shape", "x=1,4,8,8"], "expected 3"),
        (["run", "ARTIFACT", "--shape", "x=1,3,,8"], "is no dim"),
        (["run", "ARTIFACT", "--shape", "x=1,3,8,²"], "is no dim"),
        (["run", "ARTIFACT", "--shape", "x=1,3,8,8", "--shape", "x=2,3,8,8"], "two shapes"),
        (["run", "ARTIFACT", "--shape", "x=99999999999,3,8,8"], "too large"),
        (["run", "ARTIFACT", "--npz", "FOLDER/missing.npz"], "No such file"),
        (["run", "ARTIFACT", "--npz", "FOLDER/text.oar"], "no .npz"),
        (["run", "ARTIFACT", "--npz", "FOLDER/empty.npz"], "no .npz"),
        (["run", "ARTIFACT", "--npz", "FOLDER/one.npy"], "no .npz"),
        (["run", "ARTIFACT", "--npz", "FOLDER/double.npz"], "is float64, expected float32"),
        (["run", "ARTIFACT", "--save", "FOLDER/no/such/out.npz"], "cannot be written"),
        (["run", "FOLDER/half.oar"], "damaged or cut short"),
        (["run", "FOLDER/text.oar"], "not an Oarlock artifact"),
        (["compile", "ARTIFACT"], "compiled already"),
        (["check", "ARTIFACT"], "compiled already"),
        (["compile", "MODEL", "--target", "toaster"], "toaster"),
        (["compile", "MODEL", "-o", "FOLDER/no/such/model.oar"], "cannot be written there"),
        (["compile", "MODEL", "-o", "FOLDER"], "cannot be written there"),
        (["compile", "MODEL", "-o", "FOLDER/x.oar", "--dump", "FOLDER/text.oar"], "cannot be made"),
        (["compile", "MODEL", "-o", "FOLDER/x.oar", "--option", "mcpu"], "is no option"),
        (["compile", "MODEL", "-o", "FOLDER/x.oar", "--option", "mcpu=z80"], "z80"),
        (["compile", "MODEL", "-o", "FOLDER/x.oar", "--option", "colour=red"], "colour"),
        (["compile", "MODEL", "-o", "FOLDER/x.oar", "--shape", "x=1,3,lambda,8"], "'lambda' is no dim"),
        (["check", "MODEL", "--python", "FOLDER/no-python"], "cannot be started"),
    ],
)
def test_user_errors_say_what_is_wrong(arguments: list[str], says: str, model: Path, artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "text.oar").write_text("some text")
    (tmp_path / "half.oar").write_bytes(artifact.read_bytes()[: artifact.stat().st_size // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "double.npz", x=np.zeros((1, 3, 8, 8)))
    places = {"ARTIFACT": str(artifact), "MODEL": str(model)}
    done = invoke(*[places.get(a, a).replace("FOLDER", str(tmp_path)) for a in arguments])
    assert done.exit_code == USER_ERROR, done.output
    assert says in done.stderr


@pytest.mark.parametrize(
    ("shape", "says"), [("x=1,3", "has 2 dims"), ("x=1,3,0,8", "cannot be resized"), ("x=1,3,8,8", "cannot be read")], ids=str
)
def test_pictures_that_do_not_fit(shape: str, says: str, artifact: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow")
    image.effect_noise((64, 64), 50.0).save(tmp_path / "picture.png")
    if "read" in says:
        (tmp_path / "picture.png").write_bytes((tmp_path / "picture.png").read_bytes()[:1000])
    done = invoke("run", artifact, "--image", tmp_path / "picture.png", "--shape", shape)
    assert done.exit_code == USER_ERROR, done.output
    assert says in done.stderr


def test_a_fault_of_our_own_has_its_own_exit_status(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by test")

    monkeypatch.setattr("oarlock.runtime.session.Session.run", fail)
    done = invoke("run", artifact)
    assert done.exit_code == INTERNAL_ERROR, done.output
    assert "ZeroDivisionError: by test" in done.stderr


def test_the_artifact_is_named_after_the_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "PP-OCRv4.0_infer"
    shutil.copytree(model, folder)
    monkeypatch.chdir(folder)
    assert json.loads(invoke("compile", ".", "--json").stdout)["artifact"] == "PP-OCRv4.0_infer.oar"
    assert (folder / "PP-OCRv4.0_infer.oar").is_file()


def export(folder: Path, call: Callable[..., Any], **inputs: np.ndarray) -> Path:
    """A model of ``call`` with dynamic dims."""
    from oarlock.checking.oracle import export_call

    export_call(call, inputs, {}, folder / "inference", dynamic=True)
    return folder


def test_json_has_no_words_that_are_not_json(tmp_path: Path) -> None:
    done = invoke("run", export(tmp_path, lambda paddle, x: paddle.log(x - 5.0), x=np.zeros(3, "float32")), "--json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    (fact,) = json.loads(done.stdout, parse_constant=refuse)["outputs"]
    assert fact["minimum"] is None


def test_inspect_supports_control_flow(tmp_path: Path) -> None:
    call = lambda paddle, x: paddle.static.nn.cond(x.sum() > 0, lambda: x + 1.0, lambda: x * 2.0)  # noqa: E731
    done = invoke("inspect", export(tmp_path, call, x=np.zeros(3, "float32")), "--json")
    assert done.exit_code == 0, done.output
    assert {"name": "pd_op.if", "count": 1, "supported": True} in json.loads(done.stdout)["operators"]


def test_inspect_says_why_a_known_operator_is_refused(tmp_path: Path) -> None:
    x, y = (Value(name, TensorType("float32", (3,))) for name in ("x", "y"))
    ops = [
        Op("pd_op.data", {}, {"name": "x"}, [x], ["out"], handle="x"),
        Op("pd_op.leaky_relu", {"x": x}, {"negative_slope": 0.5, "unheard_of": "yes"}, [y], ["out"], handle="leaky"),
    ]
    oarlock.save_model(Program(Block([], ops), [x], {"y": y}, {}).verify(), tmp_path / "inference")
    done = invoke("inspect", tmp_path)
    assert done.exit_code == FAILED, done.output
    assert "unheard_of='yes' is not supported" in " ".join(done.stdout.split())


def test_inputs_of_any_name_are_checked_with_sizes_that_agree(tmp_path: Path) -> None:
    two = {"file": np.zeros((2, 3), "float32"), "输入": np.zeros((2, 3), "float32")}
    call = lambda paddle, a, b: a + b  # noqa: E731
    done = invoke("check", export(tmp_path, call, **two), "--shape", "file=n,3", "--shape", "输入=n,3", "--json")
    assert done.exit_code == 0, done.output
    done = invoke("run", tmp_path, "--shape", "file=n,3", "--shape", "输入=4,3", "--save", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output


def test_a_size_given_for_one_input_holds_for_the_others() -> None:
    specs = [TensorSpec("a", "float32", ("n", 2)), TensorSpec("b", "float32", ("n",))]
    assert {name: array.shape for name, array in random_inputs(specs, {"b": (7,)}).items()} == {"a": (7, 2), "b": (7,)}


def test_saved_arrays_keep_names_and_numbers(tmp_path: Path) -> None:
    arrays = {"file": np.arange(3), "a/b.c": np.float32([1.5]), "half": np.array([0.5], ml_dtypes.bfloat16)}
    save_npz(tmp_path / "x.npz", arrays)
    back = npz_inputs(tmp_path / "x.npz")
    assert set(back) == set(arrays) and back["half"].dtype == np.float32
    assert all(np.array_equal(back[name], array.astype(back[name].dtype)) for name, array in arrays.items())


def test_host_calls_by_a_file_and_by_paddle(model: Path, tmp_path: Path) -> None:
    """An attribute that no converter knows: refused, run by a file of Python, run by Paddle."""
    graph = json.loads((model / "inference.json").read_text())
    relu = next(op for op in graph["program"]["regions"][0]["blocks"][0]["ops"] if op["#"] == "1.relu")
    relu["A"].append({"N": "unheard_of", "AT": {"#": "0.a_i32", "D": 3}})
    shutil.copy(model / "inference.pdiparams", tmp_path)
    (tmp_path / "inference.json").write_text(json.dumps(graph))
    functions = tmp_path / "functions.py"
    functions.write_text(
        "import numpy as np, oarlock\n"
        "@oarlock.host_operator('relu')\n"
        "def my_relu(x, *, unheard_of):\n"
        "    return np.maximum(x, 0) * np.float32(unheard_of)\n"
    )
    inputs = ["--shape", "x=1,3,8,8"]
    done = invoke("inspect", tmp_path)
    assert done.exit_code == FAILED and "unheard_of" in done.output and "--host paddle" in done.output
    done = invoke("run", tmp_path, *inputs, "--host", tmp_path / "nowhere.py")
    assert done.exit_code == USER_ERROR and "nowhere.py" in done.output

    by_paddle = tmp_path / "paddle.npz"
    done = invoke("run", tmp_path, *inputs, "--host", "paddle", "--save", by_paddle)
    assert done.exit_code == 0, done.output
    plain = tmp_path / "plain.npz"
    assert invoke("run", model, *inputs, "--save", plain).exit_code == 0
    (got,), (expected,) = npz_inputs(by_paddle).values(), npz_inputs(plain).values()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    done = invoke("check", tmp_path, *inputs, "--host", "paddle")
    assert done.exit_code == 0, done.output

    try:
        done = invoke("inspect", tmp_path, *inputs, "--host", functions, "--json")
        assert done.exit_code == 0, done.output
        (call,) = json.loads(done.stdout)["host_calls"]
        assert call["operator"] == "pd_op.relu" and call["host"] == "Python function functions.my_relu"
        assert (call["bytes_in"], call["bytes_out"]) == (4 * 4 * 8 * 8, None)  # the file says nothing of its dims
        assert "functions.my_relu" in invoke("inspect", tmp_path, *inputs, "--host", functions).output
        artifact = tmp_path / "model.oar"
        done = invoke("compile", tmp_path, "-o", artifact, *inputs, "--host", functions)
        assert done.exit_code == 0 and "a Python function where it runs, for pd_op.relu" in done.output, done.output
        by_file = tmp_path / "file.npz"
        assert invoke("run", artifact, "--host", functions, "--save", by_file).exit_code == 0
        (got,) = npz_inputs(by_file).values()
        np.testing.assert_allclose(got, expected * 3, rtol=1e-5, atol=1e-6)
        done = invoke("bench", artifact, "--host", functions, "--runs", 3, "--json")
        (cost,) = json.loads(done.stdout)["host_calls"]
        assert cost["calls"] == 1 and cost["bytes_in"] == 1024 and cost["seconds"] > 0
        assert "functions.my_relu" in invoke("bench", artifact, "--host", functions, "--runs", 3).output
        done = invoke("profile", tmp_path, *inputs, "--host", functions, "--runs", 2, "--json")
        assert done.exit_code == 0, done.output
        assert [k["name"] for k in json.loads(done.stdout)["kernels"] if k["limit"] == "host"] == ["relu (host call)"]
    finally:
        registry._REGISTRY.clear()
    done = invoke("run", artifact)
    assert done.exit_code == USER_ERROR and "not there: relu" in done.output
