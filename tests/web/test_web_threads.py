"""Variants with threads: Paddle's numbers in Node and in Chromium, kernels that fail, and why threads are off."""

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
import threads_site
from having import HERE, chromium

from oarlock.targets.cpu import CpuTarget
from oarlock.targets.cpu.tiles import PARALLEL_MACS
from oarlock.targets.web import module
from oarlock.targets.web.site import build_site
from oarlock.targets.web.target import TRIPLE
from oarlock.web_variants import VARIANTS

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None or shutil.which("node") is None,
    reason="there is no linker for WebAssembly (oarlock[web]), or no Node",
)
driver = HERE.parents[1] / "web/node_modules/playwright-core"
HEADERS = (
    "threads off: the page is not cross-origin isolated; send these two headers: "
    "Cross-Origin-Opener-Policy: same-origin, Cross-Origin-Embedder-Policy: require-corp"
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The network's site, that of loops, and the network with what Paddle gives."""
    site, loops, saved = (tmp_path_factory.mktemp(name) for name in ("site", "loops", "saved"))
    subprocess.run([sys.executable, str(HERE / "threads_site.py"), str(saved)], check=True, capture_output=True)
    build_site(saved / "net.json", site, variants=["relaxed-simd-threads", "simd128-threads", "simd128"])
    threads_site.site_of_loops(loops)
    return site, loops, saved


def answer(script: str, folders: tuple[Path, Path, Path]) -> dict[str, Any]:
    command = ["node", str(HERE / script), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def same_as_paddle(got: list[float], saved: Path) -> None:
    want = np.fromfile(saved / "y.bin", "float32")
    assert np.abs(np.array(got) - want).max() <= 1e-5 * np.abs(want).max()


def right_network(found: dict[str, Any], variants: list[str], saved: Path) -> None:
    """In each variant on 2 and on 3 threads."""
    assert list(found) == variants
    for variant, runs in found.items():
        assert [(run["threads"], run["variant"], run["other"]) for run in runs] == [(2, variant, 0), (3, variant, 0)]
        for run in runs:
            same_as_paddle(run["y"], saved)


def right_loops(found: dict[str, Any]) -> None:
    terms = np.arange(threads_site.ROOM, dtype="float32")
    want = [np.cumsum(terms + np.float32(i % 7), dtype="float32")[-1] for i in range(threads_site.PARTS)]
    np.testing.assert_array_equal(np.array(found["y"], "float32"), want)
    assert found["threads"] == 3
    for name in ("first", "last", "all"):
        assert found[name] == ["OarlockError: a kernel failed: below nothing\n  where: loops, step 0 of 1"]
    for name in ("trap", "traps"):
        (said,) = found[name]
        assert "a kernel failed: RuntimeError: memory access out of bounds" in said
    assert "closed" in found["closed"]


def test_the_network_has_parallel_loops(folders: tuple[Path, Path, Path]) -> None:
    manifest = json.loads((folders[0] / "model.json").read_text())
    modules = {v["name"]: (folders[0] / v["module"]["file"]).read_bytes() for v in manifest["variants"]}
    launching = {name: "TVMBackendParallelLaunch" in module.imports(code) for name, code in modules.items()}
    assert launching == {name: VARIANTS[name].threads > 1 for name in modules}


def test_products_are_shared_early() -> None:
    """A third of what native code is asked for is enough for WebAssembly, and for one thread nothing is."""
    wasm = {"mtriple": TRIPLE, "mcpu": "generic", "libraries": "none"}
    machines = [CpuTarget(threads=4, **wasm).machine, CpuTarget(threads=4).machine, CpuTarget(threads=1, **wasm).machine]
    assert [machine.shares(PARALLEL_MACS // 3, PARALLEL_MACS) for machine in machines] == [True, False, False]
    assert [machine.shares(PARALLEL_MACS, PARALLEL_MACS) for machine in machines] == [True, True, False]


def test_in_node(folders: tuple[Path, Path, Path]) -> None:
    """Also that the process ends by itself, though a model was not closed."""
    found = answer("threads.mjs", folders)
    right_network(found["network"], ["simd128-threads"], folders[2])
    right_loops(found["loops"])
    assert (found["more"], found["left"]) == (2, 0), "workers that began, and that were there after close()"
    assert found["alone"]["variant"] == "simd128" and "threads off: one thread was asked for" in found["alone"]["report"]
    assert found["refused"]["variant"] == "simd128"
    assert any(line.startswith("threads off: a worker did not start: ") for line in found["refused"]["report"])
    assert "there are no threads: a worker did not start" in found["named"] and "whole number from 1 to 32" in found["none"]


@chromium
def test_in_a_browser(folders: tuple[Path, Path, Path]) -> None:
    """In a worker and in the page's own thread; and in a page that is not isolated."""
    found = answer("threads_browser.mjs", folders)
    assert found["errors"] == []
    isolated, alone = found["isolated"], found["open"]
    for run in (isolated, alone):
        assert run["other"] == 0 and run["kernels"] > 5
        for outputs in run["outputs"]:
            same_as_paddle(outputs, folders[2])
    if isolated["cores"] > 1:
        assert (isolated["variant"], isolated["report"]) == ("relaxed-simd-threads", [])
        assert isolated["threads"] == min(4, isolated["cores"])
    assert isolated["two"] == 2
    assert (alone["variant"], alone["threads"], alone["two"], alone["report"]) == ("simd128", 1, 1, [HEADERS])
    right_network(found["page"]["network"], ["relaxed-simd-threads", "simd128-threads"], folders[2])
    right_loops(found["page"]["loops"])
    assert found["left"] == 0, "workers of the page after close()"
    assert (found["nested"], found["nestedLeft"]) == (3, 0), "a model's worker and its two workers, before and after close()"
    assert found["refused"] == {"variant": "simd128", "report": ["threads off: a worker did not start: its script did not load"]}
