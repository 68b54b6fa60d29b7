"""Every kernel's results in a model's own run beside Paddle's: on any target, also where kernels cannot be fed (see why.py)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..model.load import load_model
from ..runtime.layers import dump_layers, read_index, read_layer
from ..runtime.session import Session
from .chunks import chunks
from .compare import TOLERANCE, OutputCheck
from .reference import PaddleReference, paddle_process
from .sites import Held, beside


@dataclass(frozen=True)
class LayerCheck:
    """One layer: see runtime.layers.Layer.  ``checks``: its results that Paddle has too; none for steps of operations."""

    number: int
    kernel: str
    name: str
    operators: str
    checks: tuple[OutputCheck, ...]

    @property
    def ok(self) -> bool:
        return all(c.ok for c in self.checks)

    @property
    def max_rel(self) -> float:
        return max((c.max_rel for c in self.checks), default=0.0)


@dataclass(frozen=True)
class LayersReport:
    """``layers``: those that Paddle has results for, in order; ``uncompared``: how many others there are."""

    layers: tuple[LayerCheck, ...]
    uncompared: int
    tolerance: float

    @property
    def ok(self) -> bool:
        return all(layer.ok for layer in self.layers)

    @property
    def first_wrong(self) -> LayerCheck | None:
        """The layer from which on numbers differ: it, or what it reads, is where to look."""
        return next((layer for layer in self.layers if not layer.ok), None)

    def to_json(self) -> dict[str, Any]:
        layers = [asdict(layer) | {"ok": layer.ok, "max_rel": layer.max_rel} for layer in self.layers]
        return {"ok": self.ok, "tolerance": self.tolerance, "uncompared": self.uncompared, "layers": layers}


def check_layers(
    model: str | Path,
    session: Session,
    inputs: Mapping[str, np.ndarray],
    *,
    pattern: str = "*",
    tolerance: float | None = None,
    python: str | None = None,
) -> LayersReport:
    """Compare what each kernel of ``session`` gives, where its layer's name fits ``pattern``, with what Paddle gives on the same inputs.

    ``session``: of ``model``, its kernels called one by one (runtime/layers.py).  ``tolerance``, ``python``: as in check.
    Raises what check raises, UnsupportedError for a program that cannot be written as a PIR file, InputError for a pattern without a layer.
    """
    program = load_model(model)
    reference = PaddleReference(program, inputs, paddle_process(python))
    if tolerance is None:
        tolerance = TOLERANCE[str(session.artifact.manifest["options"].get("precision", "float32"))]
    found: list[LayerCheck] = []
    with tempfile.TemporaryDirectory(prefix="oarlock-layers-") as scratch:
        folder = Path(scratch)
        _, count = dump_layers(session, inputs, folder, pattern)
        entries = [e for e in read_index(folder) if any(reference.knows(h) for h in _held(e))]
        for chunk in chunks(entries, _bytes):
            expected = reference.fetch([h for e in chunk for h in _held(e) if h is not None])
            for entry in chunk:
                checks = tuple(
                    beside(mine, expected[held], tolerance)
                    for mine, held in zip(read_layer(folder, entry), _held(entry), strict=True)
                    if held in expected
                )
                found.append(LayerCheck(entry["number"], entry["kernel"], entry["name"], entry["operators"], checks))
    return LayersReport(tuple(found), count - len(found), tolerance)


def _held(entry: Mapping[str, Any]) -> list[Held | None]:
    return [None if r["holds"] is None else (r["holds"][0], r["holds"][1]) for r in entry["results"]]


def _bytes(entry: Mapping[str, Any]) -> int:
    return sum(int(np.prod(r["shape"], dtype=np.int64)) * 8 for r in entry["results"])
