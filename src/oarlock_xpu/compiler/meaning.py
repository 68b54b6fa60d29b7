"""What kernels that the importer made mean, read from what they compute: activations, slices, padding, lookups, places of extremes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from oarlock import compat
from oarlock.ops import scalar
from oarlock.rules.pointwise import Element, recognise

Expr = Any


@dataclass(frozen=True)
class Meaning:
    """``kind``: "act" (of x), "same", "slice", "pad", "lookup", "argmax", "resize", "check" (that sizes are equal); ``facts``: what the
    kind needs, JSON-able.

    ``elementwise``: FuseOps joins it with what stands around it.
    """

    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    elementwise: bool = True


OTHER = Meaning("other")
STATEMENTS = Meaning("other", elementwise=False)


def meaning(function: tirx.PrimFunc) -> Meaning:
    """The meaning of a kernel; OTHER for one that the library has no function for."""
    if function.attrs and compat.RESIZE in function.attrs:  # sizes of run time take too many forms to be read from what is computed
        return Meaning("resize", json.loads(str(function.attrs[compat.RESIZE])), elementwise=False)
    if (message := compat.checks_equality(function)) is not None:
        return Meaning("check", {"message": message}, elementwise=False)
    found = recognise(function)
    if found is None:
        return _extreme(function) or STATEMENTS
    shape = list(compat.tensors(function)[-1].ty.shape)
    return _pointwise(found, shape) or _moved(found) or _padded(found, shape) or _looked_up(found) or OTHER


# ---- functions of one element


def _pointwise(e: Element, shape: list[Any]) -> Meaning | None:
    loads = compat.loads(e.value)
    if not e.pointwise or not loads or any(not tvm_ffi.structural_equal(load, loads[0]) for load in loads):
        return None
    if len(loads[0].indices) != len(e.places):
        return None
    if tvm_ffi.structural_equal(e.value, loads[0]):
        # with a second input, which nothing of is read: a check of sizes that the result waits for
        whole = len(e.inputs) == 2 or all(compat.equal_dims(a, b) for a, b in zip(loads[0].source.ty.shape, shape, strict=True))
        return Meaning("same", {"of": _number_of(e, loads[0])}) if whole else None
    if len(e.inputs) != 1 or str(loads[0].ty.dtype) != "float32":
        return None
    x = tirx.Var("x", "float32")
    value = tvm_ffi.structural_map(e.value, (tvm.ir.TensorLoad, lambda _: x))
    for name, formula in _FORMULAS.items():
        if tvm_ffi.structural_equal(value, formula(x), map_free_vars=True):
            return Meaning("act", {"act": name})
    if (slope := _hard_sigmoid(value, x)) is not None:
        return Meaning("act", {"act": "hard_sigmoid", "act_alpha": slope})
    if (slope := _leaky(value, x)) is not None:
        return Meaning("act", {"act": "leaky_relu", "act_alpha": slope})
    return None


def _hard_swish(v: Expr) -> Expr:
    return v * scalar.clamp(v + scalar.num(v, 3.0), scalar.num(v, 0.0), scalar.num(v, 6.0)) / scalar.num(v, 6.0)


def _mish(v: Expr) -> Expr:
    e = tirx.exp(tirx.min(v, scalar.num(v, 20.0)))
    both = e * (e + scalar.num(v, 2.0))
    return v * (both / (both + scalar.num(v, 2.0)))


_FORMULAS = {"hard_swish": _hard_swish, "mish": _mish}


def _constant(e: Expr) -> float | None:
    return float(e.value) if isinstance(e, tirx.FloatImm) else None


def _hard_sigmoid(e: Expr, x: Expr) -> float | None:
    """The slope of min(1, max(0, x · slope + 0.5))."""
    if not (isinstance(e, tirx.Min) and _constant(e.a) == 1 and isinstance(e.b, tirx.Max) and _constant(e.b.a) == 0):
        return None
    line = e.b.b
    if not (isinstance(line, tirx.Add) and _constant(line.b) == 0.5 and isinstance(line.a, tirx.Mul) and line.a.a.same_as(x)):
        return None
    return _constant(line.a.b)


def _leaky(e: Expr, x: Expr) -> float | None:
    """The slope of 0 < x ? x : x · slope."""
    if not (isinstance(e, tirx.Select) and isinstance(e.condition, tirx.LT) and _constant(e.condition.a) == 0):
        return None
    if not (e.condition.b.same_as(x) and e.true_value.same_as(x) and isinstance(e.false_value, tirx.Mul) and e.false_value.a.same_as(x)):
        return None
    return _constant(e.false_value.b)


# ---- moves of one tensor


def _number_of(e: Element, load: Any) -> int:
    return next(i for i, p in enumerate(e.inputs) if p.same_as(load.source))


def _along(index: Expr, places: list[Any]) -> tuple[int, int, int] | None:
    """(place, factor, constant) of an index that is linear in one place, or in none (−1); None for any other one."""
    found = list(tvm.sym.detect_linear_equation(index, places))
    if not found:
        return None
    numbers = [compat.static(f) for f in found]
    if not all(isinstance(n, int) for n in numbers):
        return None
    *factors, constant = (int(n) for n in numbers if isinstance(n, int))
    used = [k for k, f in enumerate(factors) if f]
    if len(used) > 1:
        return None
    return (used[0], factors[used[0]], constant) if used else (-1, 0, constant)


def _moved(e: Element) -> Meaning | None:
    """A slice, with steps, or a repetition: begins and strides of each dim of x, and which of them each of the result goes along."""
    if not isinstance(e.value, tvm.ir.TensorLoad):
        return None
    begins, strides, dims = [], [], [-1] * len(e.places)
    for d, index in enumerate(e.value.indices):
        found = _along(index, e.places)
        if found is None or found[2] < 0:
            return None
        place, factor, constant = found
        begins.append(constant)
        strides.append(factor if place >= 0 else 1)
        if place >= 0:
            if dims[place] >= 0:
                return None
            dims[place] = d
    return Meaning("slice", {"of": _number_of(e, e.value), "begins": begins, "strides": strides, "dims": dims})


def _padded(e: Element, shape: list[Any]) -> Meaning | None:
    """A tensor with a number around it: how much is before each dim."""
    value = e.value
    if not (isinstance(value, tvm.ir.Call) and str(getattr(value.op, "name", "")).endswith("if_then_else")):
        return None
    condition, load, fill = value.args
    if not isinstance(load, tvm.ir.TensorLoad) or len(load.indices) != len(e.places) or not isinstance(fill, tirx.FloatImm | tirx.IntImm):
        return None
    before = []
    for d, index in enumerate(load.indices):
        found = _along(index, e.places)
        if found is None or found[:2] != (d, 1):
            return None
        before.append(-found[2])
    analyzer = tvm.sym.Analyzer()
    conditions = _conjuncts(condition)
    for d, (low, size, out) in enumerate(zip(before, load.source.ty.shape, shape, strict=True)):
        place = e.places[d]
        lower, upper = tirx.LE(tirx.const(low, "int64"), place), tirx.LT(place, size + low)
        for bound, needed in ((lower, low > 0), (upper, not analyzer.can_prove(size + low >= out))):
            hit = [c for c in conditions if _same_bound(c, bound, analyzer)]
            conditions = [c for c in conditions if not any(c is h for h in hit)]
            if needed and not hit:
                return None
    return None if conditions else Meaning("pad", {"of": _number_of(e, load), "before": before, "value": float(fill.value)})


def _conjuncts(e: Expr) -> list[Expr]:
    return [*_conjuncts(e.a), *_conjuncts(e.b)] if isinstance(e, tirx.And) else [e]


def _same_bound(a: Expr, b: Expr, analyzer: Any) -> bool:
    return type(a) is type(b) and bool(analyzer.can_prove_equal(a.a, b.a)) and bool(analyzer.can_prove_equal(a.b, b.b))


def _looked_up(e: Element) -> Meaning | None:
    """Slices of a tensor by indices in another one, kept inside: the axis, and the index that means zeros."""
    value, padding = e.value, None
    if isinstance(value, tirx.Select) and isinstance(value.condition, tirx.EQ) and _is_zero(value.true_value):
        padding = compat.static(value.condition.b)
        if not isinstance(padding, int):
            return None
        chosen, value = value.condition.a, value.false_value
    if not isinstance(value, tvm.ir.TensorLoad) or len(e.inputs) != 2:
        return None
    by = [(d, compat.loads(index)) for d, index in enumerate(value.indices)]
    looked = [(d, found) for d, found in by if found]
    if len(looked) != 1:
        return None
    axis, found = looked[0]
    if any(not tvm_ffi.structural_equal(f, found[0]) for f in found):
        return None
    at = found[0]
    many = len(at.indices)
    wanted = [*e.places[:axis], None, *e.places[axis + many :]]
    if len(wanted) != len(value.indices) or not all(w is None or i.same_as(w) for i, w in zip(value.indices, wanted, strict=True)):
        return None
    looked_at = e.places[axis : axis + many]
    if len(looked_at) != many or not all(i.same_as(p) for i, p in zip(at.indices, looked_at, strict=True)):
        return None
    if not _kept_inside(value.indices[axis], at, value.source.ty.shape[axis]):
        return None
    if padding is not None and not tvm_ffi.structural_equal(_bare(chosen), at):
        return None
    facts = {"table": _number_of(e, value), "ids": _number_of(e, at), "axis": axis}
    return Meaning("lookup", facts | ({"padding": padding} if padding is not None else {}))


def _is_zero(e: Expr) -> bool:
    return isinstance(e, tirx.FloatImm | tirx.IntImm) and float(e.value) == 0


def _bare(e: Expr) -> Expr:
    return e.value if isinstance(e, tirx.Cast) else e


def _kept_inside(e: Expr, at: Expr, size: Expr) -> bool:
    """max(min(at < 0 ? at + size : at, size − 1), 0), as the importer keeps indices in range."""
    if not (isinstance(e, tirx.Max) and _is_zero(e.b) and isinstance(e.a, tirx.Min) and isinstance(e.a.a, tirx.Select)):
        return False
    choice = e.a.a
    plain = tvm_ffi.structural_equal(_bare(choice.false_value), at) and isinstance(choice.condition, tirx.LT)
    analyzer = tvm.sym.Analyzer()
    return plain and tvm_ffi.structural_equal(_bare(choice.condition.a), at) and bool(analyzer.can_prove_equal(e.a.b, size - 1))


# ---- reductions


def _extreme(function: tirx.PrimFunc) -> Meaning | None:
    """Where the first extreme along an axis stands: a reduction to (place, number), which begins with (none, ±infinity)."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    try:
        blocks = [schedule.get(b) for b in schedule.get_child_blocks(schedule.get_sblock("root"))]
    except Exception:  # whatever TVM raises for a kernel without a root
        return None
    if [b.name_hint for b in blocks] != ["arg_extreme", "index"] or blocks[0].init is None:
        return None
    bounds = [s.value for s in getattr(blocks[0].init, "seq", [])]
    if len(bounds) != 2 or _constant(bounds[1]) not in (math.inf, -math.inf):
        return None
    x = compat.tensors(function)[0]
    read = next((load for load in compat.loads(blocks[0].body) if load.source.same_as(x)), None)
    reduced = [iv.var for iv in blocks[0].iter_vars if iv.iter_type == tirx.IterVar.CommReduce]
    axes = [d for d, i in enumerate(read.indices) if any(i.same_as(v) for v in reduced)] if read is not None else []
    if len(axes) != 1 or str(x.ty.dtype) != "float32":
        return None
    return Meaning("argmax", {"axis": axes[0], "smallest": int(_constant(bounds[1]) == math.inf)}, elementwise=False)
