"""Padding: pad (constant, any rank) and pad3d (constant, reflect, replicate, circular)."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder, cast_expr
from .registry import Ints, Scalar, operator
from .serial import i64
from .tensor import Dim, PrimExpr, Tensor


def _inside(index: PrimExpr, size: PrimExpr) -> PrimExpr:
    return tirx.max(tirx.min(index, size - 1), i64(0))


_INDEX = {
    "reflect": lambda j, size: _inside(tirx.Select(j < 0, -j, tirx.Select(j >= size, 2 * (size - 1) - j, j)), size),
    "replicate": lambda j, size: _inside(j, size),
    "circular": lambda j, size: tirx.floormod(j, tirx.max(size, i64(1))),  # never a division by 0, which would trap
}


def padded(b: Builder, x: Tensor, before: list[Dim], after: list[Dim], mode: str = "constant", value: Any = 0.0) -> Tensor:
    """x with room before and after each axis, filled with a number or with what the mode takes from x."""
    if mode != "constant" and mode not in _INDEX:
        raise UnsupportedError(f"padding mode {mode!r} is not supported")
    touched = [not all(isinstance(p, int) and p == 0 for p in ends) for ends in zip(before, after, strict=True)]
    if not any(touched):
        return x
    shape = [b.simplify(d + low + high) for d, low, high in zip(x.shape, before, after, strict=True)]
    given = [value] if isinstance(value, Tensor) else []

    def element(t: Any, *args: Any) -> PrimExpr:
        index = args[len(given) :]
        at = [i - low if moved else i for i, low, moved in zip(index, before, touched, strict=True)]
        if mode != "constant":
            return t(*[_INDEX[mode](j, i64(d)) if moved else j for j, d, moved in zip(at, x.shape, touched, strict=True)])
        inside = [c for j, d, moved in zip(at, x.shape, touched, strict=True) if moved for c in (j >= 0, j < i64(d))]
        fill = cast_expr(args[0](), x.dtype) if given else tirx.const(value, x.dtype)
        return tirx.if_then_else(tirx.all(*inside), t(*at), fill)

    return b.compute(shape, element, x, *given, name="pad")


@operator
def pad(b: Builder, x: Tensor, paddings: list[int], pad_value: Scalar = 0.0) -> Tensor:
    """A number before and after each axis: paddings [before0, after0, before1, …]."""
    return padded(b, x, list(paddings[0::2]), list(paddings[1::2]), value=pad_value)


@operator
def pad3d(b: Builder, x: Tensor, paddings: Ints, mode: str = "constant", pad_value: float = 0.0, data_format: str = "NCDHW") -> Tensor:
    """The last three (NDHWC: the middle three) axes padded: paddings [left, right, top, bottom, front, back]."""
    first = 1 if data_format == "NDHWC" else 2
    before: list[Dim] = [0] * 5
    after: list[Dim] = [0] * 5
    for k in range(3):
        before[first + k], after[first + k] = paddings[4 - 2 * k], paddings[5 - 2 * k]
    return padded(b, x, before, after, mode, pad_value)
