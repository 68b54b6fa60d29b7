"""Kernels of plain statements on a GPU.

assert sizes          stays on the host, which knows the sizes
parallel i in n       one thread a turn
anything else         one thread
"""

from __future__ import annotations

from tvm import tirx

from ... import compat, compat_gpu

THREADS = 64  # of a block: turns are long and differ, so blocks are small


def bind_statements(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """The kernel with its statements bound to threads."""
    return compat_gpu.with_root(function, _bind(compat_gpu.root(function)))


def _bind(stmt: tirx.Stmt) -> tirx.Stmt:
    if isinstance(stmt, tirx.SeqStmt):
        # what a statement declares the later ones may use: those stay together
        checks = [s for s in stmt.seq if isinstance(s, tirx.AssertStmt)]
        rest = [s for s in stmt.seq if not isinstance(s, tirx.AssertStmt)]
        if any(not isinstance(s, tirx.For | tirx.SeqStmt) for s in rest):
            parts = [*checks, _one_thread(tirx.SeqStmt(rest) if len(rest) > 1 else rest[0])] if rest else checks
        else:
            parts = [_bind(s) for s in stmt.seq]
        return tirx.SeqStmt(parts) if len(parts) > 1 else parts[0]
    if isinstance(stmt, tirx.AssertStmt):
        return stmt
    if isinstance(stmt, tirx.For) and stmt.kind == tirx.ForKind.PARALLEL:
        return _one_thread_a_turn(stmt)
    return _one_thread(stmt)


def _one_thread(stmt: tirx.Stmt) -> tirx.Stmt:
    body = compat_gpu.in_thread(stmt)
    return compat_gpu.thread_loop("blockIdx.x", 1, lambda _: compat_gpu.thread_loop("threadIdx.x", 1, lambda _: body))


def _one_thread_a_turn(loop: tirx.For) -> tirx.Stmt:
    body = compat_gpu.in_thread(loop.body)
    blocks = tirx.floordiv(loop.extent + (THREADS - 1), THREADS)

    def turn(block: tirx.Var, thread: tirx.Var) -> tirx.Stmt:
        number = block * THREADS + thread
        return tirx.IfThenElse(number < loop.extent, compat.substitute(body, {loop.loop_var: number + loop.min}), None)

    return compat_gpu.thread_loop("blockIdx.x", blocks, lambda b: compat_gpu.thread_loop("threadIdx.x", THREADS, lambda t: turn(b, t)))
