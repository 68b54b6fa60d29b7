"""Reductions that the cores of a cluster share, beside Paddle: parts, what combines them, and where that is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.compiler import compile_program, make_target
from oarlock.kernels import Choices
from oarlock.model import load_model
from oarlock_xpu.chips import chip
from oarlock_xpu.device import counters

paddle = pytest.importorskip("paddle", reason="paddlepaddle makes the models and computes what is expected")
nn = paddle.nn
Spec = paddle.static.InputSpec


class Reductions(nn.Layer):
    """Of integers, truths and products, which the library has no function for."""

    def forward(self, x: Any, f: Any) -> Any:
        rows = (x * 3).sum(1, keepdim=True)
        return x.sum(), x.max(1), rows - x, x.argmax(1), x.argmin(), f.prod(1), (x > 2).any(1), (x > -99).all()


NAMES = ("sum", "max", "sum of products", "argmax", "argmin", "prod", "any", "all")


class Sum(nn.Layer):
    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = list(dims)

    def forward(self, x: Any) -> Any:
        return x.sum(self.dims)


Saved = Callable[..., tuple[Path, Any]]


@pytest.fixture
def saved(export: Callable[..., Any], tmp_path: Path) -> Saved:
    def save(make: Callable[[], Any], *shape: int) -> tuple[Path, Any]:
        spec = [Spec(shape, "int64", "x"), Spec(shape, "float32", "f")][: 2 if make is Reductions else 1]
        return export(make, tmp_path / "m", spec, 0)

    return save


def made(path: Path, whole: bool = False, **options: Any) -> tuple[oarlock.Session, dict[str, str]]:
    """A session, and the candidates of its loops; ``whole``: each result by one core."""
    choices = Choices((lambda workload, names: next(n for n in names if "split" not in n)) if whole else None)
    artifact = compile_program(load_model(path), make_target("xpu/r200", None, {"graphs": False, **options}), None, choices)
    found = {name: k["candidate"] for name, k in artifact.manifest["kernels"].items() if k.get("candidate", "").startswith("window")}
    return oarlock.Session(artifact), found


def data(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Integers of which many are equal, and numbers whose product is near 1."""
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, (rows, columns)), rng.uniform(0.99, 1.01, (rows, columns)).astype("float32")


def compare(session: oarlock.Session, layer: Any, x: np.ndarray, f: np.ndarray) -> None:
    expected = layer(paddle.to_tensor(x), paddle.to_tensor(f))
    for name, found, right in zip(NAMES, session.run({"x": x, "f": f}).values(), expected, strict=True):
        if name == "prod":
            assert np.abs(found - right.numpy()).max() <= 1e-5
        else:
            assert np.array_equal(found, right.numpy()), name


def test_cores_share_what_is_reduced(saved: Saved) -> None:
    """Under the emulator's checks of races, fences and bounds: exact for integers, and the first place of the largest."""
    path, layer = saved(Reductions, 3, 5000)
    session, found = made(path, checked=True)
    assert len(found) == len(NAMES) and all("split" in name for name in found.values())
    x, f = data(3, 5000)
    x[1] = np.iinfo("int64").min  # what the largest begins with
    x[2, 4990:] += 9  # in the last part
    compare(session, layer, x, f)
    compare(session, layer, -x, f)
    # rows are on clusters of their own, or all of a tensor in the shared memory of one
    assert {name.split()[2] for name in found.values()} == {"x1", "x3"} and any("shared" in name for name in found.values())


def test_parts_without_elements(saved: Saved) -> None:
    """Sizes of run time: fewer elements than cores, and parts at the end that have none."""
    path, layer = saved(Reductions, -1, -1)
    session, found = made(path, checked=True)
    assert sum("split" in name for name in found.values()) == 3  # those of all elements
    for rows, columns in ((1, 1), (1, 65), (3, 100), (2, 700)):
        x, f = data(rows, columns, columns)
        compare(session, layer, x + 5 * columns, f)
        compare(session, layer, x - 5 * columns, f)


def test_it_is_chosen_by_modelled_time(saved: Saved) -> None:
    """Few results of many elements are shared; many results are not."""
    path, layer = saved(lambda: Sum(0, 1), 4, 5000)
    times = []
    x, _ = data(4, 5000)
    for whole in (False, True):
        session, found = made(path, whole)
        assert ["split" in name for name in found.values()] == [not whole]
        counters(reset=True)
        assert np.array_equal(next(iter(session.run({"x": x}).values())), x.sum())
        times += [k["modelled_us"] - chip("r200").launch_us for k in counters()["kernels"].values()]
    assert len(times) == 2 and times[0] < times[1] / 10
    _, found = made(saved(lambda: Sum(0), 8, 3000)[0])
    assert list(found.values()) == ["window 64 x8"]
