"""The program by which Paddle runs one operation as a host call."""

from __future__ import annotations

from ..model.cut import isolate
from ..model.program import Op, Program, TensorType, Value
from ..model.write import write_pir
from ..runtime.host_paddle import CARRIERS


def host_program(op: Op) -> tuple[str, list[str], list[str]]:
    """The PIR file of a program of this one operation, and the names of its inputs and outputs, lists flattened.

    Element types that Paddle's predictor does not hand over come and go as others that hold the same numbers.
    """
    program = isolate(op)
    _carry(program)
    return write_pir(program).decode(), [v.name for v in program.inputs], list(program.outputs)


def _carry(program: Program) -> None:
    ops: list[Op] = []
    inner: dict[Value, Value] = {}
    for op in program.block.ops:
        op.operands = {name: inner.get(v, v) if v is not None else None for name, v in op.operands.items()}
        ops.append(op)
        if op.name != "pd_op.data" or not isinstance(type_ := op.results[0].type, TensorType) or type_.dtype not in CARRIERS:
            continue
        outer = op.results[0]
        outer.type = TensorType(CARRIERS[type_.dtype], type_.shape)
        op.attrs["dtype"] = CARRIERS[type_.dtype]
        inner[outer] = Value(f"{outer.name}_inner", type_)
        ops.append(_cast(outer, inner[outer], type_.dtype))
    for name, value in program.outputs.items():
        if isinstance(value.type, TensorType) and value.type.dtype in CARRIERS:
            outer = Value(f"{name}_outer", TensorType(CARRIERS[value.type.dtype], value.type.shape))
            ops.append(_cast(value, outer, CARRIERS[value.type.dtype]))
            program.outputs[name] = outer
    program.block.ops = ops


def _cast(x: Value, out: Value, dtype: str) -> Op:
    return Op("pd_op.cast", {"x": x}, {"dtype": dtype}, [out], ["out"], handle=x.name)
