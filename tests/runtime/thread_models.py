"""Programs with parallel loops, compiled as models are: their libraries have Oarlock's pool of threads."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.script import tirx as T

from oarlock import pipeline
from oarlock.kernels.choice import SCHEDULE
from oarlock.runtime.artifact import Artifact
from oarlock.runtime.signature import Signature, TensorSpec
from oarlock.targets.cpu import CpuTarget

COLUMNS = 64
BAD = 1e6  # a row that begins with this makes the kernel fail


@T.prim_func(private=True, s_tir=True)
def _waves(x_: T.handle, y_: T.handle) -> None:
    """y = 2 x by a loop over rows, then y = y² + x by another over pairs of rows and columns."""
    n = T.int64()
    x = T.match_buffer(x_, (n, COLUMNS))
    y = T.match_buffer(y_, (n, COLUMNS))
    for i in T.parallel(n):
        for j in range(COLUMNS):
            y[i, j] = x[i, j] * T.float32(2)
    for ij in T.parallel(n * COLUMNS):
        y[ij // COLUMNS, ij % COLUMNS] = y[ij // COLUMNS, ij % COLUMNS] * y[ij // COLUMNS, ij % COLUMNS] + x[ij // COLUMNS, ij % COLUMNS]


@T.prim_func(private=True, s_tir=True)
def _checked(x_: T.handle, y_: T.handle) -> None:
    """y = −x; the first loop's iterations fail for rows that begin with BAD."""
    n = T.int64()
    x = T.match_buffer(x_, (n, COLUMNS))
    y = T.match_buffer(y_, (n, COLUMNS))
    for i in T.parallel(n):
        assert x[i, 0] != T.float32(BAD), "a row is bad"
        for j in range(COLUMNS):
            y[i, j] = T.float32(0) - x[i, j]


@T.prim_func(private=True, s_tir=True)
def _serial(x_: T.handle, y_: T.handle) -> None:
    """y = −x"""
    n = T.int64()
    x = T.match_buffer(x_, (n, COLUMNS))
    y = T.match_buffer(y_, (n, COLUMNS))
    for i, j in T.grid(n, COLUMNS):
        y[i, j] = T.float32(0) - x[i, j]


def artifact(kernel: tvm.tirx.PrimFunc, threads: int = 2, executor: str = "aot") -> Artifact:
    """main(x [n, COLUMNS]) → y by the kernel, its loops as they are written."""
    target = CpuTarget(threads=threads, executor=executor)
    shape = (tvm.tirx.Var("n", "int64"), COLUMNS)
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        gv = bb.add_func(kernel.with_attrs({SCHEDULE: "test", "op_pattern": 8}), "kernel")
        out = bb.emit(relax.call_tir(gv, [x], relax.TensorType(shape, "float32")))
        bb.emit_func_output(relax.Tuple([out]))
    built = pipeline.build(bb.get(), target)
    signature = Signature((TensorSpec("x", "float32", ("n", COLUMNS)),), (TensorSpec("y", "float32", ("n", COLUMNS)),))
    return Artifact(built.library, built.weights, signature, {"target": "cpu", "runtime": dict(target.runtime)})


def waves(threads: int = 2, executor: str = "aot") -> Artifact:
    return artifact(_waves, threads, executor)


def checked() -> Artifact:
    return artifact(_checked)


def serial() -> Artifact:
    return artifact(_serial)


def rows(n: int) -> np.ndarray:
    return np.random.default_rng(n).standard_normal((n, COLUMNS)).astype("float32")


def expected(x: np.ndarray) -> np.ndarray:
    y = x * np.float32(2)
    return y * y + x
