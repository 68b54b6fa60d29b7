"""What a fused kernel has to do, whatever its schedule: floating point operations, and bytes that it must read and write.

Counted in the kernel's tensor form, before it is scheduled: the arithmetic of each block times the elements of its result that are
used (a tile that reaches past the end of a product does work that does not count), and of each operand the elements that are
read, once.  A call of an elementary function (exp, a square root) is one operation, where it is not written out as a polynomial (tanh);
so is a comparison that yields a number (max).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import ir, relax, s_tir, sym, tirx

from .. import compat
from ..rules.origins import is_kernel_call
from .sizes import Size

MAX_TEXT = 400  # characters of an expression of symbols; a longer one is not kept
_ARITHMETIC = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Max, tirx.Min)
_FREE = {"if_then_else", "likely", "reinterpret", "address_of", "shift_left", "shift_right", "bitwise_and", "bitwise_or", "infinity"}
_OPAQUE = ("call_packed", "call_cpacked", "call_extern", "call_pure_extern")
_SIGNS = {tirx.Add: "+", tirx.Sub: "-", tirx.Mul: "*", tirx.FloorDiv: "//", tirx.FloorMod: "%"}
Number = Any  # int, or a TIR expression of symbolic dims


class _Unknown(Exception):
    """How often a statement runs cannot be told before it runs."""


def count_work(mod: tvm.IRModule) -> dict[str, dict[str, Any]]:
    """Kernel name → what it has to do, for the manifest.

    ``flops``: type of the operands → operations (absent where a loop's length is data); ``read``, ``written``: bytes;
    ``weights``: bytes of ``read`` that are constants of the model; each a number, or a text of symbols.
    ``symbols``: symbol → [parameter] or [parameter, dim], which is its value.
    """
    kernels = {gv: f for gv, f in mod.functions.items() if isinstance(f, tirx.PrimFunc)}
    constants = _constant_operands(mod)
    return {gv.name_hint: _work(function, constants.get(gv, frozenset())) for gv, function in kernels.items()}


def _constant_operands(mod: tvm.IRModule) -> dict[ir.GlobalVar, frozenset[int]]:
    """For each kernel, the operands that are constants in all of its calls."""
    found: dict[ir.GlobalVar, frozenset[int]] = {}

    def visit(e: relax.Expr) -> None:
        if not is_kernel_call(e):
            return
        kernel, operands = e.args[0], e.args[1]
        operands = operands.fields if isinstance(operands, relax.Tuple) else [operands]
        here = frozenset(i for i, operand in enumerate(operands) if isinstance(operand, compat.Constant))
        found[kernel] = found.get(kernel, here) & here

    for function in mod.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    return found


def _work(function: tirx.PrimFunc, constants: frozenset[int]) -> dict[str, Any]:
    counter = _Counter(function)
    work: dict[str, Any] = {}
    flops = counter.flops
    if flops is not None:
        texts = {dtype: _size(count) for dtype, count in flops.items()}
        if all(text is not None for text in texts.values()):
            work["flops"] = {dtype: text for dtype, text in texts.items() if text != 0}
    operands = {i: p for i, p in enumerate(function.params) if isinstance(p.ty, tirx.BufferType)}
    read = {i: counter.bytes_read(p) for i, p in operands.items()}
    totals = {
        "read": _sum(read.values()),
        "written": _sum(counter.bytes_written(p) for p in operands.values()),
        "weights": _sum(size for i, size in read.items() if i in constants),
    }
    for name, total in totals.items():
        text = _size(total)
        if text is not None:
            work[name] = text
    used = [text for value in work.values() for text in (value.values() if isinstance(value, dict) else [value]) if isinstance(text, str)]
    if used:
        work["symbols"] = _symbols(function, " ".join(used))
    return work


@dataclass
class _Site:
    """One store: what it computes, the loops that it stands in, and what the variables of its indices depend on."""

    buffer: Any
    value: Any
    indices: list
    loops: dict[Any, Number]
    depends: dict[Any, frozenset]
    spatial: list[Any] = field(default_factory=list)  # loop variables of the block's own dims
    conditions: list = field(default_factory=list)


class _Counter:
    """``flops``: by type of the operands, or None when unknown."""

    def __init__(self, function: tirx.PrimFunc) -> None:
        self.parameters = set(function.params)
        self.simplify = sym.Analyzer().simplify
        self.loaded: dict[Any, Number] = {}
        self.stored: dict[Any, int] = {}
        self.flops: dict[str, Number] | None = {}
        try:
            sites = list(self._sites(function.body, {}, {}, [], []))
        except _Unknown:
            self.flops = None
            written = compat.stored_buffers(function)
            self.stored = {b: 1 for b in written}
            self.loaded = {p: _elements(p) for p in self.parameters if isinstance(p.ty, tirx.BufferType) and p not in written}
            return
        for site in sites:
            self.stored[site.buffer] = self.stored.get(site.buffer, 0) + 1
        for site in reversed(sites):  # what reads a buffer tells how much of it is used, so readers first
            self._count(site)

    def bytes_read(self, parameter: Any) -> Number:
        if parameter in self.stored or parameter not in self.loaded:
            return 0
        return self._least(self.loaded[parameter], _elements(parameter)) * _bytes(parameter)

    def bytes_written(self, parameter: Any) -> Number:
        return _elements(parameter) * _bytes(parameter) if parameter in self.stored else 0

    # ---- statements --------------------------------------------------------------------------------------------------

    def _sites(self, stmt: Any, loops: dict, depends: dict, spatial: list, conditions: list) -> Iterator[_Site]:
        if isinstance(stmt, tirx.SeqStmt):
            depends = dict(depends)  # a Bind holds for the statements after it
            for s in stmt.seq:
                if isinstance(s, tirx.Bind):
                    depends[s.var] = _leaves(s.value, depends)
                yield from self._sites(s, loops, depends, spatial, conditions)
        elif isinstance(stmt, tirx.For):
            extent = compat.static(stmt.extent)
            if not isinstance(extent, int) and (_loads(extent) or any(v in loops or v in depends for v in _variables(extent))):
                raise _Unknown
            inner = {**depends, stmt.loop_var: frozenset([stmt.loop_var])}
            yield from self._sites(stmt.body, {**loops, stmt.loop_var: extent}, inner, spatial, conditions)
        elif isinstance(stmt, s_tir.SBlockRealize):
            block, inner, own = stmt.block, dict(depends), []
            for iterator, value in zip(block.iter_vars, stmt.iter_values, strict=True):
                inner[iterator.var] = _leaves(value, depends)
                if int(iterator.iter_type) == tirx.IterVar.DataPar:
                    own += sorted(inner[iterator.var], key=str)
            # the first value of a reduction costs nothing that a real kernel pays
            yield from self._sites(block.body, loops, inner, own, conditions)
        elif isinstance(stmt, tirx.IfThenElse):
            for branch in filter(None, (stmt.then_case, stmt.else_case)):
                yield from self._sites(branch, loops, depends, spatial, [*conditions, stmt.condition])
        elif isinstance(stmt, tirx.BufferStore):
            yield _Site(stmt.buffer, stmt.value, list(stmt.indices), loops, depends, spatial, conditions)
        elif isinstance(stmt, tirx.AttrStmt):
            yield from self._sites(stmt.body, loops, depends, spatial, conditions)
        elif isinstance(stmt, tirx.While) or isinstance(stmt, tirx.Evaluate) and _is_opaque(stmt.value):
            raise _Unknown

    # ---- one store ---------------------------------------------------------------------------------------------------

    def _count(self, site: _Site) -> None:
        """Add the operations and loads of one store; those of its readers are known."""
        times, share = _product(site.loops.values()), None
        own = _product(site.loops[v] for v in site.spatial)
        size = _elements(site.buffer)
        if site.buffer not in self.parameters and self.stored[site.buffer] == 1 and self._same(own, size):
            used = self._least(self.loaded.get(site.buffer, size), size)
            if not self._same(used, size):
                share = used, size
                times = used * _product(e for v, e in site.loops.items() if v not in site.spatial)
        assert self.flops is not None
        for dtype, count in _operations(site.value).items():
            self.flops[dtype] = self.flops.get(dtype, 0) + count * times
        for load in [x for e in (site.value, *site.indices, *site.conditions) for x in _loads(e)]:
            if load.source.same_as(site.buffer):
                continue
            variables = frozenset().union(*(_leaves(i, site.depends) for i in load.indices))
            elements = _product(e for v, e in site.loops.items() if v in variables)
            if share and all(v in variables for v in site.spatial):
                elements = elements * share[0] // share[1]
            self.loaded[load.source] = self.loaded.get(load.source, 0) + elements

    def _same(self, a: Number, b: Number) -> bool:
        return a == b if isinstance(a, int) and isinstance(b, int) else compat.equal_dims(_expression(a), _expression(b))

    def _least(self, a: Number, b: Number) -> Number:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return compat.static(self.simplify(tirx.min(_expression(a), _expression(b))))


def _expression(size: Number) -> Any:
    return tirx.const(size, "int64") if isinstance(size, int) else size


def _elements(buffer: Any) -> Number:
    return _product(buffer.ty.shape)


def _bytes(buffer: Any) -> int:
    return -(-tvm.DataType(str(buffer.ty.dtype)).bits // 8)


def _product(sizes: Iterable[Any]) -> Number:
    number, rest = 1, None
    for size in sizes:
        known: Number = compat.static(size)
        if isinstance(known, int):
            number *= known
        else:
            known = known if str(known.ty) == "int64" else tirx.Cast("int64", known)
            rest = known if rest is None else rest * known
    if rest is None or number == 0:
        return number
    return rest if number == 1 else rest * number


def _sum(sizes: Iterable[Number]) -> Number:
    total: Number = 0
    for size in sizes:
        total = size if isinstance(total, int) and total == 0 else total + size
    return total


# ---- expressions -----------------------------------------------------------------------------------------------------


def _children(e: Any) -> list[Any]:
    if isinstance(e, compat.Load):
        return list(e.indices)
    if isinstance(e, ir.Call):
        return [a for a in e.args if isinstance(a, ir.Expr)]
    if isinstance(e, tirx.Select):
        return [e.condition, e.true_value, e.false_value]
    if isinstance(e, tirx.Let):
        return [e.value, e.body]
    if isinstance(e, tirx.Cast):
        return [e.value]
    if isinstance(e, tirx.Not):
        return [e.a]
    return [e.a, e.b] if hasattr(e, "a") and hasattr(e, "b") else []


def _variables(e: Any) -> Iterator[Any]:
    if isinstance(e, ir.Var):
        yield e
    for child in _children(e):
        yield from _variables(child)


def _leaves(e: Any, depends: dict) -> frozenset:
    """The loop variables that an index depends on."""
    return frozenset().union(*(depends.get(v, frozenset()) for v in _variables(e)))


def _loads(e: Any) -> list[Any]:
    """Every load in an expression, those in indices of other loads too."""
    mine = [e] if isinstance(e, compat.Load) else []
    return mine + [load for child in _children(e) for load in _loads(child)]


def _name(call: ir.Call) -> str:
    return getattr(call.op, "name", "").rpartition(".")[2]


def _is_opaque(e: Any) -> bool:
    if isinstance(e, ir.Call) and any(word in _name(e) for word in _OPAQUE):
        return True
    return any(_is_opaque(child) for child in _children(e))


def _operations(e: Any) -> dict[str, int]:
    """Operations on floats, and products of narrow integers, in an expression, by what the operands are.

    What computes indices or decides counts nothing.
    """
    found: dict[str, int] = {}
    if isinstance(e, compat.Load):
        return found
    if isinstance(e, tirx.Select) or isinstance(e, ir.Call) and _name(e) == "if_then_else":
        _, yes, no = _children(e)
        a, b = _operations(yes), _operations(no)
        return {dtype: max(a.get(dtype, 0), b.get(dtype, 0)) for dtype in (*a, *b)}
    children = _children(e)
    for child in children:
        for dtype, count in _operations(child).items():
            found[dtype] = found.get(dtype, 0) + count
    counts = isinstance(e, _ARITHMETIC) or isinstance(e, ir.Call) and _name(e) not in _FREE
    narrow = _narrow(e) or next(filter(None, map(_narrow, children)), "") if counts and isinstance(e, (tirx.Mul, tirx.Add)) else ""
    if counts and (narrow or str(e.ty).startswith(("float", "bfloat"))):
        kind = narrow or ("float64" if str(e.ty) == "float64" else "float32")
        found[kind] = found.get(kind, 0) + 1
    return found


def _narrow(e: Any) -> str:
    """The type of the factors of a product, where they are widened for it, as an instruction for dot products takes them."""
    if not isinstance(e, tirx.Mul) or not all(isinstance(f, tirx.Cast) for f in (e.a, e.b)):
        return ""
    types = {str(f.value.ty) for f in (e.a, e.b)}
    if types == {"bfloat16"}:
        return "bfloat16"
    return "int8" if types <= {"int8", "uint8"} and str(e.ty) == "int32" else ""


# ---- sizes as the manifest has them ----------------------------------------------------------------------------------


def _size(number: Number) -> Size | None:
    """A number, a text of symbols, or None for what has no short text."""
    number = compat.static(number if isinstance(number, int) else sym.Analyzer().simplify(number))
    if isinstance(number, int):
        return number
    try:
        text = _text(number)
    except ValueError:
        return None
    return text if len(text) <= MAX_TEXT else None


def _text(e: Any) -> str:
    if isinstance(e, tirx.IntImm):
        return str(int(e.value))
    if isinstance(e, tirx.Cast):
        return _text(e.value)
    if isinstance(e, (tirx.Max, tirx.Min)):
        return f"{'max' if isinstance(e, tirx.Max) else 'min'}({_text(e.a)},{_text(e.b)})"
    if sign := _SIGNS.get(type(e)):
        parts = [
            f"({_text(p)})" if type(p) in _SIGNS and not (sign == "+" or _tight(e, p, i)) else _text(p) for i, p in enumerate((e.a, e.b))
        ]
        return sign.join(parts)
    if isinstance(e, ir.Var) and e.name.isidentifier():
        return str(e.name)
    raise ValueError(f"no text for {type(e).__name__}")


def _tight(outer: Any, inner: Any, place: int) -> bool:
    """Whether ``inner`` needs no parentheses as the first operand of ``outer``."""
    return place == 0 and isinstance(outer, (tirx.Mul, tirx.FloorDiv)) and isinstance(inner, tirx.Mul)


def _symbols(function: tirx.PrimFunc, text: str) -> dict[str, list[int]]:
    """Where the symbols of a text are to be had: a scalar parameter, or a dim of a tensor."""
    found: dict[str, list[int]] = {}
    for i, p in enumerate(function.params):
        if not isinstance(p.ty, tirx.BufferType):
            found.setdefault(p.name, [i])
            continue
        for axis, dim in enumerate(p.ty.shape):
            if isinstance(dim, ir.Var):
                found.setdefault(dim.name, [i, axis])
    return {name: place for name, place in found.items() if name in text}
