"""What each kernel of a module adds to the bytes that a browser fetches: its code, and the weights that it is the first to read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from . import module
from .plan import PLAN


@dataclass(frozen=True)
class Layer:
    """``workload``: the kernel's job, where the compiler knows a name for it.  ``calls``: how often the plan has it.

    ``code``, ``weights``: bytes, not compressed.
    """

    name: str
    workload: str
    calls: int
    code: int
    weights: int

    @property
    def bytes(self) -> int:
        return self.code + self.weights


def layers(library: bytes) -> list[Layer]:
    """The kernels of a module that WebTarget built, those with the most bytes first.

    A kernel that none calls by itself (a loop's body) counts no call.
    """
    content = module.section(library, PLAN)
    plan: dict[str, Any] = json.loads(content) if content else {"kernels": [], "weights": 0, "steps": []}
    code = module.code_bytes(library)
    calls: dict[int, int] = defaultdict(int)
    first: dict[int, int] = {}  # where a weight begins → its first reader
    for kernel, offsets in _reads(plan):
        calls[kernel] += 1
        for offset in offsets:
            first.setdefault(offset, kernel)
    starts = sorted(first)
    weights: dict[int, int] = defaultdict(int)
    for start, end in zip(starts, [*starts, plan["weights"]][1:], strict=True) if starts else ():
        weights[first[start]] += end - start
    found = [
        Layer(kernel["name"], kernel.get("workload", ""), calls[n], code.get(kernel["export"], 0), weights[n])
        for n, kernel in enumerate(plan["kernels"])
    ]
    return sorted(found, key=lambda layer: -layer.bytes)


def _reads(plan: dict[str, Any]) -> Iterator[tuple[int, list[int]]]:
    """Each call of a kernel, and the offsets of the weights that it reads."""
    if "functions" not in plan:
        for kernel, places in plan["steps"]:
            yield kernel, [offset for region, offset in zip(places[::2], places[1::2], strict=True) if region == 0]
        return
    waiting = [function["body"] for function in plan["functions"]]
    while waiting:
        for instruction in waiting.pop()[0]:
            if instruction[0] == "if":
                waiting += instruction[2:4]
            elif instruction[0] == "kernel":
                _, kernel, operands, *_ = instruction
                yield kernel, [plan["constants"][-1 - operand][0] for operand in operands if operand < 0]
