"""Run every sample of every operator beside Paddle, in every element type that Paddle takes; write docs/operators.md from what ran.

    python tools/operators_table.py [--only REGEX] [--again] [--jobs 2] [--work build/operators]

A run is a sample with known dims, the same with unknown dims, or one of an operator's first samples with the type of its main operand
replaced.  Results are kept in WORK/results.json, so a stopped sweep goes on where it was; --again forgets the operators selected.
A run that ends its process (Paddle's kernels do, for some types) costs itself alone.  Exit status 1 when a result differs from Paddle's.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from oarlock.ops.samples import Sample, load_all
from oarlock.runtime.dtypes import numpy_dtype

ROOT = Path(__file__).parents[1]
TYPES = "float16 bfloat16 float32 float64 int8 uint8 int16 int32 int64 bool".split()
# Differences allowed where a sample gives none for its type, of the result's scale: half the digits of float64, and some units
# in the last place of the short types, whose kernels Paddle sums in the type itself or in float32, as they come.
LIMITS = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-9, "complex128": 1e-9, "float16": 4e-3, "bfloat16": 3e-2}
HALF = ("float16", "bfloat16")
RETYPED = 2  # samples of an operator that are tried in every type
TIMEOUT_S = 120


def main_type(case: Sample) -> str:
    """The type of the first operand that has numbers to compute with: that of the first input."""
    return next(iter(case.inputs.values())).dtype.name if case.inputs else ""


def runs() -> Iterator[tuple[str, Sample, bool, str]]:
    """(key, sample, dynamic, type that replaces the main one, "" for as it is)."""
    seen: dict[str, int] = defaultdict(int)
    for case in load_all():
        yield f"{case.id}|static|", case, False, ""
        if case.dynamic is True and case.inputs:
            yield f"{case.id}|dynamic|", case, True, ""
        seen[case.operator] += 1
        if seen[case.operator] <= RETYPED and case.inputs and not case.xfail:
            for name in TYPES:
                if name != main_type(case):
                    yield f"{case.id}|static|{name}", case, False, name


def retyped(case: Sample, name: str) -> dict[str, np.ndarray]:
    main = main_type(case)
    return {k: v.astype(numpy_dtype(name)) if v.dtype.name == main else v for k, v in case.inputs.items()}


def one(case: Sample, dynamic: bool, replaced: str, stage: Any) -> dict[str, Any]:
    """One run → its state (match, differ, refused, paddle: Paddle does not take it) and the largest difference."""
    import oarlock
    from oarlock.checking.oracle import export_call

    inputs = retyped(case, replaced) if replaced else case.inputs
    stage("paddle")
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "model"
        try:
            known, told = case.static, case.sequences
            expected = export_call(case.call, inputs, case.constants, stem, dynamic=dynamic, static=known, sequences=told)
        except Exception as error:
            return {"state": "paddle", "why": _short(error)}
        stage("oarlock")
        try:
            session = oarlock.Session(oarlock.compile(oarlock.load_model(stem.with_suffix(".json")), target="cpu", threads=1))
            outputs = list(session.run(inputs).values())
        except oarlock.errors.UnsupportedError as error:
            return {"state": "refused", "why": _short(error)}
        except Exception as error:
            return {"state": "differ", "why": f"{type(error).__name__}: {_short(error)}"}
    worst = 0.0
    for got, want in zip(outputs, expected, strict=True):
        if (got.shape, got.dtype) != (want.shape, want.dtype):
            return {"state": "differ", "why": f"{got.dtype}{list(got.shape)}, not {want.dtype}{list(want.shape)}"}
        if not case.seed_free:
            error = difference(got, want)
            worst = max(worst, error)
            if error > allowed(want, case, replaced):
                off = (replaced in HALF or replaced in case.astray) and near_float32(case, outputs, replaced)
                if not off:
                    return {"state": "differ", "why": f"differs by {error:.2g} of scale", "error": error}
                return {"state": "match", "why": f"Paddle's {replaced} is {error:.2g} of scale from its float32, ours is not", "error": 0.0}
    return {"state": "match", "error": worst, "random": case.seed_free}


def near_float32(case: Sample, outputs: list[np.ndarray], replaced: str) -> bool:
    """Whether results of a type are near what Paddle gives in float32, of the same values: then its kernel of that type is off."""
    from oarlock.checking.oracle import export_call

    main = main_type(case)
    inputs = {k: v.astype("float32") if case.inputs[k].dtype.name == main else v for k, v in retyped(case, replaced).items()}
    with tempfile.TemporaryDirectory() as folder:
        stem, told = Path(folder) / "model", case.sequences
        expected = export_call(case.call, inputs, case.constants, stem, dynamic=False, static=case.static, sequences=told)
    return all(
        got.shape == want.shape and difference(_like(got, want), want) <= allowed(want, case, replaced)
        for got, want in zip(outputs, expected, strict=True)
    )


def _like(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """A result in the type of float32's; an integer stands for all numbers that become it when their fraction is cut off."""
    if got.dtype.kind not in "iu" or want.dtype.kind != "f":
        return got.astype(want.dtype)
    return np.where(np.abs(got - want) < 1, want, got).astype(want.dtype)


def allowed(want: np.ndarray, case: Sample, replaced: str) -> float:
    """The difference allowed, as a part of the result's scale: the sample's own; of other types no less than what is usual for them."""
    limits = [case.rtol + case.atol]
    if replaced or want.dtype.itemsize == 2:
        limits += [LIMITS.get(want.dtype.name, 0.0), LIMITS.get(replaced, 0.0)]
    return max(limits)


def difference(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, as a part of the result's scale; what is not finite must be the same."""
    if want.dtype.name not in LIMITS:
        return float(not np.array_equal(got, want))
    kind = "complex128" if want.dtype.kind == "c" else "float64"
    left, right = got.astype(kind), want.astype(kind)
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(left)) or not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    return float(np.abs(left[finite] - right[finite]).max()) / max(1.0, float(np.abs(right[finite]).max()))


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "Error:" in line), lines[0] if lines else type(error).__name__)
    return told[:160]


def child(keys: list[str]) -> None:
    """Runs of these keys, one line each before it begins, at each stage, and after it."""
    known = {key: rest for key, *rest in runs()}
    for key in keys:
        case, dynamic, replaced = known[key]
        result = one(case, dynamic, replaced, lambda name, key=key: print(json.dumps({"key": key, "stage": name}), flush=True))
        print(json.dumps({"key": key, **result}), flush=True)


class Sweep:
    """Runs keys in child processes; a child that dies or hangs is started again after the run that it died in."""

    def __init__(self, record: Path, keys: list[str]) -> None:
        self.record, self.keys, self.lock = record, keys, threading.Lock()
        self.results: dict[str, dict[str, Any]] = json.loads(record.read_text()) if record.exists() else {}
        self.done = 0

    def run(self, jobs: int) -> None:
        todo = [k for k in self.keys if k not in self.results]
        self.total = len(todo)
        threads = [threading.Thread(target=self._share, args=(todo[n::jobs],)) for n in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._save()

    def _share(self, keys: list[str]) -> None:
        while keys:
            keys = keys[self._batch(keys[:200]) :]

    def _batch(self, keys: list[str]) -> int:
        """How many of these keys have a result now."""
        command = [sys.executable, __file__, "--child"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(keys))
        process.stdin.close()
        finished, stage, timer = 0, "paddle", threading.Timer(TIMEOUT_S, process.kill)
        timer.start()
        for line in process.stdout:
            if not line.startswith('{"key"'):
                continue
            told = json.loads(line)
            if "stage" in told:
                stage = told["stage"]
                timer.cancel()
                timer = threading.Timer(TIMEOUT_S, process.kill)
                timer.start()
            else:
                self._keep(told.pop("key"), told)
                finished += 1
        timer.cancel()
        process.wait()
        if finished < len(keys):
            state = "paddle" if stage == "paddle" else "differ"
            self._keep(keys[finished], {"state": state, "why": f"the process ended ({process.returncode})"})
            finished += 1
        return finished

    def _keep(self, key: str, result: dict[str, Any]) -> None:
        with self.lock:
            self.results[key] = result
            self.done += 1
            if result["state"] == "differ":
                print(f"{key}: {result['why']}", flush=True)
            if self.done % 100 == 0:
                self._save()
                print(f"[{self.done}/{self.total}]", flush=True)

    def _save(self) -> None:
        self.record.write_text(json.dumps(self.results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="a regular expression of operators")
    parser.add_argument("--again", action="store_true", help="run the selected operators even if they have results")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=ROOT / "build/operators")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(sys.stdin.read()))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    every = {key: case.operator for key, case, *_ in runs()}
    keys = [key for key, name in every.items() if re.search(options.only, name)]
    sweep = Sweep(options.work / "results.json", keys)
    if options.again:
        for key in keys:
            sweep.results.pop(key, None)
    sweep.run(options.jobs)
    results = {key: sweep.results[key] for key in every if key in sweep.results}
    if len(results) == len(every):
        from operators_page import write

        write(results)
    else:
        print(f"{len(results)} of {len(every)} runs are known: the table is written when all are")
    sys.exit(any(r["state"] == "differ" for r in results.values()))


if __name__ == "__main__":
    main()
