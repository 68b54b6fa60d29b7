"""Moves: permute_dims, concat, slices, splits, padding, expansion, lookups, choices and constants → the library's."""

from __future__ import annotations

from tvm import relax

from oarlock import compat

from ..engine import Fusion, Rule
from ..graph import Graph, Node, dtype_of, scalar_of, shape_of
from .chains import chained, unchecked

_SIZES = ("8", "16", "32", "64")
_MOST_DIMS = 8
NO_FUNCTION = ""  # a kernel of the importer that means something else: another rule's, or generated


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
    axis = int(node.call.attrs.axis)
    rank = node.call.ty.ndim
    joined, checks, told = unchecked(graph, {f"x{i}": x for i, x in enumerate(parts.fields)}, node, axis % rank)
    return Fusion("concat", (*checks, node), joined, {"axis": axis, **told})


def _gather(graph: Graph, node: Node) -> Fusion | str:
    x, index = node.call.args
    if not isinstance(index.ty, relax.TensorType) or dtype_of(index) not in ("int32", "int64"):
        return "gather takes a tensor of int32 or int64 indices"
    if why := _movable(x, index):
        return why
    axis = node.call.attrs.axis
    if axis is None:
        return "gather looks up one dim"
    return Fusion("gather", (node,), {"x": x, "index": index}, {"axis": int(axis) % max(len(shape_of(x) or []), 1)})


def _lookup(graph: Graph, node: Node) -> Fusion | str:
    """The importer's gather, index_select and embedding, whose indices are kept inside: a wrong one is a fault on this device."""
    facts = node.means("lookup")
    if facts is None:
        return NO_FUNCTION
    table, ids = node.operand(facts["table"]), node.operand(facts["ids"])
    if dtype_of(ids) not in ("int32", "int64"):
        return "gather takes a tensor of int32 or int64 indices"
    if why := _movable(table, ids):
        return why
    if facts["axis"] == 0 and len(shape_of(table) or []) == 2:
        padding = {"padding": facts["padding"]} if "padding" in facts else {}
        return Fusion("embedding", (node,), {"table": table, "ids": ids}, padding)
    if "padding" in facts:
        return "zeros for one index are for matrices only"
    return Fusion("gather", (node,), {"x": table, "index": ids}, {"axis": facts["axis"]})


def _slice(graph: Graph, node: Node) -> Fusion | str:
    facts = node.means("slice")
    if facts is None:
        return NO_FUNCTION
    x = node.operand(facts["of"])
    if why := _movable(x) or _too_many(x, node.var) or chained(graph, node):
        return why
    return Fusion("strided_slice", (node,), {"x": x}, {k: facts[k] for k in ("begins", "strides", "dims")})


def _too_many(*exprs: relax.Expr) -> str:
    most = max(len(shape_of(e) or []) for e in exprs)
    return f"the library's slices have at most {_MOST_DIMS} dims" if most > _MOST_DIMS or not most else ""


def _split(graph: Graph, node: Node) -> Fusion | str:
    """Slices that together are all of a tensor along one axis → one call with as many results."""
    facts = node.means("slice")
    if facts is None:
        return NO_FUNCTION
    x = node.operand(facts["of"])
    if why := _movable(x):
        return why
    parts = (
        [p for n in graph.reading.get(x, []) if n.var not in graph.taken and (p := _part(n, x)) is not None]
        if isinstance(x, relax.Var)
        else []
    )
    mine = _part(node, x)
    if mine is None:
        return "it takes a part of several dims, or steps"
    axis = mine[0]
    row = sorted((p for p in parts if p[0] == axis), key=lambda p: p[1])
    end = 0
    for _, begin, size, _ in row:
        if begin != end:
            return "the parts are not one behind the other"
        end += size
    whole = (shape_of(x) or [None])[axis]
    if len(row) < 2 or end != whole:
        return "the parts are not all of the tensor"
    nodes = [n for *_, n in row]
    if why := next((why for n in nodes if (why := chained(graph, n))), ""):
        return why
    more = {f"part{i}": n for i, n in enumerate(nodes[1:], 1)}
    at = next(n for n in graph.nodes.values() if n in nodes)
    return Fusion("split", (*nodes[1:], nodes[0]), {"x": x}, {"axis": axis}, more=more, at=at)


def _part(node: Node, x: relax.Expr) -> tuple[int, int, int, Node] | None:
    """(axis, begin, size, node) of a slice of one axis of x, whose sizes are known."""
    facts, shape, given = node.means("slice"), node.shape, shape_of(x)
    if facts is None or shape is None or given is None or not node.operand(facts["of"]).same_as(x):
        return None
    if facts["dims"] != list(range(len(given))) or any(s != 1 for s in facts["strides"]):
        return None
    cut = [d for d, (a, b) in enumerate(zip(shape, given, strict=True)) if not compat.equal_dims(a, b)]
    if len(cut) != 1 or not isinstance(shape[cut[0]], int) or any(facts["begins"][d] for d in range(len(given)) if d != cut[0]):
        return None
    return cut[0], facts["begins"][cut[0]], int(shape[cut[0]]), node  # type: ignore[call-overload]


def _pad(graph: Graph, node: Node) -> Fusion | str:
    facts = node.means("pad")
    if facts is None:
        return NO_FUNCTION
    x = node.operand(facts["of"])
    if why := _movable(x) or _too_many(x):
        return why
    if dtype_of(x) != "float32" and (dtype_of(x).startswith("float") or dtype_of(x) == "bool") and facts["value"]:
        return f"padding of {dtype_of(x)} is with zeros"
    return Fusion("pad", (node,), {"x": x}, {"before": facts["before"], "value": facts["value"]})


def _expand(graph: Graph, node: Node) -> Fusion | str:
    """broadcast_to → a slice that repeats."""
    x = node.call.args[0]
    given, shape = shape_of(x), node.shape
    if why := _movable(x) or ("" if given else "a number alone is part of other kernels") or _too_many(node.var) or chained(graph, node):
        return why
    if given is None or shape is None:
        return "a rank is known at run time only"
    ahead = len(shape) - len(given)
    dims = [-1] * ahead + [d if compat.equal_dims(given[d], shape[ahead + d]) else -1 for d in range(len(given))]
    if any(k >= 0 and given[k] == 1 for k in dims):
        dims = [-1 if k >= 0 and given[k] == 1 else k for k in dims]
    if any(k < 0 and given[d - ahead] != 1 for d, k in enumerate(dims) if d >= ahead):
        return "which dims repeat is known at run time only"
    return Fusion("strided_slice", (node,), {"x": x}, {"begins": [0] * len(given), "strides": [1] * len(given), "dims": dims})


def _select(graph: Graph, node: Node) -> Fusion | str:
    condition, x, y = node.call.args
    if dtype_of(condition) != "bool" or dtype_of(x) != dtype_of(y) or not node.dtype.endswith(("8", "32", "64")):
        return f"choices of {node.dtype} are not there yet"
    if why := _movable(condition, x, y) or _too_many(node.var) or chained(graph, node):
        return why
    return Fusion("select", (node,), {"condition": condition, "x": x, "y": y})


_CASTS = {
    ("float32", "int32"),
    ("float32", "int64"),
    ("int32", "float32"),
    ("int64", "float32"),
    ("int32", "int64"),
    ("int64", "int32"),
    ("bool", "float32"),
    ("bool", "int32"),
    ("bool", "int64"),
    ("float32", "float16"),
    ("float16", "float32"),
}


def _cast(graph: Graph, node: Node) -> Fusion | str:
    (x,) = node.call.args
    if (dtype_of(x), node.dtype) not in _CASTS:
        return f"the library has no cast from {dtype_of(x)} to {node.dtype}"
    if why := chained(graph, node):
        return why
    return Fusion("cast", (node,), {"x": x})


def _constant(graph: Graph, node: Node) -> Fusion | str:
    value = 0.0 if node.name == "zeros" else 1.0 if node.name == "ones" else scalar_of(node.call.args[1])
    if value is None or node.dtype not in ("float32", "int32", "int64", "int8", "bool") or abs(value) > 2**53:
        return f"the number that a tensor of {node.dtype} is filled with is known at run time only"
    if why := chained(graph, node):
        return why
    return Fusion("constant", (node,), {}, {"value": value})


MOVES = [
    Rule("transpose", ("permute_dims",), _transpose),
    Rule("concat", ("concat",), _concat),
    Rule("gather", ("take",), _gather),
    Rule("lookup", ("call_tir",), _lookup),
    Rule("split", ("call_tir",), _split),
    Rule("slice", ("call_tir",), _slice),
    Rule("pad", ("call_tir",), _pad),
    Rule("expand", ("broadcast_to",), _expand),
    Rule("select", ("where",), _select),
    Rule("cast", ("astype",), _cast),
    Rule("constant", ("full", "zeros", "ones"), _constant),
]
