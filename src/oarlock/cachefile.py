"""Files that Oarlock keeps for a user between runs: where they are, and how they are written."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from pathlib import Path


def cache_path(variable: str, name: str) -> Path:
    """What the environment variable names, else the file ``name`` in the platform's folder for caches."""
    if named := os.environ.get(variable):
        return Path(named)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "oarlock" / name
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oarlock" / name


def replace_text(path: Path, text: str) -> None:
    """Write a file in one step, so that no reader sees half of it; its folder is made.  Raises OSError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
