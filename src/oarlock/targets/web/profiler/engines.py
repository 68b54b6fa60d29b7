"""The engines of a profile: their entries in a job (tab.py), and how their steps' times go to rows.

An engine more is one more in ENGINES, and its function in page/engines.js.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....errors import OarlockError
from ....web_variants import ENGINES as NAMES
from . import onnx_pieces, paddlejs
from .align import GpuEnds
from .setting import GPU, ORT, ORT_GPU, OURS, PADDLEJS, SCRIPTS, Setting

if TYPE_CHECKING:
    from .profile import Aligned

DIST = {"dist": "peers/onnxruntime-web/dist/"}
ORT_WEBGPU = {**DIST, "script": "ort.webgpu.min.mjs", "providers": ["webgpu"]}
PADDLEJS_ENTRY = {name: f"peers/{path}" for name, path in SCRIPTS.items()}
Found = Mapping[str, Any]  # what the page says of an engine
Cells = list[dict[str, Any]]  # of each row of the report


@dataclass(frozen=True)
class Engine:
    """One engine.

    ``whole``: the entry that runs the whole model, None where it cannot (and the reason is in ``missing``).
    ``steps``: the name of the entry whose steps have times, itself or one in pieces, and ``assign``: puts them into rows.
    """

    name: str
    whole: Callable[[Setting], dict[str, Any] | None]
    assign: Callable[[Aligned, Cells, Found, str], None]
    pieces: Mapping[str, Any] | None = None

    @property
    def steps(self) -> str:
        return f"{self.name} in pieces" if self.pieces else self.name


def typical(times: Sequence[float]) -> float:
    """The mean of the middle half: a clock that ticks every 5 µs hides short kernels from a median."""
    ordered = sorted(times)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def _ours(setting: Setting) -> dict[str, Any]:
    return {"engine": "oarlock", "site": "work/site/", "variant": setting.variant}


def _gpu(setting: Setting) -> dict[str, Any] | None:
    return None if GPU in setting.missing else {"engine": "webgpu", "site": "work/site/"}


def _onnx(name: str, entry: Mapping[str, Any]) -> Callable[[Setting], dict[str, Any] | None]:
    def whole(setting: Setting) -> dict[str, Any] | None:
        if name in setting.missing or not setting.onnx:
            return None
        (setting.work / "whole.onnx").write_bytes(setting.onnx.read_bytes())
        return {"engine": "onnxruntime", "onnx": "work/whole.onnx", **entry}

    return whole


def _paddlejs(setting: Setting) -> dict[str, Any] | None:
    if PADDLEJS in setting.missing:
        return None
    try:
        outputs = paddlejs.write(setting.program, setting.shapes, setting.work / "paddlejs")
    except OarlockError as error:  # its list of operators
        setting.missing[PADDLEJS] = str(error)
        return None
    identity = []
    for name, shape in (("small", (1, 1, 1, 1)), ("large", (1, 4, 128, 128))):
        paddlejs.identity(shape, setting.work / f"paddlejs-{name}")
        identity.append(f"work/paddlejs-{name}/")
    spec = {"engine": "paddlejs", "where": "page", "model": "work/paddlejs/", "identity": identity, **PADDLEJS_ENTRY}
    return spec | {"outputs": [{"name": n, "shape": list(s)} for n, s in outputs]}


def _assign_ours(aligned: Aligned, cells: Cells, found: Found, name: str) -> None:
    for row, cell in zip(aligned.rows, cells, strict=True):
        steps = [found["steps"][n] for n in row.steps]
        facts = ("workload", "candidate", "schedule")
        cell["kernels"] = [
            {"name": step["name"], "ms": typical(step["times"])} | {k: step[k] for k in facts if step.get(k)} for step in steps
        ]
        cell["ms"][name] = sum(kernel["ms"] for kernel in cell["kernels"])


def _assign_gpu(aligned: Aligned, cells: Cells, found: Found, name: str) -> None:
    """Each kernel of the GPU goes to the first row that ends with it or after it, in the order of the GPU's plan."""
    ends: GpuEnds = aligned.gpu_ends
    order = sorted((step, n) for n, (step, _) in ends.items())
    for number, step in enumerate(found["steps"]):
        n = next((n for end, n in order if end >= number), order[-1][1] if order else len(cells) - 1)
        cells[n]["ms"][name] = cells[n]["ms"].get(name, 0.0) + gpu_ms(step["times"])
        cells[n].setdefault("gpu_kernels", []).append(step["name"])


def gpu_ms(times: Sequence[float]) -> float:
    """The mean: browsers round the GPU's clock to 0.1 ms, so that single runs say next to nothing of a short kernel."""
    return statistics.fmean(times)


def _assign_pieces(aligned: Aligned, cells: Cells, found: Found, name: str) -> None:
    crossing = found["facts"]["crossing"]
    for n, step in zip(aligned.pieces, found["steps"], strict=True):
        took = typical(step["times"])
        copies = crossing["call_ms"] + crossing["ms_per_mb"] * step["bytes"] / 1e6
        cells[n]["ms"][name] = max(0.0, took - copies)
        told = {"ms": took, "bytes": step["bytes"], "operators": list(step["operators"]), "file": step["file"]}
        cells[n].setdefault("pieces", {})[name] = told


def _assign_paddlejs(aligned: Aligned, cells: Cells, found: Found, name: str) -> None:
    """Put each operation of Paddle.js into the first row that has an operator which it stands for."""
    row_of = {result.name: n for n, row in enumerate(aligned.rows) for op in row.operators for result in op.results}
    last = 0
    for step in found["steps"]:
        places = [row_of[value] for value in step["sources"] if value in row_of]
        last = min(places) if places else last
        cells[last]["ms"][name] = cells[last]["ms"].get(name, 0.0) + typical(step["times"])
        cells[last].setdefault("paddlejs", []).append(step["name"])


ENGINES = (
    Engine(OURS, _ours, _assign_ours),
    Engine(GPU, _gpu, _assign_gpu),
    Engine(ORT, _onnx(ORT, DIST), _assign_pieces, DIST),
    Engine(ORT_GPU, _onnx(ORT_GPU, ORT_WEBGPU), _assign_pieces, ORT_WEBGPU),
    Engine(PADDLEJS, _paddlejs, _assign_paddlejs),
)


def entries(setting: Setting, names: Sequence[str] = NAMES) -> list[dict[str, Any]]:
    """Of the engines that run the whole model; a Paddle.js that lacks operators is missing, with their list."""
    found = ((engine.name, engine.whole(setting)) for engine in ENGINES if engine.name in names)
    return [{"name": name, **entry} for name, entry in found if entry]


def in_pieces(engine: Engine, pieces: Sequence[onnx_pieces.Piece], inputs: Sequence[str]) -> dict[str, Any]:
    """The entry of an engine of ONNX that runs the model piece by piece."""
    listed = [{"file": p.file, "inputs": p.inputs, "outputs": p.outputs, "operators": p.operators} for p in pieces]
    spec = {"name": engine.steps, "engine": "onnx pieces", "folder": "work/pieces/", "pieces": listed, "inputs": list(inputs)}
    return spec | dict(engine.pieces or {})


def software(facts: Mapping[str, Any]) -> str:
    """The name of a GPU that is a program on the CPU; nothing where an engine's is a real one, or it uses none."""
    name = str(facts.get("gpu", ""))
    return next((known for known in ("SwiftShader", "llvmpipe", "Basic Render") if known.lower() in name.lower()), "")
