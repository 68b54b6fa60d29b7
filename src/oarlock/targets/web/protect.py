"""``oarlock web build --protect``: modules and weights in AES-256-GCM, for who has the key (docs/web-protect.md).

A file is 12 bytes of nonce, then the content with its tag.  What is authenticated with it (the additional data) is the model that
it belongs to and its place there, so that no file stands in for another one::

    oarlock web 1 \\n <SHA-256 of what the manifest says of the build: number, plans' hashes, inputs, outputs> \\n <role>

A role is ``module <variant>``, whose content is compressed (zlib), or ``weights <i> of <n>``.  ``web/src/protect.ts`` opens it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError, InternalError, TargetError
from . import module
from .keys import Key, new_key, read_key
from .plan import PLAN

VERSION = 1


def key_for(path: str | Path, folder: str | Path) -> Key:
    """The key in a file, or a new one where there is none.  Raises InputError within the folder that is served."""
    path = Path(path)
    if importlib.util.find_spec("cryptography") is None:
        raise TargetError("there is nothing to encrypt with", where="--protect", todo="pip install 'oarlock[protect]'")
    if path.resolve().is_relative_to(Path(folder).resolve()):
        raise InputError("the key would be served with the model", where=str(path), todo="name a file outside of the model's folder")
    return read_key(path) if path.exists() else new_key(path)


def stripped(library: bytes) -> tuple[bytes, str]:
    """A module whose kernels are nameless, and the SHA-256 of its plan."""
    plan = module.section(library, PLAN)
    if plan is None or not library.endswith(module.with_section(b"", PLAN, plan)):
        raise InternalError("the plan is not the last section of a module")
    code = library[: -len(module.with_section(b"", PLAN, plan))]
    content = json.loads(plan)
    needed = ("export", "sizes", "checks")  # a program's kernels cannot be called without the last two
    content["kernels"] = [{k: v for k, v in kernel.items() if k in needed} | {"name": kernel["export"]} for kernel in content["kernels"]]
    plan = json.dumps(content).encode()
    return module.with_section(code, PLAN, plan), hashlib.sha256(plan).hexdigest()


class Lock:
    """Encrypts the files of one build.  ``tensors``: the manifest's inputs and outputs.  ``plans``: SHA-256, by variant."""

    def __init__(self, key: Key, tensors: Mapping[str, Any], plans: Mapping[str, str]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(key.key)
        self.facts = {"version": VERSION, "key": key.id, "build": secrets.token_hex(16), "plans": dict(plans)}
        bound = {"build": self.facts["build"], "plans": self.facts["plans"], "inputs": tensors["inputs"], "outputs": tensors["outputs"]}
        # as JSON.stringify writes it
        text = json.dumps(bound, separators=(",", ":"), ensure_ascii=False)
        self._model = hashlib.sha256(text.encode()).hexdigest()
        self._sealed: dict[tuple[str, bytes], bytes] = {}

    def seal(self, content: bytes, role: str) -> bytes:
        """The file of a content; the same one for the same content in the same role, so that variants share weights."""
        place = (role, hashlib.sha256(content).digest())
        if place not in self._sealed:
            nonce = secrets.token_bytes(12)
            bound = f"oarlock web {VERSION}\n{self._model}\n{role}".encode()
            self._sealed[place] = nonce + self._cipher.encrypt(nonce, content, bound)
        return self._sealed[place]
