"""Models compiled for the XPU beside Paddle: what runs where, dynamic shapes, control flow, artifacts without the compiler, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock import targets
from oarlock.errors import TargetError
from oarlock.runtime.artifact import Artifact

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models and computes what is expected")
nn, F = paddle.nn, paddle.nn.functional


def rand(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


class Residual(nn.Layer):
    """Convolutions with batch norm, activation, shortcut and squeeze-excitation; pooling; a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2D(3, 16, 3, stride=2, padding=1), nn.BatchNorm2D(16), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2D(16, 16, 3, padding=1, groups=16, bias_attr=False), nn.BatchNorm2D(16), nn.ReLU())
        self.point = nn.Sequential(nn.Conv2D(16, 16, 1), nn.BatchNorm2D(16))
        self.shortcut = nn.Sequential(nn.Conv2D(16, 16, 1), nn.BatchNorm2D(16))
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2D(1), nn.Conv2D(16, 4, 1), nn.ReLU(), nn.Conv2D(4, 16, 1), nn.Hardsigmoid())
        self.head = nn.Linear(16, 10)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        x = F.relu(self.point(self.depthwise(x)) + self.shortcut(x))
        x = F.max_pool2d(x * self.squeeze(x), 3, 2, 1)
        return F.softmax(self.head(F.adaptive_avg_pool2d(x, 1).flatten(1)))


class Mlp(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 70), nn.GELU(), nn.Linear(70, 33), nn.Sigmoid(), nn.Linear(33, 5))

    def forward(self, x: Any) -> Any:
        return F.log_softmax(paddle.exp(self.layers(x)) * 0.5 + x.mean(-1, keepdim=True), -1)


class Encoder(nn.Layer):
    """A layer of a transformer over embedded tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, activation="gelu")

    def forward(self, ids: Any) -> Any:
        return self.layer(self.embedding(ids))


class Loop(nn.Layer):
    """As often as the first number says, and one of two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x: Any, n: Any) -> Any:
        i = paddle.zeros([1], "int64")
        while i < n:
            x = F.tanh(self.linear(x))
            i = i + 1
        if x.sum() > 0:
            x = x * 2
        else:
            x = x - 1
        return x.cumsum(0), x.argmax(-1)


class Half(nn.Layer):
    def forward(self, x: Any) -> Any:
        return (x.astype("float16") + 1).astype("float32") * 2


Spec = paddle.static.InputSpec
MODELS: dict[str, tuple[Callable[[], Any], list[Any], list[Mapping[str, np.ndarray]]]] = {
    "residual": (Residual, [Spec([None, 3, None, None], "float32", "x")], [{"x": rand(2, 3, 33, 40)}, {"x": rand(1, 3, 65, 32, seed=1)}]),
    "mlp": (Mlp, [Spec([None, 20], "float32", "x")], [{"x": rand(1, 20)}, {"x": rand(300, 20)}]),
    "encoder": (
        Encoder,
        [Spec([None, None], "int64", "ids")],
        [{"ids": np.arange(14).reshape(2, 7)}, {"ids": np.array([[49, 0, 3]])}],
    ),
    "half": (Half, [Spec([4, 6], "float32", "x")], [{"x": rand(4, 6)}]),
    "loop": (
        Loop,
        [Spec([4, 6], "float32", "x"), Spec([1], "int64", "n")],
        [{"x": rand(4, 6), "n": np.array([3])}, {"x": -rand(4, 6), "n": np.array([0])}],
    ),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports a model once → its path."""
    folder, done = tmp_path_factory.mktemp("models"), set()

    def export(name: str) -> Path:
        if name not in done:
            make, spec, _ = MODELS[name]
            paddle.seed(1)
            layer = make()
            layer.eval()
            paddle.jit.save(paddle.jit.to_static(layer, full_graph=True), str(folder / name), input_spec=spec)
            done.add(name)
        return folder / f"{name}.json"

    return export


@pytest.fixture(scope="module")
def compiled(saved: Callable[[str], Path]) -> Callable[..., Artifact]:
    """Compiles a model once for each set of options."""
    known: dict[str, Artifact] = {}

    def compile(name: str, target: str = "xpu/r200", **options: Any) -> Artifact:
        key = f"{name} {target} {options}"
        if key not in known:
            known[key] = oarlock.compile(saved(name), target, options=options, records=False)
        return known[key]

    return compile


def check(artifact: Artifact, path: Path, inputs: Mapping[str, np.ndarray], in_paddle: Any) -> None:
    with oarlock.Session(artifact) as session:
        found = list(session.run(inputs).values())
    for x, y in zip(found, in_paddle(path, inputs), strict=True):
        assert x.shape == y.shape and x.dtype == y.dtype
        assert np.abs(x.astype("f8") - y).max(initial=0) <= 1e-5 * max(np.abs(y).max(initial=0), 1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_models_are_as_paddle_has_them(name: str, saved: Any, compiled: Any, in_paddle: Any) -> None:
    for inputs in MODELS[name][2]:
        check(compiled(name), saved(name), inputs, in_paddle)


def places(artifact: Artifact, where: str) -> list[dict[str, Any]]:
    return [place for place in artifact.manifest["places"] if place["where"] == where]


def test_convolutions_take_in_what_follows_them(compiled: Any) -> None:
    artifact = compiled("residual")
    called = [place["what"] for place in places(artifact, "library") if place["how"] == "conv2d_fusion"]
    # the second is the one with a branch; hardswish is a kernel of the importer
    after = ["nn.conv2d + add", "nn.conv2d + add + add + nn.relu", "nn.conv2d + add + call_tir", "nn.conv2d + add + nn.relu"]
    assert sorted(called) == after
    assert not places(artifact, "host")
    assert [place["how"] for place in places(artifact, "library")].count("squeeze_excitation_block") == 1


def test_what_runs_on_the_host_is_listed_with_reason_and_price(compiled: Any) -> None:
    (half,) = places(compiled("half"), "host")
    assert half["how"] == "kernels have no elements of type float16" and half["crossing"] == 2 * 4 * 6 * 4


def test_dynamic_kernels_and_checks_of_every_access(saved: Any, compiled: Any, in_paddle: Any) -> None:
    for name in ("mlp", "residual"):
        for inputs in MODELS[name][2]:
            check(compiled(name, checked=True), saved(name), inputs, in_paddle)


def test_an_artifact_runs_without_a_compiler(compiled: Any, saved: Any, tmp_path: Path, in_paddle: Any) -> None:
    path = compiled("residual").save(tmp_path / "model.oar")
    inputs = MODELS["residual"][2][0]
    np.savez(tmp_path / "in.npz", **inputs)
    code = (
        "import sys, numpy as np, oarlock; s = oarlock.load(sys.argv[1]); y = s.run(dict(np.load(sys.argv[2])));"
        "np.save(sys.argv[3], next(iter(y.values()))); assert 'tvm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, path, tmp_path / "in.npz", tmp_path / "out.npy"], check=True, timeout=300)
    (expected,) = in_paddle(saved("residual"), inputs)
    assert np.abs(np.load(tmp_path / "out.npy") - expected).max() <= 1e-6


def test_another_chip_in_another_process(compiled: Any, tmp_path: Path) -> None:
    path = compiled("mlp", "xpu/k200").save(tmp_path / "k200.oar")
    code = (
        "import sys, numpy as np, oarlock, json; from oarlock_xpu import device; s = oarlock.load(sys.argv[1]);"
        "s.run({'x': np.ones((2, 20), 'f4')}); print(json.dumps(device.counters()))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=True, timeout=300, capture_output=True, text=True)
    assert json.loads(done.stdout)["chip"] == "k200"
    with oarlock.Session(compiled("mlp")) as session:
        session.run({"x": rand(2, 20)})
        with pytest.raises(TargetError, match="compiled for the chip k200, and the device is a r200.*device 0 is in use"):
            oarlock.Session(path)


def test_inspect_and_run_on_the_command_line(saved: Any, compiled: Any) -> None:
    from click.testing import CliRunner

    from oarlock.cli import main

    done = CliRunner().invoke(main, ["inspect", str(saved("mlp")), "--target", "xpu/r200", "--json"])
    facts = json.loads(done.stdout)
    assert done.exit_code == 0 and facts["target"] == "xpu/r200"
    assert {place["where"] for place in facts["places"]} >= {"library", "generated"}
    done = CliRunner().invoke(main, ["run", str(saved("mlp")), "--target", "xpu/r200", "--shape", "x=3,20", "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["outputs"][0]["shape"] == [3, 5]


def test_every_kind_of_kernel(compiler: str) -> None:
    """Sorting, scans, slices, padding, lookups, …: on the device or the host, with the CPU's numbers (which are tested against Paddle)."""
    import models

    for name, case in models.CASES.items():
        expected = case.run(case.artifact("cpu", threads=1))
        for x, y in zip(case.run(case.artifact("xpu/r200")), expected, strict=True):
            assert x.shape == y.shape and np.abs(x.astype("f8") - y).max(initial=0) <= 1e-5 * max(np.abs(y).max(initial=0), 1), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checked": 3}, "checked must be true or false"),
        ({"threads": 2}, "wrong option"),
        ({"xcc": "xtdk-clang"}, "does not say where source"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str, saved: Any) -> None:
    with pytest.raises(TargetError, match=message):
        oarlock.compile(saved("mlp"), targets.get("xpu/r200", **options), records=False)


def test_another_compiler_of_kernels(saved: Any, compiler: str, in_paddle: Any) -> None:
    from oarlock_xpu.compiler.toolchain import host_command

    command = " ".join([*host_command(compiler, False), "-DANOTHER", "{source}", "-o", "{output}"])
    artifact = oarlock.compile(saved("mlp"), "xpu/r200", options={"xcc": command}, records=False)
    check(artifact, saved("mlp"), MODELS["mlp"][2][0], in_paddle)
    with pytest.raises(TargetError, match="failed:"):
        oarlock.compile(saved("mlp"), "xpu/r200", options={"xcc": "false {source} {output}"}, records=False)
