"""Compile exported models and compare them with what Paddle gave: a line of JSON for each folder.

    python -m zoo.compare [--show] [FOLDER …]

Without folders they are read from standard input, a line each.  --show: errors and what is printed go to standard error.

The compile is that of ``oarlock.compile(model)``, with what makes it quick and changes nothing of what is compared: one thread; for any
x86 CPU with AVX2 in place of this machine's own (a quarter of the time, and the same numbers wherever the sweep runs); and without the
native function that replaces the VM's program (executor="vm").
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .forked import answer_in_child, serve
from .pretrained import read

TOLERANCE = 1e-4  # of the output's scale
LIMIT_S = 600  # of CPU time: the machine may have other work
OPTIONS = {"executor": "vm"} | ({"mcpu": "x86-64-v3"} if platform.machine() == "x86_64" else {})


def source_of(folder: Path) -> dict[str, Any]:
    """Of a pretrained model: where it is, and how its results are read; nothing of one that was exported."""
    file = folder / "source.json"
    return json.loads(file.read_text()) if file.exists() else {}


def compare(folder: Path) -> dict[str, Any]:
    """The facts of the model and the verdict: "match", "differs" or "refused"."""
    import oarlock
    from oarlock.checking.compare import compare as compare_output

    source = source_of(folder)
    program = oarlock.load_model(source.get("model", str(folder)))
    counts = program.op_counts()
    row: dict[str, Any] = {
        "format": program.source["format"],
        "operations": sum(counts.values()) - len(program.parameters),
        "distinct": len([name for name in counts if "parameter" not in name]),
        "megabytes": sum(p.data.nbytes for p in program.parameters.values() if p.data is not None) / 1e6,
        "control": control_flow(counts),
        "oarlock": oarlock.__version__,
    }
    start = time.perf_counter()
    try:
        artifact = oarlock.compile(program, target="cpu", threads=1, options=OPTIONS)
    except oarlock.errors.OarlockError as error:
        return row | {"verdict": "refused", "why": _one_line(error)}
    row["compile_s"] = time.perf_counter() - start
    session = oarlock.Session(artifact)
    worst, why = 0.0, ""
    for old in folder.glob("ours-*.npz"):
        old.unlink()
    for run in sorted(folder.glob("run-*.npz")):
        with np.load(run) as archive:
            inputs = {n[3:]: archive[n] for n in archive.files if n.startswith("in:")}
            expected = [archive[n] for n in sorted(archive.files) if n.startswith("out:")]
        known = {spec.name for spec in session.inputs}
        got = session.run({n: a for n, a in inputs.items() if n in known})
        if len(got) != len(expected):
            return row | {"verdict": "differs", "why": f"{len(got)} outputs, Paddle gives {len(expected)}"}
        off = {}  # for zoo.perturb, which tells whether rounding explains it
        for place, ((name, mine), theirs) in enumerate(zip(got.items(), expected, strict=True)):
            report = compare_output(name, mine, theirs, TOLERANCE)
            worst = max(worst, report.max_rel)
            if not report.ok:
                off[f"out:{place:03d}"] = mine
            if not report.ok and not why:
                why = f"{run.stem}, {name}: {report.why}" + (
                    f" ({list(mine.shape)}, {list(theirs.shape)})" if mine.shape != theirs.shape else ""
                )
        if off:
            np.savez(folder / f"ours-{run.stem.split('-')[1]}.npz", **off)
        if "reader" in source:
            row["reads"] = read(source["reader"], source.get("dictionary", ""), list(got.values()))
            if row["reads"] != source["reads"] and not why:
                why = f"it reads {row['reads']!r}, not {source['reads']!r}"
    return row | {"difference": worst, "verdict": "differs" if why else "match", "why": why}


def control_flow(counts: Counter[str] | dict[str, int]) -> bool:
    return any(name.split(".")[-1] in ("if", "while", "conditional_block", "select_input") for name in counts)


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:600]


def main() -> None:
    import oarlock
    from oarlock.ops.registry import load_builtin

    load_builtin()
    oarlock.compile, oarlock.Session  # noqa: B018  (imports what they need, once for all)
    show, folders = "--show" in sys.argv, [a for a in sys.argv[1:] if a != "--show"]

    def one(folder: str) -> dict[str, Any]:
        failed = {"verdict": "failed"}
        return answer_in_child(lambda: compare(Path(folder)), lambda e: failed | {"why": _one_line(e)}, LIMIT_S, show)

    serve(one, folders or sys.stdin)


if __name__ == "__main__":
    main()
