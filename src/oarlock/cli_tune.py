"""The commands of the kernel contest: tune, and records show|merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from .cli_common import (
    compile_options,
    echo_json,
    err,
    escape,
    json_option,
    model_argument,
    npz_option,
    out,
    parse_options,
    progress,
)
from .errors import InputError

if TYPE_CHECKING:
    from .kernels.summary import Summary

SHOWN = 40  # rows of the table of workloads


@click.command()
@model_argument
@click.option("--minutes", default=3.0, show_default=True, type=click.FloatRange(0.0, min_open=True), help="Time to spend, about.")
@click.option("--search", is_flag=True, help="Let MetaSchedule look for schedules of the kernels that lose the most, in half of the time.")
@click.option("--search-trials", type=click.IntRange(1), metavar="N", help="--search with N trials a kernel (default: 64).")
@compile_options
@click.option("--at", multiple=True, metavar="NAME=DIMS", help="Sizes of an input to measure at, where its dims are dynamic.")
@npz_option
@click.option("--records", type=click.Path(path_type=Path), help="The database (default: the user's own, which compile looks into).")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the artifact made of the winners.")
@json_option
def tune(
    model: Path,
    minutes: float,
    search: bool,
    search_trials: int | None,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    at: tuple[str, ...],
    npz: Path | None,
    records: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure candidates for a model's kernels on this machine; compile takes the winners from then on.

    Results are stored after every trial: an interrupted tuning goes on where it was. A device that models its time (an emulator) runs
    each candidate once.
    """
    from .inputs import npz_inputs, parse_shapes
    from .kernels.contest import tune as tune_model
    from .kernels.records import user_path

    if output and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise InputError("the artifact cannot be written there", where=str(output), todo="name a file in a folder that exists")
    try:
        with progress("reading") as step:
            summary = tune_model(
                model,
                target,
                parse_shapes(shapes),
                threads,
                minutes=minutes,
                search=search_trials or search,
                options=parse_options(options),
                inputs=npz_inputs(npz) if npz else None,
                at=parse_shapes(at) or None,
                records=records,
                progress=step,
            )
    except KeyboardInterrupt:
        err.print(f"stopped; what was measured is in {escape(str(records or user_path()))}")
        raise click.Abort from None
    if output and summary.artifact:
        summary.artifact.save(output)
    if as_json:
        echo_json(summary.to_json() | {"artifact": str(output) if output else None})
    else:
        show(summary)


def show(summary: Summary) -> None:
    table = Table("workload", "calls", "default", "µs", "winner", "µs", "gain", "tried")
    for row in summary.rows[:SHOWN]:
        changed = row.winner != row.default
        winner = f"[green]{escape(row.winner)}[/]" if changed else "="
        times = f"{row.default_s * 1e6:.1f}", f"{row.winner_s * 1e6:.1f}" if changed else ""
        gain = f"{row.gain:.0%}" if changed else ""
        table.add_row(escape(row.workload), str(row.calls), escape(row.default), times[0], winner, times[1], gain, str(row.tried))
    out.print(table)
    if len(summary.rows) > SHOWN:
        out.print(f"… and {len(summary.rows) - SHOWN} smaller ones")
    for searched in summary.searched:
        before, best = (f"{s * 1e6:.1f} µs" if s else "nothing" for s in (searched.base_s, searched.best_s))
        failed = f", {searched.failed} failed" if searched.failed else ""
        stopped = f" ({escape(searched.stopped)})" if searched.stopped else ""
        out.print(f"searched {escape(searched.workload)}: {searched.trials} trials{failed}{stopped}; alone {before} before, {best} found")
    for workload, candidate, reason in summary.failed:
        out.print(f"[red]failed:[/] {escape(workload)}: {escape(candidate)}: {escape(reason)}")
    ratio = f"{summary.tuned_s / summary.default_s:.3f}×"
    if summary.kept:
        out.print("the winners together were no faster than the choices before: those stay")
    if summary.modelled:
        out.print("times are modelled for the device, not measured: one run a candidate")
    out.print(
        f"default {summary.default_s * 1e3:.3f} ms, tuned [bold]{summary.tuned_s * 1e3:.3f} ms[/] ({ratio}) on {escape(summary.target)}\n"
        f"{summary.trials} trials, {summary.left} candidates left untried; records: {escape(summary.records)}"
    )


def _turns(row: dict[str, Any]) -> str:
    return "modelled" if row.get("modelled") else str(row.get("count", ""))


@click.group()
def records() -> None:
    """Show and merge databases of measurements."""


@records.command("show")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@json_option
def show_records(file: Path | None, as_json: bool) -> None:
    """List what is recorded in FILE (default: the user's own database)."""
    from .kernels.records import Records, user_path

    found = Records.load(file or user_path(), missing_ok=file is None)
    rows = [{"target": key, "workload": workload, "candidate": name, **entry} for key, workload, name, entry in found]
    if as_json:
        echo_json(rows)
        return
    table = Table("target", "workload", "candidate", "µs", "turns", "date")
    for row in sorted(rows, key=lambda r: (r["target"], r["workload"], r.get("seconds", float("inf")))):
        untimed = f"[red]{escape(row['failed'])}[/]" if "failed" in row else "not timed yet"
        time = f"{row['seconds'] * 1e6:.1f}" if "seconds" in row else untimed
        table.add_row(*(escape(str(row[k])) for k in ("target", "workload", "candidate")), time, _turns(row), row.get("date", ""))
    out.print(table)
    out.print(f"{len(rows)} records in {escape(str(file or user_path()))}")


@records.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The merged database.")
@json_option
def merge(files: tuple[Path, ...], output: Path, as_json: bool) -> None:
    """Join databases into one; what several have becomes the mean."""
    from .kernels.records import Records

    joined = Records()
    for file in files:
        joined.merge(Records.load(file))
    joined.save(output)
    if as_json:
        echo_json({"records": len(joined), "output": str(output)})
    else:
        out.print(f"{len(joined)} records in {escape(str(output))}")
