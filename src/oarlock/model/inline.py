"""Regions that always run once, in place of the operation around them.

``pd_op.pylayer`` is what a ``paddle.autograd.PyLayer`` becomes: its region is the forward function, and its attribute names the backward
one, which inference has no use for.  What the region yields is assigned to the operation's results.
"""

from __future__ import annotations

from ..errors import ModelError
from .limits import DAMAGED
from .program import Block, Op, Program

ONCE = frozenset(["pd_op.pylayer"])


def inline_regions(program: Program) -> None:
    """Change ``program``, so that it has no operation of ``ONCE``, at any depth.  ModelError where a region does not fit its results."""
    _inline(program.block)


def _inline(block: Block) -> None:
    ops: list[Op] = []
    for op in block.ops:
        for region in op.regions:
            _inline(region)
        ops += _body(op) if op.name in ONCE else [op]
    block.ops = ops


def _body(op: Op) -> list[Op]:
    *body, last = op.regions[0].ops if len(op.regions) == 1 and op.regions[0].ops else [op]
    yielded = list(last.operands.values())
    if last.name != "cf.yield" or op.regions[0].args or len(yielded) != len(op.results):
        raise ModelError(f"the region of {op.name} does not fit its {len(op.results)} results", where=op.handle, todo=DAMAGED)
    # a value that the region takes from outside may be among what it yields: results stay values of their own
    given = zip(yielded, op.results, strict=True)
    return [*body, *(Op("pd_op.assign", {"x": value}, {}, [result], ["out"], handle=op.handle) for value, result in given)]
