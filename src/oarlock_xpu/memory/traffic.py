"""What a call of the kernel library moves, by operand, and what it computes: as its kernels do (native/xpu/kernels/src).

A convolution reads its input once for each tile of filters and row of the window, a product its operands once for each tile of the
other: so what a tensor costs in GDDR is more than its size.  Functions that are no products are in moves.py.
tests/xpu/test_xpu_memory.py and test_xpu_bytes.py hold these numbers against the emulator's counters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..chips import Chip
from .moves import moves_of
from .tiles import Planes, spans, tiling
from .view import View

Shape = Sequence[int]


@dataclass(frozen=True)
class Work:
    """One kernel: bytes by role (``result`` is what it writes), the ns that it computes (``macs`` by the type of its operands), and
    whether it moves data beside that.

    ``share``: the part of all bytes that the unit with the most work moves, times the number of units.  ``scratch_read``,
    ``scratch_written``: bytes of the library's own work space, which no tensor has.
    """

    bytes: Mapping[str, float]
    compute_ns: float = 0.0
    overlaps: bool = False
    share: float = 1.0
    macs: Mapping[str, int] = field(default_factory=dict)
    scratch_read: float = 0.0
    scratch_written: float = 0.0


def work_of(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work:
    """What a call of the library does; ``views``: its tensors by role, the result as "result"."""
    function = _KNOWN.get(str(call["api"]))
    if not all(v.size for v in views.values()):
        return plain(views)
    if function is not None:
        return function(call, views, chip)
    moved, once = moves_of(call, views, chip), plain(views)
    bytes_ = {**once.bytes, **{role: float(size) for role, size in moved.bytes.items()}}
    return Work(bytes_, scratch_read=moved.scratch_read, scratch_written=moved.scratch_written)


def plain(views: Mapping[str, View]) -> Work:
    """Every tensor once."""
    return Work({role: float(view.bytes) for role, view in views.items()})


def _operands(weights: View) -> str:
    """What is multiplied, as the weights have it: int32 holds fixed-point numbers of 31 bits."""
    return "int31" if weights.dtype == "int32" else weights.dtype


def _peak(itemsize: int, chip: Chip) -> float:
    """1e12 multiply-adds a second with weights of so many bytes."""
    return {1: chip.i8, 2: chip.i16}.get(itemsize, chip.f32) * chip.mac_part


def _on_units(tasks: int, units: int) -> float:
    """How much longer the unit with the most tasks takes than if all had equally much."""
    return math.ceil(tasks / units) * units / tasks


class _Axis(NamedTuple):
    """An axis of a convolution; ``before``: its padding on that side."""

    size: int
    kernel: int
    out: int
    stride: int
    before: int
    dilation: int

    def taps(self, place: int) -> int:
        """How many elements of the window of a result lie inside of the input."""
        return sum(0 <= place * self.stride - self.before + k * self.dilation < self.size for k in range(self.kernel))


def _axes(call: Mapping[str, Any], views: Mapping[str, View]) -> list[_Axis]:
    """Slices, rows and columns; a picture has one slice."""
    shapes = [views[role].shape[2:] for role in ("x", "w", "result")]
    found = [_Axis(*numbers) for numbers in zip(*shapes, call["strides"], call["paddings"][::2], call["dilations"], strict=True)]
    return [_Axis(1, 1, 1, 1, 0, 1)] * (3 - len(found)) + found


def _convolution(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work:
    x, w, y = views["x"], views["w"], views["result"]
    groups = int(call.get("groups", 1))
    n, c, f = *x.shape[:2], y.shape[1]
    axes = _axes(call, views)
    flat = axes[0].size == axes[0].kernel == axes[0].out == 1 and not axes[0].before
    if groups == c and flat and axes[2].kernel <= 64 and w.dtype == "float32":
        return _depthwise(call, views, chip)
    of_group, pixels = f // groups, math.prod(a.out for a in axes)
    p_tiles = math.ceil(pixels / _PIXELS)
    wanted = math.ceil(chip.sdnn / (n * groups * p_tiles))
    tile_f = min(max(math.ceil(math.ceil(of_group / wanted) / 8) * 8, 8), _FILTERS)
    f_tiles = math.ceil(of_group / tile_f)
    if all(a == (a.size, 1, a.size, 1, 0, a.dilation) for a in axes):
        read = float(x.bytes)
    else:
        read = float(n * c * sum(_spans(p * _PIXELS, min((p + 1) * _PIXELS, pixels), axes) for p in range(p_tiles)) * x.itemsize)
    tasks = n * groups * f_tiles * p_tiles
    macs = w.size * n * pixels
    compute = macs / _peak(w.itemsize, chip) * 1e-3
    moved = {"x": read * f_tiles, "w": float(w.bytes * n * p_tiles)}
    return Work(
        {**_rest(views, n * p_tiles * f, chip.sdnn), **moved},
        compute * _on_units(tasks, chip.sdnn),
        True,
        _on_units(tasks, chip.sdnn),
        {_operands(w): macs},
    )


def _depthwise(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work:
    """Planes of one channel each, on the cores: tiles of rows, or row by row."""
    x, w, y = views["x"], views["w"], views["result"]
    n, f = y.shape[:2]
    _, down, across = _axes(call, views)
    (height, kh, oh, sh, top, dh), (width, kw, ow, sw, left, dw) = down, across
    planes, taps = n * f, kh * kw
    clusters = chip.max_ptr if "y_max" in views else chip.clusters
    rows = 0
    if dh == 1:
        planned = Planes(planes, width, oh, ow, taps + 1, 2 * taps + 3, "branch" in views)
        rows = tiling(planned, chip, clusters, lambda rows: min((rows - 1) * sh + kh, height))
    if rows:
        pieces = range(0, oh, rows)
        lines = sum(max(min((min(oy + rows, oh) - 1) * sh - top + kh, height) - max(oy * sh - top, 0), 0) for oy in pieces)
        moved = {"x": planes * lines * width * x.itemsize, "w": planes * len(pieces) * taps * w.itemsize}
        biases = planes * len(pieces)
    else:
        lines = planes * sum(map(down.taps, range(oh)))
        columns = spans(width, ow, sw, left, (kw - 1) * dw + 1)
        moved = {"x": lines * sum(columns) * x.itemsize, "w": lines * len(columns) * kw * w.itemsize}
        biases = planes * oh
    return Work({**_rest(views, biases), **{role: float(size) for role, size in moved.items()}}, macs={"float32": w.size * n * oh * ow})


_PIXELS, _FILTERS, _ROWS, _COLUMNS = 256, 128, 64, 256  # of a tile: conv.cc, product.cc


def _spans(at: int, end: int, axes: Sequence[_Axis]) -> int:
    """The input elements of one channel that the windows of so many pixels read."""
    slices, rows, columns = axes
    total = 0
    while at < end:
        row, ox = divmod(at, columns.out)
        oz, oy = divmod(row, rows.out)
        count = min(columns.out - ox, end - at)
        first = ox * columns.stride - columns.before
        span = min(first + (count - 1) * columns.stride + (columns.kernel - 1) * columns.dilation + 1, columns.size) - max(first, 0)
        total += max(span, 0) * rows.taps(oy) * slices.taps(oz)
        at += count
    return total


def _rest(views: Mapping[str, View], biases: int, units: int = 1) -> dict[str, float]:
    """What a fusion reads beside x and w: a branch and the result once, biases and the largest numbers of filters or columns once a piece
    of work (``biases``: of them all), a max pointer once a unit, and the one of the result once."""
    rest = {role: float(view.bytes) for role, view in views.items() if role not in ("x", "w")}
    rest |= {role: float(biases * 4) for role in ("bias", "scale_max", "w_columns") if role in views}
    return rest | {role: float(views[role].bytes * units) for role in ("x_max", "w_max") if role in views}


def _product(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work:
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
        {**_rest(views, batch * rows * n, chip.sdnn), **moved},
        compute * _on_units(tasks, chip.sdnn),
        True,
        _on_units(tasks, chip.sdnn),
        {_operands(w): macs},
    )


def _attention(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work:
    q, k, y = views["q"], views["k"], views["result"]
    heads, dim = int(call["heads"]), int(call["dim"])
    rows, keys = (view.shape[2 if call.get(f"{role}_heads") else 1] for role, view in (("q", q), ("k", k)))
    sizes = _Attention(y.shape[0], heads, rows, keys, dim, int(call.get("v_dim", dim)), bool(call.get("causal")))
    moved = sizes.moves(views["mask"].shape if "mask" in views else ())
    rest = {role: view.bytes * (chip.sdnn if role in ("q_max", "k_max", "v_max") else 1) for role, view in views.items()}
    tasks = sizes.batch * heads * math.ceil(rows / _ROWS)
    kind = str(call.get("precision", "float32"))
    compute = sizes.macs / _peak({"int8": 1, "int16": 2, "float16": 2}.get(kind, 4), chip) * 1e-3 + sizes.elements / _LANES / (
        16e-3 * chip.mhz * chip.sdnn
    )
    share = _on_units(tasks, chip.sdnn)
    return Work({role: float(size) for role, size in {**rest, **moved}.items()}, compute * share, True, share, {kind: sizes.macs})


_KEYS, _LANES, _SOFTMAX = 128, 16, 12  # attention.cc


@dataclass(frozen=True)
class _Attention:
    """Attention's sizes; a tile has 64 queries of one head, and goes over blocks of keys up to the last that it sees."""

    batch: int
    heads: int
    rows: int
    keys: int
    dim: int
    v_dim: int
    causal: bool = False

    def _tiles(self) -> list[tuple[int, int]]:
        """Queries of each tile of a head, and keys that they go over."""
        tiles = [(at, min(_ROWS, self.rows - at)) for at in range(0, self.rows, _ROWS)]
        seen = [at + n + self.keys - self.rows if self.causal else self.keys for at, n in tiles]
        return [(n, min(math.ceil(max(last, 0) / _KEYS) * _KEYS, self.keys)) for (_, n), last in zip(tiles, seen, strict=True)]

    def moves(self, mask: Shape) -> dict[str, int]:
        """Bytes of queries, keys, values, and a mask of these dims, where there is one."""
        over, heads = sum(keys for _, keys in self._tiles()), self.batch * self.heads
        moved = {"q": heads * self.rows * self.dim * 4, "k": heads * over * self.dim * 4, "v": heads * over * self.v_dim * 4}
        if not mask:
            return moved
        each = len(mask) > 1 and mask[-2] != 1
        return moved | {"mask": heads * sum((n if each else 1) * keys for n, keys in self._tiles()) * 4}

    @property
    def macs(self) -> int:
        return self.batch * self.heads * (self.dim + self.v_dim) * sum(n * keys for n, keys in self._tiles())

    @property
    def elements(self) -> int:
        """Operations between the products."""
        return self.batch * self.heads * sum(n * (keys * _SOFTMAX + math.ceil(keys / _KEYS) * self.v_dim * 2) for n, keys in self._tiles())


def _encoder(call: Mapping[str, Any], views: Mapping[str, View], chip: Chip) -> Work:
    """Its launches one by one; what lies between them is in work space.  With packed sequences as if there were no padding."""
    x, float32 = views["x"], "float32"
    batch, rows, d = x.shape
    n, heads, layers = batch * rows, int(call["heads"]), int(call["layers"])
    inner = views["l0.inner"].shape[1]
    moved = dict.fromkeys(views, 0.0)
    read = written = 0.0
    macs: dict[str, int] = {}

    def took(work: Work, names: Mapping[str, str]) -> None:
        """Add a launch: ``names``: what its operands are called here; others, and those that are not ours, lie in work space."""
        nonlocal read, written
        for role, size in work.bytes.items():
            name = names.get(role, "")
            if name in moved:
                moved[name] += size
            elif role in ("result", "sum", "y_max"):
                written += size
            else:
                read += size
        for kind, count in work.macs.items():
            macs[kind] = macs.get(kind, 0) + count

    integers = views["l0.qkv"].dtype.startswith("int")
    pointer = {"y_max": View((chip.max_ptr,), 4)} if integers else {}

    def product(name: str, k: int, columns: int, given: str, gives_max: bool) -> None:
        weights = views[name]
        operands = {"x": View((n, k), 4), "w": weights, "result": View((n, columns), 4), **(pointer if gives_max else {})}
        operands |= {"x_max": View((chip.max_ptr,), 4), "w_columns": View((columns,), 4)} if integers else {}
        operands |= {"bias": View((columns,), 4)} if f"{name}_bias" in views else {}
        names = {"x": given, "w": name, "bias": f"{name}_bias", "w_columns": f"{name}_max", "x_max": "x_max" if given else ""}
        took(_product({}, operands, chip), names)

    def norm(number: int, which: int, given: Mapping[str, str], to: str = "", kept: bool = False) -> None:
        here = {role: f"l{number}.{role.replace('bias', 'shift')}{which}" for role in ("scale", "bias")}
        operands = {role: View((n, d), 4) for role in given} | {"result": View((n, d), 4)} | ({"sum": View((n, d), 4)} if kept else {})
        operands |= {role: View((d,), 4) for role, name in here.items() if name in views}
        operands |= pointer if to != "result" or "y_max" in views else {}
        took(work_of({"api": "add_layer_norm"}, operands, chip), {**here, **given, "result": to, "y_max": "y_max" if to else ""})

    sizes = _Attention(batch, heads, rows, rows, d // heads, d // heads)
    precision = {"float16": "float16", "int8": "int8", "int16": "int16", "int32": "int31"}.get(views["l0.qkv"].dtype, float32)
    if integers and not call.get("pre_norm") and "x_max" not in views:  # it is looked for
        moved["x"], written = moved["x"] + x.bytes, written + chip.max_ptr * 4
    for number in range(layers):
        at, given = f"l{number}.", "" if number else "x"
        to = "result" if number == layers - 1 else ""
        pre = bool(call.get("pre_norm"))
        if pre:
            norm(number, 1, {"x": given})
        product(at + "qkv", d, 3 * d, "" if pre else given, True)
        between = {**sizes.moves(views["mask"].shape if "mask" in views else ()), "result": n * d * 4}
        between |= {role: chip.sdnn * chip.max_ptr * 4 for role in ("q_max", "k_max", "v_max")} if integers else {}
        took(Work({**between, **{r: v.bytes for r, v in pointer.items()}}, macs={precision: sizes.macs}), {"mask": "mask"})
        product(at + "out", d, d, "", False)
        norm(number, 2 if pre else 1, {"x": given, "other": ""}, kept=pre)
        product(at + "inner", d, inner, "", True)
        product(at + "outer", inner, d, "", False)
        if pre:
            took(plain({"x": View((n, d), 4), "y": View((n, d), 4), "result": View((n, d), 4)}), {"result": to})
            if to and "y_max" in views:  # it is looked for
                moved["y_max"], read = moved["y_max"] + chip.max_ptr * 4, read + x.bytes
        else:
            norm(number, 2, {"x": "", "other": ""}, to)
    return Work(moved, macs=macs, scratch_read=read, scratch_written=written)


_KNOWN: dict[str, Callable[[Mapping[str, Any], Mapping[str, View], Chip], Work]] = {
    **dict.fromkeys(("conv2d_fusion", "conv3d_fusion"), _convolution),
    "fc_fusion": _product,
    "fc_batched": _product,
    "qkv_attention": _attention,
    "transformer_encoder": _encoder,
}
