"""A spread of the acceptance cases: what runs matches Paddle, nothing crashes.  All of them: make cases."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[1] / "tools/run_cases.py"
SHARED = Path(__file__).parents[2] / "shared/cases"
EVERY = 40


def _tool() -> ModuleType:
    if "run_cases" not in sys.modules:
        spec = importlib.util.spec_from_file_location("run_cases", TOOL)
        assert spec is not None and spec.loader is not None
        sys.modules["run_cases"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["run_cases"])
    return sys.modules["run_cases"]


def _spread() -> list:
    if not SHARED.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the folder ../shared of acceptance cases is not there"))]
    found = list(_tool().cases_module().find([str(SHARED)]))
    return [pytest.param((c.suite, c.id), id=f"{c.suite}-{c.id}") for c in found[::EVERY]]


@pytest.mark.parametrize("key", _spread())
def test_case(key: tuple[str, str]) -> None:
    row = _tool().attempt(key)
    assert _tool().kind(row) in ("matched", "refused", "explained"), row["why"]
