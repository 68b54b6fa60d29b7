"""Rules of the XPU's compiler on models: what becomes one call, packed sequences, kernels of anything, narrower operands."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.errors import OarlockError, TargetError
from oarlock.ops import registry
from oarlock.ops.builder import Builder
from oarlock.ops.tensor import Tensor
from oarlock.runtime.artifact import Artifact

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models and computes what is expected")
nn, F = paddle.nn, paddle.nn.functional
Spec = paddle.static.InputSpec


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


class Bert(nn.Layer):
    """Tokens and positions, a mask of padding (token 0), two layers, the first row's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places, self.norm = nn.Embedding(50, 32), nn.Embedding(64, 32), nn.LayerNorm(32)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, activation="gelu"), 2)
        self.classes = nn.Linear(32, 5)

    def forward(self, ids: Any) -> Any:
        x = self.norm(self.tokens(ids) + self.places(paddle.arange(ids.shape[1]).unsqueeze(0)))
        mask = (1.0 - (ids != 0).astype("float32").unsqueeze([1, 2])) * -1e4
        x = self.encoder(x, mask)
        return x, self.classes(x[:, 0])


class Blocks(nn.Layer):
    """What the rules other than those of encoders take together."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate1, self.gate2 = nn.Conv2D(3, 16, 3, padding=1), nn.Conv2D(16, 4, 1), nn.Conv2D(4, 16, 1)
        self.up, self.groups, self.batch = nn.Conv2DTranspose(16, 8, 2, stride=2), nn.GroupNorm(4, 8), nn.BatchNorm2D(8)
        self.qkv, self.out, self.norm, self.rms = nn.Linear(8, 24), nn.Linear(8, 8), nn.LayerNorm(8), self.create_parameter([8])

    def forward(self, x: Any) -> Any:
        x = F.hardswish(self.conv(x))
        gate = F.hardsigmoid(self.gate2(F.relu(self.gate1(F.adaptive_avg_pool2d(x, 1)))))
        x = self.batch(F.silu(self.groups(F.relu(self.up(x * gate)))))
        rows = x.flatten(2).transpose([0, 2, 1])
        q, k, v = self.qkv(rows).reshape([0, 0, 3, 2, 4]).transpose([2, 0, 3, 1, 4]).unbind(0)
        mixed = paddle.matmul(F.softmax(paddle.matmul(q, k, transpose_y=True) * 0.5), v).transpose([0, 2, 1, 3]).reshape([0, 0, 8])
        total = rows + self.out(mixed)  # which is read twice
        y = self.norm(total) + total
        y = y * paddle.rsqrt((y * y).mean(-1, keepdim=True) + 1e-6) * self.rms
        first, second = paddle.split(y, [5, y.shape[1] - 5], 1)
        return F.pad(x, [1, 1, 0, 2], value=0.5), F.softmax(first), F.softmax(second), x.max([0, 2]), x.argmax(1)


class Anything(nn.Layer):
    """Sorting, choices by computed indices, resizing, scans, integers, and reductions in one kernel with what follows."""

    def forward(self, x: Any) -> Any:
        top, places = paddle.topk(x, 3, -1)
        wide = F.interpolate(x.unsqueeze(0), scale_factor=2, mode="bilinear")
        near = F.interpolate(x.unsqueeze(0), size=[7, 5], mode="nearest")
        whole = (x * 10).astype("int64")
        picked = paddle.take_along_axis(x, paddle.argsort(x, 1), 1)
        return (
            top,
            places,
            wide,
            near,
            whole.sum(-1),
            whole.max(0),
            whole.argmax(0),
            picked,
            paddle.cumprod(x, 1),
            x.std(-1),
            paddle.tile(x, [1, 2, 1]),
        )


class Resized(nn.Layer):
    """Resizing to sizes and by scales, of the model and of the run."""

    def forward(self, x: Any) -> Any:
        x, size = F.relu(x), paddle.shape(x)[2:]
        bilinear = {"mode": "bilinear", "align_corners": False}
        return (
            F.interpolate(x, scale_factor=2, mode="nearest"),
            F.interpolate(x, size=[17, 9], mode="nearest"),
            F.interpolate(x, size=size * 2 + 1, mode="nearest"),
            F.interpolate(x, scale_factor=[1.5, 2.0], **bilinear),
            F.interpolate(x, scale_factor=0.5, align_mode=1, **bilinear),
            F.interpolate(x, size=[24, 31], **bilinear),
            F.interpolate(x, size=size + 5, mode="bilinear", align_corners=True),
            F.interpolate(x, size=size * 3, align_mode=1, **bilinear),
        )


class Pyramid(nn.Layer):
    """What was made small and large again beside what it was: sizes that are checked as the model runs."""

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(x, 3, 2, 1)
        wide = F.interpolate(F.max_pool2d(x, 3, 2, 1), scale_factor=2, mode="nearest")
        return paddle.concat([x, wide], 1), F.relu(x * 2 + wide) - 1


class Wide(nn.Layer):
    """What the time of larger nets is: convolutions of many channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2D(3, 128, 4, stride=4), nn.Conv2D(128, 256, 3, padding=1), nn.Conv2D(256, 256, 1)

    def forward(self, x: Any) -> Any:
        return self.third(F.relu(self.second(F.relu(self.first(x)))))


class Apart(nn.Layer):
    """Halves of one tensor, with sizes between them that only a run tells; rows by places that stand in a column; the next place; one row
    overwritten."""

    def forward(self, x: Any, y: Any, places: Any) -> Any:
        first = x[:, 0] / y[:, 0]
        size = x.shape[0]
        return (
            first,
            x[:, 1] / y[:, 1],
            paddle.gather_nd(x.flatten(), places),
            paddle.arange(size, size + 1),
            paddle.scatter(y, places[1], x[:1]),
        )


class Volumes(nn.Layer):
    """Convolutions over three axes: unlike strides, paddings and dilations, groups, a branch, one tap."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3D(3, 8, (3, 5, 2), stride=(2, 1, 3), padding=(1, 2, 0), dilation=(1, 2, 3))
        self.one, self.each = nn.Conv3D(8, 8, 1), nn.Conv3D(8, 8, 3, padding=[1, 1, 0, 2, 1, 1], groups=8, bias_attr=False)
        self.deep = nn.Conv3D(8, 130, (2, 3, 3), groups=2)
        # one slice, with slices of padding around it, and with one that a stride leaves alone
        self.around = nn.Conv3D(8, 8, (1, 3, 3), padding=1, groups=8)
        self.before = nn.Conv3D(8, 8, (1, 3, 3), stride=(2, 1, 1), padding=[1, 0, 1, 1, 1, 1], groups=8)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.first(x))
        x = F.relu(x + self.one(x))
        slice = x[:, :, :1]
        return x, self.each(x), self.deep(x), self.around(slice), self.before(slice)


MODELS: dict[str, tuple[Callable[[], Any], list[Any]]] = {
    "volumes": (Volumes, [Spec([None, 3, 7, None, 20], "float32", "x")]),
    "apart": (Apart, [Spec([None, 2], "float32", "x"), Spec([None, 2], "float32", "y"), Spec([None, 1], "int64", "places")]),
    "bert": (Bert, [Spec([None, None], "int64", "ids")]),
    "blocks": (Blocks, [Spec([2, 3, 6, 5], "float32", "x")]),
    "wide": (Wide, [Spec([1, 3, 64, 64], "float32", "x")]),
    "resized": (Resized, [Spec([2, 3, 14, 11], "float32", "x")]),
    "resized, of any size": (Resized, [Spec([None, 3, None, None], "float32", "x")]),
    "pyramid": (Pyramid, [Spec([None, 3, None, None], "float32", "x")]),
    "anything": (Anything, [Spec([3, None, 6], "float32", "x")]),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Artifact, Any]]:
    """model(name, **options) → the artifact, compiled once, and the layer."""
    folder, known, layers = tmp_path_factory.mktemp("models"), dict[str, Artifact](), dict[str, Any]()

    def make(name: str, **options: Any) -> tuple[Artifact, Any]:
        path: Path = folder / name
        if name not in layers:
            paddle.seed(1)
            layers[name] = MODELS[name][0]()
            layers[name].eval()
            paddle.jit.save(paddle.jit.to_static(layers[name], full_graph=True), str(path), input_spec=MODELS[name][1])
        key = f"{name} {options}"
        if key not in known:
            known[key] = oarlock.compile(f"{path}.json", "xpu/r200", options=options, records=False)
        return known[key], layers[name]

    return make


def run(artifact: Artifact, **inputs: np.ndarray) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The outputs, and the emulator's counters by kernel."""
    from oarlock_xpu import device

    with oarlock.Session(artifact) as session:
        device.counters(reset=True)
        found = list(session.run(inputs).values())
        return found, device.counters(reset=True)["kernels"]


def far(found: list[np.ndarray], expected: Any) -> float:
    """The largest difference as a part of each output's largest number."""
    worst = 0.0
    for x, y in zip(found, [e.numpy() for e in (expected if isinstance(expected, tuple) else (expected,))], strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        worst = max(worst, float(np.abs(x.astype("f8") - y).max(initial=0)) / max(float(np.abs(y).max(initial=0)), 1e-6))
    return worst


def calls(artifact: Artifact) -> list[str]:
    return sorted(p["how"] for p in artifact.manifest["places"] if p["where"] == "library")


def test_an_encoder_is_two_calls_and_seven_launches_a_layer(model: Any) -> None:
    artifact, layer = model("bert")
    assert calls(artifact) == ["fc_fusion", "multi_embedding_fusion", "transformer_encoder"]
    for shape in ((2, 7), (3, 33)):
        ids = np.random.default_rng(shape[1]).integers(1, 50, shape)
        ids[0, 4:] = 0
        found, counted = run(artifact, ids=ids)
        assert far(found, layer(paddle.to_tensor(ids))) < 1e-5
        of_layers = sum(counted[k]["launches"] for k in ("fc_float", "attention_float", "norm_rows"))
        assert of_layers == 2 * 7 + 1  # and the classes


def test_with_packed_sequences_padding_is_not_computed(model: Any) -> None:
    artifact, layer = model("bert", packed=True)
    lengths, ids = [5, 17], np.zeros((2, 32), "int64")
    for b, n in enumerate(lengths):
        ids[b, :n] = np.random.default_rng(b).integers(1, 50, n)
    found, counted = run(artifact, ids=ids)
    products = sum(lengths) * (4 * 32 * 32 + 2 * 32 * 64) + sum(2 * n * n * 32 for n in lengths)
    assert sum(k["macs"] for k in counted.values()) == 2 * products + 2 * 32 * 5
    rows, classes = (e.numpy() for e in layer(paddle.to_tensor(ids)))
    for b, n in enumerate(lengths):
        assert np.abs(found[0][b, :n] - rows[b, :n]).max() < 1e-5 and not found[0][b, n:].any()
    assert np.abs(found[1] - classes).max() < 1e-5


def test_blocks_of_operators_are_one_call_each(model: Any) -> None:
    artifact, layer = model("blocks")
    x = rand(2, 3, 6, 5)
    found, _ = run(artifact, x=x)
    assert far(found, layer(paddle.to_tensor(x))) < 1e-5
    made = calls(artifact)
    for name in (
        "squeeze_excitation_block",
        "conv2d_transpose_fusion",
        "group_norm",
        "batch_norm_infer",
        "qkv_attention",
        "add_layer_norm",
    ):
        assert made.count(name) == 1, name
    for name in ("rms_layer_norm", "split", "pad", "argmax", "conv2d_fusion"):
        assert made.count(name) == 1, name
    (convolution,) = [p["what"] for p in artifact.manifest["places"] if p["how"] == "conv2d_fusion"]
    assert convolution == "nn.conv2d + add + call_tir"  # hardswish, which is the importer's kernel
    assert not [p for p in artifact.manifest["places"] if p["where"] == "host"]


@pytest.mark.parametrize("name", ["resized", "resized, of any size"])
def test_resizing_is_the_librarys(model: Any, name: str) -> None:
    artifact, layer = model(name)
    assert calls(artifact).count("interpolate2d") == 8
    assert {p["how"] for p in artifact.manifest["places"]} == {"interpolate2d", "relu"}
    for shape in [(2, 3, 14, 11), *([(1, 3, 25, 40), (3, 3, 2, 3)] if name != "resized" else [])]:
        x = rand(*shape)
        assert far(run(artifact, x=x)[0], layer(paddle.to_tensor(x))) <= 1e-6


def test_checks_of_sizes_are_those_of_calls(model: Any) -> None:
    artifact, layer = model("pyramid")
    assert not [p for p in artifact.manifest["places"] if p["how"] == "loops" or p["where"] == "host"]
    for shape in [(2, 3, 16, 11), (1, 3, 19, 4)]:
        x = rand(*shape)
        assert far(run(artifact, x=x)[0], layer(paddle.to_tensor(x))) <= 1e-6
    with pytest.raises(OarlockError) as raised:
        run(artifact, x=rand(1, 3, 13, 11))
    for said in ("[1, 3, 7, 6]", "[1, 3, 8, 6]", "sizes that must be equal differ", "in concat"):
        assert said in raised.value.what, said


class Halves(nn.Layer):
    """Halves of a size, rounded up and down: a sum that asks for as many."""

    def forward(self, x: Any) -> Any:
        return F.max_pool2d(x, 3, 2, 1) + F.max_pool2d(x, 2, 2)


class Fours(nn.Layer):
    """With relu6 in place of a check that there are four rows."""

    def forward(self, x: Any, y: Any, z: Any, other: Any) -> Any:
        return paddle.concat([F.relu6(x), F.relu6(y)], 0), F.relu6(z) + other


# inputs that pass; others that do not, and the operator that asks
REFUSED: dict[type, tuple[dict[str, tuple[int, ...]], list[tuple[dict[str, tuple[int, ...]], str]]]] = {
    Halves: ({"x": (1, 2, 4, 4)}, [({"x": (1, 2, 3, 4)}, "in add")]),  # one row and two
    Fours: (
        dict.fromkeys(("x", "y", "z", "other"), (4, 3)),
        [
            ({"x": (3, 3), "y": (5, 3), "z": (4, 3), "other": (4, 3)}, "in relu6"),  # as many together
            ({"x": (4, 3), "y": (4, 3), "z": (1, 3), "other": (4, 3)}, "in relu6"),  # one and four
        ],
    ),
}


@pytest.mark.parametrize("made", REFUSED)
def test_what_a_check_refuses_is_refused(made: type, tmp_path: Path, export: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    registry.load_builtin()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    registry.operator("relu6")(four_rows)
    good, bad = REFUSED[made]
    spec = [Spec([None, *([2, None, None] if made is Halves else [3])], "float32", role) for role in good]
    path, _ = export(made, tmp_path / "m", spec, 0)
    said: dict[str, list[str]] = {}
    for target in ("cpu", "xpu/r200"):
        with oarlock.Session(oarlock.compile(path, target, records=False)) as session:
            session.run({role: rand(*shape) for role, shape in good.items()})
            for shapes, operator in bad:
                with pytest.raises(OarlockError, match=operator) as raised:
                    session.run({role: rand(*shape) for role, shape in shapes.items()})
                said.setdefault(target, []).append(raised.value.what[raised.value.what.index("sizes that must be equal differ") :])
    assert said["cpu"] == said["xpu/r200"]


def four_rows(b: Builder, x: Tensor) -> Tensor:
    return b.match(x, [4, *x.shape[1:]])


@pytest.mark.parametrize("checked", [False, True])
def test_kernels_of_anything(model: Any, checked: bool) -> None:
    artifact, layer = model("anything", checked=checked)
    assert not [p for p in artifact.manifest["places"] if p["where"] == "host"]
    assert len([p for p in artifact.manifest["places"] if p["how"] == "loops"]) >= 6
    for rows in (4, 70):
        x = np.round(rand(3, rows, 6, seed=rows), 1)
        assert far(run(artifact, x=x)[0], layer(paddle.to_tensor(x))) < 1e-5


def test_results_of_one_call_in_several_blocks(model: Any) -> None:
    artifact, layer = model("apart")
    assert "split" in [p["how"] for p in artifact.manifest["places"]]
    for rows in (1, 4):
        inputs = {"x": rand(4, 2), "y": 2 + rand(rows, 2, seed=1), "places": np.array([[7], [0], [-1]])}
        assert far(run(artifact, **inputs)[0], layer(*map(paddle.to_tensor, inputs.values()))) < 1e-6


def test_convolutions_over_volumes(model: Any) -> None:
    artifact, layer = model("volumes", checked=True)
    assert [p["how"] for p in artifact.manifest["places"]].count("conv3d_fusion") == 6
    for batch, rows in ((2, 9), (1, 14)):
        x = rand(batch, 3, 7, rows, 20)
        assert far(run(artifact, x=x)[0], layer(paddle.to_tensor(x))) < 1e-5


class Chain(nn.Layer):
    """Functions of elements that the dialect has vectors for, with a row, a number, and a number a row; and one that it has none for."""

    def forward(self, x: Any, row: Any, one: Any, each: Any) -> Any:
        return F.relu(x + each) * row - one, paddle.exp(x * row) - one


@pytest.mark.parametrize("checked", [False, True])
def test_vectors_of_elements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checked: bool) -> None:
    from oarlock_xpu.compiler import toolchain

    printed, compile_kernels = [], toolchain.compile_kernels
    monkeypatch.setattr(toolchain, "compile_kernels", lambda source, **rest: printed.append(source) or compile_kernels(source, **rest))
    dims = {"x": [5, 37], "row": [37], "one": [1], "each": [5, 1]}
    layer = Chain()
    specs = [Spec(shape, "float32", name) for name, shape in dims.items()]
    paddle.jit.save(paddle.jit.to_static(layer, full_graph=True), str(tmp_path / "m"), input_spec=specs)
    artifact = oarlock.compile(str(tmp_path / "m"), "xpu/r200", options={"checked": checked}, records=False)
    text = "".join(printed)
    wanted = ("vvmul", "vvsub", "vvadd", "vvmax", "vset", "vload_lm", "vstore_lm")
    assert not [name for name in wanted if f"{name}_float32x16(" not in text]
    inputs = {"x": rand(5, 37), "row": rand(37, seed=1), "one": rand(1, seed=2), "each": rand(5, 1, seed=3)}
    inputs["x"][0, :20] = [np.nan, np.inf, -np.inf, -0.0, 0.0] * 4
    for mine, theirs in zip(run(artifact, **inputs)[0], layer(*map(paddle.to_tensor, inputs.values())), strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-6, atol=1e-6)


MOST = {"int16": 32767, "int8": 127}  # the integers that max pointers round to


def rounded(x: np.ndarray, precision: str, axis: int | None = None) -> np.ndarray:
    """Numbers as operands of a precision hold them: by their largest one, of all or along an axis."""
    if precision == "float16":
        return x.astype("float16").astype("float64")
    step = np.abs(x).max(axis, keepdims=True) / MOST[precision]
    return np.rint(x / step) * step


def rounded_bert(layer: Bert, ids: np.ndarray, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """What Bert is when operands of products are rounded and all else is exact: in float64, and without padding."""
    w = {name: value.numpy().astype("float64") for name, value in layer.state_dict().items()}
    erf = np.vectorize(math.erf)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]

    def product(x: np.ndarray, *names: str, by: str = precision) -> np.ndarray:
        matrix = np.concatenate([w[f"{name}.weight"] for name in names], 1)
        return rounded(x, by) @ rounded(matrix, by, 0) + np.concatenate([w[f"{name}.bias"] for name in names])

    x = norm(w["tokens.weight"][ids] + w["places.weight"][: ids.shape[1]], "norm")
    for number in range(2):
        name = f"encoder.layers.{number}"
        qkv = rounded(product(x, *(f"{name}.self_attn.{part}_proj" for part in "qkv")), precision)
        q, k, v = (part.reshape(*ids.shape, 4, 8).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, -1))
        scores = q @ k.swapaxes(-1, -2) / np.sqrt(8)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        # shares are at most 1, and rounded by that
        held = shares.astype("float16") if precision == "float16" else np.rint(shares * MOST[precision]) / MOST[precision]
        mixed = (held @ v / shares.sum(-1, keepdims=True)).transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(x + product(mixed, f"{name}.self_attn.out_proj"), f"{name}.norm1")
        inner = product(x, f"{name}.linear1")
        x = norm(x + product(inner * (1 + erf(inner / np.sqrt(2))) / 2, f"{name}.linear2"), f"{name}.norm2")
    # the classes read what a generated kernel copies, which gives no maximum: integers leave them to half floats
    return x, product(x[:, 0], "classes", by="float16")


@pytest.mark.parametrize(("precision", "budget"), [("float16", 3e-3), ("int16", 5e-4), ("int8", 5e-2)])
def test_narrower_operands_stay_within_their_budget(model: Any, precision: str, budget: float) -> None:
    wide, layer = model("bert")
    artifact, _ = model("bert", precision=precision)
    ids = np.random.default_rng(0).integers(1, 50, (4, 40))
    found, counted = run(artifact, ids=ids)
    exact, alone = [y.numpy().astype("f8") for y in layer(paddle.to_tensor(ids))], rounded_bert(layer, ids, precision)
    assert 0 < far(found, tuple(layer(paddle.to_tensor(ids)))) < budget
    # numbers that lie between two integers may go either way, and from then on rounding errors are others, of the same size: rows are as
    # far from Paddle as rounding alone puts them
    by_rounding, off = (float(np.sqrt(((rows - exact[0]) ** 2).mean())) for rows in (alone[0], found[0]))
    assert 0.85 < off / by_rounding < 1.15, (off, by_rounding)
    assert np.abs(alone[1] - exact[1]).max() < budget * np.abs(exact[1]).max()
    products = {name: k["macs"] for name, k in counted.items() if k["macs"]}
    of_layers, classes = 2 * 4 * (40 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 40 * 40 * 32), 4 * 32 * 5
    assert sum(n for name, n in products.items() if name.endswith(f"_{precision}")) == of_layers + classes * (precision == "float16")
    assert sum(products.values()) == of_layers + classes and not any(name.endswith("_float") for name in products)
    # maxima come with the tensors: no launch more
    _, before = run(wide, ids=ids)
    assert sum(k["launches"] for k in counted.values()) == sum(k["launches"] for k in before.values())


def test_narrower_operands_take_less_modelled_time(model: Any) -> None:
    x, times = rand(1, 3, 64, 64), []
    for precision in ("float32", "int16", "int8"):
        artifact, layer = model("wide", precision=precision)
        found, counted = run(artifact, x=x)
        assert far(found, layer(paddle.to_tensor(x))) < {"float32": 1e-5, "int16": 2e-3, "int8": 3e-2}[precision]
        times.append(sum(k["modelled_us"] for k in counted.values()))
        on_units = sum(k["macs"] for name, k in counted.items() if name == f"conv_{precision}".removesuffix("32"))
        # all but the first, whose input has no maximum that a call gives
        assert on_units == 256 * 128 * 9 * 256 + 256 * 256 * 256 + (precision == "float32") * 128 * 48 * 256
    assert times[0] > times[1] > times[2]


def test_blocks_on_narrow_operands(model: Any) -> None:
    artifact, layer = model("blocks", precision="int16")
    x = rand(2, 3, 6, 5)
    found, counted = run(artifact, x=x)
    expected = [y.numpy() for y in layer(paddle.to_tensor(x))]
    assert max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found[:-1], expected[:-1], strict=True)) < 3e-3
    # the model's input has no maximum that a call gives, so the convolution is on half floats; so are the matrices of squeeze-excitation
    assert counted["conv_float16"]["launches"] == counted["excite_float16"]["launches"] == 1 and "excite" not in counted


def test_31_bits_are_as_near_as_floats(model: Any) -> None:
    artifact, layer = model("bert", precision="int31")
    ids = np.random.default_rng(0).integers(1, 50, (2, 9))
    found, counted = run(artifact, ids=ids)
    assert far(found, layer(paddle.to_tensor(ids))) < 1e-6
    # the classes, to whose rows no call gives a maximum, stay floats
    assert {n: k["launches"] for n, k in counted.items() if k["macs"]} == {"fc_int31": 8, "attention_int31": 2, "fc_float": 1}


def test_wrong_precisions_are_refused() -> None:
    with pytest.raises(TargetError, match="precision must be one of float32, float16, int31, int16, int8, not 'int4'"):
        oarlock.targets.get("xpu/r200", precision="int4")
    with pytest.raises(TargetError, match="packed must be true or false"):
        oarlock.targets.get("xpu/r200", packed="maybe")
