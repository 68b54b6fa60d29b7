"""softmax, reductions, places of extremes and running sums → the library's."""

from __future__ import annotations

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of, shape_of
from .moves import NO_FUNCTION

_REDUCTIONS = {"sum": "reduce_sum", "mean": "reduce_mean", "max": "reduce_max", "min": "reduce_min"}


def _softmax(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    if dtype_of(x) != "float32":
        return f"softmax of {dtype_of(x)} is not there yet"
    return Fusion("softmax", (node,), {"x": x}, {"axis": int(node.call.attrs.axis)})


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
    return Fusion(_REDUCTIONS[node.name], (node,), {"x": x}, {"axes": axes})


def _extreme(graph: Graph, node: Node) -> Fusion | str:
    facts = node.means("argmax")
    if facts is None:
        return NO_FUNCTION
    if node.dtype not in ("int32", "int64"):
        return f"argmax has no places of {node.dtype}"
    return Fusion("argmax", (node,), {"x": node.operand(0)}, facts)


def _cumsum(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    attrs, rank = node.call.attrs, len(shape_of(x) or [])
    if dtype_of(x) != node.dtype or node.dtype not in ("float32", "int32", "int64"):
        return f"running sums of {dtype_of(x)} as {node.dtype} are not there yet"
    if attrs.axis is None or not rank:
        return "running sums are along one dim"
    return Fusion("cumsum", (node,), {"x": x}, {"axis": int(attrs.axis) % rank, "exclusive": int(bool(attrs.exclusive))})


ROWS = [
    Rule("softmax", ("nn.softmax",), _softmax),
    Rule("reductions", tuple(_REDUCTIONS), _reduce),
    Rule("places of extremes", ("call_tir",), _extreme),
    Rule("running sums", ("cumsum",), _cumsum),
]
