"""Which operation of the model a variable of the Relax module comes from, told by its name.

The importer names what it binds for operation 12 of the program (in the order of Program.walk) ``conv2d_op12_``, and its result 0
``conv2d_op12_r0_``; the block builder adds a number where a name is taken.  TVM's passes keep the names of bindings.  Rules of ours that
bind in place of a binding name what they bind after it: ``Origins.emit``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import tvm
from tvm import relax

from .. import compat
from .rewriting import substituted

_NAME = re.compile(r"(.*_op(\d+)_(?:r(\d+)_)?)(g?\d+)?")
_RESULT = re.compile(r"_r\d+_$")
Groups = dict[tuple[str, str], list[int]]  # name of a function, of a variable that a group makes in it → operations of what the group binds


def name_of(operator: str, number: int) -> str:
    """The name for what operation ``number``, an ``operator``, binds."""
    return f"{operator}_op{number}_"


def name_results(function: relax.Function, results: Mapping[relax.Var, int]) -> relax.Function:
    """``function`` with variables that are results of operations named so; ``results``: the number of each among the operation's."""
    new = {var: type(var)(f"{stem(var.name)}r{i}_", var.ty) for var, i in results.items() if stem(var.name)}
    return with_variables(function, new)


def stem(name: str) -> str:
    """The name that a variable of this name was made with; "" when it comes from no operation."""
    found = _NAME.fullmatch(name)
    return found[1] if found else ""


def operator_of(name: str) -> str:
    """The operator that a variable of this name comes from; "" when there is none."""
    found = _NAME.fullmatch(name)
    return found[1][: found.start(2) - len("_op")] if found else ""


def number(name: str) -> int | None:
    """The operation that a variable of this name comes from."""
    found = _NAME.fullmatch(name)
    return int(found[2]) if found else None


def result(name: str) -> tuple[int, int] | None:
    """The operation, and the number of its result, that a variable of this name holds, perhaps in another layout or type."""
    found = _NAME.fullmatch(name)
    return (int(found[2]), int(found[3])) if found and found[3] else None


@contextmanager
def standing_for(binder: Any, value: relax.Expr) -> Iterator[None]:
    """What ``binder`` (with an ``origin``) binds inside is ``value`` in another way, and named after it."""
    outer, binder.origin = binder.origin, stem(value.name) if isinstance(value, relax.Var) else ""
    yield
    binder.origin = outer


class Origins:
    """For mutators: what they bind while they look at a binding is named after its operation, and, if it is settled, after its result."""

    builder_: Any
    origin = ""

    def enter(self, binding: relax.Binding) -> None:
        self.origin = stem(binding.var.name)

    def emit(self, expr: relax.Expr) -> relax.Var:
        """Bind an expression in the new function."""
        return self.builder_.emit(expr, _RESULT.sub("_", self.origin))

    def settle(self, made: Any) -> None:
        """``made`` holds what the binding held, perhaps in another layout or type.  It gets its name when the function is done."""
        if isinstance(made, relax.Var) and self.origin:
            self.settled.setdefault(made, self.origin)

    @property
    def settled(self) -> dict[relax.Var, str]:
        return self.__dict__.setdefault("_settled", {})

    def named(self, function: relax.Function) -> relax.Function:
        """The function that was made, with the names of results."""
        new = {var: type(var)(f"{name}{count}", var.ty) for count, (var, name) in enumerate(self.settled.items()) if var.name != name}
        return with_variables(function, new)


def with_variables(function: relax.Function, new: Mapping[relax.Var, relax.Var]) -> relax.Function:
    if not new:
        return function
    body = substituted(function.body, new)
    return relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)


# ---- across FuseOps, which names what its groups make anew -----------------------------------------------------------


def keep_names(before: tvm.IRModule, after: tvm.IRModule, groups: Groups) -> tvm.IRModule:
    """``after``, which FuseOps made of ``before``, with results of groups named as they were before.

    The kernels in a group are found again by what they are and read; ``groups`` gets all their operations.
    """
    out = after.clone()
    for gv, function in after.functions.items():
        if isinstance(function, relax.Function) and not is_group(function) and isinstance(function.body, relax.SeqExpr):
            (known,) = (f for g, f in before.functions.items() if g.name_hint == gv.name_hint)
            out[gv] = _renamed(function, _Matched(known, after).names(function), gv.name_hint, groups)
    return out


def is_group(function: relax.Function) -> bool:
    """Whether a Relax function is one of FuseOps's groups."""
    return "Primitive" in (function.attrs or {})


Value = Any  # a variable of the function before, a constant, a list of such (of a tuple), or None for what is not found again


class _Matched:
    """Which variables of the function before hold what variables of the function after hold."""

    def __init__(self, before: relax.Function, module: tvm.IRModule) -> None:
        self.module = module
        self.params = list(before.params)
        self.made: dict[tuple[Any, ...], list[relax.Var]] = {}
        self.named: dict[str, relax.Var] = {}
        same: dict[relax.Var, relax.Var] = {}  # other names of variables
        for binding in bindings(before):
            self.named.setdefault(binding.var.name, binding.var)
            if isinstance(binding.value, relax.Var):
                same[binding.var] = same.get(binding.value, binding.value)
            elif is_kernel_call(binding.value):
                self.made.setdefault(_key(binding.value, lambda e: same.get(e, _itself(e))), []).append(binding.var)

    def names(self, after: relax.Function) -> dict[relax.Var, tuple[str, list[int]]]:
        """Of each variable that a group makes: what its name begins with, and the operations of all that the group binds."""
        env: dict[relax.Var, Value] = dict(zip(after.params, self.params, strict=True))
        out: dict[relax.Var, tuple[str, list[int]]] = {}
        for binding in bindings(after):
            value = binding.value
            if isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.GlobalVar) and self._is_group(value.op):
                bound: list[int] = []
                found = self._run(self.module[value.op], [self._value(a, env) for a in value.args], bound)
                first = found[0] if isinstance(found, list) and found else found
                if isinstance(first, relax.Var) and stem(first.name):
                    out[binding.var] = stem(first.name), bound
            else:
                found = self._evaluated(value, env)
                found = self.named.get(binding.var.name) if found is None else found
            env[binding.var] = found
        return out

    def _is_group(self, gv: tvm.ir.GlobalVar) -> bool:
        callee = self.module[gv]
        return isinstance(callee, relax.Function) and is_group(callee)

    def _run(self, group: relax.Function, arguments: list[Value], bound: list[int]) -> Value:
        env: dict[relax.Var, Value] = dict(zip(group.params, arguments, strict=True))
        for binding in bindings(group):
            env[binding.var] = found = self._evaluated(binding.value, env)
            operation = number(found.name) if isinstance(found, relax.Var) else None
            bound += [operation] if operation is not None and operation not in bound else []
        return self._value(group.body.body, env)

    def _evaluated(self, value: relax.Expr, env: dict[relax.Var, Value]) -> Value:
        if is_kernel_call(value):
            candidates = self.made.get(_key(value, lambda e: self._value(e, env)), [])
            return candidates.pop(0) if candidates else None
        return self._value(value, env)

    def _value(self, e: relax.Expr, env: dict[relax.Var, Value]) -> Value:
        if isinstance(e, relax.Var):
            return env.get(e)
        if isinstance(e, relax.Tuple):
            return [self._value(f, env) for f in e.fields]
        if isinstance(e, relax.TupleGetItem):
            whole = self._value(e.tuple_value, env)
            return whole[e.index] if isinstance(whole, list) else None
        return e if isinstance(e, compat.Constant) else None


def is_kernel_call(value: relax.Expr) -> bool:
    return isinstance(value, relax.Call) and getattr(value.op, "name", "") in ("relax.call_tir", "relax.call_tir_inplace")


def _itself(e: relax.Expr) -> Value:
    return e if isinstance(e, relax.Var | compat.Constant) else None


def _key(call: relax.Call, value: Callable[[relax.Expr], Value]) -> tuple[Any, ...]:
    kernel, given = call.args[0], call.args[1]
    fields = given.fields if isinstance(given, relax.Tuple) else [given]
    fields = [f for f in fields if isinstance(f.ty, relax.TensorType)]  # no sizes, which groups have under other names
    return kernel.name_hint, *(tuple(v) if isinstance(v, list) else v for v in map(value, fields))


def bindings(function: relax.Function) -> list[relax.Binding]:
    """Those of a function's own blocks, in order, and of the branches in them."""
    out: list[relax.Binding] = []

    def visit(body: relax.Expr) -> None:
        for block in body.blocks if isinstance(body, relax.SeqExpr) else []:
            for binding in block.bindings:
                if isinstance(binding.value, relax.If):
                    visit(binding.value.true_branch)
                    visit(binding.value.false_branch)
                out.append(binding)

    visit(function.body)
    return out


def _renamed(function: relax.Function, names: dict[relax.Var, tuple[str, list[int]]], own: str, groups: Groups) -> relax.Function:
    new = {}
    for count, (var, (name, operations)) in enumerate(names.items()):
        new[var] = type(var)(f"{name}g{count}", var.ty)
        groups[own, new[var].name] = operations
    return with_variables(function, new)


# ---- the calls of a program ------------------------------------------------------------------------------------------


def call_sites(mod: tvm.IRModule, groups: Groups) -> dict[str, list[tuple[str, list[int]]]]:
    """Of each Relax function: the kernels that it calls, in order (of the branches of an If both), and the operations that each call
    is for, the last being what it gives.  Empty for what comes from no operation (an input moved into another layout)."""
    out = {}
    for gv, function in mod.functions.items():
        if isinstance(function, relax.Function):
            sites: dict[relax.Var, tuple[str, list[int]]] = {}
            for binding in bindings(function):
                value = binding.value
                if name := called(value):
                    sites[binding.var] = name, []
                made = value.tuple_value if isinstance(value, relax.TupleGetItem) else binding.var
                own = number(binding.var.name)
                found = groups.get((gv.name_hint, binding.var.name), [] if own is None else [own])
                if made in sites:
                    sites[made][1].extend(n for n in found if n not in sites[made][1])
            out[gv.name_hint] = list(sites.values())
    return out


def called(value: relax.Expr) -> str:
    """The name of the kernel or function of the host that is called; "" for anything else, the VM's own functions too."""
    if is_kernel_call(value):
        return str(value.args[0].name_hint)
    outside = ("relax.call_pure_packed", "relax.call_dps_packed")
    host = isinstance(value, relax.Call) and getattr(value.op, "name", "") in outside
    name = str(value.args[0].global_symbol) if host else ""
    return "" if name.startswith("vm.builtin.") else name
