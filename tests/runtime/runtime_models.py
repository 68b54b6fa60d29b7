"""Small compiled models, made with TVM alone: the runtime's contract, whatever the pipeline does."""

from __future__ import annotations

import platform
from pathlib import Path

import ml_dtypes
import numpy as np
import tvm
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from oarlock.runtime.artifact import Artifact
from oarlock.runtime.signature import Signature

X86 = platform.machine() == "x86_64"


def build(module: tvm.IRModule, folder: Path, weights: list[np.ndarray], signature: Signature) -> Artifact:
    """``module`` built by TVM's own default pipeline."""
    executable = tvm.compile(module, target=tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3"} if X86 else "llvm"))
    executable.export_library(str(folder / "library.so"))
    manifest = {"target": "cpu", "runtime": {"device": "cpu", "machine": platform.machine(), "threads": 2}}
    return Artifact((folder / "library.so").read_bytes(), weights, signature, manifest)


@I.ir_module
class Dense:
    @T.prim_func(private=True, s_tir=True)
    def product(px: T.handle, w: T.Buffer((16, 300), "float32"), py: T.handle):
        n = T.int64()
        x = T.match_buffer(px, (n, 16))
        y = T.match_buffer(py, (n, 300))
        for i in T.parallel(n):
            for j in range(300):
                y[i, j] = T.float32(0)
                for k in range(16):
                    y[i, j] = y[i, j] + x[i, k] * w[k, j]

    @R.function
    def main(x: R.Tensor(("n", 16), "float32"), w: R.Tensor((16, 300), "float32")):
        n = T.int64()
        y = R.call_tir(Dense.product, (x, w), out_ty=R.Tensor((n, 300), "float32"))
        return (y, x, w)


WEIGHT = np.random.default_rng(0).standard_normal((16, 300)).astype("float32")


def mixed_inputs(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {
        "f": rng.standard_normal((n, 4)).astype("float32"),
        "g": rng.standard_normal(n).astype("float32"),
        "i": np.array(41),
        "b": rng.random(n) < 0.5,
        "h": np.array([1.5, -2.0], ml_dtypes.bfloat16),
        "e": rng.standard_normal(2 * n).astype("float32"),
    }
