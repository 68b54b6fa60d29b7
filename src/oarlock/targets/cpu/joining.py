"""Elementwise readers of a product's or a convolution's result as part of the kernel that makes it.

Before: ``y = product(…); q = quantise(y)``, where y is also needed later, so that fusing left the two apart.
After: ``(y, q) = product_and_quantise(…)``: q is made of tiles of y that are still in the first-level cache.
Runs between FuseOps, whose functions it joins, and FuseTIR.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import relax, tirx

from ... import compat
from ...rules.origins import is_group
from .forms import alike, dims
from .tiles import ATTRIBUTE

_ELEMENTWISE = 1  # TVM's patterns up to here (kElemWise, kBroadcast) make each element of few others
MOST = 2  # readers that join one kernel


@dataclass
class _Kernel:
    """A binding that calls a fused function which makes one tensor."""

    binding: relax.VarBinding
    function: relax.Function

    @property
    def var(self) -> relax.Var:
        return self.binding.var

    @property
    def arguments(self) -> list[relax.Expr]:
        return list(self.binding.value.args)


def join_readers(mod: tvm.IRModule) -> tvm.IRModule:
    """Apply the rule to the fused functions of all Relax functions of ``mod``."""
    out = mod.clone()
    for gv, function in mod.functions.items():
        if isinstance(function, relax.Function) and not is_group(function) and isinstance(function.body, relax.SeqExpr):
            blocks = [_joined(mod, out, b) if isinstance(b, relax.DataflowBlock) else b for b in function.body.blocks]
            body = relax.SeqExpr(blocks, function.body.body)
            out[gv] = relax.Function(function.params, body, function.ret_ty, function.is_pure, function.attrs)
    return relax.transform.DeadCodeElimination()(out)


def _joined(mod: tvm.IRModule, out: tvm.IRModule, block: relax.DataflowBlock) -> relax.DataflowBlock:
    makers: dict[relax.Var, _Kernel] = {}
    readers: dict[relax.Var, list[_Kernel]] = {}
    for binding in block.bindings:
        kernel = _kernel(mod, binding)
        if kernel is None:
            continue
        if _is_tiled(mod, kernel.function):
            makers[kernel.var] = kernel
        elif (source := _source(mod, kernel)) in makers and len(readers.get(source, [])) < MOST:
            readers.setdefault(source, []).append(kernel)
    gone = {reader.var for found in readers.values() for reader in found}
    bindings: list[relax.Binding] = []
    for binding in block.bindings:
        if binding.var in gone:
            continue
        if binding.var not in readers:
            bindings.append(binding)
            continue
        maker, found = makers[binding.var], readers[binding.var]
        function = _function(maker, found)
        name = "_".join([maker.binding.value.op.name_hint, *(r.binding.value.op.name_hint.removeprefix("fused_") for r in found)])
        callee = _added(out, name, function)
        arguments = [*maker.arguments, *(a for r in found for a in r.arguments if not a.same_as(maker.var))]
        call = relax.Call(callee, arguments)
        types = relax.TupleType([maker.var.ty, *(r.var.ty for r in found)])  # with this function's symbols, not those of the other
        compat.set_type(call, types)
        both = relax.DataflowVar("joined", types)
        bindings.append(relax.VarBinding(both, call))
        for i, var in enumerate([maker.var, *(r.var for r in found)]):
            bindings.append(relax.VarBinding(var, relax.TupleGetItem(both, i)))
    return relax.DataflowBlock(bindings)


def _kernel(mod: tvm.IRModule, binding: relax.Binding) -> _Kernel | None:
    value = binding.value if isinstance(binding, relax.VarBinding) else None
    if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.GlobalVar):
        return None
    function = mod[value.op]
    fused = isinstance(function, relax.Function) and is_group(function)
    return _Kernel(binding, function) if fused and isinstance(binding.var.ty, relax.TensorType) else None


def _kernels(mod: tvm.IRModule, function: relax.Function) -> list[tirx.PrimFunc | None]:
    """What is called in a fused function; None for whatever else it does."""
    values = [b.value for block in function.body.blocks for b in block.bindings]
    calls = [v if isinstance(v, relax.Call) and getattr(v.op, "name", "") == "relax.call_tir" else None for v in values]
    return [mod[call.args[0]] if call is not None else None for call in calls]


def _is_tiled(mod: tvm.IRModule, function: relax.Function) -> bool:
    return any(kernel is not None and compat.has_annotation(kernel, ATTRIBUTE) for kernel in _kernels(mod, function))


def _source(mod: tvm.IRModule, kernel: _Kernel) -> relax.Var | None:
    """The one tensor of its result's shape that an elementwise kernel reads, all else being constants; None for any other kernel.

    A kernel that takes sizes is another one: they would be the maker's under other names.
    """
    variables = [a for a in kernel.arguments if not isinstance(a, compat.Constant)]
    if len(variables) != 1 or not isinstance(variables[0], relax.Var):
        return None
    if any(k is None or int((k.attrs or {}).get("op_pattern", 8)) > _ELEMENTWISE for k in _kernels(mod, kernel.function)):
        return None
    return variables[0] if alike(dims(variables[0]), dims(kernel.var)) else None


def _function(maker: _Kernel, readers: list[_Kernel]) -> relax.Function:
    """One function with the parameters of all but what the readers read of the maker's; its result is a tuple."""
    first = relax.utils.copy_with_new_vars(maker.function)
    params, bindings, results = list(first.params), [b for block in first.body.blocks for b in block.bindings], [first.body.body]
    for reader in readers:
        at = next(i for i, a in enumerate(reader.arguments) if a.same_as(maker.var))
        copy = relax.utils.copy_with_new_vars(reader.function)
        copy = copy.bind_params({copy.params[at]: results[0]})
        params += copy.params
        bindings += [b for block in copy.body.blocks for b in block.bindings]
        results.append(copy.body.body)
    made = relax.Tuple(results)
    types = relax.TupleType([r.ty for r in results])
    out = relax.Var("made", types)
    body = relax.SeqExpr([relax.DataflowBlock([*bindings, relax.VarBinding(out, made)])], out)
    compat.set_type(body, types)
    return relax.Function(params, body, types, True, maker.function.attrs)


def _added(mod: tvm.IRModule, name: str, function: relax.Function) -> tvm.ir.GlobalVar:
    """A name in ``mod`` for ``function``: one that is there already, if an equal function is."""
    taken = {gv.name_hint: gv for gv in mod.get_global_vars()}
    for n in range(len(taken) + 1):
        own = f"{name}{n or ''}"
        if own not in taken:
            gv = tvm.ir.GlobalVar(own)
            compat.set_type(gv, compat.function_type(list(function.params), function.ret_ty, True))
            mod[gv] = function
            return gv
        if tvm_ffi.structural_equal(mod[taken[own]], function):
            return taken[own]
    raise AssertionError("there are more names than functions")
