"""Time Oarlock beside OpenVINO, ONNX Runtime and Paddle Inference on the CPU.

    python -m benchmarks.cpu [--only REGEX] [--threads 1,2] [--contenders oarlock,openvino] [--rounds N] [--again] [--write]

Every contender has a process of its own, and they take turns, so that a change of the machine's speed meets all of them.
What was measured is kept in WORK/times.json, so a stopped run goes on where it was (--again forgets the models selected).
--write puts docs/benchmarks.md and benchmarks/results/cpu.json from all that is kept.  An engine that is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..footprint import installed
from . import models, quantised, report
from .measure import ROOT, alternate, arguments

# contender → (engine, precision)
CONTENDERS = {
    "oarlock": ("oarlock", "float32"),
    "openvino": ("openvino", "float32"),
    "onnxruntime": ("onnxruntime", "float32"),
    "paddle": ("paddle", "float32"),
    "oarlock bf16": ("oarlock", "bfloat16"),
    "openvino bf16": ("openvino", "bfloat16"),
}
# contenders on quantised models; "oarlock" runs the floats that they were made from
QUANTISED = {
    "oarlock": ("oarlock", "float32"),
    "oarlock int8": ("oarlock", "int8"),
    "openvino int8": ("openvino", "int8"),
    "onnxruntime int8": ("onnxruntime", "int8"),
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--contenders", default=",".join(CONTENDERS | QUANTISED))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--block-ms", type=float, default=60)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md and benchmarks/results/cpu.json")
    options = parser.parse_args()
    kept = options.work / "times.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    wanted = [c for c in options.contenders.split(",") if installed((CONTENDERS | QUANTISED)[c][0])]
    for name in models.names() + quantised.names():
        for threads in map(int, options.threads.split(",")):
            key = f"{name}/{threads}"
            if not re.search(options.only, name) or key in results and not options.again:
                continue
            results[key] = run(name, threads, wanted, options)
            print(report.line(key, results[key]), flush=True)
            kept.write_text(json.dumps(results, indent=1))
    if options.write:
        report.write(results, ROOT)


def run(name: str, threads: int, wanted: list[str], asked: argparse.Namespace) -> dict[str, Any]:
    """Time one model on one number of threads: {"times": {contender: {…}}, "failed": {contender: why}}."""
    is_quantised = name in quantised.names()
    contenders = QUANTISED if is_quantised else CONTENDERS
    model, floats = quantised.make(name, asked.work) if is_quantised else (models.make(name, asked.work), None)
    folder = asked.work / name
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "input.npy", model.data())
    onnx = quantised.onnx_of(floats, asked.work) if floats else models.onnx_of(model, asked.work)
    jobs: dict[str, tuple[str, dict[str, Any]]] = {}
    compiled = {}
    for contender in (c for c in wanted if c in contenders):
        engine, precision = contenders[contender]
        if onnx is None and (engine == "onnxruntime" or engine == "openvino" and is_quantised):
            continue
        graph = floats.graph if floats and precision == "float32" else model.graph
        job = {
            "threads": threads, "precision": precision, "data": str(folder / "input.npy"), "onnx": str(onnx) if onnx else "",
            "graph": str(model.graph), "parameters": str(model.parameters), "dump": str(folder / f"{contender}.npz"),
            "input": model.input, "shape": model.shape,
        }  # fmt: skip
        if engine == "oarlock":
            artifact = folder / f"{contender.replace(' ', '-')}-{threads}.oar"
            start = time.perf_counter()
            options = f"shapes={{{model.input!r}: {model.shape}}}, threads={threads}, options={{'precision': {precision!r}}}"
            code = f"import oarlock; oarlock.compile({str(graph)!r}, {options}).save({str(artifact)!r})"
            subprocess.run([sys.executable, "-c", code], check=True)
            compiled[contender] = time.perf_counter() - start
            job["artifact"] = str(artifact)
        jobs[contender] = engine, job
    times, failed = alternate(jobs, asked.rounds, asked.block_ms)
    return {
        "times": {
            c: {"median_ms": t.quantile(0.5), "p10_ms": t.quantile(0.1), "p90_ms": t.quantile(0.9), "min_ms": min(t.all), **t.ready}
            for c, t in times.items()
        },
        "failed": failed,
        "compile_s": compiled,
        "difference": differences(folder, list(times), "oarlock" if is_quantised else "paddle"),
    }


def differences(folder: Path, contenders: list[str], oracle: str) -> dict[str, float]:
    """Contender → its largest difference from the oracle's outputs, as a part of their scale."""
    if oracle not in contenders:
        return {}
    right = np.load(folder / f"{oracle}.npz")
    out = {}
    for contender in contenders:
        mine = np.load(folder / f"{contender}.npz")
        parts = [
            float(np.abs(mine[k].astype("float64") - right[k]).max() / max(np.abs(right[k]).max(), 1e-30))
            for k in right.files
            if right[k].size
        ]
        out[contender] = max(parts)
    return out


if __name__ == "__main__":
    main()
