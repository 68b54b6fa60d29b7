"""Functions of elements that stand alone → the library's; chains of them are one generated kernel each."""

from __future__ import annotations

from typing import Any

from tvm import relax

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of, shape_of

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
}
_BINARY = {
    "add": "broadcast_add",
    "subtract": "broadcast_sub",
    "multiply": "broadcast_mul",
    "divide": "broadcast_div",
    "maximum": "broadcast_max",
    "minimum": "broadcast_min",
}
# what FuseOps joins with its neighbours: the above, and others that the library lacks
_ELEMENTWISE = {
    *_UNARY,
    *_BINARY,
    "clip",
    "where",
    "astype",
    "erf",
    "power",
    "floor",
    "ceil",
    "round",
    "sign",
    "sin",
    "cos",
    "nn.gelu_tanh",
}


def _chained(graph: Graph, node: Node) -> str:
    """Why a chain has it; "" where it stands alone."""
    before = [n for n in map(graph.node, node.call.args) if n and n.only_user is node]
    after = [node.only_user] if node.only_user else []
    for other in (*before, *after):
        if other.var not in graph.taken and (other.name in _ELEMENTWISE or other.name == "call_tir"):
            neighbour = other.call.args[0].name_hint if other.name == "call_tir" else other.name
            return f"one generated kernel does it with {neighbour}, its neighbour"
    return ""


def _unary(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    if dtype_of(x) != "float32" or node.dtype != "float32":
        return f"the library's functions of {dtype_of(x)} elements are not there yet"
    if chained := _chained(graph, node):
        return chained
    attributes: dict[str, Any] = {"alpha": float(node.call.attrs.alpha)} if node.name == "nn.leakyrelu" else {}
    return Fusion(_UNARY[node.name], (node,), {"x": x}, attributes)


def _binary(graph: Graph, node: Node) -> Fusion | str:
    x, y = node.call.args
    if not all(d == "float32" for d in (dtype_of(x), dtype_of(y), node.dtype)):
        return f"the library's functions of {dtype_of(x)} elements are not there yet"
    if not all(isinstance(a.ty, relax.TensorType) and shape_of(a) is not None for a in (x, y)):
        return "a rank is known at run time only"
    if chained := _chained(graph, node):
        return chained
    return Fusion(_BINARY[node.name], (node,), {"x": x, "y": y})


UNARY = Rule("functions of elements", tuple(_UNARY), _unary)
BINARY = Rule("functions of two elements", tuple(_BINARY), _binary)
