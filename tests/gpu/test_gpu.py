"""Models on a real GPU, with the numbers of the CPU target.  Skipped, with the reason, where there is none (make test-gpu)."""

from __future__ import annotations

from functools import cache

import models
import numpy as np
import pytest

import oarlock
from oarlock.runtime import cuda


@cache
def reason() -> str:
    return cuda.missing()


@pytest.fixture(autouse=True)
def gpu() -> None:
    if reason():
        pytest.skip(f"no GPU to run on: {reason()}")


pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("options", [{}, {"format": "cubin"}], ids=["ptx", "cubin"])
@pytest.mark.parametrize("name", models.CASES)
def test_as_on_the_cpu(name: str, options: dict) -> None:
    case = models.CASES[name]
    got = case.run(case.artifact("cuda", arch=cuda.architecture(), **options))
    want = case.run(case.artifact("cpu", threads=1))
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert models.difference(a, b) < 1e-5


def test_a_session_runs_again_with_other_sizes() -> None:
    case = models.CASES["attention of any length"]
    artifacts = [case.artifact("cuda", arch=cuda.architecture()), case.artifact("cpu", threads=1)]
    for length in (37, 5, 64, 1):
        shorter = models.Case(case.make, (models.rand(2, length, 64),), case.dims)
        got, want = (shorter.run(artifact) for artifact in artifacts)
        assert models.difference(got[0], want[0]) < 1e-5
    assert np.isfinite(got[0]).all()


def test_float16() -> None:
    """Beside float64: the CPU target's own sums of float16 are less exact than a tensor core's."""
    y, weights, z = (a.astype("float64") for a in models.HALF.run(models.HALF.artifact("cuda", arch=cuda.architecture())))
    right = models.half_in_float64()
    assert models.difference(y, right[0]) < 4e-3 and models.difference(z, right[1]) < 4e-3
    exponents = np.exp(z - z.max(-1, keepdims=True))
    assert models.difference(weights, exponents / exponents.sum(-1, keepdims=True)) < 4e-3


def test_other_inputs_after_graphs_were_captured() -> None:
    case = models.CASES["attention"]
    with oarlock.Session(case.artifact("cuda", arch=cuda.architecture())) as session:
        for factor in (1.0, 0.5, -2.0, 0.5):
            (x,) = case.inputs
            got = session.run({"x0": x * np.float32(factor)})["y0"]
            want = models.Case(case.make, (x * np.float32(factor),)).run(case.artifact("cpu", threads=1))[0]
            assert models.difference(got, want) < 1e-5
