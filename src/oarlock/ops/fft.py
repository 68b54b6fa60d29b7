"""Fourier transforms: fft_c2c, fft_r2c, fft_c2r, stft.

A transform of real numbers of an even length runs as one of half the length on pairs of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import tirx

from ..errors import UnsupportedError
from . import fft_dynamic, fft_kernels
from .builder import Builder, floordiv
from .complex_pair import Complex, need_float
from .complex_scalar import C
from .kernels import last_axis, put_back
from .registry import operator
from .scalar import num
from .serial import i64, select
from .shape import axes_of
from .tensor import Dim, PrimExpr, Tensor

SIGN = {True: -1, False: 1}  # of the exponent, by ``forward``


def divisor(normalization: str, forward: bool) -> str:
    """What a transform of n is divided by: "", "n" or "sqrt"."""
    if normalization == "ortho":
        return "sqrt"
    if normalization not in ("", "backward", "forward"):
        raise UnsupportedError(f"the normalisation {normalization!r}")
    return "n" if (normalization == "forward") == forward else ""


def _scale(n: int, by: str) -> float:
    return 1.0 / n if by == "n" else 1.0 / math.sqrt(n) if by == "sqrt" else 1.0


def _rows(b: Builder, x: Complex, sign: int, by: str) -> Complex:
    """The transform of the rows of [rows, n]."""
    n = x.shape[1]
    if isinstance(n, int):
        if n == 0:
            raise UnsupportedError("a Fourier transform of an axis of size 0")
        return fft_kernels.transform(b, x, sign, _scale(n, by))
    return fft_dynamic.transform(b, x, sign, by)


def _along(b: Builder, x: Complex, axis: int, fn: Callable[[Complex], Complex]) -> Complex:
    """``fn`` of [rows, n] → [rows, m], along one axis."""
    re, perm, moved = last_axis(b, x.re, axis)
    out = fn(Complex(re, last_axis(b, x.im, axis)[0]))
    return out.map(lambda t: put_back(b, t, perm, moved))


def _some(axes: list, rank: int) -> list[int]:
    """The axes counted from the front, at least one: without any Paddle ends its process when such a program is made."""
    if not axes:
        raise UnsupportedError("a real Fourier transform along no axis")
    return axes_of(axes, rank)


def _c2c(b: Builder, x: Complex, axes: list[int], sign: int, by: str) -> Complex:
    for axis in axes:
        x = _along(b, x, axis, lambda rows: _rows(b, rows, sign, by))
    return x


# ---- real transforms of rows ----------------------------------------------------------------------------------------------


def _half_turns(b: Builder, n: int, count: int, sign: int, dtype: str) -> list[Tensor]:
    """exp(sign·2πi·k/n), k < count, as two constants."""
    table = fft_kernels.roots_of_unity(n, sign)[:count]
    return [b.const(np.ascontiguousarray(part).astype(dtype), dtype) for part in (table.real, table.imag)]


def _both_parts(b: Builder, shape: list[Dim], fn: Callable[..., C], inputs: list[Tensor], name: str) -> Complex:
    return Complex(*(b.compute(shape, lambda *a, part=part: getattr(fn(*a), part), *inputs, name=name) for part in ("re", "im")))


def _from_real(b: Builder, x: Tensor, sign: int, by: str) -> Complex:
    """[rows, n] real → the first n // 2 + 1 elements of its transform."""
    rows, n = x.shape
    if not isinstance(n, int) or n % 2 or n < 4:
        whole = _rows(b, Complex(x, b.full(x.shape, 0, x.dtype)), sign, by)
        count = b.simplify(floordiv(n, 2) + 1)
        return whole.map(lambda t: b.slice(t, 1, 0, count))
    half = n // 2
    pairs = Complex(*(b.compute([rows, half], lambda t, i, k, s=s: t(i, 2 * k + s), x, name="pairs") for s in range(2)))
    z = fft_kernels.transform(b, pairs, sign, _scale(n, by) * 0.5)

    def element(re: Any, im: Any, cosines: Any, sines: Any, i: Any, k: Any) -> C:
        near, far = tirx.floormod(k, i64(half)), tirx.floormod(i64(half) - k, i64(half))
        one, other = C(re(i, near), im(i, near)), C(re(i, far), -im(i, far))
        odd = (one - other) * C(cosines(k), sines(k))
        return one + other + C(odd.im, -odd.re)

    return _both_parts(b, [rows, half + 1], element, [z.re, z.im, *_half_turns(b, n, half + 1, sign, x.dtype)], "fft_real")


def _to_real(b: Builder, x: Complex, n: Dim, sign: int, by: str) -> Tensor:
    """[rows, n // 2 + 1 or more] → n real numbers whose transform it is half of; the imaginary parts of its ends are ignored."""
    rows = x.shape[0]
    half = b.simplify(floordiv(n, 2))
    if not isinstance(n, int) or n % 2 or n < 4:

        def mirrored(re: Any, im: Any, i: Any, k: Any) -> C:
            low = k <= i64(half)
            at = select(low, k, i64(n) - k)
            end = tirx.any(k == 0, 2 * k == i64(n))
            value = im(i, at)
            zero = num(value, 0.0)
            return C(re(i, at), tirx.Select(end, zero, tirx.Select(low, value, -value)))

        return _rows(b, _both_parts(b, [rows, n], mirrored, [x.re, x.im], "mirrored"), sign, by).re
    assert isinstance(half, int)

    def element(re: Any, im: Any, cosines: Any, sines: Any, i: Any, k: Any) -> C:
        zero = num(re(i, k), 0.0)
        far = i64(half) - k
        one = C(re(i, k), tirx.Select(k == 0, zero, im(i, k)))
        other = C(re(i, far), tirx.Select(k == 0, zero, -im(i, far)))
        odd = (one - other) * C(cosines(k), sines(k))
        return one + other + C(-odd.im, odd.re)

    z = _both_parts(b, [rows, half], element, [x.re, x.im, *_half_turns(b, n, half, sign, x.re.dtype)], "fft_unreal")
    z = fft_kernels.transform(b, z, sign, _scale(n, by))
    return b.compute(
        [rows, n],
        lambda re, im, i, k: tirx.if_then_else(tirx.floormod(k, i64(2)) == 0, re(i, k // 2), im(i, k // 2)),
        z.re,
        z.im,
        name="pairs_apart",
    )


# ---- operators --------------------------------------------------------------------------------------------------------------


@operator
def fft_c2c(b: Builder, x: Complex, axes: list, normalization: str, forward: bool) -> Complex:
    """The transform along axes."""
    return _c2c(b, x, axes_of(axes, x.ndim), SIGN[forward], divisor(normalization, forward))


@operator
def fft_r2c(b: Builder, x: Tensor, axes: list, normalization: str, forward: bool, onesided: bool) -> Complex:
    """The transform of a real tensor; onesided: along the last of the axes the first half, which tells the rest."""
    x = need_float(x)
    *rest, last = _some(axes, x.ndim)
    sign, by = SIGN[forward], divisor(normalization, forward)
    if not onesided:
        return _c2c(b, Complex(x, b.full(x.shape, 0, x.dtype)), [*rest, last], sign, by)
    rows, perm, moved = last_axis(b, x, last)
    half = _from_real(b, rows, sign, by).map(lambda t: put_back(b, t, perm, moved))
    return _c2c(b, half, rest, sign, by)


@operator
def fft_c2r(b: Builder, x: Complex, axes: list, normalization: str, forward: bool, last_dim_size: int = 0) -> Tensor:
    """The real transform of what is half of a Hermitian-symmetric tensor along the last of the axes."""
    *rest, last = _some(axes, x.ndim)
    sign, by = SIGN[forward], divisor(normalization, forward)
    x = _c2c(b, x, rest, sign, by)
    n: Dim = last_dim_size if last_dim_size > 0 else b.simplify(2 * (x.shape[last] - 1))
    if isinstance(n, int) and (n < 1 or (isinstance(x.shape[last], int) and x.shape[last] < n // 2 + 1)):
        raise UnsupportedError(f"fft_c2r of {x.shape[last]} elements to {n}")
    re, perm, moved = last_axis(b, x.re, last)
    rows = Complex(re, last_axis(b, x.im, last)[0])
    return put_back(b, _to_real(b, rows, n, sign, by), perm, moved)


@operator
def stft(b: Builder, x: Tensor, window: Tensor, n_fft: int, hop_length: int, normalized: bool, onesided: bool) -> Complex:
    """[…, n] → […, frequencies, frames]: the transforms of windowed pieces; normalized: divided by √n_fft."""
    x = need_float(x)
    count = b.simplify(floordiv(b.simplify(x.shape[-1] - n_fft), hop_length) + 1)
    shape = [*x.shape[:-1], count, n_fft]

    def element(t: Any, w: Any, *i: Any) -> PrimExpr:
        return t(*i[:-2], i[-2] * hop_length + i[-1]) * w(i[-1])

    frames = b.compute(shape, element, x, b.match(window.astype(x.dtype), [n_fft]), name="windowed")
    out = fft_r2c(b, frames, [-1], "ortho" if normalized else "backward", True, onesided)
    return out.transpose([*range(x.ndim - 1), x.ndim, x.ndim - 1])
