"""The churny TVM calls of this package; see oarlock/compat.py."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections.abc import Callable
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, s_tir
from tvm.relax.global_info import VDevice

from oarlock import compat, compat_cuda
from oarlock.rules.rewriting import rewrite_functions
from oarlock.runtime.tvm_runtime import registered

_BUILD = "target.build.ext_dev"
# another name of the same memory of the CPU: TVM 0.27 plans storage by scope alone, and with one name would give a tensor of the host
# the place of one of the device
_HOST_SCOPE = ""
_lock = threading.Lock()  # the hook is one for the process


def xpu_target(model: str, host: tvm.target.Target) -> tvm.target.Target:
    """TVM has no kind for the chip: ext_dev is free for packages."""
    return tvm.target.Target({"kind": "ext_dev", "keys": ["xpu"], "device": "xpu", "model": model}, host=host)


def build_vm(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    compile_kernels: Callable[[tvm.IRModule], Any],
    modules: list[Any],
) -> relax.VMExecutable:
    """compat.build_vm with device functions compiled by ``compile_kernels`` (to a module of TVM), and with ``modules`` linked to it.

    TVM catches what a hook raises as text: an exception of ``compile_kernels`` is kept aside and raised here as it was.
    """
    raised: list[Exception] = []

    def hook(functions: tvm.IRModule, _: Any) -> Any:
        try:
            return compile_kernels(functions)
        except Exception as error:
            raised.append(error)
            raise

    if modules:
        mod = mod.with_attr("external_mods", modules)
    with _lock, registered(_BUILD, hook), tvm.transform.PassContext(opt_level=3, config={"tirx.disable_cse_tir": True}):
        try:
            return compat.build_vm(mod, target)
        except Exception:
            if raised:
                raise raised[0] from None
            raise


def capture_graphs(mod: tvm.IRModule, weights: int, is_kernel: Callable[[str], bool]) -> tvm.IRModule:
    """Parts of the program whose kernels have the same memory in every run as graphs; see native/xpu/plugin/src/graph.cc.

    ``weights``: how many of main's last parameters are.  ``is_kernel``: of external functions, those that do nothing but launch kernels:
    a part ends before any other.
    """
    hidden = rewrite_functions(_Hidden(mod, is_kernel), mod)
    captured = compat_cuda.capture_graphs(hidden, weights)
    return rewrite_functions(_Shown(captured), captured)


_APART, _STORAGE = "vm.builtin.oarlock_apart.", "alloc_storage"  # functions of the VM are never part of a graph


@relax.expr_functor.mutator
class _Hidden(relax.PyExprMutator):
    """What RewriteCUDAGraph would take for part of a graph and is none: functions that are no kernels, and memory of the host, with which
    it fails."""

    def __init__(self, mod: tvm.IRModule, is_kernel: Callable[[str], bool]) -> None:
        super().__init__(mod)
        self.is_kernel = is_kernel

    def visit_extern_func_(self, op: relax.ExternFunc) -> relax.Expr:
        name = str(op.global_symbol)
        return op if name.startswith("vm.builtin.") or self.is_kernel(name) else relax.ExternFunc(_APART + name, op.ty)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = super().visit_call_(call)
        if getattr(call.op, "name", "") == "relax.memory.alloc_storage" and compat.static(call.args[1]) != 0:
            return relax.Call(relax.ExternFunc(_APART + _STORAGE), call.args, None, [call.ty])
        return call


@relax.expr_functor.mutator
class _Shown(relax.PyExprMutator):
    """The contrary, and graphs are the XPU's."""

    def visit_extern_func_(self, op: relax.ExternFunc) -> relax.Expr:
        name = str(op.global_symbol)
        real = name.removeprefix(_APART).replace("vm.builtin.cuda_graph.", "vm.builtin.xpu_graph.")
        return op if real == name else relax.ExternFunc(real, op.ty)

    def visit_call_(self, call: relax.Call) -> relax.Expr:
        if getattr(call.op, "global_symbol", "") == _APART + _STORAGE:
            return relax.op.memory.alloc_storage(*call.args)
        return super().visit_call_(call)


def plugin_function(name: str) -> Callable[..., Any]:
    """A function that the plug-in registered."""
    return tvm_ffi.get_global_func(f"oarlock_xpu.{name}")


def inline_all(function: tvm.tirx.PrimFunc) -> s_tir.SBlock | str:
    """The one block that computes all of a kernel, the others inlined into it; or why that cannot be."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    try:
        blocks = schedule.get_child_blocks(schedule.get_sblock("root"))
    except Exception:  # whatever TVM raises for a kernel without a root
        return "it is made of plain statements"
    if not blocks:
        return "it is made of plain statements"
    for block in blocks:
        kinds = {iv.iter_type for iv in schedule.get(block).iter_vars}
        if kinds - {tvm.tirx.IterVar.DataPar}:
            return "it has a reduction, which generated kernels do not have yet"
    for block in blocks[:-1]:
        try:
            schedule.compute_inline(block)
        except Exception:
            return "it has several results, or steps that cannot be joined"
    return schedule.get(blocks[-1])


def inline(schedule: s_tir.Schedule, block: Any) -> None:
    """Compute a block where it is read, if that can be."""
    try:
        schedule.compute_inline(block)
    except Exception:  # a reduction, a result, or what is read in a way that TVM does not invert
        return


def split_reductions(mod: tvm.IRModule, parts: int) -> tvm.tirx.PrimFunc | None:
    """The kernel "main" as loops, with each reduction that can be in so many parts; None where none can.

    Before: ``for i, k: y[i] = y[i] + x[i, k]``.  After, part p's sum in a buffer of one element: ``for i, p, k': …; y_rf[p, i] = …`` and
    ``for i, p: y[i] = y[i] + y_rf[p, i]``, where part p has neighbouring k, and the last parts may have none.
    """
    _register_reducers()
    schedule = s_tir.Schedule(tvm.IRModule({"main": _plain_casts(mod["main"])}))
    found, blocks = False, schedule.get_child_blocks(schedule.get_sblock("root"))
    try:
        for block in blocks:
            if not schedule.get_loops(block):  # beside one, TVM fails to change loops
                schedule.add_unit_loop(block)
        for block in blocks:
            if (made := _split(schedule, block, parts)) is not None:
                schedule, found = made, True
        if found:
            return _begin_before(tvm.tirx.transform.StmtSimplify()(plain_loops(schedule.mod))["main"])
    except Exception:  # whatever TVM raises for what it cannot do
        pass
    return None


def _split(schedule: s_tir.Schedule, block: Any, parts: int) -> s_tir.Schedule | None:
    """The schedule with a reduction in parts; None where the block is none, or not of a kind that TVM knows."""
    made = schedule.copy()
    loops, kinds = made.get_loops(block), [iv.iter_type for iv in made.get(block).iter_vars]
    reduced = kinds.count(tvm.tirx.IterVar.CommReduce)
    # one loop an iterator, the reduced ones innermost
    if not reduced or len(kinds) != len(loops) or set(kinds[:-reduced]) - {tvm.tirx.IterVar.DataPar}:
        return None
    try:
        whole = made.fuse(*loops[-reduced:]) if reduced > 1 else loops[-1]
        first = made.rfactor(made.split(whole, [parts, None])[0], 0)
        for copy in [made.cache_write(first, k, "local") for k in range(len(made.get(first).writes))]:
            made.reverse_compute_at(copy, made.get_loops(first)[-2])
    except Exception:  # whatever TVM raises for what it cannot do
        return None
    return made


def _begin_before(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """Before: ``for k: if there is one: {if k == 0: y = 0; …}``.  After: ``y = 0; for k: …``, which begins where there is none, too."""
    t = tvm.tirx

    def hoist(loop: tvm.tirx.For) -> tvm.tirx.Stmt:
        there = loop.body
        if not isinstance(there, t.IfThenElse) or there.else_case is not None or not isinstance(there.then_case, t.SeqStmt):
            return loop
        begin, *rest = there.then_case.seq
        is_first = isinstance(begin, t.IfThenElse) and isinstance(begin.condition, t.EQ) and begin.condition.a.same_as(loop.loop_var)
        if not is_first or begin.else_case is not None or loop.loop_var in nodes_in(begin.then_case, t.Var):
            return loop
        body = t.IfThenElse(there.condition, t.SeqStmt(rest) if len(rest) > 1 else rest[0], None)
        return t.SeqStmt([begin.then_case, t.For(loop.loop_var, loop.min, loop.extent, loop.kind, body)])

    return function.with_body(tvm_ffi.structural_map(function.body, (t.For, hoist)))


@functools.cache
def _register_reducers() -> None:
    """Reductions that split_reduction knows beside TVM's own: the first place of the largest, or the smallest (oarlock/ops/reduce.py).

    They take one of two, so that what a block begins with may be combined any number of times.
    """

    def extreme(largest: bool) -> Callable[..., list[Any]]:
        def combine(left: Any, right: Any) -> list[Any]:
            better = right[1] > left[1] if largest else right[1] < left[1]
            take = tvm.tirx.any(better, tvm.tirx.all(right[1] == left[1], right[0] < left[0]))
            return [tvm.tirx.Select(take, there, here) for here, there in zip(left, right, strict=True)]

        return combine

    for largest in (True, False):
        functions = [tvm_ffi.convert(extreme(largest)), tvm_ffi.convert(list)]
        # TVM would release them after Python's end
        for f in functions:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(f))
        tvm_ffi.get_global_func("s_tir.schedule.RegisterReducer")(2, *functions)


def _plain_casts(function: tvm.tirx.PrimFunc) -> tvm.tirx.PrimFunc:
    """The function without casts to the type that is there already."""
    same = (tvm.tirx.Cast, lambda cast: cast.value if dtype_of(cast.value) == dtype_of(cast) else cast)
    return function.with_body(tvm_ffi.structural_map(function.body, same))


def plain_loops(mod: tvm.IRModule) -> tvm.IRModule:
    """Kernels as loops, conditions and buffers, without blocks."""
    t = s_tir.transform
    passes = [
        t.LowerInitBlock(),
        t.PlanAndUpdateBufferAllocationLocation(),
        t.ConvertBlocksToOpaque(),
        t.CompactBufferAllocation(),
        t.LowerOpaqueBlock(),
    ]
    return tvm.transform.Sequential(passes)(mod)


def nodes_in(node: Any, kind: type) -> list[Any]:
    """All nodes of a class in a statement or an expression."""
    found: list[Any] = []
    tvm_ffi.structural_walk(node, (kind, found.append))
    return found


def calls_in(node: Any) -> list[Any]:
    """All calls in a statement or an expression."""
    return nodes_in(node, tvm.ir.Call)


def arithmetic(expr: Any) -> int:
    """The operations of one evaluation, as the chip's time model counts them: a function of floats is 8."""
    total = 0
    t = tvm.tirx

    def add(count: int) -> Callable[[Any], None]:
        def visit(_: Any) -> None:
            nonlocal total
            total += count

        return visit

    kinds = [type(k) for k in _samples()]
    tvm_ffi.structural_walk(expr, [*((kind, add(1)) for kind in kinds), (tvm.ir.Call, add(8)), (t.Cast, add(1)), (t.Select, add(1))])
    return total


def _samples() -> list[Any]:
    """One expression of each kind of arithmetic."""
    t = tvm.tirx
    x = t.Var("x", "float32")
    return [x + x, x - x, x * x, x / x, t.max(x, x), t.min(x, x), x < x, x <= x]


def linear(expr: Any, variables: list[Any]) -> list[Any] | None:
    """Coefficients of the variables and a constant; None where an expression is not linear in them."""
    found = list(tvm.sym.detect_linear_equation(expr, variables))
    return found or None


def replace_loads(expr: Any, replace: Callable[[Any], Any]) -> Any:
    """An expression with its loads of tensors replaced."""
    return tvm_ffi.structural_map(expr, (compat.Load, replace))


def host_device(mod: tvm.IRModule, device: tvm.target.Target, host: tvm.target.Target) -> tuple[tvm.IRModule, Any]:
    """The module with the device and the host as its two places, in the order in which a session names them; and the host."""
    here = VDevice(host, 0, _HOST_SCOPE)
    mod = mod.clone()
    mod.update_global_info("vdevice", [VDevice(device, 0, "global"), here])
    return mod, here


def class_name(node: Any) -> str:
    """The name of a node's class: "Add", "BufferStore", …"""
    return type(node).__name__


def operator_name(call: tvm.ir.Call) -> str:
    """The name of what a call in a kernel calls."""
    return str(getattr(call.op, "name", None) or getattr(call.op, "name_hint", ""))


def dtype_of(expr: Any) -> str:
    """The element type of an expression in a kernel."""
    ty = expr.ty
    return str(getattr(ty, "dtype", ty))


def scope_of(buffer: Any) -> str:
    """Where a buffer lies: "global", "local", "shared"."""
    return str(buffer.ty.storage_scope) or "global"


def pointee(var: Any) -> str | None:
    """The element type that a pointer parameter of a kernel points to; None for a number."""
    ty = var.ty
    return str(ty.element_type.dtype) if isinstance(ty, tvm.ir.PointerType) else None
