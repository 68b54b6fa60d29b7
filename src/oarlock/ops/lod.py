"""Recurrent operators of Paddle 1 on sequences told by LoD: gru, lstm, lod_reset.

LoD tells how the rows of a tensor fall into sequences.  Oarlock's tensors have none: the rows given are one sequence, so that a model takes
one sequence a call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from . import scalar
from .builder import Builder
from .kernels import clamped, take_rows
from .linalg import product
from .registry import operator
from .serial import kernel, loop
from .tensor import PrimExpr, Tensor

_ACTIVATIONS: dict[str, Callable[[PrimExpr], PrimExpr]] = {
    "identity": lambda x: x,
    "sigmoid": scalar.sigmoid,
    "tanh": scalar.tanh,
    "relu": lambda x: tirx.max(x, tirx.const(0, str(x.ty))),
}


def named_activation(name: str, operator_name: str) -> Callable[[PrimExpr], PrimExpr]:
    """The function of that name, of one number."""
    if name not in _ACTIVATIONS:
        raise UnsupportedError(f"{operator_name} with the activation {name!r} is not supported")
    return _ACTIVATIONS[name]


def _width(weight: Tensor, operator_name: str) -> int:
    width = weight.shape[0]
    if not isinstance(width, int):
        raise UnsupportedError(f"{operator_name} of a hidden size that is not static")
    return width


def _state(b: Builder, given: Tensor | None, width: int, dtype: str) -> Tensor:
    return b.full([width], 0.0, dtype) if given is None else given.reshape([width])


@operator
def gru(
    b: Builder,
    input: Tensor,
    h0: Tensor | None,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str = "tanh",
    gate_activation: str = "sigmoid",
    is_reverse: bool = False,
    origin_mode: bool = False,
    is_test: bool = False,
) -> tuple[None, None, None, Tensor]:
    """One sequence's hidden states (time, H); input (time, 3 · H) holds the products for update, reset and candidate."""
    width, dtype = _width(weight, "gru"), input.dtype
    time = input.shape[0]
    act, gate = named_activation(activation, "gru"), named_activation(gate_activation, "gru")
    data = input if bias is None else input + bias.reshape([1, 3 * width])
    flat = weight.reshape([3 * width * width])
    # the weight's memory is two matrices one after the other, whatever its shape says
    gates = b.slice(flat, 0, 0, 2 * width * width).reshape([width, 2 * width])
    candidates = b.slice(flat, 0, 2 * width * width, 3 * width * width).reshape([width, width])

    def body(x: Any, w: Any, c: Any, first: Any, out: Any, state: Any, part: Any) -> None:
        with loop(width) as j:
            state[j] = first[j]
        with loop(time) as step:
            t = time - 1 - step if is_reverse else step
            with loop(3 * width) as g:
                part[g] = x[t, g]
            # by rows of the weight: the inner loop runs along memory
            with loop(width) as k, loop(2 * width) as g:
                part[g] = part[g] + state[k] * w[k, g]
            with loop(2 * width) as g:
                part[g] = gate(part[g])
            with loop(width) as k, loop(width) as j:
                part[2 * width + j] = part[2 * width + j] + part[width + k] * state[k] * c[k, j]
            with loop(width) as j:
                part[2 * width + j] = act(part[2 * width + j])
                update, new = part[j], part[2 * width + j]
                state[j] = new + update * (state[j] - new) if origin_mode else state[j] + update * (new - state[j])
                out[t, j] = state[j]

    outputs: list[Any] = [([time, width], dtype), ([width], dtype), ([3 * width], dtype)]
    hidden, *_ = kernel(b, body, [data, gates, candidates, _state(b, h0, width, dtype)], outputs, "gru")
    return None, None, None, hidden


@operator
def fusion_gru(
    b: Builder,
    x: Tensor,
    h0: Tensor | None,
    weight_x: Tensor,
    weight_h: Tensor,
    bias: Tensor | None = None,
    activation: str = "tanh",
    gate_activation: str = "sigmoid",
    is_reverse: bool = False,
    use_seq: bool = True,
    origin_mode: bool = False,
) -> tuple[None, Tensor, None, None, Tensor]:
    """gru of x · weight_x, and that product."""
    if origin_mode:
        raise UnsupportedError("fusion_gru with origin_mode: Paddle's kernels do not agree on it")
    parts = product(b, x, weight_x)
    parts = parts if bias is None else parts + bias.reshape([1, bias.size])
    hidden = gru(b, parts, h0, weight_h, None, activation, gate_activation, is_reverse)[3]
    return None, parts, None, None, hidden


@operator
def lstm(
    b: Builder,
    input: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    use_peepholes: bool = True,
    is_reverse: bool = False,
    is_test: bool = False,
    gate_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    candidate_activation: str = "tanh",
) -> tuple[Tensor, Tensor, None, None]:
    """One sequence's hidden and cell states (time, H); input (time, 4 · H): candidate, input, forget and output gate.

    With peepholes the bias goes on with the cell's weights in the three gates.
    """
    width, dtype = _width(weight, "lstm"), input.dtype
    time = input.shape[0]
    gate, act, of_cell = (named_activation(name, "lstm") for name in (gate_activation, candidate_activation, cell_activation))
    wide = bias.reshape([(7 if use_peepholes else 4) * width])
    data = input + b.slice(wide, 0, 0, 4 * width).reshape([1, 4 * width])
    peep = b.slice(wide, 0, 4 * width, 7 * width) if use_peepholes else b.full([3 * width], 0.0, dtype)

    def body(x: Any, w: Any, p: Any, first: Any, first_cell: Any, out: Any, cells: Any, state: Any, cell: Any, part: Any) -> None:
        with loop(width) as j:
            state[j], cell[j] = first[j], first_cell[j]
        with loop(time) as step:
            t = time - 1 - step if is_reverse else step
            with loop(4 * width) as g:
                part[g] = x[t, g]
            with loop(width) as k, loop(4 * width) as g:
                part[g] = part[g] + state[k] * w[k, g]
            with loop(width) as j:
                # written before they are used again: expressions that repeat each other grow with every use
                part[j] = act(part[j])
                part[width + j] = gate(part[width + j] + cell[j] * p[j])
                part[2 * width + j] = gate(part[2 * width + j] + cell[j] * p[width + j])
                cell[j] = part[j] * part[width + j] + cell[j] * part[2 * width + j]
                part[3 * width + j] = gate(part[3 * width + j] + cell[j] * p[2 * width + j])
                state[j] = part[3 * width + j] * of_cell(cell[j])
                out[t, j] = state[j]
                cells[t, j] = cell[j]

    outputs: list[Any] = [*[([time, width], dtype)] * 2, *[([width], dtype)] * 2, ([4 * width], dtype)]
    states = [_state(b, s, width, dtype) for s in (h0, c0)]
    hidden, cells, *_ = kernel(b, body, [data, weight, peep, *states], outputs, "lstm")
    return hidden, cells, None, None


@operator
def fusion_lstm(
    b: Builder,
    x: Tensor,
    weight_x: Tensor,
    weight_h: Tensor,
    bias: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    use_peepholes: bool = True,
    is_reverse: bool = False,
    use_seq: bool = True,
    gate_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    candidate_activation: str = "tanh",
) -> tuple[Tensor | None, ...]:
    """lstm of x · weight_x: hidden and cell states, and that product with its bias."""
    width = _width(weight_h, "fusion_lstm")
    names = (gate_activation, cell_activation, candidate_activation)
    first = product(b, x, weight_x)
    hidden, cells, *_ = lstm(b, first, h0, c0, weight_h, bias, use_peepholes, is_reverse, True, *names)
    flat = bias.reshape([bias.size])
    return hidden, cells, first + b.slice(flat, 0, 0, 4 * width).reshape([1, 4 * width]), *[None] * 6


@operator
def fused_embedding_fc_lstm(
    b: Builder,
    ids: Tensor,
    embeddings: Tensor,
    weight_h: Tensor,
    bias: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    use_peepholes: bool = True,
    is_reverse: bool = False,
    use_seq: bool = True,
    gate_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    candidate_activation: str = "tanh",
) -> tuple[Tensor | None, ...]:
    """lstm of rows of a table: embeddings times the input's weight, with the bias added; ``bias`` tells the peepholes only."""
    width, dtype = _width(weight_h, "fused_embedding_fc_lstm"), embeddings.dtype
    rows = take_rows(b, embeddings, _valid(b, ids.reshape([ids.size]), embeddings))
    flat = bias.reshape([bias.size])
    none = b.full([4 * width], 0.0, dtype)
    peepholes = b.concat([none, b.slice(flat, 0, 4 * width, 7 * width)], 0) if use_peepholes else none
    names = (gate_activation, cell_activation, candidate_activation)
    hidden, cells, *_ = lstm(b, rows, h0, c0, weight_h, peepholes, use_peepholes, is_reverse, True, *names)
    return hidden, cells, rows, *[None] * 5


def _valid(b: Builder, ids: Tensor, table: Tensor) -> Tensor:
    return b.compute(ids.shape, lambda t, i: clamped(t(i), table.shape[0]), ids, name="valid_ids")


@operator
def lod_reset(b: Builder, x: Tensor, y: Tensor | None = None, target_lod: list[int] | None = None, append: bool = False) -> Tensor:
    """x: where its sequences begin is another thing, which Oarlock's tensors do not have."""
    if target_lod and len(target_lod) > 2:
        raise UnsupportedError("lod_reset to several sequences", todo="export the model with padded sequences and lengths")
    return x
