"""Strategies of products, embeddings, recurrent layers and Fourier transforms."""

from __future__ import annotations

from typing import Any

from drawing import Call, Values, drawn, everywhere, fits, flag, listed, pick, shape, size, unknown, values
from hypothesis import strategies as st

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@drawn("matmul")
def matmul(draw: Any, operator: str) -> Call:
    m, k, n = size(draw), size(draw), size(draw)
    batch = shape(draw, 0, 2, largest=5)
    dtype = pick(draw, "float32", "float32", "float64", "int64", "int32", "bfloat16")
    x, y = [*fits(draw, batch), m, k], [*fits(draw, batch), k, n]
    first, second = flag(draw), flag(draw)
    if first:
        x[-2:] = x[:-3:-1]
    if second:
        y[-2:] = y[:-3:-1]
    # a vector has no second dim to exchange
    if pick(draw, 0, 0, 0, 1):
        x, first = [k], False
    if pick(draw, 0, 0, 0, 1):
        y, second = [k], False
    inputs = {"x": values(draw, dtype, x), "y": values(draw, dtype, y)}
    code = f"paddle.matmul(x, y, transpose_x={first}, transpose_y={second})"
    if flag(draw):
        return Call(operator, code, inputs, unknown=unknown(draw, everywhere(**inputs)))
    left = {"x": inputs.pop("x")}
    return Call(operator, code, left, inputs, unknown=unknown(draw, {"x": range(len(x) - 1 if len(x) > 1 else 0)}))


@drawn("bmm")
def bmm(draw: Any, operator: str) -> Call:
    # of sums of nothing Paddle leaves what was in memory
    b, m, k, n = size(draw, 0, 5), size(draw), size(draw, 1), size(draw)
    dtype = pick(draw, "float32", "float64")
    inputs = {"x": values(draw, dtype, (b, m, k)), "y": values(draw, dtype, (b, k, n))}
    return Call(operator, "paddle.bmm(x, y)", inputs, unknown=unknown(draw, everywhere(**inputs)))


@drawn("einsum")
def einsum(draw: Any, operator: str) -> Call:
    sizes = {letter: size(draw, 1, 8) for letter in "ijkl"}
    labels = [draw(st.permutations("ijkl"))[: draw(st.integers(1, 3))] for _ in range(draw(st.integers(1, 3)))]
    used = sorted({letter for of in labels for letter in of})
    kept = draw(st.permutations(used))[: draw(st.integers(0, len(used)))]
    lead = shape(draw, 0, 1, zero=False, largest=4)
    dots = "..." if lead or flag(draw) else ""
    dtype = pick(draw, "float32", "float64")
    inputs = {}
    for name, of in zip("xyz", labels, strict=False):
        front = fits(draw, lead) if dots else ()
        inputs[name] = values(draw, dtype, (*front, *(sizes[letter] for letter in of)))
    equation = ",".join(dots + "".join(of) for of in labels) + "->" + dots + "".join(kept)
    code = f"paddle.einsum({equation!r}, {', '.join(inputs)})"
    return Call(operator, code, inputs, unknown=unknown(draw, everywhere(**inputs)))


@drawn("embedding")
def embedding(draw: Any, operator: str) -> Call:
    rows, width, dims = size(draw, 1), size(draw, 1), shape(draw, 0, 3)
    x = values(draw, pick(draw, "int64", "int32"), dims, 0, rows)
    w = values(draw, pick(draw, "float32", "float64", "float16", "bfloat16"), (rows, width))
    skipped = draw(st.integers(-rows, rows - 1)) if flag(draw) else None
    code = f"paddle.nn.functional.embedding(x, w, padding_idx={skipped})"
    told = unknown(draw, everywhere(x=x))
    return Call(operator, code, {"x": x, "w": w}, unknown=told) if flag(draw) else Call(operator, code, {"x": x}, {"w": w}, unknown=told)


@drawn("rnn")
def rnn(draw: Any, operator: str) -> Call:
    mode, layers, ways = pick(draw, *GATES), pick(draw, 1, 2), pick(draw, 1, 2)
    steps, batch, inside, hidden = size(draw, 1, 7), size(draw, 1, 4), size(draw, 1, 17), size(draw, 1, 17)
    dtype = pick(draw, "float32", "float32", "float64")
    x = values(draw, dtype, (steps, batch, inside))
    inputs: dict[str, Values] = {"x": x}
    states = "hc" if mode == "LSTM" else "h"
    for name in states:
        inputs[name] = values(draw, dtype, (layers * ways, batch, hidden))
    ends = "None"
    if flag(draw):
        inputs["n"], ends = listed("int32", [draw(st.integers(1, steps)) for _ in range(batch)]), "n"
    weights = {}
    rows = GATES[mode] * hidden
    for n in range(layers * ways):
        width = inside if n < ways else hidden * ways
        weights |= {f"wi{n}": values(draw, dtype, (rows, width), -0.7, 0.7), f"wh{n}": values(draw, dtype, (rows, hidden), -0.7, 0.7)}
    for n in range(layers * ways):
        weights |= {f"bi{n}": values(draw, dtype, (rows,), -0.5, 0.5), f"bh{n}": values(draw, dtype, (rows,), -0.5, 0.5)}
    code = (
        f"(lambda o: [o[0], *o[2]])(paddle._C_ops.rnn(x, [{', '.join(states)}], [{', '.join(weights)}], {ends}, "
        f"paddle.zeros([1], 'uint8'), 0.0, {ways == 2}, {inside}, {hidden}, {layers}, {mode!r}, 0, True))"
    )
    # the batch must be known where there are lengths: Paddle asks for it
    free: dict[str, Any] = {"x": (0,) if ends == "n" else (0, 1)} | ({} if ends == "n" else {name: (1,) for name in states})
    return Call(operator, code, inputs, weights, unknown=unknown(draw, free))


@drawn("fft_r2c")
def fft_r2c(draw: Any, operator: str) -> Call:
    dims = shape(draw, 1, 3, zero=False, largest=33)
    dtype, norm = pick(draw, "float32", "float64"), pick(draw, "backward", "ortho", "forward")
    chosen = draw(st.lists(st.integers(0, len(dims) - 1), min_size=1, max_size=len(dims), unique=True))
    chosen = [a - len(dims) if flag(draw) else a for a in chosen]
    if flag(draw):
        code = f"paddle.fft.rfft(x, n={pick(draw, None, 5, 8, 12)}, axis={chosen[0]}, norm={norm!r})"
    else:
        code = f"paddle.fft.{pick(draw, 'rfftn', 'ihfftn')}(x, axes={chosen}, norm={norm!r})"
    x = values(draw, dtype, dims)
    return Call(operator, code, {"x": x}, unknown=unknown(draw, everywhere(x=x)))
