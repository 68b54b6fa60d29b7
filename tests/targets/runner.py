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
from oarlock.runtime.machine import allow_tile_registers

Make = Callable[..., relax.Expr | Sequence[relax.Expr]]


def dim(name: str) -> tvm.tirx.Var:
    """A symbolic dim."""
    return tvm.tirx.Var(name, "int64")


def var(name: str, shape: Sequence, dtype: str = "float32") -> relax.Var:
    """A tensor parameter; dims are numbers or what ``dim`` made."""
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

    def __init__(self, mod: tvm.IRModule, **options: object) -> None:
        allow_tile_registers()
        choices = options.pop("choices", None)
        self.built = pipeline.build(mod, targets.get("cpu", **{"threads": 2, **options}), choices=choices)
        with tempfile.TemporaryDirectory() as d:
            path = Path(d) / "library.so"
            path.write_bytes(self.built.library)
            self.vm = relax.VirtualMachine(tvm.runtime.load_module(str(path)), tvm.cpu())
        self.weights = [tvm.runtime.tensor(w) for w in self.built.weights]

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        out = self.vm["main"](*[tvm.runtime.tensor(np.asarray(a, order="C")) for a in arrays], *self.weights)
        return [t.numpy() for t in out]


def build(inputs: Sequence[relax.Var], make: Make, **options: object) -> Program:
    """The built program of ``make`` (see ``module``)."""
    return Program(module(inputs, make), **options)
