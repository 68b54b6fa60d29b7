"""report(): a model → where its time and memory go, and how far each of its kernels is from Paddle."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checking.reference import RunModel
from ..checking.stages import LAST, compile_steps
from ..checking.why import Why, beside_paddle, must_be_readable
from ..errors import OarlockError
from ..inputs import random_inputs
from ..model.load import load_model
from ..model.program import Program
from ..profiling.profiler import profile_with_peaks
from ..profiling.roofline import Report
from ..runtime.host import Host
from ..runtime.session import Session
from . import page

Shapes = Mapping[str, Sequence[int | str | None]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ModelReport:
    """``accuracy``: the kernels beside Paddle; None where they could not be compared, for the reason ``without``."""

    profile: Report
    accuracy: Why | None
    without: str = ""

    def html(self) -> str:
        """One self-contained page."""
        return page.render(self.profile, self.accuracy, self.without)

    def to_json(self) -> dict[str, Any]:
        return self.profile.to_json() | {"accuracy": None if self.accuracy is None else self.accuracy.to_json(), "without": self.without}


def report(
    model: Program | str | Path,
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
    tolerance: float | None = None,
    python: str | None = None,
    run: RunModel | None = None,
    compare: bool = True,
    progress: Progress | None = None,
) -> ModelReport:
    """Profile a model (see ``profile``) and compare each of its kernels with Paddle (see ``why``), on the same build and inputs.

    ``compare``: whether to; where Paddle is not there or cannot run the model, the report says so and has the rest.
    Raises what compile raises.
    """
    from ..compiler import profiling_target

    program = model if isinstance(model, Program) else load_model(model)
    steps = compile_steps(program, profiling_target(target, threads, options), shapes, keep=(LAST,), host=host, progress=progress)
    session = Session(steps.artifact, threads=threads, host=None if isinstance(host, str) else host)
    arrays = inputs(session) if callable(inputs) else inputs
    given = random_inputs(session.inputs, at or shapes) if arrays is None else dict(arrays)
    name = str(model) if isinstance(model, (str, os.PathLike)) else ""
    found = profile_with_peaks(session, given, runs=runs, remeasure=remeasure, model=name, progress=progress)
    if not compare:
        return ModelReport(found, None, "that was not asked for")
    try:
        must_be_readable(steps.target)
        beside = beside_paddle(program, steps, session, given, tolerance=tolerance, python=python, run=run, progress=progress)
    except OarlockError as error:
        return ModelReport(found, None, " ".join(str(error).split()))
    return ModelReport(found, beside)
