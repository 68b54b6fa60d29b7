"""The command quantize: a model in 8 bits from a float model and examples, and what each layer's rounding does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table

from . import strictjson
from .cli_common import echo_json, escape, json_option, model_argument, out, progress, shape_option, threads_option
from .cli_host import host_option, load_hosts
from .errors import InputError

if TYPE_CHECKING:
    from .quantising.quantise import Report

NUMBERS = 50  # columns that the numbers of the table take
METHODS, MEASURES = ("absmax", "percentile", "kl", "mse"), ("rms", "max", "winner")


@click.command()
@model_argument
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The folder for the quantised model.")
@click.option(
    "--calibrate",
    "data",
    required=True,
    type=click.Path(path_type=Path),
    help="Examples: a folder of .npz files or pictures, or an .npz file of arrays with one example after the other.",
)
@click.option("--budget", type=click.FloatRange(0), help="The harm that is allowed; layers that do most stay in float until it holds.")
@click.option("--measure", type=click.Choice(MEASURES), default="rms", show_default=True, help="What the budget and the table are about.")
@click.option("--method", type=click.Choice(METHODS), default="absmax", show_default=True, help="How the scales of data are chosen.")
@click.option("--percentile", type=click.FloatRange(0, 100, min_open=True), default=99.99, show_default=True, help="For that method.")
@click.option("--per-channel/--per-tensor", default=True, show_default=True, help="Scales of weights.")
@click.option("--exact/--no-exact", default=False, help="Scales that are powers of two: every engine computes the same integers.")
@click.option("--keep", multiple=True, metavar="NAME", help="A layer (or its weight, or its result) that stays in float; * is allowed.")
@click.option("--hold-out", type=click.IntRange(1), help="Examples to judge by, not to calibrate with (default: a fifth, at most 16).")
@click.option("--sensitivity/--no-sensitivity", default=True, show_default=True, help="Measure what each layer does alone.")
@shape_option
@threads_option
@host_option
@click.option("--top", default=15, show_default=True, type=click.IntRange(0), help="Layers in the table, those that do most harm.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with a bar for each layer to this file.")
@json_option
def quantize(
    model: Path,
    output: Path,
    data: Path,
    budget: float | None,
    measure: str,
    method: str,
    percentile: float,
    per_channel: bool,
    exact: bool,
    keep: tuple[str, ...],
    hold_out: int | None,
    sensitivity: bool,
    shapes: tuple[str, ...],
    threads: int | None,
    hosts: tuple[str, ...],
    top: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Quantise a float model after training: convolutions and products on 8-bit integers.

    Writes OUTPUT/inference.json and .pdiparams, which Paddle runs too, and OUTPUT/quantised.json, the report.  Compile the result with
    --option precision=int8.  A run that was cut off goes on where it was (OUTPUT/calibration.npz).
    """
    from .inputs import parse_shapes
    from .model.write import save_model
    from .quantising import page
    from .quantising.quantise import quantise

    if html and (html.is_dir() or not html.absolute().parent.is_dir()):
        raise InputError("the page cannot be written there", where=str(html), todo="name a file in a folder that exists")
    own, there = model.resolve(), output.resolve()
    if own == there or own.parent / own.stem == there / "inference":  # a folder; a file, or a path without its extension
        raise InputError("the quantised model would replace the float one", where=str(output), todo="name another folder")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder cannot be made: {error.strerror}", where=str(output)) from error
    with progress("reading") as step:
        program, report = quantise(
            str(model),
            str(data),
            budget=budget,
            measure=measure,
            method=method,
            percentile=percentile,
            per_channel=per_channel,
            exact=exact,
            keep=keep,
            held_out=hold_out,
            sensitivity=sensitivity,
            shapes=parse_shapes(shapes),
            threads=threads,
            host=load_hosts(hosts),
            state=output / "calibration.npz",
            progress=step,
        )
    facts = report.to_json()
    try:
        path = save_model(program, output / "inference")
        (output / "quantised.json").write_text(strictjson.dumps(facts, indent=1) + "\n", encoding="utf-8")
        if html:
            html.write_text(page.render(report, str(model)), encoding="utf-8")
    except OSError as error:
        raise InputError(f"the result cannot be written: {error.strerror}", where=str(error.filename or output)) from error
    if as_json:
        echo_json({"model": str(path), **facts, "html": str(html) if html else None})
    else:
        _show(report, path, top, html)


def _show(report: Report, path: Path, top: int, html: Path | None) -> None:
    """The layers that do most harm, and what was done."""
    if report.chosen is not None:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        width = max(24, out.width - NUMBERS)
        table.add_column("layer", no_wrap=True)
        for name in (*MEASURES, "scale"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("in float", no_wrap=True)
        ranked = sorted(report.layers, key=lambda layer: layer.harm.of(report.measure) if layer.harm else 0.0, reverse=True)
        for layer in ranked[:top]:
            harm = layer.harm
            numbers = [f"{harm.of(name):.2g}" if harm else "" for name in MEASURES]
            # the end of a name tells layers apart
            name = layer.name if len(layer.name) <= width else f"…{layer.name[1 - width :]}"
            table.add_row(escape(name), *numbers, f"{layer.scale:.3g}", f"[yellow]{layer.in_float}[/]" if layer.in_float else "")
        if rest := ranked[top:]:
            table.add_row(f"[dim]{len(rest)} more layers[/]")
        out.print(table)
    measure = report.measure
    scales = f"scales by {report.method} of {report.calibrated} examples, weights by {'channel' if report.per_channel else 'tensor'}"
    scales += ", powers of two" if report.exact else ""
    out.print(f"[bold]{len(report.quantised)}[/] of {len(report.layers)} layers on integers ({scales})")
    if report.chosen is not None and report.every is not None:
        allowed = "" if report.budget is None else f", budget {report.budget:g}"
        out.print(
            f"harm on {report.held_out} held-out examples, {measure}: [bold]{report.chosen.of(measure):.3g}[/]{allowed} "
            f"(all layers: {report.every.of(measure):.3g})"
        )
    reasons: dict[str, int] = {}
    for skipped in report.skipped:
        reasons[f"{skipped.operator}: {skipped.why}"] = reasons.get(f"{skipped.operator}: {skipped.why}", 0) + 1
    for reason, count in reasons.items():
        out.print(escape(f"in float as well: {count} × {reason}"))
    out.print(f"{escape(str(path))}: compile it with --option precision=int8" + (f"\npage: {escape(str(html))}" if html else ""))
