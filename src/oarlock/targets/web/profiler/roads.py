"""How runs of rows go over engines: what each would take and give of our memory, and what that costs.

Rows are numbered, and their tensors by them; an input i of the model is the tensor −1 − i.  All that crosses lies in our WebAssembly's
memory, where its own plan has it: an engine takes tensors from there and gives tensors back, so each run of rows stands by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ....model.program import Block, Op, Program
from . import paddlejs
from .align import layout_of
from .engines import gpu_ms
from .profile import Aligned
from .setting import GPU, OURS, PADDLEJS, Setting

NEVER, ALWAYS = -1, 1 << 30


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in our memory, and how an engine has it.

    ``shape``: the engine's; ``layout``: of ours beside it (align.layout_of), with so many ``channels``; ``at``: in the GPU's memory.
    """

    name: str
    region: int
    offset: int
    dtype: str
    shape: tuple[int, ...]
    layout: str
    channels: int = 1
    at: tuple[int, int] | None = None

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Segment:
    """Rows ``first`` up to but without ``last``, on one engine, and the tensors that it takes and gives."""

    first: int
    last: int
    engine: str
    ms: float
    takes: tuple[int, ...] = ()
    gives: tuple[int, ...] = ()


class Memory:
    """Which step of a traced plan reads what, and how long results lie where they were made.

    A tensor is (step, argument), or (−1, input).
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]], first_input: int, inputs: int) -> None:
        self.steps = steps
        self.reads: list[list[tuple[int, int]]] = []
        there: dict[tuple[int, int], tuple[int, int]] = {(first_input + i, 0): (-1, i) for i in range(inputs)}
        for n, step in enumerate(steps):
            made = [r["at"] for r in step["results"]]
            places = [(a["region"], a["offset"]) for a in step["args"]]
            upon = made[-1:] if "_upon_" in step["name"] else []  # an operand lay where the result comes to lie
            self.reads.append([there[p] for i, p in enumerate(places) if p in there and (i not in made or i in upon)])
            there |= {places[i]: (n, i) for i in made}
        self._ends: dict[tuple[int, int], int] = {}

    def span(self, tensor: tuple[int, int]) -> tuple[int, int, int]:
        """(region, first byte, byte after the last) of what a step makes."""
        place = self.steps[tensor[0]]["args"][tensor[1]]
        size = math.prod(place["shape"]) * np.dtype(place["dtype"]).itemsize
        return place["region"], place["offset"], place["offset"] + size

    def overwrites(self, step: int, tensor: tuple[int, int]) -> bool:
        if tensor[0] < 0:
            return False  # nothing is made in the memory of inputs
        region, low, high = self.span(tensor)
        spans = (self.span((step, r["at"])) for r in self.steps[step]["results"])
        return any(other == region and start < high and low < end for other, start, end in spans)

    def alive(self, tensor: tuple[int, int], until: int) -> bool:
        """Whether it still lies in its place when step ``until`` comes."""
        if tensor not in self._ends:
            later = range(tensor[0] + 1, len(self.steps))
            self._ends[tensor] = next((n for n in later if self.overwrites(n, tensor)), len(self.steps))
        return until <= self._ends[tensor]


class Road(Protocol):
    """An engine that can compute runs of rows on tensors of our memory."""

    engine: str
    call_ms: float
    ms_per_mb: float

    def place(self, tensor: int) -> Place | None:
        """Where it takes a tensor from and gives it to; None for one that it has not, or in a layout that is not known."""

    def cone(self, gives: Sequence[int], known: set[int]) -> tuple[Any, list[int]] | None:
        """The work that makes tensors, and which known ones it takes; None where it cannot."""

    def ms(self, work: Any, first: int, last: int) -> float | None:
        """What that work takes."""

    def entry(self, segment: Segment, work: Any) -> dict[str, Any]:
        """What page/combined.js is told beside the places; files are written into the folder of pieces.  Raises OarlockError."""


def _backwards(wanted: Iterable[Any], known: set[Any], reads: Any) -> tuple[set[int], set[Any]]:
    """Steps that make tensors (step, …) from known ones, and which of those they take."""
    steps: set[int] = set()
    taken: set[Any] = set()
    waiting = [step for step, _ in wanted]
    while waiting:
        step = waiting.pop()
        if step in steps:
            continue
        steps.add(step)
        for tensor in reads[step]:
            if tensor[0] < 0 or tensor in known:
                taken.add(tensor)
            else:
                waiting.append(tensor[0])
    return steps, taken


class GpuRoad:
    """Runs of steps of our own plan for WebGPU."""

    engine = GPU

    def __init__(self, aligned: Aligned, facts: Mapping[str, Any]) -> None:
        self.aligned, self.steps = aligned, aligned.gpu_steps
        self.call_ms, self.ms_per_mb = facts["crossing"]["call_ms"], facts["crossing"]["ms_per_mb"]
        self.inputs = aligned.inputs
        self.memory = Memory(self.steps, 1, len(self.inputs))
        self.tensors = {n: (step, self.steps[step]["results"][i]["at"]) for n, (step, i) in aligned.gpu_ends.items()}
        self.tensors |= {-1 - i: (-1, i) for i in range(len(self.inputs))}
        self.rows = {tensor: n for n, tensor in self.tensors.items()}

    def place(self, tensor: int) -> Place | None:
        if tensor < 0:
            dtype, shape = self.inputs[-1 - tensor]
            return Place(f"input {-1 - tensor}", 1 - tensor, 0, dtype, shape, "same", at=(-tensor, 0))
        if tensor not in self.tensors:
            return None
        row, (step, number) = self.aligned.rows[tensor], self.aligned.gpu_ends[tensor]
        theirs = self.steps[step]["results"][number]
        where = self.steps[step]["args"][theirs["at"]]
        return _placed(f"row {tensor}", self.aligned, row, theirs, theirs["dtype"], theirs["shape"], (where["region"], where["offset"]))

    def cone(self, gives: Sequence[int], known: set[int]) -> tuple[Any, list[int]] | None:
        if any(n not in self.tensors for n in gives):
            return None
        made = [self.tensors[n] for n in gives]
        chosen, taken = _backwards(made, {self.tensors[n] for n in known if n in self.tensors}, self.memory.reads)
        steps, memory = sorted(chosen), self.memory
        for tensor in taken:  # it is put into its place before the first step, which may be earlier than the plan has it there
            last = max(n for n in steps if tensor in memory.reads[n])
            if any(memory.overwrites(n, tensor) for n in steps if n < last):
                return None
        spans = [memory.span(tensor) for tensor in taken if tensor[0] >= 0]
        if len({(region, low) for region, low, _ in spans}) < len(spans):
            return None  # two that the plan has in one place, one after the other
        if any(memory.overwrites(n, tensor) for tensor in made for n in steps if n > tensor[0]):
            return None
        return steps, sorted(self.rows[tensor] for tensor in taken)

    def ms(self, work: Any, first: int, last: int) -> float | None:
        return sum(gpu_ms(self.aligned.gpu_times[n]) for n in work)

    def entry(self, segment: Segment, work: Any) -> dict[str, Any]:
        return {"kind": "webgpu", "steps": work}


class OnnxRoad:
    """Sub-models for a session of onnxruntime-web each."""

    def __init__(self, engine: str, setting: Setting, aligned: Aligned, profile: Mapping[str, Any]) -> None:
        assert aligned.graph is not None
        self.engine, self.setting, self.aligned, self.graph = engine, setting, aligned, aligned.graph
        facts = profile["engines"][engine]["facts"]["crossing"]
        self.call_ms, self.ms_per_mb = facts["call_ms"], facts["ms_per_mb"]
        self.times = [row["ms"].get(engine) for row in profile["rows"]]
        self.names = {n: row.tensor for n, row in enumerate(aligned.rows) if row.tensor}
        self.names |= {-1 - i: name for i, name in enumerate(self.graph.inputs)}
        self.rows = {name: n for n, name in self.names.items()}

    def place(self, tensor: int) -> Place | None:
        if tensor not in self.names:
            return None
        name = self.names[tensor]
        dtype, shape = self.aligned.types[name]
        if tensor < 0:
            return Place(name, 1 - tensor, 0, dtype, tuple(shape), "same")
        row = self.aligned.rows[tensor]
        return _placed(name, self.aligned, row, None, dtype, shape)

    def cone(self, gives: Sequence[int], known: set[int]) -> tuple[Any, list[int]] | None:
        if any(n not in self.names for n in gives):
            return None
        nodes, taken = self.graph.cone([self.names[n] for n in gives], {self.names[n] for n in known if n in self.names})
        return (nodes, [self.rows[name] for name in taken]) if nodes else None

    def ms(self, work: Any, first: int, last: int) -> float | None:
        times = self.times[first:last]
        return None if None in times else sum(ms for ms in times if ms is not None)

    def entry(self, segment: Segment, work: Any) -> dict[str, Any]:
        file = self.setting.work / f"pieces/rows-{segment.first}-{segment.last}.onnx"
        known = {self.names[n] for n in segment.takes}
        self.graph.piece([self.names[n] for n in segment.gives], known, self.aligned.types, file)
        return {"kind": "onnxruntime", "file": file.name}


class PaddlejsRoad:
    """Models of their own for Paddle.js, of some operators: one picture in."""

    engine = PADDLEJS

    def __init__(self, setting: Setting, aligned: Aligned, profile: Mapping[str, Any]) -> None:
        self.setting, self.aligned, self.program = setting, aligned, setting.program
        facts = profile["engines"][PADDLEJS]["facts"]["crossing"]
        self.call_ms, self.ms_per_mb = facts["call_ms"], facts["ms_per_mb"]
        self.times = [row["ms"].get(PADDLEJS, 0.0) for row in profile["rows"]]
        self.makers: dict[str, Op] = {result.name: op for op in self.program.block.ops for result in op.results}
        self.values = {result.name: result for op in self.program.block.ops for result in op.results}
        self.names = {n: row.value for n, row in enumerate(aligned.rows) if row.value}
        self.names |= {-1 - i: value.name for i, value in enumerate(self.program.inputs)}
        self.values |= {value.name: value for value in self.program.inputs}
        self.rows = {name: n for n, name in self.names.items()}

    def place(self, tensor: int) -> Place | None:
        if tensor not in self.names:
            return None
        name = self.names[tensor]
        if tensor < 0:
            dtype, shape = self.aligned.inputs[-1 - tensor]
            return Place(name, 1 - tensor, 0, dtype, shape, "same") if dtype == "float32" else None
        row, theirs = self.aligned.rows[tensor], self.aligned.values[name]
        return _placed(name, self.aligned, row, theirs, "float32", theirs["shape"])

    def cone(self, gives: Sequence[int], known: set[int]) -> tuple[Any, list[int]] | None:
        if any(n not in self.names for n in gives):
            return None
        ends = {self.names[n] for n in known if n in self.names} | {value.name for value in self.program.inputs}
        ops: dict[int, Op] = {}
        taken: dict[str, None] = {}
        waiting = [self.makers[self.names[n]] for n in gives]
        while waiting:
            op = waiting.pop()
            if id(op) in ops:
                continue
            ops[id(op)] = op
            for value in op.operands.values():
                if value is not None and value.name in ends:
                    taken[value.name] = None
                elif value is not None:
                    waiting.append(self.makers[value.name])
        if len(taken) > 1:
            return None
        return [op for op in self.program.block.ops if id(op) in ops], [self.rows[name] for name in taken]

    def ms(self, work: Any, first: int, last: int) -> float | None:
        return sum(self.times[first:last])

    def entry(self, segment: Segment, work: Any) -> dict[str, Any]:
        (taken,) = segment.takes
        place = self.place(taken)
        assert place is not None
        fed = self.values[place.name]
        outputs = {self.names[n]: self.values[self.names[n]] for n in segment.gives}
        part = Program(Block([], list(work)), [fed], outputs, self.program.parameters, self.program.source)
        folder = f"rows-{segment.first}-{segment.last}.paddlejs"
        paddlejs.write(part, {fed.name: place.shape}, self.setting.work / "pieces" / folder)
        return {"kind": "paddlejs", "folder": f"{folder}/"}


def _placed(
    name: str, aligned: Aligned, row: Any, theirs: Mapping[str, Any] | None, dtype: str, shape: Sequence[int],
    at: tuple[int, int] | None = None,
) -> Place | None:  # fmt: skip
    """The place of a row's tensor; ``theirs``: the engine's copy in numbers (none: ONNX's, of which the row has the layout)."""
    made = aligned.steps[row.steps[-1]]["args"][row.result["at"]]
    layout = row.layout if theirs is None else layout_of(row.result, theirs)
    if not layout or dtype != made["dtype"]:
        return None
    sizes = made["shape"] if layout == "channels last" else shape  # whichever has the channels last
    return Place(name, made["region"], made["offset"], dtype, tuple(shape), layout, sizes[-1] if layout != "same" else 1, at)


class Paths:
    """What can run where, and what it costs."""

    def __init__(self, aligned: Aligned, profile: Mapping[str, Any], roads: Sequence[Road]) -> None:
        self.rows, self.roads = aligned.rows, {road.engine: road for road in roads}
        self.own = [row["ms"][OURS] for row in profile["rows"]]
        self.layout_ms_per_mb = profile["engines"][OURS]["facts"]["layout_ms_per_mb"]
        self.memory = Memory(aligned.steps, 2, len(aligned.inputs))
        self.first_output = 2 + len(aligned.inputs)
        self.tensors = [(row.steps[-1], row.result["at"]) for row in self.rows]
        self.needed = self._needed()
        self.read = self._read(len(aligned.steps))
        self.works: dict[Segment, Any] = {}
        self._known: dict[int, set[int]] = {}

    def _needed(self) -> list[int]:
        """The last row that reads each row's tensor, on whichever engine; ALWAYS for outputs."""
        row_of = {step: n for n, row in enumerate(self.rows) for step in row.steps}
        number = {tensor: n for n, tensor in enumerate(self.tensors)}
        last = [NEVER] * len(self.rows)
        for step, tensors in enumerate(self.memory.reads):
            for tensor in tensors:
                if tensor in number:
                    last[number[tensor]] = max(last[number[tensor]], row_of.get(step, NEVER))
        for road in self.roads.values():
            for n in range(len(self.rows)):
                found = road.cone([n], set(range(n)))
                for taken in found[1] if found else []:
                    if taken >= 0:
                        last[taken] = max(last[taken], n)
        for n, made in enumerate(self.tensors):
            if self.memory.span(made)[0] >= self.first_output:
                last[n] = ALWAYS
        return last

    def _read(self, count: int) -> dict[tuple[int, int], int]:
        """The last step of our plan that reads what a step makes; ALWAYS for outputs."""
        last: dict[tuple[int, int], int] = {}
        for step, tensors in enumerate(self.memory.reads):
            last |= {tensor: step for tensor in tensors}
        for n in range(count):
            for result in self.memory.steps[n]["results"]:
                tensor = n, int(result["at"])
                if self.memory.span(tensor)[0] >= self.first_output:
                    last[tensor] = ALWAYS
        return last

    def ours(self, n: int) -> Segment:
        return Segment(n, n + 1, OURS, self.own[n])

    def steps(self, first: int, last: int) -> list[int]:
        """[from, to): the steps of our plan that are rows."""
        return [self.rows[first].steps[0], self.rows[last - 1].steps[-1] + 1]

    def crossing_out(self, first: int, last: int) -> list[int]:
        """The tensors of these rows that must lie in our memory after them: read later by any engine, and not overwritten till then."""
        end = self.steps(first, last)[1]
        return [n for n in range(first, last) if self.needed[n] >= last and self.memory.alive(self.tensors[n], end)]

    def known(self, first: int) -> set[int]:
        """The tensors of earlier rows that lie in our memory when row ``first`` comes, whatever made them."""
        if first not in self._known:
            begin = self.rows[first].steps[0]
            self._known[first] = {n for n in range(first) if self.needed[n] >= first and self.memory.alive(self.tensors[n], begin)}
        return self._known[first]

    def elsewhere(self, road: Road, first: int, last: int) -> Segment | None:
        """The rows on another engine; None where a tensor that it would take or give has no place of its own in our memory."""
        begin, end = self.steps(first, last)
        gives = self.crossing_out(first, last)
        # what our later kernels read must be given: also what lies within a row, which nobody else has
        read = [t for t, step in self.read.items() if begin <= t[0] < end <= step]
        if not gives or any(tensor not in {self.tensors[n] for n in gives} for tensor in read):
            return None
        found = road.cone(gives, self.known(first))
        if found is None:
            return None
        work, takes = found
        ms = road.ms(work, first, last)
        places = [road.place(tensor) for tensor in (*takes, *gives)]
        if ms is None or not takes or not work or any(place is None for place in places):
            return None
        moved = sum(place.bytes for place in places if place) / 1e6
        turned = sum(place.bytes for place in places if place and place.layout != "same") / 1e6
        ms += road.call_ms + moved * road.ms_per_mb + turned * self.layout_ms_per_mb
        segment = Segment(first, last, road.engine, ms, tuple(takes), tuple(gives))
        self.works[segment] = work
        return segment

    def all_elsewhere(self) -> list[Segment]:
        count = len(self.rows)
        pairs = [(first, last) for first in range(count) for last in range(first + 1, count + 1)]
        found = (self.elsewhere(road, first, last) for road in self.roads.values() for first, last in pairs)
        return [segment for segment in found if segment]

    def entry(self, segment: Segment) -> dict[str, Any]:
        """A segment of another engine, as page/combined.js reads it."""
        road = self.roads[segment.engine]
        told = road.entry(segment, self.works[segment])
        sides = {"inputs": segment.takes, "outputs": segment.gives}
        places = {side: [place.json() for place in map(road.place, tensors) if place] for side, tensors in sides.items()}
        return {"engine": segment.engine, **told, **places}
