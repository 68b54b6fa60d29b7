"""The server of a tuning: one port for the page, its files and a websocket; what is asked of the page is answered or raises.

Everything lies under a random token: who does not know it gets 403.  The page that came first runs trials; others show the chart, and
take over when it goes.  A page that goes in the middle of a question is waited for, and the question is asked once more.
"""

from __future__ import annotations

import hashlib
import hmac
import http
import itertools
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....errors import TargetError
from ....kernels.trials import TrialError
from ..hosts import in_url
from ..serve import ISOLATED, KINDS

PAGE = Path(__file__).parents[1] / "tuner"
LOAD_S = 30.0  # LOAD_MS of web/src/tuner.ts
GRACE_S = 20.0  # for a page to end a worker and say so
MOST_KERNELS_S = 60.0  # for the first calls of all kernels, each of which has the limit for itself
HELLO_S = 20.0
_HEADERS = ISOLATED | {"Referrer-Policy": "no-referrer", "Connection": "close"}


class PageGone(Exception):
    """The page was closed, or does not answer."""


@dataclass
class Page:
    """A page that connected, and what it told of itself."""

    socket: Any
    hello: Mapping[str, Any]
    local: bool
    answers: dict[int, tuple[Any, list[bytes]]] = field(default_factory=dict)
    news: threading.Condition = field(default_factory=threading.Condition)
    gone: bool = False

    @property
    def kind(self) -> tuple[str, int, str, bool]:
        """What must be equal of pages that measure for the same records."""
        return str(self.hello["browser"]), int(self.hello["major"]), str(self.hello["device"]), self.local

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self.socket.send(json.dumps(message))
        except Exception as error:  # of the library or of the system: the page is not there
            raise PageGone(str(error)) from error

    def wait(self, number: int, limit_s: float) -> tuple[Any, list[bytes]]:
        with self.news:
            if not self.news.wait_for(lambda: number in self.answers or self.gone, limit_s):
                self.close()
                raise PageGone("it did not answer")
            if number not in self.answers:
                raise PageGone("it was closed")
            return self.answers.pop(number)

    def close(self) -> None:
        self.gone = True
        threading.Thread(target=self.socket.close, daemon=True).start()  # a page that hangs does not say goodbye


class Server:
    """Listens until it is closed."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        try:
            from websockets.sync.server import serve
        except ImportError as error:
            raise TargetError("there is no websockets", where="oarlock web tune", todo="pip install 'oarlock[web]'") from error
        logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # pages come and go
        self.token = secrets.token_urlsafe(16)
        self.wanted: tuple[str, int, str, bool] | None = None  # the kind of page that the records are of
        self.bring: Callable[[], None] = lambda: None  # called while there is no page
        self.came: Callable[[], None] = lambda: None  # called when there is one
        self.waited_s = 0.0
        self._files: dict[str, tuple[int, bytes]] = {}
        self._pages: list[Page] = []
        self.state: Mapping[str, Any] = {}
        self._numbers = itertools.count(1)
        self._lock, self._changed = threading.Lock(), threading.Condition()
        how: dict[str, Any] = {"compression": None, "max_size": None, "server_header": None, "close_timeout": 1}
        if ":" in host:
            how["family"] = socket.AF_INET6
        try:
            self._server = serve(self._talk, host, port, process_request=self._answer, **how)
        except OSError as error:
            raise TargetError(
                f"the server cannot listen: {error.strerror}", where=f"{host} port {port}", todo="name another --port"
            ) from error
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def address(self, host: str) -> str:
        return f"http://{in_url(host)}:{self.port}/{self.token}/"

    def close(self) -> None:
        for page in list(self._pages):
            page.close()
        self._server.shutdown()

    # ---- files -----------------------------------------------------------------------------------------------------

    def put(self, content: bytes) -> str:
        """Serve a file; its name.  Each put needs a drop."""
        name = hashlib.sha256(content).hexdigest()
        with self._lock:
            count, kept = self._files.get(name, (0, content))
            self._files[name] = count + 1, kept
        return name

    def drop(self, name: str) -> None:
        with self._lock:
            count, kept = self._files.get(name, (1, b""))
            if count > 1:
                self._files[name] = count - 1, kept
            else:
                self._files.pop(name, None)

    def _answer(self, connection: Any, request: Any) -> Any:
        """What a request gets; None lets a websocket open."""
        _, token, *rest = (request.path.partition("?")[0] + "///").split("/")[:4]
        path = "/".join(rest).strip("/")
        if not hmac.compare_digest(token.encode(), self.token.encode()):
            return _response(http.HTTPStatus.FORBIDDEN, b"The address needs the token that oarlock web tune printed.\n", "text/plain")
        if path == "socket":
            return None
        if path.startswith("file/"):
            with self._lock:
                _, content = self._files.get(path.removeprefix("file/"), (0, None))
            if content is not None:
                kept = {"Cache-Control": "private, max-age=86400, immutable"}
                return _response(http.HTTPStatus.OK, content, "application/octet-stream", kept)
        file = PAGE / (path or "tune.html")
        if "/" not in path and file.is_file():
            return _response(http.HTTPStatus.OK, file.read_bytes(), KINDS.get(file.suffix, "application/octet-stream"))
        return _response(http.HTTPStatus.NOT_FOUND, b"There is no such file.\n", "text/plain")

    # ---- pages -----------------------------------------------------------------------------------------------------

    def _talk(self, socket: Any) -> None:
        """One page, until it goes."""
        try:
            hello = json.loads(socket.recv(timeout=HELLO_S))
            page = Page(socket, hello, socket.remote_address[0] in ("127.0.0.1", "::1", "::ffff:127.0.0.1"))
            if self.wanted is not None and page.kind != self.wanted:
                page.send({"refused": f"This tuning is of {_words(self.wanted)}; this page is {_words(page.kind)} and only looks on."})
        except Exception:  # what is no page of ours
            return
        with self._changed:
            self._pages.append(page)
            self._changed.notify_all()
        try:
            if self.state:
                page.send({"show": self.state})
            self._listen(page)
        except Exception:  # the library's, when the connection ends
            pass
        finally:
            with self._changed:
                self._pages.remove(page)
                self._changed.notify_all()
            with page.news:
                page.gone = True
                page.news.notify_all()

    def _listen(self, page: Page) -> None:
        while True:
            message = json.loads(page.socket.recv())
            blobs = [page.socket.recv() for _ in range(int(message.get("bytes", 0)))]
            with page.news:
                page.answers[int(message["id"])] = message, blobs
                page.news.notify_all()

    def page(self) -> Page:
        """The page that runs trials; waits until there is one."""
        start = time.monotonic()
        while True:
            with self._changed:
                for page in self._pages:
                    if not page.gone and (self.wanted is None or page.kind == self.wanted):
                        self.waited_s += time.monotonic() - start
                        self.came()
                        return page
                self._changed.wait(0.5)
            self.bring()

    def ask(self, worker: str, question: Mapping[str, Any], limit_s: float) -> tuple[Any, list[bytes]]:
        """What the page answers, and arrays that came with it.

        TrialError for what failed or took longer than ``limit_s``; and where the page went twice.
        """
        for _ in range(2):
            page, number = self.page(), next(self._numbers)
            asked = time.monotonic()
            try:
                page.send({"id": number, "worker": worker, "limit": 1000 * limit_s, "ask": question})
                answer, blobs = page.wait(number, limit_s + LOAD_S + GRACE_S + MOST_KERNELS_S)
            except PageGone as gone:
                self.waited_s += time.monotonic() - asked  # since when it is gone, nobody knows; what it did is lost
                reason = str(gone)
                continue
            if "failed" in answer:
                error = TrialError(str(answer["failed"]))
                error.kernel = answer.get("kernel")
                raise error
            return answer["result"], blobs
        raise TrialError(f"the page went twice: {reason}")

    def end_worker(self, worker: str) -> None:
        self._tell_all({"close": worker})

    def show(self, state: Mapping[str, Any]) -> None:
        """The chart of every page."""
        if not state:
            return
        self.state = state
        self._tell_all({"show": state})

    def _tell_all(self, message: Mapping[str, Any]) -> None:
        for page in list(self._pages):
            try:
                page.send(message)
            except PageGone:
                page.close()


def _words(kind: tuple[str, int, str, bool]) -> str:
    browser, major, device, local = kind
    return f"{browser} {major} on {'this machine' if local else device}"


def _response(status: http.HTTPStatus, body: bytes, kind: str, more: Mapping[str, str] | None = None) -> Any:
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store"} | _HEADERS | dict(more or {})
    return Response(status.value, status.phrase, Headers(headers), body)
