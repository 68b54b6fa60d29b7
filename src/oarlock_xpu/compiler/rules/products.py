"""matmul, with what follows it: by one matrix → fc_fusion with add(bias) and activation; of batches alike → fc_batched."""

from __future__ import annotations

from tvm import relax

from oarlock import compat

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of, shape_of
from .after import grow, is_vector


def _operands(graph: Graph, node: Node) -> tuple[relax.Expr, relax.Expr, bool] | str:
    """x, w and whether w is transposed; or why the library has no such product."""
    x, w = node.call.args
    if not all(d == "float32" for d in (dtype_of(x), dtype_of(w), node.dtype)):
        return f"products of {dtype_of(x)} and {dtype_of(w)} are not there yet"
    w, transposed = _transposed(graph, w)
    left, right = shape_of(x), shape_of(w)
    if left is None or right is None:
        return "a rank is known at run time only"
    if len(left) < 2 or len(right) < 2:
        return "the library has no products of vectors"
    return x, w, transposed


def _matrix(graph: Graph, node: Node) -> Fusion | str:
    found = _operands(graph, node)
    if isinstance(found, str):
        return found
    x, w, transposed = found
    right = shape_of(w) or []
    if len(right) != 2:
        return "the right operand is no matrix"
    columns = right[0 if transposed else 1]
    nodes, inputs, act = grow(graph, node, lambda other: is_vector(other, columns, 1), branches=False)
    return Fusion("fc_fusion", tuple(nodes), {"x": x, "w": w, **inputs}, {**({"wtrans": 1} if transposed else {}), **act})


def _batches(graph: Graph, node: Node) -> Fusion | str:
    found = _operands(graph, node)
    if isinstance(found, str):
        return found
    x, w, transposed = found
    left, right = shape_of(x) or [], shape_of(w) or []
    trans = {"wtrans": 1} if transposed else {}
    if len(left) != len(right) or not all(compat.equal_dims(a, b) for a, b in zip(left[:-2], right[:-2], strict=True)):
        return "batches that are broadcast are not there yet"
    return Fusion("fc_batched", (node,), {"x": x, "w": w}, trans)


def _transposed(graph: Graph, w: relax.Expr) -> tuple[relax.Expr, bool]:
    """What a product reads as its transposed right operand, where that is a permutation of the last two dims; else the operand."""
    node = graph.node(w)
    if node is None or node.name != "permute_dims":
        return w, False
    rank = len(shape_of(w) or [])
    axes = node.call.attrs.axes
    order = [int(a) % rank for a in axes] if axes is not None else list(range(rank))[::-1]
    if rank < 2 or order != [*range(rank - 2), rank - 1, rank - 2]:
        return w, False
    return node.call.args[0], True


PRODUCTS = [Rule("products by a matrix", ("matmul",), _matrix), Rule("products of batches", ("matmul",), _batches)]
