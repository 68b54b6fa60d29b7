"""The command profile: a table of kernels, JSON, and a page."""

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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .profiling.roofline import Report, Row

NUMBERS = 62  # columns that the numbers of the table take


@click.command()
@model_argument
@compile_options
@host_option
@input_options
@click.option("--at", multiple=True, metavar="NAME=DIMS", help="Sizes of an input to run at, where its dims are dynamic.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(1), help="Timed runs.")
@click.option("--top", default=15, show_default=True, type=click.IntRange(0), help="Kernels in the table; the rest are summed.")
@click.option("--measure", is_flag=True, help="Measure what this machine can do again; the best counts.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with the graph, all kernels, roofline and memory to this file.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write all timed runs to this file, for Perfetto or Chrome's tracing.")
@json_option
def profile(
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
    top: int,
    measure: bool,
    html: Path | None,
    trace: Path | None,
    as_json: bool,
) -> None:
    """Show where a model's time goes: each kernel's time, its work, and how far it is from this machine's roofline.

    A model is compiled with executor=vm, so that its kernels are called one by one; an artifact must have been.
    """
    from .inputs import parse_shapes
    from .profiling.profiler import profile as profile_model
    from .profiling.trace import chrome_trace
    from .reporting import page
    from .runtime.artifact import Artifact

    must_be_writable(html, "the page")
    must_be_writable(trace, "the trace")
    sizes, host = at or shapes, load_hosts(hosts)
    with progress("reading") as step:
        report = profile_model(
            Artifact.load(model) if is_artifact(model) else model,
            target,
            parse_shapes(shapes),
            threads,
            options=parse_options(options),
            host=host,
            inputs=lambda session: model_inputs(session, sizes, npz, image, seed),
            runs=runs,
            remeasure=measure,
            progress=step,
        )
    if html:
        write_text(html, page.render(report), "the page")
    if trace:
        write_text(trace, chrome_trace(report), "the trace")
    if as_json:
        echo_json(report.to_json() | {"html": str(html) if html else None})
    else:
        _show(report, top)
        if html:
            out.print(f"page: {escape(str(html))}")
        if trace:
            out.print(f"trace: {escape(str(trace))} (open it at ui.perfetto.dev)")


def _show(report: Report, top: int) -> None:
    shapes = ", ".join(f"{name} {dims}" for name, dims in report.inputs.items())
    out.print(
        f"[bold]{escape(report.model or 'model')}[/]  {report.threads} thread(s), {escape(shapes)}, {report.runs} runs"
        + (" (compiled with executor=vm)" if report.options.get("executor") == "vm" else "")
    )
    if peaks := report.peaks:
        rates = ", ".join(f"{dtype} {rate / 1e9:.0f}" for dtype, rate in peaks.flops.items())
        levels = ", ".join(f"{level.name} {level.rate / 1e9:.0f} GB/s" for level in peaks.levels)
        out.print(f"[dim]{escape(peaks.cpu)}, measured {peaks.date}:\n{rates} GFLOP/s; {levels}[/]")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    width = max(24, out.width - NUMBERS)
    table.add_column("kernel", no_wrap=True, overflow="ellipsis", max_width=width)
    counted = tuple(report.memory)  # by the device, whose roofline is not known
    for name in ("µs", "share", "MFLOP", *counted, *(() if counted else ("MB", "FLOP/B", "GF/s", "roof"))):
        table.add_column(name, justify="right", no_wrap=True)
    if not counted:
        table.add_column("limit", no_wrap=True)
    for row in report.rows[:top]:
        times = f" ×{row.calls}" if row.calls > 1 else ""
        made = f"{row.candidate}: {row.workload}" if row.candidate else row.schedule
        lines = [row.operators, _tail(row.handles[0], width) if row.handles else "", made]
        name = f"{escape(row.name.removeprefix('fused_'))}{times}" + "".join(f"\n[dim]{escape(line)}[/]" for line in lines if line)
        table.add_row(name, f"{row.seconds * 1e6:.1f}", f"{row.share:.1%}", *(_moved(row, counted) if counted else _numbers(row)))
    if rest := report.rows[top:]:
        cells = f"{sum(row.seconds for row in rest) * 1e6:.1f}", f"{sum(row.share for row in rest):.1%}"
        table.add_row(f"[dim]{len(rest)} more kernels, {sum(row.calls for row in rest)} calls[/]", *cells)
    out.print(table)
    known = f", roofline {report.roofline_s * 1e3:.3f} ms: [bold]{report.reached:.0%}[/] reached" if report.roofline_s else ""
    out.print(
        f"a run [bold]{report.total_s * 1e3:.3f} ms[/] (median {report.total_median_s * 1e3:.3f}); "
        f"kernels {report.kernels_s * 1e3:.3f} ms{known}"
    )
    if counted:
        held = [memory for memory in counted if memory in HELD]
        units = [f"{', '.join(m for m in counted if m not in HELD)}: MB moved", *([f"{', '.join(held)}: KB held at most"] if held else [])]
        out.print(f"[dim]{escape('; '.join(units))}[/]")
        out.print(escape("\n".join(f"{memory}: {_told(sizes)}" for memory, sizes in report.memory.items())))
    for note in report.notes:
        out.print(f"note: {escape(note)}", soft_wrap=False)


def _tail(handle: str, width: int) -> str:
    """The end of a handle, which tells more than its beginning."""
    return handle if len(handle) <= width else f"…{handle[1 - width :]}"


HELD = ("local", "shared")  # kinds of memory of which a core or a cluster holds some; of others bytes are read and written


def _moved(row: Row, counted: tuple[str, ...]) -> list[str]:
    """The cells from the operations on of a kernel whose device counted what it moves."""
    cells = ["" if not row.operations else f"{row.operations / 1e6:.2f}"]
    for memory in counted:
        size = sum(row.memory.get(memory, {}).values())
        cells.append("" if not size else f"{size / 1e3:.1f}" if memory in HELD else f"{size / 1e6:.3f}")
    return cells


def _told(sizes: Mapping[str, int]) -> str:
    words = {"held": "held at most"}
    return ", ".join(f"{size:,} bytes {words.get(how, how)}" for how, size in sorted(sizes.items()))


def _numbers(row: Row) -> list[str]:
    """The cells from the operations on; empty where a number is not known."""
    colours = {"compute": "green", "memory": "cyan", "overhead": "yellow", "host": "magenta"}
    return [
        "" if not row.operations else f"{row.operations / 1e6:.2f}",
        "" if row.bytes is None else f"{row.bytes / 1e6:.2f}",
        "" if not row.intensity else f"{row.intensity:.1f}",
        "" if not row.rate else f"{row.rate / 1e9:.1f}",
        "" if row.reached is None else f"{row.reached:.0%}",
        f"[{colours.get(row.limit, 'dim')}]{row.limit}[/]",
    ]
