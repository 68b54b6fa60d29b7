"""The stages from the importer's Relax module to a shared library, in one flat list.

``build(mod, target)`` runs them; after each one the module is verified, and can be dumped (``dump=folder`` or a function).
Every stage takes a module and gives a new one; an ordering constraint is a comment in ``stages``.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from . import compat
from .errors import InputError, InternalError, OarlockError, UnsupportedError
from .kernels import Choices
from .kernels.choice import CANDIDATE, SCHEDULE, WORKLOAD
from .profiling.work import count_work
from .rules.affine import fold_affine
from .rules.constants import fold_moves
from .rules.dataflow import dataflow_blocks
from .rules.deploy import check_packed_functions
from .rules.integers import integer_products
from .rules.legalise import LEGALISATIONS
from .rules.origins import Groups, call_sites, keep_names
from .rules.scalars import join_sizes
from .rules.sites import Held, sites
from .rules.sizes import name_sizes
from .rules.spelling import simplify_sizes
from .rules.weights import Weights, lift_weights
from .targets import Notes, Place, Stage, Target

Dump = Callable[[str, tvm.IRModule], None]
Kernels = dict[str, dict[str, Any]]
Calls = dict[str, list[tuple[str, list[int]]]]


@dataclass(frozen=True)
class Built:
    """``library``: a shared object whose Relax VM function ``main`` takes (inputs…, weights…) and returns a tuple.

    ``weights``: what to pass after the inputs, in order.  ``notes``: what the stages had to tell (schedules that fell back, …).
    ``kernels``: function name → its schedule, its workload and candidate where there was a choice, and its work (profiling/work.py).
    ``host_calls``: names of the functions of the host that the program calls (runtime/host.py).
    ``places``: what runs where, of a target with several places.
    ``calls``: of each function of the program the kernels that it calls, in order, and the operations that each is for.
    ``results``: of each call in main the results that it gives: (operation, number among its results), None for a step of one.
    ``facts``: what else the target's stages have for the manifest.
    """

    library: bytes
    weights: list[np.ndarray]
    notes: list[str] = field(default_factory=list)
    kernels: Kernels = field(default_factory=dict)
    host_calls: set[str] = field(default_factory=set)
    places: list[Place] = field(default_factory=list)
    calls: Calls = field(default_factory=dict)
    results: list[tuple[Held | None, ...]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def stages(target: Target, weights: Weights, choices: Choices, built: Built) -> list[Stage]:
    """All stages for ``target``; the lifted weights are put into ``weights``, what there is to tell of the program into ``built``."""
    t, takes = relax.transform, target.integer_products
    groups: Groups = {}
    work: dict[str, dict[str, Any]] = {}
    return [
        _passes("canonicalise", t.Normalize(), t.DecomposeOpsForInference()),
        # before folding, which makes floats of quantised weights
        *([Stage("integer-products", lambda mod, notes: integer_products(mod, takes))] if takes else []),
        # not inside dataflow blocks, where TVM legalises every operator to see whether it can be folded, and fails on some
        _passes("fold-constants", t.FoldConstant()),
        # dataflow blocks: dead code goes better inside them, and FuseOps works nowhere else
        Stage("convert-to-dataflow", lambda mod, notes: t.DeadCodeElimination()(dataflow_blocks(mod))),
        # what a model computes twice (a tensor quantised for each of its readers, alike) is computed once
        _passes("share", t.EliminateCommonSubexpr()),
        # a bias reshaped to (1, channels, 1, 1) and weights that are integers times a scale must be constants for what follows
        Stage("fold-shapes", lambda mod, notes: fold_moves(mod)),
        # before layouts: the rule reads weights as the model has them
        Stage("fold-affine", lambda mod, notes: fold_affine(mod)),
        *target.graph_stages(choices),
        # sort, scan and sampling have no plain legalisation on every device: dispatch first
        _passes("dispatch", relax.backend.DispatchSampling(), relax.backend.DispatchSortScan()),
        # reshape is left alone: the VM makes it a view, which costs nothing, where a kernel would copy
        _passes("legalise", t.LegalizeOps(LEGALISATIONS, ["relax.reshape"])),
        # after legalisation: calls on constants (reshaped scales, …) may have come up
        Stage("fold-moves", lambda mod, notes: fold_moves(mod)),
        _passes("fold-legalised", t.FoldConstant(), t.DeadCodeElimination()),
        # FuseTIR compares shapes as they are written: without this, or with name-sizes here, it fails or leaves sums that no tile divides
        Stage("spell-sizes", lambda mod, notes: simplify_sizes(mod)),
        Stage("fuse-operators", lambda mod, notes: _fuse_operators(mod, groups)),
        *target.fusion_stages(choices),
        _passes("fuse", t.FuseTIR(), t.DeadCodeElimination()),
        # after fusing, which matches shapes between kernels; before schedules, which reason about extents
        Stage("name-sizes", lambda mod, notes: name_sizes(mod)),
        # what a kernel has to do, before its schedule says how
        Stage("count-work", lambda mod, notes: _note_work(mod, work)),
        # schedules see whole fused kernels
        *target.kernel_stages(choices),
        Stage("note-kernels", lambda mod, notes: _note_kernels(mod, built.kernels, work)),
        # weights leave the module only now: every rule above may look into constants
        Stage("lift-weights", lambda mod, notes: lift_weights(mod, weights)),
        # the last look at the program as calls of kernels, before targets make other programs of it
        Stage("note-calls", lambda mod, notes: _note_calls(mod, built, groups)),
        *target.program_stages(weights),
        _passes("lower-dataflow", t.ToNonDataflow(), t.RemovePurityChecking(), t.CallTIRRewrite()),
        # last look at the module as calls by name: what the runtime libraries lack must not be called
        Stage("check-packed-functions", lambda mod, notes: check_packed_functions(mod, built.host_calls, target.provides)),
        _passes("plan-memory", t.StaticPlanBlockMemory()),
        # between planning, which says what memory is the same in every run, and lowering, which forgets it
        *target.memory_stages(weights),
        _passes("lower-memory", t.LowerAllocTensor(), t.KillAfterLastUse()),
        _passes("lower-vm", t.LowerRuntimeBuiltin(), t.ComputePrimValue(), t.VMShapeLower(), t.AttachGlobalSymbol()),
    ]


def build(
    mod: tvm.IRModule,
    target: Target,
    *,
    choices: Choices | None = None,
    operations: Sequence[tuple[str, str]] = (),
    dump: Path | str | Dump | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Built:
    """Compile ``mod`` (one public function ``main``, weights as constants) for ``target``.

    ``choices``: says which candidate each kernel is made by; default: the target's first.
    ``operations``: the operator and the name of each of the model's operations, by its number.
    ``dump``: a folder that gets one text file a stage, or a function called with (stage name, module).
    ``progress``: called with (stage name, stages done, stages in all) before each stage.
    Raises UnsupportedError for what the target cannot do, TargetError for a missing tool, InternalError for our own faults.
    """
    weights, notes, write, built = Weights(least=target.lift_bytes), Notes(operations=operations), _writer(dump), Built(b"", [])
    if refusals := target.refusals(mod):
        raise UnsupportedError(
            f"target {target.name} cannot run this model:\n" + "\n".join(f"    {r.what}: {r.why}" for r in refusals),
            where=f"target {target.name}",
        )
    with target.tvm_target, tvm.transform.PassContext(opt_level=3):
        every = [Stage("imported", lambda mod, notes: mod), *stages(target, weights, choices or Choices(), built)]
        report = progress or (lambda stage, done, total: None)
        for number, stage in enumerate(every):
            report(stage.name, number, len(every) + 1)
            mod = _run(stage, mod, notes)
            if write is not None:
                write(stage.name, mod)
        report("generate-code", len(every), len(every) + 1)
        try:
            executable = target.generate(mod)
        except InternalError:
            raise
        except (RuntimeError, ValueError, TypeError) as e:
            raise InternalError(f"TVM failed to build the lowered module: {_last_line(e)}") from e
        with tempfile.TemporaryDirectory(prefix="oarlock-") as scratch:
            library = target.build(executable, Path(scratch))
    kernels = built.kernels | notes.facts.pop("kernels", {})  # those of a library, which the stages above do not see
    return replace(
        built, library=library, weights=weights.arrays, notes=notes.lines, kernels=kernels, places=notes.places, facts=notes.facts
    )


def _run(stage: Stage, mod: tvm.IRModule, notes: Notes) -> tvm.IRModule:
    try:
        mod = stage.run(mod, notes)
    except (OarlockError, InternalError):
        raise
    except Exception as e:  # whatever TVM throws, the stage's name belongs to it
        raise InternalError(f"stage {stage.name} failed: {type(e).__name__}: {_last_line(e)}") from e
    try:
        compat.well_formed(mod)
    except (RuntimeError, ValueError, TypeError) as e:
        raise InternalError(f"stage {stage.name} left a module that is not well-formed: {_last_line(e)}") from e
    return mod


def _fuse_operators(mod: tvm.IRModule, groups: Groups) -> tvm.IRModule:
    marked = relax.transform.AnnotateTIROpPattern()(mod)
    return join_sizes(keep_names(marked, relax.transform.FuseOps()(marked), groups))


def _note_work(mod: tvm.IRModule, work: dict[str, dict[str, Any]]) -> tvm.IRModule:
    """What each fused kernel has to do, for ``note-kernels``; the module stays as it is."""
    work.update(count_work(mod))
    return mod


def _note_kernels(mod: tvm.IRModule, kernels: Kernels, work: dict[str, dict[str, Any]]) -> tvm.IRModule:
    """What each scheduled kernel is, by its attributes, and what it has to do; the module stays as it is."""
    names = {SCHEDULE: "schedule", WORKLOAD: "workload", CANDIDATE: "candidate"}
    for gv, function in mod.functions.items():
        if SCHEDULE in (function.attrs or {}):
            facts: dict[str, Any] = {name: str(function.attrs[key]) for key, name in names.items() if key in function.attrs}
            kernels[gv.name_hint] = facts | ({"work": work[gv.name_hint]} if gv.name_hint in work else {})
    return mod


def _note_calls(mod: tvm.IRModule, built: Built, groups: Groups) -> tvm.IRModule:
    """Which kernels the program calls, and for which operations; the module stays as it is."""
    built.calls.update(call_sites(mod, groups))
    built.results.extend(site.gives for site in sites(mod))
    return mod


def _passes(name: str, *passes: tvm.transform.Pass) -> Stage:
    sequence = tvm.transform.Sequential(list(passes))
    return Stage(name, lambda mod, notes: sequence(mod))


def _writer(dump: Path | str | Dump | None) -> Dump | None:
    if dump is None or callable(dump):
        return dump
    folder, count = Path(dump), itertools.count()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder for dumps cannot be made: {error.strerror}", where=str(folder)) from error

    def write(stage: str, mod: tvm.IRModule) -> None:
        (folder / f"{next(count):02d}-{stage}.py").write_text(compat.module_text(mod), encoding="utf-8")

    return write


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
