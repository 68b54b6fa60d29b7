"""Run every variant of the web benchmark's models in headless Chromium, and compare with Paddle.

    python -m benchmarks.web.variants [--only REGEX] [--write]

One input, one run of each variant in a worker of one tab.  The error is the largest difference over all outputs, as a part of the
largest value that Paddle gives.  --write puts docs/web-models.md.  Ends with status 1 where a variant is off by more than 1e-4, does
not run, or is not the one that was asked for.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any

import oarlock
from oarlock.targets.web.profiler import Browser, run_job
from oarlock.targets.web.site import build_site
from oarlock.web_variants import EVERY

from ..cpu.measure import ROOT, arguments
from ..footprint import cpu_name
from . import models

BOUND = 1e-4
THREADS = 2


def main() -> None:
    parser = arguments(__doc__, "build/bench-web")
    parser.add_argument("--write", action="store_true", help="write docs/web-models.md")
    options = parser.parse_args()
    rows: dict[str, dict[str, float | str]] = {}
    browser = ""
    for name in (n for n in models.NAMES if re.search(options.only, n)):
        result = run(name, options.work)
        rows[name] = {variant: _outcome(result, variant) for variant in EVERY}
        browser = re.search(r"\S*Chrome/\S*", result["browser"])[0]  # type: ignore[index]
        print(_line(name, rows[name]), flush=True)
    if options.write:
        (ROOT / "docs/web-models.md").write_text(_document(rows, browser), encoding="utf-8")
    bad = [f"{name}, {v}: {error}" for name, row in rows.items() for v, error in row.items() if not _good(error)]
    if bad:
        sys.exit("\n".join(bad))


def run(name: str, work: Any) -> dict[str, Any]:
    """What the page sent: each variant's outputs beside Paddle's."""
    model = models.make(name, work)
    folder = models.folder_of(name, work)
    models.data_of(model).tofile(folder / "input.bin")
    expected = models.expected_of(model, folder)
    facts = json.loads((folder / "expected.json").read_text())
    build_site(model.graph, folder / "site-all", shapes={model.input: list(model.shape)}, variants=EVERY)
    engines = [
        {"name": v, "engine": "oarlock", "site": "work/site-all/", "variant": v, "threads": THREADS if v.endswith("-threads") else 1}
        for v in EVERY
    ]
    job = {
        "inputs": {model.input: {"dtype": model.dtype, "shape": list(model.shape), "file": "work/input.bin"}},
        "expected": [{"dtype": dtype, "file": f"work/{p.name}"} for (dtype, _), p in zip(facts, expected, strict=True)],
        "engines": engines, "rounds": 0, "block_ms": 0,
    }  # fmt: skip
    return run_job(job, {"work": folder}, browser=Browser())


def _outcome(result: dict[str, Any], variant: str) -> float | str:
    if variant in result["failed"]:
        return str(result["failed"][variant]).split("\n")[0]
    found = result["engines"][variant]
    threads = THREADS if variant.endswith("-threads") else 1
    told = found["facts"]
    if (told["variant"], told["threads"]) != (variant, threads):
        return f"ran as {told['variant']} on {told['threads']} threads"
    return float(found["difference"])


def _good(error: float | str) -> bool:
    return not isinstance(error, str) and error <= BOUND


def _line(name: str, row: dict[str, float | str]) -> str:
    cells = (error if isinstance(error, str) else f"{error:.0e}" for error in row.values())
    return f"| {name}{' *' if name in models.RANDOM_WEIGHTS else ''} | {' | '.join(cells)} |"


def _document(rows: dict[str, dict[str, float | str]], browser: str) -> str:
    lines = [
        "# Models in the browser, beside Paddle",
        "",
        "<!-- written by `make web-models`: do not edit -->",
        "",
        "One run of every variant in a worker of one tab; the error is the largest difference from Paddle's outputs, as a part of the",
        f"largest value that Paddle gives ({BOUND:.0e} is allowed).  Variants with threads run on {THREADS}; WebGPU runs on the CPU, by",
        "SwiftShader.",
        "",
        f"{cpu_name()}; headless {browser}; oarlock {oarlock.__version__}; {time.strftime('%Y-%m-%d')}.",
        "",
        f"| model | {' | '.join(EVERY)} |",
        f"|---|{'---|' * len(EVERY)}",
        *[_line(*row) for row in rows.items()],
        "",
        "\\* random weights, with statistics of random data in their batch norms.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
