"""Tiny models written by hand, byte by byte, so that the readers' tests need no Paddle.

The PIR model multiplies its input by a weight in a loop, collects the products in a tensor array, and branches on a flag;
the legacy model is one matrix product and a relu.
"""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

# ---- PIR -------------------------------------------------------------------------------------------------------------


def tensor_type(dtype: str, *dims: int) -> dict[str, Any]:
    return {"#": "0.t_dtensor", "D": [{"#": f"0.t_{dtype}"}, list(dims), "NCHW", [], 0]}


ARRAY = {"#": "1.t_dense_tensor_array", "D": [{"#": "0.t_f32"}, [-1, 3], "NCHW"]}


def attr(name: str, kind: str, data: Any) -> dict[str, Any]:
    return {"N": name, "AT": {"#": kind, "D": data}}


def op(
    name: str, operands: list[int], results: list[tuple[int, dict]], attrs: list[dict] | None = None, regions: list | None = None
) -> dict:
    node = {"#": name, "A": attrs or [], "I": [{"%": i} for i in operands], "O": [{"%": i, "TT": t} for i, t in results], "OA": []}
    if regions:
        node["regions"] = [region(*r) for r in regions]
    return node


def region(ops: list[dict], args: list[tuple[int, dict]] | None = None) -> dict:
    return {"#": "region", "blocks": [{"#": "block", "args": [{"#": i, "TT": t} for i, t in args or []], "ops": ops}]}


def parameter(name: str, key: int, type_: dict, stored: int = 1) -> dict:
    return {"#": "p", "A": [0, 1, 1, name], "DA": [], "O": {"%": key, "TT": type_}, "OA": [stored, 1, 0], "QA": []}


def data(name: str, key: int, type_: dict, dtype: str) -> dict:
    dims = type_["D"][1]
    attrs = [attr("name", "0.a_str", name), attr("shape", "1.a_intarray", dims), attr("dtype", "1.a_dtype", dtype)]
    return op("1.data", [], [(key, type_)], [*attrs, attr("place", "1.a_place", [0, 0, ""])])


def fetch(name: str, operand: int, key: int, col: int, type_: dict) -> dict:
    return op("1.fetch", [operand], [(key, type_)], [attr("name", "0.a_str", name), attr("col", "0.a_i32", col)])


def full(key: int, value: float, kind: str = "f32", dtype: str = "float32") -> dict:
    attrs = [attr("shape", "1.a_intarray", []), attr("value", "0.a_f64", value), attr("dtype", "1.a_dtype", dtype)]
    return op("1.full", [], [(key, tensor_type(kind))], [*attrs, attr("place", "1.a_place", [1, 0, ""])])


def pir(ops: list[dict], version: int = 4) -> dict[str, Any]:
    return {"base_code": {"magic": "pir", "version": version, "trainable": True}, "program": {"regions": [region(ops)]}}


def pir_bytes(root: Any) -> bytes:
    return json.dumps(root, separators=(",", ":")).encode()


def loop_model() -> dict[str, Any]:
    """x[?,3], flag → a stack of products with the weight ``w``, and x or its negative."""
    scalar, row, truth = tensor_type("i64"), tensor_type("f32", -1, 3), tensor_type("bool")
    body = [
        op("1.matmul", [3, 2], [(10, row)], [attr("transpose_x", "0.a_bool", False), attr("transpose_y", "0.a_bool", False)]),
        op("1.array_length", [6], [(11, tensor_type("i64", 1))]),
        op("1.array_write_", [6, 10, 11], [(12, ARRAY)]),
        op("1.increment_", [-1], [(13, scalar)], [attr("value", "0.a_f32", 1.0)]),
        op("1.less_than", [13, 7], [(14, truth)]),
        op("2.yield", [14, 13], []),
    ]
    negative = [full(20, -1.0), op("1.scale", [3, 20], [(21, row)], [attr("bias", "0.a_f32", 0.5)]), op("2.yield", [21], [])]
    same = [op("1.assign", [3], [(22, row)]), op("2.yield", [22], [])]
    return pir(
        [
            parameter("state", 1, tensor_type("f32", 2), stored=0),
            parameter("w", 2, tensor_type("f32", 3, 3)),
            data("x", 3, row, "float32"),
            data("flag", 4, truth, "bool"),
            full(5, 0.0, "i64", "int64"),
            op("1.create_array", [], [(6, ARRAY)], [attr("dtype", "1.a_dtype", "float32")]),
            full(7, 3.0, "i64", "int64"),
            op("1.less_than", [5, 7], [(8, truth)]),
            op("1.while", [8, 5], [(9, scalar)], regions=[(body, [(-1, scalar)])]),
            op("1.array_to_tensor", [6], [(15, row), (16, tensor_type("i32", -1))], [attr("use_stack", "0.a_bool", False)]),
            op("1.if", [4], [(23, row)], regions=[(same,), (negative,)]),
            {**full(24, 0.0), "A": [attr("shape", "1.a_intarray", []), {"N": "value", "AT": {"#": "0.a_f64", "VD": "-INF"}}]},
            fetch("branch", 23, 31, 1, row),
            fetch("stack", 15, 30, 0, row),
        ]
    )


# ---- weights ---------------------------------------------------------------------------------------------------------

CODES = {"float32": 5, "int64": 3, "int8": 21, "float16": 4, "bfloat16": 22, "complex64": 23, "bool": 0}


def tensor_bytes(array: np.ndarray, lod: list[bytes] | None = None) -> bytes:
    """One tensor as Paddle's SerializeToStream writes it."""
    description = field(1, CODES[array.dtype.name]) + b"".join(field(2, d) for d in array.shape)
    levels = struct.pack("<Q", len(lod or [])) + b"".join(struct.pack("<Q", len(x)) + x for x in lod or [])
    return struct.pack("<I", 0) + levels + struct.pack("<Ii", 0, len(description)) + description + array.tobytes()


WEIGHT = np.arange(9, dtype=np.float32).reshape(3, 3)

# ---- legacy ----------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    """A protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def legacy_var(name: str, dims: list[int], *, persistable: bool = False) -> bytes:
    tensor = field(1, 5) + b"".join(field(2, d) for d in dims)
    return field(1, name) + field(2, field(1, 7) + field(3, field(1, tensor))) + field(3, int(persistable))


def legacy_op(kind: str, inputs: dict[str, str], outputs: dict[str, str], attrs: dict[str, int] | None = None) -> bytes:
    slots = b"".join(field(1, field(1, k) + field(2, v)) for k, v in inputs.items())
    slots += b"".join(field(2, field(1, k) + field(2, v)) for k, v in outputs.items())
    return slots + field(3, kind) + b"".join(field(4, field(1, k) + field(2, 0) + field(3, v)) for k, v in (attrs or {}).items())


def legacy_model(weight: str = "w") -> bytes:
    """x[?,3] → relu(x · w)."""
    plumbing = [field(1, n) + field(2, field(1, k)) + field(3, 1) for n, k in (("feed", 9), ("fetch", 10))]
    variables = [*plumbing, legacy_var("x", [-1, 3]), legacy_var(weight, [3, 3], persistable=True)]
    variables += [legacy_var("product", [-1, 3]), legacy_var("out", [-1, 3])]
    ops = [
        legacy_op("feed", {"X": "feed"}, {"Out": "x"}, {"col": 0}),
        legacy_op("matmul_v2", {"X": "x", "Y": weight}, {"Out": "product"}),
        legacy_op("relu", {"X": "product"}, {"Out": "out"}),
        legacy_op("fetch", {"X": "out"}, {"Out": "fetch"}, {"col": 0}),
    ]
    block = field(1, 0) + field(2, -1) + b"".join(field(3, v) for v in variables) + b"".join(field(4, o) for o in ops)
    return field(1, block) + field(4, field(1, 2006002))
