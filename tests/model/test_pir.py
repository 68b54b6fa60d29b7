"""The PIR reader on files written by hand."""

from __future__ import annotations

import json
import math
import time

import pytest
import tiny

from oarlock.errors import ModelError
from oarlock.model import TensorType, load_model
from oarlock.model.limits import MAX_NESTING

ROW = tiny.tensor_type("f32", -1, 3)


def read(*ops: dict, version: int = 4):
    return load_model(tiny.pir_bytes(tiny.pir(list(ops), version)))


def attributes(*attrs: dict) -> dict:
    """The attributes of an unknown operator, as the reader gives them."""
    return read(tiny.op("3.mine", [], [(1, ROW)], list(attrs))).block.ops[0].attrs


def test_names_of_operands_and_results_come_from_the_signature():
    program = load_model(tiny.pir_bytes(tiny.loop_model()), params=tiny.tensor_bytes(tiny.WEIGHT))
    scale = next(op for op in program.walk() if op.name == "pd_op.scale")
    assert list(scale.operands) == ["x", "scale"]
    assert scale.attrs == {"bias": 0.5, "bias_after_scale": True}  # the second is Paddle's default
    stack = next(op for op in program.walk() if op.name == "pd_op.array_to_tensor")
    assert stack.result_names == ["out", "out_index"]
    assert [v.name for v in program.inputs] == ["x", "flag"]
    assert list(program.outputs) == ["stack", "branch"]  # by column, not by position
    assert program.source["format"] == "pir" and program.source["version"] == 4 and len(program.source["sha256"]) == 64


def test_unknown_operators_have_positions():
    op = read(tiny.data("x", 1, ROW, "float32"), tiny.op("3.mine", [1, 0, 1], [(2, ROW), (3, ROW)])).block.ops[1]
    assert op.name == "custom_op.mine"
    assert list(op.operands) == ["operand_0", "operand_1", "operand_2"] and op.operands["operand_1"] is None
    assert op.result_names == ["result_0", "result_1"]


def test_the_handle_is_the_layer_and_an_ordinal():
    relu = tiny.op("1.relu", [1], [(2, ROW)], [tiny.attr("struct_name", "0.a_str", "/Head/Relu_1/")])
    program = read(tiny.data("x", 1, ROW, "float32"), relu, tiny.op("1.relu", [2], [(3, ROW)]))
    assert [op.handle for op in program.block.ops[1:]] == ["/Head/Relu_1/relu_0", "relu_1"]
    assert "struct_name" not in program.block.ops[1].attrs


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("0.a_bool", True, True),
        ("0.a_i32", -7, -7),
        ("0.a_i64", 1 << 62, 1 << 62),
        ("0.a_f32", 0.5, 0.5),
        ("0.a_f64", 3, 3.0),
        ("0.a_str", "é", "é"),
        ("0.a_array", [{"#": "0.a_i32", "D": 1}, {"#": "0.a_array", "D": []}], [1, []]),
        ("0.a_c64", [1.0, -2.0], 1 - 2j),
        ("0.a_c128", [0.0, 1.0], 1j),
        ("0.a_type", {"#": "0.t_bf16"}, "bfloat16"),
        ("0.a_type", ROW, TensorType("float32", (-1, 3))),
        ("1.a_intarray", [1, -1], [1, -1]),
        ("1.a_dtype", "float16", "float16"),
        ("1.a_dtype", "Undefined(ALL_DTYPE)", "undefined"),
        ("1.a_place", [1, 0, ""], [1, 0, ""]),
        ("1.a_layout", "NHWC", "NHWC"),
        ("1.a_scalar", ["float32", 2.5], 2.5),
        ("1.a_scalar", ["int64", 4], 4),
        ("1.a_scalar", ["bool", True], True),
        ("1.a_scalar", ["float16", 0x3C00], 1.0),
        ("1.a_scalar", ["bfloat16", 0x4000], 2.0),
        ("1.a_scalar", ["complex64", 1.0, 2.0], 1 + 2j),
    ],
)
def test_attributes(kind, data, expected):
    value = attributes(tiny.attr("a", kind, data))["a"]
    assert value == expected and type(value) is type(expected)


def test_infinities_and_nan_stand_beside_the_data():
    def special(word):
        return attributes({"N": "a", "AT": {"#": "0.a_f64", "VD": word}})["a"]

    assert special("INF") == math.inf and special("-INF") == -math.inf and math.isnan(special("NAN"))
    with pytest.raises(ModelError, match="a number is"):
        special("1.5")


def test_a_null_attribute_is_none():
    assert attributes({"N": "a", "AT": {"#": "NULL"}}) == {"a": None}


def test_older_schemas_get_what_was_added_since():
    repeat = tiny.op("1.repeat_interleave", [1], [(2, ROW)], [tiny.attr("repeats", "0.a_i32", 2), tiny.attr("axis", "0.a_i32", 0)])
    for version in (1, 2, 3):
        assert read(tiny.data("x", 1, ROW, "float32"), repeat, version=version).block.ops[1].attrs["output_size"] == -1


@pytest.mark.parametrize("version", [-1, 5, "4", None, 1 << 70])
def test_unknown_schema_versions_are_refused(version):
    with pytest.raises(ModelError, match="version"):
        read(version=version)


def test_required_attributes_are_required():
    with pytest.raises(ModelError, match="'axis' is missing"):
        read(tiny.data("x", 1, ROW, "float32"), tiny.op("1.repeat_interleave", [1], [(2, ROW)], [tiny.attr("repeats", "0.a_i32", 2)]))


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([tiny.op("1.relu", [7], [(2, ROW)])], "value 7, which is not defined"),
        ([tiny.data("x", 1, ROW, "float32"), tiny.data("y", 1, ROW, "float32")], "defined twice"),
        ([tiny.data("x", 1, ROW, "float32"), tiny.data("x", 2, ROW, "float32")], "are called 'x'"),
        ([{"#": "1.relu", "I": []}], "lacks its name"),
        ([tiny.data("x", 1, tiny.tensor_type("f32", 1 << 40, 1 << 40), "float32")], "too large"),
        ([tiny.data("x", 1, tiny.tensor_type("f32", 1 << 64), "float32")], "64-bit integer"),
        ([tiny.data("x", 1, tiny.tensor_type("f32", *[1] * 65), "float32")], "65 dims"),
        ([tiny.op("3.a", [], [(1, ROW)], [tiny.attr("a", "0.a_i32", 10**30)])], "64-bit integer"),
        ([tiny.op("3.a", [], [(1, ROW)], [tiny.attr("a", "0.a_i32", True)])], "64-bit integer"),
        ([tiny.op("3.a", [], [(1, ROW)], [tiny.attr("a", "0.a_str", "\ud800")])], "valid Unicode"),
        ([tiny.op("3.a", [], [(1, ROW)], [tiny.attr("a", "0.a_unheard", 1)])], "unknown kind"),
        ([tiny.fetch("o", 0, 9, 0, ROW)], "fetch"),
    ],
)
def test_damaged_programs(ops, message):
    with pytest.raises(ModelError, match=message) as caught:
        read(*ops)
    assert caught.value.where and caught.value.todo


def test_values_of_a_region_cannot_be_seen_outside():
    root = tiny.loop_model()
    ops = root["program"]["regions"][0]["blocks"][0]["ops"]
    ops.append(tiny.op("1.relu", [10], [(40, ROW)]))  # 10 is defined in the loop's body
    with pytest.raises(ModelError, match="value 10, which is not defined"):
        load_model(tiny.pir_bytes(root), params=tiny.tensor_bytes(tiny.WEIGHT))


def test_a_negative_dim_is_unknown():
    """Paddle's shape inference multiplies unknown dims with known ones: a flattened [-1, 36, 36] is declared [-1296]."""
    program = read(tiny.data("x", 1, tiny.tensor_type("f32", -1296), "float32"))
    assert program.inputs[0].type == TensorType("float32", (-1,))


@pytest.mark.parametrize("text", [b"[" * 1_000_000, b'{"a":' * 300_000, b"[" * 300 + b"]" * 300, b'{"a":"\\\\",' + b'"b":[' + b"[" * 400])
def test_deep_nesting_is_refused_before_parsing(text):
    began = time.monotonic()
    with pytest.raises(ModelError, match="nested"):
        load_model(b"{" + text)
    assert time.monotonic() - began < 2


def test_brackets_in_strings_do_not_nest():
    deep = '["\\' * (MAX_NESTING + 9)
    assert attributes(tiny.attr("a", "0.a_str", deep))["a"] == deep


def test_numbers_of_many_digits_are_refused_before_parsing():
    text = json.dumps(tiny.pir([])).replace('"version": 4', '"version": ' + "9" * 1_000_000).encode()
    began = time.monotonic()
    with pytest.raises(ModelError, match="digits"):
        load_model(text)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("text", [b"{", b'{"a":NaN}', b"{}", b'{"base_code":1}', b'{"base_code":{"magic":"onnx"}}', b"{\xff}", b"{\0}"])
def test_other_json_is_refused(text):
    with pytest.raises(ModelError):
        load_model(text)
