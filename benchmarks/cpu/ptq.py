"""Models that ``oarlock quantize`` makes: what they differ from Paddle's own run of them, and their time by that of the float models.

    python -m benchmarks.cpu.ptq [NAME …] [--work FOLDER] [--out FILE]

Seeded networks, PP-OCR's classifier, and two that are trained on handwritten digits first, each quantised twice: with scales as they come
(``absmax``), and with powers of two (``exact``).  A step is what the 8-bit integers of a tensor are apart: its scale by 127, for an output
its largest magnitude by 127.  Layers are compared alone, each on what Paddle computed before it, and the whole model from its input on.
There, a number that lies between two integers may go either way (sums of floats round differently), and from then on the network has
other rounding errors: the outputs may then differ by as much as rounding changes them, in any two engines.  So the same is told of the
quantised model computed on floats.  Times are medians of short rounds that alternate between all contenders, so that what else the machine
does falls on them alike; a ratio is the median of the rounds' ratios.
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
from oarlock.model import Program, load_model
from oarlock.model.write import save_model
from oarlock.quantising.rewrite import layer_by_layer, rounded_tensors

from ..footprint import cpu_name
from .models import export
from .models import make as make_packaged

MODELS = {"MobileNetV3-S": "mobilenet_v3_small", "MobileNetV3-L": "mobilenet_v3_large", "Encoder-6x384": "Encoder"}
DIGITS = {"MobileNetV3-S of digits": "mobilenet_v3_small", "Encoder of digits": "PatchEncoder"}
PACKAGED = "ch_ppocr_mobile_v2.0_cls"  # PP-OCR's classifier of text lines that stand on their head: a MobileNetV3 with trained weights
NAMES = (*DIGITS, PACKAGED, *MODELS)
KINDS = {"absmax": [], "exact": ["--exact"]}
ROUNDS, CALLS = 120, 5
JUDGED = 8  # inputs that layers are compared alone on


def text_lines(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of a line of text as the classifier takes them, and which of them (every other one) is on its head."""
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
    return np.stack(made).transpose(0, 3, 1, 2).astype(np.float32), np.arange(count) % 2


def float_model(name: str, folder: Path, work: Path) -> Path:
    """The float model, with calibration.npz and test.npz in ``folder``; made or trained unless it is there."""
    if name == PACKAGED:
        x, labels = text_lines(64, 2)
        np.savez(folder / "calibration.npz", x=text_lines(40, 1)[0])
        np.savez(folder / "test.npz", x=x, labels=labels)
        return make_packaged(name, work).graph
    made = folder / "float.json"
    if not (folder / "test.npz").exists():
        script, network = ("train_ptq.py", DIGITS[name]) if name in DIGITS else ("export_ptq.py", MODELS[name])
        export([sys.executable, str(Path(__file__).with_name(script)), network, str(folder)], folder)
    return made


def quantised(floats: Path, folder: Path, kind: str, more: list[str]) -> Path:
    """The quantised model in ``folder`` / ``kind``, made unless it is there."""
    made = folder / kind
    if not (made / "quantised.json").exists():
        command = [sys.executable, "-c", "from oarlock.cli import main; main()", "quantize", str(floats), "-o", str(made)]
        subprocess.run([*command, "--no-sensitivity", "--calibrate", str(folder / "calibration.npz"), *more], check=True)
    return made / "inference.json"


def paddle_runs(path: Path, params: Path, feeds: list[dict[str, np.ndarray]]) -> list[list[np.ndarray]]:
    """Paddle's outputs for each of ``feeds``, by its plain kernels (see oarlock/checking/paddle_process.py), one predictor for all."""
    import paddle.inference as paddle_infer

    config = paddle_infer.Config(str(path), str(params))
    config.disable_gpu()
    config.disable_glog_info()
    config.switch_ir_optim(False)
    config.disable_mkldnn()
    predictor = paddle_infer.create_predictor(config)
    found = []
    for feed in feeds:
        for name in predictor.get_input_names():
            handle = predictor.get_input_handle(name)
            handle.reshape(feed[name].shape)
            handle.copy_from_cpu(np.ascontiguousarray(feed[name]))
        predictor.run()
        found.append([predictor.get_output_handle(name).copy_to_cpu().copy() for name in predictor.get_output_names()])
    return found


def compared_alone(program: Program, feeds: list[dict[str, np.ndarray]], scratch: Path) -> tuple[float, int]:
    """(largest difference of any layer from Paddle's in steps, tensors that were compared): integers against Paddle's floats."""
    inner = [(v, scale) for v, scale in rounded_tensors(program) if v not in program.inputs]
    values = [v for v, _ in inner]
    taps = replace(program, outputs={**program.outputs, **{f"made.{i}": v for i, v in enumerate(values)}})
    path = save_model(taps, scratch / "taps")
    session = oarlock.Session(oarlock.compile(layer_by_layer(program, values), threads=1, options={"precision": "int8"}))
    worst = 0.0
    for feed, outputs in zip(feeds, paddle_runs(path, path.with_suffix(".pdiparams"), feeds), strict=True):
        wanted = dict(zip(taps.outputs, outputs, strict=True))
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
    folder = work / f"{name}-ptq"
    folder.mkdir(parents=True, exist_ok=True)
    plain = float_model(name, folder, work)
    with np.load(folder / "test.npz") as archive:
        labels = archive["labels"] if "labels" in archive else None
        ((input_, tests),) = [(key, archive[key]) for key in archive if key != "labels"]
    feeds = [{input_: np.ascontiguousarray(tests[i : i + 1])} for i in range(len(tests))]
    right = {"float": _right(paddle_runs(plain, plain.with_suffix(".pdiparams"), feeds), labels)}
    sessions = {"float": oarlock.Session(oarlock.compile(plain, threads=threads))}
    before = [list(sessions["float"].run(feed).values()) for feed in feeds]
    lines: list[str] = []
    for kind, more in KINDS.items():
        path = quantised(plain, folder, kind, more)
        program, report = load_model(path), json.loads((path.parent / "quantised.json").read_text())
        wanted = paddle_runs(path, path.with_suffix(".pdiparams"), feeds)
        artifact = oarlock.compile(program, threads=threads, options={"precision": "int8"})
        sessions[kind] = oarlock.Session(artifact)
        got = [list(sessions[kind].run(feed).values()) for feed in feeds]
        if kind == "absmax":
            narrow = sum(1 for kernel in artifact.manifest["kernels"].values() if "uint8" in kernel.get("workload", ""))
            on_integers = sum(not layer["in_float"] for layer in report["layers"])
            lines.append(
                f"{name}: {on_integers} of {len(report['layers'])} layers on integers ({narrow} kernels), "
                f"{len(report['skipped'])} others in float; absmax of {report['calibrated']} examples"
            )
            alone, tensors = compared_alone(program, feeds[:JUDGED], path.parent)
            lines.append(f"  from Paddle's own run of it, each layer alone: at most {alone:.2g} steps ({tensors} tensors)")
            on_floats = oarlock.Session(oarlock.compile(program, threads=threads))
            again = [list(on_floats.run(feed).values()) for feed in feeds]
        rounding = max(_rms(a, b) for a, b in _pairs(got, before))
        alike = np.mean([(a.argmax(-1) == b.argmax(-1)).mean() for a, b in _pairs(got, wanted)])
        floats = f"; computed on floats: {_steps(again, wanted)}" if kind == "absmax" else ""
        lines += [
            f"  {kind}, the whole, {len(feeds)} inputs: {_steps(got, wanted)}{floats}; same winner in {alike:.1%} of rows; "
            f"from the float model: rms {rounding:.2%} of the output's"
        ]
        right |= {f"{kind} by Paddle": _right(wanted, labels), f"{kind} in int8": _right(got, labels)}
    if labels is not None:
        lines.append("  right of those inputs: " + ", ".join(f"{which} {part:.2%}" for which, part in right.items()))
    depthwise = [layer["name"] for layer in report["layers"] if layer["operator"] == "depthwise_conv2d"]
    if depthwise:
        keep = [word for layer in depthwise for word in ("--keep", layer)]
        path = quantised(plain, folder, "absmax but for depthwise", keep)
        sessions["absmax but for depthwise"] = oarlock.Session(oarlock.compile(path, threads=threads, options={"precision": "int8"}))
    times = dict(zip(sessions, alternated(list(sessions.values()), feeds[0]), strict=True))
    lines.append(
        f"  float {statistics.median(times['float']):.3f} ms, least {min(times['float']):.3f}; {threads} thread(s), {ROUNDS} rounds; "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for kind in list(sessions)[1:]:
        ratios = [b / a for a, b in zip(times["float"], times[kind], strict=True)]
        low, high = np.percentile(ratios, [10, 90])
        lines.append(
            f"  {kind} {statistics.median(times[kind]):.3f} ms, least {min(times[kind]):.3f}: ratio {statistics.median(ratios):.3f} "
            f"(10th and 90th percentiles: {low:.3f}, {high:.3f}; of the least times {min(times[kind]) / min(times['float']):.3f})"
        )
    return lines


def _right(outputs: list[list[np.ndarray]], labels: np.ndarray | None) -> float:
    """The part of the inputs whose first output's largest element is the label."""
    return 0.0 if labels is None else float(np.mean([int(o[0].argmax(-1)[0]) == label for o, label in zip(outputs, labels, strict=True)]))


def _pairs(one: list[list[np.ndarray]], other: list[list[np.ndarray]]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [pair for a, b in zip(one, other, strict=True) for pair in zip(a, b, strict=True)]


def _rms(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(got - wanted)) / np.mean(np.square(wanted))))


def _steps(got: list[list[np.ndarray]], wanted: list[list[np.ndarray]]) -> str:
    """How far outputs are from Paddle's, each input's worst output."""
    found = [
        max(float(np.abs(a - b).max() / np.abs(b).max()) * 127 for a, b in zip(one, other, strict=True))
        for one, other in zip(got, wanted, strict=True)
    ]
    same = f", {sum(s == 0 for s in found)} of them bit for bit" if 0 in found else ""
    return f"{sum(s <= 1 for s in found)} within a step{same} (median {statistics.median(found):.2g}, most {max(found):.2g})"


def written(out: Path, head: str, sections: dict[str, list[str]]) -> None:
    """Write the sections to the file, in order; those of other models stay as they are there."""
    kept: dict[str, list[str]] = {}
    for line in out.read_text(encoding="utf-8").splitlines()[1:] if out.exists() else []:
        if not line.startswith(" "):
            kept[line.split(":")[0]] = []
        if kept:
            list(kept.values())[-1].append(line)
    kept |= sections
    lines = [line for name in NAMES for line in kept.get(name, [])]
    out.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--work", type=Path, default=Path("build/bench"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the lines here, in the place of those that it has of the same models")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in NAMES]:
        parser.error(f"no such model: {', '.join(unknown)}")
    head = f"{cpu_name()}, {os.cpu_count()} logical CPUs; oarlock {oarlock.__version__}; {time.strftime('%Y-%m-%d')}"
    print(head)
    sections: dict[str, list[str]] = {}
    for name in arguments.names or NAMES:
        sections[name] = measure(name, arguments.work.resolve(), arguments.threads)
        print("\n".join(sections[name]), flush=True)
        if arguments.out:
            written(arguments.out, head, sections)


if __name__ == "__main__":
    main()
