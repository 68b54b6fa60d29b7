"""Recurrent networks: LSTM, GRU and simple RNN of any depth and direction, and the legacy GRU step.

The products with the inputs are one matmul over all time; the recurrence is one sequential kernel a direction, which takes
any length at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, tirx

from ..errors import UnsupportedError
from . import scalar
from .builder import Builder
from .linalg import product
from .registry import operator
from .serial import kernel, loop, parallel, scratch, select
from .tensor import Dim, PrimExpr, Tensor

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _relu(x: PrimExpr) -> PrimExpr:
    return tirx.max(x, tirx.const(0, str(x.ty)))


def _step(mode: str, part: Any, at: list[PrimExpr], xs: list[PrimExpr], hidden: PrimExpr, cell: PrimExpr | None) -> list[PrimExpr]:
    """One unit's new [hidden, cell] from the gates' input parts, their hidden parts at part[at], and the unit's state before.

    Every value is written to part[at] before it is used again: expressions that repeat each other grow with every use.
    """
    hs = [part[a] for a in at]

    def keep(gate: int, value: PrimExpr) -> PrimExpr:
        part[at[gate]] = value
        return part[at[gate]]

    if mode == "LSTM":
        i, f, o = (keep(g, scalar.sigmoid(xs[g] + hs[g])) for g in (0, 1, 3))
        new = keep(1, f * cell + i * keep(2, scalar.tanh(xs[2] + hs[2])))
        return [keep(3, o * scalar.tanh(new)), new]
    if mode == "GRU":
        reset, update = (keep(g, scalar.sigmoid(xs[g] + hs[g])) for g in (0, 1))
        candidate = keep(2, scalar.tanh(xs[2] + reset * hs[2]))
        return [keep(0, (hidden - candidate) * update + candidate)]
    act: Callable[[PrimExpr], PrimExpr] = scalar.tanh if mode == "RNN_TANH" else _relu
    return [keep(0, act(xs[0] + hs[0]))]


def _direction(
    b: Builder, mode: str, gates: Tensor, recurrent: Tensor, bias: Tensor, states: list[Tensor], lengths: Tensor | None, reverse: bool
) -> list[Tensor]:
    """Run one direction: gates (time, batch, G · H) of the inputs, recurrent (H, G · H) → [out (time, batch, H), *last states]."""
    time, batch, _ = gates.shape
    hidden = recurrent.shape[0]
    count, dtype = _GATES[mode], gates.dtype
    inputs = [gates, recurrent, bias, *states, *([lengths] if lengths is not None else [])]

    def body(x: Any, w: Any, c: Any, *rest: Any) -> None:
        first, rest = rest[: len(states)], rest[len(states) :]
        end, (out, *last) = (rest[0], rest[1:]) if lengths is not None else (None, rest)
        with parallel(batch) as n:
            part = scratch([b.simplify(hidden * count)], dtype)
            with loop(hidden) as j:
                for new, old in zip(last, first, strict=True):
                    new[n, j] = old[n, j]
            with loop(time) as step:
                t = time - 1 - step if reverse else step
                with loop(hidden * count) as g:
                    part[g] = c[g]
                # by rows of the weight: the inner loop runs along memory
                with loop(hidden) as k, loop(hidden * count) as g:
                    part[g] = part[g] + last[0][n, k] * w[k, g]
                with loop(hidden) as j:
                    places = [j + gate * hidden for gate in range(count)]
                    cell = last[1][n, j] if len(last) > 1 else None
                    new_states = _step(mode, part, places, [x[t, n, p] for p in places], last[0][n, j], cell)
                    inside = t < end[n].astype("int64") if end is not None else None  # else the output is 0 and the states stay
                    out[t, n, j] = new_states[0] if inside is None else select(inside, new_states[0], tirx.const(0, dtype))
                    # every element reads its own old state only, so that states may change in place
                    for state, new in zip(last, new_states, strict=True):
                        state[n, j] = new if inside is None else select(inside, new, state[n, j])

    outputs: list[tuple[list[Dim], str]] = [([time, batch, hidden], dtype), *[([batch, hidden], dtype)] * len(states)]
    return kernel(b, body, inputs, outputs, mode.lower())


@operator
def rnn(
    b: Builder,
    x: Tensor,
    pre_state: list[Tensor],
    weight_list: list[Tensor],
    sequence_length: Tensor | None = None,
    dropout_state_in: Tensor | None = None,
    dropout_prob: float = 0.0,
    is_bidirec: bool = False,
    input_size: int = 10,
    hidden_size: int = 100,
    num_layers: int = 1,
    mode: str = "RNN_TANH",
    seed: int = 0,
    is_test: bool = False,
) -> tuple[Any, ...]:
    """x (time, batch, input) → (out (time, batch, directions · hidden), –, last states (layers · directions, batch, hidden)).

    weight_list has the input's and the recurrent weight of every layer and direction, then both biases of each.
    """
    if mode not in _GATES:
        raise UnsupportedError(f"rnn with mode={mode!r}")
    if dropout_prob and not is_test and num_layers > 1:
        raise UnsupportedError("rnn with dropout in training mode: its result is random", todo="export the model in evaluation mode")
    directions = 2 if is_bidirec else 1
    cells = num_layers * directions
    if len(weight_list) not in (2 * cells, 4 * cells):
        raise UnsupportedError(f"rnn with {len(weight_list)} weights for {num_layers} layers of {directions} directions")
    width = _GATES[mode] * hidden_size
    zero = b.full([width], 0.0, x.dtype)
    last: list[list[Tensor]] = [[] for _ in pre_state]
    current = x
    for layer in range(num_layers):
        outs: list[Tensor] = []
        for direction in range(directions):
            number = layer * directions + direction
            w, recurrent = weight_list[2 * number : 2 * number + 2]
            biases = weight_list[2 * cells + 2 * number : 2 * cells + 2 * number + 2] or [zero, zero]
            gates = product(b, current, w.transpose([1, 0])) + biases[0]
            states = [b.slice(s, 0, number, number + 1).reshape(s.shape[1:]) for s in pre_state]
            result = _direction(b, mode, gates, recurrent.transpose([1, 0]), biases[1], states, sequence_length, direction == 1)
            outs.append(result[0])
            for held, state in zip(last, result[1:], strict=True):
                held.append(state.reshape([1, *state.shape]))
        current = b.concat(outs, 2)
    return current, None, [b.concat(held, 0) for held in last], None


@operator
def gru_unit(
    b: Builder,
    input: Tensor,
    hidden_prev: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: int = 2,
    gate_activation: int = 1,
    origin_mode: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of a GRU: input (batch, 3 · H) holds the input's products, weight (H, 3 · H) the gates' then the candidate's.

    Gives (gates, reset · hidden_prev, hidden).
    """
    batch, hidden = hidden_prev.shape
    if not isinstance(hidden, int):
        raise UnsupportedError("gru_unit of a hidden size that is not static")
    data = input if bias is None else input + bias.reshape([1, 3 * hidden])
    flat = weight.reshape([3 * hidden * hidden])
    # the weight's memory is two matrices one after the other, whatever its shape says
    gates_weight = b.slice(flat, 0, 0, 2 * hidden * hidden).reshape([hidden, 2 * hidden])
    candidate_weight = b.slice(flat, 0, 2 * hidden * hidden, 3 * hidden * hidden).reshape([hidden, hidden])
    both = _activation(b, b.slice(data, 1, 0, 2 * hidden) + product(b, hidden_prev, gates_weight), gate_activation)
    update, reset = b.slice(both, 1, 0, hidden), b.slice(both, 1, hidden, 2 * hidden)
    kept = reset * hidden_prev
    candidate = _activation(b, b.slice(data, 1, 2 * hidden, 3 * hidden) + product(b, kept, candidate_weight), activation)
    out = candidate + update * (hidden_prev - candidate) if origin_mode else hidden_prev + update * (candidate - hidden_prev)
    return b.concat([update, reset, candidate], 1), kept, out


def _activation(b: Builder, x: Tensor, number: int) -> Tensor:
    """Paddle's numbers of activations: identity, sigmoid, tanh, relu."""
    ops: list[Any] = [None, relax.op.sigmoid, relax.op.tanh, relax.op.nn.relu]
    if not 0 <= number < len(ops):
        raise UnsupportedError(f"gru_unit with the activation number {number}")
    return x if number == 0 else b.emit(ops[number](x.expr))
