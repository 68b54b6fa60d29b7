"""The shared cases load, and say what Paddle says of the same files."""

from __future__ import annotations

import json
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


# What Paddle 3.0, 3.1 and 3.2 (schema 1, 2, 3) wrote otherwise than the next release: numbers of 32 bits, and attributes not yet there.
NARROW = {
    1: {"pool2d": ("strides", "paddings"), "pool3d": ("strides", "paddings"), "expand_as": ("target_shape",)},
    2: {"kthvalue": ("k",)},
    3: {"leaky_relu": ("negative_slope",), "softplus": ("beta", "threshold"), "logit": ("eps",), "pad3d": ("pad_value",),
        "group_norm": ("epsilon",), "bilinear_interp": ("scale",), "p_norm": ("porder",)},
}  # fmt: skip
ABSENT = {2: {"repeat_interleave": ("output_size",)}}


def changed_operators(paddle, folder: Path) -> dict[str, Any]:
    """A file of the installed Paddle with every operator whose form changed between schemas."""
    main = paddle.static.Program()
    with paddle.static.program_guard(main):
        x, v = paddle.static.data("x", [2, 4, 6, 6], "float32"), paddle.static.data("v", [2, 4, 4, 6, 6], "float32")
        f = paddle.nn.functional
        wide = f.pad(v, [1, 1, 1, 1, 0, 0], value=0.5, data_format="NCDHW")
        values = [
            f.max_pool2d(x, 2, stride=1), f.max_pool3d(wide, 2, stride=2), f.interpolate(x, scale_factor=1.5, mode="bilinear"),
            paddle.kthvalue(x, 2)[0], paddle.repeat_interleave(x, 3, 1), f.leaky_relu(x, 0.3), f.softplus(x, 2.0, 10.0),
            paddle.logit(x, 1e-3), f.group_norm(x, 2, 1e-3), paddle.norm(x, 3.0, 1), paddle.expand_as(x[:, :1], x),
        ]  # fmt: skip
        paddle.static.save_inference_model(str(folder / "new"), [x, v], values, paddle.static.Executor(), program=main)
    return json.loads((folder / "new.json").read_text())


def older(graph: dict[str, Any], version: int) -> set[str]:
    """Turn ``graph`` into what a Paddle of that schema wrote; the changes that found something to change."""
    done = set()
    graph["base_code"]["version"] = version
    for op in graph["program"]["regions"][0]["blocks"][0]["ops"]:
        name = op["#"].split(".")[-1].rstrip("_")
        for since in range(version, 4):
            for attr in op["A"]:
                if isinstance(attr, dict) and attr["N"] in NARROW[since].get(name, ()):
                    done.add(f"{name} {attr['N']}")
                    for number in attr["AT"]["D"] if isinstance(attr["AT"]["D"], list) else [attr["AT"]]:
                        number["#"] = number["#"].replace("64", "32")
            gone = ABSENT.get(since, {}).get(name, ())
            done |= {f"{name} {attr['N']}" for attr in op["A"] if gone and attr["N"] in gone}
            op["A"] = [attr for attr in op["A"] if not (gone and attr["N"] in gone)]
    return done


@pytest.mark.parametrize("version", [1, 2, 3])
def test_older_schemas_read_as_paddle_upgrades_them(static, tmp_path, version):
    graph = changed_operators(static, tmp_path)
    tables = [table.get(since, {}) for table in (NARROW, ABSENT) for since in range(version, 4)]
    assert older(graph, version) == {f"{op} {attr}" for table in tables for op, attrs in table.items() for attr in attrs}
    (tmp_path / "old.json").write_text(json.dumps(graph))
    theirs = static.static.Program()
    static.base.core.deserialize_pir_program(str(tmp_path / "old.json"), theirs)
    ours = pir.read_program((tmp_path / "old.json").read_bytes(), "old.json")
    assert list(map(our_view, ours.walk())) == list(map(paddles_view, paddles_walk(theirs.global_block())))


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
