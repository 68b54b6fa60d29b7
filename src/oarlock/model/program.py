"""Program: the neutral SSA graph that every Paddle file becomes.

A Program knows no TVM and no Paddle.  It has one top block; an operation has named operands, typed attributes, results,
and regions (one block each) for control flow.  ``builtin.combine`` and ``builtin.split`` group values into lists as in PIR.
``print(program)`` shows it as text; ``program.verify()`` checks that every use is defined and visible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ModelError

# operations that compute nothing: what comes in and goes out, and lists
STRUCTURAL = frozenset(["builtin.parameter", "pd_op.data", "pd_op.feed", "pd_op.fetch", "builtin.combine", "builtin.split", "cf.yield"])


@dataclass(frozen=True, slots=True)
class TensorType:
    """A dense tensor as the file declares it; −1 is an unknown dim.  Declared static dims are a hint, not the truth."""

    dtype: str
    shape: tuple[int, ...]
    lod_level: int = 0

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if d < 0 else str(d) for d in self.shape)}]"


@dataclass(frozen=True, slots=True)
class ListType:
    """A list of values (PIR's vec): what combine makes and split takes apart."""

    elements: tuple[Type, ...]

    def __str__(self) -> str:
        return f"list<{', '.join(map(str, self.elements))}>"


@dataclass(frozen=True, slots=True)
class ArrayType:
    """A tensor array that grows (create_array, array_write)."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"array<{self.dtype}>"


@dataclass(frozen=True, slots=True)
class OpaqueType:
    """Any other type (selected rows, strings, …), by the file's name for it; "none" for an absent result."""

    name: str

    def __str__(self) -> str:
        return self.name


Type = TensorType | ListType | ArrayType | OpaqueType


@dataclass(eq=False, slots=True)
class Value:
    """One SSA value.  ``name`` is the model's own name where it has one, else made from the operation's."""

    name: str
    type: Type

    def __repr__(self) -> str:
        return f"%{self.name}"


@dataclass(eq=False, slots=True)
class Block:
    """Operations in order; ``args`` are the values that the block's owner passes in (loop-carried values, …)."""

    args: list[Value] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Op:
    """One operation.  ``operands`` maps Paddle's operand name to a value (None: absent), in Paddle's order.

    ``handle`` is the debug handle: how the model's author would find the operation (its output variable, its scope).
    ``kinds``: for an operator without a signature, how the file stores its attributes ("i32", "f32[]", …; see write.py).
    """

    name: str
    operands: dict[str, Value | None] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    results: list[Value] = field(default_factory=list)
    result_names: list[str] = field(default_factory=list)
    regions: list[Block] = field(default_factory=list)
    handle: str = ""
    kinds: dict[str, str] = field(default_factory=dict)

    @property
    def short_name(self) -> str:
        """The name without its dialect: ``conv2d`` of ``pd_op.conv2d``."""
        return self.name.split(".", 1)[-1]

    def result(self, name: str) -> Value:
        return self.results[self.result_names.index(name)]


@dataclass(eq=False, slots=True)
class Parameter:
    """A stored weight.  ``data`` is a read-only view into the mapped file (None: declared but not stored)."""

    name: str
    type: TensorType
    data: np.ndarray | None


@dataclass(eq=False)
class Program:
    """A whole model.

    inputs      the values fed, in the file's order; their names are the feed names
    outputs     fetch name → value, in fetch order
    parameters  value name → Parameter; the value is the result of a ``builtin.parameter`` operation of that name
    source      facts about the file: path, format ("pir" or "legacy"), version, sha256
    """

    block: Block
    inputs: list[Value]
    outputs: dict[str, Value]
    parameters: dict[str, Parameter]
    source: dict[str, Any] = field(default_factory=dict)

    def walk(self) -> Iterator[Op]:
        """Every operation, also those in regions, in order."""
        return walk(self.block)

    def op_counts(self) -> Counter[str]:
        return Counter(op.name for op in self.walk())

    def __str__(self) -> str:
        return "\n".join(_print_program(self))

    def verify(self) -> Program:
        """Raise ModelError unless every value is defined once, before its uses, in a scope that encloses them."""
        defined: set[Value] = set()
        _verify_block(self.block, defined, set())
        for name, value in self.outputs.items():
            if value not in defined:
                raise ModelError(f"the output {name!r} is not computed by the program", todo="the model file is damaged")
        for value in self.inputs:
            if value not in defined:
                raise ModelError(f"the input {value.name!r} is not defined by a data operation", todo="the model file is damaged")
        return self


def walk(block: Block) -> Iterator[Op]:
    """Every operation of a block and of the regions inside, in order."""
    for op in block.ops:
        yield op
        for region in op.regions:
            yield from walk(region)


def _verify_block(block: Block, defined: set[Value], ever: set[Value]) -> list[Value]:
    """Add the block's values to ``defined``; they are also returned, for the owner of a region to take out again."""
    own: list[Value] = []

    def define(value: Value, where: str) -> None:
        if value in ever:
            raise ModelError(f"the value %{value.name} is defined twice", where=where, todo="the model file is damaged")
        ever.add(value)
        defined.add(value)
        own.append(value)

    for arg in block.args:
        define(arg, "block argument")
    for op in block.ops:
        for name, value in op.operands.items():
            if value is not None and value not in defined:
                raise ModelError(
                    f"operand {name!r} uses %{value.name} before it is defined",
                    where=f"{op.name} ({op.handle})",
                    todo="the model file is damaged",
                )
        for region in op.regions:
            defined.difference_update(_verify_block(region, defined, ever))
        if len(op.result_names) != len(op.results):
            raise ModelError(f"{op.name} has {len(op.results)} results but {len(op.result_names)} names", where=op.handle)
        for value in op.results:
            define(value, f"{op.name} ({op.handle})")
    return own


def show_attr(value: Any) -> str:
    """An attribute as text, long lists shortened."""
    if isinstance(value, list | tuple) and len(value) > 8:
        return f"[{', '.join(map(repr, value[:8]))}, … {len(value)} in all]"
    return repr(value)


def show_attrs(attrs: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={show_attr(v)}" for k, v in attrs.items())


def _print_program(program: Program) -> Iterator[str]:
    feeds = ", ".join(f"{v.name}: {v.type}" for v in program.inputs)
    yield f"program({feeds}) -> ({', '.join(program.outputs)}) {{"
    yield from _print_block(program.block, 1)
    yield "  return " + ", ".join(f"{name}=%{value.name}" for name, value in program.outputs.items())
    yield "}"


def _print_block(block: Block, depth: int) -> Iterator[str]:
    pad = "  " * depth
    if block.args:
        yield f"{pad}^({', '.join(f'%{a.name}: {a.type}' for a in block.args)}):"
    for op in block.ops:
        operands = ", ".join(f"{k}=%{v.name}" for k, v in op.operands.items() if v is not None)
        attrs = show_attrs(op.attrs)
        results = ", ".join(f"%{v.name}: {v.type}" for v in op.results)
        head = f"{results} = " if results else ""
        yield f"{pad}{head}{op.name}({operands}{'; ' if operands and attrs else ''}{attrs})" + (" {" if op.regions else "")
        for i, region in enumerate(op.regions):
            if i:
                yield f"{pad}}} and {{"
            yield from _print_block(region, depth + 1)
        if op.regions:
            yield f"{pad}}}"
