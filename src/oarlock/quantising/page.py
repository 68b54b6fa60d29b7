"""A report as one self-contained page: a bar for each layer, as long as the harm that quantising it alone does."""

from __future__ import annotations

import html
import json
import math

from .._version import __version__
from .quantise import LayerReport, Report
from .sensitivity import Harm

_STYLE = """
:root{--page:#f7f7f5;--card:#fff;--ink:#1c1d1f;--soft:#63666c;--line:#e2e2dd;--whole:#2c6bd6;--kept:#d97a1d;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--page:#16171a;--card:#1f2125;--ink:#ebebe8;--soft:#a2a5ab;--line:#34373d;--whole:#6ea0f5;
--kept:#f0a04f}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:22px;margin:0 0 2px;overflow-wrap:anywhere}h2{font-size:16px;margin:0 0 10px}
p{margin:0 0 6px}.soft{color:var(--soft);font-size:13px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin-top:18px}
.row{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,4fr) 84px;gap:1px 12px;align-items:center;padding:6px 0;
border-top:1px solid var(--line);font-variant-numeric:tabular-nums}
.row>.n{text-align:right}.name{overflow-wrap:anywhere;font-size:14px}
.bar{display:block;height:14px;border-radius:3px;background:var(--whole);min-width:2px}.kept .bar{background:var(--kept)}
.legend i{display:inline-block;width:10px;height:10px;border-radius:50%;margin:0 6px 0 14px;background:var(--whole)}
.legend i.k{background:var(--kept)}
"""
_DECADES = 6  # below the largest harm: what the shortest bars stand for


def render(report: Report, model: str) -> str:
    """The page as text."""
    title = f"{model} – quantised"
    document = json.dumps(report.to_json(), allow_nan=False).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n<h1>{html.escape(model)}</h1>"
        f'<p class="soft">{html.escape(_facts(report))} · Oarlock {__version__}</p>\n{_layers(report)}\n{_skipped(report)}\n</main>'
        f'<script type="application/json" id="report">{document}</script></body></html>\n'
    )


def harm_text(harm: Harm | None, measure: str) -> str:
    """A harm as the commands and the page show it."""
    return "–" if harm is None else f"{harm.of(measure):.3g}"


def _facts(report: Report) -> str:
    parts = [f"{len(report.quantised)} of {len(report.layers)} layers on integers", f"scales by {report.method}"]
    parts += [
        "weights by channel" if report.per_channel else "weights by tensor",
        *["powers of two"] * report.exact,
        f"{report.calibrated} examples",
    ]
    if report.chosen is not None:
        parts += [f"judged on {report.held_out}", f"{report.measure} {harm_text(report.chosen, report.measure)}"]
        parts += [f"(all layers: {harm_text(report.every, report.measure)})"]
    return " · ".join(parts)


def _layers(report: Report) -> str:
    values = [layer.harm.of(report.measure) for layer in report.layers if layer.harm is not None]
    top = max(filter(math.isfinite, values), default=0.0)
    rows = "".join(_row(layer, report.measure, top) for layer in report.layers)
    legend = '<p class="soft legend"><i></i>on integers<i class="k"></i>in float</p>'
    caption = f"Harm ({report.measure}) of each layer quantised alone, in the model's order; the bars are logarithmic, {_DECADES} decades."
    return f'<section><h2>Layers</h2><p class="soft">{caption}</p>{legend}{rows}</section>'


def _row(layer: LayerReport, measure: str, top: float) -> str:
    harm = layer.harm.of(measure) if layer.harm else 0.0
    width = min(1.0, max(0.0, 1 + math.log10(harm / top) / _DECADES)) if harm > 0 and top else 0.0
    why = f" (in float: {layer.in_float})" if layer.in_float else ""
    return (
        f'<div class="row{" kept" if layer.in_float else ""}"><span class="name">{html.escape(layer.name + why)}</span>'
        f'<span><span class="bar" style="width:{width:.1%}"></span></span><span class="n">{harm_text(layer.harm, measure)}</span></div>'
    )


def _skipped(report: Report) -> str:
    if not report.skipped:
        return ""
    rows = "".join(f'<p class="soft">{html.escape(f"{s.name} ({s.operator}): {s.why}")}</p>' for s in report.skipped)
    return f"<section><h2>Layers that have no integer form</h2>{rows}</section>"
