"""A run of a model call by call: times, what each reads and makes, where in memory, and what is there at once.  Needs no compiler.

A call in a loop stands once, with how often it ran; its time is that of all its turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..runtime.profile import KernelTime
from ..runtime.recording import ACTIVATION, INPUT, OUTPUT, WEIGHT, Call, Recording, Tensor

SIZES = ("full_int_array", "full", "shape64", "shape")  # operators that tell sizes and numbers, and do nothing
HELD = (ACTIVATION, OUTPUT)  # what a run needs memory for, beside what it is given


def describe(recording: Recording, times: Sequence[KernelTime], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """JSON-able.

    ``calls``: in order, each with title, kernel, function, place (in the manifest), times (how often), seconds, operations ([operator,
    handle]), reads and gives (numbers of tensors), weights and activations (bytes that it reads of weights, and makes).
    ``tensors``: name, shape, dtype, bytes, kind, storage, offset, made and last (calls).  ``storages``: bytes, since.
    ``live``: bytes of what calls have made and something still reads, during each call.
    ``peak``: the call with most, its bytes, and the tensors.  ``planned``: bytes of all storages.  ``weights``, ``inputs``: bytes.
    """
    each = {t.name: t.each for t in times}
    named: Mapping[str, Any] = manifest.get("operations", {})
    nodes: dict[tuple[str, int, str], int] = {}
    of: list[int] = []  # event → node
    out: list[dict[str, Any]] = []
    for call in recording.calls:
        key = (call.function, call.place, call.kernel if call.place < 0 else "")
        if call.place < 0 and call.function == "main":
            key = (call.function, -1 - len(of), call.kernel)  # nothing tells such calls apart but their order
        if key not in nodes:
            nodes[key] = len(out)
            out.append(_call(call, manifest, named))
        node = nodes[key]
        of.append(node)
        out[node]["times"] += 1
        turns = each.get(call.kernel, ())
        out[node]["seconds"] += turns[call.turn] if call.turn < len(turns) else 0.0
    tensors, numbers = _tensors(recording, of, out)
    live = _live(recording)
    peak = max(range(len(live)), key=lambda e: live[e], default=-1)
    by_node = [0] * len(out)
    for event, size in enumerate(live):
        by_node[of[event]] = max(by_node[of[event]], size)
    # of a tensor of a later turn of a loop the first turn's stands for it
    there = [n for n, t in enumerate(recording.tensors) if peak >= 0 and t.kind in HELD and t.maker <= peak <= t.last]
    at_peak = sorted({numbers[n] for n in there if n in numbers}, key=lambda n: -tensors[n]["bytes"])
    kinds = {kind: sum(t.bytes for t in recording.tensors if t.kind == kind) for kind in (WEIGHT, INPUT)}
    return {
        "calls": out,
        "tensors": tensors,
        "storages": [{"bytes": s.bytes, "since": of[s.since] if s.since < len(of) else len(out) - 1} for s in recording.storages],
        "live": by_node,
        "peak": {"call": of[peak] if peak >= 0 else None, "bytes": live[peak] if peak >= 0 else 0, "tensors": at_peak},
        "planned": sum(s.bytes for s in recording.storages),
        "weights": kinds[WEIGHT],
        "inputs": kinds[INPUT],
    }


def titled(operations: Sequence[Sequence[Any]]) -> str:
    """The operators of some operations ([operator, handle]) as text; no words about what only tells sizes, unless there is nothing else."""
    return " + ".join(o for o, *_ in operations if o not in SIZES) or (operations[-1][0] if operations else "")


def _call(call: Call, manifest: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    numbers = manifest["calls"][call.function][call.place][1] if call.place >= 0 else []
    operations = [list(named[str(n)]) for n in numbers if str(n) in named]
    title = titled(operations) or call.kernel.removeprefix("fused_")
    facts = {"title": title, "kernel": call.kernel, "function": call.function, "place": call.place}
    return {**facts, "times": 0, "seconds": 0.0, "operations": operations}


def _tensors(recording: Recording, of: list[int], out: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """The tensors of the first turn of each call, and the number of each there, of those of later turns too."""
    numbers: dict[int, int] = {}
    tensors: list[dict[str, Any]] = []
    made: dict[tuple[int, int], int] = {}  # (node, which of what it gives) → tensor

    def add(n: int, name: str) -> int:
        numbers[n] = len(tensors)
        tensors.append(_facts(recording.tensors[n], name, of))
        return numbers[n]

    for event, call in enumerate(recording.calls):
        node = out[of[event]]
        first = "reads" not in node
        reads = [numbers[n] if n in numbers else add(n, recording.tensors[n].name) for n in call.reads]
        for n in reads:
            tensors[n]["last"] = max(tensors[n]["last"], of[event])
        gives = []
        for i, n in enumerate(call.gives):
            key = (of[event], i)
            if key in made:
                numbers[n] = made[key]
                tensors[made[key]]["last"] = max(tensors[made[key]]["last"], of[recording.tensors[n].last])
                if recording.tensors[n].kind == OUTPUT:
                    tensors[made[key]]["kind"] = OUTPUT
            else:
                made[key] = add(n, _given_name(node, i, len(call.gives)))
            gives.append(made[key])
        if first:
            node["reads"], node["gives"] = list(dict.fromkeys(reads)), gives
            node["weights"] = sum(tensors[n]["bytes"] for n in node["reads"] if tensors[n]["kind"] == WEIGHT)
            node["activations"] = sum(tensors[n]["bytes"] for n in gives)
    return tensors, numbers


def _given_name(node: dict[str, Any], i: int, count: int) -> str:
    operation = node["operations"][-1] if node["operations"] else None
    name = (operation[1] or operation[0]) if operation else node["kernel"]
    return f"{name} #{i}" if count > 1 else str(name)


def _facts(tensor: Tensor, name: str, of: list[int]) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "bytes": tensor.bytes,
        "kind": tensor.kind,
        "storage": tensor.storage,
        "offset": tensor.offset,
        "made": of[tensor.maker] if tensor.maker >= 0 else -1,
        "last": of[tensor.last] if tensor.last >= 0 else -1,
    }


def _live(recording: Recording) -> list[int]:
    """The bytes that are needed during each call: of what was made and is read there or later, or makes up the result."""
    change = [0] * (len(recording.calls) + 1)
    for tensor in recording.tensors:
        if tensor.kind in HELD and tensor.maker >= 0:
            change[tensor.maker] += tensor.bytes
            change[tensor.last + 1] -= tensor.bytes
    out, now = [], 0
    for step in change[:-1]:
        now += step
        out.append(now)
    return out
