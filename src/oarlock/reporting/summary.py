"""Two builds in a few numbers, for the command and the page of diff."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diff import Diff, Side


def summary(found: Diff) -> list[tuple[str, str, str, str]]:
    """(what, of A, of B, B by A): texts."""
    a, b = found.a, found.b
    rows = [("build", build_text(a, b), build_text(b, a), "")]
    numbers: list[tuple[str, Any, Any, Callable[[Any], str]]] = [
        ("one run, at best", a.total_s, b.total_s, ms),
        ("kernels", a.kernels_s, b.kernels_s, ms),
        ("kernel calls", a.calls or None, b.calls or None, str),
        ("tensors at the peak", a.peak, b.peak, size),
        ("memory planned", a.planned, b.planned, size),
        ("weights", a.weights, b.weights, size),
        ("code", a.library, b.library, size),
    ]
    for name, of_a, of_b, text in numbers:
        ratio = f"{of_b / of_a:.2f}" if of_a and of_b else ""
        rows.append((name, "–" if of_a is None else text(of_a), "–" if of_b is None else text(of_b), ratio))
    return rows


def build_text(side: Side, other: Side) -> str:
    """The target, and the options that the other has otherwise; the file's name where the files differ."""
    own = [f"{key}={value}" for key, value in side.options.items() if other.options.get(key) != value]
    name = side.name.rstrip("/").rsplit("/", 1)[-1] if side.name != other.name else ""
    return ", ".join(filter(None, [name, side.target, *own]))


def ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def size(count: int) -> str:
    """Bytes with a unit."""
    for unit, step in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= step:
            return f"{count / step:.3g} {unit}" if count < 100 * step else f"{count / step:.0f} {unit}"
    return f"{count} B"
