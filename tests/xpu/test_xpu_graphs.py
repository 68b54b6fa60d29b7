"""Graphs: recorded launches of the runtime, and parts of programs that are launched as a whole, beside the CPU's numbers."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models")
nn, F = paddle.nn, paddle.nn.functional
BUSY = 707


class Net(nn.Layer):
    """Convolutions of weights and a product, with sorting of half floats, which runs on the host, in between."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2D(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2D(8, 8, 1), nn.Hardswish(), nn.MaxPool2D(2))
        self.inner = nn.Sequential(nn.Linear(36, 30), nn.GELU(), nn.Linear(30, 36), nn.Sigmoid())

    def forward(self, x: Any) -> Any:
        y = self.body(x).flatten(2)
        y = y + (y * 0).astype("float16").sort(-1).astype("float32") + self.inner(y)
        return self.inner(y) * 2, F.softmax(y, -1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, export: Callable[..., Any]) -> Path:
    spec = [paddle.static.InputSpec([2, 3, 12, 12], "float32", "x")]
    path: Path = export(Net, tmp_path_factory.mktemp("graphs") / "net", spec, 5)[0]
    return path


def rand(seed: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((2, 3, 12, 12)).astype("f4")}


@pytest.fixture(scope="module")
def expected(model: Path) -> list[list[np.ndarray]]:
    """What Paddle gives for the inputs of seeds 0 … 4."""
    from oarlock.checking.compare import run_paddle

    return [run_paddle(str(model), str(model.with_suffix(".pdiparams")), rand(seed)) for seed in range(4)]


def near(found: dict[str, np.ndarray], expected: list[np.ndarray]) -> None:
    for x, y in zip(found.values(), expected, strict=True):
        assert np.abs(x - y).max() <= 1e-5 * np.abs(y).max()


def test_replays_are_right_with_other_inputs_and_cost_less(model: Path, expected: list[Any]) -> None:
    from oarlock_xpu import device
    from oarlock_xpu.chips import chip

    times, replayed = {}, {}
    for graphs in (False, True):
        artifact = oarlock.compile(model, "xpu/r200", options={"graphs": graphs}, records=False)
        assert any(place["where"] == "host" for place in artifact.manifest["places"])
        with oarlock.Session(artifact) as session, oarlock.Session(artifact) as other:
            for seed in (0, 1, 2, 3, 0):
                device.counters(reset=True)
                found = session.run(rand(seed))
                counters = device.counters()
                near(found, expected[seed])
                near(other.run(rand((seed + 1) % 4)), expected[(seed + 1) % 4])
        kernels = counters["kernels"].values()
        times[graphs] = counters["modelled_us"]
        launches, replayed[graphs] = sum(k["launches"] for k in kernels), sum(k["replayed"] for k in kernels)
    assert replayed[False] == 0 and counters["graphs"]["launches"] > 0
    # a graph costs one launch, and each of its kernels but the first less than one
    r200 = chip("r200")
    saved = (r200.launch_us - r200.replay_us) * (replayed[True] - counters["graphs"]["launches"])
    assert times[False] - times[True] == pytest.approx(saved, abs=0.5) and replayed[True] > launches / 2


def test_a_graph_outlives_the_thread_that_recorded_it(model: Path, expected: list[Any]) -> None:
    found: list[dict[str, np.ndarray]] = []
    with oarlock.Session(oarlock.compile(model, "xpu/r200", records=False)) as session:
        thread = threading.Thread(target=lambda: found.append(session.run(rand(0))))
        thread.start()
        thread.join()
        found.append(session.run(rand(1)))
    for seed in (0, 1):
        near(found[seed], expected[seed])


def test_a_stream_that_is_captured_is_not_waited_for(call: Any) -> None:
    from oarlock_xpu import native

    library = native.runtime()
    library.xpu_last_error_text.restype = ctypes.c_char_p
    memory, graph, null = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    assert library.xpu_malloc(ctypes.byref(memory), ctypes.c_uint64(16), 0) == 0
    ones, zeros, back = (np.full(4, v, "f4") for v in (1, 0, 9))

    def copy(to: Any, source: Any, kind: int) -> int:
        return library.xpu_memcpy(to, source, ctypes.c_uint64(16), kind)

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return ctypes.c_void_p(array.ctypes.data)

    assert copy(memory, pointer(zeros), 0) == 0
    assert library.xpu_stream_begin_capture(null) == 0
    assert library.xpu_memcpy_async(memory, pointer(ones), ctypes.c_uint64(16), 0, null) == 0
    for refused in (library.xpu_wait(null), copy(pointer(back), memory, 1), library.xpu_stream_begin_capture(null)):
        assert refused == BUSY and b"captured" in library.xpu_last_error_text()
    assert library.xpu_stream_end_capture(null, ctypes.byref(graph)) == 0
    assert copy(pointer(back), memory, 1) == 0 and back.tolist() == [0] * 4  # recorded, not done
    assert library.xpu_graph_launch(graph, null) == 0 and library.xpu_graph_destroy(graph) == 0
    assert copy(pointer(back), memory, 1) == 0 and back.tolist() == [1] * 4
    assert library.xpu_stream_end_capture(null, ctypes.byref(graph)) == 701
    library.xpu_free(memory)
