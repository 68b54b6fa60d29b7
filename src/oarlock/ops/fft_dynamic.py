"""Discrete Fourier transforms of rows whose length only run time knows: Bluestein's, in float64, at a power of two.

The forward transforms leave their results in bit-reversed order and the backward one takes them so: nothing is reordered.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import tirx

from .builder import Builder
from .complex_pair import Complex
from .complex_scalar import C
from .serial import bind, cell, i64, kernel, loop, parallel, select, while_
from .tensor import Dim

F64 = "float64"


def transform(b: Builder, x: Complex, sign: int, normalise: str = "") -> Complex:
    """Rows [rows, n] → Σ_k x[k]·exp(sign·2πi·jk/n), divided by n ("n") or by its root ("sqrt") where asked for."""
    rows, n = x.shape
    room: Dim = b.simplify(4 * n + 4)  # no power of two that is the first from 2n − 1 on is longer

    def body(re: Any, im: Any, out_re: Any, out_im: Any, a_re: Any, a_im: Any, f_re: Any, f_im: Any, w_re: Any, w_im: Any) -> None:
        length = i64(n)
        size = cell("int64", 1)
        with while_(size.v < 2 * length - 1):
            size.v = size.v * 2
        m = bind(size.v)
        with loop(m) as k:
            angle = bind(tirx.const(-2 * math.pi, F64) * tirx.Cast(F64, k) / tirx.Cast(F64, m))
            w_re[k], w_im[k] = tirx.cos(angle), tirx.sin(angle)
            away = bind(select(k < length, k, m - k))
            inside = away < length
            turn = _chirp(away, length, -sign)
            f_re[0, k] = select(inside, turn.re, tirx.const(0.0, F64))
            f_im[0, k] = select(inside, turn.im, tirx.const(0.0, F64))
        _forward(f_re, f_im, i64(0), m, w_re, w_im)
        divisor = tirx.Cast(F64, m)
        if normalise:
            whole = tirx.Cast(F64, length)
            divisor = divisor * (whole if normalise == "n" else tirx.sqrt(whole))
        share = bind(tirx.const(1.0, F64) / divisor)
        with parallel(rows) as row:
            with loop(m) as k:
                at = bind(tirx.min(k, length - 1))
                value = C(re[row, at], im[row, at]) * _chirp(at, length, sign)
                a_re[row, k] = select(k < length, value.re, tirx.const(0.0, F64))
                a_im[row, k] = select(k < length, value.im, tirx.const(0.0, F64))
            _forward(a_re, a_im, row, m, w_re, w_im)
            with loop(m) as k:
                value = (C(a_re[row, k], a_im[row, k]) * C(f_re[0, k], f_im[0, k])).bound()
                a_re[row, k], a_im[row, k] = value.re, value.im
            _backward(a_re, a_im, row, m, w_re, w_im)
            with loop(length) as k:
                value = (C(a_re[row, k], a_im[row, k]) * _chirp(k, length, sign)).scaled(share)
                out_re[row, k], out_im[row, k] = value.re, value.im

    shapes: list[tuple[list[Dim], str]] = [([rows, n], F64)] * 2 + [([rows, room], F64)] * 2 + [([1, room], F64)] * 2 + [([room], F64)] * 2
    wide = x.astype("complex128")
    out = kernel(b, body, [wide.re, wide.im], shapes, "fft_any_length")
    return Complex(out[0], out[1]).astype(x.dtype)


def _chirp(k: Any, n: Any, sign: int) -> C:
    """exp(sign·πi·k²/n), the angle reduced in whole numbers."""
    turns = tirx.max(2 * n, i64(2))  # a division by a length of 0 would trap
    angle = bind(tirx.const(math.pi, F64) * tirx.Cast(F64, tirx.floormod(k * k, turns)) / tirx.Cast(F64, n))
    sine = tirx.sin(angle)
    return C(tirx.cos(angle), sine if sign > 0 else -sine)


def _pairs(m: Any, half: Any) -> Any:
    """For each pair of places that are ``half`` apart: (low place, high place, the twiddle's index)."""

    def places(k: Any) -> tuple[Any, Any, Any]:
        j = bind(tirx.bitwise_and(k, half - 1))
        low = bind((k - j) * 2 + j)
        return low, bind(low + half), bind(j * tirx.floordiv(m, 2 * half))

    return places


def _forward(re: Any, im: Any, row: Any, m: Any, w_re: Any, w_im: Any) -> None:
    half = cell("int64", tirx.floordiv(m, i64(2)))
    with while_(half.v >= 1):
        step = bind(half.v)
        places = _pairs(m, step)
        with loop(tirx.floordiv(m, i64(2))) as k:
            low, high, turn = places(k)
            u, v = C(re[row, low], im[row, low]).bound(), C(re[row, high], im[row, high]).bound()
            re[row, low], im[row, low] = (u + v).re, (u + v).im
            value = ((u - v) * C(w_re[turn], w_im[turn])).bound()
            re[row, high], im[row, high] = value.re, value.im
        half.v = tirx.floordiv(step, i64(2))


def _backward(re: Any, im: Any, row: Any, m: Any, w_re: Any, w_im: Any) -> None:
    half = cell("int64", 1)
    with while_(half.v < m):
        step = bind(half.v)
        places = _pairs(m, step)
        with loop(tirx.floordiv(m, i64(2))) as k:
            low, high, turn = places(k)
            u = C(re[row, low], im[row, low]).bound()
            v = (C(re[row, high], im[row, high]) * C(w_re[turn], -w_im[turn])).bound()
            re[row, low], im[row, low] = (u + v).re, (u + v).im
            re[row, high], im[row, high] = (u - v).re, (u - v).im
        half.v = step * 2
