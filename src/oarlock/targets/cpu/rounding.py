"""Floats rounded as Paddle rounds them: what comes next may round them to integers, where the last bit may decide.

- ``x / c`` for constants that models divide by: correctly rounded, as division is, by two multiply-adds instead of its dozen cycles.
- ``x · y + z`` between products: two roundings, where LLVM would make one instruction with one.
"""

from __future__ import annotations

from typing import Any

import tvm_ffi
from tvm import tirx

from ... import compat

# Of these, a test tries every mantissa: hardswish's, and the largest integer of 8 bits.
DIVISORS = (6.0, 127.0)
_LARGEST = 3.4028234663852886e38


def divide(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel with its divisions by DIVISORS as products by the reciprocal, set right by what is left over."""

    def quotient(node: tirx.Div) -> Any:
        divisor = node.b.value if isinstance(node.b, tirx.Broadcast) else node.b
        if str(node.ty) != "float32" or not isinstance(divisor, tirx.FloatImm) or float(divisor.value) not in DIVISORS:
            return node
        c = float(divisor.value)
        reciprocal = tirx.const(1 / c, "float32")
        x, q = (tirx.Var(name, "float32") for name in "xq")
        more = _fused(q, tirx.const(c, "float32"), -x)  # than is there; its sign so that zeros keep theirs
        # of infinity nothing is left over but NaN
        value = tirx.Select(tirx.abs(q) <= tirx.const(_LARGEST, "float32"), _fused(more, -reciprocal, q), q)
        return tirx.Let(x, node.a, tirx.Let(q, x * reciprocal, value))

    return tvm_ffi.structural_map(function, (tirx.Div, quotient))


def separate(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel whose sums of products of float32 are rounded twice, but for those that are added to what is stored in the same place."""

    def own(store: tirx.BufferStore) -> bool:
        value = store.value
        return isinstance(value, tirx.Add) and any(
            isinstance(v, compat.Load) and v.source.same_as(store.buffer) for v in (value.a, value.b)
        )

    def fenced(value: Any) -> Any:
        if not isinstance(value, tirx.Mul) or str(value.ty) != "float32":
            return value
        return tirx.call_llvm_pure_intrin("float32", "llvm.arithmetic.fence", value)

    def total(node: Any) -> Any:
        made = fenced(node.a), fenced(node.b)
        return node if made[0] is node.a and made[1] is node.b else type(node)(*made)

    def store(node: tirx.BufferStore) -> Any:
        if own(node):
            return node
        value = node.value
        for kind in (tirx.Add, tirx.Sub):
            value = tvm_ffi.structural_map(value, (kind, lambda found: total(found)))
        return tirx.BufferStore(node.buffer, value, node.indices) if not value.same_as(node.value) else node

    return tvm_ffi.structural_map(function, (tirx.BufferStore, store))


def _fused(a: Any, b: Any, c: Any) -> Any:
    return tirx.call_llvm_pure_intrin("float32", "llvm.fma", a, b, c)
