"""Which schedule a kernel gets: the first of the library that takes it; a failure falls back and is noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import tvm
from tvm import tirx

from .... import compat
from ....kernels import Choices
from ....kernels.choice import CANDIDATE, SCHEDULE, WORKLOAD
from ...base import Notes
from .. import dots, rounding
from ..elementary import expand
from ..machine import Machine
from ..onednn import schedule as onednn
from ..state import flush_denormals
from . import columns, generic, rows, searched, tiled, winograd

Schedule = Callable[[tirx.PrimFunc, Machine], tirx.PrimFunc | None]

# the most special first; a schedule gives None for a kernel that is not its kind
_LIBRARY: list[tuple[str, Schedule]] = [
    ("onednn", onednn.schedule),
    ("tiled", tiled.schedule),
    ("winograd", winograd.schedule),
    ("rows", rows.schedule),
    ("columns", columns.schedule),
    ("generic", generic.schedule),
]


def schedule_module(mod: tvm.IRModule, machine: Machine, choices: Choices, notes: Notes) -> tvm.IRModule:
    """Schedule every kernel of ``mod`` that is not scheduled yet."""
    new = {}
    for gv, function in mod.functions.items():
        if isinstance(function, tirx.PrimFunc) and SCHEDULE not in (function.attrs or {}):
            new[gv] = _schedule(gv.name_hint, function, machine, choices, notes)
    if new:
        mod = mod.clone()
        mod.update(tvm.IRModule(new))
    return mod


def _schedule(name: str, function: tirx.PrimFunc, machine: Machine, choices: Choices, notes: Notes) -> tirx.PrimFunc:
    kind, scheduled = _first(name, function, machine, notes)
    scheduled = _finish(scheduled, machine).with_attr(SCHEDULE, kind)
    if kind == "none":
        return scheduled
    if WORKLOAD not in scheduled.attrs:  # else it is chosen already, as the layout of its weights was
        scheduled = _choose(name, function, kind, scheduled, machine, choices)
    return searched.replace(name, function, scheduled, machine, choices, lambda found: finish_searched(found, machine), notes)


def _choose(name: str, function: tirx.PrimFunc, kind: str, scheduled: tirx.PrimFunc, machine: Machine, choices: Choices) -> tirx.PrimFunc:
    candidates = {"rule": scheduled}
    if machine.threads > 1 and compat.has_parallel_loops(scheduled):
        alone = _first(name, function, replace(machine, threads=1), Notes())[1]
        candidates["serial"] = _finish(alone, machine).with_attr(SCHEDULE, kind)
    workload = f"{kind} {compat.structural_name(function)}"
    chosen = choices.pick(workload, candidates)
    base = next(candidate for candidate, made in candidates.items() if made is chosen)
    return chosen.with_attrs({WORKLOAD: workload, CANDIDATE: base})


def finish_searched(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc:
    """What becomes of a kernel that a search scheduled, before it is compiled."""
    function = searched.registers(function)
    return _finish(flush_denormals(function) if machine.flushes else function, machine)


def _finish(function: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc:
    if machine.fuses:
        function = rounding.divide(function)
    if machine.precision == "int8":
        function = rounding.separate(function)
    # what the CPU rounds by an instruction is no longer there for expand to round
    return expand(dots.finish(function, machine.narrow.operand) if machine.narrow else function)


def _first(name: str, function: tirx.PrimFunc, machine: Machine, notes: Notes) -> tuple[str, tirx.PrimFunc]:
    """The name and result of the first schedule that takes ``function``; statements without blocks (a check of sizes) stay as they are."""
    for kind, schedule in _LIBRARY if compat.has_root_block(function) else ():
        try:
            scheduled = schedule(function, machine)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as e:
            text = next((line.strip() for line in str(e).splitlines() if line.strip()), repr(e))
            notes.add("cpu-schedule", f"{name}: schedule {kind} does not apply ({type(e).__name__}: {text[:200]})")
            continue
        if scheduled is not None:
            return kind, scheduled
    return "none", function
