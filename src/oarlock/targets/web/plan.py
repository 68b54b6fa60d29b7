"""The plan: what the runtime calls, in which order, and where in memory all that lies.

JSON, in the module's custom section ``oarlock.plan``; ``web/src/types.ts`` has it as types::

    arena, weights   bytes of each
    kernels          [{export, name, schedule?, workload?, candidate?, tensors?, results?}], by number
    steps            [[kernel, [region, offset, region, offset, …]], …]; a region is one of:
                     0 the weights, 1 the arena, 2 … the inputs, then the outputs

A region begins at a multiple of 64 bytes; an offset is in bytes.
"""

from __future__ import annotations

import json
from typing import Any

import tvm

from ... import compat
from ...kernels.choice import CANDIDATE, SCHEDULE, WORKLOAD
from ...rules.weights import Weights
from ..cpu.aot import Dynamic, Layout, NotStatic, Value, callees, lay_out

PLAN = "oarlock.plan"
VERSION = 1
_FACTS = {"schedule": SCHEDULE, "workload": WORKLOAD, "candidate": CANDIDATE}


def plan_of(mod: tvm.IRModule, weights: Weights, describe: bool = False) -> tvm.IRModule:
    """The kernels of ``main`` as functions of pointers, named as they are exported, with the plan as the module's attribute PLAN.

    ``weights`` becomes one array of bytes.  ``describe``: each kernel's tensors are in the plan too.
    Raises NotStatic where main is more than calls of kernels on tensors of known sizes.
    """
    layout = lay_out(mod, weights)
    if layout.symbols:
        raise Dynamic(f"sizes that the inputs decide ({', '.join(sorted(v.name for v in layout.symbols))})")
    if any(step.sizes for step in layout.steps):
        raise NotStatic("kernels that take more than tensors")
    regions = ["weights", "arena", *(f"input {p.name}" for p in layout.inputs), *(f"output {i}" for i in range(len(layout.outputs)))]
    number = {name: n for n, name in enumerate(regions)}

    def place(value: Value) -> list[int]:
        return [number[value.region], int(value.offset)]

    exports: dict[Any, int] = {}
    kernels: list[dict[str, Any]] = []
    functions: dict[tvm.ir.GlobalVar, Any] = {}
    for key, (callee, function) in callees(mod, layout.steps).items():
        exports[key] = len(kernels)
        export = f"k{len(kernels)}"
        kernels.append({"export": export, "name": callee.name_hint} | facts_of(function))
        functions[tvm.ir.GlobalVar(export)] = compat.direct_callee(function)
    steps = [[exports[step.kernel, step.upon], sum(map(place, step.arguments), [])] for step in layout.steps]
    if describe:
        describe_kernels(kernels, layout, {exports[key]: function for key, (_, function) in callees(mod, layout.steps).items()})
    plan = {"version": VERSION, "arena": int(layout.arena), "weights": weights.arrays[0].nbytes, "kernels": kernels, "steps": steps}
    return tvm.IRModule(functions).with_attr(PLAN, json.dumps(plan))


def describe_kernels(kernels: list[dict[str, Any]], layout: Layout, functions: dict[int, Any]) -> None:
    """Say of each kernel what its arguments are ([dtype, shape]), and which of them are results."""
    numbers: dict[tuple[Any, Any], int] = {}
    outside = {"weights", *(f"input {p.name}" for p in layout.inputs)}
    for n, step in enumerate(layout.steps):
        number = numbers.setdefault((step.kernel, step.upon), len(numbers))
        buffers = [p.ty for p in compat.tensors(functions[number])]
        kernels[number]["tensors"] = [[str(b.dtype), [int(d) for d in b.shape]] for b in buffers]
        made = [i for i, value in enumerate(step.arguments) if value.region not in outside and (value.first == n or i == len(buffers) - 1)]
        kernels[number]["results"] = made


def facts_of(kernel: tvm.tirx.PrimFunc) -> dict[str, str]:
    """What the compiler knows of a kernel, as the runtime tells it."""
    attrs = kernel.attrs or {}
    return {name: str(attrs[key]) for name, key in _FACTS.items() if key in attrs}
