"""profile(): the functions of a session by time, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
from test_contest import tiny_convolution

import oarlock
from oarlock import OarlockError
from oarlock.runtime.profile import profile


def test_profile_tells_each_kernel() -> None:
    artifact = oarlock.compile(tiny_convolution(), threads=1, options={"executor": "vm"})
    session = oarlock.Session(artifact)
    x = np.random.default_rng(0).standard_normal((1, 16, 24, 24)).astype("float32")
    before = session.run({"x": x})["y"]
    found = {kernel.name: kernel for kernel in profile(session, {"x": x}, runs=3)}
    (name,) = [name for name, facts in artifact.manifest["kernels"].items() if "conv2d" in facts.get("workload", "")]
    assert found[name].calls == 1 and 0 < found[name].seconds < 1
    assert [k.seconds for k in found.values()] == sorted((k.seconds for k in found.values()), reverse=True)
    assert np.array_equal(session.run({"x": x})["y"], before)
    calls = []
    session.instrument(lambda function, name, *rest: calls.append(name) or 0)
    session.run({"x": x})
    session.instrument(None)
    seen = len(calls)
    session.run({"x": x})
    assert seen and len(calls) == seen
    session.close()
    with pytest.raises(OarlockError, match="closed"):
        profile(session, {"x": x})
