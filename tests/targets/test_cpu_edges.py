"""What a model may hold beside float32 networks: other dtypes, empty tensors, scalars, loops, the importer's own kernels."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from runner import Program, build, dim, module, var
from tvm import relax, te
from tvm.script import ir as I
from tvm.script import relax as R

op = relax.op
DTYPES = ["int8", "int16", "int32", "int64", "uint8", "float16", "bfloat16", "float32", "float64"]


def numpy_dtype(dtype: str):
    return ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str) -> None:
    kind = numpy_dtype(dtype)
    x = np.random.default_rng(0).integers(0, 50, (3, 300)).astype(kind)

    def make(bb, a):
        return [
            op.add(a, a), op.maximum(a, relax.const(7, dtype)), op.astype(a, "float32"), op.astype(a, "int64"), op.permute_dims(a),
            op.greater(a, relax.const(9, dtype)), op.max(a, 0), op.concat([a, a], 1), op.reshape(a, (9, 100)),
        ]  # fmt: skip

    wide = x.astype("float64")
    want = [
        (x + x), np.maximum(wide, 7), wide, wide, x.T, wide > 9, wide.max(0), np.concatenate([x, x], 1), x.reshape(9, 100),
    ]  # fmt: skip
    for got, expected in zip(build([var("x", x.shape, dtype)], make)(x), want, strict=True):
        np.testing.assert_array_equal(got.astype("float64"), np.asarray(expected).astype("float64"))


def test_booleans() -> None:
    x = np.random.default_rng(0).integers(0, 2, (3, 300)).astype(bool)
    outs = build([var("x", x.shape, "bool")], lambda bb, a: [op.logical_not(a), op.logical_and(a, a), op.astype(a, "float32")])(x)
    for got, want in zip(outs, [~x, x, x.astype("float32")], strict=True):
        np.testing.assert_array_equal(got, want)


def test_empty_tensors() -> None:
    x = np.zeros((0, 4), "float32")
    w = np.ones((4, 8), "float32")
    outs = build([var("x", x.shape)], lambda bb, a: [op.add(a, relax.const(1.0)), op.sum(a, 0), op.matmul(a, relax.const(w))])(x)
    for got, want in zip(outs, [x, x.sum(0), x @ w], strict=True):
        np.testing.assert_array_equal(got, want)


def test_sizes_that_may_be_empty_at_run_time() -> None:
    def make(bb, a):
        return [op.nn.softmax(a), op.sum(a, 0), op.sum(a, 1), op.concat([a, a], 0), op.sum(a)]

    program = build([var("x", (dim("n"), dim("m")))], make)
    for shape in ((0, 300), (1, 300), (50, 3), (4, 0), (0, 0)):
        x = np.random.default_rng(0).standard_normal(shape).astype("float32")
        e = np.exp(x - x.max(1, keepdims=True)) if x.size else x
        want = [e / e.sum(1, keepdims=True) if x.size else x, x.sum(0), x.sum(1), np.concatenate([x, x]), x.sum()]
        for got, expected in zip(program(x), want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_scalars() -> None:
    x = np.array(2.5, "float32")
    outs = build([var("x", ())], lambda bb, a: [op.add(a, a), op.exp(a), op.reshape(a, (1,)), op.broadcast_to(a, (3, 2))])(x)
    for got, want in zip(outs, [x + x, np.exp(x), x.reshape(1), np.broadcast_to(x, (3, 2))], strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_weights_reach_a_recursive_function() -> None:
    weight = (np.random.default_rng(0).standard_normal((16, 16)) * 0.2).astype("float32")

    @I.ir_module
    class Loop:
        @R.function(private=True)
        def loop(i: R.Tensor((), "int64"), x: R.Tensor((4, 16), "float32")) -> R.Tensor((4, 16), "float32"):
            c: R.Tensor((), "bool") = R.less(i, R.const(5, "int64"))
            if c:
                j: R.Tensor((), "int64") = R.add(i, R.const(1, "int64"))
                y: R.Tensor((4, 16), "float32") = R.matmul(x, R.const(weight, "float32"))
                z: R.Tensor((4, 16), "float32") = R.add(y, R.const(1.0, "float32"))
                r: R.Tensor((4, 16), "float32") = Loop.loop(j, z)
            else:
                r: R.Tensor((4, 16), "float32") = x
            return r

        @R.function
        def main(i: R.Tensor((), "int64"), x: R.Tensor((4, 16), "float32")):
            y: R.Tensor((4, 16), "float32") = Loop.loop(i, x)
            return (y,)

    program = Program(Loop)
    assert len(program.weights) == 1
    x = np.random.default_rng(1).standard_normal((4, 16)).astype("float32")
    want = x.astype("float64")
    for _ in range(5):
        want = want @ weight + 1
    np.testing.assert_allclose(program(np.array(0, "int64"), x)[0], want, rtol=1e-5, atol=1e-5)


def test_equal_weights_are_stored_once_and_small_ones_stay_inside() -> None:
    w = np.random.default_rng(0).standard_normal((32, 32)).astype("float32")

    def make(bb, a):
        y = bb.emit(op.add(a, relax.const(w)))
        return op.multiply(bb.emit(op.add(y, relax.const(w.copy()))), relax.const(np.float32(2)))

    program = build([var("x", (32, 32))], make)
    assert sum(x.nbytes for x in program.built.weights) <= w.nbytes + 64
    x = np.ones((32, 32), "float32")
    np.testing.assert_allclose(program(x)[0], (x + w + w) * 2, rtol=1e-6)


def test_empty_constants() -> None:
    """An executable that holds one does not load (TVM 0.27: "Invalid DLTensor file format"), so they are lifted."""
    empty = np.zeros((0, 3), "float32")
    program = build([var("x", (2, 3))], lambda bb, a: [op.concat([a, relax.const(empty)], 0), relax.const(empty)])
    x = np.ones((2, 3), "float32")
    for got, want in zip(program(x), [x, empty], strict=True):
        np.testing.assert_array_equal(got, want)


def _convolved(bb, a, channels: int) -> relax.Expr:
    weight = np.random.default_rng(0).standard_normal((channels, int(a.ty.shape.values[1]), 1, 1)).astype("float32")
    return bb.emit(op.nn.conv2d(a, relax.const(weight)))


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_kernels_of_the_importer_between_convolutions(dynamic: bool) -> None:
    """A pointwise kernel, one with a second operand, one that reads other places, and one that mixes channels."""
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 5)).astype("float32")

    def half_square(a):
        return te.compute(a.shape, lambda *i: a(*i) * a(*i) * 0.5, name="half_square")

    def scaled(a, s):
        return te.compute(a.shape, lambda n, c, h, w: a[n, c, h, w] * s[0, c, 0, 0], name="scaled")

    def flipped(a):
        return te.compute(a.shape, lambda n, c, h, w: a[n, c, a.shape[2] - 1 - h, w] + w.astype("float32"), name="flipped")

    def turned(a):
        return te.compute(a.shape, lambda n, c, h, w: a[n, a.shape[1] - 1 - c, h, w], name="turned")

    scale = np.arange(16, dtype="float32").reshape(1, 16, 1, 1)

    def make(bb, a):
        y = _convolved(bb, a, 16)
        y = bb.emit_te(half_square, y)
        y = bb.emit_te(scaled, y, relax.const(scale))
        return [y, bb.emit_te(flipped, y), bb.emit_te(turned, y), _convolved(bb, bb.emit_te(turned, y), 8)]

    program = build([var("x", (dim("n"), 4, dim("h"), dim("w")) if dynamic else x.shape)], make)
    w1 = np.random.default_rng(0).standard_normal((16, 4))
    w2 = np.random.default_rng(0).standard_normal((8, 16))
    y = np.einsum("nchw,oc->nohw", x, w1.astype("float32").astype("float64"))
    y = y * y * 0.5 * scale
    want = [y, y[:, :, ::-1] + np.arange(5), y[:, ::-1], np.einsum("nchw,oc->nohw", y[:, ::-1], w2.astype("float32").astype("float64"))]
    for got, expected in zip(program(x), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def test_generic_machine() -> None:
    """An x86-64-v2 library has no AVX, so this checks that vectors follow the target's width."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 8, 6, 6)).astype("float32"), rng.standard_normal((16, 8, 3, 3)).astype("float32")
    mod = module([var("x", x.shape)], lambda bb, a: op.nn.softmax(bb.emit(op.nn.conv2d(a, relax.const(w), padding=1)), -1))
    outs = [Program(mod, mcpu=cpu)(x)[0] for cpu in ("x86-64-v2", "x86-64-v3", "native")]
    np.testing.assert_allclose(outs[0], outs[2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outs[1], outs[2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_width_of_a_dynamic_program(threads: int) -> None:
    """Tiles that end within a row, whole ones and several; results that end within a vector; windows that skip places."""
    rng = np.random.default_rng(0)
    deep, wide, tall, down = (
        relax.const(rng.standard_normal(s).astype("float32") / 4) for s in ((16, 1, 5, 5), (60, 16, 1, 3), (32, 1, 3, 3), (16, 37))
    )

    def make(bb, a):
        return [
            op.nn.relu(bb.emit(op.nn.conv2d(a, deep, padding=2, groups=16))),
            op.nn.conv2d(a, deep, padding=(2, 1, 2, 0), strides=(1, 3), groups=16),
            op.nn.conv2d(a, tall, groups=16, dilation=(1, 2)),
            op.nn.silu(bb.emit(op.nn.conv2d(a, wide, padding=(0, 1)))),
            op.matmul(bb.emit(op.permute_dims(a, [0, 2, 3, 1])), down),
        ]

    dynamic = build([var("x", (1, 16, 5, dim("w")))], make, threads=threads)
    for width in (5, 6, 8, 9, 16, 31, 33, 50):
        x = rng.standard_normal((1, 16, 5, width)).astype("float32")
        static = build([var("x", x.shape)], make, threads=threads)
        for got, want in zip(dynamic(x), static(x), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
