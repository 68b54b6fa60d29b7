"""The kernels of a model on an NVIDIA GPU, each as the GPU itself timed it (CUPTI, by PyTorch's profiler), beside what the GPU can do.

    python -m benchmarks.gpu.kernels [--only REGEX] [--prepared FOLDER] [--runs N] [--top N]

A run is timed as it is used, with its graphs; gaps between kernels are what the sum of the kernels leaves of a run.  ``part`` is the time
that the kernel's arithmetic at the peak of float32, or its bytes at the rate of the memory, would take, as a part of its time.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import oarlock
from oarlock.runtime.artifact import Artifact

from ..cpu.measure import arguments
from . import prepared
from .__main__ import compiled
from .machine import describe, highest_clock


def device_times(session: oarlock.Session, inputs: dict[str, np.ndarray], runs: int) -> dict[str, tuple[float, int]]:
    """Kernel → (microseconds in a run, launches in a run), copies among them."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(runs):
            session.run(inputs)
    sums: dict[str, list[float]] = defaultdict(list)
    for event in profiler.events():
        if event.device_type.name == "CUDA":
            sums[event.name].append(event.time_range.elapsed_us())
    return {name: (sum(found) / runs, round(len(found) / runs)) for name, found in sums.items()}


def peaks() -> tuple[float, float]:
    """(FLOP/s of float32 without tensor cores, by the multiprocessors and their highest clock; bytes/s of a copy in memory, measured)"""
    import torch

    gpu = torch.cuda.get_device_properties(0)
    a = torch.rand(1 << 28, device="cuda")
    b = torch.empty_like(a)
    took = []
    for _ in range(10):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        b.copy_(a)
        end.record()
        torch.cuda.synchronize()
        took.append(start.elapsed_time(end) / 1e3)
    return gpu.multi_processor_count * 128 * 2 * highest_clock(), 2 * a.nbytes / min(took)


def least_seconds(work: dict[str, Any], flops: float, rate: float) -> float:
    """What a kernel's arithmetic, or its bytes, take at the GPU's peaks; 0 where run time decides what there is to do."""
    done, moved = list(work.get("flops", {}).values()), [work.get("read"), work.get("written")]
    known = [n for n in (*done, *moved) if isinstance(n, int)]
    return max(sum(done) / flops, sum(moved) / rate) if len(known) == len(done) + 2 else 0.0


def main() -> None:
    parser = arguments(__doc__, "build/bench-gpu")
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--top", type=int, default=12)
    asked = parser.parse_args()
    flops, rate = peaks()
    print(*describe(), f"float32 {flops / 1e12:.0f} TFLOP/s by its clock, copies {rate / 1e12:.2f} TB/s", sep="; ")
    for given in prepared.read(asked.prepared):
        if re.search(asked.only, given.model.name):
            tell(given, compiled(given.model, asked.work), asked, flops, rate)


def tell(given: prepared.Prepared, path: Path, asked: Any, flops: float, rate: float) -> None:
    """Print the table of one model."""
    artifact = Artifact.load(path)
    facts = artifact.manifest["kernels"]
    with oarlock.Session(artifact) as session:
        held = session.empty(given.model.input, given.data.shape)
        held[...] = given.data
        inputs = {given.model.input: held}
        took = []
        for _ in range(asked.runs + 5):
            start = time.perf_counter()
            session.run(inputs)
            took.append(time.perf_counter() - start)
        found = device_times(session, inputs, asked.runs)
    kernels: dict[str, list[Any]] = {}
    for name, (us, count) in found.items():
        stem = re.sub(r"_kernel(_\d+)?$", "", name)
        known = kernels.setdefault(stem, [0.0, 0])
        known[0] += us
        known[1] = max(known[1], count)
    total, launches = sum(us for us, _ in found.values()), sum(count for _, count in found.values())
    median = float(np.median(took)) * 1e6
    print(f"\n{given.model.name}: a run {median:.0f} µs, of which the GPU works {total:.0f} µs in {launches} launches and copies")
    for name, (us, count) in sorted(kernels.items(), key=lambda item: -item[1][0])[: asked.top]:
        fact = facts.get(name, {})
        need = least_seconds(fact.get("work", {}), flops, rate) * 1e6 * count
        part = f"{need / us:5.0%}" if need and us else "     "
        print(f"  {us:8.1f} µs {us / total:4.0%} × {count:<3d} {part}  {name[:60]}  {fact.get('candidate', fact.get('schedule', ''))}")


if __name__ == "__main__":
    main()
