"""The roofline of a machine with kernels in it, as SVG: operations a second over operations a byte, both logarithmic."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from .machine import Level, Peaks
from .roofline import Report, Row

LARGEST = 17.0  # radius of the dot of the kernel that takes the most time
RANKED = 8.0  # radius from which a dot has its number
DEEPEST = 1e-3  # of the peak: slower kernels stand on the lower edge
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 40


def roofline_chart(report: Report, rows: Sequence[Row], width: int, height: int, name: str) -> str:
    """An ``svg`` element of class ``name``; ``rows`` have operations and bytes."""
    assert report.peaks is not None
    chart = _Chart(report.peaks, rows, width, height)
    ranks = {id(row): rank for rank, row in enumerate(report.rows, 1)}
    # large dots first, so that small ones lie on them
    dots = "".join(chart.dot(row, ranks[id(row)]) for row in sorted(rows, key=lambda row: -row.share))
    return (
        f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-label="Roofline of the machine and the kernels of the model">'
        f"{chart.axes()}{chart.roofs()}{dots}{chart.labels()}</svg>"
    )


class _Chart:
    def __init__(self, peaks: Peaks, rows: Sequence[Row], width: int, height: int) -> None:
        self.peaks, self.width, self.height = peaks, width, height
        self.types = {dtype for row in rows for dtype in row.flops or {}} & peaks.flops.keys() | {"float32"}
        self.top = max(peaks.flops[dtype] for dtype in self.types)
        intensities = [row.intensity or 1.0 for row in rows]
        ridge = self.top / min(level.rate for level in peaks.levels)
        self.x0 = min([*intensities, 0.5]) / 1.5
        self.x1 = max([*intensities, 4 * ridge]) * 1.5
        rates = [row.rate or self.top for row in rows]
        self.y0 = max(min([*rates, self.top / 50]) / 1.5, self.top * DEEPEST)
        self.y1 = 1.8 * max([*rates, self.top])
        self.scale = LARGEST / math.sqrt(max([row.share for row in rows], default=1.0) or 1.0)

    def x(self, intensity: float) -> float:
        part = math.log10(intensity / self.x0) / math.log10(self.x1 / self.x0)
        return _LEFT + part * (self.width - _LEFT - _RIGHT)

    def y(self, rate: float) -> float:
        part = math.log10(rate / self.y0) / math.log10(self.y1 / self.y0)
        return self.height - _BOTTOM - part * (self.height - _TOP - _BOTTOM)

    def axes(self) -> str:
        left, right, top, bottom = _LEFT, self.width - _RIGHT, _TOP, self.height - _BOTTOM
        parts = []
        for value in _decades(self.x0, self.x1):
            x = self.x(value)
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{bottom}"/>')
            parts.append(f'<text class="axis" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value:g}</text>')
        for value in _decades(self.y0, self.y1):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
            parts.append(f'<text class="axis" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value / 1e9:g}</text>')
        parts.append(f'<text class="axis" x="{right}" y="{self.height - 6}" text-anchor="end">operations a byte</text>')
        parts.append(f'<text class="axis" x="{left}" y="{self.height - 6}">GFLOP/s ↑</text>')
        return "".join(parts)

    def roofs(self) -> str:
        """The lines that no kernel can be above of."""
        parts = []
        for dtype in sorted(self.types):
            rate = self.peaks.flops[dtype]
            start = rate / max(level.rate for level in self.peaks.levels)
            dashed, y = "" if dtype == "float32" else " dashed", self.y(rate)
            parts.append(f'<line class="roof{dashed}" x1="{self.x(start):.1f}" y1="{y:.1f}" x2="{self.width - _RIGHT}" y2="{y:.1f}"/>')
        for level in self.peaks.levels:
            x0, y0, x1, y1 = self._slope(level)
            parts.append(f'<line class="slope" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>')
        return "".join(parts)

    def labels(self) -> str:
        """What the lines are; drawn last, so that dots do not hide them."""
        parts = []
        for dtype in sorted(self.types):
            rate = self.peaks.flops[dtype]
            # at the left end, above the slopes: large kernels are at the right
            x = max(_LEFT, self.x(rate / max(level.rate for level in self.peaks.levels)))
            label = html.escape(f"{dtype} {rate / 1e9:.0f} GFLOP/s")
            parts.append(f'<text class="halo" x="{x:.1f}" y="{self.y(rate) - 7:.1f}">{label}</text>')
        shown: list[float] = []
        for level in self.peaks.levels:
            x0, y0, x1, y1 = self._slope(level)
            # along its line, and away from the labels of others that are nearly as fast
            at = 0.1
            while any(abs(at * (x1 - x0) + x0 - other) < 24 for other in shown) and at < 0.5:
                at += 0.1
            x, y = x0 + at * (x1 - x0), y0 + at * (y1 - y0)
            shown.append(x)
            angle = math.degrees(math.atan2(y1 - y0, x1 - x0))
            label = html.escape(f"{level.name} {level.rate / 1e9:.0f} GB/s")
            parts.append(f'<text class="halo" transform="translate({x:.1f} {y - 5:.1f}) rotate({angle:.1f})">{label}</text>')
        return "".join(parts)

    def _slope(self, level: Level) -> tuple[float, float, float, float]:
        """From the left or lower edge to the highest roof."""
        first = max(self.x0, self.y0 / level.rate)
        return self.x(first), self.y(first * level.rate), self.x(self.top / level.rate), self.y(self.top)

    def dot(self, row: Row, rank: int) -> str:
        assert row.intensity and row.rate
        x, y = self.x(row.intensity), self.y(max(row.rate, self.y0))
        radius = max(2.0, self.scale * math.sqrt(row.share))
        reached = "" if row.reached is None else f", {row.reached:.0%} of its roofline"
        title = f"{rank}. {row.name}\n{row.seconds * 1e6:.1f} µs ({row.share:.1%}){reached}\n{row.workload} {row.candidate}"
        circle = f'<circle class="{row.limit}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{html.escape(title)}</title></circle>'
        return circle + (f'<text class="rank" x="{x:.1f}" y="{y + 3.5:.1f}">{rank}</text>' if radius >= RANKED else "")


def _decades(first: float, last: float) -> list[float]:
    """The powers of ten from ``first`` to ``last``."""
    return [10.0**e for e in range(math.ceil(math.log10(first) - 1e-9), math.floor(math.log10(last) + 1e-9) + 1)]
