"""Matrix products, row reductions and elementary functions of the CPU target against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from runner import Program, build, dim, module, var
from tvm import relax

op = relax.op
erf = np.vectorize(math.erf)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("columns", [1, 6, 64, 75, 200])
def test_linear_layer(columns: int, dynamic: bool) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 37, 48)).astype("float32")
    w, b = rng.standard_normal((48, columns)).astype("float32"), rng.standard_normal(columns).astype("float32")
    residual = rng.standard_normal((2, 37, columns)).astype("float32")
    n, s = (dim("n"), dim("s")) if dynamic else (2, 37)

    def make(bb, a, r):
        y = bb.emit(op.nn.gelu(bb.emit(op.add(bb.emit(op.matmul(a, relax.const(w))), relax.const(b)))))
        z = bb.emit(op.add(y, r))
        return [z, op.nn.softmax(z, -1)]

    program = build([var("x", (n, s, 48)), var("r", (n, s, columns))], make)
    assert program.built.notes == []
    y = x.astype("float64") @ w + b
    z = y * 0.5 * (1 + erf(y / math.sqrt(2))) + residual
    for got, want in zip(program(x, residual), [z, softmax(z)], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_attention(dynamic: bool) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, 37, 16)).astype("float32") for _ in range(3))
    mask = rng.standard_normal((2, 1, 1, 37)).astype("float32")
    n, s = (dim("n"), dim("s")) if dynamic else (2, 37)

    def make(bb, q, k, v, m):
        a = bb.emit(op.matmul(q, bb.emit(op.permute_dims(k, [0, 1, 3, 2]))))
        a = bb.emit(op.add(bb.emit(op.multiply(a, relax.const(0.25, "float32"))), m))
        return op.matmul(bb.emit(op.nn.softmax(a, -1)), v)

    program = build([*(var(c, (n, 3, s, 16)) for c in "qkv"), var("m", (n, 1, 1, s))], make)
    assert program.built.notes == []
    a = softmax(q.astype("float64") @ k.transpose(0, 1, 3, 2) * 0.25 + mask)
    np.testing.assert_allclose(program(q, k, v, mask)[0], a @ v, rtol=1e-5, atol=1e-5)


def test_products_of_two_inputs() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(s).astype("float32") for s in ((5, 9, 7), (7, 11), (1, 7, 11)))
    outs = build([var("a", a.shape), var("b", b.shape), var("c", c.shape)], lambda bb, x, y, z: [op.matmul(x, y), op.matmul(x, z)])(a, b, c)
    np.testing.assert_allclose(outs[0], a @ b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outs[1], a @ c, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("length", [1, 5, 16, 33, 97, 1000])
def test_rows(length: int, dynamic: bool) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, 4, length)) * 3 + 2).astype("float32")
    g, b = rng.standard_normal(length).astype("float32"), rng.standard_normal(length).astype("float32")

    def make(bb, a):
        outs = [
            op.nn.softmax(a, -1),
            op.nn.log_softmax(a, -1),
            op.sum(a, -1),
            op.mean(a, [1, 2]),
            op.max(a, [2], True),
            op.min(a),
            op.nn.softmax(bb.emit(op.multiply(a, relax.const(0.5, "float32"))), -1),
            op.nn.relu(bb.emit(op.mean(a, [2], True))),
            op.sum(a, [0, 1, 2], True),
            op.mean(a, [0]),
            op.max(a, [1]),
        ]
        return outs if dynamic else [*outs, op.nn.layer_norm(a, relax.const(g), relax.const(b), [-1], 1e-5)]

    shape = (dim("n"), 4, dim("r")) if dynamic else x.shape
    program = build([var("x", shape)], make)
    assert program.built.notes == []
    y = x.astype("float64")
    want = [
        softmax(y), np.log(softmax(y)), y.sum(-1), y.mean((1, 2)), y.max(-1, keepdims=True), y.min(), softmax(y * 0.5),
        np.maximum(y.mean(-1, keepdims=True), 0), y.sum(keepdims=True), y.mean(0), y.max(1),
    ]  # fmt: skip
    if not dynamic:
        want.append((y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-5) * g + b)
    for number, (got, expected) in enumerate(zip(program(x), want, strict=True)):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5, err_msg=f"output {number}")


@pytest.mark.parametrize("name,reference", [("exp", np.exp), ("sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("tanh", np.tanh), ("erf", erf)])
def test_elementary_functions(name: str, reference) -> None:
    x = np.concatenate([np.linspace(-90, 90, 20001), np.linspace(-5, 5, 20001), np.logspace(-30, 0, 200), -np.logspace(-30, 0, 200)])
    x = x.astype("float32")
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 200.0, -200.0], "float32")
    program = Program(module([var("x", (dim("n"),))], lambda bb, a: getattr(op, name)(a)))
    with np.errstate(all="ignore"):
        want, edges = reference(x.astype("float64")), reference(special.astype("float64")).astype("float32")
    finite = np.abs(want) < 3e38
    np.testing.assert_allclose(program(x)[0][finite], want[finite], rtol=6e-7, atol=1e-37)
    np.testing.assert_array_equal(program(special)[0], edges)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("channels", [3, 16, 64, 96])
def test_columns(channels: int, dynamic: bool, threads: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 21, 40, channels)).astype("float32") + 1

    def make(bb, a):
        return [
            op.mean(a, [1, 2], True), op.sum(a, [1]), op.max(a, [0, 1, 2]), op.min(a, [2], True), op.mean(a, [0]),
            op.nn.relu(bb.emit(op.sum(bb.emit(op.exp(a)), [1, 2]))),
        ]  # fmt: skip

    program = build([var("x", (dim("n"), dim("h"), dim("w"), dim("c")) if dynamic else x.shape)], make, threads=threads)
    assert program.built.notes == []
    y = x.astype("float64")
    want = [y.mean((1, 2), keepdims=True), y.sum(1), y.max((0, 1, 2)), y.min(2, keepdims=True), y.mean(0), np.exp(y).sum((1, 2))]
    for got, expected in zip(program(x), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-6)
