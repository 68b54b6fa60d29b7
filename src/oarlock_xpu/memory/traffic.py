"""What a call of the kernel library moves, by operand, and what it computes: as its kernels do (native/xpu/kernels/src).

A convolution reads its input once for each tile of filters and row of the window, a product its operands once for each tile of the
other: so what a tensor costs in GDDR is more than its size.  tests/xpu/test_xpu_memory.py holds these numbers against the emulator's
counters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..chips import Chip

Shape = Sequence[int]


@dataclass(frozen=True)
class View:
    """A tensor as a kernel has it."""

    shape: tuple[int, ...]
    itemsize: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.size * self.itemsize


@dataclass(frozen=True)
class Work:
    """One kernel: bytes by role (``result`` is what it writes), the ns that it computes (``macs`` by the type of its operands), and
    whether it moves data beside that.

    ``share``: the part of all bytes that the unit with the most work moves, times the number of units.
    """

    bytes: Mapping[str, float]
    compute_ns: float = 0.0
    overlaps: bool = False
    share: float = 1.0
    macs: Mapping[str, int] = field(default_factory=dict)


def work_of(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work:
    """What a call of the library does; ``views``: its tensors by role, the result as "result".  Others than products and
    convolutions read every operand once."""
    function = _KNOWN.get(str(call["api"]))
    if function is None or not all(math.prod(v.shape) for v in views.values()):
        return plain(views)
    return function(call, views, chip) or plain(views)


def plain(views: Mapping[str, View]) -> Work:
    """Every tensor once."""
    return Work({role: float(view.bytes) for role, view in views.items()})


_OPERANDS = {1: "int8", 2: "int16", 4: "float32"}


def _peak(itemsize: int, chip: Chip) -> float:
    """1e12 multiply-adds a second with weights of so many bytes."""
    return {1: chip.i8, 2: chip.i16}.get(itemsize, chip.f32) * chip.mac_part


def _on_units(tasks: int, units: int) -> float:
    """How much longer the unit with the most tasks takes than if all had equally much."""
    return math.ceil(tasks / units) * units / tasks


def _convolution(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work | None:
    x, w, y = views["x"], views["w"], views["result"]
    groups = int(call.get("groups", 1))
    n, c, height, width = x.shape
    f, oh, ow = y.shape[1:]
    kh, kw = w.shape[2:]
    sh, sw = call["strides"]
    top, _, left, _ = call["paddings"]
    dh, dw = call["dilations"]
    rows = sum(0 <= oy * sh - top + r * dh < height for oy in range(oh) for r in range(kh))  # input rows under windows
    if groups == c:  # rows of one channel each, on the cores
        lines = rows * n * c * (f // c)
        moved = {"x": float(lines * min(width, (ow - 1) * sw + (kw - 1) * dw + 1) * x.itemsize), "w": float(lines * kw * w.itemsize)}
        return Work({**_rest(views, n * f * oh), **moved}, macs={"float32": w.size * n * oh * ow})
    of_group, pixels = f // groups, oh * ow
    p_tiles = math.ceil(pixels / _PIXELS)
    wanted = math.ceil(chip.sdnn / (n * groups * p_tiles))
    tile_f = min(max(math.ceil(math.ceil(of_group / wanted) / 8) * 8, 8), _FILTERS)
    f_tiles = math.ceil(of_group / tile_f)
    if (kh, kw, sh, sw, top, left) == (1, 1, 1, 1, 0, 0) and (oh, ow) == (height, width) and x.itemsize == w.itemsize:
        read = float(x.bytes)
    else:
        read = float(
            n * c * sum(_spans(p, oh, ow, kh, kw, (sh, sw, top, left, dh, dw), height, width) for p in range(p_tiles)) * x.itemsize
        )
    tasks = n * groups * f_tiles * p_tiles
    macs = w.size * n * pixels
    compute = macs / _peak(w.itemsize, chip) * 1e-3
    moved = {"x": read * f_tiles, "w": float(w.bytes * n * p_tiles)}
    return Work(
        {**_rest(views, n * p_tiles * f), **moved},
        compute * _on_units(tasks, chip.sdnn),
        True,
        _on_units(tasks, chip.sdnn),
        {_OPERANDS[w.itemsize]: macs},
    )


_PIXELS, _FILTERS, _ROWS, _COLUMNS = 256, 128, 64, 256  # of a tile: conv.cc, product.cc


def _spans(tile: int, oh: int, ow: int, kh: int, kw: int, geometry: tuple[int, ...], height: int, width: int) -> int:
    """The input elements of one channel that the windows of a tile of pixels read."""
    sh, sw, top, left, dh, dw = geometry
    at, end, total = tile * _PIXELS, min((tile + 1) * _PIXELS, oh * ow), 0
    while at < end:
        oy, ox = divmod(at, ow)
        count = min(ow - ox, end - at)
        first = ox * sw - left
        span = min(first + (count - 1) * sw + (kw - 1) * dw + 1, width) - max(first, 0)
        total += max(span, 0) * sum(0 <= oy * sh - top + r * dh < height for r in range(kh))
        at += count
    return total


def _rest(views: Mapping[str, View], biases: int) -> dict[str, float]:
    """What a fusion reads beside x and w: a branch and the result once, the bias once a piece of work, max pointers once."""
    rest = {role: float(view.bytes) for role, view in views.items() if role not in ("x", "w")}
    return rest | ({"bias": float(biases * views["bias"].itemsize)} if "bias" in views else {})


def _product(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work | None:
    x, w, y = views["x"], views["w"], views["result"]
    if len(w.shape) == 2:
        k, n = (w.shape[1], w.shape[0]) if call.get("wtrans") else w.shape
        batch, m = 1, y.size // n
    else:
        k, n = (w.shape[-1], w.shape[-2]) if call.get("wtrans") else w.shape[-2:]
        m = y.shape[-2]
        batch = y.size // (m * n)
    rows = math.ceil(m / _ROWS)
    wanted = math.ceil(chip.sdnn / (batch * rows))
    columns = math.ceil(n / min(max(math.ceil(math.ceil(n / wanted) / 32) * 32, 32), _COLUMNS))
    tasks = batch * rows * columns
    macs = batch * m * n * k
    compute = macs / _peak(w.itemsize, chip) * 1e-3
    moved = {"x": float(x.bytes * columns), "w": float(w.bytes * rows)}
    return Work(
        {**_rest(views, batch * rows * n), **moved},
        compute * _on_units(tasks, chip.sdnn),
        True,
        _on_units(tasks, chip.sdnn),
        {_OPERANDS[w.itemsize]: macs},
    )


_KNOWN: dict[str, Callable[[Mapping[str, Any], Mapping[str, View], Chip], Work | None]] = {
    "conv2d_fusion": _convolution,
    "fc_fusion": _product,
    "fc_batched": _product,
}
