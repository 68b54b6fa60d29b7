"""What is fused with what: the kernels left after fusion, and that they still compute the same."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from runner import Program, dim, module, var
from tvm import relax, te

from oarlock import pipeline, targets

op = relax.op


def kernels(mod: tvm.IRModule, **options: object) -> list[str]:
    """The names of the kernels that ``main`` calls after fusion, in order."""
    found: list[str] = []

    def look(stage: str, at: tvm.IRModule) -> None:
        if stage == "fuse":
            relax.analysis.post_order_visit(at["main"].body, lambda e: found.append(e.args[0].name_hint) if _is_kernel(e) else None)

    pipeline.build(mod, targets.get("cpu", **{"threads": 1, **options}), dump=look)
    return found


def _is_kernel(e: relax.Expr) -> bool:
    return isinstance(e, relax.Call) and getattr(e.op, "name", "") == "relax.call_tir"


def half_square(a: te.Tensor) -> te.Tensor:
    return te.compute(a.shape, lambda *i: a(*i) * a(*i) * 0.5, name="half_square")


@pytest.mark.parametrize("batch", [1, 2, "n"])
def test_kernels_of_the_importer_join_the_convolution_before_them(batch: int | str) -> None:
    """Also in a batch of one, where the first dim could be taken for one that broadcasts."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 1, 3, 3)).astype("float32")

    def make(bb, a):
        y = bb.emit(op.nn.conv2d(a, relax.const(weight), padding=1, groups=16))
        return bb.emit_te(half_square, y)

    mod = module([var("x", (dim("n") if batch == "n" else batch, 16, 6, 5))], make)
    assert len([k for k in kernels(mod) if "transpose" not in k]) == 1
    x = rng.standard_normal((2 if batch == "n" else batch, 16, 6, 5)).astype("float32")
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))).astype("float64")
    y = sum(weight[:, 0, i, j].reshape(16, 1, 1) * padded[:, :, i : i + 6, j : j + 5] for i in range(3) for j in range(3))
    np.testing.assert_allclose(Program(mod)(x)[0], y * y * 0.5, rtol=1e-5, atol=1e-6)


def test_a_reshaped_bias_and_a_scale_after_it_are_folded() -> None:
    rng = np.random.default_rng(0)
    weight, bias, scale = (rng.standard_normal(s).astype("float32") for s in ((16, 8, 1, 1), (16,), (1,)))

    def make(bb, a):
        y = bb.emit(op.nn.conv2d(a, relax.const(weight)))
        y = bb.emit(op.add(y, bb.emit(op.reshape(relax.const(bias), (1, 16, 1, 1)))))
        return op.nn.relu(bb.emit(op.multiply(relax.const(scale), y)))

    mod = module([var("x", (1, 8, 6, 6))], make)
    assert [k for k in kernels(mod) if "multiply" in k] == []
    x = rng.standard_normal((1, 8, 6, 6)).astype("float32")
    want = (np.einsum("nchw,oc->nohw", x.astype("float64"), weight[:, :, 0, 0]) + bias.reshape(16, 1, 1)) * scale
    np.testing.assert_allclose(Program(mod)(x)[0], np.maximum(want, 0), rtol=1e-5, atol=1e-5)
