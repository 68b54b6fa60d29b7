"""Read a PIR program (`.json`, Paddle 3.x) → Program, with the standard library alone.

The file is an object with ``base_code`` (magic, version) and ``program`` (regions → blocks → ops).  An operation has
``#`` name, ``I`` operands, ``O`` results, ``A`` attributes, ``OA``/``DA``/``QA`` attributes of results, of distribution and
of quantisation, and ``regions``.  A name is ``<dialect id>.<name>``.  Values have integer ids; 0 is an absent operand.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..errors import ModelError
from . import defaults
from .limits import parse_json
from .pir_decode import Decoder, Nodes, RawOp
from .program import Block, Op, Parameter, Program, TensorType, Value

_FEEDS = ("pd_op.data", "pd_op.feed")


def read_program(buffer: bytes | memoryview, where: str) -> Program:
    """The program of a PIR file, its parameters not yet bound to data.  ``where`` names the file in errors."""
    decoder = Decoder(where)
    return _Reader(decoder).program(parse_json(buffer, where, decoder.hook))


class _Reader(Nodes):
    """The state of one reading: which value each id stands for, and which names are taken."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder.file)
        self.types = decoder
        self.version = defaults.LATEST_VERSION
        self.values: dict[int, Value] = {}
        self.scope: list[int] = []
        self.ids: set[int] = set()
        self.names: Counter[str] = Counter()
        self.count: Counter[str] = Counter()
        self.inputs: list[Value] = []
        self.fetched: list[tuple[int, str, Value]] = []
        self.output_names: Counter[str] = Counter()
        self.parameters: dict[str, Parameter] = {}
        self.depth = 0

    # ---- program, blocks, operations -----------------------------------------------------------------------------

    def program(self, root: Any) -> Program:
        base = self.item(root, "base_code")
        if type(base) is not dict or base.get("magic") != "pir":
            raise ModelError("this JSON file is not a PIR program", where=self.file, todo="give the .json that Paddle 3 saved")
        self.version = self.integer(self.item(base, "version"), "the schema version")
        if not 0 <= self.version <= defaults.LATEST_VERSION:
            raise ModelError(
                f"PIR schema version {self.version} is not known; this Oarlock reads 1 to {defaults.LATEST_VERSION}",
                where=self.file,
                todo="upgrade Oarlock, or export the model with Paddle 3.3 or earlier",
            )
        block = self.region(self.only(self.item(self.item(root, "program"), "regions"), "the program's regions"))
        outputs = {name: value for _, name, value in sorted(self.fetched, key=lambda fetch: fetch[0])}
        source = {"format": "pir", "version": self.version}
        return Program(block, self.inputs, outputs, self.parameters, source)

    def only(self, node: Any, what: str) -> Any:
        if len(self.array(node, what)) != 1:
            raise self.bad(f"{what}: one is expected, there are {len(node)}")
        return node[0]

    def region(self, node: Any) -> Block:
        """A region's only block.  What it defines cannot be seen outside."""
        node = self.only(self.item(node, "blocks"), "the blocks of a region")
        self.depth += 1
        outer, self.scope = self.scope, []
        if type(node) is not dict:
            raise self.bad("a block must be an object")
        arguments = [(f"arg_{i}", a) for i, a in enumerate(self.array(node.get("args", []), "the block's arguments"))]
        arguments += [(self.text(self.item(a, "key"), "a key"), a) for a in self.array(node.get("kwargs", []), "the keyword arguments")]
        block = Block()
        for name, argument in arguments:
            value = Value(self.name(name), self.types.type(self.item(argument, "TT")))
            self.define(self.integer(self.item(argument, "#"), "an argument's id"), value)
            block.args.append(value)
        for op in self.array(self.item(node, "ops"), "the block's operations"):
            self.operation(op, block)
        for key in self.scope:
            del self.values[key]
        self.depth, self.scope = self.depth - 1, outer
        return block

    def operation(self, raw: Any, block: Block) -> None:
        if type(raw) is not RawOp:
            raise self.bad("an operation lacks its name, its results or its attributes")
        short = raw.name.split(".", 1)[-1].rstrip("_")
        name = f"{short}_{self.count[short]}"
        self.count[short] += 1
        outer, self.place = self.place, f"{raw.name} ({raw.scope}{name})"
        if raw.name == "builtin.parameter":
            self.parameter(raw, block)
        else:
            attrs = defaults.fill(raw.name, raw.attrs, self.version)
            op = Op(raw.name, self.operands(raw), attrs, handle=raw.scope + name, kinds=raw.kinds)
            self.require(op)
            here = self.place
            for region in raw.regions:
                op.regions.append(self.region(region))
                self.place = here
            if op.name == "pd_op.fetch":
                self.fetch(op)
            self.results(op, raw, name)
            block.ops.append(op)
        self.place = outer

    def operands(self, raw: RawOp) -> dict[str, Value | None]:
        """Named operands; the ones that the file leaves out at the end are absent."""
        signature = defaults.signature(raw.name)
        out: dict[str, Value | None] = {}
        for i, key in enumerate(raw.operands):
            if key and key not in self.values:
                raise self.bad(f"operand {i} is the value {key}, which is not defined before this operation")
            out[signature.operand(i)] = self.values[key] if key else None
        for missing in signature.operands[len(out) :]:
            out[missing] = None
        return out

    def require(self, op: Op) -> None:
        for key in defaults.signature(op.name).required:
            if key not in op.attrs:
                raise self.bad(f"the attribute {key!r} is missing")

    def results(self, op: Op, raw: RawOp, name: str) -> None:
        signature = defaults.signature(op.name)
        for i, (key, type_) in enumerate(raw.results):
            op.result_names.append(signature.result(i, len(raw.results)))
            if op.name in _FEEDS:
                value_name = self.text(op.attrs.get("name"), "the name of an input")
            else:
                value_name = name if len(raw.results) == 1 else f"{name}.{op.result_names[-1]}"
            value = Value(self.name(value_name), type_)
            self.define(key, value)
            op.results.append(value)
            if op.name in _FEEDS:
                self.feed(op, value)

    def define(self, key: int, value: Value) -> None:
        if key == 0:
            return  # an absent result: nothing can use it
        # Ids of block arguments are negative; only ones that are out of scope may come again.
        if key in self.values or (key > 0 and key in self.ids):
            raise self.bad(f"the value {key} is defined twice")
        self.ids.add(key)
        self.values[key] = value
        self.scope.append(key)

    def name(self, wanted: str) -> str:
        """``wanted``, made unique in the program."""
        return _unique(wanted, self.names)

    # ---- inputs, outputs, parameters -----------------------------------------------------------------------------

    def feed(self, op: Op, value: Value) -> None:
        if self.depth > 1:
            raise self.bad("an input is declared inside a region")
        if value.name != op.attrs["name"]:
            raise self.bad(f"two inputs or parameters are called {op.attrs['name']!r}")
        if not isinstance(value.type, TensorType):
            raise ModelError(f"the input {value.name!r} is not a tensor but {value.type}", where=self.where, todo="feed tensors")
        self.inputs.append(value)

    def fetch(self, op: Op) -> None:
        value = op.operands["x"]
        if self.depth > 1 or value is None or len(op.operands) != 1:
            raise self.bad("a fetch operation must take one value of the top block")
        column = self.integer(op.attrs["col"], "the column of an output")
        name = _unique(self.text(op.attrs["name"], "the name of an output"), self.output_names)
        op.attrs["name"] = name
        self.fetched.append((column, name, value))

    def parameter(self, raw: RawOp, block: Block) -> None:
        name = raw.attrs["parameter_name"]
        if len(raw.results) != 1:
            raise self.bad(f"the parameter {name!r} has {len(raw.results)} results")
        key, type_ = raw.results[0]
        if self.depth > 1 or not isinstance(type_, TensorType) or self.name(name) != name:
            raise self.bad(f"the parameter {name!r} is not a tensor, is inside a region, or its name is taken")
        value = Value(name, type_)
        self.define(key, value)
        block.ops.append(Op(raw.name, {}, raw.attrs, [value], ["out"], handle=name))
        self.parameters[name] = Parameter(name, type_, None)


def _unique(name: str, taken: Counter[str]) -> str:
    """``name``, with a number behind it if it is taken; ``taken`` counts how often each name was asked for."""
    unique = name
    while taken[unique]:
        unique = f"{name}@{taken[name]}"
        taken[name] += 1
    taken[unique] += 1
    return unique
