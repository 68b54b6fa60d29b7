"""Which values of a block are kept as the target's narrow type alone (dots.py): those that products read, and more by two rules.

- ``y = max_pool2d(x)`` with y narrow and no other reader of x: x.  The largest of rounded numbers is the largest, rounded.
- ``y = relu(a + b)`` with y narrow, a and b being results of products that nobody else reads: the one made last, which a kernel of its
  own writes for the other's to read.  It is rounded as it would be if a product read it.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import ir, relax

from ...rules.rewriting import readers
from .forms import alike, dims

_SHAPED = ("relax.nn.relu", "relax.clip", "relax.nn.relu6")  # between a sum and the narrow value that is made of it
_SCALED = ("relax.add", "relax.multiply", "relax.subtract")  # between a product and its result: by constants
_PRODUCTS = ("relax.nn.conv2d", "relax.matmul")


def kept_narrow(block: relax.DataflowBlock, reads: Callable[[relax.VarBinding], list[relax.Expr]]) -> set[relax.Var]:
    """The values; ``reads``: the operands of a call that are read as the narrow type."""
    calls = {b.var: b.value for b in block.bindings if isinstance(b, relax.VarBinding) and isinstance(b.value, relax.Call)}
    order = {var: n for n, var in enumerate(calls)}
    made = {b.var for b in block.bindings}
    asked = [v for b in block.bindings if isinstance(b, relax.VarBinding) and b.var in calls for v in reads(b)]
    kept = {v for v in asked if isinstance(v, relax.Var) and v in made}
    read_by = readers(block)

    def lone(value: relax.Expr) -> bool:
        """Whether a value of this block is read once, in this block."""
        return value in calls and isinstance(value, relax.DataflowVar) and len(read_by[value]) == 1

    for var in reversed(list(calls)):
        if var not in kept:
            continue
        call = calls[var]
        while _name(call) in _SHAPED and lone(call.args[0]):
            call = calls[call.args[0]]
        if _name(call) == "relax.nn.max_pool2d":
            more = call.args[0]
        elif _name(call) == "relax.add" and all(_is_result(a, calls) and alike(dims(a), dims(var)) for a in call.args):
            more = max(call.args, key=order.__getitem__)
        else:
            continue
        if lone(more):
            kept.add(more)
    return kept


def _is_result(value: relax.Expr, calls: dict[relax.Var, relax.Call]) -> bool:
    """Whether ``value`` is a product's result, perhaps scaled and shifted by constants."""
    while (call := calls.get(value)) is not None and _name(call) in _SCALED:
        variables = [a for a in call.args if isinstance(a, relax.Var)]
        if len(variables) != 1:
            return False
        value = variables[0]
    return _name(call) in _PRODUCTS


def _name(call: relax.Call | None) -> str:
    return call.op.name if isinstance(call, relax.Call) and isinstance(call.op, ir.Op) else ""
