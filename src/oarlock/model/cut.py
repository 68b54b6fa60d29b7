"""Programs cut out of programs: one operation alone, or what lies between some values."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..errors import UnsupportedError
from .defaults import LATEST_VERSION
from .normalise import captures
from .program import Block, ListType, Op, Program, TensorType, Type, Value

CONSTANT = ("builtin.parameter", "pd_op.full", "pd_op.full_int_array", "pd_op.assign_value", "pd_op.assign_value_")


def isolate(op: Op) -> Program:
    """A program of one operation: its inputs are the operation's operands, by their names (``x``, ``x_0``, ``x_1`` for a list's
    elements), its outputs the results (``out``; ``out_0``, … for a list's)."""
    block, inputs = Block(), []
    operands: dict[str, Value | None] = {}

    def feed(name: str, type_: Type) -> Value:
        value = Value(name, type_)
        block.ops.append(_feed(value))
        inputs.append(value)
        return value

    for name, value in op.operands.items():
        if value is None or not isinstance(value.type, ListType):
            operands[name] = None if value is None else feed(name, value.type)
            continue
        parts = {f"operand_{i}": feed(f"{name}_{i}", type_) for i, type_ in enumerate(value.type.elements)}
        operands[name] = combined = Value(f"{name}_list", value.type)
        block.ops.append(Op("builtin.combine", dict(parts), {}, [combined], ["out"], handle=name))
    results = [
        Value(name if name not in operands else f"{name}_result", v.type) for name, v in zip(op.result_names, op.results, strict=True)
    ]
    block.ops.append(Op(op.name, operands, dict(op.attrs), results, list(op.result_names), list(op.regions), op.handle, dict(op.kinds)))
    outputs: dict[str, Value] = {}
    for name, result in zip(op.result_names, results, strict=True):
        if isinstance(result.type, ListType):
            parts_ = [Value(f"{name}_{i}", type_) for i, type_ in enumerate(result.type.elements)]
            names = [f"result_{i}" for i in range(len(parts_))]
            block.ops.append(Op("builtin.split", {"x": result}, {}, parts_, names, handle=name))
            outputs |= {p.name: p for p in parts_}
        elif isinstance(result.type, TensorType):
            outputs[name] = result
    return Program(block, inputs, outputs, {}, {"format": "pir", "version": LATEST_VERSION}).verify()


def extract(program: Program, outputs: Mapping[str, Value], inputs: Collection[Value] = ()) -> Program:
    """The program that computes ``outputs`` (name → value) from ``inputs``, values of the top block that are cut there, and from the
    whole program's own inputs and parameters where they are needed.  Operations and values are the program's own, but of an operation
    whose results are an input and what is needed: it stands there as a copy, whose result nobody reads in the input's place.

    UnsupportedError when an input is no tensor.
    """
    cut = set(inputs)
    needed: set[Value] = set(outputs.values())
    kept: list[Op] = []
    for op in reversed(program.block.ops):
        results = [v for v in op.results if v not in cut]
        # what writes nothing that is needed is left out; an input of the whole program that is cut comes in anew
        if not any(v in needed for v in results):
            continue
        kept.append(op if len(results) == len(op.results) else _without(op, cut))
        needed.update(v for v in op.operands.values() if v is not None)
        for region in op.regions:
            needed.update(captures(region))
    feeds = [_feed(v) for v in inputs if v in needed]
    made = {op.results[0] for op in kept if op.name in ("pd_op.data", "pd_op.feed")}
    fed = [v for v in program.inputs if v in made] + [op.results[0] for op in feeds]
    parameters = {op.results[0].name: program.parameters[op.results[0].name] for op in kept if op.name == "builtin.parameter"}
    source = {"format": "pir", "version": LATEST_VERSION}
    return Program(Block([], [*feeds, *reversed(kept)]), fed, dict(outputs), parameters, source).verify()


def loop_body(program: Program, op: Op) -> Program:
    """One turn of ``op``, a ``pd_op.while`` of the top block, as a program: what comes in are the values that the loop carries and those
    that its region takes from outside, by their names; what comes out is ``again``, whether there is another turn, and ``carried_0``, ….

    UnsupportedError when one of them is no tensor.
    """
    (region,) = op.regions
    *body, last = region.ops
    outside = [v for v in captures(region) if v not in region.args]
    makers = {v: o for o in program.block.ops for v in o.results}
    constants = {v: makers[v] for v in outside if v in makers and makers[v].name in CONSTANT}
    fed = [v for v in [*region.args, *outside] if v not in constants]
    again, *carried = last.operands.values()
    outputs = {"again": again} | {f"carried_{i}": value for i, value in enumerate(carried)}
    parameters = {o.results[0].name: program.parameters[o.results[0].name] for o in constants.values() if o.name == "builtin.parameter"}
    ops = [*dict.fromkeys(constants.values()), *map(_feed, fed), *body]
    kept = {name: value for name, value in outputs.items() if value is not None}
    return Program(Block([], ops), fed, kept, parameters, {"format": "pir", "version": LATEST_VERSION}).verify()


def _without(op: Op, cut: Collection[Value]) -> Op:
    """The operation with other values in place of the results that are cut."""
    results = [Value(f"{v.name}_before", v.type) if v in cut else v for v in op.results]
    return Op(op.name, dict(op.operands), dict(op.attrs), results, list(op.result_names), list(op.regions), op.handle, dict(op.kinds))


def _feed(value: Value) -> Op:
    if not isinstance(value.type, TensorType):
        raise UnsupportedError(f"the value {value.name!r} is a {value.type}, not a tensor, so a program cannot begin with it")
    attrs = {"name": value.name, "shape": list(value.type.shape), "dtype": value.type.dtype}
    return Op("pd_op.data", {}, attrs, [value], ["out"], handle=value.name)
