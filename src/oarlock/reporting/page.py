"""A report as one self-contained page: what is known of a model's run, embedded as JSON, and the script that shows it.

Nothing is loaded from elsewhere: style and scripts (assets/) stand in the page.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..profiling.roofline import Report
from ..strictjson import finite
from .summary import ms, size

if TYPE_CHECKING:
    from ..checking.why import Why

_SCRIPTS = ("util.js", "model.js", "graph.js", "roofline.js", "strips.js", "lists.js", "details.js", "main.js")
Tile = tuple[str, str, str]  # number, words, class


def render(report: Report, accuracy: Why | None = None, without: str = "") -> str:
    """The page as text.  ``accuracy``: the kernels beside Paddle; ``without``: why it is not there."""
    document = report.to_json() | {"accuracy": _accuracy(accuracy), "about": _about(report, without)}
    name = base(report.model)
    head = f'<h1>{text(name)}</h1><p class="soft">{text(_facts(report))}</p>\n{tiles(_tiles(report, accuracy))}'
    return page(f"{name} – report", head, document, _SCRIPTS)


def page(title: str, head: str, document: Mapping[str, Any], scripts: Sequence[str]) -> str:
    """A page with ``document`` embedded and shown by ``scripts``.  Infinities and NaN, which JSON lacks, are null."""
    embedded = json.dumps(finite(document), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    code = "\n".join(_asset(name) for name in scripts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{text(title)}</title><style>{_asset("style.css")}</style></head>\n<body><main>\n{head}\n'
        f"<noscript><p>This page is drawn by its script.</p></noscript></main>\n"
        f'<script type="application/json" id="report">{embedded}</script>\n<script>(() => {{\n{code}\n}})();</script></body></html>\n'
    )


def tiles(entries: Sequence[Tile]) -> str:
    """Numbers with words under them."""
    made = [f'<div class="{kind}"><b>{text(number)}</b><span class="soft">{text(words)}</span></div>' for number, words, kind in entries]
    return f'<div class="tiles">{"".join(made)}</div>'


def text(value: Any) -> str:
    return html.escape(str(value))


def base(path: str) -> str:
    """The last two parts of a path: folders tell models apart, whose files are often called the same."""
    return "/".join(path.rstrip("/").split("/")[-2:]) or "model"


@cache
def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _accuracy(found: Why | None) -> dict[str, Any] | None:
    if found is None:
        return None
    layers = [
        {key: getattr(layer, key) for key in ("number", "introduced", "introduced_rms", "carried", "fed", "why")} for layer in found.layers
    ]
    return {"tolerance": found.tolerance, "layers": layers, "wrong": found.wrong, "guilty": [guilt.text for guilt in found.guilty]}


def _facts(report: Report) -> str:
    shapes = ", ".join(f"{name} {dims}" for name, dims in report.inputs.items())
    threads = f"{report.threads} thread{'s' if report.threads != 1 else ''}"
    machine = report.peaks.cpu if report.peaks else ""
    return " · ".join(filter(None, [shapes, f"target {report.target}", threads, f"{report.runs} runs", machine, f"Oarlock {__version__}"]))


def _tiles(report: Report, accuracy: Why | None) -> list[Tile]:
    run = report.program
    out = [
        (ms(report.total_s), "one run, at best", ""),
        (ms(report.kernels_s), f"in {sum(row.calls for row in report.rows)} kernel calls", ""),
    ]
    if report.roofline_s is not None:
        out += [(f"{report.reached or 0:.0%}", f"of their roofline, {ms(report.roofline_s)}", "")]
    if run:
        out += [
            (size(run["peak"]["bytes"]), f"of tensors at the peak, in {size(run['planned'])}", ""),
            (size(run["weights"]), "weights that it reads", ""),
        ]
    for memory, sizes in report.memory.items():
        if moved := sum(n for how, n in sizes.items() if how != "held"):
            out += [(size(moved), f"to and from {memory}", "")]
    if accuracy is not None:
        worst = max((layer.introduced for layer in accuracy.layers if layer.fed), default=0.0)
        words = f"worst error of a call, {accuracy.wrong} over the tolerance" if accuracy.wrong else "worst error of a call beside Paddle"
        out += [(f"{worst:.1e}", words, "bad" if accuracy.wrong else "good")]
    return out


def _about(report: Report, without: str) -> list[str]:
    lines = [*report.notes]
    if without:
        lines.append(f"Not compared with Paddle: {without}")
    if report.peaks:
        lines.append(
            f"Measured on {report.peaks.date}: "
            + ", ".join(f"{dtype} {rate / 1e9:.0f} GFLOP/s" for dtype, rate in report.peaks.flops.items())
            + "; "
            + ", ".join(f"{level.name} {level.rate / 1e9:.0f} GB/s" for level in report.peaks.levels)
            + f"; a call {report.peaks.call_s * 1e6:.1f} µs, as timed here."
        )
        lines.append(
            "A kernel's roofline is the larger of its operations at the peak and its bytes at the rate of where they can be: "
            "what it works on in the smallest cache that holds it, its weights where "
            "all that a run touches has room. Times are the least of each call over the runs."
        )
    if report.options.get("executor") == "vm":
        lines.append(
            "The model was compiled with executor=vm, so that its kernels are called one by one; memory is that of such a program. "
            "By default a model is one native function, whose tensors share one block."
        )
    return lines
