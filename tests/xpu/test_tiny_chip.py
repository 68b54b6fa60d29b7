"""examples/tiny_chip: a package for another chip, in a process of its own, since a process has one device of TVM's kind ext_dev."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the model and computes what is expected")
nn = paddle.nn

CHIP = Path(__file__).parents[2] / "examples" / "tiny_chip"
RUN = """
import json, sys
import numpy as np
import oarlock
from importlib import metadata

# as pip would install it
class Point:
    def __init__(self, name, value): self.name, self.value = name, value
points = {"oarlock.targets": [Point("tiny", "tiny_chip.target:Tiny")], "oarlock.devices": [Point("tiny", "tiny_chip.device:TinyDevice")]}
found = metadata.entry_points
metadata.entry_points = lambda **k: [*found(**k), *points.get(k.get("group"), [])]
import oarlock.targets
oarlock.targets.entry_points = metadata.entry_points

model, given, out = sys.argv[1:]
artifact = oarlock.compile(model, "tiny", records=False)
data = artifact.to_bytes()
with oarlock.load(data) as session:
    np.savez(out, **{f"y{i}": next(iter(session.run({"x": x}).values())) for i, x in enumerate(np.load(given).values())})
print(json.dumps(artifact.manifest["places"]))
"""


class Mlp(nn.Layer):
    """Products, functions of elements, and a sum over rows, for which the chip has nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 70), nn.GELU(), nn.Linear(70, 33), nn.Sigmoid(), nn.Linear(33, 5))

    def forward(self, x: Any) -> Any:
        y = self.layers(x)
        return paddle.exp(y) / paddle.exp(y).sum(-1, keepdim=True)


def test_a_second_chip_runs_a_model_as_paddle_does(tmp_path: Path, compiler: str) -> None:
    paddle.disable_static()
    paddle.seed(4)
    layer = Mlp()
    layer.eval()
    spec = [paddle.static.InputSpec([None, 20], "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(layer, full_graph=True), str(tmp_path / "mlp"), input_spec=spec)
    inputs = [np.random.default_rng(n).standard_normal((n, 20)).astype("float32") for n in (1, 7, 300)]
    np.savez(tmp_path / "in.npz", *inputs)
    command = [sys.executable, "-c", RUN, tmp_path / "mlp.json", tmp_path / "in.npz", tmp_path / "out.npz"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHIP), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    for x, y in zip(inputs, np.load(tmp_path / "out.npz").values(), strict=True):
        expected = layer(paddle.to_tensor(x)).numpy()
        assert y.shape == expected.shape and np.abs(y - expected).max() <= 1e-5
    places = json.loads(done.stdout)
    assert [p["what"] for p in places if p["where"] == "library"] == ["matmul + add"] * 3
    assert {p["where"] for p in places} == {"library", "generated", "host"}


def test_it_is_small_and_names_its_entry_points() -> None:
    import tomllib

    sources = [p for p in CHIP.rglob("*") if p.suffix in (".py", ".cc", ".h", ".toml")]
    assert sum(len(p.read_text().splitlines()) for p in sources) < 300
    points = tomllib.loads((CHIP / "pyproject.toml").read_text())["project"]["entry-points"]
    assert points == {"oarlock.targets": {"tiny": "tiny_chip.target:Tiny"}, "oarlock.devices": {"tiny": "tiny_chip.device:TinyDevice"}}
