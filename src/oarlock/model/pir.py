"""Read a PIR program (`.json`, Paddle 3.x) → Program, with the standard library alone.

The file is an object with ``base_code`` (magic, version) and ``program`` (regions → blocks → ops).  An operation has
``#`` name, ``I`` operands, ``O`` results, ``A`` attributes, ``OA``/``DA``/``QA`` attributes of results, of distribution and
of quantisation, and ``regions``.  A name is ``<dialect id>.<name>``.  Values have integer ids; 0 is an absent operand.
"""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any

from ..errors import ModelError
from . import defaults
from .limits import DAMAGED, check_dims, check_int64, check_text, parse_json
from .program import ArrayType, Block, ListType, Op, OpaqueType, Parameter, Program, TensorType, Type, Value

DIALECTS = {"0": "builtin", "1": "pd_op", "2": "cf", "3": "custom_op", "4": "dist"}

DTYPES = {
    "bool": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "ui8": "uint8", "ui16": "uint16",
    "ui32": "uint32", "ui64": "uint64", "u8": "uint8", "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "f8e4m3fn": "float8_e4m3fn", "f8e5m2": "float8_e5m2", "c64": "complex64", "c128": "complex128", "index": "int64",
}  # fmt: skip

_FEEDS = ("pd_op.data", "pd_op.feed")
_INFINITIES = {"INF": float("inf"), "-INF": float("-inf"), "NAN": float("nan")}
# Attributes that say something about training or distribution, not about what is computed.
_IGNORED = frozenset(["stop_gradient", "persistable", "trainable", "op_dist_attr", "op_role", "chunk_id"])


def read_program(buffer: bytes | memoryview, where: str) -> Program:
    """The program of a PIR file, its parameters not yet bound to data.  ``where`` names the file in errors."""
    return _Reader(where).program(parse_json(buffer, where))


class _Reader:
    """The state of one reading: which value each id stands for, and where in the file we are."""

    def __init__(self, where: str) -> None:
        self.file = where
        self.place = "the header"
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

    # ---- checked access to the JSON ------------------------------------------------------------------------------

    @property
    def where(self) -> str:
        return f"{self.file}: {self.place}"

    def bad(self, what: str) -> ModelError:
        return ModelError(what, where=self.where, todo=DAMAGED)

    def item(self, node: Any, key: str) -> Any:
        if type(node) is not dict or key not in node:
            raise self.bad(f"the key {key!r} is missing")
        return node[key]

    def array(self, node: Any, what: str, size: int | None = None) -> list:
        if type(node) is not list or (size is not None and len(node) < size):
            raise self.bad(f"{what} must be a list" + (f" of {size}" if size is not None else ""))
        return node

    def text(self, node: Any, what: str) -> str:
        return check_text(node, what, self.where)

    def integer(self, node: Any, what: str) -> int:
        return check_int64(node, what, self.where)

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
            value = Value(self.name(name), self.type(self.item(argument, "TT")))
            self.define(self.item(argument, "#"), value)
            block.args.append(value)
        for op in self.array(self.item(node, "ops"), "the block's operations"):
            self.operation(op, block)
        for key in self.scope:
            del self.values[key]
        self.depth, self.scope = self.depth - 1, outer
        return block

    def operation(self, node: Any, block: Block) -> None:
        name = self.full_name(self.text(self.item(node, "#"), "an operator's name"))
        short = name.split(".", 1)[-1].rstrip("_")
        ordinal = self.count[short]
        self.count[short] += 1
        outer, self.place = self.place, f"{name} number {ordinal}"
        if name == "builtin.parameter":
            self.parameter(node, block)
        else:
            attrs = self.attributes(node)
            handle = f"{_take_scope(attrs)}{short}_{ordinal}"
            self.place = f"{name} ({handle})"
            op = Op(name, self.operands(name, node), attrs, handle=handle)
            defaults.fill(name, op.attrs, self.version)
            self.require(op)
            for region in self.array(node.get("regions", []), "the regions"):
                op.regions.append(self.region(region))
                self.place = f"{name} ({handle})"
            if name == "pd_op.fetch":
                self.fetch(op)
            self.results(op, node, f"{short}_{ordinal}")
            block.ops.append(op)
        self.place = outer

    def full_name(self, name: str) -> str:
        if name == "p":
            return "builtin.parameter"
        dialect, dot, rest = name.partition(".")
        return f"{DIALECTS.get(dialect, dialect)}.{rest}" if dot else name

    def operands(self, name: str, node: Any) -> dict[str, Value | None]:
        """Named operands; the ones that the file leaves out at the end are absent."""
        signature = defaults.signature(name)
        out: dict[str, Value | None] = {}
        for i, operand in enumerate(self.array(self.item(node, "I"), "the operands")):
            key = self.integer(self.item(operand, "%"), "an operand's id")
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

    def results(self, op: Op, node: Any, name: str) -> None:
        results = self.item(node, "O")
        results = [results] if type(results) is dict else self.array(results, "the results")
        signature = defaults.signature(op.name)
        for i, result in enumerate(results):
            op.result_names.append(signature.result(i, len(results)))
            type_ = self.type(self.item(result, "TT"))
            if op.name in _FEEDS:
                value_name = self.text(op.attrs.get("name"), "the name of an input")
            else:
                value_name = name if len(results) == 1 else f"{name}.{op.result_names[-1]}"
            value = Value(self.name(value_name), type_)
            self.define(self.item(result, "%"), value)
            op.results.append(value)
            if op.name in _FEEDS:
                self.feed(op, value)

    def define(self, key: Any, value: Value) -> None:
        key = self.integer(key, "a value's id")
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

    def parameter(self, node: Any, block: Block) -> None:
        """``p`` packs its attributes: A = [is_distributed, is_parameter, need_clip, name], OA = [persistable, …]."""
        results = self.item(node, "O")
        result = self.only([results] if type(results) is dict else results, "the results of a parameter")
        name = self.array(self.item(node, "A"), "the attributes of a parameter", 4)[3]
        flags = self.array(node.get("OA", []), "the result attributes of a parameter")
        stored = not flags or flags[0] not in (0, False)  # an RNN's dropout state is a parameter, but is not stored
        name = self.text(name, "the name of a parameter")
        type_ = self.type(self.item(result, "TT"))
        if self.depth > 1 or not isinstance(type_, TensorType) or self.name(name) != name:
            raise self.bad(f"the parameter {name!r} is not a tensor, is inside a region, or its name is taken")
        value = Value(name, type_)
        self.define(self.item(result, "%"), value)
        op = Op("builtin.parameter", {}, {"parameter_name": name, "persistable": stored}, [value], ["out"], handle=name)
        block.ops.append(op)
        self.parameters[name] = Parameter(name, type_, None)

    # ---- types and attributes ------------------------------------------------------------------------------------

    def type(self, node: Any) -> Type:
        kind = self.text(self.item(node, "#"), "a type's name").split(".", 1)[-1]
        match kind:
            case "NULL":
                return OpaqueType("none")
            case "t_vec":
                return ListType(tuple(self.type(t) for t in self.array(self.item(node, "D"), "the types of a list")))
            case "t_dtensor" | "t_dense_tensor_array":
                data = self.array(self.item(node, "D"), "a tensor type", 3)
                dtype = self.type(data[0])
                dims = check_dims(self.array(data[1], "the dims"), self.where, lenient=True)
                if not isinstance(dtype, OpaqueType):
                    raise self.bad("the element type of a tensor is not a scalar type")
                if kind == "t_dense_tensor_array":
                    return ArrayType(dtype.name, dims)
                lod = self.array(data[3], "the LoD") if len(data) > 3 else []
                return TensorType(dtype.name, dims, len(lod))
            case "t_dist_dtensor":
                return self.dense_of_dist(node)
            case _ if kind.startswith("t_") and kind[2:] in DTYPES:
                return OpaqueType(DTYPES[kind[2:]])
            case _:
                return OpaqueType(kind)

    def dense_of_dist(self, node: Any) -> Type:
        """A distributed tensor, run on one device, is the dense tensor in it."""
        data = self.array(self.item(node, "D"), "a distributed tensor type", 1)
        return self.type({"#": "0.t_dtensor", "D": data[0].get("D") if type(data[0]) is dict else data[0]})

    def attributes(self, node: Any) -> dict[str, Any]:
        attrs: dict[str, Any] = {}
        for entry in self.array(self.item(node, "A"), "the attributes"):
            name = self.text(self.item(entry, "N"), "an attribute's name")
            if name not in _IGNORED:
                attrs[name] = self.attribute(self.item(entry, "AT"))
        for key in ("OA", "QA"):
            for entry in self.array(node.get(key, []), "the result attributes"):
                name = self.text(self.item(entry, "N"), "an attribute's name")
                if name not in _IGNORED:
                    attrs.setdefault(name, self.attribute(self.item(entry, "AT")))
        return attrs

    def attribute(self, node: Any) -> Any:
        """An attribute's value in Python: numbers, strings, lists, dtype names, types."""
        kind = self.text(self.item(node, "#"), "an attribute's kind")
        short = kind.split(".", 1)[-1]
        if kind == "NULL":
            return None
        if "VD" in node:
            word = node["VD"]
            if type(word) is not str or word.upper() not in _INFINITIES:
                raise self.bad(f"a number is {word!r}")
            return _INFINITIES[word.upper()]
        if kind.startswith(("4.", "dist.")):
            return None  # how the tensor is spread over devices
        data = self.item(node, "D")
        match short:
            case "a_bool":
                if data is not True and data is not False and data not in (0, 1):
                    raise self.bad("an attribute should be true or false")
                return bool(data)
            case "a_i32" | "a_i64" | "a_index" | "a_i8" | "a_u8" | "a_i16":
                return self.integer(data, "an attribute")
            case "a_f32" | "a_f64":
                return self.real(data)
            case "a_str" | "a_tensorname":
                return self.text(data, "an attribute")
            case "a_array":
                return [self.attribute(a) for a in self.array(data, "an attribute")]
            case "a_c64" | "a_c128":
                real, imaginary = self.array(data, "a complex attribute", 2)[:2]
                return complex(self.real(real), self.real(imaginary))
            case "a_type":
                type_ = self.type(data)
                return type_.name if isinstance(type_, OpaqueType) else type_
            case "a_intarray":
                return [self.integer(d, "an element of an attribute") for d in self.array(data, "an attribute")]
            case "a_scalar":
                return self.scalar(self.array(data, "a scalar", 2))
            case "a_dtype":
                name = self.text(data, "a dtype")
                return "undefined" if name.lower().startswith(("undefined", "all_dtype")) else name
            case "a_place":
                return self.place_(self.array(data, "a place", 2))
            case "a_layout":
                return self.text(data, "a layout")
            case _:
                raise self.bad(f"an attribute of the unknown kind {kind!r}")

    def real(self, data: Any) -> float:
        if type(data) not in (int, float):
            raise self.bad("an attribute should be a number")
        try:
            return float(data)
        except OverflowError:
            raise self.bad("a number is too large") from None

    def scalar(self, data: list) -> bool | int | float | complex:
        """[dtype, value] or [dtype, real, imaginary]; 16-bit floats are stored as their bits."""
        dtype, value = self.text(data[0], "a dtype"), data[1]
        if dtype == "bool":
            return bool(self.integer(int(value) if type(value) is bool else value, "a scalar"))
        if dtype.startswith("complex"):
            return complex(self.real(value), self.real(self.array(data, "a complex scalar", 3)[2]))
        if dtype in ("float16", "bfloat16"):
            bits = self.integer(value, "a scalar")
            if not 0 <= bits < 1 << 16:
                raise self.bad("the bits of a 16-bit float are out of range")
            return struct.unpack("<e", struct.pack("<H", bits))[0] if dtype == "float16" else _bfloat16(bits)
        return self.real(value) if dtype.startswith("float") else self.integer(value, "a scalar")

    def place_(self, data: list) -> list:
        return [self.integer(data[0], "a place"), self.integer(data[1], "a device"), *(self.text(d, "a device") for d in data[2:3])]


def _bfloat16(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def _unique(name: str, taken: Counter[str]) -> str:
    """``name``, with a number behind it if it is taken; ``taken`` counts how often each name was asked for."""
    unique = name
    while taken[unique]:
        unique = f"{name}@{taken[name]}"
        taken[name] += 1
    taken[unique] += 1
    return unique


def _take_scope(attrs: dict[str, Any]) -> str:
    """The layer that made the operation, where Paddle recorded it, taken out of the attributes: ``/InvertedResidual_3/``."""
    scope = attrs.pop("struct_name", "")
    return scope if type(scope) is str else ""
