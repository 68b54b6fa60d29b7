"""Sessions of models with host calls: functions found and not found, what goes wrong in one, memory, threads, files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ffi import heap

import oarlock
from oarlock import Artifact, HostCallError
from oarlock.errors import ArtifactError, InputError
from oarlock.model import Block, Op, Program, TensorType, Value
from oarlock.reporting import page
from oarlock.runtime import host as registry


def _model(dtype: str = "float32") -> Program:
    """relu(plus(relu(x), by=1)), rows dynamic."""
    x, a, y, z = (Value(n, TensorType(dtype, (-1, 3))) for n in "xayz")
    ops = [
        Op("pd_op.data", {}, {"name": "x"}, [x], ["out"]),
        Op("pd_op.relu", {"x": x}, {}, [a], ["out"]),
        Op("custom_op.plus", {"operand_0": a}, {"by": 1.0}, [y], ["result_0"], handle="/net/plus_0"),
        Op("pd_op.relu", {"x": y}, {}, [z], ["out"]),
    ]
    return Program(Block([], ops), [x], {"z": z}, {}).verify()


def plus(x: np.ndarray, by: float) -> np.ndarray:
    return x + np.float32(by)


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return oarlock.compile(_model(), threads=1, host={"plus": plus})


@pytest.fixture(scope="module")
def file(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact.save(tmp_path_factory.mktemp("host") / "model.oar")


X = np.array([[1.5, -2.0, 3.0], [0.0, 4.0, -1.0]], "float32")
EXPECTED = np.maximum(X, 0) + 1


def run(artifact: Artifact, function: Callable[..., Any]) -> np.ndarray:
    return oarlock.Session(artifact, host={"plus": function}).run({"x": X})["z"]


# ---- finding functions ---------------------------------------------------------------------------------------------------


def test_a_file_needs_its_functions(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", {})
    with pytest.raises(HostCallError, match="not there: plus") as caught:
        oarlock.load(file)
    assert str(file) in str(caught.value) and "host={'plus': function}" in str(caught.value)
    np.testing.assert_array_equal(oarlock.load(file, host={"plus": plus}).run({"x": X})["z"], EXPECTED)
    np.testing.assert_array_equal(oarlock.load(file, host={"custom_op.plus": plus}).run({"x": X})["z"], EXPECTED)
    oarlock.host_operator(plus)
    np.testing.assert_array_equal(oarlock.load(file).run({"x": X})["z"], EXPECTED)
    # a function that is given goes before one that is registered
    np.testing.assert_array_equal(oarlock.load(file, host={"plus": lambda x, by: x}).run({"x": X})["z"], np.maximum(X, 0))


def test_what_is_no_name_is_said() -> None:
    with pytest.raises(InputError, match="no names of operators"):
        oarlock.host_operator(7)


def test_a_function_that_does_not_take_the_attributes_is_said_at_once(artifact: Artifact) -> None:
    with pytest.raises(HostCallError, match="unexpected keyword argument 'by'"):
        oarlock.Session(artifact, host={"plus": lambda x: x})


def test_running_needs_neither_compiler_nor_tvm_ffi(file: Path) -> None:
    code = f"""
import sys, numpy as np, oarlock
@oarlock.host_operator("plus")
def plus(x, *, by):
    return x + np.float32(by)
got = oarlock.load({str(file)!r}).run({{"x": np.ones((2, 3), "float32")}})["z"]
assert (got == 2).all(), got
loaded = [m for m in ("tvm", "tvm_ffi", "oarlock.model", "oarlock.importer", "ml_dtypes", "paddle") if m in sys.modules]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_models_without_host_calls_do_not_load_them() -> None:
    code = "import sys, oarlock.runtime.session; assert 'oarlock.runtime.host' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.parametrize(
    "entry", [7, {}, {"name": "x"}, {"results": [None]}, {"results": [{"dtype": "strange", "name": "y"}]}, {"operands": ["a"]}]
)
def test_a_damaged_list_of_host_calls_is_refused(file: Path, entry: Any, tmp_path: Path) -> None:
    artifact = Artifact.load(file)
    damaged = {**artifact.host_calls[0], **entry} if isinstance(entry, dict) and entry else entry
    if damaged == {}:
        artifact.manifest["host_calls"] = {}
        path = artifact.save(tmp_path / "damaged.oar")
        with pytest.raises(ArtifactError, match="host calls are no list"):
            Artifact.load(path)
        return
    artifact.manifest["host_calls"] = [damaged]
    with pytest.raises(ArtifactError, match="is no host call"):
        oarlock.Session(artifact, host={"plus": plus})


def test_the_manifest_can_be_read(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        (call,) = json.loads(archive.read("manifest.json"))["host_calls"]
    assert (call["name"], call["operator"], call["by"]) == ("oarlock.host.plus", "custom_op.plus", "python")
    assert call["attributes"] == {"by": 1.0} and call["results"] == [{"name": "result_0", "dtype": "float32", "shape": [-1, 3]}]


# ---- what goes wrong in a call -------------------------------------------------------------------------------------------


def test_an_exception_names_the_operator_and_comes_along(artifact: Artifact) -> None:
    mine = ZeroDivisionError("mine")

    def bad(x: np.ndarray, by: float) -> np.ndarray:
        raise mine

    session = oarlock.Session(artifact, host={"plus": bad})
    for _ in range(3):  # and the session goes on
        with pytest.raises(HostCallError, match="bad failed: ZeroDivisionError: mine") as caught:
            session.run({"x": X})
        assert caught.value.__cause__ is mine
        where = str(caught.value)
        assert "custom_op.plus (/net/plus_0)" in where and "float32[2, 3]" in where and f"{Path(__file__).name}:" in where


def test_an_interrupt_in_a_function_is_an_interrupt(artifact: Artifact) -> None:
    def stopped(x: np.ndarray, by: float) -> np.ndarray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(artifact, stopped)


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x, by: x.astype("float64"), "returned float64 as 'result_0', the model needs float32"),
        (lambda x, by: x[:, :2], r"returned the shape \[2, 2\] as 'result_0', the model needs \[\?, 3\]"),
        (lambda x, by: x[0], r"returned the shape \[3\]"),
        (lambda x, by: (x, x), r"returned 2 value\(s\); the operator has 1"),
        (lambda x, by: None, "no array"),
        (lambda x, by: "text", "no array"),
        (lambda x, by: [[1, 2], [3]], "no array"),
    ],
)
def test_what_does_not_fit_is_said(artifact: Artifact, function: Callable[..., Any], what: str) -> None:
    with pytest.raises(HostCallError, match=what) as caught:
        run(artifact, function)
    assert "custom_op.plus" in str(caught.value)


def test_numbers_in_lists_become_arrays_of_the_declared_type(artifact: Artifact) -> None:
    np.testing.assert_array_equal(run(artifact, lambda x, by: [[1, 2.5, -3]]), [[1, 2.5, 0]])
    np.testing.assert_array_equal(run(artifact, lambda x, by: (x[:0],)), np.empty((0, 3)))


def test_a_function_cannot_change_what_it_is_given(artifact: Artifact) -> None:
    def change(x: np.ndarray, by: float) -> np.ndarray:
        x += 1
        return x

    with pytest.raises(HostCallError, match="read-only"):
        run(artifact, change)


def test_a_function_may_return_any_layout(artifact: Artifact) -> None:
    np.testing.assert_array_equal(run(artifact, lambda x, by: np.asfortranarray(x + 1)), EXPECTED)
    np.testing.assert_array_equal(run(artifact, lambda x, by: (x + 1)[::-1][::-1]), EXPECTED)


# ---- sessions in sessions, threads, memory -------------------------------------------------------------------------------


def test_a_function_may_run_another_session(artifact: Artifact) -> None:
    inner = oarlock.Session(artifact, host={"plus": plus})
    np.testing.assert_array_equal(run(artifact, lambda x, by: inner.run({"x": x.copy()})["z"] + 1), EXPECTED + 1)


def test_a_function_that_runs_its_own_session_is_told_instead_of_waiting_for_ever(artifact: Artifact) -> None:
    session: oarlock.Session
    session = oarlock.Session(artifact, host={"plus": lambda x, by: session.run({"x": x.copy()})["z"]})
    with pytest.raises(HostCallError, match="runs the session that it is called from"):
        session.run({"x": X})


def test_sessions_in_threads_call_their_own_functions(artifact: Artifact) -> None:
    def work(number: int) -> None:
        with oarlock.Session(artifact, host={"plus": lambda x, by: x + np.float32(number)}) as session:
            for _ in range(50):
                np.testing.assert_array_equal(session.run({"x": X})["z"], np.maximum(X, 0) + number)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


def test_one_session_in_several_threads(artifact: Artifact) -> None:
    inside, most = 0, 0

    def function(x: np.ndarray, by: float) -> np.ndarray:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        out = x + np.float32(by)
        inside -= 1
        return out

    session = oarlock.Session(artifact, host={"plus": function})
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda: results.extend(bool((session.run({"x": X})["z"] == EXPECTED).all()) for _ in range(50)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [True] * 200 and most == 1  # calls of one session run one after another


def test_ten_thousand_calls_in_flat_memory(artifact: Artifact) -> None:
    calls = 0

    def function(x: np.ndarray, by: float) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls % 10 == 0:
            raise ValueError("every tenth")
        return x + np.float32(by)

    session = oarlock.Session(artifact, host={"plus": function})
    x = np.ones((256, 3), "float32")

    def runs(count: int) -> None:
        for _ in range(count):
            try:
                session.run({"x": x})
            except HostCallError:
                pass

    runs(500)
    before = heap()
    runs(10_000)
    assert calls == 10_500
    assert heap() - before < 100_000  # one array lost in a hundred calls would be 300 kB


def test_what_calls_cost_is_counted(artifact: Artifact) -> None:
    session = oarlock.Session(artifact, host={"plus": plus})
    for _ in range(3):
        session.run({"x": X})
    (cost,) = session.host_times()
    assert (cost.name, cost.operator, cost.calls, cost.bytes_in, cost.bytes_out) == ("plus", "custom_op.plus", 3, 72, 72)
    assert cost.seconds > 0 and cost.runs_as.endswith("plus")


def test_a_profile_has_rows_of_their_own_for_host_calls() -> None:
    pytest.importorskip("tvm_ffi")
    report = oarlock.profile(oarlock.compile(_model(), threads=1, host={"plus": plus}), host={"plus": plus}, inputs={"x": X}, runs=3)
    (row,) = [r for r in report.rows if r.limit == "host"]
    assert row.name == "plus (host call)" and (row.calls, row.read, row.written) == (1, 24, 24) and row.seconds > 0
    assert len(report.rows) > 1 and abs(sum(r.share for r in report.rows) - 1) < 1e-6
    assert "a call of Python or Paddle" in page.render(report)
