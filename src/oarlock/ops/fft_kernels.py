"""Discrete Fourier transforms of rows whose length is known: a mixed-radix kernel made for the length, or Bluestein's.

The mixed-radix kernel is Stockham's: each stage of radix r takes [r, m, s] to [m, r, s], so that the result comes out in order
without a bit reversal, and the innermost loop runs over neighbours.  Lengths with a prime factor above DIRECT go by Bluestein's
identity: a convolution with a chirp, done by two transforms of a longer, smooth length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import tirx

from .builder import Builder
from .complex_pair import Complex
from .complex_scalar import C
from .scalar import num
from .serial import bind, cell, i64, kernel, loop, parallel
from .tensor import Dim, PrimExpr, Tensor

DIRECT = 61  # the largest prime that is a stage of its own
UNROLLED = 13  # the largest radix whose butterfly is written out


def transform(b: Builder, x: Complex, sign: int, scale: float = 1.0) -> Complex:
    """Rows [rows, n] → Σ_k x[k]·exp(sign·2πi·jk/n)·scale."""
    n = x.shape[1]
    assert isinstance(n, int) and n > 0
    radices = factors(n)
    if radices and max(radices) > DIRECT:
        return _bluestein(b, x, n, sign, scale)
    return _mixed_radix(b, x, n, radices, sign, scale)


def factors(n: int) -> list[int]:
    """The radices of the stages: fours, then primes, rising."""
    out = []
    for radix in (4, 2, 3):
        while n % radix == 0:
            out.append(radix)
            n //= radix
    candidate = 5
    while n > 1:
        if candidate * candidate > n:
            candidate = n
        while n % candidate == 0:
            out.append(candidate)
            n //= candidate
        candidate += 2
    return out


def roots_of_unity(n: int, sign: int) -> np.ndarray:
    """exp(sign·2πi·k/n), k < n, each from an angle of at most π/4."""
    k = np.arange(n)
    octant, rest = np.divmod(8 * k, n)
    swap = octant % 2 == 1
    angle = np.where(swap, n - rest, rest) * (2 * np.pi / (8 * n))
    c, s = np.cos(angle), np.sin(angle)
    c, s = np.where(swap, s, c), np.where(swap, c, s)  # within a quarter turn
    quarter = octant // 2
    re = np.choose(quarter, [c, -s, -c, s])
    im = np.choose(quarter, [s, c, -s, -c])
    return re + 1j * sign * im


# ---- mixed radix -------------------------------------------------------------------------------------------------------


def _mixed_radix(b: Builder, x: Complex, n: int, radices: list[int], sign: int, scale: float) -> Complex:
    if n == 1:
        return x * scale
    rows, dtype = x.shape[0], x.re.dtype
    table = roots_of_unity(n, sign)
    turns = [b.const(part.astype(dtype), dtype) for part in (table.real, table.imag)]

    def body(re: Any, im: Any, cosines: Any, sines: Any, out_re: Any, out_im: Any, *work: Any) -> None:
        with parallel(rows) as row:
            source, done = (re, im), 1
            for i, radix in enumerate(radices):
                last = i == len(radices) - 1
                target = work if (len(radices) - i) % 2 == 0 else (out_re, out_im)
                _stage(row, source, target, (cosines, sines), n, radix, done, sign, scale if last else 1.0)
                source, done = target, done * radix

    shape: tuple[list[Dim], str] = ([rows, n], dtype)
    outs = kernel(b, body, [x.re, x.im, *turns], [shape] * (2 if len(radices) == 1 else 4), "fft")
    return Complex(outs[0], outs[1])


def _stage(row: Any, source: Any, target: Any, table: Any, n: int, radix: int, done: int, sign: int, scale: float) -> None:
    """One stage: [radix, m, done] → [m, radix, done], m·radix·done = n."""
    m = n // (radix * done)
    dtype = str(source[0][row, 0].ty)

    def turn(index: Any) -> C:
        return C(table[0][index], table[1][index])

    with loop(m) as p:
        if radix > UNROLLED:
            _direct(row, source, target, turn, n, radix, done, m, p, scale)
            return
        twiddles = [turn(i64(done) * p * t).bound() if m > 1 else None for t in range(1, radix)]
        with loop(done) as q:
            places = [q + done * (p + m * i) for i in range(radix)]
            values = [C(source[0][row, at], source[1][row, at]).bound() for at in places]
            for t, value in enumerate(_butterfly(values, sign, dtype)):
                twiddle = twiddles[t - 1] if t else None
                value = value if twiddle is None else value.bound() * twiddle
                value = value if scale == 1.0 else value.scaled(tirx.const(scale, dtype))
                at = q + done * (radix * p + t)
                target[0][row, at] = value.re
                target[1][row, at] = value.im


def _butterfly(a: list[C], sign: int, dtype: str) -> list[C]:
    """The transform of a few values."""
    r = len(a)
    if r == 2:
        return [a[0] + a[1], a[0] - a[1]]
    if r == 4:
        even, odd = (a[0] + a[2]).bound(), (a[1] + a[3]).bound()
        left, right = (a[0] - a[2]).bound(), _quarter((a[1] - a[3]).bound(), sign)
        return [even + odd, left + right, even - odd, left - right]
    # an odd prime: sums and differences of opposite values share their products
    half = r // 2
    sums = [(a[i] + a[r - i]).bound() for i in range(1, half + 1)]
    differences = [_quarter((a[i] - a[r - i]).bound(), sign) for i in range(1, half + 1)]
    total = a[0]
    for s in sums:
        total = total + s
    out = [total] + [a[0]] * (r - 1)
    for t in range(1, half + 1):
        even, odd = a[0], C(tirx.const(0.0, dtype), tirx.const(0.0, dtype))
        for i in range(1, half + 1):
            angle = 2 * np.pi * ((i * t) % r) / r
            even = even + sums[i - 1].scaled(tirx.const(float(np.cos(angle)), dtype))
            odd = odd + differences[i - 1].scaled(tirx.const(float(np.sin(angle)), dtype))
        even, odd = even.bound(), odd.bound()
        out[t], out[r - t] = even + odd, even - odd
    return out


def _quarter(value: C, sign: int) -> C:
    """Times sign·i."""
    return C(-value.im, value.re) if sign > 0 else C(value.im, -value.re)


def _direct(
    row: Any, source: Any, target: Any, turn: Callable[[Any], C], n: int, radix: int, done: int, m: int, p: Any, scale: float
) -> None:
    """A stage of a prime radix as sums."""
    dtype = str(source[0][row, 0].ty)
    with loop(radix) as t, loop(done) as q:
        re, im = cell(dtype, 0.0), cell(dtype, 0.0)
        with loop(radix) as i:
            at = bind(q + done * (p + m * i))
            step = C(source[0][row, at], source[1][row, at]) * turn(bind(tirx.floormod(i * t, i64(radix)) * (n // radix)))
            re.v = re.v + step.re
            im.v = im.v + step.im
        value = C(re.v, im.v) * turn(bind(i64(done) * p * t))
        value = value if scale == 1.0 else value.scaled(tirx.const(scale, dtype))
        value = value.bound()
        place = bind(q + done * (radix * p + t))
        target[0][row, place] = value.re
        target[1][row, place] = value.im


# ---- Bluestein -----------------------------------------------------------------------------------------------------------


def smooth_length(least: int) -> int:
    """The smallest product of twos, threes and fives that is at least as long."""
    best = 1 << (least - 1).bit_length()
    three = 1
    while three < best:
        five = three
        while five < best:
            two = 1 << max(0, (-(-least // five) - 1).bit_length())
            best = min(best, two * five)
            five *= 5
        three *= 3
    return best


def _bluestein(b: Builder, x: Complex, n: int, sign: int, scale: float) -> Complex:
    """jk = (j² + k² − (j − k)²) / 2 makes the sum a convolution with a chirp."""
    rows, dtype = x.shape[0], x.re.dtype
    size = smooth_length(2 * n - 1)
    squares = np.array([k * k % (2 * n) for k in range(n)])
    chirp = roots_of_unity(2 * n, sign)[squares]
    filter_ = np.zeros(size, complex)
    filter_[:n] = chirp.conj()
    filter_[size - n + 1 :] = chirp.conj()[:0:-1]
    spectrum = np.fft.fft(filter_) / size
    a, c, f, g = (b.const(part.astype(dtype), dtype) for part in (chirp.real, chirp.imag, spectrum.real, spectrum.imag))
    zero = tirx.const(0.0, dtype)

    def chirped(re: Any, im: Any, cosines: Any, sines: Any, i: Any, k: Any) -> C:
        at = tirx.min(k, i64(n - 1))
        return C(re(i, at), im(i, at)) * C(cosines(at), sines(at))

    def padded(part: str) -> Callable[..., PrimExpr]:
        return lambda *args: tirx.if_then_else(args[-1] < n, getattr(chirped(*args), part), zero)

    def filtered(part: str) -> Callable[..., PrimExpr]:
        return lambda re, im, f, g, i, k: getattr(C(re(i, k), im(i, k)) * C(f(k), g(k)), part)

    def finished(part: str) -> Callable[..., PrimExpr]:
        return lambda *args: getattr(chirped(*args), part) * num(zero, scale)

    def each(shape: list[Dim], fn: Callable[[str], Any], y: Complex, p: Tensor, q: Tensor, name: str) -> Complex:
        return Complex(*(b.compute(shape, fn(part), y.re, y.im, p, q, name=name) for part in ("re", "im")))

    y = transform(b, each([rows, size], padded, x, a, c, "chirped"), -1)
    y = transform(b, each([rows, size], filtered, y, f, g, "filtered"), +1)
    return each([rows, n], finished, y, a, c, "unchirped")
