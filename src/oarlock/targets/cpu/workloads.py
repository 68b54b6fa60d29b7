"""What the products and convolutions of a model are called in records: operator, dtype, sizes; a symbolic size is ``?``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tvm_ffi
from tvm import ir, sym, tirx

from ... import compat
from .kernels import Window

UNKNOWN = 32  # what a symbolic size counts as when work is estimated
PIXELS = 256  # … one that is divided by strides: the height or width of a picture


def convolution(kind: str, dtype: str, x: Sequence[Any], channels: int, window: Window, groups: int) -> str:
    """``conv2d float32 1x56x56x64 o64 k3x3 s1x1 p1,1,1,1 d1x1 g1``; ``x`` in NHWC."""
    k, s, d = (f"{a}x{b}" for a, b in (window.kernel, window.strides, window.dilation))
    padding = ",".join(map(str, window.padding))
    return f"{kind} {dtype} {_dims(x)} o{channels} k{k} s{s} p{padding} d{d} g{groups}"


def product(dtype: str, rows: Any, depth: int, columns: int) -> str:
    """``product float32 3136x64 o256``"""
    return f"product {dtype} {_dims((rows, depth))} o{columns}"


def batch_product(dtype: str, a: Sequence[Any], b: Sequence[Any], transposed: bool) -> str:
    """``batch_product float32 1x6x128x64 1x6x64x128``, with ``t`` when the second operand is read transposed."""
    return f"batch_product {dtype} {_dims(a)} {_dims(b)}{' t' if transposed else ''}"


def work(*sizes: Any) -> int:
    """The product of sizes, of which symbolic ones are guessed."""
    return math.prod(map(guess, sizes))


def guess(size: Any) -> int:
    """A size as it is, or a likely one in place of a symbolic one: its symbols are replaced by UNKNOWN or PIXELS."""
    if isinstance(size, int):
        return size
    likely: dict[ir.Var, int] = {}
    tvm_ffi.structural_walk(size, (ir.Var, lambda var: likely.setdefault(var, UNKNOWN)))

    def divided(node: tirx.FloorDiv) -> None:
        tvm_ffi.structural_walk(node.a, (ir.Var, lambda var: likely.update({var: PIXELS})))

    tvm_ffi.structural_walk(size, (tirx.FloorDiv, divided))
    number = sym.Analyzer().simplify(compat.substitute(size, {var: tirx.const(n, var.ty.dtype) for var, n in likely.items()}))
    return max(1, int(number)) if isinstance(number, tirx.IntImm) else UNKNOWN


def _dims(dims: Sequence[Any]) -> str:
    return "x".join(str(d) if isinstance(d, int) else "?" for d in dims)
