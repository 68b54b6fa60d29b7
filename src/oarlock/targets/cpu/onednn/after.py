"""What follows a product or a convolution, as operations that oneDNN runs on its result before it stores it.

One expression says what an element of the kernel's result is; it is taken apart from the outside: ``max(sum[i, j] + bias[0, j], 0)`` is
``bias``, then ``eltwise relu``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import tvm_ffi
from tvm import ir, tirx

from .... import compat
from . import DTYPE

MOST, EXTRAS = 8, 4  # operations and further operands of a call (AFTER, EXTRAS in binding.c)
Expr = Any


@dataclass(frozen=True)
class After:
    """``words``: as binding.c reads them; ``operands``: the tensors that they take, in their order."""

    words: list[str] = field(default_factory=list)
    operands: list[tirx.Buffer] = field(default_factory=list)

    def then(self, words: str, *operands: tirx.Buffer) -> After:
        return After([*self.words, words], [*self.operands, *operands])


def recognise(value: Expr, sums: tirx.Buffer, indices: Sequence[Expr]) -> After | None:
    """The operations that make ``value`` of ``sums[indices]``; None when oneDNN does not have them."""
    after = _Reader(sums, list(indices)).read(value)
    if after is None or len(after.words) > MOST or len(after.operands) > EXTRAS:
        return None
    return after


class _Reader:
    def __init__(self, sums: tirx.Buffer, indices: list[Expr]) -> None:
        self.sums, self.indices = sums, indices

    def read(self, e: Expr) -> After | None:
        """What leads from the sum to ``e``."""
        if self._is_sum(e):
            return After()
        if str(getattr(e, "ty", "")) != DTYPE:
            return None
        if isinstance(e, tirx.Max):
            return self._relu(e)
        if isinstance(e, tirx.Add):
            return self._either(e.a, e.b, lambda inner, other: self._with(inner, other, "add"))
        if isinstance(e, tirx.Sub) and (number := _number(e.b)) is not None:
            return self._linear(self.read(e.a), 1.0, -number)
        if isinstance(e, tirx.Mul):
            return self._product(e)
        if getattr(getattr(e, "op", None), "name", "") == "tirx.sigmoid":
            return _eltwise(self.read(e.args[0]), "logistic")
        return None

    def _is_sum(self, e: Expr) -> bool:
        return isinstance(e, ir.TensorLoad) and e.source.same_as(self.sums) and self._place(e) == "full"

    def _uses_sum(self, e: Expr) -> bool:
        found: list[Any] = []
        tvm_ffi.structural_walk(e, (ir.TensorLoad, lambda load: found.append(load) if load.source.same_as(self.sums) else None))
        return bool(found)

    def _place(self, load: Expr) -> str:
        """Which element of an operand is read: that in the result's own place ("full"), that of its channel ("channel"), or else ""."""
        own, shape = [compat.static(d) for d in load.source.ty.shape], [compat.static(d) for d in self.sums.ty.shape]
        if len(own) != len(shape) or str(load.source.ty.dtype) != DTYPE:
            return ""
        for size, at, index in zip(own, load.indices, self.indices, strict=True):
            if not at.same_as(index) and not (size == 1 and _is_zero(at)):
                return ""
        if own == shape:
            return "full"
        return "channel" if own[:-1] == [1] * (len(own) - 1) and own[-1] == shape[-1] else ""

    def _either(self, a: Expr, b: Expr, make: Any) -> After | None:
        """``make(inner, other)`` where ``inner`` is the operand that the sum leads to."""
        for inner, other in ((a, b), (b, a)):
            if self._uses_sum(inner) and not self._uses_sum(other):
                return make(self.read(inner), other)
        return None

    def _with(self, before: After | None, other: Expr, word: str) -> After | None:
        if before is None:
            return None
        if (number := _number(other)) is not None:
            return self._linear(before, 1.0, number) if word == "add" else self._linear(before, number, 0.0)
        place = self._place(other) if isinstance(other, ir.TensorLoad) else ""
        if not place:
            return None
        if word == "add" and place == "channel" and not before.words:
            return before.then("bias", other.source)
        return before.then(f"binary {word} {place}", other.source)

    def _linear(self, before: After | None, factor: float, addend: float) -> After | None:
        return before if (factor, addend) == (1.0, 0.0) else _eltwise(before, "linear", factor, addend)

    def _relu(self, e: Expr) -> After | None:
        """No other limits: oneDNN's clip makes a number of NaN, which stays NaN in our kernels."""
        found = _limits(e)
        return _eltwise(self.read(found[0]), "relu") if found and found[1:] == (0.0, math.inf) else None

    def _product(self, e: Expr) -> After | None:
        scale, factors = 1.0, []
        for factor in _factors(e):
            number = _number(factor)
            if number is None:
                factors.append(factor)
            else:
                scale *= number
        using = [f for f in factors if self._uses_sum(f)]
        if len(using) == 2:
            gated = self._gated(using[0], using[1], scale) or self._gated(using[1], using[0], scale)
            others = [f for f in factors if not self._uses_sum(f)]
        elif len(using) == 1:
            gated, others = self._linear(self.read(using[0]), scale, 0.0), [f for f in factors if not f.same_as(using[0])]
        else:
            return None
        for other in others:
            gated = self._with(gated, other, "mul")
        return gated

    def _gated(self, x: Expr, gate: Expr, scale: float) -> After | None:
        """scale · x · gate(x): hardswish and swish."""
        if getattr(getattr(gate, "op", None), "name", "") == "tirx.sigmoid" and tvm_ffi.structural_equal(gate.args[0], x):
            return self._linear(_eltwise(self.read(x), "swish", 1.0), scale, 0.0)
        found = _limits(gate)
        if found is None or found[1] != 0.0 or not 0.0 < found[2] < math.inf:
            return None
        inner, _, top = found
        line = _line(inner, x)
        if line is None:
            return None
        scaled = _eltwise(self.read(x), "hardswish", line[0] / top, line[1] / top)
        return scaled if abs(scale * top - 1.0) < 1e-6 else self._linear(scaled, scale * top, 0.0)


def _eltwise(before: After | None, name: str, alpha: float = 0.0, beta: float = 0.0) -> After | None:
    return before.then(f"eltwise {name} {_bits(alpha)} {_bits(beta)}") if before is not None else None


def _bits(value: float) -> int:
    """A float32 as its bits: text would depend on the language that the program runs in."""
    return struct.unpack("<I", struct.pack("<f", value))[0]


def _number(e: Expr) -> float | None:
    return float(e.value) if isinstance(e, tirx.FloatImm) else None


def _is_zero(e: Expr) -> bool:
    return isinstance(e, tirx.IntImm) and int(e.value) == 0


def _limits(e: Expr) -> tuple[Expr, float, float] | None:
    """(x, low, high) of min(max(x, low), high), or of one of the two alone."""
    low, high = -math.inf, math.inf
    for kind in (tirx.Min, tirx.Max):  # min outside: where low > high, high is the result
        if isinstance(e, kind):
            a, b = _number(e.a), _number(e.b)
            if (a is None) == (b is None):
                return None
            limit = a if b is None else b
            assert limit is not None
            low, high = (low, limit) if kind is tirx.Min else (limit, high)
            e = e.b if b is None else e.a
    return (e, low, high) if low <= high and (low, high) != (-math.inf, math.inf) else None


def _factors(e: Expr) -> list[Expr]:
    return [*_factors(e.a), *_factors(e.b)] if isinstance(e, tirx.Mul) else [e]


def _line(e: Expr, x: Expr) -> tuple[float, float] | None:
    """(a, b) of a · x + b."""
    if tvm_ffi.structural_equal(e, x):
        return 1.0, 0.0
    if isinstance(e, tirx.Add | tirx.Mul):
        for inner, other in ((e.a, e.b), (e.b, e.a)):
            number = _number(other)
            if number is not None and (line := _line(inner, x)) is not None:
                return (line[0], line[1] + number) if isinstance(e, tirx.Add) else (line[0] * number, line[1] * number)
    return None
