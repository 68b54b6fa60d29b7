"""Which operators one generated kernel joins with their neighbours: those are left to it, since it reads and writes less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import relax

from oarlock.compat import equal_dims

from ..graph import Graph, Node, shape_of

# what FuseOps joins: functions of elements, and moves that read one element for each that they write
_JOINED = frozenset(
    "nn.relu sigmoid tanh nn.gelu nn.silu exp log sqrt rsqrt square abs negative nn.leakyrelu add subtract multiply divide maximum minimum "
    "clip where astype erf power floor ceil round sign sin cos nn.gelu_tanh greater less greater_equal less_equal equal not_equal "
    "logical_and logical_or logical_not floor_divide mod".split()
)


def joined(node: Node) -> bool:
    """Whether a generated kernel takes the node in."""
    if node.name == "call_tir":
        return node.meaning is not None and node.meaning.elementwise and node.meaning.kind != "lookup"
    return node.name in _JOINED


def chained(graph: Graph, node: Node) -> str:
    """With which neighbour a generated kernel joins a node; "" where it stands alone."""
    before = [n for n in map(graph.node, _operands(node)) if n and n.only_user is node]
    after = [node.only_user] if node.only_user else []
    for other in (*before, *after):
        if other.var not in graph.taken and joined(other):
            neighbour = other.call.args[0].name_hint if other.name == "call_tir" else other.name
            return f"one generated kernel does it with {neighbour}, its neighbour"
    return ""


def unchecked(
    graph: Graph, operands: Mapping[str, relax.Expr], user: Node, along: int = -1
) -> tuple[dict[str, relax.Expr], list[Node], dict[str, Any]]:
    """The operands, by role, before kernels that let them wait for a check of their sizes; these kernels; and what tells the call to make
    the check: "checked_x": pairs of a dim of x and one of the result that must be as long, "wrong_x": what to say else.

    Only of sizes that the result has: those of other checks, and ``along`` the dim that operands are joined in, stay as they are.
    """
    found, passed, told = dict(operands), list[Node](), dict[str, Any]()
    for role, operand in operands.items():
        node = graph.node(operand)
        if node is None or node.only_user is not user or node.var in graph.taken or (checked := _checked(graph, node, user, along)) is None:
            continue
        found[role], told[f"checked_{role}"], told[f"wrong_{role}"] = checked
        passed.append(node)
    return found, passed, told


def _checked(graph: Graph, node: Node, user: Node, along: int) -> tuple[relax.Expr, list[int], str] | None:
    """What a kernel waits with, the dims that are checked, each with its own of the user's result, and what is said where they differ."""
    facts, fields = node.means("same"), node.call.args[1].fields if node.name == "call_tir" else []
    if facts is None or len(fields) < 2 or facts["of"] > 1:
        return None
    x, check = fields[facts["of"]], graph.node(fields[1 - facts["of"]])
    said = check.means("check") if check is not None else None
    own, wanted, result = (shape_of(e) for e in (x, node.call, user.call))
    if said is None or own is None or wanted is None or result is None:
        return None
    pairs, lead = list[int](), len(result) - len(wanted)
    for d, (size, other) in enumerate(zip(own, wanted, strict=True)):
        if equal_dims(size, other):
            continue
        if lead + d == along or not equal_dims(other, result[lead + d]):
            return None
        pairs += [d, lead + d]
    return x, pairs, said["message"]


def _operands(node: Node) -> list:
    return list(node.call.args[1].fields) if node.name == "call_tir" else list(node.call.args)
