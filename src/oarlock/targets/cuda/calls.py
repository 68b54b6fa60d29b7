"""What a program for a GPU may call besides its kernels."""

from __future__ import annotations

import tvm
from tvm import relax

from ...errors import UnsupportedError

_HOST_ONLY = ("tvm.contrib.",)  # TVM's sort and random: they would read the GPU's memory as if it were the CPU's


def check_device_calls(mod: tvm.IRModule) -> tvm.IRModule:
    """UnsupportedError that names every function of the CPU that the program would call with tensors of the GPU."""
    found: dict[str, set[str]] = {}
    for gv, function in mod.functions.items():
        if not isinstance(function, relax.Function):
            continue

        def visit(e: relax.Expr, place: str = gv.name_hint) -> None:
            if isinstance(e, relax.ExternFunc) and str(e.global_symbol).startswith(_HOST_ONLY):
                found.setdefault(str(e.global_symbol), set()).add(place)

        relax.analysis.post_order_visit(function, visit)
    if found:
        lines = [f"    {name} (called in {', '.join(sorted(places))})" for name, places in sorted(found.items())]
        raise UnsupportedError(
            "the model needs functions that run on the CPU only:\n" + "\n".join(lines),
            where="target cuda",
            todo='compile the model with target="cpu"',
        )
    return mod
