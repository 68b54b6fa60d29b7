"""Where a Chromium is, and how it is opened with a profile of its own.

``python chromium.py`` prints the path, or ends with status 1: the Makefile and web/browser.mjs ask so, and need nothing but Python for it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")


def find() -> str | None:
    """The path of a Chromium: $CHROMIUM, then of the system, then of Playwright."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        if name and (found := shutil.which(name)):
            return found
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    for pattern in ("chromium-*/chrome-linux*/chrome", "chromium_headless_shell-*/chrome-*/*headless*shell"):
        for path in sorted(folder.glob(pattern), reverse=True):
            if os.access(path, os.X_OK):
                return str(path)
    return None


def command(executable: str, flags: Sequence[str], profile: str, address: str) -> list[str]:
    """What opens an address in a browser whose profile is the folder ``profile``."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # for whom Chromium's sandbox does not work
    return [executable, *flags, f"--user-data-dir={profile}", *(["--no-sandbox"] if root else []), address]


if __name__ == "__main__":
    if (path := find()) is None:
        sys.exit(1)
    print(path)
