"""Control flow beyond the samples: very long loops, loops that do not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")


def _session(call: Any, inputs: dict[str, np.ndarray], folder: Path) -> oarlock.Session:
    from oarlock.checking.oracle import export_call

    export_call(call, inputs, {}, folder / "model", dynamic=True)
    return oarlock.Session(oarlock.compile(oarlock.load_model(folder / "model.json"), target="cpu"))


def _run(session: oarlock.Session, **inputs: np.ndarray) -> np.ndarray:
    return next(iter(session.run(inputs).values()))


def _sum_of_counts(paddle: Any, n: Any) -> Any:
    start = [paddle.zeros([], "int64"), paddle.zeros([3], "float64")]
    return paddle.static.nn.while_loop(lambda i, y: i < n, lambda i, y: [i + 1, y + i.astype("float64")], start)[1]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 63, 64, 65, 200_000])
def test_a_loop_runs_as_often_as_it_should(count: int, tmp_path: Path) -> None:
    session = _session(_sum_of_counts, {"n": np.array(3, "int64")}, tmp_path)
    np.testing.assert_array_equal(_run(session, n=np.array(count, "int64")), np.full(3, count * (count - 1) / 2))


def test_growing_loop_of_run_time_shape(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any, n: Any) -> Any:
        body = lambda i, y: [i + 1, paddle.concat([y, x * i.astype("float32")])]  # noqa: E731
        return paddle.static.nn.while_loop(lambda i, y: i < n, body, [paddle.zeros([], "int64"), x])[1]

    x = np.arange(6, dtype="float32").reshape(2, 3)
    session = _session(call, {"x": x, "n": np.array(3, "int64")}, tmp_path)
    for n in (0, 1, 5):
        np.testing.assert_array_equal(_run(session, x=x, n=np.array(n, "int64")), np.concatenate([x, *(x * i for i in range(n))]))
