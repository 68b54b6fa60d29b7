"""Strategies of operators that move elements: shapes, slices, joins, repetition."""

from __future__ import annotations

import math
from typing import Any

from drawing import Call, Values, axes, axis, drawn, everywhere, expression, fits, flag, pick, shape, size, unknown, values
from hypothesis import strategies as st

ANY = ("float32", "int64", "bool", "float64", "int32", "bfloat16", "float16", "uint8", "int8", "int16")
SOME = ("float32", "int64", "bool", "float64", "int32")


def _call(draw: Any, operator: str, code: str, x: Values) -> Call:
    return Call(operator, code, {"x": x}, unknown=unknown(draw, everywhere(x=x)))


@drawn("shape64")
def shape64(draw: Any, operator: str) -> Call:
    return _call(draw, operator, "paddle.shape(x)", values(draw, pick(draw, *ANY), shape(draw, 0, 5)))


@drawn("reshape")
def reshape(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *ANY), shape(draw, 0, 5))
    target = _regrouped(draw, x.shape)
    written: list[int] = [0 if n < len(x.shape) and d == x.shape[n] and flag(draw) else d for n, d in enumerate(target)]
    if target and x.shape and 0 not in x.shape and flag(draw):
        written[draw(st.integers(0, len(target) - 1))] = -1
    # where a size is written as a number, an unknown dim says nothing that contradicts it
    return _call(draw, operator, f"paddle.reshape(x, {written})", x)


def _regrouped(draw: Any, dims: tuple[int, ...]) -> list[int]:
    """The same number of elements in other dims: neighbours merged, even dims split, ones added."""
    out: list[int] = []
    for d in dims:
        if out and flag(draw):
            out[-1] *= d
        elif d > 2 and d % 2 == 0 and flag(draw):
            out += [2, d // 2]
        else:
            out.append(d)
    if flag(draw):
        out.insert(draw(st.integers(0, len(out))), 1)
    return out if out or math.prod(dims) == 1 else [math.prod(dims)]


@drawn("flatten")
def flatten(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *ANY), shape(draw, 0, 5))
    rank = len(x.shape)
    start = draw(st.integers(0, max(rank - 1, 0)))
    stop = draw(st.integers(start, max(rank - 1, 0)))
    if rank and flag(draw):
        start, stop = start - rank, stop - rank
    return _call(draw, operator, f"paddle.flatten(x, {start}, {stop})", x)


@drawn("transpose")
def transpose(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *ANY), shape(draw, 0, 6))
    order = draw(st.permutations(range(len(x.shape))))
    return _call(draw, operator, f"paddle.transpose(x, {[a - len(order) if flag(draw) else a for a in order]})", x)


@drawn("unsqueeze")
def unsqueeze(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *ANY), shape(draw, 0, 4))
    places: list[int] = []
    for _ in range(draw(st.integers(1, 3))):
        rank = len(x.shape) + len(places) + 1
        places.append(axis(draw, rank))
    return _call(draw, operator, f"paddle.unsqueeze(x, {places if len(places) > 1 or flag(draw) else places[0]})", x)


@drawn("squeeze")
def squeeze(draw: Any, operator: str) -> Call:
    dims = [1 if flag(draw) else d for d in shape(draw, 0, 5)]
    x = values(draw, pick(draw, *ANY), dims)
    if not dims or flag(draw):
        # which dims are 1 decides the rank: they must be known
        return Call(operator, "paddle.squeeze(x)", {"x": x}, unknown=unknown(draw, {"x": [n for n, d in enumerate(dims) if d != 1][:0]}))
    chosen = axes(draw, len(dims))
    # an axis that is unknown and squeezed is taken to be 1 by Paddle too: it must be; one that is not 1 stays, if that is known
    free = [n for n, d in enumerate(dims) if n not in {a % len(dims) for a in chosen} or d == 1]
    return Call(operator, f"paddle.squeeze(x, {chosen})", {"x": x}, unknown=unknown(draw, {"x": free}))


@drawn("slice")
def slice_(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *ANY), shape(draw, 1, 4))
    parts = []
    for d in x.shape[: draw(st.integers(1, len(x.shape)))]:
        how = pick(draw, "range", "number", "all") if d else pick(draw, "range", "all")
        if how == "number":
            parts.append(str(draw(st.integers(-d, d - 1))))
        elif how == "all":
            parts.append(":")
        else:
            first, last = (pick(draw, "", *(str(n) for n in (0, 1, -1, 2, -2, d, d + 5, -d - 3))) for _ in "ab")
            parts.append(f"{first}:{last}")
    if flag(draw):
        parts = ["...", *parts] if len(parts) == len(x.shape) else parts
    if all(part in (":", "...") for part in parts):
        parts[-1] = "1:"
    return _call(draw, operator, f"x[{', '.join(parts)}]", x)


@drawn("strided_slice")
def strided_slice(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *SOME), shape(draw, 1, 4))
    chosen = sorted(draw(st.lists(st.integers(0, len(x.shape) - 1), min_size=1, max_size=3, unique=True)))
    steps = [pick(draw, 2, -1, 3, 1, -2, 40) for _ in chosen]
    starts, ends = [], []
    for a, step in zip(chosen, steps, strict=True):
        d = x.shape[a]
        first, last = draw(st.integers(-d - 2, d + 2)), draw(st.integers(-d - 2, d + 2))
        starts.append(first)
        ends.append(last if step > 0 or last < d else -d - 1)
    return _call(draw, operator, f"paddle.strided_slice(x, {chosen}, {starts}, {ends}, {steps})", x)


@drawn("concat", "stack")
def joined(draw: Any, operator: str) -> Call:
    dims = list(shape(draw, 1 if operator == "concat" else 0, 4, largest=9))
    along = axis(draw, len(dims) + (operator == "stack"))
    dtype = pick(draw, *ANY)
    inputs = {}
    for name in "xyzuv"[: draw(st.integers(1, 5))]:
        own = [*dims]
        if operator == "concat":
            own[along] = size(draw, 0, 17)
        inputs[name] = values(draw, dtype, own)
    code = f"paddle.{operator}([{', '.join(inputs)}], axis={along})"
    return Call(operator, code, inputs, unknown=unknown(draw, everywhere(**inputs)))


@drawn("split")
def split(draw: Any, operator: str) -> Call:
    dims = list(shape(draw, 1, 4, largest=9))
    along = axis(draw, len(dims))
    sections = [size(draw, 0, 5) for _ in range(draw(st.integers(1, 4)))]
    dims[along] = sum(sections)
    x = values(draw, pick(draw, *SOME), dims)
    written = [*sections]
    free = {"x": range(len(dims))}
    if flag(draw):
        written[draw(st.integers(0, len(sections) - 1))] = -1
    return Call(operator, f"paddle.split(x, {written}, axis={along})", {"x": x}, unknown=unknown(draw, free))


@drawn("split_with_num")
def split_with_num(draw: Any, operator: str) -> Call:
    dims = list(shape(draw, 1, 4, largest=9))
    along, number = axis(draw, len(dims)), draw(st.integers(1, 4))
    dims[along] = number * size(draw, 1, 5)
    x = values(draw, pick(draw, *SOME), dims)
    return _call(draw, operator, f"paddle.split(x, {number}, axis={along})", x)


@drawn("unstack")
def unstack(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *SOME), shape(draw, 1, 4, largest=5))
    along = axis(draw, len(x.shape))
    # the number of results must be known
    free = {"x": [a for a in range(len(x.shape)) if a != along % len(x.shape)]}
    return Call(operator, f"paddle.unstack(x, axis={along})", {"x": x}, unknown=unknown(draw, free))


@drawn("expand")
def expand(draw: Any, operator: str) -> Call:
    target = shape(draw, 0, 5, largest=9)
    x = values(draw, pick(draw, *SOME), fits(draw, target))
    lead = len(target) - len(x.shape)
    written = [-1 if n >= lead and x.shape[n - lead] == d and flag(draw) else d for n, d in enumerate(target)]
    return _call(draw, operator, f"paddle.expand(x, {written})", x)


@drawn("tile")
def tile(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *SOME), shape(draw, 0, 4, largest=8))
    times = [pick(draw, 2, 1, 3) for _ in range(draw(st.integers(1, 4)))]
    return _call(draw, operator, f"paddle.tile(x, {times})", x)


@drawn("flip")
def flip(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *SOME), shape(draw, 1, 5))
    return _call(draw, operator, f"paddle.flip(x, {axes(draw, len(x.shape))})", x)


@drawn("triu")
def triu(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *SOME), shape(draw, 2, 4))
    return _call(draw, operator, f"paddle.triu(x, diagonal={draw(st.integers(-9, 9))})", x)


@drawn("broadcast_tensors")
def broadcast_tensors(draw: Any, operator: str) -> Call:
    dims, dtype = shape(draw, 0, 4, largest=9), pick(draw, *SOME)
    inputs = {name: values(draw, dtype, fits(draw, dims)) for name in "xyz"[: draw(st.integers(1, 3))]}
    return Call(operator, f"paddle.broadcast_tensors([{', '.join(inputs)}])", inputs, unknown=unknown(draw, everywhere(**inputs)))


@drawn("meshgrid")
def meshgrid(draw: Any, operator: str) -> Call:
    dtype = pick(draw, "float32", "int64", "float64", "int32")
    inputs = {name: values(draw, dtype, shape(draw, 0, 1, largest=9)) for name in "xyz"[: draw(st.integers(1, 3))]}
    return Call(operator, f"paddle.meshgrid({', '.join(inputs)})", inputs, unknown=unknown(draw, everywhere(**inputs)))


@drawn("pixel_shuffle")
def pixel_shuffle(draw: Any, operator: str) -> Call:
    factor, last = draw(st.integers(1, 3)), flag(draw)
    n, c, h, w = size(draw, 0, 3), size(draw, 1, 3) * factor * factor, size(draw, 1, 8), size(draw, 1, 8)
    x = values(draw, pick(draw, "float32", "float64"), (n, h, w, c) if last else (n, c, h, w))
    layout = "NHWC" if last else "NCHW"
    free = {"x": (0, 1, 2) if last else (0, 2, 3)}
    code = f"paddle.nn.functional.pixel_shuffle(x, {factor}, data_format={layout!r})"
    return Call(operator, code, {"x": x}, unknown=unknown(draw, free))


def _windows(draw: Any) -> dict[str, Any]:
    """kernel, strides, paddings and dilations of unfold and fold, as pairs."""
    pair = {name: [pick(draw, *choices) for _ in "hw"] for name, choices in (
        ("kernel_sizes", (2, 1, 3)), ("strides", (1, 2, 3)), ("paddings", (0, 1, 2)), ("dilations", (1, 2)),
    )}  # fmt: skip
    if flag(draw):
        pair["paddings"] = [pick(draw, 0, 1, 2) for _ in range(4)]
    return pair


def _counts(sizes: list[int], given: dict[str, Any]) -> list[int]:
    """How many windows fit along each of the two axes."""
    padding = given["paddings"]
    added = [2 * p for p in padding] if len(padding) == 2 else [padding[0] + padding[2], padding[1] + padding[3]]
    spans = [d * (k - 1) + 1 for d, k in zip(given["dilations"], given["kernel_sizes"], strict=True)]
    return [(s + a - span) // step + 1 for s, a, span, step in zip(sizes, added, spans, given["strides"], strict=True)]


@drawn("unfold", "fold")
def windows(draw: Any, operator: str) -> Call:
    given = _windows(draw)
    sizes = [draw(st.integers(5, 11)) for _ in "hw"]
    n, c = size(draw, 0, 3), size(draw, 1, 4)
    dtype = pick(draw, "float32", "float64")
    if operator == "unfold":
        x = values(draw, dtype, (n, c, *sizes))
        return _call(draw, operator, expression("paddle.nn.functional.unfold", "x", **given), x)
    x = values(draw, dtype, (n, c * math.prod(given["kernel_sizes"]), math.prod(_counts(sizes, given))))
    return Call(operator, expression("paddle.nn.functional.fold", "x", output_sizes=sizes, **given), {"x": x})


@drawn("pad3d")
def pad3d(draw: Any, operator: str) -> Call:
    spatial, last, mode = draw(st.integers(1, 3)), flag(draw), pick(draw, "constant", "reflect", "replicate", "circular")
    sizes = [size(draw, 1, 9) for _ in range(spatial)]
    n, c = size(draw, 0, 3), size(draw, 0, 4)
    pads = []
    for d in reversed(sizes):
        most = {"reflect": d - 1, "circular": d}.get(mode, 4)
        pads += [draw(st.integers(0, min(most, 4))) for _ in "ab"]
    layout = (("NLC", "NHWC", "NDHWC") if last else ("NCL", "NCHW", "NCDHW"))[spatial - 1]
    dtypes = ("float32", "float64", "int32", "int64") if mode == "constant" else ("float32", "float64", "int32", "int64")
    x = values(draw, pick(draw, *dtypes), (n, *sizes, c) if last else (n, c, *sizes))
    filled = {"value": pick(draw, 0.0, 1.5, -2.0)} if mode == "constant" else {}
    return _call(draw, operator, expression("paddle.nn.functional.pad", "x", repr(pads), mode=mode, data_format=layout, **filled), x)
