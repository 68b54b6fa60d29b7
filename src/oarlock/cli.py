"""The command ``oarlock``: inspect, compile, tune, run, bench, profile, report, diff, why, quantize, check, operators, records, web;
thin over the API.

Exit status: 0 good; 1 the comparison or the support check failed; 2 wrong usage; 3 a user error (bad model, bad input,
unsupported operator); 4 an internal error.  With ``--json`` stdout holds one JSON document; progress goes to stderr.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from . import cli_profile, cli_quantize, cli_report, cli_tune, cli_web, cli_why
from .cli_common import (
    compile_options,
    echo_json,
    err,
    escape,
    image_option,
    input_options,
    is_artifact,
    json_option,
    layers_table,
    memory_lines,
    model_argument,
    model_inputs,
    npz_option,
    option_option,
    out,
    parse_options,
    places_table,
    progress,
    shape_option,
    write_memory,
)
from .cli_host import host_option, load_hosts, needs, prices, times
from .errors import InputError, OarlockError

if TYPE_CHECKING:
    import numpy as np

    from .runtime.artifact import Artifact
    from .runtime.session import Session

FAILED, USER_ERROR, INTERNAL_ERROR = 1, 3, 4


class Commands(click.Group):
    """A group that turns errors into a message and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own: usage, --help, Ctrl-C, a reader of our output that is gone
        except OarlockError as error:
            err.print(f"[bold red]error:[/] {escape(str(error))}")
            ctx.exit(USER_ERROR)
        except Exception as error:
            err.print_exception()
            err.print(
                f"[bold red]internal error:[/] {escape(f'{type(error).__name__}: {error}')}\n"
                "  please report it with the model (or `oarlock inspect --json`) and the traceback"
            )
            ctx.exit(INTERNAL_ERROR)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="oarlock")
def main() -> None:
    """Compile PaddlePaddle models with Apache TVM and run them, with no Paddle installed."""


main.add_command(cli_profile.profile)
main.add_command(cli_quantize.quantize)
main.add_command(cli_tune.tune)
main.add_command(cli_tune.records)
main.add_command(cli_web.web)
main.add_command(cli_report.report)
main.add_command(cli_report.diff)
main.add_command(cli_why.why)


@main.command()
@model_argument
@shape_option
@host_option
@click.option("--text", is_flag=True, help="Print the whole program as text.")
@click.option("--target", default="", help="Compile for this target too, and show what of the model runs where.")
@option_option
@click.option(
    "--memory",
    type=click.Path(path_type=Path),
    help="With --target: write its plan of memory to this file, as a page or, with .yaml, to be edited.",
)
@json_option
def inspect(
    model: Path,
    shapes: tuple[str, ...],
    hosts: tuple[str, ...],
    text: bool,
    target: str,
    options: tuple[str, ...],
    memory: Path | None,
    as_json: bool,
) -> None:
    """Show inputs, outputs, operators with counts and support, parameters, and MACs (for --shape)."""
    from .analysis import count_macs, host_calls, inspect
    from .errors import UnsupportedError
    from .importer import Hosts
    from .inputs import parse_shapes
    from .model.load import load_model

    if memory and not target:
        raise InputError("--memory shows a target's plan", where=str(memory), todo="name the target with --target")
    program = load_model(model)
    if text:
        click.echo(str(program))
        return
    who = Hosts(load_hosts(hosts))
    facts = inspect(program, who)
    try:
        facts["macs"] = count_macs(program, parse_shapes(shapes), who)
        facts["host_calls"] = host_calls(who)
    except UnsupportedError as error:  # also for attributes, dtypes, … of operators that are there
        facts |= {"supported": False, "reason": str(error)}
    if target and facts["supported"]:
        manifest = _compile(model, target, shapes, None, options, load_hosts(hosts)).manifest
        facts |= {"target": target, "places": manifest.get("places", []), "notes": manifest["notes"]}
        if "memory" in manifest:
            facts["memory"] = manifest["memory"]
        if memory:
            write_memory(memory, target, manifest)
    if as_json:
        echo_json(facts)
    else:
        _show_facts(facts)
        if "places" in facts:
            out.print(places_table(facts["places"]))
            for line in [*facts["notes"], *memory_lines(facts.get("memory"))]:
                out.print(escape(line))
    if not facts["supported"]:
        raise SystemExit(FAILED)


@main.command(name="compile")
@model_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The artifact's file (default: MODEL's name with .oar; -: stdout).")
@compile_options
@host_option
@click.option("--dump", type=click.Path(path_type=Path), help="Write the module after every stage into this folder.")
@json_option
def compile_command(
    model: Path,
    output: Path | None,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    hosts: tuple[str, ...],
    dump: Path | None,
    as_json: bool,
) -> None:
    """Compile a model to one file."""
    output = output or _default_output(model)
    if str(output) == "-":
        _compile(model, target, shapes, threads, options, load_hosts(hosts), dump).write(sys.stdout.buffer)
        return
    if output.is_dir() or not output.absolute().parent.is_dir():  # said before minutes of work, not after
        raise InputError("the artifact cannot be written there", where=str(output), todo="name a file in a folder that exists")
    artifact = _compile(model, target, shapes, threads, options, load_hosts(hosts), dump)
    artifact.save(output)
    size = output.stat().st_size
    facts = {"artifact": str(output), "bytes": size, "signature": artifact.signature.to_json(), "manifest": artifact.manifest}
    if as_json:
        echo_json(facts)
        return
    out.print(f"[bold]{escape(str(output))}[/]  {size / 1e6:.1f} MB, target {target}")
    for kind, specs in (("input", artifact.signature.inputs), ("output", artifact.signature.outputs)):
        for spec in specs:
            out.print(f"  {kind:6} {escape(str(spec))}")
    for line in needs(artifact.host_calls):
        out.print(escape(f"  needs  {line}"))
    if fallbacks := [place for place in artifact.manifest.get("places", []) if place["where"] == "host"]:
        out.print(f"  {len(fallbacks)} kernel(s) run on the host, not on the device:")
        out.print(places_table(fallbacks))
    for name in artifact.runtime.get("libraries", []):
        from .runtime.libraries import KNOWN

        library = KNOWN[name]
        out.print(escape(f"  needs  {library.title} where it runs (pip install '{library.extra}'); --option libraries=none does without"))


@main.command()
@model_argument
@compile_options
@host_option
@input_options
@click.option("--save", type=click.Path(path_type=Path), help="Write the outputs to this .npz file.")
@click.option("--dump", type=click.Path(path_type=Path), help="Write what each kernel gives into this folder: .npz files and an index.")
@click.option("--dump-layers", "pattern", default="*", help="Of layers whose names are like this alone (* ? [abc]).")
@json_option
def run(
    model: Path,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    hosts: tuple[str, ...],
    npz: Path | None,
    image: Path | None,
    seed: int,
    save: Path | None,
    dump: Path | None,
    pattern: str,
    as_json: bool,
) -> None:
    """Run a model or an artifact once and show its outputs."""
    from .inputs import save_npz

    if pattern != "*" and not dump:
        raise InputError("--dump-layers says of which layers", todo="say where to with --dump FOLDER")
    session = _session(model, target, shapes, threads, options, load_hosts(hosts), one_by_one=bool(dump))
    inputs = model_inputs(session, shapes, npz, image, seed)
    if dump:
        from .runtime.layers import dump_layers

        outputs, count = dump_layers(session, inputs, dump, pattern)
        err.print(f"{count} layers in {escape(str(dump))}")
    else:
        outputs = session.run(inputs)
    if save:
        save_npz(save, outputs)
    facts = [_summary(name, array) for name, array in outputs.items()]
    if as_json:
        echo_json({"outputs": facts})
        return
    table = Table("output", "dtype", "shape", "minimum", "mean", "maximum")
    for fact in facts:
        numbers = ("" if fact[k] is None else f"{fact[k]:.6g}" for k in ("minimum", "mean", "maximum"))
        table.add_row(fact["name"], fact["dtype"], str(fact["shape"]), *numbers)
    out.print(table)


@main.command()
@model_argument
@compile_options
@host_option
@npz_option
@image_option
@click.option("--runs", default=50, show_default=True, type=click.IntRange(1), help="Timed runs.")
@click.option("--warmup", default=5, show_default=True, type=click.IntRange(0), help="Runs before the timed ones.")
@json_option
def bench(
    model: Path,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    hosts: tuple[str, ...],
    npz: Path | None,
    image: Path | None,
    runs: int,
    warmup: int,
    as_json: bool,
) -> None:
    """Time a model or an artifact: median, 90th percentile, throughput."""
    from .timing import measure_hosts

    session = _session(model, target, shapes, threads, options, load_hosts(hosts))
    inputs = model_inputs(session, shapes, npz, image, 0)
    with progress("running") as step:
        timing, calls = measure_hosts(session, inputs, runs, warmup, lambda done, total: step("running", done, total))
    facts = timing.to_json() | {"threads": session.threads, "inputs": {k: list(v.shape) for k, v in inputs.items()}}
    facts["host_calls"] = [call.to_json() for call in calls]
    if as_json:
        echo_json(facts)
        return
    shown = ", ".join(f"{k} {list(v.shape)}" for k, v in inputs.items())
    out.print(
        f"median [bold]{timing.median_ms:.3f} ms[/]  p90 {timing.p90_ms:.3f} ms  min {timing.minimum_ms:.3f}  max {timing.maximum_ms:.3f}  "
        f"({timing.per_second:.1f} runs/s; {timing.runs} runs, {session.threads} thread(s); {escape(shown)})"
    )
    if calls:
        out.print(times(calls))


@main.command()
@model_argument
@compile_options
@host_option
@input_options
@click.option(
    "--tolerance",
    type=float,
    help="Largest difference, as a part of each output's scale (default: 1e-4; 0.05 for precision=bfloat16 or int8).",
)
@click.option("--python", help="An interpreter with paddlepaddle (default: this one); Paddle 2.6 runs some legacy files that 3.x cannot.")
@click.option("--layers", is_flag=False, flag_value="*", help="Compare what each kernel gives, too; or of layers with names like this.")
@json_option
def check(
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
    layers: str | None,
    as_json: bool,
) -> None:
    """Give the same inputs to Paddle and to Oarlock and compare every output."""
    from .checking import check

    session = _session(model, target, shapes, threads, options, load_hosts(hosts), one_by_one=bool(layers))
    inputs = model_inputs(session, shapes, npz, image, seed)
    found = None
    if layers:
        from .checking.layers import check_layers

        found = check_layers(model, session, inputs, pattern=layers, tolerance=tolerance, python=python)
    report = check(model, inputs, tolerance=tolerance, python=python, session=session)
    if as_json:
        echo_json(report.to_json() | ({"layers": found.to_json()} if found else {}))
    else:
        if found:
            out.print(layers_table(found))
        table = Table("output", "shape", "dtype", "max abs", "max rel", "rms rel", "same winner", "verdict")
        for o in report.outputs:
            verdict = (
                f"[green]{'equal' if report.tolerance <= 1e-4 else 'close'}[/]"
                if o.ok
                else f"[red]{o.why}[/]: Paddle {o.expected_dtype}{list(o.expected_shape)}"
            )
            winner = "" if o.same_winner is None else f"{o.same_winner:.2%}"
            table.add_row(o.name, str(list(o.shape)), o.dtype, f"{o.max_abs:.3g}", f"{o.max_rel:.3g}", f"{o.rms_rel:.3g}", winner, verdict)
        out.print(table)
    if not report.ok or (found and not found.ok):
        raise SystemExit(FAILED)


@main.command()
@json_option
def operators(as_json: bool) -> None:
    """List every supported operator with its PIR and legacy names."""
    from .analysis import supported_operators

    rows = supported_operators()
    if as_json:
        echo_json(rows)
        return
    table = Table("PIR name", "legacy names", "what it does")
    for row in rows:
        table.add_row(row["pir"], ", ".join(row["legacy"]), row["doc"])
    out.print(table)
    out.print(f"{len(rows)} operators")


# ---- shared by the commands ------------------------------------------------------------------------------------------


def _compile(
    model: Path,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...] = (),
    host: str | None = None,
    dump: Path | None = None,
    one_by_one: bool = False,
) -> Artifact:
    from .compiler import compile as compile_model
    from .compiler import make_target
    from .inputs import parse_shapes

    named: dict[str, Any] = dict(parse_options(options))
    with progress("reading") as step:
        sizes = parse_shapes(shapes)
        if one_by_one:
            named, threads = dict(make_target(target, threads, named).profiling_options), None
        return compile_model(model, target, sizes, threads, options=named, host=host, progress=step, dump=dump)


def _session(
    model: Path,
    target: str,
    shapes: tuple[str, ...],
    threads: int | None,
    options: tuple[str, ...],
    host: str | None,
    *,
    one_by_one: bool = False,
) -> Session:
    """A session of an artifact file (-: of one from stdin), or of a model compiled in memory.

    ``one_by_one``: so that its kernels are called one by one.
    """
    from .runtime.session import Session

    if str(model) == "-":
        return Session(sys.stdin.buffer, threads=threads)
    if is_artifact(model):
        if options:
            raise InputError("an artifact is compiled already, so it takes no options", where=str(model), todo="give --option to compile")
        return Session(model, threads=threads)
    return Session(_compile(model, target, shapes, threads, options, host, one_by_one=one_by_one), threads=threads)


def _default_output(model: Path) -> Path:
    """``MODEL``'s own name with .oar, in the current folder."""
    model = model.absolute()
    name = model.stem if model.suffix in (".json", ".pdmodel") else model.name or "model"
    return Path(f"{name}.oar")


def _summary(name: str, array: np.ndarray) -> dict[str, Any]:
    numbers = array.astype("float64") if array.size else None
    return {
        "name": name,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "minimum": None if numbers is None else float(numbers.min()),
        "mean": None if numbers is None else float(numbers.mean()),
        "maximum": None if numbers is None else float(numbers.max()),
    }


def _show_facts(facts: dict[str, Any]) -> None:
    source, parameters = facts["source"], facts["parameters"]
    out.print(f"[bold]{escape(str(source.get('path') or 'model'))}[/]  {source.get('format', '')} version {source.get('version', '?')}")
    for kind in ("inputs", "outputs"):
        for spec in facts[kind]:
            dims = "…" if spec["shape"] is None else ", ".join("?" if d < 0 else str(d) for d in spec["shape"])
            out.print(f"  {kind[:-1]:6} {escape(spec['name'])}: {spec['dtype']}\\[{dims}]")
    dtypes = f" ({', '.join(parameters['dtypes'])})" if parameters["dtypes"] else ""
    out.print(f"  {parameters['count']} parameters, {parameters['elements']:,} elements, {parameters['bytes'] / 1e6:.1f} MB{dtypes}")
    if "macs" in facts:
        macs = facts["macs"]
        shown = macs if isinstance(macs, str) else f"{macs:,}" if macs < 1e6 else f"{macs / 1e6:,.1f} M"
        out.print(f"  multiply-accumulates: {escape(shown)}")
    table = Table("operator", "count", "supported")
    for o in facts["operators"]:
        table.add_row(o["name"], str(o["count"]), escape(o.get("host") or "yes") if o["supported"] else "[red]no[/]")
    out.print(table)
    if calls := facts.get("host_calls"):
        out.print(prices(calls))
    if "reason" in facts:
        out.print(f"[red]not supported:[/] {escape(facts['reason'])}")


if __name__ == "__main__":
    main()
