"""Narrower operands on the emulated R200: how far results are from Paddle's float32, and what of the modelled time is left.

    python -m benchmarks.xpu.precision [--inputs 360] [--only NAME] [--work FOLDER] [--out FILE]

Two parts.  *Results*: networks that are trained on handwritten digits (benchmarks/cpu/train_ptq.py), each held-out digit by itself, beside
Paddle; and a BERT of random weights, as large as BERT-base.  *Times*: the networks at their usual sizes, of which the emulator counts the
launches, bytes and products and computes nothing (numbers do not change times).

The budget, for each precision: how many right answers may be lost, how many answers may be others than Paddle's float32, and how near the
outputs are (cosine of all outputs).  BUDGET below has the numbers; docs/xpu.md says where they come from.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.vision import models

import oarlock
from oarlock_xpu import device, native

TARGET = "xpu/r200"
PRECISIONS = ("float32", "float16", "int31", "int16", "int8")
SAVES_NOTHING = ("float32", "int31")  # int31 is multiplied at the rate of floats, and as wide


@dataclass(frozen=True)
class Budget:
    """``lost``: parts of the right answers that may be lost; ``same``: the least part of equal answers; ``cosine``: the least one."""

    lost: float
    same: float
    cosine: float


BUDGET = {
    "float32": Budget(0.0, 1.0, 0.99999),
    "float16": Budget(0.003, 0.997, 0.9999),
    "int31": Budget(0.003, 0.997, 0.9999),
    "int16": Budget(0.003, 0.997, 0.9999),
    "int8": Budget(0.01, 0.97, 0.99),
}
TRAINED = {"ResNet50": "resnet50", "MobileNetV3-small": "mobilenet_v3_small", "Encoder (4 layers of 192)": "PatchEncoder"}
BERT = "BERT-base, random weights"


class Bert(nn.Layer):
    """Tokens, places and kinds of sentence; layers of an encoder; what the first row says."""

    def __init__(self, layers: int = 12, width: int = 768, heads: int = 12) -> None:
        super().__init__()
        self.tokens, self.places, self.kinds = nn.Embedding(2000, width), nn.Embedding(512, width), nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, activation="gelu")
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.pool, self.classes = nn.Linear(width, width), nn.Linear(width, 10)

    def forward(self, ids: paddle.Tensor) -> paddle.Tensor:
        places = paddle.arange(ids.shape[1]).unsqueeze(0)
        x = self.norm(self.tokens(ids) + self.places(places) + self.kinds(paddle.zeros_like(ids)))
        mask = (1.0 - (ids != 0).astype("float32").unsqueeze([1, 2])) * -1e4
        return self.classes(paddle.tanh(self.pool(self.encoder(x, mask)[:, 0])))


def save(net: nn.Layer, spec: paddle.static.InputSpec, path: Path) -> Path:
    net.eval()
    paddle.jit.save(paddle.jit.to_static(net, full_graph=True), str(path), input_spec=[spec])
    return path.with_suffix(".json")


def vision(make: Callable[[], nn.Layer]) -> Callable[[Path], tuple[Path, dict[str, np.ndarray]]]:
    def made(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
        shape = [1, 3, 224, 224]
        return save(make(), paddle.static.InputSpec(shape, "float32", "x"), path), {"x": np.zeros(shape, "float32")}

    return made


def bert(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    return save(Bert(), paddle.static.InputSpec([1, 128], "int64", "ids"), path), {"ids": np.ones([1, 128], "int64")}


TIMED = {
    "ResNet50, 224 × 224": vision(models.resnet50),
    "MobileNetV3-small, 224 × 224": vision(models.mobilenet_v3_small),
    "MobileNetV3-large, 224 × 224": vision(models.mobilenet_v3_large),
    "BERT-base, 128 tokens": bert,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=360, help="held-out digits that each network is asked")
    parser.add_argument("--only", default="*", help="models with names like this")
    parser.add_argument("--part", choices=("results", "times"), help="one part only")
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--out", type=Path, help="also write the lines here")
    options = parser.parse_args()
    native.load()
    device.become("r200")
    head = f"oarlock {oarlock.__version__}; {time.strftime('%Y-%m-%d')}; emulated R200, batch 1; times are modelled"
    good = True

    def tell(section: str, lines: Iterable[tuple[str, bool]]) -> None:
        nonlocal good
        told = []
        print(section, flush=True)
        for line, fits in lines:
            good &= fits
            told.append(f"  {line}  {'pass' if fits else 'FAIL'}")
            print(told[-1], flush=True)
        if options.out:
            written(options.out, head, section, told)

    print(head)
    if options.part != "times":
        for name, network in TRAINED.items():
            if fnmatch(name, options.only):
                path, inputs, labels = trained(network, options.work.resolve() / f"{name}-xpu", options.inputs)
                tell(*results(name, path, inputs, labels))
        if fnmatch(BERT, options.only):
            ids = np.random.default_rng(0).integers(1, 2000, (2, 1, 128))
            ids[1, :, 90:] = 0
            paddle.seed(0)
            path, _ = bert(folder(options.work / "BERT-xpu") / "float")
            tell(*results(BERT, path, [{"ids": each} for each in ids], None))
    if options.part != "results":
        for name, make in TIMED.items():
            if fnmatch(name, options.only):
                paddle.seed(0)
                tell(name, times(*make(folder(options.work / "timed-xpu") / name.split(",")[0])))
    print("all within the budget" if good else "NOT all within the budget")
    sys.exit(0 if good else 1)


def written(out: Path, head: str, section: str, lines: list[str]) -> None:
    """The section in the place of the one of the same model; others stay."""
    before, title = dict[str, list[str]](), ""
    for line in out.read_text(encoding="utf-8").splitlines()[1:] if out.exists() else ():
        if line.startswith(" "):
            before[title].append(line)
        else:
            title = line
            before[title] = []
    known = [title for title in before if title.split(":")[0] == section.split(":")[0]]
    for title in known:
        del before[title]
    before[section] = lines
    out.write_text("\n".join([head, *(line for title, told in before.items() for line in (title, *told))]) + "\n", encoding="utf-8")


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def trained(network: str, into: Path, many: int) -> tuple[Path, list[dict[str, np.ndarray]], np.ndarray]:
    """The trained network, trained unless it is there, digits that it has not seen, and what they are."""
    if not (into / "test.npz").exists():
        script = Path(__file__).parents[1] / "cpu" / "train_ptq.py"
        subprocess.run([sys.executable, str(script), network, str(folder(into))], check=True)
    test = np.load(into / "test.npz")
    return into / "float.json", [{"x": x[None]} for x in test["x"][:many]], test["labels"][:many]


def expected(path: Path, inputs: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Paddle's outputs, a row an input."""
    net = paddle.jit.load(str(path.with_suffix("")))
    with paddle.no_grad():
        return np.concatenate([net(*map(paddle.to_tensor, each.values())).numpy() for each in inputs])


def results(
    name: str, path: Path, inputs: list[dict[str, np.ndarray]], labels: np.ndarray | None
) -> tuple[str, Iterator[tuple[str, bool]]]:
    """The title, and what each precision computes beside Paddle."""
    wanted = expected(path, inputs).astype("float64")
    right = f", of which Paddle has {np.mean(wanted.argmax(-1) == labels):.2%} right" if labels is not None else ""
    return f"{name}: {len(inputs)} inputs{right}", (compared(path, p, inputs, labels, wanted) for p in PRECISIONS)


def compared(
    path: Path, precision: str, inputs: list[dict[str, np.ndarray]], labels: np.ndarray | None, wanted: np.ndarray
) -> tuple[str, bool]:
    """A line, and whether it is within the budget."""
    with oarlock.Session(compiled(path, precision)) as session:
        found = np.concatenate([next(iter(session.run(each).values())) for each in inputs]).astype("float64")
    off = np.abs(found - wanted).max() / np.abs(wanted).max()
    near = float((found * wanted).sum() / np.sqrt((found**2).sum() * (wanted**2).sum()))
    same = float(np.mean(found.argmax(-1) == wanted.argmax(-1)))
    budget, told = BUDGET[precision], ""
    fits = same >= budget.same and near >= budget.cosine
    if labels is not None:
        right, before = (float(np.mean(x.argmax(-1) == labels)) for x in (found, wanted))
        fits &= before - right <= budget.lost
        told = f"right {right:7.2%}  "
    return f"{precision:8} {told}as Paddle {same:7.2%}  largest difference {off:.1e} of the largest output  cosine {near:.6f}", fits


def times(path: Path, inputs: dict[str, np.ndarray]) -> Iterator[tuple[str, bool]]:
    """What the emulator models for each precision, and of what."""
    first = None
    for precision in PRECISIONS:
        counted = modelled(compiled(path, precision), inputs)
        ms, kernels = counted["modelled_us"] / 1e3, counted["kernels"]
        first = ms if first is None else first
        products = sum(k["modelled_us"] for n, k in kernels.items() if on_units(n)) / 1e3
        integers = sum(k["macs"] for n, k in kernels.items() if n.endswith(("int31", "int16", "int8")))
        integers /= sum(k["macs"] for k in kernels.values())
        launches = sum(k["launches"] for k in kernels.values())
        line = f"{precision:8} {ms:7.3f} ms  {ms / first:5.3f} of float32's  {launches:3} launches, those of matrix units {products:.3f} ms"
        yield f"{line}  {integers:4.0%} of products on integers", precision in SAVES_NOTHING or ms < first


def on_units(kernel: str) -> bool:
    """Whether a kernel of the library runs on the matrix units."""
    return kernel.startswith(("conv_", "fc_", "attention_"))


def compiled(path: Path, precision: str) -> Any:
    return oarlock.compile(path, TARGET, options={"precision": precision}, records=False)


def modelled(artifact: Any, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    """What the emulator counts in a run in which graphs are replayed."""
    library = native.runtime()
    library.xpu_sim_dry(1)
    try:
        with oarlock.Session(artifact) as session:
            for _ in range(3):  # the first runs record
                session.run(inputs)
            device.counters(reset=True)
            session.run(inputs)
            return device.counters(reset=True)
    finally:
        library.xpu_sim_dry(0)


if __name__ == "__main__":
    main()
