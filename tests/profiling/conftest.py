"""Helpers of the targets' tests can be imported as plain modules here; a machine that was measured, without measuring."""

import json
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("targets", "kernels", "checking")]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Round numbers as the peaks of this machine for one thread; returns them as they stand in the file."""
    from oarlock.profiling import machine

    levels = [
        {"name": "L2", "capacity": 1 << 20, "rate": 1e11},
        {"name": "L3", "capacity": 1 << 24, "rate": 5e10},
        {"name": "memory", "capacity": 0, "rate": 1e10},
    ]
    flops = {"float32": 1e11, "bfloat16": 2e11}
    peaks = {"cpu": machine.cpu_name(), "threads": 1, "flops": flops, "levels": levels, "call_s": 1e-6, "date": "2020-01-02"}
    file = tmp_path / "machine.json"
    file.write_text(json.dumps({f"{machine.cpu_name()}, 1 thread": peaks}))
    monkeypatch.setenv(machine.ENV_PATH, str(file))
    return peaks
