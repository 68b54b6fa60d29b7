"""Mutable variables, branches and loops in SSA form; feeds, fetches and parameters."""

from __future__ import annotations

import pytest
from legacy_proto import ARRAY, block, message, model, number, op, program, var

from oarlock.errors import ModelError
from oarlock.model import load_model
from oarlock.model.legacy import read_program
from oarlock.model.pdmodel import BlockRef
from oarlock.model.program import ArrayType

X = ("float32", [2, 3])
FLAG = ("bool", [])
COUNT = ("int64", [])


def scale(x, out, factor=2.0):
    return op("scale", {"X": x}, {"Out": out}, {"scale": factor})


def branch(condition, body, outputs):
    return op("conditional_block", {"Cond": condition, "Input": []}, {"Out": outputs, "Scope": "scope"}, {"sub_block": BlockRef(body)})


def variables(**kinds):
    return [var(name, *kind) for name, kind in kinds.items()]


def by_name(program_, name):
    (found,) = (o for o in program_.walk() if o.name == name)
    return found


class TestVariables:
    def test_a_variable_written_twice_is_two_values(self):
        read = read_program(
            model({"x": X}, [scale("x", "y"), scale("y", "y"), op("relu", {"X": "y"}, {"Out": "z"})], ["z"], {"y": X, "z": X})
        )
        first, second, relu = read.block.ops[1:]
        assert second.operands["x"] is first.results[0] and relu.operands["x"] is second.results[0]
        assert [v.name for v in (*first.results, *second.results)] == ["y", "y@1"]
        assert second.handle == "y"

    def test_feeds_and_fetches_are_in_column_order(self):
        feeds = [op("feed", {"X": "feed"}, {"Out": n}, {"col": c}) for n, c in (("b", 1), ("a", 0))]
        fetches = [op("fetch", {"X": n}, {"Out": "fetch"}, {"col": c}) for n, c in (("b", 1), ("a", 0))]
        read = read_program(program(block(0, -1, variables(a=X, b=X), [*feeds, *fetches])))
        assert [v.name for v in read.inputs] == ["a", "b"] and list(read.outputs) == ["a", "b"]

    def test_one_value_may_be_fetched_twice(self):
        assert len(read_program(model({"x": X}, [], ["x", "x"])).outputs) == 2

    def test_parameters_are_declared_even_when_unused(self):
        read = read_program(model({"x": X}, [], ["x"], parameters={"w": ("float16", [3, 4])}))
        assert read.parameters["w"].type.shape == (3, 4) and read.parameters["w"].data is None
        assert read.block.ops[0].attrs == {"parameter_name": "w", "persistable": True}

    def test_running_statistics_keep_their_values(self):
        stats = {n: ("float32", [3]) for n in ("mean", "variance", "scale", "bias")}
        inputs = {"X": "x", "Mean": "mean", "Variance": "variance", "Scale": "scale", "Bias": "bias"}
        norm = op("batch_norm", inputs, {"MeanOut": "mean", "VarianceOut": "variance", "Y": "y"}, {"is_test": True})
        again = op("batch_norm", inputs | {"X": "y"}, {"MeanOut": "mean", "VarianceOut": "variance", "Y": "z"}, {"is_test": True})
        read = read_program(model({"x": X}, [norm, again], ["z"], {"y": X, "z": X}, parameters=stats))
        assert read.block.ops[-1].operands["mean"].name == "mean" and read.block.ops[-1].handle == "z"

    def test_a_program_that_fetches_nothing(self):
        with pytest.raises(ModelError, match="fetches nothing"):
            read_program(model({"x": X}, [], []))


class TestIf:
    def cond(self, *between, mask="m", reverse=False):
        """y = (c ? x·2 : x·3), as static.nn.cond writes it."""
        inner = {"c": FLAG, "n": FLAG, "a": X, "b": X, "y": X, "m": ("int32", [])}
        ops = [
            branch("c", 1, "a"),
            op("logical_not", {"X": "c"}, {"Out": "n"}),
            branch("n", 2, "b"),
            op("cast", {"X": "n" if reverse else "c"}, {"Out": "m"}, {"in_dtype": 0, "out_dtype": 2}),
            *between,
            op("select_input", {"X": ["a", "b"] if reverse else ["b", "a"], "Mask": mask}, {"Out": "y"}),
        ]
        flag = op("is_empty", {"X": "x"}, {"Out": "c"})
        bodies = [block(1, 0, variables(t=X), [scale("x", "t"), op("assign", {"X": "t"}, {"Out": "a"})])]
        bodies += [block(2, 0, variables(t=X), [scale("x", "t", 3.0), op("assign", {"X": "t"}, {"Out": "b"})])]
        return read_program(model({"x": X}, [flag, *ops], ["y"], inner, blocks=bodies))

    @pytest.mark.parametrize("reverse", [False, True])
    def test_two_branches_and_their_selection_are_one_if(self, reverse):
        read = self.cond(reverse=reverse)
        chosen = by_name(read, "pd_op.if")
        assert chosen.operands["cond"].name == "c" and [v.name for v in chosen.results] == ["y"]
        factors = [next(o for o in r.ops if o.name == "pd_op.scale").attrs["scale"] for r in chosen.regions]
        assert factors == [2.0, 3.0] and not [o for o in read.walk() if o.name.startswith("legacy")]

    def test_a_branch_whose_result_is_read_elsewhere_is_a_result_too(self):
        read = self.cond(scale("a", "m2"), scale("m2", "m3"))
        assert [v.name for v in by_name(read, "pd_op.if").results][0] == "y"

    def test_a_lone_branch_keeps_the_old_value_otherwise(self):
        ops = [op("is_empty", {"X": "x"}, {"Out": "c"}), scale("x", "y"), branch("c", 1, "y")]
        read = read_program(model({"x": X}, ops, ["y"], {"c": FLAG, "y": X}, blocks=[block(1, 0, [], [scale("y", "y", 5.0)])]))
        chosen, before = by_name(read, "pd_op.if"), read.block.ops[2]
        assert read.outputs["y"] is chosen.results[0]
        assert chosen.regions[1].ops[-1].operands["operand_0"] is before.results[0]
        assert chosen.regions[0].ops[-1].operands["operand_0"] is chosen.regions[0].ops[0].results[0]

    def test_a_pruned_branch_is_what_the_selection_says(self):
        """One side computes nothing, so that Paddle wrote no block for it."""
        ops = [
            op("is_empty", {"X": "x"}, {"Out": "c"}),
            op("logical_not", {"X": "c"}, {"Out": "n"}),
            branch("n", 1, "a"),
            op("cast", {"X": "c"}, {"Out": "m"}, {"out_dtype": 2}),
            op("select_input", {"X": ["a", "x"], "Mask": "m"}, {"Out": "y"}),
        ]
        inner = {"c": FLAG, "n": FLAG, "a": X, "y": X, "m": ("int32", [])}
        read = read_program(model({"x": X}, ops, ["y"], inner, blocks=[block(1, 0, [], [scale("x", "a")])]))
        chosen = by_name(read, "pd_op.if")
        assert chosen.operands["cond"].name == "n" and [v.name for v in chosen.results] == ["y"]
        assert chosen.regions[1].ops[0].operands["operand_0"] is read.inputs[0]

    def test_a_selection_by_any_mask_is_an_if(self):
        ops = [op("select_input", {"X": ["x", "z"], "Mask": "m"}, {"Out": "y"})]
        read = read_program(model({"x": X, "z": X, "m": ("int32", [])}, ops, ["y"], {"y": X}))
        chosen = by_name(read, "pd_op.if")
        assert [r.ops[0].operands["operand_0"].name for r in chosen.regions] == ["z", "x"]


class TestWhile:
    def loop(self, body, inner_kinds=None, **kinds):
        """Count i up to n, doubling x; ``body`` are further operations."""
        less = op("less_than", {"X": "i", "Y": "n"}, {"Out": "go"})
        step = [scale("x2", "x2"), op("increment", {"X": "i"}, {"Out": "i"}, {"step": 1.0}), *body, less]
        loop = op("while", {"X": ["x2", "i", "n"], "Condition": "go"}, {"Out": ["i", "x2"], "StepScopes": "s"}, {"sub_block": BlockRef(1)})
        zero = op("fill_constant", {}, {"Out": "i"}, {"dtype": 3, "shape": []})
        start = op("assign", {"X": "x"}, {"Out": "x2"})
        inner = {"i": COUNT, "go": FLAG, "x2": X, **kinds}
        return zero, start, less, loop, inner, block(1, 0, variables(**(inner_kinds or {})), step)

    def read(self, *body, fetch="x2", after=(), inner_kinds=None, **kinds):
        *ops, inner, sub = self.loop(body, inner_kinds, **kinds)
        return read_program(model({"x": X, "n": COUNT}, [*ops, *after], [fetch], inner, blocks=[sub]))

    def test_what_the_body_writes_is_carried(self):
        read = self.read()
        loop = by_name(read, "pd_op.while")
        (body,) = loop.regions
        assert [v.name for v in loop.operands.values()] == ["go", "i", "x2"]
        assert len(body.args) == 2 and len(body.ops[-1].operands) == 3
        assert read.outputs["x2"] is loop.results[1]
        less = next(o for o in body.ops if o.name == "pd_op.less_than")
        assert body.ops[-1].operands["operand_0"] is less.results[0]
        assert less.operands["y"] is read.inputs[1], "what is only read stays captured"

    def test_variables_of_the_body_are_not_carried(self):
        loop = by_name(self.read(scale("x2", "t"), inner_kinds={"t": X}), "pd_op.while")
        assert len(loop.results) == 2

    def test_outer_scratch_variables_are_not_carried_unless_read_afterwards(self):
        assert len(by_name(self.read(scale("x2", "t"), t=X), "pd_op.while").results) == 2
        read = self.read(scale("x2", "t"), fetch="t", t=X)
        assert len(by_name(read, "pd_op.while").results) == 3 and read.outputs["t"].name.startswith("t")

    def test_arrays_are_values(self):
        write = op("write_to_array", {"X": "x2", "I": "i"}, {"Out": "list"})
        length = op("lod_array_length", {"X": "list"}, {"Out": "count"})
        read = self.read(write, fetch="count", after=[length], list=(f"{ARRAY} float32", [2, 3]), count=COUNT)
        loop, make = by_name(read, "pd_op.while"), by_name(read, "pd_op.create_array")
        assert make.results[0] in loop.operands.values()
        assert isinstance(by_name(read, "pd_op.array_write").results[0].type, ArrayType)
        assert isinstance(by_name(read, "pd_op.array_length").operands["x"].type, ArrayType)


@pytest.mark.parametrize("start", [b"\n\x7b", b"\n\x80\x02", b"\n\x80\x04"])
def test_the_first_length_does_not_confuse_the_formats(start):
    """A program begins with a newline's byte and the first block's length: here those of "{" and of a pickle's first bytes."""
    fetched = [op("feed", {}, {"Out": "x"}), op("fetch", {"X": "x"}, {})]
    files = [program(block(0, -1, variables(x=X), [*fetched, b"\x1a\x01t" + message(9, b"-" * pad)])) for pad in range(600)]
    (data,) = (f for f in files if f.startswith(start) and len(start) == 2 + (f[1] > 127))
    assert load_model(data).source["format"] == "legacy"


class TestDamage:
    @pytest.mark.parametrize("body", [0, 1, 7, -1])
    def test_a_body_must_be_a_block_inside(self, body):
        loop = op("while", {"X": "x", "Condition": "x"}, {"Out": "x"}, {"sub_block": BlockRef(body)})
        data = model({"x": X}, [loop], ["x"], blocks=[block(1, 0, [], [loop])])
        with pytest.raises(ModelError, match="as its body"):
            read_program(data)

    def test_a_body_belongs_to_one_operation(self):
        loop = op("while", {"X": "x", "Condition": "x"}, {"Out": "x"}, {"sub_block": BlockRef(1)})
        with pytest.raises(ModelError, match="as its body"):
            read_program(model({"x": X}, [loop, loop], ["x"], blocks=[block(1, 0, [], [])]))

    def test_deep_nesting_is_refused(self):
        blocks = [block(i, i - 1, [], []) for i in range(1, 100)]
        with pytest.raises(ModelError, match="nested more than 64"):
            read_program(model({"x": X}, [], ["x"], blocks=blocks))

    def test_a_value_that_nobody_writes_is_reported_by_name(self):
        read = read_program(model({"x": X}, [scale("ghost", "y")], ["y"], {"y": X, "ghost": X}))
        assert by_name(read, "legacy.undefined").attrs == {"variable": "ghost"}

    def test_not_a_program(self):
        with pytest.raises(ModelError):
            read_program(message(1, number(1, 0))[:-1] + b"\xff")
