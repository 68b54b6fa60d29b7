"""Strategies of operators that make tensors from attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
from drawing import NUMBERS, Call, Values, drawn, everywhere, flag, listed, pick, shape, unknown, values
from hypothesis import strategies as st

DTYPES = (*NUMBERS, "bool")


def _number(draw: Any, dtype: str) -> float | int | bool:
    if dtype == "bool":
        return flag(draw)
    return pick(draw, 1.5, 0.0, -2.0, 3e4) if dtype.startswith(("f", "b")) else pick(draw, 2, 0, 100, -3)


@drawn("full")
def full(draw: Any, operator: str) -> Call:
    dtype = pick(draw, *DTYPES)
    return Call(operator, f"paddle.full({list(shape(draw))}, {_number(draw, dtype)!r}, {dtype!r})", {})


@drawn("full_int_array")
def full_int_array(draw: Any, operator: str) -> Call:
    numbers = draw(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=0, max_size=5))
    dtype = pick(draw, "int64", "int32")
    return Call(operator, f"paddle._C_ops.full_int_array({numbers}, paddle.{dtype}, paddle.CPUPlace())", {})


@drawn("full_with_tensor")
def full_with_tensor(draw: Any, operator: str) -> Call:
    dtype = pick(draw, "float32", "int64", "float64", "int32", "bool")
    v = values(draw, dtype, pick(draw, (1,), ()))
    if flag(draw):
        # the rank of the result is the length of s: Paddle asks for it
        s = listed("int64" if flag(draw) else "int32", list(shape(draw, 1, 4)))
        return Call(operator, f"paddle.full(s, v, {dtype!r})", {"v": v, "s": s})
    x = values(draw, "float32", shape(draw, 1, 3))
    dims = ", ".join(["paddle.shape(x)[0]", *(str(d) for d in shape(draw, 0, 2, largest=5))])
    return Call(operator, f"paddle.full([{dims}], v, {dtype!r})", {"v": v, "x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("full_like")
def full_like(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *DTYPES), shape(draw))
    dtype = pick(draw, x.dtype, "float32", "int64", "bool", "int32", "float64")
    return Call(
        operator, f"paddle.full_like(x, {_number(draw, dtype)!r}, dtype={dtype!r})", {"x": x}, unknown=unknown(draw, everywhere(x=x))
    )


@drawn("arange")
def arange(draw: Any, operator: str) -> Call:
    dtype = pick(draw, "int64", "float32", "int32", "float64")
    if dtype.startswith("int"):
        start, end, step = draw(st.integers(-9, 9)), draw(st.integers(-9, 40)), draw(st.integers(1, 5))
    else:
        # multiples of 1/8, so that the number of elements depends on no rounding
        start, end, step = (draw(st.integers(low, high)) / 8 for low, high in ((-40, 40), (-40, 90), (1, 20)))
    if flag(draw):
        start, end, step = end, start, -step
    if flag(draw):
        return Call(operator, f"paddle.arange({start}, {end}, {step}, {dtype!r})", {})
    # as tensors: known only when the model runs
    n = listed(dtype, [start, end, step])
    return Call(operator, f"paddle.arange(n[0], n[1], n[2], {dtype!r})", {"n": n})


@drawn("assign_value_")
def assign_value(draw: Any, operator: str) -> Call:
    x: Values = values(draw, pick(draw, "float32", "int64", "bool", "float64", "int32"), shape(draw, 0, 4, largest=5))
    array: np.ndarray = x.array()
    return Call(operator, f"paddle.assign(np.array({array.reshape(-1).tolist()}, {x.dtype!r}).reshape({list(x.shape)}))", {})
