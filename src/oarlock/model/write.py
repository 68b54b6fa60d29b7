"""Write a Program as Paddle's own files: PIR ``.json`` (schema version 4, of Paddle 3.3) and combined ``.pdiparams``.

The inverse of pir.py and params.py: what is written, Paddle loads and runs, and ``load_model`` reads as the same program.  A file
states what kind of number each attribute is (``a_i32``, ``a_i64``, …), which a Program does not keep: signatures.json says it
for Paddle's operators, ``Op.kinds`` for those that were read and have no signature.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from . import defaults, pir_decode
from .params import DTYPES
from .program import ArrayType, Block, ListType, Op, OpaqueType, Parameter, Program, TensorType, Type, Value

_DIALECTS = {name: number for number, name in pir_decode.DIALECTS.items()}
_TYPES = {"uint8": "ui8"} | {name: short for short, name in reversed(pir_decode.DTYPES.items()) if short not in ("u8", "ui8", "index")}
_CODES = {name: code for code, name in DTYPES.items()}
# Operators whose normalised form has another name than what writes in place in Paddle
_IN_PLACE = {"pd_op.array_write": "pd_op.array_write_"}
# Attributes of operators that have no entry of their own in signatures.json
_KINDS = {
    "pd_op.fetch": {"name": "str", "col": "i32"},
    "pd_op.create_array": {"dtype": "dtype"},
    "pd_op.create_array_like": {"val": "f32"},
    "pd_op.array_to_tensor": {"axis": "i32", "use_stack": "bool"},
    "pd_op.array_pop": {"index": "i32"},
    "pd_op.increment": {"value": "f32"},
    "pd_op.increment_": {"value": "f32"},
    "pd_op.assert": {"summarize": "i64"},
    "pd_op.memcpy_d2h_multi_io": {"dst_place_type": "i32"},
    "pd_op.fused_gemm_epilogue": {"trans_x": "bool", "trans_y": "bool", "activation": "str"},
    "builtin.slice": {"index": "i32"},
}
_PLACE, _CPU = [0, 0, ""], [1, 0, ""]  # of no device in particular; of the CPU


def write_pir(program: Program) -> bytes:
    """The program as the contents of a PIR ``.json`` file; its parameters' data are ``write_params``.

    UnsupportedError for what PIR files cannot say: operators of legacy files that have no PIR form, values of unknown types.
    """
    block = _Writer().program(program)
    root = {
        "base_code": {"magic": "pir", "trainable": True, "version": defaults.LATEST_VERSION},
        "program": {"regions": [{"#": "region_0", "blocks": [block]}]},
    }
    return json.dumps(root, separators=(",", ":"), allow_nan=False).encode()


def write_params(parameters: Mapping[str, Parameter]) -> Iterator[bytes | memoryview]:
    """The contents of the combined ``.pdiparams`` file, in pieces: the tensors that are stored, in order of their names."""
    for _, parameter in sorted(parameters.items()):
        if parameter.data is not None:
            data = np.ascontiguousarray(parameter.data)  # which makes a 0-D array one of one dim
            yield _header(parameter.type.dtype, parameter.data.shape)
            yield data.reshape(-1).view(np.uint8).data if data.size else b""


def save_model(program: Program, stem: str | Path) -> Path:
    """Write ``stem``.json, and ``stem``.pdiparams where parameters are stored → the path of the former."""
    stem, text = Path(stem), write_pir(program)
    path = stem.with_name(f"{stem.name}.json")
    if any(p.data is not None for p in program.parameters.values()):
        _replace(stem.with_name(f"{stem.name}.pdiparams"), write_params(program.parameters))
    _replace(path, [text])
    return path


def _replace(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a file in one step: the program's own weights may be views of the one that is there."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


class _Writer:
    """Which number each value goes by."""

    def __init__(self) -> None:
        self.ids: dict[Value, int] = {}
        self.next, self.next_argument, self.regions = 1, -1, 1

    def program(self, program: Program) -> dict[str, Any]:
        parameters = [op for op in program.block.ops if op.name == "builtin.parameter"]
        others = [op for op in program.block.ops if op.name not in ("builtin.parameter", "pd_op.fetch")]
        ops = [self.parameter(op, program) for op in parameters]
        for op in others:
            ops += self.operations(op)
        for column, (name, value) in enumerate(program.outputs.items()):
            fetched = Value(name, value.type)
            fetch = Op("pd_op.fetch", {"x": value}, {"name": name, "col": column}, [fetched], ["out"], handle=name)
            ops.append(self.operation(fetch, fetch.operands, persistable=True))
        return {"#": "block_0", "args": [], "ops": ops}

    def parameter(self, op: Op, program: Program) -> dict[str, Any]:
        (value,) = op.results
        parameter = program.parameters[value.name]
        stored = int(op.attrs.get("persistable", True) is not False)
        return {"#": "p", "A": [0, 1, 1, parameter.name], "DA": [], "O": self.result(value), "OA": [stored, 1, 0], "QA": []}

    def operations(self, op: Op) -> list[dict[str, Any]]:
        """An operation, after those that make constants of sizes, axes and numbers that it has as attributes: programs from legacy files
        do, and in PIR they are operands."""
        names = defaults.signature(_IN_PLACE.get(op.name, op.name)).operands
        if not set(op.operands) <= set(names):
            return [self.operation(op, op.operands)]
        before, operands = [], {}
        mutable = defaults.signature(op.name).mutable
        for name in names:
            operands[name] = value = op.operands.get(name)
            number = op.attrs.get(name, mutable.get(name))
            if value is None and number is not None:
                constant = _constant(f"{op.handle}.{name}", number)
                before.append(self.operation(constant, {}))
                operands[name] = constant.results[0]
        return [*before, self.operation(op, operands)]

    def operation(self, op: Op, operands: Mapping[str, Value | None], persistable: bool = False) -> dict[str, Any]:
        name = _IN_PLACE.get(op.name, op.name)
        dialect, _, short = name.partition(".")
        if dialect not in _DIALECTS:
            raise UnsupportedError(f"{op.name} has no form in PIR", where=op.handle)
        kinds = {**_kinds(name), **op.kinds}
        out: dict[str, Any] = {"#": f"{_DIALECTS[dialect]}.{short}", "A": [], "I": []}
        attrs = dict(op.attrs)
        if name == "pd_op.data" and isinstance(type_ := op.results[0].type, TensorType):
            attrs = {"name": op.results[0].name, "shape": list(type_.shape), "dtype": type_.dtype, "place": None} | attrs
        for key, value in defaults.fill(name, attrs).items():
            if not key.startswith("__") and key not in operands:
                out["A"].append({"N": key, "AT": _attribute(value, kinds.get(key), f"{op.name}: {key}")})
        if "/" in op.handle:  # the layer that made it: what the reader makes handles of
            out["A"].append({"N": "struct_name", "AT": _attribute(op.handle.rpartition("/")[0] + "/", "str", op.handle)})
        out["I"] = [{"%": 0 if v is None else self.ids[v]} for v in operands.values()]
        regions = [self.region(region) for region in op.regions]  # before results: they are not seen inside
        out["O"] = [self.result(v) for v in op.results]
        missing = len(defaults.signature(name).results) - len(op.results)
        out["O"] += [{"%": 0, "TT": {"#": "NULL"}}] * missing  # what legacy operations leave out
        flags = ["persistable"] * persistable + ["stop_gradient"] * bool(op.results)
        out["OA"] = [{"N": flag, "AT": _attribute([True] * len(op.results), "bool[]", op.name)} for flag in flags]
        if regions:
            out["regions"] = regions
        return out

    def region(self, block: Block) -> dict[str, Any]:
        number = self.regions
        self.regions += 1
        arguments = []
        for value in block.args:
            self.ids[value] = self.next_argument
            arguments.append({"#": self.next_argument, "TT": _type(value.type, value.name)})
            self.next_argument -= 1
        ops = [written for op in block.ops for written in self.operations(op)]
        return {"#": f"region_{number}", "blocks": [{"#": f"block_{number}", "args": arguments, "ops": ops}]}

    def result(self, value: Value) -> dict[str, Any]:
        if value.type == OpaqueType("none"):
            return {"%": 0, "TT": {"#": "NULL"}}
        self.ids[value] = self.next
        self.next += 1
        return {"%": self.ids[value], "TT": _type(value.type, value.name)}


def _constant(name: str, value: Any) -> Op:
    """The operation that makes a tensor of a list of sizes, or of one number."""
    if isinstance(value, list | tuple):
        result, attrs = Value(name, TensorType("int64", (len(value),))), {"value": list(value), "dtype": "int64", "place": list(_CPU)}
        return Op("pd_op.full_int_array", {}, attrs, [result], ["out"], handle=name)
    dtype = "float32" if isinstance(value, float) else {"bool": "bool", "i32": "int32"}.get(_kind_of(value, name), "int64")
    result = Value(name, TensorType(dtype, (1,)))
    return Op("pd_op.full", {}, {"shape": [1], "value": value, "dtype": dtype, "place": list(_CPU)}, [result], ["out"], handle=name)


def _type(type_: Type, where: str) -> dict[str, Any]:
    match type_:
        case TensorType():
            return {"#": "0.t_dtensor", "D": [_element(type_.dtype, where), list(type_.shape), "NCHW", [[]] * type_.lod_level, 0]}
        case ListType():
            return {"#": "0.t_vec", "D": [_type(t, where) for t in type_.elements]}
        case ArrayType():
            return {"#": "1.t_dense_tensor_array", "D": [_element(type_.dtype, where), list(type_.shape), "NCHW"]}
        case OpaqueType("none"):
            return {"#": "NULL"}
    raise UnsupportedError(f"a value of the type {type_} cannot be written", where=where)


def _element(dtype: str, where: str) -> dict[str, str]:
    if dtype not in _TYPES:
        raise UnsupportedError(f"the element type {dtype!r} cannot be written", where=where)
    return {"#": f"0.t_{_TYPES[dtype]}"}


def _kinds(name: str) -> Mapping[str, str]:
    return _KINDS.get(name) or defaults.signature(name).kinds or defaults.signature(f"{name}_").kinds


def _attribute(value: Any, kind: str | None, where: str) -> dict[str, Any]:
    """An attribute as the file has it; ``kind`` None: by what Python makes of it."""
    match kind or _kind_of(value, where):
        case "place":
            return {"#": "1.a_place", "D": list(value) if value else list(_PLACE)}
        case "dtype":
            return {"#": "1.a_dtype", "D": "Undefined(ALL_DTYPE)" if value in (None, "undefined") else value}
        case "layout":
            return {"#": "1.a_layout", "D": value}
        case "intarray":
            return {"#": "1.a_intarray", "D": [int(v) for v in (value if isinstance(value, list | tuple) else [value])]}
        case "scalar":
            return _attribute(value, _kind_of(value, where), where)
        case "none":
            return {"#": "NULL"}
        case "type":
            return {"#": "0.a_type", "D": _type(value, where)}
        case "c128" | "c64" as complex_:
            return {"#": f"0.a_{complex_}", "D": [value.real, value.imag]}
        case "f32" | "f64" as real:
            return _real(float(value), f"0.a_{real}")
        case "bool":
            return {"#": "0.a_bool", "D": bool(value)}
        case "str":
            return {"#": "0.a_str", "D": "" if value is None else str(value)}
        case element if element.endswith("[]"):
            one = None if element == "[]" else element[:-2]
            elements = value if isinstance(value, list | tuple) else [] if value is None else [value]
            return {"#": "0.a_array", "D": [_attribute(v, one, where) for v in elements]}
        case integer:
            return {"#": f"0.a_{integer}", "D": int(value)}


def _kind_of(value: Any, where: str) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "bool"
        case int():
            return "i32" if -(1 << 31) <= value < 1 << 31 else "i64"
        case float():
            return "f64"
        case complex():
            return "c128"
        case str():
            return "str"
        case list() | tuple():
            return "[]"
        case TensorType() | ListType() | ArrayType():
            return "type"
    raise UnsupportedError(f"an attribute of the type {type(value).__name__} cannot be written", where=where)


def _real(value: float, kind: str) -> dict[str, Any]:
    if math.isfinite(value):
        return {"#": kind, "D": value}
    # Paddle 3.3 writes no "D" here and "NaN" as the word, and cannot read that: so it can
    return {"#": kind, "D": 0.0, "VD": "NAN" if math.isnan(value) else "INF" if value > 0 else "-INF"}


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What stands before a tensor's values: versions, no LoD, and a TensorDesc (field 1 the dtype, field 2 the dims)."""
    description = b"\x08" + _varint(_CODES[dtype]) + b"".join(b"\x10" + _varint(d) for d in shape)
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
