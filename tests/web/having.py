"""What the tests of the web need, as marks that skip with a reason where it is not there."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from oarlock.targets.web.chromium import find

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "web"
node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
linker = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="there is no linker for WebAssembly: oarlock[web]")
if found := find():
    os.environ["CHROMIUM"] = found  # for web/browser.mjs, too
driver = WEB / "node_modules/playwright-core"
chromium = pytest.mark.skipif(not driver.exists() or found is None, reason="there is no Chromium, or no Playwright (make test)")
