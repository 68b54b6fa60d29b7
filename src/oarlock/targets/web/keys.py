"""Keys of protected models: the file that holds one, tokens that say who may have it, and the endpoint that gives it out.

The file is JSON: ``key``, which opens the model; ``secret``, which signs tokens; ``id``, the model's name for the key.
A token is ``<id>.<until>.<signature>``: until when (seconds since 1970), signed with HMAC-SHA256.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import HTTPServer
from pathlib import Path

from ...errors import InputError
from .serve import Handler

FORMAT = "oarlock web key"
LONGEST = 3600  # seconds that a token may live
ENDPOINT = "/oarlock/keys/"  # POST, with a token, gives a key
TOKENS = "/oarlock/tokens/"  # POST gives a token to the server's own pages
_PORTS = {"http": ":80", "https": ":443"}
_TOKEN = re.compile(r"([0-9a-f]{16})\.([0-9]{1,12})\.([0-9a-f]{64})")


@dataclass(frozen=True)
class Key:
    """32 bytes that open a model, and 32 that sign tokens."""

    key: bytes
    secret: bytes

    @property
    def id(self) -> str:
        return hashlib.sha256(b"oarlock web key\0" + self.key).hexdigest()[:16]

    def token(self, seconds: int = 60, now: float | None = None) -> str:
        """A token that is good for some seconds.  Raises InputError for more than LONGEST of them."""
        if not 0 < seconds <= LONGEST:
            raise InputError(f"a token lives 1 to {LONGEST} seconds, not {seconds}", where="key")
        claim = f"{self.id}.{int((time.time() if now is None else now) + seconds)}"
        return f"{claim}.{self._signature(claim)}"

    def fault(self, token: str, now: float | None = None) -> str:
        """Why a token is refused; nothing where it is good."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return "there is no token, or it is none of ours"
        claim, until = f"{found[1]}.{found[2]}", int(found[2])
        if found[1] != self.id or not hmac.compare_digest(self._signature(claim), found[3]):
            return "the token was not signed for this key"
        left = until - (time.time() if now is None else now)
        return "the token is expired" if left <= 0 else "the token lives too long" if left > LONGEST else ""

    def _signature(self, claim: str) -> str:
        return hmac.new(self.secret, claim.encode(), hashlib.sha256).hexdigest()


def read_key(path: str | Path) -> Key:
    """The key in a file.  Raises InputError where it is no key, or where others may read it."""
    path = Path(path)
    try:
        mode = path.stat().st_mode
        found = json.loads(path.read_text(encoding="utf-8"))
        key = Key(bytes.fromhex(found["key"]), bytes.fromhex(found["secret"]))
        known = found["format"] == FORMAT and len(key.key) == len(key.secret) == 32
    except OSError as error:
        raise InputError(f"the key cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise InputError("the file is no key", where=str(path), todo="name a new file: `oarlock web build --protect` writes a key there")
    if os.name == "posix" and mode & 0o077:
        raise InputError("others may read the key", where=str(path), todo=f"chmod 600 {path}")
    return key


def new_key(path: str | Path) -> Key:
    """A new key, in a file that its owner alone may read.  Raises InputError where there is a file, or none can be written."""
    key = Key(secrets.token_bytes(32), secrets.token_bytes(32))
    text = json.dumps({"format": FORMAT, "version": 1, "id": key.id, "key": key.key.hex(), "secret": key.secret.hex()}, indent=1)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise InputError(f"the key cannot be written: {error.strerror}", where=str(path)) from error
    return key


def origin_of(address: str) -> str:
    """The origin of an address, as browsers send it: in small letters, without the port that its scheme has anyway."""
    origin = address.rstrip("/").lower()
    return origin.removesuffix(_PORTS.get(origin.partition("://")[0], ""))


def handler_of(keys: Sequence[Key], origins: Collection[str] = ()) -> type[Handler]:
    """The server's handler with the endpoints of keys: to its own pages, and to those of ``origins`` (https://shop.example)."""
    by_id = {key.id: key for key in keys}
    known = {origin_of(origin) for origin in origins}

    class WithKeys(Handler):
        server: HTTPServer

        def do_OPTIONS(self) -> None:
            self._answer(HTTPStatus.NO_CONTENT if self._known_origin() else HTTPStatus.FORBIDDEN)

        def do_POST(self) -> None:
            if (self.headers.get("Content-Length") or "0") != "0" or self.headers.get("Transfer-Encoding"):
                self.close_connection = True  # a body is never read
            for prefix, give in ((ENDPOINT, self._give_key), (TOKENS, self._give_token)):
                if self.path.startswith(prefix):
                    key = by_id.get(self.path[len(prefix) :])
                    if key is None:
                        return self._refuse(HTTPStatus.NOT_FOUND, "the server has no such key")
                    return give(key)
            self._refuse(HTTPStatus.NOT_FOUND, "there is nothing to post to")

        def _give_key(self, key: Key) -> None:
            # a program sends no origin; it has a token all the same
            if self.headers.get("Origin") is not None and not self._known_origin():
                return self._refuse(HTTPStatus.FORBIDDEN, "pages of this origin get no keys")
            kind, _, token = (self.headers.get("Authorization") or "").partition(" ")
            if fault := key.fault(token if kind == "Bearer" else ""):
                return self._refuse(HTTPStatus.UNAUTHORIZED, fault)
            self._answer(HTTPStatus.OK, key.key)

        def _give_token(self, key: Key) -> None:
            """In place of a login: whoever sees the server's pages may have the model."""
            if self.headers.get("Origin") not in self._own():
                return self._refuse(HTTPStatus.FORBIDDEN, "tokens are for this server's own pages")
            self._answer(HTTPStatus.OK, key.token().encode())

        def _own(self) -> set[str]:
            # names that a resolver of somebody else's could turn to this machine are not its own
            host = str(self.server.server_address[0])
            return {origin_of(f"http://{name}:{self.server.server_port}") for name in ("localhost", "127.0.0.1", host)}

        def _known_origin(self) -> bool:
            return self.headers.get("Origin") in self._own() | known

        def _refuse(self, status: HTTPStatus, why: str) -> None:
            self._answer(status, why.encode())

        def _answer(self, status: HTTPStatus, content: bytes = b"") -> None:
            self.send_response(status)
            if self._known_origin():
                self.send_header("Access-Control-Allow-Origin", str(self.headers.get("Origin")))
                self.send_header("Access-Control-Allow-Methods", "POST")
                self.send_header("Access-Control-Allow-Headers", "Authorization")
                self.send_header("Vary", "Origin")
            self.send_header("Content-Type", "application/octet-stream" if status == HTTPStatus.OK else "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.secret = True
            self.end_headers()
            self.secret = False  # a connection may go on with a file
            self.wfile.write(content)

    return WithKeys
