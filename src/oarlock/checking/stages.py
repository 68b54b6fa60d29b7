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
from ..kernels import Choices
from ..model.program import Program
from ..rules.legalise import LEGALISATIONS
from ..runtime.artifact import Artifact
from ..runtime.host import Host
from ..runtime.session import Session
from ..targets import Target
from ..targets.cpu import CpuTarget

IMPORTED, LOWERING = "imported", "lowering and generate-code"
CODE = "generate-code"  # it is right by the same target's code generator when that does not optimise
HOST = "host call"  # a function of Python or Paddle
LAST = "note-calls"  # after it programs are lowered, which the plain build does in its own way
LIFTED, LEGALISE = "lift-weights", "legalise"
Passes = Callable[[list[np.ndarray]], bool]


@dataclass(frozen=True)
class Steps:
    """A program compiled: the module after each stage, in order, and the whole.  ``compile`` makes the same for another target.

    ``host``: functions for the model's host calls.
    """

    target: Target
    modules: list[tuple[str, tvm.IRModule]]
    artifact: Artifact
    compile: Callable[[Target], Artifact]
    host: Host | None = None

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return list(Session(artifact, host=self.host).run(inputs).values())

    @property
    def shared(self) -> int:
        """How many modules can be built plainly: all where the target is a CPU, else those before its first stage, for this CPU."""
        if self.target.runtime.get("device") == "cpu":
            return len(self.modules)
        first = {stage.name for stage in (*self.target.graph_stages(Choices()), *self.target.kernel_stages(Choices()))}
        return next((i for i, (name, _) in enumerate(self.modules) if name in first), len(self.modules))

    def plain(self, index: int, own: bool = True) -> Session:
        """The module after a stage, without the stages that follow."""
        if index >= self.shared:
            raise InternalError("kernels of a device have no plain form")
        names = [name for name, _ in self.modules]
        weights = self.artifact.weights if LIFTED in names[: index + 1] else []
        target = self.target if self.target.runtime.get("device") == "cpu" else CpuTarget(threads=1, executor="vm")
        return plain_session(self.modules[index][1], target, self.artifact, weights, own, self.host)

    def of_the_device(self) -> str:
        """The target's stage that makes what this program calls: of calls of its library if there is one, else of its kernels."""
        kernels = self.artifact.manifest["kernels"]
        called = [kernels.get(kernel, {}).get("schedule", "library") for kernel, _ in self.artifact.manifest["calls"]["main"]]
        library = any(schedule.startswith("library") for schedule in called)
        made = self.target.graph_stages(Choices()) if library else self.target.kernel_stages(Choices())
        return made[0].name if made else LOWERING


def compile_steps(
    program: Program,
    target: Target,
    shapes: Mapping[str, Any] | None,
    keep: Collection[str] = (),
    host: Host | str | None = None,
    **more: Any,
) -> Steps:
    """``keep``: the stages whose modules are kept; default: all.  ``host``, ``more``: as compile takes it."""
    modules: list[tuple[str, tvm.IRModule]] = []

    def note(name: str, mod: tvm.IRModule) -> None:
        if not keep or name in keep:
            modules.append((name, mod))

    artifact = compile_model(program, target, shapes, dump=note, host=host, **more)
    functions = None if isinstance(host, str) else host
    return Steps(target, modules, artifact, lambda other: compile_model(program, other, shapes, host=host, **more), functions)


def plain_session(
    mod: tvm.IRModule, target: Target, like: Artifact, weights: list[np.ndarray], own: bool = True, host: Host | None = None
) -> Session:
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
    manifest: dict[str, Any] = {"target": target.name, "options": dict(target.options), "runtime": dict(target.runtime)}
    if like.target == target.name:
        manifest["runtime"] = like.manifest["runtime"]  # with the libraries that its kernels call
    if "host_calls" in like.manifest:
        manifest["host_calls"] = like.manifest["host_calls"]
    return Session(Artifact(library, weights, like.signature, manifest), host=host)


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
    if _passes(steps, steps.artifact, inputs, passes):
        return None
    plain = steps.target.unoptimised()
    if plain is not None and _passes(steps, steps.compile(plain), inputs, passes):
        return Blame(CODE, LAST, {})
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
    if high > steps.shared - 1 and steps.shared < len(names):
        stage = steps.of_the_device()
    return Blame(stage, names[low] if low >= 0 else "", tried)


def _passes(steps: Steps, artifact: Artifact, inputs: Mapping[str, np.ndarray], passes: Passes) -> bool:
    try:
        return passes(steps.run(artifact, inputs))
    except OarlockError:
        return False  # it fails as it runs


def _right(steps: Steps, index: int, inputs: Mapping[str, np.ndarray], passes: Passes, own: bool = True) -> bool | None:
    try:
        return passes(list(steps.plain(index, own).run(inputs).values()))
    except InternalError:
        return None
    except OarlockError:
        return False
