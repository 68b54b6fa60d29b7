"""Time Oarlock on an NVIDIA GPU beside ONNX Runtime (CUDA) and Paddle Inference (GPU), in turns.

    python -m benchmarks.gpu [--only REGEX] [--peers PYTHON] [--rounds N] [--compile-only] [--archs sm_80,sm_90]

Without a GPU it says so and ends well.  --peers names the Python of an environment with onnxruntime-gpu and paddlepaddle-gpu (default:
this one).  --compile-only compiles every model for each architecture instead, which needs no GPU.  Results go to
benchmarks/results/gpu.json, with the GPU's architecture.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import oarlock
from oarlock.runtime import cuda

from ..cpu import models
from ..cpu.measure import ROOT, alternate, arguments

ENGINES = ("oarlock", "onnxruntime", "paddle")


def main() -> None:
    parser = arguments(__doc__, "build/bench-gpu")
    parser.add_argument("--peers", default=sys.executable, help="the Python that the other engines run in")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--block-ms", type=float, default=200)
    parser.add_argument("--compile-only", action="store_true")
    parser.add_argument("--archs", default="sm_80,sm_90", help="what --compile-only compiles for")
    asked = parser.parse_args()
    names = [name for name in models.names() if re.search(asked.only, name)]
    if asked.compile_only:
        sys.exit(compile_all(names, asked.archs.split(","), asked.work))
    if reason := cuda.missing():
        print(f"skipped: no GPU to measure on: {reason}")
        return
    results = [row for name in names for row in run(name, asked)]
    out = ROOT / "benchmarks/results/gpu.json"
    out.write_text(json.dumps(results, indent=1) + "\n")


def compile_all(names: list[str], archs: list[str], work: Path) -> int:
    """Compile each model for each architecture; the number of those that failed."""
    failed = 0
    for name in names:
        model = models.make(name, work)
        for arch in archs:
            start = time.perf_counter()
            try:
                artifact = oarlock.compile(model.graph, "cuda", {model.input: model.shape}, options={"arch": arch})
            except oarlock.OarlockError as error:
                failed += 1
                print(f"{name} {arch}: {error}", flush=True)
                continue
            kinds = Counter(facts["schedule"] for facts in artifact.manifest["kernels"].values())
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            print(f"{name} {arch}: {sum(kinds.values())} kernels ({told}), {time.perf_counter() - start:.0f} s", flush=True)
    return failed


def run(name: str, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Time one model on every engine that can run it."""
    model, arch = models.make(name, asked.work), cuda.architecture()
    folder = asked.work / name
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "input.npy", model.data())
    onnx = models.onnx_of(model, asked.work)
    artifact = folder / f"{arch}.oar"
    oarlock.compile(model.graph, "cuda", {model.input: model.shape}, options={"arch": arch, "format": "cubin"}).save(artifact)
    jobs: dict[str, tuple[str, dict[str, Any]]] = {}
    for engine in ENGINES:
        if engine == "onnxruntime" and onnx is None:
            continue
        jobs[engine] = engine, {
            "threads": 1, "data": str(folder / "input.npy"), "dump": str(folder / f"{engine}.npz"), "artifact": str(artifact),
            "onnx": str(onnx or ""), "graph": str(model.graph), "parameters": str(model.parameters),
            "module": "benchmarks.gpu.engines", "python": sys.executable if engine == "oarlock" else asked.peers,
        }  # fmt: skip
    times, failed = alternate(jobs, asked.rounds, asked.block_ms)
    cells = [f"{engine} {t.quantile(0.5):.3f} ({t.quantile(0.1):.3f}–{t.quantile(0.9):.3f})" for engine, t in times.items()]
    print(f"{name} on {arch}: {', '.join(cells)} ms" + "".join(f" | {e} failed: {why[:100]}" for e, why in failed.items()), flush=True)
    return [
        {"model": name, "gpu": arch, "precision": "f32", "engine": engine,
         **{f"{key}_ms": round(t.quantile(q), 4) for key, q in (("median", 0.5), ("p10", 0.1), ("p90", 0.9))}}
        for engine, t in times.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
