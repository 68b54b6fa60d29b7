"""Make a Program functional: operators that write into an operand become operators that return a new value.

Before::

    %a = pd_op.create_array()
    pd_op.while(cond=%c, operand_1=%i) {            # writes into %a, which it captures
      ^(%k):
      %b = pd_op.array_write_(array=%a, x=%y, i=%k)
      cf.yield(operand_0=%d, operand_1=%n)
    }
    pd_op.array_length(x=%a)

After::

    %a = pd_op.create_array()
    %r, %a.while = pd_op.while(cond=%c, operand_1=%i, operand_2=%a) {
      ^(%k, %a.carried):
      %b = pd_op.array_write(array=%a.carried, x=%y, i=%k)
      cf.yield(operand_0=%d, operand_1=%n, operand_2=%b)
    }
    pd_op.array_length(x=%a.while)

Values that a region only reads stay captured; ``captures`` lists them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..errors import ModelError, UnsupportedError
from .inline import inline_regions
from .limits import DAMAGED
from .program import Block, Op, Program, Type, Value

_RUNNING_MEAN = {"mean": "mean_out", "variance": "variance_out"}
_RUNNING_SCALE = {"in_scale": "out_scale", "scale": "out_scale", "in_accum": "out_accum", "in_state": "out_state"}

_CONTROL = ("pd_op.while", "pd_op.if")

STATISTICS: dict[str, dict[str, str]] = {
    "pd_op.batch_norm_": _RUNNING_MEAN,
    "pd_op.batch_norm_sp_": _RUNNING_MEAN,
    "pd_op.sync_batch_norm_": _RUNNING_MEAN,
    "pd_op.sync_batch_norm_sp_": _RUNNING_MEAN,
    "pd_op.fused_batch_norm_act_": _RUNNING_MEAN,
    "pd_op.fused_bn_add_activation_": _RUNNING_MEAN,
    "pd_op.dequantize_linear_": _RUNNING_SCALE,
    "pd_op.quantize_linear_": _RUNNING_SCALE,
    "pd_op.fake_quantize_dequantize_moving_average_abs_max_": _RUNNING_SCALE,
    "pd_op.fake_quantize_moving_average_abs_max_": _RUNNING_SCALE,
    "pd_op.fake_quantize_range_abs_max_": _RUNNING_SCALE,
    "pd_op.moving_average_abs_max_scale_": _RUNNING_SCALE,
}
"""Operators that write running statistics while they train: operand written → result that is its new value."""

WRITES: dict[str, dict[str, str]] = STATISTICS | {
    "pd_op.array_pop": {"input": "array_out"},
    "pd_op.assign_out_": {"output": "out"},
    "pd_op.assign_value_": {"output": "out"},
    "pd_op.cross_entropy_with_softmax_": {"input": "softmax"},
    "pd_op.fp8_gemm_blockwise_": {"input_result": "output", "pre_gelu": "pre_gelu_out", "workspace": "workspace_out"},
    "pd_op.full_": {"output": "out"},
    "pd_op.fused_multi_transformer_": {"cache_kvs": "cache_kv_outs"},
    "pd_op.random_routing_": {"topk_idx": "out"},
    "pd_op.rnn_": {"dropout_state_in": "dropout_state_out"},
    "pd_op.where_": {"x": "out"},
}
"""Operand written → result that is its new value, for the operators whose names do not tell (``_writes`` says how)."""

_FORGET = {"pd_op.assign_out_": "pd_op.assign", "pd_op.assign_value_": "pd_op.assign_value", "pd_op.full_": "pd_op.full"}
"""Operators that write all of an operand and read none of it: their functional form does not have that operand."""

_ALIASES = frozenset(["pd_op.share_data_"])
"""The result is the operand's memory under another name: nothing is written, but writing one later writes both."""


def normalise(program: Program) -> Program:
    """``program``, changed in place: no operator writes into an operand, none ends in ``_``, and fetches are outputs only.

    Regions that always run once stand in place of their operation.
    """
    program.verify()
    inline_regions(program)
    _Normaliser(program).run()
    return program.verify()


def captures(block: Block) -> list[Value]:
    """Values that a region uses, or a region inside it, but does not define, in the order of their first use."""
    found: dict[Value, None] = {}
    _collect_captures(block, set(), found)
    return list(found)


def _collect_captures(block: Block, defined: set[Value], found: dict[Value, None]) -> None:
    defined.update(block.args)
    for op in block.ops:
        for value in op.operands.values():
            if value is not None and value not in defined:
                found[value] = None
        for region in op.regions:
            _collect_captures(region, defined, found)
        defined.update(op.results)


def _writes(op: Op) -> Mapping[str, str]:
    """Which operands an operation writes into, and the results that are their new values.

    Outside the table, an operator that ends in ``_`` writes each operand ``x`` that has a result ``x_out``, and if there
    is none, its first operand, whose new value is the first result.
    """
    if op.name in WRITES:
        if op.name in STATISTICS and (op.attrs.get("is_test") or op.attrs.get("use_global_stats")):
            return {}  # the running statistics come out as they went in
        return WRITES[op.name]
    if not (op.name.startswith("pd_op.") and op.name.endswith("_")) or op.name in _ALIASES or not op.operands or not op.results:
        return {}
    named = {name: f"{name.rstrip('_')}_out" for name in op.operands if f"{name.rstrip('_')}_out" in op.result_names}
    return named or {next(iter(op.operands)): op.result_names[0]}


class _Normaliser:
    """``memory`` maps a value to the first value that stood in its memory; ``current`` maps that one to the newest."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.memory: dict[Value, Value] = {}
        self.owner: dict[Value, int] = {}
        self.written: dict[int, dict[Value, None]] = {}
        self.current: dict[Value, Value] = {}
        self.trail: list[tuple[Value, Value | None]] = []
        self.named: Counter[str] = Counter()
        self.fetched: dict[str, Value] = {}

    def run(self) -> None:
        self._find_writes(self.program.block, [])
        self._block(self.program.block)
        program = self.program
        program.block.ops = [op for op in program.block.ops if op.name != "pd_op.fetch"]
        for name, value in program.outputs.items():
            program.outputs[name] = self.fetched.get(name) or self._newest(value)

    # ---- which memory each region writes into --------------------------------------------------------------------

    def _find_writes(self, block: Block, outer: list[int]) -> None:
        """Fill ``memory``, and ``written``: for each region the memory from outside that it writes into."""
        stack = [*outer, id(block)]
        self.written[id(block)] = {}
        for value in block.args:
            self._own(value, block)
        for op in block.ops:
            for region in op.regions:
                self._find_writes(region, stack)
            if op.name in _ALIASES and op.results and (source := op.operands.get("x")) is not None:
                self.memory[op.results[0]] = self.memory[source]
            for operand, result in _writes(op).items():
                target = op.operands.get(operand)
                if target is None or result not in op.result_names:
                    continue
                memory = self.memory[op.result(result)] = self.memory[target]
                for region_id in reversed(stack):
                    if region_id == self.owner[memory]:
                        break
                    self.written[region_id][memory] = None
            for value in op.results:
                if value not in self.memory:
                    self._own(value, block)

    def _own(self, value: Value, block: Block) -> None:
        self.memory[value] = value
        self.owner[value] = id(block)

    # ---- rewriting -----------------------------------------------------------------------------------------------

    def _write(self, memory: Value, value: Value) -> None:
        self.trail.append((memory, self.current.get(memory)))
        self.current[memory] = value

    def _name(self, memory: Value, suffix: str) -> str:
        """A new name for a value in ``memory``: ``array_0.while``, then ``array_0.while@1``, …"""
        name = f"{memory.name}.{suffix}"
        self.named[name] += 1
        return name if self.named[name] == 1 else f"{name}@{self.named[name] - 1}"

    def _undo(self, length: int) -> None:
        """Forget the writes since the trail had this length: what a region writes is not seen behind it."""
        while len(self.trail) > length:
            memory, value = self.trail.pop()
            if value is None:
                del self.current[memory]
            else:
                self.current[memory] = value

    def _newest(self, value: Value) -> Value:
        memory = self.memory.get(value, value)
        return self.current.get(memory, value)

    def _block(self, block: Block) -> None:
        for op in block.ops:
            for name, value in op.operands.items():
                if value is not None:
                    op.operands[name] = self._newest(value)
            if op.name == "pd_op.fetch":
                self.fetched[op.attrs["name"]] = next(iter(op.operands.values()))  # type: ignore[assignment]
            if op.regions or op.name in _CONTROL:
                self._regions(op)
            else:
                self._functional(op)

    def _functional(self, op: Op) -> None:
        for operand, result in _writes(op).items():
            target = op.operands.get(operand)
            if target is not None and result in op.result_names:
                self._write(self.memory[target], op.result(result))
        if op.name in _FORGET:
            op.operands.pop("output", None)
            op.name = _FORGET[op.name]
        elif op.name.startswith("pd_op.") and op.name.endswith("_"):
            op.name = op.name.rstrip("_")

    def _regions(self, op: Op) -> None:
        """Rewrite the regions of ``op``; memory of outside that they write into becomes operands and results."""
        _check_regions(op)
        written = list(dict.fromkeys(memory for region in op.regions for memory in self.written[id(region)]))
        if written and op.name not in _CONTROL:
            raise UnsupportedError(
                f"a region of {op.name} writes into %{written[0].name}, which is defined outside of it",
                where=op.handle,
                todo="rewrite the model so that the value is returned instead",
            )
        before = [self._newest(memory) for memory in written]
        length = len(self.trail)
        for region in op.regions:
            if op.name == "pd_op.while":
                self._carry(op, written, before)
            self._block(region)
            if written:
                self._yield(region, [self.current.get(m, b) for m, b in zip(written, before, strict=True)], op)
            self._undo(length)
        for i, (memory, value) in enumerate(zip(written, before, strict=True)):
            after = Value(self._name(memory, op.short_name), self._type_after(op, i - len(written), value))
            op.results.append(after)
            op.result_names.append(f"result_{len(op.results) - 1}")
            self.memory[after] = memory
            self._write(memory, after)

    def _carry(self, op: Op, written: Iterable[Value], before: Iterable[Value]) -> None:
        """Pass the memory into the loop: an operand and a block argument each."""
        for memory, value in zip(written, before, strict=True):
            op.operands[f"operand_{len(op.operands)}"] = value
            argument = Value(self._name(memory, "carried"), value.type)
            op.regions[0].args.append(argument)
            self.memory[argument] = memory
            self._write(memory, argument)

    def _yield(self, region: Block, values: Iterable[Value], op: Op) -> None:
        if not region.ops or region.ops[-1].name != "cf.yield":
            region.ops.append(Op("cf.yield", handle=op.handle))
        last = region.ops[-1]
        for value in values:
            last.operands[f"operand_{len(last.operands)}"] = value

    def _type_after(self, op: Op, index: int, value: Value) -> Type:
        """The type that every region yields, or that of the value before when they differ."""
        types = {list(region.ops[-1].operands.values())[index].type for region in op.regions}  # type: ignore[union-attr]
        return types.pop() if len(types) == 1 else value.type


def _check_regions(op: Op) -> None:
    """The numbers of operands, arguments, yielded values and results of a loop or a branch must agree."""
    if op.name not in _CONTROL:
        return
    loop = op.name == "pd_op.while"
    counts = [len(op.operands) - 1, len(op.results)] if loop else [len(op.results)]
    for region in op.regions:
        last = region.ops[-1] if region.ops else None
        yielded = list(last.operands.values()) if last is not None and last.name == "cf.yield" else []
        if loop:
            counts += [len(region.args), len(yielded) - 1]
        else:
            counts.append(len(yielded))
        if None in yielded or (region.args and not loop):
            raise ModelError("a region yields an absent value, or a branch has arguments", where=op.handle, todo=DAMAGED)
    if len(op.regions) != (1 if loop else 2) or len(set(counts)) != 1 or None in op.operands.values():
        raise ModelError(
            f"the {len(op.regions)} region(s) of {op.name} do not fit its {len(op.operands)} operands and {len(op.results)} results",
            where=op.handle,
            todo=DAMAGED,
        )
