"""What is in a model: inputs, outputs, operators with counts and support, parameters, multiply-accumulates."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from tvm import ir, relax, sym

from .compiler import plain_dim
from .importer import Hosts
from .importer.importer import import_program, is_supported
from .model.program import STRUCTURAL, Program, Value
from .ops import registry
from .runtime import dtypes


def inspect(program: Program, hosts: Hosts | None = None) -> dict[str, Any]:
    """A JSON-able summary of a Program; nothing is compiled.  ``hosts``: who runs operators that have no converter."""
    hosts = hosts or Hosts()
    first = {op.name: op for op in reversed(list(program.walk()))}
    operators = []
    for name, count in sorted(program.op_counts().items(), key=lambda item: (-item[1], item[0])):
        if name in STRUCTURAL:
            continue
        supported, runner = is_supported(name), hosts.runner(first[name])
        facts: dict[str, Any] = {"name": name, "count": count, "supported": supported or bool(runner)}
        if runner and (not supported or hosts.replaces(first[name])):
            facts["host"] = runner
        operators.append(facts)
    stored = [p for p in program.parameters.values() if p.data is not None]
    return {
        "source": {k: v for k, v in program.source.items() if isinstance(v, str | int | float | bool)},
        "inputs": [_describe(v.name, v) for v in program.inputs],
        "outputs": [_describe(name, v) for name, v in program.outputs.items()],
        "operators": operators,
        "supported": all(o["supported"] for o in operators),
        "parameters": {
            "count": len(stored),
            "elements": sum(p.data.size for p in stored if p.data is not None),
            "bytes": sum(p.data.nbytes for p in stored if p.data is not None),
            "dtypes": sorted({p.type.dtype for p in stored}),
        },
    }


def _describe(name: str, value: Value) -> dict[str, Any]:
    dtype, shape = getattr(value.type, "dtype", str(value.type)), getattr(value.type, "shape", None)
    return {"name": name, "dtype": dtype, "shape": None if shape is None else list(shape)}


def host_calls(hosts: Hosts) -> list[dict[str, Any]]:
    """The host calls of a model that was imported with ``hosts``, and the bytes that cross in each.

    ``bytes_in``, ``bytes_out``: an int, an expression where dims stay symbolic, None where only a run tells.
    """
    return [
        {
            "name": entry["name"],
            "operator": entry["operator"],
            "host": hosts.title(entry),
            "where": entry["handle"],
            "bytes_in": _bytes(entry["crossing"]["in"]),
            "bytes_out": _bytes(entry["crossing"]["out"]),
        }
        for entry in hosts.entries.values()
    ]


def _bytes(tensors: Sequence[Mapping[str, Any]]) -> int | str | None:
    """The bytes of tensors whose dims are ints, text of an expression, or None where nothing is known."""
    total, terms = 0, []
    for tensor in tensors:
        size, factors = dtypes.numpy_dtype(tensor["dtype"]).itemsize, []
        for d in tensor["shape"]:
            if d is None:
                return None
            if isinstance(d, int):
                size *= d
            else:
                text = str(plain_dim(ast.parse(d, mode="eval").body))
                factors.append(text if text.isidentifier() else f"({text})")
        if factors:
            terms.append("*".join([str(size), *factors]))
        else:
            total += size
    return " + ".join([*terms, *([str(total)] if total else [])]) if terms else total


def count_macs(program: Program, shapes: Mapping[str, Sequence[int | str | None]], hosts: Hosts | None = None) -> int | str:
    """Multiply-accumulates of the convolutions and matrix products, for one run; an expression where dims stay symbolic.

    Raises UnsupportedOperators when the model cannot be imported.
    """
    module = import_program(program, shapes, hosts=hosts)
    total: Any = 0

    def visit(node: Any) -> None:
        nonlocal total
        if isinstance(node, relax.Call) and isinstance(node.op, ir.Op):
            name = str(node.op.name)
            if name.startswith("relax.nn.conv"):
                total = total + _conv_macs(node)
            elif name == "relax.matmul":
                total = total + _product(node.ty.shape.values) * node.args[0].ty.shape.values[-1]

    for function in module.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    if isinstance(total, int):
        return total
    return plain_dim(ast.parse(str(sym.Analyzer().simplify(total)), mode="eval").body)


def _conv_macs(node: Any) -> Any:
    data, weight = (a.ty.shape.values for a in node.args[:2])
    # each element of one side meets one kernel slice: of the output, or of the input when the convolution is transposed
    sites = data if "transpose" in str(node.op.name) else node.ty.shape.values
    return _product(sites) * _product(weight[1:])


def _product(dims: Any) -> Any:
    total: Any = 1
    for d in dims:
        total = total * (int(d) if hasattr(d, "value") else d)
    return total


def supported_operators() -> list[dict[str, Any]]:
    """Every registered operator: its PIR name, the legacy names that are normalised to it, its first docstring line."""
    from .model.legacy import legacy_names

    legacy = {name.split(".", 1)[-1].rstrip("_"): names for name, names in legacy_names().items()}
    return [
        {"pir": f"pd_op.{name}", "legacy": sorted(legacy.get(name.rstrip("_"), [])), "doc": spec.doc, "user": spec.user}
        for name, spec in registry.registered().items()
    ]
