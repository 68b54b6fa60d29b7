"""Attention: matmul(q, kᵀ) · scale + mask → softmax → matmul(·, v), with the moves around it → qkv_attention.

Before: three products of x, each reshaped to heads and transposed; a product, a scale, a mask, a softmax, a product; the way back.
After: one product by the three matrices side by side, and qkv_attention, which reads heads where they lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tvm import relax

from oarlock import compat

from ..engine import Fusion, Rule, Step
from ..graph import Graph, Node, constant_of, dtype_of, scalar_of, shape_of
from .after import is_vector

WIDEST = 256  # numbers of a head (native/xpu/kernels/src/attention.cc)


@dataclass
class Heads:
    """An operand [batch, heads, rows, numbers] of attention: where it lies in ``base``; ``factor``: what it is multiplied by.

    ``in_heads``: base has these dims; else it is [batch, rows, …], heads ``step`` numbers apart from number ``at`` of a row on.
    """

    base: relax.Expr
    in_heads: bool = True
    at: int = 0
    step: int = 0
    factor: float = 1.0
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Attention:
    """``nodes``: in the order of the program; ``last``: its result, [batch, rows, heads · numbers] or as base of Heads."""

    q: Heads
    k: Heads
    v: Heads
    heads: int
    dim: int
    v_dim: int
    alpha: float
    mask: relax.Expr | None
    nodes: list[Node]
    rows_out: bool

    @property
    def last(self) -> Node:
        return self.nodes[-1]


def _order(node: Node) -> list[int]:
    rank = len(shape_of(node.call.args[0]) or [])
    axes = node.call.attrs.axes
    return [int(a) % rank for a in axes] if axes is not None else list(range(rank))[::-1]


def _source(graph: Graph, node: Node) -> Node | None:
    return graph.node(node.call.args[0])


def heads_of(graph: Graph, expr: relax.Expr, keys: bool = False) -> Heads | None:
    """Where an operand lies, through moves; ``keys``: the expression is [batch, heads, numbers, rows]."""
    node, factor, nodes = graph.node(expr), 1.0, []
    order = [0, 1, 2, 3]
    if keys:
        if node is None or node.name != "permute_dims" or len(order := _order(node)) != 4:
            return None
        if order == [0, 1, 3, 2]:
            nodes.append(node)
            expr, node, order = node.call.args[0], _source(graph, node), [0, 1, 2, 3]
        elif order == [0, 2, 3, 1]:
            return _in_rows(graph, node, node.call.args[0], nodes, factor)
        else:
            return None
    while node is not None and node.name == "multiply" and (scale := scalar_of(node.call.args[1])) is not None:
        nodes.append(node)
        factor *= scale
        expr, node = node.call.args[0], _source(graph, node)
    if node is not None and node.name == "permute_dims" and _order(node) == [0, 2, 1, 3]:
        return _in_rows(graph, node, node.call.args[0], nodes, factor)
    return _packed_heads(graph, expr, nodes, factor) or Heads(expr, factor=factor, nodes=nodes)


def _in_rows(graph: Graph, node: Node, x: relax.Expr, nodes: list[Node], factor: float) -> Heads | None:
    """x: [batch, rows, heads, numbers], or what was reshaped to that, or a part of a packed tensor."""
    shape = shape_of(x)
    if shape is None or not isinstance(shape[3], int):
        return None
    nodes = [*nodes, node]
    before = graph.node(x)
    if before is None or before.name != "reshape":
        return Heads(x, False, 0, shape[3], factor, nodes)
    given = before.call.args[0]
    whole = shape_of(given)
    if whole is not None and len(whole) == 3 and all(compat.equal_dims(a, b) for a, b in zip(whole[:2], shape[:2], strict=True)):
        return Heads(given, False, 0, shape[3], factor, [*nodes, before])
    cut = graph.node(given)
    facts = cut.means("slice") if cut is not None else None
    if cut is not None and facts and _is_part(facts, 5, 2):
        # [batch, rows, 3, heads, numbers] at one of the three
        packed, size = _unshaped(graph, cut.operand(facts["of"]))
        if isinstance(shape[2], int):
            return Heads(packed, False, facts["begins"][2] * shape[2] * shape[3], shape[3], factor, [*nodes, before, cut, *size])
    return Heads(x, False, 0, shape[3], factor, nodes)


def _packed_heads(graph: Graph, expr: relax.Expr, nodes: list[Node], factor: float) -> Heads | None:
    """One of three along the first dim of permute_dims([batch, rows, 3, heads, numbers], [2, 0, 3, 1, 4])."""
    view = graph.node(expr)
    cut = graph.node(view.call.args[0]) if view is not None and view.name == "reshape" else None
    facts = cut.means("slice") if cut is not None else None
    if view is None or cut is None or not facts or not _is_part(facts, 5, 0):
        return None
    turned = graph.node(cut.operand(facts["of"]))
    if turned is None or turned.name != "permute_dims" or _order(turned) != [2, 0, 3, 1, 4]:
        return None
    shape = shape_of(turned.call.args[0])
    if shape is None or not isinstance(shape[3], int) or not isinstance(shape[4], int):
        return None
    packed, moves = _unshaped(graph, turned.call.args[0])
    return Heads(packed, False, facts["begins"][0] * shape[3] * shape[4], shape[4], factor, [*nodes, view, cut, turned, *moves])


def _is_part(facts: dict[str, Any], rank: int, axis: int) -> bool:
    """Whether a slice takes one of an axis, and all of the others."""
    others = [d for d in range(rank) if d != axis]
    whole = all(facts["begins"][d] == 0 and facts["strides"][d] == 1 for d in others if d < len(facts["begins"]))
    return len(facts["begins"]) == rank and whole and all(facts["dims"][d] == d for d in others)


def _unshaped(graph: Graph, expr: relax.Expr) -> tuple[relax.Expr, list[Node]]:
    """What was reshaped from [batch, rows, width] to five dims; else the expression itself."""
    node = graph.node(expr)
    whole = shape_of(node.call.args[0]) if node is not None and node.name == "reshape" else None
    return (node.call.args[0], [node]) if node is not None and whole is not None and len(whole) == 3 else (expr, [])


def attention_at(graph: Graph, softmax: Node) -> Attention | str:
    """The attention around a softmax."""
    shape = shape_of(softmax.call.args[0])
    if shape is None or len(shape) != 4 or int(softmax.call.attrs.axis) % 4 != 3 or softmax.dtype != "float32":
        return "attention is a softmax over the last of four dims"
    inside: list[Node] = [softmax]
    node, mask, alpha = graph.node(softmax.call.args[0]), None, 1.0
    while node is not None and node.only_user is inside[-1]:
        scale = scalar_of(node.call.args[1]) if node.name in ("multiply", "divide") else None
        if scale is not None and (node.name == "multiply" or scale):
            alpha *= scale if node.name == "multiply" else 1 / scale
            inside.append(node)
            node = graph.node(node.call.args[0])
        elif node.name == "add" and mask is None:
            if alpha != 1.0:
                return "a mask that is scaled with the scores"
            sides = [graph.node(a) for a in node.call.args]
            which = next((i for i, s in enumerate(sides) if s is not None and s.name in ("matmul", "multiply", "divide")), None)
            if which is None:
                return "what is added to the mask is no product"
            mask = node.call.args[1 - which]
            inside.append(node)
            node = sides[which]
        else:
            break
    if node is None or node.name != "matmul" or node.only_user is not inside[-1]:
        return "the softmax is of no product"
    inside.append(node)
    after = softmax.only_user
    if after is None or after.name != "matmul" or not after.call.args[0].same_as(softmax.var):
        return "no product takes the softmax alone"
    q, k = heads_of(graph, node.call.args[0]), heads_of(graph, node.call.args[1], keys=True)
    v = heads_of(graph, after.call.args[1])
    if q is None or k is None or v is None or v.factor != 1.0:
        return "queries, keys or values lie in an order that attention does not read"
    left, right = shape_of(node.call.args[0]), shape_of(after.call.args[1])
    heads, dim = (left[1], left[3]) if left is not None else (None, None)
    v_dim = right[3] if right is not None and len(right) == 4 else None
    if not all(isinstance(n, int) for n in (heads, dim, v_dim)) or right is None or right[1] != heads:
        return "the heads are known at run time only, or are shared"
    if max(int(dim), int(v_dim)) > WIDEST:  # type: ignore[arg-type]
        return f"a head has more than {WIDEST} numbers"
    if not all(dtype_of(x.base) == "float32" for x in (q, k, v)):
        return f"attention of {dtype_of(q.base)} is not there yet"
    if mask is not None and (why := _wrong_mask(mask, shape)):
        return why
    nodes, rows_out = [*reversed(inside), after], False
    turned = after.only_user
    if turned is not None and turned.name == "permute_dims" and _order(turned) == [0, 2, 1, 3]:
        nodes.append(turned)
        rows_out = True
        flat = turned.only_user
        if flat is not None and flat.name == "reshape" and _joins_heads(flat, int(heads) * int(v_dim)):  # type: ignore[arg-type]
            nodes.append(flat)
    return Attention(q, k, v, int(heads), int(dim), int(v_dim), alpha * q.factor * k.factor, mask, nodes, rows_out)  # type: ignore[arg-type]


def _joins_heads(flat: Node, width: int) -> bool:
    shape, given = flat.shape, shape_of(flat.call.args[0])
    if shape is None or given is None or len(shape) != 3 or shape[2] != width:
        return False
    return all(compat.equal_dims(a, b) for a, b in zip(shape[:2], given[:2], strict=True))


def _wrong_mask(mask: relax.Expr, scores: list[Any]) -> str:
    shape = shape_of(mask)
    if shape is None or dtype_of(mask) != "float32" or len(shape) > 4:
        return "the mask is no float32 tensor of at most four dims"
    if not shape or not compat.equal_dims(shape[-1], scores[-1]):
        return "the mask has not as many columns as there are keys"
    return ""


# ---- the products before


@dataclass
class Projection:
    """x · w + bias, with constants; ``nodes``: product and addition."""

    x: relax.Expr
    w: np.ndarray
    bias: np.ndarray | None
    nodes: list[Node]


def projection(graph: Graph, expr: relax.Expr) -> Projection | None:
    """The product by a constant matrix that an expression is, with a bias."""
    node, bias, nodes = graph.node(expr), None, []
    if node is not None and node.name == "add":
        sides = [graph.node(a) for a in node.call.args]
        which = next((i for i, s in enumerate(sides) if s is not None and s.name == "matmul" and s.only_user is node), None)
        if which is None:
            return None
        product = sides[which]
        assert product is not None
        columns = (product.shape or [None])[-1]
        if not is_vector(node.call.args[1 - which], columns, 1):
            return None
        bias = constant_of(node.call.args[1 - which])
        nodes, node = [node], product
    if node is None or node.name != "matmul" or node.dtype != "float32":
        return None
    x, w = node.call.args
    matrix = constant_of(w)
    if matrix is None:
        turned = graph.node(w)
        matrix = constant_of(turned.call.args[0]) if turned is not None and turned.name == "permute_dims" else None
        matrix = matrix.T if matrix is not None and matrix.ndim == 2 else None
    if matrix is None or matrix.ndim != 2 or matrix.dtype != "float32":
        return None
    return Projection(x, matrix, bias.reshape(-1) if bias is not None else None, [node, *nodes])


def side_by_side(parts: list[Projection]) -> tuple[np.ndarray, np.ndarray | None]:
    """The matrices of several projections as one, and their biases."""
    w = np.concatenate([p.w for p in parts], 1)
    if all(p.bias is None for p in parts):
        return w, None
    return w, np.concatenate([p.bias if p.bias is not None else np.zeros(p.w.shape[1], "float32") for p in parts])


def _joined(graph: Graph, found: Attention) -> tuple[list[Heads], dict[int, Step], list[Node]]:
    """q, k and v, those that are products of one x read from one product: number of the operand → what makes it."""
    operands, made, nodes = [found.q, found.k, found.v], {}, list[Node]()
    parts = [projection(graph, x.base) if not x.in_heads else None for x in operands]
    groups: list[list[int]] = []
    for i, part in enumerate(parts):
        if part is None or part.nodes[-1].kept or any(n.var in graph.taken for n in part.nodes):
            continue
        group = next((g for g in groups if parts[g[0]].x.same_as(part.x)), None)  # type: ignore[union-attr]
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    for group in groups:
        if len(group) < 2 or len({id(parts[i].nodes[-1]) for i in group}) < len(group):  # type: ignore[union-attr]
            continue
        chosen = [part for i in group if (part := parts[i]) is not None]
        readers = [len(graph.reading.get(part.nodes[-1].var, [])) for part in chosen]
        shape = shape_of(chosen[0].x)
        if any(n != 1 for n in readers) or shape is None:
            continue
        w, bias = side_by_side(chosen)
        inputs = {"x": chosen[0].x, "w": compat.constant(w)} | ({"bias": compat.constant(bias)} if bias is not None else {})
        step = Step("fc_fusion", inputs, {}, (*shape[:-1], w.shape[1]))
        at = 0
        for i, part in zip(group, chosen, strict=True):
            operands[i] = replace(operands[i], at=operands[i].at + at)
            made[i] = step
            at += part.w.shape[1]
            nodes += part.nodes
    return operands, made, nodes


def call_of(found: Attention) -> dict[str, Any]:
    """The attributes of a call."""
    attributes: dict[str, Any] = {"heads": found.heads, "dim": found.dim, "v_dim": found.v_dim, "alpha": found.alpha}
    if not found.rows_out:
        attributes["y_heads"] = 1
    return attributes


def _apply(graph: Graph, node: Node) -> Fusion | str:
    found = attention_at(graph, node)
    if isinstance(found, str):
        return found
    operands, made, products = _joined(graph, found)
    attributes = call_of(found)
    inputs: dict[str, Any] = {}
    for number, (role, x) in enumerate(zip("qkv", operands, strict=True)):
        inputs[role] = made.get(number, x.base)
        attributes |= {f"{role}_heads": 1} if x.in_heads else {f"{role}_at": x.at, f"{role}_step": x.step}
    if found.mask is not None:
        inputs["mask"] = found.mask
    # moves that others read too stay as they are
    moves = [n for x in operands for n in x.nodes if n.only_user is not None and n.var not in graph.taken]
    nodes = list({id(n): n for n in (*products, *moves, *found.nodes)}.values())
    return Fusion("qkv_attention", tuple(nodes), inputs, attributes)


ATTENTION = Rule("attention", ("nn.softmax",), _apply)
