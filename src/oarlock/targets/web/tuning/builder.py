"""Kernels alone, as modules of a few kB: built in processes that may crash or hang, several at a time, and kept by what they compute.

``python -m oarlock.targets.web.tuning.builder JOB`` reads a JSON document a line, {"kernel": text, "finish": …}, and answers each with
{"module": path, "arguments": […]} or {"error": text}.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import pickle
import queue
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...._version import __version__
from ....cachefile import cache_path
from ....kernels.trials import Lines, Processes, TrialError

ENV_CACHE = "OARLOCK_WEB_KERNELS"
MOST_KEPT = 4000  # modules, of some kB each
START_S = 120.0  # in which a process must have imported TVM


@dataclass(frozen=True)
class Built:
    """A module that exports ``k0``, and the arguments of that: {"dtype", "count"} each."""

    module: bytes
    arguments: list[dict[str, Any]]


class Builders:
    """As many processes as there are CPUs, at most four; each is started anew after it crashed or hung."""

    def __init__(self, processes: Processes, job: Mapping[str, Any], folder: Path) -> None:
        self._processes, self._folder = processes, folder
        self._job = folder / "builders"
        self._job.write_bytes(pickle.dumps({name: job[name] for name in ("target", "options", "imports")}))
        count = max(1, min(4, len(os.sched_getaffinity(0))))
        self._pool = ThreadPoolExecutor(count)
        self._free: queue.Queue[tuple[subprocess.Popen[bytes], Lines] | None] = queue.Queue()
        for _ in range(count):
            self._free.put(None)
        _tidy(cache())

    def build(self, kernel: str, finish: bool, limit_s: float) -> Future[Built]:
        """Raises TrialError from the result where the kernel cannot be built in that time."""
        return self._pool.submit(self._build, kernel, finish, limit_s)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _build(self, kernel: str, finish: bool, limit_s: float) -> Built:
        held, alive = self._free.get(), None
        try:
            process, lines = held or self._start()
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps({"kernel": kernel, "finish": finish}).encode() + b"\n")
            except BrokenPipeError:
                self._processes.end(process)
                raise TrialError("the builder is gone") from None
            line = lines.next(limit_s if held else limit_s + START_S)
            if line is None or not line.endswith(b"\n"):
                self._processes.end(process)
                raise TrialError("the compiler crashed" if line is not None else f"the compiler hung (over {limit_s:.0f} s)")
            alive = process, lines
        finally:
            self._free.put(alive)
        answer = json.loads(line)
        if "error" in answer:
            raise TrialError(answer["error"])
        return Built(Path(answer["module"]).read_bytes(), answer["arguments"])

    def _start(self) -> tuple[subprocess.Popen[bytes], Lines]:
        errors = self._folder / "builder.stderr"
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
        process = self._processes.start([str(self._job)], errors, module=__name__, **pipes)
        assert process.stdout is not None
        return process, Lines(process.stdout)


def cache() -> Path:
    return cache_path(ENV_CACHE, "web-kernels")


def _tidy(folder: Path) -> None:
    """The oldest go."""
    with contextlib.suppress(OSError):
        files = sorted(folder.glob("*.wasm"), key=lambda f: f.stat().st_mtime, reverse=True)
        for file in files[MOST_KEPT:]:
            file.unlink(missing_ok=True)


def serve(job_file: str) -> None:
    """Answer until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what TVM prints must not stand among the replies
    job = pickle.loads(Path(job_file).read_bytes())
    for module in job["imports"]:
        importlib.import_module(module)
    from .... import targets

    target = targets.get(job["target"], **job["options"])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _one(target, request["kernel"], request["finish"])
        except Exception as error:  # TVM and LLVM have errors of any type
            lines = [part.strip() for part in str(error).splitlines() if part.strip()]
            answer = {"error": f"{type(error).__name__}: {lines[-1][:200] if lines else ''}"}
        print(json.dumps(answer), file=replies, flush=True)


def _one(target: Any, kernel: str, finish: bool) -> dict[str, Any]:
    import tvm

    from .... import compat, compat_search
    from .. import module

    with target.tvm_target:
        function = compat_search.function_of(kernel)
        if finish:
            function = target.search.finish(function)
        tensors = [p.ty for p in compat.tensors(function)]
        arguments = [{"dtype": str(t.dtype), "count": math.prod(int(d) for d in t.shape)} for t in tensors]
        name = f"{target.record_key[0]} {__version__} {tvm.__version__}".replace(" ", "_").replace("/", "_")
        path = cache() / f"{name}_{compat.structural_name(function)}.wasm"
        if not path.exists():
            made = compat.build_kernels(tvm.IRModule({tvm.ir.GlobalVar("k0"): compat.direct_callee(function)}), target.tvm_target)
            with tempfile.TemporaryDirectory(prefix="oarlock-") as scratch:
                objects = Path(scratch) / "kernel.o"
                made.write_to_file(str(objects))
                content = module.link(objects, ["k0"], shared=target.threads > 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(content)
            os.replace(temporary, path)
    return {"module": str(path), "arguments": arguments}


if __name__ == "__main__":
    serve(sys.argv[1])
