"""The kernel calls of a compiled program: which results of the model's operations each reads and gives."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from .origins import bindings, called, result

Held = tuple[int, int]  # an operation (its number in Program.walk), and which of its results


@dataclass(frozen=True)
class Site:
    """A call of a kernel in ``main``.  ``reads``, ``gives``: of its tensor operands and results those that are results of operations.

    ``comparable``: false where it writes into what it reads.  ``host``: it is a call that returns what it gives, of the host mostly.
    """

    kernel: str
    reads: tuple[Held | None, ...]
    gives: tuple[Held | None, ...]
    comparable: bool = True
    host: bool = False


def sites(mod: tvm.IRModule) -> list[Site]:
    """The calls of ``main``, in order: those that manifest["calls"] has."""
    main = mod["main"]
    parts: dict[relax.Var, dict[int, Held | None]] = {}
    views: dict[relax.Expr, Held] = {}  # what other names and shapes of a variable hold
    holds: dict[relax.Expr, Held | None] = {}
    for binding in bindings(main):
        value, held = binding.value, result(binding.var.name)
        if isinstance(value, relax.TupleGetItem):
            parts.setdefault(value.tuple_value, {})[value.index] = held
        elif isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.reshape":
            value = value.args[0]
        holds[binding.var] = held or holds.get(value)
        if held is not None:
            views.setdefault(value, held)
    out = []
    for binding in bindings(main):
        call = binding.value
        kernel = called(call)
        if not kernel:
            continue
        op = str(call.op.name)
        host = op == "relax.call_pure_packed"
        given = relax.Tuple(call.args[1:]) if host else call.args[1]
        fields = given.fields if isinstance(given, relax.Tuple) else [given]
        reads = [holds.get(f) for f in fields if isinstance(f.ty, relax.TensorType)]
        single = not isinstance(call.ty, relax.TupleType)
        made = parts.get(binding.var, {})
        own = result(binding.var.name) or views.get(binding.var)
        gives = [own] if single else [made.get(i) for i in range(len(call.ty.fields))]
        out.append(Site(kernel, tuple(reads), tuple(gives), host or op in _WRITES_ONLY, host))
    return out


_WRITES_ONLY = ("relax.call_tir", "relax.call_dps_packed")
