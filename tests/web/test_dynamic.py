"""Models of dynamic sizes and control flow in the browser's runtime: Paddle's numbers in Node and in Chromium, memory, and refusals."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from having import HERE, chromium, linker

from node_runs import arrays, given, in_node
from oarlock import errors
from oarlock.targets.web import module, program
from oarlock.targets.web.site import build_site

pytestmark = [
    linker,
    pytest.mark.skipif(importlib.util.find_spec("paddle") is None, reason="paddlepaddle is the oracle"),
    pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node"),
]
MODELS = ["picture", "branch", "joined", "count", "nested", "grow", "select", "same", "pair"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run([sys.executable, str(HERE / "save_dynamic.py"), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def sites(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each model's folder, built when it is asked for first."""

    class Built(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            self[name] = tmp_path_factory.mktemp("sites") / name
            # the graph of loops and branches is compiled for an engine without vectors too
            build_site(saved / name / "model.json", self[name], variants=["simd128", "plain"] if name == "branch" else ["simd128"])
            return self[name]

    return Built()


def plan(site: Path) -> dict[str, Any]:
    file = json.loads((site / "model.json").read_text())["variants"][0]["module"]["file"]
    return json.loads(module.section((site / file).read_bytes(), "oarlock.plan") or b"")


def same_as_paddle(results: list[dict[str, Any]], folder: Path, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    with np.load(folder / "expected.npz") as file:
        expected = {name: file[name] for name in file.files}
    for i, result in enumerate(results):
        for n, got in enumerate(arrays(result)):
            want = expected.pop(f"{i}.{n}")
            assert (got.shape, got.dtype) == (want.shape, want.dtype), f"set {i}, output {n}"
            np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=f"set {i}, output {n}")
    assert not expected, "an output is missing"


@pytest.mark.parametrize("name", MODELS)
def test_paddles_numbers(name: str, sites: dict[str, Path], saved: Path) -> None:
    assert plan(sites[name])["kind"] == "program"
    same_as_paddle(in_node(sites[name], saved / name), saved / name)


def test_without_vectors(sites: dict[str, Path], saved: Path) -> None:
    same_as_paddle(in_node(sites["branch"], saved / "branch", "plain"), saved / "branch")


def test_a_static_model_with_results_that_are_its_own(sites: dict[str, Path], saved: Path) -> None:
    """An input, a weight, and one result under two names: no plan of fixed places says that."""
    same_as_paddle(in_node(sites["same-static"], saved / "same-static"), saved / "same-static")


def test_static_models_have_a_plan_of_fixed_places(saved: Path, tmp_path: Path) -> None:
    build_site(saved / "picture/model.json", tmp_path, shapes={"x": [1, 3, 16, 40]}, variants=["simd128"])
    found = plan(tmp_path)
    assert found["version"] == 1 and "functions" not in found and len(found["steps"]) > 3
    first, _, _, last = json.loads((saved / "picture/sets.json").read_text())
    (saved / "picture-40").mkdir()
    shutil.copy(saved / "picture" / first["x"]["file"], saved / "picture-40")
    (saved / "picture-40/sets.json").write_text(json.dumps([first]))
    with np.load(saved / "picture/expected.npz") as file:
        np.testing.assert_allclose(arrays(in_node(tmp_path, saved / "picture-40")[0])[0], file["0.0"], rtol=1e-5, atol=1e-6)


def test_loops_are_loops(sites: dict[str, Path]) -> None:
    """The importer makes a tower of 12 functions of each loop: of it only the loop is left."""
    found = plan(sites["count"])
    loops = [step for function in found["functions"] for step in function["body"][0] if step[0] == "loop"]
    assert len(loops) == 2 and len(found["functions"]) == 3


def test_a_loop_that_cannot_be_seen_runs_as_the_importer_made_it(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "LOOP", "no such attribute")
    build_site(saved / "grow/model.json", tmp_path, variants=["simd128"])
    assert len(plan(tmp_path)["functions"]) > 12
    same_as_paddle(in_node(tmp_path, saved / "grow"), saved / "grow")


def test_a_hundred_thousand_turns_in_flat_memory(sites: dict[str, Path], tmp_path: Path) -> None:
    x = np.array([0.25, 999.5, -3], "float32")
    few, many = ({"n": np.array(n), "x": x} for n in (3, 100_000))
    first, last = in_node(sites["count"], given(tmp_path, few, many))
    y = x
    for _ in range(100_000):
        y = np.where(y > 1000, y * np.float32(0.5), y + 1).astype("float32")
    rounds = 0
    while y.sum() > 10:
        y, rounds = y * np.float32(0.5), rounds + 1
    assert [a.tolist() for a in arrays(last)] == [100_000, rounds, y.tolist()]
    assert last["memory"] == first["memory"]


def test_a_growing_tensor_takes_little_more_than_its_size(sites: dict[str, Path], tmp_path: Path) -> None:
    """Every turn needs another size: 3,000 turns make 54 MB of tensors, of which 72 kB live."""
    few, many = ({"n": np.array(n), "x": np.ones((2, 3), "float32")} for n in (3, 3000))
    first, last = in_node(sites["grow"], given(tmp_path, few, many))
    assert arrays(last)[0].shape == (3002, 3)
    assert last["memory"] - first["memory"] < 1 << 20


def test_wrong_inputs(sites: dict[str, Path], tmp_path: Path) -> None:
    ones = lambda *shape: np.ones(shape, "float32")  # noqa: E731
    sets = [{"x": ones(1, 3, 17, 40)}, {"x": ones(1, 3, 16)}, {"x": ones(1, 3, 16, 0)}, {"x": ones(1, 3, 16, 40)}]
    height, rank, nothing, right = in_node(sites["picture"], given(tmp_path, *sets))
    assert "dim 2 is 17, not 16" in height["error"] and "input x" in height["error"] and "[1, 3, 16, " in height["error"]
    assert "the shape is [1, 3, 16]" in rank["error"]
    assert arrays(nothing)[0].shape == (1, 0, 7), "of no picture there are no classes"
    assert arrays(right)[0].shape == (1, 20, 7), "the model goes on"


def test_sizes_of_one_name_must_agree(saved: Path, tmp_path: Path) -> None:
    build_site(saved / "pair/model.json", tmp_path / "site", shapes={"a": ["n", 4], "b": ["n", 4]}, variants=["simd128"])
    dims = [t["shape"][0] for t in json.loads((tmp_path / "site/model.json").read_text())["inputs"]]
    assert dims[0] == dims[1] and isinstance(dims[0], str)
    sets = [{"a": np.ones((3, 4), "float32"), "b": np.ones((n, 4), "float32")} for n in (2, 3)]
    differ, agree = in_node(tmp_path / "site", given(tmp_path / "given", *sets))
    assert f"dim 0 is 2, but {dims[0]} is 3 (dim 0 of a)" in differ["error"]
    assert arrays(agree)[0].tolist() == [[4.0] * 3] * 3


def test_a_kernel_that_fails_leaves_nothing_behind(sites: dict[str, Path], tmp_path: Path) -> None:
    bad = {"x": np.ones((3, 4), "float32"), "n": np.array(-1)}
    good = {"x": np.ones((3, 4), "float32"), "n": np.array(2)}
    first, *_, last = results = in_node(sites["select"], given(tmp_path, good, *[bad] * 50, good))
    assert all("a size would be -1" in r["error"] for r in results[1:-1])
    assert last["memory"] == first["memory"] and all(map(np.array_equal, arrays(first), arrays(last)))


def test_real_recogniser(tmp_path: Path) -> None:
    """PP-OCRv4's recogniser of text lines, one build for two widths."""
    from zoo.recipes import packaged_recipes

    recipe = next(r for r in packaged_recipes() if r.name == "PP-OCRv4_mobile_rec")
    try:
        graph = next(recipe.export(tmp_path).glob("*.pdmodel"))
    except (FileNotFoundError, StopIteration):
        pytest.skip("the package with the model is not installed (make demo)")
    command = [sys.executable, str(HERE / "save_dynamic.py"), str(tmp_path / "given"), str(graph), "160", "320"]
    subprocess.run(command, check=True, capture_output=True)
    build_site(graph, tmp_path / "site", shapes={"x": [1, 3, 48, None]}, variants=["simd128"])
    same_as_paddle(in_node(tmp_path / "site", tmp_path / "given"), tmp_path / "given", rtol=1e-4, atol=1e-5)


@chromium
def test_in_a_browser(sites: dict[str, Path], saved: Path) -> None:
    """A worker, and the page that comes with the model, which asks for sizes."""
    command = ["node", str(HERE / "browser_dynamic.mjs"), str(sites["picture"]), str(saved / "picture")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["errors"] == []
    same_as_paddle(found["results"], saved / "picture")
    assert "median of 10 runs" in found["shown"] and found["asked"] == 1 and "dim 1 is 4, not 3" in found["refused"]
    assert found["kernels"] > 3


def test_what_has_no_counterpart_is_refused_all_at_once() -> None:
    from tvm import relax

    from oarlock.rules.weights import Weights

    ty = relax.TensorType((4,), "float32")
    x, bb = relax.Var("x", ty), relax.BlockBuilder()
    with bb.function("main", [x]):
        first = bb.emit(relax.call_pure_packed("vm.builtin.first_thing", x, ty_args=ty))
        other = bb.emit(relax.call_pure_packed("vm.builtin.other_thing", first, ty_args=ty))
        bb.emit_func_output(relax.Tuple([other]))
    with pytest.raises(errors.UnsupportedError, match=r"(?s)vm.builtin.first_thing.*vm.builtin.other_thing"):
        program.program_of(bb.get(), Weights())
