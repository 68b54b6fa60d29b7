"""Dataflow blocks, without which TVM neither fuses nor removes dead code.

    a = R.add(x, y)                 with R.dataflow():
    b = R.multiply(a, a)       →        a = R.add(x, y)          (a DataflowVar)
    c = If(…)                           b = R.multiply(a, a)
                                        R.output(b)
                                    c = If(…)

TVM's own ConvertToDataflow (0.27) is not used: the CanonicalizeBindings inside it drops every match_cast that gives a dim
the name of another one (``match_cast(y, (n, 4))`` where n is the dim of x), and a concat of the two has no shape any more.
tests/rules/test_dataflow.py tells when that is mended.
"""

from __future__ import annotations

from collections.abc import Iterable

import tvm
from tvm import relax

from ..compat import set_type
from .rewriting import rebound


def dataflow_blocks(mod: tvm.IRModule) -> tvm.IRModule:
    """Every run of bindings without control flow or side effects becomes a dataflow block."""
    out = dict(mod.functions.items())
    for gv, function in mod.functions.items():
        if isinstance(function, relax.Function) and isinstance(function.body, relax.SeqExpr):
            out[gv] = _convert(function)
    return tvm.IRModule(out, attrs=mod.attrs)


def _convert(function: relax.Function) -> relax.Function:
    bindings = [binding for block in function.body.blocks for binding in block.bindings]
    runs: list[tuple[bool, list[relax.Binding]]] = []
    dims = {v for p in function.params for v in relax.analysis.tir_vars_in_type(p.ty)}
    for binding in bindings:
        plain = _is_plain(binding)
        if isinstance(binding, relax.MatchCast):
            # a dim that only the run tells: FuseOps does not see that kernels need it and moves them before it, so a block ends here
            new = set(relax.analysis.tir_vars_in_type(binding.ty)) - dims
            plain, dims = plain and not new, dims | new
        if not runs or runs[-1][0] != plain:
            runs.append((plain, []))
        runs[-1][1].append(binding)
    home = {binding.var: number for number, (_, run) in enumerate(runs) for binding in run}
    shared = set(_variables([function.body.body]))
    for number, (_, run) in enumerate(runs):
        shared.update(v for v in _variables(_values(run)) if home.get(v) != number)
    blocks = []
    for plain, run in runs:
        blocks.append(_dataflow(run, shared) if plain else relax.BindingBlock(run))
    body = relax.SeqExpr(blocks, function.body.body)
    set_type(body, function.body.ty)
    return relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)


def _is_plain(binding: relax.Binding) -> bool:
    """Whether a dataflow block may hold the binding."""
    value = binding.value
    if isinstance(value, relax.If | relax.SeqExpr | relax.Function):
        return False
    if isinstance(value, relax.Call):
        if isinstance(value.op, relax.ExternFunc):
            return False
        if isinstance(value.op, tvm.ir.Op):
            return value.op.name not in ("relax.call_inplace_packed", "relax.print", "relax.assert_op", "relax.call_builtin_with_ctx")
        return bool(getattr(value.op.ty, "purity", True))
    return True


def _values(run: Iterable[relax.Binding]) -> list[relax.Expr]:
    return [binding.value for binding in run]


def _variables(exprs: Iterable[relax.Expr]) -> list[relax.Var]:
    """The variables that expressions use, at any depth."""
    found: list[relax.Var] = []
    for expr in exprs:
        relax.analysis.post_order_visit(expr, lambda e: found.append(e) if isinstance(e, relax.Var) else None)
    return found


def _dataflow(run: list[relax.Binding], shared: set[relax.Var]) -> relax.DataflowBlock:
    local: dict[relax.Var, relax.DataflowVar] = {}
    out = []
    for binding in run:
        var = binding.var
        if var not in shared and not isinstance(var, relax.DataflowVar):
            local[var] = relax.DataflowVar(var.name, var.ty)
        out.append(rebound(binding, local))
    return relax.DataflowBlock(out)
