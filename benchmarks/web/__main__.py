"""Time Oarlock's WebAssembly beside onnxruntime-web in headless Chromium.

    python -m benchmarks.web [--only REGEX] [--threads 1,2] [--rounds N] [--variants relaxed-simd,simd128] [--paddlejs]
                            [--reuse] [--write]
    python -m benchmarks.web --kernels MODEL [--threads N]

All engines of a row stand in one tab and take turns of about --block-ms, in an order that changes each round.  What was measured is
kept in WORK/times.json; --write puts docs/benchmarks-web.md and benchmarks/results/web.json from all that is kept.  --reuse: the sites
that are built already are not built again.  --kernels shows what each kernel of one model takes.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from oarlock.errors import OarlockError
from oarlock.model import load_model
from oarlock.targets.web.profiler import Browser, paddlejs, run_job
from oarlock.targets.web.site import build_site

from ..cpu.measure import ROOT, arguments
from ..cpu.models import onnx_of
from . import models, report

HERE = Path(__file__).parent
PEERS = HERE / "node_modules"


def main() -> None:
    parser = arguments(__doc__, "build/bench-web")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--block-ms", type=float, default=60)
    parser.add_argument("--variants", default="relaxed-simd", help="of Oarlock's; each is a contender")
    parser.add_argument("--paddlejs", action="store_true", help="Paddle.js too (WebGL; one thread), where its operators allow")
    parser.add_argument("--reuse", action="store_true", help="do not build sites again that are there")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks-web.md and benchmarks/results/web.json")
    parser.add_argument("--kernels", metavar="MODEL", help="show the kernels of one model instead (a part of its name will do)")
    options = parser.parse_args()
    if options.kernels:
        name = next((n for n in models.NAMES if options.kernels.lower() in n.lower()), None)
        if name is None:
            sys.exit(f"no model {options.kernels}; there are {', '.join(models.NAMES)}")
        threads = int(options.threads.split(",")[0])
        result = run(name, threads, options, steps=max(options.rounds, 20))
        print(report.kernels(name, result["engines"]))
        (options.work / "kernels.json").write_text(json.dumps(result, indent=1))
        return
    kept = options.work / "times.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for threads in map(int, options.threads.split(",")):
        for name in (n for n in models.NAMES if re.search(options.only, n)):
            result = run(name, threads, options)
            results[f"{name}/{threads}"] = result
            print(report.line(name, threads, result), flush=True)
            kept.write_text(json.dumps(results))
    if options.write:
        report.write(results, ROOT, PEERS)


def run(name: str, threads: int, options: argparse.Namespace, steps: int = 0) -> dict[str, Any]:
    """One model on one number of threads: what the page sent (profiler/page/tab.js), and our build's time and sizes."""
    model = models.make(name, options.work)
    folder = models.folder_of(name, options.work)
    x = models.data_of(model)
    x.tofile(folder / "input.bin")
    expected = models.expected_of(model, folder)
    facts = json.loads((folder / "expected.json").read_text())
    onnx = onnx_of(model, options.work)
    variants = options.variants.split(",")
    if threads > 1:
        variants = [f"{variant}-threads" for variant in variants]
    start, site = time.perf_counter(), folder / ("site" if threads == 1 else f"site-{threads}")
    if not (options.reuse and (site / "model.json").exists()):
        build_site(model.graph, site, shapes={model.input: list(model.shape)}, variants=variants)
    took = time.perf_counter() - start
    manifest = json.loads((site / "model.json").read_text())
    ours = {"engine": "oarlock", "site": f"work/{site.name}/", "threads": threads}
    engines: list[dict[str, Any]] = [ours | {"name": f"oarlock {v}" if len(variants) > 1 else "oarlock", "variant": v} for v in variants]
    if onnx and (PEERS / "onnxruntime-web").exists() and not steps:
        dist = "peers/onnxruntime-web/dist/"
        engines.append({"name": "onnxruntime-web", "engine": "onnxruntime", "onnx": f"work/{onnx.name}", "dist": dist, "threads": threads})
    left_out = {}
    if options.paddlejs and threads == 1 and not steps:
        try:
            engines.append(_paddlejs(model, folder))
        except OarlockError as error:
            left_out[report.PADDLEJS] = str(error).replace("\n", " ")
    job = {
        "inputs": {model.input: {"dtype": model.dtype, "shape": list(model.shape), "file": "work/input.bin"}},
        "expected": [{"dtype": dtype, "file": f"work/{p.name}"} for (dtype, _), p in zip(facts, expected, strict=True)],
        "engines": engines, "rounds": 4 if steps else options.rounds, "block_ms": options.block_ms, "steps": steps, "least_calls": 1,
    }  # fmt: skip
    result = run_job(job, {"work": folder, "peers": PEERS}, browser=Browser())
    result["failed"] |= left_out
    for engine in result["engines"].values():
        rounds = engine.pop("rounds")
        engine["round_medians"] = [statistics.median(times) for times in rounds]
        engine["p10_ms"] = float(np.quantile(sum(rounds, []), 0.1))
    files = {v["name"]: [v["module"]["file"], "oarlock.js", "model.json"] for v in manifest["variants"]}
    code = {v: report.gzipped([site / f for f in names]) for v, names in files.items() if v in variants}
    return result | {"built_s": took, "code_bytes": code, "when": time.strftime("%Y-%m-%d %H:%M")}


def _paddlejs(model: Any, folder: Path) -> dict[str, Any]:
    """Paddle.js with the model; raises what the writer of its files raises."""
    outputs = paddlejs.write(load_model(model.graph), {model.input: model.shape}, folder / "paddlejs")
    lib = "peers/@paddlejs/paddlejs-{}/lib/index.js"
    scripts = {"core": lib.format("core"), "webgl": lib.format("backend-webgl")}
    listed = [{"name": name, "shape": list(shape)} for name, shape in outputs]
    return {"name": report.PADDLEJS, "engine": "paddlejs", "where": "page", "model": "work/paddlejs/", "outputs": listed, **scripts}


if __name__ == "__main__":
    main()
