"""What a result has to say of the machine that it was measured on."""

from __future__ import annotations

import datetime
import shutil
import subprocess

from oarlock._version import __version__


def describe() -> list[str]:
    """The GPU's name, memory and driver as nvidia-smi tells them, the date, and Oarlock's version."""
    gpu = _asked("name,memory.total,driver_version") or "a GPU"
    return [f"{gpu}; {datetime.date.today().isoformat()}; oarlock {__version__}"]


def highest_clock() -> float:
    """Of the multiprocessors, in Hz."""
    return float(_asked("clocks.max.sm", "nounits") or 0) * 1e6


def _asked(what: str, *more: str) -> str:
    smi = shutil.which("nvidia-smi")
    if not smi:
        return ""
    command = [smi, f"--query-gpu={what}", ",".join(["--format=csv", "noheader", *more])]
    return (subprocess.run(command, capture_output=True, text=True).stdout.splitlines() or [""])[0].strip()
