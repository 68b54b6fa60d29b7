"""The models of the CPU benchmark: where they come from, and the input each is timed on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from zoo.recipes import packaged_recipes

from ..footprint import installed

_VISION = {
    "MobileNetV3-S": "mobilenet_v3_small",
    "MobileNetV3-L": "mobilenet_v3_large",
    "ShuffleNetV2": "shufflenet_v2_x1_0",
    "ResNet50": "resnet50",
}
_PACKAGED = {
    "PP-OCRv4_mobile_det": (1, 3, 640, 640),
    "PP-OCRv4_mobile_rec": (1, 3, 48, 320),
    "ch_ppocr_mobile_v2.0_cls": (1, 3, 48, 192),
    "PP-OCRv5_mobile_det": (1, 3, 640, 640),
    "PP-OCRv5_mobile_rec": (1, 3, 48, 320),
}


@dataclass(frozen=True)
class Model:
    """``graph``: the .json or .pdmodel file, its parameters beside it; ``shape``: of its one input."""

    name: str
    graph: Path
    input: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def parameters(self) -> Path:
        return self.graph.with_suffix(".pdiparams")

    def data(self) -> np.ndarray:
        """Seeded input: what an image is after normalisation, or words."""
        rng = np.random.default_rng(0)
        if self.dtype == "int64":
            return rng.integers(1, 30000, self.shape)
        return rng.standard_normal(self.shape).astype(self.dtype)


def _makers() -> dict[str, Callable[[Path], Model]]:
    makers: dict[str, Callable[[Path], Model]] = {}
    recipes = {r.name: r for r in packaged_recipes()}
    for name, shape in _PACKAGED.items():
        makers[name] = lambda work, name=name, shape=shape: Model(name, _graph(recipes[name].export(work)), "x", shape, "float32")
    for name, function in _VISION.items():
        makers[name] = lambda work, name=name, function=function: _export(work, name, function, "x", (1, 3, 224, 224))
    makers["Encoder-6x384"] = lambda work: _export(work, "Encoder-6x384", "Encoder", "ids", (1, 128), "int64")
    return makers


def names() -> list[str]:
    return list(_makers())


def make(name: str, work: Path) -> Model:
    """The model, exported under ``work`` unless it is there or a package has it."""
    return _makers()[name](work)


def _graph(folder: Path) -> Path:
    return next(p for p in sorted(folder.iterdir()) if p.suffix in (".json", ".pdmodel") and p.with_suffix(".pdiparams").exists())


def _export(work: Path, name: str, network: str, input: str, shape: tuple[int, ...], dtype: str = "float32") -> Model:
    folder = work / name
    if not (folder / "inference.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        export([sys.executable, str(Path(__file__).with_name("export.py")), network, str(folder / "inference")], folder)
    return Model(name, folder / "inference.json", input, shape, dtype)


def onnx_of(model: Model, work: Path) -> Path | None:
    """The model as ONNX; see ``onnx_from``."""
    return onnx_from(model, work / model.name / "static.onnx")


def onnx_from(model: Model, out: Path) -> Path | None:
    """The model as ONNX with its input's shape fixed, by paddle2onnx; None where that is not installed or cannot."""
    if out.exists():
        return out
    if not installed("paddle2onnx"):
        return None
    out.parent.mkdir(parents=True, exist_ok=True)
    code = f"""
import onnx, paddle2onnx
from benchmarks.cpu.models import mended, narrow_scales
narrow_scales({str(out) + ".json"!r})
from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed
paddle2onnx.export({str(model.graph)!r}, {str(model.parameters)!r}, {str(out) + ".dynamic"!r}, opset_version=17)
m = onnx.load({str(out) + ".dynamic"!r})
make_input_shape_fixed(m.graph, m.graph.input[0].name, {list(model.shape)})
onnx.save(mended(m), {str(out)!r})
"""
    try:
        export([sys.executable, "-c", code], out.parent)
    except RuntimeError:
        return None
    return out


def narrow_scales(scratch: str) -> None:
    """paddle2onnx reads the scales of a resize as float32, Paddle 3 saves float64: have it read a copy (a file) that has the former."""
    from paddle2onnx import convert

    def narrowed(value: Any) -> Any:
        if isinstance(value, dict):
            if value.get("#") == "0.a_array":
                return value | {"D": [e | {"#": "0.a_f32"} if e["#"] == "0.a_f64" else e for e in value["D"]]}
            return {k: narrowed(v) for k, v in value.items()}
        return [narrowed(v) for v in value] if isinstance(value, list) else value

    def export(graph: str, *rest: Any) -> Any:
        Path(scratch).write_text(json.dumps(narrowed(json.loads(Path(graph).read_text()))))
        return original(scratch, *rest)

    original = convert.c_p2o.export
    convert.c_p2o.export = export


def mended(model: Any) -> Any:
    """paddle2onnx joins the 0-D sizes of a legacy reshape by Concat, which takes no scalars: make each of them 1-D."""
    import onnx

    graph = model.graph
    casts = {n.output[0] for n in graph.node if n.op_type == "Cast"}
    nodes = []
    for node in graph.node:
        if node.op_type == "Concat" and all(name in casts for name in node.input):
            graph.initializer.append(onnx.helper.make_tensor(f"{node.name}.flat", onnx.TensorProto.INT64, [1], [-1]))
            for i, name in enumerate(node.input):
                nodes.append(onnx.helper.make_node("Reshape", [name, f"{node.name}.flat"], [f"{name}.{node.name}.flat"]))
                node.input[i] = nodes[-1].output[0]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def export(command: list[str], folder: Path) -> None:
    """Run a Python process in ``folder``: the converter leaves files where it runs."""
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
