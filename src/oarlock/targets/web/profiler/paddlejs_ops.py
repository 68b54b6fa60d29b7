"""Paddle's operators as those of Paddle.js's WebGL backend 1.2.9, one function each; see paddlejs.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....errors import UnsupportedError
from ....model.program import Op, Value

if TYPE_CHECKING:
    from .paddlejs import Writer

# In the backend, but not right.
BROKEN = {name: "the backend's shader of it does not compile, or is wrong" for name in ("exp", "sqrt", "pow", "leaky_relu", "greater_than")}
FOLDED = (
    "full_int_array",
    "full",
    "shape",
    "shape64",
    "slice",
    "cast",
    "reshape",
    "stack",
    "concat",
    "assign_value",
    "squeeze",
    "unsqueeze",
)


def fold(w: Writer, op: Op) -> np.ndarray | None:
    """What an operation on constants gives; None for one on tensors."""
    name, values = op.short_name, [v for v in op.operands.values() if v is not None]
    if name == "full_int_array":
        return np.asarray(op.attrs["value"], "int64")
    if name == "full":
        return np.full(op.attrs.get("shape", []), op.attrs["value"])
    if name in ("shape", "shape64"):
        return np.asarray(w.shape(values[0]), "int64")
    flat = [item for v in values for item in w.lists.get(v, [v])]
    if name not in FOLDED or not flat or not all(v in w.constants for v in flat):
        return None
    arrays = [w.constants[v] for v in flat]
    if name == "slice":
        starts, ends = _ints(w, op, "starts"), _ints(w, op, "ends")
        index: list[Any] = [slice(None)] * arrays[0].ndim
        for axis, start, end in zip(op.attrs["axes"], starts, ends, strict=True):
            index[axis] = slice(start, end)
        out = arrays[0][tuple(index)]
        return out.squeeze(tuple(op.attrs["decrease_axis"])) if op.attrs.get("decrease_axis") else out
    if name == "cast":
        return arrays[0]
    if name == "reshape":
        return arrays[0].reshape(_target(w, op, arrays[0].shape))
    if name == "stack":
        return np.stack(arrays, op.attrs.get("axis", 0))
    return None


def _ints(w: Writer, op: Op, name: str) -> list[int]:
    """An attribute, or an operand whose content is known."""
    value = op.operands.get(name)
    if value is None:
        return [int(x) for x in np.ravel(op.attrs[name])]
    if value in w.lists:
        if not all(v in w.constants for v in w.lists[value]):
            raise UnsupportedError(f"{name} is computed")
        return [int(x) for v in w.lists[value] for x in np.ravel(w.constants[v])]
    if value not in w.constants:
        raise UnsupportedError(f"{name} is computed")
    return [int(x) for x in np.ravel(w.constants[value])]


def _target(w: Writer, op: Op, shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that a reshape gives: 0 keeps a dim, −1 is what is left."""
    dims = [shape[i] if d == 0 else d for i, d in enumerate(_ints(w, op, "shape"))]
    if -1 in dims:
        dims[dims.index(-1)] = math.prod(shape) // max(1, -math.prod(dims))
    return tuple(dims)


def _pads(
    op: Op, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], one_sided: bool = False
) -> list[int]:
    """The paddings of height and width; ``one_sided``: or of each side, where they are not alike."""
    given, how = list(op.attrs.get("paddings", [0, 0])), op.attrs.get("padding_algorithm", "EXPLICIT")
    if how == "VALID":
        return [0, 0]
    if how == "SAME":
        given = []
        for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            whole = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
            given += [whole // 2, whole - whole // 2]
    if len(given) == 4:
        if given[0] != given[1] or given[2] != given[3]:
            if one_sided:
                return [int(pad) for pad in given]
            raise UnsupportedError(f"it pads both sides alike, not by {given}")
        given = [given[0], given[2]]
    if given == [0, 1]:
        raise UnsupportedError("it takes paddings of [0, 1] for none")
    return given


def _needs_nchw(op: Op) -> None:
    if op.attrs.get("data_format", "NCHW") not in ("NCHW", "AnyLayout"):
        raise UnsupportedError(f"it knows the layout NCHW only, not {op.attrs['data_format']}")


def _conv(w: Writer, op: Op) -> None:
    _needs_nchw(op)
    x, filter = op.operands["input"], op.operands["filter"]
    assert x is not None and filter is not None
    if filter not in w.constants:
        raise UnsupportedError("its filter is computed")
    (batch, _, *size), (channels, _, *kernel) = w.shape(x), w.shape(filter)
    strides, dilations = op.attrs.get("strides", [1, 1]), op.attrs.get("dilations", [1, 1])
    pads = _pads(op, size, kernel, strides, dilations, one_sided=True)
    name = w.constant(filter)
    if len(pads) == 4:
        name, kernel, pads = _evened(w, filter, kernel, pads, dilations)
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, pads, dilations, kernel, strides, strict=True)]
    shape = (batch, channels, *out)
    attrs = {"strides": strides, "paddings": pads, "dilations": dilations, "groups": op.attrs.get("groups", 1), "fuse_relu": False}
    name = w.emit(op, op.short_name, {"Input": [w.operand(x)], "Filter": [name]}, shape, out="Output", **attrs)
    w.bind(op.results[0], name, shape)


def _evened(
    w: Writer, filter: Value, kernel: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> tuple[str, list[int], list[int]]:
    """A filter with zeros where its padding is narrower, for which both sides are padded alike: its variable, sizes and paddings."""
    if list(dilations) != [1, 1]:
        raise UnsupportedError(f"it pads both sides alike, not by {list(pads)}")
    wide = [(max(after - before, 0), max(before - after, 0)) for before, after in zip(pads[::2], pads[1::2], strict=True)]
    array = np.pad(w.constants[filter], [(0, 0), (0, 0), *wide])
    evened = [max(pair) for pair in zip(pads[::2], pads[1::2], strict=True)]
    if evened == [0, 1]:
        raise UnsupportedError("it takes paddings of [0, 1] for none")
    return w.weight(f"{filter.name}.evened", array), [k + a + b for k, (a, b) in zip(kernel, wide, strict=True)], evened


def _conv_transpose(w: Writer, op: Op) -> None:
    _needs_nchw(op)
    x, filter = op.operands["x"], op.operands["filter"]
    assert x is not None and filter is not None
    (batch, _, *size), (_, per_group, *kernel) = w.shape(x), w.shape(filter)
    strides, dilations, groups = op.attrs.get("strides", [1, 1]), op.attrs.get("dilations", [1, 1]), op.attrs.get("groups", 1)
    if groups != 1 or list(dilations) != [1, 1] or filter not in w.constants:
        raise UnsupportedError("it is right for one group without dilation")
    pads = _pads(op, size, kernel, strides, dilations)
    more = [*op.attrs.get("output_padding", []), 0, 0]
    out = [(n - 1) * s - 2 * p + k + m for n, s, p, k, m in zip(size, strides, pads, kernel, more, strict=False)]
    attrs = {"strides": strides, "paddings": pads[::-1], "dilations": dilations, "groups": 1, "fuse_relu": False}
    shape = (batch, per_group, *out)
    inputs = {"Input": [w.operand(x)], "Filter": [w.constant(filter)]}
    w.bind(op.results[0], w.emit(op, "conv2d_transpose", inputs, shape, out="Output", **attrs), shape)


def _fusible(w: Writer, x: Value) -> dict[str, Any] | None:
    """The convolution that made ``x`` for nobody else; None where something else did."""
    made = None if x in w.constants else w.makers.get(w.names[x])
    return made if made and made["type"].startswith(("conv2d", "depthwise_conv2d")) and w.uses.get(x) == 1 else None


def _batch_norm(w: Writer, op: Op) -> None:
    """Into the convolution before it, else a factor and a summand of each channel."""
    _needs_nchw(op)
    x = op.operands["x"]
    assert x is not None

    def of(name: str, otherwise: float) -> np.ndarray:
        value = op.operands.get(name)
        return np.asarray(w.constants[value] if value is not None else otherwise, "float64")

    factor = of("scale", 1) / np.sqrt(of("variance", 1) + op.attrs.get("epsilon", 1e-5))
    _per_channel(w, op, x, factor, of("bias", 0) - of("mean", 0) * factor)


def _per_channel(w: Writer, op: Op, x: Value, factor: np.ndarray | None, bias: np.ndarray) -> None:
    """x · factor + bias, of each channel."""
    shape, result = w.shape(x), op.results[0]
    if (conv := _fusible(w, x)) and "fused" not in conv:
        name = conv["inputs"]["Filter"][0]
        old = conv["inputs"].get("Bias")
        bias = bias + (w.data[old[0]] * (1 if factor is None else factor) if old else 0)
        if factor is not None:
            along = (1, -1, 1, 1) if conv["type"] == "conv2d_transpose" else (-1, 1, 1, 1)
            conv["inputs"]["Filter"] = [w.weight(f"{name}.{result.name}", w.data[name] * factor.reshape(along))]
        conv["inputs"]["Bias"] = [w.weight(f"{result.name}.bias", bias)]
        conv["sources"].append(result.name)
        w.bind(result, w.names[x], shape)
        return
    name = w.operand(x)
    for kind, array in (("elementwise_mul", factor), ("elementwise_add", bias)):
        if array is not None:
            array = array.reshape(1, -1, 1, 1) if kind == "elementwise_mul" else array
            other = w.weight(f"{result.name}.{kind}", array)
            name = w.emit(op, kind, {"X": [name], "Y": [other]}, shape, axis=0 if kind == "elementwise_mul" else 1)
    w.bind(result, name, shape)


def _pool(w: Writer, op: Op) -> None:
    _needs_nchw(op)
    x, attrs = op.operands["x"], op.attrs
    assert x is not None
    batch, channels, *size = w.shape(x)
    kernel, strides, kind = _ints(w, op, "kernel_size"), list(attrs.get("strides", [1, 1])), attrs["pooling_type"]
    pads = [0, 0]
    if attrs.get("global_pooling") or attrs.get("adaptive") and kernel == [1, 1]:
        kernel, strides, out = list(size), [1, 1], [1, 1]
    elif attrs.get("adaptive"):
        if any(n % k for n, k in zip(size, kernel, strict=True)):
            raise UnsupportedError("it knows adaptive pools of equal parts only")
        out = kernel
        kernel = [n // k for n, k in zip(size, out, strict=True)]
        strides = kernel
    else:
        pads = _pads(op, size, kernel, strides, [1, 1])
        up = (lambda a, b: -(-a // b)) if attrs.get("ceil_mode") else (lambda a, b: a // b)
        out = [up(n + 2 * p - k, s) + 1 for n, p, k, s in zip(size, pads, kernel, strides, strict=True)]
    shape = (batch, channels, *out)
    # "global" would have the place of the maximum in place of the maximum
    given = {"ksize": kernel, "strides": strides, "paddings": pads, "pooling_type": kind, "global_pooling": False, "adaptive": False}
    whole = kind == "avg" and not attrs.get("exclusive", True) and any(pads)
    w.bind(op.results[0], w.emit(op, "pool2d_avg" if whole else "pool2d", {"X": [w.operand(x)]}, shape, **given), shape)


def _elementwise(kind: str) -> Callable[[Writer, Op], None]:
    def translate(w: Writer, op: Op) -> None:
        x, y = op.operands["x"], op.operands["y"]
        assert x is not None and y is not None
        shape = np.broadcast_shapes(w.shape(x), w.shape(y))
        if x in w.constants or tuple(w.shape(x)) != shape:
            if kind not in ("elementwise_add", "elementwise_mul") or tuple(w.shape(y)) != shape or y in w.constants:
                raise UnsupportedError("its first operand must be a tensor of the result's shape")
            x, y = y, x
        if y in w.constants and w.constants[y].size == 1:
            return _scalar(w, op, x, float(w.constants[y].item()))
        dims = (1,) * (len(shape) - len(w.shape(y))) + tuple(w.shape(y))
        if kind in ("elementwise_mul", "elementwise_div"):  # these clamp places to the second operand's dims, so they need all of those
            inner = (1,) * (4 - len(dims)) + dims
            if y in w.constants:
                name = w.constant(y, inner)
            else:
                name = w.operand(y) if len(w.shape(y)) == 4 else w.emit(op, "reshape2", {"X": [w.operand(y)]}, inner)
            w.bind(op.results[0], w.emit(op, kind, {"X": [w.operand(x)], "Y": [name]}, shape, axis=0), shape)
            return
        wide = [i for i, d in enumerate(dims) if d > 1]
        first, last = (min(wide), max(wide) + 1) if wide else (0, 1)
        if dims[first:last] != shape[first:last]:
            raise UnsupportedError(f"it cannot broadcast {list(w.shape(y))} to {list(shape)}")
        if y in w.constants and kind == "elementwise_add" and len(shape) == 4 and (first, last) == (1, 2) and _fusible(w, x):
            return _per_channel(w, op, x, None, np.asarray(w.constants[y], "float64").ravel())
        inner = dims if dims == shape else dims[first:last]
        if dims != shape and sum(inner) == sum(w.shape(x)):
            raise UnsupportedError(f"it takes {list(inner)} and {list(shape)} for the same shape")
        if y in w.constants:
            name = w.constant(y, inner)
        elif tuple(w.shape(y)) == inner:
            name = w.operand(y)
        else:
            name = w.emit(op, "reshape2", {"X": [w.operand(y)]}, inner)
        w.bind(op.results[0], w.emit(op, kind, {"X": [w.operand(x)], "Y": [name]}, shape, axis=0 if dims == shape else first), shape)

    def _scalar(w: Writer, op: Op, x: Value, number: float) -> None:
        scale, bias = {
            "elementwise_add": (1.0, number), "elementwise_sub": (1.0, -number), "elementwise_mul": (number, 0.0),
            "elementwise_div": (1 / number if number else math.inf, 0.0),
        }[kind]  # fmt: skip
        _affine(w, op, x, scale, bias)

    return translate


def _affine(w: Writer, op: Op, x: Value, scale: float, bias: float) -> None:
    name = w.emit(op, "scale", {"X": [w.operand(x)]}, w.shape(x), scale=scale, bias=bias, bias_after_scale=True)
    w.bind(op.results[0], name, w.shape(x))


def _scale(w: Writer, op: Op) -> None:
    x, factor = op.operands["x"], op.operands.get("scale")
    assert x is not None
    if factor is not None and factor not in w.constants:
        raise UnsupportedError("its factor is computed")
    number = float(w.constants[factor].item() if factor is not None else op.attrs.get("scale", 1.0))
    bias = float(op.attrs.get("bias", 0.0))
    _affine(w, op, x, number, bias if op.attrs.get("bias_after_scale", True) else bias * number)


def _unary(kind: str, *names: str, **more: float) -> Callable[[Writer, Op], None]:
    def translate(w: Writer, op: Op) -> None:
        x = op.operands["x"]
        assert x is not None
        attrs = {n: op.attrs[n] for n in names if n in op.attrs} | more
        w.bind(op.results[0], w.emit(op, kind, {"X": [w.operand(x)]}, w.shape(x), **attrs), w.shape(x))

    return translate


def _relu(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    conv = _fusible(w, x)
    if conv is None or "fused" in conv:
        return _unary("relu")(w, op)
    conv["attrs"]["fuse_relu"] = conv["fused"] = True
    conv["sources"].append(op.results[0].name)
    w.bind(op.results[0], w.names[x], w.shape(x))


def _reshape_to(w: Writer, op: Op, x: Value, shape: Sequence[int]) -> None:
    w.bind(op.results[0], w.emit(op, "reshape2", {"X": [w.operand(x)]}, shape), shape)


def _reshape(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    _reshape_to(w, op, x, _target(w, op, w.shape(x)))


def _flatten(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    shape = w.shape(x)
    start, stop = (a % len(shape) for a in (op.attrs.get("start_axis", 1), op.attrs.get("stop_axis", -1)))
    _reshape_to(w, op, x, (*shape[:start], math.prod(shape[start : stop + 1]), *shape[stop + 1 :]))


def _squeeze(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    shape = w.shape(x)
    axes = {a % len(shape) for a in _ints(w, op, "axis")} or set(range(len(shape)))
    _reshape_to(w, op, x, [d for i, d in enumerate(shape) if i not in axes or d != 1])


def _unsqueeze(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    shape = list(w.shape(x))
    for axis in _ints(w, op, "axis"):
        shape.insert(axis % (len(shape) + 1), 1)
    _reshape_to(w, op, x, shape)


def _transpose(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    perm = [p % len(op.attrs["perm"]) for p in op.attrs["perm"]]
    shape = [w.shape(x)[p] for p in perm]
    w.bind(op.results[0], w.emit(op, "transpose2", {"X": [w.operand(x)]}, shape, axis=perm), shape)


def _concat(w: Writer, op: Op) -> None:
    (listed,) = [v for v in op.operands.values() if v in w.lists]
    parts = w.lists[listed]
    (axis,) = _ints(w, op, "axis")
    shapes = [w.shape(v) for v in parts]
    axis %= len(shapes[0])
    if len(parts) == 1:
        return w.alias(op.results[0], parts[0])
    shape = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    w.bind(op.results[0], w.emit(op, "concat", {"X": [w.operand(v) for v in parts]}, shape, axis=axis), shape)


def _softmax(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    axis = op.attrs.get("axis", -1)
    axis = axis - len(w.shape(x)) if axis >= 0 else axis
    if axis == -2:
        raise UnsupportedError("it knows no softmax over the last dim but one")
    _unary("softmax", axis=axis)(w, op)


def _matmul(w: Writer, op: Op) -> None:
    x, y = op.operands["x"], op.operands["y"]
    assert x is not None and y is not None
    a, b = w.shape(x), w.shape(y)
    if min(len(a), len(b)) < 2 or math.prod(a[:-2]) != math.prod(b[:-2]):
        raise UnsupportedError(f"it multiplies matrices in equal numbers, not {list(a)} by {list(b)}")
    flip_x, flip_y = bool(op.attrs.get("transpose_x")), bool(op.attrs.get("transpose_y"))
    shape = (*(a if len(a) >= len(b) else b)[:-2], a[-1 if flip_x else -2], b[-2 if flip_y else -1])
    inputs = {"X": [w.operand(x)], "Y": [w.operand(y)]}
    w.bind(op.results[0], w.emit(op, "matmul_v2", inputs, shape, trans_x=flip_x, trans_y=flip_y), shape)


def _nearest(w: Writer, op: Op) -> None:
    _needs_nchw(op)
    x, attrs = op.operands["x"], op.attrs
    assert x is not None
    if any(op.operands.get(n) is not None for n in ("out_size", "size_tensor", "scale_tensor")):
        raise UnsupportedError("its size is computed")
    if attrs.get("align_corners"):
        raise UnsupportedError("it does not round as Paddle does where corners are aligned")
    batch, channels, *size = w.shape(x)
    scale = [s for s in np.ravel(attrs.get("scale", [])) if s > 0]
    out = [int(n * s) for n, s in zip(size, list(scale) * (2 // len(scale)), strict=True)] if scale else [attrs["out_h"], attrs["out_w"]]
    shape = (batch, channels, *out)
    w.bind(op.results[0], w.emit(op, "nearest_interp_v2", {"X": [w.operand(x)]}, shape, align_corners=False), shape)


def _mean(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    shape, name = list(w.shape(x)), w.operand(x)
    axes = sorted(a % len(shape) for a in _ints(w, op, "axis")) or list(range(len(shape)))
    for axis in axes:
        shape[axis] = 1
        name = w.emit(op, "reduce_mean", {"X": [name]}, shape, axis=axis)
    if not op.attrs.get("keepdim", False):
        shape = [d for i, d in enumerate(shape) if i not in axes]
        name = w.emit(op, "reshape2", {"X": [name]}, shape)
    w.bind(op.results[0], name, shape)


def _same(w: Writer, op: Op) -> None:
    x = op.operands["x"]
    assert x is not None
    w.alias(op.results[0], x)


def _dropout(w: Writer, op: Op) -> None:
    if op.attrs.get("mode", "upscale_in_train") == "upscale_in_train":
        return _same(w, op)
    x, p = op.operands["x"], op.operands.get("p")
    assert x is not None
    _affine(w, op, x, 1 - float(w.constants[p].item() if p is not None else op.attrs.get("p", 0.5)), 0.0)


TRANSLATED: dict[str, Callable[[Writer, Op], None]] = {
    "conv2d": _conv, "depthwise_conv2d": _conv, "conv2d_transpose": _conv_transpose, "batch_norm": _batch_norm, "batch_norm_": _batch_norm,
    "pool2d": _pool, "add": _elementwise("elementwise_add"), "subtract": _elementwise("elementwise_sub"),
    "multiply": _elementwise("elementwise_mul"), "divide": _elementwise("elementwise_div"), "scale": _scale, "relu": _relu,
    "relu6": _unary("relu6", threshold=6.0), "sigmoid": _unary("sigmoid"), "tanh": _unary("tanh"), "hardswish": _unary("hard_swish"),
    "hardsigmoid": _unary("hard_sigmoid", "slope", "offset"), "softmax": _softmax, "matmul": _matmul, "reshape": _reshape,
    "flatten": _flatten, "squeeze": _squeeze, "unsqueeze": _unsqueeze, "transpose": _transpose, "concat": _concat,
    "nearest_interp": _nearest, "mean": _mean, "dropout": _dropout, "assign": _same,
}  # fmt: skip
