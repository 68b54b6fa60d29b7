"""``oarlock web combine``: a plan that takes for each row of a profile the engine that is best there, crossings counted.

Rows are nodes of a path; an edge is one row on our WebAssembly, or a run of rows on another engine.  The latter costs the rows' own times
there, a call, the copies of what goes in and comes out, and changes of layout, all as measured (roads.py); the shortest path is the plan.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import InputError, OarlockError
from .engines import DIST, ORT_WEBGPU, PADDLEJS_ENTRY, entries
from .profile import Aligned
from .roads import GpuRoad, OnnxRoad, PaddlejsRoad, Paths, Road, Segment
from .setting import GPU, ORT, ORT_GPU, OURS, PADDLEJS, Setting
from .show import WRONG, without_a_gpu
from .tab import Browser, run_job

COMBINED = "combined"
MIXED = "mixed"
_ENTRIES: dict[str, Mapping[str, Any]] = {ORT: DIST, ORT_GPU: ORT_WEBGPU, PADDLEJS: PADDLEJS_ENTRY}
Taken = tuple[int, int, str]  # rows from, to (without it), and the engine that must have them


def shortest(count: int, edges: Sequence[Segment], mixed: bool = False) -> list[Segment]:
    """The cheapest way from row 0 past the last one; ``mixed``: of those over two engines or more, nothing where there is none."""
    Spot = tuple[int, str]  # a row, and the engine of all before it, or MIXED
    best: dict[Spot, tuple[float, Spot | None, Segment | None]] = {(0, ""): (0.0, None, None)}
    leaving: dict[int, list[Segment]] = {}
    for edge in edges:
        leaving.setdefault(edge.first, []).append(edge)
    for row in range(count):
        for spot in [spot for spot in best if spot[0] == row]:
            for edge in leaving.get(row, []):
                after = edge.last, edge.engine if spot[1] in ("", edge.engine) else MIXED
                cost = best[spot][0] + edge.ms
                if cost < best.get(after, (math.inf,))[0]:
                    best[after] = cost, spot, edge
    ends = [spot for spot in best if spot[0] == count and (not mixed or spot[1] == MIXED)]
    path: list[Segment] = []
    at: Spot | None = min(ends, key=lambda spot: best[spot][0]) if ends else None
    while at is not None:
        _, before, taken = best[at]
        if taken is not None:
            path.append(taken)
        at = before
    return path[::-1]


def roads_of(setting: Setting, profile: Mapping[str, Any], aligned: Aligned) -> list[Road]:
    """The engines that can take rows: those of the profile whose crossings were measured."""
    there = {name for name, engine in profile["engines"].items() if engine["facts"].get("crossing")}
    roads: list[Road] = []
    if GPU in there and aligned.gpu_times:
        roads.append(GpuRoad(aligned, profile["engines"][GPU]["facts"]))
    roads += [OnnxRoad(name, setting, aligned, profile) for name in (ORT, ORT_GPU) if name in there]
    if PADDLEJS in there:
        roads.append(PaddlejsRoad(setting, aligned, profile))
    return roads


def combine(
    setting: Setting, profile: Mapping[str, Any], aligned: Aligned, *, browser: Browser | None,
    announce: Callable[[str], None] | None = None, rounds: int = 20, tell: Callable[[str], None] = lambda text: None,
    taken: Sequence[Taken] = (),
) -> dict[str, Any]:  # fmt: skip
    """The best plan, its predicted time and its measured one beside each engine alone, as JSON.

    Where one engine is best everywhere, the best plan over two is measured too: a claim about plans that nobody ran would be worth
    little.  ``taken``: runs of rows that an engine has whatever it costs, all others being ours.
    """
    base = {
        "format": "oarlock web combine", "version": 2, "model": profile["model"], "browser": profile["browser"],
        "holding": holding(profile), "reference": setting.reference, "missing": profile["missing"],
        "software": {name: engine["software"] for name, engine in profile["engines"].items() if engine["software"]},
    }  # fmt: skip
    roads = roads_of(setting, profile, aligned)
    if not roads:
        return base | {"segments": [], "why": "no other engine computes on our memory"}
    paths = Paths(aligned, profile, roads)
    ours = [paths.ours(n) for n in range(len(aligned.rows))]
    tell("planning")
    others = paths.all_elsewhere()
    while True:
        best, tried = _plans(ours, others, taken)
        try:
            spec = spec_of(setting, paths, tried)
            break
        except _Cannot as reason:
            if taken:
                raise InputError(f"{reason.segment.engine} cannot have these rows: {reason}", where=_rows(reason.segment)) from reason
            others.remove(reason.segment)
    gains = sorted(others, key=lambda s: s.ms - sum(o.ms for o in ours[s.first : s.last]))
    engines = list(dict.fromkeys(segment.engine for segment in best))
    result = base | {
        "one_engine_wins": engines[0] if len(engines) == 1 else "",
        "taken": [list(t) for t in taken],
        "crossings": {road.engine: {"call_ms": road.call_ms, "ms_per_mb": road.ms_per_mb} for road in roads},
        "runs": {road.engine: sum(s.engine == road.engine for s in others) for road in roads},
        "predicted_ms": {OURS: sum(s.ms for s in ours), COMBINED: sum(s.ms for s in best), "tried": sum(s.ms for s in tried)},
        "segments": [_said(s, ours) for s in best if s.engine != OURS],
        "tried": [_said(s, ours) for s in tried if s.engine != OURS],
        "nearest": [_said(s, ours) for s in gains[:5]],
        "nearest_of": {road.engine: _said(n, ours) for road in roads if (n := next((s for s in gains if s.engine == road.engine), None))},
    }  # fmt: skip
    if tried:
        measured = _measured(setting, spec, browser, announce, rounds, tell)
        result |= {"measured": measured}
        differs = measured.get(COMBINED, {}).get("differs")
        if COMBINED in measured and (differs is None or differs <= WRONG):
            result["spec"] = spec
        elif COMBINED in measured:
            result["refused"] = f"its outputs differ from those of {setting.reference} by {differs:.0e} of their scale"
    return result


def _plans(ours: Sequence[Segment], others: Sequence[Segment], taken: Sequence[Taken]) -> tuple[list[Segment], list[Segment]]:
    """The best plan, and that which is tried: the same, the best over two engines, or what was asked for."""
    best = shortest(len(ours), [*ours, *others])
    if taken:
        return best, _forced(ours, others, taken)
    return best, best if len({segment.engine for segment in best}) > 1 else shortest(len(ours), [*ours, *others], mixed=True)


def _forced(ours: Sequence[Segment], others: Sequence[Segment], taken: Sequence[Taken]) -> list[Segment]:
    path: list[Segment] = []
    for first, last, engine in sorted(taken):
        at = path[-1].last if path else 0
        found = next((s for s in others if (s.first, s.last, s.engine) == (first, last, engine)), None)
        where = f"rows {first}–{last - 1} on {engine}"
        if first < at or last > len(ours):
            raise InputError(f"there are {len(ours)} rows, each once", where=where)
        if found is None:
            can = [s for s in others if s.engine == engine and s.first <= first < s.last]
            near = min(can, key=lambda s: abs(s.first - first) + abs(s.last - last), default=None)
            todo = f"it can have rows {near.first}–{near.last - 1}" if near else "see the profile for what it can have"
            what = "the engine cannot have these rows: a tensor that it takes or gives is not in our memory"
            raise InputError(what, where=where, todo=todo)
        path += [*ours[at:first], found]
    return path + list(ours[path[-1].last if path else 0 :])


def _rows(segment: Segment) -> str:
    return f"rows {segment.first}–{segment.last - 1} on {segment.engine}"


def _said(segment: Segment, ours: Sequence[Segment]) -> dict[str, Any]:
    own = sum(o.ms for o in ours[segment.first : segment.last])
    return {"rows": [segment.first, segment.last], "engine": segment.engine, "ms": segment.ms, "ours_ms": own, "gain_ms": own - segment.ms}


class _Cannot(Exception):
    """A segment that an engine cannot have after all."""

    def __init__(self, segment: Segment, reason: OarlockError) -> None:
        super().__init__(str(reason))
        self.segment = segment


def spec_of(setting: Setting, paths: Paths, segments: Sequence[Segment]) -> dict[str, Any]:
    """The plan as page/combined.js reads it; sub-models are written into the folder of pieces."""
    listed: list[dict[str, Any]] = []
    for segment in segments:
        if segment.engine != OURS:
            try:
                listed.append(paths.entry(segment))
            except OarlockError as reason:
                raise _Cannot(segment, reason) from reason
            continue
        begin, end = paths.steps(segment.first, segment.last)
        if listed and "kind" not in listed[-1]:
            listed[-1]["steps"][1] = end
        else:
            listed.append({"steps": [begin, end]})
    engines = sorted({segment.engine for segment in segments} - {OURS, GPU})
    return {"variant": setting.variant, "engines": engines, "segments": listed}


def entry_of(spec: Mapping[str, Any], site: str, pieces: str) -> dict[str, Any]:
    """A job's entry that runs such a plan; Paddle.js takes a page, all others a worker."""
    where = {"where": "page"} if PADDLEJS in spec["engines"] else {}
    engines = {name: dict(_ENTRIES[name]) for name in spec["engines"]}
    return {"name": COMBINED, "engine": "combined", "site": site, "folder": pieces, **where, **spec, "engines": engines}


def _measured(
    setting: Setting, spec: Mapping[str, Any], browser: Browser | None, announce: Callable[[str], None] | None, rounds: int,
    tell: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    engines = [*entries(setting), entry_of(spec, "work/site/", "work/pieces/")]
    found = run_job(
        setting.job(engines, rounds=rounds, warm_ms=min(2000, 160 * rounds)),
        setting.folders,
        browser=browser,
        announce=announce,
        progress=tell,
    )
    out: dict[str, Any] = {"failed": found["failed"]}
    for name, engine in found["engines"].items():
        times: list[float] = sum(engine["rounds"], [])
        facts = {"median_ms": float(np.median(times)), "p10_ms": float(np.quantile(times, 0.1))}
        out[name] = facts | {"differs": setting.differs(engine)}
    return out


def holding(profile: Mapping[str, Any], most: int = 8) -> list[dict[str, Any]]:
    """The rows that take the most of our time, and how they stand to the best other engine, GPUs that are programs left out."""
    total = sum(row["ms"][OURS] for row in profile["rows"]) or 1.0
    out = []
    for n, row in sorted(enumerate(profile["rows"]), key=lambda item: -item[1]["ms"][OURS])[:most]:
        others = {e: ms for e, ms in row["ms"].items() if e != OURS and not profile["engines"][e]["software"]}
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
        lines += _text_of_plan(result)
        if "measured" in result:
            lines += _text_of_measures(result)
    lines += [f"{name} is left out: {why}" for name, why in result["missing"].items()]
    lines.append("what holds the model back (our slowest rows):")
    for row in result["holding"]:
        other = f"; {row['best_other']} {row['best_other_ms']:.3f}" if "best_other" in row else ""
        lines.append(f"  row {row['row']}: {row['ms']:.3f} ms, {row['share']:.0%} of all{other}  {' '.join(row['operators'])}")
    return "\n".join(lines)


def _text_of_plan(result: Mapping[str, Any]) -> list[str]:
    predicted, winner = result["predicted_ms"], result["one_engine_wins"]
    lines = []
    if winner == OURS:
        lines.append("our engine is the best one for every row and every run of rows, crossings counted; nothing is to be combined")
    elif winner:
        lines.append(f"{winner} alone is the best for all rows, crossings counted; nothing is to be combined")
    else:
        gain = 1 - predicted[COMBINED] / predicted[OURS]
        lines.append(f"combined: {predicted[COMBINED]:.3f} ms predicted, our kernels alone {predicted[OURS]:.3f} ms ({gain:.1%} less)")
        lines += [f"  {_where(s)}: {s['ms']:.3f} ms, ours {s['ours_ms']:.3f}" for s in result["segments"]]
    lines += without_a_gpu(result["software"], "times, and plans by them,")
    crossings = [f"{name} {c['call_ms']:.3f} ms and {c['ms_per_mb']:.3f} ms a MB" for name, c in result["crossings"].items()]
    lines.append("a crossing costs: " + ", ".join(crossings))
    lines.append("the runs of rows that another engine would gain most on, or lose least:")
    nearest = [*result["nearest"], *(s for s in result["nearest_of"].values() if s not in result["nearest"])]
    for s in nearest:
        lines.append(f"  {_where(s)}: {s['ms']:.3f} ms with its crossings, ours {s['ours_ms']:.3f} ({-s['gain_ms']:+.3f})")
    lines += [f"  {name} can have no run of rows" for name, count in result["runs"].items() if not count]
    return lines


def _where(s: Mapping[str, Any]) -> str:
    return f"rows {s['rows'][0]}–{s['rows'][1] - 1} on {s['engine']}"


def _text_of_measures(result: Mapping[str, Any]) -> list[str]:
    what = "the plan that was asked for" if result["taken"] else "the best plan"
    if result["one_engine_wins"] and not result["taken"]:
        what = "the best plan over more than one engine"
    tried = ", ".join(_where(s) for s in result["tried"])
    lines = [
        f"measured, in turns in one tab ({what} is “{COMBINED}”, {tried}; predicted {result['predicted_ms']['tried']:.3f} ms of kernels):"
    ]
    measured = {name: facts for name, facts in result["measured"].items() if name != "failed"}
    width = max(map(len, measured), default=0) + 1
    for name, facts in measured.items():
        differs = f", differs from {result['reference']} by {facts['differs']:.0e}" if facts["differs"] is not None else ""
        lines.append(f"  {name:{width}} median {facts['median_ms']:.3f} ms, 10th percentile {facts['p10_ms']:.3f}{differs}")
    lines += [f"  {name} failed: {why}" for name, why in result["measured"]["failed"].items()]
    if COMBINED in measured and len(measured) > 1:
        best = min((name for name in measured if name != COMBINED), key=lambda name: measured[name]["median_ms"])
        times = [measured[COMBINED][of] / measured[best][of] for of in ("median_ms", "p10_ms")]
        lines.append(
            f"  {COMBINED} beside {best} alone, the fastest engine: "
            f"{times[0]:.2f} of its time by medians, {times[1]:.2f} by 10th percentiles"
        )
    if "refused" in result:
        lines.append(f"  {COMBINED} is refused: {result['refused']}")
    return lines
