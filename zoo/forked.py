"""Answers by a process that has imported its packages once and forks for every question: a crash or an endless loop ends in the child."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WAIT_S = 3600


def answer_in_child(
    make: Callable[[], dict[str, Any]], failed: Callable[[BaseException], dict[str, Any]], limit_s: int, show: bool
) -> dict:
    """What ``make`` gives in a forked child within so much CPU time; what ``failed`` makes of its error, or of how the child ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            if not show:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s + 5))
            answer = make()
        except BaseException as error:
            if show:
                traceback.print_exc()
            answer = failed(error)
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        if not select.select([pipe], [], [], WAIT_S)[0]:
            os.kill(child, signal.SIGKILL)
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if said:
        return json.loads(said)
    ended = os.waitstatus_to_exitcode(status)
    why = {-signal.SIGXCPU: f"not finished within {limit_s} s of CPU time", -signal.SIGKILL: f"killed: no memory, or not within {WAIT_S} s"}
    return failed(ChildProcessError(why.get(ended, f"the process ended with {f'signal {-ended}' if ended < 0 else f'status {ended}'}")))


def serve(answer: Callable[[str], dict[str, Any]], questions: Iterable[str]) -> None:
    """Answer each question with a line of JSON; what packages print on standard output goes to the errors."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for question in questions:
        print(json.dumps(answer(question.strip())), file=answers, flush=True)


class Server:
    """A process that serves."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self.errors = tempfile.TemporaryFile()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self.errors, text=True, env=environment, cwd=folder)

    def ask(self, question: str) -> dict[str, Any]:
        """Its answer; RuntimeError when it has ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.errors.seek(0)
            raise RuntimeError((self.errors.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1])
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.wait()
        self.errors.close()
