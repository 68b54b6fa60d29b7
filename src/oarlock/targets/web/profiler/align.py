"""Which steps of one engine do what steps of another do: told by the values that they make.

Kernels keep no names of the operators they came from, and engines fuse differently.  But each engine, run on the same input, makes the
same tensors at the ends of its kernels, and a tensor in a few numbers (page/engines.js: summary) is known in any layout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ....errors import OarlockError
from ....model.program import Op, Program, TensorType, Value

TOLERANCE = 1e-4
Summary = Mapping[str, Any]
GpuEnds = dict[int, tuple[int, int]]  # row → the step of the GPU's plan, and its result, that make the row's tensor


@dataclass
class Row:
    """A run of our steps up to a tensor that others have too.

    ``value``: Paddle's name of it, ``tensor``: ONNX's; empty where nobody else has it.  ``layout``: of our copy beside ONNX's: "same",
    "channels last", or "" for another.
    """

    steps: list[int]
    result: Summary
    value: str = ""
    tensor: str = ""
    layout: str = ""
    operators: list[Op] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The Paddle operators, or nothing."""
        return " ".join(op.short_name for op in self.operators)


def same(a: Summary, b: Summary) -> bool:
    """Whether both may be the same tensor, in some layout."""
    scale = math.sqrt(max(a["squares"], b["squares"], 0))
    if a["count"] != b["count"] or not math.isfinite(scale):
        return False
    return (
        abs(a["squares"] - b["squares"]) <= 2 * TOLERANCE * scale * scale
        and abs(a["most"] - b["most"]) <= 10 * TOLERANCE * max(a["most"], b["most"])
        and abs(a["sum"] - b["sum"]) <= TOLERANCE * scale * math.sqrt(a["count"]) + 1e-30
    )


def layout_of(ours: Summary, theirs: Summary) -> str:
    """The layout of our copy of their tensor: "same", "channels last" or "channels first" where theirs is the other, "" for another.

    Also "" for values that fit several layouts, as those of a tensor do that is one number throughout: nothing is guessed.
    """
    gaps = {"same": ours["order"] - theirs["order"]}
    if _turns(ours):
        gaps["channels last"] = ours["channels_last"] - theirs["order"]
    if _turns(theirs) and "channels_last" in theirs:
        gaps["channels first"] = ours["order"] - theirs["channels_last"]
    # two layouts of a tensor have `order` apart by about 0.4 of this root: they are taken for one once in thousands of tensors
    near = TOLERANCE * math.sqrt(max(theirs["squares"], 0))
    fits = [layout for layout, gap in gaps.items() if abs(gap) <= near]
    return fits[0] if len(fits) == 1 else ""


def _turns(tensor: Summary) -> bool:
    """Whether its elements lie otherwise if the last dim comes first."""
    return bool(tensor["shape"]) and tensor["shape"][-1] not in (1, tensor["count"])


def ends_of(rows: Sequence[Row], steps: Sequence[Mapping[str, Any]]) -> GpuEnds:
    """Which results of another plan's steps (as traced) are the tensors that rows end in."""
    ends: GpuEnds = {}
    made = [(n, i, result) for n, step in enumerate(steps) for i, result in enumerate(step["results"])]
    for number, row in enumerate(rows):
        found = [entry for entry in made if same(row.result, entry[2])]
        if found:  # of the same tensor in several layouts, the first that is known
            best = next((entry for entry in found if layout_of(row.result, entry[2])), found[0])
            ends[number] = best[0], best[1]
            made = [entry for entry in made if entry[:2] != best[:2]]
    return ends


def rows_of(
    steps: Sequence[Mapping[str, Any]], values: Mapping[str, Summary], tensors: Mapping[str, Summary], program: Program
) -> list[Row]:
    """Our steps (as traced) in rows; ``values``: of Paddle's operations, ``tensors``: of ONNX's nodes, both in order and as known."""
    rows: list[Row] = []
    waiting: list[int] = []
    open_values, open_tensors = dict(values), dict(tensors)
    for n, step in enumerate(steps):
        waiting.append(n)
        if not step["results"]:
            continue
        result = step["results"][-1]
        value = next((name for name, other in open_values.items() if same(result, other)), "")
        tensor = next((name for name, other in open_tensors.items() if same(result, other)), "")
        if not value and not tensor and rows and same(result, rows[-1].result):  # the same in another layout
            row = rows[-1]
            row.steps += waiting
            row.result, row.layout = result, layout_of(result, tensors[row.tensor]) if row.tensor else ""
            waiting = []
            continue
        if not value and not tensor and n + 1 < len(steps):
            continue
        rows.append(Row(waiting, result, value, tensor, layout_of(result, tensors[tensor]) if tensor else ""))
        waiting = []
        open_values.pop(value, None)
        open_tensors.pop(tensor, None)
    _assign(rows, program)
    return rows


def _assign(rows: Sequence[Row], program: Program) -> None:
    """Each row's operators: those that its value comes from, up to the values of other rows; what is left goes to the row after it."""
    makers = {result.name: op for op in program.block.ops for result in op.results}
    order = {id(op): n for n, op in enumerate(program.block.ops)}
    ends = {row.value for row in rows if row.value}
    taken: set[int] = set()
    for row in rows:
        found: dict[int, Op] = {}

        def visit(name: str, found: dict[int, Op] = found) -> None:
            op = makers.get(name)
            if op is None or id(op) in found or id(op) in taken:
                return
            found[id(op)] = op
            for operand in op.operands.values():
                if operand is not None and operand.name not in ends:
                    visit(operand.name)

        if row.value:
            visit(row.value)
        taken.update(found)
        hidden = ("parameter", "data", "full", "full_int_array", "combine")
        row.operators = [op for key, op in sorted(found.items(), key=lambda item: order[item[0]]) if op.short_name not in hidden]


def values_of(program: Program, shapes: Mapping[str, Sequence[int]], inputs: Mapping[str, np.ndarray]) -> dict[str, Summary]:
    """What each operation gives for the inputs, by Paddle's name, in order; computed on this machine's CPU, operation by operation."""
    from ....compiler import compile as compile_model
    from ....runtime.session import Session

    users: dict[str, list[Op]] = {}
    for op in program.block.ops:
        for operand in op.operands.values():
            if operand is not None:
                users.setdefault(operand.name, []).append(op)

    def joined(value: Value) -> bool:
        """Whether what reads it is always computed with it: no kernel ends there."""
        readers = users.get(value.name, [])
        if len(readers) != 1 or value in program.outputs.values():
            return False
        operands = [v.name for v in readers[0].operands.values() if v is not None and v is not value]
        plain = readers[0].short_name in ("add", "multiply") and all(name in program.parameters for name in operands)
        return readers[0].short_name in ("batch_norm", "batch_norm_", "relu") or plain

    wanted: list[Value] = []
    for op in program.block.ops:
        if op.name.startswith("builtin.") or op.short_name in ("data", "full", "full_int_array", "shape", "shape64", "slice"):
            continue
        if not op.results:
            continue
        kind = op.results[0].type
        if joined(op.results[0]):
            continue
        if isinstance(kind, TensorType) and kind.dtype in ("float32", "float16") and not op.regions:
            wanted.append(op.results[0])
    every = Program(program.block, program.inputs, {value.name: value for value in wanted}, program.parameters, program.source)
    try:
        artifact = compile_model(every, "cpu", shapes, threads=1)
    except OarlockError:
        return {}  # rows have no names of operators then
    outputs = Session(artifact).run(dict(inputs))
    return {name: {**summary(array), "shape": list(array.shape)} for name, array in outputs.items()}


def summary(array: np.ndarray) -> Summary:
    """The same numbers as page/engines.js's, but ``channels_last``."""
    x = np.asarray(array, "float64").ravel()
    marks = (np.arange(1, x.size + 1, dtype="uint64") * 2654435761 % 2**32) / 2**32 - 0.5
    numbers = {"count": x.size, "sum": float(x.sum()), "squares": float(x @ x), "most": float(np.abs(x).max()) if x.size else 0.0}
    return numbers | {"order": float(x @ marks)}
