"""Quantised models for the CPU benchmark: Paddle's own for Oarlock, and for the other engines the same network quantised by ONNX Runtime.

paddle2onnx 2.1 aborts on Paddle's quantised programs, and OpenVINO reads none of PIR, so these engines get what their users would
make: ONNX with QuantizeLinear and DequantizeLinear around the same layers, 8 bits, symmetric, weights by channel.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .models import Model, export, onnx_from

SUFFIX = "-int8"
_NETWORKS = {"ResNet50": "resnet50", "MobileNetV3-L": "mobilenet_v3_large", "Encoder-6x384": "Encoder"}


def names() -> list[str]:
    return [name + SUFFIX for name in _NETWORKS]


def make(name: str, work: Path) -> tuple[Model, Model]:
    """(quantised, floats) of a model, exported under ``work`` unless they are there."""
    network = _NETWORKS[name.removesuffix(SUFFIX)]
    folder = work / name
    if not (folder / "inference.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        export([sys.executable, str(Path(__file__).with_name("export_int8.py")), network, str(folder)], folder)
    facts = ("ids", (1, 128), "int64") if network == "Encoder" else ("x", (1, 3, 224, 224), "float32")
    return Model(name, folder / "inference.json", *facts), Model(name, folder / "float.json", *facts)


def onnx_of(floats: Model, work: Path) -> Path | None:
    """The network quantised by ONNX Runtime; None where paddle2onnx is not installed or cannot convert it."""
    out = work / floats.name / "quantised.onnx"
    if out.exists():
        return out
    source = onnx_from(floats, out.with_name("float.onnx"))
    if source is None:
        return None
    code = f"""
import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

class Inputs(CalibrationDataReader):
    def __init__(self):
        rngs = [np.random.default_rng(i) for i in range(1, 5)]
        shape, text = {floats.shape}, {floats.dtype == "int64"}
        self.rest = iter([r.integers(1, 30000, shape) if text else r.standard_normal(shape).astype("float32") for r in rngs])
    def get_next(self):
        return next(({{{floats.input!r}: x}} for x in self.rest), None)

quant_pre_process({str(source)!r}, {str(source) + ".ready"!r})
quantize_static({str(source) + ".ready"!r}, {str(out)!r}, Inputs(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8,
    weight_type=QuantType.QInt8, op_types_to_quantize=["Conv", "Gemm", "MatMul"], per_channel=True,
    extra_options={{"ActivationSymmetric": True, "WeightSymmetric": True, "MatMulConstBOnly": True}})
"""
    try:
        export([sys.executable, "-c", code], out.parent)
    except RuntimeError as error:
        print(f"{floats.name}: ONNX Runtime cannot quantise it: {str(error).strip().splitlines()[-1]}", flush=True)
        return None
    return out
