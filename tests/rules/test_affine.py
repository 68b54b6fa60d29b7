"""Constants after a convolution or product go into its weights, where that is right."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from tvm import relax

from oarlock.rules.affine import fold_affine
from oarlock.rules.dataflow import dataflow_blocks

op = relax.op
rng = np.random.default_rng(0)
W = rng.standard_normal((4, 3, 1, 1)).astype("float32")
A, B, S = (rng.standard_normal((1, 4, 1, 1)).astype("float32") for _ in range(3))


def calls(make) -> tuple[Counter, relax.Function]:
    """Operators of the folded ``main(x)``, and that function."""
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((1, 3, 5, 5), "float32"))
    with bb.function("main", [x]):
        bb.emit_func_output(relax.Tuple([bb.emit(o) for o in make(bb.emit, x)]))
    main = fold_affine(dataflow_blocks(bb.get()))["main"]
    count: Counter = Counter()
    relax.analysis.post_order_visit(main, lambda e: count.update([e.op.name]) if isinstance(e, relax.Call) else None)
    return count, main


def constants(main: relax.Function) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    relax.analysis.post_order_visit(
        main, lambda e: found.append(e.value.numpy()) if hasattr(e, "value") and hasattr(e.value, "numpy") else None
    )
    return found


def conv(e, x, w=W):
    return e(op.nn.conv2d(x, relax.const(w)))


def test_scale_and_shift_are_folded() -> None:
    count, main = calls(
        lambda e, x: [op.nn.relu(e(op.add(e(op.multiply(e(op.add(conv(e, x), relax.const(A))), relax.const(S))), relax.const(B))))]
    )
    assert count == {"relax.nn.conv2d": 1, "relax.add": 1, "relax.nn.relu": 1}
    weight, bias = constants(main)
    np.testing.assert_allclose(weight, W * S.reshape(4, 1, 1, 1), rtol=1e-6)
    np.testing.assert_allclose(bias, A * S + B, rtol=1e-6)


def test_a_number_for_all_channels_and_constants_on_the_left() -> None:
    half = relax.const(0.5, "float32")
    count, main = calls(lambda e, x: [op.nn.relu(e(op.multiply(half, e(op.divide(conv(e, x), half)))))])
    assert count == {"relax.nn.conv2d": 1, "relax.nn.relu": 1}
    np.testing.assert_allclose(constants(main)[0], W, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda e, x: (lambda y: [op.multiply(y, relax.const(S)), op.nn.relu(y)])(conv(e, x)),
        lambda e, x: [op.nn.relu(e(op.multiply(conv(e, x), relax.const(rng.standard_normal((1, 1, 5, 5)).astype("float32")))))],
        lambda e, x: [op.nn.relu(e(op.multiply(conv(e, x), relax.const(rng.standard_normal((2, 4, 1, 1)).astype("float32")))))],
        lambda e, x: [op.nn.relu(e(op.multiply(conv(e, x), relax.const(np.full((1, 4, 1, 1), 1e-38, "float32")))))],
        lambda e, x: [op.nn.relu(e(op.multiply(conv(e, x), relax.const(np.full((1, 4, 1, 1), np.inf, "float32")))))],
    ],
    ids=["another reader", "varies over places", "widens the batch", "weights would underflow", "not finite"],
)
def test_where_it_does_not_apply(make) -> None:
    count, _ = calls(make)
    assert count == {"relax.nn.conv2d": 1, "relax.multiply": 1, "relax.nn.relu": 1}


def test_products() -> None:
    w, s = rng.standard_normal((5, 6)).astype("float32"), rng.standard_normal(6).astype("float32")
    count, main = calls(lambda e, x: [op.nn.relu(e(op.multiply(e(op.matmul(x, relax.const(w))), relax.const(s))))])
    assert count == {"relax.matmul": 1, "relax.nn.relu": 1}
    np.testing.assert_allclose(constants(main)[0], w * s, rtol=1e-6)
