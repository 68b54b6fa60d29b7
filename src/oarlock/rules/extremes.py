"""Greatest and least of floats where a NaN wins and nothing is beyond infinity.

TVM's reducers keep or lose a NaN by its place, and give the least finite number for a row of −∞.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from tvm import ir, relax, te, tirx

from ..ops import scalar


def _infinity(dtype: Any, sign: int) -> Any:
    return tirx.const(sign * math.inf, str(dtype))


COMBINE: dict[str, Callable[[Any, Any], Any]] = {"max": scalar.maximum, "min": scalar.minimum}
REDUCE: dict[str, Any] = {
    kind: te.comm_reducer(COMBINE[kind], functools.partial(_infinity, sign=sign), name=kind) for kind, sign in (("max", -1), ("min", 1))
}


def legalise_extreme(bb: relax.BlockBuilder, call: ir.Call) -> relax.Expr:
    """relax.max and relax.min of any axes; integers have no NaN and keep TVM's."""
    kind = str(call.op.name).removeprefix("relax.")
    data, attrs = call.args[0], call.attrs
    rank = len(data.ty.shape.values)
    axes = sorted(int(a) % rank for a in attrs.axis) if attrs.axis is not None else list(range(rank))
    reducer = REDUCE[kind] if "float" in str(data.ty.dtype) else {"max": te.max, "min": te.min}[kind]
    if not axes:
        return data

    def reduction(x: te.Tensor) -> te.Tensor:
        over = {a: te.reduce_axis((0, x.shape[a]), name="r") for a in axes}
        shape = [1 if a in over else x.shape[a] for a in range(rank) if attrs.keepdims or a not in over]

        def element(*index: Any) -> Any:
            kept = iter(i for a, i in enumerate(index) if not attrs.keepdims or a not in over)
            return reducer(x(*[over[a] if a in over else next(kept) for a in range(rank)]), axis=list(over.values()))

        return te.compute(shape, element, name=kind)

    return bb.call_te(reduction, data, primfunc_name_hint=kind)
