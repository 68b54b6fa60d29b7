"""docs/benchmarks-web.md and benchmarks/results/web.json from the times that were kept, and tables for a terminal."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import oarlock

from ..footprint import cpu_name
from .models import RANDOM_WEIGHTS

PEER, PADDLEJS = "onnxruntime-web", "paddle.js"
AGREE = 1e-4  # of an output's scale


def gzipped(files: Iterable[Path]) -> int:
    """Bytes of the files as a server sends them."""
    return sum(len(gzip.compress(path.read_bytes(), 6)) for path in files)


def typical(times: list[float]) -> float:
    """The mean of the middle half: a clock that ticks every 5 µs hides short kernels from a median."""
    times = sorted(times)
    cut = len(times) // 4
    return statistics.fmean(times[cut : len(times) - cut])


def ours_of(result: dict[str, Any]) -> list[str]:
    return [name for name in result["engines"] if name.startswith("oarlock")]


def ratio_of(result: dict[str, Any], mine: str) -> tuple[float, float, float, float] | None:
    """Our median by the peer's; the 10th and 90th percentiles of that over the rounds; and our 10th percentile by the peer's.

    The last is the ratio on a machine that does nothing else, as nearly as a busy one can tell.
    """
    engines = result["engines"]
    if PEER not in engines:
        return None
    rounds = sorted(a / b for a, b in zip(engines[mine]["round_medians"], engines[PEER]["round_medians"], strict=True))
    cut = len(rounds) // 10
    least = engines[mine]["p10_ms"] / engines[PEER]["p10_ms"]
    return engines[mine]["median_ms"] / engines[PEER]["median_ms"], rounds[cut], rounds[-1 - cut], least


def line(name: str, threads: int, result: dict[str, Any]) -> str:
    """One model's times in a line."""
    parts = [f"{n} {e['median_ms']:.2f} ms (to Paddle {e['difference']:.0e})" for n, e in result["engines"].items()]
    for mine in ours_of(result):
        if found := ratio_of(result, mine):
            parts.append(f"ratio {found[0]:.2f} ({found[1]:.2f}–{found[2]:.2f}), of the 10th percentiles {found[3]:.2f}")
        parts += ["DIFFERS FROM PADDLE"] if result["engines"][mine]["difference"] > AGREE else []
    parts += [f"{n} failed: {why[:200]}" for n, why in result["failed"].items()]
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}: " + ", ".join(parts) + f"; built in {result['built_s']:.0f} s"


def kernels(name: str, engines: dict[str, Any]) -> str:
    """Each kernel of each engine: the time of all its calls, its share, the least, the workload and the candidate that was chosen."""
    lines = []
    for engine, result in engines.items():
        grouped: dict[str, list[dict[str, Any]]] = {}
        for step in result["steps"]:
            grouped.setdefault(step["name"], []).append(step)
        rows = []
        for kernel, steps in grouped.items():
            medians = [typical(s["times"]) for s in steps]
            rows.append((sum(medians), sum(min(s["times"]) for s in steps), len(steps), kernel, steps[0]))
        total = sum(row[0] for row in rows)
        lines += [f"{name} in {engine}: a call takes {result['median_ms']:.3f} ms, its kernels one by one {total:.3f} ms", ""]
        lines.append(f"{'ms':>8} {'share':>6} {'least':>8} {'calls':>5}  kernel, [candidate], workload")
        for ms, least, calls, kernel, facts in sorted(rows, key=lambda row: -row[0]):
            chosen = facts.get("candidate") or facts.get("schedule") or "–"
            lines.append(f"{ms:8.3f} {ms / total:6.1%} {least:8.3f} {calls:5}  {kernel} [{chosen}] {facts.get('workload') or ''}")
        lines.append("")
    return "\n".join(lines)


def write(results: dict[str, Any], root: Path, peers: Path) -> None:
    rows = []
    for key, result in results.items():
        model, threads = key.rsplit("/", 1)
        for engine, facts in result["engines"].items():
            row = {"model": model, "threads": int(threads), "engine": engine, "median_ms": round(facts["median_ms"], 4)}
            row["p10_ms"] = round(facts["p10_ms"], 4)
            if engine.startswith("oarlock") and (found := ratio_of(result, engine)):
                row |= dict(zip(("ratio", "ratio_p10", "ratio_p90", "ratio_of_p10s"), (round(x, 4) for x in found), strict=True))
            rows.append(row | {"difference_to_paddle": facts["difference"], "when": result["when"]})
    out = root / "benchmarks/results/web.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    (root / "docs/benchmarks-web.md").write_text(document(results, peers))


def document(results: dict[str, Any], peers: Path) -> str:
    browser = next(iter(re.findall(r"(?:Headless)?Chrome/[\d.]+", next(iter(results.values()))["browser"])), "Chromium")
    installed = peers / "onnxruntime-web/package.json"
    version = json.loads(installed.read_text())["version"] if installed.exists() else "(not installed)"
    days = sorted({r["when"][:10] for r in results.values()})
    lines = [
        "# Speed in the browser",
        "",
        "Generated by `make bench-web` (benchmarks/web): do not edit.  Milliseconds a call, typed arrays in and out: medians.  Both",
        "engines of a row stand in a worker of one tab and take turns.  *Ratio*: Oarlock's median by onnxruntime-web's; below 1 Oarlock",
        "is faster; in brackets the 10th and 90th percentiles of the same ratio over the rounds.  *Ratio of 10ths*: the same of the 10th",
        "percentiles of all calls, which other work on the machine touches least.  *Difference*: the largest from Paddle's own output,",
        f"as a part of its scale ({AGREE:.0e} is allowed).",
        "",
        f"{cpu_name()}, {os.cpu_count()} logical CPUs; headless {browser}; oarlock {oarlock.__version__}, onnxruntime-web {version} "
        f"(backend wasm); {', '.join(days)}.",
        "",
    ]
    for threads in sorted({int(k.rsplit("/", 1)[1]) for k in results}):
        mine = {k.rsplit("/", 1)[0]: r for k, r in results.items() if int(k.rsplit("/", 1)[1]) == threads}
        lines += [f"## {threads} thread{'s' if threads > 1 else ''}", ""]
        lines += [
            "| model | engine | ms | onnxruntime-web ms | ratio | ratio of 10ths | difference | onnxruntime-web's | Paddle.js ms |",
            "|---" * 9 + "|",
        ]
        ratios: dict[str, list[float]] = {}
        for model, result in mine.items():
            peer = result["engines"].get(PEER)
            for engine in ours_of(result):
                e, found = result["engines"][engine], ratio_of(result, engine)
                cells = [
                    model + (" *" if model in RANDOM_WEIGHTS else ""),
                    f"{engine} ({e['facts'].get('variant', '')})",
                    f"{e['median_ms']:.2f}",
                ]
                cells += [f"{peer['median_ms']:.2f}" if peer else "–"]
                cells += [f"{found[0]:.2f} ({found[1]:.2f}–{found[2]:.2f})", f"{found[3]:.2f}"] if found else ["–", "–"]
                cells.append(f"{e['difference']:.0e}")
                cells.append(f"{peer['difference']:.0e}" if peer else "–")
                other = result["engines"].get(PADDLEJS)
                cells.append(f"{other['median_ms']:.0f}" if other else "–")
                lines.append(f"| {' | '.join(cells)} |")
                if found:
                    ratios.setdefault(engine, []).append(found[0])
        lines.append("")
        for engine, found_ratios in ratios.items():
            mean = math.exp(statistics.fmean(map(math.log, found_ratios)))
            lines.append(f"Geometric mean of the ratios, {engine}: {mean:.2f} (worst {max(found_ratios):.2f}).")
        lines.append("")
    if renderers := {r["engines"][PADDLEJS]["facts"].get("gpu", "") for r in results.values() if PADDLEJS in r["engines"]}:
        lines += [
            f"Paddle.js 2.2.0 on WebGL: {', '.join(sorted(renderers))}.  On SwiftShader, a CPU, its times say nothing about a GPU.",
            "",
        ]
    lines += ["\\* random weights, with statistics of random data in their batch norms.  BlazeFace: made with Paddle, up to its boxes"]
    lines += ["and scores, at 128×128.", "", "## What a page downloads, without weights", ""]
    lines += ["kB gzipped: our module of kernels with its plan, the runtime and the manifest; onnxruntime-web's module and its script.", ""]
    lines += ["| model | variant | kB |", "|---|---|---|"]
    for key, result in results.items():
        for variant, size in result["code_bytes"].items():
            lines.append(f"| {key.rsplit('/', 1)[0]} | {variant} | {size / 1e3:.0f} |")
    dist = peers / "onnxruntime-web/dist"
    if installed.exists():
        theirs = gzipped([dist / "ort.wasm.bundle.min.mjs", dist / "ort-wasm-simd-threaded.wasm"])
        lines.append(f"| onnxruntime-web, any | wasm | {theirs / 1e3:.0f} |")
    failures = [f"- {engine} on {key}: {why}" for key, r in results.items() for engine, why in r["failed"].items()]
    lines += ["", "Engines that could not run a model:", "", *(failures or ["- none"])]
    return "\n".join(lines) + "\n"
