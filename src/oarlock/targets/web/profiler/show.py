"""A profile as text and as one page that needs nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from ....web_variants import ENGINES, PADDLEJS

COLOURS = dict(zip(ENGINES, ("#1f77b4", "#2f9e6e", "#d98218", "#b5543a", "#8d5fb8"), strict=True))
WRONG = 1e-4  # of the outputs' scale: who is farther from the reference is named, and a plan is not written


def named(row: Mapping[str, Any]) -> str:
    """The operators of a row, those that repeat counted; or its kernels' names."""
    operators = row["operators"] or [k["name"].removeprefix("fused_") for k in row["kernels"]]
    parts: list[tuple[str, int]] = []
    for name in operators:
        if parts and parts[-1][0] == name:
            parts[-1] = name, parts[-1][1] + 1
        else:
            parts.append((name, 1))
    return " ".join(name if n == 1 else f"{name}×{n}" for name, n in parts)


def text(profile: Mapping[str, Any], most: int = 0) -> str:
    """A table of the rows, ours the slowest first; ``most`` of them, or all."""
    engines = list(profile["engines"])
    titles = {e: e + "*" * bool(profile["engines"][e]["software"]) for e in engines}
    width = {e: len(titles[e]) + 2 for e in engines}
    lines = ["engines in one tab, milliseconds a call: " + head(profile), ""]
    lines.append(f"{'row':>4} " + "".join(f"{titles[e]:>{width[e]}}" for e in engines) + "  operators [our kernels]")
    order = sorted(range(len(profile["rows"])), key=lambda n: -profile["rows"][n]["ms"][engines[0]])
    for n in order[: most or len(order)]:
        row = profile["rows"][n]
        cells = "".join(f"{row['ms'][e]:{width[e]}.3f}" if e in row["ms"] else f"{'–':>{width[e]}}" for e in engines)
        lines.append(f"{n:4} {cells}  {named(row)} [{', '.join(k['name'] for k in row['kernels'])}]")
    lines += ["", *notes(profile)]
    return "\n".join(lines)


def notes(profile: Mapping[str, Any]) -> list[str]:
    """What is to be known of the engines' times and outputs, and why some are left out."""
    software = {name: engine["software"] for name, engine in profile["engines"].items()}
    lines = [f"* {line}" for line in without_a_gpu(software, "times")]
    for name, engine in profile["engines"].items():
        facts = engine["facts"]
        if facts.get("clock") == "timestamp-query":
            lines.append(f"{name}: kernels on the GPU's own clock (timestamp-query), which browsers make coarse; means of the runs")
        elif facts.get("clock"):
            lines.append(
                f"{name}: kernels submitted and awaited one by one, less an empty submission: the GPU's own clock is not to be read"
            )
        if engine["differs"] is not None and engine["differs"] > WRONG:
            lines.append(f"{name}'s outputs differ from {profile['reference']} by {engine['differs']:.0e} of their scale")
        if "onnxruntime" in name and (crossing := facts.get("crossing")):
            lines.append(
                f"{name}: rows are sub-models of their own, without what a call and its copies cost "
                f"({crossing['call_ms']:.3f} ms a call, {crossing['ms_per_mb']:.3f} ms a MB)"
            )
    return lines + [f"{engine} is left out: {why}" for engine, why in profile["missing"].items()]


def without_a_gpu(software: Mapping[str, str], what: str) -> list[str]:
    """Which engines had a program in place of a GPU (engine → its name, or nothing), and that ``what`` they have is of no GPU."""
    lines = []
    for program in dict.fromkeys(filter(None, software.values())):
        names = ", ".join(name for name, other in software.items() if other == program)
        lines.append(f"computed on {program}, a program on the CPU in place of a GPU; {what} say nothing of any GPU: {names}")
    return lines


def head(profile: Mapping[str, Any]) -> str:
    """Each engine's median of the whole model."""
    return ", ".join(
        f"{name} {facts['median_ms']:.2f} (10th percentile {facts['p10_ms']:.2f})" for name, facts in profile["engines"].items()
    )


def page(profile: Mapping[str, Any]) -> str:
    """The page: the model as a whole, then each row with one bar an engine, in the order of execution or the slowest first."""
    engines = list(profile["engines"])
    # bars of engines that are hundreds of times slower would leave nothing of the others
    scale = [e for e in engines if not profile["engines"][e]["software"] and e != PADDLEJS] or engines[:1]
    top = max((row["ms"].get(e, 0.0) for row in profile["rows"] for e in scale), default=0.0) or 1.0
    whole = max(profile["engines"][e]["median_ms"] for e in scale) or 1.0
    browser = next(
        iter(re.findall(r"(?:Headless)?Chrome/[\d.]+|Firefox/[\d.]+|Version/[\d.]+ Safari", profile["browser"])), profile["browser"]
    )
    shapes = ", ".join(f"{n} {'×'.join(map(str, s))}" for n, s in profile["shapes"].items())
    said = "".join(f"<li>{html.escape(note)}" for note in notes(profile))
    total = "".join(
        f'<div class="r{" soft" * bool(f["software"])}"><b>{_title(e, f["software"])}</b>'
        f"{_bar(e, f['median_ms'], whole)}<span>{_ms(f['median_ms'], 2)}</span></div>"
        for e, f in profile["engines"].items()
    )
    soft = {e for e in engines if profile["engines"][e]["software"]}
    rows = "".join(_row(n, row, engines, soft, top) for n, row in enumerate(profile["rows"]))
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(profile["model"])}: engines side by side</title>
<style>
 :root {{ color-scheme: light dark; }}
 body {{ font: 14px/1.4 system-ui, sans-serif; max-width: 70rem; margin: 1.5rem auto; padding: 0 1rem; }}
 h1 {{ font-size: 1.3rem; margin: 0; overflow-wrap: anywhere; }} .soft {{ opacity: .7; }} sup {{ line-height: 0; }}
 .r {{ display: grid; grid-template-columns: 13.5rem 1fr 6rem; gap: .6rem; align-items: center; }}
 .r span {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
 .bar {{ height: .75rem; border-radius: 2px; min-width: 1px; }}
 .over {{ -webkit-mask: linear-gradient(90deg, #000 80%, #0003); mask: linear-gradient(90deg, #000 80%, #0003); }}
 .row {{ border-top: 1px solid #8884; padding: .4rem 0; display: grid; grid-template-columns: minmax(10rem, 1fr) 2fr; gap: .8rem; }}
 .row p {{ margin: 0; overflow-wrap: anywhere; }} small {{ opacity: .7; }} .lost {{ color: #c0392b; font-weight: 600; }}
 ul {{ padding-left: 1.2rem; }} button {{ font: inherit; }}
 @media (max-width: 600px) {{ .row {{ grid-template-columns: 1fr; }} .r {{ grid-template-columns: 10.9rem 1fr 5.2rem; }}
  .r b {{ font-size: .84em; }} }}
</style>
<h1>{html.escape(profile["model"])}</h1>
<p class="soft">{html.escape(shapes)}; {html.escape(browser)}, {profile["cores"]} cores; medians of calls that took turns in one tab</p>
{total}
<ul>{said}</ul>
<p><button id="sort">the slowest first</button>
<span class="soft">red: rows where another engine is faster than ours; bars that fade out are longer;
pale: computed by a program in place of a GPU</span></p>
<div id="rows">{rows}</div>
<script>
 const box = document.querySelector("#rows"), rows = [...box.children]; let slow = false;
 document.querySelector("#sort").onclick = (event) => {{
  slow = !slow; event.target.textContent = slow ? "in the order of execution" : "the slowest first";
  box.append(...[...rows].sort((a, b) => (slow ? b.dataset.ms - a.dataset.ms : a.dataset.n - b.dataset.n)));
 }};
</script>
"""


def _bar(engine: str, ms: float, top: float) -> str:
    width = min(1.0, ms / top)
    over = " over" if ms > top else ""
    return f'<div><div class="bar{over}" style="width:{width:.1%};background:{COLOURS.get(engine, "#777")}"></div></div>'


def _ms(ms: float, digits: int) -> str:
    return f"{ms:.{digits if ms < 100 else 0}f} ms"


def _title(engine: str, software: Any) -> str:
    return html.escape(engine) + ("<sup>*</sup>" if software else "")


def _row(number: int, row: Mapping[str, Any], engines: list[str], soft: set[str], top: float) -> str:
    best = min((e for e in row["ms"] if e not in soft), key=lambda e: row["ms"][e])
    lost = ' class="lost"' if best != engines[0] else ""
    kernels = "; ".join(
        " ".join(filter(None, [k["name"], f"[{k['candidate']}]" if k.get("candidate") else "", k.get("workload", "")]))
        for k in row["kernels"]
    )
    bars = "".join(
        f'<div class="r{" soft" * (e in soft)}"><small>{_title(e, e in soft)}</small>{_bar(e, row["ms"][e], top)}'
        f"<span>{_ms(row['ms'][e], 3)}</span></div>"
        for e in engines
        if e in row["ms"]
    )
    return (
        f'<div class="row" data-n="{number}" data-ms="{row["ms"][engines[0]]:.6f}"><p><b{lost}>{number} {html.escape(named(row))}</b><br>'
        f"<small>{html.escape(kernels)}</small></p><div>{bars}</div></div>"
    )
