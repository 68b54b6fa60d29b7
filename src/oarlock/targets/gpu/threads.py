"""What of a kernel is bound to threads, and what is not."""

from __future__ import annotations

from tvm import s_tir, tirx

from ... import compat_gpu


def is_statements(function: tirx.PrimFunc) -> bool:
    """Whether a kernel is made of plain statements, which schedules cannot work on."""
    return _has_plain_store(compat_gpu.root(function))


def _has_plain_store(stmt: tirx.Stmt) -> bool:
    """Whether something is written outside blocks that have iterators."""
    match stmt:
        case tirx.SeqStmt():
            return any(_has_plain_store(s) for s in stmt.seq)
        case s_tir.SBlockRealize():
            return not stmt.block.iter_vars and _has_plain_store(stmt.block.body) and not isinstance(stmt.block.body, tirx.BufferStore)
        case _ if compat_gpu.statement_kind(stmt) == "threads":
            return False  # bound by whoever made it
        case tirx.For() | tirx.AttrStmt():
            return _has_plain_store(stmt.body)
        case _:
            return True


def gpu_fault(function: tirx.PrimFunc) -> str:
    """Why a scheduled kernel cannot run on a GPU; "" when it can."""
    return _fault(compat_gpu.root(function))


def _fault(stmt: tirx.Stmt) -> str:
    match stmt:
        case tirx.SeqStmt():
            return next(filter(None, map(_fault, stmt.seq)), "")
        case s_tir.SBlockRealize():
            return _fault(stmt.block.body)
        case tirx.AssertStmt():
            return ""
        case _ if compat_gpu.statement_kind(stmt) == "threads":
            unknown = [name for name, known in compat_gpu.sized_allocations(stmt) if not known]
            return f"its work space {unknown[0]} has a size that only run time knows" if unknown else ""
        case tirx.For() | tirx.AttrStmt():
            return _fault(stmt.body)
        case tirx.Evaluate():
            return ""
        case _:
            return "it has statements that are bound to no thread"
