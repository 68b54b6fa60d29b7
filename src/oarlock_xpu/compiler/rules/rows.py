"""softmax, layer_norm, and reductions over neighbouring dims → the library's."""

from __future__ import annotations

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of, shape_of

_REDUCTIONS = {"sum": "reduce_sum", "mean": "reduce_mean", "max": "reduce_max", "min": "reduce_min"}


def _softmax(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    if dtype_of(x) != "float32":
        return f"softmax of {dtype_of(x)} is not there yet"
    return Fusion("softmax", (node,), {"x": x}, {"axis": int(node.call.attrs.axis)})


def _layer_norm(graph: Graph, node: Node) -> Fusion | str:
    x, scale, bias = node.call.args
    attrs, shape = node.call.attrs, shape_of(x)
    if any(dtype_of(a) != "float32" for a in (x, scale, bias)):
        return f"layer_norm of {dtype_of(x)} is not there yet"
    if shape is None:
        return "the rank is known at run time only"
    axes = sorted(int(a) % len(shape) for a in attrs.axes)
    if axes != list(range(len(shape) - len(axes), len(shape))):
        return "layer_norm normalises trailing dims only"
    inputs = {"x": x} | ({"scale": scale} if attrs.scale else {}) | ({"bias": bias} if attrs.center else {})
    return Fusion("layer_norm", (node,), inputs, {"dims": len(axes), "eps": float(attrs.epsilon)})


def _reduce(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    shape = shape_of(x)
    if dtype_of(x) != "float32" or node.dtype != "float32":
        return f"reductions of {dtype_of(x)} are not there yet"
    if shape is None:
        return "the rank is known at run time only"
    given = node.call.attrs.axis
    axes = sorted(int(a) % len(shape) for a in given) if given is not None else list(range(len(shape)))
    if not axes:
        return "there is nothing to reduce"
    if axes[-1] - axes[0] + 1 != len(axes):
        return f"{_REDUCTIONS[node.name]} reduces neighbouring dims only"
    return Fusion(_REDUCTIONS[node.name], (node,), {"x": x}, {"axes": axes})


ROWS = [
    Rule("softmax", ("nn.softmax",), _softmax),
    Rule("layer_norm", ("nn.layer_norm",), _layer_norm),
    Rule("reductions", tuple(_REDUCTIONS), _reduce),
]
