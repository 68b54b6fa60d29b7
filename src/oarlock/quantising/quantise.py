"""quantize(): a float model and examples → a model whose layers are computed on 8-bit integers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler import compile, signature_of
from ..errors import InputError, UnsupportedError
from ..importer import Hosts, import_program
from ..model import Program, load_model
from ..model.program import Value
from ..runtime.host import Host
from ..runtime.session import Session
from .calibrate import collect
from .data import Data, examples, split
from .exact import fold_norms, scale_of
from .histogram import METHODS
from .layers import Layer, Skipped, find_layers, named
from .rewrite import quantised, switched, tapped
from .sensitivity import MEASURES, Harm, Judge, choose

Progress = Callable[[str, int, int], None]
REPORT = "quantised"  # what Program.source has the report as


@dataclass(frozen=True)
class LayerReport:
    """One layer: the scale of its data, what quantising it alone does (None: not measured), and why it stays in float, if it does."""

    name: str
    operator: str
    weight: str
    shape: tuple[int, ...]
    scale: float
    largest: float
    harm: Harm | None
    in_float: str

    def to_json(self) -> dict[str, Any]:
        facts = {"name": self.name, "operator": self.operator, "weight": self.weight, "shape": list(self.shape)}
        harm = None if self.harm is None else self.harm.to_json()
        return facts | {"scale": self.scale, "largest": self.largest, "harm": harm, "in_float": self.in_float or None}


@dataclass(frozen=True)
class Report:
    """What was done.  ``every``: what quantising every layer does; ``chosen``: the layers that are; None where nothing was measured."""

    layers: tuple[LayerReport, ...]
    skipped: tuple[Skipped, ...]
    method: str
    per_channel: bool
    exact: bool
    measure: str
    budget: float | None
    calibrated: int
    held_out: int
    every: Harm | None
    chosen: Harm | None

    @property
    def quantised(self) -> list[LayerReport]:
        return [layer for layer in self.layers if not layer.in_float]

    def to_json(self) -> dict[str, Any]:
        return {
            "layers": [layer.to_json() for layer in self.layers],
            "skipped": [{"name": s.name, "operator": s.operator, "why": s.why} for s in self.skipped],
            "method": self.method,
            "per_channel": self.per_channel,
            "exact": self.exact,
            "measure": self.measure,
            "budget": self.budget,
            "calibrated": self.calibrated,
            "held_out": self.held_out,
            "every": None if self.every is None else self.every.to_json(),
            "chosen": None if self.chosen is None else self.chosen.to_json(),
        }


def quantize(
    model: Program | str | os.PathLike[str] | bytes,
    data: Data | Iterable[Mapping[str, Any]],
    *,
    budget: float | None = None,
    measure: str = "rms",
    method: str = "absmax",
    percentile: float = 99.99,
    per_channel: bool = True,
    keep: Sequence[str] = (),
    held_out: int | None = None,
    sensitivity: bool = True,
    exact: bool = False,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    threads: int | None = None,
    host: Host | str | None = None,
    state: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Program:
    """Post-training quantisation: the model with its convolutions and products on 8-bit integers, as ``save_model`` writes it.

    data         examples of the input: a folder of .npz files or pictures, an .npz file with many, a sequence of dicts by input name,
                 or one dict of arrays with the examples along their first axis
    budget       the harm that is allowed, by ``measure`` on held-out examples; layers that do most stay in float until it holds
    measure      "rms", "max" or "winner": see ``oarlock.quantising.sensitivity.Harm``
    method       how the scales of data are chosen: "absmax", "percentile" (of magnitudes), "kl" or "mse"
    exact        scales that are powers of two, batch norms folded: every engine computes the same integers (docs/quantize.md)
    per_channel  a scale for each output channel of the weights, or one for all of them
    keep         names (``*`` for any letters) of layers, of their weights or of their results that stay in float
    held_out     how many examples are not calibrated with but judged by (default: a fifth, at most 16)
    sensitivity  measure what each layer does alone; without it (and without a budget) no examples are held out
    state        a file that counts are kept in, so that a run that was cut off goes on

    The report stands in the result's ``source["quantised"]`` (docs/quantize.md says what it holds).  Raises InputError for data that does
    not fit, UnsupportedError when the model has no layer to quantise.
    """
    made, report = quantise(
        model,
        data,
        budget=budget,
        measure=measure,
        method=method,
        percentile=percentile,
        per_channel=per_channel,
        keep=keep,
        held_out=held_out,
        sensitivity=sensitivity,
        exact=exact,
        shapes=shapes,
        threads=threads,
        host=host,
        state=state,
        progress=progress,
    )
    made.source[REPORT] = report.to_json()
    return made


def quantise(
    model: Program | str | os.PathLike[str] | bytes,
    data: Data | Iterable[Mapping[str, Any]],
    *,
    budget: float | None,
    measure: str,
    method: str,
    percentile: float,
    per_channel: bool,
    keep: Sequence[str],
    held_out: int | None,
    sensitivity: bool,
    exact: bool,
    shapes: Mapping[str, Sequence[int | str | None]] | None,
    threads: int | None,
    host: Host | str | None,
    state: str | os.PathLike[str] | None,
    progress: Progress | None,
) -> tuple[Program, Report]:
    """``quantize`` → (program, report)."""
    _check(budget, measure, method, percentile)
    step = progress or (lambda what, done, total: None)
    program = model if isinstance(model, Program) else load_model(model)
    program = fold_norms(program) if exact else program
    layers, skipped = find_layers(program)
    if not layers:
        raise UnsupportedError(
            "the model has no layer that can be quantised" + "".join(f"\n    {s.name} ({s.operator}): {s.why}" for s in skipped),
            where=str(program.source.get("path", "")),
            todo="layers are conv2d and matmul of a float32 tensor by a stored float32 weight",
        )
    kept = named(layers, keep)
    specs = signature_of(import_program(program, shapes, hosts=Hosts(host)), [v.name for v in program.inputs], list(program.outputs)).inputs
    judged = sensitivity or budget is not None
    found = examples(data, specs, shapes or {})
    calibrating, holding = split(found, held_out) if judged else (found, [])

    def built(made: Program, what: str) -> Session:
        artifact = compile(made, "cpu", shapes, threads, host=host, progress=lambda stage, done, total: step(what, done, total))
        return Session(artifact, host=None if isinstance(host, str) else host)

    values = list(dict.fromkeys(layer.data for layer in layers))
    path = None if state is None else Path(state)
    key = "" if path is None else f"{program.source.get('sha256', '')} {_weights(program)} {[v.name for v in values]} {shapes}"

    def opened() -> Session:
        return built(tapped(program, values), "compiling the float model")

    histograms = collect(opened, len(values), calibrating, path, key, lambda done, total: step("calibrating", done, total))
    of = dict(zip(values, histograms, strict=True))
    scales = {value: h.scale(method, percentile) for value, h in of.items()}
    if exact:
        scales = {value: scale_of(of[value], scale) for value, scale in scales.items()}
    able = [i for i, layer in enumerate(layers) if layer not in kept]
    chosen, harms, every, result = able, {}, None, None
    if judged:
        with built(switched(program, layers, scales, per_channel, exact), "compiling both ways") as session:
            judge = Judge(session, len(layers), holding)
            sets = [[i] for i in range(len(layers))] + [able]
            *alone, every = judge.harms(sets, lambda done, total: step("one layer at a time", done, total))
            harms, result = dict(enumerate(alone)), every
            if budget is not None:
                chosen, result = choose(judge, able, harms, budget, measure, lambda done, total: step("within the budget", done, total))
    made = quantised(program, [layers[i] for i in chosen], scales, per_channel, exact)
    rows = tuple(_row(layers[i], scales, of[layers[i].data].largest, harms.get(i), i in able, i in chosen) for i in range(len(layers)))
    report = Report(rows, tuple(skipped), method, per_channel, exact, measure, budget, len(calibrating), len(holding), every, result)
    return made, report


def _weights(program: Program) -> str:
    """A digest of the stored parameters."""
    total = hashlib.sha256()
    for name, parameter in sorted(program.parameters.items()):
        if parameter.data is not None and parameter.data.size:
            total.update(name.encode())
            total.update(np.ascontiguousarray(parameter.data).reshape(-1).view(np.uint8).data)
    return total.hexdigest()


def _row(layer: Layer, scales: Mapping[Value, float], largest: float, harm: Harm | None, able: bool, chosen: bool) -> LayerReport:
    why = "" if chosen else "the budget" if able else "asked for"
    shape = tuple(int(d) for d in layer.weight.shape)
    return LayerReport(layer.name, layer.operator, layer.parameter, shape, scales[layer.data], largest, harm, why)


def _check(budget: float | None, measure: str, method: str, percentile: float) -> None:
    if budget is not None and not budget >= 0:
        raise InputError(f"{budget} is no budget", todo="give a number of at least 0, such as 0.01")
    if measure not in MEASURES:
        raise InputError(f"there is no measure {measure!r}", todo=f"use one of {', '.join(MEASURES)}")
    if method not in METHODS:
        raise InputError(f"there is no method {method!r}", todo=f"use one of {', '.join(METHODS)}")
    if not 0 < percentile <= 100:
        raise InputError(f"{percentile} is no percentile", todo="give a number above 0, up to 100")
