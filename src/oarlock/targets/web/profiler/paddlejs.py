"""A Program as Paddle.js's own files: model.json and chunk_N.dat, for its core 2.2.0 with the WebGL backend 1.2.9.

The published converter reads models of 2021 and does not install any more.  What the backend's shaders get wrong (broadcasting but for
legacy axes, indices for a global maximum, asymmetric paddings, …) is written in another way, or refused with the reason.

An operation's field ``sources`` names the Paddle operations that it stands for, by their results.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import UnsupportedError, UnsupportedOperators
from ....model.program import Block, Op, Program, TensorType, Value
from . import paddlejs_ops

CHUNK_FLOATS = 1 << 20
OUTPUTS = "oarlock_outputs"
PICTURE, PICTURE_COPY = "image", "oarlock_picture"


@dataclass
class Writer:
    """What is written so far.  A value is known by its name: a constant (``constants``) or a tensor of a shape (``shapes``)."""

    shapes: dict[Value, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[Value, np.ndarray] = field(default_factory=dict)
    lists: dict[Value, list[Value]] = field(default_factory=dict)
    names: dict[Value, str] = field(default_factory=dict)
    uses: dict[Value, int] = field(default_factory=dict)
    makers: dict[str, dict[str, Any]] = field(default_factory=dict)
    vars: dict[str, dict[str, Any]] = field(default_factory=dict)
    data: dict[str, np.ndarray] = field(default_factory=dict)
    ops: list[dict[str, Any]] = field(default_factory=list)

    def shape(self, value: Value) -> tuple[int, ...]:
        return self.constants[value].shape if value in self.constants else self.shapes[value]

    def constant(self, value: Value, shape: Sequence[int] | None = None) -> str:
        """The variable of a constant, in another shape if one is given."""
        array = self.constants[value]
        return self.weight(value.name, array.reshape(shape) if shape is not None else array)

    def weight(self, name: str, array: np.ndarray) -> str:
        while name in self.vars and not (name in self.data and np.array_equal(self.data[name], array)):
            name += "_"
        # Paddle.js adds up the dims of a shape, and fails on one that has none
        self.vars[name] = {"name": name, "shape": list(array.shape) or [1], "persistable": True}
        self.data[name] = np.ascontiguousarray(array, np.float32)
        return name

    def operand(self, value: Value) -> str:
        """The variable that holds a value."""
        return self.constant(value) if value in self.constants else self.names[value]

    def emit(self, op: Op, kind: str, inputs: Mapping[str, list[str]], shape: Sequence[int], out: str = "Out", **attrs: Any) -> str:
        """An operation whose result has a shape; the name of that result, which is not bound to a value yet."""
        if len(shape) > 4:
            raise UnsupportedError(f"its textures have four dims, not {len(shape)}")
        name = op.results[0].name if op.results[0].name not in self.vars else f"{op.results[0].name}.{len(self.ops)}"
        self.vars[name] = {"name": name, "shape": list(shape) or [1], "persistable": False}
        made = {"type": kind, "attrs": attrs, "inputs": {k: list(v) for k, v in inputs.items()}, "outputs": {out: [name]}}
        self.ops.append(made | {"sources": [op.results[0].name]})
        self.makers[name] = self.ops[-1]
        return name

    def bind(self, value: Value, name: str, shape: Sequence[int]) -> None:
        self.names[value], self.shapes[value] = name, tuple(shape)

    def alias(self, value: Value, other: Value) -> None:
        """``value`` is ``other``."""
        if other in self.constants:
            self.constants[value] = self.constants[other]
            return
        self.bind(value, self.names[other], self.shapes[other])
        self.uses[other] += self.uses.get(value, 0) - 1


def model_of(program: Program, shapes: Mapping[str, Sequence[int]]) -> tuple[dict[str, Any], np.ndarray, list[tuple[str, tuple[int, ...]]]]:
    """(model.json, all weights one after another, the outputs' names and shapes) for inputs of these shapes.

    Raises UnsupportedOperators with everything that the WebGL backend cannot do.
    """
    writer = Writer()
    ops = _needed(program)
    for op in ops:
        for value in op.operands.values():
            if value is not None:
                writer.uses[value] = writer.uses.get(value, 0) + 1
    for value in program.outputs.values():
        writer.uses[value] = writer.uses.get(value, 0) + 1
    problems: dict[tuple[str, str], dict[str, Any]] = {}
    unknown: set[Value] = set()
    _feed(writer, program, shapes)
    for op in ops:
        if op.short_name in ("data", "feed"):
            continue
        if any(value in unknown for value in op.operands.values()):
            unknown.update(op.results)
            if op.short_name in paddlejs_ops.TRANSLATED or op.short_name in paddlejs_ops.FOLDED or op.name.startswith("builtin."):
                continue  # it may be fine; what comes before it is not
        try:
            _translate(writer, program, op)
        except UnsupportedError as error:
            unknown.update(op.results)
            entry = problems.setdefault((op.short_name, error.what), {"name": op.short_name, "count": 0, "reason": error.what, "where": []})
            entry["count"] += 1
            entry["where"].append(op.handle or op.results[0].name)
            entry.setdefault("attributes", {})
    if problems:
        raise UnsupportedOperators(problems.values(), where="Paddle.js", todo="the model has no Paddle.js column")
    outputs = [(name, writer.shape(value)) for name, value in program.outputs.items()]
    result = _gather(writer, [writer.operand(value) for value in program.outputs.values()], [shape for _, shape in outputs])
    _read_once(writer)
    used = {name for op in writer.ops for names in [*op["inputs"].values(), *op["outputs"].values()] for name in names}
    ordered = [v for v in writer.vars.values() if v["name"] in used]
    weights = [writer.data[v["name"]].ravel() for v in ordered if v["persistable"]]
    flat = np.concatenate(weights) if weights else np.zeros(0, np.float32)
    feed = {"type": "feed", "attrs": {}, "inputs": {"X": ["feed"]}, "outputs": {"Out": [PICTURE]}}
    fetch = {"type": "fetch", "attrs": {}, "inputs": {"X": [result]}, "outputs": {"Out": ["fetch"]}}
    _, channels, height, width = writer.vars[PICTURE]["shape"]
    return (
        {
            "chunkNum": max(1, math.ceil(flat.size / CHUNK_FLOATS)),
            "feedShape": {"fc": channels, "fh": height, "fw": width},
            "ops": [feed, *writer.ops, fetch],
            "vars": ordered,
        },
        flat,
        outputs,
    )


def write(program: Program, shapes: Mapping[str, Sequence[int]], folder: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Write the files; the outputs' names and shapes, which follow one another in what Paddle.js gives."""
    model, weights, outputs = model_of(program, shapes)
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(model["chunkNum"]):
        (folder / f"chunk_{n + 1}.dat").write_bytes(weights[n * CHUNK_FLOATS : (n + 1) * CHUNK_FLOATS].tobytes())
    (folder / "model.json").write_text(json.dumps(model))
    return outputs


def identity(shape: Sequence[int], folder: Path) -> None:
    """Write a model of one operation that gives what it takes: what a call costs beside its work."""
    x, y = Value("x", TensorType("float32", tuple(shape))), Value("y", TensorType("float32", tuple(shape)))
    op = Op("pd_op.scale", {"x": x}, {"scale": 1.0, "bias": 0.0, "bias_after_scale": True}, [y], ["out"])
    write(Program(Block([], [op]), [x], {"y": y}, {}), {"x": shape}, folder)


def _needed(program: Program) -> list[Op]:
    """The operations that outputs depend on: Paddle.js reads the result of whichever operation comes last."""
    wanted = set(program.outputs.values())
    kept = []
    for op in reversed(program.block.ops):
        if any(result in wanted for result in op.results):
            kept.append(op)
            wanted.update(value for value in op.operands.values() if value is not None)
    return kept[::-1]


def _feed(writer: Writer, program: Program, shapes: Mapping[str, Sequence[int]]) -> None:
    if len(program.inputs) != 1:
        raise UnsupportedError(f"Paddle.js takes one picture, the model has {len(program.inputs)} inputs", where="Paddle.js")
    (value,) = program.inputs
    shape = tuple(shapes.get(value.name, getattr(value.type, "shape", ())))
    if len(shape) != 4 or min(shape) < 1 or shape[0] != 1 or getattr(value.type, "dtype", "") != "float32":
        what = f"Paddle.js takes one picture (float32, 1 × channels × height × width), not {value.type} as {list(shape)}"
        raise UnsupportedError(what, where=f"input {value.name}")
    writer.vars[PICTURE] = {"name": PICTURE, "shape": list(shape), "persistable": False}
    writer.bind(value, PICTURE, shape)


def _translate(writer: Writer, program: Program, op: Op) -> None:
    if op.name == "builtin.parameter":
        parameter = program.parameters[op.results[0].name]
        if parameter.data is None:
            raise UnsupportedError("its weights are not there")
        writer.constants[op.results[0]] = parameter.data
    elif op.name == "builtin.combine":
        writer.lists[op.results[0]] = [value for value in op.operands.values() if value is not None]
    elif (folded := paddlejs_ops.fold(writer, op)) is not None:
        writer.constants[op.results[0]] = folded
    else:
        translate: Callable[[Writer, Op], None] | None = paddlejs_ops.TRANSLATED.get(op.short_name)
        if translate is None:
            raise UnsupportedError(paddlejs_ops.BROKEN.get(op.short_name, "the WebGL backend has no such operator"))
        translate(writer, op)


def _gather(writer: Writer, names: list[str], shapes: list[tuple[int, ...]]) -> str:
    """One result that has all outputs, one after another: all that Paddle.js can read."""
    if len(names) == 1 and names[0] in writer.makers:
        return names[0]
    total = sum(math.prod(shape) for shape in shapes)
    writer.vars[OUTPUTS] = {"name": OUTPUTS, "shape": [1, 1, 1, total], "persistable": False}
    writer.ops.append({"type": "connect", "attrs": {}, "inputs": {"X": names}, "outputs": {"Out": [OUTPUTS]}, "sources": []})
    return OUTPUTS


def _read_once(writer: Writer) -> None:
    """Let one operation alone read the picture: Paddle.js hands a new one to one of its readers, and another may run before that."""
    lists = [names for op in writer.ops for names in op["inputs"].values() if PICTURE in names]
    if sum(names.count(PICTURE) for names in lists) < 2:
        return
    for names in lists:
        names[:] = [PICTURE_COPY if name == PICTURE else name for name in names]
    attrs = {"scale": 1.0, "bias": 0.0, "bias_after_scale": True}
    copy = {"type": "scale", "attrs": attrs, "inputs": {"X": [PICTURE]}, "outputs": {"Out": [PICTURE_COPY]}, "sources": []}
    writer.ops.insert(0, copy)
    writer.vars[PICTURE_COPY] = {**writer.vars[PICTURE], "name": PICTURE_COPY}
