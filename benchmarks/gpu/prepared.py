"""The benchmark's models with an input and Paddle's outputs, in a folder for a machine with a GPU that has no Paddle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..cpu import models
from ..cpu.models import Model


@dataclass(frozen=True)
class Prepared:
    """A model with its input and what Paddle makes of it on the CPU, in fetch order."""

    model: Model
    data: np.ndarray
    expected: list[np.ndarray]


def prepare(name: str, work: Path, folder: Path) -> Prepared:
    """Export a model, run it by Paddle's plain kernels, and keep all of that under ``folder``/``name``."""
    made = models.make(name, work)
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    for file in (made.graph, made.parameters):
        shutil.copyfile(file, home / file.name)
    model = Model(name, home / made.graph.name, made.input, made.shape, made.dtype)
    (home / "model.json").write_text(json.dumps({"graph": made.graph.name, "input": made.input, "shape": made.shape, "dtype": made.dtype}))
    return run_in_paddle(model)


def run_in_paddle(model: Model) -> Prepared:
    """Write Paddle's outputs beside the model."""
    import paddle.inference

    from ..cpu.engines import paddle_call

    config = paddle.inference.Config(str(model.graph), str(model.parameters))
    config.disable_gpu()
    config.disable_glog_info()
    config.switch_ir_optim(False)
    config.disable_mkldnn()
    data = model.data()
    expected = paddle_call(config, data)()
    np.savez(model.graph.parent / "expected.npz", *expected, input=data)
    return Prepared(model, data, expected)


def read(folder: Path) -> Iterator[Prepared]:
    """What ``prepare`` left in ``folder``, by name."""
    for home in sorted(folder.iterdir()):
        if not (home / "model.json").exists():
            continue
        told = json.loads((home / "model.json").read_text())
        model = Model(home.name, home / told["graph"], told["input"], tuple(told["shape"]), told["dtype"])
        with np.load(home / "expected.npz") as kept:
            yield Prepared(model, kept["input"], [kept[k] for k in kept.files if k != "input"])
