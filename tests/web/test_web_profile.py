"""``oarlock web profile`` and ``combine``: Paddle.js's files, the tab, alignment, and plans over several engines."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from oarlock import cli, errors
from oarlock.model import load_model
from oarlock.targets.web.profiler import Browser, align, paddlejs, run_job, show

HERE = Path(__file__).parent
PEERS = HERE.parents[1] / "benchmarks/web/node_modules"
SHAPES = {"image": (1, 3, 20, 16)}


def has_browser() -> bool:
    try:
        Browser()
    except errors.InputError:
        return False
    return True


chromium = pytest.mark.skipif(not has_browser(), reason="there is no Chromium")
linker = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="there is no linker for WebAssembly: oarlock[web]")


def peers(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not (PEERS / package).exists(), reason=f"{package} is not in benchmarks/web (make bench-web)")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run([sys.executable, str(HERE / "save_profile_models.py"), str(folder)], check=True, capture_output=True)
    return folder


# ---- Paddle.js ----------------------------------------------------------------------------------------------------------


def test_norms_go_into_convolutions(saved: Path) -> None:
    program = load_model(saved / "squeeze.json")
    model, weights, outputs = paddlejs.model_of(program, SHAPES)
    kinds = [op["type"] for op in model["ops"]]
    assert kinds[0] == "feed" and kinds[-2:] == ["connect", "fetch"] and "batchnorm" not in kinds
    assert [shape for _, shape in outputs] == [(1, 5), (1, 20, 16, 4)]
    conv = model["ops"][1]
    norm = next(op for op in program.walk() if op.short_name.startswith("batch_norm"))  # it follows the first convolution
    held = {name: program.parameters[value.name].data.astype("float64") for name, value in norm.operands.items() if value and name != "x"}
    factor = held["scale"] / np.sqrt(held["variance"] + norm.attrs["epsilon"])
    names = [v["name"] for v in model["vars"] if v["persistable"]]
    sizes = [int(np.prod(v["shape"])) for v in model["vars"] if v["persistable"]]
    parts = dict(zip(names, np.split(weights, np.cumsum(sizes)[:-1]), strict=True))
    np.testing.assert_allclose(parts[conv["inputs"]["Bias"][0]], held["bias"] - held["mean"] * factor, rtol=1e-5, atol=1e-6)
    assert norm.results[0].name in conv["sources"]


def test_what_paddle_js_lacks_is_said_at_once(saved: Path) -> None:
    with pytest.raises(errors.UnsupportedOperators) as caught:
        paddlejs.model_of(load_model(saved / "odd.json"), SHAPES)
    found = {o["name"]: (o["count"], o["reason"]) for o in caught.value.operators}
    assert found["gelu"] == (2, "the WebGL backend has no such operator") and "does not compile" in found["exp"][1]


@chromium
@peers("@paddlejs/paddlejs-core")
@pytest.mark.parametrize("name", ["squeeze", "halves"])  # the picture is read once, and twice
def test_paddle_js_gives_paddles_numbers(saved: Path, tmp_path: Path, name: str) -> None:
    outputs = paddlejs.write(load_model(saved / f"{name}.json"), SHAPES, tmp_path / "model")
    with np.load(saved / f"{name}.expected.npz") as file:
        for i, key in enumerate(file.files):
            file[key].tofile(tmp_path / f"{i}.bin")
    lib = "peers/@paddlejs/paddlejs-{}/lib/index.js"
    engine = {"name": "paddle.js", "engine": "paddlejs", "where": "page", "model": "work/model/", "core": lib.format("core")}
    engine |= {"webgl": lib.format("backend-webgl"), "outputs": [{"name": n, "shape": s} for n, s in outputs]}
    job = {
        "inputs": {"image": {"dtype": "float32", "shape": SHAPES["image"], "file": "saved/image.bin"}}, "engines": [engine],
        "expected": [{"dtype": "float32", "file": f"work/{i}.bin"} for i in range(2)], "rounds": 1, "block_ms": 1, "warm_ms": 1, "steps": 1,
    }  # fmt: skip
    found = run_job(job, {"work": tmp_path, "saved": saved, "peers": PEERS}, browser=Browser())
    assert found["failed"] == {} and found["engines"]["paddle.js"]["difference"] < 1e-4
    model = json.loads((tmp_path / "model/model.json").read_text())
    assert len(found["engines"]["paddle.js"]["steps"]) == len(model["ops"]) - 2, "each operation has a time"


# ---- the tab ------------------------------------------------------------------------------------------------------------


def in_place_of_a_page(folder: Path, act: object) -> object:
    return run_job({"a": 1}, {"work": folder}, announce=lambda address: threading.Thread(target=act, args=(address,)).start())


def status(address: str, body: bytes | None = None) -> int:
    try:
        return urllib.request.urlopen(urllib.request.Request(address, data=body)).status
    except urllib.error.HTTPError as error:
        return error.code


def test_only_those_who_know_the_token_are_served(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "inside/file").write_text("y")
    seen: dict[str, int] = {}

    def act(address: str) -> None:
        base = address.rsplit("/", 1)[0]
        root = base.rsplit("/", 1)[0]
        seen["file"] = status(f"{base}/work/file")
        seen["outside"] = status(f"{base}/work/..%2fsecret")
        seen["no token"] = status(f"{root}/work/file")
        seen["wrong token"] = status(f"{root}/abc/job.json")
        seen["say without token"] = status(f"{root}/say", b"{}")
        seen["no json"] = status(f"{base}/say", b"{")
        status(f"{base}/say", json.dumps({"done": 7}).encode())

    assert in_place_of_a_page(tmp_path / "inside", act) == 7
    assert seen == {"file": 200, "outside": 404, "no token": 404, "wrong token": 404, "say without token": 404, "no json": 400}


def test_a_page_that_fails(tmp_path: Path) -> None:
    def act(address: str) -> None:
        status(address.rsplit("/", 1)[0] + "/say", json.dumps({"failed": "out of memory"}).encode())

    with pytest.raises(errors.OarlockError, match="the page failed: out of memory"):
        in_place_of_a_page(tmp_path, act)


def test_a_browser_that_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "browser"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(script))
    with pytest.raises(errors.OarlockError, match="the browser ended with status 3"):
        run_job({}, {}, browser=Browser())


def test_no_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(errors.InputError, match="there is no Chromium"):
        Browser()


# ---- alignment ----------------------------------------------------------------------------------------------------------


def told(x: np.ndarray) -> dict:
    """What page/engines.js tells of a tensor, computed anew."""
    flat = x.astype("float64").ravel()
    marks = ((np.arange(1, flat.size + 1) * 2654435761) % 2**32) / 2**32 - 0.5
    first = np.moveaxis(x, -1, 0).astype("float64").ravel()
    more = {"order": float(flat @ marks), "channels_last": float(first @ marks), "shape": list(x.shape)}
    return dict(align.summary(x)) | more


def test_tensors_are_known_in_any_layout() -> None:
    rng = np.random.default_rng(0)
    first, other = rng.standard_normal((1, 6, 5, 4)), rng.standard_normal((1, 6, 5, 4))
    last = first.transpose(0, 2, 3, 1)
    assert align.same(told(first), told(last)) and not align.same(told(first), told(other))
    assert align.same(told(first), told(first * (1 + 1e-6))) and not align.same(told(first), told(first * 1.01))
    assert align.layout_of(told(first), told(first)) == "same"
    assert align.layout_of(told(last[0]), told(first[0])) == "channels last"
    assert align.layout_of(told(first.transpose(0, 1, 3, 2)), told(first)) == ""
    flat = rng.standard_normal((1, 24, 1, 1))
    assert align.layout_of(told(flat.reshape(1, 24)), told(flat)) == "same"
    assert align.layout_of(told(np.ones((1, 5, 4, 6))), told(np.ones((1, 6, 5, 4)))) == "", "other inputs may give other numbers"
    assert align.layout_of(told(np.zeros((1, 5, 4, 6))), told(np.zeros((1, 6, 5, 4)))) == ""


def test_no_layout_is_taken_for_another_by_chance() -> None:
    for seed in range(40):
        first = np.maximum(np.random.default_rng(seed).standard_normal((1, 24, 48, 48)), 0)
        last = first.transpose(0, 2, 3, 1)
        noise = np.random.default_rng(seed).standard_normal(last.shape) * 1e-5  # other orders of summation
        assert align.layout_of(told(last + noise), told(first)) == "channels last", seed
        assert align.layout_of(told(first + noise.reshape(first.shape)), told(last)) == "channels first", seed


# ---- plans over several engines ---------------------------------------------------------------------------------------------


def onnx_of(saved: Path, folder: Path) -> Path:
    """The network "chain", written by hand with the same weights."""
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper, save

    program = load_model(saved / "chain.json")
    convs = [op for op in program.walk() if op.short_name == "conv2d"]
    filters = [program.parameters[op.operands["filter"].name].data for op in convs]
    nodes = [
        helper.make_node("Conv", ["image", "w0"], ["a"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["e", "w2"], ["f"], pads=[1, 1, 1, 1]),
    ]  # fmt: skip
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("image", (1, 3, 20, 16)), ("f", (1, 4, 10, 8)))]
    weights = [numpy_helper.from_array(np.array(w), f"w{i}") for i, w in enumerate(filters)]
    model = helper.make_model(
        helper.make_graph(nodes, "chain", info[:1], info[1:], weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    save(model, str(folder / "chain.onnx"))
    return folder / "chain.onnx"


@linker
@chromium
@peers("onnxruntime-web")
def test_combine(saved: Path, tmp_path: Path) -> None:
    """Rows of both engines, a plan that takes onnxruntime-web for a part, and its numbers."""
    onnx = onnx_of(saved, tmp_path)
    arguments = ["web", "combine", str(saved / "chain.json"), "--onnx", str(onnx), "--npz", str(saved / "image.npz"), "--peers", str(PEERS)]
    arguments += ["--without", "oarlock webgpu", "--without", "paddle.js"]  # test_web_combine.py has them
    done = CliRunner().invoke(cli.main, [*arguments, "-o", str(tmp_path / "out"), "--rounds", "2", "--runs", "3", "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "out/combine.json").read_text())
    profile = json.loads((tmp_path / "out/profile.json").read_text())
    assert profile["engines"]["onnxruntime-web"]["differs"] < 1e-5
    assert [row["operators"] for row in profile["rows"]] == [["conv2d", "relu"], ["conv2d", "relu"], ["pool2d"], ["conv2d"]]
    engines = {"oarlock", "onnxruntime-web", "onnxruntime-web webgpu"}
    assert set(profile["engines"]) == engines and all(set(row["ms"]) == engines for row in profile["rows"])
    assert [row["tensor"] for row in profile["rows"]] == ["b", "d", "e", "f"]
    assert any(segment.get("kind") == "onnxruntime" for segment in result["spec"]["segments"]), "a plan over both engines was tried"
    assert result["measured"]["failed"] == {} and result["measured"]["combined"]["differs"] < 1e-5
    assert (tmp_path / "out/combined.js").exists() and (tmp_path / "out/site/model.json").exists()


@linker
@chromium
def test_profile_without_other_engines(saved: Path, tmp_path: Path) -> None:
    arguments = ["web", "profile", str(saved / "squeeze.json"), "--peers", str(tmp_path), "-o", str(tmp_path / "out"), "--rounds", "2"]
    done = CliRunner().invoke(cli.main, [*arguments, "--runs", "3", "--without", "oarlock webgpu"])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out/profile.json").read_text())
    assert found["missing"]["oarlock webgpu"] == "it was not asked for (--without)"
    assert set(found["engines"]) == {"oarlock"} and "npm install" in found["missing"]["onnxruntime-web"]
    assert "paddle.js is left out" in done.output
    operators = [name for row in found["rows"] for name in row["operators"]]
    assert operators.count("conv2d") == 3 and operators[-1] in ("softmax", "transpose")
    assert (tmp_path / "out/profile.html").read_text().count('class="row"') == len(found["rows"])


def test_an_input_of_another_shape(saved: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", image=np.zeros((1, 3, 8, 8), "float32"))
    done = CliRunner().invoke(cli.main, ["web", "profile", str(saved / "squeeze.json"), "--npz", str(tmp_path / "wrong.npz")])
    assert done.exit_code != 0 and "of another shape" in done.output


def test_the_page_says_who_is_missing_and_who_is_no_gpu() -> None:
    plain = {"median_ms": 1.0, "p10_ms": 1.0, "facts": {}, "differs": None, "software": ""}
    gpu = {**plain, "median_ms": 9.0, "software": "SwiftShader", "facts": {"clock": "timestamp-query"}}
    row = {"operators": ["conv2d", "conv2d"], "kernels": [{"name": "<k>"}], "ms": {"oarlock": 1.0, "oarlock webgpu": 0.5}}
    profile = {
        "engines": {"oarlock": plain, "oarlock webgpu": gpu}, "rows": [row], "missing": {"paddle.js": "no <b>"}, "browser": "x",
        "model": "<m>", "shapes": {}, "cores": 2, "reference": "Paddle",
    }  # fmt: skip
    page = show.page(profile)
    said = page.split("<ul>")[1].split("</ul>")[0]
    assert "&lt;m&gt;" in page and "<b>" not in said and "conv2d×2" in page and "&lt;k&gt;" in page
    assert "computed on SwiftShader, a program on the CPU in place of a GPU; times say nothing of any GPU: oarlock webgpu" in said
    assert "timestamp-query" in said and "oarlock webgpu<sup>*</sup>" in page
    assert 'class="lost"' not in page, "a program in place of a GPU wins nothing"
    text = show.text(profile)
    assert "oarlock webgpu*" in text and "say nothing of any GPU" in text and "paddle.js is left out" in text
