"""Operations without a converter as calls of Python functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import oarlock
from oarlock.analysis import count_macs, host_calls, inspect
from oarlock.errors import HostCallError, InputError, UnsupportedError, UnsupportedOperators
from oarlock.importer import Hosts, import_program
from oarlock.model import Block, ListType, Op, OpaqueType, Program, TensorType, Value
from oarlock.runtime import host as registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_REGISTRY", {})
    yield


def value(name: str, dtype: str = "float32", *shape: int) -> Value:
    return Value(name, TensorType(dtype, shape))


def data(v: Value) -> Op:
    return Op("pd_op.data", {}, {"name": v.name}, [v], ["out"])


def op(name: str, operands: dict[str, Value | None], results: list[Value], **attrs: Any) -> Op:
    return Op(name, dict(operands), attrs, results, [f"result_{i}" for i in range(len(results))], handle=f"/net/{name}")


def program(inputs: list[Value], ops: list[Op], outputs: list[Value]) -> Program:
    return Program(Block([], [*map(data, inputs), *ops]), inputs, {v.name: v for v in outputs}, {}).verify()


def scaled(*shape: int, name: str = "custom_op.scaled") -> Program:
    """relu(scaled(relu(x), factor=3)): kernels before and after the call."""
    x, a, y, z = (value(n, "float32", *shape) for n in "xayz")
    ops = [op("pd_op.relu", {"x": x}, [a]), op(name, {"operand_0": a}, [y], factor=3.0), op("pd_op.relu", {"x": y}, [z])]
    return program([x], ops, [z])


def run(model: Program, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
    host = options.get("host")
    with oarlock.Session(oarlock.compile(model, threads=1, **options), host=host if isinstance(host, dict) else None) as session:
        return session.run(inputs)


X = np.array([[1.5, -2.0, 3.0], [0.0, 4.0, -1.0]], "float32")


def test_a_static_model() -> None:
    seen: list[Any] = []

    @oarlock.host_operator("scaled")
    def function(x: np.ndarray, *, factor: float) -> np.ndarray:
        seen.append((x.shape, x.dtype, x.flags.writeable, factor))
        return x * np.float32(-factor) + np.float32(5)

    artifact = oarlock.compile(scaled(2, 3), threads=1)
    got = oarlock.Session(artifact).run({"x": X})["z"]
    np.testing.assert_array_equal(got, np.maximum(np.maximum(X, 0) * np.float32(-3) + 5, 0))
    assert seen == [((2, 3), np.float32, False, 3.0)]
    assert artifact.signature.outputs[0].shape == (2, 3)
    assert [n for n in artifact.manifest["notes"] if "stays a VM program: main has a call of oarlock.host.scaled" in n]
    (call,) = artifact.host_calls
    assert (call["operator"], call["by"], call["attributes"]) == ("custom_op.scaled", "python", {"factor": 3.0})


def test_dynamic_dims_are_known_when_the_call_returns() -> None:
    """How many rows come back depends on the data; kernels go on with what comes back."""
    x, y, z, s = value("x", "float32", -1, 3), value("y", "float32", -1, 3), value("z", "float32", -1, 3), value("s", "float32", -1)
    total = op("pd_op.sum", {"x": y}, [s], axis=[1], dtype="undefined", keepdim=False)
    model = program([x], [op("custom_op.rows", {"operand_0": x}, [y]), op("pd_op.relu", {"x": y}, [z]), total], [z, s])
    host = {"rows": lambda x: x[x[:, 0] > 0]}
    session = oarlock.Session(oarlock.compile(model, threads=1, host=host), host=host)
    for n in (0, 1, 7, 100):
        array = np.random.default_rng(n).standard_normal((n, 3)).astype("float32")
        kept = array[array[:, 0] > 0]
        got = session.run({"x": array})
        np.testing.assert_array_equal(got["z"], np.maximum(kept, 0))
        np.testing.assert_allclose(got["s"], kept.sum(1), rtol=1e-6, atol=1e-6)


def test_shapes_that_a_function_infers_keep_a_model_static() -> None:
    def doubled(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, x])

    x, y, z = value("x", "float32", -1, 3), value("y", "float32", -1, 3), value("z", "float32", -1, 3)
    model = program([x], [op("custom_op.doubled", {"operand_0": x}, [y]), op("pd_op.relu", {"x": y}, [z])], [z])
    oarlock.host_operator("doubled", infer=lambda x: (2 * x[0], x[1]))(doubled)
    assert oarlock.compile(model, threads=1, shapes={"x": (4, 3)}).signature.outputs[0].shape == (8, 3)
    artifact = oarlock.compile(model, threads=1, shapes={"x": ("n", 3)})
    assert artifact.signature.outputs[0].shape in [("n * 2", 3), ("2 * n", 3)]
    got = oarlock.Session(artifact).run({"x": X})["z"]
    np.testing.assert_array_equal(got, np.maximum(np.concatenate([X, X]), 0))
    with pytest.raises(HostCallError, match=r"returned the shape \[2, 3\] as 'result_0', the model needs \[4, 3\]"):
        oarlock.Session(artifact, host={"doubled": lambda x: x}).run({"x": X})


@pytest.mark.parametrize(
    ("infer", "reason"),
    [
        (lambda x: 1 / 0, "ZeroDivisionError"),
        (lambda x: (2,), "1 dims where the model declares 2"),
        (lambda x: 7, "returned 7"),
        (lambda x: [(2, 3), (2, 3)], "is expected"),
        (lambda x: ("a", 3), "a dim is an int"),
        (lambda: (2, 3), "cannot be called"),
    ],
)
def test_a_function_that_infers_shapes_wrongly_is_a_reason(infer: Any, reason: str) -> None:
    oarlock.host_operator("scaled", infer=infer)(lambda x, factor: x)
    with pytest.raises(UnsupportedOperators, match=reason):
        oarlock.compile(scaled(2, 3), threads=1)


def test_static_dims_of_the_file_do_not_bind_a_model_of_other_sizes() -> None:
    """Exported for (2, 3), compiled for any number of rows: what the file declares of the result is not true any more."""
    host = {"scaled": lambda x, factor: x * np.float32(factor)}
    session = oarlock.Session(oarlock.compile(scaled(2, 3), threads=1, shapes={"x": (None, 3)}, host=host), host=host)
    for n in (1, 5):
        x = np.random.default_rng(n).standard_normal((n, 3)).astype("float32")
        np.testing.assert_array_equal(session.run({"x": x})["z"], np.maximum(x, 0) * np.float32(3))


def test_inside_a_loop_whose_body_changes_its_size() -> None:
    """while length(v) < n: v = grow(v)"""
    v, n = value("v", "float32", -1), value("n", "int64")
    arg, size, more, grown = value("arg", "float32", -1), value("size", "int64"), value("more", "bool"), value("grown", "float32", -1)
    start, out = value("start", "bool"), value("out", "float32", -1)
    body = Block(
        [arg],
        [
            op("custom_op.grow", {"operand_0": arg, "operand_1": n}, [grown, size], by=2),
            op("pd_op.less_than", {"x": size, "y": n}, [more]),
            op("cf.yield", {"operand_0": more, "operand_1": grown}, []),
        ],
    )
    loop = op("pd_op.while", {"cond": start, "operand_1": v}, [out])
    loop.regions.append(body)
    model = program([v, n], [op("pd_op.full", {}, [start], shape=[], value=1.0, dtype="bool"), loop], [out])
    calls = 0

    def grow(v: np.ndarray, n: np.ndarray, by: int) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += 1
        longer = np.append(v, np.full(by, calls, "float32"))
        return longer, np.array(len(longer))

    session = oarlock.Session(oarlock.compile(model, threads=1, host={"grow": grow}), host={"grow": grow})
    assert len(session.artifact.host_calls) == 1
    for count in (3, 40):
        calls = 0
        expected = [9.0]
        while not calls or len(expected) < count:
            calls += 1
            expected += [calls, calls]
        calls = 0
        got = session.run({"v": np.array([9], "float32"), "n": np.array(count)})["out"]
        np.testing.assert_array_equal(got, np.array(expected, "float32"))


def test_inside_a_branch() -> None:
    x, c, y = value("x", "float32", 2, 3), value("c", "bool"), value("y", "float32", 2, 3)
    inner = value("inner", "float32", 2, 3)
    branch = op("pd_op.if", {"cond": c}, [y])
    branch.regions += [
        Block([], [op("custom_op.scaled", {"operand_0": x}, [inner], factor=2.0), op("cf.yield", {"operand_0": inner}, [])]),
        Block([], [op("cf.yield", {"operand_0": x}, [])]),
    ]
    host = {"scaled": lambda x, factor: x * np.float32(factor)}
    session = oarlock.Session(oarlock.compile(program([x, c], [branch], [y]), threads=1, host=host), host=host)
    np.testing.assert_array_equal(session.run({"x": X, "c": np.array(True)})["y"], X * 2)
    np.testing.assert_array_equal(session.run({"x": X, "c": np.array(False)})["y"], X)


def test_lists_absent_operands_and_several_results_of_several_types() -> None:
    x, i, none = value("x", "float32", -1), value("i", "int64", 2), Value("none", OpaqueType("none"))
    pair = Value("pair", ListType((x.type, i.type)))
    parts = Value("parts", ListType((TensorType("float32", (-1,)), TensorType("float32", (-1,)))))
    flag, first, second = value("flag", "bool"), value("first", "float32", -1), value("second", "float32", -1)
    ops = [
        op("builtin.combine", {"operand_0": x, "operand_1": i}, [pair]),
        op("custom_op.cut", {"operand_0": pair, "operand_1": None, "operand_2": i, "operand_3": None}, [parts, none, flag], mode="at"),
        op("builtin.split", {"x": parts}, [first, second]),
    ]

    def cut(pair: list[np.ndarray], absent: None, i: np.ndarray, *, mode: str) -> tuple[Any, ...]:
        assert absent is None and mode == "at"
        values, at = pair
        np.testing.assert_array_equal(at, i)
        return [values[: at[0]], values[at[0] :]], None, len(values) > 3

    model = program([x, i], ops, [first, second, flag])
    got = run(model, {"x": np.arange(5, dtype="float32"), "i": np.array([2, 0])}, host={"cut": cut})
    np.testing.assert_array_equal(got["first"], [0, 1])
    np.testing.assert_array_equal(got["second"], [2, 3, 4])
    assert got["flag"].dtype == bool and got["flag"]


def test_every_element_type_crosses() -> None:
    for dtype in "bool int8 int16 int32 int64 uint8 float16 bfloat16 float32 float64".split():
        x, y = value("x", dtype, 3), value("y", dtype, 3)
        model = program([x], [op("custom_op.turn", {"operand_0": x}, [y])], [y])
        array = np.array([1, 0, 1]).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        got = run(model, {"x": array}, host={"turn": lambda x: x[::-1]})["y"]
        assert got.dtype == array.dtype
        np.testing.assert_array_equal(got, array[::-1])


def test_what_a_function_returns_may_be_what_it_was_given() -> None:
    """The model uses the memory of what it gives again: an array that comes back must be a copy."""
    x, a, y, z, w = (value(n, "float32", 64, 64) for n in "xayzw")
    ops = [op("pd_op.relu", {"x": x}, [a]), op("custom_op.same", {"operand_0": a}, [y])]
    ops += [op("pd_op.exp", {"x": x}, [z]), op("custom_op.same", {"operand_0": z}, [w])]
    array = np.random.default_rng(1).standard_normal((64, 64)).astype("float32")
    got = run(program([x], ops, [y, w]), {"x": array}, host={"same": lambda x: x})
    np.testing.assert_array_equal(got["y"], np.maximum(array, 0))
    np.testing.assert_allclose(got["w"], np.exp(array), rtol=1e-6)


# ---- which operations become host calls ----------------------------------------------------------------------------------


def test_without_a_function_all_are_listed_and_the_way_out_is_told() -> None:
    x, y, z = value("x", "float32", 3), value("y", "float32", 3), value("z", "float32", 3)
    model = program([x], [op("custom_op.one", {"operand_0": x}, [y]), op("custom_op.two", {"operand_0": y}, [z])], [z])
    with pytest.raises(UnsupportedOperators) as caught:
        oarlock.compile(model, threads=1)
    assert {o["name"] for o in caught.value.operators} == {"custom_op.one", "custom_op.two"}
    assert "oarlock.host_operator" in str(caught.value) and "--host paddle" in str(caught.value)
    with pytest.raises(UnsupportedOperators) as caught:
        oarlock.compile(model, threads=1, host={"one": lambda x: x})
    assert {o["name"] for o in caught.value.operators} == {"custom_op.two"}


def test_a_converter_goes_first_unless_it_refuses_or_is_replaced() -> None:
    x, y = value("x", "float32", 2, 3), value("y", "float32", 2, 3)
    good = program([x], [op("pd_op.leaky_relu", {"x": x}, [y], negative_slope=0.5)], [y])
    refused = program([x], [op("pd_op.leaky_relu", {"x": x}, [y], negative_slope=0.5, unheard_of=7)], [y])
    with pytest.raises(UnsupportedOperators, match="unheard_of"):
        oarlock.compile(refused, threads=1)

    @oarlock.host_operator("leaky_relu")
    def function(x: np.ndarray, *, negative_slope: float, unheard_of: int = 1) -> np.ndarray:
        return x + np.float32(unheard_of)

    assert not oarlock.compile(good, threads=1).host_calls
    np.testing.assert_array_equal(run(refused, {"x": X})["y"], X + 7)
    oarlock.host_operator("pd_op.leaky_relu", replace=True)(function)
    np.testing.assert_array_equal(run(good, {"x": X})["y"], X + 1)


def test_a_custom_operator_that_is_called_as_one_of_paddle_is_not_taken_for_it() -> None:
    x, y = value("x", "float32", 2, 3), value("y", "float32", 2, 3)
    model = program([x], [op("custom_op.relu", {"operand_0": x}, [y])], [y])
    np.testing.assert_array_equal(run(model, {"x": X}, host={"relu": lambda x: x + 1})["y"], X + 1)


def test_a_function_may_go_by_the_legacy_name() -> None:
    x, y = value("x", "float32", 2, 3), value("y", "float32", 2, 3)
    model = program([x], [op("pd_op.hardswish", {"x": x}, [y], unheard_of=7)], [y])
    got = run(model, {"x": X}, host={"hard_swish": lambda x, unheard_of: x - unheard_of})["y"]
    np.testing.assert_array_equal(got, X - 7)
    unmapped = program([x], [op("legacy.my_op", {"X": x}, [y], alpha=2.0)], [y])
    np.testing.assert_array_equal(run(unmapped, {"x": X}, host={"my_op": lambda x, alpha: x * np.float32(alpha)})["y"], X * 2)


def test_an_attribute_that_a_function_does_not_take_is_a_reason() -> None:
    with pytest.raises(UnsupportedOperators, match=r"factor.*unexpected keyword argument 'factor'"):
        oarlock.compile(scaled(2, 3), threads=1, host={"scaled": lambda x: x})
    with pytest.raises(UnsupportedOperators, match="cannot be called with 1 array"):
        oarlock.compile(scaled(2, 3), threads=1, host={"scaled": lambda x, y, factor: x})
    assert oarlock.compile(scaled(2, 3), threads=1, host={"scaled": lambda x, **attributes: x}).host_calls


def test_what_nothing_reads_is_called_all_the_same() -> None:
    """It may tell somebody something."""
    x, y, z = value("x", "float32", 3), value("y", "float32", 3), value("z", "float32", 3)
    model = program([x], [op("custom_op.tell", {"operand_0": x}, [y]), op("pd_op.relu", {"x": x}, [z])], [z])
    seen: list[np.ndarray] = []

    def log(x: np.ndarray) -> np.ndarray:
        seen.append(x.copy())
        return x

    run(model, {"x": X[0]}, host={"tell": log})
    np.testing.assert_array_equal(seen, [X[0]])


@pytest.mark.parametrize("target", ["web", "cuda"])
def test_other_targets_say_which_operators_need_a_host(target: str) -> None:
    options = {"arch": "sm_80"} if target == "cuda" else {}
    with pytest.raises(UnsupportedError, match=r"no host calls.*custom_op\.scaled"):
        oarlock.compile(scaled(2, 3), target, host={"scaled": lambda x, factor: x}, options=options)


def test_results_that_cannot_come_back_are_refused() -> None:
    x, y = value("x", "float32", 3), Value("y", OpaqueType("selected_rows"))
    with pytest.raises(UnsupportedOperators, match="selected_rows, which no host call returns"):
        import_program(program([x], [op("custom_op.rows", {"operand_0": x}, [y])], [x]), hosts=Hosts({"rows": lambda x: x}))


@pytest.mark.parametrize("host", ["tensorflow", 7, {"scaled": 7}])
def test_a_wrong_host_is_said(host: Any) -> None:
    with pytest.raises(InputError, match="host is"):
        oarlock.compile(scaled(2, 3), threads=1, host=host)


def test_inspect_marks_and_prices() -> None:
    model = scaled(-1, 3)
    hosts = Hosts({"scaled": lambda x, factor: x})
    facts = inspect(model, hosts)
    assert facts["supported"] and [o.get("host") for o in facts["operators"] if o["name"] == "custom_op.scaled"][0].startswith(
        "host call: Python function "
    )
    count_macs(model, {}, hosts)
    (call,) = host_calls(hosts)
    assert call["bytes_in"] == "12*x_0" and call["bytes_out"] is None
    hosts = Hosts({"scaled": lambda x, factor: x})
    count_macs(scaled(2, 3), {}, hosts)
    assert [(c["bytes_in"], c["bytes_out"]) for c in host_calls(hosts)] == [(24, 24)]
    assert not inspect(model)["supported"]
