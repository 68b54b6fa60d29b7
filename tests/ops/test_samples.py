"""Every sample of every operator: exported by Paddle, imported by Oarlock, equal in shape, dtype and numbers.

With dims that are known and with dims that are not: the first sample of an operator both ways, the others one way after the other;
their second ways are marked slow, and are part of `make operators`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark import ParameterSet

import oarlock
from oarlock.ops.samples import Sample, load_all

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")


def cases() -> Iterator[ParameterSet]:
    for sample in load_all():
        number = int(sample.id.rsplit("-", 1)[1])
        ways = (False, True) if sample.dynamic is True and sample.inputs else (False,)
        for dynamic in ways:
            second = len(ways) == 2 and number > 0 and dynamic != bool(number % 2)
            name = f"{sample.id}-{'dynamic' if dynamic else 'static'}"
            yield pytest.param(sample, dynamic, id=name, marks=pytest.mark.slow if second else ())


@pytest.mark.parametrize(("case", "dynamic"), cases())
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
            if got.dtype.name == "bfloat16":  # numpy has no type in common with its own scalars
                got, want = got.astype("float32"), want.astype("float32")
            np.testing.assert_allclose(got, want, rtol=case.rtol, atol=case.atol * max(1.0, _scale(want)))


def _scale(array: np.ndarray) -> float:
    """The size of the result: rounding errors of sums grow with it."""
    finite = np.abs(array[np.isfinite(array)]) if array.dtype.kind in "fc" else np.zeros(0)
    return float(finite.max()) if finite.size else 1.0
