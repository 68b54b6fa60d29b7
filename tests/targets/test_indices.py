"""Places that loops read: as computed before TVM flattens buffers, and after."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tvm
from runner import build, var
from tvm import relax, sym, tirx

from oarlock import compat
from oarlock.compat_indices import flatten_buffer
from oarlock.runtime.machine import cpu_features

op = relax.op
WIDTH = 8


def number(value: int) -> Any:
    return tirx.const(value, "int64")


def nest(loops: list[Any], extents: Sequence[int], body: Any) -> Any:
    """Loops, the first outermost, around a statement."""
    for loop, extent in zip(reversed(loops), reversed(extents), strict=True):
        body = tirx.For(loop, number(0), number(extent), tirx.ForKind.SERIAL, body)
    return body


def places(index: Callable[..., Any], extents: list[int], flatten: Callable[[], Any]) -> list[int]:
    """The rows that loops over ``extents`` read of a[index(…), 0], from the flattened program."""
    loops = [tirx.Var(name, "int64") for name, _ in zip("ijk", extents, strict=False)]
    a, b = tirx.decl_buffer((512, WIDTH), "float32", "a"), tirx.decl_buffer((*extents, WIDTH), "float32", "b")
    body = tirx.BufferStore(b, tirx.BufferLoad(a, [index(*loops), number(0)]), [*loops, number(0)])
    body = nest(loops, extents, body)
    body = flatten()(tvm.IRModule({"main": tirx.PrimFunc([a, b], body)}))["main"].body
    while not isinstance(body, tirx.For):
        body = body.body if hasattr(body, "body") else body.seq[-1]
    flat = []
    while isinstance(body, tirx.For):
        flat.append(body.loop_var)
        body = body.body
    (place,) = body.value.indices
    out = []
    for values in itertools.product(*map(range, extents)):
        put = compat.substitute(tirx.Evaluate(place), dict(zip(flat, map(number, values), strict=True))).value
        out.append(int(sym.Analyzer().simplify(put).value) // WIDTH)
    return out


CASES: dict[str, tuple[Callable[..., Any], list[int]]] = {
    "divided after a subtraction": (lambda i: (3 - i) // 2, [4]),
    "the remainder of what is subtracted": (lambda i, j: (7 + 4 * j - i) % 4, [4, 3]),
    "divided twice after an addition": (lambda i, j: (6 * i + j + 7) // 3 % 3, [3, 4]),
}


@pytest.mark.parametrize("name", CASES)
def test_places(name: str) -> None:
    index, extents = CASES[name]
    expected = [index(*values) for values in itertools.product(*map(range, extents))]
    assert places(index, extents, flatten_buffer) == expected


@pytest.mark.xfail(strict=True, reason="when TVM's own pass gives these places, compat_indices.py can go")
@pytest.mark.parametrize("name", CASES)
def test_places_of_tvm(name: str) -> None:
    index, extents = CASES[name]
    expected = [index(*values) for values in itertools.product(*map(range, extents))]
    assert places(index, extents, tirx.transform.FlattenBuffer) == expected


def test_drawn_places() -> None:
    rng = random.Random(7)
    for _ in range(300):
        extents = [rng.choice([2, 3, 4, 6]) for _ in range(2)]
        base, across, down = rng.randrange(-9, 10), rng.choice([1, 2, 3, 4, -1, -2]), rng.choice([0, 1, 2, 4, -1, -4])
        parts, rest = rng.choice([2, 3, 4]), rng.choice([0, 3, 4])

        def index(i: Any, j: Any, *, base=base, across=across, down=down, parts=parts, rest=rest) -> Any:
            place = (i * across + j * down + base) // parts
            return (place % rest if rest else place) + 100

        expected = [index(*values) for values in itertools.product(*map(range, extents))]
        assert places(index, extents, flatten_buffer) == expected, (base, across, down, parts, rest, extents)


def test_what_is_simplified_still_is() -> None:
    def index(i: Any, j: Any) -> Any:
        return (i * 32 + j) // 32

    a, b = tirx.decl_buffer((4,), "float32", "a"), tirx.decl_buffer((4, 32), "float32", "b")
    i, j = tirx.Var("i", "int64"), tirx.Var("j", "int64")
    body = tirx.BufferStore(b, tirx.BufferLoad(a, [index(i, j)]), [i, j])
    body = nest([i, j], [4, 32], body)
    flat = flatten_buffer()(tvm.IRModule({"main": tirx.PrimFunc([a, b], body)}))
    assert "a_1[i]" in str(flat)


# ---- remainders by powers of two, which LLVM's vectoriser takes for the whole -------------------------------------------

SUMS: dict[str, Callable[..., Any]] = {  # of two rows of a, for loops over 20, 16 and 3
    "after a multiple": lambda a, i, j, k: a[j * 3 + i % 10 * 12] + a[j % 4 * 2 + k + i % 10 * 12 + 5],
    "times the same": lambda a, i, j, k: a[j * 6 + i % 6 * 12] + a[j % 4 * 6 + k + i % 6 * 12 + 5],
}
LOOPS = (20, 16, 3)


def summed(name: str, pipeline: str) -> np.ndarray:
    """What a kernel built by a pipeline of TVM's gives for rows of their own numbers."""
    a, out = tirx.decl_buffer((256,), "float32", "a"), tirx.decl_buffer((int(np.prod(LOOPS)),), "float32", "out")
    i, j, k = loops = [tirx.Var(v, "int64") for v in "ijk"]

    class Rows:
        def __getitem__(self, row: Any) -> Any:
            return tirx.BufferLoad(a, [row])

    body = tirx.BufferStore(out, SUMS[name](Rows(), i, j, k), [(i * LOOPS[1] + j) * LOOPS[2] + k])
    body = nest(loops, LOOPS, body)
    kernel = tirx.PrimFunc([a, out], body).with_attrs({"global_symbol": "main", "tirx.noalias": True})
    library = tirx.build(tvm.IRModule({"main": kernel}), target=tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3"}), pipeline=pipeline)
    given, got = tvm.runtime.tensor(np.arange(256, dtype="float32")), tvm.runtime.tensor(np.zeros(np.prod(LOOPS), "float32"))
    library["main"](given, got)
    return got.numpy()


def expected_sum(name: str) -> np.ndarray:
    rows = np.arange(256, dtype="float32")
    return np.array([SUMS[name](rows, *values) for values in itertools.product(*map(range, LOOPS))])


x86 = pytest.mark.skipif("avx2" not in cpu_features(), reason="kernels are built for a CPU with AVX2")


@x86
@pytest.mark.parametrize("name", SUMS)
def test_remainders(name: str) -> None:
    np.testing.assert_array_equal(summed(name, compat.tir_pipeline()), expected_sum(name))


@x86
@pytest.mark.xfail(strict=True, reason="when LLVM is right about these, compat_indices.hide_masks can go")
@pytest.mark.parametrize("name", SUMS)
def test_remainders_of_llvm(name: str) -> None:
    np.testing.assert_array_equal(summed(name, "default"), expected_sum(name))


def test_what_is_repeated_and_reversed() -> None:
    """The program that was read at wrong places."""
    x = var("x", (1, 4, 6))
    program = build([x], lambda bb, x: op.add(op.flip(bb.emit(op.repeat(x, 2, axis=1)), axis=1), relax.const(1.0)))
    value = np.arange(24, dtype="float32").reshape(1, 4, 6)
    np.testing.assert_array_equal(program(value)[0], np.repeat(value, 2, 1)[:, ::-1] + 1)
