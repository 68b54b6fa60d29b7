"""How far each kernel of the benchmark's models is from what this machine can do.

    python -m benchmarks.cpu.roofline [--only REGEX] [--threads 1] [--precision float32] [--runs N] [--measure] [--write]

What was profiled is kept in WORK/roofline.json, so models can be done one by one.  --measure measures the machine's peaks again.
--write puts docs/roofline.md from all that is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from typing import Any

import oarlock
from oarlock.profiling.machine import known
from oarlock.profiling.profiler import profile

from ..footprint import cpu_name
from . import models
from .measure import ROOT, arguments

LOSERS = 10  # kernels a model that lose most


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--measure", action="store_true", help="measure what this machine can do again")
    parser.add_argument("--write", action="store_true", help="write docs/roofline.md")
    options = parser.parse_args()
    kept = options.work / "roofline.json"
    results: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    remeasure = options.measure
    for name in models.names():
        if not re.search(options.only, name):
            continue
        key = f"{name}/{options.threads}/{options.precision}"
        results[key] = run(name, options, remeasure)
        remeasure = False
        print(line(key, results[key]), flush=True)
        kept.write_text(json.dumps(results, indent=1))
    if options.write:
        (ROOT / "docs/roofline.md").write_text(document(results))


def run(name: str, asked: argparse.Namespace, remeasure: bool) -> dict[str, Any]:
    """One model's report as JSON, and the least and median time of a run as it is compiled for use."""
    model = models.make(name, asked.work)
    data, shapes = {model.input: model.data()}, {model.input: model.shape}
    precision = {"precision": asked.precision}
    report = profile(
        model.graph, shapes=shapes, threads=asked.threads, options=precision, inputs=data, runs=asked.runs, remeasure=remeasure
    )
    session = oarlock.Session(oarlock.compile(model.graph, shapes=shapes, threads=asked.threads, options=precision))
    session.run(data)
    clock, times = time.thread_time if asked.threads == 1 else time.perf_counter, []
    for _ in range(asked.runs):
        start = clock()
        session.run(data)
        times.append(clock() - start)
    return report.to_json() | {"shape": list(model.shape), "used_s": min(times), "date": time.strftime("%Y-%m-%d")}


def line(key: str, result: dict[str, Any]) -> str:
    """One model in a line."""
    return (
        f"{key}: a run {result['used_s'] * 1e3:.3f} ms, kernels {result['kernels_s'] * 1e3:.3f} ms, "
        f"roofline {result['roofline_s'] * 1e3:.3f} ms, {result['roofline_s'] / result['used_s']:.0%} reached"
    )


def document(results: dict[str, Any]) -> str:
    """docs/roofline.md"""
    lines = [
        "# How far each model is from this machine's roofline",
        "",
        "Made by `make bench-roofline`. A kernel's roofline is the larger of two times: its operations at the machine's peak, and its",
        "bytes at the rate of where they can be (what it works on in the smallest cache that holds it, its weights where all that a run",
        "touches has room). `run` is a whole run of the model as it is compiled for use; `kernels` the sum of its kernels as they are",
        "timed in place, each with about a microsecond of timing; both are least times (`run` on one thread: of the processor).",
        "`reached` is the sum of the rooflines by `run`.",
        "`lost` is a kernel's time over its roofline, in all its calls.",
        "",
        f"{cpu_name()}, {os.cpu_count()} logical CPUs; Oarlock {oarlock.__version__}.",
        "",
    ]
    for setting in dict.fromkeys(key.partition("/")[2] for key in results):
        threads, precision = setting.split("/")
        mine = {key.partition("/")[0]: r for key, r in results.items() if key.partition("/")[2] == setting}
        ordered = [(name, mine[name]) for name in models.names() if name in mine]
        lines += [f"## {threads} thread{'s' if threads != '1' else ''}, {precision}", "", *_peaks(int(threads)), ""]
        lines += ["| model | input | run ms | kernels ms | roofline ms | reached | compute, memory, overhead | date |", "|---" * 8 + "|"]
        for name, r in ordered:
            shares = ", ".join(f"{_share(r, limit):.0%}" for limit in ("compute", "memory", "overhead"))
            lines.append(
                f"| {name} | {'×'.join(map(str, r['shape']))} | {r['used_s'] * 1e3:.3f} | {r['kernels_s'] * 1e3:.3f} | "
                f"{r['roofline_s'] * 1e3:.3f} | {r['roofline_s'] / r['used_s']:.0%} | {shares} | {r['date']} |"
            )
        if missing := [name for name in models.names() if name not in mine]:
            lines += ["", f"Not profiled yet: {', '.join(missing)}."]
        for name, r in ordered:
            lines += ["", f"### {name}: what loses most", "", *_losers(r)]
        lines.append("")
    return "\n".join(lines)


def _peaks(threads: int) -> list[str]:
    peaks = known(threads)
    if peaks is None:
        return []
    rates = [f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in peaks.flops.items()]
    rates += [f"{level.name} {level.rate / 1e9:.0f} GB/s" for level in peaks.levels]
    return [f"Measured peaks: {', '.join(rates)}; a call costs {peaks.call_s * 1e6:.1f} µs as it is timed ({peaks.date})."]


def _share(result: dict[str, Any], limit: str) -> float:
    """The share of the kernels' time that kernels with this limit take."""
    return sum(k["share"] for k in result["kernels"] if k["limit"] == limit)


def _lost_s(kernel: dict[str, Any]) -> float:
    return max(kernel["seconds"] - (kernel["roofline_s"] or 0.0), 0.0)


def _losers(result: dict[str, Any]) -> list[str]:
    lines = ["| kernel | calls | µs | lost µs | share of what is lost | reached | limit | candidate: workload |", "|---" * 8 + "|"]
    everything = sum(map(_lost_s, result["kernels"])) or 1.0
    for k in sorted(result["kernels"], key=_lost_s, reverse=True)[:LOSERS]:
        made = f"{k['candidate']}: {k['workload']}" if k["candidate"] else k["schedule"]
        lines.append(
            f"| {k['name'].removeprefix('fused_')} | {k['calls']} | {k['seconds'] * 1e6:.1f} | {_lost_s(k) * 1e6:.1f} | "
            f"{_lost_s(k) / everything:.0%} | {k['reached']:.0%} | {k['limit']} | {made} |"
        )
    return lines


if __name__ == "__main__":
    main()
