"""Quantising a convolutional network and an encoder: against Paddle's run of the result, and of parts of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import oarlock
from oarlock import errors
from oarlock.cli import main
from oarlock.model import load_model
from oarlock.model.program import Block, Op, Parameter, Program, TensorType, Value
from oarlock.quantising.exact import fold_norms
from oarlock.quantising.layers import find_layers
from oarlock.quantising.rewrite import layer_by_layer, quantised, rounded_tensors
from oarlock.runtime.machine import cpu_features
from oarlock.targets.cpu import words

HERE = bool({"avx512_vnni", "avx_vnni"} & set(cpu_features()))
runs = pytest.mark.skipif(not HERE, reason="this machine has no AVX-VNNI")

NETWORKS = """
import sys, paddle, numpy as np
from paddle import nn

paddle.seed(5)

class Block(nn.Layer):
    def __init__(self):
        super().__init__()
        self.wide, self.norm = nn.Conv2D(8, 24, 1, bias_attr=False), nn.BatchNorm2D(24, momentum=0.0)
        self.deep, self.down = nn.Conv2D(24, 24, 3, padding=1, groups=24), nn.Conv2D(24, 8, 1)
        self.squeeze, self.excite = nn.Conv2D(24, 8, 1), nn.Conv2D(8, 24, 1)

    def forward(self, x):
        y = nn.functional.hardswish(self.norm(self.wide(x)))
        y = self.deep(y)
        s = nn.functional.hardsigmoid(self.excite(nn.functional.relu(self.squeeze(nn.functional.adaptive_avg_pool2d(y, 1)))))
        return x + self.down(y * s)

class Encoder(nn.Layer):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 32)
        self.layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, 0.0, "gelu"), 1)
        self.tied = nn.Linear(32, 50, bias_attr=False)

    def forward(self, ids):
        y = self.layers(self.words(ids))
        return self.tied(y), paddle.matmul(y, self.words.weight, transpose_y=True)

folder = sys.argv[1]
rng = np.random.default_rng(1)
images = (rng.standard_normal((12, 3, 16, 20)) * rng.uniform(0.3, 2, (12, 1, 1, 1))).astype("float32")
stem = nn.Sequential(nn.Conv2D(3, 8, 3, stride=2, padding=1), nn.BatchNorm2D(8, momentum=0.0), nn.ReLU())
net = nn.Sequential(stem, Block(), nn.AdaptiveAvgPool2D(2), nn.Flatten(), nn.Linear(32, 10))
net.train()
net(paddle.to_tensor(images))
net.eval()
paddle.jit.save(net, folder + "/conv/model", input_spec=[paddle.static.InputSpec([None, 3, 16, 20], "float32", "x")])
np.savez(folder + "/conv/data.npz", x=images)
encoder = Encoder()
encoder.eval()
paddle.jit.save(encoder, folder + "/encoder/model", input_spec=[paddle.static.InputSpec([1, 12], "int64", "ids")])
np.savez(folder + "/encoder/data.npz", ids=rng.integers(0, 50, (12, 12)))
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("paddle", reason="paddlepaddle makes the models")
    folder = tmp_path_factory.mktemp("networks")
    script = folder / "make.py"  # a file: Paddle reads the source of what it converts
    script.write_text(NETWORKS)
    (folder / "conv").mkdir()
    (folder / "encoder").mkdir()
    subprocess.run([sys.executable, str(script), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def made(networks: Path) -> dict[str, dict]:
    """The reports of ``oarlock quantize`` for both, written to folders beside the models; "text": what it shows of the encoder."""
    reports = {}
    for name, more in (("conv", ["--json"]), ("encoder", ["--top", "3", "--html", str(networks / "page.html")])):
        folder = networks / name
        arguments = ["quantize", str(folder / "model.json"), "-o", str(folder / "int8"), "--calibrate", str(folder / "data.npz")]
        done = CliRunner().invoke(main, [*arguments, *more])
        assert done.exit_code == 0, done.output
        reports[name] = json.loads((folder / "int8" / "quantised.json").read_text())
        if name == "conv":
            shown = json.loads(done.stdout)
            assert {**shown, **reports[name]} == shown and shown["model"] == str(folder / "int8" / "inference.json")
    return {**reports, "text": done.output}


def examples(folder: Path) -> tuple[list[dict[str, np.ndarray]], list[dict[str, np.ndarray]]]:
    """(calibrated with, held out): of twelve, two, the first third and the last third from the ends."""
    with np.load(folder / "data.npz") as archive:
        ((name, data),) = archive.items()
    every = [{name: data[i : i + 1]} for i in range(len(data))]
    return [e for i, e in enumerate(every) if i not in (3, 9)], [every[3], every[9]]


@runs
@pytest.mark.parametrize("name", ["conv", "encoder"])
def test_integers_are_within_a_step_of_paddle(networks: Path, made: dict, name: str, in_paddle: Callable) -> None:
    folder = networks / name
    artifact = oarlock.compile(folder / "int8", options={"precision": "int8", "executor": "vm"})
    tiled = [k["workload"].split()[1] for k in artifact.manifest["kernels"].values() if k["schedule"] == "tiled"]
    assert "uint8" in tiled
    session = oarlock.Session(artifact)
    for feed in examples(folder)[1]:
        wanted = in_paddle(folder / "int8" / "inference.json", feed)
        floats = in_paddle(folder / "model.json", feed)
        for got, want, plain in zip(session.run(feed).values(), wanted, floats, strict=True):
            step = np.abs(want).max() / 127
            assert np.abs(got - want).max() <= step
            assert np.abs(got - want).max() < 0.5 * np.abs(want - plain).max()  # it is the quantised model that is computed


@runs
@pytest.mark.parametrize("name", ["conv", "encoder"])
def test_each_layer_alone(networks: Path, made: dict, name: str, in_paddle: Callable) -> None:
    """On the numbers that Paddle computed before it, each layer is Paddle's but for the rounding of its floats."""
    folder = networks / name
    program = load_model(folder / "int8")
    inner = [(v, scale) for v, scale in rounded_tensors(program) if v not in program.inputs]
    values = [v for v, _ in inner]
    taps = replace(program, outputs={**program.outputs, **{f"made.{i}": v for i, v in enumerate(values)}})
    path = oarlock.save_model(taps, folder / "taps")
    alone = layer_by_layer(program, values)
    assert len(values) >= 4
    batch = {"given." + str(i): (1, *v.type.shape[1:]) for i, v in enumerate(values)} | {"x": (1, 3, 16, 20)}
    fixed = {v.name: batch[v.name] for v in alone.inputs if -1 in v.type.shape}
    session = oarlock.Session(oarlock.compile(alone, shapes=fixed, options={"precision": "int8"}))
    for feed in examples(folder)[1]:
        wanted = dict(zip(taps.outputs, in_paddle(path, feed), strict=True))
        got = session.run({**feed, **{f"given.{i}": wanted[f"made.{i}"] for i in range(len(values))}})
        for i, (_, scale) in enumerate(inner):
            assert np.abs(got[f"made.{i}"] - wanted[f"made.{i}"]).max() <= 0.001 * scale / 127


class Enough(Exception):
    """What was wanted of a compilation is there."""


@runs
@pytest.mark.parametrize(("name", "count"), [("conv", 7), ("encoder", 8)])
def test_every_layer_is_a_product_of_integers(networks: Path, made: dict, name: str, count: int) -> None:
    """The layers of the report are the integer products of the compiled program, tied weights that are turned among them."""
    assert len([layer for layer in made[name]["layers"] if layer["in_float"] is None]) == count
    text = []

    def dump(stage: str, mod: object) -> None:
        if stage == "integer-products":
            text.append(str(mod))
            raise Enough

    with pytest.raises(Enough):
        oarlock.compile(networks / name / "int8", options={"precision": "int8"}, dump=dump)
    assert text[0].count('out_dtype="int32"') == count


@pytest.mark.parametrize(
    ("operator", "shape", "groups", "why"),
    [
        ("depthwise_conv2d", (24, 1, 3, 3), 24, ""),
        ("depthwise_conv2d", (18, 1, 3, 3), 18, "depthwise, of channels that no vector divides"),
        ("depthwise_conv2d", (48, 1, 3, 3), 24, "depthwise, of channels that no vector divides"),
        ("conv2d", (16, 8, 3, 3), 2, ""),
        ("conv2d", (12, 8, 3, 3), 2, "groups of channels that no vector divides"),
        ("conv2d", (16, 6, 3, 3), 2, "a depth that is no multiple of 4"),
        ("conv2d", (16, 6, 3, 3), 1, ""),
        ("conv2d", (16, 6, 1, 1), 1, "a depth that is no multiple of 4"),
        ("conv2d_transpose", (16, 8, 3, 3), 1, "no integer form of this operator"),
    ],
)
def test_what_has_an_integer_form(operator: str, shape: tuple, groups: int, why: str) -> None:
    """What the quantiser takes is what the CPU has kernels for."""
    float32 = TensorType("float32", shape)
    x, w = Value("x", TensorType("float32", (1, shape[1] * groups, 8, 8))), Value("w", float32)
    op = Op(f"pd_op.{operator}", {"input": x, "filter": w}, {"groups": groups}, [Value("y", x.type)], ["out"])
    stored = Op("builtin.parameter", {}, {"parameter_name": "w"}, [w], ["out"])
    program = Program(Block([], [stored, op]), [x], {"y": op.results[0]}, {"w": Parameter("w", float32, np.ones(shape, np.float32))}, {})
    layers, skipped = find_layers(program)
    assert [s.why for s in skipped] == ([why] if why else []) and len(layers) == (not why)
    if operator != "conv2d_transpose":
        assert words.takes(shape, groups) == (not why)


@pytest.fixture(scope="module")
def exact(networks: Path) -> dict[str, Path]:
    """Both networks quantised with scales that are powers of two."""
    found = {}
    for name in ("conv", "encoder"):
        folder = networks / name
        arguments = ["quantize", str(folder / "model.json"), "-o", str(folder / "exact"), "--calibrate", str(folder / "data.npz")]
        done = CliRunner().invoke(main, [*arguments, "--exact", "--no-sensitivity"])
        assert done.exit_code == 0 and "powers of two" in done.output, done.output
        found[name] = folder / "exact" / "inference.json"
    return found


@runs
def test_exact_scales_give_paddles_numbers_bit_for_bit(networks: Path, exact: dict, in_paddle: Callable) -> None:
    """On integers and on floats, through batch norms, depthwise convolutions and activations."""
    program = load_model(exact["conv"])
    assert not any("batch_norm" in op for op in program.op_counts())
    sessions = [oarlock.Session(oarlock.compile(program, options={"precision": precision})) for precision in ("int8", "float32")]
    floats = networks / "conv" / "model.json"
    for feed in (feed for part in examples(networks / "conv") for feed in part):
        (want,) = in_paddle(exact["conv"], feed)
        for session in sessions:
            (got,) = session.run(feed).values()
            np.testing.assert_array_equal(got, want)
        (plain,) = in_paddle(floats, feed)
        assert np.sqrt(np.mean((want - plain) ** 2) / np.mean(plain**2)) < 0.1  # still the model that it was


@runs
def test_exact_scales_of_an_encoder(networks: Path, exact: dict, in_paddle: Callable) -> None:
    """Norms and softmax are sums of floats in each engine's own order; the products between them are the same."""
    session = oarlock.Session(oarlock.compile(exact["encoder"], options={"precision": "int8"}))
    for feed in examples(networks / "encoder")[1]:
        for got, want in zip(session.run(feed).values(), in_paddle(exact["encoder"], feed), strict=True):
            assert np.abs(got - want).max() <= np.abs(want).max() / 127


@pytest.mark.parametrize("name", ["conv", "encoder"])
def test_exact_scales_are_powers_of_two(exact: dict, name: str) -> None:
    program = load_model(exact[name])
    data = [scale for _, scale in rounded_tensors(program)]
    listed = [op.operands["operand_0"] for op in program.block.ops if op.name == "builtin.combine"]
    weights = np.concatenate([program.parameters[v.name].data for v in listed])
    for scales in (np.array(data), weights):
        assert (np.log2(scales / 127) % 1 == 0).all()
    wholes = [op.operands["x"] for op in program.block.ops if op.name == "pd_op.fake_channel_wise_dequantize_max_abs"]
    for value in wholes:
        stored = program.parameters[value.name].data
        assert np.array_equal(stored, np.rint(stored)) and 32 <= np.abs(stored).max() <= 127


def test_norms_are_folded_into_convolutions(networks: Path, in_paddle: Callable) -> None:
    """One after a convolution with a bias, one after one without; Paddle's numbers stay what they were but for rounding."""
    folder = networks / "conv"
    program = load_model(folder / "model")
    assert sum(n for op, n in program.op_counts().items() if "batch_norm" in op) == 2
    folded = fold_norms(program)
    assert not any("batch_norm" in op for op in folded.op_counts())
    path = oarlock.save_model(folded, folder / "folded")
    for feed in examples(folder)[1]:
        (got,), (want,) = in_paddle(path, feed), in_paddle(folder / "model.json", feed)
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


def test_norms_that_are_not_alone(networks: Path) -> None:
    """Where the convolution's result is an output too, nothing is folded."""
    program = load_model(networks / "conv" / "model")
    convolutions = [op for op in program.block.ops if op.short_name == "conv2d"]
    program.outputs = {**program.outputs, "first": convolutions[0].results[0], "second": convolutions[1].results[0]}
    assert sum(n for op, n in fold_norms(program).op_counts().items() if "batch_norm" in op) == 2


def test_scales_are_the_largest_magnitudes(networks: Path, made: dict, in_paddle: Callable) -> None:
    """Of what Paddle computes: the data of the first layer is the input, and that of the last one is an output of its own here."""
    folder = networks / "conv"
    given = examples(folder)[0]
    layers = made["conv"]["layers"]
    assert layers[0]["scale"] == pytest.approx(max(np.abs(feed["x"]).max() for feed in given), rel=1e-6)
    program = load_model(folder / "model")
    last = find_layers(program)[0][-1]
    program.outputs = {"data": last.data}
    path = oarlock.save_model(program, folder / "cut")
    largest = max(np.abs(in_paddle(path, feed)[0]).max() for feed in given)
    assert layers[-1]["scale"] == pytest.approx(largest, rel=1e-4)


def test_harm_is_what_paddle_computes(networks: Path, made: dict, in_paddle: Callable) -> None:
    """One layer quantised alone, and all of them, by Paddle on the held-out examples."""
    folder, report = networks / "conv", made["conv"]
    program = load_model(folder / "model")
    layers, _ = find_layers(program)
    scales = {layer.data: row["scale"] for layer, row in zip(layers, report["layers"], strict=True)}
    held_out = examples(folder)[1]
    plain = np.concatenate([in_paddle(folder / "model.json", feed)[0] for feed in held_out])
    rows = [(report["layers"][i]["harm"], [layers[i]]) for i in (0, 2)] + [(report["every"], layers)]
    for harm, chosen in rows:
        path = oarlock.save_model(quantised(program, chosen, scales), folder / "alone")
        got = np.concatenate([in_paddle(path, feed)[0] for feed in held_out])
        assert harm["rms"] == pytest.approx(np.sqrt(np.mean((got - plain) ** 2) / np.mean(plain**2)), rel=0.1)
        assert harm["max"] == pytest.approx(np.abs(got - plain).max() / np.abs(plain).max(), rel=0.15)
        assert harm["winner"] == np.mean(got.argmax(-1) != plain.argmax(-1))


def test_a_budget_keeps_layers_in_float(networks: Path, made: dict, in_paddle: Callable) -> None:
    folder, report = networks / "conv", made["conv"]
    harms = [layer["harm"]["rms"] for layer in report["layers"]]
    budget = 0.6 * report["every"]["rms"]
    program = oarlock.quantize(folder / "model", folder / "data.npz", budget=budget, state=folder / "int8" / "calibration.npz")
    facts = program.source["quantised"]
    in_float = [i for i, layer in enumerate(facts["layers"]) if layer["in_float"]]
    assert 0 < len(in_float) < len(harms)
    assert set(in_float) == set(np.argsort(harms)[::-1][: len(in_float)])
    assert facts["chosen"]["rms"] <= budget < facts["every"]["rms"]
    path = oarlock.save_model(program, folder / "budget")
    held_out = examples(folder)[1]
    got = np.concatenate([in_paddle(path, feed)[0] for feed in held_out])
    plain = np.concatenate([in_paddle(folder / "model.json", feed)[0] for feed in held_out])
    assert np.sqrt(np.mean((got - plain) ** 2) / np.mean(plain**2)) <= 1.05 * budget


def test_layers_that_are_kept(networks: Path) -> None:
    folder, given = networks / "conv", [{"x": np.ones((1, 3, 16, 20), "float32")}]
    layers, _ = find_layers(load_model(folder / "model"))
    names = (layers[0].parameter, f"*{layers[1].name[-12:]}", layers[-1].op.results[0].name)
    program = oarlock.quantize(folder / "model", given, keep=names, sensitivity=False, per_channel=False, method="mse")
    report = program.source["quantised"]
    assert [i for i, layer in enumerate(report["layers"]) if layer["in_float"] == "asked for"] == [0, 1, len(layers) - 1]
    assert report["chosen"] is None and report["calibrated"] == 1
    assert program.op_counts()["pd_op.fake_quantize_dequantize_abs_max"] == len(layers) - 3
    with pytest.raises(errors.InputError, match="no layer is called 'nothing'"):
        oarlock.quantize(folder / "model", given, keep=["nothing"])


def test_the_table_and_the_page(networks: Path, made: dict) -> None:
    assert "8 of 8 layers on integers" in made["text"] and "5 more layers" in made["text"]
    page = (networks / "page.html").read_text()
    assert page.count('class="row') == 8 and "8 of 8 layers on integers" in page


def test_errors_of_the_command(networks: Path, tmp_path: Path) -> None:
    folder = networks / "conv"
    model = str(folder / "model.json")
    for arguments, text in (
        ([model, "-o", str(tmp_path / "a"), "--calibrate", str(tmp_path / "none")], "there is no such file or folder"),
        ([model, "-o", str(tmp_path / "a"), "--calibrate", str(tmp_path)], "no .npz files and no pictures"),
        ([model, "-o", str(folder), "--calibrate", model, "--keep", "x"], "no layer is called 'x'"),
        ([str(folder), "-o", str(folder), "--calibrate", model], "would replace the float one"),
    ):
        done = CliRunner().invoke(main, ["quantize", *arguments])
        assert done.exit_code == 3 and text in done.output, done.output
