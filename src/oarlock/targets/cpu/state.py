"""What a core must be told before a kernel's sums and after them, in each thread: tile registers (amx.py), denormal numbers.

Intel's cores take a hundred cycles for each operation on denormal numbers, and a trained model has weights as small: a product of
them took fifty times as long.  So sums of products take denormal numbers as 0 (an error of 1e-38 of what is summed).
"""

from __future__ import annotations

from collections.abc import Callable

import tvm_ffi
from tvm import s_tir, tirx

from ... import compat

SUMS = ("tile_acc", "tile_registers", "plain_sums")  # how the names of the blocks begin that compute sums

_FLUSH = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define linkonce_odr i32 @oarlock_flush_denormals() alwaysinline {
  %place = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %place)
  %before = load i32, ptr %place, align 4
  %flush = or i32 %before, 32832 ; results and operands: bits 15 and 6
  store i32 %flush, ptr %place, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret i32 %before
}
define linkonce_odr i32 @oarlock_keep_denormals(i32 %before) alwaysinline {
  %place = alloca i32, align 4
  store i32 %before, ptr %place, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %place)
  ret i32 0
}
"""


def flush_denormals(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """A kernel on x86 whose sums take denormal numbers as 0."""
    return with_flushing(around_sums(function, flushing))


def flushing(body: tirx.Stmt) -> tirx.Stmt:
    """Statements of one thread that take denormal numbers as 0, in a kernel made by ``with_flushing``."""
    before = tirx.Var("before", "int32")
    return tirx.SeqStmt([
        tirx.Bind(before, tirx.call_extern("int32", "oarlock_flush_denormals")),
        body,
        tirx.Evaluate(tirx.call_extern("int32", "oarlock_keep_denormals", before)),
    ])  # fmt: skip


def with_flushing(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """The kernel with the functions that ``flushing`` calls."""
    return compat.add_llvm_ir(function, _FLUSH)


def around_sums(function: tirx.PrimFunc, wrap: Callable[[tirx.Stmt], tirx.Stmt]) -> tirx.PrimFunc:
    """The kernel with its outermost loop over sums wrapped, or what is inside that loop where it runs on several threads."""

    def sums(statement: tirx.Stmt) -> bool:
        found: list[bool] = []
        tvm_ffi.structural_walk(statement, (s_tir.SBlock, lambda block: found.append(block.name_hint.startswith(SUMS))))
        return any(found)

    done: list[bool] = []

    def rewrite(loop: tirx.For) -> tirx.Stmt:
        if done or not sums(loop):
            return loop
        done.append(True)
        if loop.kind == tirx.ForKind.PARALLEL:
            return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, wrap(loop.body), annotations=loop.annotations)
        return wrap(loop)

    return tvm_ffi.structural_map(function, (tirx.For, rewrite), order="pre")
