"""The shared cases load, and say what Paddle says of the same files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oarlock.model import ArrayType, ListType, Program, TensorType, load_model, pir

IGNORED = {"stop_gradient", "persistable", "trainable", "struct_name", "op_role", "place", "is_distributed", "is_parameter", "need_clip"}
EVERY = {"api": 12, "layer": 12, "control": 1, "quant": 4}


@pytest.fixture(scope="module")
def static():
    """Paddle in static mode, and back out of it for the tests that follow."""
    paddle = pytest.importorskip("paddle", reason="Paddle is not installed")
    if not hasattr(paddle.base.core, "deserialize_pir_program"):
        pytest.skip("this Paddle reads no PIR")
    paddle.enable_static()
    yield paddle
    paddle.disable_static()


@pytest.mark.parametrize("suite", ["api", "layer", "control", "quant", "legacy"])
def test_every_case_loads(cases, tmp_path, suite):
    count = 0
    for case in list(cases.find([cases.here], suite))[:: 6 if suite in ("api", "layer") else 1]:
        folder = tmp_path / case.id
        folder.mkdir()
        program = load_model(case.extract(str(folder))).verify()
        assert {v.name for v in program.inputs} >= {i["name"] for i in case.meta["inputs"]}, case.id
        assert len(program.outputs) == len(case.meta["outputs"]), case.id
        assert not any(op.name.endswith("_") for op in program.walk()), case.id
        count += 1
    assert count > 10


@pytest.mark.parametrize("suite", list(EVERY))
def test_operations_attributes_and_types_are_paddles(cases, static, tmp_path, suite):
    for case in list(cases.find([cases.here], suite))[:: EVERY[suite]]:
        folder = tmp_path / case.id
        folder.mkdir()
        path = Path(case.extract(str(folder))) / "model.json"
        if path.is_file():
            theirs = static.static.Program()
            static.base.core.deserialize_pir_program(str(path), theirs)
            ours = pir.read_program(path.read_bytes(), case.id)
            assert list(map(our_view, ours.walk())) == list(map(paddles_view, paddles_walk(theirs.global_block()))), case.id


def paddles_walk(block):
    for op in block.ops:
        yield op
        for inner in op.blocks():
            yield from paddles_walk(inner)


def paddles_view(op) -> tuple:
    attrs = {k: plain(v) for k, v in op.attrs().items() if k not in IGNORED}
    types = []
    for result in op.results():
        if not result.initialized() or result.is_dense_tensor_array_type():
            types.append("array" if result.initialized() else "none")
        else:
            vector = result.type().as_vec_type()
            types.append(f"list of {len(vector.as_list())}" if vector else (plain(result.dtype), [max(-1, d) for d in result.shape]))
    absent = [not op.operand_source(i).initialized() for i in range(op.num_operands())]
    return op.name(), absent, attrs, types


def our_view(op) -> tuple:
    attrs = {k: plain(v) for k, v in op.attrs.items() if k not in IGNORED}
    types: list[Any] = []
    for result in op.results:
        match result.type:
            case TensorType(dtype, shape):
                types.append((dtype, list(shape)))
            case ListType(elements):
                types.append(f"list of {len(elements)}")
            case ArrayType():
                types.append("array")
            case _:
                types.append("none")
    return op.name, [v is None for v in op.operands.values()], attrs, types


def plain(value: Any) -> Any:
    """An attribute as comparable data: dtypes by name, floats as float32 holds them."""
    if type(value).__name__ == "DataType":
        return value.name.lower()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return "nan" if math.isnan(value) else float(np.float32(value))
    return value


def test_weights_are_paddles(cases, static, tmp_path):
    """Paddle's own loader gives the same arrays, bit for bit, under the same names."""
    checked = 0
    executor = static.static.Executor()
    for case in list(cases.find([cases.here], "layer"))[::40]:
        folder = tmp_path / case.id
        folder.mkdir()
        ours: Program = load_model(case.extract(str(folder)))
        if not any(p.data is not None for p in ours.parameters.values()):
            continue
        scope = static.static.Scope()
        with static.static.scope_guard(scope):
            static.static.load_inference_model(str(folder / "model"), executor)
            for name, parameter in ours.parameters.items():
                if parameter.data is not None:
                    theirs = np.asarray(scope.find_var(name).get_tensor())
                    assert theirs.dtype == parameter.data.dtype and theirs.tobytes() == parameter.data.tobytes(), (case.id, name)
                    checked += 1
    assert checked > 50
