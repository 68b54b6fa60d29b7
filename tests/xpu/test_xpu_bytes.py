"""What calls of the library are said to move, in manifests and profiles, against the emulator's counters, to the byte."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock

Shape = tuple[int, ...]
F4, I8, BOOL = "float32", "int64", "bool"


def case(api: str, inputs: dict[str, Any], result: Shape, dtype: str = F4, **attributes: Any) -> Any:
    """A call: role → dims, or (dims, element type, largest value + 1 of integers)."""
    known = {role: shape if shape and isinstance(shape[0], tuple) else (shape, F4, 0) for role, shape in inputs.items()}
    return api, known, result, dtype, attributes


WINDOW = {"ksize": (3, 2), "strides": (2, 1), "paddings": (1, 1, 1, 0)}
CALLS = {
    "softmax": case("softmax", {"x": (5, 700)}, (5, 700), axis=-1),
    "softmax of long rows": case("softmax", {"x": (5, 1700)}, (5, 1700), axis=-1),
    "softmax of columns": case("softmax", {"x": (3, 9, 300)}, (3, 9, 300), axis=1),
    "mean of two runs of dims": case("reduce_mean", {"x": (3, 20, 9, 130)}, (20,), axes=(0, 2, 3)),
    "sum of three runs of dims": case("reduce_sum", {"x": (2, 3, 4, 5, 6)}, (3, 5), axes=(0, 2, 4)),
    "layer_norm": case("layer_norm", {"x": (70, 40), "scale": (40,), "bias": (40,)}, (70, 40), dims=1),
    "add_layer_norm of long rows": case("add_layer_norm", {"x": (7, 2000), "other": (7, 2000), "scale": (2000,)}, (7, 2000), dims=1),
    "rms_layer_norm of long rows": case("rms_layer_norm", {"x": (7, 2000), "scale": (2000,)}, (7, 2000), dims=1),
    "group_norm": case("group_norm", {"x": (2, 8, 30, 31), "scale": (8,), "bias": (8,)}, (2, 8, 30, 31), groups=2),
    "group_norm of large groups": case("group_norm", {"x": (1, 3, 200, 210), "scale": (3,), "bias": (3,)}, (1, 3, 200, 210), groups=1),
    "instance_norm": case("instance_norm", {"x": (2, 5, 64, 16), "bias": (5,)}, (2, 5, 64, 16)),
    "batch_norm_infer": case("batch_norm_infer", {"x": (2, 5, 60, 50), "scale": (5,), "bias": (5,)}, (2, 5, 60, 50)),
    "broadcast of a channel's number": case("broadcast_mul", {"x": (2, 9, 20, 50), "y": (9, 1, 1)}, (2, 9, 20, 50)),
    "broadcast of a row": case("broadcast_add", {"x": (2, 7, 900), "y": (900,)}, (2, 7, 900)),
    "broadcast of both": case("broadcast_sub", {"x": (4, 1, 6), "y": (5, 1)}, (4, 5, 6)),
    "select": case("select", {"condition": ((3, 1, 500), BOOL, 2), "x": (3, 4, 500), "y": ()}, (3, 4, 500)),
    "max_pool2d": case("max_pool2d", {"x": (2, 3, 15, 13)}, (2, 3, 8, 13), **WINDOW),
    "avg_pool2d of wide rows": case("avg_pool2d", {"x": (1, 2, 4, 1500)}, (1, 2, 2, 1500), count_include_pad=1, **WINDOW),
    "bilinear": case("interpolate2d", {"x": (1, 70, 11, 13)}, (1, 70, 30, 26), nearest=0, trans_mode=1),
    "bilinear, smaller": case("interpolate2d", {"x": (1, 3, 90, 80)}, (1, 3, 20, 33), nearest=0, trans_mode=0),
    "nearest": case("interpolate2d", {"x": (2, 3, 9, 10)}, (2, 3, 18, 20), nearest=1, trans_mode=2, scale_h=2.0, scale_w=2.0),
    "bilinear, wide": case("interpolate2d", {"x": (1, 2, 3, 900)}, (1, 2, 5, 1300), nearest=0, trans_mode=2),
    "gather": case("gather", {"x": (6, 50, 9), "index": ((4,), I8, 50)}, (6, 4, 9), axis=1),
    "gather of long rows": case("gather", {"x": (5, 3000), "index": ((7,), I8, 5)}, (7, 3000), axis=0),
    "embedding": case("embedding", {"table": (100, 40), "ids": ((2, 6), I8, 100)}, (2, 6, 40)),
    "sum of embeddings": case(
        "multi_embedding_fusion",
        {"table0": (90, 32), "ids0": ((2, 9), I8, 90), "table1": (20, 32), "ids1": ((1, 9), I8, 20), "scale": (32,), "bias": (32,)},
        (2, 9, 32),
    ),
    "slice": case("strided_slice", {"x": (6, 20, 30)}, (6, 7, 30), begins=(0, 3, 0), strides=(1, 1, 1), dims=(0, 1, 2)),
    "slice with steps": case("strided_slice", {"x": (6, 2000)}, (6, 500), begins=(0, 3), strides=(1, 4), dims=(0, 1)),
    "slice with far steps": case("strided_slice", {"x": (2, 4000)}, (2, 7), begins=(0, 9), strides=(1, 300), dims=(0, 1)),
    "repetition": case("strided_slice", {"x": (6, 20)}, (6, 5, 20), begins=(0, 0), strides=(1, 1), dims=(0, -1, 1)),
    "pad": case("pad", {"x": (3, 10, 11)}, (3, 12, 13), before=(0, 1, -1), value=0.0),
    "transposed convolution": case(
        "conv2d_transpose_fusion",
        {"x": (2, 6, 9, 8), "w": (10, 3, 3, 6), "bias": (10,)},
        (2, 10, 18, 16),
        strides=(2, 2),
        paddings=(1, 0, 1, 0),
        dilations=(1, 1),
    ),
    "squeeze-excitation": case(
        "squeeze_excitation_block", {"x": (2, 300, 7, 7), "w1": (40, 300), "b1": (40,), "w2": (300, 40), "b2": (300,)}, (2, 300, 7, 7)
    ),
    "attention": case(
        "qkv_attention",
        {"q": (2, 100, 32), "k": (2, 150, 32), "v": (2, 150, 32), "mask": (2, 1, 1, 150)},
        (2, 100, 32),
        heads=4,
        dim=8,
        alpha=0.3,
    ),
    "causal attention": case(
        "qkv_attention", {"q": (1, 4, 200, 16), "k": (1, 2, 200, 16), "v": (1, 2, 200, 16)}, (1, 200, 64), heads=4, kv_heads=2, dim=16,
        causal=1, q_heads=1, k_heads=1, v_heads=1,
    ),
    "concat": case("concat", {"x0": (3, 4, 5), "x1": (3, 2, 5)}, (3, 6, 5), axis=1),
    "argmax": case("argmax", {"x": (5, 40, 9)}, (5, 9), "int64", axis=1),
    "product": case("fc_fusion", {"x": (70, 40), "w": (40, 300), "bias": (300,)}, (70, 300)),
    "products of a batch": case("fc_batched", {"x": (3, 70, 40), "w": (3, 40, 30)}, (3, 70, 30)),
    "convolution": case(
        "conv2d_fusion", {"x": (2, 6, 20, 19), "w": (10, 3, 3, 2), "bias": (10,)}, (2, 10, 20, 10),
        groups=2, strides=(1, 2), paddings=(2, 2, 1, 0), dilations=(2, 1),
    ),
    "depthwise convolution": case(
        "conv2d_fusion", {"x": (2, 6, 20, 19), "w": (12, 1, 3, 3), "bias": (12,)}, (2, 12, 20, 19),
        groups=6, strides=(1, 1), paddings=(1, 1, 1, 1), dilations=(1, 1),
    ),
    "depthwise convolution with gaps": case(
        "conv2d_fusion", {"x": (1, 6, 20, 19), "w": (6, 1, 3, 3)}, (1, 6, 18, 17),
        groups=6, strides=(1, 1), paddings=(1, 1, 1, 1), dilations=(2, 2),
    ),
    "convolution of each channel with wide windows": case(
        "conv2d_fusion", {"x": (1, 4, 3, 90), "w": (4, 1, 1, 65)}, (1, 4, 3, 26),
        groups=4, strides=(1, 1), paddings=(0, 0, 0, 0), dilations=(1, 1),
    ),
    "convolution over a volume": case(
        "conv3d_fusion", {"x": (2, 6, 7, 9, 8), "w": (10, 3, 3, 2, 3), "bias": (10,)}, (2, 10, 4, 8, 8),
        groups=2, strides=(2, 1, 1), paddings=(1, 1, 0, 0, 1, 1), dilations=(1, 1, 1),
    ),
    "convolution over a volume, by points": case(
        "conv3d_fusion", {"x": (2, 6, 5, 9, 8), "w": (10, 6, 1, 1, 1)}, (2, 10, 5, 9, 8),
        strides=(1, 1, 1), paddings=(0, 0, 0, 0, 0, 0), dilations=(1, 1, 1),
    ),
    "convolution over a volume of one slice, each channel": case(
        "conv3d_fusion", {"x": (2, 6, 1, 9, 8), "w": (6, 1, 1, 3, 3)}, (2, 6, 1, 9, 8),
        groups=6, strides=(1, 1, 1), paddings=(0, 0, 1, 1, 1, 1), dilations=(1, 1, 1),
    ),
    "convolution over a slice with others of padding, each channel": case(
        "conv3d_fusion", {"x": (2, 6, 1, 9, 8), "w": (6, 1, 1, 3, 3)}, (2, 6, 3, 9, 8),
        groups=6, strides=(1, 1, 1), paddings=(1, 1, 1, 1, 1, 1), dilations=(1, 1, 1),
    ),
    "transposition": case("transpose", {"x": (3, 40, 50)}, (50, 3, 40), permute=(2, 0, 1)),
    "split": case("split", {"x": (3, 4, 5)}, (3, 4, 5), axis=1),
    "cast": case("cast", {"x": (3, 700)}, (3, 700), "int32"),
    "constant": case("constant", {}, (3, 700), value=2),
    "cumsum": case("cumsum", {"x": (3, 70, 5)}, (3, 70, 5), axis=1),
    "max pointer": case("findmax", {"x": (3, 700)}, (6,)),
    **{name: case(name, {"x": (5, 30, 9)}, (5, 9), axes=(1,)) for name in ("reduce_max", "reduce_min")},
    **{f"broadcast_{kind}": case(f"broadcast_{kind}", {"x": (7, 90), "y": (90,)}, (7, 90)) for kind in ("div", "max", "min", "pow")},
    **{
        name: case(name, {"x": (3, 700)}, (3, 700))
        for name in """relu relu6 leaky_relu elu sigmoid hard_sigmoid tanh gelu swish hard_swish mish softplus clip scale exp log sqrt rsqrt
        square abs neg floor ceil round sin cos reciprocal erf""".split()
    },
}  # fmt: skip

ON_CORES = {
    "depthwise convolution",
    "depthwise convolution with gaps",
    "convolution over a volume of one slice, each channel",
}  # whose products the counters do not have


def values(shape: Shape, dtype: str, most: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, most, shape).astype(dtype) if most else rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("name", CALLS)
def test_bytes_of_a_call(call: Any, name: str) -> None:
    from oarlock_xpu import device
    from oarlock_xpu.chips import chip
    from oarlock_xpu.memory.traffic import work_of
    from oarlock_xpu.memory.view import View

    api, inputs, result, dtype, attributes = CALLS[name]
    views = {role: View(shape, np.dtype(kind).itemsize, kind) for role, (shape, kind, _) in inputs.items()}
    views["result"] = View(result, np.dtype(dtype).itemsize, dtype)
    device.counters(reset=True)
    call({"api": api, "inputs": list(inputs), **attributes}, [values(*given) for given in inputs.values()], result, dtype)
    counted = device.counters(reset=True)["kernels"].values()
    work = work_of({"api": api, **attributes}, views, chip("r200"))
    written = work.bytes["result"] + work.scratch_written
    assert written == sum(k["gm_written"] for k in counted) and work.bytes["result"] == math.prod(result) * np.dtype(dtype).itemsize
    assert sum(work.bytes.values()) - work.bytes["result"] + work.scratch_read == sum(k["gm_read"] for k in counted)
    if api in ("conv2d_fusion", "conv3d_fusion", "fc_fusion", "fc_batched"):
        on_cores = not any(k["macs"] for k in counted)
        assert on_cores == (name in ON_CORES)
        assert on_cores or sum(work.macs.values()) == sum(k["macs"] for k in counted)


def test_every_function_has_a_case(call: Any) -> None:
    from oarlock_xpu.compat_xpu import plugin_function

    # of an encoder what a model of it says is held against the counters below
    assert {str(name) for name in plugin_function("library_functions")()} - {"transformer_encoder"} == {api for api, *_ in CALLS.values()}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, export: Callable[..., Any]) -> dict[str, Path]:
    paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models")
    nn, folder, spec = paddle.nn, tmp_path_factory.mktemp("bytes"), paddle.static.InputSpec

    class Mixed(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.deep, self.norm, self.head = (
                nn.Conv2D(3, 8, 3),
                nn.Conv2D(8, 8, 3, groups=8),
                nn.GroupNorm(2, 8),
                nn.Linear(8, 5),
            )

        def forward(self, x: Any) -> Any:
            x = nn.functional.max_pool2d(nn.functional.relu(self.conv(x)), 3, 2, 1)
            x = nn.functional.interpolate(self.norm(self.deep(x)), scale_factor=2, mode="bilinear")
            return nn.functional.softmax(self.head(x.mean([2, 3])))

    def encoder(pre: bool) -> Any:
        return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, activation="gelu", normalize_before=pre), 2)

    return {
        "mixed": export(Mixed, folder / "mixed", [spec([2, 3, 30, 30], F4, "x")], 0)[0],
        "encoder": export(lambda: encoder(False), folder / "encoder", [spec([2, 70, 32], F4, "x")], 0)[0],
        "encoder, norms first": export(lambda: encoder(True), folder / "first", [spec([2, 70, 32], F4, "x")], 0)[0],
    }


@pytest.mark.parametrize("precision", ["float32", "float16", "int16"])
@pytest.mark.parametrize("name", ["mixed", "encoder", "encoder, norms first"])
def test_bytes_and_operands_of_a_manifest(models: dict[str, Path], name: str, precision: str) -> None:
    from oarlock_xpu import device

    artifact = oarlock.compile(models[name], "xpu/r200", options={"precision": precision, "graphs": "false"}, records=False)
    works = {symbol: kernel["work"] for symbol, kernel in artifact.manifest["kernels"].items() if "work" in kernel}
    assert all(p["where"] == "library" for p in artifact.manifest["places"]), artifact.manifest["places"]
    with oarlock.Session(artifact) as session:
        inputs = {spec.name: values(tuple(spec.shape), F4, 0) for spec in session.inputs}
        session.run(inputs)
        device.counters(reset=True)
        session.run(inputs)
    counted = device.counters(reset=True)["kernels"].values()
    for how in ("read", "written"):
        assert sum(w[how] for w in works.values()) == sum(k[f"{m}_{how}"] for k in counted for m in ("gm", "l3"))
    kinds = {kind for w in works.values() for kind in w["flops"]}
    # half floats stand in where nothing gives a maximum, as of the model's input; depthwise convolutions stay floats
    assert kinds == ({"float32"} | ({"float16"} if precision != "float32" else set()) if name == "mixed" else {precision})
    on_cores = 2 * 8 * 9 * 12 * 12 if name == "mixed" else 0  # of that depthwise convolution
    assert sum(n for w in works.values() for n in w["flops"].values()) == 2 * (sum(k["macs"] for k in counted) + on_cores)
