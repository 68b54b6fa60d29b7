"""Which operators one generated kernel joins with their neighbours: those are left to it, since it reads and writes less."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import relax

from ..graph import Graph, Node

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


def unchecked(graph: Graph, operands: Sequence[relax.Expr], user: Node) -> tuple[list[relax.Expr], list[Node]]:
    """The operands before kernels that let them wait for a check of their sizes, and these kernels: for calls that make the check too."""
    found, passed = list[relax.Expr](), list[Node]()
    for operand in operands:
        node = graph.node(operand)
        facts = node.means("same") if node is not None and node.only_user is user and node.var not in graph.taken else None
        if node is None or facts is None or len(node.call.args[1].fields) < 2:
            found.append(operand)
            continue
        found.append(node.operand(facts["of"]))
        passed.append(node)
    return found, passed


def _operands(node: Node) -> list:
    return list(node.call.args[1].fields) if node.name == "call_tir" else list(node.call.args)
