"""Pooling: pool2d, pool3d, with index, by power, unpooling, fractional."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from tvm import relax, te, tirx

from ..errors import UnsupportedError
from .builder import Builder, dim_min, floordiv
from .kernels import inside
from .registry import Ints, operator
from .serial import i64, kernel, loop, parallel, when
from .spatial import Edges, float_min, from_channels_first, ints, is_static, per_axis, resolve_padding, to_channels_first
from .tensor import Dim, PrimExpr, Tensor


@dataclass(frozen=True)
class Window:
    """Along one axis: the output's ``size``, how many places a window can have (``extent``), and where it begins and ends.

    ``begin`` and ``end`` map an output index to places of the input; with padding they reach outside of 0 … ``length``.
    """

    size: Dim
    extent: Dim
    length: Dim
    begin: Callable[[PrimExpr], PrimExpr]
    end: Callable[[PrimExpr], PrimExpr]

    def place(self, index: PrimExpr, k: PrimExpr) -> tuple[PrimExpr, PrimExpr]:
        """(the input's place of step k in window ``index``, whether it is one)."""
        at = self.begin(index) + k
        return at, tirx.all(at >= 0, at < tirx.min(self.end(index), i64(self.length)))

    def count(self, index: PrimExpr) -> PrimExpr:
        """How many places of the input window ``index`` has."""
        return tirx.min(self.end(index), i64(self.length)) - tirx.max(self.begin(index), i64(0))


def sliding(b: Builder, length: Dim, kernel: int, stride: int, edge: tuple[Dim, Dim], ceil_mode: bool) -> Window:
    """Windows of ``kernel`` places every ``stride``."""
    before, after = edge
    room = length + before + after - kernel + (stride - 1 if ceil_mode else 0)
    size = b.simplify(floordiv(room, stride) + 1)
    # Paddle counts padding up to the *leading* amount behind the end
    last = i64(length + before)
    return Window(size, kernel, length, lambda i: i * stride - before, lambda i: tirx.min(i * stride - before + kernel, last))


def adaptive_window(b: Builder, length: Dim, size: Dim) -> Window:
    """``size`` windows that share out ``length`` places: ⌊i · length / size⌋ … ⌈(i + 1) · length / size⌉."""
    whole = isinstance(length, int) and isinstance(size, int) and length % size == 0
    extent = length // size if whole else b.simplify(dim_min(floordiv(length + size - 1, size) + 1, length))  # type: ignore[operator]
    size = b.simplify(size)
    return Window(
        size, extent, length, lambda i: tirx.floordiv(i * length, size), lambda i: tirx.floordiv((i + 1) * length + size - 1, size)
    )  # fmt: skip


def _reduced(
    b: Builder, x: Tensor, windows: list[Window], reducer: Callable[..., PrimExpr], start: PrimExpr, value: Callable[[PrimExpr], PrimExpr]
) -> Tensor:
    """reducer over the input's places of every window; ``start`` stands for places that are none."""

    def body(t: te.Tensor) -> te.Tensor:
        axes = [te.reduce_axis((0, w.extent), name="k") for w in windows]

        def element(n: Any, c: Any, *index: Any) -> PrimExpr:
            places = [w.place(i, k) for w, i, k in zip(windows, index, axes, strict=True)]
            inside = tirx.all(*[ok for _, ok in places])
            return reducer(tirx.if_then_else(inside, value(t(n, c, *[p for p, _ in places])), start), axis=axes)

        return te.compute([*x.shape[:2], *[w.size for w in windows]], element, name="pool")

    return b.te(body, x, name="pool")


def _least(dtype: str) -> PrimExpr:
    """What Paddle compares the elements of a window with first, and gives for one that has none: the least float32, in the type."""
    known = {"float16": float("-inf"), "bfloat16": float(ml_dtypes.finfo("bfloat16").min), "float64": float(np.finfo("float32").min)}
    return tirx.const(known[dtype], dtype) if dtype in known else float_min(dtype)


def pool_windows(b: Builder, x: Tensor, windows: list[Window], kind: str, exclusive: bool) -> Tensor:
    """max or avg over windows of a channels-first tensor; exclusive: padding is not counted."""
    if kind == "max":
        # te.max begins with the least finite number
        largest = te.comm_reducer(lambda a, v: tirx.max(a, v), _least, name="max") if x.dtype == "float16" else te.max
        return _reduced(b, x, windows, largest, _least(x.dtype), lambda v: v)
    total = _reduced(b, x, windows, te.sum, tirx.const(0, x.dtype), lambda v: v)

    def mean(t: te.Tensor, n: Any, c: Any, *index: Any) -> PrimExpr:
        count: PrimExpr = tirx.const(1, "int64")
        for w, i in zip(windows, index, strict=True):
            count = count * (w.count(i) if exclusive else w.end(i) - w.begin(i))
        return t(n, c, *index) / count.astype(x.dtype)

    return b.compute(total.shape, mean, total, name="pool_mean")


def _plain(
    b: Builder, x: Tensor, kind: str, kernel: list[int], strides: list[int], edges: Edges, ceil_mode: bool, exclusive: bool
) -> Tensor | None:
    """The Relax operator, where it means the same."""
    rank = len(kernel)
    if not is_static(edges) or any(e[0] >= k or e[1] >= k for e, k in zip(edges, kernel, strict=True)):
        return None
    padded = any(e != (0, 0) for e in edges)
    flat = [e[0] for e in edges] + [e[1] for e in edges]
    if ceil_mode:
        if not all(isinstance(d, int) for d in x.shape[2:]):
            return None
        exact = all((d + e[0] + e[1] - k) % s == 0 for d, e, k, s in zip(x.shape[2:], edges, kernel, strides, strict=True))  # type: ignore
        if not exact and (kind != "max" or any(s > k for s, k in zip(strides, kernel, strict=True)) or padded):
            return None
        ceil_mode = not exact
    if kind == "max":
        pool = {2: relax.op.nn.max_pool2d, 3: relax.op.nn.max_pool3d}[rank]
        return b.emit(pool(x.expr, kernel, strides, flat, [1] * rank, ceil_mode))
    if padded and not exclusive and any(after > before for before, after in edges):  # type: ignore[operator]
        return None
    pool = {2: relax.op.nn.avg_pool2d, 3: relax.op.nn.avg_pool3d}[rank]
    return b.emit(pool(x.expr, kernel, strides, flat, [1] * rank, ceil_mode, padded and not exclusive))


def _windows(
    b: Builder,
    sizes: Sequence[Dim],
    kernel: Sequence[Dim],
    strides: Sequence[int],
    paddings: Sequence[int],
    ceil_mode: bool,
    global_pooling: bool,
    adaptive: bool,
    padding_algorithm: str = "EXPLICIT",
) -> list[Window]:
    """The windows along each axis: one over all, as many as ``kernel`` says (adaptive), or sliding ones."""
    if global_pooling:
        return [adaptive_window(b, d, 1) for d in sizes]
    if adaptive:
        return [adaptive_window(b, d, k) for d, k in zip(sizes, kernel, strict=True)]
    fixed, steps = ints(kernel, "the kernel size of a pooling"), per_axis(strides, len(sizes))
    edges, _ = resolve_padding(padding_algorithm, paddings, sizes, fixed, steps, [1] * len(sizes))
    return [sliding(b, d, k, s, e, ceil_mode) for d, k, s, e in zip(sizes, fixed, steps, edges, strict=True)]


def _per_axis(kernel: Sequence[Dim], rank: int) -> list[Dim]:
    return list(kernel) * rank if len(kernel) == 1 else list(kernel)


@operator("pool2d", "pool3d")
def pool(
    b: Builder,
    x: Tensor,
    kernel_size: Ints,
    strides: list = [1],  # noqa: B006 - never changed
    paddings: list = [0],  # noqa: B006
    ceil_mode: bool = False,
    exclusive: bool = True,
    data_format: str = "NCHW",
    pooling_type: str = "max",
    global_pooling: bool = False,
    adaptive: bool = False,
    padding_algorithm: str = "EXPLICIT",
) -> Tensor:
    """Max or average pooling over the spatial axes; adaptive: kernel_size is the output's size."""
    if pooling_type not in ("max", "avg"):
        raise UnsupportedError(f"pooling_type={pooling_type!r}")
    x = to_channels_first(x, data_format)
    sizes = x.shape[2:]
    kernel = _per_axis(kernel_size, len(sizes))
    if global_pooling or (adaptive and all(isinstance(k, int) and k == 1 for k in kernel)):
        reduce = relax.op.mean if pooling_type == "avg" else relax.op.max
        out: Tensor | None = b.emit(reduce(x.expr, list(range(2, x.ndim)), keepdims=True))
    elif adaptive:
        out = x if all(isinstance(k, int) and k == d for k, d in zip(kernel, sizes, strict=True)) else None
    else:
        fixed, steps = ints(kernel, "the kernel size of a pooling"), per_axis(strides, len(sizes))
        edges, _ = resolve_padding(padding_algorithm, paddings, sizes, fixed, steps, [1] * len(sizes))
        out = _plain(b, x, pooling_type, fixed, steps, edges, ceil_mode, exclusive)
    if out is None:
        windows = _windows(b, sizes, kernel, strides, paddings, ceil_mode, False, adaptive, padding_algorithm)
        out = pool_windows(b, x, windows, pooling_type, exclusive or adaptive)
    return from_channels_first(out, data_format)


# ---- with index ------------------------------------------------------------------------------------------------------


def _first_max(dtype: str) -> Callable[..., Any]:
    """A reducer of (place, value) pairs: the largest value, and the first place that has it."""

    def combine(left: Any, right: Any) -> tuple[PrimExpr, PrimExpr]:
        keep = tirx.any(left[1] > right[1], tirx.all(left[1] == right[1], left[0] <= right[0]))
        return tirx.Select(keep, left[0], right[0]), tirx.Select(keep, left[1], right[1])

    return te.comm_reducer(combine, lambda a, v: (tirx.const(-1, a), _least(v)), name="first_max")


def max_with_index(b: Builder, x: Tensor, windows: list[Window]) -> tuple[Tensor, Tensor]:
    """Max pooling of a channels-first tensor and where each maximum stands, counted over the flattened spatial axes (int32)."""
    reducer = _first_max(x.dtype)

    def body(t: te.Tensor) -> list[te.Tensor]:
        axes = [te.reduce_axis((0, w.extent), name="k") for w in windows]

        def element(n: Any, c: Any, *index: Any) -> Any:
            places = [w.place(i, k) for w, i, k in zip(windows, index, axes, strict=True)]
            inside = tirx.all(*[ok for _, ok in places])
            flat: PrimExpr = tirx.const(0, "int64")
            for (p, _), w in zip(places, windows, strict=True):
                flat = flat * w.length + p
            none = tirx.const(-1, "int32")
            value = tirx.if_then_else(inside, t(n, c, *[p for p, _ in places]), _least(x.dtype))
            return reducer((tirx.if_then_else(inside, flat.astype("int32"), none), value), axis=axes)

        place, value = te.compute([*x.shape[:2], *[w.size for w in windows]], element, name="pool_index")
        return [value, place]

    value, place = b.te(body, x, name="max_pool_with_index")
    return value, place


@operator("max_pool2d_with_index", "max_pool3d_with_index")
def max_pool_with_index(
    b: Builder,
    x: Tensor,
    kernel_size: list,
    strides: list = [1],  # noqa: B006
    paddings: list = [0],  # noqa: B006
    global_pooling: bool = False,
    adaptive: bool = False,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Max pooling and the flat position of each maximum."""
    sizes = x.shape[2:]
    windows = _windows(b, sizes, _per_axis(kernel_size, len(sizes)), strides, paddings, ceil_mode, global_pooling, adaptive)
    return max_with_index(b, x, windows)


def _fractional(length: Dim, size: int, pool: int, u: float) -> Window:
    """Paddle's pseudo-random windows: begins at ⌈α(i + u') − 1⌉ where α = length / size; a pool size overrides the ends."""
    if not isinstance(length, int):
        raise UnsupportedError("fractional max pooling needs static spatial dims", todo="pass shapes= with fixed sizes")
    alpha = np.float32(length - pool) / np.float32(size - (1 if pool > 0 else 0)) if size > (1 if pool > 0 else 0) else np.float32(0)
    if pool > 0:
        shift = int(np.float32(u) * alpha)
        starts = [int(np.float32(i + np.float32(u)) * alpha) - shift for i in range(size - 1)] + [length - pool]
        return _table(length, [s for s in starts], [s + pool for s in starts])
    base = length // size
    u_max1 = np.float32(base + 2) / alpha - 1
    u_max2 = np.float32(length + 1 - base) / alpha - (size - 1)
    scaled = np.float32(u) * min(u_max1, u_max2)
    shift = int(scaled * alpha)
    starts = [int(np.float32(i + scaled) * alpha) - shift for i in range(size)]
    ends = [int(np.float32(i + 1 + scaled) * alpha) - shift for i in range(size)]
    return _table(length, starts, ends)


def _table(length: int, begins: list[int], ends: list[int]) -> Window:
    """Windows listed one by one."""

    def pick(values: list[int]) -> Callable[[PrimExpr], PrimExpr]:
        def at(index: PrimExpr) -> PrimExpr:
            out: PrimExpr = tirx.IntImm("int64", values[-1])
            for k in range(len(values) - 2, -1, -1):
                out = tirx.Select(index == k, tirx.IntImm("int64", values[k]), out)
            return out

        return at

    extent = max(e - s for s, e in zip(begins, ends, strict=True))
    return Window(len(begins), extent, length, pick(begins), pick(ends))


@operator("fractional_max_pool2d", "fractional_max_pool3d")
def fractional_max_pool(
    b: Builder,
    x: Tensor,
    output_size: list,
    kernel_size: list = [],  # noqa: B006
    random_u: float = 0.0,
    return_mask: bool = True,
) -> tuple[Tensor, Tensor]:
    """Max pooling over windows that a number 0 < random_u < 1 spreads."""
    if not 0.0 < random_u < 1.0:
        raise UnsupportedError("fractional max pooling with random windows (random_u=0)", todo="export the model with a fixed random_u")
    pools = [int(k) for k in kernel_size] or [0] * (x.ndim - 2)
    windows = [_fractional(d, int(o), k, random_u) for d, o, k in zip(x.shape[2:], output_size, pools, strict=True)]
    return max_with_index(b, x, windows)


# ---- by power --------------------------------------------------------------------------------------------------------


def _power(value: PrimExpr, exponent: float, dtype: str) -> PrimExpr:
    """value^exponent; by products for small whole exponents, where the value may be negative."""
    if not 1 <= exponent <= 16 or exponent != int(exponent):
        return tirx.pow(value, tirx.const(exponent, dtype))
    out = value
    for _ in range(int(exponent) - 1):
        out = out * value
    return out


@operator
def lp_pool2d(
    b: Builder,
    x: Tensor,
    kernel_size: Ints,
    strides: list = [1, 1],  # noqa: B006
    paddings: list = [0, 0],  # noqa: B006
    ceil_mode: bool = False,
    exclusive: bool = True,
    data_format: str = "NCHW",
    pooling_type: str = "",
    global_pooling: bool = False,
    adaptive: bool = False,
    padding_algorithm: str = "EXPLICIT",
    norm_type: float = 0.0,
) -> Tensor:
    """(Σ xᵖ)^(1/p) over windows, p = norm_type; the maximum for p = ∞."""
    if norm_type == 0:
        raise UnsupportedError("lp_pool2d of the norm 0")
    x = to_channels_first(x, data_format)
    windows = _windows(b, x.shape[2:], kernel_size, strides, paddings, ceil_mode, global_pooling, adaptive, padding_algorithm)
    if norm_type == math.inf:
        return from_channels_first(_reduced(b, x, windows, te.max, float_min(x.dtype), lambda v: v), data_format)
    total = _reduced(b, x, windows, te.sum, tirx.const(0, x.dtype), lambda v: _power(v, norm_type, x.dtype))
    root = tirx.const(1.0 / norm_type, x.dtype)
    out = b.compute(total.shape, lambda t, *i: tirx.pow(t(*i), root), total, name="root")
    return from_channels_first(out, data_format)


# ---- the way back ----------------------------------------------------------------------------------------------------


def _unpool(b: Builder, x: Tensor, indices: Tensor, sizes: Sequence[Dim]) -> Tensor:
    """Zeros of spatial ``sizes`` with x at the flat places that ``indices`` gives for every channel."""
    batch, channels = x.shape[:2]
    planes = b.simplify(batch * channels)
    places: Dim = 1
    total: Dim = 1
    for d in x.shape[2:]:
        places = places * d
    for d in sizes:
        total = total * d
    places, total = b.simplify(places), b.simplify(total)
    index = b.match(indices.reshape([planes, places]), [planes, places])

    def body(value: Any, at: Any, out: Any) -> None:
        with parallel(planes) as p:
            with loop(total) as k:
                out[p, k] = tirx.const(0, x.dtype)
            with loop(places) as k, when(inside(i64(at[p, k]), total)):
                out[p, i64(at[p, k])] = value[p, k]

    (out,) = kernel(b, body, [x.reshape([planes, places]), index], [([planes, total], x.dtype)], "unpool")
    return out.reshape([batch, channels, *sizes])


@operator
def unpool(
    b: Builder, x: Tensor, indices: Tensor, output_size: Ints, ksize: list, strides: list, padding: list, data_format: str = "NCHW"
) -> Tensor:
    """2-D: undo max pooling, from its indices."""
    return _unpool(b, x, indices, list(output_size)[-2:])


@operator
def unpool3d(
    b: Builder,
    x: Tensor,
    indices: Tensor,
    ksize: list,
    strides: list = [1, 1, 1],  # noqa: B006
    paddings: list = [0, 0, 0],  # noqa: B006
    output_size: list = [0, 0, 0],  # noqa: B006
    data_format: str = "NCDHW",
) -> Tensor:
    """3-D: undo max pooling, from its indices."""
    return _unpool(b, x, indices, list(output_size)[-3:])
