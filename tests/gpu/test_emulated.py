"""Whole models on an emulated GPU (see emulator/): the numbers of the CPU target, and of Paddle for single operators."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import emulated_checks
import emulator
import models
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(bool(emulator.missing()), reason=emulator.missing() or "-")

HERE = Path(__file__).parent


class Worker:
    """A process of emulated_worker.py; a new one after a crash."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.environment = folder, environment
        self.process: subprocess.Popen | None = None

    def ask(self, **job: Any) -> dict[str, Any]:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "emulated_worker.py"), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **self.environment},
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        return {"error": f"the process ended with status {self.process.wait()}", "refused": False}

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    worker = Worker(tmp_path_factory.mktemp("emulated"))
    yield worker
    worker.close()


@pytest.mark.parametrize("name", models.CASES)
def test_as_on_the_cpu(name: str, worker: Worker, tmp_path: Path) -> None:
    case = models.CASES[name]
    answer = worker.ask(case=name, dump=str(tmp_path / "out.npz"))
    assert answer == {"ok": True}
    want = case.run(case.artifact("cpu", threads=1))
    with np.load(tmp_path / "out.npz") as got:
        assert len(got.files) == len(want)
        for a, b in zip((got[k] for k in got.files), want, strict=True):
            assert models.difference(a, b) < 2e-6


CHECKS = [
    name
    for name, value in vars(emulated_checks).items()
    if inspect.isfunction(value) and value.__module__ == emulated_checks.__name__ and not name.startswith("_")
]


@pytest.mark.parametrize("check", CHECKS)
def test_check(check: str, worker: Worker) -> None:
    assert worker.ask(check=check) == {"ok": True}


def test_a_gpu_that_is_too_old(tmp_path: Path) -> None:
    worker = Worker(tmp_path, EMULATED_CAPABILITY="75")
    try:
        answer = worker.ask(case="moves", dump=str(tmp_path / "out.npz"))
        assert "compute capability 8.0; this GPU has 7.5" in answer["error"] and "arch=sm_75" in answer["error"]
        assert worker.ask(case="moves", dump=str(tmp_path / "out.npz"), options={"arch": "sm_75"}) == {"ok": True}
    finally:
        worker.close()


def test_a_cubin_runs_on_its_own_generation_only(tmp_path: Path) -> None:
    worker = Worker(tmp_path, EMULATED_CAPABILITY="90")
    try:
        answer = worker.ask(case="moves", dump=str(tmp_path / "out.npz"), options={"format": "cubin"})
        assert "compute capability 8.0; this GPU has 9.0" in answer["error"]
        assert worker.ask(case="moves", dump=str(tmp_path / "out.npz")) == {"ok": True}
    finally:
        worker.close()


# one of each kind of kernel that is made of statements, of each kind of run-time size, and of control flow
SAMPLES = """topk-0 nonzero-0 unique-0 argsort-0 cumsum-0 nms-0 scatter-0 gather_nd-0 rnn-0 while-0 if-0 einsum-0 roi_align-0 cholesky-0
bilinear_interp-0 conv2d_transpose-0 masked_select-0 set_value-0 viterbi_decode-0 median-0""".split()


def _samples() -> list[Any]:
    from oarlock.ops.samples import load_all

    known = {s.id: s for s in load_all()}
    cases = [(name, dynamic) for name in SAMPLES if name in known for dynamic in (False, True)]
    return [pytest.param(n, d, id=f"{n}-{'dynamic' if d else 'static'}") for n, d in cases if not d or known[n].dynamic is True]


@pytest.mark.skipif(importlib.util.find_spec("paddle") is None, reason="paddlepaddle is the oracle")
@pytest.mark.parametrize(("sample", "dynamic"), _samples())
def test_operators_as_in_paddle(sample: str, dynamic: bool, worker: Worker) -> None:
    assert worker.ask(sample=sample, dynamic=dynamic) == {"ok": True}
