"""Results of a program's operations from Paddle, some at a time, so that what they take does not grow with the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from ..model.cut import CONSTANT, extract
from ..model.program import ListType, Program, TensorType, Value
from ..model.write import save_model
from .compare import run_paddle
from .sites import Held

RunModel = Callable[[Path, Mapping[str, np.ndarray]], list[np.ndarray]]


def paddle_process(python: str | None = None) -> RunModel:
    """Runs a model's graph file, with its weights beside it, by Paddle Inference in a process of its own."""

    def run(graph: Path, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        params = graph.with_suffix(".pdiparams")
        return run_paddle(str(graph), str(params) if params.exists() else "", inputs, python)

    return run


class PaddleReference:
    """Asks Paddle for results of operations of the top block, given inputs of the whole program.

    Raises UnsupportedError for a program that cannot be written as a PIR file, TargetError when Paddle is not there or fails.
    """

    def __init__(self, program: Program, inputs: Mapping[str, np.ndarray], run: RunModel) -> None:
        """``run``: what runs a saved model."""
        self.program, self.inputs, self.run = program, dict(inputs), run
        self.values = results(program)
        self.constants = {number for number, op in enumerate(program.walk()) if op.name in CONSTANT}

    def knows(self, held: Held | None) -> bool:
        return held in self.values

    def is_constant(self, held: Held) -> bool:
        return held[0] in self.constants

    def fetch(self, wanted: Iterable[Held]) -> dict[Held, np.ndarray]:
        """The arrays, by Paddle's own kernels."""
        order = sorted({held for held in wanted if held in self.values})
        if not order:
            return {}
        outputs = {f"r{number}_{i}": self.values[number, i] for number, i in order}
        return dict(zip(order, self._run(extract(self.program, outputs)), strict=True))

    def alone(self, value: Value) -> np.ndarray:
        """One value, by what makes it alone: of the condition of a loop what it is before the loop writes over it."""
        return self._run(extract(self.program, {"value": value}))[0]

    def outputs(self) -> list[np.ndarray]:
        """What the whole program gives."""
        return self._run(self.program)

    def _run(self, program: Program) -> list[np.ndarray]:
        with tempfile.TemporaryDirectory(prefix="oarlock-why-") as folder:
            graph = save_model(program, Path(folder) / "inference")
            return self.run(graph, {v.name: self.inputs[v.name] for v in program.inputs})


def results(program: Program) -> dict[Held, Value]:
    """The tensors that operations of the top block give, but for constants; those of a list are its operation's.

    Nor the conditions of loops, which Paddle writes over.
    """
    top = {id(op) for op in program.block.ops}
    conditions = {next(iter(op.operands.values())) for op in program.block.ops if op.name == "pd_op.while"}
    lists: dict[Value, int] = {}
    found: dict[Held, Value] = {}
    for number, op in enumerate(program.walk()):
        if id(op) not in top or op.name in CONSTANT:
            continue
        if len(op.results) == 1 and isinstance(op.results[0].type, ListType):
            lists[op.results[0]] = number
        of = next((lists[v] for v in op.operands.values() if v in lists), number) if op.name == "builtin.split" else number
        found |= {(of, i): value for i, value in enumerate(op.results) if isinstance(value.type, TensorType) and value not in conditions}
    return found
