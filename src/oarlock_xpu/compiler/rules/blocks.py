"""Blocks of several operators: squeeze-excitation, embeddings with their sum and layer_norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from oarlock import compat

from ..engine import Fusion, Rule
from ..graph import Graph, Node, constant_of, dtype_of, shape_of
from .after import activation, is_vector

MOST_HIDDEN, MOST_TABLES, WIDEST_ROW = 8192, 8, 1024  # native/xpu/kernels/src/norms.cc, lookups.cc


@dataclass
class _Gate:
    """A product by constants, [outputs, inputs], a bias and an activation, along channels."""

    w: np.ndarray
    bias: np.ndarray | None
    act: dict[str, Any]
    nodes: list[Node]

    @property
    def last(self) -> Node:
        return self.nodes[-1]


def _gate(graph: Graph, node: Node | None) -> _Gate | None:
    """From a convolution by one pixel, or a product, on."""
    if node is None or node.name not in ("nn.conv2d", "matmul"):
        return None
    w = constant_of(node.call.args[1])
    if w is None or w.dtype != "float32":
        return None
    if node.name == "nn.conv2d":
        attrs = node.call.attrs
        if w.shape[2:] != (1, 1) or int(attrs.groups) != 1 or any(int(p) for p in attrs.padding) or any(int(s) != 1 for s in attrs.strides):
            return None
        w, axis = w.reshape(w.shape[:2]), 3
    elif w.ndim == 2:
        w, axis = w.T, 1
    else:
        return None
    nodes, bias = [node], None
    user = node.only_user
    if user is not None and user.name == "add" and is_vector(user.call.args[1], w.shape[0], axis):
        bias = constant_of(user.call.args[1])
        nodes.append(user)
        user = user.only_user
    act: dict[str, Any] = {}
    if user is not None and (found := activation(user)) is not None:
        act = found
        nodes.append(user)
    return _Gate(np.ascontiguousarray(w), None if bias is None else bias.reshape(-1), act, nodes)


def _through_views(node: Node | None, nodes: list[Node]) -> Node | None:
    while node is not None and node.name == "reshape" and node.only_user is not None:
        nodes.append(node)
        node = node.only_user
    return node


def _squeeze_excitation(graph: Graph, node: Node) -> Fusion | str:
    """mean of a plane → product, activation → product, activation → x · that."""
    x = node.call.args[0]
    shape, axes = shape_of(x), node.call.attrs.axis
    if shape is None or len(shape) != 4 or axes is None or sorted(int(a) % 4 for a in axes) != [2, 3] or dtype_of(x) != "float32":
        return "a mean of other dims than a plane's"
    nodes: list[Node] = [node]
    first = _gate(graph, _through_views(node.only_user, nodes))
    if first is None:
        return "no product by constants follows the mean"
    nodes += first.nodes
    second = _gate(graph, _through_views(first.last.only_user, nodes))
    if second is None:
        return "no second product follows"
    nodes += second.nodes
    scaled = _through_views(second.last.only_user, nodes)
    if scaled is None or scaled.name != "multiply" or not any(a.same_as(x) for a in scaled.call.args):
        return "the gates do not scale what they are of"
    if first.w.shape != second.w.shape[::-1] or second.w.shape[0] != shape[1] or first.w.shape[0] > MOST_HIDDEN:
        return "the matrices have other sizes than squeeze-excitation's"
    gates = [a for a in scaled.call.args if not a.same_as(x)]
    dims = shape_of(gates[0]) if len(gates) == 1 else None
    if dims is None or len(dims) != 4 or list(dims[2:]) != [1, 1]:
        return "the gates are not one number a channel"
    inputs: dict[str, Any] = {"x": x, "w1": compat.constant(first.w), "w2": compat.constant(second.w)}
    inputs |= {role: compat.constant(b) for role, b in (("b1", first.bias), ("b2", second.bias)) if b is not None}
    attributes: dict[str, Any] = {}
    for role, act in (("act1", first.act), ("act2", second.act)):
        attributes |= {role: act.get("act", "")} | ({f"{role}_alpha": act["act_alpha"]} if "act_alpha" in act else {})
    return Fusion("squeeze_excitation_block", (*nodes, scaled), inputs, attributes)


# ---- embeddings


@dataclass
class _Table:
    table: relax.Expr
    ids: relax.Expr
    nodes: list[Node]


def _tables(graph: Graph, expr: relax.Expr, user: Node) -> list[_Table] | None:
    """The embeddings that a sum is of, all of which ``user`` alone reads."""
    node, passed = graph.node(expr), list[Node]()
    while node is not None and node.means("same") is not None and node.only_user is user:  # a check of sizes, which the call makes too
        passed.append(node)
        user, node = node, graph.node(node.operand(node.means("same")["of"]))  # type: ignore[index]
    if node is None or node.only_user is not user or node.var in graph.taken or node.dtype != "float32":
        return None
    if node.name == "add":
        parts = [_tables(graph, a, node) for a in node.call.args]
        if any(p is None for p in parts):
            return None
        found = [t for p in parts if p is not None for t in p]
        return [_Table(t.table, t.ids, [*t.nodes, node, *passed]) for t in found]
    facts = node.means("lookup")
    if facts is None or facts["axis"] != 0 or "padding" in facts:
        return None
    return [_Table(node.operand(facts["table"]), node.operand(facts["ids"]), [node, *passed])]


def _embeddings(graph: Graph, node: Node) -> Fusion | str:
    """The sum of several embeddings, with the layer_norm behind it."""
    top, inputs, eps = node, dict[str, Any](), {}
    norm = node.only_user if node.name == "add" else None
    if norm is not None and norm.name == "nn.layer_norm" and len(norm.call.attrs.axes) == 1:
        x, scale, bias = norm.call.args
        if int(norm.call.attrs.axes[0]) % 3 == 2 and len(norm.shape or []) == 3 and norm.call.attrs.scale and norm.call.attrs.center:
            inputs, eps, top = {"scale": scale, "bias": bias}, {"eps": float(norm.call.attrs.epsilon)}, norm
    parts = [_tables(graph, a, node) for a in node.call.args]
    if any(p is None for p in parts):
        return "no sum of embeddings"
    tables = [t for p in parts if p is not None for t in p]
    shape = node.shape
    if shape is None or not isinstance(shape[-1], int) or shape[-1] > WIDEST_ROW or len(tables) > MOST_TABLES:
        return f"more than {MOST_TABLES} tables, or rows wider than {WIDEST_ROW}"
    if len({dtype_of(t.ids) for t in tables}) > 1 or dtype_of(tables[0].ids) not in ("int32", "int64"):
        return "the ids have several types"
    if any(dtype_of(t.table) != "float32" or len(shape_of(t.table) or []) != 2 for t in tables):
        return "the tables are no matrices of float32"
    if not all(_repeats(t.ids, shape[:-1]) for t in tables):
        return "ids that are repeated inside of a batch"
    for number, table in enumerate(tables):
        inputs |= {f"table{number}": table.table, f"ids{number}": table.ids}
    nodes = list({id(n): n for t in tables for n in t.nodes}.values())
    nodes = [*(n for n in nodes if n is not node), node, *([top] if top is not node else [])]
    return Fusion("multi_embedding_fusion", tuple(nodes), inputs, eps)


def _repeats(ids: relax.Expr, shape: list[Any]) -> bool:
    """Whether ids are as the rows of the result, or repeat over its first dims."""
    own = shape_of(ids)
    if own is None or len(own) > len(shape):
        return False
    own = [1] * (len(shape) - len(own)) + list(own)
    while own and own[0] == 1:
        own, shape = own[1:], shape[1:]
    return all(_reaches(a, b) for a, b in zip(own, shape, strict=True))


def _reaches(a: Any, b: Any) -> bool:
    """Whether two dims are equal, for sizes that are not negative."""
    if compat.equal_dims(a, b):
        return True
    sizes = [v for d in (a, b) if not isinstance(d, int) for v in compat.variables(d)]
    analyzer = tvm.sym.Analyzer()
    for size in sizes:
        analyzer.update(size, tvm.sym.ConstIntBound(0, tvm.sym.ConstIntBound.POS_INF))
    return bool(analyzer.can_prove_equal(a, b))


SQUEEZE_EXCITATION = Rule("squeeze_excitation", ("mean",), _squeeze_excitation)
EMBEDDINGS = Rule("embeddings", ("add",), _embeddings)
