"""``oarlock web profile``: a model in several engines in one tab, kernel by kernel, aligned."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import InputError, OarlockError
from ....model import Program, load_model
from ..site import build_site
from . import onnx_pieces, paddlejs
from .align import Row, rows_of, values_of
from .tab import Browser, run_job

OURS, ORT, PADDLEJS, PIECES = "oarlock", "onnxruntime-web", "paddle.js", "onnx pieces"
_CORE, _WEBGL = "@paddlejs/paddlejs-core/lib/index.js", "@paddlejs/paddlejs-backend-webgl/lib/index.js"


@dataclass
class Setting:
    """What a profile works with: the model, its files, and where the other engines are."""

    model: Path
    program: Program
    shapes: dict[str, tuple[int, ...]]
    inputs: dict[str, np.ndarray]
    work: Path
    peers: Path | None
    onnx: Path | None
    variant: str = "relaxed-simd"
    missing: dict[str, str] = field(default_factory=dict)  # engine → why it is left out
    expected: list[dict[str, str]] = field(default_factory=list)

    @property
    def folders(self) -> dict[str, Path]:
        return {"work": self.work} | ({"peers": self.peers} if self.peers else {})

    def job(self, engines: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        inputs = {
            name: {"dtype": str(x.dtype), "shape": list(x.shape), "file": f"work/input-{i}.bin"}
            for i, (name, x) in enumerate(self.inputs.items())
        }
        return {"inputs": inputs, "engines": list(engines), "rounds": 0, "block_ms": 60} | more


def typical(times: Sequence[float]) -> float:
    """The mean of the middle half: a clock that ticks every 5 µs hides short kernels from a median."""
    ordered = sorted(times)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def prepare(
    model: Path, shapes: Mapping[str, Sequence[int]], inputs: Mapping[str, np.ndarray], work: Path, peers: Path | None, onnx: Path | None,
    variant: str, tell: Callable[[str], None],
) -> Setting:  # fmt: skip
    """Read and build the model; engines that cannot take part are ``missing``, with the reason."""
    program = load_model(model)
    setting = Setting(model, program, {n: tuple(s) for n, s in shapes.items()}, dict(inputs), work, peers, onnx, variant)
    for i, x in enumerate(inputs.values()):
        np.ascontiguousarray(x).tofile(work / f"input-{i}.bin")
    tell("compiling")
    build_site(model, work / "site", shapes=setting.shapes, variants=[variant], describe=True)
    if peers is None or not (peers / "onnxruntime-web").is_dir():
        setting.missing[ORT] = "not installed: npm install onnxruntime-web, and name its node_modules by --peers"
    elif importlib.util.find_spec("onnx") is None:
        setting.missing[ORT] = "ONNX files are taken apart by the package onnx: pip install onnx"
    elif onnx is None:
        tell("converting to ONNX")
        setting.onnx = _converted(setting)
    if peers is None or not (peers / _WEBGL).is_file() or not (peers / _CORE).is_file():
        setting.missing[PADDLEJS] = "not installed: npm install @paddlejs/paddlejs-core @paddlejs/paddlejs-backend-webgl"
    return setting


def _converted(setting: Setting) -> Path | None:
    """The model as ONNX by paddle2onnx, its sizes fixed; None (and why) where that is not installed or cannot."""
    if importlib.util.find_spec("paddle2onnx") is None:
        setting.missing[ORT] = "there is no ONNX file: give --onnx, or pip install paddle2onnx onnx onnxruntime"
        return None
    graph, out = setting.model.resolve(), setting.work.resolve() / "model.onnx"  # the converter runs elsewhere
    if graph.is_dir():
        graph = next((p for p in sorted(graph.iterdir()) if p.suffix in (".json", ".pdmodel")), graph)
    shapes = {name: list(shape) for name, shape in setting.shapes.items()}
    code = f"""
import onnx, paddle2onnx
from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed
paddle2onnx.export({str(graph)!r}, {str(graph.with_suffix(".pdiparams"))!r}, {str(out)!r}, opset_version=17)
m = onnx.load({str(out)!r})
for name, shape in {shapes!r}.items(): make_input_shape_fixed(m.graph, name, shape)
onnx.save(m, {str(out)!r})
"""
    with tempfile.TemporaryDirectory() as scratch:  # the converter leaves files where it runs
        done = subprocess.run([sys.executable, "-c", code], cwd=scratch, capture_output=True, text=True, env=dict(os.environ), check=False)
    if done.returncode or not out.exists():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        setting.missing[ORT] = f"paddle2onnx cannot convert the model: {lines[-1][:200] if lines else 'it does not say why'}"
        return None
    return out


def engines_of(setting: Setting) -> list[dict[str, Any]]:
    """The engines that run the whole model; a Paddle.js that lacks operators is missing, with their list."""
    engines: list[dict[str, Any]] = [{"name": OURS, "engine": "oarlock", "site": "work/site/", "variant": setting.variant}]
    if ORT not in setting.missing and setting.onnx:
        link = setting.work / "whole.onnx"
        link.write_bytes(setting.onnx.read_bytes())
        engines.append({"name": ORT, "engine": "onnxruntime", "onnx": "work/whole.onnx", "dist": "peers/onnxruntime-web/dist/"})
    if PADDLEJS not in setting.missing:
        try:
            outputs = paddlejs.write(setting.program, setting.shapes, setting.work / "paddlejs")
        except OarlockError as error:
            setting.missing[PADDLEJS] = str(error)
        else:
            spec = {"name": PADDLEJS, "engine": "paddlejs", "where": "page", "model": "work/paddlejs/", "core": f"peers/{_CORE}"}
            engines.append(spec | {"webgl": f"peers/{_WEBGL}", "outputs": [{"name": n, "shape": list(s)} for n, s in outputs]})
    return engines


@dataclass
class Aligned:
    """Rows, the tensors of ONNX with their types, and the pieces that end in the rows' tensors (row → piece)."""

    rows: list[Row]
    steps: list[dict[str, Any]]
    types: dict[str, tuple[str, tuple[int, ...]]]
    pieces: dict[int, onnx_pieces.Piece]


def align(setting: Setting, browser: Browser | None, announce: Callable[[str], None] | None, tell: Callable[[str], None]) -> Aligned:
    """Run each engine once, and find out which parts of it make the same tensors."""
    engines: list[dict[str, Any]] = [{"name": OURS, "engine": "oarlock", "site": "work/site/", "variant": setting.variant}]
    graph = None
    if ORT not in setting.missing and setting.onnx:
        graph = onnx_pieces.Graph(setting.onnx)
        graph.traced(setting.work / "traced.onnx")
        engines.append({"name": ORT, "engine": "onnxruntime", "onnx": "work/traced.onnx", "dist": "peers/onnxruntime-web/dist/"})
    job = setting.job(engines, trace=[OURS, ORT])
    found = run_job(job, setting.folders, browser=browser, announce=announce, progress=tell)
    if OURS not in found["engines"]:
        raise OarlockError(f"the browser cannot run the model: {found['failed'].get(OURS, '')}")
    if ORT in found["failed"]:
        setting.missing[ORT], graph = found["failed"][ORT], None
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
    return Aligned(rows, steps, types, pieces)


def piece_engine(setting: Setting, pieces: Sequence[onnx_pieces.Piece]) -> dict[str, Any]:
    listed = [{"file": p.file, "inputs": p.inputs, "outputs": p.outputs, "operators": p.operators} for p in pieces]
    names = onnx_pieces.Graph(setting.onnx).inputs if setting.onnx else []
    spec = {"name": PIECES, "engine": "onnx pieces", "folder": "work/pieces/", "pieces": listed, "inputs": names}
    return spec | {"dist": "peers/onnxruntime-web/dist/"}


def profile(
    setting: Setting, *, browser: Browser | None, announce: Callable[[str], None] | None = None, rounds: int = 12, runs: int = 12,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Any], Aligned]:  # fmt: skip
    """Each engine's time of the model and of each row, as JSON; and the rows."""
    aligned = align(setting, browser, announce, tell)
    engines = engines_of(setting)
    if aligned.pieces:
        engines.append(piece_engine(setting, list(aligned.pieces.values())))
    job = setting.job(engines, rounds=rounds, steps=runs, least_calls=1, warm_ms=1500)
    found = run_job(job, setting.folders, browser=browser, announce=announce, progress=tell)
    for name, why in found["failed"].items():
        setting.missing.setdefault(ORT if name == PIECES else name, why)
    return _report(setting, aligned, found), aligned


def _report(setting: Setting, aligned: Aligned, found: Mapping[str, Any]) -> dict[str, Any]:
    engines = found["engines"]
    ours = [typical(step["times"]) for step in engines[OURS]["steps"]]
    rows: list[dict[str, Any]] = []
    for row in aligned.rows:
        kernels = [
            {"name": step["name"], "ms": ours[n]} | {k: step[k] for k in ("workload", "candidate", "schedule") if step.get(k)}
            for n, step in ((n, engines[OURS]["steps"][n]) for n in row.steps)
        ]
        entry = {"operators": [op.short_name for op in row.operators], "value": row.value, "tensor": row.tensor, "kernels": kernels}
        rows.append(entry | {"ms": {OURS: sum(ours[n] for n in row.steps)}, "shape": row.result["shape"]})
    crossing = engines.get(PIECES, {}).get("facts", {}).get("crossing")
    for n, step in zip(aligned.pieces, engines.get(PIECES, {}).get("steps", []), strict=False):
        took = typical(step["times"])
        copies = crossing["call_ms"] + crossing["ms_per_mb"] * step["bytes"] / 1e6
        rows[n]["ms"][ORT] = max(0.0, took - copies)
        rows[n]["piece"] = {"ms": took, "bytes": step["bytes"], "operators": list(step["operators"]), "file": step["file"]}
    _assign_paddlejs(aligned.rows, rows, engines.get(PADDLEJS, {}).get("steps", []))
    whole = {}
    for name in (OURS, ORT, PADDLEJS):
        if name in engines:
            times: list[float] = sum(engines[name]["rounds"], [])
            facts = engines[name]["facts"]
            differs = engines[name].get("difference_to_first")
            whole[name] = {
                "median_ms": statistics.median(times),
                "p10_ms": float(np.quantile(times, 0.1)),
                "facts": facts,
                "differs": differs,
            }
            whole[name]["kernels_ms"] = sum(row["ms"].get(name, 0.0) for row in rows)
    return {
        "format": "oarlock web profile", "version": 1, "model": "/".join(setting.model.parts[-2:]), "browser": found["browser"],
        "cores": found["cores"], "shapes": {n: list(s) for n, s in setting.shapes.items()},
        "engines": whole, "missing": setting.missing, "crossing": crossing, "rows": rows,
    }  # fmt: skip


def _assign_paddlejs(rows: Sequence[Row], entries: list[dict[str, Any]], steps: Sequence[Mapping[str, Any]]) -> None:
    """Put each operation of Paddle.js into the first row that has an operator which it stands for."""
    row_of = {result.name: n for n, row in enumerate(rows) for op in row.operators for result in op.results}
    last = 0
    for step in steps:
        places = [row_of[name] for name in step["sources"] if name in row_of]
        last = min(places) if places else last
        entry = entries[last]
        entry["ms"][PADDLEJS] = entry["ms"].get(PADDLEJS, 0.0) + typical(step["times"])
        entry.setdefault("paddlejs", []).append(step["name"])


def must_be_static(program: Program, shapes: Mapping[str, Sequence[int | str | None]]) -> dict[str, tuple[int, ...]]:
    """All inputs' shapes; InputError where one is not known."""
    out: dict[str, tuple[int, ...]] = {}
    for value in program.inputs:
        dims = tuple(shapes.get(value.name, getattr(value.type, "shape", ())))
        if not all(isinstance(d, int) and d > 0 for d in dims):
            raise InputError(f"the sizes of input {value.name} are not known", todo=f"give --shape {value.name}=…")
        out[value.name] = tuple(int(d) for d in dims if d is not None)
    return out
