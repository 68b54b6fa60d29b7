"""What the commands share: consoles, options, progress, inputs, JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import strictjson
from .errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from .checking.layers import LayersReport
    from .runtime.session import Session

Command = TypeVar("Command", bound=Callable[..., Any])

out, err = Console(highlight=False, soft_wrap=True), Console(stderr=True, highlight=False, soft_wrap=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")
shape_option = click.option(
    "--shape", "shapes", multiple=True, metavar="NAME=DIMS", help="Dims of an input: 1,3,224,224; ? is dynamic; a name is shared."
)
threads_option = click.option("--threads", type=click.IntRange(1), help="Threads that kernels use (default: the physical cores).")
option_option = click.option(
    "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the target: mcpu=x86-64-v3 for machines of that kind."
)
target_option = click.option("--target", default="cpu", show_default=True, help="What to compile for.")
npz_option = click.option("--npz", type=click.Path(path_type=Path), help="Inputs by name from an .npz file (default: seeded random ones).")
image_option = click.option("--image", type=click.Path(path_type=Path), help="A picture for the one image input.")
model_argument = click.argument("model", type=click.Path(path_type=Path))
seed_option = click.option("--seed", default=0, show_default=True, help="Seed of random inputs.")


def compile_options(command: Command) -> Command:
    """How a model is compiled: --target, --shape, --threads, --option."""
    for option in (option_option, threads_option, shape_option, target_option):  # the help shows the last one applied first
        command = option(command)
    return command


def input_options(command: Command) -> Command:
    """What a model is run on: --npz, --image, --seed (see model_inputs)."""
    for option in (seed_option, image_option, npz_option):
        command = option(command)
    return command


def parse_options(options: tuple[str, ...]) -> dict[str, str]:
    """Options of the target from ``NAME=VALUE``."""
    named = {}
    for option in options:
        name, found, value = option.partition("=")
        if not found or name == "threads":
            raise InputError(f"{option!r} is no option", todo="write --option NAME=VALUE (threads have --threads)")
        named[name] = value
    return named


@contextmanager
def progress(first: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr (nothing when stderr is no terminal); yields step(what, done, total)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(first, total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def echo_json(value: Any) -> None:
    """One JSON document on stdout; infinities and NaN, which JSON lacks, are null."""
    click.echo(strictjson.dumps(value))


def escape(text: str) -> str:
    return text.replace("[", "\\[")


def is_artifact(path: Path) -> bool:
    """Whether a file is an artifact or was one: by its name, or by the first bytes of a zip archive, which no model has."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return path.suffix == ".oar" or file.read(4) == b"PK\x03\x04"
    except OSError:
        return False  # the reader says why


def model_inputs(session: Session, shapes: tuple[str, ...], npz: Path | None, image: Path | None, seed: int) -> dict[str, np.ndarray]:
    """What a command runs a session on: of an .npz file, a picture, or seeded random numbers."""
    from .inputs import image_inputs, npz_inputs, parse_shapes, random_inputs

    if npz and image:
        raise InputError("--npz and --image were both given", todo="give one of them")
    if npz:
        return npz_inputs(npz)
    given = parse_shapes(shapes)
    if image:
        pictures = [s for s in session.inputs if s.shape is not None and len(s.shape) == 4]
        if len(session.inputs) != 1 or not pictures:
            raise InputError(
                "--image needs a model with one image input", todo=f"the inputs are {', '.join(map(str, session.inputs))}; give --npz"
            )
        return image_inputs(pictures[0], image, given.get(pictures[0].name))
    return random_inputs(session.inputs, given, seed)


def must_be_writable(path: Path | None, what: str) -> None:
    """InputError, before the work, for a file that cannot be written after it."""
    if path and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise InputError(f"{what} cannot be written there", where=str(path), todo="name a file in a folder that exists")


def write_text(path: Path, text: str, what: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{what} cannot be written: {error.strerror}", where=str(path)) from error


def layers_table(report: LayersReport, most: int = 40) -> Table:
    """Layers beside Paddle in order: all that differ, and of the others the first and last."""
    table = Table("#", "layer", "operators", "shape", "max rel", "verdict")
    shown = [i for i, layer in enumerate(report.layers) if not layer.ok][:most]
    room = max(most - len(shown), 0)
    count = len(report.layers)
    shown = sorted({*shown, *range(min(room // 2, count)), *range(max(count - room // 2, 0), count)})
    last = -1
    for i in shown:
        layer = report.layers[i]
        if i != last + 1:
            table.add_row("", f"[dim]… {i - last - 1} more[/]")
        last = i
        why = next((c.why for c in layer.checks if not c.ok), "")
        verdict = "[green]close[/]" if layer.ok else f"[red]{escape(why)}[/]"
        shape = " ".join(str(list(c.shape)) for c in layer.checks)
        table.add_row(str(layer.number), escape(layer.name[-34:]), escape(layer.operators), escape(shape), f"{layer.max_rel:.1e}", verdict)
    wrong = sum(not layer.ok for layer in report.layers)
    first = report.first_wrong
    table.caption = f"{count} layers compared, {report.uncompared} are steps of operations" + (
        f"; {wrong} differ, the first is {first.name}" if first else ""
    )
    return table


def memory_lines(memory: Mapping[str, Any] | None) -> list[str]:
    """A plan of memory (the manifest's ``memory``) in a line; none where there is no plan."""
    if not memory:
        return []
    proof = "no plan saves more" if memory["exact"] else f"at most {memory['bound_us']:.1f} µs can be: gap {memory['gap']:.1%}"
    inside = sum(row[6] is not None for row in memory["tensors"])
    return [
        f"L3: {inside} of {len(memory['tensors'])} tensors, {memory['arena'] + memory['weights']:,} of {memory['capacity']:,} bytes; "
        f"{memory['gain_us']:.1f} µs a run are saved, modelled ({proof})"
    ]


def write_memory(path: Path, target: str, manifest: Mapping[str, Any]) -> None:
    """The target's plan of memory: as a page or, where the file is to be .yaml or .yml, as one that pins what lies where."""
    from .targets import get

    as_file = path.suffix.lower() in (".yaml", ".yml")
    made = get(target)
    text = (made.memory_config if as_file else made.memory_page)(manifest["memory"]) if "memory" in manifest else None
    if text is None:
        raise InputError(f"target {target} made no plan of memory for this model", where=str(path))
    write_text(path, text, "the file" if as_file else "the page")


def places_table(places: Sequence[Mapping[str, Any]]) -> Table:
    """What runs where (the manifest's ``places``), equal lines joined; what falls back to the host last, with the bytes that cross."""
    table = Table("what", "count", "where", "how, or why not", "bytes crossing")
    counted: dict[tuple[str, str, str, int | None], int] = {}
    for place in places:
        key = (place["what"], place["where"], place["how"], place["crossing"])
        counted[key] = counted.get(key, 0) + 1
    order = ("library", "generated", "host")
    for (what, where, how, crossing), count in sorted(counted.items(), key=lambda item: (order.index(item[0][1]), -item[1], item[0][0])):
        price = "" if where != "host" else "known at run time" if crossing is None else f"{crossing:,}"
        table.add_row(escape(what), str(count), f"[yellow]{where}[/]" if where == "host" else where, escape(how), price)
    return table
