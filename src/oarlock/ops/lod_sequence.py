"""Operators of Paddle 1 on sequences told by LoD, but the recurrent ones.

LoD tells how the rows of a tensor fall into sequences.  Oarlock's tensors have none: the rows given are one sequence, so that a model takes
one sequence a call.
"""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from ..errors import UnsupportedError
from . import scalar
from .builder import Builder, dim_max, floordiv
from .linalg import product
from .lod import named_activation
from .nn import activated, softmax_of
from .registry import operator
from .serial import both, cell, i64, kernel, loop
from .tensor import Dim, PrimExpr, Tensor

# ---- pooling ---------------------------------------------------------------------------------------------------------


def _pooled(b: Builder, x: Tensor, pooltype: str, name: str, pad: float = 0.0) -> Tensor:
    """The rows of one sequence as one row, [1, …]; of none, a row of ``pad``."""
    rows = x.shape[0]
    row = _row(b, x, pooltype, name)
    return row if b.prove(i64(rows) >= 1) else _unless_empty(b, rows, row, pad)


def _unless_empty(b: Builder, rows: Dim, row: Tensor, pad: float) -> Tensor:
    return b.compute(row.shape, lambda t, *i: tirx.if_then_else(i64(rows) > 0, t(*i), tirx.const(pad, row.dtype)), row, name="unless_empty")


def _row(b: Builder, x: Tensor, pooltype: str, name: str) -> Tensor:
    rows = x.shape[0]
    if pooltype in ("SUM", "MAX"):
        return b.emit((relax.op.sum if pooltype == "SUM" else relax.op.max)(x.expr, [0], keepdims=True))
    if pooltype in ("AVERAGE", "SQRT"):
        total = b.emit(relax.op.sum(x.expr, [0], keepdims=True))
        size = tirx.Cast(x.dtype, i64(rows))
        size = tirx.sqrt(size) if pooltype == "SQRT" else size
        return b.compute(total.shape, lambda t, *i: t(*i) / size, total, name="sequence_pool")
    if pooltype in ("FIRST", "LAST"):
        at, none = (i64(0) if pooltype == "FIRST" else i64(rows) - 1), tirx.const(0, x.dtype)
        return b.compute([1, *x.shape[1:]], lambda t, _, *i: tirx.if_then_else(i64(rows) > 0, t(at, *i), none), x, name="row")
    raise UnsupportedError(f"{name} with pooltype={pooltype!r}")


@operator
def sequence_pool(
    b: Builder, x: Tensor, is_test: bool = False, pooltype: str = "AVERAGE", pad_value: float = 0.0
) -> tuple[Tensor, Tensor | None]:
    """One row for the sequence: the sum, the mean, the sum over √rows, the largest, the first or the last of its rows.

    For the largest, the row that each comes from too.  Of no rows, pad_value (and row −1).
    """
    index = None
    if pooltype == "MAX":
        index = _unless_empty(b, x.shape[0], b.emit(relax.op.argmax(x.expr, 0, keepdims=True)).astype("int32"), -1)
    return _pooled(b, x, pooltype, "sequence_pool", pad_value), index


def _with_counters(b: Builder, x: Tensor, use_cvm: bool) -> Tensor:
    """The first two columns, shows and clicks, as log(shows + 1) and log(clicks + 1) − log(shows + 1), or without them."""
    if not use_cvm:
        return b.slice(x, 1, 2, x.shape[1])

    def element(t: te.Tensor, i: Any, j: Any) -> PrimExpr:
        shows = scalar.log1p(t(i, 0))
        return tirx.if_then_else(j == 0, shows, tirx.if_then_else(j == 1, scalar.log1p(t(i, 1)) - shows, t(i, j)))

    return b.compute(x.shape, element, x, name="cvm")


@operator
def cvm(b: Builder, x: Tensor, cvm: Tensor, use_cvm: bool = True) -> Tensor:
    """x with its first two columns, shows and clicks, in logarithms, or without them."""
    return _with_counters(b, x, use_cvm)


@operator
def fusion_seqpool_concat(b: Builder, x: list[Tensor], pooltype: str = "SUM", axis: int = 1) -> Tensor:
    """The pooled rows of several sequences, side by side."""
    if axis != 1:
        raise UnsupportedError(f"fusion_seqpool_concat along axis {axis}")
    return b.concat([_pooled(b, t, pooltype, "fusion_seqpool_concat") for t in x], 1)


@operator
def fusion_seqpool_cvm_concat(
    b: Builder, x: list[Tensor], cvm: Tensor, pooltype: str = "SUM", use_cvm: bool = True, axis: int = 1
) -> Tensor:
    """As fusion_seqpool_concat, with the counters of every pooled row in logarithms, or without them."""
    if axis != 1:
        raise UnsupportedError(f"fusion_seqpool_cvm_concat along axis {axis}")
    return b.concat([_with_counters(b, _pooled(b, t, pooltype, "fusion_seqpool_cvm_concat"), use_cvm) for t in x], 1)


@operator
def fused_seqpool_cvm(
    b: Builder, x: list[Tensor], cvm: Tensor, pooltype: str = "SUM", pad_value: float = 0.0, use_cvm: bool = True, cvm_offset: int = 2
) -> list[Tensor]:
    """The pooled row of each sequence, with its first two columns, shows and clicks, in logarithms, or without cvm_offset columns."""
    rows = [_pooled(b, t, pooltype, "fused_seqpool_cvm", pad_value) for t in x]
    if use_cvm and cvm_offset != 2:
        raise UnsupportedError(f"fused_seqpool_cvm with cvm_offset={cvm_offset}")
    return [_with_counters(b, row, True) if use_cvm else b.slice(row, 1, cvm_offset, row.shape[1]) for row in rows]


# ---- along the sequence ----------------------------------------------------------------------------------------------


@operator
def sequence_softmax(b: Builder, x: Tensor) -> Tensor:
    """Softmax over the rows of the sequence, of one number each."""
    return softmax_of(b, x, 0)


@operator
def sequence_expand(b: Builder, x: Tensor, y: Tensor, ref_level: int = -1) -> Tensor:
    """The rows of x once for every row of y."""
    own = x.shape[0]
    shape = [b.simplify(own * y.shape[0]), *x.shape[1:]]
    return b.compute(shape, lambda t, i, *rest: t(tirx.floormod(i, tirx.max(i64(own), i64(1))), *rest), x, name="sequence_expand")


def _contexts(b: Builder, x: Tensor, length: int, start: int) -> Tensor:
    """Every row with its neighbours start … start + length − 1 side by side; zeros outside of the sequence."""
    rows, width = x.shape

    def element(t: te.Tensor, i: Any, j: Any) -> PrimExpr:
        row = i64(i) + tirx.floordiv(j, width) + start
        return tirx.if_then_else(both(row >= 0, row < i64(rows)), t(row, tirx.floormod(j, width)), tirx.const(0, x.dtype))

    return b.compute([rows, b.simplify(width * length)], element, x, name="contexts")


@operator
def sequence_conv(
    b: Builder,
    x: Tensor,
    padding_data: Tensor | None,
    filter: Tensor,
    context_length: int,
    padding_trainable: bool = False,
    context_start: int = 0,
    context_stride: int = 1,
) -> Tensor:
    """A convolution along the sequence: rows and their neighbours times the filter."""
    if padding_trainable or context_stride != 1:
        raise UnsupportedError("sequence_conv with learnt padding, or a stride other than 1")
    return product(b, _contexts(b, x, context_length, context_start), filter)


@operator
def fusion_seqconv_eltadd_relu(
    b: Builder, x: Tensor, filter: Tensor, bias: Tensor, context_length: int, context_start: int = 0, context_stride: int = 1
) -> tuple[Tensor, Tensor]:
    """relu(sequence_conv(x) + bias), and the rows with their neighbours."""
    if context_stride != 1:
        raise UnsupportedError("fusion_seqconv_eltadd_relu with a stride other than 1")
    wide = _contexts(b, x, context_length, context_start)
    return activated(b, product(b, wide, filter) + bias.reshape([1, bias.size]), "relu"), wide


@operator
def row_conv(b: Builder, x: Tensor, filter: Tensor) -> Tensor:
    """Every row with those that follow, weighted by the filter (context, width); x is one sequence, or (batch, time, width)."""
    rows = x.shape[-2]
    context, _ = filter.shape

    def body(t: Any, f: Any, out: Any) -> None:
        batch = x.shape[0] if x.ndim == 3 else 1
        with loop(batch) as n, loop(rows) as i, loop(x.shape[-1]) as j:
            total = cell(x.dtype, 0.0)
            with loop(tirx.min(i64(context), i64(rows) - i)) as k:
                total.v = total.v + (t[n, i + k, j] if x.ndim == 3 else t[i + k, j]) * f[k, j]
            if x.ndim == 3:
                out[n, i, j] = total.v
            else:
                out[i, j] = total.v

    return kernel(b, body, [x, filter], [(x.shape, x.dtype)], "row_conv")[0]


@operator
def im2sequence(
    b: Builder,
    x: Tensor,
    y: Tensor | None,
    kernels: list,
    strides: list = [1, 1],  # noqa: B006 - never changed
    paddings: list = [0, 0, 0, 0],  # noqa: B006
    out_stride: list = [1, 1],  # noqa: B006
) -> Tensor:
    """The patches of images as rows, line by line; paddings are above, left, below and right."""
    if y is not None:
        raise UnsupportedError("im2sequence with the images' own sizes")
    batch, channels, height, width = x.shape
    above, left, below, right = paddings
    lines = b.simplify(floordiv(height + (above + below - kernels[0]), strides[0]) + 1)
    columns = b.simplify(floordiv(width + (left + right - kernels[1]), strides[1]) + 1)
    patch = kernels[0] * kernels[1]

    def element(t: te.Tensor, row: Any, at: Any) -> PrimExpr:
        place = tirx.floormod(row, lines * columns)
        inner = tirx.floormod(at, patch)
        i = tirx.floordiv(place, columns) * strides[0] + tirx.floordiv(inner, kernels[1]) - above
        j = tirx.floormod(place, columns) * strides[1] + tirx.floormod(inner, kernels[1]) - left
        inside = both(i >= 0, i < i64(height), j >= 0, j < i64(width))
        value = t(tirx.floordiv(row, lines * columns), tirx.floordiv(at, patch), i, j)
        return tirx.if_then_else(inside, value, tirx.const(0, x.dtype))

    lines, columns = (b.simplify(dim_max(d, 1)) for d in (lines, columns))  # a division by a size of 0 would trap
    shape = [b.simplify(batch * lines * columns), b.simplify(channels * patch)]
    return b.compute(shape, element, x, name="im2sequence")


@operator
def match_matrix_tensor(b: Builder, x: Tensor, y: Tensor, w: Tensor, dim_t: int = 1) -> tuple[Tensor, Tensor]:
    """x · wₜ · yᵀ of two sequences for each of dim_t matrices, one below the other as one column; and x · w."""
    rows, width = x.shape
    inner = b.simplify(w.size // (width * dim_t)) if isinstance(w.size, int) and isinstance(width, int) else y.shape[1]
    left = product(b, x, w.reshape([width, b.simplify(inner * dim_t)]))
    by_matrix = left.reshape([rows, dim_t, inner]).transpose([1, 0, 2])
    out = product(b, by_matrix, y.transpose([1, 0]))
    return out.reshape([b.simplify(rows * y.shape[0] * dim_t), 1]), left


# ---- positions -------------------------------------------------------------------------------------------------------


@operator
def add_position_encoding(b: Builder, x: Tensor, alpha: float = 1.0, beta: float = 1.0) -> Tensor:
    """alpha · x + beta · (sines in the first half of the columns, cosines in the second); x is (batch, time, width), or one sequence."""
    width = x.shape[-1]
    if isinstance(width, int) and width % 2:
        raise UnsupportedError(f"add_position_encoding of an odd width, {width}")
    half = floordiv(width, 2)
    wide = "float64"  # positions may be large

    def element(t: te.Tensor, *index: Any) -> PrimExpr:
        place, j = tirx.Cast(wide, i64(index[-2])), i64(index[-1])
        k, last = tirx.Cast(wide, tirx.floormod(j, tirx.max(i64(half), i64(1)))), tirx.Cast(wide, tirx.max(i64(half) - 1, i64(1)))
        # for a half of one column Paddle divides by 10000
        power = tirx.if_then_else(i64(half) > 1, k / last, tirx.const(1.0, wide))
        angle = place / scalar.power(tirx.const(10000.0, wide), power)
        wave = tirx.Cast(x.dtype, tirx.if_then_else(j < i64(half), tirx.sin(angle), tirx.cos(angle)))
        return t(*index) * tirx.const(alpha, x.dtype) + wave * tirx.const(beta, x.dtype)

    return b.compute(x.shape, element, x, name="position_encoding")


@operator
def attention_lstm(
    b: Builder,
    x: Tensor,
    c0: Tensor,
    h0: Tensor | None,
    attention_weight: Tensor,
    attention_bias: Tensor | None,
    attention_scalar: Tensor | None,
    attention_scalar_bias: Tensor | None,
    lstm_weight: Tensor,
    lstm_bias: Tensor,
    gate_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    candidate_activation: str = "tanh",
) -> tuple[Tensor | None, ...]:
    """An LSTM whose input at every step is a mean of all rows, weighted by attention to the cell's state → hidden and cell states.

    The gates stand in the order forget, input, output, candidate; the weight's rows are the hidden state's, then the input's.
    """
    (rows, frame), dtype = x.shape, x.dtype
    hidden = lstm_weight.shape[1]
    if not isinstance(hidden, int) or not isinstance(frame, int):
        raise UnsupportedError("attention_lstm with sizes that are not static")
    size = hidden // 4
    names = (gate_activation, cell_activation, candidate_activation)
    gate, of_cell, candidate = (named_activation(name, "attention_lstm") for name in names)
    weight = attention_weight.reshape([frame + size])
    scores = product(b, x, b.slice(weight, 0, 0, frame).reshape([frame, 1]))
    scores = (scores if attention_bias is None else scores + attention_bias.reshape([1, 1])).reshape([rows])
    one, nothing = b.full([1], 1.0, dtype), b.full([1], 0.0, dtype)
    factor = one if attention_scalar is None else attention_scalar.reshape([1])
    shift = nothing if attention_scalar_bias is None else attention_scalar_bias.reshape([1])
    first = b.full([size], 0.0, dtype) if h0 is None else h0.reshape([size])
    zero = tirx.const(0, dtype)

    def body(
        rows_: Any, sums: Any, aw: Any, f: Any, s: Any, w: Any, bias: Any, start: Any, start_cell: Any, hiddens: Any, cells: Any,
        share: Any, mean: Any, part: Any, state: Any, now: Any,
    ) -> None:  # fmt: skip
        with loop(size) as j:
            state[j], now[j] = start[j], start_cell[j]
        with loop(rows) as step:
            memory, top, total = cell(dtype, 0.0), cell(dtype, float("-inf")), cell(dtype, 0.0)
            with loop(size) as j:
                memory.v = memory.v + now[j] * aw[frame + j]
            with loop(rows) as i:
                share[i] = tirx.max(sums[i] + memory.v, zero)
                if attention_scalar is not None:
                    share[i] = tirx.max(share[i] * f[0] + s[0], zero)
                top.v = tirx.max(top.v, share[i])
            with loop(rows) as i:
                share[i] = tirx.exp(share[i] - top.v)
                total.v = total.v + share[i]
            with loop(frame) as j:
                mean[j] = zero
            with loop(rows) as i, loop(frame) as j:
                mean[j] = mean[j] + share[i] / total.v * rows_[i, j]
            with loop(4 * size) as g:
                part[g] = bias[g]
            with loop(frame) as k, loop(4 * size) as g:
                part[g] = part[g] + mean[k] * w[size + k, g]
            with loop(size) as k, loop(4 * size) as g:
                part[g] = part[g] + state[k] * w[k, g]
            with loop(size) as j:
                part[j], part[size + j], part[2 * size + j] = (gate(part[j + at * size]) for at in range(3))
                part[3 * size + j] = candidate(part[3 * size + j])
                now[j] = part[j] * now[j] + part[size + j] * part[3 * size + j]
                state[j] = of_cell(now[j]) * part[2 * size + j]
                hiddens[step, j] = state[j]
                cells[step, j] = now[j]

    outputs: list[Any] = [*[([rows, size], dtype)] * 2, ([rows], dtype), ([frame], dtype), ([4 * size], dtype), *[([size], dtype)] * 2]
    inputs = [x, scores, weight, factor, shift, lstm_weight, lstm_bias.reshape([hidden]), first, c0.reshape([size])]
    hiddens, cells, *_ = kernel(b, body, inputs, outputs, "attention_lstm")
    return hiddens, cells, None, None, None, None
