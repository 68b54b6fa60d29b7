"""Strategies of normalisations."""

from __future__ import annotations

import math
from typing import Any

from drawing import Call, Values, drawn, expression, flag, pick, shape, size, unknown, values
from hypothesis import strategies as st


def _with_weights(draw: Any, operator: str, code: str, x: Values, weights: dict[str, Values], free: list[int]) -> Call:
    told = unknown(draw, {"x": free})
    if flag(draw):
        return Call(operator, code, {"x": x}, weights, unknown=told)
    return Call(operator, code, {"x": x} | weights, unknown=told)


def _channels(draw: Any, least: int, each: int, zero: bool = True, groups: int = 1) -> tuple[tuple[int, ...], int, bool]:
    """(dims, the axis of the channels, whether it is the last); sizes up to ``each``."""
    rank, last = draw(st.integers(least, 5)), flag(draw)
    channels = groups * size(draw, 1, 17)
    sizes = [size(draw, 1, each if rank < 5 else 3) for _ in range(rank - 2)]
    batch = size(draw, 0 if zero else 1, 4)
    return ((batch, *sizes, channels), rank - 1, True) if last else ((batch, channels, *sizes), 1, False)


@drawn("batch_norm_")
def batch_norm(draw: Any, operator: str) -> Call:
    dims, channel, last = _channels(draw, 2, 8, zero=False)
    dtype = pick(draw, "float32", "float32", "float64")
    x, c = values(draw, dtype, dims), dims[channel]
    weights = {"mean": values(draw, dtype, (c,)), "var": values(draw, dtype, (c,), 0.1, 2.0)}
    if flag(draw):
        weights |= {"scale": values(draw, dtype, (c,)), "bias": values(draw, dtype, (c,))}
    given: dict[str, Any] = {"epsilon": pick(draw, 1e-5, 1e-3, 1e-2)}
    # of a batch's own statistics a single element has no deviation: what it is divided by is epsilon's root
    if flag(draw) and math.prod(dims) // c > 1:
        # saving a program makes is_test true: the statistics stay the batch's only where that was said
        given |= {"training": True, "use_global_stats": False, "momentum": pick(draw, 0.9, 0.5)}
    given["data_format"] = (
        ("NHWC" if last else "NCHW")
        if len(dims) == 4
        else ("NC", "NLC" if last else "NCL", "", "NDHWC" if last else "NCDHW")[len(dims) - 2]
    )
    code = expression("paddle.nn.functional.batch_norm", "x", *weights, **given)
    return _with_weights(draw, operator, code, x, weights, [a for a in range(len(dims)) if a != channel])


@drawn("layer_norm")
def layer_norm(draw: Any, operator: str) -> Call:
    dims = shape(draw, 2, 4)
    first = draw(st.integers(1, len(dims) - 1))
    dtype = pick(draw, "float32", "float64", "bfloat16")
    n = math.prod(dims[first:])
    x = values(draw, dtype, dims)
    weights, names = {}, ""
    for name in ("weight", "bias"):
        if flag(draw):
            weights[name[0]] = values(draw, dtype, (n,))
            names += f", {name}={name[0]}"
    code = f"paddle.nn.functional.layer_norm(x, {list(dims[first:])}{names}, epsilon={pick(draw, 1e-5, 1e-3)})"
    return _with_weights(draw, operator, code, x, weights, list(range(first)))


@drawn("group_norm")
def group_norm(draw: Any, operator: str) -> Call:
    groups = draw(st.integers(1, 4))
    dims, channel, last = _channels(draw, 3, 8, groups=groups)
    dtype = pick(draw, "float32", "float64")
    x = values(draw, dtype, dims)
    weights, names = {}, ""
    if flag(draw):
        weights = {"w": values(draw, dtype, (dims[channel],)), "b": values(draw, dtype, (dims[channel],))}
        names = ", weight=w, bias=b"
    layout = ("NLC" if last else "NCL", "NHWC" if last else "NCHW", "NDHWC" if last else "NCDHW")[len(dims) - 3]
    code = f"paddle.nn.functional.group_norm(x, {groups}, epsilon={pick(draw, 1e-5, 1e-3)}{names}, data_format={layout!r})"
    return _with_weights(draw, operator, code, x, weights, [a for a in range(len(dims)) if a != channel])


@drawn("instance_norm")
def instance_norm(draw: Any, operator: str) -> Call:
    dims = (size(draw, 0, 3), size(draw, 1, 9), *(size(draw, 1, 8) for _ in range(draw(st.integers(1, 3)))))
    dtype = pick(draw, "float32", "float64")
    x = values(draw, dtype, dims)
    weights, names = {}, ""
    if flag(draw):
        weights = {"w": values(draw, dtype, (dims[1],)), "b": values(draw, dtype, (dims[1],))}
        names = ", weight=w, bias=b"
    code = f"paddle.nn.functional.instance_norm(x{names}, eps={pick(draw, 1e-5, 1e-3)})"
    return _with_weights(draw, operator, code, x, weights, [a for a in range(len(dims)) if a != 1])
