"""The commands of ``oarlock web``: build; profile, combine, tune, rpc, serve and token are in files of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table

from .cli_common import echo_json, escape, json_option, model_argument, out, progress, shape_option
from .cli_web_profile import combine_command, profile_command
from .cli_web_rpc import rpc
from .cli_web_serve import serve, token
from .cli_web_tune import tune
from .web_variants import EVERY, WEBGPU

if TYPE_CHECKING:
    from .targets.web.layers import Layer

_LAYERS = 12  # how many are listed
_FETCHED = ("oarlock.js", "oarlock-worker.js", "model.json")  # by a page, beside a module and the weights


@click.group()
def web() -> None:
    """Models in browsers and in Node, as WebAssembly."""


web.add_command(serve)
web.add_command(token)


@web.command()
@model_argument
@shape_option
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(EVERY),
    help="What engines to build for; the runtime takes the best that runs, webgpu when asked.  [default: all that can be]",
)
@click.option("--protect", type=click.Path(path_type=Path), help="Encrypt it with the key in this file, a new one where there is none.")
@click.option("--records", type=click.Path(path_type=Path), help="The database of measurements (default: the user's own; see web tune).")
@json_option
def build(
    model: Path,
    shapes: tuple[str, ...],
    output: Path,
    variants: tuple[str, ...],
    protect: Path | None,
    records: Path | None,
    as_json: bool,
) -> None:
    """Compile a model into a folder that any web server can serve: modules, weights, the runtime and a page."""
    from .inputs import parse_shapes
    from .targets.web.layers import layers
    from .targets.web.site import build_site

    with progress("reading") as step:
        chosen, where = variants or None, records or True
        site = build_site(model, output, shapes=parse_shapes(shapes), variants=chosen, records=where, progress=step, protect=protect)
    best, artifact = next(iter(site.artifacts.items()))
    parts = [] if best == WEBGPU else layers(artifact.library)  # shaders are text: their file's size says it all
    if as_json:
        listed = {"files": [vars(file) for file in site.files], "layers": [vars(layer) for layer in parts]}
        echo_json({"folder": str(site.folder), **listed, "notes": site.notes, "by_record": site.by_record})
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in ("file", "what", "kB", "kB gzipped"):
        table.add_column(title, justify="right" if "kB" in title else "left")
    for file in (f for f in site.files if f.kind != "types"):
        table.add_row(file.name, f"{file.kind} {file.variant}".strip(), f"{file.bytes / 1e3:.1f}", f"{file.gzipped / 1e3:.1f}")
    out.print(table)
    if parts:
        _show_layers(parts, best)
    for note in site.notes:
        out.print(f"[yellow]{escape(note)}[/]")
    code = sum(file.gzipped for file in site.files if file.kind == "module" and file.variant == best or file.name in _FETCHED)
    out.print(f"a browser fetches {code / 1e3:.0f} kB gzipped of code ({best}), and the weights")
    for variant, kernels in site.by_record.items():
        if kernels:
            out.print(f"kernels of {variant} by records of measurements: {len(kernels)}")
        for workload, candidate in kernels.items():
            out.print(f"    {escape(workload)}: {escape(candidate)}")
    keys = "" if protect is None else f" --keys {escape(str(protect))}"
    out.print(f"[dim]serve it: oarlock web serve {escape(str(site.folder))}{keys}[/]")


def _show_layers(parts: list[Layer], variant: str) -> None:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in (f"layer ({variant})", "its job", "kB weights", "kB code"):
        table.add_column(title, justify="right" if "kB" in title else "left")
    for layer in parts[:_LAYERS]:
        table.add_row(escape(layer.name[:40]), layer.workload, f"{layer.weights / 1e3:.1f}", f"{layer.code / 1e3:.1f}")
    if rest := parts[_LAYERS:]:
        weights, code = sum(layer.weights for layer in rest), sum(layer.code for layer in rest)
        table.add_row(f"{len(rest)} more (--json lists them)", "", f"{weights / 1e3:.1f}", f"{code / 1e3:.1f}")
    out.print(table)


web.add_command(profile_command)
web.add_command(combine_command)
web.add_command(tune)
web.add_command(rpc)
