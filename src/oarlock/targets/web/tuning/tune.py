"""tune_in_browser(): the contest, and searches, with a page that runs their trials."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import InputError, OarlockError
from ....kernels.contest import RUN_LIMIT_S, tune
from ....kernels.summary import Summary
from ....kernels.trials import Processes
from ....model import Program, load_model
from ....web_variants import VARIANTS
from ..browser import Browser, chosen
from ..hosts import addresses
from .place import BrowserPlace
from .server import Server


def tune_in_browser(
    model: Program | str | os.PathLike[str] | bytes,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    *,
    variant: str = "",
    threads: int | None = None,
    minutes: float = 3.0,
    search: bool | int = False,
    inputs: Mapping[str, np.ndarray] | None = None,
    at: Mapping[str, Sequence[int | str | None]] | None = None,
    records: str | os.PathLike[str] | None = None,
    browser: str = "auto",
    host: str = "127.0.0.1",
    port: int = 0,
    invite: Callable[[Sequence[str], bool], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    run_limit_s: float = RUN_LIMIT_S,
) -> Summary:
    """Measure candidates for the kernels of a model in a browser; ``oarlock web build`` takes the winners from then on.

    model, shapes, minutes, search, inputs, at, records, progress, run_limit_s: as in oarlock.tune.
    variant    of the web target; by default the best of one thread that the browser runs
    threads    that run the loops of a variant with threads; by default as many as a page takes: one a core, at most 4
    browser    "auto": a Chromium of this machine without a window, where there is one and the server is on loopback; "none": the page is
               opened by somebody else
    host, port where the server listens: other machines reach it only where host says so ("0.0.0.0")
    invite     called with the page's addresses, and whether a browser was opened for it

    Time in which no page is there does not count.  Raises what oarlock.tune raises, and TargetError where the extra oarlock[web] is not
    installed, the server cannot listen, or the browser does not come.
    """
    executable = chosen(browser, host, "oarlock web tune")
    if variant and variant not in VARIANTS:
        raise InputError(f"there is no variant {variant}", todo=f"use: {', '.join(VARIANTS)}")
    program = model if isinstance(model, Program) else load_model(model)
    own: Browser | None = None
    server, processes = Server(host, port), Processes()
    place: BrowserPlace | None = None
    try:
        if executable:
            own = Browser(executable, server.address(host))
            server.bring, server.came = own.bring, own.came
        if invite:
            invite([server.address(name) for name in addresses(host)], own is not None)
        if progress:
            progress("waiting for the page", 0, 0)
        place = BrowserPlace(server, processes, threads)
        options: dict[str, Any] = {"variant": variant or place.best_variant}
        summary = tune(
            program,
            "web",
            shapes,
            minutes=minutes,
            search=search,
            options=options,
            inputs=inputs,
            at=at,
            records=records,
            progress=progress,
            place=place,
            run_limit_s=run_limit_s,
        )
        server.show(_end(server.state, summary))
        return summary
    except OarlockError as error:
        server.show(_failed(server.state, str(error)))
        raise
    finally:
        if place is not None:
            place.close()  # first: what still waits there would start another process
        processes.end_all()
        if own is not None:
            own.close()
        server.close()


def _end(state: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    ratio = summary.tuned_s / summary.default_s if summary.default_s else 1.0
    kept = "; the winners together were no faster, so the choices before stay" if summary.kept else ""
    times = f"{summary.default_s * 1e3:.2f} → {summary.tuned_s * 1e3:.2f} ms ({ratio:.2f}×)"
    return {**state, "end": f"Done: the whole model, alternated in this tab: {times}{kept}"}


def _failed(state: Mapping[str, Any], what: str) -> dict[str, Any]:
    return {**state, "end": f"Stopped: {what}"} if state else {}
