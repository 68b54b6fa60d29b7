"""Models that ``oarlock quantize`` makes: what they differ from Paddle's own run of them, and their time by that of the float models.

    python -m benchmarks.cpu.ptq [NAME …] [--work FOLDER] [--out FILE]

A step is what the 8-bit integers of a tensor are apart: its scale by 127, for an output its largest magnitude by 127.  Layers are
compared alone, each on what Paddle computed before it, and the whole model from its input on.  There, a number that lies between two
integers may go either way (sums of floats round differently), and from then on the network has other rounding errors: the outputs may
then differ by as much as rounding changes them, in any two engines.  So the same is told of the quantised model computed on floats.
Times are medians of short rounds that alternate between both, so that what else the machine does falls on both alike; the ratio is the
median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import oarlock
from oarlock.checking.paddle_process import run as run_paddle
from oarlock.model import Program, load_model
from oarlock.model.write import save_model
from oarlock.quantising.rewrite import layer_by_layer, rounded_tensors

from ..footprint import cpu_name
from .models import export
from .models import make as make_packaged

MODELS = {"MobileNetV3-S": "mobilenet_v3_small", "MobileNetV3-L": "mobilenet_v3_large", "Encoder-6x384": "Encoder"}
TRAINED = "ch_ppocr_mobile_v2.0_cls"  # PP-OCR's classifier of text lines that stand on their head: a MobileNetV3 with trained weights
ROUNDS, CALLS = 120, 5


def text_lines(count: int, seed: int) -> np.ndarray:
    """Pictures of a line of text, every other one on its head, as the classifier takes them."""
    from PIL import Image, ImageDraw, ImageFont

    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,-"))
    made = []
    for number in range(count):
        paper, ink = sorted(rng.integers(0, 256, 2), reverse=bool(rng.integers(2)))
        picture = Image.new("RGB", (192, 48), (int(paper),) * 3)
        text = "".join(rng.choice(letters, int(rng.integers(6, 16))))
        size = float(rng.uniform(18, 30))
        ImageDraw.Draw(picture).text((4, float(rng.uniform(2, 14))), text, (int(ink),) * 3, ImageFont.load_default(size))
        pixels = np.asarray(picture.rotate(180) if number % 2 else picture, np.float32) + rng.normal(0, 6, (48, 192, 1))
        made.append((pixels / 255 - 0.5) / 0.5)
    return np.stack(made).transpose(0, 3, 1, 2).astype(np.float32)


def quantised(name: str, work: Path) -> tuple[Path, Path, dict]:
    """(float model, quantised model, report), made under ``work`` unless they are there."""
    folder = work / f"{name}-ptq"
    made = folder / "int8"
    folder.mkdir(parents=True, exist_ok=True)
    floats = folder / "float.json"
    if name == TRAINED:
        floats = make_packaged(name, work).graph
        for file, count, seed in (("calibration", 40, 1), ("test", 8, 2)):
            np.savez(folder / f"{file}.npz", x=text_lines(count, seed))
    elif not floats.exists():
        export([sys.executable, str(Path(__file__).with_name("export_ptq.py")), MODELS[name], str(folder)], folder)
    if not (made / "quantised.json").exists():
        command = [sys.executable, "-c", "from oarlock.cli import main; main()", "quantize", str(floats), "-o", str(made)]
        subprocess.run([*command, "--calibrate", str(folder / "calibration.npz")], check=True)
    return floats, made / "inference.json", json.loads((made / "quantised.json").read_text())


def compared_alone(program: Program, feeds: list[dict[str, np.ndarray]], scratch: Path) -> tuple[float, int]:
    """(largest difference of any layer from Paddle's in steps, tensors that were compared): integers against Paddle's floats."""
    inner = [(v, scale) for v, scale in rounded_tensors(program) if v not in program.inputs]
    values = [v for v, _ in inner]
    taps = replace(program, outputs={**program.outputs, **{f"made.{i}": v for i, v in enumerate(values)}})
    path = save_model(taps, scratch / "taps")
    session = oarlock.Session(oarlock.compile(layer_by_layer(program, values), threads=1, options={"precision": "int8"}))
    worst = 0.0
    for feed in feeds:
        wanted = dict(zip(taps.outputs, run_paddle(str(path), str(path.with_suffix(".pdiparams")), feed), strict=True))
        got = session.run({**feed, **{f"given.{i}": wanted[f"made.{i}"] for i in range(len(values))}})
        scales = {name: float(np.abs(wanted[name]).max()) for name in program.outputs}
        scales |= {f"made.{i}": scale for i, (_, scale) in enumerate(inner)}
        worst = max(worst, *(float(np.abs(got[name] - wanted[name]).max()) * 127 / scale for name, scale in scales.items()))
    return worst, len(inner) + len(program.outputs)


def alternated(sessions: list[oarlock.Session], feed: dict[str, np.ndarray]) -> list[list[float]]:
    """Milliseconds a call of each session, a list of rounds; the order turns around from one round to the next."""
    times: list[list[float]] = [[] for _ in sessions]
    for session in sessions:
        for _ in range(CALLS):
            session.run(feed)
    for number in range(ROUNDS):
        for which in (range(len(sessions)), reversed(range(len(sessions))))[number % 2]:
            calls = []
            for _ in range(CALLS):
                start = time.perf_counter()
                sessions[which].run(feed)
                calls.append(time.perf_counter() - start)
            times[which].append(statistics.median(calls) * 1e3)
    return times


def measure(name: str, work: Path, threads: int) -> list[str]:
    """The lines of one model."""
    plain, made, report = quantised(name, work)
    with np.load(made.parents[1] / "test.npz") as archive:
        ((input_, tests),) = archive.items()
    feeds = [{input_: np.ascontiguousarray(tests[i : i + 1])} for i in range(len(tests))]
    program = load_model(made)
    floats = oarlock.Session(oarlock.compile(plain, threads=threads))
    artifact = oarlock.compile(program, threads=threads, options={"precision": "int8"})
    integers = oarlock.Session(artifact)
    again = oarlock.Session(oarlock.compile(program, threads=threads))
    steps: dict[str, list[float]] = {"int8": [], "float": []}
    rounding, winners = 0.0, []
    for feed in feeds:
        wanted = run_paddle(program.source["path"], program.source["params"], feed)
        for kind, session in (("int8", integers), ("float", again)):
            pairs = zip(session.run(feed).values(), wanted, strict=True)
            steps[kind].append(max(float(np.abs(got - want).max() / np.abs(want).max()) * 127 for got, want in pairs))
        for got, before, want in zip(integers.run(feed).values(), floats.run(feed).values(), wanted, strict=True):
            rounding = max(rounding, float(np.sqrt(np.mean(np.square(got - before)) / np.mean(np.square(before)))))
            winners.append(float((got.argmax(-1) == want.argmax(-1)).mean()))
    alone, tensors = compared_alone(program, feeds, made.parent)
    times = alternated([floats, integers], feeds[0])
    ratios = [b / a for a, b in zip(*times, strict=True)]
    low, high = np.percentile(ratios, [10, 90])
    narrow = sum(1 for kernel in artifact.manifest["kernels"].values() if "uint8" in kernel.get("workload", ""))
    layers = report["layers"]
    return [
        f"{name}: {sum(not layer['in_float'] for layer in layers)} of {len(layers)} layers on integers ({narrow} kernels), "
        f"{len(report['skipped'])} others in float; {report['method']} of {report['calibrated']} examples",
        f"  from Paddle's own run of it, each layer alone: at most {alone:.2g} steps ({tensors} tensors)",
        f"  … the whole, {len(feeds)} inputs: {_steps(steps['int8'])}; computed on floats: {_steps(steps['float'])}; "
        f"same winner in {np.mean(winners):.1%} of rows",
        f"  from the float model: rms {rounding:.2%} of the output's",
        f"  float {statistics.median(times[0]):.3f} ms, int8 {statistics.median(times[1]):.3f} ms, {threads} thread(s): "
        f"ratio {statistics.median(ratios):.3f} (10th and 90th percentiles of {ROUNDS} rounds: {low:.3f}, {high:.3f}); "
        f"least times {min(times[0]):.3f} and {min(times[1]):.3f} ms; load {os.getloadavg()[0]:.1f}",
    ]


def _steps(found: list[float]) -> str:
    return f"{sum(s <= 1 for s in found)} within a step (median {statistics.median(found):.2g}, most {max(found):.2g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*MODELS, TRAINED]))
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the lines here")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in (*MODELS, TRAINED)]:
        parser.error(f"no such model: {', '.join(unknown)}")
    today = time.strftime("%Y-%m-%d")
    lines = [f"{cpu_name()}, {os.cpu_count()} logical CPUs; oarlock {oarlock.__version__}; {today}"]
    print(lines[0])
    for name in arguments.names or (*MODELS, TRAINED):
        lines += measure(name, arguments.work, arguments.threads)
        print("\n".join(lines[-5:]), flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
