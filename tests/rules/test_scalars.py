"""Groups of kernels that take single sizes beside those of shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock import pipeline
from oarlock.errors import InternalError

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")

OPTIONS = {"executor": "vm"}


def _model(folder: Path) -> tuple[oarlock.Program, dict[str, np.ndarray], list[np.ndarray]]:
    """x with two dims joined, which shapes of the group must tell, times a size of z, which is none of them."""
    from oarlock.checking.oracle import export_call

    def call(paddle: Any, x: Any, z: Any) -> Any:
        sizes = paddle.shape(z)[:1].astype("float32"), paddle.shape(x)[2].astype("float32")
        return paddle.flatten(x, 1) * sizes[0] * sizes[1]

    inputs = {"x": np.arange(24, dtype="float32").reshape(2, 3, 4), "z": np.ones((5, 1), "float32")}
    expected = export_call(call, inputs, {}, folder / "model", dynamic=True)
    return oarlock.load_model(folder / "model.json"), inputs, expected


def test_numbers(tmp_path: Path) -> None:
    program, inputs, expected = _model(tmp_path)
    (got,) = oarlock.Session(oarlock.compile(program, target="cpu", options=OPTIONS)).run(inputs).values()
    np.testing.assert_array_equal(got, expected[0])


def test_fuse_tir_still_fails_on_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, rules/scalars.py can go."""
    program, *_ = _model(tmp_path)
    monkeypatch.setattr(pipeline, "join_sizes", lambda mod: mod)
    with pytest.raises(InternalError, match="VarRemapGet"):
        oarlock.compile(program, target="cpu", options=OPTIONS)
