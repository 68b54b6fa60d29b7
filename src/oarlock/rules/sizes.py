"""Kernels see each symbolic size as one variable, not as the arithmetic that a model made it by.

Before: ``softmax(x: Buffer((n, 8, (w - 5) // 8 + 1)))``.  After: ``softmax(x: Buffer((n, 8, size)))``: a kernel reads ``size`` off its
arguments' shapes when it is called.  Proofs about ``(w - 5) // 8 + 1`` cost TVM minutes in a schedule of a few loops, or fail.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx


def name_sizes(mod: tvm.IRModule) -> tvm.IRModule:
    """Apply to every kernel of ``mod``."""
    new = {gv: _name(f) for gv, f in mod.functions.items() if isinstance(f, tirx.PrimFunc)}
    if new:
        mod = mod.clone()
        mod.update(tvm.IRModule(new))
    return mod


def _name(function: tirx.PrimFunc) -> tirx.PrimFunc:
    sizes: list[Any] = []
    for param in function.params:
        if isinstance(param.ty, tirx.BufferType):
            sizes += [d for d in param.ty.shape if not isinstance(d, (tirx.IntImm, tirx.Var))]
    named: list[tuple[Any, tirx.Var]] = []
    for size in sizes:
        if not any(tvm_ffi.structural_equal(size, known) for known, _ in named):
            named.append((size, tirx.Var(f"size_{len(named)}", str(size.ty.dtype))))
    if not named:
        return function

    def replace(expr: Any) -> Any:
        return next((var for size, var in named if type(size) is type(expr) and tvm_ffi.structural_equal(size, expr)), expr)

    return tvm_ffi.structural_map(function, (tuple({type(size) for size, _ in named}), replace), order="pre")
