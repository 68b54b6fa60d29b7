"""The parts of a PIR file that mean the same wherever they stand: attributes, types, and operations of ids not yet resolved.

An operation is decoded while the JSON is parsed, so that only one at a time exists as JSON objects, which are large.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError
from .defaults import UNKNOWN, signature
from .limits import DAMAGED, check_dims, check_int64, check_text
from .program import ArrayType, ListType, OpaqueType, TensorType, Type

DIALECTS = {"0": "builtin", "1": "pd_op", "2": "cf", "3": "custom_op", "4": "dist"}

DTYPES = {
    "bool": "bool", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "ui8": "uint8", "ui16": "uint16",
    "ui32": "uint32", "ui64": "uint64", "u8": "uint8", "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
    "f8e4m3fn": "float8_e4m3fn", "f8e5m2": "float8_e5m2", "c64": "complex64", "c128": "complex128", "index": "int64",
}  # fmt: skip

_INFINITIES = {"INF": float("inf"), "-INF": float("-inf"), "NAN": float("nan")}
# Attributes that say something about training or distribution, not about what is computed.
_IGNORED = frozenset(["stop_gradient", "persistable", "trainable", "op_dist_attr", "op_role", "chunk_id"])


@dataclass(slots=True)
class RawOp:
    """One operation; values are ids, 0 being an absent one.  ``scope`` is the layer that made it: ``/Residual_3/``.

    ``kinds``: of an operator without a signature, how the file stores the attributes.
    """

    name: str
    attrs: dict[str, Any] = field(default_factory=dict)
    operands: tuple[int, ...] = ()
    results: tuple[tuple[int, Type], ...] = ()
    regions: tuple[Any, ...] = ()
    scope: str = ""
    kinds: dict[str, str] = field(default_factory=dict)


class Nodes:
    """Checked access to JSON objects; ``place`` says in errors where in the file we are."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.place = "the header"

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


class Decoder(Nodes):
    """Turns the JSON objects of operations into RawOps: ``hook`` is an object hook of the JSON parser."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.types: dict[Type, Type] = {}

    def hook(self, node: dict[str, Any]) -> Any:
        if "O" in node and "A" in node and "#" in node:
            return self.operation(node)
        return node

    def operation(self, node: dict[str, Any]) -> RawOp:
        name = self.text(node["#"], "an operator's name")
        self.place = name
        results = [node["O"]] if type(node["O"]) is dict else self.array(node["O"], "the results")
        op = RawOp(
            "",
            results=tuple((self.integer(self.item(r, "%"), "a value's id"), self.shared(self.item(r, "TT"))) for r in results),
            regions=tuple(self.array(node.get("regions", []), "the regions")),
        )
        if name == "p":
            op.name, op.attrs = "builtin.parameter", self.parameter(node)
            return op
        dialect, dot, rest = name.partition(".")
        op.name = self.place = f"{DIALECTS.get(dialect, dialect)}.{rest}" if dot else name
        op.operands = tuple(self.integer(self.item(i, "%"), "an operand's id") for i in self.array(self.item(node, "I"), "the operands"))
        op.attrs = self.attributes(node)
        if signature(op.name) is UNKNOWN:
            op.kinds = {entry["N"]: kind for entry in node["A"] if entry["N"] in op.attrs and (kind := _kind(entry["AT"]))}
        scope = op.attrs.pop("struct_name", "")
        op.scope = scope if type(scope) is str else ""
        return op

    def parameter(self, node: dict[str, Any]) -> dict[str, Any]:
        """``p`` packs its attributes: A = [is_distributed, is_parameter, need_clip, name], OA = [persistable, …]."""
        name = self.text(self.array(node["A"], "the attributes of a parameter", 4)[3], "the name of a parameter")
        flags = self.array(node.get("OA", []), "the result attributes of a parameter")
        # An RNN's dropout state is a parameter, but is not stored.
        return {"parameter_name": name, "persistable": not flags or flags[0] not in (0, False)}

    def shared(self, node: Any) -> Type:
        """The type, one object for all equal ones."""
        type_ = self.type(node)
        return self.types.setdefault(type_, type_)

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


def _kind(node: dict[str, Any]) -> str:
    """How a file stores an attribute, as signatures.json names it; "" for an empty list, of which the file does not tell."""
    short = node["#"].split(".", 1)[-1].removeprefix("a_")
    if short != "array":
        return "none" if short == "NULL" else short
    kinds = {_kind(element) for element in node["D"]}
    return f"{kinds.pop()}[]" if len(kinds) == 1 else ""


def _bfloat16(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]
