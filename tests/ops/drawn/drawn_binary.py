"""Strategies of operators of two operands that broadcast, and where."""

from __future__ import annotations

from typing import Any

from drawing import FLOATS, INTEGERS, NUMBERS, Call, Values, drawn, everywhere, fits, flag, pick, shape, unknown, values

ARITHMETIC = (*FLOATS, *INTEGERS)
EVERY = (*NUMBERS, "bool")
LARGE = (*FLOATS, "int64", "int32")
# operator → (Paddle's function, dtypes)
BINARY = {
    "add": ("paddle.add", ARITHMETIC),
    "subtract": ("paddle.subtract", ARITHMETIC),
    "multiply": ("paddle.multiply", ARITHMETIC),
    "divide": ("paddle.divide", ARITHMETIC),
    "maximum": ("paddle.maximum", LARGE),
    "minimum": ("paddle.minimum", LARGE),
    "floor_divide": ("paddle.floor_divide", ARITHMETIC),
    "remainder": ("paddle.remainder", LARGE),
    "elementwise_pow": ("paddle.pow", ("float32", "float64", "int32", "int64")),
    "equal": ("paddle.equal", EVERY),
    "not_equal": ("paddle.not_equal", EVERY),
    "less_than": ("paddle.less_than", EVERY),
    "greater_than": ("paddle.greater_than", EVERY),
    "greater_equal": ("paddle.greater_equal", EVERY),
    "logical_and": ("paddle.logical_and", ("bool", "float32", "float64", *INTEGERS)),
    "bitwise_and": ("paddle.bitwise_and", ("bool", *INTEGERS)),
}

# Where NaN and infinities are drawn as well.
ODD = (
    "add", "subtract", "multiply", "maximum", "minimum", "equal", "not_equal", "less_than", "greater_than", "greater_equal", "logical_and",
)  # fmt: skip


def _operands(draw: Any, operator: str, dtype: str, dims: tuple[int, ...]) -> tuple[Values, Values]:
    left, right = (dims, fits(draw, dims)) if flag(draw) else (fits(draw, dims), dims)
    grain = pick(draw, 0.0, 0.5, 1.0)
    x, y = (-9.0, 9.0), (-9.0, 9.0)
    if operator in ("divide", "floor_divide", "remainder"):
        # Paddle stops the process when an integer is divided by 0; the quotients of floats by tiny numbers are the largest of them all
        y = pick(draw, (0.5, 9.0), (-9.0, -0.5)) if dtype in FLOATS else (1, 9)
        # a whole quotient of rounded operands is whole only before rounding: ±1 of floor and a whole divisor of the remainder
        grain = 1.0 if operator != "divide" and dtype in FLOATS else grain
    if operator == "elementwise_pow":
        x, y, grain = ((0.1, 3.0), (-3.0, 3.0), 0.0) if dtype in FLOATS else ((-3, 4), (0, 4), 0.0)
    if operator in ("logical_and", "equal", "not_equal", "less_than", "greater_than", "greater_equal"):
        x = y = (-2.0, 3.0)
    odd = operator in ODD
    return values(draw, dtype, left, *x, grain, odd), values(draw, dtype, right, *y, grain, odd)


@drawn(*BINARY)
def binary(draw: Any, operator: str) -> Call:
    function, dtypes = BINARY[operator]
    x, y = _operands(draw, operator, pick(draw, *dtypes), shape(draw, largest=17))
    free = unknown(draw, everywhere(x=x, y=y))
    # Paddle has parameters of few types
    if flag(draw) or y.dtype not in ("float32", "float64", "int32"):
        return Call(operator, f"{function}(x, y)", {"x": x, "y": y}, unknown=free)
    return Call(operator, f"{function}(x, y)", {"x": x}, {"y": y}, unknown={k: v for k, v in free.items() if k == "x"})


@drawn("where")
def where(draw: Any, operator: str) -> Call:
    dtype = pick(draw, "float32", "float64", "int32", "int64", "bool")
    dims = shape(draw, largest=17)
    c = values(draw, "bool", dims if flag(draw) else fits(draw, dims))
    x, y = values(draw, dtype, fits(draw, dims), odd=True), values(draw, dtype, dims, odd=True)
    return Call(operator, "paddle.where(c, x, y)", {"c": c, "x": x, "y": y}, unknown=unknown(draw, everywhere(c=c, x=x, y=y)))
