"""Results that lie upon an operand nobody reads afterwards (targets/cpu/inplace.py, aot.share)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from runner import build, dim, var
from tvm import relax, te, tirx

from oarlock import compat, targets
from oarlock.kernels.choice import SCHEDULE
from oarlock.targets.cpu import aot, dots, inplace
from oarlock.targets.cpu.aot import Step, Value, share

op = relax.op


def kernel(*tensors: te.Tensor, schedule: str = "generic") -> tirx.PrimFunc:
    return te.create_prim_func(list(tensors)).with_attr(SCHEDULE, schedule)


A, B = (te.placeholder((6, 8), "float32", name) for name in "ab")
ROW = te.placeholder((8,), "float32", "row")
HALF = te.placeholder((6, 8), "float16", "half")
N = te.reduce_axis((0, 8), name="n")


@pytest.mark.parametrize(
    ("inputs", "element", "pairs"),
    [
        ((A, B), lambda i, j: A[i, j] + B[i, j], [(0, 2), (1, 2)]),
        ((A, B), lambda i, j: A[i, j] + B[i, 7 - j], [(0, 2)]),
        ((A, B), lambda i, j: A[i, j] * A[i, 7 - j] + B[i, j], [(1, 2)]),
        ((A, ROW), lambda i, j: A[i, j] + ROW[j], [(0, 2)]),
        ((A, HALF), lambda i, j: A[i, j] + tirx.Cast("float32", HALF[i, j]), [(0, 2)]),
        ((A,), lambda i, j: te.sum(A[i, N] * A[i, j], axis=N), []),
    ],
    ids=["a sum", "read elsewhere", "read here and elsewhere", "a row", "another type", "stored more than once"],
)
def test_operands(inputs: tuple, element: Any, pairs: list) -> None:
    out = te.compute((6, 8), element, name="out")
    assert inplace.operands(kernel(*inputs, out)) == pairs
    assert inplace.operands(kernel(*inputs, out, schedule="onednn")) == []


def test_the_first_of_two_results() -> None:
    total = te.compute((6, 8), lambda i, j: A[i, j] + B[i, j], name="total")
    cut = te.compute((6, 8), lambda i, j: tirx.Cast("int8", total[i, j]), name="cut")
    assert inplace.operands(kernel(A, B, total, cut)) == [(0, 2), (1, 2)]


def test_without_the_operand() -> None:
    out = te.compute((6, 8), lambda i, j: A[i, j] - B[i, j], name="out")
    made = inplace.upon(kernel(A, B, out), 0, 2)
    assert len(made.params) == 2
    library = tvm.compile(tvm.IRModule({"main": made.with_attr("global_symbol", "main")}), "llvm")
    a, b = (np.random.default_rng(i).standard_normal((6, 8)).astype("float32") for i in (0, 1))
    held = tvm.runtime.tensor(a)
    library["main"](tvm.runtime.tensor(b), held)
    np.testing.assert_array_equal(held.numpy(), a - b)


def values(count: int) -> list[Value]:
    return [Value(64, first=n, last=n + 1) for n in range(count)]


def test_a_chain_lies_in_one_place() -> None:
    name = tvm.ir.GlobalVar("k")
    a, b, c = arena = values(3)
    other = Value(64, "input x")
    steps = [Step(name, [other, a], {}), Step(name, [a, b], {}), Step(name, [b, c], {})]
    made = share(steps, arena, {name: [(0, 1)]})
    assert arena == [a] and (a.first, a.last) == (0, 3)
    assert [step.upon for step in made] == [None, (0, 1), (0, 1)]
    assert [step.arguments for step in made] == [[other, a], [a], [a]]


def test_what_is_still_read_is_kept() -> None:
    name = tvm.ir.GlobalVar("k")
    a, b, c = arena = values(3)
    a.last = 2
    output = Value(64, "output 0")
    steps = [Step(name, [a, a, b], {}), Step(name, [b, b, c], {}), Step(name, [a, c, output], {})]
    made = share(steps, arena, {name: [(0, 2), (1, 2)]})
    assert [step.upon for step in made] == [None, None, None], "read later; given twice; the caller's"
    assert arena == [a, b, c]


def blocks(bb: relax.BlockBuilder, x: relax.Expr) -> list[relax.Expr]:
    """Two residual blocks whose shortcuts die in their sums, and one whose shortcut is also what its convolution reads."""
    rng = np.random.default_rng(0)

    def conv(y: relax.Expr, size: int) -> relax.Expr:
        weight = rng.standard_normal((24, 24, size, size)).astype("float32") / (5 * size)
        return bb.emit(op.nn.conv2d(y, relax.const(weight), padding=size // 2))

    y = bb.emit(op.nn.relu(conv(x, 1)))
    for _ in range(2):
        y = bb.emit(op.nn.relu(bb.emit(op.add(conv(bb.emit(op.nn.relu(conv(y, 3))), 1), y))))
    y = bb.emit(op.nn.relu(bb.emit(op.add(conv(y, 1), y))))
    return [bb.emit(op.sum(conv(y, 1), [2, 3]))]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_same_numbers_as_the_vm(threads: int, dynamic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Step] = []

    def spy(*arguments: Any) -> list[Step]:
        made = share(*arguments)
        found.extend(made)
        return made

    monkeypatch.setattr(aot, "share", spy)
    x = np.random.default_rng(1).standard_normal((1, 24, 9, 11)).astype("float32")
    shape = (1, 24, dim("h"), dim("w")) if dynamic else x.shape
    ahead, vm = (build([var("x", shape)], blocks, threads=threads, executor=e) for e in ("aot", "vm"))
    assert ahead.built.notes == []
    assert sum(step.upon is not None for step in found) == 2
    for _ in range(3):
        np.testing.assert_array_equal(ahead(x)[0], vm(x)[0])


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("registers", ["vectors", "tiles"])
def test_a_shortcut_of_what_a_product_reads(registers: str, precision: str, groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tiles of columns read all of each row: the first may not write where the others still read."""
    if precision != "float32" and not {"avx512bf16", "avx512vnni"} <= compat.llvm_features(targets.get("cpu").tvm_target):
        pytest.skip("this machine has no AVX512-BF16 or no VNNI")
    if registers == "vectors":
        monkeypatch.setattr(dots, "TILE_REGISTERS", {})
    dtype = "int8" if precision == "int8" else "float32"

    parts = groups if dtype == "float32" else 1

    def numbers(seed: int, *shape: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return (rng.integers(-9, 9, shape) if dtype == "int8" else rng.standard_normal(shape) / 8).astype(dtype)

    def conv(bb: relax.BlockBuilder, y: relax.Expr, seed: int, groups: int = 1) -> relax.Expr:
        weights = compat.constant(numbers(seed, 256, 256 // groups, 1, 1))
        out = bb.emit(op.nn.conv2d(y, weights, groups=groups, out_dtype="int32" if dtype == "int8" else None))
        return bb.emit(op.astype(out, dtype)) if dtype == "int8" else out

    def make(bb: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
        y = bb.emit(op.nn.relu(conv(bb, x, 1)))
        return conv(bb, bb.emit(op.nn.relu(bb.emit(op.add(conv(bb, y, 2, parts), y)))), 3)

    x = numbers(4, 1, 256, 6, 7)
    ahead, vm = (build([var("x", x.shape, dtype)], make, precision=precision, executor=e) for e in ("aot", "vm"))
    np.testing.assert_array_equal(ahead(x)[0], vm(x)[0])
