"""Reshapes and transposes of constants are gone before code is made."""

from __future__ import annotations

import numpy as np
from tvm import relax

from oarlock import pipeline, targets
from oarlock.compat import Constant
from oarlock.rules.constants import fold_moves
from oarlock.rules.dataflow import dataflow_blocks

op = relax.op


def test_chains_of_moves_are_folded_and_others_stay() -> None:
    array = np.arange(24, dtype="float32").reshape(2, 12)
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((4, 3, 2), "float32"))
    with bb.function("main", [x]):
        moved = bb.emit(op.permute_dims(bb.emit(op.reshape(relax.const(array), (2, 3, 4))), [2, 1, 0]))
        y = bb.emit(op.add(x, bb.emit(op.squeeze(bb.emit(op.expand_dims(moved, 0)), [0]))))
        bb.emit_func_output(bb.emit(op.add(bb.emit(op.reshape(y, (24,))), relax.const(array.reshape(24)))))
    main = relax.transform.DeadCodeElimination()(fold_moves(dataflow_blocks(bb.get())))["main"]
    calls, constants = [], []
    relax.analysis.post_order_visit(main, lambda e: calls.append(e.op.name) if isinstance(e, relax.Call) else None)
    relax.analysis.post_order_visit(main, lambda e: constants.append(e.value.numpy()) if isinstance(e, Constant) else None)
    assert sorted(calls) == ["relax.add", "relax.add", "relax.reshape"]
    np.testing.assert_array_equal(constants[0], array.reshape(2, 3, 4).transpose(2, 1, 0))


def test_arithmetic_of_floats_is_folded_unless_it_grows() -> None:
    whole, scale = np.arange(6, dtype="float32").reshape(2, 3), np.float32([[0.5], [0.25]])
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2, 3), "float32"))
    with bb.function("main", [x]):
        weights = bb.emit(op.divide(bb.emit(op.multiply(relax.const(whole), relax.const(scale))), relax.const(127.0, "float32")))
        grown = bb.emit(op.add(relax.const(scale), relax.const(whole[:1])))
        integers = bb.emit(op.add(relax.const(whole.astype("int32")), relax.const(1, "int32")))
        bb.emit_func_output(relax.Tuple([bb.emit(op.add(x, weights)), bb.emit(op.add(x, grown)), integers]))
    main = relax.transform.DeadCodeElimination()(fold_moves(dataflow_blocks(bb.get())))["main"]
    calls, constants = [], []
    relax.analysis.post_order_visit(main, lambda e: calls.append(e.op.name) if isinstance(e, relax.Call) else None)
    relax.analysis.post_order_visit(main, lambda e: constants.append(e.value.numpy()) if isinstance(e, Constant) else None)
    assert calls == ["relax.add"] * 4  # two of x, one that grows, one of integers
    assert any(c.shape == (2, 3) and np.array_equal(c, whole * scale / np.float32(127)) for c in constants)


def test_two_numbers_that_are_constants_can_be_compared() -> None:
    bb = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType((2,), "float32"))
    with bb.function("main", [x]):
        least = bb.emit(op.maximum(relax.const(1.0, "float32"), relax.const(2.0, "float32")))
        bb.emit_func_output(relax.Tuple([bb.emit(op.multiply(x, least))]))
    built = pipeline.build(bb.get(), targets.get("cpu", threads=1))
    assert built.notes == []
