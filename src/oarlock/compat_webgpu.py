"""The churny TVM calls of the WebGPU target; see compat.py and compat_gpu.py."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import ir, tirx
from tvm.s_tir import pipeline

from . import compat, compat_indices

INFINITY, NEGATIVE_INFINITY, NAN = 0x7F800000, -0x800000, 0x7FC00000  # the bits of these float32, as int32
_MOST = float.fromhex("0x1.fffffep127")  # of float32


def webgpu_target(threads: int, shared: int) -> tvm.target.Target:
    """A GPU of WebGPU's limits: threads of a block, bytes of memory that they share."""
    host = tvm.target.Target({"kind": "llvm", "mtriple": "wasm32-unknown-unknown"})
    return tvm.target.Target({"kind": "webgpu", "max_num_threads": threads, "max_shared_memory_per_block": shared}, host=host)


def rolled(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel without its rules' wish for loops to be unrolled.

    Browsers compile shaders while the user waits: a product of TVM's rules took one a minute (on a CPU), and 0.3 s with its loops.
    """

    def loop(node: tirx.For) -> tirx.For:
        kept = {key: value for key, value in node.annotations.items() if not str(key).startswith("pragma_")}
        if len(kept) == len(node.annotations):
            return node
        return tirx.For(node.loop_var, node.min, node.extent, node.kind, node.body, node.thread_binding, kept, node.step)

    return tvm_ffi.structural_map(function, (tirx.For, loop))


@dataclass(frozen=True)
class Launch:
    """One call of a device's function: what it gets (a parameter's number, or −1 − a work space's), and (axis, extent) of its threads."""

    function: tirx.PrimFunc
    arguments: tuple[int, ...]
    extents: tuple[tuple[str, int], ...]


def launches(name: str, kernel: tirx.PrimFunc, target: tvm.target.Target) -> tuple[list[Launch], list[tuple[str, int]]]:
    """A scheduled kernel of known sizes as calls of device functions, in order, and (type, elements) of each work space between them.

    Raises ValueError where it does more than that.
    """
    callee = compat.direct_callee(rolled(kernel)).without_attr("global_symbol")
    lower, *_ = pipeline.default_s_tir_pipeline()
    with compat_indices.exact():
        mod = lower(tirx.transform.BindTarget(target)(tvm.IRModule({name: callee})))
    whole = mod[name].with_attrs({"target": target, "global_symbol": name})
    mod = tirx.transform.SplitHostDevice()(tvm.IRModule({name: whole}))
    host = mod[name]
    found: list[Launch] = []
    spaces: list[tuple[str, int]] = []
    places: dict[Any, int] = {p: number for number, p in enumerate(host.params)}
    for stmt in _flat(host.body):
        match stmt:
            case tirx.DeclBuffer() if stmt.data in places:
                places[stmt.buffer] = places[stmt.data]
            case tirx.AllocBuffer():
                dims = [compat.static(d) for d in stmt.buffer.ty.shape]
                known = [d for d in dims if isinstance(d, int)]
                if len(known) < len(dims):
                    raise ValueError("work space of a size that is not known")
                places[stmt.buffer] = -1 - len(spaces)
                spaces.append((str(stmt.buffer.ty.dtype), math.prod(known)))
            case tirx.Bind() | tirx.AssertStmt():
                continue
            case tirx.Evaluate() if getattr(getattr(stmt.value, "op", None), "name", "") == "tirx.call_ffi_kernel":
                found.append(_launch(mod, stmt.value, places))
            case tirx.Evaluate():
                continue
            case _:
                raise ValueError(f"a {type(stmt).__name__} between launches")
    return found, spaces


def _flat(stmt: Any) -> list[Any]:
    if isinstance(stmt, tirx.SeqStmt):
        return [x for s in stmt.seq for x in _flat(s)]
    return _flat(stmt.body) if isinstance(stmt, tirx.AttrStmt) else [stmt]


def _launch(mod: tvm.IRModule, call: Any, places: dict[Any, int]) -> Launch:
    first, *rest = call.args
    axes = [str(axis) for axis in call.attrs.launch_params]
    given, extents = rest[: len(rest) - len(axes)], [compat.static(e) for e in rest[len(rest) - len(axes) :]]
    arguments = []
    for argument in given:
        source = argument.args[0] if isinstance(argument, ir.Call) and argument.args else argument
        if source not in places:
            raise ValueError("arguments that are no tensors")
        arguments.append(places[source])
    sizes = [e for e in extents if isinstance(e, int)]
    if len(sizes) < len(extents):
        raise ValueError("as many threads as the inputs decide")
    return Launch(mod[str(first.value)], tuple(arguments), tuple(zip(axes, sizes, strict=True)))


def wgsl(function: tirx.PrimFunc, target: tvm.target.Target) -> str:
    """The WGSL of one device function, whose types are WGSL's."""
    # no StmtSimplify, as TVM has it here: it writes common subexpressions out again, and browsers compile them one by one
    finish = [tirx.transform.LowerWarpMemory(), tirx.transform.LowerIntrin()]
    mod = tvm.transform.Sequential(finish)(tvm.IRModule({str(function.attrs["global_symbol"]): function}))
    mod = tvm.IRModule({gv: _exact_floats(f) for gv, f in mod.functions.items()})
    return str(tvm.get_global_func("target.build.webgpu")(mod, target).inspect_source())


def _exact_floats(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """The float32 constants of a kernel by their bits, where TVM, which writes seven digits, would write another number.

    Infinities and NaN too, which TVM writes as C has them; every NaN becomes the same.
    """

    def replace(number: Any) -> object:
        value = struct.unpack("<f", struct.pack("<f", min(max(float(number.value), -_MOST), _MOST)))[0]
        if str(number.ty) != "float32":
            return number
        if math.isfinite(number.value) and struct.pack("<f", float(f"{value:.6e}")) == struct.pack("<f", value):
            return number
        bits = struct.unpack("<i", struct.pack("<f", value if math.isfinite(number.value) else float(number.value)))[0]
        return tirx.call_intrin("float32", "tirx.reinterpret", tirx.const(NAN if math.isnan(number.value) else bits, "int32"))

    return tvm_ffi.structural_map(function, (tirx.FloatImm, replace))


def shared_bytes(function: tirx.PrimFunc) -> int:
    """Bytes that the threads of a block share."""
    found: list[int] = []

    def visit(node: tirx.AllocBuffer) -> None:
        ty = node.buffer.ty
        if str(ty.storage_scope).startswith("shared"):
            dims = [d for d in map(compat.static, ty.shape) if isinstance(d, int)]
            found.append(math.prod(dims) * tvm.DataType(str(ty.dtype)).bits // 8)

    tvm_ffi.structural_walk(function.body, (tirx.AllocBuffer, visit))
    return sum(found)


def retyped_buffer(buffer: Any, dtype: str, shape: list[Any]) -> Any:
    """A buffer of elements of another type."""
    ty = buffer.ty
    return tirx.decl_buffer(shape, dtype, buffer.name, scope=str(ty.storage_scope), layout=None)


def retyped_pointer(var: Any, dtype: Callable[[str], str]) -> Any:
    """A pointer to elements of another type."""
    element = var.ty.element_type
    if not isinstance(element, ir.PrimType):
        return var
    return tirx.Var(var.name, ir.PointerType(ir.PrimType(dtype(str(element))), var.ty.storage_scope))


def recall(call: Any, args: list[Any], dtype: Callable[[str], str]) -> Any:
    """The same call with other arguments, and its result's type mapped."""
    ret = ir.PrimType(dtype(str(call.ty))) if isinstance(call.ty, ir.PrimType) else call.ty
    return ir.Call(call.op, args, call.attrs, call.ty_args, ret_ty=ret)
