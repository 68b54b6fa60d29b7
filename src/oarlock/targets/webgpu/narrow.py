"""Kernels in the types that WGSL has: float32, float16, int32, uint32, and booleans that no memory holds.

Tensors of bool, int8, uint8, int16, uint16 and int64 are stored as int32, an element each: WGSL writes no less than 32 bits at once, so
that narrower elements would need several threads to write one word.  Arithmetic on narrower integers wraps as theirs does.
Arithmetic on int64 becomes one on int32: such values are indices, sizes and counts, which fit; constants that do not are refused.
"""

from __future__ import annotations

from typing import Any

from tvm import ir, tirx

from ... import compat_webgpu
from .functions import OWN

_SAME = ("float32", "float16", "int32", "uint32")
_SMALL = {"int8": (8, True), "int16": (16, True), "uint8": (8, False), "uint16": (16, False)}
_LEAST, _MOST = -(1 << 31), (1 << 31) - 1
_ENDS = {-(1 << 63): _LEAST, (1 << 63) - 1: _MOST}  # what stands for "less (more) than all"


class NotWgsl(Exception):
    """Why a kernel cannot be WGSL; the message is a noun phrase."""


def stored(dtype: str) -> str:
    """The type that elements of a tensor have in a GPU's memory.  Raises NotWgsl."""
    if dtype in _SAME:
        return dtype
    if dtype in ("bool", "int64") or dtype in _SMALL:
        return "int32"
    raise NotWgsl(f"numbers of {dtype}, which WGSL does not have")


def narrowed(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A device's function, lowered so far that it has no blocks, in the types of WGSL.  Raises NotWgsl."""
    return _Narrow().function(function)


class _Narrow:
    """Rebuilds statements and expressions from the leaves up, each with the types that its parts have now."""

    def __init__(self) -> None:
        self.vars: dict[Any, Any] = {}

    def function(self, function: tirx.PrimFunc) -> tirx.PrimFunc:
        params = [self.var(p) for p in function.params]
        return tirx.PrimFunc(params, self.stmt(function.body), function.ret_type).with_attrs(function.attrs)

    # ---- variables -----------------------------------------------------------------------------------------------------

    def var(self, var: Any) -> Any:
        """A variable, a pointer or a buffer by its new type."""
        if var not in self.vars:
            self.vars[var] = self._renewed(var)
        return self.vars[var]

    def _renewed(self, var: Any) -> Any:
        ty = var.ty
        if isinstance(ty, tirx.BufferType):
            return compat_webgpu.retyped_buffer(var, self.memory(str(ty.dtype)), [self.expr(d) for d in ty.shape])
        if isinstance(ty, ir.PointerType):
            return compat_webgpu.retyped_pointer(var, self.memory)
        wanted = self.dtype(str(ty))
        return var if wanted == str(ty) else tirx.Var(var.name, wanted)

    def memory(self, dtype: str) -> str:
        base, times, lanes = dtype.partition("x")
        return f"{stored(base)}{times}{lanes}"

    def dtype(self, dtype: str) -> str:
        """The type of a value: as in memory, but for booleans."""
        base, times, lanes = dtype.partition("x")
        return dtype if base in ("bool", "void", "handle", "") else f"{stored(base)}{times}{lanes}"

    # ---- statements ----------------------------------------------------------------------------------------------------

    def stmt(self, s: Any) -> Any:
        t = tirx
        match s:
            case t.SeqStmt():
                return t.SeqStmt([self.stmt(x) for x in s.seq])
            case t.For():
                var = self.var(s.loop_var)
                bounds = (self.as_type(self.expr(s.min), str(var.ty)), self.as_type(self.expr(s.extent), str(var.ty)))
                step = None if s.step is None else self.as_type(self.expr(s.step), str(var.ty))
                return t.For(var, *bounds, s.kind, self.stmt(s.body), None, s.annotations, step)
            case t.AttrStmt() if isinstance(s.node, t.IterVar):
                var = self.var(s.node.var)
                thread = t.IterVar(None, var, s.node.iter_type, s.node.thread_tag)
                return t.AttrStmt(thread, s.attr_key, self.as_type(self.expr(s.value), str(var.ty)), self.stmt(s.body))
            case t.AttrStmt():
                return self.stmt(s.body)  # reducers and hints, which code generation does not read
            case t.AllocBuffer():
                return t.AllocBuffer(self.var(s.buffer), s.annotations)
            case t.DeclBuffer():
                return t.DeclBuffer(self.var(s.buffer), data=self.expr(s.data))
            case t.BufferStore():
                buffer = self.var(s.buffer)
                value = self.as_type(self.expr(s.value), self.memory(str(s.value.ty)))
                return t.BufferStore(buffer, value, [self.expr(i) for i in s.indices])
            case t.IfThenElse():
                other = None if s.else_case is None else self.stmt(s.else_case)
                return t.IfThenElse(self.expr(s.condition), self.stmt(s.then_case), other)
            case t.While():
                return t.While(self.expr(s.condition), self.stmt(s.body))
            case t.Evaluate():
                return t.Evaluate(self.expr(s.value))
            case t.Bind():
                var = self.var(s.var)
                return t.Bind(var, self.as_type(self.expr(s.value), str(var.ty)))
        raise NotWgsl(f"a {type(s).__name__}")

    # ---- expressions ---------------------------------------------------------------------------------------------------

    def expr(self, e: Any) -> Any:
        t = tirx
        match e:
            case ir.Var():
                return self.var(e)
            case t.IntImm():
                return self._number(e)
            case t.FloatImm():
                self.dtype(str(e.ty))
                return e
            case ir.StringImm() | ir.Op() | ir.GlobalVar():
                return e
            case t.Cast():
                return self._cast(self.expr(e.value), str(e.ty))
            case t.Select():
                wanted = self.dtype(str(e.ty))
                sides = [self.as_type(self.expr(x), wanted) for x in (e.true_value, e.false_value)]
                return t.Select(self.expr(e.condition), *sides)
            case t.Not():
                return t.Not(self.expr(e.a))
            case t.And() | t.Or():
                return type(e)(self.expr(e.a), self.expr(e.b))
            case t.Ramp():
                return t.Ramp(self.expr(e.base), self.expr(e.stride), e.lanes)
            case t.Broadcast():
                return t.Broadcast(self.expr(e.value), e.lanes)
            case t.Shuffle():
                return t.Shuffle([self.expr(v) for v in e.vectors], [self.expr(i) for i in e.indices])
            case t.Let():
                var = self.var(e.var)
                return t.Let(var, self.as_type(self.expr(e.value), str(var.ty)), self.expr(e.body))
            case ir.TensorLoad():
                return self._load(e)
            case ir.Call() if (own := OWN.get(getattr(e.op, "name", ""))) and str(e.args[0].ty) == "float32":
                return own(*(self.expr(a) for a in e.args))
            case ir.Call():
                return compat_webgpu.recall(e, [self.expr(a) for a in e.args], self.dtype)
        if isinstance(e, t.Mod) and str(e.ty) == "float32":
            return OWN["tirx.fmod"](self.expr(e.a), self.expr(e.b))
        if hasattr(e, "a") and hasattr(e, "b"):
            made = type(e)(*self._alike(self.expr(e.a), self.expr(e.b)))
            arithmetic = isinstance(e, t.Add | t.Sub | t.Mul | t.Div | t.FloorDiv)
            return self._wrapped(made, str(e.ty)) if arithmetic else made
        raise NotWgsl(f"a {type(e).__name__}")

    def _number(self, e: Any) -> Any:
        dtype, value = str(e.ty), int(e.value)
        if dtype == "bool":
            return e
        wanted = self.dtype(dtype)
        if wanted == "int32" and not _LEAST <= value <= _MOST:
            if value not in _ENDS:
                raise NotWgsl(f"the number {value} of {dtype}: WGSL has no integers of 64 bits")
            value = _ENDS[value]
        return tirx.const(value, wanted)

    def _load(self, e: Any) -> Any:
        loaded = tirx.BufferLoad(self.var(e.source), [self.expr(i) for i in e.indices])
        return tirx.NE(loaded, tirx.const(0, str(loaded.ty))) if str(e.ty).startswith("bool") else loaded

    def _cast(self, value: Any, dtype: str) -> Any:
        """To a type of before: to a narrower integer it keeps the low bits, to a boolean it asks whether it is not 0."""
        if dtype.startswith("bool"):
            return self.as_type(value, dtype)
        return self._wrapped(self.as_type(value, self.dtype(dtype)), dtype)

    def _wrapped(self, value: Any, dtype: str) -> Any:
        """What the low bits of an int32 mean as a narrower integer."""
        if dtype not in _SMALL:
            return value
        bits, signed = _SMALL[dtype]
        if not signed:
            return value & tirx.const((1 << bits) - 1, "int32")
        distance = tirx.const(32 - bits, "int32")
        return (value << distance) >> distance

    def _alike(self, a: Any, b: Any) -> tuple[Any, Any]:
        # an index that was narrowed before meets one that was not
        return (a, b) if str(a.ty) == str(b.ty) else (a, self.as_type(b, str(a.ty)))

    def as_type(self, value: Any, dtype: str) -> Any:
        have = str(value.ty)
        if have == dtype or not isinstance(value.ty, ir.PrimType):
            return value
        if dtype.startswith("bool"):
            return tirx.NE(value, tirx.const(0, have))
        if have.startswith("bool"):
            one, zero = tirx.const(1, dtype), tirx.const(0, dtype)
            return tirx.Select(value, one, zero)
        return tirx.Cast(dtype, value)
