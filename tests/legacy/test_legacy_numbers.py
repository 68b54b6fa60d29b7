"""Operators of Paddle 1.x and 2.x that no current exporter writes: the numbers against Paddle's own run of the same file.

All stand in a few models of many outputs, so that each is compiled and predicted once.
"""

from __future__ import annotations

import numpy as np
import pytest
from legacy_proto import Long, model, op

import oarlock

F, N = "float32", "int64"
X3, X4 = (F, [2, 3, 4]), (F, [2, 3, 5, 6])

# output → (operator, inputs, attributes, declared type)
MODELS = {
    "arithmetic": {
        "add_middle": ("elementwise_add", {"X": "x3", "Y": "v3"}, {"axis": 1}, X3),
        "sub_first": ("elementwise_sub", {"X": "x3", "Y": "m23"}, {"axis": 0}, X3),
        "mul_x_small": ("elementwise_mul", {"X": "x3", "Y": "v4"}, {"axis": 2}, X3),
        "matmul_alpha": ("matmul", {"X": "x3", "Y": "x3"}, {"alpha": 0.5, "transpose_Y": True}, (F, [2, 3, 3])),
        "mul_flat": ("mul", {"X": "x3", "Y": "m125"}, {"x_num_col_dims": 1}, (F, [2, 5])),
        "mul_rows": ("mul", {"X": "x3", "Y": "m45"}, {"x_num_col_dims": 2}, (F, [2, 3, 5])),
        "brelu": ("brelu", {"X": "x3"}, {"t_min": -0.5, "t_max": 0.75}, X3),
        "pow": ("pow", {"X": "x3"}, {"factor": 2.0}, X3),
        "sum": ("sum", {"X": ["x3", "x3", "x3"]}, {}, X3),
        "mean": ("mean", {"X": "x3"}, {}, (F, [])),
        "fill_any": ("fill_any_like", {"X": "x3"}, {"value": 3.0, "dtype": -1}, X3),
        "batch": ("fill_constant_batch_size_like", {"Input": "x3"}, {"shape": [-1, 2], "value": 1.5, "dtype": 5}, (F, [2, 2])),
    },
    "shapes": {
        "reshape": ("reshape", {"X": "x3"}, {"shape": [0, -1]}, (F, [2, 12])),
        "flatten0": ("flatten2", {"X": "x3"}, {"axis": 0}, (F, [1, 24])),
        "flatten2": ("flatten2", {"X": "x3"}, {"axis": 2}, (F, [6, 4])),
        "flatten3": ("flatten2", {"X": "x3"}, {"axis": 3}, (F, [24, 1])),
        "transpose": ("transpose", {"X": "x3"}, {"axis": [2, 0, 1]}, (F, [4, 2, 3])),
        "unsqueeze": ("unsqueeze2", {"X": "x3"}, {"axes": [0, 2]}, (F, [1, 2, 1, 3, 4])),
        "expand": ("expand", {"X": "x3"}, {"expand_times": [1, 2, 3]}, (F, [2, 6, 12])),
        "lookup": ("lookup_table", {"W": "m45", "Ids": "ids"}, {"padding_idx": -1}, (F, [3, 5])),
        "slice": ("slice", {"Input": "x3"}, {"axes": [0, 2], "starts": [1, 1], "ends": [2, 3], "decrease_axis": [0]}, (F, [3, 2])),
        "largest": ("arg_max", {"X": "x3"}, {"axis": Ellipsis}, (N, [2, 3])),
    },
    "images": {
        "near": ("nearest_interp", {"X": "x4"}, {"interp_method": "nearest", "scale": 2.0, "align_corners": False}, (F, [2, 3, 10, 12])),
        "broken": ("bilinear_interp", {"X": "x4"}, {"scale": 1.5, "align_corners": False, "align_mode": 0}, (F, [2, 3, 7, 9])),
        "sized": ("bilinear_interp", {"X": "x4"}, {"out_h": 8, "out_w": 9, "align_corners": True}, (F, [2, 3, 8, 9])),
        "pooled": (
            "pool2d",
            {"X": "x4"},
            {"ksize": [2, 2], "strides": [2, 2], "pooling_type": "avg", "ceil_mode": True},
            (F, [2, 3, 3, 3]),
        ),
        "adaptive": ("pool2d", {"X": "x4"}, {"ksize": [2, 3], "pooling_type": "avg", "adaptive": True}, (F, [2, 3, 2, 3])),
        "whole": ("pool2d", {"X": "x4"}, {"ksize": [1, 1], "pooling_type": "avg", "global_pooling": True}, (F, [2, 3, 1, 1])),
    },
}
INPUTS = {
    "x3": X3,
    "x4": X4,
    "v3": (F, [3]),
    "v4": (F, [4]),
    "m23": (F, [2, 3]),
    "m45": (F, [4, 5]),
    "m125": (F, [12, 5]),
    "ids": (N, [3, 1]),
}


def build(cases):
    used = {n for _, slots, _, _ in cases.values() for names in slots.values() for n in ([names] if isinstance(names, str) else names)}
    ops = [op(t, slots, outputs(t, name), attributes(attrs)) for name, (t, slots, attrs, _) in cases.items()]
    inner = {name: kind for name, (_, _, _, kind) in cases.items()} | {f"{name}.shape": (N, [0]) for name in cases}
    inputs = {n: kind for n, kind in INPUTS.items() if n in used}
    return model(inputs, ops, list(cases), inner), inputs


def outputs(type_, name):
    return {"Out": name, "XShape": f"{name}.shape"} if type_ in ("flatten2", "unsqueeze2") else {"Out": name}


def attributes(attrs):
    return {k: Long(-1) if v is Ellipsis else v for k, v in attrs.items()}  # arg_max has an axis of 64 bits


def feed(inputs):
    draw = np.random.default_rng(5)
    return {
        name: draw.integers(0, 4, shape).astype(N) if dtype == N else draw.standard_normal(shape).astype(F)
        for name, (dtype, shape) in inputs.items()
    }


@pytest.mark.parametrize("name", MODELS)
def test_same_numbers_as_paddle(name, tmp_path):
    inference = pytest.importorskip("paddle.inference", reason="Paddle is the oracle")
    data, inputs = build(MODELS[name])
    (tmp_path / "model.pdmodel").write_bytes(data)
    (tmp_path / "model.pdiparams").write_bytes(b"")
    config = inference.Config(str(tmp_path / "model.pdmodel"), str(tmp_path / "model.pdiparams"))
    config.disable_glog_info()
    config.switch_ir_optim(False)
    config.disable_mkldnn()
    predictor, arrays = inference.create_predictor(config), feed(inputs)
    for key, array in arrays.items():
        predictor.get_input_handle(key).copy_from_cpu(array)
    predictor.run()
    expected = {key: predictor.get_output_handle(key).copy_to_cpu() for key in predictor.get_output_names()}
    assert list(expected) == list(MODELS[name])
    actual = oarlock.Session(oarlock.compile(data)).run(arrays)
    for key, value in expected.items():
        assert actual[key].dtype == value.dtype, key
        assert actual[key].shape == value.shape, key
        np.testing.assert_allclose(actual[key], value, rtol=1e-5, atol=1e-6, err_msg=key)


@pytest.mark.parametrize(
    ("type_", "attrs", "formula"),
    [
        ("hard_swish", {"threshold": 4.0, "scale": 5.0, "offset": 2.0}, lambda x: x * np.clip(x + 2, 0, 4) / 5),
        ("swish", {"beta": 2.0}, lambda x: x / (1 + np.exp(-2 * x))),
        ("relu6", {"threshold": 1.0}, lambda x: np.clip(x, 0, 1)),
    ],
)
def test_attributes_that_paddle_ignores_since_its_second_version(type_, attrs, formula):
    """The first version computed with them, so a file of that time means them."""
    data = model({"x": X3}, [op(type_, {"X": "x"}, {"Out": "y"}, attrs)], ["y"], {"y": X3})
    x = np.linspace(-4, 4, 24, dtype=F).reshape(2, 3, 4)
    np.testing.assert_allclose(oarlock.Session(oarlock.compile(data)).run({"x": x})["y"], formula(x), rtol=1e-5, atol=1e-6)
