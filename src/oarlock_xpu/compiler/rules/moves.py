"""permute_dims, concat, and take along the first dim → the library's transpose, concat and gather."""

from __future__ import annotations

from tvm import relax

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of, shape_of

_SIZES = ("8", "16", "32", "64")
_MOST_DIMS = 8


def _movable(*exprs: relax.Expr) -> str:
    """Why the library does not move tensors; "" where it does."""
    for expr in exprs:
        if not (dtype_of(expr).endswith(_SIZES) or dtype_of(expr) == "bool"):
            return f"the library moves no elements of type {dtype_of(expr) or 'unknown'}"
        if shape_of(expr) is None:
            return "a rank is known at run time only"
    return ""


def _transpose(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    if why := _movable(x):
        return why
    rank = len(shape_of(x) or [])
    if rank > _MOST_DIMS:
        return f"transpose has at most {_MOST_DIMS} dims"
    axes = node.call.attrs.axes
    order = [int(a) % rank for a in axes] if axes is not None else list(range(rank))[::-1]
    return Fusion("transpose", (node,), {"x": x}, {"permute": order})


def _concat(graph: Graph, node: Node) -> Fusion | str:
    (parts,) = node.call.args
    if not isinstance(parts, relax.Tuple):
        return "the tensors to join are one value"
    if why := _movable(*parts.fields):
        return why
    return Fusion("concat", (node,), {f"x{i}": x for i, x in enumerate(parts.fields)}, {"axis": int(node.call.attrs.axis)})


def _gather(graph: Graph, node: Node) -> Fusion | str:
    x, index = node.call.args
    if not isinstance(index.ty, relax.TensorType) or dtype_of(index) not in ("int32", "int64"):
        return "gather takes a tensor of int32 or int64 indices"
    if why := _movable(x, index):
        return why
    axis = node.call.attrs.axis
    if axis is None or int(axis) % max(len(shape_of(x) or []), 1):
        return "gather looks up the first dim only"
    return Fusion("gather", (node,), {"x": x, "index": index})


MOVES = [Rule("transpose", ("permute_dims",), _transpose), Rule("concat", ("concat",), _concat), Rule("gather", ("take",), _gather)]
