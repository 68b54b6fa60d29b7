"""Export models in this interpreter: each name read from standard input is built, saved and run by Paddle in a forked child.

    python -m zoo.export WORK < names

For every name a line of JSON is printed: the facts of the exported model, or {"error": …}.  WORK/family/name gets inference.json (or
.pdmodel), inference.pdiparams and run-0.npz, run-1.npz: inputs (in:NAME) and what Paddle Inference gives for them (out:NUMBER) without
graph optimisation or oneDNN.  The second run has another batch where the model allows one.

This runs in the environments that have the models' packages; it needs nothing of Oarlock but the file that runs Paddle.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

for variable, value in {"GLOG_minloglevel": "3", "HF_HUB_OFFLINE": "1", "stride_in_no_check_dy2st_diff": "1"}.items():
    os.environ.setdefault(variable, value)

import numpy as np  # noqa: E402

from .compat import numpy_and_collections  # noqa: E402
from .forked import answer_in_child, serve  # noqa: E402
from .recipe import PRETRAINED, Recipe, resolve  # noqa: E402

LIMIT_S = 300  # of CPU time: the machine may have other work
STEM = "inference"


def paddle_process() -> ModuleType:
    """Oarlock's file that runs a saved model with Paddle Inference, which needs no Oarlock."""
    path = Path(__file__).parents[1] / "src/oarlock/checking/paddle_process.py"
    spec = importlib.util.spec_from_file_location("paddle_process", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def export(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Build the model, save it and what Paddle gives for its inputs."""
    import paddle

    start = time.perf_counter()
    paddle.seed(recipe.seed)
    np.random.seed(recipe.seed)
    random.seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    layer = resolve(recipe.build)(**recipe.arguments)
    layer.eval()
    if recipe.jitter:
        _jitter(layer, rng)
    if recipe.calibrate:
        _calibrate(layer, recipe, rng)
    if recipe.finish:
        resolve(recipe.finish)(layer)
    layer.eval()
    facts = _save(layer, recipe, folder / STEM, rng)
    arrays = [i.make(rng) for i in recipe.inputs]
    facts |= _run(recipe, folder, arrays, rng, facts["dynamic"])
    return facts | {"export_s": time.perf_counter() - start, "paddle": paddle.__version__}


def place(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """A pretrained model stays where its package has it; save what Paddle gives for the inputs, and where it is."""
    import paddle

    start = time.perf_counter()
    placed = resolve(recipe.build)(**recipe.arguments)
    runs = []
    for number, inputs in enumerate(placed.pop("inputs")):
        outputs = paddle_process().run(placed["model"], placed["params"], inputs, placed.get("sequences", False))
        _save_run(folder / f"run-{number}.npz", inputs, outputs)
        runs.append([list(a.shape) for a in inputs.values()])
    (folder / "source.json").write_text(json.dumps(placed))
    return {"dynamic": True, "runs": runs, "export_s": time.perf_counter() - start, "paddle": paddle.__version__}


def _jitter(layer: Any, rng: np.random.Generator) -> None:
    """Parameters that are all ones or all zeros hide mistakes (a scale left out, a bias added twice): make them random."""
    for name, parameter in layer.named_parameters():
        if not str(parameter.dtype).endswith("float32") or np.prod(parameter.shape) < 2:
            continue
        array = parameter.numpy()
        if array.min() != array.max():
            continue
        constant = float(array.flat[0])
        if constant == 1.0:
            new = rng.uniform(0.8, 1.2, array.shape)
        elif constant == 0.0:
            # where a deformable convolution looks: far away, with random features, the net is chaos, and every result right
            new = rng.normal(0, 0.002 if "conv_offset" in name else 0.05, array.shape)
        elif array.ndim == 1:  # biases that make the first predictions of a detector small
            new = rng.normal(0, 0.3, array.shape)
        else:
            continue
        parameter.set_value(new.astype("float32"))


_NORMS = ("BatchNorm", "BatchNorm1D", "BatchNorm2D", "BatchNorm3D", "SyncBatchNorm")


def _calibrate(layer: Any, recipe: Recipe, rng: np.random.Generator) -> None:
    """Give batch norms the statistics of a random batch: with the initial ones a deep net's output vanishes or explodes."""
    import paddle

    norms = [m for m in layer.sublayers(include_self=True) if type(m).__name__ in _NORMS]
    if not norms:
        return
    kept = [(m.training, getattr(m, "_momentum", None), getattr(m, "_use_global_stats", None)) for m in norms]
    for norm in norms:
        norm.training, norm._momentum = True, 0.0
        if getattr(norm, "_use_global_stats", None):
            norm._use_global_stats = False
        if hasattr(norm, "_is_test"):
            norm._is_test = False
    try:
        with paddle.no_grad():
            layer(*(paddle.to_tensor(i.make(rng, recipe.calibrate)) for i in recipe.inputs))
    except Exception:  # a model that takes no such batch keeps the statistics that it has so far
        pass
    for norm, (_, momentum, whole) in zip(norms, kept, strict=True):
        norm.training = False
        norm._momentum = momentum
        if whole is not None:
            norm._use_global_stats = whole
        if getattr(norm, "_variance", None) is not None:
            variance, mean = norm._variance.numpy(), norm._mean.numpy()
            norm._variance.set_value(np.maximum(np.where(np.isfinite(variance), variance, 1.0), 1e-3).astype("float32"))
            norm._mean.set_value(np.where(np.isfinite(mean), mean, 0.0).astype("float32"))


def _save(layer: Any, recipe: Recipe, path: Path, rng: np.random.Generator) -> dict[str, Any]:
    """paddle.jit.save with the declared dims, else (where Paddle itself cannot trace them) with those of the sample."""
    import paddle

    facts: dict[str, Any] = {"dynamic": any(d is None for i in recipe.inputs for d in i.shape)}
    forward = layer.forward

    def save(shapes: list[list[int | None]]) -> None:
        specs = [paddle.static.InputSpec(s, i.dtype, _name(i, n)) for n, (s, i) in enumerate(zip(shapes, recipe.inputs, strict=True))]
        options = {"full_graph": True} if "full_graph" in paddle.jit.to_static.__code__.co_varnames else {}
        static = paddle.jit.to_static(layer, input_spec=specs, **options)
        try:
            paddle.jit.save(static, str(path))
        except ValueError as error:  # inputs that no output depends on
            if "not involved in the target_vars" not in str(error):
                raise
            paddle.jit.save(static, str(path), skip_prune_program=True)

    declared = [list(i.shape) for i in recipe.inputs]
    try:
        save(declared)
    except Exception as error:
        if not facts["dynamic"]:
            raise
        facts |= {"dynamic": False, "static_because": _last_line(error)}
        layer.forward = forward
        save([list(i.make(np.random.default_rng(0)).shape) for i in recipe.inputs])
    return facts


def _name(declared: Any, number: int) -> str:
    return declared.name or f"x{number}"


def _run(recipe: Recipe, folder: Path, arrays: list[np.ndarray], rng: np.random.Generator, dynamic: bool) -> dict[str, Any]:
    """Save the runs; the second has one more in the batch, and is left out where the file or Paddle does not take it."""
    names = [_name(i, n) for n, i in enumerate(recipe.inputs)]
    runs = [dict(zip(names, arrays, strict=True))]
    outputs = _oracle(folder, runs[0])
    _save_run(folder / "run-0.npz", runs[0], outputs)
    first = {a.shape[0] for a, i in zip(arrays, recipe.inputs, strict=True) if i.shape and i.shape[0] is None}
    fixed = any(isinstance(i.values, tuple) and i.values[0] == "array" for i in recipe.inputs)
    if dynamic and len(first) == 1 and not fixed and recipe.family not in ("graph", "3d"):
        try:
            again = dict(zip(names, (i.make(rng, first.copy().pop() + 1) for i in recipe.inputs), strict=True))
            _save_run(folder / "run-1.npz", again, _oracle(folder, again))
            runs.append(again)
        except Exception:
            pass
    if not any(o.size == 1 or (o.size and o.min() != o.max()) for o in outputs):
        raise ValueError("all outputs are empty or of one number: there is nothing to compare")
    return {"runs": [[list(a.shape) for a in run.values()] for run in runs]}


def _oracle(folder: Path, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    model = next(p for p in (folder / f"{STEM}.json", folder / f"{STEM}.pdmodel") if p.exists())
    params = folder / f"{STEM}.pdiparams"
    return paddle_process().run(str(model), str(params) if params.exists() else "-", inputs)


def _save_run(path: Path, inputs: dict[str, np.ndarray], outputs: list[np.ndarray]) -> None:
    arrays = {f"in:{n}": a for n, a in inputs.items()} | {f"out:{n:03d}": a for n, a in enumerate(outputs)}
    np.savez(path, **arrays)


def _last_line(error: BaseException) -> str:
    """What the error says: Paddle's own sentence, where its operators raised it, else the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if re.match(r"(\(\w+\) )?\w+Error: ", line)] or lines
    return f"{type(error).__name__}: {said[-1] if said else ''}"[:300]


def main() -> None:
    from .recipes import all_recipes

    work, show = Path(sys.argv[1]), "--show" in sys.argv
    recipes = {r.key: r for r in all_recipes()}
    numpy_and_collections()
    prepared: set[str] = set()

    def one(key: str) -> dict[str, Any]:
        recipe, folder = recipes[key], work / key
        if recipe.setup and recipe.setup not in prepared:
            resolve(recipe.setup)()
            prepared.add(recipe.setup)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make = place if recipe.kind == PRETRAINED else export
        return answer_in_child(lambda: make(recipe, folder), lambda e: {"error": _last_line(e)}, LIMIT_S, show)

    serve(one, sys.stdin)


if __name__ == "__main__":
    main()
