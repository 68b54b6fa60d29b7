"""Operators that are calls of numpy's functions, and complex tensors in host calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")

RNG = np.random.default_rng(0)
MATRICES = {
    "float32": RNG.standard_normal((5, 5)).astype("float32"),
    "a batch of float64": RNG.standard_normal((2, 9, 9)),
    "complex64": (RNG.standard_normal((3, 4, 4)) + 1j * RNG.standard_normal((3, 4, 4))).astype("complex64"),
    "real eigenvalues": np.diag(np.arange(1.0, 5.0)),
    "none": np.zeros((0, 3, 3), "float32"),
}


def both(call: Any, x: np.ndarray, folder: Path, dynamic: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What Oarlock gives, and what Paddle gives."""
    from oarlock.checking.oracle import export_call

    expected = export_call(call, {"x": x}, {}, folder / "model", dynamic=dynamic)
    session = oarlock.Session(oarlock.compile(oarlock.load_model(folder / "model.json"), target="cpu"))
    return list(session.run({"x": x}).values()), expected


@pytest.mark.parametrize("name", list(MATRICES))
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_eigenvalues(name: str, dynamic: bool, tmp_path: Path) -> None:
    x = MATRICES[name]
    (got,), (want,) = both(lambda paddle, x: paddle.linalg.eigvals(x), x, tmp_path, dynamic)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    np.testing.assert_allclose(got, want, rtol=1e-5 if x.itemsize < 8 or x.dtype == "complex64" else 1e-12, atol=1e-5)


@pytest.mark.parametrize("name", list(MATRICES))
def test_eigenvectors(name: str, tmp_path: Path) -> None:
    """In Paddle's order; a vector is unique but for a factor."""
    x = MATRICES[name]
    (values, vectors), (want, its) = both(lambda paddle, x: paddle.linalg.eig(x), x, tmp_path, False)
    assert (vectors.shape, vectors.dtype) == (its.shape, its.dtype)
    np.testing.assert_allclose(values, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x @ vectors, vectors * values[..., None, :], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-2), np.ones(values.shape), rtol=1e-5)


def test_a_function_of_complex_tensors(tmp_path: Path) -> None:
    """What it is given and what it returns are numpy's complex arrays."""
    seen = []

    def eigvals(x: np.ndarray) -> np.ndarray:
        seen.append(x.copy())
        return x[..., 0] * 2j

    x = MATRICES["complex64"]
    from oarlock.checking.oracle import export_call

    export_call(lambda paddle, x: paddle.linalg.eigvals(x * 2.0), {"x": x}, {}, tmp_path / "model", dynamic=True)
    artifact = oarlock.compile(oarlock.load_model(tmp_path / "model.json"), target="cpu", host={"eigvals": eigvals})
    (got,) = oarlock.Session(artifact, host={"eigvals": eigvals}).run({"x": x}).values()
    np.testing.assert_array_equal(seen[0], x * 2)
    np.testing.assert_array_equal(got, x[..., 0] * 4j)
