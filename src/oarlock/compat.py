"""Every churny TVM call stands here (private or recently renamed API), so that a TVM upgrade is one file's work."""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, s_tir
from tvm.target import codegen as _codegen
from tvm.tirx import compilation_pipeline as _compilation_pipeline

from . import compat_indices


def llvm_host_cpu() -> str:
    """LLVM's name of this machine's CPU."""
    return str(_codegen.llvm_get_system_cpu())


def llvm_host_triple() -> str:
    """LLVM's triple of this machine."""
    return str(_codegen.llvm_get_system_triple())


def llvm_knows_cpu(mcpu: str, triple: str) -> bool:
    """Whether LLVM has a CPU of this name for this triple (an unknown triple has none)."""
    try:
        return bool(_codegen.llvm_is_valid_cpu(mcpu, triple))
    except (RuntimeError, ValueError):
        return False


def llvm_features(target: tvm.target.Target) -> frozenset[str]:
    """The LLVM features of an llvm target ("avx512f", "neon", …).

    TVM's own llvm_get_vector_width answers for the host, whatever mcpu says, so vector widths are derived from these.
    """
    features = _codegen.llvm_get_cpu_features(target)
    return frozenset(str(f) for f in (features.keys() if isinstance(features, Mapping) or hasattr(features, "keys") else features))


Constant: Any = tvm.ir.GenericConst  # what relax.const makes


Load: Any = tvm.ir.TensorLoad  # what tirx.BufferLoad makes: source, indices


def constant_array(constant: Constant) -> np.ndarray:
    """A Relax constant as a numpy array (bfloat16 as ml_dtypes.bfloat16)."""
    return constant.value.numpy()


def constant(array: np.ndarray) -> Constant:
    """A Relax constant of the array's own dtype (relax.const would make float32 of float64)."""
    return relax.const(np.ascontiguousarray(array).reshape(array.shape), str(array.dtype))


def set_type(expr: relax.Expr, ty: relax.Type) -> None:
    """Give an expression (a new GlobalVar, …) its type."""
    relax.expr._update_type(expr, ty)


def function_type(params: list[relax.Var], ret: relax.Type, pure: bool) -> relax.FuncType:
    """The type of a function with these parameters."""
    return relax.FuncType([p.ty for p in params], ret, pure)


def module_text(mod: tvm.IRModule) -> str:
    """The module as text, without constants' contents."""
    return mod.script(show_meta=False)


def well_formed(mod: tvm.IRModule) -> None:
    """Raise TVM's own error, which names the place, unless its verifier accepts the module."""
    relax.analysis.well_formed(mod)


_DIRECT = "oarlock.direct"  # attribute of a function made by direct_callee
RESIZE = "oarlock.resize"  # attribute of a kernel that resizes, for rules to read: JSON of what it does
SCRATCH = "oarlock.scratch"  # attribute of a kernel with one local buffer: the function in its LLVM_IR that gives the memory for it
LLVM_IR = "oarlock.llvm"  # attribute of a kernel: text of functions that it calls by call_extern


def build_vm(mod: tvm.IRModule, target: tvm.target.Target, announce: str = "") -> relax.VMExecutable:
    """Kernels and VM code of a module that is lowered already.

    ``announce``: a C function in the library that parallel loops call with their extent (int64) before they run.
    """
    # AttachGlobalSymbol gives every function a symbol of its own, and with one it would be called as a packed function
    mod = mod.clone()
    mod.update(tvm.IRModule({gv: f.without_attr("global_symbol") for gv, f in mod.functions.items() if _is_direct(f)}))
    return relax.build(mod, target=target, relax_pipeline=None, tir_pipeline=tir_pipeline(announce))


def build_kernels(mod: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Module:
    """A module of direct_callees alone, which export their own names, as code of ``target``."""
    functions = {gv: f.without_attr("global_symbol") for gv, f in mod.functions.items() if isinstance(f, tvm.tirx.PrimFunc)}
    # of a system library TVM calls the functions of its runtime by their names, of any other through pointers that a loader fills in
    module = tvm.IRModule(functions).with_attr("system_lib_prefix", "")
    return tvm.tirx.build(module, target=target, pipeline=tir_pipeline(export=True))


@functools.cache
def tir_pipeline(announce: str = "", export: bool = False) -> str:
    """The name of TVM's pipeline for kernels, with the device told to private functions (see direct_callee).

    ``export``: those functions can be called by their names from outside of the library.

    Where a kernel gets its work space from, a packed function learns from its arguments; a function of pointers must be told,
    and only now: passes move work space out of what is put around a body before.
    """
    name = f"oarlock {announce}{' export' * export}".strip()

    def make() -> tuple:
        lower, *finish = _compilation_pipeline.get_tir_pipeline("default")

        @tvm.transform.module_pass(opt_level=0)
        def run(mod: tvm.IRModule, _: tvm.transform.PassContext) -> tvm.IRModule:
            with compat_indices.exact():
                mod = lower(mod)
            new = {gv: _without_masks(f) for gv, f in mod.functions.items() if isinstance(f, tvm.tirx.PrimFunc)}
            new = {gv: f.with_body(_with_ir(f, _announced(_on_stack(f), announce))) for gv, f in new.items()}
            new = {gv: f.with_body(_on_cpu(gv.name_hint, f)) if _is_direct(f) else f for gv, f in new.items()}
            if export:  # only now: a function that has a symbol earlier becomes a packed one
                new = {gv: f.with_attr("global_symbol", gv.name_hint) if _is_direct(f) else f for gv, f in new.items()}
            mod.update(tvm.IRModule(new))
            return mod

        return run, *finish

    _compilation_pipeline.register_tir_pipeline(name, make)
    return name


STACK_BYTES = 16384  # local buffers up to this size are variables of the function: LLVM can keep them in registers


def _on_stack(function: tvm.tirx.PrimFunc) -> tvm.tirx.Stmt:
    """TVM puts local buffers of a kilobyte and more in work space; accumulator tiles are bigger, and belong into registers.

    Those of a kernel with SCRATCH lie where its function says: on the stack TVM aligns nothing to more than 16 bytes.
    """
    scratch = (function.attrs or {}).get(SCRATCH)

    def place(node: tvm.tirx.AllocBuffer) -> tvm.tirx.Stmt:
        ty = node.buffer.ty
        dims = [d for d in map(static, ty.shape) if isinstance(d, int)]
        size = math.prod(dims) * tvm.DataType(str(ty.dtype)).bits // 8
        if str(ty.storage_scope) != "local" or len(dims) < len(ty.shape) or size > STACK_BYTES:
            return node
        if scratch is not None:
            return tvm.tirx.DeclBuffer(node.buffer, data=tvm.tirx.call_extern(_pointer(str(ty.dtype)), str(scratch)))
        return tvm.tirx.AllocBuffer(node.buffer, {"disable_lower_builtin": tvm.tirx.const(True, "bool")})

    return tvm_ffi.structural_map(function.body, (tvm.tirx.AllocBuffer, place))


def _announced(body: tvm.tirx.Stmt, function: str) -> tvm.tirx.Stmt:
    """Parallel loops with a call of ``function`` before them: TVM tells the pool of threads neither the extent nor the share of a task."""

    def loop(node: tvm.tirx.For) -> tvm.tirx.Stmt:
        if node.kind != tvm.tirx.ForKind.PARALLEL:
            return node
        call = tvm.tirx.call_extern("int32", function, tvm.tirx.Cast("int64", node.extent))
        return tvm.tirx.SeqStmt([tvm.tirx.Evaluate(call), node])

    return tvm_ffi.structural_map(body, (tvm.tirx.For, loop)) if function else body


def _with_ir(function: tvm.tirx.PrimFunc, body: tvm.tirx.Stmt) -> tvm.tirx.Stmt:
    """The body of a kernel with the LLVM IR that it came with."""
    text = (function.attrs or {}).get(LLVM_IR)
    if text is None:
        return body

    def call(node: tvm.ir.Call) -> object:
        name = getattr(node.op, "name", "")
        if name not in _VECTOR_OPS:
            return node
        lanes = tvm.DataType(str(node.ty)).lanes
        return tvm.tirx.call_extern(str(node.ty), f"{name.replace('.', '_')}_x{lanes}", *node.args)

    body = tvm_ffi.structural_map(body, (tvm.ir.Call, call))
    return tvm.tirx.AttrStmt(tvm.tirx.const(0, "int32"), "pragma_import_llvm", tvm.ir.StringImm(str(text)), body)


def _without_masks(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """What LLVM compiles, without the remainders that it is wrong about."""
    target = (function.attrs or {}).get("target")
    if target is None or str(target.kind.name) != "llvm":
        return function
    function, text = compat_indices.hide_masks(function)
    return add_llvm_ir(function, text) if text else function


def add_llvm_ir(function: tvm.tirx.PrimFunc, text: str) -> tvm.tirx.PrimFunc:
    """A kernel that brings more functions to call by call_extern, as LLVM IR; what it has already is not added again."""
    known = str((function.attrs or {}).get(LLVM_IR, ""))
    return function if text in known else function.with_attr(LLVM_IR, known + text)


_VECTOR_OPS: set[str] = set()


def vector_op(name: str) -> str:
    """Register a pure operator of TIR that may be vectorised; a kernel's LLVM_IR defines it for n lanes as ``name``_xn, dots as _."""
    tvm_ffi.get_global_func("ir.RegisterOp")(name, "")
    for key, value in (("TVectorizable", True), ("TCallEffectKind", 1), ("TScriptPrinterName", name)):  # 1: pure
        tvm.ir.register_op_attr(name, key, value)
    _VECTOR_OPS.add(name)
    return name


LLVM_LANES = (1, 2, 4, 8, 16, 32, 64)  # of the vectors that vector_ops are defined for


def llvm_types(lanes: int, *elements: str) -> dict[str, str]:
    """LLVM's types of so many lanes, by element type."""
    return {e: e if lanes == 1 else f"<{lanes} x {e}>" for e in elements}


# TVM 0.27 keeps loops over nearbyint scalar, though LLVM has it for vectors: LLVM's own guess at such loops was eight times as slow.
tvm.ir.register_op_attr("tirx.nearbyint", "TVectorizable", True)


def _is_direct(function: object) -> bool:
    return isinstance(function, tvm.tirx.PrimFunc) and _DIRECT in (function.attrs or {})


def _on_cpu(name: str, function: tvm.tirx.PrimFunc) -> tvm.tirx.Stmt:
    """The body of a direct_callee with what TVM's own packed functions have around theirs."""
    t = tvm.tirx
    body = function.body
    views: list[tvm.ir.Var] = []

    def visit(declaration: tvm.tirx.DeclBuffer) -> None:
        if any(declaration.data.same_as(p) for p in function.params):
            views.append(declaration.buffer)

    tvm_ffi.structural_walk(body, (t.DeclBuffer, visit))
    for view in views:
        body = t.AttrStmt(view, "storage_alignment", t.const(64, "int32"), body)
    # A function that LLVM may not inline: TVM tells it that memory under different names is different memory, which holds
    # inside a kernel, but not for the result of one kernel that is the operand of the next.
    body = t.AttrStmt(t.const(0, "int32"), "compute_scope", tvm.ir.StringImm(f"{name}_compute_"), body)
    for key, value in (("device_id", 0), ("device_type", 1)):
        body = t.AttrStmt(tvm.ir.StringImm("default"), key, t.const(value, "int32"), body)
    return t.SeqStmt([body, t.Return(t.const(0, "int32"))])  # outside: work space is given back at the end of what is inside


def packed_calls(func: tvm.tirx.PrimFunc) -> set[str]:
    """The names of all packed functions that a PrimFunc calls."""
    names: set[str] = set()

    def visit(node: tvm.ir.Call) -> None:
        if getattr(node.op, "name", "").startswith("tirx.tvm_call_") and "packed" in node.op.name:
            first = node.args[0]
            if isinstance(first, tvm.ir.StringImm):
                names.add(str(first.value))

    tvm_ffi.structural_walk(func.body, (tvm.ir.Call, visit))
    return names


def runtime_has(name: str) -> bool:
    """Whether TVM's runtime libraries (libtvm_runtime and libtvm_runtime_extra, no Python) register this packed function."""
    if name in ("vm.builtin.debug_print", "vm.builtin.call_py_func"):
        return False  # the first is registered in Python, the second calls into Python
    return name.startswith(("vm.builtin.", "tvm.contrib.sort.", "tvm.contrib.random.", "runtime."))


def copy_primfunc(func: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """A PrimFunc with variables of its own: it must not share symbolic dims with the function that calls it."""
    return tvm.ir.load_json(tvm.ir.save_json(func))


def is_dim(var: tvm.ir.Var) -> bool:
    """Whether a TIR variable is a symbolic dim (an int64 scalar)."""
    return bool(tvm.ir.is_prim_var(var)) and str(var.ty) == "int64"


def has_root_block(function: tvm.tirx.PrimFunc) -> bool:
    """Whether a kernel is made of blocks that a schedule can work on."""
    body = function.body
    return isinstance(body, s_tir.SBlockRealize) and body.block.name_hint == "root"


def has_annotation(function: tvm.tirx.PrimFunc, key: str) -> bool:
    """Whether a block of a kernel has the annotation ``key``."""
    found: list[bool] = []
    tvm_ffi.structural_walk(function.body, (s_tir.SBlock, lambda block: found.append(key in block.annotations)))
    return any(found)


def has_parallel_loops(function: tvm.tirx.PrimFunc) -> bool:
    """Whether a loop of a kernel runs on several threads."""
    found: list[bool] = []
    tvm_ffi.structural_walk(function.body, (tvm.tirx.For, lambda loop: found.append(loop.kind == tvm.tirx.ForKind.PARALLEL)))
    return any(found)


def structural_name(function: tvm.tirx.PrimFunc) -> str:
    """A short name for what a kernel computes: equal for equal kernels, whatever their variables are called, in any process.

    Records are found by it: what a kernel only says of itself, RESIZE, is not in it.
    """
    return f"{tvm_ffi.structural_hash(function.without_attr(RESIZE)) & 0xFFFFFFFFFFFFFFFF:016x}"


def stored_buffers(function: tvm.tirx.PrimFunc) -> set[tvm.ir.Var]:
    """The buffers that a kernel stores into."""
    found: set[tvm.ir.Var] = set()
    tvm_ffi.structural_walk(function.body, (tvm.tirx.BufferStore, lambda store: found.add(store.buffer)))
    return found


def block_values(sch: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> list[tvm.ir.Expr]:
    """What the iterators of a block are bound to, in order."""
    return list(tvm_ffi.get_global_func("s_tir.schedule.GetSBlockRealize")(sch, block).iter_values)


def tir_builder() -> types.SimpleNamespace:
    """TVM's statement builder (IRBuilder and the statements), whose module has moved between releases."""
    return _tir_builder()


@functools.cache
def _tir_builder() -> types.SimpleNamespace:
    from tvm.script import ir_builder
    from tvm.script.ir_builder import tirx as t

    names = ("If", "Then", "Assert", "Else", "While", "seq_scope", "serial", "parallel", "alloc_buffer", "buffer_proxy", "bind")
    return types.SimpleNamespace(IRBuilder=ir_builder.IRBuilder, **{name: getattr(t, name) for name in names})


def block_iterators(func: tvm.tirx.PrimFunc) -> set[tvm.tirx.Var]:
    """The iterator variables of every block in a PrimFunc."""
    found: set[tvm.tirx.Var] = set()
    tvm_ffi.structural_walk(func.body, (s_tir.SBlock, lambda block: found.update(iv.var for iv in block.iter_vars)))
    return found


def static(dim: object) -> object:
    """A dim as int when it is a constant, else the expression itself."""
    if isinstance(dim, int):
        return dim
    return int(dim.value) if isinstance(dim, tvm.tirx.IntImm) else dim


def with_attributes(attrs: tvm.ir.Attrs, **changed: object) -> tvm.ir.Attrs:
    """The same operator attributes with some fields changed; fields that this kind does not have are left out."""
    info = type(attrs).__tvm_ffi_type_info__
    fields = {f.name: changed.get(f.name, getattr(attrs, f.name)) for f in info.fields}
    return tvm.ir.make_node(info.type_key, **fields)


def begin_dataflow(bb: relax.BlockBuilder) -> None:
    """Start a dataflow block by hand (a mutator cannot use the with statement)."""
    bb._begin_dataflow_block()


def end_block(bb: relax.BlockBuilder) -> relax.BindingBlock:
    """End the block that was started last."""
    return bb._end_block()


def equal_dims(a: object, b: object) -> bool:
    """Whether two symbolic dims are equal for sure."""
    return bool(tvm_ffi.structural_equal(a, b)) or bool(tvm.sym.Analyzer().can_prove_equal(a, b))


@contextmanager
def inner_block(bb: relax.BlockBuilder, blocks: list[relax.BindingBlock]) -> Iterator[None]:
    """What is emitted inside goes into a binding block of its own, which is added to ``blocks``."""
    bb._begin_binding_block()
    try:
        yield
    finally:
        blocks.append(bb._end_block())


def substitute(node: Any, values: Mapping[tvm.ir.Var, Any]) -> Any:
    """An expression, a statement or a block with values in place of variables; an int (a dim) is itself."""
    if isinstance(node, int):
        return node
    return tvm_ffi.structural_map(node, (tvm.ir.Var, lambda var: values.get(var, var)))


def map_calls(function: tvm.tirx.PrimFunc, replace: Callable[[tvm.ir.Call], object]) -> tvm.tirx.PrimFunc:
    """A kernel with every call in it (operands first) replaced by what ``replace`` gives."""
    return tvm_ffi.structural_map(function, (tvm.ir.Call, replace))


def map_casts(function: tvm.tirx.PrimFunc, replace: Callable[[tvm.tirx.Cast], object]) -> tvm.tirx.PrimFunc:
    """A kernel with every conversion in it (operands first) replaced by what ``replace`` gives."""
    return tvm_ffi.structural_map(function, (tvm.tirx.Cast, replace))


def serial_loops(function: tvm.tirx.PrimFunc, names: frozenset[str]) -> tvm.tirx.PrimFunc:
    """The kernel with vectorised loops over calls of these operators made serial."""

    def calls(node: tvm.tirx.Stmt) -> bool:
        found: list[tvm.ir.Call] = []
        tvm_ffi.structural_walk(node, (tvm.ir.Call, lambda call: found.append(call) if getattr(call.op, "name", "") in names else None))
        return bool(found)

    def loop(node: tvm.tirx.For) -> tvm.tirx.For:
        if node.kind != tvm.tirx.ForKind.VECTORIZED or not calls(node.body):
            return node
        return tvm.tirx.For(node.loop_var, node.min, node.extent, tvm.tirx.ForKind.SERIAL, node.body)

    return tvm_ffi.structural_map(function, (tvm.tirx.For, loop)) if calls(function.body) else function


def one_thread(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """The kernel with its parallel loops made serial."""

    def loop(node: tvm.tirx.For) -> tvm.tirx.For:
        if node.kind != tvm.tirx.ForKind.PARALLEL:
            return node
        return tvm.tirx.For(node.loop_var, node.min, node.extent, tvm.tirx.ForKind.SERIAL, node.body)

    return tvm_ffi.structural_map(function, (tvm.tirx.For, loop)) if has_parallel_loops(function) else function


def assertion(condition: tvm.ir.Expr, message: str) -> tvm.tirx.Stmt:
    """A statement that fails the kernel with a message unless the condition holds."""
    # 0.27's Python constructor names its first two parameters in the other order than it passes them on
    return tvm.tirx.AssertStmt(condition, tvm.ir.StringImm("ValueError"), [tvm.ir.StringImm(message)])


def checks_equality(function: tvm.tirx.PrimFunc) -> str | None:
    """What a kernel says where numbers that it is given differ, if it reads no tensor and does nothing but ask whether they are equal."""
    found: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tvm.tirx.AssertStmt, found.append))
    if not found or loads(function.body) or not all(isinstance(check.condition, tvm.tirx.EQ) for check in found):
        return None
    said = {"".join(str(part.value) for part in check.message_parts) for check in found}
    return said.pop() if len(said) == 1 else None


def map_buffer_type(ty: tvm.tirx.BufferType, dims: Callable[[list], list]) -> tvm.tirx.BufferType:
    """A buffer type with its shape mapped; the same object when nothing changes."""
    shape = dims(ty.shape)
    if all(tvm_ffi.structural_equal(a, b) for a, b in zip(shape, ty.shape, strict=True)):
        return ty
    rest = (ty.strides, ty.elem_offset, ty.data_alignment, ty.offset_factor, ty.layout, ty.allocated_addr)
    return tvm.tirx.BufferType(ty.dtype, ty.storage_scope, shape, *rest)


def byte_buffer(name: str, size: int | tvm.tirx.Var) -> tvm.ir.Var:
    """A parameter of a PrimFunc: ``size`` bytes."""
    return tvm.tirx.decl_buffer((size,), "uint8", name)


def buffer_pointer(buffer: tvm.ir.Var, offset: int | tvm.ir.Expr, dtype: str) -> tvm.ir.Expr:
    """The address ``offset`` bytes into a buffer parameter, as a pointer to ``dtype``."""
    start = tvm.tirx.buffer_data(buffer)
    if isinstance(offset, int):
        if not offset and str(buffer.ty.dtype) == dtype:
            return start
        offset = tvm.tirx.const(offset, "int64")
    place = tvm.tirx.address_of(tvm.tirx.BufferLoad(buffer, [offset]))
    return tvm.tirx.call_intrin(_pointer(dtype), "tirx.reinterpret", place)


def whole(buffer: tvm.ir.Var) -> tvm.tirx.BufferRegion:
    """All of a buffer, as what a block reads or writes."""
    return tvm.tirx.BufferRegion(buffer, [tvm.ir.Range(0, dim) for dim in buffer.ty.shape])


def bits(buffer: tvm.ir.Var) -> int:
    """Bits of an element."""
    return int(tvm.DataType(str(buffer.ty.dtype)).bits)


def loads(node: object) -> list[Any]:
    """All reads of tensors in an expression (or a statement)."""
    found: list[Any] = []
    tvm_ffi.structural_walk(node, (tvm.ir.TensorLoad, found.append))
    return found


def tensors(function: tvm.tirx.PrimFunc) -> list[tvm.ir.Var]:
    """The parameters of a kernel that are tensors."""
    return [p for p in function.params if isinstance(p.ty, tvm.tirx.BufferType)]


def variables(expr: object) -> set[tvm.ir.Var]:
    """The variables in an expression (or a statement)."""
    found: set[tvm.ir.Var] = set()
    tvm_ffi.structural_walk(expr, (tvm.ir.Var, found.add))
    return found


def direct_sizes(function: tvm.tirx.PrimFunc) -> list[tvm.tirx.Var]:
    """What the direct_callee of a kernel takes after its pointers: scalar parameters, then the symbols in its buffers' shapes."""
    buffers = tensors(function)
    sizes = dict.fromkeys(p for p in function.params if not isinstance(p.ty, tvm.tirx.BufferType))
    for dim in (d for p in buffers for d in p.ty.shape):
        sizes |= dict.fromkeys(sorted(variables(dim), key=lambda v: v.name))
    return list(sizes)


def direct_callee(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """A kernel of tensors as a private function of raw pointers and sizes that returns 0, or −1 with the error set: see direct_call."""
    t = tvm.tirx
    buffers = tensors(function)
    pointers = [t.Var(f"{p.name}_data", _pointer(str(p.ty.dtype))) for p in buffers]
    views = [t.DeclBuffer(p, data=pointer) for p, pointer in zip(buffers, pointers, strict=True)]
    # a kernel may name where its tensors begin in their memory (te.extern's do): here pointers are to the first element
    starts = [p.ty.elem_offset for p in buffers if isinstance(p.ty.elem_offset, t.Var)]
    body = t.SeqStmt([*(t.Bind(start, t.const(0, str(start.ty))) for start in starts), *views, function.body])
    attrs = {"tirx.noalias": True, _DIRECT: True} | {key: text for key, text in (function.attrs or {}).items() if key in (LLVM_IR, SCRATCH)}
    return t.PrimFunc([*pointers, *direct_sizes(function)], body, ret_type=tvm.ir.PrimType("int32")).with_attrs(attrs)


def direct_call(callee: tvm.ir.GlobalVar, arguments: list[tvm.ir.Expr]) -> tvm.tirx.Stmt:
    """Call a direct_callee; the caller fails with its error."""
    return checked(tvm.ir.Call(callee, arguments, ret_ty=tvm.ir.PrimType("int32")))


def checked(status: tvm.ir.Expr) -> tvm.tirx.Stmt:
    """Evaluate a call that gives 0, or something else with TVM's error set: then the caller fails with it."""
    t = tvm.tirx
    fail = t.Evaluate(t.call_intrin("void", "tirx.tvm_throw_last_error"))
    return t.IfThenElse(status != t.const(0, "int32"), fail, None)


def _pointer(dtype: str) -> tvm.ir.PointerType:
    return tvm.ir.PointerType(tvm.ir.PrimType(dtype))
