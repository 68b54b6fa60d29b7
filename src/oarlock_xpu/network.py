"""``python -m oarlock_xpu.network``: what the C++ API's Network.build starts.

Stdin: the number of bytes of a JSON document, a line feed, the document, and its constants' data one after another.  Stdout: the artifact.
An error is one line of JSON on stderr (what, where, todo), with exit status 3.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from oarlock.errors import InputError, OarlockError
from oarlock.model import Program, defaults
from oarlock.model.normalise import normalise
from oarlock.model.program import Block, Op, Parameter, TensorType, Value

USER_ERROR = 3


def read_network(stream: BinaryIO) -> tuple[dict[str, Any], Program]:
    """The document, and the program that it describes.  InputError when it is no network."""
    try:
        document = json.loads(stream.read(int(stream.readline(20))))
        return document, _program(document, stream.read())
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the network is damaged: {type(error).__name__}: {error}") from error


def _program(document: dict[str, Any], data: bytes) -> Program:
    ops: list[Op] = []
    values: dict[str, Value] = {}
    inputs: list[Value] = []
    parameters: dict[str, Parameter] = {}

    def made(name: str, dtype: str, shape: tuple[int, ...]) -> Value:
        if name in values:
            raise InputError(f"two values of the network are called {name!r}", todo="give inputs names of their own")
        values[name] = Value(name, TensorType(dtype, shape))
        return values[name]

    for entry in document["inputs"]:
        value = made(entry["name"], entry["dtype"], tuple(entry["shape"]))
        inputs.append(value)
        ops.append(Op("pd_op.data", {}, {"name": value.name}, [value], ["out"], handle=value.name))
    start = 0
    for entry in document["constants"]:
        shape, kind = tuple(entry["shape"]), np.dtype(entry["dtype"])
        array = np.frombuffer(data, kind, math.prod(shape), start).reshape(shape)
        start += entry["bytes"]
        value = made(entry["name"], kind.name, shape)
        assert isinstance(value.type, TensorType)
        parameters[value.name] = Parameter(value.name, value.type, array)
        ops.append(Op("builtin.parameter", {}, {"parameter_name": value.name, "persistable": True}, [value], ["out"]))
    for entry in document["ops"]:
        name = f"pd_op.{entry['op']}"
        operands = {role: values[value] for role, value in entry["operands"].items()}
        known = defaults.signature(name)
        if unknown := [role for role in operands if role not in known.operands]:
            raise InputError(
                f"{entry['op']} has no operand {', '.join(map(repr, unknown))}",
                where=entry["result"],
                todo=f"its operands: {', '.join(known.operands)}",
            )
        ordered = {role: operands[role] for role in known.operands if role in operands}
        attributes = defaults.fill(name, {**known.mutable, **entry["attributes"]})
        if missing := [key for key in known.required if key not in attributes]:
            raise InputError(f"{entry['op']} needs the attribute {', '.join(map(repr, missing))}", where=entry["result"])
        # types are hints: the importer infers its own
        dtype = next((v.type.dtype for v in ordered.values() if isinstance(v.type, TensorType)), "float32")
        names = [entry["result"], *(f"{entry['result']}.{result}" for result in known.results[1:])]
        results = [made(value, dtype, ()) for value in names]
        ops.append(Op(name, dict(ordered), attributes, results, list(known.results or ["out"]), handle=entry["result"]))
    outputs = {name: values[value] for name, value in document["outputs"]}
    if not outputs:
        raise InputError("the network has no outputs", todo="call output() for what run is to give")
    return normalise(Program(Block([], ops), inputs, outputs, parameters, {"path": "a network"}).verify())


def main() -> int:
    """Compile what stdin describes to stdout."""
    from oarlock.compiler import compile

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that anybody prints gets into the artifact
    try:
        document, program = read_network(sys.stdin.buffer)
        compile(program, document["target"], options=document["options"]).write(out)
        out.close()
    except OarlockError as error:
        sys.stderr.write("\n" + json.dumps({"what": error.what, "where": error.where, "todo": error.todo}) + "\n")
        return USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())
