"""Normalisations: of rows, with an addition before; of groups of channels and of channels, with an activation behind."""

from __future__ import annotations

import math
from typing import Any

from tvm import relax

from ..engine import Fusion, Rule
from ..graph import Graph, Node, constant_of, dtype_of, scalar_of, shape_of
from .after import is_vector, same_shape, with_activation


def _layer_norm(graph: Graph, node: Node) -> Fusion | str:
    """add(x, y) → layer_norm: one call, which gives the sum too where it is read elsewhere."""
    x, scale, bias = node.call.args
    attrs, shape = node.call.attrs, shape_of(x)
    if any(dtype_of(a) != "float32" for a in (x, scale, bias)):
        return f"layer_norm of {dtype_of(x)} is not there yet"
    if shape is None:
        return "the rank is known at run time only"
    axes = sorted(int(a) % len(shape) for a in attrs.axes)
    if axes != list(range(len(shape) - len(axes), len(shape))):
        return "layer_norm normalises trailing dims only"
    inputs = ({"scale": scale} if attrs.scale else {}) | ({"bias": bias} if attrs.center else {})
    return _with_sum(graph, node, (node,), x, "layer_norm", inputs, {"dims": len(axes), "eps": float(attrs.epsilon)})


def _with_sum(
    graph: Graph, first: Node, nodes: tuple[Node, ...], x: relax.Expr, api: str, inputs: dict[str, relax.Expr], attributes: dict[str, Any]
) -> Fusion:
    """A normalisation of x by ``nodes``, the first of which reads it, with the addition that x is where that has equal shapes."""
    total = graph.node(x)
    if total is None or total.name != "add" or total.var in graph.taken or not same_shape(*total.call.args):
        return Fusion(api, nodes, {"x": x, **inputs}, attributes)
    a, b = total.call.args
    api = "add_layer_norm" if api == "layer_norm" else api
    given = {"x": a, "other": b, **inputs}
    if total.only_user is first or (not total.kept and all(u in nodes for u in total.users)):
        return Fusion(api, (total, *nodes), given, attributes)
    return Fusion(api, (total, *nodes), given, attributes, more={"sum": total}, at=total)


def _rms_norm(graph: Graph, node: Node) -> Fusion | str:
    """x · rsqrt(mean(x²) + eps) · scale: from its rsqrt on, or from sqrt and a division."""
    shifted = graph.node(node.call.args[0])
    if shifted is None or shifted.name != "add" or (eps := scalar_of(shifted.call.args[1])) is None:
        return "a root of no mean and number"
    mean = graph.node(shifted.call.args[0])
    if mean is None or mean.name != "mean" or not mean.call.attrs.keepdims or mean.dtype != "float32":
        return "a root of no mean"
    squares = graph.node(mean.call.args[0])
    x = _squared(squares)
    if squares is None or x is None:
        return "a mean of no squares"
    shape, axes = shape_of(x), mean.call.attrs.axis
    if shape is None or axes is None or [int(a) % len(shape) for a in axes] != [len(shape) - 1]:
        return "rms_norm is over the last dim"
    scaled = node.only_user
    wanted = "multiply" if node.name == "rsqrt" else "divide"
    if scaled is None or scaled.name != wanted or not any(a.same_as(x) for a in scaled.call.args):
        return "the root is not what its own tensor is scaled by"
    if wanted == "divide" and not scaled.call.args[0].same_as(x):
        return "the root is not what its own tensor is scaled by"
    own = [squares, mean, shifted, node]
    if any(n.only_user is not after for n, after in zip(own, [*own[1:], scaled], strict=True) if n is not squares) or squares.kept:
        return "a part of it is read elsewhere"
    nodes, inputs = [*own, scaled], dict[str, relax.Expr]()
    user = scaled.only_user
    if user is not None and user.name == "multiply":
        (other,) = [a for a in user.call.args if not a.same_as(scaled.var)] or [None]
        if other is not None and is_vector(other, shape[-1], 1):
            inputs["scale"] = other
            nodes.append(user)
    return _with_sum(graph, squares, tuple(nodes), x, "rms_layer_norm", inputs, {"dims": 1, "eps": eps})


def _squared(node: Node | None) -> relax.Expr | None:
    """What a node is the square of."""
    if node is None:
        return None
    if node.name == "square" or (node.name == "power" and scalar_of(node.call.args[1]) == 2):
        return node.call.args[0]
    return node.call.args[0] if node.name == "multiply" and node.call.args[0].same_as(node.call.args[1]) else None


def _fused_rms_norm(graph: Graph, node: Node) -> Fusion | str:
    x, scale = node.call.args
    rank = len(shape_of(x) or [])
    axes = sorted(int(a) % max(rank, 1) for a in node.call.attrs.axes)
    if dtype_of(x) != "float32" or dtype_of(scale) != "float32" or axes != list(range(rank - len(axes), rank)):
        return f"rms_norm of {dtype_of(x)} over other than trailing dims"
    attributes = {"dims": len(axes), "eps": float(node.call.attrs.epsilon)}
    return _with_sum(graph, node, (node,), x, "rms_layer_norm", {"scale": scale}, attributes)


def _channels(graph: Graph, node: Node) -> Fusion | str:
    """group_norm and instance_norm over all dims behind the channels; the activation behind them goes with it."""
    x, scale, bias = node.call.args
    attrs, rank, kind = node.call.attrs, len(shape_of(x) or []), node.name.removeprefix("nn.")
    if any(dtype_of(a) != "float32" for a in (x, scale, bias)):
        return f"{kind} of {dtype_of(x)} is not there yet"
    if rank < 3 or int(attrs.channel_axis) % rank != 1 or sorted(int(a) % rank for a in attrs.axes) != list(range(2, rank)):
        return f"{kind} normalises all dims behind the channels"
    nodes, act = with_activation(graph, node)
    inputs = {"x": x} | ({"scale": scale} if attrs.scale else {}) | ({"bias": bias} if attrs.center else {})
    groups = {"groups": int(attrs.num_groups)} if kind == "group_norm" else {}
    return Fusion(kind, nodes, inputs, {"eps": float(attrs.epsilon), **groups, **act})


def _batch_norm(graph: Graph, node: Node) -> Fusion | str:
    """x · scale + bias with a number a channel each (a batch norm that no convolution took in), and an activation."""
    x, scale = node.call.args
    shape = shape_of(x)
    if shape is None or len(shape) < 3 or dtype_of(x) != "float32" or not isinstance(shape[1], int):
        return "there are no channels"
    rank = len(shape)
    if shape[1] == 1 or not is_vector(scale, shape[1], rank - 1):
        return "the factor is not one number a channel"
    shift = node.only_user
    if shift is None or shift.name != "add" or not is_vector(shift.call.args[1], shape[1], rank - 1):
        return "no number a channel is added"
    after, act = with_activation(graph, shift)
    return Fusion("batch_norm_infer", (node, *after), {"x": x, "scale": scale, "bias": shift.call.args[1]}, {"eps": 0.0, **act})


def _affine(graph: Graph, node: Node) -> Fusion | str:
    """x · a + b by two numbers → scale."""
    x, factor = node.call.args
    a = scalar_of(factor)
    shift = node.only_user
    if a is None or dtype_of(x) != "float32" or shift is None or shift.name != "add" or shape_of(x) is None:
        return "no two numbers"
    b = scalar_of(shift.call.args[1])
    if b is None or not all(map(math.isfinite, (a, b))) or len(constant_shape(factor)) > len(shape_of(x) or []):
        return "no two numbers"
    after = shift.only_user
    before = graph.node(x)
    if (after is not None and after.name not in _NOT_CHAINED) or (
        before is not None and before.only_user is node and before.var not in graph.taken
    ):
        return "one generated kernel does it with its neighbour"
    return Fusion("scale", (node, shift), {"x": x}, {"alpha": a, "beta": b})


_NOT_CHAINED = ("matmul", "nn.conv2d", "nn.softmax", "nn.layer_norm", "reshape")


def constant_shape(expr: relax.Expr) -> tuple[int, ...]:
    """The dims of a constant; none for anything else."""
    array = constant_of(expr)
    return array.shape if array is not None else ()


LAYER_NORM = Rule("layer_norm", ("nn.layer_norm",), _layer_norm)
NORMS = [
    Rule("rms_norm", ("rsqrt", "sqrt"), _rms_norm),
    Rule("fused rms_norm", ("nn.rms_norm",), _fused_rms_norm),
    LAYER_NORM,
    Rule("group_norm", ("nn.group_norm",), _channels),
    Rule("instance_norm", ("nn.instance_norm",), _channels),
    Rule("batch_norm", ("multiply",), _batch_norm),
    Rule("scale", ("multiply",), _affine),
]
