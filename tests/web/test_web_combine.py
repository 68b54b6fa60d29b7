"""``oarlock web combine``: plans over several engines by given costs, and mixed plans in a browser that give Paddle's numbers."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from having import linker
from test_web_profile import PEERS, chromium, peers, saved  # noqa: F401

from oarlock import cli, errors
from oarlock.targets.web.profiler import Browser, run_job
from oarlock.targets.web.profiler import combine as combining
from oarlock.targets.web.profiler.align import Row
from oarlock.targets.web.profiler.profile import Aligned
from oarlock.targets.web.profiler.roads import GpuRoad, Memory, Paths, Place, Segment
from oarlock.targets.web.profiler.setting import GPU, OURS, PADDLEJS, Setting

# ---- the path -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixed", [False, True])
def test_the_shortest_path_is_the_cheapest_plan(mixed: bool) -> None:
    """Beside every way there is."""
    rng = random.Random(0)
    for _ in range(30):
        count = 6
        edges = [Segment(n, n + 1, OURS, rng.random()) for n in range(count)]
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count + 1)]
        edges += [Segment(a, b, rng.choice(["one", "other"]), rng.random() * (b - a)) for a, b in rng.sample(pairs, 8)]
        ways = []
        for size in range(1, count + 1):
            for chosen in itertools.combinations(edges, size):
                way = sorted(chosen, key=lambda e: e.first)
                ends = [0, *(e.last for e in way)]
                if [e.first for e in way] == ends[:-1] and ends[-1] == count and (not mixed or len({e.engine for e in way}) > 1):
                    ways.append(sum(e.ms for e in way))
        path = combining.shortest(count, edges, mixed)
        assert bool(path) == bool(ways)
        if path:
            assert path[0].first == 0 and path[-1].last == count and all(a.last == b.first for a, b in itertools.pairwise(path))
            assert sum(edge.ms for edge in path) == pytest.approx(min(ways))


# ---- costs --------------------------------------------------------------------------------------------------------------


def chain(sizes: Sequence[int], ms: Sequence[float]) -> tuple[Aligned, dict[str, Any]]:
    """A model of one kernel a row, each on what the one before made, so many floats in two places by turns; the last is the output."""
    regions = [(1, 0 if n % 2 else 1 << 20) for n in range(len(sizes) - 1)] + [(3, 0)]
    steps, before = [], {"dtype": "float32", "shape": [4], "region": 2, "offset": 0}
    for n, (size, (region, offset)) in enumerate(zip(sizes, regions, strict=True)):
        made = {"dtype": "float32", "shape": [size], "region": region, "offset": offset}
        steps.append({"name": f"k{n}", "args": [before, made], "results": [{"at": 1, "shape": [size]}]})
        before = made
    rows = [Row([n], {"at": 1, "shape": [size]}) for n, size in enumerate(sizes)]
    profile = {"engines": {OURS: {"facts": {"layout_ms_per_mb": 2.0}}}, "rows": [{"ms": {OURS: t}} for t in ms]}
    return Aligned(rows, [("float32", (4,))], steps, {}, {}), profile


class Given:
    """An engine with costs that are given; ``turned``: the tensors that lie otherwise there."""

    def __init__(self, engine: str, aligned: Aligned, times: Sequence[float], call: float, rate: float = 0.0) -> None:
        self.engine, self.aligned, self.times, self.call_ms, self.ms_per_mb = engine, aligned, times, call, rate
        self.turned: set[int] = set()

    def place(self, tensor: int) -> Place:
        shape = (4,) if tensor < 0 else tuple(self.aligned.rows[tensor].result["shape"])
        return Place(f"t{tensor}", 1, 0, "float32", shape, "channels last" if tensor in self.turned else "same")

    def cone(self, gives: Sequence[int], known: set[int]) -> tuple[Any, list[int]] | None:
        first = max(gives)
        while first - 1 >= 0 and first - 1 not in known:
            first -= 1
        return list(range(first, max(gives) + 1)), [first - 1]

    def ms(self, work: Any, first: int, last: int) -> float:
        return sum(self.times[n] for n in work)

    def entry(self, segment: Segment, work: Any) -> dict[str, Any]:
        return {"kind": "given", "work": work}


def planned(aligned: Aligned, profile: dict[str, Any], *roads: Given) -> list[tuple[int, int, str]]:
    paths = Paths(aligned, profile, roads)
    ours = [paths.ours(n) for n in range(len(aligned.rows))]
    path = combining.shortest(len(ours), [*ours, *paths.all_elsewhere()])
    return [(s.first, s.last, s.engine) for s in path if s.engine != OURS]


def test_a_crossing_pays_for_several_rows_but_not_for_one() -> None:
    """Each row gains 2 ms on the GPU, and going there costs 5."""
    aligned, profile = chain([4] * 6, [1, 3, 3, 3, 3, 1])
    times = [9, 1, 1, 1, 1, 9]
    assert planned(aligned, profile, Given(GPU, aligned, times, 5.0)) == [(1, 5, GPU)]
    assert planned(aligned, profile, Given(GPU, aligned, times, 8.5)) == [], "4 · 2 ms gained, 8.5 lost"
    profile["rows"][3]["ms"][OURS] = 30
    assert planned(aligned, profile, Given(GPU, aligned, [9, 9, 9, 1, 9, 9], 5.0)) == [(3, 4, GPU)]


def test_a_crossing_is_made_where_tensors_are_small() -> None:
    """Row 1 makes 4 MB, at 1 ms a MB: the run begins before it, though our kernel for it is faster."""
    aligned, profile = chain([4, 1 << 20, 4, 4], [1, 1, 9, 1])
    gpu = Given(GPU, aligned, [9, 3, 1, 9], 1.0, rate=1.0)
    assert planned(aligned, profile, gpu) == [(1, 3, GPU)]
    gpu.ms_per_mb = 0.0
    assert planned(aligned, profile, gpu) == [(2, 3, GPU)]
    gpu.turned = {1}  # its layout is another: 4 MB at 2 ms a MB
    assert planned(aligned, profile, gpu) == [(1, 3, GPU)]


def test_three_engines_meet_in_our_memory() -> None:
    aligned, profile = chain([4] * 6, [1, 9, 9, 9, 9, 1])
    gpu, other = Given(GPU, aligned, [9, 1, 1, 9, 9, 9], 2.0), Given(PADDLEJS, aligned, [9, 9, 9, 2, 2, 9], 3.0)
    assert planned(aligned, profile, gpu, other) == [(1, 3, GPU), (3, 5, PADDLEJS)]
    paths = Paths(aligned, profile, [gpu, other])
    (first,) = [s for s in paths.all_elsewhere() if (s.first, s.last, s.engine) == (1, 3, GPU)]
    assert first.takes == (0,) and first.gives == (2,) and first.ms == pytest.approx(2 * 1 + 2)


def test_what_lies_where_another_tensor_has_come_to_lie_is_not_taken() -> None:
    """Row 2 reads what row 0 made, which row 2 of our plan writes over: later rows cannot take it."""
    aligned, profile = chain([4] * 5, [1] * 5)
    aligned.steps[2]["args"].insert(0, aligned.steps[0]["args"][1])
    aligned.steps[2]["results"][0]["at"] = aligned.rows[2].result["at"] = 2
    paths = Paths(aligned, profile, [Given(GPU, aligned, [1] * 5, 0.0)])
    assert paths.needed[:2] == [2, 2] and paths.known(2) == {0, 1} and paths.known(3) == {2}
    assert paths.crossing_out(0, 2) == [0, 1] and paths.crossing_out(0, 3) == [2]


def test_kernels_upon_their_operands_read_them() -> None:
    place = {"dtype": "float32", "shape": [4], "region": 1, "offset": 0}
    fed = {**place, "region": 2}
    steps = [
        {"name": "a", "args": [fed, place], "results": [{"at": 1}]},
        {"name": "relu_upon_0", "args": [place], "results": [{"at": 0}]},
        {"name": "b", "args": [fed, {**place, "offset": 8}], "results": [{"at": 1}]},
    ]
    memory = Memory(steps, 2, 1)
    assert memory.reads == [[(-1, 0)], [(0, 1)], [(-1, 0)]]
    assert memory.alive((0, 1), 1) and not memory.alive((0, 1), 2)
    assert memory.alive((1, 0), 2) and not memory.alive((1, 0), 3), "bytes 8 to 24 are written upon bytes 0 to 16"


def test_a_gpu_holds_two_tensors_of_one_place_one_after_the_other() -> None:
    """Its third kernel writes where the first one did: no run takes what both made."""
    regions = [1, 3, 4, 3, 2]  # of the input and of what each kernel makes; 2 is the output
    places = [{"dtype": "float32", "shape": [4], "region": region, "offset": 0} for region in regions]
    reads = [[0], [1], [2], [2, 3]]
    numbers = {"count": 4, "sum": 1.0, "squares": 1.0, "most": 1.0, "order": 0.5, "channels_last": 0.5, "shape": [4], "dtype": "float32"}
    steps = [
        {"name": f"k{n}", "args": [*(places[i] for i in reads[n]), places[n + 1]], "results": [{"at": len(reads[n]), **numbers}]}
        for n in range(4)
    ]
    aligned, _ = chain([4] * 4, [1] * 4)
    aligned.gpu_steps, aligned.gpu_ends, aligned.gpu_times = steps, {n: (n, 0) for n in range(4)}, [[1.0], [2.0], [3.0], [5.0]]
    road = GpuRoad(aligned, {"crossing": {"call_ms": 1.0, "ms_per_mb": 0.0}})
    assert road.cone([3], {1, 2}) == ([3], [1, 2]) and road.ms([3], 3, 4) == 5.0
    assert road.cone([2, 3], {0}) == ([1, 2, 3], [0]), "row 2 comes to lie where row 0 was when that has been read"
    assert road.cone([3], {0, 2}) is None, "rows 0 and 2 are in one place"
    assert road.cone([1], {0}) == ([1], [0]) and road.cone([0], set()) == ([0], [-1])


# ---- what is said ------------------------------------------------------------------------------------------------------


def test_a_wrong_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aligned, profile = chain([4] * 3, [1, 9, 1])
    engine = {"software": "SwiftShader", "facts": {}}
    profile["engines"] = {OURS: {**profile["engines"][OURS], "software": ""}, GPU: engine}
    profile |= {"model": "m", "browser": "b", "missing": {}}
    for n, row in enumerate(profile["rows"]):
        row |= {"operators": [f"op{n}"]}
    setting = Setting(tmp_path, None, {}, {}, tmp_path, None, None, expected=[{"dtype": "float32", "file": "f"}])  # type: ignore[arg-type]
    monkeypatch.setattr(combining, "roads_of", lambda *given: [Given(GPU, aligned, [1, 1, 1], 1.0)])
    for differs, refused in ((2e-3, True), (3e-7, False)):
        facts = {"median_ms": 2.0, "p10_ms": 2.0, "differs": differs}
        measured = {"failed": {}, OURS: {"median_ms": 4.0, "p10_ms": 4.0, "differs": 1e-7}, combining.COMBINED: facts}
        monkeypatch.setattr(combining, "_measured", lambda *given, measured=measured: measured)
        result = combining.combine(setting, profile, aligned, browser=None)
        said = combining.text(result)
        assert ("refused" in result, "spec" in result) == (refused, not refused)
        assert ("combined is refused: its outputs differ from those of Paddle by 2e-03" in said) == refused
        assert "computed on SwiftShader, a program on the CPU" in said and "say nothing of any GPU: oarlock webgpu" in said
        assert "combined beside oarlock alone, the fastest engine: 0.50 of its time by medians, 0.50 by 10th percentiles" in said
    with pytest.raises(errors.InputError, match="there are 3 rows"):
        combining.combine(setting, profile, aligned, browser=None, taken=[(1, 5, GPU)])
    with pytest.raises(errors.InputError, match="the engine cannot have these rows"):
        combining.combine(setting, profile, aligned, browser=None, taken=[(1, 2, PADDLEJS)])


def test_rows_to_take_are_read(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.main, ["web", "combine", str(tmp_path), "-o", str(tmp_path / "out"), "--take", "x=oarlock webgpu"])
    assert done.exit_code != 0 and "FIRST-LAST=ENGINE" in done.output


# ---- in a browser ------------------------------------------------------------------------------------------------------


def combined(saved: Path, name: str, engines: Path, out: Path, *takes: str) -> dict[str, Any]:  # noqa: F811
    arguments = ["web", "combine", str(saved / f"{name}.json"), "--npz", str(saved / "image.npz"), "--peers", str(engines), "-o", str(out)]
    for take in takes:
        arguments += ["--take", take]
    done = CliRunner().invoke(cli.main, [*arguments, "--rounds", "1", "--runs", "2", "--json"])
    assert done.exit_code == 0, done.output
    return json.loads((out / "combine.json").read_text())


def as_paddle(saved: Path, name: str, out: Path, engines: Path) -> float:  # noqa: F811
    """The folder alone, run in a browser: how far its outputs are from Paddle's, by their scale."""
    spec = json.loads((out / "combined.json").read_text())
    folder = {"out": out, "saved": saved, "peers": engines}
    with np.load(saved / f"{name}.expected.npz") as file:
        for i, key in enumerate(file.files):
            file[key].tofile(saved / f"{name}.{i}.bin")
        expected = [{"dtype": "float32", "file": f"saved/{name}.{i}.bin"} for i in range(len(file.files))]
    inputs = {"image": {"dtype": "float32", "shape": [1, 3, 20, 16], "file": "saved/image.bin"}}
    job = {"inputs": inputs, "expected": expected, "engines": [combining.entry_of(spec, "out/site/", "out/pieces/")], "rounds": 0}
    found = run_job(job, folder, browser=Browser())
    assert found["failed"] == {}
    return found["engines"][combining.COMBINED]["difference"]


@linker
@chromium
def test_a_plan_through_webgpu(saved: Path, tmp_path: Path) -> None:  # noqa: F811
    """WebAssembly → WebGPU → WebAssembly, with tensors that go around the kernels."""
    result = combined(saved, "blocks", tmp_path, tmp_path / "out", "1-2=oarlock webgpu")
    profile = json.loads((tmp_path / "out/profile.json").read_text())
    assert set(profile["engines"]) == {OURS, GPU} and profile["engines"][GPU]["software"] == "SwiftShader"
    assert (
        profile["engines"][GPU]["facts"]["clock"] in ("timestamp-query", "awaited")
        and profile["engines"][GPU]["facts"]["crossing"]["call_ms"] > 0
    )
    assert sum(GPU in row["ms"] for row in profile["rows"]) >= 5, "the rows of both engines are the same tensors"
    assert "say nothing of any GPU: oarlock webgpu" in (tmp_path / "out/profile.txt").read_text()
    kinds = [segment.get("kind", OURS) for segment in result["spec"]["segments"]]
    assert kinds == [OURS, "webgpu", OURS]
    assert result["measured"]["failed"] == {} and result["measured"][combining.COMBINED]["differs"] <= 1e-4
    assert as_paddle(saved, "blocks", tmp_path / "out", tmp_path) <= 1e-4


@linker
@chromium
@peers("@paddlejs/paddlejs-core")
def test_a_plan_through_webgpu_and_paddle_js(saved: Path, tmp_path: Path) -> None:  # noqa: F811
    """WebAssembly → WebGPU → Paddle.js, whose block reads its picture twice → WebAssembly."""
    modules = tmp_path / "node_modules"  # of Paddle.js alone: others would take their time
    shutil.copytree(PEERS / "@paddlejs", modules / "@paddlejs")
    result = combined(saved, "blocks", modules, tmp_path / "out", "1-2=oarlock webgpu", "3-4=paddle.js")
    kinds = [segment.get("kind", OURS) for segment in result["spec"]["segments"]]
    assert kinds == [OURS, "webgpu", "paddlejs", OURS]
    assert all((tmp_path / "out/pieces" / s["folder"] / "model.json").exists() for s in result["spec"]["segments"] if "folder" in s)
    assert as_paddle(saved, "blocks", tmp_path / "out", modules) <= 1e-4
