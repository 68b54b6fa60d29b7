"""One spelling for each size: FuseTIR (TVM 0.27) takes a buffer of (n − 1 + 1) and one of (n) for different ones, and fails.

    call_tir(f, (x,), R.Tensor((n + 1 - 1,)))   →   call_tir(f, (x,), R.Tensor((n,)))       the buffers of f alike

tests/rules/test_spelling.py tells when that is mended.
"""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax, sym, tirx

from ..compat import map_buffer_type


def simplify_sizes(mod: tvm.IRModule) -> tvm.IRModule:
    """Simplify the dims of every buffer and every shape."""
    analyzer = sym.Analyzer()

    def simple(dims: list) -> list:
        return [analyzer.simplify(d) for d in dims]

    def shape(expr: relax.ShapeExpr) -> relax.ShapeExpr:
        new = simple(expr.values)
        return expr if all(tvm_ffi.structural_equal(a, b) for a, b in zip(new, expr.values, strict=True)) else relax.ShapeExpr(new)

    callbacks = [(tirx.BufferType, lambda ty: map_buffer_type(ty, simple)), (relax.ShapeExpr, shape)]
    return tvm.IRModule({gv: tvm_ffi.structural_map(f, callbacks) for gv, f in mod.functions.items()}, attrs=mod.attrs)
