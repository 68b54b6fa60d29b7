"""Legacy programs → Program: variables become SSA values, operators become PIR operators.

Legacy variables are mutable names, and sub-blocks write into the variables of the blocks around them.  Here each write makes a
new value; what a loop or a branch writes comes out as results of ``pd_op.while`` and ``pd_op.if``, with regions that end in
``cf.yield`` as in PIR.  Tensor arrays are values too: ``pd_op.array_write`` returns the new array.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from .legacy_ops import Call, NoRule, handle_of, numbered, rules
from .limits import DAMAGED
from .pdmodel import BlockDesc, BlockRef, OpDesc, ProgramDesc, VarDesc, VarRef, read_pdmodel
from .program import ArrayType, Block, Op, OpaqueType, Parameter, Program, TensorType, Type, Value

_PLUMBING = frozenset(["feed_minibatch", "fetch_list", "feed_list", "step_scopes", "reader", "raw", "place_list", "lod_rank_table"])
_MAX_NESTING = 64
_BRANCHES = frozenset(["conditional_block", "conditional_block_infer"])
_HARMLESS = frozenset(["logical_not", "cast", "fill_constant", "assign_value", "select_input"])
_STATISTICS = {"batch_norm": ("MeanOut", "VarianceOut"), "sync_batch_norm": ("MeanOut", "VarianceOut")}


def read_program(buffer: bytes | memoryview, where: str = "") -> Program:
    """A Program from the bytes of a `.pdmodel` or `__model__` file; its parameters have no data yet.

    Raises ModelError when the file is damaged.  An operator without a rule becomes ``legacy.<name>`` with its slots and
    attributes as they are, for the importer to report.
    """
    desc = read_pdmodel(buffer, where)
    return _Converter(desc, where).program()


def legacy_names() -> dict[str, list[str]]:
    """PIR operator name → the legacy operators that become it."""
    out: dict[str, list[str]] = {"if": sorted(_BRANCHES), "while": ["while"], "data": ["feed"], "fetch": ["fetch"]}
    for name, rule in sorted(rules().items()):
        for pir in rule.makes:
            out.setdefault(pir, []).append(name)
    return out


def var_type(var: VarDesc | None) -> Type:
    """The type that the file declares for a variable."""
    if var is None:
        return OpaqueType("undeclared")
    if var.kind == "dense_tensor":
        return TensorType(var.dtype, var.shape, var.lod_level)
    if var.kind == "tensor_array":
        return ArrayType(var.dtype, var.shape)
    return OpaqueType(var.kind)


@dataclass(eq=False, slots=True)
class _Inside:
    """How often a block, with the ones inside it, reads each variable; the outer variables that it writes, in order."""

    reads: Counter[str]
    writes: dict[str, None]


@dataclass(eq=False, slots=True)
class _Pair:
    """Two conditional blocks on a condition and on its opposite, which are one if; ``selects``: output → (false, true) variable."""

    condition: str
    true: OpDesc
    false: OpDesc | None
    selects: dict[str, tuple[str, str]]


class _Scope:
    """One block on its way.  ``env`` maps the variables that it has written to their present values; others are outside."""

    def __init__(self, converter: _Converter, desc: BlockDesc, outer: _Scope | None) -> None:
        self.converter, self.desc, self.outer = converter, desc, outer
        self.block = Block()
        self.env: dict[str, Value] = {}
        self._undo: list[tuple[str, Value | None]] = []

    def find(self, name: str) -> Value | None:
        """The present value of a variable, None before it is written."""
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.env:
                return scope.env[name]
            scope = scope.outer
        return None

    def lookup(self, name: str) -> Value:
        """The value of a variable; one that nothing has written is an empty array, or stands as ``legacy.undefined``."""
        value = self.find(name)
        if value is None:
            value = self._undefined(name)
            self.define(name, value)
        return value

    def _undefined(self, name: str) -> Value:
        kind = self.declared(name)
        value = Value(self.fresh(name), kind)
        if isinstance(kind, ArrayType):
            self.append(Op("pd_op.create_array", {}, {"dtype": kind.dtype}, [value], ["out"], handle=name))
        else:
            self.append(Op("legacy.undefined", {}, {"variable": name}, [value], ["out"], handle=name))
        return value

    def define(self, name: str, value: Value) -> None:
        self._undo.append((name, self.env.get(name)))
        self.env[name] = value

    def attempt(self, convert: Callable[[], None]) -> None:
        """Run ``convert``; if it raises, what it appended and defined is taken back."""
        length = len(self.block.ops)
        self._undo.clear()
        try:
            convert()
        except BaseException:
            del self.block.ops[length:]
            for name, old in reversed(self._undo):
                if old is None:
                    del self.env[name]
                else:
                    self.env[name] = old
            raise

    def declared(self, name: str) -> Type:
        return var_type(self.converter.var(self.desc, name))

    def fresh(self, name: str) -> str:
        return self.converter.fresh(name)

    def append(self, op: Op) -> None:
        self.block.ops.append(op)


class _Converter:
    def __init__(self, desc: ProgramDesc, where: str) -> None:
        self.desc, self.where = desc, where
        self.rules = rules()
        self._names: Counter[str] = Counter()
        self._entered: set[int] = set()
        self._inside: dict[int, _Inside] = {}
        self._reads = Counter(n for b in desc.blocks for op in b.ops for n in _read_names(op))
        self.inputs: list[tuple[int, Value]] = []
        self.outputs: list[tuple[int, str, Value]] = []
        self.parameters: dict[str, Parameter] = {}

    # ---- names and declarations --------------------------------------------------------------------------------------

    def fresh(self, name: str) -> str:
        """A value name that is not taken: the variable's own the first time, then ``name@1``, …"""
        unique = name
        while self._names[unique]:
            unique = f"{name}@{self._names[name]}"
            self._names[name] += 1
        self._names[unique] += 1
        return unique

    def var(self, block: BlockDesc, name: str) -> VarDesc | None:
        """The declaration of a variable, in the block or in the ones around it."""
        while name not in block.vars and block.idx > 0:
            block = self.desc.blocks[block.parent]
        return block.vars.get(name)

    # ---- the program -------------------------------------------------------------------------------------------------

    def program(self) -> Program:
        self._check_nesting()
        scope = _Scope(self, self.desc.blocks[0], None)
        self._parameters(scope)
        self._entered.add(0)
        self._convert(scope)
        if not self.outputs:
            raise ModelError(
                "the program fetches nothing",
                where=self.where,
                todo="save it with save_inference_model or jit.save, not as a training program",
            )
        outputs: dict[str, Value] = {}
        for _, name, value in sorted(self.outputs, key=lambda o: o[0]):
            outputs[name if name not in outputs else f"{name}@{len(outputs)}"] = value
        inputs = [value for _, value in sorted(self.inputs, key=lambda i: i[0])]
        source = {"path": self.where, "format": "legacy", "version": self.desc.version}
        return Program(scope.block, inputs, outputs, self.parameters, source).verify()

    def _check_nesting(self) -> None:
        depth: list[int] = []
        for block in self.desc.blocks:
            depth.append(depth[block.parent] + 1 if block.idx else 0)
            if depth[-1] > _MAX_NESTING:
                raise ModelError(f"control flow is nested more than {_MAX_NESTING} deep", where=self.where, todo=DAMAGED)

    def _parameters(self, scope: _Scope) -> None:
        for block in self.desc.blocks:
            for var in block.vars.values():
                kind = var_type(var)
                if not var.persistable or var.kind in _PLUMBING or not isinstance(kind, TensorType) or var.name in self.parameters:
                    continue
                value = Value(self.fresh(var.name), kind)
                self.parameters[value.name] = Parameter(var.name, kind, None)
                scope.append(
                    Op("builtin.parameter", {}, {"parameter_name": var.name, "persistable": True}, [value], ["out"], handle=var.name)
                )
                scope.define(var.name, value)

    def _convert(self, scope: _Scope) -> None:
        """Convert the operations of a scope's block, in order."""
        found = _find_pairs(scope.desc)
        pairs = {index: pair for index, (pair, _) in found.items() if self._has_bodies(scope, pair)}
        replaced = {i for index in pairs for i in found[index][1]}
        for index, op in enumerate(scope.desc.ops):
            if index in pairs:
                self._if(scope, pairs[index])
            elif index not in replaced:
                self._operation(scope, op)

    def _operation(self, scope: _Scope, op: OpDesc) -> None:
        if op.type == "feed":
            self._feed(scope, op)
        elif op.type in ("fetch", "fetch_v2"):
            for name in op.inputs.get("X", ()):
                self.outputs.append((_column(op, len(self.outputs)), name, scope.lookup(name)))
        elif op.type == "while" and self._sub_block(scope, op) is not None:
            self._while(scope, op)
        elif op.type == "select_input" and len(op.inputs.get("X", ())) == 2 and op.outputs.get("Out"):
            self._select(scope, op)
        else:
            self._call(scope, op)

    def _feed(self, scope: _Scope, op: OpDesc) -> None:
        for name in op.outputs.get("Out", ()):
            kind = scope.declared(name)
            value = Value(self.fresh(name), kind)
            attrs: dict[str, Any] = {"name": name}
            if isinstance(kind, TensorType):
                attrs |= {"shape": list(kind.shape), "dtype": kind.dtype}
            scope.append(Op("pd_op.data", {}, attrs, [value], ["out"], handle=name))
            scope.define(name, value)
            self.inputs.append((_column(op, len(self.inputs)), value))

    def _call(self, scope: _Scope, op: OpDesc) -> None:
        """One operation by its rule; without one, or where the rule has no answer, as ``legacy.<name>``."""
        rule, note = self.rules.get(op.type), ""
        if rule is not None:
            convert = rule.convert
            try:
                scope.attempt(lambda: convert(Call(op, scope)))
                return
            except NoRule as reason:
                note = str(reason)
            except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError, AssertionError) as error:
                note = f"its attributes are not what Paddle writes ({type(error).__name__}: {error})"
        self._unmapped(scope, op, note)

    def _unmapped(self, scope: _Scope, op: OpDesc, note: str) -> None:
        operands: dict[str, Value | None] = {}
        for slot, names in op.inputs.items():
            for i, name in enumerate(names):
                operands[slot if len(names) == 1 else f"{slot}[{i}]"] = scope.lookup(name)
        attrs = {k: v for k, v in op.attrs.items() if not k.startswith("op_") and not isinstance(v, BlockRef | VarRef)}
        if note:
            attrs["__reason__"] = note
        results, result_names, bound = [], [], []
        for slot, names in op.outputs.items():
            for i, name in enumerate(names):
                value = Value(self.fresh(name), scope.declared(name))
                results.append(value)
                result_names.append(slot if len(names) == 1 else f"{slot}[{i}]")
                bound.append((name, value))
        scope.append(Op(f"legacy.{op.type}", operands, attrs, results, result_names, handle=handle_of(op)))
        for name, value in bound:
            scope.define(name, value)

    # ---- control flow ------------------------------------------------------------------------------------------------

    def _sub_block(self, scope: _Scope, op: OpDesc | None) -> BlockDesc | None:
        """The block of a control operation: inside the present one, each used once (so that a damaged file cannot loop)."""
        ref = op.attrs.get("sub_block") if op else None
        if not isinstance(ref, BlockRef):
            return None
        if not self._is_body(scope.desc, ref.index) or ref.index in self._entered:
            raise ModelError(
                f"the operation {op.type if op else ''} of block {scope.desc.idx} names block {ref.index} as its body",
                where=self.where,
                todo=DAMAGED,
            )
        return self.desc.blocks[ref.index]

    def _has_bodies(self, scope: _Scope, pair: _Pair) -> bool:
        return self._sub_block(scope, pair.true) is not None and (pair.false is None or self._sub_block(scope, pair.false) is not None)

    def _is_body(self, block: BlockDesc, index: int) -> bool:
        return block.idx < index < len(self.desc.blocks) and self.desc.blocks[index].parent == block.idx

    def _within(self, block: BlockDesc) -> _Inside:
        """What a block and the ones inside it read, and write of the blocks around."""
        known = self._inside.get(block.idx)
        if known is not None:
            return known
        out = self._inside[block.idx] = _Inside(Counter(), {})
        for op in block.ops:
            out.reads.update(_read_names(op))
            for slot, names in op.outputs.items():
                if slot not in _STATISTICS.get(op.type, ()):
                    out.writes.update(dict.fromkeys(names))
            ref = op.attrs.get("sub_block")
            if isinstance(ref, BlockRef) and self._is_body(block, ref.index) and ref.index not in self._inside:
                inner = self._within(self.desc.blocks[ref.index])
                out.reads.update(inner.reads)
                out.writes.update(inner.writes)
        for name in [n for n in out.writes if n in block.vars or (v := self.var(block, n)) is None or v.kind in _PLUMBING]:
            del out.writes[name]
        return out

    def _region(self, outer: _Scope, desc: BlockDesc | None, carried: Sequence[str], args: bool) -> _Scope:
        """Convert a sub-block; with ``args`` the carried variables enter as block arguments."""
        scope = _Scope(self, desc or outer.desc, outer)
        if args:
            for name in carried:
                value = Value(self.fresh(name), outer.lookup(name).type)
                scope.block.args.append(value)
                scope.define(name, value)
        if desc is not None:
            self._entered.add(desc.idx)
            self._convert(scope)
        return scope

    def _yield(self, scope: _Scope, values: Sequence[Value], handle: str) -> None:
        scope.append(Op("cf.yield", {f"operand_{i}": v for i, v in enumerate(values)}, handle=handle))

    def _while(self, scope: _Scope, op: OpDesc) -> None:
        """Condition, then every outer variable that the body writes and that a later turn or the rest of the program reads."""
        body = self._sub_block(scope, op)
        assert body is not None
        conditions = op.inputs.get("Condition") or [""]
        inside = self._within(body)
        order = dict.fromkeys([*op.outputs.get("Out", ()), *inside.writes])
        carried = [n for n in order if n in inside.writes and self._is_carried(scope, n, inside, conditions[0])]
        for name in carried:
            scope.define(name, self._value_or_zeros(scope, name))
        condition = scope.lookup(conditions[0])
        inner = self._region(scope, body, carried, args=True)
        self._yield(inner, [inner.lookup(conditions[0]), *(inner.lookup(n) for n in carried)], op.type)
        operands: dict[str, Value | None] = {"cond": condition}
        operands |= {f"operand_{i}": scope.lookup(n) for i, n in enumerate(carried, 1)}
        self._results(scope, Op("pd_op.while", operands, {}, regions=[inner.block]), carried)

    def _is_carried(self, scope: _Scope, name: str, inside: _Inside, condition: str) -> bool:
        """Whether somebody reads, after the loop or in its next turn, what the body writes."""
        after = self._reads[name] - inside.reads[name] - (name == condition)
        return after > 0 or (scope.find(name) is not None and inside.reads[name] > 0)

    def _if(self, scope: _Scope, pair: _Pair) -> None:
        """Results: what select_input picks from the two branches, and the outer variables that either of them writes."""
        blocks = [self._sub_block(scope, pair.true), self._sub_block(scope, pair.false)]
        picked = {n for pick in pair.selects.values() for n in pick}
        written = {n: None for b in blocks if b for n in self._within(b).writes}
        kept = [n for n in written if self._reads[n] and (scope.find(n) is not None or n not in picked)]
        condition = scope.lookup(pair.condition)
        regions = []
        for which, desc in zip((1, 0), blocks, strict=True):
            inner = self._region(scope, desc, (), args=False)
            chosen = [pick[which] for pick in pair.selects.values()]
            self._yield(inner, [self._value_or_zeros(inner, n) for n in (*chosen, *kept)], "if")
            regions.append(inner.block)
        self._results(scope, Op("pd_op.if", {"cond": condition}, {}, regions=regions), [*pair.selects, *kept])

    def _select(self, scope: _Scope, op: OpDesc) -> None:
        """X[1] where the mask is true, else X[0]: an if whose branches compute nothing."""
        mask = scope.lookup(_first(op.inputs, "Mask"))
        condition = Value(self.fresh(f"{mask.name}.bool"), TensorType("bool", mask.type.shape if isinstance(mask.type, TensorType) else ()))
        scope.append(Op("pd_op.cast", {"x": mask}, {"dtype": "bool"}, [condition], ["out"], handle=mask.name))
        regions = []
        for which in (1, 0):
            inner = self._region(scope, None, (), args=False)
            self._yield(inner, [inner.lookup(op.inputs["X"][which])], "if")
            regions.append(inner.block)
        self._results(scope, Op("pd_op.if", {"cond": condition}, {}, regions=regions), op.outputs["Out"][:1])

    def _value_or_zeros(self, scope: _Scope, name: str) -> Value:
        """A variable; one that is not written here (only by the other branch, or later by the loop) is zeros that nobody reads."""
        kind = scope.declared(name)
        if scope.find(name) is not None or not isinstance(kind, TensorType):
            return scope.lookup(name)
        value = Value(self.fresh(name), kind)
        attrs = {"shape": [max(d, 1) for d in kind.shape], "value": 0, "dtype": kind.dtype}
        scope.append(Op("pd_op.full", {}, attrs, [value], ["out"], handle=name))
        return value

    def _results(self, scope: _Scope, op: Op, names: Iterable[str]) -> None:
        names = list(names)
        op.results = [Value(self.fresh(n), scope.declared(n)) for n in names]
        op.result_names = numbered("result", len(names))
        op.handle = names[0] if names else op.name
        scope.append(op)
        for name, value in zip(names, op.results, strict=True):
            scope.define(name, value)


def _column(op: OpDesc, default: int) -> int:
    col = op.attrs.get("col", default)
    return col if isinstance(col, int) else default


def _read_names(op: OpDesc) -> Iterable[str]:
    """Variables that an operation itself reads: of a control operation its condition, as the others are read in its body."""
    control = {"while": "Condition", "conditional_block": "Cond", "conditional_block_infer": "Cond"}.get(op.type)
    for slot, names in op.inputs.items():
        if control is None or slot == control:
            yield from names


class _Conditions:
    """What the conditions of one block mean: a variable and whether it or its opposite, seen through logical_not and cast."""

    def __init__(self, block: BlockDesc) -> None:
        writes = Counter(n for op in block.ops for names in op.outputs.values() for n in names)
        once = [op for op in block.ops if op.type in ("logical_not", "cast") and writes[_first(op.outputs, "Out")] == 1]
        self._own = {n for n in writes if writes[n] == 1 and n in block.vars}
        self._source = {_first(op.outputs, "Out"): (_first(op.inputs, "X"), op.type == "cast") for op in once}
        self._writes = writes

    def harmless(self, op: OpDesc) -> bool:
        """Whether a branch may as well run after an operation: it only makes new variables of this block."""
        return op.type in _HARMLESS and _outputs(op) <= self._own

    def of(self, name: str) -> tuple[str, bool]:
        sign = True
        for _ in range(8):
            source, same = self._source.get(name, ("", True))
            if not source or self._writes[source] > 1:
                break
            name, sign = source, sign == same
        return name, sign


def _find_pairs(block: BlockDesc) -> dict[int, tuple[_Pair, set[int]]]:
    """Conditional blocks, with the one on the opposite condition and the select_inputs of both folded in.

    Maps the index where the ``if`` is to stand to the pair and to the indices of the operations that it replaces.
    """
    out: dict[int, tuple[_Pair, set[int]]] = {}
    ops, conditions, taken = block.ops, _Conditions(block), set[int]()
    selects: dict[str, list[int]] = {}
    for k, op in enumerate(ops):
        if op.type == "select_input" and len(op.inputs.get("X", ())) == 2:
            selects.setdefault(conditions.of(_first(op.inputs, "Mask"))[0], []).append(k)
    for index, op in enumerate(ops):
        if op.type not in _BRANCHES or index in taken:
            continue
        base, sign = conditions.of(_first(op.inputs, "Cond"))
        other = _partner(ops, index, conditions, (base, not sign))
        pair, members, place = _Pair(_first(op.inputs, "Cond"), op, ops[other] if other else None, {}), {index}, other or index
        true, false = _outputs(op), _outputs(ops[other]) if other else None
        for k in selects.get(base, ()):
            if k < index or (other is None and not _movable(ops[place + 1 : k], conditions, pair)):
                continue  # without a partner, the if stands where its last select_input stood
            pick = ops[k].inputs["X"]
            positive = conditions.of(_first(ops[k].inputs, "Mask"))[1]
            chosen = (pick[0], pick[1]) if positive == sign else (pick[1], pick[0])  # (when false, when true)
            if chosen[1] in true and (chosen[0] in false if false is not None else chosen[0] not in true):
                pair.selects[_first(ops[k].outputs, "Out")] = chosen
                members.add(k)
                place = place if other else k
        taken |= members | {other if other else index}
        out[place] = (pair, members - {place})
    return out


def _movable(between: Sequence[OpDesc], conditions: _Conditions, pair: _Pair) -> bool:
    """Whether a branch may as well run after these operations: they neither disturb it nor need its results."""
    return all(conditions.harmless(op) and pair.selects.keys().isdisjoint(_read_names(op)) for op in between)


def _partner(ops: Sequence[OpDesc], index: int, conditions: _Conditions, wanted: tuple[str, bool]) -> int | None:
    """The conditional block on the opposite condition, after nothing but the computation of that condition."""
    for j in range(index + 1, len(ops)):
        if ops[j].type in _BRANCHES:
            return j if conditions.of(_first(ops[j].inputs, "Cond")) == wanted else None
        if not conditions.harmless(ops[j]):
            return None
    return None


def _outputs(op: OpDesc) -> set[str]:
    return {n for names in op.outputs.values() for n in names}


def _first(slots: Mapping[str, list[str]], slot: str) -> str:
    return (slots.get(slot) or [""])[0]


__all__ = ["legacy_names", "read_program", "var_type"]
