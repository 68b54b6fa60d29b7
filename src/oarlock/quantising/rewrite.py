"""Programs made of a float program: with tensors tapped, with layers quantised, and with a switch at each layer.

Quantised layers are written as Paddle's QAT exports are: ``fake_quantize_dequantize_moving_average_abs_max`` with a stored scale on the
data, ``fake_channel_wise_quantize_dequantize_abs_max`` on the weights, ties to even.  (Paddle 3.3 runs these right in PIR programs; of
``quantize_linear`` and ``dequantize_linear``, which its PTQ writes, it runs the latter wrong.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..model.defaults import LATEST_VERSION
from ..model.normalise import captures
from ..model.program import Block, ListType, Op, Parameter, Program, TensorType, Type, Value
from .layers import BITS, Layer, exact_weights, rounded_weights

_TIES_TO_EVEN = 0
_ROUNDS = "pd_op.fake_quantize_dequantize_moving_average_abs_max"


def tapped(program: Program, values: Sequence[Value]) -> Program:
    """The program with ``values`` as its only outputs, by the names ``tap.0``, ``tap.1``, …"""
    return replace(program, outputs={f"tap.{i}": value for i, value in enumerate(values)})


def quantised(
    program: Program, layers: Collection[Layer], scales: Mapping[Value, float], per_channel: bool = True, exact: bool = False
) -> Program:
    """The program with ``layers`` computed on what integers can say; ``scales``: the largest magnitude of each one's data.

    ``exact``: with scales of weights that are powers of two (exact.py).
    """
    return _Rewriter(program, scales, per_channel, exact).quantised(layers)


def switched(
    program: Program, layers: Sequence[Layer], scales: Mapping[Value, float], per_channel: bool = True, exact: bool = False
) -> Program:
    """The program with each of ``layers`` computed both ways, and an input ``quantise.N`` (bool, [1]) that says which one goes on.

    For Oarlock alone: ``where`` broadcasts its condition.
    """
    return _Rewriter(program, scales, per_channel, exact).switched(layers)


def rounded_tensors(program: Program) -> list[tuple[Value, float]]:
    """What a quantised program rounds by a stored scale, and those scales, in order."""
    found = [op for op in program.block.ops if op.name == _ROUNDS and op.attrs.get("is_test")]
    scales = [program.parameters[str(op.operands["in_scale"].name)].data for op in found if op.operands["in_scale"] is not None]
    return [(op.operands["x"], float(s[0])) for op, s in zip(found, scales, strict=True) if op.operands["x"] is not None and s is not None]


def layer_by_layer(program: Program, values: Sequence[Value]) -> Program:
    """The program with ``values`` as outputs ``made.N`` too, whose readers read inputs ``given.N`` in their place.

    So that each layer can be compared alone with one that works on the same numbers: a number that lies between two integers may be
    rounded to either of them, and in a deep network such small differences grow from layer to layer.
    """
    given = {v: Value(f"given.{i}", v.type) for i, v in enumerate(values)}
    ops: list[Op] = []
    for value in given.values():
        assert isinstance(value.type, TensorType)
        attrs = {"name": value.name, "shape": list(value.type.shape), "dtype": value.type.dtype}
        ops.append(Op("pd_op.data", {}, attrs, [value], ["out"], handle=value.name))
    for op in program.block.ops:
        operands = {name: v if v is None else given.get(v, v) for name, v in op.operands.items()}
        ops.append(replace(op, operands=operands))
    outputs = {**program.outputs, **{f"made.{i}": v for i, v in enumerate(values)}}
    return replace(program, block=Block([], ops), inputs=[*program.inputs, *given.values()], outputs=outputs).verify()


class _Rewriter:
    def __init__(self, program: Program, scales: Mapping[Value, float], per_channel: bool, exact: bool) -> None:
        self.program, self.scales, self.per_channel, self.exact = program, scales, per_channel, exact
        self.parameters = dict(program.parameters)
        self.names = {v.name for op in program.walk() for v in op.results} | set(self.parameters)
        self.ops: list[Op] = []
        self.rounded: dict[Value, Value] = {}
        self.weights: dict[tuple[str, int], Value] = {}

    def quantised(self, layers: Collection[Layer]) -> Program:
        by_op = {layer.op: layer for layer in layers}
        for op in self.program.block.ops:
            layer = by_op.get(op)
            self.ops.append(op if layer is None else self._product(layer, self._data(layer), self._weight(layer), op.results))
        return self._made(self.program.inputs, self._unused())

    def switched(self, layers: Sequence[Layer]) -> Program:
        numbers = {layer.op: i for i, layer in enumerate(layers)}
        switches = [Value(f"quantise.{i}", TensorType("bool", (1,))) for i in range(len(layers))]
        feeds = [Op("pd_op.data", {}, {"name": s.name, "shape": [1], "dtype": "bool"}, [s], ["out"], handle=s.name) for s in switches]
        self.ops += feeds
        for op in self.program.block.ops:
            if op not in numbers:
                self.ops.append(op)
                continue
            layer, switch = layers[numbers[op]], switches[numbers[op]]
            weights = self._parameter(f"{layer.parameter}.rounded", rounded_weights(layer, self.per_channel, self.exact))
            whole, plain = (self._value(f"{op.results[0].name}.{kind}", op.results[0].type) for kind in ("rounded", "float"))
            operands = {**op.operands, layer.data_operand: self._data(layer), layer.weight_operand: weights}
            rest = op.results[1:]
            again = [self._value(f"{v.name}.again", v.type) for v in rest]
            self.ops.append(Op(op.name, operands, op.attrs, [whole, *again], op.result_names, [], op.handle, op.kinds))
            self.ops.append(Op(op.name, op.operands, op.attrs, [plain, *rest], op.result_names, [], op.handle, op.kinds))
            choice: dict[str, Value | None] = {"condition": switch, "x": whole, "y": plain}
            self.ops.append(Op("pd_op.where", choice, {}, [op.results[0]], ["out"], [], f"{op.handle}.switch"))
        return self._made([*self.program.inputs, *switches], set())

    def _made(self, inputs: Sequence[Value], gone: set[str]) -> Program:
        ops = [op for op in self.ops if op.name != "builtin.parameter" or op.results[0].name not in gone]
        parameters = {name: p for name, p in self.parameters.items() if name not in gone}
        source = {"format": "pir", "version": LATEST_VERSION}
        return Program(Block([], ops), list(inputs), dict(self.program.outputs), parameters, source).verify()

    def _unused(self) -> set[str]:
        """Weights that turned copies replace."""
        read = {v for op in self.ops for v in op.operands.values()} | set(self.program.outputs.values())
        for op in self.ops:
            for region in op.regions:
                read |= set(captures(region))
        return {op.results[0].name for op in self.program.block.ops if op.name == "builtin.parameter" and op.results[0] not in read}

    # ---- pieces -----------------------------------------------------------------------------------------------------

    def _data(self, layer: Layer) -> Value:
        """The data of a layer, rounded; once for all layers that read it."""
        if layer.data not in self.rounded:
            name = layer.data.name
            scale = self._parameter(f"{name}.scale", np.array([self.scales[layer.data]], np.float32))
            out, out_scale = self._value(f"{name}.quantised", layer.data.type), self._value(f"{name}.out_scale", scale.type)
            # nobody reads these in test mode, but without them Paddle 3.3 refuses the operator where it makes it work in place
            states = [self._value(f"{name}.{what}", scale.type) for what in ("out_state", "out_accum")]
            accum, state = (self._parameter(f"{name}.{what}", np.ones(1, np.float32)) for what in ("accum", "state"))
            operands: dict[str, Value | None] = {"x": layer.data, "in_scale": scale, "in_accum": accum, "in_state": state}
            attrs: dict[str, Any] = {"moving_rate": 0.9, "bit_length": BITS, "is_test": True, "round_type": _TIES_TO_EVEN}
            names = ["out", "out_scale", "out_state", "out_accum"]
            self.ops.append(Op(_ROUNDS, operands, attrs, [out, out_scale, *states], names, [], out.name))
            self.rounded[layer.data] = out
        return self.rounded[layer.data]

    def _weight(self, layer: Layer) -> Value:
        """The weights of a layer, rounded, as [depth, channels] or [channels, depth, …]; once for all layers that read them."""
        turned = layer.op.attrs.get("transpose_y", layer.op.attrs.get("trans_y", False))
        key = layer.parameter, -1 if turned else layer.axis
        if key in self.weights:
            return self.weights[key]
        stored, axis = layer.op.operands[layer.weight_operand], layer.axis
        assert stored is not None
        if self.exact:
            self.weights[key] = self._exact_weight(layer, bool(turned))
            return self.weights[key]
        if turned:
            stored, axis = self._parameter(f"{layer.parameter}.turned", np.ascontiguousarray(layer.weight.T)), 1
        shape = self.parameters[stored.name].type.shape
        out = self._value(f"{layer.parameter}.quantised", TensorType("float32", shape))
        scales = self._value(f"{layer.parameter}.scales", TensorType("float32", (shape[axis] if self.per_channel else 1,)))
        attrs = {"bit_length": BITS, "round_type": _TIES_TO_EVEN}
        name = "pd_op.fake_quantize_dequantize_abs_max"
        if self.per_channel:
            name, attrs = "pd_op.fake_channel_wise_quantize_dequantize_abs_max", {**attrs, "quant_axis": axis}
        self.ops.append(Op(name, {"x": stored}, attrs, [out, scales], ["out", "out_scale"], [], out.name))
        self.weights[key] = out
        return out

    def _exact_weight(self, layer: Layer, turned: bool) -> Value:
        """Stored whole numbers, times stored scales that are powers of two."""
        weight, axis = (np.ascontiguousarray(layer.weight.T), 1) if turned else (layer.weight, layer.axis)
        whole, scale = exact_weights(weight, axis, self.per_channel)
        stored = self._parameter(f"{layer.parameter}.whole", whole)
        scales = self._parameter(f"{layer.parameter}.scales", np.broadcast_to(scale.reshape(-1), weight.shape[axis]).copy())
        listed = self._value(f"{layer.parameter}.listed", ListType((scales.type,)))
        self.ops.append(Op("builtin.combine", {"operand_0": scales}, {}, [listed], ["out"], [], listed.name))
        out = self._value(f"{layer.parameter}.quantised", stored.type)
        attrs = {"quant_bits": [BITS], "quant_axis": axis, "x_num_col_dims": 1}
        operands: dict[str, Value | None] = {"x": stored, "scales": listed}
        self.ops.append(Op("pd_op.fake_channel_wise_dequantize_max_abs", operands, attrs, [out], ["out"], [], out.name))
        return out

    def _product(self, layer: Layer, data: Value, weight: Value, results: list[Value]) -> Op:
        """The layer's operation on rounded operands; a legacy ``mul`` as the matmul that it is."""
        op = layer.op
        operands = {**op.operands, layer.data_operand: data, layer.weight_operand: weight}
        attrs: dict[str, Any] = {**op.attrs, **dict.fromkeys([name for name in ("transpose_y", "trans_y") if name in op.attrs], False)}
        if layer.operator == "matmul_with_flatten":
            return Op("pd_op.matmul", operands, {"transpose_x": False, "transpose_y": False}, results, op.result_names, [], op.handle)
        return Op(op.name, operands, attrs, results, op.result_names, [], op.handle, op.kinds)

    def _parameter(self, name: str, data: np.ndarray) -> Value:
        type_ = TensorType(str(data.dtype), data.shape)
        value = self._value(name, type_)
        self.parameters[value.name] = Parameter(value.name, type_, data)
        self.ops.append(Op("builtin.parameter", {}, {"parameter_name": value.name, "persistable": True}, [value], ["out"], [], value.name))
        return value

    def _value(self, name: str, type_: Type) -> Value:
        own, number = name, 2
        while own in self.names:
            own, number = f"{name}.{number}", number + 1
        self.names.add(own)
        return Value(own, type_)
