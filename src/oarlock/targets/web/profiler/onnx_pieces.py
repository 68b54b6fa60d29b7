"""An ONNX model in pieces: all of its tensors as outputs, and one sub-model for each part that ends in a chosen tensor."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import TargetError


@dataclass(frozen=True)
class Piece:
    """A sub-model: the tensors that it takes and gives, and the names of its nodes' operators."""

    file: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operators: tuple[str, ...]


class Graph:
    """An ONNX file whose sizes are all known."""

    def __init__(self, file: Path) -> None:
        try:
            import onnx
        except ImportError as error:
            raise TargetError("ONNX files are taken apart by the package onnx", where=str(file), todo="pip install onnx") from error
        self._onnx = onnx
        self.model = onnx.load(str(file))
        graph = self.model.graph
        self.constants = {t.name: t for t in graph.initializer}
        self.inputs = [i.name for i in graph.input if i.name not in self.constants]
        self.makers = {name: node for node in graph.node for name in node.output}
        self.order = [name for node in graph.node for name in node.output if name]

    def traced(self, file: Path) -> None:
        """Write the model with every tensor as an output."""
        model = copy.deepcopy(self.model)
        del model.graph.output[:]
        inferred = self._onnx.shape_inference.infer_shapes(self.model, data_prop=True).graph
        types = {v.name: v for v in [*inferred.value_info, *inferred.output]}
        for name in self.order:
            # one whose type is not known to be a tensor of numbers is of no use
            if name in types and types[name].type.tensor_type.elem_type in (1, 6, 7, 9):
                model.graph.output.append(types[name])
        self._onnx.save(model, str(file))

    def cone(self, outputs: Sequence[str], known: set[str]) -> tuple[list[Any], list[str]]:
        """The nodes that make ``outputs`` from ``known`` tensors, the model's inputs and constants; and which of those they take."""
        nodes: dict[int, Any] = {}
        taken: dict[str, None] = {}

        def visit(name: str) -> None:
            if name in self.constants or not name:
                return
            if name in known or name in self.inputs:
                taken[name] = None
            elif id(node := self.makers[name]) not in nodes:
                nodes[id(node)] = node
                for operand in node.input:
                    visit(operand)

        for name in outputs:
            node = self.makers[name]
            nodes[id(node)] = node
            for operand in node.input:
                visit(operand)
        return [node for node in self.model.graph.node if id(node) in nodes], list(taken)

    def piece(self, outputs: Sequence[str], known: set[str], types: Mapping[str, tuple[str, Sequence[int]]], file: Path) -> Piece:
        """Write the sub-model of a cone; ``types``: dtype and shape of each tensor that may be an input or an output."""
        onnx = self._onnx
        nodes, taken = self.cone(outputs, known)
        numbers = {"float32": 1, "int32": 6, "int64": 7, "bool": 9}

        def info(name: str) -> Any:
            dtype, shape = types[name]
            return onnx.helper.make_tensor_value_info(name, numbers[dtype], list(shape))

        used = {operand for node in nodes for operand in node.input}
        graph = onnx.helper.make_graph(
            nodes, file.stem, [info(n) for n in taken], [info(n) for n in outputs], [t for n, t in self.constants.items() if n in used]
        )
        model = onnx.helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        onnx.save(model, str(file))
        return Piece(file.name, tuple(taken), tuple(outputs), tuple(node.op_type for node in nodes))


def identity(file: Path) -> None:
    """Write a model that gives what it takes: what a call costs beside its work."""
    import onnx

    info = [onnx.helper.make_tensor_value_info(name, 1, ["n"]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "identity", info[:1], info[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), str(file))
