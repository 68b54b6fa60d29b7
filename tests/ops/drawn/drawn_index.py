"""Strategies of operators that read or write at places which are data."""

from __future__ import annotations

from typing import Any

from drawing import Call, Values, axis, drawn, everywhere, flag, listed, pick, shape, size, unknown, values
from hypothesis import strategies as st

DATA = ("float32", "int64", "float64", "int32", "bool", "bfloat16", "float16", "uint8")


def _places(draw: Any, dims: tuple[int, ...], count: int, negative: bool = False) -> Values:
    """Indices below ``count``, with duplicates as they come."""
    return values(draw, pick(draw, "int64", "int32"), dims, -count if negative else 0, count)


@drawn("gather")
def gather(draw: Any, operator: str) -> Call:
    dims = list(shape(draw, 1, 4))
    along = axis(draw, len(dims))
    dims[along] = max(dims[along], 1)
    x = values(draw, pick(draw, *DATA), dims)
    i = _places(draw, shape(draw, 0, 1), dims[along])
    return Call(operator, f"paddle.gather(x, i, axis={along})", {"x": x, "i": i}, unknown=unknown(draw, everywhere(x=x, i=i)))


@drawn("index_select")
def index_select(draw: Any, operator: str) -> Call:
    dims = list(shape(draw, 1, 4))
    along = axis(draw, len(dims))
    dims[along] = max(dims[along], 1)
    x = values(draw, pick(draw, "float32", "int64", "float64", "int32", "bool"), dims)
    i = _places(draw, (size(draw, 1),), dims[along], flag(draw))
    return Call(operator, f"paddle.index_select(x, i, axis={along})", {"x": x, "i": i}, unknown=unknown(draw, everywhere(x=x, i=i)))


@drawn("gather_nd")
def gather_nd(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, *DATA), shape(draw, 1, 4, zero=False))
    depth = draw(st.integers(1, len(x.shape)))
    lead = shape(draw, 0, 2, largest=9)
    # each column within its own dim: the least of them bounds all
    i = _places(draw, (*lead, depth), min(x.shape[:depth]), flag(draw))
    free = {"x": range(len(x.shape)), "i": range(len(lead))}
    return Call(operator, "paddle.gather_nd(x, i)", {"x": x, "i": i}, unknown=unknown(draw, free))


@drawn("take_along_axis")
def take_along_axis(draw: Any, operator: str) -> Call:
    dims = list(shape(draw, 1, 4, zero=False, largest=17))
    along = axis(draw, len(dims))
    x = values(draw, pick(draw, "float32", "int64", "float64", "int32", "uint8", "bfloat16"), dims)
    broadcast = flag(draw)
    own = [d if broadcast else draw(st.integers(1, d)) for d in dims]
    own[along] = size(draw, 1)
    i = _places(draw, tuple(own), dims[along], flag(draw))
    code = f"paddle.take_along_axis(x, i, {along}{'' if broadcast else ', broadcast=False'})"
    return Call(operator, code, {"x": x, "i": i}, unknown=unknown(draw, everywhere(x=x, i=i)))


@drawn("scatter")
def scatter(draw: Any, operator: str) -> Call:
    dims = shape(draw, 1, 4, zero=False)
    n = size(draw, 1)
    x = values(draw, pick(draw, "float32", "int64", "float64", "int32"), dims)
    # of rows that are written twice Paddle's CPU keeps the last, in order
    i = _places(draw, (n,), dims[0])
    u = values(draw, x.dtype, (n, *dims[1:]))
    code = f"paddle.scatter(x, i, u, overwrite={flag(draw)})"
    return Call(operator, code, {"x": x, "i": i, "u": u}, unknown=unknown(draw, everywhere(x=x, i=i, u=u)))


def _where(draw: Any, dims: tuple[int, ...]) -> tuple[str, list[int]]:
    """An index of Python's, and the shape of what it picks."""
    parts, picked = [], []
    for n, d in enumerate(dims):
        how = pick(draw, "range", "number", "all") if n < 3 else "all"
        if how == "number":
            parts.append(repr(draw(st.integers(-d, d - 1))))
            continue
        first, last, step = None, None, None
        if how == "range":
            step = pick(draw, None, 2, -1, 3, -2)
            first, last = (pick(draw, None, draw(st.integers(-d, d - 1))) for _ in "ab")
        chosen = range(d)[first:last:step]
        if not chosen:
            # Paddle gives something else than numpy for ranges of none
            first, last, chosen = None, None, range(d)[::step]
        parts.append(f"slice({first}, {last}, {step})")
        picked.append(len(chosen))
    return f"({', '.join(parts)},)", picked


@drawn("set_value_", "set_value_with_tensor_")
def set_value(draw: Any, operator: str) -> Call:
    dims = shape(draw, 1, 4, zero=False, largest=9)
    x = values(draw, pick(draw, "float32", "int64", "float64", "int32", "bool"), dims)
    where, picked = _where(draw, dims)
    # an axis of known size: what a range picks of an unknown one is not known when the value's shape is compared with it
    if operator == "set_value_":
        code = f"paddle.static.setitem(paddle.assign(x), {where}, {pick(draw, 7, 0, -2.0) if x.dtype != 'bool' else flag(draw)})"
        return Call(operator, code, {"x": x}, unknown=unknown(draw, everywhere(x=x)))
    own = [d if pick(draw, 1, 1, 0) else 1 for d in picked]
    v = values(draw, x.dtype, own[draw(st.integers(0, len(own))) :] if flag(draw) else own)
    code = f"paddle.static.setitem(paddle.assign(x), {where}, v)"
    return Call(operator, code, {"x": x, "v": v}, unknown=unknown(draw, everywhere(x=x, v=v)))


@drawn("send_u_recv")
def send_u_recv(draw: Any, operator: str) -> Call:
    x, s, d, edges = _graph(draw)
    how, out = pick(draw, "sum", "mean", "max", "min"), pick(draw, None, 5, 40)
    code = f"paddle.geometric.send_u_recv(x, s, d, {how!r}, out_size={out})"
    return Call(
        operator, code, {"x": x, "s": s, "d": d}, unknown=_together(unknown(draw, {"x": range(len(x.shape)), "s": (0,), "d": (0,)}))
    )


def _together(told: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The two ends of edges are as many: Paddle takes an unknown number for another one than a known."""
    return told if ("s" in told and told["s"] == told["d"]) else {name: axes for name, axes in told.items() if name not in "sd"}


def _graph(draw: Any) -> tuple[Values, Values, Values, int]:
    """Nodes' features, where edges come from and go to, and the number of edges."""
    x = values(draw, pick(draw, "float32", "float64", "int64", "int32"), shape(draw, 2, 3, zero=False, largest=9))
    edges, dtype = size(draw, 1), pick(draw, "int64", "int32")
    return x, values(draw, dtype, (edges,), 0, x.shape[0]), values(draw, dtype, (edges,), 0, x.shape[0]), edges


@drawn("send_ue_recv", "send_uv")
def send_edges(draw: Any, operator: str) -> Call:
    x, s, d, edges = _graph(draw)
    what = pick(draw, "add", "sub", "mul", "div") if x.dtype.startswith("f") else pick(draw, "add", "sub", "mul")
    rows = edges if operator == "send_ue_recv" else x.shape[0]
    # a divisor of 0 makes infinities that the sums of a node then cancel to NaN, in an order of their own
    y = values(draw, x.dtype, (rows, *(n if flag(draw) else 1 for n in x.shape[1:])), *((0.5, 2.0) if what == "div" else (-2.0, 2.0)))
    inputs = {"x": x, "y": y, "s": s, "d": d}
    if operator == "send_uv":
        code = f"paddle.geometric.send_uv(x, y, s, d, {what!r})"
    else:
        how, out = pick(draw, "sum", "mean", "max", "min"), pick(draw, None, 5, 40)
        code = f"paddle.geometric.send_ue_recv(x, y, s, d, {what!r}, {how!r}, out_size={out})"
    return Call(operator, code, inputs, unknown=_together(unknown(draw, {"x": (0,), "y": (0,), "s": (0,), "d": (0,)})))


@drawn("segment_pool")
def segment_pool(draw: Any, operator: str) -> Call:
    x = values(draw, pick(draw, "float32", "float64", "int32", "int64"), shape(draw, 1, 3, zero=False, largest=17))
    steps = [pick(draw, 0, 1, 0, 2) for _ in range(x.shape[0])]
    rows = [sum(steps[1 : n + 1]) for n in range(len(steps))]
    i = listed(pick(draw, "int64", "int32"), rows)
    code = f"paddle.geometric.segment_{pick(draw, 'sum', 'mean', 'max', 'min')}(x, i)"
    return Call(operator, code, {"x": x, "i": i}, unknown=unknown(draw, everywhere(x=x, i=i)))
