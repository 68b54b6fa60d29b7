"""A diff as one self-contained page, in the look of a report's."""

from __future__ import annotations

from .._version import __version__
from .diff import Diff
from .page import Tile, base, page, text, tiles
from .summary import build_text, ms, size, summary

_SCRIPTS = ("util.js", "diff.js")


def render(found: Diff) -> str:
    """The page as text."""
    names = [base(side.name) for side in (found.a, found.b)]
    title = names[0] if names[0] == names[1] else " and ".join(names)
    shapes = ", ".join(f"{name} {dims}" for name, dims in found.inputs.items())
    head = f'<h1>{text(title)}</h1><p class="soft">{text(shapes)} · Oarlock {text(__version__)}</p>\n'
    document = found.to_json() | {
        "summary": summary(found),
        "names": [build_text(found.a, found.b), build_text(found.b, found.a)],
        "about": [f"{name}: {side.reason}" for name, side in (("A", found.a), ("B", found.b)) if side.reason],
    }
    return page(f"{title} – diff", head + tiles(_tiles(found)), document, _SCRIPTS)


def _tiles(found: Diff) -> list[Tile]:
    a, b = found.a, found.b
    worst = max((o.max_rel for o in found.outputs), default=0.0)
    out = [
        (f"{b.total_s / a.total_s:.2f}×" if a.total_s else "–", f"the time of a run: {ms(b.total_s)} for {ms(a.total_s)}", ""),
        (f"{worst:.1e}", f"the outputs differ by, tolerance {found.tolerance:g}", "good" if found.ok else "bad"),
    ]
    if a.peak and b.peak:
        out.append((f"{b.peak / a.peak:.2f}×", f"tensors at the peak: {size(b.peak)} for {size(a.peak)}", ""))
    if a.weights:
        out.append((f"{b.weights / a.weights:.2f}×", f"weights: {size(b.weights)} for {size(a.weights)}", ""))
    if a.calls and b.calls:
        out.append((f"{a.calls} → {b.calls}", "kernel calls", ""))
    return out
