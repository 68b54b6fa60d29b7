"""Build a Relax module for the CPU and run it with numpy arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_dtypes  # noqa: F401  (registers bfloat16 with numpy)
import numpy as np
import tvm
from tvm import relax

from oarlock import pipeline, targets

Make = Callable[..., relax.Expr | Sequence[relax.Expr]]


def var(name: str, shape: Sequence, dtype: str = "float32") -> relax.Var:
    """A tensor variable; strings in ``shape`` are symbolic dims (equal names are one dim within a call of ``module``)."""
    return relax.Var(name, relax.TensorType(tuple(shape), dtype))


def module(inputs: Sequence[relax.Var], make: Make) -> tvm.IRModule:
    """``main(inputs…)`` returning the tuple of what ``make(block builder, *inputs)`` gives."""
    bb = relax.BlockBuilder()
    with bb.function("main", list(inputs)):
        out = make(bb, *inputs)
        outs = [bb.emit(o) for o in (out if isinstance(out, (list, tuple)) else [out])]
        bb.emit_func_output(relax.Tuple(outs))
    return bb.get()


class Program:
    """A built module, ready to be called with arrays."""

    def __init__(self, mod: tvm.IRModule, target: targets.Target) -> None:
        self.built = pipeline.build(mod, target)
        with tempfile.TemporaryDirectory() as d:
            path = Path(d) / "library.so"
            path.write_bytes(self.built.library)
            self.vm = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
        self.weights = [tvm.runtime.tensor(w) for w in self.built.weights]

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        out = self.vm["main"](*[tvm.runtime.tensor(np.asarray(a, order="C")) for a in arrays], *self.weights)
        return [t.numpy() for t in out]


def run(inputs: Sequence[relax.Var], make: Make, arrays: Sequence[np.ndarray], *, threads: int = 2, **options: object) -> list[np.ndarray]:
    """Build and run once."""
    return Program(module(inputs, make), targets.get("cpu", threads=threads, **options))(*arrays)
