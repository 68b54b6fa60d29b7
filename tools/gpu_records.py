"""Measure tiles of products on the NVIDIA GPU that is here, kernel by kernel, for the records that come with the package.

    python tools/gpu_records.py PREPARED -o records.json [--only REGEX] [--processes N] [--tiles N] [--times FILE]

PREPARED is what ``python -m benchmarks.gpu --prepare`` made.  Every product of the models with known sizes is compiled with each of its
best tiles by the target's own model and by TVM's rule, in several processes, and timed alone on one stream; ``oarlock tune`` measures
kernels in their places instead, and takes longer.  --times keeps all times with the products' sizes, to fit that model to.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from benchmarks.gpu import prepared
from tvm import tirx

from oarlock import compat, compat_cuda, compat_gpu, pipeline, targets
from oarlock.importer import import_program
from oarlock.kernels import Choices, Records
from oarlock.kernels.choice import CANDIDATE, WORKLOAD
from oarlock.model import load_model
from oarlock.runtime import cuda
from oarlock.targets.base import Notes
from oarlock.targets.cuda import products
from oarlock.targets.gpu import schedule_module

_REPEATS, _RUNS = 3, 20


class _Enough(Exception):
    """The stage that was asked for is there."""


def kernels(home: Path, arch: str) -> dict[str, tirx.PrimFunc]:
    """The products of a model that was prepared in ``home``, before they are scheduled, by the names of their work."""
    given = next(p for p in prepared.read(home.parent) if p.model.name == home.name)
    module = import_program(load_model(given.model.graph), {given.model.input: given.model.shape})
    found: dict[str, tirx.PrimFunc] = {}

    def keep(stage: str, mod: tvm.IRModule) -> None:
        if stage != "count-work":
            return
        for function in mod.functions.values():
            if isinstance(function, tirx.PrimFunc) and (sizes := products.sizes_of(function)) and None not in vars(sizes).values():
                found[compat.structural_name(function)] = function
        raise _Enough

    try:
        pipeline.build(module, targets.get("cuda", arch=arch), dump=keep)
    except _Enough:
        pass
    return found


def build(text: str, tiles: int, arch: str, folder: str) -> dict[str, Any]:
    """Compile one product in all its ways into one file: {workload, file, candidates: function → name, shapes of the arguments}."""
    function = tvm.ir.load_json(text)
    target: Any = targets.get("cuda", arch=arch, format="cubin")
    products._CANDIDATES = tiles
    functions: dict[str, tirx.PrimFunc] = {}
    made: dict[str, Any] = {"sizes": vars(products.sizes_of(function)), "candidates": {}, "shapes": {}}
    for name in [*products.candidates(function), "matmul"]:
        choices = Choices(lambda workload, offered, name=name: name)  # type: ignore[misc]
        mod = schedule_module(tvm.IRModule({"kernel": function}), target.tvm_target, choices, Notes(), "cuda", own=products.candidates)
        scheduled, _ = compat_gpu.without_workspaces(mod["kernel"])
        made["workload"], picked = str(scheduled.attrs[WORKLOAD]), str(scheduled.attrs[CANDIDATE])
        if picked == name:
            own = f"kernel{len(functions)}"
            functions[own] = scheduled
            made["candidates"][own] = name
            made["shapes"][own] = [([int(compat.static(d)) for d in p.ty.shape], str(p.ty.dtype)) for p in scheduled.params]
    made["file"] = str(Path(folder) / f"{made['workload'].split()[-1]}.so")
    compat_cuda.build_functions(functions, target.tvm_target, target.compile_kernels).export_library(made["file"])
    return made


def measure(made: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(candidate, seconds) of one product."""
    device = tvm.cuda(0)
    module = tvm.runtime.load_module(made["file"])
    rng = np.random.default_rng(0)
    for own, name in made["candidates"].items():
        arrays = [tvm.runtime.tensor(rng.standard_normal(shape).astype(dtype), device) for shape, dtype in made["shapes"][own]]
        timer = module.time_evaluator(own, device, number=_RUNS, repeat=_REPEATS)
        yield name, float(min(timer(*arrays).results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--tiles", type=int, default=12)
    parser.add_argument("--times", type=Path)
    parser.add_argument("--seconds", type=float, default=3600, help="what is not done by then is left out")
    asked = parser.parse_args()
    end = time.monotonic() + asked.seconds
    arch = cuda.architecture()
    key = targets.get("cuda", arch=arch).record_key
    homes = [h for h in sorted(asked.prepared.iterdir()) if (h / "model.json").exists() and re.search(asked.only, h.name)]
    records, times = Records(), []
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(asked.processes) as pool:
        work: dict[str, str] = {}
        for found in pool.map(_kernels_as_text, homes, [arch] * len(homes)):
            work |= found
        print(f"{len(work)} products", flush=True)
        texts = [work[name] for name in sorted(work)]  # in an order that says nothing, so that those done in time are of every kind
        jobs = [pool.submit(build, text, asked.tiles, arch, folder) for text in texts]
        for job in jobs:
            try:
                made = job.result(max(0.0, end - time.monotonic()))
            except TimeoutError:
                break
            for candidate, seconds in measure(made):
                records.put(*key, made["workload"], candidate, seconds, _REPEATS)
                times.append({"sizes": made["sizes"], "candidate": candidate, "us": round(seconds * 1e6, 2)})
        pool.shutdown(wait=False, cancel_futures=True)
    records.save(asked.output)
    if asked.times:
        asked.times.write_text("\n".join(json.dumps(t) for t in times) + "\n")
    print(f"{len(work)} products, {len(times)} times")


def _kernels_as_text(home: Path, arch: str) -> dict[str, str]:
    return {name: tvm.ir.save_json(function) for name, function in kernels(home, arch).items()}


if __name__ == "__main__":
    main()
