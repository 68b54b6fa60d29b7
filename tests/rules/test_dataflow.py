"""Dataflow blocks keep match_cast; TVM's own conversion does not yet."""

from __future__ import annotations

import pytest
from tvm import relax, tirx

from oarlock.rules.dataflow import dataflow_blocks


def matched_concat() -> relax.Function:
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType(relax.ShapeExpr([n, 4]), "float32"))
    y = relax.Var("y", relax.TensorType(relax.ShapeExpr([m, 4]), "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x, y]):
        same = bb.match_cast(y, relax.TensorType(relax.ShapeExpr([n, 4]), "float32"))
        joined = bb.emit(relax.op.concat([x, same], 1))
        bb.emit_func_output(bb.emit(relax.op.add(joined, joined)))
    return bb.get()


def test_bindings_move_into_one_block_and_keep_their_shape() -> None:
    main = dataflow_blocks(matched_concat())["main"]
    (block,) = main.body.blocks
    assert isinstance(block, relax.DataflowBlock)
    cast, concat, total = block.bindings
    assert isinstance(cast, relax.MatchCast)
    assert isinstance(concat.var, relax.DataflowVar)
    assert not isinstance(total.var, relax.DataflowVar)
    assert isinstance(concat.var.ty.shape, relax.ShapeExpr)


@pytest.mark.xfail(reason="TVM 0.27: CanonicalizeBindings drops match_cast; when this passes, use ConvertToDataflow again", strict=True)
def test_tvm_keeps_match_cast() -> None:
    mod = relax.transform.ConvertToDataflow(min_size=1)(matched_concat())
    assert any(isinstance(b, relax.MatchCast) for block in mod["main"].body.blocks for b in block.bindings)
