"""A variant of a model with kernels by records, and which of them records chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...compiler import Progress, compile_program, databases
from ...kernels import Choices
from ...kernels.records import chooser, searched
from ...model import Program
from ...runtime.artifact import Artifact
from .target import WebTarget


def compile_chosen(
    program: Program,
    target: WebTarget,
    shapes: Mapping[str, Sequence[int | str | None]] | None,
    records: str | Path | bool,
    progress: Progress,
) -> tuple[Artifact, dict[str, str]]:
    """The artifact, and workload → candidate of the kernels that a record made other than the target would.

    Records of ``oarlock web tune`` are of a browser on a machine; a site is for all: what was measured in any counts.
    """
    known = [] if records is False else databases(records)
    choose = chooser(known, *target.record_key)
    choices = Choices(choose, searched(known, *target.record_key))
    artifact = compile_program(program, target, shapes, choices, progress=progress)
    used = {str(kernel["workload"]) for kernel in artifact.manifest["kernels"].values() if "workload" in kernel}
    others = {workload: picked for workload, picked in choices.picked.items() if picked != choices.asked[workload][0]}
    return artifact, {workload: candidate for workload, candidate in others.items() if workload in used}
