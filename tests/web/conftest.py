"""The small network that the tests of builds and of protection run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from having import HERE

sys.path.insert(0, str(HERE.parents[1] / "tools"))  # node_runs.py


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    subprocess.run([sys.executable, str(HERE / "save_model.py"), str(folder)], check=True, capture_output=True)
    return folder
