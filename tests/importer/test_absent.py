"""Parameters that a program declares and does not store: an LSTM's dropout state is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import oarlock

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the model")


@pytest.mark.parametrize("layer", ["LSTM", "GRU"])
def test_a_saved_recurrent_layer_runs(layer: str, tmp_path: Path) -> None:
    paddle.disable_static()
    try:
        network = getattr(paddle.nn, layer)(4, 3)
        network.eval()
        x = np.random.default_rng(0).standard_normal((2, 5, 4)).astype("float32")
        expected = network(paddle.to_tensor(x))[0].numpy()
        spec = [paddle.static.InputSpec([None, None, 4], "float32", "x")]
        paddle.jit.save(paddle.jit.to_static(network, input_spec=spec, full_graph=True), str(tmp_path / "inference"))
    finally:
        paddle.enable_static()
    got = next(iter(oarlock.Session(oarlock.compile(tmp_path, threads=1)).run({"x": x}).values()))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
