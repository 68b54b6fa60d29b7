"""What threads cost: parallel loops and whole models on Oarlock's pool of threads, on TVM's, and on one thread.

    python -m benchmarks.cpu.threads [--only REGEX] [--threads 2] [--rounds N] [--block-ms MS] [--work FOLDER] [--write]

The three run the same artifact in processes of their own and take turns, block by block; a model also beside as many busy processes as
there are CPUs.  Times are by a clock on the wall, processor time is that of the whole process.  --write puts docs/threads.md.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..footprint import cpu_name
from .measure import ROOT, Contender, arguments

POOLS = {"one": "one thread", "tvm": "TVM's pool", "own": "Oarlock's pool"}
SPINS = {f"spin {us}": f"{us} µs" for us in (0, 10, 25, 50, 100, 300)}  # Oarlock's pool with other OARLOCK_SPIN_US
MODELS = ("PP-OCRv4_mobile_rec", "MobileNetV3-S", "ShuffleNetV2", "ResNet50")
ITERATIONS = 8  # of a loop
STEPS = {"0": 0, "1": 90, "3": 280, "10": 940, "30": 2800, "100": 9400}  # µs of one thread, about → steps of an iteration
LOOPS, PAUSE_S, IDLE_S = 200, 0.002, 1.0


# ---- in the processes ------------------------------------------------------------------------------------------------


def serve(pool: str, job: dict[str, Any]) -> None:
    """Answer each number N on standard input with N pairs: µs on the wall, µs of processor time."""
    if pool in SPINS:
        os.environ["OARLOCK_SPIN_US"] = pool.removeprefix("spin ")
    import oarlock
    from oarlock.runtime import pool as pools

    if pool == "tvm":
        pools.attach = lambda library, module, threads: True
    session = oarlock.Session(job["artifact"], threads=1 if pool == "one" else job["threads"])
    if "data" in job:
        name = session.inputs[0].name
        x = np.load(job["data"])
        given = {name: session.empty(name, x.shape)}
        given[name][...] = x
    else:
        given = {"loops": session.empty("loops", (job["loops"],)), "steps": session.empty("steps", (job["steps"],))}
    for _ in range(3):
        session.run(given)
    print(json.dumps({"idle": _idle_share()}), flush=True)
    for line in sys.stdin:
        answer = []
        for _ in range(int(line)):
            time.sleep(job.get("pause", 0))
            cpu, start = time.process_time(), time.perf_counter()
            session.run(given)
            answer.append(((time.perf_counter() - start) * 1e6, (time.process_time() - cpu) * 1e6))
        print(json.dumps(answer), flush=True)


def _idle_share() -> float:
    """Processor time in the second after a call, as a share of it."""
    start = time.process_time()
    time.sleep(IDLE_S)
    return (time.process_time() - start) / IDLE_S


# ---- beside them -----------------------------------------------------------------------------------------------------


@dataclass
class Row:
    """µs of all calls by pool, on the wall and of the processor; of the idle second after a call, the share that was busy."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)

    def show(self, pool: str, scale: float, digits: int) -> str:
        """The median, and in brackets the 10th and 90th percentiles."""
        low, middle, high = (f"{q / scale:.{digits}f}" for q in np.quantile(self.wall[pool], (0.1, 0.5, 0.9)))
        return f"{middle} ({low}–{high})"

    def busy_ms(self, pool: str) -> str:
        return f"{statistics.fmean(self.cpu[pool]) / 1e3:.2f}"


def compare(job: dict[str, Any], rounds: int, block_ms: float, pools: Iterable[str] = POOLS) -> Row:
    """Time the pools in turns."""
    row = Row()
    running: dict[str, Contender] = {}
    try:
        for pool in pools:
            running[pool] = Contender(pool, {**job, "module": "benchmarks.cpu.threads"})
            running[pool].wait()
            row.idle[pool] = running[pool].ready["idle"]
        counts = {}
        for pool, contender in running.items():
            took: Any = contender.times(3)
            counts[pool] = max(3, round(block_ms * 1e3 / (min(wall for wall, _ in took) + job.get("pause", 0) * 1e6)))
        for _ in range(rounds):
            for pool, contender in running.items():
                pairs: Any = contender.times(counts[pool])
                row.wall.setdefault(pool, []).extend(wall for wall, _ in pairs)
                row.cpu.setdefault(pool, []).extend(cpu for _, cpu in pairs)
    finally:
        for contender in running.values():
            contender.close()
    return row


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Beside so many processes that never rest."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--block-ms", type=float, default=60)
    parser.add_argument("--write", action="store_true", help="write docs/threads.md")
    options = parser.parse_args()
    options.load = os.getloadavg()[0]
    loops, models = _loops(options), _models(options)
    spins = {name: _spins(options, name) for name in MODELS[:2] if re.search(options.only, "spins")}
    if options.write:
        (ROOT / "docs/threads.md").write_text(_document(options, loops, models, spins), encoding="utf-8")


def _loops(options: Any) -> dict[tuple[str, bool], Row]:
    """Rows by the µs of a loop's work, and whether there was a pause before each."""
    from .loops import artifact

    rows: dict[tuple[str, bool], Row] = {}
    path = artifact(ITERATIONS, options.threads, options.work / f"loops.{options.threads}.oar")
    for name, steps in STEPS.items() if re.search(options.only, "loops") else ():
        job = {"artifact": str(path), "threads": options.threads, "steps": steps}
        rows[name, False] = row = compare({**job, "loops": LOOPS}, options.rounds, options.block_ms / 3)
        for pool in POOLS:
            row.wall[pool] = [wall / LOOPS for wall in row.wall[pool]]
        rows[name, True] = compare({**job, "loops": 1, "pause": PAUSE_S}, options.rounds, options.block_ms)
        for pause in (False, True):
            print(f"loops of {name} µs{' after a pause' if pause else ''}:", _cells(rows[name, pause], 1, 2), flush=True)
    return rows


def _models(options: Any) -> dict[tuple[str, bool], Row]:
    """Rows by model, and whether other processes were busy."""
    rows: dict[tuple[str, bool], Row] = {}
    for name in MODELS:
        if not re.search(options.only, name):
            continue
        job = _job(options, name)
        rows[name, False] = compare(job, options.rounds, options.block_ms)
        with busy(os.cpu_count() or 1):
            rows[name, True] = compare(job, options.rounds // 2, options.block_ms)
        for beside in (False, True):
            row = rows[name, beside]
            print(
                f"{name}{' beside others' if beside else ''}:", _cells(row, 1e3, 2), [row.busy_ms(p) for p in POOLS], row.idle, flush=True
            )
    return rows


def _spins(options: Any, name: str) -> Row:
    row = compare(_job(options, name), options.rounds, options.block_ms, SPINS)
    print(f"{name} by OARLOCK_SPIN_US:", _cells(row, 1e3, 2), [row.busy_ms(p) for p in SPINS], flush=True)
    return row


def _job(options: Any, name: str) -> dict[str, Any]:
    """What a process needs to run the model, which is compiled unless it was."""
    import oarlock

    from . import models

    model = models.make(name, options.work)
    path, data = (options.work / f"{name}.threads{options.threads}.{kind}" for kind in ("oar", "npy"))
    if path not in _compiled:
        np.save(data, model.data())
        oarlock.compile(str(model.graph), shapes={model.input: model.shape}, threads=options.threads).save(path)
        _compiled.add(path)
    return {"artifact": str(path), "threads": options.threads, "data": str(data)}


_compiled: set[Path] = set()


def _cells(row: Row, scale: float, digits: int) -> str:
    return " | ".join(row.show(pool, scale, digits) for pool in row.wall)


def _document(options: Any, loops: dict[tuple[str, bool], Row], models: dict[tuple[str, bool], Row], spins: dict[str, Row]) -> str:
    import oarlock

    heads = " | ".join(POOLS.values())
    idle = {pool: statistics.fmean(row.idle[pool] for row in models.values()) for pool in POOLS}
    lines = [
        "# Threads",
        "",
        "<!-- written by `make bench-threads`: do not edit -->",
        "",
        f"Parallel loops and models compiled for {options.threads} threads on Oarlock's pool, on TVM's, and on one thread: the same",
        "artifact in three processes that take turns.  Medians, in brackets the 10th and 90th percentiles, by a clock on the wall.",
        "",
        f"{cpu_name()}, {os.cpu_count()} logical CPUs; oarlock {oarlock.__version__}; {time.strftime('%Y-%m-%d')}.",
        f"The machine's load as it began: {options.load:.1f} processes that others ran.",
        "",
        f"## A parallel loop of {ITERATIONS} iterations (µs)",
        "",
        f"One of {LOOPS} in a row; its work as measured on one thread, about.",
        "",
        f"| work | {heads} |",
        "|---|---|---|---|",
        *[f"| {name} | {_cells(row, 1, 2)} |" for (name, pause), row in loops.items() if not pause],
        "",
        f"A call of a session with one loop, {PAUSE_S * 1e3:.0f} ms after the last:",
        "",
        f"| work | {heads} |",
        "|---|---|---|---|",
        *[f"| {name} | {_cells(row, 1, 0)} |" for (name, pause), row in loops.items() if pause],
        "",
        "## Models (ms)",
        "",
        f"| model | {heads} |",
        "|---|---|---|---|",
        *[f"| {name} | {_cells(row, 1e3, 2)} |" for (name, beside), row in models.items() if not beside],
        "",
        f"Beside {os.cpu_count()} processes that are always busy:",
        "",
        f"| model | {heads} |",
        "|---|---|---|---|",
        *[f"| {name} | {_cells(row, 1e3, 1)} |" for (name, beside), row in models.items() if beside],
        "",
        "Processor time of a call (ms, mean), alone / beside busy processes:",
        "",
        f"| model | {heads} |",
        "|---|---|---|---|",
        *[
            f"| {name} | " + " | ".join(f"{row.busy_ms(p)} / {models[name, True].busy_ms(p)}" for p in POOLS) + " |"
            for (name, beside), row in models.items()
            if not beside
        ],
        "",
        "## How long threads look for work before they sleep",
        "",
        "Models as above, by `OARLOCK_SPIN_US` (default 50): time of a call, and in parentheses the processor time (ms).",
        "",
        f"| model | {' | '.join(SPINS.values())} |",
        "|---" * (len(SPINS) + 1) + "|",
        *[
            f"| {name} | " + " | ".join(f"{statistics.median(row.wall[p]) / 1e3:.2f} ({row.busy_ms(p)})" for p in SPINS) + " |"
            for name, row in spins.items()
        ],
        "",
        f"Processor time in the {IDLE_S:.0f} s after a call: " + ", ".join(f"{POOLS[p]} {share:.2%}" for p, share in idle.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in POOLS | SPINS:
        serve(sys.argv[1], json.loads(sys.argv[2]))
    else:
        main()
