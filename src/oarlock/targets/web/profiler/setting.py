"""What a profile works with: the model, its files in a working folder, and which engines are there."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ....checking.compare import run_paddle
from ....errors import InputError, InternalError, TargetError, UnsupportedError
from ....model import Program
from ....web_variants import GPU, ORT, ORT_GPU, OURS, PADDLEJS, WEBGPU
from ..site import build_site

SCRIPTS = {"core": "@paddlejs/paddlejs-core/lib/index.js", "webgl": "@paddlejs/paddlejs-backend-webgl/lib/index.js"}


@dataclass
class Setting:
    """A model, its files, and where the other engines are.

    ``missing``: engine → why it is left out.  ``expected``: files of what Paddle gives for the inputs; none where it is not installed.
    """

    model: Path
    program: Program
    shapes: dict[str, tuple[int, ...]]
    inputs: dict[str, np.ndarray]
    work: Path
    peers: Path | None
    onnx: Path | None
    variant: str = "relaxed-simd"
    missing: dict[str, str] = field(default_factory=dict)
    expected: list[dict[str, str]] = field(default_factory=list)

    @property
    def folders(self) -> dict[str, Path]:
        return {"work": self.work} | ({"peers": self.peers} if self.peers else {})

    @property
    def reference(self) -> str:
        """What ``differs`` is the distance to."""
        return "Paddle" if self.expected else f"{OURS}'s {self.variant}"

    def job(self, engines: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        inputs = {
            name: {"dtype": str(x.dtype), "shape": list(x.shape), "file": f"work/input-{i}.bin"}
            for i, (name, x) in enumerate(self.inputs.items())
        }
        job: dict[str, Any] = {"inputs": inputs, "engines": list(engines), "rounds": 0, "block_ms": 60}
        return job | ({"expected": self.expected} if self.expected else {}) | more

    def differs(self, engine: Mapping[str, Any]) -> float | None:
        """How far an engine's outputs were from the reference, by their scale; None for the reference itself."""
        found = engine.get("difference" if self.expected else "difference_to_first")
        return None if found is None else float(found)


def prepare(
    model: Path, program: Program, shapes: Mapping[str, Sequence[int]], inputs: Mapping[str, np.ndarray], work: Path,
    peers: Path | None, onnx: Path | None, variant: str, tell: Callable[[str], None], without: Sequence[str] = (),
) -> Setting:  # fmt: skip
    """Build the model; engines that cannot take part, or are to be left out (``without``), are ``missing``, with the reason."""
    setting = Setting(model, program, {n: tuple(s) for n, s in shapes.items()}, dict(inputs), work, peers, onnx, variant)
    setting.missing = {name: "it was not asked for (--without)" for name in without}
    for i, x in enumerate(inputs.values()):
        np.ascontiguousarray(x).tofile(work / f"input-{i}.bin")
    _expect(setting, tell)
    tell("compiling")
    variants = [variant] if GPU in setting.missing else [variant, WEBGPU]
    try:
        build_site(program, work / "site", shapes=setting.shapes, variants=variants, describe=True)
    except (UnsupportedError, InternalError) as reason:  # of the GPU's variant, or else the next build says it again
        setting.missing[GPU] = str(reason)
        build_site(program, work / "site", shapes=setting.shapes, variants=[variant], describe=True)
    if why := _no_onnx(setting, tell):
        setting.missing = {ORT: why, ORT_GPU: why} | setting.missing
    if peers is None or not all((peers / script).is_file() for script in SCRIPTS.values()):
        setting.missing.setdefault(PADDLEJS, "not installed: npm install @paddlejs/paddlejs-core @paddlejs/paddlejs-backend-webgl")
    return setting


def _expect(setting: Setting, tell: Callable[[str], None]) -> None:
    """Write what Paddle gives, where it is installed and runs the model."""
    if importlib.util.find_spec("paddle") is None:
        return
    tell("running Paddle")
    source = setting.program.source
    try:
        outputs = run_paddle(source["path"], source["params"], setting.inputs)
    except (TargetError, InputError):
        return
    for i, output in enumerate(outputs):
        np.ascontiguousarray(output).tofile(setting.work / f"expected-{i}.bin")
        setting.expected.append({"dtype": str(output.dtype), "file": f"work/expected-{i}.bin"})


def _no_onnx(setting: Setting, tell: Callable[[str], None]) -> str:
    """Why onnxruntime-web cannot take part; nothing where it can, with the model as ONNX then."""
    if {ORT, ORT_GPU} <= set(setting.missing):
        return ""
    if setting.peers is None or not (setting.peers / "onnxruntime-web").is_dir():
        return "not installed: npm install onnxruntime-web, and name its node_modules by --peers"
    if importlib.util.find_spec("onnx") is None:
        return "ONNX files are taken apart by the package onnx: pip install onnx"
    if setting.onnx is not None:
        return ""
    tell("converting to ONNX")
    return _convert(setting)


def _convert(setting: Setting) -> str:
    """Make the model as ONNX by paddle2onnx, its sizes fixed; why that is not installed or cannot, or nothing."""
    if importlib.util.find_spec("paddle2onnx") is None:
        return "there is no ONNX file: give --onnx, or pip install paddle2onnx onnx onnxruntime"
    source, out = setting.program.source, setting.work.resolve() / "model.onnx"
    graph, weights = (str(Path(source[name]).resolve()) for name in ("path", "params"))  # the converter runs elsewhere
    shapes = {name: list(shape) for name, shape in setting.shapes.items()}
    code = f"""
import onnx, paddle2onnx
from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed
paddle2onnx.export({graph!r}, {weights!r}, {str(out)!r}, opset_version=17)
m = onnx.load({str(out)!r})
for name, shape in {shapes!r}.items(): make_input_shape_fixed(m.graph, name, shape)
onnx.save(m, {str(out)!r})
"""
    with tempfile.TemporaryDirectory() as scratch:  # the converter leaves files where it runs
        done = subprocess.run([sys.executable, "-c", code], cwd=scratch, capture_output=True, text=True, env=dict(os.environ), check=False)
    if done.returncode or not out.exists():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        return f"paddle2onnx cannot convert the model: {lines[-1][:200] if lines else 'it does not say why'}"
    setting.onnx = out
    return ""


def must_be_static(program: Program, shapes: Mapping[str, Sequence[int | str | None]]) -> dict[str, tuple[int, ...]]:
    """All inputs' shapes; InputError where one is not known."""
    out: dict[str, tuple[int, ...]] = {}
    for value in program.inputs:
        dims = tuple(shapes.get(value.name, getattr(value.type, "shape", ())))
        if not all(isinstance(d, int) and d > 0 for d in dims):
            raise InputError(f"the sizes of input {value.name} are not known", todo=f"give --shape {value.name}=…")
        out[value.name] = tuple(int(d) for d in dims if d is not None)
    return out
