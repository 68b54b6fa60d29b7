"""The command why: which operation is wrong, by which stage, and a folder that shows it."""

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
    json_option,
    model_argument,
    model_inputs,
    out,
    parse_options,
    progress,
)
from .cli_host import host_option, load_hosts

if TYPE_CHECKING:
    from .checking.stages import Blame
    from .checking.why import Why

WRONG = 1  # exit status


@click.command()
@model_argument
@compile_options
@host_option
@input_options
@click.option("--tolerance", type=float, help="What a kernel may introduce, as a part of its result's scale (default: as in check).")
@click.option("--python", help="An interpreter with paddlepaddle (default: this one).")
@click.option("--most", default=1, show_default=True, type=click.IntRange(1), help="Guilty kernels that are looked into.")
@click.option("-o", "--out", "folder", type=click.Path(path_type=Path), help="A folder for a model and a script that show the fault.")
@click.option("--top", default=8, show_default=True, type=click.IntRange(0), help="Kernels in the table.")
@json_option
def why(
    model: Path,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    hosts: tuple[str, ...],
    npz: Path | None,
    image: Path | None,
    seed: int,
    tolerance: float | None,
    python: str | None,
    most: int,
    folder: Path | None,
    top: int,
    as_json: bool,
) -> None:
    """Find the operation whose numbers differ from Paddle's, and the stage of the compiler that makes it so.

    Every kernel is given what Paddle gives its inputs, so that an error counts where it is made, not where it is carried to.
    Exit status 1 when one is guilty.
    """
    from .checking.why import why as find
    from .inputs import parse_shapes

    with progress("reading") as step:
        found = find(
            model,
            lambda session: model_inputs(session, shapes, npz, image, seed),
            shapes=parse_shapes(shapes),
            target=target,
            threads=threads,
            options=parse_options(options),
            host=load_hosts(hosts),
            tolerance=tolerance,
            python=python,
            most=most,
            folder=folder,
            progress=step,
        )
    if as_json:
        echo_json(found.to_json())
    else:
        _show(found, top)
    if not found.ok:
        raise SystemExit(WRONG)


def _show(found: Why, top: int) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("#", "operations", "kernel", "shape"):
        table.add_column(name, no_wrap=name == "#")
    table.add_column("introduced", justify="right")
    table.add_column("carried", justify="right")
    worst = sorted(enumerate(found.layers), key=lambda row: (not row[1].why, -row[1].introduced))[:top]
    for place, layer in sorted(worst, key=lambda row: row[0]):
        colour = "red" if layer.guilty(found.tolerance) else "dim"
        error = layer.why or f"{layer.introduced:.1e}"
        operations = " + ".join(o.operator for o in layer.operations)
        where = layer.operations[-1].handle if layer.operations else ""
        table.add_row(
            str(place),
            escape(f"{operations}\n{where}"),
            escape(layer.kernel),
            escape("×".join(map(str, layer.shape))),
            f"[{colour}]{escape(error)}[/]",
            f"{layer.carried:.1e}",
        )
    out.print(table)
    apart = f"; {found.uncompared} give nothing that Paddle has" if found.uncompared else ""
    out.print(f"{len(found.layers)} kernel calls compared with Paddle, tolerance {found.tolerance:g} of each result's scale{apart}")
    if found.ok:
        out.print("[green]no kernel introduces more[/]")
    else:
        out.print(f"[red]{found.wrong} introduce more[/], in order:")
    for guilt in found.guilty:
        out.print(f"[bold red]guilty[/]: {escape(guilt.text)}")
        if guilt.blame is not None:
            out.print(f"  {_stages(guilt.blame)}")
        if guilt.script:
            out.print(f"  shown by: python {escape(guilt.script)}")


def _stages(blame: Blame) -> str:
    if blame.good:
        return f"right after stage {blame.good}, wrong after {blame.stage}"
    return "wrong as imported" if blame.stage == "imported" else f"wrong after {blame.stage}; what is before it cannot be built alone"
