"""Operators on sequences told by LoD, one sequence a call, against plain numpy in float64 (Paddle 3 writes none of them)."""

from __future__ import annotations

import numpy as np
import pytest

import oarlock
from oarlock.model.program import Block, Op, Program, TensorType, Value

F = np.float64


def run(name: str, operands: dict[str, np.ndarray | None], attrs: dict[str, object], results: list[str], wanted: str) -> np.ndarray:
    """A program of one operation whose inputs have a dynamic first dim; one of its results."""
    ops, inputs, bound = [], [], {}
    for key, array in operands.items():
        if array is not None:
            rows = -1 if key in ("input", "emission", "x", "ids") else array.shape[0]
            bound[key] = Value(key, TensorType(str(array.dtype), (rows, *array.shape[1:])))
            inputs.append(bound[key])
            ops.append(Op("pd_op.data", results=[bound[key]], result_names=["out"], handle=key))
        else:
            bound[key] = None
    values = [Value(r, TensorType("float32", (-1, -1))) for r in results]
    ops.append(Op(f"pd_op.{name}", bound, attrs, values, list(results)))
    program = Program(Block([], ops), inputs, {wanted: values[results.index(wanted)]}, {}).verify()
    session = oarlock.Session(oarlock.compile(program, target="cpu", threads=1))
    return session.run({k: a for k, a in operands.items() if a is not None})[wanted]


def rand(*shape: int, seed: int) -> np.ndarray:
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype("float32")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("reverse", "origin"), [(False, False), (True, True)])
def test_gru(reverse: bool, origin: bool) -> None:
    time, width = 5, 3
    x, w, bias = rand(time, 9, seed=1), rand(width, 9, seed=2), rand(1, 9, seed=3)
    first = rand(1, width, seed=4) if origin else None
    results = ["batch_gate", "batch_reset_hidden_prev", "batch_hidden", "hidden"]
    attrs = {"activation": "tanh", "gate_activation": "sigmoid", "is_reverse": reverse, "origin_mode": origin, "is_test": False}
    got = run("gru", {"input": x, "h0": first, "weight": w, "bias": bias}, attrs, results, "hidden")
    memory = w.astype(F).ravel()  # the gates' matrix, then the candidate's
    gates, candidate = memory[:18].reshape(3, 6), memory[18:].reshape(3, 3)
    h, want = np.zeros(3) if first is None else first[0].astype(F), np.zeros((time, width))
    for t in range(time)[:: -1 if reverse else 1]:
        row = x[t].astype(F) + bias[0]
        update, reset = np.split(sigmoid(row[:6] + h @ gates), 2)
        new = np.tanh(row[6:] + (reset * h) @ candidate)
        h = update * h + (1 - update) * new if origin else (1 - update) * h + update * new
        want[t] = h
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("peepholes", "begun", "squash"), [(True, False, "tanh"), (False, False, "tanh"), (True, True, "relu")])
def test_lstm(peepholes: bool, begun: bool, squash: str) -> None:
    time, width = 4, 3
    x, w, bias = rand(time, 12, seed=1), rand(width, 12, seed=2), rand(1, 21 if peepholes else 12, seed=3)
    attrs: dict[str, object] = {"use_peepholes": peepholes, "is_reverse": not peepholes, "is_test": True}
    attrs |= {"gate_activation": "sigmoid", "cell_activation": squash, "candidate_activation": squash}
    squashed = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0)}[squash]
    states = {k: rand(1, width, seed=n) if begun else None for n, k in enumerate(("h0", "c0"), 4)}
    results = ["hidden", "cell", "batch_gate", "batch_cell_pre_act"]
    operands = {"input": x, **states, "weight": w, "bias": bias}
    wide = np.concatenate([bias[0].astype(F), np.zeros(21)])[:21]
    h, c = (np.zeros(3) if s is None else s[0].astype(F) for s in states.values())
    want = {"hidden": np.zeros((time, width)), "cell": np.zeros((time, width))}
    for t in range(time)[:: 1 if peepholes else -1]:
        new, i, f, o = np.split(x[t].astype(F) + wide[:12] + h @ w.astype(F), 4)
        of_i, of_f, of_o = np.split(wide[12:], 3)
        c = sigmoid(i + c * of_i) * squashed(new) + sigmoid(f + c * of_f) * c
        h = sigmoid(o + c * of_o) * squashed(c)
        want["hidden"][t], want["cell"][t] = h, c
    for wanted in ("hidden", "cell"):
        np.testing.assert_allclose(run("lstm", operands, attrs, results, wanted), want[wanted], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["fusion_lstm", "fused_embedding_fc_lstm"])
@pytest.mark.parametrize(("peepholes", "begun"), [(True, True), (False, False), (True, False)])
def test_lstm_with_its_product(name: str, peepholes: bool, begun: bool) -> None:
    """As lstm, of x · weight_x, or of rows of a table that have the bias in them."""
    time, width = 5, 3
    w, bias = rand(width, 12, seed=2), rand(1, 21 if peepholes else 12, seed=3)
    states = {k: rand(1, width, seed=n) if begun else None for n, k in enumerate(("h0", "c0"), 4)}
    attrs: dict[str, object] = {"use_peepholes": peepholes, "is_reverse": not begun, "use_seq": True, "gate_activation": "sigmoid"}
    attrs |= {"cell_activation": "tanh", "candidate_activation": "tanh"}
    if name == "fusion_lstm":
        x, wx = rand(time, 4, seed=1), rand(4, 12, seed=6)
        operands = {"x": x, "weight_x": wx, "weight_h": w, "bias": bias, **states}
        data = x.astype(F) @ wx.astype(F) + bias[:, :12]
    else:
        table, ids = rand(7, 12, seed=7), np.array([[1], [6], [0], [1], [5]])
        operands = {"ids": ids, "embeddings": table, "weight_h": w, "bias": bias, **states}
        data = table[ids[:, 0]].astype(F)
    results = ["hidden", "cell", "xx", "batched_input", "batched_hidden", "batched_cell", "reordered_h0", "reordered_c0", "checked_cell"]
    results = results if name == "fusion_lstm" else results[:-1]
    h, c = (np.zeros(3) if s is None else s[0].astype(F) for s in states.values())
    of_i, of_f, of_o = np.split(bias[0, 12:].astype(F), 3) if peepholes else [np.zeros(3)] * 3
    hidden, cells = np.zeros((time, width)), np.zeros((time, width))
    for t in range(time)[:: 1 if begun else -1]:
        new, i, f, o = np.split(data[t] + h @ w.astype(F), 4)
        c = sigmoid(i + c * of_i) * np.tanh(new) + sigmoid(f + c * of_f) * c
        h = sigmoid(o + c * of_o) * np.tanh(c)
        hidden[t], cells[t] = h, c
    for wanted, want in (("hidden", hidden), ("cell", cells), ("xx", data)):
        np.testing.assert_allclose(run(name, operands, attrs, results, wanted), want, rtol=1e-5, atol=1e-6)


def test_crf_decoding_of_rows_finds_the_best_of_all_paths() -> None:
    emission, transition = rand(4, 3, seed=5), rand(5, 3, seed=6)
    got = run("crf_decoding", {"emission": emission, "transition": transition}, {}, ["viterbi_path"], "viterbi_path")

    def score(path: tuple[int, ...]) -> float:
        inner = sum(transition[a + 2, b] for a, b in zip(path[:-1], path[1:], strict=True))
        return float(transition[0, path[0]] + transition[1, path[-1]] + inner + sum(emission[t, p] for t, p in enumerate(path)))

    best = max(np.ndindex(3, 3, 3, 3), key=score)
    assert got.dtype == np.int64 and got.tolist() == [[p] for p in best]


@pytest.mark.parametrize(
    ("shape", "lod", "y"), [((4, 2), [], None), ((3,), [0, 3], None), ((2, 1, 3), [], np.array([0, 2], "int32"))], ids=["rows", "flat", "y"]
)
def test_lod_reset_gives_its_rows(shape: tuple[int, ...], lod: list[int], y: np.ndarray | None) -> None:
    x = rand(*shape, seed=7)
    assert np.array_equal(run("lod_reset", {"x": x, "y": y}, {"target_lod": lod, "append": y is not None}, ["out"], "out"), x)


def test_lod_reset_to_several_sequences() -> None:
    with pytest.raises(oarlock.UnsupportedOperators, match="lod_reset"):
        run("lod_reset", {"x": rand(4, 2, seed=7), "y": None}, {"target_lod": [0, 1, 4], "append": False}, ["out"], "out")


@pytest.mark.parametrize("kind", ["AVERAGE", "SUM", "SQRT", "MAX", "FIRST", "LAST"])
def test_a_sequence_of_nothing_is_pooled_to_the_padding(kind: str) -> None:
    """Paddle takes none alone, but among others it makes a row of pad_value."""
    attrs: dict[str, object] = {"is_test": True, "pooltype": kind, "pad_value": 2.5}
    got = run("sequence_pool", {"x": np.zeros((0, 3), "float32")}, attrs, ["out", "max_index"], "out")
    np.testing.assert_array_equal(got, np.full((1, 3), 2.5))
