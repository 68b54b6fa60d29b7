"""What can be quantised: products and convolutions of a tensor with a stored weight, in the program's top block."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..model.program import Op, Program, TensorType, Value

BITS = 8
QMAX = 127

# operator → the operands that are its data and its weights
_DATA_AND_WEIGHT = {
    "conv2d": ("input", "filter"),
    "depthwise_conv2d": ("input", "filter"),
    "matmul": ("x", "y"),
    "matmul_with_flatten": ("x", "y"),
    "fused_gemm_epilogue": ("x", "y"),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """One operation that multiplies ``data`` by the stored ``weight``, which has its output channels along ``axis``.

    ``name``: the operation's handle; ``parameter``: the name of the weight.
    """

    name: str
    op: Op
    data: Value
    weight: np.ndarray
    parameter: str
    axis: int

    @property
    def operator(self) -> str:
        return self.op.short_name

    @property
    def data_operand(self) -> str:
        return _DATA_AND_WEIGHT[self.operator][0]

    @property
    def weight_operand(self) -> str:
        return _DATA_AND_WEIGHT[self.operator][1]

    def matches(self, pattern: str) -> bool:
        """Whether a name of the user's, perhaps with ``*``, is this layer's: its own name, its weight's, or its result's."""
        names = (self.name, self.parameter, self.op.results[0].name)
        return any(fnmatch.fnmatchcase(name, pattern) for name in names)


@dataclass(frozen=True)
class Skipped:
    """A product or convolution with a stored weight that stays in float whatever is asked."""

    name: str
    operator: str
    why: str


def find_layers(program: Program) -> tuple[list[Layer], list[Skipped]]:
    """The layers in order, and what is like one but cannot be computed on integers."""
    stored = {op.results[0]: op.results[0].name for op in program.block.ops if op.name == "builtin.parameter"}
    layers: list[Layer] = []
    skipped: list[Skipped] = []
    taken: set[str] = set()
    for op in program.walk():
        names = _DATA_AND_WEIGHT.get(op.short_name, ("input", "filter") if "conv" in op.short_name else None)
        if names is None or (weight := op.operands.get(names[1])) not in stored:
            continue
        assert weight is not None
        name = _unique(op.handle or op.results[0].name, taken)
        parameter = program.parameters[stored[weight]]
        why = _reason(op, op.operands.get(names[0]), parameter.data, program)
        if why:
            skipped.append(Skipped(name, op.short_name, why))
            continue
        data = op.operands[names[0]]
        assert data is not None and parameter.data is not None
        turned = op.attrs.get("transpose_y", op.attrs.get("trans_y", False))
        axis = 0 if "conv2d" in op.short_name or turned else 1
        layers.append(Layer(name, op, data, parameter.data, parameter.name, axis))
    return layers, skipped


def _reason(op: Op, data: Value | None, weight: np.ndarray | None, program: Program) -> str:
    """Why an operation stays in float; empty if it need not."""
    if op.short_name not in _DATA_AND_WEIGHT:
        return "no integer form of this operator"
    if all(op is not other for other in program.block.ops):
        return "inside a branch or a loop"
    if weight is None or weight.dtype != np.float32 or not weight.size or not np.isfinite(weight).all():
        return "its weights are not finite float32 numbers"
    if data is None or not isinstance(data.type, TensorType) or data.type.dtype != "float32" or data.name in program.parameters:
        return "its data is no float32 tensor"
    if "conv2d" in op.short_name:
        if str(op.attrs.get("data_format", "NCHW")) not in ("NCHW", "AnyLayout"):
            return "channels last"
        small, depth, groups = weight.shape[2:] == (1, 1), weight.shape[1], int(op.attrs.get("groups", 1))
        if groups > 1 and depth == 1:
            return "" if weight.shape[0] == groups and groups % 4 == 0 else "depthwise, of channels that no vector divides"
        if groups > 1 and weight.shape[0] // groups % 4:
            return "groups of channels that no vector divides"
        return "a depth that is no multiple of 4" if depth % 4 and (small or depth < 3 or groups > 1) else ""
    if weight.ndim != 2:
        return "its weights are no matrix"
    if len(data.type.shape) < 2:
        return "its data is a vector"
    if op.short_name == "matmul_with_flatten" and (
        int(op.attrs.get("x_num_col_dims", 1)) != len(data.type.shape) - 1 or int(op.attrs.get("y_num_col_dims", 1)) != 1
    ):
        return "it flattens its data"
    turned = op.attrs.get("transpose_y", op.attrs.get("trans_y", False))
    depth = weight.shape[1 if turned else 0]
    return "a depth that is no multiple of 4" if depth % 4 else ""


def _unique(name: str, taken: set[str]) -> str:
    own, number = name, 2
    while own in taken:
        own, number = f"{name}#{number}", number + 1
    taken.add(own)
    return own


def named(layers: Sequence[Layer], patterns: Sequence[str]) -> set[Layer]:
    """The layers that ``patterns`` name.  InputError for a pattern that names none."""
    found: set[Layer] = set()
    for pattern in patterns:
        hits = [layer for layer in layers if layer.matches(pattern)]
        if not hits:
            few = ", ".join(layer.name for layer in layers[:5]) + (", …" if len(layers) > 5 else "")
            raise InputError(f"no layer is called {pattern!r}", todo=f"layers have names like {few}; * stands for any letters")
        found.update(hits)
    return found


def rounded_weights(layer: Layer, per_channel: bool, exact: bool = False) -> np.ndarray:
    """The weights of a quantised program: as Paddle's fake_(channel_wise_)quantize_dequantize_abs_max makes them, ties to even, or those
    of ``exact_weights``."""
    weight = layer.weight
    top, tiny = np.float32(QMAX), np.float32(1e-6)
    if exact:
        whole, scale = exact_weights(weight, layer.axis, per_channel)
        return whole * scale / top
    scale = _largest(weight, layer.axis, per_channel)
    inverse = np.float32(1) / np.where(scale <= tiny, scale + tiny, scale)
    whole = np.clip(np.rint(top * inverse * weight), -top - 1, top)
    return whole * scale / top


def exact_weights(weight: np.ndarray, axis: int, per_channel: bool) -> tuple[np.ndarray, np.ndarray]:
    """(whole numbers, scales of all dims but ``axis`` 1), as float32: scales are powers of two times the largest integer.

    Of the powers above and below a channel's largest magnitude the one that rounds its weights better.
    """
    largest = _largest(weight, axis, per_channel).astype(np.float64)
    above = np.exp2(np.ceil(np.log2(np.where(largest == 0, QMAX, largest) / QMAX)))
    over = tuple(a for a in range(weight.ndim) if largest.shape[a] == 1)
    found = [(np.clip(np.rint(weight / step), -QMAX, QMAX), step) for step in (above, above / 2)]
    losses = [np.square(weight - whole * step).sum(axis=over, keepdims=True) for whole, step in found]
    (high, step), (low, half) = found
    better = losses[1] < losses[0]
    return np.where(better, low, high).astype(np.float32), (np.where(better, half, step) * QMAX).astype(np.float32)


def _largest(weight: np.ndarray, axis: int, per_channel: bool) -> np.ndarray:
    """The largest magnitude of each channel, or of all, with all dims."""
    axes = tuple(a for a in range(weight.ndim) if a != axis) if per_channel else None
    return np.asarray(np.abs(weight).max(axis=axes, keepdims=True))
