"""Compiled models as bytes, and for several chips: what runs is loaded from memory, and picks the code for the chip that is there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.errors import TargetError
from oarlock.runtime.artifact import Artifact

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models and computes what is expected")
nn = paddle.nn

X = np.random.default_rng(3).standard_normal((3, 20)).astype("float32")


class Mlp(nn.Layer):
    """Products for the library, and an odd function of elements, which is generated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(20, 70), nn.Linear(70, 5)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        return self.second(paddle.exp(paddle.sin(x) * 0.3) + x)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, export: Callable[..., Any]) -> Path:
    spec = [paddle.static.InputSpec([None, 20], "float32", "x")]
    path: Path = export(Mlp, tmp_path_factory.mktemp("model") / "mlp", spec, 2)[0]
    return path


@pytest.fixture(scope="module")
def expected(model: Path, in_paddle: Callable[..., Any]) -> np.ndarray:
    (y,) = in_paddle(model, {"x": X})
    return y


@pytest.fixture(scope="module")
def fat(model: Path) -> Artifact:
    return oarlock.compile(model, "xpu/r200", options={"chips": "k200"}, records=False)


# what is loaded, and with which rights: code comes from memory files only, and nothing is opened to be written
RUN = """
import os, sys
import numpy as np
import oarlock
from oarlock_xpu import device, native

native.load()  # the runtime's libraries are files
def code():
    return {line.split(maxsplit=5)[5] for line in open("/proc/self/maps") if "x" in line.split()[1] and len(line.split()) > 5}
before, written = code(), []
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(arguments[0])
sys.addaudithook(hook)
session = oarlock.load(sys.stdin.buffer)
y = session.run({"x": np.frombuffer(bytes.fromhex(sys.argv[1]), "f4").reshape(3, 20)})
chip = device.counters()["chip"]
new = sorted(path for path in code() - before if not path.startswith("[") and ".cpython-" not in path)
assert new and all(path.startswith("/memfd:") for path in new), new
assert not written, written
assert "tvm" not in sys.modules
sys.stderr.write(chip)
sys.stdout.buffer.write(next(iter(y.values())).tobytes())
"""


def run(data: bytes, chip: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", RUN, X.tobytes().hex()]
    return subprocess.run(command, input=data, capture_output=True, timeout=300, env={**os.environ, "XPU_SIM_CHIP": chip})


def test_one_artifact_runs_on_two_chips_from_memory(fat: Artifact, expected: np.ndarray) -> None:
    assert [part.name for part in fat.parts] == ["r200", "k200"]
    assert fat.parts[0].library != fat.parts[1].library  # their grids differ
    data = fat.to_bytes()
    assert len(data) < sum(len(part.library) for part in fat.parts) + 1.2 * fat.weight_bytes + 50_000  # the weights are there once
    for chip in ("k200", "r200"):
        done = run(data, chip)
        assert done.returncode == 0, done.stderr.decode()
        assert done.stderr.decode() == chip
        found = np.frombuffer(done.stdout, "float32").reshape(expected.shape)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_a_chip_without_code(fat: Artifact) -> None:
    done = run(fat.to_bytes(), "kl3")
    assert done.returncode == 1
    assert "TargetError: the artifact has code for the chips r200, k200, and the device is a kl3" in done.stderr.decode()
    assert "chips=r200,k200,kl3" in done.stderr.decode()
    with pytest.raises(TargetError, match="there is no chip 'k300'"):
        oarlock.targets.get("xpu/r200", chips="k300")


def test_the_cpu_loads_bytes_too(model: Path, expected: np.ndarray) -> None:
    data = oarlock.compile(model, threads=1, records=False).to_bytes()
    with oarlock.load(memoryview(data)) as session:
        (found,) = session.run({"x": X}).values()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_pipes_of_the_command_line(model: Path) -> None:
    oarlock_command = [sys.executable, "-m", "oarlock.cli"]
    made = subprocess.run([*oarlock_command, "compile", model, "--target", "xpu/k200", "-o", "-"], stdout=subprocess.PIPE, check=True)
    done = subprocess.run([*oarlock_command, "run", "-", "--json"], input=made.stdout, stdout=subprocess.PIPE, check=True)
    assert b'"shape": [1, 5]' in done.stdout


def test_arguments_are_checked_where_they_come_in(compiler: str) -> None:
    """What the plug-in's one place of checks refuses, and that the switch for measurements leaves results alone."""
    import json

    import tvm
    import tvm_ffi

    from oarlock_xpu import device, native

    native.load()
    device.become("r200")
    xpu = tvm.ext_dev(0)
    relu = tvm_ffi.get_global_func("oarlock_xpu.library_module")(json.dumps({"f": {"api": "relu", "inputs": ["x"]}}))["f"]
    x, y = tvm.runtime.tensor(X.ravel(), xpu), tvm.runtime.empty((4,), "float32", xpu)
    with pytest.raises(Exception, match=r"relu \(f\), argument 0 'x': it is not aligned to its elements of 4 bytes"):
        relu(x._create_view((4,), "float32", 2), y)
    with pytest.raises(Exception, match=r"takes 1 tensors and one for the result, and got 3"):
        relu(x, x, y)
    with pytest.raises(Exception, match=r"argument 0 'x': a tensor is needed, and got int"):
        relu(1, y)
    switch = tvm_ffi.get_global_func("oarlock_xpu.check_arguments")
    assert switch(False)
    try:
        relu(x._create_view((4,), "float32", 0), y)
    finally:
        assert not switch(True)
    assert np.array_equal(y.numpy(), np.maximum(X.ravel()[:4], 0))
