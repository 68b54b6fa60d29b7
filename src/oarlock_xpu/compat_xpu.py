"""The churny TVM calls of this package; see oarlock/compat.py."""

from __future__ import annotations

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
