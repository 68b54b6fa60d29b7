"""Read a legacy Paddle program (`.pdmodel`, `__model__`: framework.proto's ProgramDesc) into plain dataclasses.

A small protobuf wire reader: every length is checked against the bytes that are left, integers are at most ten bytes, nesting is
as deep as the schema and no deeper, and the memory that the result takes is bounded by the size of the file.  Unknown fields are
skipped, so that files of other Paddle versions read as far as they mean the same.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError
from .limits import DAMAGED, check_dims

DTYPES = {
    0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64", 20: "uint8", 21: "int8",
    22: "bfloat16", 23: "complex64", 24: "complex128", 29: "pstring", 32: "float8_e4m3fn", 33: "float8_e5m2",
}  # fmt: skip
"""VarType.Type → dtype name (the codes that are element types; legacy attributes hold the same codes)."""

KINDS = {
    7: "dense_tensor", 8: "selected_rows", 9: "feed_minibatch", 10: "fetch_list", 11: "step_scopes", 12: "lod_rank_table",
    13: "tensor_array", 14: "place_list", 15: "reader", 17: "raw", 18: "tuple", 25: "string", 26: "strings", 27: "vocab",
    28: "feed_list", 30: "sparse_coo", 31: "sparse_csr",
}  # fmt: skip
"""VarType.Type → kind of variable (the codes that are containers)."""


@dataclass(frozen=True, slots=True)
class BlockRef:
    """An attribute that names another block of the program."""

    index: int


@dataclass(frozen=True, slots=True)
class VarRef:
    """An attribute that names a variable."""

    name: str


@dataclass(eq=False, slots=True)
class VarDesc:
    """A variable: ``kind`` is one of KINDS' values; dtype and shape are those of its (element) tensor, −1 is an unknown dim."""

    name: str = ""
    kind: str = "dense_tensor"
    dtype: str = ""
    shape: tuple[int, ...] = ()
    lod_level: int = 0
    persistable: bool = False
    is_parameter: bool = False


@dataclass(eq=False, slots=True)
class OpDesc:
    """An operation: slots of variable names in and out, and attributes.  ``offset`` is its place in the file."""

    type: str = ""
    inputs: dict[str, list[str]] = field(default_factory=dict)
    outputs: dict[str, list[str]] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    offset: int = 0


@dataclass(eq=False, slots=True)
class BlockDesc:
    idx: int = 0
    parent: int = -1
    vars: dict[str, VarDesc] = field(default_factory=dict)
    ops: list[OpDesc] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class ProgramDesc:
    """``version`` is Paddle's (2006001 for 2.6.1; 0 where the file does not say); ``op_versions`` maps operator to version."""

    blocks: list[BlockDesc]
    version: int = 0
    op_versions: dict[str, int] = field(default_factory=dict)


def read_pdmodel(buffer: bytes | memoryview, where: str = "") -> ProgramDesc:
    """Parse a ProgramDesc.  Raises ModelError with the byte offset when the file is damaged or is something else."""
    return _Reader(memoryview(buffer).cast("B"), where).program()


class _Reader:
    """Wire reader over one buffer; messages are (start, end) ranges of it.

    ``_budget`` bounds what the result may take in memory: each item parsed costs about what its Python object does, so that
    a file of millions of two-byte messages is refused instead of growing a hundredfold.
    """

    def __init__(self, data: memoryview, where: str) -> None:
        self._data = data
        self._where = where
        self._budget = (48 << 20) + 4 * len(data)
        self._names: dict[bytes, str] = {}

    def _bad(self, what: str, at: int) -> ModelError:
        place = f"byte {at} of {len(self._data)}"
        return ModelError(what, where=f"{self._where}, {place}" if self._where else place, todo=DAMAGED)

    def _spend(self, cost: int, at: int) -> None:
        self._budget -= cost
        if self._budget < 0:
            raise self._bad("the program holds far more items than a file of its size can mean", at)

    # Wire format

    def _varint(self, pos: int, end: int) -> tuple[int, int]:
        data, value, shift = self._data, 0, 0
        for at in range(pos, min(pos + 10, end)):
            byte = data[at]
            value |= (byte & 127) << shift
            if byte < 128:
                return value & 0xFFFFFFFFFFFFFFFF, at + 1
            shift += 7
        raise self._bad("a number runs past its message" if end - pos < 10 else "a number has more than ten bytes", pos)

    def _fields(self, pos: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Each field of a message: (number, wire type, value or start, end); start and end bound the payload's bytes."""
        while pos < end:
            key, start = self._varint(pos, end)
            number, wire = key >> 3, key & 7
            if number == 0:
                raise self._bad("a field has the number 0", pos)
            if wire == 0:
                value, pos = self._varint(start, end)
                yield number, wire, value, pos
                continue
            if wire == 2:
                size, start = self._varint(start, end)
            elif wire in (1, 5):
                size = 8 if wire == 1 else 4
            else:
                raise self._bad(f"a field has the wire type {wire}, which Paddle never writes", pos)
            if size > end - start:
                raise self._bad(f"a field says {size} bytes, but its message has {end - start} left", pos)
            pos = start + size
            yield number, wire, start, pos

    def _text(self, wire: int, start: int, end: int, errors: str = "strict") -> str:
        if wire != 2:
            raise self._bad(f"a text has the wire type {wire}", start)
        raw = bytes(self._data[start:end])
        known = self._names.get(raw)
        if known is None:
            self._spend(3 * len(raw) + 150, start)
            try:
                known = raw.decode("utf-8", errors)
            except UnicodeDecodeError as e:
                raise self._bad("a name is not UTF-8 text", start) from e
            if errors == "strict":
                self._names[raw] = known
        return known

    def _message(self, wire: int, start: int) -> None:
        if wire != 2:
            raise self._bad(f"a message has the wire type {wire}", start)

    def _integer(self, wire: int, value: int, end: int, bits: int = 64) -> int:
        if wire != 0:
            raise self._bad(f"an integer has the wire type {wire}", end)
        value &= (1 << bits) - 1
        return value - (1 << bits) if value >> (bits - 1) else value

    def _real(self, wire: int, start: int, end: int) -> float:
        if wire not in (1, 5):
            raise self._bad(f"a real number has the wire type {wire}", start)
        return struct.unpack("<d" if wire == 1 else "<f", self._data[start:end])[0]

    def _integers(self, into: list, wire: int, value: int, end: int, convert: Callable[[int], Any]) -> None:
        """Append one integer, or all of a packed list."""
        if wire == 0:
            self._spend(40, end)
            into.append(convert(value))
            return
        self._message(wire, value)
        while value < end:
            item, value = self._varint(value, end)
            self._spend(40, value)
            into.append(convert(item))

    def _reals(self, into: list, wire: int, start: int, end: int, code: str) -> None:
        size = struct.calcsize(code)
        if wire != 2 and wire != (1 if size == 8 else 5):
            raise self._bad(f"a list of reals has the wire type {wire}", start)
        count, rest = divmod(end - start, size)
        if rest:
            raise self._bad("a list of reals ends inside a number", start)
        self._spend(40 * count, start)
        into.extend(struct.unpack(f"<{count}{code}", self._data[start:end]))

    # Messages of framework.proto

    def program(self) -> ProgramDesc:
        out = ProgramDesc([])
        for number, wire, start, end in self._fields(0, len(self._data)):
            if number == 1:
                self._message(wire, start)
                out.blocks.append(self._block(start, end))
            elif number == 4:
                self._message(wire, start)
                out.version = self._single(start, end, 1)
            elif number == 5:
                self._message(wire, start)
                self._op_versions(out.op_versions, start, end)
        if not out.blocks:
            raise self._bad("the program has no block", 0)
        for index, block in enumerate(out.blocks):
            if block.idx != index or not -1 <= block.parent < max(index, 1) or (index and block.parent < 0):
                raise self._bad(f"block {index} says that it is block {block.idx} inside block {block.parent}", 0)
        return out

    def _single(self, start: int, end: int, wanted: int) -> int:
        """The integer field ``wanted`` of a message, 0 when it is absent."""
        result = 0
        for number, wire, value, stop in self._fields(start, end):
            if number == wanted:
                result = self._integer(wire, value, stop)
        return result

    def _op_versions(self, into: dict[str, int], start: int, end: int) -> None:
        for number, wire, s, e in self._fields(start, end):
            if number != 1:
                continue
            self._message(wire, s)
            name, version = "", 0
            for n, w, s2, e2 in self._fields(s, e):
                if n == 1:
                    name = self._text(w, s2, e2)
                elif n == 2:
                    self._message(w, s2)
                    version = self._single(s2, e2, 1)
            self._spend(100, s)
            into[name] = version

    def _block(self, start: int, end: int) -> BlockDesc:
        self._spend(400, start)
        out = BlockDesc()
        for number, wire, s, e in self._fields(start, end):
            if number == 1:
                out.idx = self._integer(wire, s, e, 32)
            elif number == 2:
                out.parent = self._integer(wire, s, e, 32)
            elif number == 3:
                self._message(wire, s)
                var = self._var(s, e)
                out.vars[var.name] = var
            elif number == 4:
                self._message(wire, s)
                out.ops.append(self._op(s, e))
        return out

    def _var(self, start: int, end: int) -> VarDesc:
        self._spend(300, start)
        out = VarDesc()
        for number, wire, s, e in self._fields(start, end):
            if number == 1:
                out.name = self._text(wire, s, e)
            elif number == 2:
                self._message(wire, s)
                self._var_type(out, s, e)
            elif number == 3:
                out.persistable = bool(self._integer(wire, s, e))
            elif number == 5:
                out.is_parameter = bool(self._integer(wire, s, e))
        if not out.name:
            raise self._bad("a variable has no name", start)
        return out

    def _var_type(self, out: VarDesc, start: int, end: int) -> None:
        for number, wire, s, e in self._fields(start, end):
            if number == 1:
                code = self._integer(wire, s, e)
                out.kind = KINDS.get(code, DTYPES.get(code, f"type {code}"))
            elif number == 2:  # selected rows: the tensor itself
                self._message(wire, s)
                self._tensor(out, s, e)
            elif number in (3, 4):  # dense tensor, tensor array: a tensor and its level of detail
                self._message(wire, s)
                for n, w, s2, e2 in self._fields(s, e):
                    if n == 1:
                        self._message(w, s2)
                        self._tensor(out, s2, e2)
                    elif n == 2:
                        out.lod_level = self._integer(w, s2, e2, 32)

    def _tensor(self, out: VarDesc, start: int, end: int) -> None:
        dims: list[int] = []
        for number, wire, s, e in self._fields(start, end):
            if number == 1:
                code = self._integer(wire, s, e)
                out.dtype = DTYPES.get(code, f"type {code}")
            elif number == 2:
                self._integers(dims, wire, s, e, _int64)
        out.shape = check_dims(dims, f"{self._where}, byte {start}")

    def _op(self, start: int, end: int) -> OpDesc:
        self._spend(500, start)
        out = OpDesc(offset=start)
        for number, wire, s, e in self._fields(start, end):
            if number in (1, 2):
                self._message(wire, s)
                slot, names = self._slot(s, e)
                (out.inputs if number == 1 else out.outputs)[slot] = names
            elif number == 3:
                out.type = self._text(wire, s, e)
            elif number == 4:
                self._message(wire, s)
                name, value = self._attr(s, e)
                out.attrs[name] = value
        if not out.type:
            raise self._bad("an operation has no type", start)
        return out

    def _slot(self, start: int, end: int) -> tuple[str, list[str]]:
        self._spend(160, start)
        slot, names = "", []
        for number, wire, s, e in self._fields(start, end):
            if number == 1:
                slot = self._text(wire, s, e)
            elif number == 2:
                self._spend(8, s)
                names.append(self._text(wire, s, e))
        return slot, names

    def _attr(self, start: int, end: int) -> tuple[str, Any]:
        """Name and value of an attribute: the declared type says which field holds it (defaults are not written)."""
        self._spend(160, start)
        name, kind = "", -1
        single: dict[int, Any] = {}
        many: list[Any] = []
        for number, wire, s, e in self._fields(start, end):
            if number == 1:
                name = self._text(wire, s, e)
            elif number == 2:
                kind = self._integer(wire, s, e)
            elif number in _LISTS:
                _LISTS[number](self, many, wire, s, e)
            elif number in _SINGLES:
                single[number] = _SINGLES[number](self, wire, s, e)
        if kind not in _KIND_FIELD:
            raise self._bad(f"the attribute {name!r} has the unknown type {kind}", start)
        holder, default = _KIND_FIELD[kind]
        return name, many if holder is None else single.get(holder, default)

    def _scalar(self, wire: int, start: int, end: int) -> bool | int | float | complex:
        self._message(wire, start)
        kind, values = 0, {2: False, 3: 0, 4: 0.0, 5: 0j}
        for number, w, s, e in self._fields(start, end):
            if number == 1:
                kind = self._integer(w, s, e)
            elif number == 2:
                values[2] = bool(self._integer(w, s, e))
            elif number == 3:
                values[3] = self._integer(w, s, e)
            elif number == 4:
                values[4] = self._real(w, s, e)
            elif number == 5:
                self._message(w, s)
                parts = {n: self._real(w2, s2, e2) for n, w2, s2, e2 in self._fields(s, e) if n in (1, 2)}
                values[5] = complex(parts.get(1, 0.0), parts.get(2, 0.0))
        if kind + 1 not in values:
            raise self._bad(f"a scalar attribute has the unknown type {kind}", start)
        return values[kind + 1]

    def _scalars(self, into: list, wire: int, start: int, end: int) -> None:
        self._spend(80, start)
        into.append(self._scalar(wire, start, end))

    def _texts(self, into: list, wire: int, start: int, end: int) -> None:
        self._spend(8, start)
        into.append(self._text(wire, start, end, "replace"))

    def _var_refs(self, into: list, wire: int, start: int, end: int) -> None:
        self._spend(64, start)
        into.append(VarRef(self._text(wire, start, end)))


def _int32(value: int) -> int:
    value &= 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _int64(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_SINGLES: dict[int, Callable[[_Reader, int, int, int], Any]] = {
    3: lambda r, w, s, e: r._integer(w, s, e, 32),
    4: _Reader._real,
    5: lambda r, w, s, e: r._text(w, s, e, "replace"),
    10: lambda r, w, s, e: bool(r._integer(w, s, e)),
    12: lambda r, w, s, e: BlockRef(r._integer(w, s, e, 32)),
    13: _Reader._integer,
    17: lambda r, w, s, e: VarRef(r._text(w, s, e)),
    19: _Reader._real,
    20: _Reader._scalar,
}
"""Field of OpDesc.Attr → reader of its one value."""

_LISTS: dict[int, Callable[[_Reader, list, int, int, int], None]] = {
    6: lambda r, into, w, s, e: r._integers(into, w, s, e, _int32),
    7: lambda r, into, w, s, e: r._reals(into, w, s, e, "f"),
    8: _Reader._texts,
    11: lambda r, into, w, s, e: r._integers(into, w, s, e, bool),
    14: lambda r, into, w, s, e: r._integers(into, w, s, e, lambda v: BlockRef(_int32(v))),
    15: lambda r, into, w, s, e: r._integers(into, w, s, e, _int64),
    16: lambda r, into, w, s, e: r._reals(into, w, s, e, "d"),
    18: _Reader._var_refs,
    21: _Reader._scalars,
}
"""Field of OpDesc.Attr → reader that appends to a list."""

_KIND_FIELD: dict[int, tuple[int | None, Any]] = {
    0: (3, 0), 1: (4, 0.0), 2: (5, ""), 3: (None, ()), 4: (None, ()), 5: (None, ()), 6: (10, False), 7: (None, ()),
    8: (12, BlockRef(-1)), 9: (13, 0), 10: (None, ()), 11: (None, ()), 12: (None, ()), 13: (17, VarRef("")), 14: (None, ()),
    15: (19, 0.0), 16: (20, 0), 17: (None, ()),
}  # fmt: skip
"""AttrType → the field that holds its value (None: one of the lists) and what an unwritten one means."""
