"""Resizing: nearest, linear, bilinear, trilinear and bicubic interpolation, with Paddle's own coordinates."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from tvm import te, tirx

from .. import compat
from ..errors import UnsupportedError
from ..model.program import Op
from .builder import Builder, floordiv
from .registry import operator
from .spatial import channels_last, contents
from .tensor import Dim, PrimExpr, Tensor

_FLOAT = "float32"  # coordinates are float32 in Paddle whatever the data is


@dataclass(frozen=True)
class Axis:
    """One resized axis: ``size`` → ``out``; ``step`` is the input's distance between two outputs, as a number or an expression.

    ``source(i)`` is the place in the input that output i comes from.
    """

    size: Dim
    out: Dim
    step: Any
    half: bool  # centres of pixels correspond (align_mode 0), not their corners

    def source(self, index: PrimExpr) -> PrimExpr:
        i = index.astype(_FLOAT)
        if self.half:
            return _float(self.step) * (i + _float(0.5)) - _float(0.5)
        if isinstance(self.step, tirx.Cast):  # of whole numbers the product is exact: TVM's analysis of bounds trips over that of two casts
            return tirx.Cast(_FLOAT, self.step.value * index)
        return _float(self.step) * i


def _float(value: Any) -> PrimExpr:
    return value if isinstance(value, PrimExpr) else tirx.const(float(value), _FLOAT)


def _step(size: Dim, out: Dim, align_corners: bool, scale: float, planar: bool) -> Any:
    """The input's distance between two outputs, in float32; Paddle's planar kernels (two axes) take 0 for a single output."""
    step = distance(size, out, align_corners, scale)
    if not planar or (isinstance(out, int) and out > 1):
        return step
    return np.float32(0) if isinstance(out, int) else tirx.Select(_expr(out) > 1, _float(step), _float(0.0))


def distance(size: Dim, out: Dim, align_corners: bool, scale: float) -> Any:
    """The input's distance between two outputs, in float32: a number or an expression."""
    if align_corners:
        if isinstance(size, int) and isinstance(out, int):
            return np.float32(size - 1) / np.float32(out - 1) if out > 1 else np.float32(0)
        if isinstance(out, int):
            return _as_float(size - 1) / _as_float(out - 1) if out > 1 else np.float32(0)
        count = tirx.Cast(_FLOAT, tirx.max(out - 1, tirx.const(1, "int64")))
        return tirx.Select(out > 1, _as_float(size - 1) / count, _float(0.0))
    if scale:
        return np.float32(1.0 / np.float32(scale))
    if isinstance(size, int) and isinstance(out, int):
        return np.float32(size) / np.float32(max(out, 1))
    return _as_float(size) / _as_float(out)


def _as_float(d: Dim) -> PrimExpr:
    """A number as one of float32: TVM's simplifier trips over the cast of an integer that it knows."""
    return tirx.Cast(_FLOAT, d) if isinstance(d, PrimExpr) else _float(d)


def _expr(d: Dim) -> PrimExpr:
    return d if isinstance(d, PrimExpr) else tirx.IntImm("int64", d)


def _scaled(size: Dim, scale: float) -> Dim:
    """⌊size · scale⌋ as Paddle computes it, in float32."""
    if isinstance(size, int):
        return int(np.float32(size) * np.float32(scale))
    exact = Fraction(float(np.float32(scale)))
    if exact.denominator <= 1024 and exact.numerator <= 65536:  # float32 is exact then, for every sensible size
        return floordiv(size * exact.numerator, exact.denominator)
    return tirx.Cast("int64", tirx.Cast(_FLOAT, size) * tirx.const(float(np.float32(scale)), _FLOAT))


def _settled(b: Builder, size: Dim) -> Dim:
    """A size that floats decide as a variable that the run gives a value: TVM's kernels do not find it where elements depend on it."""
    if not isinstance(size, tirx.Cast):
        return size
    return b.dims(b.compute([1], lambda _: size, name="resized"))[0]


def _linear_taps(axis: Axis, index: PrimExpr) -> list[tuple[PrimExpr, PrimExpr]]:
    source = axis.source(index)
    source = tirx.max(source, _float(0.0)) if axis.half else source
    low = tirx.min(source.astype("int64"), _expr(axis.size) - 1)
    high = tirx.min(low + 1, _expr(axis.size) - 1)
    share = source - low.astype(_FLOAT)
    return [(low, _float(1.0) - share), (high, share)]


def _cubic_taps(axis: Axis, index: PrimExpr) -> list[tuple[PrimExpr, PrimExpr]]:
    a, one = _float(-0.75), _float(1.0)
    source = axis.source(index)
    floor = tirx.floor(source)
    t = source - floor

    def near(x: PrimExpr) -> PrimExpr:  # |x| ≤ 1
        return ((a + _float(2.0)) * x - (a + _float(3.0))) * x * x + one

    def far(x: PrimExpr) -> PrimExpr:  # 1 < |x| < 2
        return ((a * x - _float(5.0) * a) * x + _float(8.0) * a) * x - _float(4.0) * a

    weights = [far(t + one), near(t), near(one - t), far(_float(2.0) - t)]
    first = floor.astype("int64") - 1
    places = [tirx.max(tirx.min(first + k, _expr(axis.size) - 1), tirx.const(0, "int64")) for k in range(4)]
    return list(zip(places, weights, strict=True))


def resample(
    b: Builder,
    x: Tensor,
    axes: list[Axis],
    first: int,
    taps: Callable[[Axis, PrimExpr], list[tuple[PrimExpr, PrimExpr]]],
    *extra: Tensor,
    attrs: dict[str, Any] | None = None,
) -> Tensor:
    """A weighted sum of the taps along each of the axes from ``first`` on; ``attrs``: of the kernel."""
    shape = [*x.shape[:first], *[a.out for a in axes], *x.shape[first + len(axes) :]]
    wide = "float64" if x.dtype == "float64" else _FLOAT

    def element(t: te.Tensor, *rest: Any) -> PrimExpr:
        index = rest[len(extra) :]
        total: PrimExpr | None = None
        choices = [taps(axis, index[first + k]) for k, axis in enumerate(axes)]
        for chosen in itertools.product(*choices):
            value = t(*index[:first], *[place for place, _ in chosen], *index[first + len(axes) :]).astype(wide)
            for _, weight in chosen:
                value = value * weight.astype(wide)
            total = value if total is None else total + value
        assert total is not None
        return total.astype(x.dtype)

    return b.compute(shape, element, x, *extra, name="resize", attrs=attrs)


def nearest(b: Builder, x: Tensor, axes: list[Axis], first: int, align_corners: bool, attrs: dict[str, Any] | None = None) -> Tensor:
    """The input's element at every output place; which ones is computed now where the sizes are known.  ``attrs``: of the kernel."""
    shape = [*x.shape[:first], *[a.out for a in axes], *x.shape[first + len(axes) :]]
    tables: list[Tensor] = []
    pick: list[Callable[[Sequence[te.Tensor], PrimExpr], PrimExpr]] = []
    for axis in axes:
        places = _nearest_table(axis, align_corners)
        factor = len(places) // axis.size if places is not None and isinstance(axis.size, int) and axis.size else 0
        if places is None:
            pick.append(_nearest_expression(axis, align_corners))
        elif factor and np.array_equal(places, np.arange(len(places)) // factor):
            pick.append(lambda _, i, factor=factor: tirx.floordiv(i, factor))  # type: ignore[misc]
        else:
            at = len(tables)
            pick.append(lambda held, i, at=at: held[at](i))  # type: ignore[misc]
            tables.append(b.const(places, "int64"))

    def element(t: te.Tensor, *rest: Any) -> PrimExpr:
        held, index = rest[: len(tables)], rest[len(tables) :]
        own = [choose(held, index[first + k]) for k, choose in enumerate(pick)]
        return t(*index[:first], *own, *index[first + len(axes) :])

    return b.compute(shape, element, x, *tables, name="resize_nearest", attrs=attrs)


def _nearest_table(axis: Axis, align_corners: bool) -> np.ndarray | None:
    if not isinstance(axis.size, int) or not isinstance(axis.out, int) or isinstance(axis.step, PrimExpr):
        return None
    at = np.float32(axis.step) * np.arange(axis.out, dtype="float32")
    at = at + np.float32(0.5) if align_corners else at
    return np.minimum(at.astype("int64"), axis.size - 1)


def _nearest_expression(axis: Axis, align_corners: bool) -> Callable[[Sequence[te.Tensor], PrimExpr], PrimExpr]:
    def place(_: Sequence[te.Tensor], index: PrimExpr) -> PrimExpr:
        at = _float(axis.step) * index.astype(_FLOAT)
        at = at + _float(0.5) if align_corners else at
        return tirx.min(at.astype("int64"), _expr(axis.size) - 1)

    return place


def _sizes_of(
    b: Builder,
    sizes: list[Dim],
    out_size: Tensor | None,
    size_tensor: list[Tensor] | None,
    scale_tensor: Tensor | None,
    scale: list,
    given: list[int],
) -> tuple[list[Dim], list[float]]:
    """(output sizes, scales that define the distances: 0 where there is none), in Paddle's order of precedence."""
    none = [0.0] * len(sizes)
    if size_tensor:
        return b.dims(size_tensor), none
    scales = [float(s) for s in scale or ()]
    out: list[Dim] = list(given)
    if scale_tensor is not None:
        values = contents(scale_tensor)
        if values is None:
            raise UnsupportedError("resizing by a scale that is only known at run time", todo="give the output's size instead")
        scales = [float(v) for v in values.reshape(-1)]
    scales = scales * len(sizes) if len(scales) == 1 else scales
    if scales and all(s > 0 for s in scales):
        out = [b.simplify(_scaled(d, s)) for d, s in zip(sizes, scales, strict=True)]
    else:
        scales = none
    if out_size is not None:
        out = b.dims(out_size)
    return out, scales


@dataclass(frozen=True)
class Resizing:
    """What every kind of resizing does with its sizes: the first spatial axis, and for each its size, the output's, and the scale."""

    first: int
    sizes: list[Dim]
    outs: list[Dim]
    scales: list[float]


def resizing(
    b: Builder,
    name: str,
    x: Tensor,
    out_size: Tensor | None,
    size_tensor: list[Tensor] | None,
    scale_tensor: Tensor | None,
    data_format: str,
    scale: Any,
    given: list[int],
) -> Resizing:
    """The sizes that the operator ``name`` is told in one of Paddle's ways; ``given`` are those of its attributes."""
    rank = len(given)
    first = 1 if channels_last(data_format) else 2
    sizes = x.shape[first : first + rank]
    outs, scales = _sizes_of(b, sizes, out_size, size_tensor, scale_tensor, [scale] if isinstance(scale, int | float) else scale, given)
    if len(outs) != rank or any(isinstance(o, int) and o <= 0 for o in outs):
        raise UnsupportedError(f"{name} to the size {outs}")
    return Resizing(first, sizes, outs, scales)


@operator("nearest_interp", "linear_interp", "bilinear_interp", "trilinear_interp", "bicubic_interp")
def interp(
    b: Builder,
    op: Op,
    x: Tensor,
    out_size: Tensor | None = None,
    size_tensor: list[Tensor] | None = None,
    scale_tensor: Tensor | None = None,
    data_format: str = "NCHW",
    out_d: int = 0,
    out_h: int = 0,
    out_w: int = 0,
    scale: list = [],  # noqa: B006 - never changed
    interp_method: str = "bilinear",
    align_corners: bool = True,
    align_mode: int = 1,
) -> Tensor:
    """Resize the spatial axes to sizes, or by scales; align_mode 0 lets pixel centres correspond, 1 their corners."""
    rank = x.ndim - 2
    given = {1: [out_w], 2: [out_h, out_w], 3: [out_d, out_h, out_w]}[rank]
    r = resizing(b, op.short_name, x, out_size, size_tensor, scale_tensor, data_format, scale, given)
    kind = op.short_name.split("_")[0]
    half = not align_corners and (kind == "bicubic" or align_mode == 0)
    outs = [_settled(b, o) if align_corners else o for o in r.outs]
    axes = [Axis(d, o, _step(d, o, align_corners, s, rank == 2), half) for d, o, s in zip(r.sizes, outs, r.scales, strict=True)]
    told = {"method": kind, "first": r.first, "corners": align_corners, "half": half, "scales": r.scales}
    attrs = {compat.RESIZE: json.dumps(told)}
    if kind == "nearest":
        return nearest(b, x, axes, r.first, align_corners, attrs)
    return resample(b, x, axes, r.first, _cubic_taps if kind == "bicubic" else _linear_taps, attrs=attrs)
