"""Which stage of the compiler first changes what a program computes, by building what each stage leaves in the plainest way."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import relax

from ..compiler import compile as compile_model
from ..errors import InternalError, OarlockError
from ..model.program import Program
from ..rules.legalise import LEGALISATIONS
from ..runtime.artifact import Artifact
from ..runtime.session import Session
from ..targets import Target

IMPORTED, LOWERING = "imported", "lowering and generate-code"
LAST = "note-calls"  # after it programs are lowered, which the plain build does in its own way
LIFTED, LEGALISE = "lift-weights", "legalise"
Passes = Callable[[list[np.ndarray]], bool]


@dataclass(frozen=True)
class Steps:
    """A program compiled: the module after each stage, in order, and the whole."""

    target: Target
    modules: list[tuple[str, tvm.IRModule]]
    artifact: Artifact

    def plain(self, index: int, own: bool = True) -> Session:
        """The module after a stage, without the stages that follow."""
        names = [name for name, _ in self.modules]
        weights = self.artifact.weights if LIFTED in names[: index + 1] else []
        return plain_session(self.modules[index][1], self.target, self.artifact, weights, own)


def compile_steps(program: Program, target: Target, shapes: Mapping[str, Any] | None, keep: Collection[str] = ()) -> Steps:
    """``keep``: the stages whose modules are kept; default: all."""
    modules: list[tuple[str, tvm.IRModule]] = []

    def note(name: str, mod: tvm.IRModule) -> None:
        if not keep or name in keep:
            modules.append((name, mod))

    artifact = compile_model(program, target, shapes, dump=note)
    return Steps(target, modules, artifact)


def plain_session(mod: tvm.IRModule, target: Target, like: Artifact, weights: list[np.ndarray], own: bool = True) -> Session:
    """``mod`` legalised and lowered, without fusion, schedules or planned memory; names and types as in ``like``.

    ``own``: by Oarlock's legalisations where it has some; else all by TVM's.

    Raises InternalError when it cannot be built so (a kernel that only its schedule makes whole).
    """
    t = relax.transform
    passes = [
        t.DecomposeOpsForInference(),
        relax.backend.DispatchSampling(),
        relax.backend.DispatchSortScan(),
        t.LegalizeOps(LEGALISATIONS if own else {}, ["relax.reshape"]),
        t.FuseTIR(),
        t.DeadCodeElimination(),
        t.ToNonDataflow(),
        t.RemovePurityChecking(),
        t.CallTIRRewrite(),
        t.LowerAllocTensor(),
        t.KillAfterLastUse(),
        t.LowerRuntimeBuiltin(),
        t.ComputePrimValue(),
        t.VMShapeLower(),
        t.AttachGlobalSymbol(),
    ]
    try:
        with target.tvm_target, tvm.transform.PassContext(opt_level=3):
            lowered = tvm.transform.Sequential(passes)(mod)
            executable = target.generate(lowered)
        with tempfile.TemporaryDirectory(prefix="oarlock-") as scratch:
            library = target.build(executable, Path(scratch))
    except (RuntimeError, ValueError, TypeError, InternalError) as error:
        raise InternalError(f"the module cannot be built plainly: {error}") from error
    manifest: dict[str, Any] = {key: like.manifest[key] for key in ("target", "options", "runtime", "host_calls") if key in like.manifest}
    return Session(Artifact(library, weights, like.signature, manifest))


@dataclass(frozen=True)
class Blame:
    """``stage``: the first after which the numbers are wrong; ``good``: the last after which they were right ("" before the first).

    ``tried``: each stage that was built, and whether it was right (None: it could not be built plainly).
    """

    stage: str
    good: str
    tried: dict[str, bool | None]


def first_bad_stage(steps: Steps, inputs: Mapping[str, np.ndarray], passes: Passes) -> Blame | None:
    """Bisect the stages; None when the whole program is right."""
    try:
        if passes(list(Session(steps.artifact).run(inputs).values())):
            return None
    except OarlockError:
        pass  # it fails as it runs: wrong
    names = [name for name, _ in steps.modules]
    low, high = -1, names.index(LAST) + 1  # right after low, wrong after high
    unknown: dict[int, bool | None] = dict.fromkeys(range(high))
    tried: dict[str, bool | None] = {}
    while inside := [i for i in unknown if low < i < high]:
        middle = inside[len(inside) // 2]
        verdict = tried[names[middle]] = _right(steps, middle, inputs, passes)
        if verdict is None:
            del unknown[middle]
        elif verdict:
            low = middle
        else:
            high = middle
    if high == 0 and _right(steps, 0, inputs, passes, own=False):
        high, low = names.index(LEGALISE), 0  # what was imported is right by TVM's own legalisations
    stage = names[high] if high <= names.index(LAST) else LOWERING
    return Blame(stage, names[low] if low >= 0 else "", tried)


def _right(steps: Steps, index: int, inputs: Mapping[str, np.ndarray], passes: Passes, own: bool = True) -> bool | None:
    try:
        return passes(list(steps.plain(index, own).run(inputs).values()))
    except InternalError:
        return None
    except OarlockError:
        return False
