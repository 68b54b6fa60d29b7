"""How one legacy operation becomes PIR operations: the rules' vocabulary, and the table of all rules.

A rule is one line for most operators — ``"elementwise_mod": rename("remainder")`` — because PIR operands match legacy slots by
name without case and underscores (``InScale`` is ``in_scale``); only other names are spelled out.  What needs more is a small
function on a Call.  The families are in the legacy_ops_*.py files beside this one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol

from .defaults import HAND_WRITTEN
from .pdmodel import DTYPES, OpDesc, VarRef
from .program import ArrayType, ListType, Op, OpaqueType, TensorType, Type, Value

NONE = OpaqueType("none")
UNDEFINED_DTYPE = "undefined"


class NoRule(Exception):
    """A rule met something that PIR cannot say: the operation becomes ``legacy.<name>``, for the importer to report."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Operands, results and default attributes of a PIR operator; ``mutable`` operands may stand in the attributes instead."""

    operands: tuple[str, ...]
    results: tuple[str, ...]
    mutable: frozenset[str]
    defaults: Mapping[str, Any]
    required: tuple[str, ...]


# mutable operands of the operators that Paddle declares by hand, and the names that arrays have as immutable values
_MUTABLE_BY_HAND = {"expand": ["shape"], "slice_array": ["starts", "ends"], "slice_array_dense": ["starts"]}
_BY_HAND = {"array_write": Signature(("array", "x", "i"), ("out",), frozenset(), {}, ())}

# operands and results that are lists of tensors
_LIST_OPERANDS = frozenset(
    """add_n.inputs broadcast_tensors.input collect_fpn_proposals.multi_level_rois collect_fpn_proposals.multi_level_scores
    collect_fpn_proposals.multi_level_rois_num concat.x einsum.x index_put.indices meshgrid.inputs multi_dot.x multiplex.inputs
    partial_concat.x partial_sum.x rnn.pre_state rnn.weight_list cudnn_lstm.weight_list stack.x assert.data
    bilinear_interp.size_tensor nearest_interp.size_tensor bicubic_interp.size_tensor linear_interp.size_tensor
    trilinear_interp.size_tensor fused_seqpool_cvm.x fusion_seqpool_concat.x fusion_transpose_flatten_concat.x
    fusion_repeated_fc_relu.w fusion_repeated_fc_relu.bias prior_boxes.x""".split()
)
_LIST_RESULTS = frozenset(
    """broadcast_tensors.out distribute_fpn_proposals.multi_fpn_rois distribute_fpn_proposals.multi_level_rois_num
    einsum.inner_cache einsum.xshape meshgrid.out rnn.state split.out split_with_num.out unbind.out unstack.out""".split()
)

# slots that hold a list of scalars, even when there is one
_SCALAR_LISTS = frozenset(["expand_shapes_tensor", "repeat_times_tensor", "expand_times_tensor"])


@functools.cache
def _signatures() -> dict[str, Signature]:
    raw = json.loads(resources.files(__package__).joinpath("signatures.json").read_text("utf-8"))["operators"]
    out = dict(_BY_HAND)
    for name, e in raw.items():
        mutable = frozenset(e.get("mutable", ()))
        out[_short(name)] = Signature(
            tuple(e["operands"]), tuple(e["results"]), mutable, e.get("defaults", {}), tuple(e.get("required", ()))
        )  # fmt: skip
    for name, h in HAND_WRITTEN.items():
        if not name.startswith("pd_op."):
            continue
        mutable = frozenset(_MUTABLE_BY_HAND.get(_short(name), ()))
        out[_short(name)] = Signature(h.operands, h.results, mutable, h.defaults, h.required)
    return out


def _short(name: str) -> str:
    return name.split(".", 1)[1]


def signature(name: str) -> Signature | None:
    """The signature of a PIR operator (without dialect), None when Paddle has no such operator."""
    return _signatures().get(name)


def plain(name: str) -> str:
    """A slot, operand or attribute name without case and underscores, as PIR and legacy names agree."""
    return name.replace("_", "").lower()


def numbered(stem: str, count: int) -> list[str]:
    """Names of results that have none: "out" for one, else stem_0, …"""
    return ["out"] if count == 1 else [f"{stem}_{i}" for i in range(count)]


def dtype_name(value: Any) -> Any:
    """A dtype code of a legacy attribute as a dtype name (−1 is "undefined"); anything else as it is."""
    return DTYPES.get(value, UNDEFINED_DTYPE) if isinstance(value, int) and not isinstance(value, bool) else value


class Scope(Protocol):
    """What a rule needs of the block that is being converted."""

    def lookup(self, name: str) -> Value: ...
    def define(self, name: str, value: Value) -> None: ...
    def declared(self, name: str) -> Type: ...
    def fresh(self, name: str) -> str: ...
    def append(self, op: Op) -> None: ...


def handle_of(op: OpDesc) -> str:
    """The name of an operation's main output (else of any, else of an input): what the model's author can search for."""
    slots = [op.outputs.get(slot) for slot in ("Out", "Y", "Output", "Hidden", "Loss")]
    return next((n for names in [*slots, *op.outputs.values(), *op.inputs.values()] if names for n in names), op.type)


class Call:
    """One legacy operation on its way: read its slots and attributes, emit PIR operations, bind its outputs."""

    def __init__(self, desc: OpDesc, scope: Scope) -> None:
        self.desc, self.scope = desc, scope
        self.type = desc.type
        self.handle = handle_of(desc)

    # ---- reading ---------------------------------------------------------------------------------------------------

    def has(self, slot: str) -> bool:
        return bool(self.desc.inputs.get(slot))

    def input(self, slot: str) -> Value | None:
        """The value in a slot, None when the slot is absent or empty."""
        names = self.desc.inputs.get(slot)
        return self.scope.lookup(names[0]) if names else None

    def need(self, slot: str) -> Value:
        value = self.input(slot)
        if value is None:
            raise NoRule(f"the input {slot} is missing")
        return value

    def inputs(self, slot: str) -> list[Value]:
        return [self.scope.lookup(n) for n in self.desc.inputs.get(slot, ())]

    def attr(self, name: str, default: Any = None) -> Any:
        value = self.desc.attrs.get(name, default)
        if isinstance(value, VarRef) or (isinstance(value, list) and value and isinstance(value[0], VarRef)):
            raise NoRule(f"the attribute {name} is a tensor")
        return value

    def mutable(self, name: str, default: Any = None, tensor: str = "", tensors: str = "") -> Any:
        """An argument that may be a tensor: the value from its slots, else from its attribute (plain data)."""
        if tensors and self.has(tensors):
            return self.sizes(self.inputs(tensors))
        if tensor and self.has(tensor):
            return self.input(tensor)
        return self.resolve(self.desc.attrs.get(name, default))

    def resolve(self, value: Any) -> Any:
        """An attribute's value, with references to variables looked up."""
        if isinstance(value, VarRef):
            return self.scope.lookup(value.name)
        if isinstance(value, list) and value and isinstance(value[0], VarRef):
            return self.sizes([self.scope.lookup(v.name) for v in value])
        return value

    def rank(self, value: Value) -> int:
        if not isinstance(value.type, TensorType):
            raise NoRule(f"%{value.name} is no tensor")
        return len(value.type.shape)

    def declared(self, slot: str) -> Type:
        """The type that the file declares for the first variable of an output slot."""
        names = self.desc.outputs.get(slot)
        return self.scope.declared(names[0]) if names else NONE

    def dtype_of_output(self, slot: str = "Out") -> str:
        kind = self.declared(slot)
        return kind.dtype if isinstance(kind, TensorType) else UNDEFINED_DTYPE

    # ---- emitting --------------------------------------------------------------------------------------------------

    def emit(
        self,
        name: str,
        operands: Mapping[str, Any] | None = None,
        attrs: Mapping[str, Any] | None = None,
        results: Mapping[str, str | Type] | None = None,
    ) -> Op:
        """Append ``pd_op.<name>``; sizes given as a list of tensors are a combined list, as in Paddle's own translation.

        ``operands`` may hold values, lists of values (combined) and, for mutable ones, plain data, which goes to the
        attributes; ``results`` maps a result to the output slot that it fills, or to a type for an intermediate value.
        """
        sig = signature(name)
        if sig is None:
            raise NoRule(f"Paddle has no operator {name}")
        attrs = dict(attrs or {})
        bound: dict[str, Value | None] = {}
        for operand in sig.operands:
            value = (operands or {}).get(operand)
            if isinstance(value, Value):
                bound[operand] = self.combine([value]) if f"{name}.{operand}" in _LIST_OPERANDS and _is_single(value) else value
            elif isinstance(value, list) and value and isinstance(value[0], Value):
                bound[operand] = self.combine(value)
            elif value is None or not _listed(operand, sig):
                bound[operand] = None
            else:
                attrs[operand] = value
        op = Op(f"pd_op.{name}", bound, attrs, handle=self.handle)
        after: list[Callable[[], None]] = []
        for result in sig.results:
            op.result_names.append(result)
            op.results.append(self._result(name, result, (results or {}).get(result), after))
        self.scope.append(op)
        for bind in after:
            bind()
        return op

    def value(self, name: str, operands: Mapping[str, Any], attrs: Mapping[str, Any] | None, type_: Type) -> Value:
        """Emit an operation whose first result is an intermediate value of that type."""
        sig = signature(name)
        return self.emit(name, operands, attrs, {sig.results[0]: type_} if sig else None).results[0]

    def _result(self, name: str, result: str, target: str | Type | None, after: list[Callable[[], None]]) -> Value:
        if target is None:
            return Value(self.scope.fresh(f"{self.handle}.{result}"), NONE)
        if not isinstance(target, str):
            return Value(self.scope.fresh(self.handle), target)
        names = self.desc.outputs.get(target) or []
        if not names:
            return Value(self.scope.fresh(f"{self.handle}.{result}"), NONE)
        if len(names) > 1 or f"{name}.{result}" in _LIST_RESULTS:
            whole = Value(self.scope.fresh(f"{names[0]}.list"), ListType(tuple(self.scope.declared(n) for n in names)))
            after.append(lambda: self.split(whole, names))
            return whole
        out = Value(self.scope.fresh(names[0]), self.scope.declared(names[0]))
        after.append(lambda: self.scope.define(names[0], out))
        return out

    def bind(self, slot: str, value: Value) -> None:
        """Make an existing value the content of an output variable."""
        for name in self.desc.outputs.get(slot) or ():
            self.scope.define(name, value)

    def combine(self, values: list[Value]) -> Value:
        """``builtin.combine``: a list value of the values."""
        out = Value(self.scope.fresh(f"{values[0].name}.list"), ListType(tuple(v.type for v in values)))
        operands: dict[str, Value | None] = {f"operand_{i}": v for i, v in enumerate(values)}
        self.scope.append(Op("builtin.combine", operands, {}, [out], ["out"], handle=self.handle))
        return out

    def sizes(self, values: list[Value]) -> Value:
        """A list of one-element tensors; one that the file declares with an unknown length has one element all the same."""
        return self.combine([self._one(v) for v in values])

    def _one(self, x: Value) -> Value:
        if not isinstance(x.type, TensorType) or x.type.shape in ((), (1,)):
            return x
        out = Value(self.scope.fresh(f"{x.name}.size"), TensorType(x.type.dtype, (1,)))
        self.scope.append(Op("pd_op.reshape", {"x": x, "shape": None}, {"shape": [1]}, [out], ["out"], handle=self.handle))
        return out

    def split(self, whole: Value, names: list[str]) -> None:
        """``builtin.split``: bind the elements of a list value to variables."""
        parts = [Value(self.scope.fresh(n), self.scope.declared(n)) for n in names]
        op = Op("builtin.split", {"x": whole}, {}, parts, numbered("result", len(parts)), handle=self.handle)
        self.scope.append(op)
        for name, part in zip(names, parts, strict=True):
            self.scope.define(name, part)

    def constant(self, value: float | int, dtype: str, shape: Iterable[int] = ()) -> Value:
        shape = tuple(shape)
        return self.value("full", {}, {"shape": list(shape), "value": value, "dtype": dtype}, TensorType(dtype, shape))


def _is_single(value: Value) -> bool:
    return not isinstance(value.type, ListType | ArrayType)


def _listed(operand: str, sig: Signature) -> bool:
    return operand in sig.mutable


@dataclass(frozen=True, slots=True)
class Rule:
    """``makes``: the PIR operators (the first is the operator's own counterpart); ``convert`` does it, or raises NoRule."""

    makes: tuple[str, ...]
    convert: Callable[[Call], None]


TABLE: dict[str, Rule] = {}


def legacy(*names: str, makes: str) -> Callable[[Callable[[Call], None]], Callable[[Call], None]]:
    """Register a function as the rule of legacy operators."""

    def register(function: Callable[[Call], None]) -> Callable[[Call], None]:
        for name in names:
            TABLE[name] = Rule(tuple(makes.split()), function)
        return function

    return register


def rename(pir: str, *, ignore: str = "", defaults: Mapping[str, Any] | None = None, **names: str | tuple[str, ...]) -> Rule:
    """The rule of an operator that only changes names.

    ``names`` maps a PIR operand, result or attribute to its legacy slot or attribute where they differ in more than case and
    underscores (several candidates: a tuple); ``ignore`` lists input slots that do not matter for inference; ``defaults``
    are legacy defaults of attributes, for files that do not write them.
    """
    ignored = frozenset(ignore.split())
    return Rule((pir,), lambda call: _rename(call, pir, names, ignored, defaults or {}))


def same(names: str) -> dict[str, Rule]:
    """Rules of operators whose legacy name is the PIR name."""
    return {name: rename(name) for name in names.split()}


def _rename(c: Call, pir: str, names: Mapping[str, Any], ignored: frozenset[str], defaults: Mapping[str, Any]) -> None:
    sig = signature(pir)
    if sig is None:
        raise NoRule(f"Paddle has no operator {pir}")
    slots = {plain(slot): slot for slot, args in c.desc.inputs.items() if args}
    operands: dict[str, Any] = {}
    attrs: dict[str, Any] = {}
    used: set[str] = set()
    for operand in sig.operands:
        wanted = _candidates(names.get(operand, operand))
        slot = _find_slot(wanted, slots, operand in sig.mutable)
        if slot is not None:
            used.add(slot)
            operands[operand] = _slot_value(c, slot, pir, operand, operand in sig.mutable)
        elif operand in sig.mutable:
            known, value = _attribute(c, (*wanted, operand), operand, sig, defaults)
            if known:
                operands[operand] = c.resolve(value)
    for attr in (*sig.required, *sig.defaults):
        if attr in sig.operands or attr == "place":
            continue
        known, value = _attribute(c, _candidates(names.get(attr, attr)), attr, sig, defaults)
        if known:
            if c.resolve(value) is not value:
                raise NoRule(f"the attribute {attr} is a tensor")
            attrs[attr] = dtype_name(value) if attr.endswith("dtype") else value
    left = [slot for slot in slots.values() if slot not in used and slot not in ignored and not _shadowed(slot, sig)]
    if left:
        raise NoRule(f"the inputs {', '.join(left)} have no place in pd_op.{pir}")
    filled = {plain(slot): slot for slot, args in c.desc.outputs.items() if args}
    results = {r: filled[s] for r in sig.results for s in map(plain, _candidates(names.get(r, r))) if s in filled}
    c.emit(pir, operands, attrs, results)


def _candidates(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _find_slot(wanted: tuple[str, ...], slots: Mapping[str, str], mutable: bool) -> str | None:
    for name in map(plain, wanted):
        for key in (f"{name}tensorlist", f"{name}tensor", name) if mutable else (name,):
            if key in slots:
                return slots[key]
    return None


def _shadowed(slot: str, sig: Signature) -> bool:
    """Whether a left-over slot is another way to say a mutable operand, which Paddle reads only when the first is absent."""
    base = plain(slot).removesuffix("list").removesuffix("tensor")
    return any(base == plain(m) for m in sig.mutable)


def _slot_value(c: Call, slot: str, pir: str, operand: str, mutable: bool) -> Any:
    values = c.inputs(slot)
    if mutable:
        return c.sizes(values) if len(values) > 1 or slot.endswith("List") or slot in _SCALAR_LISTS else values[0]
    if len(values) > 1 or f"{pir}.{operand}" in _LIST_OPERANDS:
        return values
    return values[0]


def _attribute(c: Call, names: Iterable[str], pir_name: str, sig: Signature, defaults: Mapping[str, Any]) -> tuple[bool, Any]:
    """(known, value) of an attribute: as the file writes it (some begin with a capital), else the legacy default, else PIR's."""
    for name in names:
        for spelt in (name, name.capitalize(), name.upper()):
            if spelt in c.desc.attrs:
                return True, c.desc.attrs[spelt]
    for table in (defaults, sig.defaults):
        if pir_name in table:
            return True, table[pir_name]
    return False, None


def rules() -> dict[str, Rule]:
    """Every rule, by legacy operator name."""
    from . import legacy_ops_math, legacy_ops_nn, legacy_ops_shape, legacy_ops_vision  # each fills TABLE on import

    for module in (legacy_ops_math, legacy_ops_nn, legacy_ops_shape, legacy_ops_vision):
        for name, rule in module.RULES.items():
            TABLE.setdefault(name, rule)
    return TABLE
