"""profile(): a model or an artifact → a Report, with the machine measured where it was not before."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..inputs import random_inputs
from ..kernels.records import Records, shipped, user_path
from ..runtime.artifact import Artifact
from ..runtime.host import Host
from ..runtime.session import Session
from ..runtime.tvm_runtime import ENV_DIR
from . import machine
from .machine import Peaks
from .roofline import Report, Row, profile_session

Shapes = Mapping[str, Sequence[int | str | None]]
Progress = Callable[[str, int, int], None]


def profile(
    model: Any,
    target: str = "cpu",
    shapes: Shapes | None = None,
    threads: int | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    host: Host | str | None = None,
    inputs: Mapping[str, np.ndarray] | Callable[[Session], Mapping[str, np.ndarray]] | None = None,
    at: Shapes | None = None,
    runs: int = 20,
    remeasure: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Profile a model's kernels where they run.

    model      an Artifact, or whatever compile takes; a model is compiled with the target's options for profiling
    target, shapes, threads, options: as in compile; an artifact takes threads alone
    host       as in compile, and as in Session
    inputs     arrays by name, or a function that gives them for a session; default: seeded random ones, where dynamic dims take
               the sizes of ``at`` (else of ``shapes``)
    runs       timed runs.  ``remeasure``: measure the machine's peaks again; the best of all measurements is kept
    progress   called with (what, done, total)

    Raises what compile raises, and InputError for an artifact that is one native function, and for a model on several devices.
    """
    name = ""
    if isinstance(model, Artifact):
        if options:
            raise InputError("an artifact is compiled already, so it takes no options", where=model.path, todo="give the model itself")
        artifact, name = model, model.path
        _one_device(artifact.runtime, artifact.path)
    else:
        from ..compiler import compile as compile_model
        from ..compiler import profiling_target

        chosen = profiling_target(target, threads, options)
        _one_device(chosen.runtime, f"target {chosen.name}")
        artifact = compile_model(model, chosen, shapes, host=host, progress=progress)
        name = str(model) if isinstance(model, (str, os.PathLike)) else ""
    session = Session(artifact, threads=threads, host=None if isinstance(host, str) else host)
    arrays = inputs(session) if callable(inputs) else inputs
    if arrays is None:
        arrays = random_inputs(session.inputs, at or shapes)
    return profile_with_peaks(session, arrays, runs=runs, remeasure=remeasure, model=name, progress=progress)


def _one_device(runtime: Mapping[str, Any], where: str) -> None:
    """InputError for a model on several devices: nobody tells what the kernels of other processes do."""
    if runtime.get("parallel"):
        raise InputError(
            "the kernels of a model on several devices cannot be profiled",
            where=where,
            todo="profile the model itself on one device, without the option parallel; oarlock bench times whole runs of this one",
        )


def profile_with_peaks(
    session: Session,
    inputs: Mapping[str, np.ndarray],
    *,
    runs: int = 20,
    remeasure: bool = False,
    model: str = "",
    progress: Progress | None = None,
) -> Report:
    """profile_session beside the machine's peaks, which are measured where they are not known, and with what records know of kernels."""
    here = session.artifact.runtime.get("device", "cpu") == "cpu"  # the peaks are of this machine's CPU
    peaks = _peaks(session.threads, remeasure, progress) if here else None
    found = profile_session(session, inputs, runs=runs, peaks=peaks, model=model)
    key = session.artifact.manifest.get("record_key")
    if not isinstance(key, list) or len(key) != 2:
        return found  # an older Oarlock compiled it
    databases = [Records.load(user_path(), missing_ok=True), shipped()]
    return replace(found, rows=tuple(replace(row, measured=_measured(row, databases, *key)) for row in found.rows))


def _measured(row: Row, databases: Sequence[Records], key: str, family: str) -> tuple[dict[str, Any], ...]:
    """What each candidate for a kernel's workload took, the fastest first, by the records that choose (see records.chooser)."""
    for at, records in [(key, r) for r in databases] + [(other, r) for r in databases for other in r.relatives(key, family)]:
        if entries := records.entries(at, row.workload) if row.candidate else {}:
            known = [{"candidate": n, "seconds": e.get("seconds"), "failed": e.get("failed", ""), "on": at} for n, e in entries.items()]
            return tuple(sorted(known, key=lambda c: (c["seconds"] is None, c["seconds"] or 0.0)))
    return ()


def _peaks(threads: int, remeasure: bool, progress: Progress | None) -> Peaks | None:
    """The machine's peaks; None where they are not known and the compiler that could measure them is not there."""
    if not remeasure and (found := machine.known(threads)):
        return found
    if os.environ.get(ENV_DIR):
        return None  # the process runs on libraries of its own, beside which the compiler must not be loaded
    try:
        from .measure import measure
    except ImportError:
        return None
    return machine.keep(measure(threads, progress))
