#!/usr/bin/env python3
"""Damaged model files through the readers: each must end in a user error or a good parse.

    python tools/fuzz_readers.py [--count 20000] [--seed 0] [--workers 2] [--only INDEX] [--keep FOLDER]

Seeds are tiny models written by hand (tests/model/tiny.py) and, where it exists, a sample of ../shared/cases/*.zip.  Mutant
number i depends on --seed and i alone.  A violation is any exception that is not an OarlockError, a dead process, more than
5 s, or a peak of memory above 4 × the files' size + 64 MB.  Exit code 1 when there is one.
"""

from __future__ import annotations

import argparse
import copy
import json
import multiprocessing
import multiprocessing.connection
import random
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests" / "model")]

import tiny  # noqa: E402

from oarlock import errors  # noqa: E402
from oarlock.model import load_model  # noqa: E402

SECONDS = 5.0
FACTOR, SLACK = 4, 64 << 20
ADDRESS_SPACE = 4 << 30
"""Backstop of the worker process for allocations that tracemalloc does not see."""

CASES = ROOT.parent / "shared" / "cases"
CASES_A_SUITE, CASE_LIMIT = 24, 200_000

Files = dict[str, bytes]

# ---- seeds -----------------------------------------------------------------------------------------------------------


def seeds() -> list[tuple[str, Files]]:
    """Named models: file name → content."""
    weight = tiny.tensor_bytes(tiny.WEIGHT)
    out = [
        ("tiny pir", {"model.json": tiny.pir_bytes(tiny.loop_model()), "model.pdiparams": weight}),
        ("tiny legacy", {"model.pdmodel": tiny.legacy_model(), "model.pdiparams": weight}),
        ("tiny separate", {"__model__": tiny.legacy_model(), "w": weight}),
        ("tiny __params__", {"__model__": tiny.legacy_model(), "__params__": tiny.tensor_bytes(tiny.WEIGHT, [b"\0" * 16])}),
    ]
    for path in sorted(CASES.glob("*.zip")):
        out += _cases(path)
    return out


def _cases(path: Path) -> list[tuple[str, Files]]:
    """An even sample of a suite: the graph, and the weights where they are stored in full."""
    with zipfile.ZipFile(path) as archive:
        graphs = [i for i in archive.infolist() if i.filename.endswith(("model.json", "model.pdmodel")) and i.file_size < CASE_LIMIT]
        names = set(archive.namelist())
        out = []
        for graph in graphs[:: max(1, len(graphs) // CASES_A_SUITE)]:
            folder = graph.filename.rsplit("/", 1)[0]
            files = {graph.filename.rsplit("/", 1)[1]: archive.read(graph)}
            if (weights := f"{folder}/model.pdiparams") in names and archive.getinfo(weights).file_size < CASE_LIMIT:
                files["model.pdiparams"] = archive.read(weights)
            out.append((folder, files))
        return out


# ---- mutations -------------------------------------------------------------------------------------------------------

LENGTHS = [0, 1, 127, 128, 255, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, -2, 7, 1 << 31, 1 << 62, 1 << 63, -(1 << 63) - 1, 10**300, 0.5, 1e308, "", "x", "0.t_f32", "1.while",
    "../../etc/passwd", "\0", "\ud800", "é", [], {}, [[]], [{}], {"#": "NULL"}, {"%": 1}, {"#": "p"},
]  # fmt: skip


def flip(data: bytearray, r: random.Random) -> None:
    for _ in range(r.choice((1, 1, 2, 4, 16))):
        if data:
            data[r.randrange(len(data))] = r.randrange(256)


def flip_bit(data: bytearray, r: random.Random) -> None:
    if data:
        data[r.randrange(len(data))] ^= 1 << r.randrange(8)


def truncate(data: bytearray, r: random.Random) -> None:
    del data[r.randrange(len(data) + 1) :]


def cut(data: bytearray, r: random.Random) -> None:
    start = r.randrange(len(data) + 1)
    del data[start : start + r.choice((1, 2, 4, 8, 64, 1000))]


def insert(data: bytearray, r: random.Random) -> None:
    start = r.randrange(len(data) + 1)
    data[start:start] = r.randbytes(r.choice((1, 2, 4, 8, 64)))


def repeat(data: bytearray, r: random.Random) -> None:
    start = r.randrange(len(data) + 1)
    data[start:start] = bytes(data[start : start + r.choice((4, 32, 500))]) * r.choice((1, 3, 100))


def move(data: bytearray, r: random.Random) -> None:
    start, size = r.randrange(len(data) + 1), r.choice((4, 32, 500))
    chunk = bytes(data[start : start + size])
    del data[start : start + size]
    target = r.randrange(len(data) + 1)
    data[target:target] = chunk


def forge_fixed(data: bytearray, r: random.Random) -> None:
    """A length of 4 or 8 bytes, most often in the header, where the real ones stand."""
    start = r.randrange(min(len(data), 64) + 1) if r.random() < 0.7 else r.randrange(len(data) + 1)
    size = r.choice((4, 8))
    data[start : start + size] = struct.pack("<Q", r.choice(LENGTHS))[:size]


def forge_varint(data: bytearray, r: random.Random) -> None:
    start = r.randrange(len(data) + 1)
    data[start : start + 1] = tiny.varint(r.choice(LENGTHS)) if r.random() < 0.9 else b"\xff" * r.choice((10, 1000))


def forge_number(data: bytearray, r: random.Random) -> None:
    """A number in JSON replaced by a large one, sometimes of very many digits."""
    numbers = list(re.finditer(rb"-?\d+", data))
    if numbers:
        found = r.choice(numbers)
        digits = b"9" * r.choice((1_000, 100_000)) if r.random() < 0.05 else str(r.choice(LENGTHS)).encode()
        data[found.start() : found.end()] = (b"-" if r.random() < 0.3 else b"") + digits


def nest(data: bytearray, r: random.Random) -> None:
    """Brackets around a part of the text, up to far more than a recursive parser can stand."""
    depth = r.choice((3, 50, 300, 2_000, 100_000))
    left, right = r.choice(((b"[", b"]"), (b'{"D":', b"}"), (b'{"regions":[{"blocks":[{"ops":[', b"]}]}]}")))
    places = [i for i, c in enumerate(data) if c in b":,[{"] or [0]
    start = r.choice(places) + 1
    data[start:start] = left * depth + (b"1" if r.random() < 0.5 else b"") + (right * depth if r.random() < 0.7 else b"")


def restructure(data: bytearray, r: random.Random) -> None:
    """Change the JSON's structure and keep it valid JSON."""
    try:
        root = json.loads(bytes(data))
    except (ValueError, RecursionError):
        return flip(data, r)
    for _ in range(r.choice((1, 1, 1, 2, 5))):
        places = list(_places(root))
        if not places:
            break
        parent, key = r.choice(places)
        other, other_key = r.choice(places)
        try:
            match r.randrange(6):
                case 0 | 1:
                    parent[key] = copy.deepcopy(r.choice(VALUES))
                case 2:
                    del parent[key]
                case 3:
                    parent[key] = copy.deepcopy(other[other_key])
                case 4 if type(parent) is list:
                    parent[key:key] = [copy.deepcopy(parent[key])] * r.choice((1, 1, 50))
                case 5 if type(parent) is list:
                    r.shuffle(parent)
                case _ if type(parent[key]) is int:
                    parent[key] += r.choice((-1, 1, 100))
        except (IndexError, KeyError):
            continue  # an earlier change took the place away
    data[:] = json.dumps(root).encode()


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) below ``node``."""
    stack = [node]
    while stack:
        top = stack.pop()
        keys = list(top) if type(top) is dict else range(len(top)) if type(top) is list else ()
        for key in keys:
            yield top, key
            stack.append(top[key])


Mutation = Callable[[bytearray, random.Random], None]
ANY: list[Mutation] = [flip, flip, flip_bit, flip_bit, truncate, cut, insert, repeat, move]
BINARY: list[Mutation] = [*ANY, forge_fixed, forge_varint, forge_varint, forge_varint]
JSON: list[Mutation] = [*ANY, forge_number, nest, restructure, restructure, restructure, restructure, restructure, restructure]
WEIGHTS: list[Mutation] = [*ANY, forge_fixed, forge_fixed, forge_fixed, forge_varint]


def mutant(models: list[tuple[str, Files]], seed: int, index: int) -> tuple[str, Files]:
    """Mutant number ``index``: what was done to which seed, and its files."""
    r = random.Random(f"{seed}:{index}")
    name, files = models[r.randrange(4)] if r.random() < 0.3 else r.choice(models)
    files = dict(files)
    target = r.choice(sorted(files)) if r.random() < 0.4 else min(files, key=_is_weights)
    kinds = WEIGHTS if _is_weights(target) else JSON if target.endswith(".json") else BINARY
    done = []
    content = bytearray(files[target])
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        kind = r.choice(kinds)
        kind(content, r)
        done.append(kind.__name__)
    files[target] = bytes(content)
    if r.random() < 0.01 and len(files) > 1:
        files.pop(r.choice(sorted(files)))
        done.append("lose a file")
    return f"{name}, {target}: {' + '.join(done)}", files


def _is_weights(name: str) -> bool:
    return name not in ("__model__",) and not name.endswith((".json", ".pdmodel"))


# ---- one mutant ------------------------------------------------------------------------------------------------------


def attempt(files: Files, folder: Path) -> tuple[str, str]:
    """Read a model: ("parsed" | "error" | "violation", why).  Memory is counted while the reader runs."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    limit = FACTOR * sum(map(len, files.values())) + SLACK
    tracemalloc.start()
    try:
        verdict = _read(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if peak > limit:
        return "violation", f"{peak / 1e6:.0f} MB allocated, {limit / 1e6:.0f} MB allowed ({verdict[0]}: {verdict[1]})"
    return verdict


def _read(folder: Path) -> tuple[str, str]:
    try:
        program = load_model(folder).verify()
        _use(program)
    except errors.OarlockError as error:
        str(error)
        return "error", type(error).__name__
    except BaseException as error:  # noqa: B036 — also RecursionError, MemoryError, SystemExit: the reader must not let them out
        return "violation", f"{type(error).__name__}: {str(error)[:200]}"
    return "parsed", ""


def _use(program: Any) -> None:
    """What every later stage does: print the program and touch the weights' ends."""
    str(program).encode()
    for parameter in program.parameters.values():
        if parameter.data is not None and parameter.data.size:
            parameter.data.flat[0], parameter.data.flat[-1]  # noqa: B018


# ---- workers ---------------------------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A process that works through ``indices`` and reports ("start" | verdict, index, why) through a pipe."""

    models: list[tuple[str, Files]]
    indices: list[int]
    seed: int
    process: Any = None
    pipe: Any = None
    current: int | None = None
    since: float = 0.0
    context: Any = field(default_factory=lambda: multiprocessing.get_context("fork"))

    def start(self) -> None:
        self.pipe, child = self.context.Pipe(duplex=False)
        self.process = self.context.Process(target=_work, args=(self.models, self.indices, self.seed, child), daemon=True)
        self.process.start()
        child.close()
        self.current, self.since = None, time.monotonic()

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def skip(self) -> None:
        """Go on behind the mutant that killed or stopped the process."""
        self.stop()
        if self.current is not None:
            self.indices = self.indices[self.indices.index(self.current) + 1 :]
        if self.indices:
            self.start()


def _work(models: list[tuple[str, Files]], indices: list[int], seed: int, pipe: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        for index in indices:
            what, files = mutant(models, seed, index)
            pipe.send(("start", index, what))
            verdict, why = attempt(files, Path(folder) / "model")
            pipe.send((verdict, index, why))
    pipe.send(("end", -1, ""))


def run(count: int, seed: int = 0, workers: int = 2, progress: Callable[[int], None] | None = None) -> tuple[Counter[str], list[str]]:
    """Counts of the verdicts, and a line for each violation."""
    counts: Counter[str] = Counter()
    violations: list[tuple[int, str]] = []
    models = seeds()
    pool = [Worker(models, list(range(w, count, workers)), seed) for w in range(min(workers, count))]
    for worker in pool:
        worker.start()
    open_ = {w.pipe: w for w in pool}
    what: dict[int, str] = {}

    def violation(worker: Worker, why: str) -> None:
        index = -1 if worker.current is None else worker.current
        counts["violation"] += 1
        violations.append((index, f"mutant {index} ({what.get(index, 'start-up')}): {why}"))

    def replace(worker: Worker, why: str) -> None:
        violation(worker, why)
        del open_[worker.pipe]
        if worker.current is None:
            worker.stop()  # it died outside of any mutant: to start it again would not end
            return
        worker.skip()
        if worker.indices:
            open_[worker.pipe] = worker

    while open_:
        for pipe in multiprocessing.connection.wait(list(open_), timeout=0.2):
            worker = open_[pipe]
            try:
                kind, index, text = pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                replace(worker, f"the process died (exit code {worker.process.exitcode})")
                continue
            if kind == "end":
                worker.stop()
                del open_[pipe]
            elif kind == "start":
                worker.current, worker.since = index, time.monotonic()
                what[index] = text
            else:
                if kind == "violation":
                    violation(worker, text)
                else:
                    counts[kind] += 1
                what.pop(index, None)
                if progress:
                    progress(sum(counts.values()))
        for worker in list(open_.values()):
            if worker.current in what and time.monotonic() - worker.since > SECONDS and not worker.pipe.poll():
                replace(worker, f"no answer after {SECONDS:g} s")
    return counts, [line for _, line in sorted(violations)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", type=int, help="run this mutant alone, in this process")
    parser.add_argument("--keep", type=Path, help="with --only: write its files into this folder")
    options = parser.parse_args()
    if options.only is not None:
        what, files = mutant(seeds(), options.seed, options.only)
        with tempfile.TemporaryDirectory() as folder:
            target = options.keep or Path(folder) / "model"
            print(what, *attempt(files, target), sep="\n")
        return 0
    began, last = time.monotonic(), 0.0

    def progress(done: int) -> None:
        nonlocal last
        if time.monotonic() - last > 5:
            last = time.monotonic()
            print(f"  {done} of {options.count}, {done / (last - began):.0f}/s", file=sys.stderr, flush=True)

    counts, violations = run(options.count, options.seed, options.workers, progress)
    for line in violations:
        print(line)
    print(
        f"{sum(counts.values())} mutants (seed {options.seed}): {counts['error']} user errors, {counts['parsed']} parsed, "
        f"{counts['violation']} violations; {time.monotonic() - began:.0f} s"
    )
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
