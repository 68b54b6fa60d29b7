"""The timed runs of a profile as a trace in the format of Chrome's tracing, which Perfetto reads (ui.perfetto.dev).

Times are microseconds since the first run.  The lane "runs" has each run, "kernels" its calls with what they compute and move, "program"
what the VM does between them; the counter "memory in use" what tensors take.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from ..runtime.recording import BUILTIN
from ..strictjson import finite
from .roofline import Report, Row

PROCESS, RUNS, KERNELS, PROGRAM = 1, 1, 2, 3


def chrome_trace(report: Report) -> str:
    """The document as text: {"traceEvents": […], …}."""
    rows = {row.name: row for row in report.rows}
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)  # kernel → its calls in order
    for number, call in enumerate(report.program.get("calls", [])):
        calls[call["kernel"]].append({**call, "number": number})
    start = min((span.start for span in report.spans), default=0.0)
    events = _names(report)
    turns: dict[tuple[int, str], int] = defaultdict(int)
    bounds: dict[int, tuple[float, float]] = {}
    for span in report.spans:
        at, took = 1e6 * (span.start - start), 1e6 * span.seconds
        first, last = bounds.get(span.run, (at, at))
        bounds[span.run] = min(first, at), max(last, at + took)
        event = {"ph": "X", "pid": PROCESS, "ts": at, "dur": took}
        if span.name.startswith(BUILTIN):
            events.append({**event, "tid": PROGRAM, "cat": "program", "name": span.name.removeprefix(BUILTIN)})
            continue
        if span.name not in calls:
            continue  # a loop's function, whose calls are there
        turn = turns[span.run, span.name]
        turns[span.run, span.name] += 1
        call = _call(calls.get(span.name, []), turn)
        name = call["title"] if call else span.name
        facts = _facts(report, rows.get(span.name), call, span.seconds)
        events.append({**event, "tid": KERNELS, "cat": "kernel", "name": name, "args": {"kernel": span.name, **facts}})
        if call:
            live = report.program["live"][call["number"]]
            events.append({"ph": "C", "pid": PROCESS, "ts": at, "name": "memory in use", "args": {"bytes": live}})
    for run, (first, last) in bounds.items():
        events.append({"ph": "X", "pid": PROCESS, "tid": RUNS, "ts": first, "dur": last - first, "cat": "run", "name": f"run {run}"})
    events.sort(key=lambda e: (e.get("ts", -1.0), -e.get("dur", 0.0)))
    document = {"displayTimeUnit": "ms", "otherData": _about(report), "traceEvents": events}
    return json.dumps(finite(document), allow_nan=False)


def _names(report: Report) -> list[dict[str, Any]]:
    def name(what: str, text: str, **more: int) -> dict[str, Any]:
        return {"ph": "M", "pid": PROCESS, "name": what, "args": {"name": text}, **more}

    lanes = {RUNS: "runs", KERNELS: f"kernels, each on {report.threads} thread{'s' if report.threads > 1 else ''}", PROGRAM: "program"}
    out = [name("process_name", f"{report.model or 'model'} on {report.target}")]
    for lane, text in lanes.items():
        out += [name("thread_name", text, tid=lane)]
        out += [{"ph": "M", "pid": PROCESS, "tid": lane, "name": "thread_sort_index", "args": {"sort_index": lane}}]
    return out


def _call(calls: list[dict[str, Any]], turn: int) -> dict[str, Any] | None:
    """Which of a kernel's calls its turn in a run is.  In a loop the calls of its body take turns."""
    if not calls:
        return None
    loops = any(call["times"] > 1 for call in calls)
    return calls[turn % len(calls)] if loops else calls[min(turn, len(calls) - 1)]


def _facts(report: Report, row: Row | None, call: dict[str, Any] | None, seconds: float) -> dict[str, Any]:
    """What a person wants to see of an event."""
    facts: dict[str, Any] = {}
    if call:
        tensors = report.program["tensors"]
        shown = [{key: [f"{t['dtype']}{t['shape']}" for t in (tensors[n] for n in call[key])]} for key in ("reads", "gives")]
        facts |= {"layer": call["operations"][-1][1] if call["operations"] else "", "call": call["number"], **shown[0], **shown[1]}
        facts |= {"weight bytes": call["weights"], "bytes made": call["activations"]}
    if row:
        one = 1 / row.calls
        facts |= {"limit": row.limit, "schedule": row.schedule, "workload": row.workload, "candidate": row.candidate}
        facts["operators"] = row.operators
        if row.operations is not None:
            facts |= {"FLOP": row.operations * one, "GFLOP/s": row.operations * one / seconds / 1e9 if seconds else None}
        if row.bytes is not None:
            facts |= {"bytes": row.bytes * one, "GB/s": row.bytes * one / seconds / 1e9 if seconds else None}
        if row.roofline_s is not None:
            facts["roofline µs"] = 1e6 * row.roofline_s * one
    return {key: value for key, value in facts.items() if value not in ("", None, [])}


def _about(report: Report) -> dict[str, Any]:
    facts = {"model": report.model, "target": report.target, "threads": report.threads, "runs": report.runs, "inputs": report.inputs}
    return facts | ({"machine": report.peaks.cpu} if report.peaks else {})
