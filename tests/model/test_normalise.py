"""In-place operators become functional, at the top and in regions."""

from __future__ import annotations

import pytest
import tiny

from oarlock.errors import ModelError
from oarlock.model import Program, load_model
from oarlock.model.normalise import captures

ROW, TRUTH, SCALAR = tiny.tensor_type("f32", -1, 3), tiny.tensor_type("bool"), tiny.tensor_type("i64")
X = tiny.data("x", 1, ROW, "float32")
FLAG = tiny.data("flag", 2, TRUTH, "bool")


def read(*ops: dict) -> Program:
    return load_model(tiny.pir_bytes(tiny.pir(list(ops))), params=tiny.tensor_bytes(tiny.WEIGHT))


def unary(name: str, operand: int, result: int) -> dict:
    return tiny.op(f"1.{name}", [operand], [(result, ROW)])


def where(program: Program, name: str, ordinal: int = 0):
    return [op for op in program.walk() if op.name == name][ordinal]


def test_later_uses_read_the_result():
    program = read(
        X, unary("exp", 1, 3), unary("relu_", 3, 4), unary("sqrt", 3, 5), tiny.fetch("a", 5, 9, 0, ROW), tiny.fetch("b", 3, 10, 1, ROW)
    )
    relu = where(program, "pd_op.relu")
    assert relu.operands["x"] is where(program, "pd_op.exp").results[0]
    assert where(program, "pd_op.sqrt").operands["x"] is relu.results[0]
    assert program.outputs["b"] is relu.results[0]
    assert all(op.name != "pd_op.fetch" and not op.name.endswith("_") for op in program.walk())


def test_a_fetch_takes_the_value_of_its_moment():
    program = read(X, unary("exp", 1, 3), tiny.fetch("before", 3, 9, 0, ROW), unary("relu_", 3, 4), tiny.fetch("after", 3, 10, 1, ROW))
    assert program.outputs["before"] is where(program, "pd_op.exp").results[0]
    assert program.outputs["after"] is where(program, "pd_op.relu").results[0]


def test_writes_follow_one_another():
    program = read(X, unary("relu_", 1, 3), unary("exp_", 3, 4), unary("sqrt_", 1, 5), tiny.fetch("o", 3, 9, 0, ROW))
    assert where(program, "pd_op.sqrt").operands["x"] is where(program, "pd_op.exp").results[0]
    assert program.outputs["o"] is where(program, "pd_op.sqrt").results[0]


def test_an_alias_is_the_same_memory():
    program = read(X, unary("share_data_", 1, 3), unary("relu_", 3, 4), tiny.fetch("o", 1, 9, 0, ROW))
    assert where(program, "pd_op.share_data").operands["x"] is program.inputs[0]
    assert program.outputs["o"] is where(program, "pd_op.relu").results[0]


def test_operators_that_forget_what_was_there():
    values = [tiny.attr("shape", "1.a_intarray", [2]), tiny.attr("dtype", "1.a_dtype", "int64"), tiny.attr("values", "0.a_array", [])]
    program = read(X, unary("exp", 1, 3), tiny.op("1.assign_value_", [3], [(4, ROW)], values), tiny.fetch("o", 3, 9, 0, ROW))
    written = where(program, "pd_op.assign_value")
    assert written.operands == {} and program.outputs["o"] is written.results[0]
    program = read(X, unary("exp", 1, 3), tiny.op("1.assign_out_", [1, 3], [(4, ROW)]), tiny.fetch("o", 3, 9, 0, ROW))
    assigned = where(program, "pd_op.assign")
    assert list(assigned.operands) == ["x"] and program.outputs["o"] is assigned.results[0]


def batch_norm(operand: int, result: int, is_test: bool) -> dict:
    results = [(result + i, ROW) for i in range(6)]
    attrs = [tiny.attr(n, "0.a_bool", v) for n, v in (("is_test", is_test), ("use_global_stats", False), ("trainable_statistics", False))]
    attrs += [tiny.attr("momentum", "0.a_f32", 0.9), tiny.attr("epsilon", "0.a_f32", 1e-5), tiny.attr("data_format", "0.a_str", "NCHW")]
    return tiny.op("1.batch_norm_", [operand, 2, 2, 2, 2], results, attrs)


@pytest.mark.parametrize("is_test", [True, False])
def test_batch_norm_writes_its_statistics_only_while_training(is_test):
    program = read(X, tiny.parameter("w", 2, tiny.tensor_type("f32", 3, 3)), batch_norm(1, 10, is_test), batch_norm(10, 20, is_test))
    first, second = (where(program, "pd_op.batch_norm", i) for i in (0, 1))
    assert (second.operands["mean"] is first.operands["mean"]) is is_test
    assert is_test or second.operands["mean"] is first.result("variance_out")  # the test's mean and variance are one parameter


def test_a_write_in_a_branch_is_a_result_of_the_branch():
    write, leave = [unary("relu_", 3, 20), tiny.op("2.yield", [], [])], [tiny.op("2.yield", [], [])]
    program = read(X, FLAG, unary("exp", 1, 3), tiny.op("1.if", [2], [], regions=[(write,), (leave,)]), tiny.fetch("o", 3, 9, 0, ROW))
    branch, exp = where(program, "pd_op.if"), where(program, "pd_op.exp")
    assert program.outputs["o"] is branch.results[0]
    assert list(branch.regions[0].ops[-1].operands.values()) == [where(program, "pd_op.relu").results[0]]
    assert list(branch.regions[1].ops[-1].operands.values()) == [exp.results[0]]
    assert captures(branch.regions[0]) == [exp.results[0]]


def test_a_branch_without_a_yield_gets_one():
    program = read(X, FLAG, tiny.op("1.if", [2], [], regions=[([unary("relu_", 1, 20)],), ([],)]), tiny.fetch("o", 1, 9, 0, ROW))
    assert [r.ops[-1].name for r in where(program, "pd_op.if").regions] == ["cf.yield", "cf.yield"]


def test_a_tensor_array_is_carried_by_the_loop_that_writes_it():
    program = load_model(tiny.pir_bytes(tiny.loop_model()), params=tiny.tensor_bytes(tiny.WEIGHT))
    loop, array = where(program, "pd_op.while"), where(program, "pd_op.create_array").results[0]
    body = loop.regions[0]
    assert list(loop.operands.values())[2] is array and len(body.args) == 2
    assert where(program, "pd_op.array_length").operands["x"] is body.args[1]
    assert list(body.ops[-1].operands.values())[2] is where(program, "pd_op.array_write").results[0]
    assert where(program, "pd_op.array_to_tensor").operands["x"] is loop.results[1]
    assert {v.name for v in captures(body)} == {"x", "w", "full_1"}


def test_a_write_two_regions_deep_goes_through_both():
    inner = tiny.op("1.if", [2], [], regions=[([unary("relu_", 3, 20), tiny.op("2.yield", [], [])],), ([tiny.op("2.yield", [], [])],)])
    body = [inner, unary("sqrt", 3, 21), tiny.op("2.yield", [2, -1], [])]
    loop = tiny.op("1.while", [2, 4], [(5, SCALAR)], regions=[(body, [(-1, SCALAR)])])
    program = read(X, FLAG, unary("exp", 1, 3), tiny.full(4, 0.0, "i64", "int64"), loop, unary("tanh", 3, 6))
    outer, branch = where(program, "pd_op.while"), where(program, "pd_op.if")
    carried = outer.regions[0].args[1]
    assert where(program, "pd_op.relu").operands["x"] is carried
    assert list(branch.regions[1].ops[-1].operands.values()) == [carried]
    assert where(program, "pd_op.sqrt").operands["x"] is branch.results[0]
    assert list(outer.regions[0].ops[-1].operands.values())[2] is branch.results[0]
    assert where(program, "pd_op.tanh").operands["x"] is outer.results[1]


def test_a_value_that_the_loop_makes_itself_stays_inside():
    body = [unary("exp", 1, 20), unary("relu_", 20, 21), tiny.op("2.yield", [2, -1], [])]
    loop = tiny.op("1.while", [2, 4], [(5, SCALAR)], regions=[(body, [(-1, SCALAR)])])
    program = read(X, FLAG, tiny.full(4, 0.0, "i64", "int64"), loop)
    assert len(where(program, "pd_op.while").results) == 1


@pytest.mark.parametrize(
    "loop",
    [
        tiny.op("1.while", [2, 4], [(5, SCALAR)], regions=[([tiny.op("2.yield", [2], [])], [(-1, SCALAR)])]),
        tiny.op("1.while", [2, 4], [], regions=[([tiny.op("2.yield", [2, -1], [])], [(-1, SCALAR)])]),
        tiny.op("1.while", [2, 4], [(5, SCALAR)], regions=[([], [(-1, SCALAR)])]),
        tiny.op("1.while", [2, 4], [(5, SCALAR)]),
        tiny.op("1.while", [2, 0], [(5, SCALAR)], regions=[([tiny.op("2.yield", [2, -1], [])], [(-1, SCALAR)])]),
        tiny.op("1.if", [2], [(5, SCALAR)], regions=[([tiny.op("2.yield", [4], [])],)]),
        tiny.op("1.if", [2], [(5, SCALAR)], regions=[([tiny.op("2.yield", [4], [])],), ([],)]),
        tiny.op("1.if", [2], [(5, SCALAR)], regions=[([tiny.op("2.yield", [0], [])],), ([tiny.op("2.yield", [4], [])],)]),
    ],
)
def test_loops_and_branches_whose_parts_do_not_fit_are_refused(loop):
    with pytest.raises(ModelError):
        read(X, FLAG, tiny.full(4, 0.0, "i64", "int64"), loop)


def test_a_region_that_runs_once_stands_in_place_of_its_operation():
    inner = [unary("exp", 1, 4), tiny.op("2.yield", [4], [])]
    program = read(X, tiny.op("1.pylayer", [1], [(3, ROW)], regions=[[inner]]), unary("sqrt", 3, 5), tiny.fetch("a", 5, 9, 0, ROW))
    assert [op.short_name for op in program.walk() if op.name.startswith("pd_op.")][-3:] == ["exp", "assign", "sqrt"]


@pytest.mark.parametrize("yielded", [[], [1, 1]])
def test_a_region_that_does_not_fit_is_an_error(yielded: list[int]):
    with pytest.raises(ModelError, match=r"the region of pd_op.pylayer does not fit its 1 results"):
        read(X, tiny.op("1.pylayer", [1], [(3, ROW)], regions=[[[tiny.op("2.yield", yielded, [])]]]), tiny.fetch("a", 3, 9, 0, ROW))
