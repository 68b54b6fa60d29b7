"""``oarlock web tune``: trials in headless Chromium; that a tab, a kernel or a server that goes wrong loses nothing; winners are used."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from node_runs import arrays, given, in_node
from oarlock import cli, errors
from oarlock.kernels import Records, contest, search
from oarlock.kernels.search import Searched, Searches, Task
from oarlock.kernels.trials import Processes, Variant
from oarlock.model import Block, Op, Parameter, Program, TensorType, Value
from oarlock.runtime.artifact import Artifact
from oarlock.targets.web import browser, chromium, module
from oarlock.targets.web.site import build_site
from oarlock.targets.web.tuning import tune_in_browser
from oarlock.targets.web.tuning.server import Server

HERE = Path(__file__).parent
pytestmark = [
    pytest.mark.skipif(
        any(importlib.util.find_spec(name) is None for name in ("ziglang", "websockets", "segno")), reason="there is no oarlock[web]"
    ),
    pytest.mark.skipif(chromium.find() is None, reason="there is no Chromium"),
]
node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
REAL_OPEN = contest._Contest._open
RNG = np.random.default_rng(0)
FIRST, SECOND = (RNG.standard_normal(shape).astype("float32") * 0.2 for shape in ((48, 16, 3, 3), (32, 48, 1, 1)))


def net() -> Program:
    """A convolution of 3×3 with a stride, relu, and one of 1×1."""
    x = Value("x", TensorType("float32", (1, 16, 24, 24)))
    parameters = {name: Parameter(name, TensorType("float32", w.shape), w) for name, w in (("first", FIRST), ("second", SECOND))}
    weights = {name: Value(name, parameter.type) for name, parameter in parameters.items()}
    y, z = Value("y", TensorType("float32", (1, 48, 12, 12))), Value("z", TensorType("float32", (1, 48, 12, 12)))
    out = Value("out", TensorType("float32", (1, 32, 12, 12)))
    common = {"padding_algorithm": "EXPLICIT", "dilations": [1, 1], "groups": 1, "data_format": "NCHW"}
    ops = [
        Op("pd_op.data", {}, {"name": "x"}, [x], ["out"]),
        *(Op("builtin.parameter", {}, {"parameter_name": name}, [value], ["out"]) for name, value in weights.items()),
        Op("pd_op.conv2d", {"input": x, "filter": weights["first"]}, common | {"strides": [2, 2], "paddings": [1, 1]}, [y], ["out"]),
        Op("pd_op.relu", {"x": y}, {}, [z], ["out"]),
        Op("pd_op.conv2d", {"input": z, "filter": weights["second"]}, common | {"strides": [1, 1], "paddings": [0, 0]}, [out], ["out"]),
    ]
    return Program(Block([], ops), [x], {"out": out}, parameters, {"path": "by hand"})


def by_hand(x: np.ndarray) -> np.ndarray:
    """What ``net`` computes, in float64."""
    padded = np.pad(x.astype("float64"), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    hidden = np.maximum(np.einsum("nchwij,ocij->nohw", windows, FIRST), 0)
    return np.einsum("nchw,oc->nohw", hidden, SECOND[:, :, 0, 0])


def few(put: Callable[[object, str, object], None], most: int = 2) -> None:
    """So many candidates of a workload, and what searches find: a contest that ends soon, however busy the machine is."""

    def some(self: contest._Contest, workload: str) -> list[str]:
        names = [name for name in self.asked[workload] if not name.startswith("search")][:most]
        return [name for name in REAL_OPEN(self, workload) if name in names or name.startswith("search")]

    put(contest._Contest, "_open", some)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(contest, "ROUND_S", 0.01)
    few(monkeypatch.setattr)
    monkeypatch.setenv("OARLOCK_WEB_KERNELS", str(tmp_path / "kernels"))


@pytest.fixture
def browsers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen]:
    """Those that were opened."""
    opened: list[subprocess.Popen] = []
    bring = browser.Browser.bring

    def watched(self: browser.Browser) -> None:
        bring(self)
        if self.process is not None and self.process not in opened:
            opened.append(self.process)

    monkeypatch.setattr(browser.Browser, "bring", watched)
    return opened


def rows(database: Path) -> dict[tuple[str, str], dict]:
    return {(workload, name): entry for _, workload, name, entry in Records.load(database, missing_ok=True)}


def run_in_node(site: Path, tmp_path: Path, x: np.ndarray) -> np.ndarray:
    (result,) = in_node(site, given(tmp_path / "given", {"x": x}), "simd128")
    (out,) = arrays(result)
    return out


@node
def test_a_contest_whose_records_a_build_uses(tmp_path: Path, browsers: list) -> None:
    database = tmp_path / "records.json"
    summary = tune_in_browser(net(), variant="simd128", minutes=6, records=database)
    assert summary.trials >= 1 and not summary.failed and summary.default_s > 0 and summary.tuned_s > 0
    assert summary.target.startswith("web simd128 threads=1 Chromium ") and len(summary.target.split()) == 6
    (first,) = [row for row in summary.rows if row.workload.startswith("conv2d")]
    assert first.tried >= 2 and first.calls == 1 and 1e-7 < first.default_s < 1.0
    assert len(browsers) == 1 and browsers[0].poll() is not None, "its browser goes with the tuning"
    # what is recorded to be fastest is what a build takes, and it computes what it should
    stored = Records.load(database)
    other = next(n for (w, n), e in rows(database).items() if w == first.workload and n != first.default and "seconds" in e)
    stored.put(summary.target, "web simd128", first.workload, other, 1e-9, 99)
    stored.save(database)
    site = build_site(net(), tmp_path / "site", variants=["simd128"], records=database)
    assert site.by_record["simd128"][first.workload] == other
    x = RNG.standard_normal((1, 16, 24, 24)).astype("float32")
    np.testing.assert_allclose(run_in_node(tmp_path / "site", tmp_path, x), by_hand(x), rtol=1e-4, atol=1e-4)
    plain = build_site(net(), tmp_path / "plain", variants=["simd128"], records=False)
    assert plain.by_record == {"simd128": {}}


def test_a_tab_that_is_killed_costs_nothing(tmp_path: Path, browsers: list) -> None:
    killed = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "timing" and not killed:
            killed.append(browsers[0])
            os.killpg(browsers[0].pid, signal.SIGKILL)

    summary = tune_in_browser(net(), variant="simd128", minutes=6, records=tmp_path / "r.json", progress=progress)
    assert killed and len(browsers) == 2
    assert summary.trials == 1 and not summary.failed


def test_a_kernel_that_never_ends_costs_one_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from endless import endless

    real, bad = contest.build, []

    def build(*arguments: object) -> Variant:
        variant = real(*arguments)  # type: ignore[arg-type]
        plan = {w: c for w, c in variant.plan.items() if w.startswith("conv2d")}
        if plan and not bad:
            bad.extend(plan.items())
        if plan and [*plan.items()] == bad:
            (name,) = [n for n, w in variant.workloads.items() if w == bad[0][0]]
            made = Artifact.load(variant.artifact)
            section = module.section(bytes(made.library), "oarlock.plan")
            assert section is not None
            (export,) = [k["export"] for k in json.loads(section)["kernels"] if k["name"] == name]
            functions = len(module.imports(bytes(made.library))) - 1  # but the memory
            Artifact(endless(bytes(made.library), export, functions), made.weights, made.signature, made.manifest).save(variant.artifact)
        return variant

    monkeypatch.setattr(contest, "build", build)
    summary = tune_in_browser(net(), variant="simd128", minutes=6, records=tmp_path / "r.json", run_limit_s=3.0)
    assert [(w, c) for w, c, _ in summary.failed] == bad and "hung" in summary.failed[0][2]
    # the trial that it spoiled was made again without it, and nothing was halved
    assert all("seconds" in e or (w, n) == bad[0] for (w, n), e in rows(tmp_path / "r.json").items())
    assert summary.trials == 2 and summary.left == 0


def test_a_server_that_is_killed_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "records.json"
    code = f"""
import sys; sys.path[:0] = {[str(HERE), str(HERE.parents[1] / "tools")]!r}
import test_tune
test_tune.contest.ROUND_S = 0.01
test_tune.few(setattr, 3)
print("ready", flush=True)
test_tune.tune_in_browser(test_tune.net(), variant="simd128", minutes=6, records={str(database)!r},
                          invite=lambda addresses, opened: print(addresses[0], flush=True))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    address = process.stdout.readline().strip()
    end = time.monotonic() + 200
    while len(rows(database)) < 4 and time.monotonic() < end and process.poll() is None:
        time.sleep(0.2)
    process.kill()
    process.wait()
    before = {key for key, entry in rows(database).items() if "seconds" in entry}
    assert len(before) >= 4
    time.sleep(1.0)
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if address.encode() in _read(p)], "its browser went with it"
    tried: list[tuple[str, str]] = []
    wave = contest._Contest._wave

    def watched(self: contest._Contest, plans: list, *rest: object) -> bool:
        tried.extend(pair for plan in plans for pair in plan.items())
        return wave(self, plans, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(contest._Contest, "_wave", watched)
    few(monkeypatch.setattr, 3)
    summary = tune_in_browser(net(), variant="simd128", minutes=6, records=database)
    assert tried and not before & set(tried)
    assert summary.rows and all(row.tried >= 2 for row in summary.rows)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_search_whose_find_a_build_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LEAST_LOSS", 0.5)  # the larger kernel alone
    database = tmp_path / "records.json"
    summary = tune_in_browser(net(), variant="simd128", minutes=6, search=8, records=database)
    (searched,) = summary.searched
    assert searched.trials == 8 and searched.failed < 8 and searched.base_s and searched.best_s
    assert not (tmp_path / ".records.json.trials").exists(), "the journal goes when a search is done"
    ((workload, name),) = [key for key, entry in rows(database).items() if "trace" in entry]
    assert workload == searched.workload and rows(database)[workload, name]["trials"] == 8
    assert "seconds" in rows(database)[workload, name], "it was timed in its place"
    stored = Records.load(database)
    stored.put(summary.target, "web simd128", workload, name, 1e-9, 99)
    stored.save(database)
    site = build_site(net(), tmp_path / "site", variants=["simd128"], records=database)
    assert site.by_record["simd128"][workload] == name
    kernels = site.artifacts["simd128"].manifest["kernels"].values()
    assert [k["schedule"] for k in kernels if k.get("workload") == workload] == ["search"]
    if shutil.which("node"):
        x = RNG.standard_normal((1, 16, 24, 24)).astype("float32")
        np.testing.assert_allclose(run_in_node(tmp_path / "site", tmp_path, x), by_hand(x), rtol=1e-4, atol=1e-4)


class Stopping:
    """A bench that is stopped after some trials."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, 0

    def base(self, made: str) -> float:
        return 1e-3

    def trials(self, kernels: list[str], limit_s: float) -> Iterator[tuple[float | None, str]]:
        for number, _ in enumerate(kernels):
            if self.asked == self.most:
                raise KeyboardInterrupt
            self.asked += 1
            yield (None, "trap") if number == 1 else (1.0 + number / 10, "")

    def again(self, kernel: str, limit_s: float) -> float:
        return 0.9


def test_a_search_that_is_stopped_goes_on_after_its_last_trial(tmp_path: Path) -> None:
    import tvm

    from oarlock import compat_search, pipeline, targets
    from oarlock.importer import import_program
    from oarlock.kernels import Choices
    from oarlock.rules.weights import Weights
    from oarlock.targets import Notes

    target, choices = targets.get("web", variant="simd128"), Choices()
    choices.starts = {}
    with target.tvm_target, tvm.transform.PassContext(opt_level=3):
        mod = import_program(net(), None)
        for stage in pipeline.stages(target, Weights(), choices, pipeline.Built(b"", [])):
            mod = stage.run(mod, Notes())
            if stage.name == "note-kernels":
                break
    workload, start = next((w, s) for w, s in choices.starts.items() if w.startswith("conv2d"))
    texts = compat_search.function_text(start.function), compat_search.function_text(start.made)
    task = Task(workload, start.base, *texts, 6)
    job = {"target": "web", "options": {"variant": "simd128"}, "imports": []}
    processes = Processes()

    def run(bench: Stopping, folder: str) -> Searched:
        (tmp_path / folder).mkdir()
        searches = Searches(processes, job, tmp_path / folder, lambda *_: None, bench=bench, journal=tmp_path / "trials", key="web")  # type: ignore[arg-type]
        return searches.run(task, time.monotonic() + 120, lambda found: None)

    try:
        with pytest.raises(KeyboardInterrupt):
            run(Stopping(4), "first")
        again = Stopping(99)
        found = run(again, "second")
    finally:
        processes.end_all()
    assert (found.trials, again.asked) == (6, 2) and found.failed == 2 and found.best is not None
    assert not (tmp_path / "trials").exists()


# ---- the server ------------------------------------------------------------------------------------------------------


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_who_does_not_know_the_token_gets_nothing() -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    server = Server()
    try:
        address, root = server.address("127.0.0.1"), f"http://127.0.0.1:{server.port}"
        assert server._server.socket.getsockname()[0] == "127.0.0.1" and len(server.token) >= 20
        name = server.put(b"kernel")
        assert [_status(address), _status(f"{address}tuner.js"), _status(f"{address}file/{name}")] == [200, 200, 200]
        for path in ("", "/", "/socket", "/tuner.js", f"/file/{name}", "/wrong/", f"/{server.token[:-1]}/", f"/{server.token}x/tuner.js"):
            assert _status(root + path) == 403
        for path in ("nothing.js", "file/0", "../target.py", "..%2ftarget.py", "file/../tune.html"):
            assert _status(address + path) == 404
        server.drop(name)
        assert _status(f"{address}file/{name}") == 404
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{server.port}/wrong/socket")
        with connect(f"ws://127.0.0.1:{server.port}/{server.token}/socket") as socket:
            socket.send("{}")  # no page of ours: it is left alone, and the server goes on
        assert _status(address) == 200
    finally:
        server.close()


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.TargetError, match="not measured here") as found:
        contest.tune(net(), "web", records=tmp_path / "r.json")
    assert "oarlock web tune" in found.value.todo
    with pytest.raises(errors.InputError, match="no variant wasm64"):
        tune_in_browser(net(), variant="wasm64")
    monkeypatch.setenv("CHROMIUM", "/bin/true")  # opens, and ends at once
    with pytest.raises(errors.TargetError, match="its page never came"):
        tune_in_browser(net(), records=tmp_path / "r.json")
    done = CliRunner().invoke(cli.main, ["web", "tune", str(tmp_path), "--minutes", "0"])
    assert done.exit_code == 2


def test_a_choice_that_is_kept(tmp_path: Path) -> None:
    """Winners that are no faster together leave the choice as it was, until there is a new time."""
    records = Records()
    for name, seconds in (("default", 2e-3), ("faster", 1e-3)):
        records.put("web", "web", "conv", name, seconds, 99)
    assert records.best("web", "conv", ["default", "faster"]) == "faster"
    records.keep("web", "conv", "default")
    records.add_to(tmp_path / "r.json")
    records = Records.load(tmp_path / "r.json")
    assert records.best("web", "conv", ["default", "faster"]) == "default"
    assert records.best("web", "conv", ["default", "faster"], kept=False) == "faster"
    records.put("web", "web", "conv", "third", 3e-3, 9)
    assert records.best("web", "conv", ["default", "faster"]) == "faster"
