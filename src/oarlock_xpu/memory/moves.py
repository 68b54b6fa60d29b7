"""What functions of the kernel library other than products move of each operand, as their kernels do (native/xpu/kernels/src).

What is read in several passes, for each row, or for each tile counts as often; of what is looked up, the rows that are.  A function gives
the operands that move more or less than once.  tests/xpu/test_xpu_bytes.py holds all of them against the emulator's counters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..chips import Chip
from .tiles import Planes, spans, tiling
from .view import View

Call = Mapping[str, Any]
Views = Mapping[str, View]
_ROW, _COLUMNS, _TILE, _BYTES, _CHOICE = 1024, 256, 768, 4096, 256  # elements, or bytes, of a part of a row


@dataclass(frozen=True)
class Moves:
    """Bytes by role; and those of the library's own work space, which no tensor has."""

    bytes: Mapping[str, int] = field(default_factory=dict)
    scratch_read: int = 0
    scratch_written: int = 0


def moves_of(call: Call, views: Views, chip: Chip) -> Moves:
    """``call`` as a module of library calls has it; roles that are not in the result move once."""
    function = _KNOWN.get(str(call["api"]))
    found = function(call, views, chip) if function is not None else {}
    return found if isinstance(found, Moves) else Moves(found)


def _softmax(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x = views["x"]
    axis = int(call["axis"]) % len(x.shape)
    once = math.prod(x.shape[axis + 1 :]) == 1 and x.shape[axis] <= _ROW
    return {"x": x.bytes * (1 if once else 3)}


def _reduction(call: Call, views: Views, chip: Chip) -> Moves:
    """Neighbouring dims in one pass, the last ones first; what a pass leaves to the next is in work space."""
    shape = list(views["x"].shape)
    dims = sorted(int(a) % len(shape) for a in call["axes"])
    between = 0
    while dims:
        first = len(dims) - 1
        while first and dims[first - 1] + 1 == dims[first]:
            first -= 1
        for d in dims[first:]:
            shape[d] = 1
        dims = dims[:first]
        between += math.prod(shape) * 4 if dims else 0
    return Moves({}, between, between)


def _norm(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x = views["x"]
    length = math.prod(x.shape[len(x.shape) - int(call.get("dims", 1)) :])
    passes = 1 if length <= _ROW else 2 if call["api"] == "rms_layer_norm" else 3
    return {role: views[role].bytes * passes for role in ("x", "other") if role in views} | {
        role: x.size * 4 for role in ("scale", "bias") if role in views
    }


def _groups(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x = views["x"]
    n, c, plane = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    groups = int(call["groups"]) if call["api"] == "group_norm" else c
    length = c // groups * plane
    # a core's part ends where its row does, and where a channel does
    parts = n * groups * (math.ceil(length / _ROW) + length // plane - math.ceil(length / math.lcm(_ROW, plane)))
    return {"x": x.bytes * (1 if length <= chip.cores * _ROW else 3)} | {r: parts * 4 for r in ("scale", "bias") if r in views}


def _channels(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x = views["x"]
    parts = x.shape[0] * x.shape[1] * math.ceil(math.prod(x.shape[2:]) / _ROW)
    return {role: parts * 4 for role in ("scale", "bias") if role in views}


def _excitation(call: Call, views: Views, chip: Chip) -> Moves:
    """Means to work space, which each cluster reads with the first matrix."""
    x, w1 = views["x"], views["w1"]
    n, c = x.shape[:2]
    clusters = min(math.ceil(c / chip.cores), chip.clusters)
    moved = {"x": x.bytes * 2, "w1": n * clusters * w1.bytes, "w2": n * views["w2"].bytes}
    moved |= {role: n * count * views[role].bytes for role, count in (("b1", clusters), ("b2", 1)) if role in views}
    means = n * c * 4
    return Moves(moved, means * clusters * (1 if c <= 8192 else w1.size // c), means)


def _joined(shape: Sequence[int], operands: Sequence[Sequence[int]]) -> tuple[int, list[bool]]:
    """The width of the result's rows, when neighbouring dims that all operands have or repeat are one; and which of them have it."""
    width, own = 1, [True] * len(operands)
    for back in range(1, len(shape) + 1):
        size = shape[-back]
        if size == 1:
            continue
        here = [back <= len(o) and o[-back] != 1 for o in operands]
        if width > 1 and here != own:
            break
        width, own = width * size, here
    return width, own


def _broadcast(call: Call, views: Views, chip: Chip, roles: Sequence[str] = ("x", "y"), part: int = _TILE) -> dict[str, int]:
    result = views["result"]
    width, own = _joined(result.shape, [views[role].shape for role in roles])
    pieces = result.size // width * math.ceil(width / part)
    return {role: (result.size if o else pieces) * views[role].itemsize for role, o in zip(roles, own, strict=True)}


def _select(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    return _broadcast(call, views, chip, ("condition", "x", "y"), _CHOICE)


def _pool(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x, y = views["x"], views["result"]
    (kh, kw), (sh, sw), (top, _, left, _) = call["ksize"], call["strides"], call["paddings"]
    height, width = x.shape[2:]
    rows = sum(0 <= oy * sh - top + r < height for oy in range(y.shape[2]) for r in range(kh))
    columns = sum(spans(width, y.shape[3], sw, left, kw))
    return {"x": x.shape[0] * x.shape[1] * rows * columns * x.itemsize}


def _resize(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x, y = views["x"], views["result"]
    (n, c, height, width), (out_h, out_w) = x.shape, y.shape[2:]
    near, planes = bool(call["nearest"]), n * c
    low_h, step_h = resize_places(height, out_h, near, int(call["trans_mode"]), float(call.get("scale_h", 0)))
    low_w, step_w = resize_places(width, out_w, near, int(call["trans_mode"]), float(call.get("scale_w", 0)))
    planned = Planes(planes, width, out_h, out_w, 0, 20, False)
    rows = tiling(planned, chip, chip.clusters, lambda rows: min(int((rows - 1) * step_h) + (3 if rows > 1 else 2), height))
    more = 0 if near else 1
    if rows:
        ends = [(low_h[oy], min(low_h[min(oy + rows, out_h) - 1] + more, height - 1)) for oy in range(0, out_h, rows)]
        return {"x": planes * sum(last - first + 1 for first, last in ends) * width * x.itemsize}
    most = int(min(max(637 / max(step_w, 1e-3), 1), 640))
    parts = [min(low_w[min(at + most, out_w) - 1] + 1, width - 1) - low_w[at] + 1 for at in range(0, out_w, most)]
    return {"x": planes * out_h * sum(parts) * (1 + more) * x.itemsize}


def resize_places(size: int, out: int, near: bool, mode: int, scale: float) -> tuple[list[int], float]:
    """The element at or before each result, and the distance of two, in float32 as resize.cc computes them."""
    f = np.float32
    step = f(0) if out <= 1 else f(size - 1) / f(out - 1) if mode == 0 else f(1 / f(scale)) if scale > 0 else f(size) / f(out)
    i = np.arange(out, dtype=f)
    place = step * i + (f(0.5) if mode == 0 else f(0)) if near else np.maximum(step * (i + f(0.5)) - f(0.5), 0) if mode == 1 else step * i
    return [min(int(p), size - 1) for p in place], float(step)


def _lookup(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    table, ids = ("table", "ids") if call["api"] == "embedding" else ("x", "index")
    x, axis, count = views[table], int(call.get("axis", 0)), views[ids].size
    outer, row = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :]) * x.itemsize
    return {table: outer * count * row, ids: outer * count * math.ceil(row / _BYTES) * views[ids].itemsize}


def _embeddings(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    y = views["result"]
    rows = y.size // y.shape[-1]
    return {
        role: rows * view.itemsize if role.startswith("ids") else y.bytes
        for role, view in views.items()
        if role.startswith(("ids", "table")) or role in ("scale", "bias")
    }


def _slice(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x, y = views["x"], views["result"]
    width, step = 1, 1  # of the result's rows in the kernel: neighbouring dims that lie in step are one
    for d in reversed(range(len(y.shape))):
        along = int(call["dims"][d])
        here = int(call["strides"][along]) * math.prod(x.shape[along + 1 :]) if along >= 0 else 0
        if y.shape[d] == 1:
            continue
        if width > 1 and here != step * width:
            break
        width, step = width * y.shape[d], here if width == 1 else step
    reach, most = abs(step) if width > 1 else 1, 2048 // x.itemsize
    span = reach <= most // 4
    many = most if reach <= 1 or not span else (most - 1) // reach + 1
    read = 0
    for at in range(0, width, many):
        n = min(many, width - at)
        read += (n - 1) * reach + 1 if span else n
    return {"x": y.size // width * read * x.itemsize}


def _pad(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    x, y = views["x"], views["result"]
    kept = [max(min(i + b, o) - max(b, 0), 0) for i, o, b in zip(x.shape, y.shape, call["before"], strict=True)]
    return {"x": math.prod(kept) * x.itemsize}


def _transposed(call: Call, views: Views, chip: Chip) -> dict[str, int]:
    """Results of one phase of the strides are a product for each of their taps."""
    x, w, y = views["x"], views["w"], views["result"]
    (n, c, height, width), (f, oh, ow) = x.shape, y.shape[1:]
    kernel, strides, dilations, groups = w.shape[1:3], call["strides"], call["dilations"], int(call.get("groups", 1))
    before = (call["paddings"][0], call["paddings"][2])
    pixels = math.ceil(oh / strides[0]) * math.ceil(ow / strides[1])
    tasks = n * groups * strides[0] * strides[1] * math.ceil(pixels / 256)
    wanted = math.ceil(chip.sdnn / tasks)
    tile = min(max(math.ceil(math.ceil(f // groups / wanted) / 8) * 8, 8), 128)

    def axis(d: int, phase: int, size: int, out: int) -> tuple[int, list[int]]:
        """How many results the phase has along an axis, and of each of its taps how many elements it reads."""
        count, taps = len(range(phase, out, strides[d])), []
        for k in range(kernel[d]):
            over = phase + before[d] - k * dilations[d]
            if over % strides[d] == 0:
                first = over // strides[d]
                taps.append(max(min(count, size - first) - max(-first, 0), 0))
        return count, taps

    read, filters, biases = 0, 0, 0
    for py in range(strides[0]):
        for px in range(strides[1]):
            (rows, down), (columns, across) = axis(0, py, height, oh), axis(1, px, width, ow)
            tiles = math.ceil(rows * columns / 256)
            read += sum(down) * sum(across)
            filters += tiles * len(down) * len(across)
            biases += tiles
    moved = {"x": n * c * math.ceil(f // groups / tile) * read * 4, "w": n * f * (c // groups) * filters * 4}
    return moved | ({"bias": n * f * biases * 4} if "bias" in views else {})


_KNOWN: dict[str, Callable[[Call, Views, Chip], Moves | dict[str, int]]] = {
    "softmax": _softmax,
    **{f"reduce_{kind}": _reduction for kind in ("sum", "mean", "max", "min")},
    **dict.fromkeys(("layer_norm", "add_layer_norm", "rms_layer_norm"), _norm),
    **dict.fromkeys(("group_norm", "instance_norm"), _groups),
    "batch_norm_infer": _channels,
    "squeeze_excitation_block": _excitation,
    **{f"broadcast_{kind}": _broadcast for kind in ("add", "sub", "mul", "div", "max", "min", "pow")},
    "select": _select,
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), _pool),
    "interpolate2d": _resize,
    **dict.fromkeys(("gather", "embedding"), _lookup),
    "multi_embedding_fusion": _embeddings,
    "strided_slice": _slice,
    "pad": _pad,
    "conv2d_transpose_fusion": _transposed,
}
