"""What single legacy operators become."""

from __future__ import annotations

import pytest
from legacy_proto import Long, model, op

from oarlock.model.legacy import legacy_names, read_program
from oarlock.model.legacy_ops import rules, signature
from oarlock.model.pdmodel import VarRef

F, N = "float32", "int64"


def convert(type_, inputs, attrs=None, *, out=(F, [2, 3]), slot="Out", in_slots=None, more=()):
    """The operations (without parameters and data) that one operation becomes; ``inputs`` maps slots to (dtype, shape)."""
    feeds = {f"{s}_{i}": kind for s, kinds in inputs.items() for i, kind in enumerate(kinds)}
    slots = {s: [f"{s}_{i}" for i in range(len(kinds))] for s, kinds in inputs.items()}
    outputs = {slot: ["out"], **{s: [s.lower()] for s in more}}
    inner = {name: out for names in outputs.values() for name in names}
    program = read_program(model(feeds, [op(type_, slots, outputs, attrs)], ["out"], inner))
    return [o for o in program.block.ops if o.name != "pd_op.data"]


def one(*args, **kwargs):
    ops = convert(*args, **kwargs)
    assert len(ops) == 1, ops
    return ops[0]


def names(ops):
    return [o.name.removeprefix("pd_op.") for o in ops]


@pytest.mark.parametrize("name", sorted(rules()))
def test_rules_make_operators_that_paddle_has(name):
    for pir in rules()[name].makes:
        assert signature(pir) is not None


def test_legacy_names_lists_both_directions():
    table = legacy_names()
    assert table["matmul"] == ["matmul", "matmul_v2", "mul"]
    assert table["reshape"][:2] == ["flatten", "flatten2"]
    assert "conditional_block" in table["if"]


def test_every_operator_of_relays_frontend_has_a_rule():
    wanted = """elementwise_add arg_max bicubic_interp_v2 brelu conv2d_transpose dequantize_linear expand_as_v2 fill_any_like
        flatten_contiguous_range gaussian_random grid_sampler lookup_table_v2 meshgrid norm pad1d pad2d pad3d pixel_shuffle
        roi_align rnn set_value softmax_with_cross_entropy strided_slice take_along_axis thresholded_relu where_index""".split()
    assert not [w for w in wanted if w not in rules()]


class TestElementwise:
    def test_trailing_dims_need_nothing(self):
        o = one("elementwise_add", {"X": [(F, [2, 3, 4])], "Y": [(F, [4])]}, {"axis": -1}, out=(F, [2, 3, 4]))
        assert o.name == "pd_op.add" and [v.name for v in o.operands.values()] == ["X_0", "Y_0"]

    def test_a_static_bias_is_reshaped(self):
        reshape, add = convert("elementwise_add", {"X": [(F, [-1, 8, 5, 5])], "Y": [(F, [8])]}, {"axis": 1})
        assert reshape.attrs["shape"] == [1, 8, 1, 1] and add.operands["y"] is reshape.results[0]

    def test_dynamic_dims_are_unsqueezed(self):
        unsqueeze, mul = convert("elementwise_mul", {"X": [(F, [-1, -1, 4])], "Y": [(F, [-1, -1])]}, {"axis": 0})
        assert unsqueeze.attrs["axis"] == [2] and mul.name == "pd_op.multiply"

    def test_trailing_ones_that_do_not_fit_are_dropped(self):
        squeeze, _ = convert("elementwise_add", {"X": [(F, [2, 3, 4, 5])], "Y": [(F, [4, 5, 1])]}, {"axis": 2})
        assert squeeze.name == "pd_op.squeeze" and squeeze.attrs["axis"] == [2]

    def test_the_smaller_operand_may_be_x(self):
        reshape, sub = convert("elementwise_sub", {"X": [(F, [3])], "Y": [(F, [2, 3, 4])]}, {"axis": 1})
        assert reshape.attrs["shape"] == [1, 3, 1] and sub.operands["x"] is reshape.results[0]


class TestProducts:
    def test_mul_of_a_matrix_is_a_matmul(self):
        o = one("mul", {"X": [(F, [-1, 7, 4])], "Y": [(F, [4, 5])]}, {"x_num_col_dims": 2})
        assert o.name == "pd_op.matmul" and not o.attrs["transpose_x"]

    def test_mul_that_flattens(self):
        o = one("mul", {"X": [(F, [-1, 7, 4])], "Y": [(F, [28, 5])]}, {"x_num_col_dims": 1})
        assert o.name == "pd_op.matmul_with_flatten" and o.attrs == {"x_num_col_dims": 1, "y_num_col_dims": 1}

    def test_matmul_with_alpha(self):
        matmul, scale = convert("matmul", {"X": [(F, [2, 3])], "Y": [(F, [3, 4])]}, {"alpha": 0.5, "transpose_Y": True})
        assert matmul.attrs == {"transpose_x": False, "transpose_y": True}
        assert scale.attrs == {"scale": 0.5, "bias": 0.0, "bias_after_scale": True}

    def test_addmm_attributes_begin_with_capitals(self):
        o = one("addmm", {"Input": [(F, [2, 2])], "X": [(F, [2, 2])], "Y": [(F, [2, 2])]}, {"Alpha": 0.5, "Beta": 2.0})
        assert o.attrs == {"alpha": 0.5, "beta": 2.0}


class TestDefaultsThatFilesLeaveOut:
    """Paddle 2.6 writes no attribute that has its default value."""

    @pytest.mark.parametrize(
        ("type_", "name", "attrs"),
        [
            ("leaky_relu", "leaky_relu", {"negative_slope": 0.02}),
            ("hard_sigmoid", "hardsigmoid", {"slope": 0.2, "offset": 0.5}),
            ("hard_shrink", "hardshrink", {"threshold": 0.5}),
            ("brelu", "hardtanh", {"t_min": 0, "t_max": 24}),
            ("softmax", "softmax", {"axis": -1}),
            ("hard_swish", "hardswish", {}),
            ("relu6", "relu6", {}),
            ("swish", "swish", {}),
            ("reduce_mean", "mean", {"axis": [0], "keepdim": False}),
            ("arg_max", "argmax", {"axis": 0, "keepdims": False, "flatten": False, "dtype": "int64"}),
            ("dropout", "dropout", {"p": 0.5, "is_test": False, "mode": "downgrade_in_infer", "seed": 0, "fix_seed": False}),
            ("flatten_contiguous_range", "flatten", {"start_axis": 1, "stop_axis": 1}),
        ],
    )
    def test_defaults(self, type_, name, attrs):
        o = one(type_, {"X": [(F, [2, 3])]})
        assert (o.name, o.attrs) == (f"pd_op.{name}", attrs)

    def test_pool2d(self):
        o = one("pool2d", {"X": [(F, [1, 3, 8, 8])]}, {"ksize": [2, 2], "pooling_type": "avg", "strides": [2, 2]})
        assert o.attrs == {
            "kernel_size": [2, 2],
            "pooling_type": "avg",
            "strides": [2, 2],
            "paddings": [0, 0],
            "ceil_mode": False,
            "exclusive": True,
            "data_format": "NCHW",
            "global_pooling": False,
            "adaptive": False,
            "padding_algorithm": "EXPLICIT",
        }

    def test_other_activations_are_computed(self):
        assert names(convert("swish", {"X": [(F, [2])]}, {"beta": 2.0})) == ["scale", "sigmoid", "multiply"]
        clip = one("relu6", {"X": [(F, [2])]}, {"threshold": 4.0})
        assert (clip.name, clip.attrs) == ("pd_op.clip", {"min": 0.0, "max": 4.0})
        assert names(convert("hard_swish", {"X": [(F, [2])]}, {"threshold": 4.0})) == ["scale", "clip", "multiply", "scale"]


class TestShapes:
    def test_reshape_by_a_list_of_tensors(self):
        combine, reshape = convert("reshape2", {"X": [(F, [6])], "ShapeTensor": [(N, []), (N, [1])]}, {"shape": [2, -1]}, more=["XShape"])
        assert combine.name == "builtin.combine" and reshape.operands["shape"] is combine.results[0]
        assert "shape" not in reshape.attrs

    def test_reshape_by_a_tensor(self):
        o = one("reshape2", {"X": [(F, [6])], "Shape": [(N, [2])]}, {"shape": [2, -1]})
        assert o.operands["shape"].name == "Shape_0"

    def test_reshape_by_an_attribute(self):
        assert one("reshape", {"X": [(F, [6])]}, {"shape": [2, -1]}).attrs == {"shape": [2, -1]}

    def test_reduce_all(self):
        assert one("reduce_sum", {"X": [(F, [2, 3])]}, {"dim": [0], "reduce_all": True}).attrs["axis"] == []

    def test_an_attribute_that_is_a_variable(self):
        feeds = {"x": (F, [2, 3]), "a": (N, [])}
        data = model(feeds, [op("reduce_max", {"X": "x"}, {"Out": "y"}, {"dim": VarRef("a")})], ["y"], {"y": (F, [-1])})
        reduced = read_program(data).block.ops[-1]
        assert reduced.operands["axis"].name == "a" and "axis" not in reduced.attrs

    def test_slice_with_tensors(self):
        ops = convert("slice", {"Input": [(F, [4, 5])], "StartsTensorList": [(N, [])]}, {"axes": [0], "starts": [0], "ends": [3]})
        assert names(ops) == ["builtin.combine", "slice"]
        assert ops[1].attrs == {"axes": [0], "infer_flags": [-1], "decrease_axis": [], "ends": [3]}

    def test_strided_slice_decreases(self):
        slice_, squeeze = convert(
            "strided_slice",
            {"Input": [(F, [4, 5])]},
            {"axes": [0], "starts": [1], "ends": [2], "strides": [1], "decrease_axis": [0]},
            out=(F, [5]),
        )
        assert slice_.name == "pd_op.strided_slice" and squeeze.attrs == {"axis": [0]}

    @pytest.mark.parametrize(("axis", "expected"), [(0, ["reshape"]), (2, ["flatten", "flatten"]), (4, ["reshape"])])
    def test_flatten_to_two_dims(self, axis, expected):
        assert names(convert("flatten2", {"X": [(F, [2, 3, 4, 5])]}, {"axis": axis})) == expected

    def test_lookup_table_v1_drops_the_trailing_dim(self):
        squeeze, embedding = convert("lookup_table", {"W": [(F, [9, 4])], "Ids": [(N, [-1, 1])]}, out=(F, [-1, 4]))
        assert squeeze.attrs == {"axis": [1]} and embedding.operands["x"] is squeeze.results[0]
        assert embedding.attrs["padding_idx"] == -1

    def test_split_by_number_and_by_sections(self):
        feeds, inner = {"x": (F, [2, 6])}, {"a": (F, [2, 3]), "b": (F, [2, 3])}
        for attrs, name in (({"num": 2, "axis": 1}, "split_with_num"), ({"sections": [3, -1], "axis": 1}, "split")):
            program = read_program(model(feeds, [op("split", {"X": "x"}, {"Out": ["a", "b"]}, attrs)], ["a", "b"], inner))
            ops = program.block.ops[1:]
            assert names(ops) == [name, "builtin.split"] and list(program.outputs.values()) == ops[1].results

    def test_pad2d_is_a_padded_volume(self):
        ops = convert("pad2d", {"X": [(F, [-1, 3, 8, 8])]}, {"paddings": [1, 2, 3, 4], "mode": "edge"})
        assert names(ops) == ["unsqueeze", "pad3d", "squeeze"]
        assert ops[1].attrs == {"paddings": [3, 4, 1, 2, 0, 0], "mode": "replicate", "pad_value": 0.0, "data_format": "NCDHW"}
        assert ops[0].attrs == ops[2].attrs == {"axis": [2]}


class TestValues:
    @pytest.mark.parametrize(
        ("attrs", "value"),
        [
            ({"dtype": 3, "str_value": "9007199254740993", "value": 9e15}, 9007199254740993),
            ({"dtype": 5, "str_value": "-inf", "value": 0.0}, float("-inf")),
            ({"dtype": 0, "value": 1.0}, True),
            ({"dtype": 2, "str_value": "3.0", "value": 3.0}, 3),
        ],
    )
    def test_fill_constant(self, attrs, value):
        o = one("fill_constant", {}, {"shape": [Long(2)], **attrs})
        assert o.attrs["value"] == value and type(o.attrs["value"]) is type(value)

    def test_fill_constant_of_a_tensor_shape(self):
        full, filled = convert("fill_constant", {"ShapeTensor": [("int32", [2])]}, {"value": 2.0, "dtype": 5})
        assert filled.operands == {"value": full.results[0], "shape": filled.operands["shape"]}
        assert filled.operands["shape"].name == "ShapeTensor_0"

    def test_dtypes_are_names(self):
        assert one("cast", {"X": [(F, [2])]}, {"in_dtype": 5, "out_dtype": 22}).attrs == {"dtype": "bfloat16"}

    def test_old_set_value_keeps_its_contents_by_dtype(self):
        attrs = {"axes": [Long(0)], "starts": [Long(0)], "ends": [Long(1)], "steps": [Long(1)], "shape": [Long(1)], "fp32_values": [5.0]}
        o = one("set_value", {"Input": [(F, [2, 3])]}, attrs | {"dtype": 5})
        assert (o.name, o.attrs["values"], o.attrs["starts"]) == ("pd_op.set_value", [5.0], [0])

    def test_one_hot_v1(self):
        assert names(convert("one_hot", {"X": [(N, [4, 1])]}, {"depth": 3})) == ["squeeze", "one_hot"]


class TestResize:
    def test_v2(self):
        o = one("bilinear_interp_v2", {"X": [(F, [1, 3, -1, -1])]}, {"scale": [2.0, 2.0], "data_layout": "NCHW", "align_corners": False})
        assert (o.attrs["scale"], o.attrs["align_corners"], o.attrs["align_mode"]) == ([2.0, 2.0], False, 1)

    def test_v1_has_one_scale(self):
        assert one("nearest_interp", {"X": [(F, [1, 3, -1, -1])]}, {"scale": 2.0}).attrs["scale"] == [2.0, 2.0]

    def test_sizes_as_tensors(self):
        combine, o = convert("bilinear_interp_v2", {"X": [(F, [1, 3, 5, 7])], "SizeTensor": [("int32", [1]), ("int32", [1])]})
        assert o.operands["size_tensor"] is combine.results[0]


class TestWhatHasNoRule:
    def test_an_unknown_operator_keeps_its_name(self):
        o = one("py_func", {"X": [(F, [2])]}, {"token": 3, "op_role": 1})
        assert (o.name, o.attrs, list(o.operands)) == ("legacy.py_func", {"token": 3}, ["X"])

    def test_an_input_without_a_place_is_told(self):
        o = one("relu", {"X": [(F, [2])], "Mystery": [(F, [2])]})
        assert o.name == "legacy.relu" and "Mystery" in o.attrs["__reason__"]

    def test_wrong_attribute_types_are_told(self):
        o = one("flatten2", {"X": [(F, [2, 2])]}, {"axis": "one"})
        assert o.name == "legacy.flatten2" and "attributes" in o.attrs["__reason__"]
