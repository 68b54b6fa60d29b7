"""The zoo's recipes are well formed, and a few small models go through all of it."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from zoo.compare import compare  # noqa: E402
from zoo.forked import answer_in_child  # noqa: E402
from zoo.perturb import judge, judged  # noqa: E402
from zoo.recipe import OWN, PRETRAINED, Input, Recipe, image, resolve, unique  # noqa: E402
from zoo.recipes import all_recipes  # noqa: E402

from zoo import results, table  # noqa: E402

RECIPES = all_recipes()
KINDS = {"official", "reduced", OWN, PRETRAINED}


def test_there_are_enough_models_and_their_names_are_file_names():
    assert len(RECIPES) >= 800
    assert sum(r.kind == PRETRAINED for r in RECIPES) == 13
    assert all(re.fullmatch(r"[\w.+-]+/[\w.+-]+", r.key) for r in RECIPES)


def test_recipes_name_functions_that_are_there():
    """Of this package; those of zoo.nets need Paddle."""
    pytest.importorskip("paddle", reason="Paddle is not installed")
    for name in {n for r in RECIPES for n in (r.build, r.setup, r.finish) if n}:
        assert callable(resolve(name)), name


def test_sources_name_a_version_or_say_that_it_is_ours():
    pinned = (ROOT / "zoo/requirements-models.txt").read_text() + "LAC==0.1.5"
    for recipe in RECIPES:
        assert recipe.kind in KINDS, recipe.key
        if recipe.source != "after the paper":
            assert re.search(r"[\d.]+$", recipe.source), recipe.key
        if "==" in recipe.source:
            assert recipe.source.lower() in pinned.lower(), recipe.key
    assert all(r.kind == OWN for r in RECIPES if r.source == "after the paper")


def test_samples_fit_the_declared_shapes():
    rng = np.random.default_rng(0)
    for recipe in RECIPES:
        for given in recipe.inputs:
            array = given.make(rng)
            assert len(array.shape) == len(given.shape), recipe.key
            assert all(d in (None, n) for d, n in zip(given.shape, array.shape, strict=True)), recipe.key
            assert str(array.dtype) == given.dtype


def test_a_recipe_has_a_digest_that_changes_with_it():
    one = Recipe("f", "n", "m:f", (image(8),), "after the paper")
    assert one.digest == Recipe("f", "n", "m:f", (image(8),), "after the paper", note="said").digest
    assert one.digest != Recipe("f", "n", "m:f", (image(9),), "after the paper").digest
    with pytest.raises(ValueError, match="two recipes"):
        unique([one, one])


def test_results_are_kept_line_by_line(tmp_path):
    recipes = [Recipe("f", n, "m:f", (), "s") for n in "ab"]
    path = tmp_path / "results.tsv"
    for recipe in reversed(recipes):
        row = results.Row("f", recipe.name, "match", difference=1.25e-6, dynamic=True, compile_s=2.0, recipe=recipe.digest)
        results.keep(row, recipes, path)
    assert list(results.load(path)) == ["f/a", "f/b"]
    assert results.load(path)["f/b"] == row.__class__(
        "f", "b", "match", difference=1.25e-6, dynamic=True, compile_s=2.0, recipe=recipes[1].digest
    )
    results.keep(results.Row("f", "a", "differs"), recipes[:1], path)  # a recipe that is gone
    assert [r.verdict for r in results.load(path).values()] == ["differs"]


def test_the_committed_table_is_that_of_the_results(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "DOC", tmp_path / "models.md")
    table.write(RECIPES, results.load())
    assert (tmp_path / "models.md").read_text() == (ROOT / "docs/models.md").read_text()


def _export(folder: Path, *keys: str) -> list[dict]:
    command = [sys.executable, "-W", "ignore", "-m", "zoo.export", str(folder)]
    done = subprocess.run(command, input="\n".join(keys) + "\n", capture_output=True, text=True, cwd=ROOT, timeout=300, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    pytest.importorskip("paddle", reason="Paddle is not installed")
    folder = tmp_path_factory.mktemp("zoo")
    keys = ("recommendation/DeepFM", "control_flow/if_else", "graph/GATNE")
    return folder, dict(zip(keys, _export(folder, *keys), strict=True))


@pytest.mark.parametrize("key", ["recommendation/DeepFM", "control_flow/if_else", "graph/GATNE"])
def test_a_small_model_matches(exported, key):
    folder, facts = exported
    assert "error" not in facts[key] and facts[key]["dynamic"]
    row = compare(folder / key)
    assert row["verdict"] == "match", row
    assert row["control"] == (key == "control_flow/if_else")


def test_another_result_of_paddle_would_be_found(exported):
    folder, _ = exported
    run = folder / "graph/GATNE/run-0.npz"
    with np.load(run) as archive:
        arrays = dict(archive)
    arrays["out:000"] = arrays["out:000"] * 1.001
    np.savez(run, **arrays)
    assert compare(folder / "graph/GATNE")["verdict"] == "differs"
    with np.load(folder / "graph/GATNE/ours-0.npz") as left:  # what zoo.perturb judges
        assert left.files == ["out:000"] and left["out:000"].shape == arrays["out:000"].shape


FLOATS, TOKENS = np.array([1.0, -2.0, 4.0], "float32"), np.array([[3, 1, 4], [1, 5, 9]])


def changed(array, **elements):
    """The array with other numbers at some flat places: _0=7."""
    out = array.copy()
    for place, value in elements.items():
        out.flat[int(place[1:])] = value
    return out


@pytest.mark.parametrize(
    ("mine", "theirs", "draws", "explained"),
    [
        # an integer that Paddle's own run changes to the same number; to another one; not at all; one of two
        (changed(TOKENS, _4=8), TOKENS, [TOKENS, changed(TOKENS, _4=8, _0=2)], True),
        (changed(TOKENS, _4=8), TOKENS, [changed(TOKENS, _4=7)], False),
        (changed(TOKENS, _4=8), TOKENS, [changed(TOKENS, _0=2)], False),
        (changed(TOKENS, _4=8, _1=0), TOKENS, [changed(TOKENS, _4=8)], False),
        (changed(TOKENS, _4=8, _1=0), TOKENS, [changed(TOKENS, _4=8), changed(TOKENS, _1=0)], True),
        # a float that Paddle's moves as far; much less far; an infinity that Paddle has not
        (FLOATS * 1.01, FLOATS, [FLOATS, FLOATS * 0.993], True),
        (FLOATS * 1.01, FLOATS, [FLOATS * 0.999], False),
        (changed(FLOATS, _1=np.inf), FLOATS, [FLOATS * 2], False),
        (changed(FLOATS, _1=np.nan), FLOATS, [changed(FLOATS, _1=np.nan)], False),
        # another shape or type
        (TOKENS[:1], TOKENS, [TOKENS, TOKENS[:1]], True),
        (TOKENS[:, :1], TOKENS, [TOKENS[:1]], False),
        (TOKENS.astype("int32"), TOKENS, [changed(TOKENS, _4=8)], False),
    ],
)
def test_what_rounding_explains(mine, theirs, draws, explained):
    assert judged(mine, theirs, draws)[0] == explained


def test_an_integer_that_moves_excuses_no_float(tmp_path, monkeypatch):
    """The same model twice: Paddle's tokens move; ours do too, and once our floats are grossly wrong beside."""
    perturb = importlib.import_module("zoo.perturb")
    moves = iter(range(1000))

    def drawn(folder, inputs, draw):
        return [FLOATS * (1 + 1e-6 * next(moves)), changed(TOKENS, _5=8)]

    monkeypatch.setattr(perturb, "_drawn", drawn)
    np.savez(tmp_path / "run-0.npz", **{"in:x": FLOATS, "out:000": FLOATS, "out:001": TOKENS})
    np.savez(tmp_path / "ours-0.npz", **{"out:001": changed(TOKENS, _5=8)})
    assert judge(tmp_path)[0]
    np.savez(tmp_path / "ours-0.npz", **{"out:000": FLOATS * 3, "out:001": changed(TOKENS, _5=8)})
    rounding, said = judge(tmp_path)
    assert not rounding and "moves by" in said and "output 1 of 2" in said
    (tmp_path / "ours-0.npz").unlink()
    assert not judge(tmp_path)[0]  # what differs is no output: what was read, or how many outputs there are


def test_rounding_does_not_explain_a_thousandth_where_nothing_amplifies(exported):
    """Through Paddle itself."""
    folder, _ = exported
    model = folder / "recommendation/DeepFM"
    with np.load(model / "run-0.npz") as archive:
        np.savez(model / "ours-0.npz", **{"out:000": archive["out:000"] * np.float32(1.001)})
    rounding, said = judge(model)
    assert not rounding
    assert 0 < float(re.search(r"moves by (\S+) of", said).group(1)) < 1e-5
    assert compare(model)["verdict"] == "match" and not list(model.glob("ours-*"))  # it clears what an earlier comparison left


def test_an_import_that_fails_is_said_once(tmp_path):
    module = importlib.import_module("zoo.sweep")
    assert module._clean("No such file: /a/b/c/model.json\tthere") == "No such file: …/model.json there"


def test_an_input_of_unknown_values_is_refused():
    with pytest.raises(ValueError, match="no such values"):
        Input((1,), values=("what", 1)).make(np.random.default_rng(0))


def test_a_child_that_ends_is_an_answer():
    said = {"end": lambda: os._exit(3), "crash": lambda: os.kill(os.getpid(), signal.SIGTERM), "good": lambda: {"why": "x" * 100_000}}
    answers = {name: answer_in_child(make, lambda e: {"why": str(e)}, 60, show=False)["why"] for name, make in said.items()}
    assert answers == {"end": "the process ended with status 3", "crash": "the process ended with signal 15", "good": "x" * 100_000}
