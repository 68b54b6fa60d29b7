"""Paddle's own translation of a legacy program (`translate_to_pir`), in a form that can be compared with ours.

Both sides become a list of Step: operator, operands, attributes.  Constants (``full``, ``full_int_array``) that feed operands
are written in place of the operand, because we keep them as attributes; values are named by the step that makes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from oarlock.model.legacy_ops import signature
from oarlock.model.program import Op, Program, Value

CONSTANTS = ("full", "full_int_array")
SKIPPED = ("data", "feed", "fetch")


@dataclass
class Step:
    name: str
    operands: list[Any] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.operands))}; {self.attrs})"


def plain(value: Any) -> Any:
    """Attributes in one form: float32 rounding apart, dtypes by name, sequences as lists."""
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, bool | int):
        return float(value)
    if isinstance(value, float):
        return value if math.isnan(value) or math.isinf(value) else float(f"{value:.6g}")
    if isinstance(value, str):
        return value
    text = str(value)
    return text.rsplit(".", 1)[-1].lower() if "DataType" in type(value).__name__ or "dtype" in text.lower() else text


def constant(value: Any) -> Any:
    value = plain(value)
    flat = value if isinstance(value, list) else [value]
    return ("const", tuple(flat))


def steps_of_program(program: Program) -> list[Step]:
    """Our Program, top block."""
    names: dict[Value, Any] = {v: ("in", v.name) for v in program.inputs}
    steps: list[Step] = []
    for op in program.block.ops:
        if op.short_name == "parameter":
            names[op.results[0]] = ("in", op.results[0].name)
        elif op.name == "builtin.combine":
            names[op.results[0]] = ("list", tuple(names[v] for v in op.operands.values() if v is not None))
        elif op.name == "builtin.split":
            (source,) = op.operands.values()
            names.update({v: ("item", names[source], i) for i, v in enumerate(op.results)})  # type: ignore[index]
        elif op.attrs.get("shape") == [1] and op.results[0].name.endswith(".size"):
            names[op.results[0]] = names[op.operands["x"]]  # type: ignore[index]
        elif op.short_name in CONSTANTS and not op.operands:
            names[op.results[0]] = constant(op.attrs["value"])
        elif op.short_name not in SKIPPED:
            steps.append(_our_step(op, names))
            names.update(zip(op.results, _result_names(steps, len(op.results)), strict=True))
    return steps


def _result_names(steps: list[Step], count: int) -> list[Any]:
    """Results are known by their place; those of a loop by what they start from, as loops may carry more or fewer values."""
    if steps[-1].name == "while":
        return [(len(steps) - 1, start) for start in steps[-1].operands[1:]]
    return [(len(steps) - 1, i) for i in range(count)]


def _our_step(op: Op, names: dict[Value, Any]) -> Step:
    sig = signature(op.short_name)
    step = Step(op.short_name)
    for name in dict.fromkeys([*(sig.operands if sig else ()), *op.operands]):
        value = op.operands.get(name)
        if value is not None:
            step.operands.append(names[value])
        else:
            step.operands.append(constant(op.attrs[name]) if name in op.attrs else None)
    step.attrs = {k: plain(v) for k, v in op.attrs.items() if sig is None or k not in sig.operands}
    return step


def steps_of_paddle(program: Any) -> list[Step]:
    """Paddle's translated program, top block."""
    names: dict[int, Any] = {}
    steps: list[Step] = []

    def key(value: Any) -> int:
        return value.id if hasattr(value, "id") else hash(value)

    for op in program.global_block().ops:
        short = op.name().split(".", 1)[-1].rstrip("_")
        results, operands = op.results(), op.operands_source()
        sources = [None if _empty(v) else names.get(key(v)) for v in operands]
        attrs = op.attrs()
        if short in ("parameter", "data", "feed"):
            label = attrs.get("parameter_name") or attrs.get("name")
            names[key(results[0])] = ("in", label)
        elif short == "combine" or (short == "stack" and _is_size(op)):
            names[key(results[0])] = sources[0] if short == "stack" else ("list", tuple(sources))
        elif short == "split" and op.name().startswith("builtin"):
            names.update({key(v): ("item", sources[0], i) for i, v in enumerate(results)})
        elif short == "slice" and op.name().startswith("builtin"):
            names[key(results[0])] = ("item", sources[0], attrs["index"])
        elif short in CONSTANTS:
            names[key(results[0])] = constant(attrs["value"])
        elif short not in SKIPPED:
            sig = signature(short)
            known = set(sig.defaults) | set(sig.required) if sig else set()
            steps.append(Step(short, sources, {k: plain(v) for k, v in attrs.items() if k in known and k != "place"}))
            names.update(zip(map(key, results), _result_names(steps, len(results)), strict=True))
    return steps


def _empty(value: Any) -> bool:
    return not value.initialized() if hasattr(value, "initialized") else value is None


def _is_size(op: Any) -> bool:
    """Whether a stack only makes the shape of a ``full_with_tensor`` from scalars, where we keep the list."""
    return all(user.name() == "pd_op.full_with_tensor" for user in op.results()[0].all_used_ops())
