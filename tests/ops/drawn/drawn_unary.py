"""Strategies of operators of one operand, element by element or along one axis."""

from __future__ import annotations

from typing import Any

from drawing import FLOATS, INTEGERS, NUMBERS, Call, axis, drawn, everywhere, expression, flag, pick, shape, unknown, values

WIDE = ("float32", "float64")
# operator → (Paddle's function, dtypes, lowest, highest value, attributes that are drawn)
PLAIN: dict[str, tuple[str, tuple[str, ...], float, float, dict[str, tuple[Any, ...]]]] = {
    "relu": ("paddle.nn.functional.relu", FLOATS, -2, 2, {}),
    "sigmoid": ("paddle.nn.functional.sigmoid", FLOATS, -9, 9, {}),
    "gelu": ("paddle.nn.functional.gelu", FLOATS, -6, 6, {"approximate": (False, True)}),
    "tanh": ("paddle.tanh", FLOATS, -9, 9, {}),
    "exp": ("paddle.exp", (*FLOATS, "int32", "int64"), -6, 6, {}),
    "hardsigmoid": ("paddle.nn.functional.hardsigmoid", WIDE, -6, 6, {"slope": (0.1666667, 0.3, -0.2), "offset": (0.5, 0.0, -0.3)}),
    "hardswish": ("paddle.nn.functional.hardswish", FLOATS, -6, 6, {}),
    "leaky_relu": ("paddle.nn.functional.leaky_relu", FLOATS, -6, 6, {"negative_slope": (0.01, 0.3, 0.0, -0.5, 2.0)}),
    "relu6": ("paddle.nn.functional.relu6", FLOATS, -9, 9, {}),
    "sqrt": ("paddle.sqrt", FLOATS, 0, 99, {}),
    "rsqrt": ("paddle.rsqrt", WIDE, 0.1, 99, {}),
    "swish": ("paddle.nn.functional.swish", FLOATS, -9, 9, {}),
    "silu": ("paddle.nn.functional.silu", WIDE, -9, 9, {}),
    "floor": ("paddle.floor", (*FLOATS, "int32", "int64"), -9, 9, {}),
    "cos": ("paddle.cos", (*WIDE, "int32", "int64"), -9, 9, {}),
    "sin": ("paddle.sin", (*WIDE, "int32", "int64"), -9, 9, {}),
    "log": ("paddle.log", (*FLOATS, "int32", "int64"), 0.01, 99, {}),
    "abs": ("paddle.abs", (*FLOATS, "int32", "int64"), -9, 9, {}),
    "square": ("paddle.square", (*WIDE, "int32", "int64"), -9, 9, {}),
    "elu": ("paddle.nn.functional.elu", FLOATS, -6, 6, {"alpha": (1.0, 0.3, 2.5)}),
    "assign": ("paddle.assign", (*NUMBERS, "bool"), -9, 9, {}),
    "share_data_": ("paddle._C_ops.share_data_", (*NUMBERS, "bool"), -9, 9, {}),
    "logical_not": ("paddle.logical_not", ("bool", *WIDE, *INTEGERS), -2, 2, {}),
    "numel": ("paddle.numel", (*NUMBERS, "bool"), -2, 2, {}),
    "pow": ("paddle.pow", ("float32", "float64", "int32", "int64"), 0.1, 4, {"y": (2, 3, 0.5, 2.0, -1, -0.5, 1.7, 0, 1)}),
    "scale": (
        "paddle.scale", (*FLOATS, *INTEGERS), -9, 9,
        {"scale": (2.5, -1.0, 0.0, 3, 0.5), "bias": (0.0, 1.5, -2.0), "bias_after_scale": (True, False)},
    ),
    "clip": (
        "paddle.clip", (*FLOATS, "int32", "int64"), -9, 9,
        {"min": (None, -1.0, 0.5, -3, 2), "max": (None, 1.0, 3.5, 4, 2)},
    ),
}  # fmt: skip

# Where Paddle itself is right about NaN and infinities: its vector code for exponentials and roots is not (sqrt(∞) is NaN).
ODD = ("relu", "relu6", "leaky_relu", "abs", "floor", "square", "assign", "share_data_", "clip", "logical_not", "numel", "scale")


@drawn(*PLAIN)
def plain(draw: Any, operator: str) -> Call:
    function, dtypes, low, high, attributes = PLAIN[operator]
    dtype = pick(draw, *dtypes)
    given = {name: pick(draw, *choices) for name, choices in attributes.items()}
    x = values(draw, dtype, shape(draw), low, high, pick(draw, 0.0, 0.5, 1.0) if low < 0 else 0.0, odd=operator in ODD)
    return Call(operator, expression(function, "x", **given), {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("softmax", "log_softmax")
def softmax(draw: Any, operator: str) -> Call:
    dims = shape(draw, 0, 4)
    along = axis(draw, len(dims)) if dims else pick(draw, -1, 0)
    # float16 and bfloat16 of rows that are long: Paddle's own sum is in the type
    x = values(draw, pick(draw, *FLOATS), dims, *pick(draw, (-2.0, 2.0), (-60.0, 60.0)))
    return Call(operator, f"paddle.nn.functional.{operator}(x, axis={along})", {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("cast")
def cast(draw: Any, operator: str) -> Call:
    dtypes = (*NUMBERS, "bool")
    source, target = pick(draw, *dtypes), pick(draw, *dtypes)
    # a float that the integer type cannot hold is what the CPU makes of it: C leaves it open
    low, high = (0, 99) if target == "uint8" and source in FLOATS else (-99, 99)
    x = values(draw, source, shape(draw), low, high, pick(draw, 0.0, 0.5))
    return Call(operator, f"paddle.cast(x, {target!r})", {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("dropout")
def dropout(draw: Any, operator: str) -> Call:
    given = {"p": pick(draw, 0.5, 0.1, 0.0, 1.0), "training": False, "mode": pick(draw, "upscale_in_train", "downscale_in_infer")}
    x = values(draw, pick(draw, *FLOATS), shape(draw))
    return Call(operator, expression("paddle.nn.functional.dropout", "x", **given), {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("prelu")
def prelu(draw: Any, operator: str) -> Call:
    dims = shape(draw, 2, 5, largest=9)
    last = flag(draw)
    layout = (("NC", "NLC", "NHWC", "NDHWC") if last else ("NC", "NCL", "NCHW", "NCDHW"))[len(dims) - 2]
    channel = len(dims) - 1 if last else 1
    dtype = pick(draw, "float32", "float64", "float16", "bfloat16")
    number = pick(draw, dims[channel], 1)
    x, w = values(draw, dtype, dims), values(draw, dtype, (number,))
    code = expression("paddle.nn.functional.prelu", "x", "w", data_format=layout)
    free = unknown(draw, {"x": [a for a in range(len(dims)) if a != channel]})
    if flag(draw):
        return Call(operator, code, {"x": x, "w": w}, unknown=free)
    return Call(operator, code, {"x": x}, {"w": w}, unknown=free)
