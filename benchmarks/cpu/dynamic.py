"""What a width that is known only at run time costs: PP-OCR text recognition compiled once, beside a static compile for each width.

    python -m benchmarks.cpu.dynamic [--only REGEX] [--threads 1,2] [--widths 160,320] [--rounds N] [--work FOLDER] [--write]

Both run in one process and take turns, call by call; the ratio is that of the medians of all calls, the range that of the ratios of
single rounds.  On one thread the time is the thread's processor time, on more it is what a clock on the wall shows.
Outputs must agree to 1e-4.  --write puts docs/dynamic.md.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import oarlock

from ..footprint import cpu_name
from . import models
from .measure import ROOT, arguments

MODELS = ("PP-OCRv4_mobile_rec", "PP-OCRv5_mobile_rec")
WIDTHS = (160, 240, 320, 480, 640)
TARGET = 1.2  # times the static compile's time that the dynamic one may take


@dataclass(frozen=True)
class Pair:
    """Medians in ms, the ratio of each round's medians, and the largest difference of the outputs."""

    static: float
    dynamic: float
    rounds: list[float]
    difference: float

    @property
    def ratio(self) -> float:
        return self.dynamic / self.static


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--block-ms", type=float, default=200)
    parser.add_argument("--write", action="store_true", help="write docs/dynamic.md")
    options = parser.parse_args()
    widths = [int(w) for w in options.widths.split(",")]
    results: dict[tuple[str, int, int], Pair] = {}
    for threads in map(int, options.threads.split(",")):
        for name in MODELS:
            if not re.search(options.only, name):
                continue
            model = models.make(name, options.work)
            dynamic = oarlock.Session(_compile(model, None, threads), threads=threads)
            for width in widths:
                static = oarlock.Session(_compile(model, width, threads), threads=threads)
                results[name, threads, width] = pair = compare(static, dynamic, width, options.rounds, options.block_ms)
                static.close()
                print(_line(name, threads, width, pair), flush=True)
    if options.write:
        (ROOT / "docs/dynamic.md").write_text(_document(results), encoding="utf-8")


def _compile(model: models.Model, width: int | None, threads: int) -> oarlock.Artifact:
    return oarlock.compile(str(model.graph), shapes={model.input: (1, 3, 48, width)}, threads=threads)


def compare(static: oarlock.Session, dynamic: oarlock.Session, width: int, rounds: int, block_ms: float) -> Pair:
    """Time both on one input of ``width``.  Raises SystemExit where their outputs differ."""
    x = np.random.default_rng(0).standard_normal((1, 3, 48, width)).astype("float32")
    calls: list[Callable[[], list[np.ndarray]]] = []
    for session in (static, dynamic):
        held = session.empty(session.inputs[0].name, x.shape)
        held[...] = x
        calls.append(lambda s=session, f={session.inputs[0].name: held}: list(s.run(f).values()))  # type: ignore[misc]
    outputs = [call() for call in calls]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(*outputs, strict=True))
    if not difference <= 1e-4:
        raise SystemExit(f"width {width}: the outputs differ by {difference}")
    clock = time.thread_time if static.threads == 1 else time.perf_counter
    first = min(_time(calls[0], clock) for _ in range(3))
    count = max(3, round(block_ms / 1e3 / first / 2))
    everything: list[tuple[float, ...]] = []
    ratios = []
    for _ in range(rounds):
        pairs = [tuple(_time(call, clock) for call in calls) for _ in range(count)]
        one, other = _medians(pairs)
        ratios.append(other / one)
        everything += pairs
    return Pair(*(m * 1e3 for m in _medians(everything)), ratios, difference)


def _time(call: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def _medians(pairs: list[tuple[float, ...]]) -> list[float]:
    return [statistics.median(times) for times in zip(*pairs, strict=True)]


def _line(name: str, threads: int, width: int, p: Pair) -> str:
    rounds = f"{min(p.rounds):.3f}–{max(p.rounds):.3f}"
    return f"| {name} | {threads} | {width} | {p.static:.2f} | {p.dynamic:.2f} | {p.ratio:.3f} | {rounds} | {p.difference:.0e} |"


def _document(results: dict[tuple[str, int, int], Pair]) -> str:
    worst = max(p.ratio for p in results.values())
    lines = [
        "# Sizes known only at run time",
        "",
        "<!-- written by `make bench-dynamic`: do not edit -->",
        "",
        'Text recognition of PP-OCR compiled once with a width that run time decides, `shapes={"x": (1, 3, 48, None)}`, beside a',
        f"compile for each width.  Wanted: at most {TARGET} times the static compile's time at each; the worst here is {worst:.2f}.",
        "",
        "Medians in ms; both run in one process and take turns, call by call.  Rounds: the least and greatest ratio of one round's",
        "medians.  One thread: processor time; more: elapsed time.  Difference: the largest between outputs of the two.",
        "",
        f"{cpu_name()}, {os.cpu_count()} logical CPUs; oarlock {oarlock.__version__}; {time.strftime('%Y-%m-%d')}.",
        "",
        "| model | threads | width | static | dynamic | ratio | rounds | difference |",
        "|---|---|---|---|---|---|---|---|",
        *[_line(*key, pair) for key, pair in results.items()],
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
