"""Functions of elements that stand alone → the library's; chains of them are one generated kernel each."""

from __future__ import annotations

from typing import Any

from tvm import relax

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of, shape_of
from .chains import chained, unchecked
from .moves import NO_FUNCTION

_UNARY = {
    "nn.relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "nn.gelu": "gelu",
    "nn.silu": "swish",
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "square": "square",
    "abs": "abs",
    "negative": "neg",
    "nn.leakyrelu": "leaky_relu",
    "floor": "floor",
    "ceil": "ceil",
    "round": "round",
    "sin": "sin",
    "cos": "cos",
    "erf": "erf",
}
_BINARY = {
    "add": "broadcast_add",
    "subtract": "broadcast_sub",
    "multiply": "broadcast_mul",
    "divide": "broadcast_div",
    "maximum": "broadcast_max",
    "minimum": "broadcast_min",
    "power": "broadcast_pow",
}


def _unary(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    if dtype_of(x) != "float32" or node.dtype != "float32":
        return f"the library's functions of {dtype_of(x)} elements are not there yet"
    if why := chained(graph, node):
        return why
    attributes: dict[str, Any] = {"alpha": float(node.call.attrs.alpha)} if node.name == "nn.leakyrelu" else {}
    return Fusion(_UNARY[node.name], (node,), {"x": x}, attributes)


def _activation(graph: Graph, node: Node) -> Fusion | str:
    """A kernel of the importer that is one of the library's functions of elements."""
    facts = node.means("act")
    if facts is None:
        return NO_FUNCTION
    if why := chained(graph, node):
        return why
    names = {"hard_sigmoid": "slope", "leaky_relu": "alpha"}
    attributes = {names[facts["act"]]: facts["act_alpha"]} if "act_alpha" in facts else {}
    return Fusion(facts["act"], (node,), {"x": node.operand(0)}, attributes)


def _clip(graph: Graph, node: Node) -> Fusion | str:
    if dtype_of(node.call.args[0]) != "float32":
        return f"the library's functions of {dtype_of(node.call.args[0])} elements are not there yet"
    if why := chained(graph, node):
        return why
    low, high = (float(a.value.value if hasattr(a.value, "value") else a.value) for a in node.call.args[1:3])
    return Fusion("clip", (node,), {"x": node.call.args[0]}, {"min": low, "max": high})


def _binary(graph: Graph, node: Node) -> Fusion | str:
    operands, checks, told = unchecked(graph, dict(zip("xy", node.call.args, strict=True)), node)
    x, y = operands.values()
    if not all(d == "float32" for d in (dtype_of(x), dtype_of(y), node.dtype)):
        return f"the library's functions of {dtype_of(x)} elements are not there yet"
    if not all(isinstance(a.ty, relax.TensorType) and shape_of(a) is not None for a in (x, y)):
        return "a rank is known at run time only"
    if not checks and (why := chained(graph, node)):
        return why
    return Fusion(_BINARY[node.name], (*checks, node), operands, told)


UNARY = Rule("functions of elements", tuple(_UNARY), _unary)
ACTIVATION = Rule("activations", ("call_tir",), _activation)
CLIP = Rule("clip", ("clip",), _clip)
BINARY = Rule("functions of two elements", tuple(_BINARY), _binary)
