"""Time Oarlock on an NVIDIA GPU beside PyTorch, ONNX Runtime (CUDA) and Paddle Inference (GPU), in turns.

    python -m benchmarks.gpu [--only REGEX] [--peers PYTHON] [--rounds N] [--prepared FOLDER] [--engines REGEX]
                            [--results FILE]
    python -m benchmarks.gpu --prepare FOLDER
    python -m benchmarks.gpu --compile-only [--archs sm_80,sm_90]

Without a GPU it says so and ends well.  --prepare exports the models, runs them by Paddle on the CPU and keeps all of that in a folder,
from which a machine without Paddle takes them with --prepared.  Each model's outputs on the GPU are compared with Paddle's before it is
timed.  --peers names the Python of an environment with the other engines (default: this one); those that are not there are told and left
out.  PyTorch runs the same network with weights of its own where torchvision has it.  --compile-only compiles every model for each
architecture instead, which needs no GPU.  Results go to benchmarks/results/gpu.json; --results FILE keeps what was printed, too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import oarlock
from oarlock.runtime import cuda

from ..cpu import models
from ..cpu.measure import ROOT, alternate, arguments
from . import prepared, torch_networks
from .machine import describe
from .prepared import Prepared

TORCH = {
    "torch": {"mode": "eager", "precision": "float32"},
    "torch tf32": {"mode": "eager", "precision": "tf32"},
    "torch compiled": {"mode": "reduce-overhead", "precision": "float32"},
    "torch compiled tf32": {"mode": "reduce-overhead", "precision": "tf32"},
    "torch compiled fp16": {"mode": "reduce-overhead", "precision": "float16"},
}


def main() -> None:
    parser = arguments(__doc__, "build/bench-gpu")
    parser.add_argument("--peers", default=sys.executable, help="the Python that the other engines run in")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--block-ms", type=float, default=200)
    parser.add_argument("--engines", default="", help="a regular expression that an engine's name must match; oarlock always runs")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="keep models and Paddle's outputs there, and end")
    parser.add_argument("--prepared", type=Path, metavar="FOLDER", help="take the models from there")
    parser.add_argument("--results", type=Path, metavar="FILE", help="what is printed goes there, too")
    parser.add_argument("--compile-only", action="store_true")
    parser.add_argument("--archs", default="sm_80,sm_90", help="what --compile-only compiles for")
    asked = parser.parse_args()
    names = [name for name in models.names() if re.search(asked.only, name)]
    if asked.compile_only:
        sys.exit(compile_all(names, asked.archs.split(","), asked.work))
    if asked.prepare:
        for name in names:
            prepared.prepare(name, asked.work, asked.prepare)
        return
    if reason := cuda.missing():
        print(f"skipped: no GPU to measure on: {reason}")
        return
    lines: list[str] = []

    def tell(line: str) -> None:
        print(line, flush=True)
        lines.append(line)
        if asked.results:
            asked.results.write_text("\n".join(lines) + "\n")

    for line in describe():
        tell(line)
    results: list[dict[str, Any]] = []
    for model in _models(names, asked):
        results += run(model, asked, tell)
        (ROOT / "benchmarks/results/gpu.json").write_text(json.dumps(results, indent=1) + "\n")


def _models(names: list[str], asked: argparse.Namespace) -> Iterator[Prepared]:
    if asked.prepared:
        yield from (p for p in prepared.read(asked.prepared) if p.model.name in names)
    else:
        yield from (prepared.prepare(name, asked.work, asked.work / "prepared") for name in names)


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


def compiled(model: models.Model, work: Path, **options: Any) -> Path:
    """The artifact of a model for the GPU that is here, compiled unless it is there."""
    arch = cuda.architecture()
    path = work / model.name / ("-".join([arch, *map(str, options.values())]) + ".oar")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        oarlock.compile(model.graph, "cuda", {model.input: model.shape}, options={"arch": arch, "format": "cubin", **options}).save(path)
    return path


def largest_difference(got: list[np.ndarray], want: list[np.ndarray]) -> float:
    """Of all outputs, each as a part of the largest number in Paddle's."""
    return max(float(np.abs(g - w).max() / np.abs(w).max()) for g, w in zip(got, want, strict=True))


def run(given: Prepared, asked: argparse.Namespace, tell: Any) -> list[dict[str, Any]]:
    """Compare one model with Paddle, then time it on every engine that can run it."""
    model, name = given.model, given.model.name
    artifact = compiled(model, asked.work)
    with oarlock.Session(artifact) as session:
        error = largest_difference(list(session.run({model.input: given.data}).values()), given.expected)
    folder = asked.work / name
    np.save(folder / "input.npy", given.data)
    onnx = models.onnx_of(model, asked.work)
    job = {
        "threads": 1, "data": str(folder / "input.npy"), "artifact": str(artifact), "onnx": str(onnx or ""), "graph": str(model.graph),
        "parameters": str(model.parameters), "module": "benchmarks.gpu.engines", "python": asked.peers, "network": name,
    }  # fmt: skip
    jobs: dict[str, tuple[str, dict[str, Any]]] = {"oarlock": ("oarlock", {**job, "python": sys.executable})}
    if name in torch_networks.NAMES:
        jobs |= {engine: ("torch", {**job, **how}) for engine, how in TORCH.items()}
    if onnx is not None:
        jobs["onnxruntime"] = "onnxruntime", job
    jobs["paddle"] = "paddle", job
    jobs = {engine: job for engine, job in jobs.items() if engine == "oarlock" or re.search(asked.engines, engine)}
    times, failed = alternate(jobs, asked.rounds, asked.block_ms, together=True)
    cells = [f"{engine} {t.quantile(0.5):.3f} ({t.quantile(0.1):.3f}–{t.quantile(0.9):.3f})" for engine, t in times.items()]
    missing = "".join(f" | {e} failed: {why[:100]}" for e, why in failed.items())
    tell(f"{name}: largest difference from Paddle {error:.1e}; ms: {', '.join(cells)}{missing}")
    return [
        {"model": name, "gpu": cuda.architecture(), "precision": "f32", "engine": engine,
         "difference": error if engine == "oarlock" else None,
         **{f"{key}_ms": round(t.quantile(q), 4) for key, q in (("median", 0.5), ("p10", 0.1), ("p90", 0.9))}}
        for engine, t in times.items()
    ]  # fmt: skip


if __name__ == "__main__":
    main()
