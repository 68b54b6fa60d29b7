"""oneDNN's products and convolutions as candidates, where oneDNN is installed (the extra ``oarlock[onednn]``).

A kernel is written as any other, as a tensor expression, so that what follows joins it and its work is counted; schedule.py puts a
call in its place, and binding.c, which is linked into the model's library, runs it.  Data are channels last as our own kernels have
them, weights in the model's plain order: oneDNN packs them when they are first used, as the machine that runs the model needs them.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tvm import te

from ....kernels.choice import CANDIDATE, WORKLOAD
from ....runtime import libraries
from ..kernels import Window
from ..machine import Machine

SYMBOL = "oarlock_onednn_run"  # in binding.c
ATTRIBUTE = "oarlock.onednn"  # block annotation: of each part its text (binding.c), and where its data and its result begin (elements)
LIBRARY = libraries.KNOWN["onednn"]
DTYPE = "float32"
BINDING = Path(__file__).with_name("binding.c")

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """oneDNN for up to ``parts`` of a result at once."""

    parts: int

    @property
    def name(self) -> str:
        """The candidate's name in records."""
        return "onednn" if self.parts == 1 else "onednn parallel"


def headers() -> Path | None:
    """The folder of oneDNN's headers; None where the library or they are not installed, or cannot be."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64") or libraries.find(LIBRARY) is None:
        return None
    header = libraries.packaged(LIBRARY.headers, "include/oneapi/dnnl/dnnl.h")
    return header.parents[2] if header else None


def among(ours: Mapping[str, T], machine: Machine, operand: str, sizes: Sequence[Any]) -> dict[str, T | Call]:
    """``ours`` with calls as further candidates, where data of type ``operand`` and these ``sizes`` can be given to oneDNN.

    They are never the first, which is taken where nothing is known, but among the first to be tried.
    """
    if "onednn" not in machine.libraries or operand != DTYPE or not all(isinstance(size, int) and size > 0 for size in sizes):
        return dict(ours)
    first, *others = ours.items()
    calls = [Call(parts) for parts in dict.fromkeys((machine.threads, 1))]
    return dict([first, *((call.name, call) for call in calls), *others])


def _note(parts: Sequence[tuple[str, int, int]], call: Call, workload: str) -> dict[str, Any]:
    return {ATTRIBUTE: [value for part in parts for value in part], WORKLOAD: workload, CANDIDATE: call.name}


def _shares(size: int, parts: int) -> list[tuple[int, int]]:
    """Where each of about equal shares begins and ends."""
    parts = min(size, parts)
    return [(size * i // parts, size * (i + 1) // parts) for i in range(parts)]


def _text(number: int, data: Sequence[int], result: Sequence[int], window: Window, groups: int) -> str:
    """What binding.c reads."""
    sizes = [number, *data, *result, *window.kernel, *window.strides, *window.padding, *window.dilation, groups]
    return " ".join(["conv2d", *map(str, sizes)])


def _parts(data: Sequence[int], result: Sequence[int], window: Window, groups: int, most: int) -> list[tuple[str, int, int]]:
    """A convolution of ``data`` [N, H, W, C] to ``result`` [OH, OW, O] as up to ``most``: of some pictures, or of some rows of one."""
    (n, h, w, c), (oh, ow, o) = data, result
    if n > 1:
        return [
            (_text(i, (end - start, h, w, c), result, window, groups), start * h * w * c, start * oh * ow * o)
            for i, (start, end) in enumerate(_shares(n, most))
        ]
    out = []
    top, left, _, right = window.padding
    for i, (start, end) in enumerate(_shares(oh, most)):
        first = start * window.strides[0] - top
        last = (end - 1) * window.strides[0] - top + (window.kernel[0] - 1) * window.dilation[0] + 1
        above, below = max(0, -first), max(0, last - h)
        rows = min(last, h) - max(first, 0)
        if rows < 1:  # nothing but padding
            return [(_text(0, data, result, window, groups), 0, 0)]
        own = replace(window, padding=(above, left, below, right))
        out.append((_text(i, (1, rows, w, c), (end - start, ow, o), own, groups), max(first, 0) * w * c, start * ow * o))
    return out


def product(a: te.Tensor, weights: te.Tensor, call: Call, workload: str) -> te.Tensor:
    """a [M, K] × weights [K, N] → [M, N]: convolutions of pictures of one line, for which oneDNN has the better kernels."""
    m, depth, n = (int(size) for size in (*a.shape, weights.shape[1]))
    k = te.reduce_axis((0, depth), name="k")
    window = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    parts = [
        (_text(i, (1, 1, end - start, depth), (1, end - start, n), window, 1), start * depth, start * n)
        for i, (start, end) in enumerate(_shares(m, call.parts))
    ]
    note = _note(parts, call, workload)
    return te.compute((m, n), lambda i, j: te.sum(a[i, k] * weights[k, j], axis=[k]), name="library", attrs=note)


def convolution(x: te.Tensor, weights: te.Tensor, groups: int, window: Window, call: Call, workload: str) -> te.Tensor:
    """x [N, H, W, C] * weights [KH, KW, C/groups, O] → [N, OH, OW, O]"""
    n, h, w, _ = (int(size) for size in x.shape)
    oh, ow = window.out(h, w)
    (kh, kw), (sh, sw), (dh, dw), (top, left, _, _) = window.kernel, window.strides, window.dilation, window.padding
    depth, channels = int(weights.shape[2]), int(weights.shape[3])
    r, s, c = te.reduce_axis((0, kh), name="r"), te.reduce_axis((0, kw), name="s"), te.reduce_axis((0, depth), name="c")

    def element(b: Any, i: Any, j: Any, o: Any) -> Any:
        y, z = i * sh + r * dh - top, j * sw + s * dw - left
        value = x[b, y, z, o // (channels // groups) * depth + c if groups > 1 else c]
        if any(window.padding):
            value = te.if_then_else(te.all(y >= 0, y < h, z >= 0, z < w), value, te.const(0.0, DTYPE))
        return te.sum(value * weights[r, s, c, o], axis=[r, s, c])

    parts = _parts((n, h, w, int(x.shape[3])), (oh, ow, channels), window, groups, call.parts)
    return te.compute((n, oh, ow, channels), element, name="library", attrs=_note(parts, call, workload))


def compile_command(compiler: str, include: Path, output: str) -> list[str]:
    """How the binding is compiled: C, with ``compiler``, whichever language it is for."""
    import tvm_ffi.libinfo

    flags = ["-std=gnu11", "-O2", "-fPIC", "-fvisibility=hidden", f"-I{include}", f"-I{tvm_ffi.libinfo.find_include_path()}"]
    return [compiler, "-x", "c", *flags, "-c", str(BINDING), "-o", output]
