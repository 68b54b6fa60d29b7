"""What a fused call takes in after its product or convolution: a bias, a branch, an activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

from oarlock import compat

from ..graph import Graph, Node, constant_of, dtype_of, shape_of

# operator → the library's activation; further ones are kernels of the importer (meaning.py)
_ACTIVATIONS = {"nn.relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "nn.gelu": "gelu", "nn.silu": "swish"}


def activation(node: Node) -> dict[str, Any] | None:
    """The attributes of an activation that the library fuses; None for any other operator."""
    if node.name in _ACTIVATIONS:
        return {"act": _ACTIVATIONS[node.name]}
    if node.name == "nn.leakyrelu":
        return {"act": "leaky_relu", "act_alpha": float(node.call.attrs.alpha)}
    if (facts := node.means("act")) and facts["act"] in ("hard_swish", "hard_sigmoid", "leaky_relu"):
        return dict(facts)
    if node.name == "clip" and [_number(a) for a in node.call.args[1:]] == [0, 6]:
        return {"act": "relu6"}
    return None


def _number(expr: relax.Expr) -> float | None:
    value = getattr(expr, "value", None)
    value = getattr(value, "value", value)
    return float(value) if isinstance(value, int | float) else None


def grow(
    graph: Graph, node: Node, is_bias: Callable[[relax.Expr], bool], branches: bool
) -> tuple[list[Node], dict[str, relax.Expr], dict[str, Any]]:
    """The nodes that a call takes in, from ``node`` on, with the inputs and attributes that they bring.

    ``is_bias``: whether an operand is one number a channel; ``branches``: whether the call adds a tensor like its result.
    """
    nodes: list[Node] = [node]
    inputs: dict[str, relax.Expr] = {}
    while (user := nodes[-1].only_user) is not None and user.dtype == node.dtype and user.var not in graph.taken:
        if found := activation(user):
            return [*nodes, user], inputs, found
        other = _summand(user, nodes[-1])
        if other is None:
            break
        if "bias" not in inputs and "branch" not in inputs and is_bias(other):
            inputs["bias"] = other
        elif branches and "branch" not in inputs and same_shape(other, node.call) and dtype_of(other) == node.dtype:
            inputs["branch"] = other
        else:
            break
        nodes.append(user)
    return nodes, inputs, {}


def _summand(user: Node, node: Node) -> relax.Expr | None:
    """What an addition adds to a node."""
    if user.name != "add":
        return None
    others = [a for a in user.call.args if not a.same_as(node.var)]
    return others[0] if len(others) == 1 else None


def chain_of(node: Node, *names: str) -> Node | None:
    """The node that alone reads this one, where it is one of these operators."""
    user = node.only_user
    return user if user is not None and user.name in names else None


def same_shape(a: relax.Expr, b: relax.Expr) -> bool:
    """Whether two tensors have equal dims for sure."""
    x, y = shape_of(a), shape_of(b)
    return x is not None and y is not None and len(x) == len(y) and all(compat.equal_dims(i, j) for i, j in zip(x, y, strict=True))


def with_activation(graph: Graph, node: Node) -> tuple[tuple[Node, ...], dict[str, Any]]:
    """The node and the activation that alone reads it, with the attributes of this; the node alone where there is none."""
    user = node.only_user
    if user is not None and user.var not in graph.taken and user.dtype == node.dtype and (found := activation(user)):
        return (node, user), found
    return (node,), {}


def is_vector(expr: relax.Expr, size: object, axis_from_end: int) -> bool:
    """Whether a constant has ``size`` numbers along one axis, counted from the end, and one along the others."""
    array = constant_of(expr)
    if array is None or array.ndim < axis_from_end or array.dtype != "float32":
        return False
    return array.size == size and array.shape[array.ndim - axis_from_end] == size
