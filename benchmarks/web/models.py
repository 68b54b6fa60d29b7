"""The models of the web benchmark: where they come from, their input, and what Paddle gives for it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from zoo.recipes import packaged_recipes

from ..cpu.models import Model, export

_PACKAGED = {  # name → (recipe, shape)
    "PP-OCRv4 det": ("PP-OCRv4_mobile_det", (1, 3, 320, 320)),
    "PP-OCR cls": ("ch_ppocr_mobile_v2.0_cls", (1, 3, 48, 192)),
    "PP-OCRv4 rec": ("PP-OCRv4_mobile_rec", (1, 3, 48, 320)),
}
_MADE = {  # name → (network of export.py, shape, dtype)
    "MobileNetV3-small": ("MobileNetV3", (1, 3, 224, 224), "float32"),
    "BlazeFace": ("BlazeFace", (1, 3, 128, 128), "float32"),
    "encoder 4×256": ("Encoder", (1, 64), "int64"),
}
NAMES = (*_PACKAGED, *_MADE)
RANDOM_WEIGHTS = tuple(_MADE)


def folder_of(name: str, work: Path) -> Path:
    """The folder of a model's files under ``work``; made where it is not there."""
    folder = work / name.replace(" ", "-").replace("×", "x")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make(name: str, work: Path) -> Model:
    """The model, exported under ``work`` unless it is there or a package has it."""
    folder = folder_of(name, work)
    if name in _PACKAGED:
        recipe, shape = _PACKAGED[name]
        where = next(r for r in packaged_recipes() if r.name == recipe).export(work)
        graph = next(p for p in sorted(where.iterdir()) if p.suffix in (".json", ".pdmodel") and p.with_suffix(".pdiparams").exists())
        return Model(folder.name, graph, "x", shape, "float32")
    network, shape, dtype = _MADE[name]
    if not (folder / "inference.json").exists():
        export([sys.executable, str(Path(__file__).with_name("export.py")), network, str(folder / "inference")], folder)
    return Model(folder.name, folder / "inference.json", "x", shape, dtype)


def data_of(model: Model) -> np.ndarray:
    """Words, noise, or for PP-OCR a picture with text: on noise its outputs are all but 0, and their errors say nothing."""
    if model.dtype == "int64":
        return np.random.default_rng(0).integers(1, 8000, model.shape)
    if not model.name.startswith("PP-OCR"):
        return model.data()
    from PIL import Image, ImageDraw, ImageFont

    _, _, height, width = model.shape
    page = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(28)
    for n, text in enumerate(["Oarlock 2026", "lets a paddle", "drive any boat", "in 1.25 ms"] * (height // 160 + 1)):
        draw.text((8 + 7 * n % 20, 6 + 44 * n), text, (20, 20, 40 + 10 * n), font)
    return ((np.asarray(page, "float32") / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None].copy()


def expected_of(model: Model, folder: Path) -> list[Path]:
    """Files of what Paddle Inference gives for the input (``folder``/input.bin), each output's elements in row-major order."""
    facts = folder / "expected.json"
    if not facts.exists():
        code = f"""
import json, numpy as np, paddle.inference
from benchmarks.cpu.engines import paddle_call
config = paddle.inference.Config({str(model.graph)!r}, {str(model.parameters)!r})
config.disable_gpu(); config.disable_glog_info(); config.set_cpu_math_library_num_threads(1)
x = np.fromfile({str(folder / "input.bin")!r}, {model.dtype!r}).reshape({model.shape})
outputs = paddle_call(config, x)()
for i, output in enumerate(outputs):
    np.asarray(output).tofile(f{str(folder)!r} + f"/expected-{{i}}.bin")
json.dump([(str(o.dtype), list(o.shape)) for o in outputs], open({str(facts)!r}, "w"))
"""
        export([sys.executable, "-c", code], folder)
    return [folder / f"expected-{i}.bin" for i in range(len(json.loads(facts.read_text())))]
