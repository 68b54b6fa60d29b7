"""WebAssembly on one thread and on two, in Node and in Chromium: ``python -m benchmarks.web.threads [MODEL …]`` prints a table."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from oarlock.targets.web.site import build_site

from ..cpu.models import make

MODELS = ("MobileNetV3-S", "ch_ppocr_mobile_v2.0_cls")
FAMILIES = {"node": "simd128", "chromium": "relaxed-simd"}
_SCRIPT = Path(__file__).with_suffix(".mjs")


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def main(names: list[str]) -> None:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as work:
        sites = {}
        for name in names:
            model = make(name, Path(work))
            variants = [variant for family in FAMILIES.values() for variant in (f"{family}-threads", family)]
            sites[str(Path(work) / f"site-{name}")] = name
            build_site(model.graph, Path(work) / f"site-{name}", shapes={model.input: model.shape}, variants=variants)
        print("| model | where | one thread, ms | 2 threads, ms | 2 threads / one | threads variant on 1 thread / one |")
        print("|---|---|---|---|---|---|")
        for where in FAMILIES:
            done = subprocess.run(["node", str(_SCRIPT), where, *sites], check=True, stdout=subprocess.PIPE, text=True)
            for site, times in json.loads(done.stdout).items():
                one, alone, two = times.values()
                ratios = [[b / a for a, b in zip(one, other, strict=True)] for other in (two, alone)]
                cells = [sites[site], f"{where}, {next(iter(times))}", spread(one, 2), spread(two, 2), *(spread(r, 2) for r in ratios)]
                print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nMedians of 9 rounds' medians, and the least and largest; {os.cpu_count()} CPUs, load {load:.1f} as it began.")


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
