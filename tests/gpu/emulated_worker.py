"""A process with an emulated GPU: runs the cases it is asked for, one JSON line in and one out.

    {"case": NAME, "dump": FILE, "options": {…}}   runs a case of models.py, saves its outputs
    {"sample": ID, "dynamic": BOOL}                runs a sample of an operator beside Paddle
    {"check": NAME}                                runs a function of emulated_checks.py
The answer is {"ok": true} or {"error": TEXT, "refused": BOOL}.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import emulated_checks
import emulator
import models
import numpy as np

import oarlock


def run_case(job: dict[str, Any]) -> None:
    case = models.CASES[job["case"]]
    outputs = case.run(case.artifact("cuda", **job.get("options", {})))
    np.savez(job["dump"], *outputs)


def run_sample(job: dict[str, Any]) -> None:
    from oarlock.checking.oracle import export_call
    from oarlock.ops.samples import load_all

    sample = next(s for s in load_all() if s.id == job["sample"])
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "model"
        known, told = sample.static, sample.sequences
        expected = export_call(sample.call, sample.inputs, sample.constants, stem, dynamic=job["dynamic"], static=known, sequences=told)
        artifact = oarlock.compile(stem.with_suffix(".json"), target="cuda")
    outputs = list(oarlock.Session(artifact).run(sample.inputs).values())
    for got, want in zip(outputs, expected, strict=True):
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        if not sample.seed_free:
            finite = np.abs(want[np.isfinite(want)]) if want.dtype.kind == "f" else np.zeros(0)
            scale = max(1.0, float(finite.max(initial=0)))
            np.testing.assert_allclose(got, want, rtol=sample.rtol, atol=sample.atol * scale)


def main() -> None:
    emulator.install(Path(sys.argv[1]))
    for line in sys.stdin:
        job = json.loads(line)
        try:
            if "check" in job:
                getattr(emulated_checks, job["check"])()
            else:
                run_sample(job) if "sample" in job else run_case(job)
            answer: dict[str, Any] = {"ok": True}
        except Exception as error:  # told to the test, which fails with it
            refused = isinstance(error, oarlock.errors.UnsupportedError)
            answer = {"error": f"{type(error).__name__}: {error}"[:2000], "refused": refused}
        print("\n@" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
