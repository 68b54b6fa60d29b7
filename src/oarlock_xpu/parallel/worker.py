"""One worker of a parallel session: a process that Disco drives, or, for worker 0, a thread of the session's own process.

``python -m oarlock_xpu.parallel.worker ID WORKERS GROUPS READ WRITE``, as Disco starts it; what else there is to know stands in the
environment variable OARLOCK_XPU_WORKER.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from oarlock.errors import OarlockError
from oarlock.runtime import callback, dtypes, ffi, tvm_runtime
from oarlock.runtime.artifact import Artifact
from oarlock.runtime.session import Session

ENV = "OARLOCK_XPU_WORKER"
RUN = "oarlock_xpu.parallel.run"  # (session, request) as every worker has it
STATUS = 1 << 16  # bytes for each worker's error, at the beginning of the arena; then come inputs
_ENDED = ("has failed", "has ended")  # of errors that are only the echo of another worker's


@dataclass(frozen=True)
class Plan:
    """What all workers of a session know.  Descriptors are inherited; ``artifacts``: one for each worker, of its program."""

    session: int
    parent: int
    workers: int
    tp: int
    artifacts: list[int]
    bkcl: int
    arena: int
    threads: int
    where: str


workers: dict[tuple[int, int], Worker] = {}
"""The workers of this process, by session and number."""


class Worker:
    """A session of one part, what it gets from the stage before, and what it gives."""

    def __init__(self, plan: Plan, number: int, artifact: Artifact | None = None) -> None:
        self.plan, self.number = plan, number
        self.stage, self.stages = number // plan.tp, plan.workers // plan.tp
        self.outputs: dict[str, np.ndarray] = {}
        self.expected: list[str] = []  # of worker 0: the names of the model's outputs
        self._lock = threading.Lock()
        self._closed = False
        self._artifact = artifact
        self._session: Session | None = None
        self._arena: mmap.mmap | None = None

    def handle(self, request: dict[str, Any]) -> None:
        """Do what a request says; an error is told to the other workers and the session."""
        with self._lock:
            if self._closed:
                return
            try:
                if "processes" in request:
                    self._load(request["processes"])
                else:
                    self._run(request["inputs"])
            except Exception as error:
                self._fail(error if isinstance(error, OarlockError) else OarlockError(f"{type(error).__name__}: {error}"))

    def close(self) -> None:
        """Have the worker do nothing any more; waits for what it does, which ends when a worker has failed."""
        with self._lock:
            self._closed = True
            if self._session is not None:
                self._session.close()

    def _fail(self, failed: OarlockError) -> None:
        text = json.dumps({"what": failed.what, "where": failed.where, "todo": failed.todo})
        data = text.encode()
        if len(data) > STATUS - 4:
            data = json.dumps({"what": failed.what[:1000], "where": failed.where[:1000], "todo": failed.todo[:1000]}).encode()
        arena, start = self._memory(0), self.number * STATUS
        arena[start + 4 : start + 4 + len(data)] = data
        arena[start : start + 4] = len(data).to_bytes(4, "little")
        ffi.call("oarlock_xpu.bkcl_fail", self.plan.bkcl, self.number)

    def _load(self, processes: list[int]) -> None:
        from .. import native

        native.load()
        shape = ffi.get_function("ffi.Shape")
        assert shape is not None
        ffi.call("runtime.disco.bkcl.init_ccl_per_worker", shape.object(*processes), self.plan.bkcl, self.stages)
        artifact = self._artifact or Artifact.load(f"/proc/self/fd/{self.plan.artifacts[self.number]}", verify=False)
        artifact.path = self.plan.where
        self._session = Session(artifact, threads=self.plan.threads or None)

    def _run(self, inputs: dict[str, list[Any]]) -> None:
        assert self._session is not None
        known: dict[str, np.ndarray] = {}
        for name, (dtype, shape, start) in inputs.items():
            count = int(np.prod(shape, dtype="int64"))
            kind = dtypes.numpy_dtype(dtype)
            memory = self._memory(start + count * kind.itemsize)
            known[name] = np.frombuffer(memory, kind, count, start).reshape(shape)
        tp = self.plan.tp
        if self.stage:
            for name in self._session.artifact.manifest["receive"]:
                known[name] = self._receive(self.number - tp)
        outputs = self._session.run({spec.name: known[spec.name] for spec in self._session.inputs})
        known |= outputs
        names = self._session.artifact.manifest["forward"]
        forward = [known[name] for name in names]
        self.outputs = {}
        if self.stage < self.stages - 1:
            for array in forward:
                self._send(array, self.number + tp)
            if self.number == 0:  # the session is in this process
                last = (self.stages - 1) * tp
                self.outputs = {name: self._receive(last) for name in self.expected}
        elif self.number == 0:
            self.outputs = dict(zip(names, forward, strict=True))
        elif self.number % tp == 0:
            for array in forward:
                self._send(array, 0)

    def _send(self, array: np.ndarray, to: int) -> None:
        array = np.require(array, requirements=["C", "W"])
        tensor = ffi.from_array(array, array.dtype.name)
        ffi.call("oarlock_xpu.bkcl_send", tensor, to)

    def _receive(self, origin: int) -> np.ndarray:
        return ffi.call("oarlock_xpu.bkcl_receive", origin).array()

    def _memory(self, size: int) -> mmap.mmap:
        """The arena, which grows with the inputs."""
        if self._arena is None or len(self._arena) < size:
            self._arena = mmap.mmap(self.plan.arena, 0)
        return self._arena


def echo(error: OarlockError) -> bool:
    """Whether an error only says that another worker has one."""
    return any(word in error.what for word in _ENDED)


def run(arguments: list[Any]) -> list[ffi.Tensor]:
    """What Disco calls in every worker."""
    session, (number,), request = arguments[0], ffi.call("runtime.disco.worker_id"), arguments[1]
    worker = workers.get((session, number))
    if worker is not None:  # else it was closed; an exception here would end the process
        worker.handle(json.loads(request))
    return []


def register() -> None:
    """Have TVM know what Disco calls."""
    tvm_runtime.load_runtime()
    callback.register(RUN, run)


def _watch(parent: int) -> None:
    """End with the process that the session is in."""
    try:
        descriptor = os.pidfd_open(parent)
        if os.getppid() == parent:
            select.select([descriptor], [], [])
    except OSError:
        pass
    os._exit(1)


def main() -> None:
    """The process of one worker."""
    number, count, groups, reader, writer = map(int, sys.argv[1:6])
    plan = Plan(**json.loads(os.environ.pop(ENV)))
    threading.Thread(target=_watch, args=(plan.parent,), daemon=True).start()
    register()
    workers[(plan.session, number)] = Worker(plan, number)
    ffi.call("runtime.disco.WorkerProcess", number, count, groups, reader, writer)


if __name__ == "__main__":
    # not the module's own copy: callbacks find workers in the one that is imported
    from oarlock_xpu.parallel import worker

    try:
        worker.main()
    except KeyboardInterrupt:
        pass
