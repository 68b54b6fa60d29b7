"""A report as one self-contained page: the roofline of the machine with a dot a kernel, and all kernels by time."""

from __future__ import annotations

import html
import json
from typing import Any

from .._version import __version__
from .chart import roofline_chart
from .roofline import COMPUTE, HOST, MEMORY, OVERHEAD, UNKNOWN, Report, Row

OPEN_ROWS = 40  # kernels that are listed at once; the others are folded away
_LIMITS = {
    COMPUTE: "limited by arithmetic",
    MEMORY: "limited by moving data",
    OVERHEAD: "so small that the call costs more",
    UNKNOWN: "work not known",
    HOST: "a call of Python or Paddle",
}

_STYLE = """
:root{--page:#f7f7f5;--card:#fff;--ink:#1c1d1f;--soft:#63666c;--line:#e2e2dd;--grid:#ececE8;
--compute:#2c6bd6;--memory:#d97a1d;--overhead:#8d6cc4;--unknown:#94979d;--host:#b8356b;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--page:#16171a;--card:#1f2125;--ink:#ebebe8;--soft:#a2a5ab;--line:#34373d;--grid:#2a2c31;
--compute:#6ea0f5;--memory:#f0a04f;--overhead:#b79ae6;--unknown:#7d8087;--host:#e87ba5}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.45 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:22px;margin:0 0 2px;overflow-wrap:anywhere}h2{font-size:16px;margin:0 0 10px}
p{margin:0 0 6px}.soft{color:var(--soft);font-size:13px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin-top:18px}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin-top:18px}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px}
.tiles b{display:block;font-size:22px;font-weight:650;font-variant-numeric:tabular-nums}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;color:var(--soft);margin-bottom:6px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:6px}
svg{display:block;width:100%;height:auto;font-size:12px;fill:var(--ink)}svg.narrow{display:none}
svg .grid{stroke:var(--grid)}svg .axis{fill:var(--soft)}svg .roof{fill:none;stroke:var(--ink);stroke-width:1.6}
svg .dashed{stroke-dasharray:5 4}svg .slope{fill:none;stroke:var(--soft);stroke-width:1.2}
svg .halo{paint-order:stroke;stroke:var(--card);stroke-width:4px}
svg circle{fill-opacity:.5;stroke-width:1.2}svg circle:hover{fill-opacity:.85}
svg .rank{font-size:10px;text-anchor:middle;pointer-events:none}
.compute{--hue:var(--compute)}.memory{--hue:var(--memory)}.overhead{--hue:var(--overhead)}.unknown{--hue:var(--unknown)}
.host{--hue:var(--host)}
circle.compute,circle.memory,circle.overhead,circle.unknown{fill:var(--hue);stroke:var(--hue)}.legend i{background:var(--hue)}
.row{display:grid;grid-template-columns:26px minmax(0,6fr) minmax(0,4fr) 70px 54px 48px;gap:1px 12px;align-items:center;padding:7px 0;
border-top:1px solid var(--line);font-variant-numeric:tabular-nums}
.row.head{border:0;color:var(--soft);font-size:12px;padding:0 0 4px}.row>.n{text-align:right}
.row>.soft{text-align:right}.row>.what{grid-column:2/-1}
.name{overflow-wrap:anywhere;font-weight:550;font-size:14px}.what{color:var(--soft);font-size:12px;overflow-wrap:anywhere}
.bar{height:14px;border-radius:3px;background:color-mix(in srgb,var(--hue) 28%,transparent);overflow:hidden;min-width:2px}
.bar i{display:block;height:100%;background:var(--hue)}
summary{cursor:pointer;padding:8px 0;color:var(--soft)}
@media(max-width:640px){main{padding:18px 12px 32px}section{padding:12px}.tiles{grid-template-columns:repeat(2,1fr)}
svg.wide{display:none}svg.narrow{display:block}
.row{grid-template-columns:22px minmax(0,1fr) 66px 48px 46px;gap:4px 8px}.row>.track{grid-column:2/-1;grid-row:2}
.row.head>.track{display:none}}
"""


def render(report: Report) -> str:
    """The page as text."""
    title = f"{_base(report.model)} – profile"
    document = json.dumps(report.to_json(), allow_nan=False).replace("<", "\\u003c")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n{_head(report)}\n{_tiles(report)}\n"
        f"{_roofline(report)}\n{_kernels(report)}\n{_notes(report)}\n</main>"
        f'<script type="application/json" id="report">{document}</script></body></html>\n'
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _base(path: str) -> str:
    """The last two parts of a path: folders tell models apart, whose files are often called the same."""
    return "/".join(path.rstrip("/").split("/")[-2:]) or "model"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def _head(report: Report) -> str:
    shapes = ", ".join(f"{name} {dims}" for name, dims in report.inputs.items())
    machine = report.peaks.cpu if report.peaks else "a machine that was not measured"
    return (
        f"<h1>{_text(_base(report.model))}</h1>"
        f'<p class="soft">{_text(shapes)} · {report.threads} thread{"s" if report.threads != 1 else ""} · {report.runs} runs · '
        f"{_text(machine)} · Oarlock {_text(__version__)}</p>"
    )


def _tiles(report: Report) -> str:
    reached = "–" if report.reached is None else f"{report.reached:.0%}"
    tiles = [
        (_ms(report.total_s), "one run, at best"),
        (_ms(report.kernels_s), f"in {sum(row.calls for row in report.rows)} kernel calls"),
        (_ms(report.roofline_s), "is their roofline"),
        (reached, "of the roofline reached"),
    ]
    return '<div class="tiles">' + "".join(f'<div><b>{_text(a)}</b><span class="soft">{_text(b)}</span></div>' for a, b in tiles) + "</div>"


def _legend(rows: tuple[Row, ...]) -> str:
    limits = [limit for limit in _LIMITS if any(row.limit == limit for row in rows)]
    return '<div class="legend">' + "".join(f'<span class="{limit}"><i></i>{_LIMITS[limit]}</span>' for limit in limits) + "</div>"


def _roofline(report: Report) -> str:
    if report.peaks is None:
        return ""
    plotted = [row for row in report.rows if row.intensity and row.rate]
    still = sum(row.share for row in report.rows if not row.intensity)
    caption = "A dot is a kernel, its area the time that it takes; numbers are those of the list below. "
    caption += f"Kernels without arithmetic ({still:.1%} of the time) are in the list alone." if still else ""
    charts = roofline_chart(report, plotted, 980, 460, "wide") + roofline_chart(report, plotted, 400, 400, "narrow")
    return f'<section><h2>Roofline</h2>{_legend(report.rows)}{charts}<p class="soft">{_text(caption)}</p></section>'


def _kernels(report: Report) -> str:
    longest = max((row.seconds for row in report.rows), default=0.0)
    rows = [_kernel(rank, row, longest) for rank, row in enumerate(report.rows, 1)]
    head = (
        '<div class="row head"><span></span><span>kernel</span><span class="track">time; filled: what it could be</span>'
        '<span class="n">µs</span><span class="n">share</span><span class="n">roof</span></div>'
    )
    rest = rows[OPEN_ROWS:]
    folded = f"<details><summary>{len(rest)} more kernels</summary>{''.join(rest)}</details>" if rest else ""
    return f"<section><h2>Kernels by time</h2>{head}{''.join(rows[:OPEN_ROWS])}{folded}</section>"


def _kernel(rank: int, row: Row, longest: float) -> str:
    # a workload that is a number says nothing to a person
    kind = row.workload if len(row.workload.split()) > 2 else row.schedule
    facts = [f"{kind} → {row.candidate}" if row.candidate else kind, f"{row.calls} calls" if row.calls > 1 else ""]
    facts += [f"{row.operations / 1e6:.2f} MFLOP" if row.operations else "", f"{row.bytes / 1e6:.2f} MB" if row.bytes is not None else ""]
    facts += [f"{row.intensity:.1f} FLOP/B" if row.intensity else "", f"{row.rate / 1e9:.1f} GFLOP/s" if row.rate else ""]
    facts += [f"median {row.median_s * 1e6:.1f} µs"]
    what = " · ".join(filter(None, facts))
    model = f'<span class="what">{_text(row.operators)}<br>{_text(", ".join(row.handles))}</span>' if row.operators else ""
    filled = 0.0 if row.reached is None else min(row.reached, 1.0)
    width = row.seconds / longest if longest else 0.0
    reached = "" if row.reached is None else f"{row.reached:.0%}"
    return (
        f'<div class="row {row.limit}"><span class="soft">{rank}</span>'
        f'<span class="name">{_text(row.name.removeprefix("fused_"))}</span>'
        f'<span class="track"><span class="bar" style="display:block;width:{width:.2%}" title="{_text(_LIMITS[row.limit])}">'
        f'<i style="width:{filled:.1%}"></i></span></span>'
        f'<span class="n">{row.seconds * 1e6:.1f}</span><span class="n">{row.share:.1%}</span><span class="n">{reached}</span>'
        f'{model}<span class="what">{_text(what)}</span></div>'
    )


def _notes(report: Report) -> str:
    lines = list(report.notes)
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
    return "<section><h2>Notes</h2>" + "".join(f'<p class="soft">{_text(line)}</p>' for line in lines) + "</section>"
