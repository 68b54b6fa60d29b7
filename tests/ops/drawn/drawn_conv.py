"""Strategies of convolutions."""

from __future__ import annotations

from typing import Any

from drawing import Call, Values, drawn, expression, flag, pick, size, unknown, values
from hypothesis import strategies as st

CHANNELS_LAST = {1: "NLC", 2: "NHWC", 3: "NDHWC"}
CHANNELS_FIRST = {1: "NCL", 2: "NCHW", 3: "NCDHW"}


def _each(draw: Any, n: int, *choices: int) -> list[int]:
    return [pick(draw, *choices) for _ in range(n)]


def _padding(draw: Any, n: int, most: int = 2) -> Any:
    how = pick(draw, "each", "one", "sides", "SAME", "VALID")
    if how in ("SAME", "VALID"):
        return how
    if how == "one":
        return draw(st.integers(0, most))
    return [draw(st.integers(0, most)) for _ in range(n if how == "each" else 2 * n)]


def _finish(draw: Any, operator: str, code: str, x: Values, weights: dict[str, Values], channel: int) -> Call:
    free = unknown(draw, {"x": [a for a in range(len(x.shape)) if a != channel]})
    if flag(draw):
        return Call(operator, code, {"x": x}, weights, unknown=free)
    return Call(operator, code, {"x": x} | weights, unknown=free)


@drawn("conv2d", "depthwise_conv2d", "conv3d")
def conv(draw: Any, operator: str) -> Call:
    n = 3 if operator == "conv3d" else 2
    last = flag(draw)
    kernel, stride, dilation = _each(draw, n, 3, 1, 2, 5), _each(draw, n, 1, 2, 3), _each(draw, n, 1, 2)
    if operator == "depthwise_conv2d":
        groups = draw(st.integers(2, 9))
        inside, outside = groups, groups * pick(draw, 1, 2)
    else:
        groups = pick(draw, 1, 1, 2, 3)
        inside, outside = groups * size(draw, 1, 17 if n == 2 else 4), groups * size(draw, 1, 17 if n == 2 else 4)
    sizes = [d * (k - 1) + 1 + pick(draw, 0, 1, 2, 3, 7) for k, d in zip(kernel, dilation, strict=True)]
    dtype = pick(draw, "float32", "float32", "float64")
    batch = size(draw, 0, 3)
    x = values(draw, dtype, (batch, *sizes, inside) if last else (batch, inside, *sizes))
    weights = {"w": values(draw, dtype, (outside, inside // groups, *kernel))}
    given = {"stride": stride, "padding": _padding(draw, n), "dilation": dilation, "groups": groups}
    given["data_format"] = (CHANNELS_LAST if last else CHANNELS_FIRST)[n]
    if flag(draw):
        weights["b"] = values(draw, dtype, (outside,))
    return _finish(draw, operator, expression(f"paddle.nn.functional.conv{n}d", "x", *weights, **given), x, weights, n + 1 if last else 1)


@drawn("conv2d_transpose")
def conv2d_transpose(draw: Any, operator: str) -> Call:
    last, groups = flag(draw), pick(draw, 1, 1, 2, 3)
    kernel, stride, dilation = _each(draw, 2, 3, 1, 2, 4), _each(draw, 2, 1, 2, 3), _each(draw, 2, 1, 2)
    inside, outside = groups * size(draw, 1, 8), groups * size(draw, 1, 8)
    sizes = [draw(st.integers(1, 7)) for _ in "hw"]
    dtype = pick(draw, "float32", "float32", "float64")
    batch = size(draw, 0, 3)
    x = values(draw, dtype, (batch, *sizes, inside) if last else (batch, inside, *sizes))
    weights = {"w": values(draw, dtype, (inside, outside // groups, *kernel))}
    given: dict[str, Any] = {"stride": stride, "padding": _padding(draw, 2, 1), "dilation": dilation, "groups": groups}
    if flag(draw):
        given["output_padding"] = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    given["data_format"] = CHANNELS_LAST[2] if last else CHANNELS_FIRST[2]
    if flag(draw):
        weights["b"] = values(draw, dtype, (outside,))
    code = expression("paddle.nn.functional.conv2d_transpose", "x", *weights, **given)
    return _finish(draw, operator, code, x, weights, 3 if last else 1)


@drawn("deformable_conv")
def deformable_conv(draw: Any, operator: str) -> Call:
    kernel, stride, dilation, padding = (_each(draw, 2, *c) for c in ((3, 1, 2), (1, 2), (1, 2), (0, 1, 2)))
    groups, deformed = pick(draw, 1, 2), pick(draw, 1, 2)
    inside, outside = 2 * size(draw, 1, 3), 2 * size(draw, 1, 3)
    sizes = [d * (k - 1) + 1 + pick(draw, 0, 1, 3) for k, d in zip(kernel, dilation, strict=True)]
    out = [(s + 2 * p - d * (k - 1) - 1) // t + 1 for s, p, d, k, t in zip(sizes, padding, dilation, kernel, stride, strict=True)]
    places = deformed * kernel[0] * kernel[1]
    batch, dtype = size(draw, 1, 3), pick(draw, "float32", "float64")
    x = values(draw, dtype, (batch, inside, *sizes))
    inputs = {"x": x, "offset": values(draw, dtype, (batch, 2 * places, *out))}
    given: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    given |= {"deformable_groups": deformed, "groups": groups}
    mask = ""
    if flag(draw):
        inputs["m"] = values(draw, dtype, (batch, places, *out), 0.0, 1.0)
        mask = ", mask=m"
    code = expression("paddle.vision.ops.deform_conv2d", "x", "offset", "w", **given)[:-1] + mask + ")"
    weights = {"w": values(draw, dtype, (outside, inside // groups, *kernel))}
    free = {name: (0, 2, 3) for name in inputs}
    return Call(operator, code, inputs, weights, unknown=unknown(draw, free))
