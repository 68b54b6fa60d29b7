"""A plan as a manifest has it: JSON-able, enough for the picture and for the session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..chips import Chip
from .planner import Plan
from .program import WEIGHT, Program


def facts_of(program: Program, plan: Plan, chip: Chip) -> dict[str, Any]:
    """``tensors``: [name, kind, bytes, first kernel, last kernel, bytes moved a run, place, where or why not]; a place is an offset in
    L3's arena, "l3" for a weight, None for GDDR.  ``kernels``: [name, layer, bytes moved, compute ns]."""
    tensors = []
    for t, tensor in enumerate(program.tensors):
        place: int | str | None = None
        if t in plan.offsets:
            place = "l3" if (offset := plan.offsets[t]) is None else offset
        moved = round(tensor.read + tensor.written)
        tensors.append([tensor.name, tensor.kind, tensor.bytes, tensor.first, tensor.last, moved, place, plan.why.get(t, "")])
    inside = [t for t in plan.offsets if program.tensors[t].kind == WEIGHT]
    return {
        "chip": chip.name,
        "capacity": plan.capacity,
        "arena": plan.arena,
        "weights": sum(program.tensors[t].size for t in inside),
        "weights_in_l3": sorted(n for t in inside if (n := program.tensors[t].weight) is not None),
        "gain_us": round(plan.gain_ns / 1e3, 3),
        "bound_us": round(plan.bound_ns / 1e3, 3),
        "gap": round(plan.gap, 6),
        "exact": plan.exact,
        "tensors": tensors,
        "kernels": [[k.name, k.layer, round(sum(k.moves.values())), round(k.work.compute_ns)] for k in program.kernels],
    }


def works_of(program: Program, calls: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """What each call of the library has to do, as manifests say of kernels; bytes are those that it moves, in work space too."""
    found = {}
    for kernel in program.kernels:
        if kernel.name not in calls:
            continue
        facts: dict[str, Any] = {"schedule": f"library {calls[kernel.name]['api']}"}
        if kernel.known:
            weights = sum(b for t, b in kernel.moves.items() if program.tensors[t].kind == WEIGHT)
            written = sum(kernel.moves[t] for t in kernel.writes) + kernel.work.scratch_written
            moved = sum(kernel.moves.values()) + kernel.work.scratch_read + kernel.work.scratch_written
            facts["work"] = {
                "flops": {dtype: 2 * macs for dtype, macs in kernel.work.macs.items()},
                "read": round(moved - written),
                "written": round(written),
                "weights": round(weights),
            }
        found[kernel.name] = facts
    return found
