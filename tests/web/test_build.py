"""``oarlock web build``: folders that run in Node with Paddle's numbers, and what it refuses."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from having import HERE, chromium, driver, linker, node

import oarlock
from node_runs import SCRIPT, arrays, in_node
from oarlock import cli, errors
from oarlock.targets.web import module
from oarlock.targets.web.layers import layers
from oarlock.targets.web.site import CHUNK_BYTES, build_site

pytestmark = linker


@pytest.fixture(scope="module")
def site(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build_site(saved / "net.json", folder)
    return folder


def in_node_twice(site: Path, saved: Path, **options: Any) -> list[dict]:
    """What the second of two runs gives."""
    first, second = in_node(site, saved, **options)
    assert first["outputs"] == second["outputs"]
    return [{"dtype": str(a.dtype), "shape": a.shape, "data": a} for a in arrays(second)]


def same_as_paddle(outputs: list[dict], saved: Path) -> None:
    with np.load(saved / "expected.npz") as file:
        expected = [file[name] for name in file.files]
    for got, want in zip(outputs, expected, strict=True):
        assert (got["dtype"], tuple(got["shape"])) == (str(want.dtype), want.shape)
        np.testing.assert_allclose(np.reshape(got["data"], want.shape), want.astype("float64"), rtol=1e-5, atol=1e-6)


@node
@pytest.mark.parametrize("variant", ["plain", "simd128"])  # Node has no relaxed SIMD before version 22
def test_paddles_numbers(site: Path, saved: Path, variant: str) -> None:
    same_as_paddle(in_node_twice(site, saved, variant=variant), saved)


@chromium
def test_paddles_numbers_in_a_browser(site: Path, saved: Path) -> None:
    """Every variant, the worker, and the page that comes with the model."""
    done = subprocess.run(["node", str(HERE / "browser.mjs"), str(site), str(saved)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == [] and "relaxed-simd" in found["shown"]["state"] and "median of 10 runs" in found["shown"]["result"]
    for variant in ("plain", "simd128", "relaxed-simd", "worker"):
        same_as_paddle(found["variants"][variant], saved)
    assert "OarlockError: there is no input image" in found["variants"]["refused"] and "closed" in found["variants"]["closed"]
    assert found["variants"]["kept"] >= 4, "three modules and the weights are in the browser's cache"


def test_what_is_written(site: Path) -> None:
    manifest = json.loads((site / "model.json").read_text())
    names = ["relaxed-simd-threads", "simd128-threads", "relaxed-simd", "simd128", "plain", "webgpu"]
    assert [v["name"] for v in manifest["variants"]] == names
    for variant in manifest["variants"]:
        for part in [variant["module"], *variant["weights"]]:
            content = (site / part["file"]).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            assert (len(content), digest) == (part["bytes"], part["sha256"]) and part["file"].startswith(digest[:20])
            assert len(content) <= CHUNK_BYTES or part is variant["module"]
    assert (site / "oarlock.js").exists() and (site / "types/index.d.ts").exists()
    code = sum(len(gzip.compress((site / name).read_bytes())) for name in (manifest["variants"][3]["module"]["file"], "oarlock.js"))
    assert code < 30_000, "a small model is a small download"


def test_a_second_build_leaves_nothing_of_the_first(saved: Path, tmp_path: Path) -> None:
    build_site(saved / "net.json", tmp_path, variants=["plain"])
    (plain,) = tmp_path.glob("*.wasm")
    (tmp_path / "mine.wasm").write_bytes(b"kept")
    build_site(saved / "net.json", tmp_path, variants=["simd128"])
    assert not plain.exists() and (tmp_path / "mine.wasm").exists() and len(list(tmp_path.glob("*.wasm"))) == 2


@pytest.mark.parametrize("name", ["model.json", "index.html"])
def test_files_of_others_are_kept(saved: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(errors.InputError, match=f"has a {name} of its own"):
        build_site(saved / "net.json", tmp_path, variants=["plain"])
    assert (tmp_path / name).read_text() == "mine"


@node
def test_kernels_run_nothing_else(site: Path) -> None:
    """A linker may make each export call the module's constructors first: TVM's register every kernel, through JavaScript."""
    manifest = json.loads((site / "model.json").read_text())
    code = (site / manifest["variants"][3]["module"]["file"]).read_bytes()
    done = subprocess.run(["node", str(HERE / "calls.mjs")], input=code, capture_output=True, check=False)
    assert done.stdout.decode().strip() == "0", done.stderr.decode()


def test_refusals(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.UnsupportedError, match="main has sizes that the inputs decide"):
        build_site(saved / "dynamic.json", tmp_path, variants=["simd128"], describe=True)
    with pytest.raises(errors.InputError, match="no variant wasm64"):
        build_site(saved / "net.json", tmp_path, variants=["wasm64"])
    with pytest.raises(errors.TargetError, match="variant must be one of"):
        oarlock.compile(saved / "net.json", "web", options={"variant": "wasm64"})
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.InputError, match="cannot be written"):
        build_site(saved / "net.json", tmp_path / "file", variants=["simd128"])


def test_an_internal_error_of_the_gpus_variant_is_an_error(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of Oarlock's own; what the variant cannot do is a note."""
    reasons = [errors.InternalError("a mistake"), errors.UnsupportedError("no such thing", where="webgpu")]

    def fails(*_: Any, **__: Any) -> None:
        raise reasons[0]

    monkeypatch.setattr("oarlock.targets.web.site.EVERY", ("plain", "webgpu"))
    monkeypatch.setattr("oarlock.targets.web.site.compile_model", fails)
    with pytest.raises(errors.InternalError, match="a mistake"):
        build_site(saved / "net.json", tmp_path)
    reasons.pop(0)
    assert [note for note in build_site(saved / "net.json", tmp_path).notes if "no such thing" in note]


def test_the_command(saved: Path, tmp_path: Path) -> None:
    arguments = ["web", "build", str(saved / "dynamic.json"), "--shape", "image=1,3,30,26", "-o", str(tmp_path), "--variant", "plain"]
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == 0 and "kB gzipped of code (plain)" in done.output
    done = CliRunner().invoke(cli.main, ["web", "build", str(saved / "dynamic.json"), "-o", str(tmp_path), "--variant", "plain", "--json"])
    assert done.exit_code == 0 and "model.json" in [file["name"] for file in json.loads(done.stdout)["files"]]
    assert any(isinstance(dim, str) for dim in json.loads((tmp_path / "model.json").read_text())["inputs"][0]["shape"])
    done = CliRunner().invoke(cli.main, ["web", "build", str(saved / "dynamic.json"), "--shape", "words=1", "-o", str(tmp_path)])
    assert done.exit_code == 3


@pytest.mark.skipif(shutil.which("npm") is None or not driver.exists(), reason="there is no npm, or no tools for the web (make test)")
def test_the_package_for_npm(site: Path, saved: Path, tmp_path: Path) -> None:
    """What `npm pack` makes is enough to run a model in Node, by the package's name."""
    packed = ["npm", "pack", "--silent", "--pack-destination", str(tmp_path)]
    name = subprocess.run(packed, cwd=HERE.parents[1] / "web", capture_output=True, text=True, check=True).stdout.split()[-1]
    home = tmp_path / "node_modules/oarlock-web"
    home.mkdir(parents=True)
    subprocess.run(["tar", "xzf", str(tmp_path / name), "-C", str(home), "--strip-components=1"], check=True)
    assert {p.name for p in home.iterdir()} == {"dist", "package.json", "README.md"} and (home / "dist/types/index.d.ts").exists()
    script = SCRIPT.read_text().replace('import(pathToFileURL(resolve(site, "oarlock.js")))', 'import("oarlock-web")')
    assert '"oarlock-web"' in script
    (tmp_path / "run.mjs").write_text(script)
    same_as_paddle(in_node_twice(site, saved, variant="simd128", script=tmp_path / "run.mjs"), saved)


@pytest.mark.parametrize("name", ["net", "dynamic"])
def test_bytes_of_each_layer(saved: Path, tmp_path: Path, name: str) -> None:
    """What a model weighs, told by layer: the sizes of its parameters are known from the network (save_model.py)."""
    built = build_site(saved / f"{name}.json", tmp_path, variants=["simd128"])
    (artifact,) = built.artifacts.values()
    found = layers(artifact.library)
    manifest = json.loads((tmp_path / "model.json").read_text())["variants"][0]
    assert sum(layer.weights for layer in found) == sum(part["bytes"] for part in manifest["weights"])
    assert 0.5 * len(artifact.library) < sum(layer.code for layer in found) < len(artifact.library)
    assert all(layer.code > 0 for layer in found)
    first = next(layer for layer in found if layer.workload.startswith("conv2d float32"))
    norm_and_bias = 16 * 4
    assert 3 * 3 * 3 * 16 * 4 <= first.weights <= 3 * 3 * 3 * 16 * 4 + norm_and_bias + 64


def test_layers_of_a_plan_without_weights() -> None:
    plan = {"weights": 0, "kernels": [{"export": "k0", "name": "relu"}], "steps": [[0, [2, 0, 3, 0]]]}
    (layer,) = layers(module.with_section(b"\0asm\x01\0\0\0", "oarlock.plan", json.dumps(plan).encode()))
    assert (layer.name, layer.calls, layer.weights) == ("relu", 1, 0)


def test_sections() -> None:
    empty = b"\0asm\x01\0\0\0"
    content = bytes(range(256)) * 3
    made = module.with_section(module.with_section(empty, "one", content), "two", b"")
    assert (module.section(made, "one"), module.section(made, "two"), module.section(made, "three")) == (content, b"", None)
    assert module.imports(made) == []
    with pytest.raises(errors.InternalError, match="not a WebAssembly module"):
        module.section(b"other", "one")


def test_imports_of_each_kind() -> None:
    """A function, a table, a memory with a limit, and a global, as the specification has them."""
    names = ["f", "table", "memory", "global", "last"]
    kinds = [[0, 200, 1], [1, 0x70, 1, 1, 9], [2, 1, 128, 1, 200, 1], [3, 0x7F, 1], [0, 3]]
    entries = [bytes([3]) + b"env" + bytes([len(n)]) + n.encode() + bytes(k) for n, k in zip(names, kinds, strict=True)]
    body = bytes([len(entries)]) + b"".join(entries)
    assert module.imports(b"\0asm\x01\0\0\0" + bytes([2, len(body)]) + body) == names


def test_without_a_linker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.TargetError, match="no linker"):
        module.link(tmp_path / "kernels.o", ["k0"])
