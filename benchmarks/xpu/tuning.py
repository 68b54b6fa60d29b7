"""Schedules of generated kernels on the emulated R200: the modelled time of whole models by the first of each, and by the tuned ones.

    python -m benchmarks.xpu.tuning [--minutes 5] [--only NAME] [--work FOLDER] [--out FILE]

Each model is tuned with no records (``oarlock tune MODEL --target xpu/r200 --minutes 5``); its time is that of a run in which graphs are
replayed.  "generated" is what its generated kernels take one by one, by the same records, launches included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import paddle
from paddle import nn
from paddle.nn import functional as F

import oarlock
from oarlock.kernels.summary import Row, Summary

from ..cpu import models
from .precision import folder, save, written

TARGET, SHOWN = "xpu/r200", 3  # workloads that are told of each model: those that gained most


class Detector(nn.Layer):
    """Five convolutions, two heads, boxes of both, and their suppression."""

    def __init__(self) -> None:
        super().__init__()

        def block(inputs: int, outputs: int) -> nn.Layer:
            return nn.Sequential(nn.Conv2D(inputs, outputs, 3, 2, 1), nn.BatchNorm2D(outputs), nn.ReLU())

        self.near = nn.Sequential(block(3, 8), block(8, 16), block(16, 32), block(32, 32))
        self.far, self.up = block(32, 64), nn.Conv2D(64, 32, 1)
        self.heads = nn.LayerList([nn.Conv2D(64, 3 * (5 + 10), 1) for _ in range(2)])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        near = self.near(x)
        far = self.far(near)
        both = paddle.concat([near, F.interpolate(self.up(far), scale_factor=2, mode="nearest")], 1)
        size = paddle.full([1, 2], x.shape[-1], "int32")
        coarse = self.heads[0](far), [116, 90, 156, 198, 373, 326], 32
        fine = self.heads[1](both), [30, 61, 62, 45, 59, 119], 16
        found = [paddle.vision.ops.yolo_box(y, size, anchors, 10, 0.01, step, scale_x_y=1.05) for y, anchors, step in (coarse, fine)]
        boxes, scores = paddle.concat([each[0] for each in found], 1), paddle.concat([each[1] for each in found], 1)
        return paddle.vision.ops.matrix_nms(boxes, scores.transpose([0, 2, 1]), 0.01, 0.01, 100, 50, background_label=-1)[0]


def detector(work: Path, shape: list[int]) -> Path:
    paddle.seed(0)
    return save(Detector(), paddle.static.InputSpec(shape, "float32", "x"), work / "detector")


def packaged(name: str) -> Callable[[Path, list[int]], Path]:
    return lambda work, shape: models.make(name, work).graph


MODELS: dict[str, tuple[Callable[[Path, list[int]], Path], list[int]]] = {
    "small detector, 160 × 160": (detector, [1, 3, 160, 160]),
    "PP-OCRv4 detector, 160 × 160": (packaged("PP-OCRv4_mobile_det"), [1, 3, 160, 160]),
    "PP-OCRv4 recogniser, 48 × 160": (packaged("PP-OCRv4_mobile_rec"), [1, 3, 48, 160]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each model")
    parser.add_argument("--only", default="*", help="models with names like this")
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--out", type=Path, help="also write the lines here")
    options = parser.parse_args()
    head = f"oarlock {oarlock.__version__}; {time.strftime('%Y-%m-%d')}; emulated R200, batch 1; times are modelled"
    print(head)
    for name, (make, shape) in MODELS.items():
        if fnmatch(name, options.only):
            path = make(folder(options.work.resolve() / "tuned-xpu"), shape)
            with tempfile.TemporaryDirectory() as scratch:
                shapes = {"x": shape}
                summary = oarlock.tune(path, TARGET, shapes, minutes=options.minutes, records=Path(scratch) / "records.json")
            section, lines = f"{name}: tuned for {options.minutes:g} minutes", list(told(summary))
            print(section, *lines, sep="\n", flush=True)
            if options.out:
                written(options.out, head, section, lines)


def told(summary: Summary) -> Iterator[str]:
    """The whole run, the generated kernels, and the workloads that gained most."""
    assert summary.artifact is not None
    kernels = summary.artifact.manifest["kernels"]
    tried = f"{summary.trials} trials, {len(summary.failed)} candidates failed, {summary.left} not tried"
    yield f"  first {ms(summary.default_s)}  tuned {ms(summary.tuned_s)}  {summary.tuned_s / summary.default_s:.3f}  {tried}"
    calls, first, best = (sum(getattr(row, field) for row in summary.rows) for field in ("calls", "default_s", "winner_s"))
    yield f"  generated kernels with a choice: {calls} calls  first {ms(first)}  tuned {ms(best)}"
    for row in sorted(summary.rows, key=lambda row: row.winner_s - row.default_s)[:SHOWN]:
        if row.gain > 0:
            yield f"  {named(row, kernels)}: {row.default} {ms(row.default_s)}  {row.winner} {ms(row.winner_s)}"


def named(row: Row, kernels: dict[str, Any]) -> str:
    """The kernels of a workload."""
    return ", ".join(name for name, kernel in kernels.items() if kernel.get("workload") == row.workload)


def ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4f} ms"


if __name__ == "__main__":
    main()
