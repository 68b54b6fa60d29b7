"""Fixtures: compiled models as artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest
from runtime_models import WEIGHT, Dense, build
from tvm import relax, tirx

from oarlock.runtime.artifact import Artifact
from oarlock.runtime.signature import Signature, TensorSpec

Tensor = relax.TensorType


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """x (n, 16) float32 → y = x @ WEIGHT, same = x, weight = WEIGHT; rows in parallel."""
    spec = TensorSpec
    signature = Signature(
        (spec("x", "float32", ("n", 16)),),
        (spec("y", "float32", ("n", 300)), spec("same", "float32", ("n", 16)), spec("weight", "float32", (16, 300))),
    )
    return build(Dense, tmp_path_factory.mktemp("dense"), [WEIGHT.copy()], signature)


@pytest.fixture(scope="session")
def dense_file(dense: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dense.save(tmp_path_factory.mktemp("artifact") / "dense.oar")


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """One input of each kind; each output is a function of one or two of them.

    f (n, 4) float32, g (n,) float32, i () int64, b (n,) bool, h (2,) bfloat16, e (n * 2,) float32
    → fg = f + g[:, None]; i1 = i + 1; nb = not b; h2 = h + h; e2 = e + e
    """
    n = tirx.Var("n", "int64")
    v, op = relax.Var, relax.op
    f, g, i = v("f", Tensor([n, 4], "float32")), v("g", Tensor([n], "float32")), v("i", Tensor([], "int64"))
    b, h, e = v("b", Tensor([n], "bool")), v("h", Tensor([2], "bfloat16")), v("e", Tensor([n * 2], "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [f, g, i, b, h, e]):
        outs = [op.add(f, bb.emit(op.expand_dims(g, 1))), op.add(i, relax.const(1, "int64")), op.logical_not(b), op.add(h, h), op.add(e, e)]
        bb.emit_func_output(relax.Tuple([bb.emit(out) for out in outs]))

    s = TensorSpec
    inputs = (
        s("f", "float32", ("n", 4)),
        s("g", "float32", ("n",)),
        s("i", "int64", ()),
        s("b", "bool", ("n",)),
        s("h", "bfloat16", (2,)),
        s("e", "float32", ("n * 2",)),
    )
    outputs = (
        s("fg", "float32", ("n", 4)),
        s("i1", "int64", ()),
        s("nb", "bool", ("n",)),
        s("h2", "bfloat16", (2,)),
        s("e2", "float32", ("n * 2",)),
    )
    return build(bb.get(), tmp_path_factory.mktemp("mixed"), [], Signature(inputs, outputs))
