"""hash: rows of integers as 64-bit XXH64 digests, with which Paddle 1 found rows of embeddings."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..errors import UnsupportedError
from .builder import Builder
from .registry import operator
from .serial import bind, cell, i64, kernel, loop, parallel
from .shape import product
from .tensor import PrimExpr, Tensor

U64 = "uint64"
# the five primes of the published algorithm
_P1, _P2, _P3, _P4, _P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _u(value: Any) -> PrimExpr:
    return tirx.Cast(U64, value) if isinstance(value, PrimExpr) else tirx.const(value & (2**64 - 1), U64)


# TVM tells LLVM that no unsigned sum or product overflows, and LLVM draws conclusions: here every one stays within 64 bits


def _low(value: PrimExpr) -> PrimExpr:
    return value & _u(0xFFFFFFFF)


def _joined(high: PrimExpr, low: PrimExpr) -> PrimExpr:
    return (_low(high) << _u(32)) | _low(low)


def _sum(x: PrimExpr, y: PrimExpr) -> PrimExpr:
    """x + y modulo 2⁶⁴."""
    low = bind(_low(x) + _low(y))
    return bind(_joined((x >> _u(32)) + (y >> _u(32)) + (low >> _u(32)), low))


def _times(x: PrimExpr, factor: int) -> PrimExpr:
    """x · factor modulo 2⁶⁴."""
    high, low = _u(factor >> 32), _u(factor & 0xFFFFFFFF)
    part = bind(_low(x) * low)
    return bind(_joined((part >> _u(32)) + _low((x >> _u(32)) * low) + _low(_low(x) * high), part))


def _turned(value: PrimExpr, bits: int) -> PrimExpr:
    return (value << _u(bits)) | (value >> _u(64 - bits))


class _Digest:
    """One XXH64 digest of ``words`` of ``width`` bytes; ``word(i)`` is one as unsigned 64 bits."""

    def __init__(self, word: Any, words: int, width: int, seed: PrimExpr) -> None:
        self.word, self.words, self.width, self.seed = word, words, width, seed

    def lane(self, at: int) -> PrimExpr:
        """Eight bytes from byte ``at`` on, little-endian."""
        first = at // self.width
        return self.word(first) if self.width == 8 else self.word(first) | (self.word(first + 1) << _u(32))

    def value(self) -> PrimExpr:
        size, at = self.words * self.width, 0
        h = cell(U64, 0)
        if size >= 32:
            state = [cell(U64, 0) for _ in range(4)]
            for c, start in zip(state, [_sum(self.seed, _u(n)) for n in (_P1 + _P2, _P2, 0, -_P1)], strict=True):
                c.v = start
            while at + 32 <= size:
                for k, c in enumerate(state):
                    c.v = _round(c.v, self.lane(at + 8 * k))
                at += 32
            h.v = _turned(state[0].v, 1)
            for c, bits in zip(state[1:], (7, 12, 18), strict=True):
                h.v = _sum(h.v, _turned(c.v, bits))
            for c in state:
                h.v = _sum(_times(h.v ^ _round(_u(0), c.v), _P1), _u(_P4))
        else:
            h.v = _sum(self.seed, _u(_P5))
        h.v = _sum(h.v, _u(size))
        while at + 8 <= size:
            h.v = h.v ^ _round(_u(0), self.lane(at))
            h.v = _sum(_times(_turned(h.v, 27), _P1), _u(_P4))
            at += 8
        if at + 4 <= size:
            h.v = h.v ^ _times(self.word(at // 4), _P1)
            h.v = _sum(_times(_turned(h.v, 23), _P2), _u(_P3))
        for shift, factor in ((33, _P2), (29, _P3)):
            h.v = _times(h.v ^ (h.v >> _u(shift)), factor)
        return h.v ^ (h.v >> _u(32))


def _round(state: PrimExpr, lane: PrimExpr) -> PrimExpr:
    return _times(_turned(_sum(state, _times(lane, _P2)), 31), _P1)


@operator
def hash(b: Builder, x: Tensor, num_hash: int = 1, mod_by: int = 100000, runtime_shape: bool = False) -> Tensor:  # noqa: A001
    """[…, n] integers → […, num_hash, 1]: the digests of each row with the seeds 0 … num_hash − 1, modulo mod_by."""
    words = x.shape[-1]
    if x.dtype not in ("int32", "int64") or not isinstance(words, int):
        raise UnsupportedError(f"hash of {x.dtype} in rows of {words}")
    rows, width = product(b, x.shape[:-1]), 8 if x.dtype == "int64" else 4

    def body(t: Any, out: Any) -> None:
        with parallel(rows) as r, loop(num_hash) as k:
            # a negative int32 is 32 bits, no more
            def word(i: int) -> PrimExpr:
                value = t[r, i]
                return tirx.reinterpret(U64, value) if width == 8 else _u(tirx.Cast("uint32", value))

            digest = _Digest(word, words, width, _u(i64(k))).value()
            out[r, k] = tirx.Cast(x.dtype, tirx.floormod(digest, _u(mod_by)))

    (out,) = kernel(b, body, [x.reshape([rows, words])], [([rows, num_hash], x.dtype)], "xxh64")
    return out.reshape([*x.shape[:-1], num_hash, 1])
