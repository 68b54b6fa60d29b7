"""``oarlock web profile``: a model in several engines in one tab, kernel by kernel, aligned."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....errors import OarlockError
from . import onnx_pieces
from .align import GpuEnds, Row, Summary, ends_of, rows_of, values_of
from .engines import DIST, ENGINES, entries, in_pieces, software
from .setting import GPU, ORT, ORT_GPU, OURS, Setting
from .tab import Browser, run_job


@dataclass
class Aligned:
    """Rows, and what each engine makes of them.

    ``inputs``: dtypes and shapes of the model's.  ``steps``, ``gpu_steps``: our plans as traced; ``gpu_ends``: row → (step, result) of the
    GPU's, ``gpu_times``: milliseconds of each of its steps in each run.  ``values``: Paddle's tensors.
    ``types``: of ONNX's tensors; ``pieces``: those that end in the rows' tensors (row → piece).
    """

    rows: list[Row]
    inputs: list[tuple[str, tuple[int, ...]]]
    steps: list[dict[str, Any]]
    types: dict[str, tuple[str, tuple[int, ...]]]
    pieces: dict[int, onnx_pieces.Piece]
    values: Mapping[str, Summary] = field(default_factory=dict)
    gpu_steps: list[dict[str, Any]] = field(default_factory=list)
    gpu_ends: GpuEnds = field(default_factory=dict)
    gpu_times: list[list[float]] = field(default_factory=list)
    graph: onnx_pieces.Graph | None = None


def align(setting: Setting, browser: Browser | None, announce: Callable[[str], None] | None, tell: Callable[[str], None]) -> Aligned:
    """Run each engine once, and find out which parts of it make the same tensors."""
    engines = entries(setting, (OURS, GPU))
    graph = None
    if setting.onnx and not {ORT, ORT_GPU} <= set(setting.missing):
        graph = onnx_pieces.Graph(setting.onnx)
        graph.traced(setting.work / "traced.onnx")
        engines.append({"name": ORT, "engine": "onnxruntime", "onnx": "work/traced.onnx", **DIST})
    job = setting.job(engines, trace=[OURS, GPU, ORT])
    found = run_job(job, setting.folders, browser=browser, announce=announce, progress=tell)
    if OURS not in found["engines"]:
        raise OarlockError(f"the browser cannot run the model: {found['failed'].get(OURS, '')}")
    if GPU in found["failed"]:
        setting.missing[GPU] = found["failed"][GPU]
    if ORT in found["failed"]:
        setting.missing |= dict.fromkeys((ORT, ORT_GPU), found["failed"][ORT])
        graph = None
    tensors = {t["name"]: t["results"][0] for t in found["engines"].get(ORT, {}).get("trace", [])}
    tell("naming kernels")
    values = values_of(setting.program, setting.shapes, setting.inputs)
    steps = found["engines"][OURS]["trace"]
    rows = rows_of(steps, values, tensors, setting.program)
    types = {name: (t["dtype"], tuple(t["shape"])) for name, t in tensors.items()}
    pieces: dict[int, onnx_pieces.Piece] = {}
    if graph:
        types |= dict(zip(graph.inputs, [(str(x.dtype), x.shape) for x in setting.inputs.values()], strict=True))
        (setting.work / "pieces").mkdir(exist_ok=True)
        onnx_pieces.identity(setting.work / "pieces/identity.onnx")
        known: set[str] = set()
        for n, row in enumerate(rows):
            if row.tensor:
                pieces[n] = graph.piece([row.tensor], known, types, setting.work / f"pieces/{n}.onnx")
                known.add(row.tensor)
    gpu_steps = found["engines"].get(GPU, {}).get("trace", [])
    inputs = [(str(x.dtype), x.shape) for x in setting.inputs.values()]
    return Aligned(rows, inputs, steps, types, pieces, values, gpu_steps, ends_of(rows, gpu_steps), graph=graph)


def profile(
    setting: Setting, *, browser: Browser | None, announce: Callable[[str], None] | None = None, rounds: int = 12, runs: int = 12,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Any], Aligned]:  # fmt: skip
    """Each engine's time of the model and of each row, as JSON; and the rows."""
    aligned = align(setting, browser, announce, tell)
    listed = entries(setting)
    there = {entry["name"] for entry in listed}
    if aligned.pieces and aligned.graph:
        pieces = list(aligned.pieces.values())
        listed += [in_pieces(engine, pieces, aligned.graph.inputs) for engine in ENGINES if engine.pieces and engine.name in there]
    job = setting.job(listed, rounds=rounds, steps=runs, least_calls=1, warm_ms=min(1500, 125 * rounds))
    found = run_job(job, setting.folders, browser=browser, announce=announce, progress=tell)
    for name, why in found["failed"].items():
        owner = next(engine.name for engine in ENGINES if name in (engine.name, engine.steps))
        setting.missing.setdefault(owner, why)
    aligned.gpu_times = [step["times"] for step in found["engines"].get(GPU, {}).get("steps", [])]
    return report(setting, aligned, found), aligned


def report(setting: Setting, aligned: Aligned, found: Mapping[str, Any]) -> dict[str, Any]:
    """What the page sent, by engines and rows."""
    rows: list[dict[str, Any]] = [
        {
            "operators": [op.short_name for op in row.operators], "value": row.value, "tensor": row.tensor, "kernels": [], "ms": {},
            "shape": row.result["shape"],
        }
        for row in aligned.rows
    ]  # fmt: skip
    engines, whole = found["engines"], {}
    for engine in ENGINES:
        if engine.name not in engines:
            continue
        if steps := engines.get(engine.steps, {}).get("steps"):
            engine.assign(aligned, rows, engines[engine.steps], engine.name)
        times: list[float] = sum(engines[engine.name]["rounds"], [])
        facts = engines[engine.name]["facts"] | {
            k: v for k, v in engines.get(engine.steps, {}).get("facts", {}).items() if k == "crossing" and steps
        }
        whole[engine.name] = {
            "median_ms": statistics.median(times), "p10_ms": float(np.quantile(times, 0.1)), "facts": facts,
            "software": software(facts), "differs": setting.differs(engines[engine.name]),
            "kernels_ms": sum(row["ms"].get(engine.name, 0.0) for row in rows),
        }  # fmt: skip
    return {
        "format": "oarlock web profile", "version": 2, "model": "/".join(setting.model.parts[-2:]), "browser": found["browser"],
        "cores": found["cores"], "shapes": {n: list(s) for n, s in setting.shapes.items()}, "reference": setting.reference,
        "engines": whole, "missing": setting.missing, "rows": rows,
    }  # fmt: skip
