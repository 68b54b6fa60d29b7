"""Complex inputs and outputs in the web runtime: float arrays of pairs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from having import HERE, linker, node

from oarlock.targets.web.site import build_site

pytest.importorskip("paddle", reason="paddlepaddle saves the model")


@node
@linker
def test_a_fourier_transform_in_node(tmp_path: Path) -> None:
    from oarlock.checking.oracle import export_call

    x = (np.arange(24).reshape(2, 12) % 7 - 2.5j * (np.arange(24).reshape(2, 12) % 5)).astype("complex64")
    (want,) = export_call(lambda paddle, x: paddle.fft.fft(x) * 0.5, {"x": x}, {}, tmp_path / "model", dynamic=False)
    build_site(tmp_path / "model.json", tmp_path / "site", variants=["simd128"])
    x.tofile(tmp_path / "x.bin")
    command = ["node", str(HERE / "complex.mjs"), str(tmp_path / "site"), str(tmp_path / "x.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["input"] == {"dtype": "float32", "shape": [2, 12, 2]}
    assert (found["dtype"], found["shape"]) == ("float32", [2, 12, 2])
    got = np.array(found["data"], "float32").view("complex64").reshape(2, 12)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())
