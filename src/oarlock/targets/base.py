"""The contract of a target: everything that the pipeline and the runtime ask of a device stands in this file.

A target is one folder here, or a package of its own that names a ``Target`` subclass under the entry-point group
``oarlock.targets``.  A target knows no Paddle; it sees Relax modules only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .. import compat
from ..kernels import Choices

if TYPE_CHECKING:
    import tvm
    from tvm import s_tir, tirx

    from ..rules.weights import Weights


# (shape of weights, groups, the last dim of the result or None) → whether there is a kernel, and it is the faster one
TakesIntegers = Callable[[Sequence[int], int, int | None], bool]


@dataclass(frozen=True)
class Refusal:
    """One thing in a module that a target cannot do: what, and why not."""

    what: str
    why: str


@dataclass(frozen=True)
class Place:
    """Where a part of a model runs, of a target with several places.

    ``what``: operators or a kernel.  ``where``: "library", "generated", "host".  ``how``: the library's function or the schedule; for the
    host, the reason.  ``crossing``: bytes that a run copies for it between device and host, None where only run time knows.
    """

    what: str
    where: str
    how: str
    crossing: int | None = 0


@dataclass(frozen=True)
class Part:
    """One program of an artifact that has several (see runtime/artifact.py): the module that it is compiled from, and for what.

    ``takes``, ``gives``: names of what its main takes and returns, where that is not what the model does: "in.2" and "out.0" are the
    model's third input and first output.  ``facts``: more for its part of the manifest, with such names in lists.
    """

    name: str
    target: Target
    module: tvm.IRModule
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    facts: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass
class Notes:
    """What the stages want to tell: facts worth showing that are no errors (a schedule that did not apply, …), and what runs where.

    ``facts``: more for the manifest, by name, JSON-able (what it has of "kernels" is added to those of the module).
    ``operations``, for the stages to read: the operator and the name of each of the model's operations, by its number
    (rules/origins.py); empty where the module comes from no model.
    """

    lines: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    operations: Sequence[tuple[str, str]] = ()

    def add(self, stage: str, text: str) -> None:
        self.lines.append(f"{stage}: {text}")


@dataclass(frozen=True)
class Stage:
    """One named step of the pipeline: IRModule → IRModule.  ``run`` may add to ``notes``."""

    name: str
    run: Callable[[tvm.IRModule, Notes], tvm.IRModule]


@dataclass(frozen=True)
class Search:
    """How MetaSchedule looks for schedules of a target's kernels: ``lanes`` of its vectors (float32), ``threads`` (1: no parallel loops).

    ``finish``: what becomes of a scheduled kernel before it is compiled.
    ``spaces``: schedules of a kernel whose numbers are sampled, to search among; where there are none, MetaSchedule's own rules make them.
    ``fits``: whether such a schedule, with its numbers, is worth a trial.
    """

    lanes: int
    threads: int
    finish: Callable[[tirx.PrimFunc], tirx.PrimFunc]
    spaces: Callable[[s_tir.Schedule], list[s_tir.Schedule]]
    fits: Callable[[s_tir.Schedule], bool]


class Target(ABC):
    """A device that models are compiled for.

    Subclasses take their options as keyword arguments and raise TargetError for a wrong one.
    """

    name: ClassVar[str]
    tuned_by: ClassVar[str] = ""
    """The command that measures this target's kernels; empty: oarlock tune, on the machine that compiles."""
    lift_bytes: ClassVar[int] = 256
    """Constants of as many bytes are weights, which a session holds; smaller ones stay in the program."""
    traceable: ClassVar[bool] = False
    """Whether tensors of its kernels can be read, and written, as they run: ``oarlock why`` does so."""
    host_calls: ClassVar[bool] = False
    """Whether its programs can call functions of the process that they run in (runtime/host.py)."""

    @property
    @abstractmethod
    def options(self) -> Mapping[str, Any]:
        """The options in effect (defaults resolved), JSON-able: they go into the manifest and into record keys."""

    @property
    @abstractmethod
    def tvm_target(self) -> tvm.target.Target:
        """The TVM target that kernels are compiled for."""

    @abstractmethod
    def refusals(self, mod: tvm.IRModule) -> list[Refusal]:
        """What of ``mod`` (after the shared front stages) this target cannot do; empty when it can do everything."""

    @property
    @abstractmethod
    def record_key(self) -> tuple[str, str]:
        """What records of measurements go by: a key that equal machines and options share, and a family of those that are alike."""

    def parts(self, mod: tvm.IRModule, notes: Notes) -> list[Part]:
        """The programs of an artifact that is to have several, for the importer's module: for several chips, or for several devices that
        run the model together.  None by default: there is one, ``mod``."""
        return []

    @property
    def integer_products(self) -> TakesIntegers | None:
        """Which quantised products and convolutions come as those of int8 with int32 sums: says so of the shape of their weights, the
        number of groups and the width of the result; None (the default): none do."""
        return None

    @abstractmethod
    def graph_stages(self, choices: Choices) -> list[Stage]:
        """Relax → Relax rules of this target: layouts, packed weights, library kernels.  They run before legalisation.

        Where there are several ways to make a kernel, ``choices.pick`` says which to take.
        """

    def fusion_stages(self, choices: Choices) -> list[Stage]:
        """Changes to what FuseOps put together (functions marked Primitive), each of which becomes one kernel: none by default."""
        return []

    @abstractmethod
    def kernel_stages(self, choices: Choices) -> list[Stage]:
        """Schedules of this target: they run on the fused module and leave only kernels that can be built.

        A scheduled kernel has the attributes of kernels/choice.py (SCHEDULE, and WORKLOAD and CANDIDATE where it was chosen), by
        which its time in a model is known for a record.
        """

    @property
    def modelled(self) -> bool:
        """Whether its device's clock is that of a model, which tells the same in every run; False by default.

        Then one run of a candidate tells its time, and no gain is noise.
        """
        return False

    @property
    def search(self) -> Search | None:
        """How kernels are searched for on this machine; None (the default): they are not.

        A target that has this puts into ``choices.starts`` what a search of each workload starts from, and replays what was found.
        """
        return None

    def program_stages(self, weights: Weights) -> list[Stage]:
        """Rewrites of the whole program, when kernels are final and ``main`` takes (inputs…, weights…): none by default.

        A stage that passes weights in another way changes ``weights`` accordingly.
        """
        return []

    def memory_stages(self, weights: Weights) -> list[Stage]:
        """Rewrites of the whole program whose tensors have their places, which passes still see: none by default."""
        return []

    def memory_page(self, facts: Mapping[str, Any]) -> str | None:
        """What a manifest says of a plan of memory as an HTML page; None (the default) for a target that makes none."""
        return None

    def memory_config(self, facts: Mapping[str, Any]) -> str | None:
        """The same plan as a file to start from, which an option of the target takes; None (the default): there is no such option."""
        return None

    @property
    def profiling_options(self) -> Mapping[str, Any]:
        """The options of a build whose kernels are called one by one, so that each can be timed in place.

        With those that are not among ``options`` because they change nothing in the artifact.
        """
        return self.options

    def unoptimised(self) -> Target | None:
        """The same target with a code generator that does not try to make kernels fast: where kernels are right by this one and wrong by
        the other, the code generator is wrong.  None (the default): there is no other."""
        return None

    def generate(self, mod: tvm.IRModule) -> Any:
        """The VM executable of the lowered module, its kernels compiled."""
        return compat.build_vm(mod, self.tvm_target)

    def provides(self, name: str) -> bool:
        """Whether the target's runtime has this packed function, beside those of TVM's: none by default."""
        return False

    @abstractmethod
    def build(self, executable: Any, directory: Path) -> bytes:
        """The shared library for a linked VM executable; ``directory`` is an empty scratch folder.

        Raises TargetError when a tool that the target needs is missing or fails.
        """

    def libraries_of(self, schedules: Collection[str]) -> list[str]:
        """The kernel libraries (runtime/libraries.py) that kernels of these schedules call: none by default."""
        return []

    @property
    @abstractmethod
    def runtime(self) -> Mapping[str, Any]:
        """How the runtime loads a library of this target: ``device`` (DLPack name), ``threads`` and the like; JSON-able."""
