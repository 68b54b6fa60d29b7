"""Scales that are powers of two, with which every engine computes the same integers.

A rounded number is then a whole number times a power of two, and so is each product of two and each sum of those: floats hold them
without rounding, in whatever order they are added, as long as a sum stays below 2^24 of its units.  What integers compute and what
Paddle's floats compute is the same number, not nearly the same.  Batch norms are folded into the convolutions before them: a factor
after the sum would round it again, in each engine's own way.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from ..model.normalise import captures
from ..model.program import Block, Op, Parameter, Program, TensorType, Value
from .histogram import Histogram
from .layers import QMAX

_NORMS = ("batch_norm", "batch_norm_")
_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")


def scale_of(histogram: Histogram, scale: float) -> float:
    """Of the powers of two (times the largest integer) above and below ``scale`` the one that rounds what was counted better."""
    above = QMAX * 2.0 ** math.ceil(math.log2(scale / QMAX))
    return above / 2 if np.argmin(histogram.loss(np.array([above, above / 2]))) else above


def fold_norms(program: Program) -> Program:
    """The program with each batch norm that alone reads a convolution with stored weights, or that plus a stored bias, as other weights
    and an addition."""
    reads = Counter(v for op in program.block.ops for v in op.operands.values() if v is not None)
    reads.update(v for op in program.block.ops for region in op.regions for v in captures(region))
    reads.update(program.outputs.values())
    made_by = {v: op for op in program.block.ops for v in op.results}
    folder = _Folder(program)
    for op in program.block.ops:
        x = op.operands.get("x") if op.short_name in _NORMS else None
        before = made_by.get(x) if x is not None and reads[x] == 1 else None
        if before is None or any(reads[v] for v in op.results[1:]):
            continue
        added = None
        if before.short_name == "add" and (inner := before.operands["x"]) in made_by and reads[inner] == 1:
            added, before = before, made_by[inner]
        if before.short_name in _CONVOLUTIONS:
            folder.fold(before, op, added)
    return folder.program() if folder.instead else program


class _Folder:
    def __init__(self, program: Program) -> None:
        self.source = program
        self.parameters = dict(program.parameters)
        self.made_by = {v: op for op in program.block.ops for v in op.results}
        self.stored = {op.results[0] for op in program.block.ops if op.name == "builtin.parameter"}
        self.names = {v.name for op in program.walk() for v in op.results} | set(self.parameters)
        self.instead: dict[Op, list[Op]] = {}  # batch norm → what stands in its place
        self.folded: set[Op] = set()

    def fold(self, conv: Op, norm: Op, added: Op | None) -> None:
        """Put other operations in the place of the two, and of the addition between them, if the numbers are there."""
        weight = conv.operands["filter"]
        data = {name: self._data(norm.operands.get(name)) for name in ("mean", "variance", "scale", "bias")}
        w = self._data(weight)
        still = bool(norm.attrs.get("is_test") or norm.attrs.get("use_global_stats")) and not norm.attrs.get("trainable_statistics")
        if weight is None or w is None or data["mean"] is None or data["variance"] is None or not still:
            return
        if any(data[name] is None and norm.operands.get(name) is not None for name in ("scale", "bias")):
            return
        if "NCHW" not in (str(norm.attrs.get("data_format")), str(norm.attrs.get("data_layout"))):
            return
        factor = 1 / np.sqrt(data["variance"] + float(norm.attrs["epsilon"]))
        factor = factor if data["scale"] is None else factor * data["scale"]
        shift = -data["mean"] * factor + (0.0 if data["bias"] is None else data["bias"])
        if added is not None:
            bias = self._bias(added.operands["y"], len(factor))
            if bias is None:
                return
            shift = shift + bias * factor
        with np.errstate(over="ignore"):
            folded, more = (a.astype(np.float32) for a in (w * factor.reshape(-1, 1, 1, 1), shift.reshape(1, -1, 1, 1)))
        if not np.isfinite(folded).all() or not np.isfinite(more).all():
            return
        made: list[Op] = []
        filter_, place = (self._parameter(f"{weight.name}.{what}", array, made) for what, array in (("folded", folded), ("shift", more)))
        made.append(replace(conv, operands={**conv.operands, "filter": filter_}))
        made.append(Op("pd_op.add", {"x": conv.results[0], "y": place}, {}, [norm.results[0]], ["out"], handle=norm.handle))
        self.instead[norm] = made
        self.folded |= {conv} if added is None else {conv, added}

    def program(self) -> Program:
        ops = [new for op in self.source.block.ops if op not in self.folded for new in self.instead.get(op, [op])]
        read = {v for op in ops for v in op.operands.values()} | set(self.source.outputs.values())
        read |= {v for op in ops for region in op.regions for v in captures(region)}
        gone = {op.results[0].name for op in ops if op.name == "builtin.parameter" and op.results[0] not in read}
        ops = [op for op in ops if op.name != "builtin.parameter" or op.results[0].name not in gone]
        parameters = {name: p for name, p in self.parameters.items() if name not in gone}
        return replace(self.source, block=Block([], ops), parameters=parameters).verify()

    def _data(self, value: Value | None) -> np.ndarray | None:
        """Stored float32 numbers as float64; None for anything else."""
        data = self.parameters[value.name].data if value in self.stored and value is not None else None
        return data.astype(np.float64) if data is not None and data.dtype == np.float32 else None

    def _bias(self, value: Value | None, channels: int) -> np.ndarray | None:
        """A stored bias of ``channels`` numbers, one a channel, perhaps reshaped."""
        if value is None or not isinstance(value.type, TensorType) or value.type.shape != (1, channels, 1, 1):
            return None
        op = self.made_by.get(value)
        data = self._data(op.operands["x"] if op is not None and op.short_name == "reshape" else value)
        return data.reshape(-1) if data is not None and data.size == channels else None

    def _parameter(self, name: str, data: np.ndarray, made: list[Op]) -> Value:
        own, number = name, 2
        while own in self.names:
            own, number = f"{name}.{number}", number + 1
        self.names.add(own)
        type_ = TensorType(str(data.dtype), data.shape)
        value = Value(own, type_)
        self.parameters[own] = Parameter(own, type_, data)
        made.append(Op("builtin.parameter", {}, {"parameter_name": own, "persistable": True}, [value], ["out"], [], own))
        return value
