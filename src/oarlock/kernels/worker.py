"""One trial of the contest in a process of its own, which may crash or hang: python -m oarlock.kernels.worker build|time|search …

``build JOB RESULT``: compile the pickled job's program with its plan; RESULT gets JSON: what was asked and is there, or the error.
``time ARTIFACT INPUTS.npz THREADS``: answer requests, one JSON document a line on stdin, by one on stdout each:
{"outputs": path} runs once and saves the outputs (_results); {"runs": n} gives the least time of a run; {"profile": n} those of functions
and how often each is called.
``search JOB``: see searcher.py.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InternalError, OarlockError

if TYPE_CHECKING:
    from .choice import Start


def build(job_file: str, result_file: str) -> None:
    """Compile and save; what went wrong is the result, too."""
    from .. import targets
    from ..compiler import compile_program
    from .choice import Choices

    job: dict[str, Any] = pickle.loads(Path(job_file).read_bytes())
    for module in job["imports"]:  # they register operators
        importlib.import_module(module)
    program = pickle.loads(Path(job["program"]).read_bytes())
    choices = Choices.of_plan(job["plan"], job.get("searched"))
    if job.get("starts"):
        choices.starts = {}
    try:
        target = targets.get(job["target"], **job["options"])
        artifact = compile_program(program, target, job["shapes"], choices)
        artifact.save(job["artifact"])
        kernels = {name: kernel for name, kernel in artifact.manifest.get("kernels", {}).items() if "workload" in kernel}
        workloads = {name: kernel["workload"] for name, kernel in kernels.items()}
        made = {name: kernel["candidate"] for name, kernel in kernels.items()}
        result: dict[str, Any] = {"asked": choices.asked, "workloads": workloads, "made": made}
        if choices.starts:
            Path(job["starts"]).write_bytes(pickle.dumps({w: _as_text(start) for w, start in choices.starts.items()}))
    except (OarlockError, InternalError) as error:
        result = {"error": str(error)}
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


def _as_text(start: Start) -> tuple[str, str, str]:
    """(the candidate, what a search starts from, what the candidate makes of it)"""
    from ..compat_search import function_text

    return start.base, function_text(start.function), function_text(start.made)


def serve(artifact: str, inputs_file: str, threads: str) -> None:
    """Answer requests until stdin ends."""
    from ..inputs import npz_inputs, save_npz
    from ..runtime.profile import profile
    from ..runtime.session import Session

    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not stand among the replies
    session = Session(artifact, threads=int(threads))
    inputs = {name: _used_in_place(session, name, array) for name, array in npz_inputs(inputs_file).items()}
    for line in sys.stdin:
        match json.loads(line):
            case {"outputs": str(path)}:
                save_npz(path, _results(session, inputs))
                reply: Any = "saved"
            case {"runs": int(runs)}:
                reply = min(_once(session, inputs) for _ in range(runs))
            case {"profile": int(runs)}:
                reply = {kernel.name: [kernel.seconds, kernel.calls] for kernel in profile(session, inputs, runs=runs)}
            case other:
                raise InternalError(f"unknown request {other!r}")
        print(json.dumps(reply), file=replies, flush=True)


def _used_in_place(session: Any, name: str, array: Any) -> Any:
    place = session.empty(name, array.shape)
    place[...] = array
    return place


def _once(session: Any, inputs: dict[str, Any]) -> float:
    start = session.clock()
    session.run(inputs)
    return session.clock() - start


def _results(session: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """What the model gives.  Where the device models its time, and kernels are called one by one, also what each call of those gives that
    there was a choice for, by "kernel #call result".

    Of a result that is larger than what there is (NMS's rows) a kernel leaves the rest unwritten, or stores memory of its own there that
    it has not written.  Candidates differ in that, so all such bits are set: in results before each kernel, in its own by the emulator.
    """
    from ..runtime.layers import Layer, run_layers
    from ..runtime.tensors import fill

    if not session.clock_is or session.artifact.manifest["options"].get("graphs"):
        return session.run(inputs)
    kernels, found = session.artifact.manifest["kernels"], dict[str, Any]()

    def begin(layer: Layer, tensors: list[Any]) -> None:
        if "workload" in kernels.get(layer.kernel, ()):
            for tensor in tensors:
                fill(tensor, 0xFF)

    def take(layer: Layer, arrays: list[Any]) -> None:
        if "workload" in kernels.get(layer.kernel, ()):
            found.update({f"{layer.kernel} #{layer.number} {i}": array for i, array in enumerate(arrays)})

    return run_layers(session, inputs, take, begin=begin) | found


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "build":
        build(*rest)
    elif command == "search":
        from .searcher import search

        search(*rest)
    else:
        serve(*rest)
