"""Fixtures of the readers' tests: where the shared cases are, and whether Paddle is here to compare with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / "shared" / "cases"

sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="session")
def cases():
    """The module that reads the shared acceptance cases, with ``cases.here`` their folder."""
    if not (CASES / "cases.py").is_file():
        pytest.skip("the shared cases are not beside this checkout")
    spec = importlib.util.spec_from_file_location("cases", CASES / "cases.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cases"] = module
    spec.loader.exec_module(module)
    module.here = str(CASES)
    return module
