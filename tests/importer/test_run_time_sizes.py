"""Sizes that only the run knows, and what is computed from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")


def test_part_of_a_common_size(tmp_path: Path) -> None:
    """The first row of x + y, where either may have one row only: max(min(1, rows), 0) rows."""
    from oarlock.checking.oracle import export_call

    def call(paddle: Any, x: Any, y: Any) -> Any:
        rows = paddle.nn.functional.layer_norm(x + y, 4)
        return paddle.matmul(rows[:1], paddle.ones([4, 2])) + 1.0, rows

    many, one = np.random.default_rng(0).standard_normal((3, 4)).astype("float32"), np.ones((1, 4), "float32")
    expected = export_call(call, {"x": many, "y": one}, {}, tmp_path / "model", dynamic=True, declared={"x": [-1, 4], "y": [-1, 4]})
    session = oarlock.Session(oarlock.compile(oarlock.load_model(tmp_path / "model.json"), target="cpu"))
    for inputs in ({"x": many, "y": one}, {"x": one, "y": many}):
        for got, want in zip(session.run(inputs).values(), expected, strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6)
