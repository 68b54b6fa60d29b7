"""Kernels see each symbolic size as one variable, not as the arithmetic that a model made it by.

Before: ``conv2d(x: Buffer((n, (w - 1) // 4 + 1, 8)), …)`` with a loop over ``(w - 1) // 32 + 1`` tiles of 8 places.  After:
``conv2d(x: Buffer((n, size, 8)), …)`` with a loop over ``(size + 7) // 8``: a kernel reads ``size`` off its arguments' shapes when it
is called.  Proofs about ``(w - 1) // 4 + 1`` cost TVM minutes in a schedule of a few loops, or fail; where they fail, a kernel asks
in its innermost loops what is always so.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import sym, tirx

from ..compat import variables

_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max)


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
    return tvm_ffi.structural_map(function, (_ARITHMETIC, _Speller(function, named).spell), order="pre")


class _Speller:
    """Says what is computed from the symbols of a kernel's shapes by the names of its sizes.

    A size, the number of tiles that cover it or fit into it, and what differs by a constant (the last index, a padded size).
    """

    def __init__(self, function: tirx.PrimFunc, named: list[tuple[Any, tirx.Var]]) -> None:
        self.named = named
        self.analyzer = sym.Analyzer()
        self.symbols = {v for size, _ in named for v in variables(size)}
        tiles: set[int] = set()

        def divided(node: tirx.FloorDiv) -> None:
            if isinstance(node.b, tirx.IntImm) and int(node.b) > 1:
                tiles.add(int(node.b))

        tvm_ffi.structural_walk(function.body, (tirx.FloorDiv, divided))
        self.counts: list[tuple[Any, Any]] = []  # (as it is written now, as it is to be written)
        for size, var in named:
            for tile in sorted(tiles):
                for more in (tile - 1, 0):
                    self.counts.append((self.analyzer.simplify((size + more) // tile), (var + more) // tile if more else var // tile))

    def spell(self, expr: Any) -> Any:
        used = variables(expr)
        if not used or not used <= self.symbols:
            return expr
        for size, var in self.named:
            if tvm_ffi.structural_equal(size, expr):
                return var
        for known, name in [*self.named, *self.counts]:
            if str(known.ty.dtype) != str(expr.ty.dtype):
                continue
            apart = self.analyzer.simplify(expr - known)
            if isinstance(apart, tirx.IntImm):
                more = int(apart)
                return name + more if more > 0 else name - (-more) if more else name
        return expr
