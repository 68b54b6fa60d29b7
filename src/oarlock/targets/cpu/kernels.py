"""Products and convolutions as tensor expressions in the form that schedule/tiled.py knows: accumulator tiles, then the result.

The accumulator block computes whole tiles (rows past the end read the last row again; columns past the end are zero weights), so
the inner loops have constant bounds and no tests; only the result block, which fused elementwise operators join, minds the ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import ir, sym, te, tirx

from ...kernels.choice import CANDIDATE, WORKLOAD
from . import amx, dots
from .tiles import ATTRIBUTE, Tile

Dim = Any  # int or a TIR expression


def pack_columns(weights: np.ndarray, tile: Tile) -> np.ndarray:
    """[…, K, N] → [N/columns, …, K, columns], the last panel filled with zeros; in groups: [N/columns, …, K/group, columns, group]."""
    n = weights.shape[-1]
    panels = -(-n // tile.columns)
    padded = np.zeros((*weights.shape[:-1], panels * tile.columns), weights.dtype)
    padded[..., :n] = weights
    packed = np.moveaxis(padded.reshape(*weights.shape[:-1], panels, tile.columns), -2, 0)
    if tile.group > 1:
        *lead, depth, columns = packed.shape
        packed = np.swapaxes(packed.reshape(*lead, depth // tile.group, tile.group, columns), -1, -2)
    return np.ascontiguousarray(packed)


def _group(tile: Tile) -> list[Any]:
    """The reduction axis inside a group, if there are groups."""
    return [te.reduce_axis((0, tile.group), name="kk")] if tile.group > 1 else []


def _along(k: Dim, inner: Sequence[Any], tile: Tile) -> Dim:
    """The place in the depth of step ``k`` of groups."""
    return k * tile.group + inner[0] if inner else k


def _simple(size: Dim) -> Dim:
    """A size in the form that Relax infers for it: FuseTIR takes two spellings of one shape for different buffers."""
    return sym.Analyzer().simplify(size) if isinstance(size, ir.Expr) else size


def _clamp(index: Dim, end: Dim, tile: Tile) -> Dim:
    """The row ``index`` kept below ``end`` unless whole tiles fit into that."""
    if isinstance(end, (int, tirx.IntImm)) and int(end) % tile.rows == 0:
        return index
    return te.min(index, end - 1)


def _tiles(extent: Dim, tile: int) -> Dim:
    return (extent + (tile - 1)) // tile


def _strips_of(m: Dim, tile: Tile) -> Dim:
    """``m``, or as many rows as strips need that lie in memory as they are."""
    return m if isinstance(m, (int, tirx.IntImm)) and int(m) % tile.strip == 0 else _tiles(m, tile.rows) * tile.rows


def _row(block: Dim, inside: Dim, m: Dim, tile: Tile) -> Dim:
    """The row of the data that row ``inside`` of a tile reads: past the end the last one again, or the last strip of them."""
    if not tile.strip:
        return _clamp(block * tile.rows + inside, m, tile)
    if not isinstance(m, (int, tirx.IntImm)) or int(m) % tile.strip:
        return block * tile.rows + inside  # there are more rows than m: see _strips_of
    return _strip(block, inside, int(m), tile) * tile.strip + inside % tile.strip


def _strip(block: Dim, inside: Dim, m: int, tile: Tile) -> Dim:
    """The strip that row ``inside`` of a tile is in, of the whole ones that ``m`` is made of."""
    strip = block * (tile.rows // tile.strip) + inside // tile.strip
    return strip if m % tile.rows == 0 else te.min(strip, m // tile.strip - 1)


def _note(kind: str, tile: Tile, workload: str) -> dict[str, Any]:
    return {ATTRIBUTE: tile.annotation(kind), WORKLOAD: workload, CANDIDATE: tile.name}


GEOMETRY = "oarlock.window"  # block annotation: kernel, strides, padding and dilation
SHORT, LONG = 256, 1024  # a sum of LONG products and more is made of sums of about SHORT: its rounding errors add up less


def _accumulate(shape: Sequence[Dim], depth: Dim, step: Callable[..., Dim], note: dict[str, Any], tile: Tile) -> te.Tensor:
    """Tiles (the last two dims of ``shape``) of the sum of ``step(index, k, inner)`` over k < ``depth`` / group and what is inside it."""
    inner = _group(tile)
    depth = depth // tile.group
    length = int(depth) if isinstance(depth, (int, tirx.IntImm)) else 0
    short = next((n for n in range(SHORT, SHORT // 4, -1) if length % n == 0), 0)
    if length < LONG or not short or tile.group > 2 or tile.strip:  # sums of integers are exact
        k = te.reduce_axis((0, depth), name="k")
        return te.compute(shape, lambda *i: te.sum(step(i, k, inner), axis=[k, *inner]), name="tile_acc", attrs=note)
    part, k = te.reduce_axis((0, length // short), name="part"), te.reduce_axis((0, short), name="k")
    parts = te.compute(
        (*shape[:-2], length // short, *shape[-2:]),
        lambda *i: te.sum(step((*i[:-3], *i[-2:]), i[-3] * short + k, inner), axis=[k, *inner]),
        name="tile_acc",
        attrs=note,
    )
    return te.compute(shape, lambda *i: te.sum(parts[(*i[:-2], part, *i[-2:])], axis=part), name="tile_sum")


def product(a: te.Tensor, packed: te.Tensor, columns: int, tile: Tile, workload: str) -> te.Tensor:
    """a [M, K] × packed [N/columns, K, columns] → [M, N]."""
    m, depth = a.shape
    if tile.strip:
        depth = packed.shape[1] * tile.group
        a = amx.extended(a, _strips_of(m, tile), depth)
    acc = _accumulate(
        (_tiles(m, tile.rows), packed.shape[0], tile.rows, tile.columns),
        depth,
        lambda i, k, inner: dots.wide(a(_row(i[0], i[2], m, tile), _along(k, inner, tile))) * dots.wide(packed(i[1], k, i[3], *inner)),
        _note("product", tile, workload),
        tile,
    )
    return te.compute((m, columns), lambda i, j: acc[i // tile.rows, j // tile.columns, i % tile.rows, j % tile.columns], name="tile_out")


def batch_product(a: te.Tensor, b: te.Tensor, tile: Tile, transposed: bool, workload: str) -> te.Tensor:
    """a […, M, K] × b […, K, N] (``transposed``: […, N, K]) → […, M, N]; b, of a's batch dims or alone, is packed when the kernel runs."""
    *batch, m, depth = a.shape
    n = b.shape[-2] if transposed else b.shape[-1]
    shared = all(isinstance(d, tirx.IntImm) and int(d) == 1 for d in b.shape[:-2]) and not _same_batch(b.shape[:-2], batch)

    def element(at: tuple, kk: Dim, j: Dim) -> Dim:
        index = (*at, j, kk) if transposed else (*at, kk, j)
        value = dots.held(b(*index))
        return te.if_then_else(j < n, value, dots.zero(str(value.ty))) if tile.ragged else value

    lead = len(b.shape) - 2

    def packed(*i: Dim) -> Dim:
        panel, k, column, *inner = i[lead:]
        return element(i[:lead], _along(k, inner, tile), panel * tile.columns + column)

    group = [tile.group] if tile.group > 1 else []
    panels = te.compute((*b.shape[:-2], _tiles(n, tile.columns), depth // tile.group, tile.columns, *group), packed, name="tile_pack")

    def step(i: tuple, k: Dim, inner: Sequence[Any]) -> Dim:
        *at, mt, nt, mi, ni = i
        where = [0] * lead if shared else at
        row = _row(mt, mi, m, tile)
        return dots.wide(a(*at, row, _along(k, inner, tile))) * dots.wide(panels(*where, nt, k, ni, *inner))

    shape = (*batch, _tiles(m, tile.rows), _tiles(n, tile.columns), tile.rows, tile.columns)
    if tile.strip:
        a = amx.extended(a, _strips_of(m, tile), depth)
    acc = _accumulate(shape, depth, step, _note("batch_product", tile, workload), tile)

    def result(*i: Dim) -> Dim:
        *at, row, column = i
        return acc[(*at, row // tile.rows, column // tile.columns, row % tile.rows, column % tile.columns)]

    return te.compute((*batch, m, n), result, name="tile_out")


def _same_batch(a: list[Dim], b: list[Dim]) -> bool:
    return len(a) == len(b) and all(isinstance(q, tirx.IntImm) and int(q) == 1 for q in b)


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution: kernel, strides, padding (top, left, bottom, right) and dilation."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]

    def out(self, h: Dim, w: Dim) -> tuple[Dim, Dim]:
        """The output's height and width for an input of h × w."""
        top, left, bottom, right = self.padding
        sizes = []
        for size, before, after, k, s, d in zip(
            (h, w), (top, left), (bottom, right), self.kernel, self.strides, self.dilation, strict=True
        ):
            sizes.append(_simple((size + (before + after - (k - 1) * d - 1)) // s + 1))
        return sizes[0], sizes[1]

    def annotation(self) -> list[int]:
        """The window as a block annotation; ``read`` is its inverse."""
        return [*self.kernel, *self.strides, *self.padding, *self.dilation]

    @staticmethod
    def read(annotation: Sequence[Any]) -> Window:
        """The window of an annotation."""
        kh, kw, sh, sw, top, left, bottom, right, dh, dw = map(int, annotation)
        return Window((kh, kw), (sh, sw), (top, left, bottom, right), (dh, dw))

    @property
    def joined(self) -> bool:
        """Whether the places of one row of the kernel are neighbours, or it has one place."""
        return self.dilation[1] == 1 or self.kernel[1] == 1

    @property
    def pointwise(self) -> bool:
        return self.kernel == (1, 1) and self.strides == (1, 1) and not any(self.padding)


def _padded(
    x: te.Tensor, window: Window, *, channels: Dim = None, wide: bool = False, width: Dim | None = None, always: bool = False
) -> te.Tensor:
    """``x`` with its padding; ``x`` itself when there is none.

    ``channels``: with that many channels; ``wide``: as float32; ``width``: with rows that long, where it is padded, or ``always``.
    """
    top, left, bottom, right = window.padding
    n, h, w, c = x.shape
    more = channels is not None and int(channels) > int(c)
    if not any(window.padding) and not more and not always:
        return x
    convert = dots.wide if wide else dots.held

    def element(b: Dim, i: Dim, j: Dim, k: Dim) -> Dim:
        inside: list[Dim] = []
        if top:
            inside.append(i >= top)
        if bottom:
            inside.append(i < h + top)
        if left:
            inside.append(j >= left)
        if right or width is not None:
            inside.append(j < w + left)
        if more:
            inside.append(k < c)
        value = convert(x(b, i - top, j - left, k))
        return te.if_then_else(te.all(*inside), value, dots.zero(str(value.ty)))

    places = w + (left + right) if width is None else width
    return te.compute((n, h + (top + bottom), places, channels if more else c), element, name="tile_pad")


def _image(acc: te.Tensor, shape: Sequence[Dim], tile: Tile) -> te.Tensor:
    """The results of ``shape`` (N, OH, OW, O) that are in the tiles ``acc``."""
    return te.compute(
        shape, lambda b, i, j, o: acc[b, i, j // tile.rows, o // tile.columns, j % tile.rows, o % tile.columns], name="tile_out"
    )


def convolution(x: te.Tensor, packed: te.Tensor, channels: int, groups: int, window: Window, tile: Tile, workload: str) -> te.Tensor:
    """x [N, H, W, C] * packed [O/columns, KH, KW, C/groups, columns] → [N, OH, OW, O]; a tile of columns lies in one group.

    Weights of more channels than x has are 0 there.
    """
    n, h, w, _ = x.shape
    oh, ow = window.out(h, w)
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilation
    steps, inner = packed.shape[3], _group(tile)
    tiles_a_group = channels // groups // tile.columns if groups > 1 else 0
    padded = _padded(x, window, channels=steps * tile.group if groups == 1 else None)
    r, s, c = te.reduce_axis((0, kh), name="r"), te.reduce_axis((0, kw), name="s"), te.reduce_axis((0, steps), name="c")

    def channel(ot: Dim) -> Dim:
        at = _along(c, inner, tile)
        return at if groups == 1 else ot // tiles_a_group * (steps * tile.group) + at

    acc = te.compute(
        (n, oh, _tiles(ow, tile.rows), packed.shape[0], tile.rows, tile.columns),
        lambda b, i, wt, ot, wi, oi: te.sum(
            dots.wide(padded(b, i * sh + r * dh, _clamp(wt * tile.rows + wi, ow, tile) * sw + s * dw, channel(ot)))
            * dots.wide(packed(ot, r, s, c, oi, *inner)),
            axis=[r, s, c, *inner],
        ),
        name="tile_acc",
        attrs=_note("convolution", tile, workload),
    )
    return _image(acc, (n, oh, ow, channels), tile)


def strip_convolution(x: te.Tensor, packed: te.Tensor, channels: int, window: Window, tile: Tile, workload: str) -> te.Tensor:
    """``convolution`` of one group in tile registers: x [N, H, W, C] * packed [O/columns, KH, …, depth, columns, group] → [N, OH, OW, O].

    Neighbouring places of the kernel's rows are one depth of KW·C where they are neighbours in memory, else KW depths of C.
    Weights of more channels than x has are 0 there.  Where the rows of the image are whole strips, all places are one row: → [N·OH·OW, O].
    """
    n, h, w, _ = x.shape
    oh, ow = window.out(h, w)
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilation
    *_, depth, _, group = [int(d) for d in packed.shape]
    c = depth * group // kw if window.joined else depth * group
    flat = strips_fit((n, oh, ow), tile)
    width = None if flat else (_tiles(ow, tile.rows) * tile.rows - 1) * sw + ((kw - 1) * dw + 1)
    padded = _padded(x, window, channels=c, width=width, always=not flat)
    r, k, kk = te.reduce_axis((0, kh), name="r"), te.reduce_axis((0, depth), name="k"), te.reduce_axis((0, group), name="kk")
    s = te.reduce_axis((0, 1 if window.joined else kw), name="s")

    def term(b: Dim, i: Dim, j: Dim, ot: Dim, oi: Dim) -> Dim:
        along = k * group + kk
        place = j * sw + (along // c if window.joined else s * dw)
        weights = packed(ot, r, k, oi, kk) if window.joined else packed(ot, r, s, k, oi, kk)
        value = padded(b, i * sh + r * dh, place, along % c if window.joined else along)
        return te.sum(dots.wide(value) * dots.wide(weights), axis=[r, s, k, kk])

    if flat:
        m, strips = int(n) * int(oh) * int(ow), int(ow) // tile.strip

        def sums(pt: Dim, ot: Dim, wi: Dim, oi: Dim) -> Dim:
            strip = _strip(pt, wi, m, tile)
            line = strip // strips
            return term(line // oh, line % oh, strip % strips * tile.strip + wi % tile.strip, ot, oi)

        note = _note("strips", tile, workload)
        acc = te.compute((_tiles(m, tile.rows), packed.shape[0], tile.rows, tile.columns), sums, name="tile_acc", attrs=note)
        at = lambda f, o: acc[f // tile.rows, o // tile.columns, f % tile.rows, o % tile.columns]  # noqa: E731
        return te.compute((m, channels), at, name="tile_out")
    acc = te.compute(
        (n, oh, _tiles(ow, tile.rows), packed.shape[0], tile.rows, tile.columns),
        lambda b, i, wt, ot, wi, oi: term(b, i, wt * tile.rows + wi, ot, oi),
        name="tile_acc",
        attrs=_note("convolution", tile, workload),
    )
    return _image(acc, (n, oh, ow, channels), tile)


def strips_fit(shape: Sequence[Dim], tile: Tile) -> bool:
    """Whether the rows of images of ``shape`` (…, width) are whole strips, all sizes being known."""
    return all(isinstance(d, (int, tirx.IntImm)) for d in shape) and int(shape[-1]) % tile.strip == 0


def depthwise(x: te.Tensor, weights: te.Tensor, multiplier: int, window: Window, tile: Tile, workload: str) -> te.Tensor:
    """x [N, H, W, C] * weights [KH, KW, C·multiplier] → [N, OH, OW, C·multiplier], each channel by itself."""
    n, h, w, _ = x.shape
    oh, ow = window.out(h, w)
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilation
    channels = weights.shape[2]
    if tile.direct:
        return _depthwise_direct(x, weights, multiplier, window, tile, workload)
    # rows of input as long as whole tiles need: then neighbouring places read neighbours, and share what they read
    padded = _padded(x, window, wide=True, width=(_tiles(ow, tile.rows) * tile.rows - 1) * sw + ((kw - 1) * dw + 1))
    r, s = te.reduce_axis((0, kh), name="r"), te.reduce_axis((0, kw), name="s")

    def place(wt: Dim, wi: Dim) -> Dim:
        at = wt * tile.rows + wi
        return at if padded is not x else _clamp(at, ow, tile)

    acc = te.compute(
        (n, oh, _tiles(ow, tile.rows), _tiles(channels, tile.columns), tile.rows, tile.columns),
        lambda b, i, wt, ot, wi, oi: te.sum(
            dots.wide(padded(b, i * sh + r * dh, place(wt, wi) * sw + s * dw, (ot * tile.columns + oi) // multiplier))
            * weights[r, s, ot * tile.columns + oi],
            axis=[r, s],
        ),
        name="tile_acc",
        attrs=_note("depthwise", tile, workload),
    )
    return _image(acc, (n, oh, ow, channels), tile)


def _depthwise_direct(x: te.Tensor, weights: te.Tensor, multiplier: int, window: Window, tile: Tile, workload: str) -> te.Tensor:
    """``depthwise`` without a copy of ``x`` that has its padding: schedule/borders.py decides its tests of lines and of places."""
    n, h, w, _ = x.shape
    oh, ow = window.out(h, w)
    (kh, kw), (sh, sw), (dh, dw), (top, left, _, _) = window.kernel, window.strides, window.dilation, window.padding
    channels = weights.shape[2]
    r, s = te.reduce_axis((0, kh), name="r"), te.reduce_axis((0, kw), name="s")

    def term(b: Dim, i: Dim, wt: Dim, ot: Dim, wi: Dim, oi: Dim) -> Dim:
        o = ot * tile.columns + oi
        line, place = i * sh + r * dh - top, (wt * tile.rows + wi) * sw + s * dw - left
        value = dots.wide(x(b, line, place, o // multiplier))
        zero = tirx.const(0, str(value.ty))
        inside = te.all(line >= 0, line < h, place >= 0, place < w)
        return te.sum(te.if_then_else(inside, value, zero) * weights[r, s, o], axis=[r, s])

    acc = te.compute(
        (n, oh, _tiles(ow, tile.rows), _tiles(channels, tile.columns), tile.rows, tile.columns),
        term,
        name="tile_acc",
        attrs=_note("depthwise", tile, workload) | {GEOMETRY: window.annotation()},
    )
    return _image(acc, (n, oh, ow, channels), tile)
