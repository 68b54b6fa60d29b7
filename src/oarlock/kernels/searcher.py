"""The process of a search: it asks MetaSchedule for schedules of one kernel, builds each and times it alone.  It may crash or hang.

``python -m oarlock.kernels.worker search JOB`` writes one JSON document a line: {"base": seconds} for the kernel as it is, then for every
trial {"trying": trace} before it and {"took": seconds} or {"failed": reason} after it: whoever reads knows which trial was to blame.
{"final": trace, "took": seconds} at the end tells which is the best when those few that seemed so are timed for longer.

Where trials run elsewhere (place.Bench) it only proposes: {"batch": [[trace, kernel], …]}, and reads what they took from stdin, as a list
of seconds, None where one failed; shorter than the batch when the time is over.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InternalError

if TYPE_CHECKING:
    from tvm import tirx

    from ..compat_search import Kernel
    from ..targets import Search, Target

TURNS, FINAL_TURNS = 5, 40  # of a schedule and the kernel as it is
FINALISTS = 4


def search(job_file: str) -> None:
    """Try schedules until the job's trials are done, or MetaSchedule has no more."""
    from .. import compat_search, targets

    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what TVM prints must not stand among the replies

    def tell(**reply: Any) -> None:
        print(json.dumps(reply), file=replies, flush=True)

    job: dict[str, Any] = pickle.loads(Path(job_file).read_bytes())
    for module in job["imports"]:
        importlib.import_module(module)
    target = targets.get(job["target"], **job["options"])
    how = target.search
    if how is None:
        raise InternalError(f"the target {target.name} has no search")
    compat_search.use_threads(how.threads)
    if job["proposes"]:
        return _propose(job, target, how, tell)
    with target.tvm_target:
        base = compat_search.Kernel(compat_search.function_of(job["made"]), target.tvm_target)
        anchor = job["base_s"] or min(base.seconds() for _ in range(3 * TURNS))
        tell(base=anchor)
        evolution = compat_search.Evolution(
            compat_search.function_of(job["start"]), target.tvm_target, how, trials=job["trials"], seed=job["seed"], known=job["known"]
        )
        left = job["trials"]
        finalists: list[tuple[float, Any, Kernel]] = []
        while left > 0 and (batch := evolution.batch(min(left, compat_search.BATCH))):
            tried = []
            for proposal in batch:
                tell(trying=proposal.trace)
                seconds, kernel, reason = _trial(proposal.kernel, target, how, base, anchor)
                tell(**({"took": seconds} if seconds else {"failed": reason}))
                tried.append((proposal, seconds))
                if seconds and kernel:
                    finalists = sorted([*finalists, (seconds, proposal.trace, kernel)], key=lambda f: f[0])[:FINALISTS]
            evolution.tell(tried)
            left -= len(tried)
        # the best of many measurements was lucky: the first few are timed again, for longer
        if again := [(anchor * kernel.ratio(base, FINAL_TURNS), trace) for _, trace, kernel in finalists]:
            least, trace = min(again, key=lambda pair: pair[0])
            tell(final=trace, took=least)


def _propose(job: dict[str, Any], target: Target, how: Search, tell: Callable[..., None]) -> None:
    from .. import compat_search

    with target.tvm_target:
        evolution = compat_search.Evolution(
            compat_search.function_of(job["start"]), target.tvm_target, how, trials=job["trials"], seed=job["seed"], known=job["known"]
        )
        left = job["trials"]
        while left > 0 and (batch := evolution.batch(min(left, compat_search.BATCH))):
            tell(batch=[[proposal.trace, compat_search.function_text(proposal.kernel)] for proposal in batch])
            results = json.loads(sys.stdin.readline())
            if len(results) < len(batch):
                return
            evolution.tell(list(zip(batch, results, strict=True)))
            left -= len(batch)


def _trial(function: tirx.PrimFunc, target: Target, how: Search, base: Kernel, anchor: float) -> tuple[float | None, Kernel | None, str]:
    """What a kernel takes (the base's time by the ratio of both), or why it failed: TVM and LLVM have errors of any type for that."""
    from ..compat_search import Kernel

    try:
        kernel = Kernel(how.finish(function), target.tvm_target)
        return anchor * kernel.ratio(base, TURNS), kernel, ""
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return None, None, f"{type(error).__name__}: {lines[-1][:200] if lines else ''}"
