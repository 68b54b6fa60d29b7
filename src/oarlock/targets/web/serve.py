"""A server for a folder on this machine, with the headers that a browser wants before it gives a page threads."""

from __future__ import annotations

import re
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ...errors import InputError

# Python asks the machine's own tables, which often know no WebAssembly.
KINDS = {".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".wasm": "application/wasm"}
KINDS |= {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".bin": "application/octet-stream"}
# What makes a page cross-origin isolated: it may share memory between threads, and its clock ticks every 5 µs.
ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_HASHED = re.compile(r"/[0-9a-f]{20}\.\w+$")  # its content never changes


class Handler(SimpleHTTPRequestHandler):
    """The files of a folder; of folders only those with an index.html."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | KINDS
    protocol_version = "HTTP/1.1"
    server_version = "oarlock"
    secret = False  # of an answer that nobody may keep

    status = HTTPStatus.OK

    def send_response(self, code: int, message: str | None = None) -> None:
        self.status = HTTPStatus(code)
        super().send_response(code, message)

    def end_headers(self) -> None:
        for name, value in ISOLATED.items():
            self.send_header(name, value)
        # of a request that cannot be parsed there is no path
        kept = self.status < HTTPStatus.BAD_REQUEST and bool(_HASHED.search(getattr(self, "path", "").partition("?")[0]))
        self.send_header("Cache-Control", "no-store" if self.secret else "max-age=31536000, immutable" if kept else "no-cache")
        super().end_headers()

    def list_directory(self, path: object) -> None:
        self.send_error(HTTPStatus.NOT_FOUND, "there is no index.html")

    def log_message(self, format: str, *args: object) -> None:
        pass


def server_of(folder: str | Path, *, host: str = "127.0.0.1", port: int = 8000, handler: type[Handler] = Handler) -> ThreadingHTTPServer:
    """A server of a folder, bound but not yet serving; port 0 takes a free one.  Raises InputError where it cannot be."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder", where=str(folder), todo="build it with `oarlock web build`")
    try:
        return ThreadingHTTPServer((host, port), partial(handler, directory=str(folder)))
    except OSError as error:
        what = f"cannot serve at {host}:{port}: {error.strerror}"
        raise InputError(what, todo="name another port (--port 0 takes a free one)") from error


def address_of(server: ThreadingHTTPServer) -> str:
    """Where a browser finds it.  Browsers take localhost, and no other plain http, for secure: that is what the headers need."""
    host, port = str(server.server_address[0]), server.server_address[1]
    return f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0') else host}:{port}/"
