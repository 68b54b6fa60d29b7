"""Resizing with anti-aliasing: a filter as wide as what one output stands for, along one axis after the other."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder
from .interp import distance, resizing
from .registry import operator
from .serial import both, cell, i64, kernel, loop, parallel
from .shape import product
from .tensor import Dim, PrimExpr, Tensor

_FLOAT = "float32"  # places and weights are float32 in Paddle whatever the data is


def _f(value: Any) -> PrimExpr:
    return value if isinstance(value, PrimExpr) else tirx.const(float(value), _FLOAT)


def _triangle(x: PrimExpr) -> PrimExpr:
    return tirx.max(_f(1.0) - tirx.abs(x), _f(0.0))


def _cubic(x: PrimExpr) -> PrimExpr:
    """Keys' cubic with a = −½."""
    y = tirx.abs(x)
    near = (_f(1.5) * y - _f(2.5)) * y * y + _f(1.0)
    far = (((y - _f(5.0)) * y + _f(8.0)) * y - _f(4.0)) * _f(-0.5)
    return tirx.Select(y < _f(1.0), near, tirx.Select(y < _f(2.0), far, _f(0.0)))


def _along(b: Builder, x: Tensor, axis: int, out: Dim, step: PrimExpr, bicubic: bool, whole: bool) -> Tensor:
    """x resized along one axis; ``step`` is the input's distance between two outputs; ``whole``: to bytes."""
    before, size, behind = product(b, x.shape[:axis]), x.shape[axis], product(b, x.shape[axis + 1 :])
    wide = "float64" if x.dtype == "float64" else _FLOAT
    reach = 2.0 if bicubic else 1.0
    weigh = _cubic if bicubic else _triangle

    def body(t: Any, ratio: Any, result: Any) -> None:
        with parallel(out) as i:
            scale, support, narrow = cell(_FLOAT, ratio[0]), cell(_FLOAT, reach), cell(_FLOAT, 1.0)
            support.v = _f(reach) * tirx.max(scale.v, _f(1.0))
            narrow.v = _f(1.0) / tirx.max(scale.v, _f(1.0))
            centre, first, last, total = cell(_FLOAT, 0.0), cell("int64", 0), cell("int64", 0), cell(_FLOAT, 0.0)
            centre.v = scale.v * (tirx.Cast(_FLOAT, i) + _f(0.5))
            first.v = tirx.max(i64(tirx.trunc(centre.v - support.v + _f(0.5))), i64(0))
            last.v = tirx.min(i64(tirx.trunc(centre.v + support.v + _f(0.5))), i64(size))
            with loop(before) as n, loop(behind) as k:
                result[n, i, k] = tirx.const(0, wide)
            with loop(last.v, first.v) as j:
                total.v = total.v + weigh((tirx.Cast(_FLOAT, j) - centre.v + _f(0.5)) * narrow.v)
            with loop(last.v, first.v) as j:
                weight = cell(_FLOAT, 0.0)
                weight.v = weigh((tirx.Cast(_FLOAT, j) - centre.v + _f(0.5)) * narrow.v) / total.v
                with loop(before) as n, loop(behind) as k:
                    result[n, i, k] = result[n, i, k] + tirx.Cast(wide, t[n, j, k]) * tirx.Cast(wide, weight.v)
            if whole:
                with loop(before) as n, loop(behind) as k:
                    result[n, i, k] = tirx.max(tirx.min(tirx.floor(result[n, i, k] + _f(0.5)), _f(255.0)), _f(0.0))

    ratio = b.compute([1], lambda _: step, name="step")
    (resized,) = kernel(b, body, [b.reshape(x, [before, size, behind]), ratio], [([before, out, behind], wide)], "resize_antialias")
    return b.reshape(resized.astype(x.dtype), [*x.shape[:axis], out, *x.shape[axis + 1 :]])


@operator
def interp_antialias(
    b: Builder,
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
    """Resize images by a triangle or a cubic that is stretched where the image shrinks."""
    if interp_method not in ("bilinear", "bicubic") or x.ndim != 4:
        raise UnsupportedError(f"interp_antialias of {x.ndim} axes by {interp_method!r}")
    if not x.is_float and x.dtype != "uint8":
        raise UnsupportedError(f"interp_antialias of {x.dtype}")
    r = resizing(b, "interp_antialias", x, out_size, size_tensor, scale_tensor, data_format, scale, [out_h, out_w])
    if all(b.equal(d, o) for d, o in zip(r.sizes, r.outs, strict=True)):
        return x
    dtype, x = x.dtype, x if x.is_float else x.astype(_FLOAT)
    # where nothing changes Paddle copies, whatever the scale says
    same = both(*(i64(d) == i64(o) for d, o in zip(r.sizes, r.outs, strict=True)))
    along = [*zip((r.first, r.first + 1), r.sizes, r.outs, r.scales, strict=True)]
    for axis, size, out, factor in reversed(along):  # bytes are rounded after each
        step = tirx.Select(same, _f(1.0), _f(distance(size, out, align_corners, factor)))
        x = _along(b, x, axis, out, step, interp_method == "bicubic", dtype == "uint8")
    return x.astype(dtype)
