"""A program that runs parallel loops one after another, for the benchmark of threads."""

from __future__ import annotations

from pathlib import Path

import tvm
from tvm import relax
from tvm.script import tirx as T

from oarlock import Artifact, pipeline
from oarlock.kernels.choice import SCHEDULE
from oarlock.runtime.signature import Signature, TensorSpec
from oarlock.targets.cpu import CpuTarget

LANES = 16


def artifact(iterations: int, threads: int, path: Path) -> Path:
    """main(loops [l], steps [s]) → l parallel loops of so many iterations, each of them s dependent multiply-adds of vectors."""

    @T.prim_func(private=True, s_tir=True)
    def run(loops_: T.handle, steps_: T.handle, y_: T.handle) -> None:
        count, work = T.int64(), T.int64()
        loops = T.match_buffer(loops_, (count,))  # noqa: F841  (their lengths count)
        steps = T.match_buffer(steps_, (work,))  # noqa: F841
        y = T.match_buffer(y_, (iterations, LANES))
        for _ in T.serial(count):
            for i in T.parallel(iterations):
                with T.sblock("sums"):
                    sums = T.sblock_alloc_buffer((LANES,), scope="local")
                    for k in T.vectorized(LANES):
                        sums[k] = T.float32(1)
                    for _ in T.serial(work):
                        for k in T.vectorized(LANES):
                            sums[k] = sums[k] * sums[k] + T.float32(0.25)
                    for k in T.vectorized(LANES):
                        y[i, k] = sums[k]

    target = CpuTarget(threads=threads)
    count, work = tvm.tirx.Var("count", "int64"), tvm.tirx.Var("work", "int64")
    params = [relax.Var("loops", relax.TensorType((count,), "float32")), relax.Var("steps", relax.TensorType((work,), "float32"))]
    bb = relax.BlockBuilder()
    with bb.function("main", params):
        # its loops stay as they are written
        gv = bb.add_func(run.with_attrs({SCHEDULE: "benchmark", "op_pattern": 8, "tirx.noalias": True}), "run")
        out = bb.emit(relax.call_tir(gv, params, relax.TensorType((iterations, LANES), "float32")))
        bb.emit_func_output(relax.Tuple([out]))
    built = pipeline.build(bb.get(), target)
    signature = Signature(
        (TensorSpec("loops", "float32", ("l",)), TensorSpec("steps", "float32", ("s",))),
        (TensorSpec("y", "float32", (iterations, LANES)),),
    )
    return Artifact(built.library, built.weights, signature, {"target": "cpu", "runtime": dict(target.runtime)}).save(path)
