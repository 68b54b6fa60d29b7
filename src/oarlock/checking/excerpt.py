"""Parts of a program with arrays for what they read: small programs that show what one kernel, or one operation, makes of real data."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from ..model.cut import extract
from ..model.normalise import captures
from ..model.program import Op, Program, TensorType, Value
from .compare import TOLERANCE, OutputCheck, compare
from .reference import PaddleReference
from .sites import Held


@dataclass(frozen=True)
class Excerpt:
    """``program`` computes ``operations`` of a model from ``inputs``; ``expected``: what Paddle gives for its outputs."""

    program: Program
    operations: tuple[int, ...]
    inputs: Mapping[str, np.ndarray]
    expected: tuple[np.ndarray, ...]

    @property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """Of the inputs: dynamic dims stay so, the others are those of the arrays (what a file declares is a hint)."""
        return {
            v.name: tuple(None if d < 0 else n for d, n in zip(v.type.shape, self.inputs[v.name].shape, strict=True))
            for v in self.program.inputs
            if isinstance(v.type, TensorType)
        }

    def check(self, got: Collection[np.ndarray], tolerance: float = TOLERANCE["float32"]) -> list[OutputCheck]:
        return [compare(n, a, e, tolerance) for n, a, e in zip(self.program.outputs, got, self.expected, strict=True)]


class Excerpts:
    """Parts of the reference's program that compute some of ``operations``, on what Paddle gives them in the whole model."""

    def __init__(self, reference: PaddleReference, operations: Collection[int]) -> None:
        self.reference, self.ops = reference, list(reference.program.walk())
        self.held = {value: held for held, value in reference.values.items()}
        self.makers = {v: n for n, op in enumerate(self.ops) for v in op.results}
        self.combined = {op.results[0]: op for op in self.ops if op.name == "builtin.combine"}
        self.constants = {v for n in reference.constants for v in self.ops[n].results}
        read = [self.held[v] for n in operations for v in self._cuts({n}) if v in self.held]
        self.arrays = reference.fetch([*read, *(held for held in reference.values if held[0] in set(operations))])

    def of(self, operations: Collection[int]) -> Excerpt | None:
        """The program of ``operations`` alone; its outputs: what of theirs something else reads, or nothing.

        None where it would begin or end with what is no tensor, or read two tensors of one name.
        """
        chosen = set(operations) - self.reference.constants  # what needs them brings them along
        cuts = self._cuts(chosen)
        wanted = [held for held in self._results(chosen) if held in self.arrays]
        fed = {v.name: self.arrays.get(self.held[v]) if v in self.held else self.reference.inputs.get(v.name) for v in cuts}
        inputs = {name: array for name, array in fed.items() if array is not None}
        if not wanted or len(inputs) < len(cuts):
            return None
        part = extract(self.reference.program, {f"{self.ops[n].short_name}_{n}_{i}": self.reference.values[n, i] for n, i in wanted}, cuts)
        return Excerpt(part, tuple(sorted(chosen)), inputs, tuple(self.arrays[held] for held in wanted))

    def _cuts(self, chosen: Collection[int]) -> list[Value]:
        """What ``chosen`` operations read and others make, but for constants; of lists their elements."""
        found: dict[Value, None] = {}
        todo = [v for n in sorted(chosen) for v in _read(self.ops[n])]
        while todo:
            value = todo.pop(0)
            if value in self.combined:
                todo += [v for v in self.combined[value].operands.values() if v is not None]
            elif value not in self.constants and self.held.get(value, (self.makers.get(value, -1), 0))[0] not in chosen:
                found[value] = None
        return list(found)

    def _results(self, chosen: Collection[int]) -> list[Held]:
        inside = {v for n in chosen for v in _read(self.ops[n])}
        outside = {v for n, op in enumerate(self.ops) if n not in chosen for v in _read(op)}
        outside |= set(self.reference.program.outputs.values())
        ours = [(held, v) for held, v in self.reference.values.items() if held[0] in chosen]
        return sorted(held for held, v in ours if v in outside or (held[1] == 0 and v not in inside))


def _read(op: Op) -> list[Value]:
    """What an operation reads, its regions too."""
    return [v for v in (*op.operands.values(), *(v for region in op.regions for v in captures(region))) if v is not None]
