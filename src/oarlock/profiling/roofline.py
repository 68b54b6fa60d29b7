"""Where a model's time goes, kernel by kernel, and how far each is from what the machine can do.  Needs no compiler.

The roofline of a kernel is the larger of two times: its operations at the machine's peak, and its bytes at the rate of where they
can be at best.  What a kernel computes on can be in the smallest cache that holds it, for the kernel before has just written it;
its weights were read a whole run ago, and can be where all that a run touches has room.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..runtime.host import PREFIX, HostTime
from ..runtime.profile import KernelTime, Span, profile
from ..runtime.recording import is_kernel, record
from ..runtime.session import Session
from .layers import describe, titled
from .machine import Peaks
from .sizes import evaluate, is_size

COMPUTE, MEMORY, OVERHEAD, UNKNOWN, HOST = "compute", "memory", "overhead", "unknown", "host"
FASTER = 1.1  # a kernel that reaches more of its roofline shows that the machine was measured too slow
PLAIN_S = 1.0  # at most, for whole runs without a look at the kernels


@dataclass(frozen=True)
class Row:
    """One kernel in one run: all its calls together.

    ``seconds``, ``median_s``: the least and the median time.  ``share``: of the time of all kernels.  ``flops`` (by type of the
    operands), ``read``, ``written`` and ``weights`` (bytes of ``read``): what it has to do; None where that is not known.
    ``roofline_s``: the least time that this machine could need; ``limit``: what sets it (a call that costs more than the work:
    overhead; host: it is no kernel but a function of Python or Paddle, of which bytes alone are known).
    ``operators``: what of the model it computes; ``handles``: what the model calls the results of the calls in its program.
    ``measured``: what records know of the candidates for its workload: each with candidate, seconds (or None), failed (why), on (which).
    ``memory``: kind of a device's memory → bytes ``read``, ``written``, or ``held`` at most by one of its cores, as the device counted.
    """

    name: str
    calls: int
    seconds: float
    median_s: float
    share: float
    flops: dict[str, int] | None = None
    read: int | None = None
    written: int | None = None
    weights: int = 0
    roofline_s: float | None = None
    limit: str = UNKNOWN
    schedule: str = ""
    workload: str = ""
    candidate: str = ""
    operators: str = ""
    handles: tuple[str, ...] = ()
    measured: tuple[dict[str, Any], ...] = ()
    memory: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def operations(self) -> int | None:
        return None if self.flops is None else sum(self.flops.values())

    @property
    def bytes(self) -> int | None:
        return None if self.read is None or self.written is None else self.read + self.written

    @property
    def intensity(self) -> float | None:
        """Operations a byte."""
        return self.operations / self.bytes if self.operations is not None and self.bytes else None

    @property
    def rate(self) -> float | None:
        """Operations a second."""
        return self.operations / self.seconds if self.operations is not None and self.seconds else None

    @property
    def reached(self) -> float | None:
        """The part of the roofline that was reached: 1 is as fast as this machine can."""
        return self.roofline_s / self.seconds if self.roofline_s is not None and self.seconds else None

    @property
    def lost_s(self) -> float:
        """Seconds over the roofline."""
        return 0.0 if self.roofline_s is None else max(self.seconds - self.roofline_s, 0.0)

    def to_json(self) -> dict[str, Any]:
        derived = {
            "operations": self.operations,
            "bytes": self.bytes,
            "intensity": self.intensity,
            "flops_per_s": self.rate,
            "bytes_per_s": self.bytes / self.seconds if self.bytes is not None and self.seconds else None,
            "reached": self.reached,
        }
        return asdict(self) | derived


@dataclass(frozen=True)
class Report:
    """A profile of one model.  ``total_s``, ``total_median_s``: whole runs without a look at the kernels.

    ``rows``: its kernels, the slowest first.  ``other_s``: the program around them (``other_calls`` calls for memory, shapes, views),
    most of which is the timing itself.  ``program``: the run call by call (layers.py).  ``spans``: every call of every timed run.
    """

    model: str
    target: str
    options: dict[str, Any]
    threads: int
    inputs: dict[str, list[int]]
    runs: int
    total_s: float
    total_median_s: float
    rows: tuple[Row, ...]
    other_s: float
    other_calls: int
    peaks: Peaks | None
    notes: tuple[str, ...] = field(default=())
    program: dict[str, Any] = field(default_factory=dict)
    spans: tuple[Span, ...] = field(default=(), repr=False)

    @property
    def kernels_s(self) -> float:
        return sum(row.seconds for row in self.rows)

    @property
    def roofline_s(self) -> float | None:
        """The sum of the kernels' rooflines; None where one is not known."""
        known = [row.roofline_s for row in self.rows if row.roofline_s is not None]
        return sum(known) if len(known) == len(self.rows) else None

    @property
    def memory(self) -> dict[str, dict[str, int]]:
        """What all kernels moved and held, by kind of memory; empty where no device counted it."""
        found: dict[str, dict[str, int]] = {}
        for row in self.rows:
            _add(found, row.memory)
        return dict(sorted(found.items(), key=lambda memory: ("held" in memory[1], memory[0])))

    @property
    def reached(self) -> float | None:
        """The part of the roofline that the kernels reach together."""
        return self.roofline_s / self.kernels_s if self.roofline_s is not None and self.kernels_s else None

    def to_json(self) -> dict[str, Any]:
        facts = {k: v for k, v in vars(self).items() if k not in ("rows", "peaks", "notes", "spans")}
        derived = {"kernels_s": self.kernels_s, "roofline_s": self.roofline_s, "reached": self.reached, "memory": self.memory}
        rest = {
            "machine": self.peaks.to_json() if self.peaks else None,
            "notes": list(self.notes),
            "kernels": [row.to_json() for row in self.rows],
        }
        return facts | derived | rest


def profile_session(session: Session, inputs: Mapping[str, Any], *, runs: int = 20, peaks: Peaks | None = None, model: str = "") -> Report:
    """Profile ``session`` on ``inputs``.

    ``peaks``: of this machine for the session's threads (None: no rooflines).
    Raises InputError when the session's program has no kernels that can be timed: it is one native function.
    """
    manifest = session.artifact.manifest
    kernels: dict[str, dict[str, Any]] = manifest.get("kernels", {})
    arrays = {name: _placed(session, name, array) for name, array in inputs.items()}
    whole = _whole_runs(session, arrays, runs)
    dynamic = {name for name, facts in kernels.items() if facts.get("work", {}).get("symbols")}
    spans: list[Span] = []
    times = profile(session, arrays, runs=runs, arguments_of=dynamic, spans=spans)
    hosts = {PREFIX + t.name: t for t in _host_times(session, arrays)}
    functions = set(manifest.get("calls", {}))
    # those that the artifact says nothing of too: a library's, or all of an old one
    kernels = {t.name: kernels.get(t.name, {}) for t in times if t.name not in hosts and is_kernel(t.name, functions)}
    found = [t for t in times if t.name in kernels]
    if (told := manifest.get("kernels")) and not any(t.name in told for t in found) and not hosts:
        raise InputError(
            "the artifact is one native function, so its kernels cannot be timed one by one",
            where=session.artifact.path or model,
            todo="give the model itself, which is then compiled with executor=vm, or compile the artifact with --option executor=vm",
        )
    works = {t.name: _work_of(t, kernels[t.name].get("work", {})) for t in found}
    notes = _notes(found, works, kernels, manifest)
    if session.clock_is:
        notes.append(f"{session.clock_is}; whole runs are timed on this machine")
    if peaks is None:
        notes.append("the machine was not measured: there are no rooflines")
    touched, stands_for, moved = _touched(works.values()), origins(manifest), _moved(session, arrays)
    everything = sum(t.seconds for t in times if t.name in kernels or t.name in hosts)
    rows = tuple(
        _host_row(t, hosts[t.name], everything)
        if t.name in hosts
        else replace(
            _row(t, works[t.name], kernels[t.name], everything, touched, peaks), memory=moved.get(t.name, {}), **stands_for.get(t.name, {})
        )
        for t in times
        if t.name in kernels or t.name in hosts
    )
    if fast := sum(1 for row in rows if row.reached is not None and row.reached > FASTER):
        notes.append(f"{fast} kernels are faster than what was measured of the machine: measure it again (--measure) when little else runs")
    others = [t for t in times if t.name not in kernels and t.name not in hosts]
    return Report(
        model=model,
        target=session.artifact.target,
        options=dict(manifest.get("options", {})),
        threads=session.threads,
        inputs={name: list(np.shape(array)) for name, array in inputs.items()},
        runs=runs,
        total_s=min(whole),
        total_median_s=statistics.median(whole),
        rows=rows,
        other_s=sum(t.seconds for t in others),
        other_calls=sum(t.calls for t in others),
        peaks=peaks,
        notes=tuple(notes),
        program=describe(record(session, arrays), times, manifest),
        spans=tuple(spans),
    )


def origins(manifest: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Kernel → its operators and handles (see Row), by the manifest of an artifact; of an older one nothing is known."""
    named: Mapping[str, Any] = manifest.get("operations", {})
    found: dict[str, tuple[dict[str, None], list[str]]] = {}
    for name, numbers in (call for function in manifest.get("calls", {}).values() for call in function):
        operations = [named[str(number)] for number in numbers]
        if operations:
            operators, handles = found.setdefault(name, ({}, []))
            operators[titled(operations)] = None
            handles.append(operations[-1][1])
    return {name: {"operators": " / ".join(operators), "handles": tuple(handles)} for name, (operators, handles) in found.items()}


def lost_seconds(kernels: Mapping[str, Mapping[str, Any]], times: Mapping[str, tuple[float, int]], peaks: Peaks | None) -> dict[str, float]:
    """Kernel → the seconds of all its calls in a run over their roofline.

    ``kernels``: of a manifest.  ``times``: (seconds, calls) of each in a run.  Where the roofline is not known (no peaks, dynamic dims),
    all of a kernel's time counts.
    """
    found = {name: KernelTime(name, calls, seconds, seconds) for name, (seconds, calls) in times.items() if name in kernels}
    works = {name: {} if (w := kernels[name].get("work", {})).get("symbols") else _work_of(t, w) for name, t in found.items()}
    touched = _touched(works.values())
    lost = {}
    for name, kernel in found.items():
        known = peaks is not None and _has_bytes(works[name])
        least = _roofline(works[name], kernel.calls, touched, peaks)[0] if known and peaks else 0.0
        lost[name] = max(kernel.seconds - least, 0.0)
    return lost


def _touched(works: Iterable[Mapping[str, Any]]) -> int:
    """The bytes that a run touches: all weights, and what the largest kernel works on."""
    works = list(works)
    most = max((w["read"] - w["weights"] + w["written"] for w in works if _has_bytes(w)), default=0)
    return most + sum(w.get("weights") or 0 for w in works)


def _placed(session: Session, name: str, array: Any) -> Any:
    """The input in memory that ``run`` takes without a copy, where it is an array that fits; ``run`` says what does not."""
    if not isinstance(array, np.ndarray) or not any(s.name == name and str(array.dtype) == s.dtype for s in session.inputs):
        return array
    place = session.empty(name, array.shape)
    place[...] = array
    return place


def _whole_runs(session: Session, inputs: Mapping[str, Any], runs: int) -> list[float]:
    session.run(inputs)
    times: list[float] = []
    while len(times) < runs and sum(times) < PLAIN_S:
        start = time.perf_counter()
        session.run(inputs)
        times.append(time.perf_counter() - start)
    return times


def _has_bytes(work: Mapping[str, Any]) -> bool:
    return all(work.get(key) is not None for key in ("read", "written", "weights"))


def _work_of(kernel: KernelTime, work: Mapping[str, Any]) -> dict[str, Any]:
    """What all calls of a kernel in a run have to do: {"flops": {type: number}, "read", "written", "weights"}, None where unknown."""
    calls: list[Mapping[str, int]] = [{}] * kernel.calls
    if places := work.get("symbols"):
        calls = [_values(places, arguments) for arguments in kernel.arguments]
    flops = work.get("flops")
    return {
        "flops": _numbers(flops, calls) if isinstance(flops, Mapping) else None,
        **{key: _total(work.get(key), calls) for key in ("read", "written", "weights")},
    }


def _numbers(flops: Mapping[str, Any], calls: list[Mapping[str, int]]) -> dict[str, int] | None:
    totals = {dtype: _total(size, calls) for dtype, size in flops.items()}
    known = {dtype: total for dtype, total in totals.items() if total is not None}
    return known if len(known) == len(totals) else None


def _total(size: Any, calls: list[Mapping[str, int]]) -> int | None:
    numbers = [evaluate(size, symbols) if is_size(size) else None for symbols in calls]
    known = [n for n in numbers if n is not None]
    return sum(known) if len(known) == len(numbers) else None


def _values(places: Mapping[str, Any], arguments: tuple[Any, ...]) -> dict[str, int]:
    """The symbols of one call: [i] is the number given as argument i, [i, d] dim d of that tensor."""
    found = {}
    for name, place in places.items():
        try:
            value = arguments[place[0]]
            value = value[place[1]] if len(place) == 2 else value
        except (IndexError, TypeError):
            continue
        if isinstance(value, int):
            found[name] = value
    return found


def _row(
    kernel: KernelTime, work: Mapping[str, Any], facts: Mapping[str, Any], everything: float, touched: int, peaks: Peaks | None
) -> Row:
    roofline, limit = None, UNKNOWN
    if peaks is not None and _has_bytes(work):
        roofline, limit = _roofline(work, kernel.calls, touched, peaks)
    return Row(
        name=kernel.name,
        calls=kernel.calls,
        seconds=kernel.seconds,
        median_s=kernel.median,
        share=kernel.seconds / everything if everything else 0.0,
        flops=work["flops"],
        read=work["read"],
        written=work["written"],
        weights=work["weights"] or 0,
        roofline_s=roofline,
        limit=limit,
        schedule=str(facts.get("schedule", "")),
        workload=str(facts.get("workload", "")),
        candidate=str(facts.get("candidate", "")),
    )


def _moved(session: Session, inputs: Mapping[str, Any]) -> dict[str, dict[str, dict[str, int]]]:
    """Function → what its calls in one run move and hold (see Row.memory), where a device counts that."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    if session.moved() is None:
        return found

    def hook(function: Any, name: str, before: bool, result: Any, *arguments: Any) -> int:
        counted = session.moved()
        if not before and counted:
            _add(found.setdefault(name, {}), counted)
        return 0

    try:
        session.instrument(hook)
        session.run(inputs)
    finally:
        session.instrument(None)
    return found


def _add(total: dict[str, dict[str, int]], more: Mapping[str, Mapping[str, int]]) -> None:
    """Bytes that are moved add up; of those that are held the most count."""
    for memory, sizes in more.items():
        known = total.setdefault(memory, {})
        for how, size in sizes.items():
            known[how] = max(known.get(how, 0), size) if how == "held" else known.get(how, 0) + size


def _host_times(session: Session, inputs: Mapping[str, Any]) -> list[HostTime]:
    """What each host call of one run costs."""
    before = session.host_times()
    session.run(inputs)
    return [after.less(old, 1) for after, old in zip(session.host_times(), before, strict=True)]


def _host_row(kernel: KernelTime, cost: HostTime, everything: float) -> Row:
    return Row(
        name=f"{cost.name} (host call)",
        calls=kernel.calls,
        seconds=kernel.seconds,
        median_s=kernel.median,
        share=kernel.seconds / everything if everything else 0.0,
        read=int(cost.bytes_in),
        written=int(cost.bytes_out),
        limit=HOST,
        schedule=f"host call: {cost.runs_as}",
    )


def _roofline(work: Mapping[str, Any], calls: int, touched: int, peaks: Peaks) -> tuple[float, str]:
    """The least time of all calls, and what sets it."""
    moved = work["read"] - work["weights"] + work["written"]
    memory = moved / peaks.level_of(moved // calls).rate + work["weights"] / peaks.level_of(touched).rate
    compute = peaks.compute_s(work["flops"] or {})
    least = max(memory, compute)
    if least < peaks.call_s * calls:
        return least, OVERHEAD
    return least, COMPUTE if compute >= memory else MEMORY


def _notes(
    found: list[KernelTime], works: Mapping[str, Mapping[str, Any]], kernels: Mapping[str, Any], manifest: Mapping[str, Any]
) -> list[str]:
    notes = []
    if old := [t.name for t in found if "work" not in kernels[t.name]]:
        if manifest.get("kernels") and not any(name in manifest["kernels"] for name in old):
            notes.append(f"what {len(old)} calls of a library have to do is not counted")
        else:
            what = f"what {len(old)} kernels have to do is not in the artifact (an older Oarlock compiled it)"
            notes.append(f"{what}: compile the model again")
    unknown = [t.name for t in found if t.name not in old and (works[t.name]["flops"] is None or not _has_bytes(works[t.name]))]
    if unknown:
        names = ", ".join(unknown[:4]) + (", …" if len(unknown) > 4 else "")
        notes.append(f"how often the loops of {len(unknown)} kernels run depends on data, so their operations are not counted: {names}")
    if any(kernels[t.name].get("work", {}).get("symbols") for t in found):
        notes.append("the model has dynamic dims: operations and bytes are those of these inputs")
    return notes
