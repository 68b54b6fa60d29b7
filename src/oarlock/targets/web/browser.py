"""A browser of our own: Chromium without a window, with an empty profile, in a process group that goes as a whole."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from ...errors import InputError, TargetError
from . import chromium
from .hosts import LOOPBACK

CHOICES = ("auto", "none")
FLAGS = """--headless --no-first-run --no-default-browser-check --disable-gpu --disable-quic --disable-background-networking
--disable-component-update --disable-sync --disable-extensions --disable-background-timer-throttling --disable-renderer-backgrounding
--disable-backgrounding-occluded-windows --mute-audio --password-store=basic""".split()
ARRIVE_S = 60.0  # in which its page must connect
TRIES = 5  # launches in a row whose page never came


def chosen(browser: str, host: str, where: str) -> str | None:
    """The path of the browser to open for a server at ``host``: "auto" is a Chromium of this machine for servers on loopback, "none" none.

    Raises InputError for another word.
    """
    if browser not in CHOICES:
        raise InputError(f"browser must be one of {', '.join(CHOICES)}, not {browser!r}", where=where)
    return chromium.find() if browser == "auto" and host in LOOPBACK else None


def _goes_with_us() -> Callable[[], None] | None:
    """Called in the new process: the system ends it with this one, however that ends."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class Browser:
    """Opened, and opened again whenever it went."""

    def __init__(self, executable: str, address: str) -> None:
        self.executable, self.address = executable, address
        self.process: subprocess.Popen[bytes] | None = None
        self._profile = ""
        self._began, self._tries = 0.0, 0

    def bring(self) -> None:
        """Called while there is no page: opens the browser where it is not running, or does not come."""
        running = self.process is not None and self.process.poll() is None
        if running and time.monotonic() - self._began < ARRIVE_S:
            return
        if self._tries >= TRIES:
            raise TargetError(
                f"the browser was opened {TRIES} times and its page never came",
                where=self.executable,
                todo="open the page yourself (--browser none), or name another browser by the environment variable CHROMIUM",
            )
        self.close()
        self._tries += 1
        self._began = time.monotonic()
        self._profile = tempfile.mkdtemp(prefix="oarlock-chromium-")
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        try:
            command = chromium.command(self.executable, FLAGS, self._profile, self.address)
            self.process = subprocess.Popen(command, start_new_session=True, preexec_fn=_goes_with_us(), **quiet)  # type: ignore[call-overload]
        except OSError as error:
            raise TargetError(f"the browser does not start: {error.strerror}", where=self.executable) from error

    def came(self) -> None:
        """Its page is there."""
        self._tries = 0

    def close(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        if self._profile:
            shutil.rmtree(self._profile, ignore_errors=True)
            self._profile = ""
