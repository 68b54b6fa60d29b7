"""Loops over local memory as the dialect's vectors of sixteen floats.

Before: ``for (i…) out[i] = a[i] * s + b[i];``.  After, for whole vectors, with the loop behind them for the rest:
``vstore_lm_float32x16(out + i, vvadd_float32x16(vvmul_float32x16(vload_lm_float32x16(a + i), vset_float32x16(s)), …))``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx

from oarlock import compat

from .. import compat_xpu

WIDTH = 16
_FUNCTIONS = {"Add": "vvadd", "Sub": "vvsub", "Mul": "vvmul", "Max": "vvmax", "Min": "vvmin"}


def vectors_of(loop: tirx.For, expr: Callable[[Any], str], name: Callable[[Any], str]) -> str | None:
    """The statement that does sixteen turns from the loop's variable on; None where the dialect has no vectors for it.

    ``expr`` and ``name`` print an expression and a buffer.
    """
    store, i = loop.body, loop.loop_var
    if not isinstance(store, tirx.BufferStore) or loop.kind != tirx.ForKind.SERIAL or compat.static(loop.min) != 0:
        return None

    def pointer(buffer: Any, indices: Any) -> str | None:
        """Where sixteen neighbours lie in local memory."""
        if compat_xpu.scope_of(buffer) != "local" or str(buffer.ty.dtype) != "float32" or len(indices) != 1:
            return None
        found = compat_xpu.linear(indices[0], [i])
        return f"{name(buffer)} + {expr(indices[0])}" if found is not None and compat.static(found[0]) == 1 else None

    def vector(e: Any) -> str | None:
        if compat_xpu.dtype_of(e) != "float32":
            return None
        if i not in compat.variables(e):
            return f"vset_float32x16({expr(e)})"
        if isinstance(e, tvm.ir.TensorLoad):
            if e.source.same_as(store.buffer) and not tvm_ffi.structural_equal(e.indices[0], store.indices[0]):
                return None  # a turn reads what another one writes
            at = pointer(e.source, e.indices)
            return at and f"vload_lm_float32x16({at})"
        function = _FUNCTIONS.get(compat_xpu.class_name(e))
        sides = [vector(e.a), vector(e.b)] if function else [None]
        return None if None in sides else f"{function}_float32x16({sides[0]}, {sides[1]})"

    to, value = pointer(store.buffer, store.indices), vector(store.value)
    return f"vstore_lm_float32x16({to}, {value});" if to and value else None
