"""A Relax module as a doubly linked graph: a node knows what it reads and who reads it.

Nodes are bindings of calls in dataflow blocks.  Rules (engine.py) look at the graph and never change it; what they decide is
written back in one pass (rewrite.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tvm
from tvm import relax

from oarlock import compat
from oarlock.rules.rewriting import bodies, readers

from .meaning import Meaning, meaning


@dataclass(frozen=True)
class Options:
    """What the target's options let rules do; see XpuTarget."""

    packed: bool = False
    max_ptr: int = 6


@dataclass(eq=False)
class Node:
    """``name``: the operator's, without "relax."; ``users``: the nodes that read it, once for each time; ``kept``: it is also read
    elsewhere (a result of the model, a tuple, an operator that is no call)."""

    var: relax.Var
    call: relax.Call
    name: str
    users: list[Node] = field(default_factory=list)
    kept: bool = False
    meaning: Meaning | None = None  # of a kernel that the importer made
    block: int = 0  # which of the module's it stands in

    @property
    def shape(self) -> list[int | tvm.tirx.Expr] | None:
        """Dims as ints where they are known; None where the rank or a dim is not."""
        return shape_of(self.call)

    @property
    def dtype(self) -> str:
        """The result's element type; "" for a tuple."""
        return dtype_of(self.call)

    def means(self, kind: str) -> dict[str, Any] | None:
        """The facts of a kernel that the importer made, where it is of a kind."""
        return self.meaning.facts if self.meaning is not None and self.meaning.kind == kind else None

    def operand(self, number: int) -> relax.Expr:
        """A tensor that a kernel of the importer reads."""
        return self.call.args[1].fields[number]

    @property
    def only_user(self) -> Node | None:
        """The node that reads this one, and is alone in that."""
        return self.users[0] if len(self.users) == 1 and not self.kept else None


class Graph:
    """All nodes of a module, in the order of their bindings; ``taken`` is the engine's to change."""

    def __init__(self, mod: tvm.IRModule, options: Options | None = None) -> None:
        self.options = options or Options()
        self._functions = {gv: f for gv, f in mod.functions.items() if isinstance(f, tvm.tirx.PrimFunc)}
        self._meanings: dict[tvm.ir.GlobalVar, Meaning] = {}
        self.nodes: dict[relax.Var, Node] = {}
        self.reading: dict[relax.Var, list[Node]] = {}  # variable → the nodes that read it, those of parameters too
        self._blocks = 0
        self.taken: set[relax.Var] = set()  # of nodes that belong to a fusion already
        for body in bodies(mod):
            relax.analysis.post_order_visit(body, self._add)
        by_call = {node.call: node for node in self.nodes.values()}
        for var, calls in readers(*bodies(mod)).items():
            self.reading[var] = [by_call[call] for call in dict.fromkeys(calls) if call in by_call]
            if var in self.nodes:
                for call in calls:
                    if call in by_call:
                        self.nodes[var].users.append(by_call[call])
                    else:
                        self.nodes[var].kept = True

    def _add(self, expr: relax.Expr) -> None:
        if not isinstance(expr, relax.SeqExpr):
            return
        for block in expr.blocks:
            if not isinstance(block, relax.DataflowBlock):
                continue
            self._blocks += 1
            for binding in block.bindings:
                value = binding.value
                if isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op):
                    node = Node(binding.var, value, str(value.op.name).removeprefix("relax."), block=self._blocks)
                    # a variable of the function, not of the block: the world outside reads it
                    node.kept = not isinstance(binding.var, relax.DataflowVar)
                    if node.name == "call_tir" and value.args[0] in self._functions:
                        node.meaning = self._meaning(value.args[0])
                    self.nodes[binding.var] = node

    def _meaning(self, gv: tvm.ir.GlobalVar) -> Meaning:
        if gv not in self._meanings:
            self._meanings[gv] = meaning(self._functions[gv])
        return self._meanings[gv]

    def node(self, expr: relax.Expr) -> Node | None:
        """The node that a variable is bound to."""
        return self.nodes.get(expr) if isinstance(expr, relax.Var) else None


def shape_of(expr: relax.Expr) -> list[int | tvm.tirx.Expr] | None:
    """The dims of a tensor, as ints where they are known; None where there are none to be had."""
    ty = expr.ty
    if not isinstance(ty, relax.TensorType) or ty.shape is None or not isinstance(ty.shape, relax.ShapeExpr):
        return None
    return [compat.static(d) for d in ty.shape.values]


def static_shape(expr: relax.Expr) -> list[int] | None:
    """The dims of a tensor where all of them are known."""
    dims = shape_of(expr)
    return [int(d) for d in dims] if dims is not None and all(isinstance(d, int) for d in dims) else None


def dtype_of(expr: relax.Expr) -> str:
    """The element type of a tensor; "" for anything else."""
    return str(expr.ty.dtype) if isinstance(expr.ty, relax.TensorType) else ""


def constant_of(expr: relax.Expr) -> np.ndarray | None:
    """The content of a constant."""
    return compat.constant_array(expr) if isinstance(expr, compat.Constant) else None


def scalar_of(expr: relax.Expr) -> float | None:
    """The number of a constant with one element, as float."""
    array = constant_of(expr)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 and array.dtype.kind in "fiu" else None
