"""Schedules for a GPU: every loop over tensors is bound to threads, or the model is refused.

Kernels of blocks go to TVM's GPU rules in order.  Kernels of plain statements (sorting, suppression, dynamic programming) run on
as many threads as their outermost parallel loop has turns, and on one thread where there is none: right, and slow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tvm
from tvm import s_tir, tirx
from tvm.s_tir import dlight

from ... import compat, compat_gpu
from ...errors import UnsupportedError
from ...kernels import Choices
from ...kernels.choice import CANDIDATE, SCHEDULE, WORKLOAD
from ..base import Notes
from .serial import bind_statements
from .threads import gpu_fault, is_statements

# the most special first: each gives None for a kernel that is not its kind
_RULES: list[tuple[str, Callable]] = [
    ("matmul", dlight.gpu.Matmul),
    ("gemv", dlight.gpu.GEMV),
    ("reduction", dlight.gpu.Reduction),
    ("general-reduction", dlight.gpu.GeneralReduction),
    ("elements", dlight.gpu.Fallback),
]


# A target's own schedules of a kernel, the most promising first: candidate → what makes it, which may fail or give None.  SCHEDULE is the
# first word of a candidate's name.
Own = Callable[[tirx.PrimFunc], Mapping[str, Callable[[], s_tir.Schedule | None]]]

# A rule that shares a reduction among the threads of a block wastes most of them on a shorter one: a depthwise convolution, a window.
_SHARED_FROM = 64


# A GPU with many multiprocessors is not filled by fewer elements than this: their sums, unless they are short, are then shared.
_ELEMENTS_FROM, _WORTH_SHARING = 1 << 14, 32


def _in_order(function: tirx.PrimFunc, windows: bool, many: bool) -> list[tuple[str, Callable]]:
    """The rules in the order in which they are likely to be best.  ``many``: the GPU has a hundred multiprocessors, not ten."""
    length = compat_gpu.reduction_length(function)
    elements_first = [_RULES[0], _RULES[-1], *_RULES[1:-1]]
    if windows and compat_gpu.reduction_axes(function) >= 3:
        return elements_first
    if many and length is not None:
        summed, after = compat_gpu.summed_elements(function)
        # or where a sum is spread over many: the threads of a block that shares it would write them all
        enough = summed is not None and (summed >= _ELEMENTS_FROM or after >= max(_ELEMENTS_FROM, 4 * summed))
        # TVM's rule for products by a vector may take the matrix for the vector, and keep it in shared memory
        return elements_first if length < _WORTH_SHARING or enough else [_RULES[0], _RULES[2], _RULES[1], *_RULES[3:]]
    return _RULES if length is None or length >= _SHARED_FROM else elements_first


def schedule_module(
    mod: tvm.IRModule,
    target: tvm.target.Target,
    choices: Choices,
    notes: Notes,
    name: str,
    *,
    windows: bool = False,
    own: Own | None = None,
) -> tvm.IRModule:
    """Schedule every kernel of ``mod`` for the target called ``name``; UnsupportedError names all that cannot run on a GPU.

    ``windows``: convolutions that are no products get one thread an element by default, however many terms an element has.
    ``own``: what comes before TVM's rules.
    """
    new: dict[tvm.ir.GlobalVar, tirx.PrimFunc] = {}
    refused: list[str] = []
    for gv, function in mod.functions.items():
        if not isinstance(function, tirx.PrimFunc) or SCHEDULE in (function.attrs or {}) or compat_gpu.is_host_function(function):
            continue
        scheduled = _schedule(gv.name_hint, function, target, choices, notes, name, windows, own)
        if fault := gpu_fault(scheduled):
            refused.append(f"    {gv.name_hint}: {fault}")
        new[gv] = scheduled
    if refused:
        raise UnsupportedError(
            "kernels of this model cannot run on a GPU:\n" + "\n".join(refused),
            where=f"target {name}",
            todo='compile the model with target="cpu", or with fixed shapes where a size of work space is not known',
        )
    if new:
        mod = mod.clone()
        mod.update(tvm.IRModule(new))
    return mod


def _schedule(
    kernel: str,
    function: tirx.PrimFunc,
    target: tvm.target.Target,
    choices: Choices,
    notes: Notes,
    name: str,
    windows: bool,
    own: Own | None,
) -> tirx.PrimFunc:
    if compat_gpu.is_scheduled(function):
        return function.with_attr(SCHEDULE, "tvm")
    function = compat_gpu.one_root(compat_gpu.exact_doubles(compat_gpu.without_wide_shifts(function)))
    if is_statements(function):
        return _launched(bind_statements(function)).with_attr(SCHEDULE, "statements")
    workload = f"gpu {compat.structural_name(function)}"

    def made(kind: str, make: Callable[[], s_tir.Schedule | None]) -> tirx.PrimFunc | None:
        try:
            schedule = make()
            if schedule is None:
                return None
            compat_gpu.check_reductions(schedule.mod["main"])
            if not compat_gpu.fits_shared_memory(schedule.mod["main"], target):
                raise ValueError("its tiles are larger than the shared memory of a block")
        except Exception as e:  # whatever TVM raises, the next one may do
            text = next((line.strip() for line in str(e).splitlines() if line.strip()), repr(e))
            notes.add(f"{name}-schedule", f"{kernel}: rule {kind} does not apply ({type(e).__name__}: {text[:200]})")
            return None
        launched = _launched(schedule.mod["main"])
        return None if gpu_fault(launched) else launched.with_attrs({SCHEDULE: kind.split()[0], WORKLOAD: workload, CANDIDATE: kind})

    makers = dict(own(function)) if own else {}
    if makers:
        makers["matmul"] = lambda: dlight.gpu.Matmul().apply(function, target, False)
    while makers:  # there are many of these: only what is picked is made
        picked = choices.pick(workload, {kind: kind for kind in makers})
        if (chosen := made(picked, makers.pop(picked))) is not None:
            return chosen
    candidates: dict[str, tirx.PrimFunc] = {}
    for kind, rule in _in_order(function, windows, own is not None):
        if len(candidates) == 2 or candidates and "elements" not in (kind, *candidates):
            continue  # one thread an element, and the first rule that takes the kernel, are the candidates
        scheduled = made(kind, lambda rule=rule: rule().apply(function, target, False))  # type: ignore[misc]
        if scheduled is not None:
            candidates[kind] = scheduled
    return choices.pick(workload, candidates) if candidates else function


def _launched(function: tirx.PrimFunc) -> tirx.PrimFunc:
    return compat_gpu.with_root(function, compat_gpu.skip_empty(compat_gpu.root(function)))
