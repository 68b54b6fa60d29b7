"""What kernels have to do, against numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from runner import dim, module, var
from tvm import relax
from tvm.script import tirx as T

from oarlock import compat, pipeline, targets
from oarlock.profiling.sizes import evaluate
from oarlock.profiling.work import count_work

op = relax.op
F4 = 4  # bytes of a float32


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def works(inputs, make, **options) -> dict[str, dict]:
    """Kernel → its work, in a built model."""
    built = pipeline.build(module(inputs, make), targets.get("cpu", **{"threads": 1, "executor": "vm", **options}))
    return {name: kernel["work"] for name, kernel in built.kernels.items()}


def the_one(found: dict[str, dict], word: str) -> dict:
    (work,) = [work for name, work in found.items() if word in name]
    return work


def test_convolution_with_bias_and_relu() -> None:
    # 10 × 12 places of 32 channels from 3 × 3 × 16; tiles reach past the end of rows of 12, which must not count
    # (dilated: else it would be Winograd's convolution, which does less)
    w, b = normal(32, 16, 3, 3), normal(1, 32, 1, 1)

    def make(bb, x):
        y = bb.emit(op.nn.conv2d(x, relax.const(w), padding=(2, 2), dilation=(2, 2)))
        return op.nn.relu(bb.emit(op.add(y, relax.const(b))))

    work = the_one(works([var("x", (1, 16, 10, 12))], make), "conv2d")
    places = 10 * 12 * 32
    assert work["flops"] == {"float32": 2 * places * 9 * 16 + 2 * places}
    assert work["weights"] == (32 * 16 * 9 + 32) * F4
    assert work["read"] == 10 * 12 * 16 * F4 + work["weights"]
    assert work["written"] == places * F4


def test_a_convolution_with_strides_reads_what_it_needs() -> None:
    """1 × 1 with strides of 2: a quarter of the input."""
    w = normal(32, 16, 1, 1)
    work = the_one(works([var("x", (1, 16, 8, 8))], lambda bb, x: op.nn.conv2d(x, relax.const(w), strides=(2, 2))), "conv2d")
    assert work["flops"] == {"float32": 2 * 4 * 4 * 32 * 16}
    assert work["read"] == (4 * 4 * 16 + 32 * 16) * F4


@pytest.mark.parametrize("columns", [64, 33], ids=["whole tiles", "a ragged tile"])
def test_product(columns: int) -> None:
    w = normal(48, columns)
    work = the_one(works([var("x", (37, 48))], lambda bb, x: op.matmul(x, relax.const(w))), "product")
    assert work["flops"] == {"float32": 2 * 37 * 48 * columns}
    assert work["written"] == 37 * columns * F4
    assert work["read"] - work["weights"] == 37 * 48 * F4
    # packed weights are whole vectors: at most one panel's worth more than the matrix
    assert 48 * columns * F4 <= work["weights"] < 48 * (columns + 16) * F4


def test_product_whose_sums_are_made_in_parts() -> None:
    w = normal(2048, 32)
    work = the_one(works([var("x", (8, 2048))], lambda bb, x: op.matmul(x, relax.const(w))), "product")
    products, parts = 2 * 8 * 32 * 2048, 8 * 32 * 2048 // 64  # parts of 65 to 256 products are added up
    assert products < work["flops"]["float32"] <= products + parts


def test_depthwise() -> None:
    w = normal(32, 1, 3, 3)
    work = the_one(works([var("x", (1, 32, 9, 9))], lambda bb, x: op.nn.conv2d(x, relax.const(w), padding=(1, 1), groups=32)), "depthwise")
    assert work["flops"] == {"float32": 2 * 9 * 9 * 32 * 9}
    assert work["read"] == (9 * 9 * 32 + 9 * 32) * F4
    assert work["written"] == 9 * 9 * 32 * F4


def test_softmax() -> None:
    """The greatest, a difference, a power, a sum and a product for each element; a few more a row to join vector lanes."""
    rows, length = 24, 100
    work = the_one(works([var("x", (rows, length))], lambda bb, x: op.nn.softmax(x, -1)), "softmax")
    assert 5 * rows * length <= work["flops"]["float32"] <= 5 * rows * length + rows * 2 * 17
    assert (work["read"], work["written"], work["weights"]) == (rows * length * F4, rows * length * F4, 0)


def test_elementwise_kernels_are_counted_together() -> None:
    def make(bb, x, y):
        return op.exp(bb.emit(op.multiply(bb.emit(op.add(x, y)), relax.const(np.float32(3)))))

    (work,) = works([var("x", (4, 1000)), var("y", (4, 1000))], make).values()
    assert work["flops"] == {"float32": 3 * 4000}
    assert (work["read"], work["written"]) == (2 * 4000 * F4 + work["weights"], 4000 * F4)
    assert work["weights"] <= F4


def test_a_residual_in_a_product_is_read_too() -> None:
    w = normal(64, 64)

    def make(bb, x, r):
        return op.nn.relu(bb.emit(op.add(bb.emit(op.matmul(x, relax.const(w))), r)))

    work = the_one(works([var("x", (32, 64)), var("r", (32, 64))], make), "product")
    assert work["flops"] == {"float32": 2 * 32 * 64 * 64 + 2 * 32 * 64}
    assert work["read"] == (2 * 32 * 64 + 64 * 64) * F4
    assert work["weights"] == 64 * 64 * F4


@pytest.mark.skipif("avx512bf16" not in compat.llvm_features(targets.get("cpu").tvm_target), reason="this machine has no AVX512-BF16")
def test_bfloat16_products_count_as_such() -> None:
    w, b = normal(48, 64), normal(64)

    def make(bb, x):
        return op.add(bb.emit(op.matmul(x, relax.const(w))), relax.const(b))

    work = the_one(works([var("x", (37, 48))], make, precision="bfloat16"), "product")
    assert work["flops"] == {"bfloat16": 2 * 37 * 48 * 64, "float32": 37 * 64}
    assert work["weights"] == 48 * 64 * 2 + 64 * F4


@pytest.mark.skipif(
    not {"avx512vnni", "avxvnni"} & compat.llvm_features(targets.get("cpu").tvm_target), reason="this machine has no AVX-VNNI"
)
def test_products_of_integers_count_as_such() -> None:
    w = np.ones((48, 64), "int8")
    work = the_one(
        works([var("x", (37, 48), "int8")], lambda bb, x: op.matmul(x, compat.constant(w), out_dtype="int32"), precision="int8"), "product"
    )
    assert work["flops"] == {"int8": 2 * 37 * 48 * 64}
    assert 48 * 64 <= work["weights"] <= 48 * 64 + 64 * F4


def test_rows_of_a_table_count_not_the_table() -> None:
    table = normal(5000, 64)
    (work,) = works([var("i", (7,), "int64")], lambda bb, i: op.take(relax.const(table), i, axis=0)).values()
    assert work["flops"] == {}
    assert work["weights"] == 7 * 64 * F4
    assert work["read"] == 7 * 64 * F4 + 7 * 8
    assert work["written"] == 7 * 64 * F4


@pytest.mark.parametrize("n", [1, 7, 64])
def test_symbolic_dims_give_expressions(n: int) -> None:
    w = normal(48, 33)
    work = the_one(works([var("x", (dim("n"), 48))], lambda bb, x: op.matmul(x, relax.const(w))), "product")
    assert work["symbols"] == {"n": [0, 0]}
    assert evaluate(work["flops"]["float32"], {"n": n}) == 2 * n * 48 * 33
    assert evaluate(work["written"], {"n": n}) == n * 33 * F4
    assert evaluate(work["read"], {"n": n}) - work["weights"] == n * 48 * F4
    assert evaluate(work["written"], {}) is None


def test_a_loop_of_unknown_length_is_not_counted() -> None:
    @T.prim_func(private=True, s_tir=True)
    def kernel(n: T.Buffer((1,), "int64"), x: T.Buffer((100,), "float32"), y: T.Buffer((100,), "float32")) -> None:  # type: ignore[valid-type]
        for i in range(n[0]):
            y[i] = x[i] + T.float32(1)

    (work,) = count_work(tvm.IRModule({"kernel": kernel})).values()
    assert "flops" not in work
    assert (work["read"], work["written"]) == (8 + 400, 400)


@pytest.mark.parametrize("text", ["n +", "__import__('os')", "n.real", "n ** 9", "n // 0", "min()", "m", "[n]", "n" + " + n" * 9999])
def test_what_is_no_size_is_unknown(text: str) -> None:
    assert evaluate(text, {"n": 3}) is None
