"""TIR → XPU C++: kernels after SplitHostDevice, one ``__global__`` function each, in the dialect of xpu/kernel/xtdk.h.

Kernels say themselves what is transferred when: by calls of xpu_load, xpu_store, xpu_fence and xpu_ops (elements.py).
"""

from __future__ import annotations

import math
import struct
from typing import Any

import tvm

from oarlock import compat
from oarlock.errors import InternalError

from .. import compat_xpu
from .vectors import WIDTH, vectors_of

_C = {
    "float32": "float",
    "float64": "double",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "bool": "bool",
}
ELEMENT_TYPES = frozenset(_C)
_BINARY = {
    "Add": "+",
    "Sub": "-",
    "Mul": "*",
    "Div": "/",
    "Mod": "%",
    "LT": "<",
    "LE": "<=",
    "GT": ">",
    "GE": ">=",
    "EQ": "==",
    "NE": "!=",
    "And": "&&",
    "Or": "||",
    "LShift": "<<",
    "RShift": ">>",
    "BitwiseAnd": "&",
    "BitwiseOr": "|",
    "BitwiseXor": "^",
}
_INFIX = {"shift_left": "<<", "shift_right": ">>", "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^"}
# functions of floats, whose names in C end with f for float
_MATH = {
    name: name
    for name in ("exp", "exp2", "log", "log2", "log10", "sqrt", "tanh", "sin", "cos", "tan", "sinh", "cosh", "asin", "acos", "atan")
    + (
        "asinh",
        "acosh",
        "atanh",
        "atan2",
        "erf",
        "pow",
        "floor",
        "ceil",
        "trunc",
        "round",
        "nearbyint",
        "fmod",
        "hypot",
        "copysign",
        "log1p",
    )
} | {"fabs": "fabs"}
_THREADS = {"blockIdx.x": ("cluster_id()", "cluster"), "threadIdx.x": ("core_id()", "core")}
# names that C++ or the dialect has, and parameters of kernels may have
_RESERVED = (
    "auto bool break case char class const continue default delete do double else enum extern false float for goto if inline int long "
    "new operator private public register return short signed sizeof static struct switch template this throw true try typedef union "
    "unsigned using virtual void volatile while core_id core_num cluster_id cluster_num mfence sync_cluster"
).split()
_PRELUDE = """#include "xpu/kernel/xtdk.h"

template <typename T>
__device__ T xpu_floordiv(T a, T b) {
  return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}
template <typename T>
__device__ T xpu_floormod(T a, T b) {
  return a - xpu_floordiv(a, b) * b;
}
// Neighbouring elements of a tensor in local memory, `most` of them.  What is only read is loaded at once; of what is written, too,
// elements are loaded one by one, since others of them may be another core's.
template <typename T, bool reads, bool writes, int most>
class XpuWindow {
  static_assert(!writes || most == 64, "there is a bit for each element");

 public:
  XpuWindow(T* lm, _global_ptr_ T* tensor, int64_t size) : lm_(lm), tensor_(tensor), size_(size) {}
  T read(int64_t i) {
    if (i < at_ || i >= at_ + most) move(i);
    if constexpr (writes) {
      const uint64_t bit = uint64_t(1) << (i - at_);
      if (!(valid_ & bit)) GM2LM(tensor_ + i, lm_ + (i - at_), sizeof(T));
      valid_ |= bit;
    }
    return lm_[i - at_];
  }
  void write(int64_t i, T v) {
    if (i < at_ || i >= at_ + 64) move(i);
    const uint64_t bit = uint64_t(1) << (i - at_);
    lm_[i - at_] = v;
    valid_ |= bit;
    dirty_ |= bit;
  }
  void flush() {
    while (dirty_) {
      const int from = __builtin_ctzll(dirty_), left = ~(dirty_ >> from) ? __builtin_ctzll(~(dirty_ >> from)) : 64;
      LM2GM(lm_ + from, tensor_ + at_ + from, left * sizeof(T));
      dirty_ &= left + from >= 64 ? (uint64_t(1) << from) - 1 : ~(((uint64_t(1) << left) - 1) << from);
    }
    at_ = INT64_MIN / 2;
    valid_ = 0;
  }

 private:
  void move(int64_t i) {
    if constexpr (writes) flush();
    at_ = xpu_floordiv<int64_t>(i, most) * most;
    if constexpr (!writes) GM2LM(tensor_ + at_, lm_, (size_ - at_ < most ? size_ - at_ : most) * sizeof(T));
  }
  T* lm_;
  _global_ptr_ T* tensor_;
  int64_t size_, at_ = INT64_MIN / 2;
  uint64_t valid_ = 0, dirty_ = 0;
};
// A tensor into a cluster's shared memory, or back: each of its cores moves a part.  A fence and a barrier must follow.
template <typename T>
__device__ void xpu_share(int core, int cores, _global_ptr_ T* tensor, T* sm, int64_t count, bool load) {
  const int64_t part = ((count + cores - 1) / cores + 15) / 16 * 16, at = part * core;
  const int64_t n = count - at < part ? count - at : part;
  if (n <= 0) return;
  if (load) {
    GM2SM_ASYNC(tensor + at, sm + at, n * sizeof(T));
  } else {
    SM2GM_ASYNC(sm + at, tensor + at, n * sizeof(T));
  }
}
template <typename To, typename From>
__device__ To xpu_bits(From v) {
  To to;
  memcpy(&to, &v, sizeof(to));
  return to;
}
"""


class Unprintable(Exception):
    """A kernel has something that the dialect is not printed for yet."""


def generate(mod: tvm.IRModule) -> tuple[str, dict[str, list[str]]]:
    """The source of all kernels of a module, and the kinds of parameters of each, as the plug-in's kernel module takes them."""
    text, kinds = [_PRELUDE], {}
    for gv, function in sorted(mod.functions.items(), key=lambda item: item[0].name_hint):
        name = str(function.attrs["global_symbol"])
        try:
            source, kinds[name] = _Printer(name, function).kernel()
        except Unprintable as error:
            raise InternalError(f"kernel {gv.name_hint} cannot be printed as XPU C++: {error}") from error
        text.append(source)
    return "\n".join(text), kinds


class _Printer:
    def __init__(self, name: str, function: tvm.tirx.PrimFunc) -> None:
        self.name, self.function = name, function
        self.lines: list[str] = []
        self.depth = 1
        self.names: dict[Any, str] = {}
        self.used = set(_RESERVED)
        self.windows: list[str] = []
        self.counts = False

    def kernel(self) -> tuple[str, list[str]]:
        parameters, kinds = [], []
        for p in self.function.params:
            target = compat_xpu.pointee(p)
            kind = compat_xpu.dtype_of(p) if target is None else "pointer"
            kinds.append(kind)
            parameters.append(f"{self.type(kind)} {self.var(p)}" if target is None else f"_global_ptr_ {self.type(target)}* {self.var(p)}")
        # the grid's extents follow the parameters, in this order
        for tag in (self.function.attrs or {}).get("tirx.kernel_launch_params", []):
            if str(tag) not in _THREADS:
                raise Unprintable(f"the grid has {tag}")
            kinds.append(_THREADS[str(tag)][1])
        self.stmt(self.function.body)
        if self.counts:
            self.lines = ["  int64_t xpu_counted = 0;", *self.lines, "  XPU_OPS(xpu_counted);"]
        head = f"__global__ void {self.name}({', '.join(parameters)}) {{"
        return "\n".join([head, *self.lines, "}", f"XPU_KERNEL({self.name})", ""]), kinds

    # ---- names and types

    def var(self, var: Any) -> str:
        if var not in self.names:
            plain = "".join(c if c.isalnum() else "_" for c in str(var.name)) or "v"
            plain = plain if plain[0].isalpha() else f"v_{plain}"
            name = next(n for n in (plain, *(f"{plain}_{k}" for k in range(1, 10000))) if n not in self.used)
            self.used.add(name)
            self.names[var] = name
        return self.names[var]

    def type(self, dtype: str) -> str:
        if dtype not in _C:
            raise Unprintable(f"the element type {dtype}")
        return _C[dtype]

    def emit(self, line: str) -> None:
        self.lines.append("  " * self.depth + line)

    # ---- statements

    def stmt(self, s: Any) -> None:
        kind = compat_xpu.class_name(s)
        handler = getattr(self, f"stmt_{kind}", None)
        if handler is None:
            raise Unprintable(f"a statement {kind}")
        handler(s)

    def block(self, head: str, body: Any, tail: str = "}") -> None:
        self.emit(head)
        self.depth += 1
        self.stmt(body)
        self.depth -= 1
        if tail:
            self.emit(tail)

    def stmt_SeqStmt(self, s: Any) -> None:
        for part in s.seq:
            self.stmt(part)

    def stmt_AttrStmt(self, s: Any) -> None:
        if str(s.attr_key) == "thread_extent":
            value, _ = _THREADS[str(s.node.thread_tag)]
            self.emit(f"const {self.type(compat_xpu.dtype_of(s.node.var))} {self.var(s.node.var)} = {value};")
        self.stmt(s.body)

    def stmt_AllocBuffer(self, s: Any) -> None:
        dims = [d for d in map(compat.static, s.buffer.ty.shape) if isinstance(d, int)]
        scope = compat_xpu.scope_of(s.buffer)
        if scope not in ("local", "shared") or len(dims) < len(s.buffer.ty.shape):
            raise Unprintable(f"memory {s.buffer.name} of scope {scope} and shape {list(s.buffer.ty.shape)}")
        macro = "XPU_LOCAL" if scope == "local" else "XPU_SHARED"
        self.emit(f"{macro}({self.type(str(s.buffer.ty.dtype))}, {self.var(s.buffer)}, {math.prod(dims)});")

    def stmt_DeclBuffer(self, s: Any) -> None:
        space = "_global_ptr_ " if compat_xpu.scope_of(s.buffer) == "global" else ""
        element = self.type(str(s.buffer.ty.dtype))
        self.emit(f"{space}{element}* {self.var(s.buffer)} = ({space}{element}*){self.expr(s.data)};")
        if space:
            count = " * ".join([*map(self.expr, s.buffer.ty.shape), f"sizeof({element})"])
            self.emit(f"XPU_TENSOR({self.var(s.buffer)}, {count});")

    def stmt_Bind(self, s: Any) -> None:
        self.emit(f"const {self.type(compat_xpu.dtype_of(s.var))} {self.var(s.var)} = {self.expr(s.value)};")

    def stmt_For(self, s: Any) -> None:
        v, kind = self.var(s.loop_var), self.type(compat_xpu.dtype_of(s.loop_var))
        end = self.expr(s.extent) if compat.static(s.min) == 0 else f"{self.expr(s.min)} + {self.expr(s.extent)}"
        if (vectors := vectors_of(s, self.expr, self.var)) is None:
            self.block(f"for ({kind} {v} = {self.expr(s.min)}; {v} < {end}; ++{v}) {{", s.body)
            return
        self.emit(f"{{ {kind} {v} = 0;")
        self.emit(f"for (; {v} + {WIDTH} <= {end}; {v} += {WIDTH}) {vectors}")
        self.block(f"for (; {v} < {end}; ++{v}) {{", s.body, "} }")

    def stmt_IfThenElse(self, s: Any) -> None:
        self.block(f"if ({self.expr(s.condition)}) {{", s.then_case, "" if s.else_case is not None else "}")
        if s.else_case is not None:
            self.block("} else {", s.else_case)

    def stmt_While(self, s: Any) -> None:
        self.block(f"while ({self.expr(s.condition)}) {{", s.body)

    def stmt_BufferStore(self, s: Any) -> None:
        self.emit(f"{self.element(s.buffer, s.indices)} = {self.expr(s.value)};")

    def stmt_Evaluate(self, s: Any) -> None:
        if isinstance(s.value, tvm.ir.Call):
            self.emit(f"{self.expr(s.value)};")

    def stmt_Return(self, s: Any) -> None:
        pass

    # ---- expressions

    def expr(self, e: Any) -> str:
        kind = compat_xpu.class_name(e)
        if kind in _BINARY:
            return f"({self.expr(e.a)} {_BINARY[kind]} {self.expr(e.b)})"
        handler = getattr(self, f"expr_{kind}", None)
        if handler is None:
            raise Unprintable(f"an expression {kind}")
        return handler(e)

    def element(self, buffer: Any, indices: Any) -> str:
        if len(indices) != 1:
            raise Unprintable(f"an element of {buffer.name} by {len(indices)} indices")
        return f"{self.var(buffer)}[{self.expr(indices[0])}]"

    def expr_Var(self, e: Any) -> str:
        return self.var(e)

    def expr_IntImm(self, e: Any) -> str:
        value, dtype = int(e.value), compat_xpu.dtype_of(e)
        if dtype == "bool":
            return "true" if value else "false"
        if dtype in ("int64", "uint64"):
            return "INT64_MIN" if value == -(1 << 63) else f"{value}LL"
        return "INT32_MIN" if value == -(1 << 31) else str(value)

    def expr_FloatImm(self, e: Any) -> str:
        value, dtype = float(e.value), compat_xpu.dtype_of(e)
        if math.isnan(value):
            return f"(({self.type(dtype)})NAN)"
        if math.isinf(value):
            return f"(({self.type(dtype)}){'-' if value < 0 else ''}INFINITY)"
        if dtype == "float32":
            value = struct.unpack("f", struct.pack("f", value))[0]
            return f"{value.hex()}f"
        return value.hex()

    def expr_TensorLoad(self, e: Any) -> str:
        return self.element(e.source, e.indices)

    def expr_Cast(self, e: Any) -> str:
        return f"(({self.type(compat_xpu.dtype_of(e))}){self.expr(e.value)})"

    def expr_Let(self, e: Any) -> str:
        value, kind = self.expr(e.value), self.type(compat_xpu.dtype_of(e.var))
        return f"([&] {{ const {kind} {self.var(e.var)} = {value}; return {self.expr(e.body)}; }}())"

    def expr_Not(self, e: Any) -> str:
        return f"(!{self.expr(e.a)})"

    def expr_Select(self, e: Any) -> str:
        return f"({self.expr(e.condition)} ? {self.expr(e.true_value)} : {self.expr(e.false_value)})"

    def expr_FloorDiv(self, e: Any) -> str:
        kind = self.type(compat_xpu.dtype_of(e))
        return f"xpu_floordiv<{kind}>({self.expr(e.a)}, {self.expr(e.b)})"

    def expr_FloorMod(self, e: Any) -> str:
        kind = self.type(compat_xpu.dtype_of(e))
        return f"xpu_floormod<{kind}>({self.expr(e.a)}, {self.expr(e.b)})"

    # by a comparison, as LLVM has them: rules of the pipeline count on what becomes of a NaN
    def expr_Max(self, e: Any) -> str:
        a, b = self.expr(e.a), self.expr(e.b)
        return f"({a} > {b} ? {a} : {b})"

    def expr_Min(self, e: Any) -> str:
        a, b = self.expr(e.a), self.expr(e.b)
        return f"({a} < {b} ? {a} : {b})"

    def expr_Call(self, e: Any) -> str:
        name = compat_xpu.operator_name(e).rpartition(".")[2]
        args = list(e.args)
        if name in ("call_extern", "call_pure_extern"):
            return self.extern(str(args[0].value), args[1:])
        if name in _INFIX:
            return f"({self.expr(args[0])} {_INFIX[name]} {self.expr(args[1])})"
        if name in ("likely", "buffer_data"):
            return self.expr(args[0])
        if name == "if_then_else":
            return f"({self.expr(args[0])} ? {self.expr(args[1])} : {self.expr(args[2])})"
        if name == "bitwise_not":
            return f"(~{self.expr(args[0])})"
        dtype = compat_xpu.dtype_of(e)
        if name == "reinterpret":
            return f"xpu_bits<{self.type(dtype)}, {self.type(compat_xpu.dtype_of(args[0]))}>({self.expr(args[0])})"
        if name == "isnan":
            return f"isnan({self.expr(args[0])})"
        if name in ("rsqrt", "sigmoid") and dtype == "float32":
            value = self.expr(args[0])
            return f"(1.f / sqrtf({value}))" if name == "rsqrt" else f"(1.f / (1.f + expf(-{value})))"
        if name in _MATH and dtype in ("float32", "float64"):
            return f"{_MATH[name]}{'f' if dtype == 'float32' else ''}({', '.join(map(self.expr, args))})"
        raise Unprintable(f"a call of {name} for {dtype}")

    def extern(self, name: str, args: list[Any]) -> str:
        match name, args:
            case "xpu_load", [tensor, offset, local, place, count]:
                to = self.expr(local)
                size = f"{self.expr(count)} * sizeof(*{to})"
                return f"GM2LM_ASYNC({self.expr(tensor)} + {self.expr(offset)}, {to} + {self.expr(place)}, {size})"
            case "xpu_store" | "xpu_store_async", [local, place, tensor, offset, count]:
                source, move = self.expr(local), "LM2GM" if name == "xpu_store" else "LM2GM_ASYNC"
                size = f"{self.expr(count)} * sizeof(*{source})"
                return f"{move}({source} + {self.expr(place)}, {self.expr(tensor)} + {self.expr(offset)}, {size})"
            case "xpu_window", [number, dtype, tensor, size, kind, most]:
                name, element = f"xpu_w{int(number.value)}", self.type(str(dtype.value))
                self.windows.append(name)
                self.emit(f"XPU_LOCAL({element}, {name}_lm, {int(most.value)});")
                flags = ", ".join("true" if int(kind.value) & bit else "false" for bit in (1, 2))
                window = f"XpuWindow<{element}, {flags}, {int(most.value)}>"
                return f"{window} {name}({name}_lm, ({element}*){self.expr(tensor)}, {self.expr(size)})"
            # not as a buffer of TVM's, which would wait for all cores wherever one reads
            case "xpu_shared", [number, dtype, count]:
                return f"XPU_SHARED({self.type(str(dtype.value))}, xpu_s{int(number.value)}, {self.expr(count)})"
            case "xpu_share", [number, dtype, tensor, count, load]:
                whole = f"({self.type(str(dtype.value))}*){self.expr(tensor)}, xpu_s{int(number.value)}, {self.expr(count)}"
                return f"xpu_share(core_id(), core_num(), {whole}, {'true' if int(load.value) else 'false'})"
            case "xpu_shared_read", [number, index]:
                return f"xpu_s{int(number.value)}[{self.expr(index)}]"
            case "xpu_shared_write", [number, index, value]:
                return f"xpu_s{int(number.value)}[{self.expr(index)}] = {self.expr(value)}"
            case "xpu_cell", [number, dtype]:
                return f"{self.type(str(dtype.value))} xpu_c{int(number.value)} = {{}}"
            case "xpu_cell_read", [number]:
                return f"xpu_c{int(number.value)}"
            case "xpu_cell_write", [number, value]:
                return f"xpu_c{int(number.value)} = {self.expr(value)}"
            case "xpu_read", [number, index]:
                return f"xpu_w{int(number.value)}.read({self.expr(index)})"
            case "xpu_write", [number, index, value]:
                return f"xpu_w{int(number.value)}.write({self.expr(index)}, {self.expr(value)})"
            case "xpu_flush", []:
                return "; ".join(f"{name}.flush()" for name in self.windows)
            case "xpu_sync", []:
                return "sync_cluster()"
            case "xpu_assert", [condition]:
                return f"xpu_assert({self.expr(condition)})"
            case "xpu_count", [count]:
                self.counts = True
                return f"xpu_counted += {self.expr(count)}"
            case "xpu_fence", []:
                return "mfence()"
            case "xpu_ops", [count]:
                return f"XPU_OPS({self.expr(count)})"
        if name.removesuffix("f") in _MATH:  # TVM's lowering names some functions of C itself
            return f"{name}({', '.join(map(self.expr, args))})"
        raise Unprintable(f"a call of the function {name}")
