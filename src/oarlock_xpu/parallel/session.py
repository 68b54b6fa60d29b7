"""The workers behind a session of a parallel artifact: TVM's Disco starts them and gives them their calls."""

from __future__ import annotations

import itertools
import json
import mmap
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import oarlock
import oarlock_xpu
from oarlock.errors import ArtifactError, OarlockError
from oarlock.runtime import callback, ffi, tvm_runtime
from oarlock.runtime.artifact import Artifact

from .. import native
from .worker import ENV, RUN, STATUS, Plan, Worker, echo, register
from .worker import workers as own_workers

_POOL, _START = "oarlock_xpu.parallel.pool", "oarlock_xpu.parallel.start"
_PATIENCE = 5.0  # seconds that a worker has to end when it is told to
_lock = threading.Lock()
_starting: list[Workers] = []  # whose processes Disco asks for
_numbers = itertools.count(1)


class Workers:
    """All workers of one session.  Called with inputs it gives outputs; after an error it is closed."""

    def __init__(self, artifact: Artifact, threads: int | None) -> None:
        parallel = artifact.runtime.get("parallel")
        match parallel:
            case {"tp": int(tp), "pp": int(pp)} if tp > 0 and pp > 0 and tp * pp == len(artifact.parts):
                pass
            case _:
                raise ArtifactError("the manifest is damaged: its parts are not those of its devices", where=artifact.path)
        register()
        native.load()
        self.where = artifact.path or "a parallel session"
        self.count = tp * pp
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self._descriptors: list[int] = []
        self._held: list[Any] = []  # Disco's session, then the workers' function: letting go of either writes to the workers
        parts = [artifact.part(part.name) for part in artifact.parts]
        for before, after in zip(parts, parts[tp:], strict=False):
            after.manifest["receive"] = before.manifest["forward"]
        try:
            self._arena = self._memory("oarlock-arena", STATUS * self.count)
            self._size = STATUS * self.count
            bkcl = ffi.call("oarlock_xpu.bkcl_create", self.count)
            os.set_inheritable(bkcl, False)  # but by workers, which are told
            self._descriptors.append(bkcl)
            artifacts = [-1, *(self._memory(f"oarlock-part-{i}", 0, part) for i, part in enumerate(parts[1:], 1))]
            self._plan = Plan(next(_numbers), os.getpid(), self.count, tp, artifacts, bkcl, self._arena, threads or 0, self.where)
            self._worker = Worker(self._plan, 0, parts[0])
            self._worker.expected = [spec.name for spec in artifact.signature.outputs]
            own_workers[(self._plan.session, 0)] = self._worker
            self._start(pp)
            self._ask({"processes": [os.getpid(), *(self.processes[i].pid for i in range(1, self.count))]})
        except BaseException:
            self.close()
            raise
        # what is left of a session that nobody closed, also when the process ends
        self._end = weakref.finalize(self, _end, self._worker, self._held, self.processes, self._descriptors)

    def _memory(self, name: str, size: int, content: Artifact | None = None) -> int:
        """A descriptor of memory that workers inherit."""
        descriptor = os.memfd_create(name)
        self._descriptors.append(descriptor)
        if content is None:
            os.ftruncate(descriptor, size)
        else:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                content.write(file)
        return descriptor

    def _start(self, groups: int) -> None:
        with _lock:
            callback.register(_POOL, _create_pool)
            callback.register(_START, _start_worker)
            _starting.append(self)
            try:
                module = "oarlock_xpu.parallel.worker"
                self._held.append(ffi.call("runtime.disco.SessionProcess", self.count, groups, _POOL, module))
            finally:
                _starting.pop()
        self._held.append(ffi.call("runtime.disco.SessionGetGlobalFunc", self._held[0], RUN))

    def start_worker(self, number: int) -> list[int]:
        """Start the process of one worker → the descriptors by which Disco talks with it."""
        from_worker, to_controller = os.pipe()
        from_controller, to_worker = os.pipe()
        command = [
            sys.executable,
            "-m",
            "oarlock_xpu.parallel.worker",
            *map(str, (number, self.count, self._plan.workers // self._plan.tp)),
        ]
        kept = (to_controller, from_controller, self._plan.bkcl, self._plan.arena, self._plan.artifacts[number])
        environment = {**os.environ, ENV: json.dumps(asdict(self._plan)), "PYTHONPATH": os.pathsep.join(filter(None, _search_path()))}
        # a worker's chip is the first that it sees
        visible = os.environ.get("XPU_VISIBLE_DEVICES", "").split(",")
        environment["XPU_VISIBLE_DEVICES"] = visible[number] if number < len(visible) else str(number)
        command += [str(from_controller), str(to_controller)]
        # a session of its own: Ctrl-C is the controller's to handle
        self.processes[number] = subprocess.Popen(command, pass_fds=kept, env=environment, start_new_session=True)
        os.close(to_controller)
        os.close(from_controller)
        return [from_worker, to_worker]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.  OarlockError when a worker failed; the session is over then."""
        request, size = {}, STATUS * self.count
        for name, array in inputs.items():
            request[name] = [array.dtype.name, list(array.shape), size]
            size += -(-array.nbytes // 64) * 64
        if size > self._size:
            os.ftruncate(self._arena, size)
            self._size = size
        with mmap.mmap(self._arena, 0) as memory:
            for name, array in inputs.items():
                start = request[name][2]
                memory[start : start + array.nbytes] = array.tobytes()
        self._ask({"inputs": request})
        return self._worker.outputs

    def _ask(self, request: dict[str, Any]) -> None:
        """Have every worker do something, and wait for all."""
        lost: list[int] = []
        try:
            ffi.call("runtime.disco.SessionCallPacked", self._held[0], 0, 0, self._held[1], self._plan.session, json.dumps(request))
        except ffi.ForeignError:  # a worker is gone
            lost = [n for n, process in self.processes.items() if process.poll() is not None] or [0]
        for number in range(self.count):
            if lost:
                break
            try:
                ffi.call("runtime.disco.SessionSyncWorker", self._held[0], number)
            except ffi.ForeignError:
                lost.append(number)
        errors = self._errors()
        if not lost and not errors:
            return
        self.close(broken=bool(lost))
        first = next((n for n, error in errors.items() if not echo(error)), None)
        if first is not None:
            error = errors[first]
            error.where = f"worker {first} of {self.count}" + (f": {error.where}" if error.where else "")
            raise error
        gone = [n for n, process in self.processes.items() if process.returncode not in (None, 0)]
        number = gone[0] if gone else lost[0] if lost else next(iter(errors))
        how = _how(self.processes.get(number))
        raise OarlockError(
            f"worker {number} of {self.count} ended{how}", where=self.where, todo="make a new Session; see what it wrote above"
        )

    def _errors(self) -> dict[int, OarlockError]:
        found = {}
        with mmap.mmap(self._arena, 0) as memory:
            for number in range(self.count):
                start = number * STATUS
                if size := int.from_bytes(memory[start : start + 4], "little"):
                    found[number] = OarlockError(**json.loads(memory[start + 4 : start + 4 + size]))
        return found

    def close(self, *, broken: bool = False) -> None:
        """End all workers; ``broken``: one is gone already."""
        if hasattr(self, "_end"):
            self._end.detach()
        _end(getattr(self, "_worker", None), self._held, self.processes, self._descriptors, broken)


def _end(
    worker: Worker | None, held: list[Any], processes: Mapping[int, subprocess.Popen[bytes]], descriptors: list[int], broken: bool = False
) -> None:
    """Let the workers end; those that do not are ended."""
    if worker is not None and os.getpid() != worker.plan.parent:  # in a fork, which has no part in the session
        for thing in held:
            thing.keep()
        return
    broken = broken or any(process.poll() is not None for process in processes.values())
    if worker is not None:
        own_workers.pop((worker.plan.session, 0), None)
        if broken and descriptors:  # nobody is to wait for a worker that is gone
            ffi.call("oarlock_xpu.bkcl_fail", worker.plan.bkcl, 0)
        worker.close()
    if broken:
        for thing in held:
            thing.keep()  # what lets go of it writes to all workers, and ends this process when one is gone
    while held:
        held.pop()  # the session last, which tells the workers to end
    for process in processes.values():
        if broken:
            process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    while descriptors:
        os.close(descriptors.pop())


def _search_path() -> list[str]:
    """Where a worker finds this package and Oarlock."""
    roots = dict.fromkeys(str(Path(package.__file__ or "").resolve().parents[1]) for package in (oarlock, oarlock_xpu))
    return [*roots, os.environ.get("PYTHONPATH", "")]


def _how(process: subprocess.Popen[bytes] | None) -> str:
    if process is None or process.returncode is None:
        return ""
    return f" by signal {-process.returncode}" if process.returncode < 0 else f" with status {process.returncode}"


def _create_pool(_: list[Any]) -> Any:
    """Disco asks for a function that starts workers."""
    return ffi.get_function(_START)


def _start_worker(arguments: list[Any]) -> Any:
    """What that is called with: a worker's number; 0 when all are to go, which close does."""
    shape = ffi.get_function("ffi.Shape")
    assert shape is not None
    return shape.object(*(_starting[-1].start_worker(arguments[0]) if arguments[0] and _starting else ()))


def open_workers(artifact: Artifact, threads: int | None) -> Workers:
    """The workers of a parallel artifact, started."""
    tvm_runtime.load_runtime()
    return Workers(artifact, threads)
