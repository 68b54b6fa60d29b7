"""compile(): signature, options and refusals.  What operators compute is tested elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock import InputError, ModelError, TargetError, UnsupportedOperators, targets
from oarlock.model import Block, Op, Program, TensorType, Value


def program(*shapes: Sequence[int], op: str = "add") -> Program:
    """out = the inputs x, y, … (float32, declared ``shapes``) joined by a binary operator; also gives x itself."""
    inputs = [Value("xyz"[i], TensorType("float32", tuple(shape))) for i, shape in enumerate(shapes)]
    ops = [Op("pd_op.data", {}, {"name": v.name}, [v], ["out"]) for v in inputs]
    result = inputs[0]
    for value in inputs[1:]:
        joined = Value(f"{result.name}{value.name}", TensorType("float32", tuple(shapes[0])))
        ops.append(Op(f"pd_op.{op}", {"x": result, "y": value}, {}, [joined], ["out"]))
        result = joined
    return Program(Block([], ops), inputs, {"out": result, "first input": inputs[0]}, {}, {"path": "by hand", "sha256": "0" * 64})


def test_from_program_to_numbers(tmp_path: Path) -> None:
    artifact = oarlock.compile(program((-1, 4), (-1, 4)), shapes={"x": ("n", 4), "y": ("n", 4)})
    assert [str(s) for s in artifact.signature.inputs] == ["x: float32[n, 4]", "y: float32[n, 4]"]
    assert [str(s) for s in artifact.signature.outputs] == ["out: float32[n, 4]", "first input: float32[n, 4]"]
    x, y = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("float32")
    outputs = oarlock.load(artifact.save(tmp_path / "a.oar")).run({"x": x, "y": y})
    assert list(outputs) == ["out", "first input"]
    assert np.array_equal(outputs["out"], x + y) and np.array_equal(outputs["first input"], x)


def test_declared_dims_are_kept_when_no_shape_is_given() -> None:
    (spec,) = oarlock.compile(program((-1, 3, -1))).signature.inputs
    first, fixed, last = spec.shape or ()
    assert isinstance(first, str) and fixed == 3 and isinstance(last, str) and first != last


def test_shapes_fix_free_and_share_dims() -> None:
    signature = oarlock.compile(program((-1, 3, 8), (1, 3, 8)), shapes={"x": (None, 3, "w"), "y": (1, 3, "w")}).signature
    x, y = signature.inputs
    assert x.shape and y.shape and x.shape[2] == y.shape[2] == "w" and x.shape[1] == 3 and isinstance(x.shape[0], str)
    assert oarlock.compile(program((-1, 3)), shapes={"x": (2, 3)}).signature.inputs[0].shape == (2, 3)


MISFITS: list[Any] = [
    {"z": (1, 4)},
    {"x": (1,)},
    {"x": (1, 4, 1)},
    {"x": (-1, 4)},
    {"x": (1.5, 4)},
    {"x": ("no name", 4)},
    {"x": ("lambda", 4)},
    {"x": 3},
    {"x": "ab"},
    {"x": (True, 4)},
    {"x": (1 << 31, 4)},
    {"x": None, 1: (2,)},
    [1],
    [],
]


@pytest.mark.parametrize("shapes", MISFITS, ids=str)
def test_shapes_that_do_not_fit(shapes: Any) -> None:
    with pytest.raises(InputError):
        oarlock.compile(program((-1, 4)), shapes=shapes)


def test_shapes_that_no_operator_takes_are_not_called_a_gap() -> None:
    with pytest.raises(UnsupportedOperators, match="check that the shapes given fit"):
        oarlock.compile(program((-1, 4), (-1, 4)), shapes={"x": (2, 4), "y": (2, 5)})


def test_dims_that_nobody_named_are_not_shared() -> None:
    two = program((-1, 4), (-1, 4))
    two.inputs[0].name, two.inputs[1].name = "a.b", "a_b"
    first, second = oarlock.compile(two, shapes={"a.b": (None, 4), "a_b": ("a_b_0", 4)}).signature.inputs
    assert first.shape and second.shape and first.shape[0] != second.shape[0]


def test_sizes_computed_by_numpy_are_sizes() -> None:
    assert oarlock.compile(program((-1, 4)), shapes={"x": (np.int64(2), 4)}).signature.inputs[0].shape == (2, 4)


def test_manifest_says_who_what_and_for_which_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    manifest = oarlock.compile(program((2, 2)), threads=1).manifest
    assert manifest["oarlock"] == oarlock.__version__ and manifest["tvm"] and manifest["tvm_ffi"]
    assert manifest["created"] == "1970-01-02T00:00:00+00:00"
    assert manifest["target"] == "cpu" and manifest["options"]["threads"] == 1
    assert manifest["source"] == {"path": "by hand", "sha256": "0" * 64}
    assert manifest["runtime"]["device"] == "cpu" and manifest["runtime"]["threads"] == 1


def test_targets_by_name_and_by_object() -> None:
    assert oarlock.compile(program((2, 2)), target=targets.get("cpu", threads=1)).manifest["options"]["threads"] == 1
    wrong: list[dict[str, Any]] = [
        {"target": "abacus"},
        {"options": {"beads": 10}},
        {"options": {"mcpu": "z80"}},
        {"threads": 0},
        {"target": targets.get("cpu"), "threads": 2},
    ]
    for arguments in wrong:
        with pytest.raises(TargetError):
            oarlock.compile(program((2, 2)), **arguments)


def test_code_for_an_older_cpu_says_what_it_needs() -> None:
    options = {"mcpu": "x86-64-v3", "mtriple": "x86_64-linux-gnu"}
    runtime = oarlock.compile(program((2, 2)), options=options).runtime
    assert runtime["machine"] == "x86_64" and {"avx2", "fma"} <= set(runtime["features"])
    assert not any("avx512" in name for name in runtime["features"])


def test_cpu_features_are_a_text_or_a_tuple() -> None:
    assert targets.get("cpu", mattr="+avx2,+fma").options["mattr"] == targets.get("cpu", mattr=("+avx2", "+fma")).options["mattr"]


def test_progress_and_dumps(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    oarlock.compile(program((2, 2)), progress=lambda *step: seen.append(step), dump=tmp_path)
    assert seen[-1] == ("done", 1, 1) and all(0 <= done <= total for _, done, total in seen)
    assert any("def main" in file.read_text() for file in tmp_path.iterdir())


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        oarlock.compile(tmp_path / "missing")
    with pytest.raises(UnsupportedOperators) as error:
        oarlock.compile(program((2, 2), (2, 2), op="no_such_operator"))
    assert error.value.operators[0]["name"] == "pd_op.no_such_operator"
