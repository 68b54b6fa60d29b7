"""oarlock why on the XPU: every library call and kernel beside Paddle, and a fault in a function of the library is traced to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.checking.oracle import export_call
from oarlock.checking.why import why

pytest.importorskip("paddle", reason="paddlepaddle is the reference")
INPUTS = {"x": np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype("float32")}


def _model(paddle: Any, x: Any) -> Any:
    paddle.seed(3)
    nn, F = paddle.nn, paddle.nn.functional
    y = F.relu(nn.Conv2D(3, 8, 3, padding=1)(x))
    y = nn.Conv2D(8, 8, 1)(y)
    return F.softmax(nn.Linear(8, 5)(paddle.flatten(F.adaptive_avg_pool2d(y, 1), 1)))


def _lost_activation(real: Callable[..., Any]) -> Callable[..., Any]:
    """The library forgets the activation that it was asked for."""

    def plugin_function(name: str) -> Any:
        function = real(name)
        return forgetful(function) if name == "library_module" else function

    def forgetful(function: Callable[[str], Any]) -> Callable[[str], Any]:
        def make(calls: str) -> Any:
            kept = {symbol: {k: v for k, v in call.items() if k != "act"} for symbol, call in json.loads(calls).items()}
            return function(json.dumps(kept))

        return make

    return plugin_function


def test_a_fault_in_the_library_is_traced_to_its_function(in_paddle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from oarlock_xpu import compat_xpu

    export_call(_model, INPUTS, {}, tmp_path / "inference", dynamic=False)
    right = why(tmp_path / "inference.json", INPUTS, target="xpu/r200", run=in_paddle, tolerance=1e-3)
    assert right.ok and right.uncompared == 0
    named = {layer.kernel: [o.operator for o in layer.operations] for layer in right.layers}
    assert any(kernel.startswith("xpu_conv2d_fusion") and "relu" in operators for kernel, operators in named.items())
    monkeypatch.setattr(compat_xpu, "plugin_function", _lost_activation(compat_xpu.plugin_function))
    found = why(tmp_path / "inference.json", INPUTS, target="xpu/r200", run=in_paddle, tolerance=1e-3)
    (guilt,) = found.guilty
    assert {"conv2d", "relu"} <= {o.operator for o in guilt.operations}
    assert guilt.blame is not None and guilt.blame.stage == "xpu-library" and guilt.blame.good
    assert "xpu_conv2d_fusion" in guilt.text and found.wrong == 1


def test_the_xpu_beside_the_cpu(in_paddle: Any, tmp_path: Path) -> None:
    """oarlock diff: every operation of one has its row beside the other's, with the same numbers."""
    export_call(_model, INPUTS, {}, tmp_path / "inference", dynamic=False)
    model = tmp_path / "inference.json"
    found = oarlock.diff(oarlock.Build(model, threads=1), oarlock.Build(model, "xpu/r200"), INPUTS, runs=1)
    assert found.ok and (found.a.target, found.b.target) == ("cpu", "xpu/r200")
    assert all(row.a and row.b for row in found.rows)
    assert sum(row.compared for row in found.rows) >= 4
    assert all(row.difference < 1e-5 for row in found.rows if row.difference is not None)
