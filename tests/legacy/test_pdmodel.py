"""The wire reader: every attribute type, declarations, and damaged files."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from legacy_proto import Double, Long, block, message, model, number, op, plumbing, program, var, varint

from oarlock.errors import ModelError
from oarlock.model.pdmodel import BlockRef, VarRef, read_pdmodel

ATTRIBUTES = {
    "int": -7,
    "float": 0.5,
    "string": "NCHW",
    "ints": [1, -2, 3],
    "floats": [0.25, -1.5],
    "strings": ["a", "β"],
    "boolean": True,
    "booleans": [True, False],
    "block": BlockRef(0),
    "long": Long(1 << 40),
    "longs": [Long(-1), Long(1 << 62)],
    "float64": Double(1e300),
    "float64s": [Double(1e-300), Double(2.0)],
    "var": VarRef("x"),
    "vars": [VarRef("x"), VarRef("y")],
}


def one_op(**attrs):
    return program(block(0, -1, [var("x", "float32", [-1, 3])], [op("thing", {"X": ["x", "x"]}, {"Out": "y"}, attrs)]))


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attribute(name):
    (read,) = read_pdmodel(one_op(**{name: ATTRIBUTES[name]})).blocks[0].ops
    assert read.attrs == {name: ATTRIBUTES[name]}
    assert read.inputs == {"X": ["x", "x"]} and read.outputs == {"Out": ["y"]}


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        (number(1, 1) + number(2, 1), True),
        (number(1, 2) + number(3, -5), -5),
        (number(1, 3) + b"\x21" + bytes(6) + b"\xf0\x3f", 1.0),
        (number(1, 4) + message(5, b"\x09" + bytes(6) + b"\xf0\x3f" + b"\x11" + bytes(6) + b"\x00\xc0"), 1 - 2j),
    ],
)
def test_scalars(scalar, value):
    """Attribute types SCALAR and SCALARS (17), which Paddle 2.5 added."""
    single = message(1, "s") + number(2, 16) + message(20, scalar)
    many = message(1, "m") + number(2, 17) + message(21, scalar) + message(21, scalar)
    body = message(3, "thing") + message(4, single) + message(4, many)
    (read,) = read_pdmodel(program(block(0, -1, [], [body]))).blocks[0].ops
    assert read.attrs == {"s": value, "m": [value, value]}


def test_packed_lists():
    """proto3 writers pack lists of numbers, Paddle's proto2 does not: both are read."""
    packed = message(1, "axes") + number(2, 3) + message(6, varint(1) + varint(-2))
    (read,) = read_pdmodel(program(block(0, -1, [], [message(3, "thing") + message(4, packed)]))).blocks[0].ops
    assert read.attrs == {"axes": [1, -2]}


def test_declarations_and_versions():
    versions = message(5, message(1, message(1, "roll") + message(2, number(1, 1))))
    variables = [var("w", "bfloat16", [2, -1], persistable=True), var("a", "array int64", [-1]), plumbing("feed", 9)]
    read = read_pdmodel(program(block(0, -1, variables, []), block(1, 0, [], []), version=2004002) + versions)
    assert (read.version, read.op_versions, [b.parent for b in read.blocks]) == (2004002, {"roll": 1}, [-1, 0])
    w, a, feed = read.blocks[0].vars.values()
    assert (w.kind, w.dtype, w.shape, w.persistable) == ("dense_tensor", "bfloat16", (2, -1), True)
    assert (a.kind, a.dtype, a.shape) == ("tensor_array", "int64", (-1,))
    assert feed.kind == "feed_minibatch"


def test_unknown_fields_are_skipped():
    extra = number(30, 5) + message(31, b"anything") + varint(29 << 3 | 5) + bytes(4) + varint(28 << 3 | 1) + bytes(8)
    assert read_pdmodel(one_op(a=1) + extra).blocks[0].ops[0].attrs == {"a": 1}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "no block"),
        (b"\x0a\xff\xff\xff\xff\x0f", "left"),
        (b"\x0a" + b"\xff" * 11, "ten bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x02", "number 0"),
        (b"\x0a\x80", "past its message"),
        (program(block(0, -1, [], [b""])), "no type"),
        (program(block(0, -1, [b""], [])), "no name"),
        (program(block(0, -1, [], [message(3, b"\xff\xfe")])), "not UTF-8"),
        (program(block(0, 5, [], [])), "inside block 5"),
        (program(block(0, -1, [], []), block(1, 1, [], [])), "inside block 1"),
        (program(block(0, -1, [var("x", "float32", [1 << 40, 1 << 40])], [])), "too large"),
        (program(block(0, -1, [], [message(3, "t") + message(4, message(1, "a") + number(2, 99))])), "unknown type 99"),
    ],
)
def test_damage_is_a_model_error(data, what):
    with pytest.raises(ModelError, match=what) as error:
        read_pdmodel(data, "m.pdmodel")
    assert error.value.todo and "byte" in error.value.where


def test_memory_is_bounded_by_the_file():
    """Millions of empty messages would take a hundred times the file's size."""
    tiny = message(4, message(3, "t"))
    data = program(number(1, 0) + number(2, -1) + tiny * 400_000)
    tracemalloc.start()
    with pytest.raises(ModelError, match="far more items"):
        read_pdmodel(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(data) + (64 << 20)


def test_mutated_files_end_in_model_errors():
    draw = random.Random(7)
    ops = [op("relu", {"X": "x"}, {"Out": "y"}, ATTRIBUTES) for _ in range(4)]
    good = model({"x": ("float32", [-1, 3])}, ops, ["y"], {"y": ("float32", [-1, 3])})
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(draw.choice([1, 2, 8])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            read_pdmodel(bytes(data[: draw.choice([len(data), draw.randrange(len(data))])]))
        except ModelError as error:
            assert error.what
