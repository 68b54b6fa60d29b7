"""Paddle as the host of operations that Oarlock has no converter for, or whose converter refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import oarlock
from oarlock.errors import HostCallError, UnsupportedOperators
from oarlock.model import Block, ListType, Op, Program, TensorType, Value
from oarlock.model.cut import isolate
from oarlock.model.defaults import fill, signature
from oarlock.model.write import save_model
from oarlock.ops import registry

pytest.importorskip("paddle", reason="paddlepaddle is the host")


def tensor(name: str, dtype: str, *shape: int) -> Value:
    return Value(name, TensorType(dtype, shape))


def operation(name: str, operands: list[Value | None], results: list[Value], **attrs: Any) -> Op:
    known = signature(f"pd_op.{name}")
    names = [known.result(i, len(results)) for i in range(len(results))]
    return Op(
        f"pd_op.{name}",
        dict(zip(known.operands, operands, strict=True)),
        fill(f"pd_op.{name}", attrs),
        results,
        names,
        handle=f"/net/{name}",
    )


def _chunk_eval() -> tuple[Op, dict[str, np.ndarray]]:
    inputs = [tensor("a", "int64", -1, -1, 1), tensor("b", "int64", -1, -1, 1), tensor("c", "int64", -1)]
    results = [tensor(f"r{i}", "float32" if i < 3 else "int64", 1) for i in range(6)]
    rng = np.random.default_rng(0)
    arrays = {"inference": rng.integers(0, 7, (2, 9, 1)), "label": rng.integers(0, 7, (2, 9, 1)), "seq_length": np.array([9, 7])}
    return operation("chunk_eval", inputs, results, num_chunk_types=3), arrays


def _auc() -> tuple[Op, dict[str, np.ndarray]]:
    """States that it writes come back as results."""
    inputs = [tensor("x", "float32", -1, 2), tensor("l", "int64", -1, 1), tensor("p", "int64", 513), tensor("n", "int64", 513), None]
    results = [tensor("auc", "float64"), tensor("pos", "int64", 513), tensor("neg", "int64", 513)]
    rng = np.random.default_rng(1)
    scores = rng.random(20).astype("float32")
    zeros = np.zeros(513, "int64")  # two windows of 256 thresholds, and a counter
    arrays = {"x": np.stack([1 - scores, scores], 1), "label": (rng.random((20, 1)) < scores[:, None]).astype("int64")}
    return operation("auc", inputs, results, num_thresholds=255, slide_steps=1), arrays | {"stat_pos": zeros, "stat_neg": zeros.copy()}


def _positions() -> tuple[Op, dict[str, np.ndarray]]:
    arrays = {"x": np.random.default_rng(2).standard_normal((2, 5, 6)).astype("float32")}
    return operation(
        "add_position_encoding", [tensor("x", "float32", -1, -1, 6)], [tensor("y", "float32", -1, -1, 6)], alpha=0.5, beta=2.0
    ), arrays


def _match() -> tuple[Op, dict[str, np.ndarray]]:
    results = [tensor("i", "int32", -1, 5), tensor("d", "float32", -1, 5)]
    distances = np.random.default_rng(3).random((4, 5)).astype("float32")
    op = operation("bipartite_match", [tensor("m", "float32", -1, 5)], results, match_type="per_prediction", dist_threshold=0.7)
    return op, {"dist_mat": distances}


def _partial() -> tuple[Op, dict[str, np.ndarray]]:
    """A list of tensors comes in."""
    part = TensorType("float32", (-1, 5))
    rng = np.random.default_rng(4)
    arrays = {f"x_{i}": rng.standard_normal((3, 5)).astype("float32") for i in range(2)}
    return operation("partial_sum", [Value("xs", ListType((part, part)))], [tensor("y", "float32", -1, 2)], start_index=1, length=2), arrays


def _without_converter(monkeypatch: pytest.MonkeyPatch, op: Op) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", {k: v for k, v in registry.registered().items() if k != op.short_name})


HOSTED: list[Callable[[], tuple[Op, dict[str, np.ndarray]]]] = [_chunk_eval, _auc, _positions, _match, _partial]


@pytest.mark.parametrize("case", HOSTED, ids=[c.__name__[1:] for c in HOSTED])
def test_an_operator_without_converter_runs_as_in_paddle(
    case: Callable[[], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_paddle: Any
) -> None:
    op, inputs = case()
    _without_converter(monkeypatch, op)
    program = isolate(op)
    expected = in_paddle(save_model(program, tmp_path / "one"), inputs)
    with pytest.raises(UnsupportedOperators, match=op.name):
        oarlock.compile(program, threads=1)
    path = oarlock.compile(program, threads=1, host="paddle").save(tmp_path / "one.oar")
    session = oarlock.load(path)
    for _ in range(2):  # nothing is left over from the first run
        got = session.run(inputs)
        assert len(got) == len(expected)
        for mine, theirs in zip(got.values(), expected, strict=True):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
    (cost,) = session.host_times()
    assert cost.calls == 2 and cost.runs_as == "Paddle"


def test_an_operator_whose_converter_refuses(tmp_path: Path) -> None:
    """Kernels of Oarlock before and after; the sizes that come back are known at run time."""
    x, y, z, out = (tensor(n, "float32", -1, 4) for n in ("x", "y", "z", "out"))
    ops = [
        Op("pd_op.data", {}, {"name": "x"}, [x], ["out"]),
        operation("relu", [x], [y]),
        operation("leaky_relu", [y], [z], negative_slope=0.5, unheard_of="yes"),
        operation("exp", [z], [out]),
    ]
    model = Program(Block([], ops), [x], {"out": out}, {}).verify()
    with pytest.raises(UnsupportedOperators, match="unheard_of='yes' is not supported"):
        oarlock.compile(model, threads=1)
    artifact = oarlock.compile(model, threads=1, host="paddle")
    assert [c["operator"] for c in artifact.host_calls] == ["pd_op.leaky_relu"]
    session = oarlock.Session(artifact)
    for n in (1, 3, 0):
        array = np.random.default_rng(n).standard_normal((n, 4)).astype("float32")
        np.testing.assert_allclose(session.run({"x": array})["out"], np.exp(np.maximum(array, 0)), rtol=1e-6)


def test_inside_a_loop() -> None:
    """x doubles by Paddle's hand until it is large enough."""
    x, carried, doubled, big, more, total, limit = (
        tensor("x", "float32", 2),
        tensor("carried", "float32", 2),
        tensor("doubled", "float32", 2),
        tensor("big", "float32"),
        tensor("more", "bool"),
        tensor("total", "float32", 2),
        tensor("limit", "float32"),
    )
    start = tensor("start", "bool")
    body = Block(
        [carried],
        [
            operation("add", [carried, carried], [doubled], unheard_of=1),
            Op("pd_op.max", {"x": doubled, "axis": None}, {"axis": [], "keepdim": False}, [big], ["out"]),
            operation("less_than", [big, limit], [more]),
            Op("cf.yield", {"operand_0": more, "operand_1": doubled}),
        ],
    )
    ops = [
        *(Op("pd_op.data", {}, {"name": v.name}, [v], ["out"]) for v in (x, limit)),
        Op("pd_op.full", {}, {"shape": [], "value": 1.0, "dtype": "bool"}, [start], ["out"]),
        Op("pd_op.while", {"cond": start, "operand_1": x}, {}, [total], ["result_0"], [body]),
    ]
    model = Program(Block([], ops), [x, limit], {"y": total}, {}).verify()
    session = oarlock.Session(oarlock.compile(model, threads=1, host="paddle"))
    got = session.run({"x": np.array([1, 3], "float32"), "limit": np.array(40, "float32")})["y"]
    np.testing.assert_array_equal(got, [16, 48])
    assert session.host_times()[0].calls == 4


@pytest.mark.parametrize("dtype", "bool int8 int16 int32 int64 uint8 float16 bfloat16 float32 float64".split())
def test_every_element_type_crosses(dtype: str) -> None:
    x, y = tensor("x", dtype, -1), tensor("y", dtype, -1)
    model = isolate(Op("pd_op.assign", {"x": x}, {"unheard_of": 1}, [y], ["out"]))
    session = oarlock.Session(oarlock.compile(model, threads=1, host="paddle"))
    for array in (np.array([1, 0, 3]), np.array([])):
        array = array.astype(getattr(ml_dtypes, dtype, None) or dtype)
        got = session.run({"x": array})["out"]
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array)


def test_sessions_in_threads() -> None:
    op, inputs = _positions()
    artifact = oarlock.compile(isolate(op), threads=1, host="paddle")
    expected = oarlock.Session(artifact).run(inputs)["out"]

    def work(number: int) -> None:
        with oarlock.Session(artifact) as session:
            for _ in range(100):
                np.testing.assert_array_equal(session.run({"x": inputs["x"][:number]})["out"], expected[:number])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, (1, 2, 1)))


# ---- what goes wrong -----------------------------------------------------------------------------------------------------


def test_what_paddle_does_not_have_either_is_a_reason() -> None:
    x, y = tensor("x", "float32", 3), tensor("y", "float32", 3)
    with pytest.raises(UnsupportedOperators, match=r"pd_op.unheard_of.*Paddle cannot run pd_op.unheard_of"):
        oarlock.compile(isolate(Op("pd_op.unheard_of", {"x": x}, {}, [y], ["out"])), threads=1, host="paddle")
    with pytest.raises(UnsupportedOperators, match="no operator of that name is registered"):
        model = isolate(Op("pd_op.relu", {"x": x}, {}, [y], ["out"]))
        model.block.ops[-1].name = "legacy.unheard_of"
        oarlock.compile(model, threads=1, host="paddle")


def test_an_error_of_paddle_names_the_operator() -> None:
    op, inputs = _chunk_eval()
    session = oarlock.Session(oarlock.compile(isolate(op), threads=1, host="paddle"))
    inputs["label"] = inputs["label"] + 100
    with pytest.raises(HostCallError, match="Paddle failed: RuntimeError: InvalidArgumentError") as caught:
        session.run(inputs)
    assert "pd_op.chunk_eval (/net/chunk_eval), operands int64[2, 9, 1]" in str(caught.value)


def test_a_registered_function_goes_before_paddle(monkeypatch: pytest.MonkeyPatch) -> None:
    op, inputs = _positions()
    _without_converter(monkeypatch, op)
    with_function = {"add_position_encoding": lambda x, alpha, beta: x * np.float32(alpha + beta)}
    artifact = oarlock.compile(isolate(op), threads=1, host="paddle")
    got = oarlock.Session(artifact, host=with_function).run(inputs)["out"]
    np.testing.assert_array_equal(got, inputs["x"] * np.float32(2.5))
    artifact = oarlock.compile(isolate(op), threads=1, host=with_function)
    assert artifact.host_calls[0]["by"] == "python"


def test_without_paddle_the_session_says_what_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    op, _ = _positions()
    _without_converter(monkeypatch, op)
    path = oarlock.compile(isolate(op), threads=1, host="paddle").save(tmp_path / "model.oar")
    code = f"""
import sys
sys.modules["paddle"] = None
import oarlock
try:
    oarlock.load({str(path)!r})
except oarlock.HostCallError as error:
    print(error)
try:
    oarlock.compile({str(tmp_path)!r}, host="paddle")
except oarlock.OarlockError as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "pd_op.add_position_encoding run by Paddle" in done.stdout and "not installed" in done.stdout, done.stderr
    assert "oarlock[paddle]" in done.stdout
