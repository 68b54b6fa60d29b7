"""A plan of L3 as one self-contained page: who lies where from which kernel to which, and why the others do not.

It is made of what a manifest says (facts.py), so an artifact's plan can be looked at as well as a model's.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .program import HOST, INPUT, OUTPUT, WEIGHT

_WIDTH, _HEIGHT, _DEMAND, _LEFT, _RIGHT, _TOP, _GAP, _BOTTOM = 980, 380, 120, 64, 12, 20, 34, 40
_LISTED = 60  # tensors that are listed at once; the others are folded away
_LABEL = 54.0  # width from which a box has its name

_STYLE = """
:root{--page:#f7f7f5;--card:#fff;--ink:#1c1d1f;--soft:#63666c;--line:#e2e2dd;--grid:#ececE8;--value:#2c6bd6;--weight:#8d6cc4;
--spilled:#d97a1d;--free:#f0f0ec;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--page:#16171a;--card:#1f2125;--ink:#ebebe8;--soft:#a2a5ab;--line:#34373d;--grid:#2a2c31;
--value:#6ea0f5;--weight:#b79ae6;--spilled:#f0a04f;--free:#26282d}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 48px}h1{font-size:22px;margin:0 0 2px}h2{font-size:16px;margin:0 0 10px}
p{margin:0 0 6px}.soft{color:var(--soft);font-size:13px}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin-top:18px;overflow-x:auto}
.tiles{display:grid;grid-template-columns:repeat(4,1fr);gap:12px;margin-top:18px}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px}
.tiles b{display:block;font-size:22px;font-weight:650;font-variant-numeric:tabular-nums}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:13px;color:var(--soft);margin-bottom:6px}
.legend i{display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:6px}
svg{display:block;width:100%;min-width:640px;height:auto;font-size:11px;fill:var(--ink)}svg .grid{stroke:var(--grid)}
svg .axis{fill:var(--soft)}svg .free{fill:var(--free)}svg .box{stroke:var(--card);stroke-width:.8}
svg .value{fill:var(--value)}svg .weight{fill:var(--weight)}svg .box:hover{opacity:.75}
svg .name{fill:#fff;pointer-events:none;font-size:10px}svg .demand{fill:var(--spilled);opacity:.35}svg .used{fill:var(--value)}
svg .limit{stroke:var(--ink);stroke-dasharray:5 4}
table{border-collapse:collapse;width:100%;font-size:13px}th{text-align:left;color:var(--soft);font-weight:500}
td,th{padding:5px 10px 5px 0;border-top:1px solid var(--line);vertical-align:top}th{border:0}td.n,th.n{text-align:right;
font-variant-numeric:tabular-nums;white-space:nowrap}td.name{overflow-wrap:anywhere;min-width:180px}
summary{cursor:pointer;padding:8px 0;color:var(--soft)}
@media(max-width:640px){main{padding:18px 12px 32px}.tiles{grid-template-columns:repeat(2,1fr)}}
"""


@dataclass(frozen=True)
class _Tensor:
    name: str
    kind: str
    bytes: int
    first: int
    last: int
    moved: int
    place: int | str | None
    why: str


def render(facts: Mapping[str, Any]) -> str:
    """The page for a manifest's ``memory``."""
    tensors = [_Tensor(*row) for row in facts["tensors"]]
    title = f"L3 of the {str(facts['chip']).upper()}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>"
        f'<p class="soft">What a run keeps in L3 and what in GDDR, kernel by kernel. Times are modelled.</p>'
        f"{_tiles(facts, tensors)}\n{_chart(facts, tensors)}\n{_spilled(tensors)}\n{_inside(tensors)}\n</main></body></html>\n"
    )


def size(count: float) -> str:
    """Bytes for people."""
    for unit, factor in (("MB", 1e6), ("KB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count:.0f} B"


def _text(value: Any) -> str:
    return html.escape(str(value))


def _tiles(facts: Mapping[str, Any], tensors: Sequence[_Tensor]) -> str:
    moved = {where: sum(t.moved for t in tensors if (t.place is not None) == where and t.kind != HOST) for where in (True, False)}
    all_moved = sum(moved.values()) or 1
    proof = "no plan saves more" if facts["exact"] else f"no plan saves over {facts['bound_us']:.1f} µs: gap {facts['gap']:.1%}"
    tiles = [
        (size(facts["arena"] + facts["weights"]), f"of {size(facts['capacity'])} of L3 are used"),
        (f"{moved[True] / all_moved:.0%}", f"of {size(all_moved)} that a run moves are from and to L3"),
        (f"{facts['gain_us']:.1f} µs", "are saved a run"),
        ("best" if facts["exact"] else f"{1 - facts['gap']:.1%}", proof if facts["exact"] else f"of what can be: {proof}"),
    ]
    return '<div class="tiles">' + "".join(f'<div><b>{_text(a)}</b><span class="soft">{_text(b)}</span></div>' for a, b in tiles) + "</div>"


def _chart(facts: Mapping[str, Any], tensors: Sequence[_Tensor]) -> str:
    kernels = facts["kernels"]
    count, arena, weights, capacity = max(len(kernels), 1), facts["arena"], facts["weights"], facts["capacity"]
    # what nobody uses is not drawn to scale where it is most of L3
    top = min(capacity, max((arena + weights) * 1.08, 1))

    def x(kernel: float) -> float:
        return _LEFT + kernel / count * (_WIDTH - _LEFT - _RIGHT)

    def y(byte: float) -> float:
        return _TOP + _HEIGHT * (1 - byte / top)

    parts = [f'<rect class="free" x="{_LEFT}" y="{_TOP}" width="{_WIDTH - _LEFT - _RIGHT}" height="{_HEIGHT}"/>']
    for part in range(5):
        at = top * part / 4
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y(at):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y(at):.1f}"/>')
        parts.append(f'<text class="axis" x="{_LEFT - 6}" y="{y(at) + 4:.1f}" text-anchor="end">{size(at)}</text>')
    for t in tensors:
        if isinstance(t.place, int):
            parts.append(_box(t, kernels, x(t.first), x(t.last + 1), y(t.place + t.bytes), y(t.place)))
    if weights:
        inside = sum(t.place == "l3" for t in tensors)
        band = f"{inside} weights, {size(weights)}, stay between runs"
        parts.append(
            f'<rect class="box weight" x="{_LEFT}" y="{y(arena + weights):.1f}" width="{_WIDTH - _LEFT - _RIGHT}" '
            f'height="{max(y(arena) - y(arena + weights), 0.8):.1f}"><title>{band}</title></rect>'
        )
        if y(arena) - y(arena + weights) > 14:
            parts.append(f'<text class="name" x="{_LEFT + 6}" y="{(y(arena) + y(arena + weights)) / 2 + 4:.1f}">{band}</text>')
    parts.append(_demand(facts, tensors, x, count))
    base = _TOP + _HEIGHT + _GAP + _DEMAND
    for k in range(0, count, max(count // 10, 1)):
        parts.append(f'<text class="axis" x="{x(k):.1f}" y="{base + 16}">{k}</text>')
    parts.append(f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{base + 32}" text-anchor="end">kernels of a run, in order</text>')
    whole = "" if top >= capacity else f" The upper {size(capacity - top)} are free and not drawn."
    return (
        '<section><h2>Places</h2><div class="legend"><span><i style="background:var(--value)"></i>between kernels</span>'
        '<span><i style="background:var(--weight)"></i>weights</span>'
        '<span><i style="background:var(--spilled);opacity:.5"></i>alive, and not in L3</span></div>'
        f'<svg viewBox="0 0 {_WIDTH} {base + _BOTTOM}" role="img" aria-label="Places in L3">{"".join(parts)}</svg>'
        f'<p class="soft">Above: addresses in L3.{whole} Below: bytes alive at each kernel.</p></section>'
    )


def _box(t: _Tensor, kernels: Sequence[Any], left: float, right: float, upper: float, lower: float) -> str:
    life = f"kernels {t.first} to {t.last}: {kernels[t.first][1]} → {kernels[t.last][1]}"
    title = _text(f"{t.name}\n{t.bytes:,} bytes at {t.place:,}\n{life}\n{t.moved:,} bytes are moved")
    box = (
        f'<rect class="box value" x="{left:.1f}" y="{upper:.1f}" width="{max(right - left, 0.8):.1f}" '
        f'height="{max(lower - upper, 0.8):.1f}"><title>{title}</title></rect>'
    )
    if right - left < _LABEL or lower - upper < 12:
        return box
    fits = int((right - left - 8) / 5.6)
    short = t.name.rsplit("/", 1)[-1]
    short = short if len(short) <= fits else short[: fits - 1] + "…"
    return box + f'<text class="name" x="{left + 4:.1f}" y="{(upper + lower) / 2 + 3.5:.1f}">{_text(short)}</text>'


def _demand(facts: Mapping[str, Any], tensors: Sequence[_Tensor], x: Any, count: int) -> str:
    """Bars: what is alive at each kernel, in L3 and elsewhere; the line is L3's size."""
    inside, alive = [0] * count, [0] * count
    for t in tensors:
        if t.kind in (INPUT, OUTPUT, HOST) or t.first < 0:
            continue
        for k in range(count) if t.kind == WEIGHT else range(t.first, min(t.last, count - 1) + 1):
            alive[k] += t.bytes
            inside[k] += t.bytes if t.place is not None else 0
    top, base = max([*alive, 1]), _TOP + _HEIGHT + _GAP + _DEMAND
    parts = []
    for k in range(count):
        for name, value in (("demand", alive[k]), ("used", inside[k])):
            height = value / top * _DEMAND
            parts.append(
                f'<rect class="{name}" x="{x(k):.1f}" y="{base - height:.1f}" width="{x(k + 1) - x(k):.2f}" height="{height:.1f}"/>'
            )
    parts.append(f'<text class="axis" x="{_LEFT - 6}" y="{base - _DEMAND + 4}" text-anchor="end">{size(top)}</text>')
    if facts["capacity"] <= top:
        at = base - facts["capacity"] / top * _DEMAND
        parts.append(f'<line class="limit" x1="{_LEFT}" y1="{at:.1f}" x2="{_WIDTH - _RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text class="axis" x="{_WIDTH - _RIGHT}" y="{at - 4:.1f}" text-anchor="end">L3: {size(facts["capacity"])}</text>')
    return "".join(parts)


def _spilled(tensors: Sequence[_Tensor]) -> str:
    out = sorted((t for t in tensors if t.place is None), key=lambda t: -t.moved)
    rows = [(t.name, t.kind, t.bytes, t.moved, t.why) for t in out]
    return _table(f"Not in L3, and why: {len(out)} of {len(tensors)} tensors", ("tensor", "kind", "bytes", "moved a run", "why"), rows)


def _inside(tensors: Sequence[_Tensor]) -> str:
    there = sorted((t for t in tensors if t.place is not None), key=lambda t: -t.moved)
    rows = [(t.name, t.kind, t.bytes, t.moved, "between runs" if t.place == "l3" else f"{t.first} to {t.last}") for t in there]
    return _table("In L3, the busiest first", ("tensor", "kind", "bytes", "moved a run", "kernels"), rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""

    def cell(place: int, value: Any) -> str:
        kind = ' class="n"' if place in (2, 3) else ' class="name"' if place == 0 else ""
        return f"<td{kind}>{value:,}</td>" if isinstance(value, int) else f"<td{kind}>{_text(value)}</td>"

    numbers = ("", "", ' class="n"', ' class="n"', "")
    names = "".join(f"<th{numbers[place]}>{_text(name)}</th>" for place, name in enumerate(head))
    lines = ["<tr>" + "".join(cell(i, v) for i, v in enumerate(row)) + "</tr>" for row in rows]
    shown = f"<table><tr>{names}</tr>{''.join(lines[:_LISTED])}</table>"
    rest = lines[_LISTED:]
    more = f"<details><summary>{len(rest)} more</summary><table>{''.join(rest)}</table></details>" if rest else ""
    return f"<section><h2>{_text(title)}</h2>{shown}{more}</section>"
