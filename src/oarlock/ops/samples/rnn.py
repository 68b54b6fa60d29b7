"""Samples of ops/rnn.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import f32, f64, sample


def _weights(gates: int, inputs: int, hidden: int, layers: int, directions: int, make: Any = f32) -> dict[str, np.ndarray]:
    """All weights, then all biases, as the rnn operator lists them."""
    out: dict[str, np.ndarray] = {}
    for layer in range(layers):
        for d in range(directions):
            width = inputs if layer == 0 else hidden * directions
            out[f"wi_{layer}_{d}"] = make(gates * hidden, width, low=-0.7, high=0.7, seed=2 * layer + d)
            out[f"wh_{layer}_{d}"] = make(gates * hidden, hidden, low=-0.7, high=0.7, seed=10 + 2 * layer + d)
    for layer in range(layers):
        for d in range(directions):
            out[f"bi_{layer}_{d}"] = make(gates * hidden, low=-0.5, high=0.5, seed=2 * layer + d)
            out[f"bh_{layer}_{d}"] = make(gates * hidden, low=-0.5, high=0.5, seed=10 + 2 * layer + d)
    return out


def _rnn(mode: str, hidden: int, layers: int = 1, directions: int = 1, lengths: bool = False) -> Any:
    states = 2 if mode == "LSTM" else 1

    def call(paddle: Any, x: Any, *rest: Any) -> Any:
        before, rest = list(rest[:states]), rest[states:]
        end, weights = (rest[0], list(rest[1:])) if lengths else (None, list(rest))
        kept = paddle.zeros([1], "uint8")
        out, _, state = paddle._C_ops.rnn(x, before, weights, end, kept, 0.0, directions == 2, x.shape[-1], hidden, layers, mode, 0, True)
        return [out, *state]

    return call


LENGTHS = np.array([4, 1, 2], "int32")
for name, gates in (("LSTM", 4), ("GRU", 3), ("RNN_TANH", 1), ("RNN_RELU", 1)):
    for depth, ways, cut in ((1, 1, False), (2, 2, False), (1, 2, True)):
        h = f32(depth * ways, 3, 6)
        before = {"h": h, "c": f32(depth * ways, 3, 6, seed=1)} if name == "LSTM" else {"h": h}
        ends = {"n": LENGTHS} if cut else {}
        sample(
            "rnn", _rnn(name, 6, depth, ways, cut), x=f32(4, 3, 5), **before, **ends,
            constants=_weights(gates, 5, 6, depth, ways), static=(1, -1) if cut else (-1,),
        )  # fmt: skip
sample("rnn", _rnn("LSTM", 3), x=f64(3, 2, 4), h=f64(1, 2, 3), c=f64(1, 2, 3), constants=_weights(4, 4, 3, 1, 1, f64), static=(-1,))
for origin in (False, True):
    sample(
        "gru_unit", lambda paddle, x, h, w, c, o=origin: paddle._C_ops.gru_unit(x, h, w, c, 2, 1, o),
        x=f32(2, 12), h=f32(2, 4), constants={"w": f32(4, 12), "c": f32(1, 12)}, static=(-1,),
    )  # fmt: skip
sample(
    "gru_unit", lambda paddle, x, h, w: paddle._C_ops.gru_unit(x, h, w, None, 3, 0, False),
    x=f32(2, 12), h=f32(2, 4), constants={"w": f32(4, 12)}, static=(-1,),
)  # fmt: skip
