"""Depthwise convolutions of bytes: four neighbouring taps of a channel are one word, and a row of a kernel is one or two dot products.

A copy of the input with its padding is made in words: word ``p`` of a channel holds the bytes at four places, a dilation apart, from
``p`` on.  So each instruction takes the word of 16 channels, which no product of matrices would find side by side in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm_ffi
from tvm import te, tirx

from . import dots
from .kernels import Dim, Window, _image, _note, _tiles
from .machine import Machine
from .tiles import Tile, depthwise_tiles

TAPS = dots.GROUP["uint8"]  # in a word
NARROW = 8  # places: depthwise convolutions of fewer stay in float
_ZEROS = int(np.full(4, dots.BIAS, np.uint8).view(np.int32)[0])


def takes(shape: Sequence[int], groups: int) -> bool:
    """Whether there is a kernel for bytes and weights of ``shape`` ([O, I/groups, KH, KW], or [K, N]): four fill a word of the depth."""
    if len(shape) == 2:
        return shape[0] % TAPS == 0
    channels, depth, *kernel = shape
    if groups > 1:
        return applies(shape, groups) or (depth % TAPS == 0 and channels // groups % dots.LANES[-1] == 0)
    # the copy of the input that larger windows are read from has room for channels of zeros
    return depth % TAPS == 0 or (kernel != [1, 1] and depth >= dots.EXTENDED)


def pays(shape: Sequence[int], groups: int, width: int | None) -> bool:
    """Whether that kernel is the faster one for results of ``width`` places: where most words lie at borders, making them takes longer
    than their products save (docs/quantize.md)."""
    return takes(shape, groups) and not (applies(shape, groups) and width is not None and width < NARROW)


def applies(shape: Sequence[int], groups: int) -> bool:
    """Whether a convolution with weights of ``shape`` (O, I/groups, KH, KW) is one of ``depthwise``'s: vectors must divide its channels."""
    return groups > 1 and shape[1] == 1 and shape[0] == groups and groups % dots.LANES[-1] == 0


def tiles(width: int | None, channels: int, machine: Machine, macs: int) -> list[Tile]:
    """Candidates, the likely best first: those of floats that copy their input as a whole, since words of a line serve several."""
    found = depthwise_tiles(width, channels, machine, "int32", macs, padded=True, whole=True)
    return [tile for tile in found if tile.whole and not tile.direct]


def packed(weights: np.ndarray) -> np.ndarray:
    """[KH, KW, C] of int8 → [KH, KW / 4, C] of words, the last ones filled with zeros."""
    kh, kw, c = weights.shape
    steps = -(-kw // TAPS)
    full = np.zeros((kh, steps * TAPS, c), np.int8)
    full[:, :kw] = weights
    return np.ascontiguousarray(full.reshape(kh, steps, TAPS, c).swapaxes(2, 3)).view(np.int32)[..., 0]


def depthwise(x: te.Tensor, words: te.Tensor, window: Window, tile: Tile, workload: str) -> te.Tensor:
    """x [N, H, W, C] of uint8 * ``packed`` weights → [N, OH, OW, C] of int32, each channel by itself."""
    n, h, w, c = x.shape
    oh, ow = window.out(h, w)
    (kh, kw), (sh, sw), (dh, dw), (top, left, bottom, _) = window.kernel, window.strides, window.dilation, window.padding
    steps = int(words.shape[1])
    hop = TAPS * dw  # from one word of a row of the kernel to the next
    unit = math.gcd(sw, hop) if steps > 1 else sw  # words are read at multiples of it
    used = min(kw, TAPS)
    count = (_tiles(ow, tile.rows) * tile.rows - 1) * (sw // unit) + ((steps - 1) * (hop // unit) + 1)

    def word(b: Dim, i: Dim, p: Dim, k: Dim) -> Dim:
        line, start = i - top, p * unit - left
        lines = [*([line >= 0] if top else []), *([line < h] if bottom else [])]

        def joined(tap: Callable[[Dim], Dim]) -> Dim:
            taps = [tirx.Cast("int32", tap(start + t * dw)) << (8 * t) for t in range(used)]
            while len(taps) > 1:
                taps = [*(one | two for one, two in zip(taps[::2], taps[1::2], strict=False)), *taps[len(taps) // 2 * 2 :]]
            return taps[0]

        def tested(place: Dim) -> Dim:
            return te.if_then_else(te.all(place >= 0, place < w), x(b, line, place, k), dots.zero("uint8"))

        whole = te.all(start >= 0, start + (used - 1) * dw < w)
        value = te.if_then_else(whole, joined(lambda place: x(b, line, place, k)), joined(tested))
        return te.if_then_else(te.all(*lines), value, tirx.const(_ZEROS, "int32")) if lines else value

    taken = te.compute((n, h + (top + bottom), count, c), word, name="tile_words")
    r, s = te.reduce_axis((0, kh), name="r"), te.reduce_axis((0, steps), name="s")

    def term(b: Dim, i: Dim, wt: Dim, ot: Dim, wi: Dim, oi: Dim) -> Dim:
        at, o = (wt * tile.rows + wi) * (sw // unit) + s * (hop // unit), ot * tile.columns + oi
        return te.sum(
            tirx.call_intrin("int32", dots.WORD, tirx.const(0, "int32"), taken(b, i * sh + r * dh, at, o), words(r, s, o)), axis=[r, s]
        )

    acc = te.compute(
        (n, oh, _tiles(ow, tile.rows), _tiles(c, tile.columns), tile.rows, tile.columns),
        term,
        name="tile_acc",
        attrs=_note("depthwise", tile, workload),
    )
    return _image(acc, (n, oh, ow, c), tile)


def summed(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel in which ``sum + dot(0, a, b)`` is ``dot(sum, a, b)``, one instruction."""

    def rewrite(node: tirx.Add) -> Any:
        for total, call in ((node.a, node.b), (node.b, node.a)):
            if getattr(getattr(call, "op", None), "name", "") == dots.WORD:
                return tirx.call_intrin("int32", dots.WORD, total, *call.args[1:])
        return node

    return tvm_ffi.structural_map(function, (tirx.Add, rewrite))
