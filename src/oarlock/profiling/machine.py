"""What a machine can do at best, as measured: operations and bytes a second.  Kept in a file by CPU and threads."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..cachefile import cache_path, replace_text
from ..errors import InputError

ENV_PATH = "OARLOCK_MACHINE"
MEMORY = "memory"


@dataclass(frozen=True)
class Level:
    """A cache, or the memory behind them: ``capacity`` in bytes (0 of the memory), ``rate`` in bytes a second of all threads."""

    name: str
    capacity: int
    rate: float


@dataclass(frozen=True)
class Peaks:
    """``flops``: element type → floating point operations a second.  ``levels``: from the smallest cache to the memory.

    ``call_s``: what a profile says of a kernel that does nothing.  ``date``: of the measuring.
    """

    cpu: str
    threads: int
    flops: Mapping[str, float]
    levels: tuple[Level, ...]
    call_s: float
    date: str = ""

    def level_of(self, size: int) -> Level:
        """The smallest level that holds ``size`` bytes."""
        return next((level for level in self.levels if level.capacity >= size), self.levels[-1])

    def compute_s(self, flops: Mapping[str, int]) -> float:
        """Seconds that operations take at least, by the type of their operands."""
        plain = self.flops["float32"]
        rates = {"float32": plain, "float64": plain / 2, **self.flops}
        return sum(count / rates.get(dtype, plain) for dtype, count in flops.items())

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Peaks:
        """ValueError unless ``data`` is what to_json writes."""
        match data:
            case {
                "cpu": str(cpu),
                "threads": int(threads),
                "flops": {"float32": _} as flops,
                "levels": [_, *_] as levels,
                "call_s": call_s,
            }:
                pass
            case _:
                raise ValueError("no measurements of a machine")
        found = tuple(Level(str(x["name"]), int(x["capacity"]), float(x["rate"])) for x in levels)
        rates = {str(k): float(v) for k, v in flops.items()}
        if not all(math.isfinite(r) and r > 0 for r in (*rates.values(), *(level.rate for level in found))):
            raise ValueError("a rate that is not positive")
        return cls(cpu, threads, rates, found, float(call_s), str(data.get("date", "")))


def file_path() -> Path:
    """$OARLOCK_MACHINE, else a file in the platform's folder for caches."""
    return cache_path(ENV_PATH, "machine.json")


def known(threads: int) -> Peaks | None:
    """What was measured on this CPU with this many threads; None where nothing was, or the file is damaged."""
    entry = _read().get(_key(cpu_name(), threads))
    try:
        return None if entry is None else Peaks.from_json(entry)
    except (ValueError, TypeError, KeyError):
        return None


def keep(peaks: Peaks) -> Peaks:
    """Put measurements into the file; gives the best of them and of what was there, for other load can only slow them down."""
    path = file_path()
    if (before := known(peaks.threads)) and before.cpu == peaks.cpu:
        peaks = _best(before, peaks)
    document = json.dumps({**_read(), _key(peaks.cpu, peaks.threads): peaks.to_json()}, indent=1)
    try:
        replace_text(path, document)
    except OSError as error:
        raise InputError(f"what was measured of the machine cannot be kept: {error.strerror}", where=str(path)) from error
    return peaks


def _best(before: Peaks, now: Peaks) -> Peaks:
    rates = {level.name: level.rate for level in before.levels}
    levels = tuple(replace(level, rate=max(level.rate, rates.get(level.name, 0.0))) for level in now.levels)
    flops = {dtype: max(rate, before.flops.get(dtype, 0.0)) for dtype, rate in now.flops.items()}
    return replace(now, flops=flops, levels=levels, call_s=min(before.call_s, now.call_s))


def cpu_name() -> str:
    """What the CPU calls itself."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            facts = dict(_fact(line) for line in _first(lines))
    except OSError:
        facts = {}
    name = facts.get("model name") or platform.processor() or platform.machine()
    # virtual machines hide the name; family and model still tell generations apart
    numbers = [facts[key] for key in ("cpu family", "model") if key in facts]
    return f"{name} ({'/'.join(numbers)})" if numbers else name


def caches() -> list[tuple[str, int, bool]]:
    """Name, bytes and whether all cores share it, of the second- and third-level caches; the usual sizes where the system does not tell."""
    found = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, size = int((folder / "level").read_text()), (folder / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if level >= 2 and size[:-1].isdecimal():
            found.append((f"L{level}", int(size[:-1]) * {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1), level >= 3))
    return found or [("L2", 1 << 20, False), ("L3", 16 << 20, True)]


def _first(lines: Any) -> list[str]:
    """The lines of the first CPU."""
    out: list[str] = []
    for line in lines:
        if not line.strip():
            break
        out.append(line)
    return out


def _fact(line: str) -> tuple[str, str]:
    key, _, value = line.partition(":")
    return key.strip(), value.strip()


def _key(cpu: str, threads: int) -> str:
    return f"{cpu}, {threads} thread{'s' if threads != 1 else ''}"


def _read() -> dict[str, Any]:
    try:
        document = json.loads(file_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
