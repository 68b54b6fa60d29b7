"""What quantising layers does to a model's outputs, measured on held-out examples by one program with a switch at each layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..runtime.session import Session
from .data import Example

MEASURES = ("rms", "max", "winner")


@dataclass
class _Sums:
    """Of one output over examples: squares of differences and of numbers, the largest of both, rows and those whose winner changed."""

    squares: float = 0.0
    power: float = 0.0
    most: float = 0.0
    scale: float = 0.0
    rows: int = 0
    changed: int = 0
    elements: int = 0
    unlike: int = 0
    exact: bool = False

    def add(self, got: np.ndarray, wanted: np.ndarray) -> None:
        if got.shape != wanted.shape:  # sizes that follow from numbers: nothing is alike
            self.exact, self.elements, self.unlike = True, self.elements + wanted.size, self.unlike + wanted.size
            return
        if wanted.dtype.kind in "biu":
            self.exact, self.elements = True, self.elements + wanted.size
            self.unlike += int(np.count_nonzero(got != wanted))
            return
        g, w = got.astype(np.float64), wanted.astype(np.float64)
        finite = np.isfinite(w)
        difference = np.where(finite, g - np.where(finite, w, 0.0), 0.0)
        difference[np.isnan(difference)] = math.inf  # a number that became none is the worst of all
        if not difference.size:
            return
        w = np.where(finite, w, 0.0)
        self.squares += float(np.square(difference).sum())
        self.power += float(np.square(w).sum())
        self.most, self.scale = max(self.most, float(np.abs(difference).max())), max(self.scale, float(np.abs(w).max()))
        if w.ndim and w.shape[-1] > 1:
            self.rows += w[..., 0].size
            self.changed += int(np.count_nonzero(g.argmax(-1) != w.argmax(-1)))

    def harm(self) -> Harm:
        if self.exact:
            part = self.unlike / self.elements if self.elements else 0.0
            return Harm(part, part, part)
        rms = math.sqrt(self.squares / self.power) if self.power else math.sqrt(self.squares)
        return Harm(rms, self.most / self.scale if self.scale else self.most, self.changed / self.rows if self.rows else 0.0)


@dataclass(frozen=True)
class Harm:
    """The worst of a model's outputs.  ``rms``: the differences' root mean square by the output's own; ``max``: the largest difference by
    the largest number; ``winner``: the part of the rows (along the last dim) whose largest element is another one.  Of outputs that are
    integers or booleans all three are the part of the elements that differ."""

    rms: float = 0.0
    max: float = 0.0
    winner: float = 0.0

    def of(self, measure: str) -> float:
        return float(getattr(self, measure))

    def to_json(self) -> dict[str, float | None]:
        """None where it is infinite."""
        return {name: value if math.isfinite(value := self.of(name)) else None for name in MEASURES}


@dataclass
class _Measured:
    outputs: dict[str, _Sums] = field(default_factory=dict)

    def add(self, got: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
        for name, array in wanted.items():
            self.outputs.setdefault(name, _Sums()).add(got[name], array)

    def harm(self) -> Harm:
        harms = [sums.harm() for sums in self.outputs.values()]
        return Harm(*(max((h.of(m) for h in harms), default=0.0) for m in MEASURES))


class Judge:
    """Runs a switched program (rewrite.switched) with ``layers`` switches on held-out examples."""

    def __init__(self, session: Session, layers: int, held_out: Sequence[Example]) -> None:
        self.session, self.layers, self.held_out = session, layers, held_out

    def harms(self, sets: Sequence[Collection[int]], report: Callable[[int, int], None]) -> list[Harm]:
        """What quantising the layers of each set does; one example after the other, so that memory does not grow with their number."""
        found = [_Measured() for _ in sets]
        total = len(self.held_out) * len(sets)
        for i, example in enumerate(self.held_out):
            feed = example.read()
            wanted = self._run(feed, ())
            for n, (chosen, measured) in enumerate(zip(sets, found, strict=True)):
                report(i * len(sets) + n, total)
                measured.add(self._run(feed, chosen), wanted)
        report(total, total)
        return [measured.harm() for measured in found]

    def _run(self, feed: Mapping[str, Any], chosen: Collection[int]) -> dict[str, np.ndarray]:
        switches = {f"quantise.{i}": np.array([i in chosen]) for i in range(self.layers)}
        return self.session.run({**feed, **switches})


def choose(
    judge: Judge,
    able: Sequence[int],
    harms: Mapping[int, Harm],
    budget: float,
    measure: str,
    report: Callable[[int, int], None],
) -> tuple[list[int], Harm]:
    """(layers of ``able`` to quantise, what that does): as many as the budget allows, those that do most harm alone left out first.

    How many must be left out is found by bisection, as if leaving out more did less harm; the result is measured, so it holds.
    """
    order = sorted(able, key=lambda i: harms[i].of(measure), reverse=True)
    measured: dict[int, Harm] = {len(order): Harm()}

    def harm(left_out: int) -> Harm:
        if left_out not in measured:
            report(len(measured) - 1, max(len(measured), math.ceil(math.log2(len(order) + 1)) + 1))
            (measured[left_out],) = judge.harms([order[left_out:]], lambda done, total: None)
        return measured[left_out]

    low, high = 0, len(order)  # high always holds
    if harm(0).of(measure) <= budget:
        high = 0
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if harm(middle).of(measure) <= budget else (middle, high)
    return sorted(order[high:]), harm(high)
