"""The processes of the contest: builders that compile a plan, runners that time what was built.  Each may crash or hang."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..inputs import npz_inputs

_WORKER = f"{__package__}.worker"


class TrialError(Exception):
    """A build or a run failed: crashed, hung, or refused.  Only the contest sees it.

    ``kernel``: the function that was running, where that is known.
    """

    kernel: str | None = None


@dataclass(frozen=True)
class Variant:
    """A build of the model: its plan (workload → candidate), the artifact's file, what was asked for it (workload → candidates),
    the workload of each function, and the candidate that each was made by.
    """

    plan: Mapping[str, str]
    artifact: Path
    asked: Mapping[str, tuple[str, ...]]
    workloads: Mapping[str, str]
    made: Mapping[str, str]


class Processes:
    """Those that were started, so that none is left behind."""

    def __init__(self) -> None:
        self._alive: set[subprocess.Popen[bytes]] = set()

    def start(self, arguments: list[str], errors: Path, module: str = _WORKER, **pipes: Any) -> subprocess.Popen[bytes]:
        """A worker in a session of its own, so that Ctrl-C reaches the contest alone."""
        command = [sys.executable, "-m", module, *arguments]
        with errors.open("wb") as stderr:
            process = subprocess.Popen(command, stderr=stderr, start_new_session=True, env=_environment(), **pipes)
        self._alive.add(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the process and those that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._alive.discard(process)

    def end_all(self) -> None:
        for process in list(self._alive):
            self.end(process)


def _environment() -> dict[str, str]:
    """This process's environment, with its search path: the worker must find the same packages."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def build(processes: Processes, job: Mapping[str, Any], plan: Mapping[str, str], folder: Path, limit_s: float) -> Variant:
    """Compile ``job``'s program by ``plan`` into ``folder``.  TrialError when that fails or takes longer than ``limit_s``."""
    folder.mkdir()
    request, result, artifact, errors = (folder / name for name in ("job", "result.json", "model.oar", "stderr"))
    request.write_bytes(pickle.dumps({**job, "plan": dict(plan), "artifact": str(artifact)}))
    process = processes.start(["build", str(request), str(result)], errors, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise TrialError(f"the compiler hung (over {limit_s:.0f} s)") from None
    finally:
        processes.end(process)
    if not result.exists():
        raise TrialError(_end(process, errors, "the compiler"))
    reply = json.loads(result.read_text(encoding="utf-8"))
    if "error" in reply:
        raise TrialError(reply["error"])
    asked = {workload: tuple(names) for workload, names in reply["asked"].items()}
    return Variant(plan, artifact, asked, reply["workloads"], reply["made"])


class LocalRunner:
    """A process that runs one variant when asked (place.Runner)."""

    def __init__(self, processes: Processes, artifact: Path, inputs: Path, threads: int) -> None:
        self._processes, self._folder = processes, artifact.parent
        self._errors = self._folder / "stderr"
        arguments = ["time", str(artifact), str(inputs), str(threads)]
        self._process = processes.start(arguments, self._errors, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout)

    def outputs(self, limit_s: float) -> dict[str, np.ndarray]:
        """What the model gives."""
        path = self._folder / "outputs.npz"
        self._ask({"outputs": str(path)}, limit_s)
        return npz_inputs(path)

    def seconds(self, runs: int, limit_s: float) -> float:
        """The least time of a run among ``runs``."""
        return float(self._ask({"runs": runs}, limit_s))

    def kernels(self, runs: int, limit_s: float) -> dict[str, tuple[float, int]]:
        """Function name → its seconds in a run, the least among ``runs``, and its calls in a run."""
        return {name: (seconds, calls) for name, (seconds, calls) in self._ask({"profile": runs}, limit_s).items()}

    def close(self) -> None:
        self._processes.end(self._process)

    def _ask(self, request: dict[str, Any], limit_s: float) -> Any:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise TrialError(_end(self._process, self._errors, "the model")) from None
        line = self._lines.next(limit_s)
        if line is None:
            raise TrialError(f"the model hung (over {limit_s:.0f} s)")
        if not line.endswith(b"\n"):
            raise TrialError(_end(self._process, self._errors, "the model"))
        return json.loads(line)


class Lines:
    """The lines that a process writes."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._rest = pipe, b""

    def next(self, limit_s: float) -> bytes | None:
        """The next line, without its end where the pipe ended; None when it took too long."""
        end = time.monotonic() + limit_s
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._pipe], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return None
            part = os.read(self._pipe.fileno(), 1 << 16)
            if not part:
                break
            self._rest += part
        line, found, rest = self._rest.partition(b"\n")
        self._rest = rest
        return line + found


def _end(process: subprocess.Popen[bytes], errors: Path, what: str) -> str:
    """How a process that should have answered ended."""
    status = process.wait()
    lines = [line for line in errors.read_text(errors="replace").splitlines() if line.strip()]
    said = f": {lines[-1].strip()[:300]}" if lines else ""
    if status < 0:
        return f"{what} crashed (signal {signal.Signals(-status).name}){said}"
    return f"{what} ended with status {status}{said}"
