"""What is asked of sessions on an emulated GPU beyond whole models; emulated_worker.py runs these functions."""

from __future__ import annotations

import gc
from typing import Any
from unittest import mock

import models
import numpy as np
import tvm_ffi
from models import Case, const, op, rand

import oarlock
from oarlock.runtime import pinned
from oarlock.targets.cuda import products
from oarlock.targets.cuda.products import Tile


def _same_by(tile: Tile, case: Case, *, split: bool = False) -> None:
    with mock.patch.object(products, "tiles", lambda sizes: [tile]):
        artifact = case.artifact("cuda")
    assert str(tile) in {facts.get("candidate") for facts in artifact.manifest["kernels"].values()}
    assert ("in" in str(tile).split()) == split
    for got, want in zip(case.run(artifact), case.run(case.artifact("cpu", threads=1)), strict=True):
        assert models.difference(got, want) < 2e-6


def _conv(channels: int, out: int, size: int, stride: int, *image: int) -> Case:
    def make(bb: Any, x: Any) -> Any:
        y = op.nn.conv2d(x, const(out, channels, size, size), strides=stride, padding=size // 2)
        return op.nn.relu(op.add(y, const(1, out, 1, 1)))

    return Case(make, (rand(2, channels, *image),))


def windows_of_which_no_tile_is_whole() -> None:
    _same_by(Tile(64, 32, 32, 4, 4), _conv(5, 40, 3, 2, 13, 11))


def windows_of_any_number_of_images() -> None:
    case = _conv(32, 40, 3, 1, 9, 8)
    _same_by(Tile(32, 64, 32, 4, 4), Case(case.make, case.inputs, (("n", 32, 9, 8),)))


def tiles_in_strips() -> None:
    _same_by(Tile(128, 64, 16, 8, 4), _conv(32, 70, 3, 1, 9, 8))


def split_sums_of_windows() -> None:
    _same_by(Tile(32, 32, 32, 4, 4, 2), _conv(16, 40, 3, 1, 13, 11), split=True)


def split_sums_of_single_places() -> None:
    _same_by(Tile(16, 64, 32, 2, 4, 2), _conv(128, 24, 1, 1, 7, 7), split=True)


def split_sums_of_matrices() -> None:
    case = Case(lambda bb, x: op.nn.gelu(op.add(op.matmul(x, const(128, 70)), const(70))), (rand(50, 128),))
    _same_by(Tile(64, 64, 16, 4, 4, 4), case, split=True)


def both_operands_run_along_the_sum() -> None:
    _same_by(Tile(32, 64, 32, 4, 4), Case(lambda bb, x: op.matmul(x, op.permute_dims(x, [0, 2, 1])), (rand(3, 37, 96),)))


def graphs_take_other_inputs() -> None:
    case = models.CASES["attention"]
    with oarlock.Session(case.artifact("cuda")) as session:
        for factor in np.float32([1.0, 0.5, -2.0, 0.5]):
            (x,) = case.inputs
            got = session.run({"x0": x * factor})["y0"]
            want = Case(case.make, (x * factor,)).run(case.artifact("cpu", threads=1))[0]
            assert models.difference(got, want) < 2e-6


def graphs_launch_nearly_all_kernels() -> None:
    texts: dict[str, str] = {}
    models.CASES["attention"].artifact("cuda", lambda stage, mod: texts.update({stage: mod.script()}))
    assert "run_or_capture" in texts["cuda-graphs"]
    texts.clear()
    models.CASES["attention"].artifact("cuda", lambda stage, mod: texts.update({stage: mod.script()}), graphs=False)
    assert "cuda-graphs" not in texts and "run_or_capture" not in texts["lower-vm"]


def nothing_is_left_of_loading() -> None:
    """TVM's compiler, imported after a session was made, must find its own function's name free."""
    name = "tvm_callback_cuda_compile"
    before = tvm_ffi.get_global_func(name, allow_missing=True)
    tvm_ffi.registry.remove_global_func(name)
    try:
        case = models.CASES["moves"]
        case.run(case.artifact("cuda"))
        assert tvm_ffi.get_global_func(name, allow_missing=True) is None
    finally:
        if before is not None:
            tvm_ffi.register_global_func(name, before, override=True)


def arrays_of_page_locked_memory_are_used_again() -> None:
    pool = pinned.Pinned()
    first = pool.empty((100, 100), np.dtype("float32"))
    first[...] = 1
    address, part = first.ctypes.data, first[3]
    del first
    gc.collect()
    other = pool.empty((100, 100), np.dtype("float32"))
    assert other.ctypes.data != address and part.sum() == 100  # a view holds it
    del part
    gc.collect()
    assert pool.empty((90, 100), np.dtype("float32")).ctypes.data == address
    assert pool.empty((0, 4), np.dtype("float32")).shape == (0, 4)


def outputs_outlive_their_session() -> None:
    case = Case(lambda bb, x: op.add(x, x), (rand(200, 200),))
    with oarlock.Session(case.artifact("cuda")) as session:
        held = session.empty("x0", (200, 200))
        held[...] = case.inputs[0]
        kept = [session.run({"x0": held * np.float32(n)})["y0"] for n in range(3)]
    for n, array in enumerate(kept):
        np.testing.assert_array_equal(array, case.inputs[0] * np.float32(2 * n))
