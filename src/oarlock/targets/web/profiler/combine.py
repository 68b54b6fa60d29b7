"""``oarlock web combine``: a plan that takes for each row of a profile the engine that is best there, crossings counted.

Rows are nodes of a path; an edge is one row on our kernels, or a run of rows on onnxruntime-web as one sub-model.  The latter costs the
rows' own times, a call, the copies of what goes in and comes out, and changes of layout, all as measured; the shortest path is the plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import onnx_pieces
from .align import Row
from .profile import ORT, OURS, PADDLEJS, Aligned, Setting
from .tab import Browser, run_job

COMBINED = "combined"


@dataclass(frozen=True)
class Place:
    """Where in our memory a tensor of ONNX lies, and how; ``shape``: ONNX's."""

    name: str
    region: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    layout: str

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Segment:
    """Rows ``first`` up to but without ``last``, on one engine."""

    first: int
    last: int
    engine: str
    ms: float
    inputs: tuple[Place, ...] = ()
    outputs: tuple[Place, ...] = ()


class Paths:
    """What can run where, and what it costs."""

    def __init__(self, aligned: Aligned, profile: Mapping[str, Any], graph: onnx_pieces.Graph) -> None:
        self.rows, self.steps, self.types, self.graph = aligned.rows, aligned.steps, aligned.types, graph
        self.ms = [row["ms"] for row in profile["rows"]]
        self.crossing = profile["crossing"]
        self.places: dict[str, tuple[int, Place]] = {}  # ONNX's tensor → (the step that makes it, where)
        for row in self.rows:
            if row.tensor and row.layout:
                made = self.steps[row.steps[-1]]["args"][row.result["at"]]
                dtype, shape = self.types[row.tensor]
                if dtype == made["dtype"]:
                    where = Place(row.tensor, made["region"], made["offset"], dtype, tuple(shape), row.layout)
                    self.places[row.tensor] = row.steps[-1], where
        for i, name in enumerate(graph.inputs):
            dtype, shape = self.types[name]
            self.places[name] = -1, Place(name, 2 + i, 0, dtype, tuple(shape), "same")
        self.first_output = 2 + len(graph.inputs)

    def ours(self, n: int) -> Segment:
        return Segment(n, n + 1, OURS, self.ms[n][OURS])

    def elsewhere(self, first: int, last: int) -> Segment | None:
        """The rows on onnxruntime-web; None where a tensor that they take or give has no place of its own in our memory."""
        rows = self.rows[first:last]
        if any(ORT not in self.ms[n] or row.tensor not in self.places for n, row in zip(range(first, last), rows, strict=True)):
            return None
        begin, end = rows[0].steps[0], rows[-1].steps[-1] + 1
        outputs = [row.tensor for row in rows if self._read_after(row.steps[-1], row.result["at"], end)]
        inside = {(n, at) for row in rows for n, at in [(row.steps[-1], row.result["at"])]}
        for n in range(begin, end):  # what else these steps make must not be read by later ones
            for result in self.steps[n]["results"]:
                if (n, result["at"]) not in inside and self._read_after(n, result["at"], end):
                    return None
        known = {name for name, (made, _) in self.places.items() if made < begin}
        if not outputs:
            return None
        nodes, taken = self.graph.cone(outputs, known)
        if not nodes or any(name not in known or not self._alive(name, begin) for name in taken):
            return None
        places = [self.places[name][1] for name in taken], [self.places[name][1] for name in outputs]
        moved = sum(place.bytes for side in places for place in side) / 1e6
        turned = sum(place.bytes for side in places for place in side if place.layout != "same") / 1e6
        ms = sum(self.ms[n][ORT] for n in range(first, last)) + self.crossing["call_ms"]
        ms += moved * self.crossing["ms_per_mb"] + turned * self.crossing["layout_ms_per_mb"]
        return Segment(first, last, ORT, ms, tuple(places[0]), tuple(places[1]))

    def _read_after(self, step: int, at: int, end: int) -> bool:
        """Whether what a step makes is an output, or is read from step ``end`` on."""
        place = self.steps[step]["args"][at]
        if place["region"] >= self.first_output:
            return True
        key = place["region"], place["offset"]
        for later in self.steps[end:]:
            made = {r["at"] for r in later["results"]}
            for i, other in enumerate(later["args"]):
                if (other["region"], other["offset"]) == key and (i not in made or self._in_place(later)):
                    return True
            if any((later["args"][i]["region"], later["args"][i]["offset"]) == key for i in made):
                return False
        return False

    @staticmethod
    def _in_place(step: Mapping[str, Any]) -> bool:
        return "_upon_" in step["name"]

    def _alive(self, name: str, begin: int) -> bool:
        """Whether a tensor still lies in its place when step ``begin`` comes."""
        made, place = self.places[name]
        low, high = place.offset, place.offset + place.bytes
        for step in self.steps[made + 1 : begin]:
            for result in step["results"]:
                other = step["args"][result["at"]]
                start = other["offset"]
                size = math.prod(other["shape"]) * np.dtype(other["dtype"]).itemsize
                if other["region"] == place.region and start < high and low < start + size:
                    return False
        return True

    def all_elsewhere(self) -> list[Segment]:
        count = len(self.rows)
        found = (self.elsewhere(first, last) for first in range(count) for last in range(first + 1, count + 1))
        return [segment for segment in found if segment]


def shortest(count: int, edges: Sequence[Segment]) -> list[Segment]:
    """The cheapest way from row 0 past the last one."""
    best: list[tuple[float, Segment | None]] = [(0.0, None)]
    best += [(math.inf, None)] * count
    for edge in sorted(edges, key=lambda edge: edge.first):
        cost = best[edge.first][0] + edge.ms
        if cost < best[edge.last][0]:
            best[edge.last] = cost, edge
    path: list[Segment] = []
    at = count
    while at > 0:
        taken = best[at][1]
        assert taken is not None
        path.append(taken)
        at = taken.first
    return path[::-1]


def combine(
    setting: Setting, profile: Mapping[str, Any], aligned: Aligned, *, browser: Browser | None,
    announce: Callable[[str], None] | None = None, rounds: int = 20, tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """The best plan, its predicted time and its measured one beside each engine alone, as JSON.

    Where our kernels are best everywhere, the plan with the least loss that leaves them once is measured too: a claim about plans that
    nobody ran would be worth little.
    """
    base = {"format": "oarlock web combine", "version": 1, "model": profile["model"], "browser": profile["browser"]}
    if not aligned.pieces or not profile["crossing"]:
        return base | {
            "segments": [],
            "why": profile["missing"].get(ORT, "no other engine computes on our memory"),
            "holding": holding(profile),
        }
    assert setting.onnx is not None
    paths = Paths(aligned, profile, onnx_pieces.Graph(setting.onnx))
    ours = [paths.ours(n) for n in range(len(aligned.rows))]
    others = paths.all_elsewhere()
    best = shortest(len(ours), [*ours, *others])
    gains = sorted(others, key=lambda s: s.ms - sum(o.ms for o in ours[s.first : s.last]))
    mixed = any(segment.engine != OURS for segment in best)
    tried = best if mixed or not gains else [*ours[: gains[0].first], gains[0], *ours[gains[0].last :]]
    total = sum(segment.ms for segment in ours)
    result = base | {
        "one_engine_wins": not mixed,
        "predicted_ms": {OURS: total, COMBINED: sum(s.ms for s in best), "tried": sum(s.ms for s in tried)},
        "segments": [_said(s, ours) for s in best if s.engine != OURS],
        "nearest": [_said(s, ours) for s in gains[:5]],
        "holding": holding(profile),
    }  # fmt: skip
    if any(segment.engine != OURS for segment in tried):
        spec = spec_of(setting, paths, tried)
        result |= {"spec": spec, "measured": _measured(setting, spec, browser, announce, rounds, tell)}
    return result


def _said(segment: Segment, ours: Sequence[Segment]) -> dict[str, Any]:
    own = sum(o.ms for o in ours[segment.first : segment.last])
    return {"rows": [segment.first, segment.last], "engine": segment.engine, "ms": segment.ms, "ours_ms": own, "gain_ms": own - segment.ms}


def spec_of(setting: Setting, paths: Paths, segments: Sequence[Segment]) -> dict[str, Any]:
    """The plan as page/combined.js reads it; sub-models are written into the folder of pieces."""
    listed: list[dict[str, Any]] = []
    for segment in segments:
        rows: Sequence[Row] = paths.rows[segment.first : segment.last]
        begin, end = rows[0].steps[0], rows[-1].steps[-1] + 1
        if segment.engine == OURS:
            if listed and "steps" in listed[-1]:
                listed[-1]["steps"][1] = end
            else:
                listed.append({"steps": [begin, end]})
            continue
        known = {name for name, (made, _) in paths.places.items() if made < begin}
        file = setting.work / f"pieces/rows-{segment.first}-{segment.last}.onnx"
        paths.graph.piece([place.name for place in segment.outputs], known, paths.types, file)
        listed.append({"file": file.name, "inputs": [vars(p) for p in segment.inputs], "outputs": [vars(p) for p in segment.outputs]})
    return {"variant": setting.variant, "segments": listed}


def _measured(
    setting: Setting, spec: Mapping[str, Any], browser: Browser | None, announce: Callable[[str], None] | None, rounds: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    dist = {"dist": "peers/onnxruntime-web/dist/"}
    engines = [
        {"name": OURS, "engine": "oarlock", "site": "work/site/", "variant": setting.variant},
        {"name": ORT, "engine": "onnxruntime", "onnx": "work/whole.onnx", **dist},
        {"name": COMBINED, "engine": "combined", "site": "work/site/", "folder": "work/pieces/", **dist, **spec},
    ]
    found = run_job(setting.job(engines, rounds=rounds, warm_ms=2000), setting.folders, browser=browser, announce=announce, progress=tell)
    out: dict[str, Any] = {"failed": found["failed"]}
    for name, engine in found["engines"].items():
        times: list[float] = sum(engine["rounds"], [])
        facts = {"median_ms": float(np.median(times)), "p10_ms": float(np.quantile(times, 0.1))}
        out[name] = facts | {"differs": engine.get("difference_to_first")}
    return out


def holding(profile: Mapping[str, Any], most: int = 8) -> list[dict[str, Any]]:
    """The rows that take the most of our time, and how they stand to the best other engine."""
    total = sum(row["ms"][OURS] for row in profile["rows"]) or 1.0
    out = []
    for n, row in sorted(enumerate(profile["rows"]), key=lambda item: -item[1]["ms"][OURS])[:most]:
        others = {e: ms for e, ms in row["ms"].items() if e not in (OURS, PADDLEJS)}
        best = min(others, key=lambda e: others[e]) if others else ""
        entry = {"row": n, "share": row["ms"][OURS] / total, "ms": row["ms"][OURS], "operators": row["operators"]}
        out.append(entry | ({"best_other": best, "best_other_ms": others[best]} if best else {}))
    return out


def text(result: Mapping[str, Any]) -> str:
    """What came out, for a person."""
    lines: list[str] = []
    if "predicted_ms" not in result:
        lines.append(f"there is nothing to combine with: {result['why']}")
    else:
        predicted = result["predicted_ms"]
        if result["one_engine_wins"]:
            lines.append("our engine is the best one for every row and every run of rows, crossings counted; nothing is to be combined")
        else:
            gain = 1 - predicted[COMBINED] / predicted[OURS]
            lines.append(f"combined: {predicted[COMBINED]:.3f} ms predicted, our kernels alone {predicted[OURS]:.3f} ms ({gain:.1%} less)")
            lines += [
                f"  rows {s['rows'][0]}–{s['rows'][1] - 1} on {s['engine']}: {s['ms']:.3f} ms, ours {s['ours_ms']:.3f}"
                for s in result["segments"]
            ]
        lines.append("the runs of rows that another engine would gain most on, or lose least:")
        for s in result["nearest"]:
            rows = f"{s['rows'][0]}–{s['rows'][1] - 1}"
            lines.append(
                f"  rows {rows} on {s['engine']}: {s['ms']:.3f} ms with its crossings, ours {s['ours_ms']:.3f} ({-s['gain_ms']:+.3f})"
            )
        if "measured" in result:
            what = "the best plan" if not result["one_engine_wins"] else "the plan that loses least by leaving our engine"
            lines.append(f"measured, in turns in one tab ({what} is “{COMBINED}”; predicted {predicted['tried']:.3f} ms of kernels):")
            for name in (OURS, ORT, COMBINED):
                if facts := result["measured"].get(name):
                    differs = f", differs by {facts['differs']:.0e}" if facts["differs"] is not None else ""
                    lines.append(f"  {name:16} median {facts['median_ms']:.3f} ms, 10th percentile {facts['p10_ms']:.3f}{differs}")
            lines += [f"  {name} failed: {why}" for name, why in result["measured"]["failed"].items()]
    lines.append("what holds the model back (our slowest rows):")
    for row in result["holding"]:
        other = f"; {row['best_other']} {row['best_other_ms']:.3f}" if "best_other" in row else ""
        lines.append(f"  row {row['row']}: {row['ms']:.3f} ms, {row['share']:.0%} of all{other}  {' '.join(row['operators'])}")
    return "\n".join(lines)
