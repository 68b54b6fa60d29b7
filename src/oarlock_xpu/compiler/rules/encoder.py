"""Layers of an encoder, one behind the other → one transformer_encoder.

Before: attention of x by constant matrices, a product, the sum with x, layer_norm, two products with an activation, the sum, layer_norm
(or each layer_norm before what it is of), as often as there are layers with one mask.  After: one call, with seven launches a layer.

With the target's option ``packed``, rows that a mask of keys takes out (below −1000) are no part of their sequence: nothing is computed
for them, and their rows of the result are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from oarlock import compat

from ..engine import Fusion, Rule
from ..graph import Graph, Node, constant_of, dtype_of, shape_of
from .after import activation, same_shape
from .attention import Attention, Projection, attention_at, projection, side_by_side


@dataclass
class _Norm:
    node: Node
    scale: np.ndarray
    bias: np.ndarray
    eps: float


@dataclass
class _Layer:
    x: relax.Expr
    last: Node
    pre_norm: bool
    attention: Attention
    weights: dict[str, np.ndarray]
    norms: tuple[_Norm, _Norm]
    act: dict[str, Any]
    nodes: list[Node]

    def like(self, other: _Layer) -> bool:
        """Whether another layer may follow in one call."""
        mine, theirs = self.attention, other.attention
        masks = (mine.mask is None and theirs.mask is None) or (
            mine.mask is not None and theirs.mask is not None and mine.mask.same_as(theirs.mask)
        )
        sizes = {role: w.shape for role, w in self.weights.items()} == {role: w.shape for role, w in other.weights.items()}
        same = (mine.heads, mine.alpha, self.act, self.pre_norm) == (theirs.heads, theirs.alpha, other.act, other.pre_norm)
        return masks and sizes and same and [n.eps for n in self.norms] == [n.eps for n in other.norms]


def _norm(node: Node | None) -> _Norm | None:
    """A layer_norm over the last dim with constants."""
    if node is None or node.name != "nn.layer_norm" or len(node.call.attrs.axes) != 1:
        return None
    rank = len(node.shape or [])
    scale, bias = (constant_of(a) for a in node.call.args[1:3])
    if int(node.call.attrs.axes[0]) % max(rank, 1) != rank - 1 or scale is None or bias is None or scale.dtype != "float32":
        return None
    if not (node.call.attrs.scale and node.call.attrs.center):
        return None
    return _Norm(node, scale.reshape(-1), bias.reshape(-1), float(node.call.attrs.epsilon))


def _sum_with(node: Node, x: relax.Expr) -> Node | None:
    """The addition of x that alone reads a node."""
    user = node.only_user
    if user is None or user.name != "add":
        return None
    other = [a for a in user.call.args if not a.same_as(node.var)]
    return user if len(other) == 1 and other[0].same_as(x) and same_shape(x, user.call) else None


def _projected(graph: Graph, node: Node) -> tuple[Projection, Node] | None:
    """The projection that alone reads a node, and its result."""
    user = node.only_user
    if user is None or user.name != "matmul" or not user.call.args[0].same_as(node.var):
        return None
    after = user.only_user
    if after is not None and after.name == "add" and (found := projection(graph, after.var)) is not None:
        return found, after
    return (found, user) if (found := projection(graph, user.var)) is not None else None


def _layer(graph: Graph, softmax: Node) -> _Layer | str:
    found = attention_at(graph, softmax)
    if isinstance(found, str):
        return found
    parts = [projection(graph, x.base) if not x.in_heads and x.at == 0 else None for x in (found.q, found.k, found.v)]
    packed = projection(graph, found.q.base) if not found.q.in_heads and found.q.base.same_as(found.k.base) else None
    width = found.heads * found.dim
    if packed is not None and found.k.base.same_as(found.v.base) and [o.at for o in (found.q, found.k, found.v)] == [0, width, 2 * width]:
        parts = [packed]
    if not all(parts) or found.v_dim != found.dim or found.q.step != found.dim:
        return "an encoder's queries, keys and values are products by constants"
    projections = [p for p in parts if p is not None]
    if any(not p.x.same_as(projections[0].x) for p in projections):
        return "an encoder's queries, keys and values are of one tensor"
    given = projections[0].x
    if (why := _wrong_input(given, found)) or len(shape_of(found.last.var) or []) != 3:
        return why or "the heads are not joined again"
    before = _norm(graph.node(given))
    out = _projected(graph, found.last)
    if out is None:
        return "no product by a constant follows attention"
    x, pre_norm = given, False
    total = _sum_with(out[1], x)
    if total is None and before is not None:
        x, pre_norm = before.node.call.args[0], True
        total = _sum_with(out[1], x)
    if total is None:
        return "the result of attention is not added to what it is of"
    second = _norm(_norm_reader(total) if pre_norm else total.only_user)
    if second is None:
        return "no layer_norm follows attention"
    inner = _read_by_product(graph, second.node, residual=not pre_norm)
    if inner is None:
        return "no product follows the layer_norm"
    activated = inner[1].only_user
    act = activation(activated) if activated is not None else None
    outer = _projected(graph, activated) if activated is not None and act is not None else None
    if activated is None or act is None or outer is None:
        return "the inner layer is no product, activation, product"
    end = _sum_with(outer[1], total.var if pre_norm else second.node.var)
    if end is None:
        return "the inner layer's result is not added to what it is of"
    last_norm = None if pre_norm else _norm(end.only_user)
    if not pre_norm and last_norm is None:
        return "no layer_norm follows the inner layer"
    first = before if pre_norm else second
    norms = (first, second) if pre_norm else (second, last_norm)
    assert norms[0] is not None and norms[1] is not None
    w, bias = side_by_side(projections)
    weights = {"qkv": w, "out": out[0].w, "inner": inner[0].w, "outer": outer[0].w}
    d = shape_of(x)[-1]  # type: ignore[index]
    if [weights[r].shape for r in ("qkv", "out")] != [(d, 3 * d), (d, d)] or weights["outer"].shape != weights["inner"].shape[::-1]:
        return "the matrices have other sizes than an encoder's"
    biases = {"qkv_bias": bias, "out_bias": out[0].bias, "inner_bias": inner[0].bias, "outer_bias": outer[0].bias}
    weights |= {role: b for role, b in biases.items() if b is not None}
    moves = [n for o in (found.q, found.k, found.v) for n in o.nodes]
    nodes = [*([before.node] if pre_norm and before else []), *(n for p in projections for n in p.nodes), *moves, *found.nodes]
    nodes += [*out[0].nodes, total, second.node, *inner[0].nodes, activated, *outer[0].nodes, end]
    nodes += [] if last_norm is None else [last_norm.node]
    return _Layer(x, end if last_norm is None else last_norm.node, pre_norm, found, weights, (norms[0], norms[1]), act, nodes)


def _norm_reader(total: Node) -> Node | None:
    """The layer_norm among the two that read a sum."""
    norms = [u for u in total.users if u.name == "nn.layer_norm"]
    return norms[0] if len(norms) == 1 and len(total.users) == 2 and not total.kept else None


def _read_by_product(graph: Graph, node: Node, residual: bool) -> tuple[Projection, Node] | None:
    """The projection that reads a node, which a later addition reads too (``residual``)."""
    products = [u for u in node.users if u.name == "matmul" and u.call.args[0].same_as(node.var)]
    if len(products) != 1 or len(node.users) != 1 + residual or node.kept:
        return None
    after = products[0].only_user
    result = after if after is not None and after.name == "add" else products[0]
    found = projection(graph, result.var) or projection(graph, products[0].var)
    return (found, found.nodes[-1]) if found is not None else None


def _wrong_input(x: relax.Expr, found: Attention) -> str:
    shape = shape_of(x)
    if shape is None or len(shape) != 3 or dtype_of(x) != "float32" or not isinstance(shape[2], int):
        return "an encoder's tensor is [batch, rows, numbers] of float32"
    return "" if shape[2] == found.heads * found.dim else "the heads are not as wide as the tensor"


def _inside(nodes: list[Node], last: Node) -> bool:
    """Whether nothing but these nodes reads them, but for the last."""
    own = {id(n) for n in nodes}
    return all(n is last or (not n.kept and all(id(u) in own for u in n.users)) for n in nodes)


def _unique(nodes: list[Node]) -> list[Node]:
    return list({id(n): n for n in nodes}.values())


def _apply(graph: Graph, node: Node) -> Fusion | str:
    first = _layer(graph, node)
    if isinstance(first, str):
        return first
    if not _inside(_unique(first.nodes), first.last):
        return "something else reads what is inside the encoder"
    layers = [first]
    while (following := _next(graph, layers[-1])) is not None and following.like(first):
        joined = _unique([n for layer in (*layers, following) for n in layer.nodes])
        if not _inside(joined, following.last):
            break
        layers.append(following)
    mask = first.attention.mask
    packs = graph.options.packed and mask is not None and _of_keys(mask)
    inputs: dict[str, Any] = {"x": first.x} | ({"mask": mask} if mask is not None else {})
    for number, layer in enumerate(layers):
        inputs |= {f"l{number}.{role}": compat.constant(w) for role, w in layer.weights.items()}
        for which, norm in enumerate(layer.norms, 1):
            inputs |= {f"l{number}.scale{which}": compat.constant(norm.scale), f"l{number}.shift{which}": compat.constant(norm.bias)}
    attributes = {
        "layers": len(layers),
        "heads": first.attention.heads,
        "alpha": first.attention.alpha,
        "eps1": first.norms[0].eps,
        "eps2": first.norms[1].eps,
        "pre_norm": int(first.pre_norm),
        "packed": int(packs),
        **first.act,
    }
    nodes = _unique([n for layer in layers for n in layer.nodes])
    nodes = [*(n for n in nodes if n is not layers[-1].last), layers[-1].last]
    return Fusion("transformer_encoder", tuple(nodes), inputs, attributes)


def _next(graph: Graph, layer: _Layer) -> _Layer | None:
    """The layer whose x is another one's result."""
    seen, work = set[int](), list(layer.last.users)
    while work:
        node = work.pop(0)
        if id(node) in seen or len(seen) > 40:
            continue
        seen.add(id(node))
        if node.name == "nn.softmax":
            found = _layer(graph, node)
            return found if not isinstance(found, str) and found.x.same_as(layer.last.var) else None
        work += node.users
    return None


def _of_keys(mask: relax.Expr) -> bool:
    """Whether a mask has one row a sequence: [batch, 1, 1, keys]."""
    shape = shape_of(mask)
    return shape is not None and len(shape) == 4 and shape[1] == 1 and shape[2] == 1


ENCODER = Rule("encoder", ("nn.softmax",), _apply)
