"""The rule engine: which nodes of the graph become which call of the kernel library, and why the others do not.

A rule has the operators that it starts from, and a function: node → a Fusion, or the reason why there is none (a str).  Rules stand in
one list (rules/__init__.py), the largest patterns first; a node belongs to one fusion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tvm import relax

from .graph import Graph, Node


@dataclass(frozen=True)
class Fusion:
    """One call of the library in place of ``nodes``, the last of which has its result.

    ``inputs``: role → what is passed, as the plug-in's function of this name takes it: an expression, or what another call makes before
    this one (Step).  ``attributes``: JSON-able.  ``more``: role → node of further results, which nodes before the last may have; ``at``:
    the node at whose place the call stands then, where another than the last.  ``rule``: which one found it.
    ``extra``: role → shape and element type of results that no node has.
    """

    api: str
    nodes: tuple[Node, ...]
    inputs: dict[str, relax.Expr | Step | Extra]
    attributes: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Node] = field(default_factory=dict)
    at: Node | None = None
    extra: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    rule: str = ""

    @property
    def last(self) -> Node:
        return self.nodes[-1]


@dataclass(frozen=True)
class Extra:
    """The extra result ``role`` of the fusion whose last node is bound to a variable, or of a step."""

    of: relax.Var | Step
    role: str


@dataclass(frozen=True, eq=False)
class Step:
    """A call of the library whose result no node has, made once: ``shape`` and ``dtype`` are the result's; ``extra``: as a Fusion's."""

    api: str
    inputs: dict[str, relax.Expr | Step | Extra]
    attributes: dict[str, Any]
    shape: tuple[Any, ...]
    dtype: str = "float32"
    extra: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """``starts``: names of operators, without "relax."; ``apply``: node → Fusion, or why not."""

    name: str
    starts: tuple[str, ...]
    apply: Callable[[Graph, Node], Fusion | str]


@dataclass
class Plan:
    """``fusions`` by the variable of their last node; ``refused``: node → the reasons of the rules that were asked."""

    fusions: dict[relax.Var, Fusion] = field(default_factory=dict)
    refused: dict[relax.Var, list[str]] = field(default_factory=dict)


def plan(graph: Graph, rules: Sequence[Rule]) -> Plan:
    """Apply the rules in order; within one rule, nodes in the order of the program."""
    found, taken = Plan(), graph.taken
    for rule in rules:
        for var, node in graph.nodes.items():
            if node.name not in rule.starts or var in taken:
                continue
            fusion = rule.apply(graph, node)
            if isinstance(fusion, str):
                found.refused.setdefault(var, []).append(fusion)
            elif not any(n.var in taken for n in fusion.nodes):
                taken |= {n.var for n in fusion.nodes}
                found.fusions[fusion.last.var] = replace(fusion, rule=rule.name)
    found.refused = {var: why for var, why in found.refused.items() if var not in taken}
    return found
