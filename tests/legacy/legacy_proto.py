"""Writes legacy programs (framework.proto) for the tests: the wire format from the other side."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from oarlock.model.pdmodel import BlockRef, VarRef

CODES = {"bool": 0, "int16": 1, "int32": 2, "int64": 3, "float16": 4, "float32": 5, "float64": 6, "uint8": 20, "int8": 21, "bfloat16": 22}
ARRAY = "array"


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, body: bytes | str) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return varint(field << 3 | 2) + varint(len(body)) + body


def float32(field: int, value: float) -> bytes:
    return varint(field << 3 | 5) + struct.pack("<f", value)


def float64(field: int, value: float) -> bytes:
    return varint(field << 3 | 1) + struct.pack("<d", value)


class Long(int):
    """An attribute of type LONG rather than INT."""


class Double(float):
    """An attribute of type FLOAT64 rather than FLOAT."""


def attribute(name: str, value: Any) -> bytes:
    """The attribute type follows from the Python type; lists of int are LONGS when an item needs 64 bits or is a Long."""
    match value:
        case bool():
            kind, body = 6, number(10, value)
        case Long():
            kind, body = 9, number(13, value)
        case int():
            kind, body = 0, number(3, value)
        case Double():
            kind, body = 15, float64(19, value)
        case float():
            kind, body = 1, float32(4, value)
        case str():
            kind, body = 2, message(5, value)
        case BlockRef():
            kind, body = 8, number(12, value.index)
        case VarRef():
            kind, body = 13, message(17, value.name)
        case [VarRef(), *_]:
            kind, body = 14, b"".join(message(18, v.name) for v in value)
        case [bool(), *_]:
            kind, body = 7, b"".join(number(11, v) for v in value)
        case [Long(), *_]:
            kind, body = 11, b"".join(number(15, v) for v in value)
        case [int(), *_] | []:
            kind, body = 3, b"".join(number(6, v) for v in value)
        case [Double(), *_]:
            kind, body = 12, b"".join(float64(16, v) for v in value)
        case [float(), *_]:
            kind, body = 4, b"".join(float32(7, v) for v in value)
        case [str(), *_]:
            kind, body = 5, b"".join(message(8, v) for v in value)
        case _:
            raise TypeError(value)
    return message(1, name) + number(2, kind) + body


def slot(name: str, arguments: str | Sequence[str]) -> bytes:
    arguments = [arguments] if isinstance(arguments, str) else arguments
    return message(1, name) + b"".join(message(2, a) for a in arguments)


def op(type_: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any], attrs: Mapping[str, Any] | None = None) -> bytes:
    return (
        b"".join(message(1, slot(k, v)) for k, v in inputs.items())
        + b"".join(message(2, slot(k, v)) for k, v in outputs.items())
        + message(3, type_)
        + b"".join(message(4, attribute(k, v)) for k, v in (attrs or {}).items())
    )


def var(name: str, dtype: str, shape: Sequence[int], persistable: bool = False) -> bytes:
    """A dense tensor, or with the dtype "array float32" a tensor array."""
    kind = dtype.split()
    tensor = number(1, CODES[kind[-1]]) + b"".join(number(2, d) for d in shape)
    type_ = number(1, 13 if kind[0] == ARRAY else 7) + message(4 if kind[0] == ARRAY else 3, message(1, tensor))
    return message(1, name) + message(2, type_) + number(3, persistable)


def plumbing(name: str, code: int) -> bytes:
    return message(1, name) + message(2, number(1, code)) + number(3, True)


def block(index: int, parent: int, variables: Sequence[bytes], ops: Sequence[bytes]) -> bytes:
    return number(1, index) + number(2, parent) + b"".join(message(3, v) for v in variables) + b"".join(message(4, o) for o in ops)


def program(*blocks: bytes, version: int = 2006002) -> bytes:
    return b"".join(message(1, b) for b in blocks) + message(4, number(1, version))


Tensors = Mapping[str, tuple[str, Sequence[int]]]


def model(
    inputs: Tensors,
    ops: Sequence[bytes],
    outputs: Sequence[str],
    inner: Tensors | None = None,
    parameters: Tensors | None = None,
    blocks: Sequence[bytes] = (),
) -> bytes:
    """A program that feeds ``inputs`` and fetches ``outputs``; ``inner`` declares the other variables of the first block."""
    variables = [plumbing("feed", 9), plumbing("fetch", 10)]
    variables += [var(name, *kind) for group in (inputs, inner or {}) for name, kind in group.items()]
    variables += [var(name, *kind, persistable=True) for name, kind in (parameters or {}).items()]
    feeds = [op("feed", {"X": "feed"}, {"Out": name}, {"col": i}) for i, name in enumerate(inputs)]
    fetches = [op("fetch", {"X": name}, {"Out": "fetch"}, {"col": i}) for i, name in enumerate(outputs)]
    return program(block(0, -1, variables, [*feeds, *ops, *fetches]), *blocks)
