"""Kernels that move data or compute elementwise: concatenation, resizing, chains of formulas."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import tvm
from runner import build, dim, module, var
from tvm import relax, s_tir, te, tirx

from oarlock import pipeline, targets
from oarlock.targets.cpu.schedule.generic import PARTITION

op = relax.op
RNG = np.random.default_rng(0)


def enlarged(factor: int):
    """Each place of an NHWC image repeated factor × factor times."""

    def resize(a: te.Tensor) -> te.Tensor:
        n, h, w, c = a.shape
        return te.compute((n, h * factor, w * factor, c), lambda b, y, x, k: a[b, y // factor, x // factor, k], name="resize")

    return resize


@pytest.mark.parametrize("channels", [(24, 24, 24, 24), (3, 5, 8, 1), (16, 32, 4, 8), (24, 0, 8, 16), (0, 0, 0, 0)], ids=str)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("threads", [1, 2])
def test_concatenation_of_resized_parts(channels: tuple[int, ...], dynamic: bool, threads: int) -> None:
    factors = (8, 4, 2, 1)
    parts = [RNG.standard_normal((1, 16 // f, 24 // f, c)).astype("float32") for c, f in zip(channels, factors, strict=True)]

    def make(bb, *xs):
        scaled = [bb.emit(op.add(x, bb.emit(op.multiply(x, relax.const(np.float32(i + 0.5)))))) for i, x in enumerate(xs)]
        return op.concat([bb.emit_te(enlarged(f), x) for x, f in zip(scaled, factors, strict=True)], 3)

    h, w = (dim("h"), dim("w")) if dynamic else (2, 3)
    program = build(
        [var(f"x{i}", (1, h * (8 // f), w * (8 // f), c)) for i, (c, f) in enumerate(zip(channels, factors, strict=True))],
        make,
        threads=threads,
    )
    if 0 in channels and not any(channels):
        assert program(*parts)[0].shape == (1, 16, 24, 0)
        return
    want = np.concatenate(
        [(p + p * np.float32(i + 0.5)).repeat(f, 1).repeat(f, 2) for i, (p, f) in enumerate(zip(parts, factors, strict=True))], 3
    )
    np.testing.assert_allclose(program(*parts)[0], want, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
def test_concatenation_of_any_axis(axis: int, dtype: str) -> None:
    shapes = [[5, 6, 16], [5, 6, 16], [5, 6, 16]]
    for shape, size in zip(shapes, (16, 0, 48), strict=True):
        shape[axis] = size
    parts = [RNG.integers(0, 2, s).astype(dtype) for s in shapes]
    program = build([var(f"x{i}", p.shape, dtype) for i, p in enumerate(parts)], lambda bb, *xs: op.concat(xs, axis))
    np.testing.assert_array_equal(program(*parts)[0], np.concatenate(parts, axis))


@pytest.mark.parametrize("comparison", ["<", "<=", ">", ">=", "reversed"])
def test_parts_are_cut_where_a_comparison_changes(comparison: str) -> None:
    def halves(a: te.Tensor) -> te.Tensor:
        def element(i, j):
            first = {"<": j < 16, "<=": j <= 15, ">": j > 15, ">=": j >= 16, "reversed": 16 > j}[comparison]
            return te.if_then_else(first, a[i, j], a[i, 63 - j] * 2.0)

        return te.compute(a.shape, element, name="halves")

    x = RNG.standard_normal((3, 64)).astype("float32")
    first = np.arange(64) >= 16 if comparison in (">", ">=") else np.arange(64) < 16
    np.testing.assert_array_equal(build([var("x", x.shape)], lambda bb, a: bb.emit_te(halves, a))(x)[0], np.where(first, x, x[:, ::-1] * 2))


def test_a_long_chain_of_formulas_that_read_their_operand_twice_compiles() -> None:
    """Inlined into each other they would double with every step."""

    def make(bb, a, b):
        for _ in range(40):
            a = bb.emit(op.divide(bb.emit(op.add(a, b)), bb.emit(op.add(relax.const(1.0), bb.emit(op.multiply(a, a))))))
        return a

    x, y = RNG.standard_normal((2, 7, 33)).astype("float32")
    start = time.perf_counter()
    program = build([var("x", x.shape), var("y", y.shape)], make)
    assert time.perf_counter() - start < 30
    want = x.astype("float64")
    for _ in range(40):
        want = (want + y) / (1 + want * want)
    np.testing.assert_allclose(program(x, y)[0], want, rtol=2e-4, atol=2e-4)


def test_concatenated_channels_are_copied_in_vectors() -> None:
    mod = module([var("x", (1, 4, 4, 16)), var("y", (1, 4, 4, 32))], lambda bb, a, b: op.concat([a, b], 3))
    seen: list[str] = []
    pipeline.build(mod, targets.get("cpu", threads=1), dump=lambda stage, at: seen.append(at.script()) if stage == "cpu-schedule" else None)
    assert "T.vectorized" in seen[0]


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize("channels", [16, 64, 24, 5, 1])
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("threads", [1, 2])
def test_pooling_of_channels_last(kind: str, channels: int, dynamic: bool, threads: int) -> None:
    x = RNG.standard_normal((2, 11, 14, channels)).astype("float32") - 3
    pool = op.nn.max_pool2d if kind == "max" else op.nn.avg_pool2d
    shape = (dim("n"), dim("h"), dim("w"), channels) if dynamic else x.shape
    program = build([var("x", shape)], lambda bb, a: pool(a, (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC"), threads=threads)
    assert program.built.notes == []  # every schedule applied
    fill = -np.inf if kind == "max" else 0.0
    padded = np.pad(x.astype("float64"), ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
    inside = np.lib.stride_tricks.sliding_window_view(np.pad(np.ones((11, 14)), 1), (3, 3))[::2, ::2].sum((2, 3))
    want = windows.max((4, 5)) if kind == "max" else windows.sum((4, 5)) / inside[:, :, None]
    np.testing.assert_allclose(program(x)[0], want, rtol=1e-5)


@pytest.mark.parametrize("shape", [(3, 5, 4, 32), (3, 5, 4, 24), (2, 3, 4, 8), (1, 7, 2, 13), (2, 0, 4, 32)], ids=str)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_moved_axes_with_a_formula(shape: tuple[int, ...], dynamic: bool) -> None:
    x = RNG.standard_normal(shape).astype("float32")
    known = (dim("n"), dim("s"), *shape[2:]) if dynamic else shape

    def make(bb, a):
        return op.multiply(bb.emit(op.permute_dims(a, (0, 2, 1, 3))), relax.const(np.float32(0.25)))

    np.testing.assert_array_equal(build([var("x", known)], make)(x)[0], x.transpose(0, 2, 1, 3) * np.float32(0.25))


def test_a_kernel_that_compares_channels_and_sizes_in_nhwc() -> None:
    """Between convolutions, a kernel of the importer's that asks for its place, and for a size that none of its shapes has."""
    x, w = RNG.standard_normal((1, 8, 6, 6)).astype("float32"), RNG.standard_normal((8, 8, 1, 1)).astype("float32")

    def marked(a: te.Tensor, size: Any) -> te.Tensor:
        return te.compute(
            a.shape, lambda n, c, h, w: tirx.Select(c < tirx.IntImm("int64", 3), a[n, c, h, w] * size.astype("float32"), a[n, c, h, w])
        )

    rows = dim("rows")

    def make(bb, a, table):
        first = bb.emit(op.nn.conv2d(a, relax.const(w)))
        return op.nn.conv2d(bb.emit_te(marked, first, rows, primfunc_name_hint="marked"), relax.const(w))

    program = build([var("x", x.shape), var("table", (rows, 2))], make)
    first = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x)
    first[:, :3] *= 5
    want = np.einsum("oc,nchw->nohw", w[:, :, 0, 0], first)
    np.testing.assert_allclose(program(x, np.zeros((5, 2), "float32"))[0], want, rtol=1e-5, atol=1e-4)


def _parts_in_a_select(c: Any, a: te.Tensor, b: te.Tensor, place: tuple) -> Any:
    x, y = place
    joined = tirx.if_then_else(c >= tirx.IntImm("int64", 8), b[x, y, c - 8], a[x, y, c])
    return tirx.Select(joined > tirx.const(0.0, "float32"), joined, joined * tirx.const(0.5, "float32"))


def test_a_concatenation_inside_of_a_select() -> None:
    """Channels joined, and a PReLU that was fused into it."""

    def make(bb, a, b):
        return bb.emit_te(
            lambda a, b: te.compute((*a.shape[:2], 16), lambda x, y, c: _parts_in_a_select(c.astype("int64"), a, b, (x, y))), a, b
        )

    a, b = (RNG.standard_normal((3, 5, 8)).astype("float32") for _ in range(2))
    joined = np.concatenate([a, b], -1)
    rows = dim("rows")
    got = build([var("a", (rows, 5, 8)), var("b", (rows, 5, 8))], make)(a, b)[0]
    np.testing.assert_array_equal(got, np.where(joined > 0, joined, joined * np.float32(0.5)))


def test_tvm_cannot_cut_a_loop_of_a_select() -> None:
    """When this fails, schedule/generic.py: _selects_of_parts can go."""
    sixteen = tirx.IntImm("int64", 16)
    rows = tirx.Var("rows", "int64")
    a, b = (te.placeholder((rows, sixteen, tirx.IntImm("int64", 8)), "float32", n) for n in "ab")
    out = te.compute((rows, sixteen, sixteen), lambda x, y, c: _parts_in_a_select(c, a, b, (x, y)), name="out")
    sch = s_tir.Schedule(te.create_prim_func([a, b, out], "int64"))
    part, lane = sch.split(sch.get_loops(sch.get_sblock("out"))[-1], [None, 8])
    sch.annotate(part, PARTITION, True)
    sch.vectorize(lane)
    with pytest.raises(TypeError, match="mismatched types"):
        tvm.compile(sch.mod, target=tvm.target.Target({"kind": "llvm"}))


def test_a_resize_to_a_size_of_run_time_in_nhwc() -> None:
    """Between convolutions, a kernel whose places are computed from the sizes of its result."""
    x, w = RNG.standard_normal((1, 8, 3, 4)).astype("float32"), RNG.standard_normal((8, 8, 1, 1)).astype("float32")
    h, width, rows, columns = dim("h"), dim("w"), dim("rows"), dim("columns")

    def nearest(a: te.Tensor, rows: Any, columns: Any) -> te.Tensor:
        n, c, h, w = a.shape
        return te.compute((n, c, rows, columns), lambda b, k, y, x: a[b, k, y * h // rows, x * w // columns], name="nearest")

    def make(bb, a, table):
        first = bb.emit(op.nn.conv2d(a, relax.const(w)))
        return op.nn.conv2d(bb.emit_te(nearest, first, rows, columns, primfunc_name_hint="nearest"), relax.const(w))

    program = build([var("x", (1, 8, h, width)), var("table", (rows, columns))], make)
    product = w[:, :, 0, 0] @ w[:, :, 0, 0]
    want = np.einsum("oc,nchw->nohw", product, x)[:, :, np.arange(7) * 3 // 7][:, :, :, np.arange(6) * 4 // 6]
    np.testing.assert_allclose(program(x, np.zeros((7, 6), "float32"))[0], want, rtol=1e-4, atol=1e-4)
