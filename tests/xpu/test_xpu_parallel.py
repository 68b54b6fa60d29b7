"""Models over several emulated chips, each in a process of its own: equal to one chip and to Paddle, and orderly when a worker fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.errors import InputError, OarlockError, TargetError, UnsupportedError
from oarlock.runtime.artifact import Artifact

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models and computes what is expected")
nn = paddle.nn

SHAPES = {"ids": ("n", "s"), "mask": ("n", "s")}


class Bert(nn.Layer):
    """An encoder with embeddings, a mask, two layers and a pooler."""

    def __init__(self, dim: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.words, self.places, self.norm = nn.Embedding(50, dim), nn.Embedding(64, dim), nn.LayerNorm(dim)
        layer = lambda: nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, activation="gelu")  # noqa: E731
        self.layers = nn.LayerList([layer(), layer()])
        self.pooler, self.head = nn.Linear(dim, dim), nn.Linear(dim, 3)

    def forward(self, ids: Any, mask: Any) -> Any:
        x = self.norm(self.words(ids) + self.places(paddle.arange(ids.shape[1]).unsqueeze(0)))
        bias = ((1.0 - mask) * -1e4).unsqueeze([1, 2])
        for layer in self.layers:
            x = layer(x, bias)
        return self.head(paddle.tanh(self.pooler(x[:, 0]))), x


class Sum(nn.Layer):
    def forward(self, ids: Any, mask: Any) -> Any:
        return ids.astype("float32") + mask * 2


def inputs(n: int, s: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n * 100 + s)
    mask = np.ones((n, s), "float32")
    mask[:, s // 2 + 1 :] = 0
    return {"ids": rng.integers(0, 50, (n, s)), "mask": mask}


def export(folder: Path, layer: Any) -> Path:
    paddle.disable_static()
    paddle.seed(1)
    made = layer()
    made.eval()
    spec = [paddle.static.InputSpec([None, None], "int64", "ids"), paddle.static.InputSpec([None, None], "float32", "mask")]
    paddle.jit.save(paddle.jit.to_static(made, full_graph=True), str(folder / "bert"), input_spec=spec)
    return folder / "bert.json"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("bert"), Bert)


@pytest.fixture(scope="module")
def compiled(model: Path) -> Callable[[str], Artifact]:
    known: dict[str, Artifact] = {}

    def compile(parallel: str) -> Artifact:
        if parallel not in known:
            known[parallel] = oarlock.compile(model, "xpu/r200", SHAPES, options={"parallel": parallel}, records=False)
        return known[parallel]

    return compile


@pytest.mark.parametrize(("parallel", "sizes"), [("tp=2", ((2, 5), (1, 1), (3, 9))), ("pp=2", ((2, 5), (1, 3)))])
def test_equal_to_one_device_and_to_paddle(
    parallel: str, sizes: tuple[tuple[int, int], ...], compiled: Callable[[str], Artifact], model: Path, in_paddle: Any
) -> None:
    artifact = Artifact.load(compiled(parallel).to_bytes())
    with oarlock.Session(artifact) as session, oarlock.Session(compiled("")) as one:
        assert [spec.name for spec in session.outputs] == [spec.name for spec in one.outputs]
        for size in sizes:
            given = inputs(*size)
            found = list(session.run(given).values())
            for x, y, z in zip(found, one.run(given).values(), in_paddle(model, given), strict=True):
                assert x.shape == y.shape and np.abs(x - y).max() <= 1e-5
                assert np.abs(x - z).max() <= 1e-5 * max(1, np.abs(z).max())
    with pytest.raises(OarlockError, match="the session is closed"):
        session.run(inputs(1, 1))


def test_two_devices_share_the_products(compiled: Callable[[str], Artifact]) -> None:
    notes = compiled("tp=2").manifest["notes"]
    # of each layer q, k, v and the first of the perceptron by columns, the other two by rows; so the pooler and the head
    assert "parallel: 5 products of 14 are sums over 2 devices, 9 are split" in notes
    weights = [sum(compiled("tp=2").part(rank).weight_bytes for rank in ranks) for ranks in (["0"], ["1"])]
    assert weights[0] == weights[1] < 0.7 * compiled("").weight_bytes  # embeddings and norms are whole on each
    piped = compiled("pp=2")
    first, second = ({n for n in part.weights if piped.weights[n].ndim == 2} for part in piped.parts)
    assert first and second and not first & second  # no matrix is in two stages
    (note,) = [n for n in compiled("pp=2").manifest["notes"] if "stages" in n]
    times = [float(word) for word in note.split() if word.isdigit() and len(word) > 1]
    assert 0.8 < times[0] / times[1] < 1.25


@pytest.mark.slow
def test_both_together(compiled: Callable[[str], Artifact]) -> None:
    with oarlock.Session(compiled("tp=2,pp=2")) as session, oarlock.Session(compiled("")) as one:
        for x, y in zip(session.run(inputs(2, 5)).values(), one.run(inputs(2, 5)).values(), strict=True):
            assert np.abs(x - y).max() <= 1e-5


def test_what_cannot_be_split_says_why(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"nothing of the model can be split:\n.*3 devices do not divide"):
        oarlock.compile(model, "xpu/r200", SHAPES, options={"parallel": "tp=3"}, records=False)
    with pytest.raises(UnsupportedError, match="no 7 places"):
        oarlock.compile(export(tmp_path, Sum), "xpu/r200", SHAPES, options={"parallel": "pp=8"}, records=False)
    for wrong in ("tp", "tp=0", "dp=2", "tp=9,pp=9"):
        with pytest.raises(TargetError, match="parallel"):
            oarlock.targets.get("xpu/r200", parallel=wrong)


@pytest.mark.parametrize("parallel", ["tp=2", "pp=2"])
def test_what_cannot_be_profiled_says_what_to_do(model: Path, compiled: Callable[[str], Artifact], parallel: str) -> None:
    from oarlock.profiling.profiler import profile

    with pytest.raises(InputError, match=r"(?s)several devices cannot be profiled.*to do: profile the model itself on one device"):
        profile(model, "xpu/r200", SHAPES, options={"parallel": parallel})
    with pytest.raises(InputError, match="several devices cannot be profiled"):
        profile(compiled(parallel))


def workers_of(process: int) -> list[int]:
    """The processes of workers whose parent is this one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == process and b"oarlock_xpu.parallel.worker" in command and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def test_a_worker_that_is_killed_is_told_and_nothing_hangs(compiled: Callable[[str], Artifact]) -> None:
    for stopped in (True, False):
        session = oarlock.Session(compiled("tp=2"))
        session.run(inputs(1, 3))
        (worker,) = workers_of(os.getpid())
        if stopped:  # it dies while the other one waits for it in an allreduce
            os.kill(worker, signal.SIGSTOP)
            threading.Timer(0.5, os.kill, (worker, signal.SIGKILL)).start()
        else:
            os.kill(worker, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(OarlockError, match="worker 1 of 2 ended by signal 9"):
            session.run(inputs(1, 3))
        assert time.monotonic() - start < 20
        with pytest.raises(OarlockError, match="a device failed"):
            session.run(inputs(1, 3))
        assert not workers_of(os.getpid())
        session.close()


def test_a_worker_that_fails_says_why(compiled: Callable[[str], Artifact]) -> None:
    broken = Artifact.load(compiled("tp=2").to_bytes())
    broken.parts[1].library = b"no library"
    with pytest.raises(OarlockError, match="no shared object") as caught:
        oarlock.Session(broken)
    assert caught.value.where.startswith("worker 1 of 2")
    assert not workers_of(os.getpid())


def test_workers_end_with_their_parent(compiled: Callable[[str], Artifact], tmp_path: Path) -> None:
    path = compiled("tp=2").save(tmp_path / "bert.oar")
    code = (
        "import sys, time, oarlock; s = oarlock.load(sys.argv[1]);"
        "print('ready', flush=True); time.sleep(float(sys.argv[2]))"  # and ends without closing the session
    )
    for seconds in ("60", "0"):
        process = subprocess.Popen([sys.executable, "-c", code, path, seconds], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        workers = workers_of(process.pid)
        if seconds == "60":
            assert len(workers) == 1
            process.kill()
        assert process.wait(60) == (-9 if seconds == "60" else 0)
        until = time.monotonic() + 20
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < until, "a worker outlives its parent"
            time.sleep(0.05)


def test_the_command_line(compiled: Callable[[str], Artifact], tmp_path: Path) -> None:
    path = compiled("pp=2").save(tmp_path / "bert.oar")
    command = [sys.executable, "-m", "oarlock.cli", "run", path, "--shape", "ids=2,4", "--shape", "mask=2,4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and '"shape": [2, 4, 32]' in done.stdout, done.stderr
