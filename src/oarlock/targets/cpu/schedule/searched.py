"""Kernels whose schedule a search found (kernels/search.py): its trace is applied anew, at compile time, without searching."""

from __future__ import annotations

from collections.abc import Callable

from tvm import s_tir, tirx

from ....kernels import Choices
from ....kernels.choice import CANDIDATE, SCHEDULE, WORKLOAD, Start
from ...base import Notes
from ..machine import Machine
from . import blocks, plain, space

Finish = Callable[[tirx.PrimFunc], tirx.PrimFunc]


def replace(
    name: str, function: tirx.PrimFunc, made: tirx.PrimFunc, machine: Machine, choices: Choices, finish: Finish, notes: Notes
) -> tirx.PrimFunc:
    """``made``, or the kernel by the trace that was picked for its workload; a trace that does not apply is noted.

    ``function``: the kernel before a schedule, ``made``: after that of the candidate which the search started from.
    """
    workload, base = str(made.attrs[WORKLOAD]), str(made.attrs[CANDIDATE])
    found = choices.found(workload)
    if found is None and choices.starts is None:
        return made
    start = plain.start(function)
    if choices.starts is not None and start is not None and space.has_any(start, machine):
        choices.starts.setdefault(workload, Start(start, made, base))
    if found is None:
        return made
    from .... import compat_search  # only here: few kernels were searched, and it takes a while to import

    try:
        if start is None:
            raise ValueError("the kernel has no plain form")
        kernel = finish(compat_search.replay(start, found.trace))
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as e:
        text = next((line.strip() for line in str(e).splitlines() if line.strip()), repr(e))
        picked = choices.picked[workload]
        notes.add("cpu-schedule", f"{name}: {picked} does not apply, {base} is taken ({type(e).__name__}: {text[:200]})")
        return made
    return kernel.with_attrs({SCHEDULE: "search", WORKLOAD: workload, CANDIDATE: choices.picked[workload]})


def registers(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Sums that are made a tile at a time go into registers: a search leaves them in memory."""
    sch = s_tir.Schedule(function, enable_check=False, error_render_level="none")
    parameters = list(function.params)
    for block in blocks.leaf_blocks(sch):
        target = sch.get(block).writes[0].source
        ours = sch.get(block).name_hint.startswith(plain.SUMS) and not any(target.same_as(p) for p in parameters)
        if ours and str(target.ty.storage_scope) in ("", "global"):
            sch.set_scope(block, 0, "local")
    return sch.mod["main"]
