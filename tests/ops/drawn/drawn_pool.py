"""Strategies of pooling and resizing."""

from __future__ import annotations

from typing import Any

from drawing import Call, drawn, everywhere, expression, flag, pick, size, unknown, values
from hypothesis import strategies as st

LAYOUTS = {(1, False): "NCW", (2, False): "NCHW", (3, False): "NCDHW", (1, True): "NWC", (2, True): "NHWC", (3, True): "NDHWC"}


def _image(draw: Any, n: int, sizes: list[int], last: bool, grain: float = 0.0) -> Any:
    dtype, batch, channels = pick(draw, "float32", "float32", "float64"), size(draw, 0, 3), size(draw, 1, 17 if n == 2 else 4)
    return values(draw, dtype, (batch, *sizes, channels) if last else (batch, channels, *sizes), grain=grain)


@drawn("pool2d", "pool3d")
def pool(draw: Any, operator: str) -> Call:
    n = int(operator[4])
    last, kind = flag(draw), pick(draw, "max", "avg")
    layout = LAYOUTS[n, last]
    if flag(draw):
        sizes = [size(draw, 1, 9) for _ in range(n)]
        wanted = [pick(draw, 1, 2, 3, 5) for _ in range(n)]
        given: dict[str, Any] = {"output_size": wanted}
        if kind == "avg":
            given["data_format"] = layout
        x = _image(draw, n, sizes, last and kind == "avg")
        code = expression(f"paddle.nn.functional.adaptive_{kind}_pool{n}d", "x", **given)
        return Call(operator, code, {"x": x}, unknown=unknown(draw, everywhere(x=x)))
    kernel = [pick(draw, 2, 3, 1, 4) for _ in range(n)]
    sizes = [k + pick(draw, 0, 1, 2, 5) for k in kernel]
    # windows that lie in the padding alone have no greatest element
    padding: Any = [draw(st.integers(0, k // 2)) for k in kernel]
    how = pick(draw, "each", "sides", "SAME", "VALID")
    if how == "sides":
        padding = [draw(st.integers(0, k // 2)) for k in kernel for _ in "ab"]
    elif how != "each":
        padding = how
    given = {"kernel_size": kernel, "stride": [pick(draw, 1, 2, 3) for _ in range(n)], "padding": padding, "data_format": layout}
    if how != "VALID":
        given["ceil_mode"] = flag(draw)
    if kind == "avg":
        given["exclusive"] = flag(draw)
        if flag(draw):
            given["divisor_override"] = pick(draw, 2, 7)
    x = _image(draw, n, sizes, last)
    return Call(
        operator, expression(f"paddle.nn.functional.{kind}_pool{n}d", "x", **given), {"x": x}, unknown=unknown(draw, everywhere(x=x))
    )


@drawn("max_pool2d_with_index")
def max_pool2d_with_index(draw: Any, operator: str) -> Call:
    kernel = [pick(draw, 2, 3, 1, 4) for _ in "hw"]
    x = _image(draw, 2, [k + pick(draw, 0, 1, 2, 5) for k in kernel], False, pick(draw, 0.0, 1.0))
    if flag(draw):
        code = expression(
            "paddle.nn.functional.adaptive_max_pool2d", "x", output_size=[pick(draw, 1, 2, 3) for _ in "hw"], return_mask=True
        )
    else:
        given = {"kernel_size": kernel, "stride": [pick(draw, 1, 2, 3) for _ in "hw"]}
        padding = [draw(st.integers(0, k // 2)) for k in kernel]
        code = expression("paddle.nn.functional.max_pool2d", "x", **given, padding=padding, ceil_mode=flag(draw), return_mask=True)
    return Call(operator, code, {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("bilinear_interp", "nearest_interp", "bicubic_interp")
def interp(draw: Any, operator: str) -> Call:
    mode = operator.removesuffix("_interp")
    n = 3 if mode == "nearest" and flag(draw) else 2
    last = flag(draw)
    x = _image(draw, n, [size(draw, 1, 9) for _ in range(n)], last)
    given: dict[str, Any] = {"mode": mode, "data_format": LAYOUTS[n, last]}
    if flag(draw):
        given["size"] = [size(draw, 1, 17) for _ in range(n)]
    else:
        # factors whose steps are exact in binary, and a few that are not
        given["scale_factor"] = [pick(draw, 2.0, 0.5, 1.5, 1.0, 3.0, 0.7, 1.3) for _ in range(n)]
    if mode != "nearest":
        given["align_corners"] = flag(draw)
    if mode == "bilinear" and not given["align_corners"]:
        given["align_mode"] = pick(draw, 0, 1)
    channel = n + 1 if last else 1
    free = {"x": [a for a in range(n + 2) if a != channel]}
    code = expression("paddle.nn.functional.interpolate", "x", **given)
    # places are float32 in every type: where a multiplication and a subtraction round once, float64 shows a unit in their last place
    return Call(operator, code, {"x": x}, unknown=unknown(draw, free), tolerance=1e-6)


@drawn("grid_sample")
def grid_sample(draw: Any, operator: str) -> Call:
    n = pick(draw, 2, 3)
    dtype, batch = pick(draw, "float32", "float64"), size(draw, 1, 3)
    x = values(draw, dtype, (batch, size(draw, 1, 5), *(size(draw, 1, 8) for _ in range(n))))
    grid = values(draw, dtype, (batch, *(size(draw, 1, 8) for _ in range(n)), n), *pick(draw, (-1.0, 1.0), (-2.5, 2.5)))
    given = {"mode": pick(draw, "bilinear", "nearest"), "padding_mode": pick(draw, "zeros", "border", "reflection")}
    given["align_corners"] = flag(draw)
    free = {"x": (0, *range(2, n + 2)), "grid": range(n + 1)}
    code = expression("paddle.nn.functional.grid_sample", "x", "grid", **given)
    return Call(operator, code, {"x": x, "grid": grid}, unknown=unknown(draw, free))
