"""Contenders in processes of their own, timed in turns."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]


def arguments(description: str | None, work: str = "build/bench") -> argparse.ArgumentParser:
    """The command line of a benchmark: --only and --work, a folder that is made; the rest is the benchmark's own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a regular expression that the model's name must match")
    parser.add_argument("--work", type=_folder, default=str(ROOT / work))
    return parser


def _folder(name: str) -> Path:
    path = Path(name).resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


class Failed(Exception):
    """The engine cannot run the model; the message is the last thing that it printed."""


class Contender:
    """One engine with one model in one process."""

    def __init__(self, engine: str, job: dict[str, Any]) -> None:
        threads = str(job["threads"])
        limits = {name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TVM_NUM_THREADS")}
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [job.get("python", sys.executable), "-m", job.get("module", "benchmarks.cpu.engines"), engine, json.dumps(job)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, cwd=ROOT, env={**os.environ, **limits},
        )  # fmt: skip
        self.ready: dict[str, float] = {}

    def wait(self) -> None:
        """Until it has run once; Failed when it cannot."""
        self.ready = self._answer()

    def times(self, count: int) -> list[float]:
        """Milliseconds of ``count`` calls."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            lines = [text for text in self._errors.read().splitlines() if text.strip()]
            raise Failed(lines[-1] if lines else f"exit status {self._process.returncode}")
        return json.loads(line)


@dataclass
class Times:
    """All times of one contender in ms, and what it told when it was ready."""

    ready: dict[str, float]
    all: list[float] = field(default_factory=list)

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.all, q))


def alternate(
    jobs: dict[str, tuple[str, dict[str, Any]]], rounds: int, block_ms: float, *, together: bool = False
) -> tuple[dict[str, Times], dict[str, str]]:
    """Contender → (engine, job) in; contender → times, and contender → why not for those that failed.

    All are started (``together``: at once, which saves time and spoils what they tell of it), then take turns: ``rounds`` blocks of about
    ``block_ms`` each, after a call that does not count: the caches hold what the others left.
    """
    running: dict[str, Contender] = {}
    failed: dict[str, str] = {}
    try:
        for name, (engine, job) in jobs.items():
            running[name] = Contender(engine, job)
            if not together:
                _wait(name, running, failed)
        for name in list(running) if together else ():
            _wait(name, running, failed)
        counts = {}
        for name, contender in running.items():
            contender.times(2)
            counts[name] = max(3, round(block_ms / min(contender.times(3))))
        times = {name: Times(contender.ready) for name, contender in running.items()}
        for _ in range(rounds):
            for name, contender in running.items():
                times[name].all += contender.times(counts[name] + 1)[1:]
    finally:
        for contender in running.values():
            contender.close()
    return times, failed


def _wait(name: str, running: dict[str, Contender], failed: dict[str, str]) -> None:
    try:
        running[name].wait()
    except Failed as e:
        failed[name] = str(e)
        running.pop(name).close()
