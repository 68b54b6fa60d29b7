"""Which schedule a kernel gets: the first of the library that takes it; a failure falls back and is noted."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import tirx

from .... import compat
from ...base import Notes
from ..elementary import expand
from ..machine import Machine
from . import columns, generic, rows, tiled

SCHEDULED = "oarlock.schedule"  # attribute of a scheduled kernel: which schedule it got

Schedule = Callable[[tirx.PrimFunc, Machine], tirx.PrimFunc | None]

# the most special first; a schedule gives None for a kernel that is not its kind
_LIBRARY: list[tuple[str, Schedule]] = [
    ("tiled", tiled.schedule),
    ("rows", rows.schedule),
    ("columns", columns.schedule),
    ("generic", generic.schedule),
]


def schedule_module(mod: tvm.IRModule, machine: Machine, notes: Notes) -> tvm.IRModule:
    """Schedule every kernel of ``mod`` that is not scheduled yet."""
    new = {}
    for gv, function in mod.functions.items():
        if isinstance(function, tirx.PrimFunc) and SCHEDULED not in (function.attrs or {}):
            new[gv] = _schedule(gv.name_hint, function, machine, notes)
    if new:
        mod = mod.clone()
        mod.update(tvm.IRModule(new))
    return mod


def _schedule(name: str, function: tirx.PrimFunc, machine: Machine, notes: Notes) -> tirx.PrimFunc:
    if not compat.has_root_block(function):
        return expand(function).with_attr(SCHEDULED, "none")  # statements without blocks (a check of sizes): nothing to schedule
    for kind, schedule in _LIBRARY:
        try:
            scheduled = schedule(function, machine)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as e:
            text = next((line.strip() for line in str(e).splitlines() if line.strip()), repr(e))
            notes.add("cpu-schedule", f"{name}: schedule {kind} does not apply ({type(e).__name__}: {text[:200]})")
            continue
        if scheduled is not None:
            return expand(scheduled).with_attr(SCHEDULED, kind)
    return expand(function).with_attr(SCHEDULED, "none")
