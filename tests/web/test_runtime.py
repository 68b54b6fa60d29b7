"""The TypeScript runtime: its own tests in Node, and that the package has what its sources make."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (WEB / "node_modules/esbuild").exists(),
    reason="`make test` could not install what bundles the runtime, or there is no Node",
)


@pytest.mark.parametrize("command", ["test", "check"])
def test_in_node(command: str) -> None:
    done = subprocess.run(["npm", "run", "--silent", command], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
