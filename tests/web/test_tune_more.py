"""``oarlock web tune``: variants with threads, and programs of dynamic sizes; time that does not count, and addresses."""

from __future__ import annotations

import importlib.util
import json
import shutil
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from endless import endless
from having import chromium
from test_tune import RNG, by_hand, few, net, quick, rows  # noqa: F401

from node_runs import arrays, given, in_node
from oarlock import cli, errors, targets
from oarlock.kernels import Records, contest, search
from oarlock.kernels.trials import Processes, Variant
from oarlock.runtime.artifact import Artifact
from oarlock.targets.web import module
from oarlock.targets.web.hosts import EVERYWHERE, addresses
from oarlock.targets.web.site import build_site
from oarlock.targets.web.tuning import tune_in_browser
from oarlock.targets.web.tuning.place import BrowserPlace
from oarlock.targets.web.tuning.server import Server

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("ziglang", "websockets", "segno")), reason="there is no oarlock[web]"
)
OPEN = {"x": [1, 16, 24, None]}  # the width stays open


def let_win(database: Path, key: str, family: str, workload: str, default: str) -> str:
    """Another candidate of a workload that was timed, as the fastest by far."""
    other = next(n for (w, n), e in rows(database).items() if w == workload and n != default and "seconds" in e)
    stored = Records.load(database)
    stored.put(key, family, workload, other, 1e-9, 99)
    stored.save(database)
    return other


@chromium
def test_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LEAST_LOSS", 0.5)  # the larger kernel alone
    database = tmp_path / "records.json"
    summary = tune_in_browser(net(), variant="simd128-threads", threads=2, minutes=6, search=3, records=database)
    key = summary.target
    assert key.startswith("web simd128-threads threads=4 Chromium ") and key.endswith(" on 2 threads")
    assert summary.trials >= 1 and not summary.failed and summary.default_s > 0
    assert {target for target, *_ in Records.load(database)} == {key}
    (first,) = [row for row in summary.rows if row.workload.startswith("conv2d")]
    assert first.default.endswith("parallel") and first.tried >= 2
    # a search times its kernels on the same threads
    (searched,) = summary.searched
    assert searched.workload == first.workload and searched.trials == 3 and searched.base_s and searched.best_s
    other = let_win(database, key, "web simd128-threads", first.workload, first.default)
    site = build_site(net(), tmp_path / "site", variants=["simd128-threads"], records=database)
    assert site.by_record["simd128-threads"][first.workload] == other
    if shutil.which("node"):
        x = RNG.standard_normal((1, 16, 24, 24)).astype("float32")
        (result,) = in_node(tmp_path / "site", given(tmp_path / "given", {"x": x}), "simd128-threads")
        np.testing.assert_allclose(arrays(result)[0], by_hand(x), rtol=1e-4, atol=1e-4)


@chromium
def test_dynamic_sizes(tmp_path: Path) -> None:
    database = tmp_path / "records.json"
    summary = tune_in_browser(net(), OPEN, variant="simd128", minutes=6, at={"x": [1, 16, 24, 40]}, records=database)
    assert summary.trials >= 1 and not summary.failed
    (first,) = [row for row in summary.rows if row.workload.startswith("conv2d")]
    assert "?" in first.workload.split()[2], "the width in the key is open"
    assert first.tried >= 2 and first.calls == 1 and 1e-7 < first.default_s < 1.0
    other = let_win(database, summary.target, "web simd128", first.workload, first.default)
    site = build_site(net(), tmp_path / "site", shapes=OPEN, variants=["simd128"], records=database)
    assert site.by_record["simd128"][first.workload] == other
    fixed = build_site(net(), tmp_path / "fixed", variants=["simd128"], records=database)
    assert fixed.by_record["simd128"] == {}, "of a width that is known, the kernels are others"
    if shutil.which("node"):
        xs = [RNG.standard_normal((1, 16, 24, width)).astype("float32") for width in (24, 72, 17)]
        results = in_node(tmp_path / "site", given(tmp_path / "given", *({"x": x} for x in xs)), "simd128")
        for x, result in zip(xs, results, strict=True):
            np.testing.assert_allclose(arrays(result)[0], by_hand(x), rtol=1e-4, atol=1e-4)


@chromium
def test_a_kernel_of_a_program_that_never_ends_costs_one_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, bad = contest.build, []

    def build(*arguments: Any) -> Variant:
        variant = real(*arguments)
        plan = {w: c for w, c in variant.plan.items() if w.startswith("conv2d")}
        bad[:] = bad or plan.items()
        if plan and [*plan.items()] == bad:
            (name,) = [n for n, w in variant.workloads.items() if w == bad[0][0]]
            made = Artifact.load(variant.artifact)
            code = bytes(made.library)
            (export,) = [k["export"] for k in json.loads(module.section(code, "oarlock.plan") or b"")["kernels"] if k["name"] == name]
            spoiled = endless(code, export, len(module.imports(code)) - 1)
            Artifact(spoiled, made.weights, made.signature, made.manifest).save(variant.artifact)
        return variant

    monkeypatch.setattr(contest, "build", build)
    summary = tune_in_browser(net(), OPEN, variant="simd128", minutes=6, records=tmp_path / "r.json", run_limit_s=3.0)
    assert [(w, c) for w, c, _ in summary.failed] == bad and "hung" in summary.failed[0][2]
    assert summary.trials == 2 and summary.left == 0, "the others of its trial were tried again, and nothing was halved"


# ---- without a browser -----------------------------------------------------------------------------------------------


def place(threads: int | None = None, **facts: Any) -> BrowserPlace:
    hello = {"browser": "Chromium", "major": 150, "device": "Android", "cores": 8, "isolated": True, "needs": ["simd", "threads"]} | facts
    page = SimpleNamespace(hello=hello, local=False, kind=("Chromium", 150, "Android", False))
    return BrowserPlace(SimpleNamespace(page=lambda: page), Processes(), threads)  # type: ignore[arg-type]


def test_how_many_threads() -> None:
    target = targets.get("web", variant="simd128-threads")
    assert place().record_key(target)[0].endswith("Chromium 150 Android 8 cores on 4 threads"), "as a page takes them"
    assert place(6).record_key(target)[0].endswith("on 6 threads") and place(cores=2).record_key(target)[0].endswith("on 2 threads")
    assert place().record_key(targets.get("web", variant="simd128"))[0].endswith(" 8 cores")
    with pytest.raises(errors.TargetError, match="not cross-origin isolated"):
        place(needs=["simd"], isolated=False).record_key(target)
    with pytest.raises(errors.TargetError, match="it has no threads"):
        place(needs=["simd"]).record_key(target)
    with pytest.raises(errors.TargetError, match="has no relaxed-simd"):
        place().record_key(targets.get("web", variant="relaxed-simd-threads"))
    with pytest.raises(errors.TargetError, match="one core"):
        place(cores=1).record_key(target)
    with pytest.raises(errors.InputError, match="simd128 has no threads"):
        place(2).record_key(targets.get("web", variant="simd128"))
    assert CliRunner().invoke(cli.main, ["web", "tune", ".", "--threads", "1"]).exit_code == 2


def hello(socket: Any) -> None:
    socket.send(json.dumps({"browser": "Chromium", "major": 150, "device": "Linux"}))


def test_the_time_of_a_page_that_goes_does_not_count() -> None:
    """Neither that of the question which it leaves open, nor that in which there is none."""
    from websockets.sync.client import connect

    server = Server()
    try:
        address = f"ws://127.0.0.1:{server.port}/{server.token}/socket"

        def pages() -> None:
            with connect(address) as socket:
                hello(socket)
                socket.recv()
                time.sleep(0.4)  # what it does is lost
            time.sleep(0.4)
            with connect(address) as socket:
                hello(socket)
                time.sleep(0.2)  # this counts
                number = json.loads(socket.recv())["id"]
                time.sleep(0.2)
                socket.send(json.dumps({"id": number, "result": 7}))
                time.sleep(0.1)

        thread = threading.Thread(target=pages)
        thread.start()
        server.page()
        begin, waited = time.monotonic(), server.waited_s
        assert server.ask("model", {}, 5.0) == (7, [])
        spent, away = time.monotonic() - begin, server.waited_s - waited
        thread.join()
        assert away >= 0.7 and 0.15 <= spent - away < 0.7
    finally:
        server.close()


@pytest.mark.parametrize("host", [*EVERYWHERE, "::1"])
def test_addresses_that_work(host: str) -> None:
    try:
        server = Server(host)
    except errors.TargetError:
        pytest.skip("this machine has no IPv6")
    try:
        names = addresses(host)
        for name in names:
            with urllib.request.urlopen(server.address(name), timeout=10) as response:
                assert response.status == 200
        assert len(names) == 1 and (":" in names[0]) == (":" in host), "of the kind that it listens at"
    finally:
        server.close()
