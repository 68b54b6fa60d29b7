"""What it costs to have a model run: installed size, import, load, first result, memory — beside other runtimes.

    python benchmarks/footprint.py [MODEL] [--artifact FILE] [--onnx FILE] [--rounds N] [--write docs/footprint.md]

MODEL is a Paddle model with one image input (default: MobileNetV3-Small, made with paddle.vision where Paddle is installed).
Every number comes from a process of its own, which loads the runtime, the model, and gives one result on one thread; the
runtimes take turns, and the median and the range over all rounds are shown.  A runtime that is not installed is left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPE = (1, 3, 224, 224)
ROUNDS = 7
LIBRARIES = {"libtvm_ffi.so", "libtvm_runtime.so", "libtvm_runtime_extra.so"}
# A Python process with numpy is what all of them start from.
BASE = """
import json, resource, sys, time; import numpy as np; x = np.zeros({shape}, 'float32')
held = set(sys.modules); t0 = time.perf_counter()
"""
REPORT = """
t3 = time.perf_counter()
maps = open('/proc/self/maps').read()
files = {m.split('.')[0]: getattr(v, '__file__', None) or '' for m, v in sys.modules.items() if m not in held}
print(json.dumps({'import': t1 - t0, 'load': t2 - t1, 'first': t3 - t2, 'total': t3 - t0, 'first value': float(np.ravel(y)[0]),
    'rss': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    'modules': sorted(m for m, file in files.items() if 'site-packages' in file),
    'libraries': sorted({line.split()[-1] for line in maps.splitlines() if '/libtvm' in line})}))
"""
PROGRAMS = {
    "oarlock": """
import oarlock; oarlock.load; t1 = time.perf_counter()
s = oarlock.load({artifact!r}, threads=1); t2 = time.perf_counter()
y = next(iter(s.run({{s.inputs[0].name: x}}).values()))
""",
    "onnxruntime": """
import onnxruntime as ort; t1 = time.perf_counter()
o = ort.SessionOptions(); o.intra_op_num_threads = 1
s = ort.InferenceSession({onnx!r}, o, providers=['CPUExecutionProvider']); t2 = time.perf_counter()
y = s.run(None, {{s.get_inputs()[0].name: x}})[0]
""",
    "paddle.inference": """
import paddle.inference as pi; t1 = time.perf_counter()
c = pi.Config({graph!r}, {params!r}); c.disable_gpu(); c.disable_glog_info(); c.set_cpu_math_library_num_threads(1)
p = pi.create_predictor(c); t2 = time.perf_counter()
h = p.get_input_handle(p.get_input_names()[0]); h.copy_from_cpu(x); p.run()
y = p.get_output_handle(p.get_output_names()[0]).copy_to_cpu()
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--artifact", type=Path, help="an artifact of the model (default: compiled now)")
    parser.add_argument("--onnx", type=Path, help="the same model for onnxruntime (default: made with paddle2onnx where installed)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oarlock-footprint-") as scratch:
        places = prepare(options, Path(scratch))
        rows = measure(places, options.rounds, Path(scratch))
    text = table(rows, options)
    print(text)
    if options.write:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(text)


def prepare(options: argparse.Namespace, scratch: Path) -> dict[str, dict[str, str]]:
    """Runtime → what its program needs; only the runtimes that can run the model here."""
    model = options.model or export_mobilenet(scratch)
    graph = next((p for p in sorted(model.iterdir()) if p.suffix in (".json", ".pdmodel")), model) if model.is_dir() else model
    artifact = options.artifact
    if artifact is None:
        artifact = scratch / "model.oar"
        # In a process of its own, as everything here: this one must not hold the compiler while it measures.
        code = f"import oarlock; oarlock.compile({str(model)!r}, shapes={{'x': {SHAPE}}}, threads=1).save({str(artifact)!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
    places = {"oarlock": {"artifact": str(artifact)}}
    if installed("onnxruntime"):
        onnx = options.onnx or export_onnx(graph, scratch)
        if onnx is not None:
            places["onnxruntime"] = {"onnx": str(onnx)}
    if installed("paddle"):
        places["paddle.inference"] = {"graph": str(graph), "params": str(graph.with_suffix(".pdiparams"))}
    return places


def export_mobilenet(folder: Path) -> Path:
    """MobileNetV3-Small with seeded weights, as PIR json."""
    if not installed("paddle"):
        sys.exit("name a model: Paddle, which would make one, is not installed")
    path = str(folder / "mobilenet" / "model")
    code = (
        "import paddle\n"
        "paddle.seed(0); m = paddle.vision.models.mobilenet_v3_small(); m.eval()\n"
        f"paddle.jit.save(m, {path!r}, input_spec=[paddle.static.InputSpec({list(SHAPE)}, 'float32', 'x')])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return folder / "mobilenet"


def export_onnx(graph: Path, folder: Path) -> Path | None:
    """The model as ONNX by paddle2onnx; None where that is not installed or fails."""
    if not installed("paddle2onnx"):
        return None
    out, params = folder / "model.onnx", graph.with_suffix(".pdiparams")
    code = f"import paddle2onnx; paddle2onnx.export({str(graph)!r}, {str(params)!r}, {str(out)!r}, opset_version=13)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out if done.returncode == 0 and out.is_file() else None


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def measure(places: dict[str, dict[str, str]], rounds: int, scratch: Path) -> dict[str, list[dict]]:
    rows: dict[str, list[dict]] = {name: [] for name in places}
    settings = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TVM_NUM_THREADS")}
    # Installed packages have their bytecode beside them; here it is kept for all alike, also where Oarlock runs from its sources.
    settings |= {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(scratch / "bytecode")}
    for number in range(rounds + 1):
        for name, place in places.items():
            code = BASE.format(shape=SHAPE) + PROGRAMS[name].format(**place) + REPORT
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **settings}, timeout=120)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr}")
            if number:  # the first round only fills the page cache, and that of bytecode
                rows[name].append(json.loads(done.stdout.splitlines()[-1]))
    for row in rows["oarlock"]:
        # What stands below "installed" is what this process has loaded, and nothing else.
        if {Path(path).name for path in row["libraries"]} != LIBRARIES or set(row["modules"]) - {"numpy", "oarlock"}:
            sys.exit(f"the process that ran the artifact had loaded more than it needs: {row['libraries']}, {row['modules']}")
    values = {name: runs[0]["first value"] for name, runs in rows.items()}
    if max(values.values()) - min(values.values()) > 1e-3 * max(1.0, *map(abs, values.values())):
        sys.exit(f"the runtimes do not agree on the result: {values}")
    return rows


def table(rows: dict[str, list[dict]], options: argparse.Namespace) -> str:
    what = options.model.name if options.model else "MobileNetV3-Small, 1×3×224×224"
    count = len(next(iter(rows.values())))
    lines = [
        "# Footprint",
        "",
        f"{what}; one thread; each number is the median of {count} fresh processes (range in brackets), the runtimes in turns.",
        f"{cpu_name()}, {os.cpu_count()} logical CPUs, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "Made by `python benchmarks/footprint.py --write docs/footprint.md`.",
        "",
        "| runtime | installed | import (ms) | load (ms) | first result (ms) | all three (ms) | peak memory (MB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, runs in rows.items():
        cells = [f"{spread([1e3 * run[key] for run in runs])}" for key in ("import", "load", "first", "total")]
        memory = spread([run["rss"] / 1e6 for run in runs])
        lines.append(f"| {title(name)} | {installed_size(name, runs) / 1e6:.1f} MB | {' | '.join(cells)} | {memory} |")
    lines += [
        "",
        "Installed size: for Oarlock, what a process that runs artifacts loads — `libtvm_runtime.so`, `libtvm_runtime_extra.so`,",
        "`libtvm_ffi.so` and Oarlock's own package; pip installs more (TVM's compiler), of which the process touches nothing.  Models with",
        "bfloat16 tensors also need ml_dtypes.  For the others, the files of their package.  numpy is needed by all and not counted.",
        "Each process starts with numpy imported; peak memory includes it, the interpreter and the model.  All have their bytecode cached.",
        "",
    ]
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f}–{max(values):.0f})"


def title(name: str) -> str:
    if name == "oarlock":
        import oarlock  # which may run from its sources

        return f"{name} {oarlock.__version__}"
    package = {"onnxruntime": "onnxruntime", "paddle.inference": "paddlepaddle"}[name]
    return f"{name} {importlib.metadata.version(package)}"


def installed_size(name: str, runs: list[dict]) -> int:
    if name != "oarlock":
        return folder_size({"onnxruntime": "onnxruntime", "paddle.inference": "paddle"}[name])
    return folder_size("oarlock") + sum(Path(path).stat().st_size for path in runs[0]["libraries"])


def folder_size(module: str) -> int:
    root = package(module)
    files = (p for p in root.rglob("*") if p.is_file() and not p.is_symlink())
    return sum(p.stat().st_size for p in files if "__pycache__" not in p.relative_to(root).parts)


def package(module: str) -> Path:
    """An installed package's folder, found without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        sys.exit(f"{module} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
