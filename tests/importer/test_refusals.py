"""What cannot be imported is reported at once, with counts, attributes and places; users' own operators fill the gap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import oarlock
from oarlock.errors import UnsupportedOperators
from oarlock.ops import registry
from oarlock.ops.builder import Builder
from oarlock.ops.tensor import Tensor

pytest.importorskip("paddle", reason="paddlepaddle makes the model")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tanh(x) twice, then a leaky_relu: the operators are renamed in the file to ones that nobody knows."""
    from oarlock.checking.oracle import export_call

    stem = tmp_path_factory.mktemp("model") / "model"
    call = lambda paddle, x: paddle.nn.functional.leaky_relu(paddle.tanh(paddle.tanh(x)), 0.25)  # noqa: E731
    export_call(call, {"x": np.zeros((2, 3), "float32")}, {}, stem, dynamic=True)
    graph = json.loads(stem.with_suffix(".json").read_text())
    for op in graph["program"]["regions"][0]["blocks"][0]["ops"]:
        op["#"] = {"1.tanh": "3.my_tanh", "1.leaky_relu": "3.my_leaky"}.get(op["#"], op["#"])
    stem.with_suffix(".json").write_text(json.dumps(graph))
    return stem.with_suffix(".json")


def test_all_unknown_operators_are_reported_at_once(model: Path) -> None:
    with pytest.raises(UnsupportedOperators) as raised:
        oarlock.compile(model)
    found = {o["name"]: o for o in raised.value.operators}
    assert {name: o["count"] for name, o in found.items()} == {"custom_op.my_tanh": 2, "custom_op.my_leaky": 1}
    assert found["custom_op.my_leaky"]["attributes"]["negative_slope"] == 0.25
    assert len(found["custom_op.my_tanh"]["where"]) == 2
    assert "oarlock.operator" in str(raised.value)


def test_a_users_operators_are_used(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.load_builtin()
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    @oarlock.operator("my_tanh")
    def my_tanh(b: Builder, x: Tensor) -> Tensor:
        return x * 2.0

    @oarlock.operator("my_leaky")
    def my_leaky(b: Builder, x: Tensor, negative_slope: float) -> Tensor:
        return b.where(x > 0.0, x, x * negative_slope)

    x = np.array([[1.0, -1.0, 3.0]], "float32")
    (out,) = oarlock.Session(oarlock.compile(model)).run({"x": x}).values()
    np.testing.assert_array_equal(out, np.array([[4.0, -1.0, 12.0]], "float32"))
