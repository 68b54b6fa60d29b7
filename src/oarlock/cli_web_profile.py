"""The commands ``oarlock web profile`` and ``oarlock web combine``: engines side by side in one tab, and together."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import click
import numpy as np

from .cli_common import (
    echo_json,
    err,
    escape,
    input_options,
    json_option,
    model_argument,
    model_inputs,
    out,
    shape_option,
)
from .errors import InputError
from .web_variants import ALONE, ENGINES

if TYPE_CHECKING:
    from .runtime.session import Session

_PEERS = Path("node_modules")


def browser_options(command: Any) -> Any:
    """What profile and combine share: other engines, the browser, and how long to measure."""
    for option in (
        click.option("--runs", default=12, show_default=True, type=click.IntRange(1), help="Timed runs of each kernel alone."),
        click.option("--rounds", default=12, show_default=True, type=click.IntRange(1), help="Turns of each engine with the model."),
        click.option("--browser", type=click.Choice(["chromium", "own"]), default="chromium", show_default=True,
                     help="chromium: opened headless (CHROMIUM names it); own: open the address that is printed."),
        click.option("--variant", type=click.Choice(ALONE), default=ALONE[0], show_default=True,
                     help="Of our engine."),
        click.option("--onnx", type=click.Path(path_type=Path, exists=True, dir_okay=False),
                     help="The model as ONNX with fixed sizes (default: paddle2onnx, where it is installed)."),
        click.option("--peers", type=click.Path(path_type=Path, file_okay=False),
                     help="A node_modules with onnxruntime-web and @paddlejs.  [default: node_modules]"),
        click.option("--without", multiple=True, type=click.Choice(ENGINES[1:]), help="An engine to leave out.  May be repeated."),
    ):  # fmt: skip
        command = option(command)
    return command


def prepared(
    model: Path, shapes: tuple[str, ...], npz: Path | None, image: Path | None, seed: int, work: Path, chosen: dict[str, Any]
) -> Any:
    """(setting, browser, announce) for what the options say."""
    from .inputs import parse_shapes
    from .model import load_model
    from .runtime.signature import TensorSpec
    from .targets.web.profiler import setting as settings
    from .targets.web.profiler import tab

    program = load_model(model)
    known = settings.must_be_static(program, parse_shapes(shapes))
    specs = [TensorSpec(value.name, getattr(value.type, "dtype", "float32"), known[value.name]) for value in program.inputs]
    given = model_inputs(cast("Session", SimpleNamespace(inputs=specs)), shapes, npz, image, seed)
    inputs = {spec.name: np.asarray(given[spec.name], spec.dtype) for spec in specs if spec.name in given}
    for spec in specs:
        if spec.name not in inputs or inputs[spec.name].shape != known[spec.name]:
            raise InputError(f"the input {spec.name} is not there, or of another shape", todo=f"give {spec.dtype} {list(known[spec.name])}")
    peers = chosen["peers"] or (_PEERS if _PEERS.is_dir() else None)
    if chosen["peers"] and not chosen["peers"].is_dir():
        raise InputError("the folder of other engines is not there", where=str(chosen["peers"]), todo="npm install onnxruntime-web there")
    browser = tab.Browser() if chosen["browser"] == "chromium" else None
    announce = None if browser else (lambda address: err.print(f"open {escape(address)}"))
    setting = settings.prepare(model, program, known, inputs, work, peers, chosen["onnx"], chosen["variant"], _tell, chosen["without"])
    return setting, browser, announce


def _tell(text: str) -> None:
    err.print(f"[dim]{escape(text)}[/]")


@click.command("profile")
@model_argument
@shape_option
@input_options
@browser_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), help="Write profile.json, profile.txt and profile.html here."
)
@click.option("--top", default=20, show_default=True, type=click.IntRange(0), help="Rows in the table (0: all).")
@json_option
def profile_command(
    model: Path, shapes: tuple[str, ...], npz: Path | None, image: Path | None, seed: int, output: Path | None, top: int, as_json: bool,
    rounds: int, runs: int, **chosen: Any,
) -> None:  # fmt: skip
    """Time a model's kernels on WebAssembly and WebGPU beside onnxruntime-web and Paddle.js, in one tab, in turns, row by row."""
    from .targets.web.profiler import profile, show

    with tempfile.TemporaryDirectory(prefix="oarlock-profile-") as work:
        setting, browser, announce = prepared(model, shapes, npz, image, seed, Path(work), chosen)
        found, _ = profile.profile(setting, browser=browser, announce=announce, rounds=rounds, runs=runs, tell=_tell)
    if output:
        write_profile(found, output)
    if as_json:
        echo_json(found)
        return
    out.print(escape(show.text(found, top)))
    if output:
        out.print(f"[dim]the page: {escape(str(output / 'profile.html'))}[/]")


def write_profile(found: dict[str, Any], output: Path) -> None:
    """profile.json, profile.txt and profile.html."""
    from .targets.web.profiler import show

    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "profile.json").write_text(json.dumps(found, indent=1))
        (output / "profile.txt").write_text(show.text(found) + "\n")
        (output / "profile.html").write_text(show.page(found))
    except OSError as error:
        raise InputError(f"the folder cannot be written: {error.strerror}", where=str(output)) from error


@click.command("combine")
@model_argument
@shape_option
@input_options
@browser_options
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder to write.")
@click.option(
    "--take",
    "wanted",
    multiple=True,
    metavar="FIRST-LAST=ENGINE",
    help="Rows that an engine has whatever it costs, as in 4-7='oarlock webgpu'; the others are ours.  May be repeated.",
)
@json_option
def combine_command(
    model: Path, shapes: tuple[str, ...], npz: Path | None, image: Path | None, seed: int, output: Path, wanted: tuple[str, ...],
    as_json: bool, rounds: int, runs: int, **chosen: Any,
) -> None:  # fmt: skip
    """Profile a model, and take for each kernel the engine that is best there, crossings counted; what it gains is measured."""
    from .targets.web.profiler import combine, profile

    taken = [_taken(text) for text in wanted]
    with tempfile.TemporaryDirectory(prefix="oarlock-combine-") as folder:
        work = Path(folder)
        setting, browser, announce = prepared(model, shapes, npz, image, seed, work, chosen)
        found, aligned = profile.profile(setting, browser=browser, announce=announce, rounds=rounds, runs=runs, tell=_tell)
        write_profile(found, output)  # it took the longest
        result = combine.combine(setting, found, aligned, browser=browser, announce=announce, rounds=rounds, tell=_tell, taken=taken)
        try:
            (output / "combine.json").write_text(json.dumps(result, indent=1))
            (output / "combine.txt").write_text(combine.text(result) + "\n")
            if "spec" in result:
                _write_combined(result["spec"], work, output)
        except OSError as error:
            raise InputError(f"the folder cannot be written: {error.strerror}", where=str(output)) from error
    if as_json:
        echo_json(result)
    else:
        out.print(escape(combine.text(result)))
        out.print(f"[dim]the profile's page: {escape(str(output / 'profile.html'))}[/]")


def _taken(text: str) -> tuple[int, int, str]:
    """(first row, row after the last, engine) of FIRST-LAST=ENGINE."""
    rows, _, engine = text.partition("=")
    first, _, last = rows.partition("-")
    if not first.isdigit() or not (last or first).isdigit() or not engine:
        raise InputError("rows and an engine are FIRST-LAST=ENGINE", where=f"--take {text}", todo="--take 4-7='oarlock webgpu'")
    return int(first), int(last or first) + 1, engine


def _write_combined(spec: dict[str, Any], work: Path, output: Path) -> None:
    """The site, the sub-models that the plan uses, and combined.js that runs them."""
    from .targets.web.profiler.tab import PAGE

    shutil.copytree(work / "site", output / "site", dirs_exist_ok=True)
    (output / "pieces").mkdir(exist_ok=True)
    for segment in spec["segments"]:
        if "file" in segment:
            shutil.copy(work / "pieces" / segment["file"], output / "pieces")
        if "folder" in segment:
            shutil.copytree(work / "pieces" / segment["folder"], output / "pieces" / segment["folder"], dirs_exist_ok=True)
    shutil.copy(PAGE / "combined.js", output)
    (output / "combined.json").write_text(json.dumps(spec))
