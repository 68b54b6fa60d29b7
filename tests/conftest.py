"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

RunInPaddle = Callable[[Path, Mapping[str, np.ndarray]], list[np.ndarray]]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of acceptance cases beside the checkout; tests that need it are skipped where it is absent."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the folder ../shared of acceptance cases is not there")
    return folder


@pytest.fixture(scope="session")
def in_paddle() -> RunInPaddle:
    """Runs a saved PIR model by Paddle Inference in this process, plain kernels only → the outputs in fetch order."""
    inference = pytest.importorskip("paddle.inference", reason="paddlepaddle runs the model")

    def run(path: Path, inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        params = path.with_suffix(".pdiparams")
        config = inference.Config(str(path), str(params) if params.is_file() else "")
        config.disable_gpu()
        config.disable_glog_info()
        config.switch_ir_optim(False)
        config.disable_mkldnn()
        predictor = inference.create_predictor(config)
        for name in predictor.get_input_names():
            handle = predictor.get_input_handle(name)
            handle.reshape(inputs[name].shape)
            handle.copy_from_cpu(np.ascontiguousarray(inputs[name]).reshape(inputs[name].shape))
        predictor.run()
        return [predictor.get_output_handle(name).copy_to_cpu() for name in predictor.get_output_names()]

    return run
