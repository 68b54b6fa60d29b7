"""Jobs that run in a browser's tab: a server on loopback hands out the page, the job and its files, and hears how it went.

A job is JSON that page/tab.js reads::

    inputs      {name: {dtype, shape, file}}
    expected    optional: [{dtype, file}] what the outputs ought to be, in their order
    engines     [{name, engine, where?, …}] by the names of page/engines.js; where: "worker" (the default) or "page"
    rounds, block_ms    how often each engine takes its turn, and about how long one turn is
    warm_ms     optional: how long each engine runs before that (2000)
    steps       optional: over how many runs each step is timed; three at most where a call takes half a second

Files are addressed as ``PREFIX/PATH`` with the prefixes of ``folders``; all addresses have a token that nobody else knows.
"""

from __future__ import annotations

import json
import queue
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ....errors import InputError, OarlockError
from .. import chromium
from ..serve import ISOLATED, KINDS

PAGE = Path(__file__).with_name("page")
_FLAGS = ["--headless=new", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
_FLAGS += ["--disable-sync", "--no-default-browser-check", "--window-size=1200,900"]
# without a GPU: WebGL and WebGPU computed by the CPU
_SOFTWARE = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--enable-unsafe-webgpu"]
_SOFTWARE += ["--use-webgpu-adapter=swiftshader"]
SILENCE_S = 600  # how long a page may say nothing


class Browser:
    """Headless Chromium: as chromium.py finds it; ``software``: its WebGL and WebGPU run on the CPU."""

    def __init__(self, *, software: bool = True) -> None:
        found = chromium.find()
        if found is None:
            raise InputError("there is no Chromium", todo="install it, name it in CHROMIUM, or open the address in a browser of your own")
        self.path = found
        self._flags = [*_FLAGS, *(_SOFTWARE if software else ["--enable-unsafe-webgpu"])]

    def open(self, address: str, profile: str) -> subprocess.Popen[bytes]:
        command = chromium.command(self.path, self._flags, profile, address)
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run_job(
    job: Mapping[str, Any],
    folders: Mapping[str, str | Path],
    *,
    browser: Browser | None = None,
    announce: Callable[[str], None] | None = None,
    progress: Callable[[str], None] | None = None,
    page: str = "index.html",
) -> Any:
    """Run a job in a tab and give what it sent home.

    ``browser``: what opens it; with none ``announce`` is told the address, for the user to open.
    Raises OarlockError where the page fails, the browser ends, or nothing is heard for ten minutes.
    """
    heard: queue.Queue[dict[str, Any]] = queue.Queue()
    server = _serve(job, {name: Path(folder).resolve() for name, folder in folders.items()}, heard)
    try:
        with tempfile.TemporaryDirectory(prefix="oarlock-tab-", ignore_cleanup_errors=True) as profile:
            address = f"http://127.0.0.1:{server.server_address[1]}/{server.token}/{page}"
            process = browser.open(address, profile) if browser else None
            if announce:
                announce(address)
            try:
                return _hear(heard, process, progress or (lambda text: None))
            finally:
                if process:
                    process.kill()
                    process.wait()
    finally:
        server.shutdown()
        server.server_close()


def _hear(heard: queue.Queue[dict[str, Any]], process: subprocess.Popen[bytes] | None, progress: Callable[[str], None]) -> Any:
    silent, begun = 0, process is not None  # a page that the user opens may take its time to come
    while True:
        try:
            message = heard.get(timeout=1)
        except queue.Empty:
            silent += 1
            if process and process.poll() is not None and heard.empty():
                raise OarlockError(f"the browser ended with status {process.returncode}", todo="try again, with fewer engines") from None
            if begun and silent > SILENCE_S:
                raise OarlockError(f"the page has said nothing for {SILENCE_S} s", todo="try again, with fewer engines") from None
            continue
        silent, begun = 0, True
        if "progress" in message:
            progress(str(message["progress"]))
        elif "failed" in message:
            raise OarlockError(f"the page failed: {message['failed']}")
        else:
            return message["done"]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    token: str


def _serve(job: Mapping[str, Any], folders: Mapping[str, Path], heard: queue.Queue[dict[str, Any]]) -> _Server:
    token = secrets.token_urlsafe(16)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self._path()
            if path is None:
                return self._answer(404, b"")
            if path == "job.json":
                return self._answer(200, json.dumps(job).encode(), ".json")
            prefix, _, rest = path.partition("/")
            root = folders[prefix] if prefix in folders else PAGE
            file = (root / rest if prefix in folders else root / path).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                return self._answer(404, b"")
            self._answer(200, file.read_bytes(), file.suffix)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self._path() != "say":
                return self._answer(404, b"")
            try:
                message = json.loads(body)
            except ValueError:
                return self._answer(400, b"")
            heard.put(message)
            self._answer(200, b"{}", ".json")

        def _path(self) -> str | None:
            """What follows the token; None where there is none."""
            given, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
            return rest if secrets.compare_digest(given.encode(), token.encode()) else None

        def _answer(self, status: int, content: bytes, suffix: str = "") -> None:
            self.send_response(status)
            self.send_header("content-type", KINDS.get(suffix, "application/octet-stream"))
            self.send_header("content-length", str(len(content)))
            self.send_header("cache-control", "no-store")
            for name, value in ISOLATED.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *given: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    server.token = token
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    return server
