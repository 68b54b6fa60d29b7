"""The ahead-of-time executor: one function, one arena, one block of weights."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tvm
from runner import build, dim, var
from tvm import relax

from oarlock import compat, targets
from oarlock.errors import TargetError
from oarlock.targets.cpu.aot import Value, place, place_symbolic

op = relax.op


def overlaps(a: Value, b: Value) -> bool:
    alive = a.first <= b.last and b.first <= a.last
    return alive and a.offset < b.offset + b.size and b.offset < a.offset + a.size


@pytest.mark.parametrize("seed", range(20))
def test_values_that_live_together_lie_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [Value(int(rng.integers(0, 5000)), first=f, last=f + int(rng.integers(0, 6))) for f in rng.integers(0, 40, 60)]
    size = place(values)
    for a, b in itertools.combinations([v for v in values if v.size], 2):
        assert not overlaps(a, b)
    assert all(v.offset % 64 == 0 and v.offset + v.size <= size for v in values)
    alive = [sum(v.size for v in values if v.first <= t <= v.last) for t in range(50)]
    assert size <= 1.6 * max(alive) + 64 * len(values)


def test_a_chain_needs_two_places() -> None:
    values = [Value(4096, first=t, last=t + 1) for t in range(30)]
    assert place(values) == 2 * 4096


def network(bb: relax.BlockBuilder, x: relax.Expr) -> list[relax.Expr]:
    """Convolutions with a shortcut, two results of which one is a view of the other's source, and a tuple in between."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> relax.Expr:
        return relax.const(rng.standard_normal(shape).astype("float32") / 8)

    y = bb.emit(op.nn.relu(bb.emit(op.nn.conv2d(x, weight(16, 8, 3, 3), padding=1))))
    z = bb.emit(op.add(y, bb.emit(op.nn.conv2d(y, weight(16, 16, 1, 1)))))
    halves = bb.emit(op.split(z, 2, axis=1))
    total = bb.emit(op.sum(bb.emit(op.multiply(halves[0], halves[1])), [2, 3]))
    return [bb.emit(op.reshape(z, (1, -1))), bb.emit(op.nn.softmax(total))]


@pytest.mark.parametrize("threads", [1, 2])
def test_same_numbers_as_the_vm(threads: int) -> None:
    x = np.random.default_rng(1).standard_normal((1, 8, 20, 20)).astype("float32")
    aot, vm = (build([var("x", x.shape)], network, threads=threads, executor=e) for e in ("aot", "vm"))
    assert len(aot.built.weights) == 1 and len(vm.built.weights) > 1
    for _ in range(3):  # the arena is used again
        for got, want in zip(aot(x), vm(x), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("seed", range(10))
def test_values_of_symbolic_sizes_lie_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = dim("n")
    kinds = [n * 4, n * n * 4, (n + 7) // 8 * 256, 1000, (n - 1) // 2 * 64 + 64, (n - 4) * 1024]  # the last is below 0 for some
    values = [Value(kinds[k], first=f, last=f + int(rng.integers(0, 6))) for k, f in rng.integers(0, [6, 40], (60, 2)).tolist()]
    total = place_symbolic(values)
    for size in (1, 2, 7, 64, 333):
        at = [Value(max(number(v.size, n, size), 0), offset=number(v.offset, n, size), first=v.first, last=v.last) for v in values]
        for a, b in itertools.combinations([v for v in at if v.size], 2):
            assert not overlaps(a, b)
        assert all(v.offset % 64 == 0 and v.offset + v.size <= number(total, n, size) for v in at)


def test_inputs_that_are_too_small_are_refused() -> None:
    """A size below 0 would put what lies behind it before the arena."""
    weights = relax.const(np.ones((64, 3, 3, 5), "float32"))

    def make(bb: relax.BlockBuilder, x: relax.Expr) -> list[relax.Expr]:
        y = bb.emit(op.nn.conv2d(x, weights))
        return [bb.emit(op.sum(y, [2, 3])), bb.emit(op.sum(bb.emit(op.nn.softmax(x, axis=3)), [2, 3]))]

    program = build([var("x", (1, 3, dim("h"), dim("w")))], make)
    x = np.ones((1, 3, 8, 8), "float32")
    np.testing.assert_array_equal(program(x)[0], np.full((1, 64), 6 * 4 * 45, "float32"))
    for small in ((1000, 1), (1, 1000), (1, 1)):  # the last has a product of two sizes that is above 0
        with pytest.raises(Exception, match="an input is too small"):
            program(np.ones((1, 3, *small), "float32"))
    np.testing.assert_array_equal(program(x[:, :, :3, :5])[0], np.full((1, 64), 45, "float32"))


def number(expr: object, symbol: tvm.tirx.Var, value: int) -> int:
    return int(tvm.sym.Analyzer().simplify(compat.substitute(expr, {symbol: tvm.tirx.const(value, "int64")})))


@pytest.mark.parametrize("threads", [1, 2])
def test_symbolic_sizes_same_numbers_as_the_vm(threads: int) -> None:
    def make(bb: relax.BlockBuilder, x: relax.Expr, y: relax.Expr) -> list[relax.Expr]:
        rng = np.random.default_rng(0)
        kernel = relax.const(rng.standard_normal((16, 8, 3, 3)).astype("float32") / 8)
        wide = relax.const(rng.standard_normal((16, 1, 5, 5)).astype("float32") / 8)
        a = bb.emit(op.nn.relu(bb.emit(op.nn.conv2d(x, kernel, padding=1, strides=(1, 2)))))
        b = bb.emit(op.nn.conv2d(a, wide, padding=2, groups=16))
        pooled = bb.emit(op.nn.max_pool2d(bb.emit(op.add(a, b)), (2, 2), (2, 1)))
        rows = bb.emit(op.mean(pooled, [2]))
        scores = bb.emit(op.nn.softmax(bb.emit(op.matmul(bb.emit(op.permute_dims(rows, [0, 2, 1])), rows))))
        return [scores, bb.emit(op.multiply(y, y)), bb.emit(op.sum(b, [1, 2, 3]))]

    n, w = dim("n"), dim("w")
    inputs = [var("x", (n, 8, 6, w)), var("y", (w, n))]
    aot, vm = (build(inputs, make, threads=threads, executor=e) for e in ("aot", "vm"))
    assert len(aot.built.weights) == 1 and len(vm.built.weights) > 1 and aot.built.notes == []
    rng = np.random.default_rng(1)
    for batch, width in [(1, 40), (2, 7), (1, 3), (3, 64), (1, 33), (1, 40)]:  # the arena grows and shrinks
        arrays = [rng.standard_normal(s).astype("float32") for s in ((batch, 8, 6, width), (width, batch))]
        for got, want in zip(aot(*arrays), vm(*arrays), strict=True):
            np.testing.assert_array_equal(got, want)


def test_sizes_that_no_input_names_stay_vm_programs_in_silence() -> None:
    def make(bb: relax.BlockBuilder, x: relax.Expr, y: relax.Expr) -> list[relax.Expr]:
        found = bb.match_cast(x, relax.TensorType((dim("k"),), "float32"))
        return [bb.emit(op.add(found, relax.const(np.float32(1)))), bb.emit(op.nn.relu(y))]

    inputs = [relax.Var("x", relax.TensorType(None, "float32", ndim=1)), var("y", (dim("n"),))]
    program = build(inputs, make)
    assert program.built.notes == []
    np.testing.assert_array_equal(program(np.arange(3, dtype="float32"), np.ones(2, "float32"))[0], [1, 2, 3])


def test_a_reshape_that_may_fail_is_left_to_the_vm() -> None:
    program = build([var("x", (dim("n"), 4))], lambda bb, x: op.nn.relu(bb.emit(op.reshape(bb.emit(op.add(x, x)), (2, 6)))))
    assert program(np.ones((3, 4), "float32"))[0].shape == (2, 6)
    with pytest.raises((RuntimeError, ValueError)):
        program(np.ones((2, 4), "float32"))


def test_a_result_that_is_an_input_stays_a_vm_program_and_says_so() -> None:
    program = build([var("x", (4, 4))], lambda bb, x: [bb.emit(op.nn.relu(x)), x])
    assert any("as a result" in note for note in program.built.notes)
    x = np.random.default_rng(1).standard_normal((4, 4)).astype("float32")
    np.testing.assert_array_equal(program(x)[1], x)


def test_a_kernel_that_fails_fails_the_call_with_its_message() -> None:
    def checked(bb: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
        four = [tvm.tirx.const(4, "int64")]
        a = tvm.te.placeholder(four, "float32", "a")
        copy = tvm.te.create_prim_func([a, tvm.te.compute(four, lambda i: a[i] + tvm.tirx.const(1, "float32"), name="b")])
        first = tvm.tirx.BufferLoad(copy.params[0], [tvm.tirx.const(0, "int64")])
        check = tvm.tirx.AssertStmt(first > tvm.tirx.const(0, "float32"), "ValueError", ["the first must be positive"])
        kernel = bb.add_func(
            copy.with_body(tvm.tirx.SeqStmt([check, copy.body])).without_attr("global_symbol").with_attr("op_pattern", 8), "checked"
        )
        return bb.emit(relax.call_tir(kernel, (bb.emit(op.nn.relu(x)),), relax.TensorType((4,), "float32")))

    program = build([var("x", (4,))], checked)
    np.testing.assert_array_equal(program(np.ones(4, "float32"))[0], np.full(4, 2, "float32"))
    with pytest.raises(ValueError, match="the first must be positive"):
        program(np.full(4, -1, "float32"))
    np.testing.assert_array_equal(program(np.ones(4, "float32"))[0], np.full(4, 2, "float32"))


def test_work_space_is_given_back() -> None:
    """A function of pointers that returned before its end would keep the work space of every call."""
    x = np.ones((1, 64, 56, 56), "float32")

    def padded(bb: relax.BlockBuilder, a: relax.Expr) -> relax.Expr:
        return op.nn.conv2d(a, relax.const(np.full((64, 64, 3, 3), 1e-3, "float32")), padding=1)

    program = build([var("x", x.shape)], padded)
    for _ in range(3):
        program(x)
    before = resident()
    for _ in range(30):
        program(x)
    assert resident() - before < 30 * 64 * 58 * 58 * 4 / 2


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_unknown_executor() -> None:
    with pytest.raises(TargetError, match="executor must be"):
        targets.get("cpu", executor="graph")
