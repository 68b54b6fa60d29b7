"""Parts of quantisation against independent calculations: histograms, scales, examples, the state of a run that was cut off."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from oarlock import errors
from oarlock.cli import main
from oarlock.quantising.calibrate import collect
from oarlock.quantising.data import Example, examples, split
from oarlock.quantising.histogram import BINS, Histogram
from oarlock.quantising.page import render
from oarlock.quantising.quantise import LayerReport, Report
from oarlock.quantising.sensitivity import Judge, choose
from oarlock.runtime.signature import TensorSpec


def seen(*arrays: np.ndarray) -> Histogram:
    made = Histogram()
    for array in arrays:
        made.add(array)
    return made


def test_bins_double() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal(1000).astype("float32") * scale for scale in (0.0, 0.01, 1.0, 30.0)]
    got = seen(*parts)
    magnitudes = np.abs(np.concatenate(parts))
    assert got.largest == magnitudes.max() and got.largest <= got.top < 2 * got.largest
    want, _ = np.histogram(magnitudes, BINS, (0, got.top))
    assert got.counts.sum() == magnitudes.size
    # numbers at the edge of a bin may be counted in its neighbour
    assert np.abs(np.cumsum(got.counts) - np.cumsum(want)).max() <= 4


def test_percentile_and_absmax() -> None:
    x = np.random.default_rng(1).standard_normal(100_000).astype("float32")
    made = seen(x)
    assert made.scale("absmax") == np.abs(x).max()
    assert made.scale("percentile", 99.0) == pytest.approx(np.percentile(np.abs(x), 99.0), abs=2 * made.top / BINS)
    assert made.scale("percentile", 100.0) == np.abs(x).max()


def error(x: np.ndarray, scale: float) -> float:
    q = np.clip(np.rint(x.astype("float64") * 127 / scale), -128, 127)
    return float(np.mean((x - q * scale / 127) ** 2))


@pytest.mark.parametrize("outlier", [1.0, 100.0])
def test_mse_has_the_least_error(outlier: float) -> None:
    x = np.random.default_rng(2).laplace(size=50_000).astype("float32")
    x[0] = outlier * np.abs(x).max()
    got = seen(x).scale("mse")
    tried = np.abs(x).max() * np.arange(20, 101) / 100
    assert error(x, got) <= 1.01 * min(error(x, s) for s in tried)


def test_kl_leaves_out_what_is_rare() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal(200_000).astype("float32")
    assert seen(x).scale("kl") > 0.6 * np.abs(x).max()
    far = np.concatenate([x, np.full(3, 60, "float32")])
    assert np.percentile(np.abs(x), 99) < seen(far).scale("kl") < 12
    halved = seen(np.maximum(far, 0)).scale("kl")  # zeros say nothing about the scale
    assert np.percentile(np.abs(x), 99) < halved < 12


def test_zeros_and_numbers_that_are_none() -> None:
    for method in ("absmax", "percentile", "kl", "mse"):
        assert seen(np.zeros(5, "float32"), np.zeros(0, "float32")).scale(method) == 1.0
        assert seen(np.array([3e-40], "float32")).scale(method) > 0
    with pytest.raises(errors.InputError, match="not finite"):
        seen(np.array([1, np.nan], "float32"))


IMAGE, WORDS = TensorSpec("x", "float32", ("n", 3, 4, 4)), TensorSpec("ids", "int64", (2, 5))


def test_examples_of_arrays(tmp_path: Path) -> None:
    x = np.arange(6 * 48, dtype="float32").reshape(6, 3, 4, 4)
    ids = np.arange(60).reshape(12, 5)
    np.savez(tmp_path / "all.npz", x=x, ids=ids)
    found = examples(tmp_path / "all.npz", [IMAGE, WORDS], {})
    assert len(found) == 6
    feed = found[4].read()
    np.testing.assert_array_equal(feed["x"], x[4:5])
    np.testing.assert_array_equal(feed["ids"], ids[8:10])
    stacked = examples({"x": x[:, None], "ids": ids.reshape(6, 2, 5)}, [IMAGE, WORDS], {})
    np.testing.assert_array_equal(stacked[5].read()["x"], x[5:])
    with pytest.raises(errors.InputError, match="11 examples do not fill batches of 2"):
        examples({"x": x, "ids": ids[:11]}, [IMAGE, WORDS], {})
    with pytest.raises(errors.InputError, match="different numbers"):
        examples({"x": x, "ids": ids[:10]}, [IMAGE, WORDS], {})
    with pytest.raises(errors.InputError, match="there is no array for ids"):
        examples({"x": x}, [IMAGE, WORDS], {})
    with pytest.raises(errors.InputError, match="no examples"):
        examples([], [IMAGE], {})


def test_examples_of_a_folder(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.full((8, 8, 3), 255, np.uint8)).save(tmp_path / "b.png")
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 3, 4, 4), "float32"))
    (tmp_path / "notes.txt").write_text("no example")
    found = examples(tmp_path, [IMAGE], {"x": (1, 3, 4, 4)})
    assert [e.name for e in found] == ["a.npz", "b.png"]
    white = (1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(found[1].read()["x"][0, :, 2, 2], white, rtol=1e-5)
    with pytest.raises(errors.InputError, match="one image input"):
        examples(tmp_path, [IMAGE, WORDS], {})[1].read()


def test_split() -> None:
    every = [Example(str(i), dict) for i in range(10)]
    used, held = split(every, None)
    assert [e.name for e in held] == ["2", "7"] and len(used) == 8
    assert split(every[:1], None) == (every[:1], every[:1])
    assert len(split([Example(str(i), dict) for i in range(500)], None)[1]) == 16
    with pytest.raises(errors.InputError, match="10 of 10"):
        split(every, 10)


class Taps:
    """A session of one tap that fails once at an example."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at, self.seen = fails_at, []

    def __enter__(self) -> Taps:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def run(self, feed: dict) -> dict:
        if feed["i"] == self.fails_at:
            raise KeyboardInterrupt
        self.seen.append(feed["i"])
        return {"tap.0": np.full(7, feed["i"], "float32")}


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oarlock.quantising.calibrate.EVERY_S", -1.0)
    given = [Example(str(i), lambda i=i: {"i": i}) for i in range(6)]
    state = tmp_path / "state.npz"
    quiet = lambda done, total: None  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        collect(lambda: Taps(fails_at=4), 1, given, state, "a", quiet)
    rest = Taps()
    (found,) = collect(lambda: rest, 1, given, state, "a", quiet)
    assert rest.seen == [4, 5]
    assert found.largest == 5 and found.counts.sum() == 42
    whole = seen(*(np.full(7, i, "float32") for i in range(6)))
    np.testing.assert_array_equal(found.counts, whole.counts)
    collect(lambda: pytest.fail("everything was counted"), 1, given, state, "a", quiet)
    other = Taps()  # another model: its own counts
    collect(lambda: other, 1, given, state, "b", quiet)
    assert other.seen == list(range(6))
    state.write_bytes(b"PK\x03\x04 damaged")
    again = Taps()
    collect(lambda: again, 1, given, state, "b", quiet)
    assert again.seen == list(range(6))


def test_other_contents_of_the_same_names_are_counted_anew(tmp_path: Path) -> None:
    numbers, file, state = np.arange(4, dtype="float32"), tmp_path / "data.npz", tmp_path / "state.npz"
    spec = TensorSpec("i", "float32", (1,))
    quiet = lambda done, total: None  # noqa: E731

    def counted(data: object) -> list[float]:
        taps = Taps()
        collect(lambda: taps, 1, examples(data, [spec], {}), state, "a", quiet)
        return [i.item() for i in taps.seen]

    for data in ({"i": numbers}, [{"i": numbers[i : i + 1]} for i in range(4)]):
        assert counted(data) == [0, 1, 2, 3]
        assert counted(data) == []
    assert counted({"i": numbers + 1}) == [1, 2, 3, 4]
    np.savez(file, i=numbers)
    assert counted(file) == [0, 1, 2, 3] and counted(file) == []
    np.savez(file, i=np.arange(5, 9, dtype="float64").astype("float32"))
    os.utime(file, ns=(0, 0))
    assert counted(file) == [5, 6, 7, 8]


class Switched:
    """A session of two layers, the first of which makes a number none when it is quantised."""

    def run(self, feed: dict) -> dict:
        out = np.array([1.0, 2.0, 4.0], "float32")
        if feed["quantise.0"][0]:
            out[1] = np.nan
        if feed["quantise.1"][0]:
            out[2] += 1
        return {"y": out}


@pytest.mark.parametrize("measure", ["rms", "max"])
def test_a_number_that_becomes_none_is_the_worst(measure: str) -> None:
    quiet = lambda done, total: None  # noqa: E731
    judge = Judge(Switched(), 2, [Example("a", dict)])  # type: ignore[arg-type]
    first, second = judge.harms([[0], [1]], quiet)
    assert first.of(measure) == np.inf and second.of("max") == 0.25
    chosen, harm = choose(judge, [0, 1], {0: first, 1: second}, 0.5, measure, quiet)
    assert chosen == [1] and harm == second
    assert first.to_json()[measure] is None
    layers = [LayerReport(str(i), "conv2d", "w", (4, 4), 1.0, 1.0, h, "") for i, h in enumerate((first, second))]
    page = render(Report(tuple(layers), (), "absmax", True, False, measure, None, 1, 1, first, second), "m")
    assert '"harm": {"rms": null' in page and "width:100.0%" in page


@pytest.mark.parametrize("model", ["m", "m/inference", "m/inference.json", "m/inference.pdmodel"])
def test_the_float_model_is_not_replaced(tmp_path: Path, model: str) -> None:
    told = CliRunner().invoke(main, ["quantize", str(tmp_path / model), "-o", str(tmp_path / "m"), "--calibrate", str(tmp_path)])
    assert told.exit_code and "would replace the float one" in " ".join(told.output.split())
    assert not (tmp_path / "m").exists()
