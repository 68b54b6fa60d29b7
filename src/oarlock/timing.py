"""Time a session: median, 90th percentile, throughput."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .runtime.host import HostTime
    from .runtime.session import Session


@dataclass(frozen=True)
class Timing:
    """Times of single runs in milliseconds; throughput in runs a second at the median."""

    runs: int
    minimum_ms: float
    median_ms: float
    p90_ms: float
    maximum_ms: float

    @property
    def per_second(self) -> float:
        return 1e3 / self.median_ms if self.median_ms else float("inf")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"runs_per_second": self.per_second}


def measure(
    run: Callable[[Mapping[str, Any]], Any],
    inputs: Mapping[str, Any],
    *,
    runs: int = 50,
    warmup: int = 5,
    limit_s: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> Timing:
    """Call ``run(inputs)`` ``warmup`` + ``runs`` times (fewer when ``limit_s`` seconds are over, but at least one)."""
    end = time.perf_counter() + limit_s
    for _ in range(warmup):
        run(inputs)
        if time.perf_counter() > end:
            break
    times: list[float] = []
    while len(times) < max(runs, 1) and (not times or time.perf_counter() < end):
        start = time.perf_counter()
        run(inputs)
        times.append((time.perf_counter() - start) * 1e3)
        if progress:
            progress(len(times), runs)
    low, median, p90, high = np.percentile(times, [0, 50, 90, 100])
    return Timing(len(times), float(low), float(median), float(p90), float(high))


def measure_hosts(
    session: Session,
    inputs: Mapping[str, Any],
    runs: int = 50,
    warmup: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Timing, tuple[HostTime, ...]]:
    """As ``measure``, with what the host calls of one timed run took on average."""
    if warmup:
        measure(session.run, inputs, runs=warmup, warmup=0)
    before = session.host_times()
    timing = measure(session.run, inputs, runs=runs, warmup=0, progress=progress)
    return timing, tuple(after.less(old, timing.runs) for after, old in zip(session.host_times(), before, strict=True))
