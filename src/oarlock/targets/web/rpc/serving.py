"""TVM's proxy with the page, and a browser for it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ....errors import InputError, TargetError
from ....kernels.trials import Lines
from ..browser import Browser, chosen
from ..hosts import in_url
from ..serve import ISOLATED

PAGE = Path(__file__).parents[1] / "rpc_page"
WHERE = "oarlock web rpc"
START_S = 60.0  # in which the proxy must have imported TVM
ARRIVE_S = 60.0
GONE_S = 10.0  # without a page, which between two sessions connects anew
TURN_S = 1.0
TRACKER_S = 10.0


def page_files() -> tuple[str, list[tuple[str, str]]]:
    """``index_page`` and ``resource_files`` of tvm.rpc.proxy.Proxy, for a proxy of your own; its ``web_port`` serves the page then."""
    return str(PAGE / "rpc.html"), [("/", str(PAGE / name)) for name in ("rpc.js", "rpc-worker.js")]


class Served:
    """A proxy with its page, until it is closed.  ``host`` and ``port`` are what tvm.rpc.connect takes, without a tracker."""

    def __init__(self, proxy: subprocess.Popen[bytes], host: str, ports: dict[str, int], key: str, browser: str | None) -> None:
        self.host, self.port, self.web_port, self.key = host, ports["port"], ports["web_port"], key
        self._proxy, self._lock = proxy, threading.Lock()
        assert proxy.stdout is not None
        self._lines = Lines(proxy.stdout)
        self._browser = Browser(browser, self.address()) if browser else None
        self._seen = time.monotonic()
        self._end = threading.Event()
        self._tender: threading.Thread | None = None
        self.failure: Exception | None = None

    @property
    def opened(self) -> bool:
        """Whether a browser of our own has the page."""
        return self._browser is not None

    def address(self, host: str = "") -> str:
        """Where the page is."""
        return f"http://{in_url(host or self.host)}:{self.web_port}/?key={self.key}"

    def pages(self) -> int:
        """How many pages are connected."""
        with self._lock:
            assert self._proxy.stdin is not None
            try:
                self._proxy.stdin.write(b"\n")
                self._proxy.stdin.flush()
            except (BrokenPipeError, ValueError):
                raise TargetError("the proxy is gone", where=WHERE) from None
            line = self._lines.next(START_S)
        if not line:
            raise TargetError("the proxy does not answer", where=WHERE)
        return int(line)

    def wait(self, limit_s: float = ARRIVE_S) -> None:
        """Until a page is there.  Raises TargetError when none came in that time, or the browser does not start."""
        end = time.monotonic() + limit_s
        if self._browser is not None and self._tender is None:
            self._browser.bring()
            self._tender = threading.Thread(target=self._tend, daemon=True)
            self._tender.start()
        while self.pages() == 0:
            if self.failure is not None:
                raise self.failure
            if time.monotonic() > end:
                raise TargetError("no page came", where=self.address(), todo="open the page, or name a browser by the variable CHROMIUM")
            time.sleep(0.1)

    def join(self) -> None:
        """For as long as the proxy runs.  Raises TargetError when it ends, or the browser's page does not come back."""
        while self._proxy.poll() is None:
            if self.failure is not None:
                raise self.failure
            time.sleep(TURN_S)
        raise TargetError(f"the proxy ended with status {self._proxy.returncode}", where=WHERE)

    def _tend(self) -> None:
        """Opens the browser again when it, or its page, went."""
        assert self._browser is not None
        while not self._end.wait(TURN_S):
            try:
                if self.pages():
                    self._seen = time.monotonic()
                    self._browser.came()
                elif time.monotonic() - self._seen > GONE_S:
                    self._browser.bring()
            except Exception as error:  # told to who waits
                self.failure = error
                return

    def close(self) -> None:
        self._end.set()
        if self._tender is not None:
            self._tender.join()
        if self._browser is not None:
            self._browser.close()
        self._proxy.kill()
        self._proxy.wait()
        for pipe in (self._proxy.stdin, self._proxy.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    web_port: int = 0,
    tracker: str = "",
    key: str = "wasm",
    browser: str = "auto",
    wait: bool = True,
) -> Served:
    """Start TVM's proxy with the page that serves ``key``.

    port, web_port   of clients and of the page; 0 takes free ones
    tracker          "host:port" of a tracker, which then gives the page to clients
    browser          "auto": a Chromium without a window has the page, where there is one and the proxy is on loopback; "none": you open it
    wait             until that browser's page is there

    Raises InputError for wrong arguments; TargetError where the extra oarlock[rpc] is not installed, the proxy cannot listen, or the page
    does not come.
    """
    executable = chosen(browser, host, WHERE)
    if not re.fullmatch(r"[\w.-]+", key, re.ASCII):
        raise InputError(f"a key is of letters, digits, '.', '-' and '_', not {key!r}", where=WHERE)
    page, files = page_files()
    where = _tracker(tracker)
    arguments = {
        "host": host,
        "port": port,
        "web_port": web_port,
        "tracker": where,
        "page": page,
        "files": files,
        "headers": dict(ISOLATED),
    }
    command = [sys.executable, "-m", "oarlock.compat_rpc", json.dumps(arguments)]
    proxy = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, start_new_session=True
    )
    try:
        assert proxy.stdout is not None
        said = _first(proxy)
        served = Served(proxy, host, said, key, executable)
    except BaseException:
        proxy.kill()
        proxy.wait()
        raise
    try:
        if wait and executable:
            served.wait()
    except BaseException:
        served.close()
        raise
    return served


def _first(proxy: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert proxy.stdout is not None
    line = proxy.stdout.readline()
    if not line:
        raise TargetError("the proxy did not start", where=WHERE, todo="pip install 'oarlock[rpc]'")
    said = json.loads(line)
    if "error" in said:
        raise TargetError(said["error"], where=WHERE, todo=said["todo"])
    return said


def _tracker(text: str) -> Sequence[Any] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"a tracker is host:port, not {text!r}", where=WHERE)
    address = host.strip("[]"), int(port)
    try:
        socket.create_connection(address, TRACKER_S).close()
    except OSError as error:
        todo = "start one: python -m tvm.exec.rpc_tracker"
        raise TargetError(f"there is no tracker: {error.strerror or error}", where=text, todo=todo) from error
    return address
