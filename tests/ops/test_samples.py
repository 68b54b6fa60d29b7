"""Every sample of every operator: exported by Paddle, imported by Oarlock, equal in shape, dtype and numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import oarlock
from oarlock.ops.samples import Sample, load_all

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")

CASES = [
    pytest.param(s, dynamic, id=f"{s.id}-{'dynamic' if dynamic else 'static'}")
    for s in load_all()
    for dynamic in (False, True)
    if not dynamic or (s.dynamic is True and s.inputs)
]


@pytest.mark.parametrize(("case", "dynamic"), CASES)
def test_sample(case: Sample, dynamic: bool, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    from oarlock.checking.oracle import export_call

    if case.xfail:
        request.applymarker(pytest.mark.xfail(reason=case.xfail, strict=True))
    stem, told = tmp_path / "model", case.sequences
    expected = export_call(case.call, case.inputs, case.constants, stem, dynamic=dynamic, static=case.static, sequences=told)
    session = oarlock.Session(oarlock.compile(oarlock.load_model(tmp_path / "model.json"), target="cpu"))
    outputs = list(session.run(case.inputs).values())
    assert len(outputs) == len(expected)
    for got, want in zip(outputs, expected, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        if not case.seed_free:
            np.testing.assert_allclose(got, want, rtol=case.rtol, atol=case.atol * max(1.0, _scale(want)))


def _scale(array: np.ndarray) -> float:
    """The size of the result: rounding errors of sums grow with it."""
    finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind in "fc" else np.zeros(0)
    return float(finite.max()) if finite.size else 1.0
