"""A compiled model run kernel by kernel, each given what the reference gives its inputs: the error that it makes itself.

What the model's own run has at the same place is the error that has come together so far.  The reference's results are asked for some
kernels at a time; kernels stay as they are compiled and fused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..runtime.recording import Cursor, watch
from ..runtime.session import Session
from ..runtime.tensors import read, write
from .chunks import CHUNK_BYTES, chunks
from .compare import OutputCheck, more_than_numbers
from .sites import Held, Site, beside, in_layout

MOST_SITES = 64  # calls that are compared at a time


class Reference(Protocol):
    def knows(self, held: Held | None) -> bool: ...

    def is_constant(self, held: Held) -> bool: ...

    def fetch(self, wanted: Sequence[Held]) -> dict[Held, np.ndarray]: ...


@dataclass(frozen=True)
class Finding:
    """One kernel call: ``introduced`` is the largest difference of its results from the reference's where it read the reference's
    tensors, ``carried`` that in the model's own run; both by the result's scale.

    ``compared``: how many results there were to compare; 0: none has a counterpart in the model (a step inside an operation).
    ``fed``: whether all results of operations that it reads were the reference's; if not, nothing tells what
    it introduces.  ``why``: how results differ in more than numbers.
    """

    number: int
    site: Site
    shape: tuple[int, ...]
    introduced: float = 0.0
    introduced_rms: float = 0.0
    carried: float = 0.0
    compared: int = 0
    fed: bool = True
    why: str = ""


def trace(
    session: Session,
    sites: Sequence[Site],
    inputs: Mapping[str, Any],
    reference: Reference,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Finding]:
    """The findings of all calls, in order.  Memory: CHUNK_BYTES of results and of the reference's, whatever the model's depth."""
    sizes = _sizes(session, sites, inputs)
    resized = False  # whether a tensor had another shape than the reference's
    for chunk in _chunks(sites, sizes, reference):
        if progress is not None:
            progress(chunk[0], len(sites))
        held = [h for n in chunk for h in (*sites[n].reads, *sites[n].gives) if h is not None and reference.knows(h)]
        expected = reference.fetch(held)
        own, fed = (_Comparison(sites, set(chunk), expected, reference, feed) for feed in (False, True))
        for comparison in (own, fed):
            run_traced(session, sites, inputs, comparison.before, comparison.after)
        for n in chunk:
            if n in fed.found:
                # sizes are the run's own: what makes a tensor of another one after a first, and reads nothing of the reference, obeys
                complete = fed.complete.get(n, False) and (fed.given.get(n, 0) > 0 or not resized)
                finding = _finding(n, sites[n], own.found.get(n, []), fed.found[n], complete)
                resized = resized or any(c.shape != c.expected_shape for c in fed.found[n])
                yield finding


def _finding(n: int, site: Site, own: list[OutputCheck], fed: list[OutputCheck], complete: bool) -> Finding:
    worst = max(fed, key=lambda c: (not c.ok and not c.max_rel, c.max_rel), default=None)
    if worst is None:
        return Finding(n, site, ())
    carried = max((c.max_rel for c in own), default=0.0)
    return Finding(n, site, worst.shape, worst.max_rel, worst.rms_rel, carried, len(fed), complete, more_than_numbers(fed))


class _Comparison:
    """Compares the results of some calls with the reference's; ``feed``: having given them the reference's operands."""

    def __init__(
        self, sites: Sequence[Site], chosen: set[int], expected: Mapping[Held, np.ndarray], reference: Reference, feed: bool
    ) -> None:
        self.sites, self.chosen, self.expected, self.reference, self.feed = sites, chosen, expected, reference, feed
        self.found: dict[int, list[OutputCheck]] = {}
        self.complete: dict[int, bool] = {}
        self.given: dict[int, int] = {}  # how many of the reference's tensors a call was given

    def before(self, n: int, operands: Sequence[Any], results: Sequence[Any]) -> None:
        if not self.feed:
            return
        complete = True  # all calls are fed, those too whose results nothing is known of: the next reads them
        for held, tensor in zip(self.sites[n].reads, operands, strict=True):
            if held is None or self.reference.is_constant(held):
                continue
            mine = read(tensor)
            theirs = in_layout(self.expected[held], mine) if mine is not None and held in self.expected else None
            if mine is not None and theirs is not None:
                write(tensor, theirs)
                self.given[n] = self.given.get(n, 0) + 1
            else:
                complete = False
        self.complete[n] = complete

    def after(self, n: int, operands: Sequence[Any], results: Sequence[Any]) -> None:
        if n not in self.chosen:
            return
        checks = self.found.setdefault(n, [])
        if not self.sites[n].comparable:
            return
        for held, tensor in zip(self.sites[n].gives, results, strict=True):
            expected = None if held is None else self.expected.get(held)
            mine = None if expected is None else read(tensor)
            if expected is not None and mine is not None:
                checks.append(beside(mine, expected))


def run_traced(
    session: Session,
    sites: Sequence[Site],
    inputs: Mapping[str, Any],
    before: Callable[[int, Sequence[Any], Sequence[Any]], None],
    after: Callable[[int, Sequence[Any], Sequence[Any]], None],
) -> None:
    """Run the model; ``before`` and ``after`` each call of ``main`` they get its number, its tensor operands and its results.

    Branches that are not taken are passed over; what functions that ``main`` calls (loops) do counts to nothing.
    """
    cursor = Cursor(session.artifact.manifest)

    def see(name: str, first: bool, result: Any, arguments: tuple[Any, ...]) -> None:
        session.synchronise()
        here = cursor.of_main(name, first)
        if here is None:
            return
        site = sites[here]
        if site.host and not first:
            arguments = (*arguments, *([result] if hasattr(result, "data_ptr") else result))
        tensors = [a for a in arguments if hasattr(a, "data_ptr")]
        split = len(site.reads)
        (before if first else after)(here, tensors[:split], tensors[split:])

    watch(session, inputs, see, "the trace failed")


def _sizes(session: Session, sites: Sequence[Site], inputs: Mapping[str, Any]) -> dict[int, int]:
    """The bytes of what each call that runs reads and gives."""
    sizes: dict[int, int] = {}

    def note(n: int, operands: Sequence[Any], results: Sequence[Any]) -> None:
        held = zip((*sites[n].reads, *sites[n].gives), (*operands, *results), strict=False)
        sizes[n] = sum(_bytes(t) for h, t in held if h is not None)

    run_traced(session, sites, inputs, lambda *_: None, note)
    return sizes


def _bytes(tensor: Any) -> int:
    return math.prod(int(d) for d in tensor.shape) * tensor.dtype.itemsize


def _chunks(sites: Sequence[Site], sizes: Mapping[int, int], reference: Reference) -> Iterator[list[int]]:
    def full(chunk: list[int], total: int) -> bool:
        # not between the steps of an operation: the next would read what was made of tensors that are not the reference's
        whole = all(reference.knows(held) for held in sites[chunk[-1]].gives)
        return whole and (total > CHUNK_BYTES or len(chunk) >= MOST_SITES)

    return chunks(sorted(sizes), sizes.__getitem__, full)
