"""An artifact must run with TVM's runtime libraries alone: nothing that only exists in TVM's Python package may be called.

Host calls (runtime/host.py) are what the session brings itself.
"""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax

from .. import compat
from ..errors import UnsupportedError
from ..runtime.host import PREFIX


def check_packed_functions(mod: tvm.IRModule, host_calls: set[str], provided: Callable[[str], bool] = lambda name: False) -> tvm.IRModule:
    """Raise UnsupportedError that names every packed function that the module calls and the runtime libraries lack.

    ``provided``: what the target's own runtime has.  The names of host calls are put into ``host_calls``.
    """
    missing: dict[str, set[str]] = {}
    for gv, function in mod.functions.items():
        for name in _called(function):
            if name.startswith(PREFIX):
                host_calls.add(name)
            elif not compat.runtime_has(name) and not provided(name):
                missing.setdefault(name, set()).add(gv.name_hint)
    if missing:
        lines = [f"    {name} (called in {', '.join(sorted(places))})" for name, places in sorted(missing.items())]
        raise UnsupportedError(
            "the compiled model would call functions that TVM's runtime libraries do not have:\n" + "\n".join(lines),
            todo="please report the model: each of these operators needs a kernel of its own",
        )
    return mod


def _called(function: tvm.ir.BaseFunc) -> set[str]:
    if isinstance(function, tvm.tirx.PrimFunc):
        return compat.packed_calls(function)
    names: set[str] = set()

    def visit(e: relax.Expr) -> None:
        if isinstance(e, relax.ExternFunc):
            names.add(str(e.global_symbol))

    relax.analysis.post_order_visit(function, visit)
    return names
