"""The commands report, one page of a model's time, memory and accuracy, and diff, two builds beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table

from .cli_common import (
    compile_options,
    echo_json,
    escape,
    input_options,
    is_artifact,
    json_option,
    model_argument,
    model_inputs,
    must_be_writable,
    out,
    parse_options,
    progress,
    write_text,
)
from .cli_host import host_option, load_hosts
from .reporting.summary import summary

if TYPE_CHECKING:
    from .reporting.diff import Diff

DIFFERENT = 1  # exit status


@click.command()
@model_argument
@compile_options
@host_option
@input_options
@click.option("--at", multiple=True, metavar="NAME=DIMS", help="Sizes of an input to run at, where its dims are dynamic.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(1), help="Timed runs.")
@click.option("--measure", is_flag=True, help="Measure what this machine can do again; the best counts.")
@click.option("--compare/--no-compare", default=True, show_default=True, help="Compare each kernel with Paddle, where that is installed.")
@click.option("--tolerance", type=float, help="What a kernel may introduce, as a part of its result's scale (default: as in check).")
@click.option("--python", help="An interpreter with paddlepaddle (default: this one).")
@click.option("-o", "--out", "path", default="report.html", show_default=True, type=click.Path(path_type=Path), help="The page.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write all timed runs to this file too, for Perfetto or Chrome's tracing.")
@json_option
def report(
    model: Path,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    hosts: tuple[str, ...],
    npz: Path | None,
    image: Path | None,
    seed: int,
    at: tuple[str, ...],
    runs: int,
    measure: bool,
    compare: bool,
    tolerance: float | None,
    python: str | None,
    path: Path,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Write one page about a model: its kernels as a graph, their time beside the roofline, memory, bytes, and errors beside Paddle."""
    from .inputs import parse_shapes
    from .profiling.trace import chrome_trace
    from .reporting.report import report as make_report

    must_be_writable(path, "the page")
    must_be_writable(trace, "the trace")
    with progress("reading") as step:
        found = make_report(
            model,
            target,
            parse_shapes(shapes),
            threads,
            options=parse_options(options),
            host=load_hosts(hosts),
            inputs=lambda session: model_inputs(session, at or shapes, npz, image, seed),
            runs=runs,
            remeasure=measure,
            tolerance=tolerance,
            python=python,
            compare=compare,
            progress=step,
        )
    write_text(path, found.html(), "the page")
    if trace:
        write_text(trace, chrome_trace(found.profile), "the trace")
    if as_json:
        echo_json(found.to_json() | {"html": str(path)})
        return
    run = found.profile
    reached = "" if run.reached is None else f", {run.reached:.0%} of their roofline"
    memory = run.program["peak"]["bytes"]
    kernels = f"{len(run.rows)} kernels in {len(run.program['calls'])} calls"
    out.print(f"{kernels}: {run.kernels_s * 1e3:.3f} ms{reached}; {memory:,} bytes at the peak")
    if found.accuracy is None:
        out.print(f"[yellow]not compared with Paddle:[/] {escape(found.without)}")
    elif found.accuracy.ok:
        out.print(f"[green]no kernel introduces more than {found.accuracy.tolerance:g}[/] of its result's scale")
    else:
        out.print(f"[red]{found.accuracy.wrong} kernels introduce more than {found.accuracy.tolerance:g}[/]: oarlock why looks into them")
    out.print(f"page: {escape(str(path))}")


@click.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path), required=False)
@compile_options
@click.option("--target-b", help="What B is compiled for (default: as A).")
@click.option("--threads-b", type=click.IntRange(1), help="Threads of B (default: as A).")
@click.option("--option-b", "options_b", multiple=True, metavar="NAME=VALUE", help="An option of B's target, besides those of --option.")
@click.option("--option-a", "options_a", multiple=True, metavar="NAME=VALUE", help="An option of A's target, besides those of --option.")
@input_options
@click.option("--tolerance", type=float, help="Of an output's scale (default: what check has for the less exact of the two precisions).")
@click.option("--runs", default=10, show_default=True, type=click.IntRange(1), help="Timed runs of each.")
@click.option("--top", default=15, show_default=True, type=click.IntRange(0), help="Rows in the table, those whose times differ most.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page to this file.")
@json_option
def diff(
    a: Path,
    b: Path | None,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    target_b: str | None,
    threads_b: int | None,
    options_b: tuple[str, ...],
    options_a: tuple[str, ...],
    npz: Path | None,
    image: Path | None,
    seed: int,
    tolerance: float | None,
    runs: int,
    top: int,
    html: Path | None,
    as_json: bool,
) -> None:
    """Compare two builds of a model, or two artifacts: kernels by the operations that they compute, time, memory, size, numbers.

    B is A where it is left out: give --target-b, --option-b or --threads-b.  Exit status 1 when outputs differ by more than the tolerance.
    """
    from .inputs import parse_shapes
    from .reporting import diff_page
    from .reporting.diff import Build
    from .reporting.diff import diff as compare
    from .runtime.artifact import Artifact

    must_be_writable(html, "the page")
    shared = parse_options(options)

    def build(path: Path, target: str, threads: int | None, own: tuple[str, ...]) -> Build:
        if is_artifact(path):
            return Build(Artifact.load(path), threads=threads, options=parse_options(own))
        return Build(path, target, threads, {**shared, **parse_options(own)})

    with progress("reading") as step:
        found = compare(
            build(a, target, threads, options_a),
            build(b or a, target_b or target, threads_b or threads, options_b),
            lambda session: model_inputs(session, shapes, npz, image, seed),
            shapes=parse_shapes(shapes),
            tolerance=tolerance,
            runs=runs,
            progress=step,
        )
    if html:
        write_text(html, diff_page.render(found), "the page")
    if as_json:
        echo_json(found.to_json() | {"html": str(html) if html else None})
    else:
        _show_diff(found, top)
        if html:
            out.print(f"page: {escape(str(html))}")
    if not found.ok:
        raise SystemExit(DIFFERENT)


def _show_diff(found: Diff, top: int) -> None:
    sides = Table("", "A", "B", "B / A", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, a, b, ratio in summary(found):
        sides.add_row(escape(name), escape(a), escape(b), ratio)
    out.print(sides)
    outputs = Table("output", "shape", "largest difference", "rms", "same winner", "", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for o in found.outputs:
        verdict = "[green]ok[/]" if o.ok else f"[red]{escape(o.why)}[/]"
        winner = "" if o.same_winner is None else f"{o.same_winner:.1%}"
        outputs.add_row(escape(o.name), "×".join(map(str, o.shape)), f"{o.max_rel:.1e}", f"{o.rms_rel:.1e}", winner, verdict)
    out.print(outputs)
    rows = sorted(found.rows, key=lambda row: -abs(row.change_s))[:top]
    table = Table("operations", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("calls", "A µs", "B µs", "B − A", "numbers differ by"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows if top else []:
        calls = " ".join(str(len(part.calls)) if part else "–" for part in (row.a, row.b))
        times = [f"{part.seconds * 1e6:.1f}" if part else "–" for part in (row.a, row.b)]
        colour = "red" if row.change_s > 0 else "green"
        differ = row.why or ("" if row.difference is None else f"{row.difference:.1e}")
        name = f"{escape(row.title)}\n[dim]{escape(row.handle)}[/]" if row.handle else escape(row.title)
        table.add_row(name, calls, *times, f"[{colour}]{row.change_s * 1e6:+.1f}[/]", escape(differ))
    if top and rows:
        out.print(table)
    rest = f", {len(found.rows) - len(rows)} not shown" if len(rows) < len(found.rows) else ""
    out.print(f"{len(found.rows)} rows of kernels that compute the same{rest}; tolerance {found.tolerance:g}")
    if found.ok:
        out.print("[green]the outputs are the same within the tolerance[/]")
    else:
        out.print("[red]the outputs differ[/]")
