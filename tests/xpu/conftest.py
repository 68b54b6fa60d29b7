"""Fixtures of the XPU's tests; all of them are skipped without a C++ compiler."""

from __future__ import annotations

import pytest

from oarlock.errors import TargetError


@pytest.fixture(scope="session", autouse=True)
def compiler() -> str:
    """The host's C++ compiler."""
    native = pytest.importorskip("oarlock_xpu.native", reason="the package oarlock_xpu is not installed")
    try:
        return native.compiler()
    except TargetError as error:
        pytest.skip(f"the XPU's native part cannot be built: {error.what}")
