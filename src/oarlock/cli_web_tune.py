"""The command ``oarlock web tune``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from .cli_common import echo_json, err, escape, json_option, model_argument, npz_option, progress, shape_option
from .cli_tune import show
from .web_variants import VARIANTS


@click.command()
@model_argument
@shape_option
@click.option("--minutes", default=3.0, show_default=True, type=click.FloatRange(0.0, min_open=True), help="Time to spend, about.")
@click.option("--variant", type=click.Choice(list(VARIANTS)), help="[default: the best of one thread that the browser runs]")
@click.option("--threads", type=click.IntRange(2, 32), metavar="N", help="Of a variant with threads.  [default: one a core, at most 4]")
@click.option("--search", is_flag=True, help="Let MetaSchedule look for schedules of the kernels that lose the most, in half of the time.")
@click.option("--search-trials", type=click.IntRange(1), metavar="N", help="--search with N trials a kernel (default: 64).")
@click.option(
    "--browser",
    type=click.Choice(["auto", "none"]),
    default="auto",
    show_default=True,
    help="auto: a Chromium of this machine, without a window, where there is one; none: you open the page.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; 0.0.0.0 lets a phone in.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="[default: any that is free]")
@click.option("--at", multiple=True, metavar="NAME=DIMS", help="Sizes of an input to measure at, where its dims are dynamic.")
@npz_option
@click.option("--records", type=click.Path(path_type=Path), help="The database (default: the user's own, which web build looks into).")
@json_option
def tune(
    model: Path,
    shapes: tuple[str, ...],
    minutes: float,
    variant: str | None,
    threads: int | None,
    search: bool,
    search_trials: int | None,
    browser: str,
    host: str,
    port: int,
    at: tuple[str, ...],
    npz: Path | None,
    records: Path | None,
    as_json: bool,
) -> None:
    """Measure candidates for a model's kernels in a browser; web build takes the winners from then on.

    Results are stored after every trial: an interrupted tuning goes on where it was.
    """
    from .inputs import npz_inputs, parse_shapes
    from .kernels.records import user_path
    from .targets.web.tuning import tune_in_browser

    try:
        with progress("reading") as step:
            summary = tune_in_browser(
                model,
                parse_shapes(shapes),
                variant=variant or "",
                threads=threads,
                minutes=minutes,
                search=search_trials or search,
                inputs=npz_inputs(npz) if npz else None,
                at=parse_shapes(at) or None,
                records=records,
                browser=browser,
                host=host,
                port=port,
                invite=_invite,
                progress=step,
            )
    except KeyboardInterrupt:
        err.print(f"stopped; what was measured is in {escape(str(records or user_path()))}")
        raise click.Abort from None
    if as_json:
        echo_json(summary.to_json())
    else:
        show(summary)


def _invite(addresses: Sequence[str], opened: bool) -> None:
    """Say where the page is; for a phone as a picture, too."""
    if opened:
        err.print(f"a browser without a window runs the trials; to look on, open {escape(addresses[0])}")
        return
    err.print("open this page in the browser to tune for; the address is for you alone, it has a token:")
    for address in addresses:
        err.print(f"    {escape(address)}")
    if err.is_terminal and not any(name in addresses[0] for name in ("//127.", "//localhost", "//[::1]")):
        try:
            import segno
        except ImportError:
            return
        segno.make(addresses[0], error="l").terminal(out=sys.stderr, compact=True)
