"""The C++ API: the example programs, built with one command, beside Paddle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models and computes what is expected")
nn, F = paddle.nn, paddle.nn.functional

EXAMPLE = Path(__file__).parents[2] / "examples" / "xpu_cpp"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the built programs: by CMake where there is one, else by the compiler alone."""
    from oarlock_xpu import config, native

    folder = tmp_path_factory.mktemp("cpp")
    if shutil.which("cmake"):
        where = subprocess.run([sys.executable, "-m", "oarlock_xpu.config", "--cmake"], check=True, capture_output=True, text=True).stdout
        made = ["-DOarlock_DIR=" + where.strip(), f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_CXX_COMPILER={native.compiler()}"]
        subprocess.run(["cmake", "-S", EXAMPLE, "-B", folder, *made], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", folder], check=True, stdout=subprocess.DEVNULL)
    else:
        for source in EXAMPLE.glob("*.cc"):
            command = [native.compiler(), str(source), *config.cflags(), *config.libs(), "-o", str(folder / source.stem)]
            native.run(command, source.name)
    return folder


class Mlp(nn.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(20, 70), nn.Linear(70, 5)

    def forward(self, x: Any) -> Any:
        return self.second(paddle.exp(paddle.sin(self.first(x)) * 0.3))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, export: Callable[..., Any]) -> tuple[Path, np.ndarray]:
    """A model, and what Paddle gives for the example's numbers."""
    spec = [paddle.static.InputSpec([None, 20], "float32", "x")]
    path, layer = export(Mlp, tmp_path_factory.mktemp("model") / "mlp", spec, 2)
    return path, layer(paddle.to_tensor(numbers(3, 20))).numpy()


def numbers(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 10 / 10).astype("float32").reshape(shape)


def classify(programs: Path, data: bytes, *dims: str, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([programs / "classify", *dims], input=data, capture_output=True, timeout=300, env={**os.environ, **environment})
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_a_model_from_a_stream_runs_without_python(programs: Path, model: tuple[Path, np.ndarray]) -> None:
    path, expected = model
    fat = oarlock.compile(path, "xpu/r200", options={"chips": "k200"}, records=False).to_bytes()
    plain = oarlock.compile(path, threads=1, records=False).to_bytes()
    for data, chip, says in ((fat, "r200", "xpu/r200 on a r200"), (fat, "k200", "xpu/r200 on a k200"), (plain, "r200", "cpu")):
        done = classify(programs, data, "3", "20", XPU_SIM_CHIP=chip)
        assert done.returncode == 0, done.stderr
        first, numbers_of = done.stdout.splitlines()
        assert first == says
        found = np.array(numbers_of.split(":")[1].split(), "float32")
        assert np.abs(found - expected.ravel()[:5]).max() <= 1e-5 * np.abs(expected).max()  # as it prints them
        assert float(numbers_of.split("mean ")[1].split(":")[0]) == pytest.approx(expected.mean(), rel=1e-5)
    libraries = subprocess.run(["ldd", programs / "classify"], capture_output=True, text=True).stdout
    assert "liboarlock.so" in libraries and "libpython" not in libraries and "libtvm_compiler" not in libraries
    done = classify(programs, fat, "3", "20", XPU_SIM_CHIP="kl3")
    assert done.returncode == 1 and "code for the chips r200, k200, and the device is a kl3" in done.stderr


def test_errors_say_what_where_and_what_to_do(programs: Path, model: tuple[Path, np.ndarray]) -> None:
    data = oarlock.compile(model[0], "xpu/r200", records=False).to_bytes()
    done = classify(programs, data, "3", "21")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "dim 1 of input 'x' is 21, expected 20",
        "  where: x float32[3, 21]",
        f"  to do: give x: float32[{oarlock.Artifact.from_bytes(data).signature.inputs[0].shape[0]}, 20]",  # type: ignore[index]
    ]
    several = oarlock.Artifact.from_bytes(data)
    several.manifest["runtime"]["parallel"] = {"tp": 2, "pp": 1}
    assert classify(programs, several.to_bytes(), "3", "20").stderr.splitlines()[::2] == [
        "the artifact is for several devices together, which this library does not run",
        "  to do: run it in Python (oarlock.Session), or compile the model without the option parallel",
    ]
    # damage of every kind is found before anything of the artifact runs
    rng = np.random.default_rng(0)
    for end in (0, 3, 100, len(data) // 2, len(data) - 1):
        assert classify(programs, data[:end], "3", "20").stderr.startswith("the artifact is damaged")
    for place in rng.integers(0, len(data), 12):
        broken = bytearray(data)
        broken[place] ^= 0x41
        done = classify(programs, bytes(broken), "3", "20")
        assert done.returncode in (0, 1), (place, done.stderr)  # 0: a byte that means nothing (padding, dates)
        assert done.returncode == 0 or "to do:" in done.stderr or "where:" in done.stderr


def test_a_network_is_built_and_run(programs: Path) -> None:
    filter_ = (np.arange(36) % 5 / 5 - 0.4).astype("float32").reshape(4, 1, 3, 3)
    weight = (np.arange(12) % 7 / 7 - 0.3).astype("float32").reshape(4, 3)
    x = paddle.to_tensor((np.arange(128) % 11 / 11).astype("float32").reshape(2, 1, 8, 8))
    y = F.max_pool2d(F.relu(F.conv2d(x, paddle.to_tensor(filter_), padding=1)), 2, 2)
    y = F.adaptive_avg_pool2d(y, 1).reshape([0, 4]) @ paddle.to_tensor(weight) + paddle.to_tensor(np.array([0.5, 0, -0.5], "float32"))
    expected = F.softmax(y).numpy().ravel()
    for target in ("xpu/r200", "cpu"):
        environment = {**os.environ, "OARLOCK_PYTHON": sys.executable}
        done = subprocess.run([programs / "network", target], capture_output=True, text=True, timeout=300, env=environment)
        assert done.returncode == 0, done.stderr
        assert np.abs(np.array(done.stdout.split(), "float32") - expected).max() <= 1e-5
    done = subprocess.run([programs / "network", "xpu/q"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and done.stderr.startswith("unknown target 'xpu/q'\n  to do: use one of: cpu")
    done = subprocess.run([programs / "network"], capture_output=True, text=True, env={**os.environ, "OARLOCK_PYTHON": "/no/python"})
    assert done.returncode == 1 and "the compiler does not start" in done.stderr and "OARLOCK_PYTHON" in done.stderr
