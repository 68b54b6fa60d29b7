"""The operators and constants of a TensorFlow Lite file: as much of its FlatBuffers schema as a network of convolutions needs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# tensorflow/lite/schema/schema.fbs: BuiltinOperator, TensorType
OPERATORS = {0: "ADD", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 17: "MAX_POOL_2D"}
OPERATORS |= {19: "RELU", 22: "RESHAPE", 34: "PAD"}
_DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 9: "int8"}


@dataclass(frozen=True)
class Operator:
    """``inputs`` and ``outputs``: numbers of tensors.  ``options``: the numbers in its table of options, by field."""

    kind: str
    inputs: list[int]
    outputs: list[int]
    options: dict[int, int]


@dataclass(frozen=True)
class Network:
    """The first subgraph of a file: ``constants`` holds the tensors that have contents."""

    shapes: list[list[int]]
    names: list[str]
    constants: dict[int, np.ndarray]
    operators: list[Operator]
    inputs: list[int]
    outputs: list[int]


class _Table:
    """A table of a FlatBuffer; a field that is not there is None, or nothing."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.fields = at - struct.unpack_from("<i", data, at)[0]
        self.size = struct.unpack_from("<H", data, self.fields)[0]

    def place(self, field: int) -> int | None:
        if 4 + 2 * field >= self.size:
            return None
        offset = struct.unpack_from("<H", self.data, self.fields + 4 + 2 * field)[0]
        return self.at + offset if offset else None

    def number(self, field: int, kind: str = "i", default: int = 0) -> int:
        at = self.place(field)
        return default if at is None else struct.unpack_from(f"<{kind}", self.data, at)[0]

    def table(self, field: int) -> _Table | None:
        at = self.place(field)
        return None if at is None else _Table(self.data, _follow(self.data, at))

    def vector(self, field: int) -> tuple[int, int]:
        """Where its elements begin, and how many there are."""
        at = self.place(field)
        if at is None:
            return 0, 0
        start = _follow(self.data, at)
        return start + 4, struct.unpack_from("<I", self.data, start)[0]

    def tables(self, field: int) -> list[_Table]:
        start, count = self.vector(field)
        return [_Table(self.data, _follow(self.data, start + 4 * i)) for i in range(count)]

    def numbers(self, field: int) -> list[int]:
        start, count = self.vector(field)
        return list(struct.unpack_from(f"<{count}i", self.data, start))

    def content(self, field: int) -> bytes:
        start, count = self.vector(field)
        return self.data[start : start + count]


def _follow(data: bytes, at: int) -> int:
    return at + struct.unpack_from("<I", data, at)[0]


def read(path: Path) -> Network:
    """The network in a .tflite file."""
    data = path.read_bytes()
    model = _Table(data, _follow(data, 0))
    # a code that fits in a byte stands in the older field
    codes = [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]
    buffers = [table.content(0) for table in model.tables(4)]
    graph = model.tables(2)[0]
    shapes, names, constants = [], [], {}
    for number, tensor in enumerate(graph.tables(0)):
        shapes.append(tensor.numbers(0))
        names.append(tensor.content(3).decode())
        if content := buffers[tensor.number(2, "I")]:
            constants[number] = np.frombuffer(content, _DTYPES[tensor.number(1, "b")]).reshape(shapes[-1])
    operators = []
    for op in graph.tables(3):
        options = op.table(4)
        # their fields are bytes or ints: which, tells the field's size, the distance to the next
        fields = {field: options.number(field, "b") for field in range(8) if options and options.place(field) is not None}
        operators.append(Operator(OPERATORS[codes[op.number(0, "I")]], op.numbers(1), op.numbers(2), fields))
    return Network(shapes, names, constants, operators, graph.numbers(1), graph.numbers(2))
