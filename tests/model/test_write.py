"""The writer of PIR files: Paddle runs what it writes as it runs the original; the reader reads the same program."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from oarlock import UnsupportedError, load_model
from oarlock.model import ArrayType, Block, ListType, Op, OpaqueType, Parameter, Program, TensorType, Value
from oarlock.model.cut import extract, isolate
from oarlock.model.params import read_tensors
from oarlock.model.write import save_model, write_params, write_pir


def _net(paddle: Any, x: Any, n: Any, w: Any) -> Any:
    """Lists, absent operands, control flow, attributes of most kinds, infinities, an array that is written to."""
    f = paddle.nn.functional
    outs = [paddle.concat([x @ w, f.gelu(x @ w)], axis=1), *paddle.topk(x, 2), *paddle.split(x, [1, 2], axis=1), f.layer_norm(x, [3])]
    outs += [paddle.sum(x, axis=[0], dtype="float64"), paddle.full([2], 7, "int64"), paddle.cast(x, "int32"), paddle.mean(x)]
    outs += [paddle.assign(np.array([1.5, 2], "float32")), paddle.transpose(x, [1, 0]), paddle.einsum("ij,kj->ik", x, x)]
    outs += paddle.static.nn.while_loop(lambda i, y: i < n, lambda i, y: [i + 1, y * 2.0 + x], [paddle.zeros([], "int64"), x])
    outs.append(paddle.static.nn.cond(paddle.sum(x) > 0, lambda: x + 1, lambda: x - w.sum()))
    array = paddle.tensor.array_write(x, paddle.zeros([1], "int64"))
    outs.append(paddle.tensor.array_read(array, paddle.zeros([1], "int64")))
    return outs


INPUTS = {"x": np.random.default_rng(0).standard_normal((4, 3)).astype("float32"), "n": np.array(3)}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    pytest.importorskip("paddle", reason="paddlepaddle makes the model and runs it")
    from oarlock.checking.oracle import export_call

    stem = tmp_path_factory.mktemp("write") / "model"
    w = np.random.default_rng(1).standard_normal((3, 5)).astype("float32")
    return stem, export_call(_net, INPUTS, {"w": w}, stem, dynamic=True)


def test_a_program_written_is_read_the_same(original: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    program = load_model(original[0])
    again = load_model(save_model(program, tmp_path / "again"))
    assert str(again) == str(program)
    assert (tmp_path / "again.pdiparams").read_bytes() == original[0].with_suffix(".pdiparams").read_bytes()
    assert [op.handle for op in again.walk()] == [op.handle for op in program.walk()]


def test_a_program_may_be_written_over_its_own_files(tmp_path: Path) -> None:
    """Its weights are views of the file that is replaced."""
    value = Value("w", TensorType("float32", (1 << 16,)))
    parameter = Parameter("w", TensorType("float32", (1 << 16,)), np.arange(1 << 16, dtype="float32"))
    made = Op("builtin.parameter", {}, {"parameter_name": "w", "persistable": True}, [value], ["out"])
    program = load_model(save_model(Program(Block([], [made]), [], {"w": value}, {"w": parameter}), tmp_path / "model"))
    again = load_model(save_model(program, tmp_path / "model"))
    for read in (program, again):
        np.testing.assert_array_equal(next(iter(read.parameters.values())).data, np.arange(1 << 16))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "model.pdiparams"]


def test_paddle_runs_what_is_written(original: tuple[Path, list[np.ndarray]], tmp_path: Path, in_paddle: Any) -> None:
    got = in_paddle(save_model(load_model(original[0]), tmp_path / "again"), INPUTS)
    assert len(got) == len(original[1])
    for mine, expected in zip(got, original[1], strict=True):
        assert mine.dtype == expected.dtype
        np.testing.assert_array_equal(mine, expected)


def test_numbers_that_json_lacks(tmp_path: Path, in_paddle: Any) -> None:
    """Paddle 3.3 itself writes these so that it cannot read them again."""
    wanted = [math.inf, -math.inf, math.nan, 0.1]
    values = [Value(f"v{i}", TensorType("float32", (1,))) for i in range(4)]
    ops = [
        Op("pd_op.full", {}, {"shape": [1], "value": v, "dtype": "float32"}, [out], ["out"]) for v, out in zip(wanted, values, strict=True)
    ]
    x = Value("x", TensorType("float32", (1,)))
    ops.insert(0, Op("pd_op.data", {}, {"name": "x"}, [x], ["out"]))
    y = Value("y", TensorType("float32", (1,)))
    ops.append(Op("pd_op.add", {"x": x, "y": values[3]}, {}, [y], ["out"]))
    path = save_model(Program(Block([], ops), [x], {**{v.name: v for v in values}, "y": y}, {}), tmp_path / "numbers")
    got = [float(a[0]) for a in in_paddle(path, {"x": np.ones(1, "float32")})]
    np.testing.assert_array_equal(got[:4], np.array(wanted, "float32"))
    attributes = [op.attrs["value"] for op in load_model(path).walk() if op.name == "pd_op.full"]
    np.testing.assert_array_equal(attributes, wanted)


def _value(name: str, dtype: str = "float32", *shape: int) -> Value:
    return Value(name, TensorType(dtype, shape))


OPERATIONS: list[tuple[str, Callable[[], Op], dict[str, np.ndarray], Callable[..., Any]]] = [
    (
        "absent operands",
        lambda: Op(
            "pd_op.layer_norm",
            {"x": _value("a", "float32", 2, 4), "scale": None, "bias": None},
            {"begin_norm_axis": 1, "epsilon": 1e-5},
            [_value("b", "float32", 2, 4), _value("c", "float32", 2), _value("d", "float32", 2)],
            ["out", "mean", "variance"],
        ),
        {"x": np.arange(8, dtype="float32").reshape(2, 4) ** 2},
        lambda x: [(x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5), x.mean(1), x.var(1)],
    ),
    (
        "a list in",
        lambda: Op(
            "pd_op.concat",
            {"x": Value("l", ListType((TensorType("int64", (2,)), TensorType("int64", (-1,))))), "axis": _value("axis", "int32", 1)},
            {},
            [_value("out", "int64", -1)],
            ["out"],
        ),
        {"x_0": np.array([1, 2]), "x_1": np.array([3]), "axis": np.array([0], "int32")},
        lambda x_0, x_1, axis: [np.concatenate([x_0, x_1])],
    ),
    (
        "a list out",
        lambda: Op(
            "pd_op.unbind",
            {"input": _value("a", "float32", 2, 3)},
            {"axis": 0},
            [Value("l", ListType((TensorType("float32", (3,)),) * 2))],
            ["out"],
        ),
        {"input": np.arange(6, dtype="float32").reshape(2, 3)},
        lambda input: list(input),
    ),
]


@pytest.mark.parametrize(("op", "inputs", "expected"), [c[1:] for c in OPERATIONS], ids=[c[0] for c in OPERATIONS])
def test_one_operation_alone(
    op: Callable[[], Op], inputs: dict[str, np.ndarray], expected: Callable[..., Any], tmp_path: Path, in_paddle: Any
) -> None:
    program = isolate(op())
    assert [v.name for v in program.inputs] == list(inputs)
    path = save_model(program, tmp_path / "one")
    assert not path.with_suffix(".pdiparams").exists()
    for mine, wanted in zip(in_paddle(path, inputs), expected(**inputs), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-5)
    assert [o.name for o in load_model(path).walk()] == [o.name for o in program.walk()]
    assert list(load_model(path).outputs) == list(program.outputs)


def test_attributes_of_unknown_operators_keep_their_kinds(tmp_path: Path) -> None:
    x, y = _value("x", "float32", 2), _value("y", "float32", 2)
    attrs = {"a": 1, "b": 2.5, "c": "text", "d": True, "e": [1, 2], "f": [], "g": [0.5], "h": None, "i": 1 << 40, "j": ["u", "v"], "k": 3}
    custom = Op("custom_op.mine", {"operand_0": x}, attrs, [y], ["result_0"], kinds={"b": "f32", "e": "i64[]", "k": "i64"})
    data = Op("pd_op.data", {}, {"name": "x"}, [x], ["out"])
    path = save_model(Program(Block([], [data, custom]), [x], {"y": y}, {}), tmp_path / "custom")
    read = next(op for op in load_model(path).walk() if op.name == "custom_op.mine")
    assert read.attrs == attrs
    kinds = {"a": "i32", "b": "f32", "c": "str", "d": "bool", "e": "i64[]", "g": "f64[]", "h": "none", "i": "i64", "j": "str[]", "k": "i64"}
    assert read.kinds == kinds
    again = load_model(save_model(load_model(path), tmp_path / "again"))
    assert next(op for op in again.walk() if op.name == "custom_op.mine").kinds == kinds
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_parameters_of_every_type_are_written_as_they_are_read() -> None:
    parameters = {}
    for dtype in "bool int8 uint8 int16 int32 int64 float16 bfloat16 float32 float64 complex64".split():
        array = np.arange(300).astype(getattr(ml_dtypes, dtype, None) or dtype)
        for shape in ((300,), (2, 150), (300, 0)):
            name = f"{dtype}{shape}"
            parameters[name] = Parameter(name, TensorType(dtype, shape), array[: math.prod(shape)].reshape(shape))
    parameters["scalar"] = Parameter("scalar", TensorType("float32", ()), np.array(2.5, "float32"))
    parameters["absent"] = Parameter("absent", TensorType("float32", (3,)), None)
    read = read_tensors(b"".join(write_params(parameters)), "here")
    stored = [parameters[name].data for name in sorted(parameters) if parameters[name].data is not None]
    assert len(read) == len(stored)
    for mine, expected in zip(read, stored, strict=True):
        assert mine.dtype == expected.dtype and mine.shape == expected.shape
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize(
    ("op", "reason"),
    [
        (Op("legacy.mine", {}, {}, [_value("y")], ["out"]), "legacy.mine has no form in PIR"),
        (Op("pd_op.mine", {}, {}, [Value("y", OpaqueType("selected_rows"))], ["out"]), "the type selected_rows"),
        (Op("pd_op.mine", {}, {"a": object()}, [_value("y")], ["out"]), "an attribute of the type object"),
        (Op("pd_op.mine", {}, {}, [_value("y", "strange")], ["out"]), "element type 'strange'"),
    ],
)
def test_what_pir_cannot_say_is_refused(op: Op, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason):
        write_pir(Program(Block([], [op]), [], {}, {}))


def test_an_operation_on_an_array_cannot_stand_alone() -> None:
    array = Value("a", ArrayType("float32", (-1,)))
    with pytest.raises(UnsupportedError, match="is a array<float32>, not a tensor, so a program cannot begin with it"):
        isolate(Op("pd_op.array_length", {"x": array}, {}, [_value("n", "int64", 1)], ["out"]))


def test_a_part_of_a_program(original: tuple[Path, list[np.ndarray]], tmp_path: Path, in_paddle: Any) -> None:
    """Cut before and behind a matrix product, and before a loop: Paddle gives what the whole program has there."""
    program = load_model(original[0])
    product = next(op for op in program.block.ops if op.name == "pd_op.matmul")
    loop = next(op for op in program.block.ops if op.name == "pd_op.while")
    start = next(v for k, v in loop.operands.items() if k == "operand_2")
    assert start is not None
    whole = {"product": product.results[0], "loop": loop.results[1]}
    expected = in_paddle(save_model(extract(program, whole), tmp_path / "whole"), INPUTS)
    np.testing.assert_array_equal(expected[1], original[1][14])

    part = extract(program, {"product": product.results[0]}, [program.inputs[0]])
    assert [v.name for v in part.inputs] == ["x"] and list(part.parameters) == ["w"]
    (got,) = in_paddle(save_model(part, tmp_path / "product"), {"x": INPUTS["x"]})
    np.testing.assert_array_equal(got, expected[0])

    gelu = next(op for op in program.block.ops if op.name == "pd_op.gelu")
    part = extract(program, {"y": gelu.results[0]}, [gelu.operands["x"]])
    assert [op.name for op in part.walk()] == ["pd_op.data", "pd_op.gelu"] and not part.parameters
    (got,) = in_paddle(save_model(part, tmp_path / "gelu"), {gelu.operands["x"].name: expected[0]})
    error = np.array([math.erf(v / math.sqrt(2)) for v in expected[0].flat]).reshape(expected[0].shape)
    np.testing.assert_allclose(got, expected[0] * (1 + error) / 2, rtol=1e-5, atol=1e-6)

    part = extract(program, {"loop": loop.results[1]})
    assert {v.name for v in part.inputs} == {"x", "n"} and not part.parameters
    (got,) = in_paddle(save_model(part, tmp_path / "loop"), INPUTS)
    np.testing.assert_array_equal(got, expected[1])


def test_one_of_several_results_is_cut(tmp_path: Path, in_paddle: Any) -> None:
    """The largest values are fed, where they stood is computed: the operation that gives both stays, and gives no second value."""
    x, values, places = _value("x", "float32", 4, 5), _value("values", "float32", 4, 1), _value("places", "int64", 4, 1)
    cast, both = _value("cast", "float32", 4, 1), _value("both", "float32", 4, 1)
    k = Value("k", TensorType("int32", (1,)))
    ops = [
        Op("pd_op.data", {}, {"name": "x"}, [x], ["out"]),
        Op("pd_op.full", {}, {"shape": [1], "value": 1, "dtype": "int32"}, [k], ["out"]),
        Op("pd_op.topk", {"x": x, "k": k}, {"axis": -1, "largest": True, "sorted": True}, [values, places], ["out", "indices"]),
        Op("pd_op.cast", {"x": places}, {"dtype": "float32"}, [cast], ["out"]),
        Op("pd_op.add", {"x": values, "y": cast}, {}, [both], ["out"]),
    ]
    program = Program(Block([], ops), [x], {"both": both}, {}).verify()
    part = extract(program, {"both": both}, [values])
    assert [v.name for v in part.inputs] == ["x", "values"] and ops[2].results == [values, places]
    array, fed = np.random.default_rng(0).standard_normal((4, 5)).astype("float32"), np.full((4, 1), 10, "float32")
    (got,) = in_paddle(save_model(part, tmp_path / "cut"), {"x": array, "values": fed})
    np.testing.assert_array_equal(got[:, 0], 10 + array.argmax(1))


def test_sizes_that_a_legacy_program_has_as_attributes_become_operands(tmp_path: Path, in_paddle: Any) -> None:
    """x[:, 1:3] · 0.5 summed over axis 1, as legacy files say it; the results that they leave out are absent."""
    x, part, half, out = (_value(n, "float32", 4, *rest) for n, rest in (("x", (5,)), ("part", (2,)), ("half", (2,)), ("out", ())))
    normal = _value("normal", "float32", 4, 5)
    ops = [
        Op("pd_op.data", {}, {"name": "x"}, [x], ["out"]),
        Op("pd_op.layer_norm", {"x": x}, {"begin_norm_axis": 1, "epsilon": 0.0}, [normal], ["out"]),
        Op(
            "pd_op.slice", {"input": x}, {"axes": [1], "starts": [1], "ends": [3], "infer_flags": [1], "decrease_axis": []}, [part], ["out"]
        ),
        Op("pd_op.scale", {"x": part}, {"scale": 0.5, "bias": 0.0, "bias_after_scale": True}, [half], ["out"]),
        Op("pd_op.sum", {"x": half}, {"axis": [1], "dtype": "undefined", "keepdim": False}, [out], ["out"]),
    ]
    path = save_model(Program(Block([], ops), [x], {"out": out, "part": part}, {}).verify(), tmp_path / "legacy")
    array = np.random.default_rng(0).standard_normal((4, 5)).astype("float32")
    summed, sliced = in_paddle(path, {"x": array})
    np.testing.assert_array_equal(sliced, array[:, 1:3])
    np.testing.assert_allclose(summed, array[:, 1:3].sum(1) / 2, rtol=1e-6)
    assert {op.name for op in load_model(path).walk()} > {"pd_op.full", "pd_op.full_int_array"}
