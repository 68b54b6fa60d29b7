"""``check``: the same inputs through Oarlock and through Paddle, compared output by output."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OarlockError, TargetError
from ..inputs import random_inputs, save_npz
from ..runtime.host import Host
from ..runtime.session import Session

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "int8": 0.05}  # by the precision of products; of the output's scale


@dataclass(frozen=True)
class OutputCheck:
    """One output: shapes and dtypes of both, and the differences (relative: to the largest magnitude Paddle gave).

    ``rms_rel``: the root of the mean square of all differences, by that of Paddle's output.  ``same_winner``: the part of the rows (along
    the last dim) that have their largest element at the same place; None for outputs that are no floats or have rows of one.
    """

    name: str
    shape: tuple[int, ...]
    expected_shape: tuple[int, ...]
    dtype: str
    expected_dtype: str
    max_abs: float
    max_rel: float
    rms_rel: float
    same_winner: float | None
    ok: bool
    why: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CheckReport:
    """All outputs; ``ok`` when every one has Paddle's shape and dtype and is within the tolerance of its scale."""

    outputs: tuple[OutputCheck, ...]
    tolerance: float

    @property
    def ok(self) -> bool:
        return all(o.ok for o in self.outputs)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "tolerance": self.tolerance, "outputs": [o.to_json() for o in self.outputs]}


def check(
    model: str | Path,
    inputs: Mapping[str, np.ndarray] | None = None,
    *,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    target: str = "cpu",
    threads: int | None = None,
    tolerance: float | None = None,
    python: str | None = None,
    host: Host | str | None = None,
    session: Session | None = None,
) -> CheckReport:
    """Compare Oarlock with Paddle on one model (a path; Paddle reads the files itself).

    ``inputs`` default to seeded random ones; ``shapes`` and ``host`` as in compile.  ``python`` is an interpreter that has
    paddlepaddle (default: this one); give one with Paddle 2.6 for legacy files that 3.x cannot run.  ``tolerance``: by default what
    TOLERANCE has for the precision that the model was compiled with.
    Raises TargetError when Paddle is not there or fails, OarlockError for what Oarlock refuses.
    """
    from ..compiler import compile as compile_model
    from ..model.load import load_model

    program = load_model(model)
    if session is None:
        artifact = compile_model(program, target=target, shapes=shapes, threads=threads, host=host)
        session = Session(artifact, host=None if isinstance(host, str) else host)
    if inputs is None:
        inputs = random_inputs(session.inputs, shapes)
    expected = run_paddle(program.source["path"], program.source["params"], inputs, python)
    got = session.run(inputs)
    if len(expected) != len(got):
        raise OarlockError(
            f"Paddle gives {len(expected)} outputs, Oarlock {len(got)}", where=str(model), todo="please report it with the model"
        )
    if tolerance is None:
        tolerance = TOLERANCE[session.artifact.manifest["options"].get("precision", "float32")]
    pairs = zip(got.items(), expected, strict=True)
    return CheckReport(tuple(compare(name, mine, theirs, tolerance) for (name, mine), theirs in pairs), tolerance)


def more_than_numbers(checks: Sequence[OutputCheck]) -> str:
    """How results differ in more than numbers within a tolerance: the first of such; integers are right or wrong.  "": in nothing."""
    return next((c.why for c in checks if c.why and (not c.max_rel or "float" not in c.dtype)), "")


def compare(name: str, got: np.ndarray, expected: np.ndarray, tolerance: float = TOLERANCE["float32"]) -> OutputCheck:
    """One output against Paddle's: integers and booleans must be equal, floats within tolerance · max(|expected|); complex by distance."""
    why, max_abs, max_rel, rms_rel, winner = "", 0.0, 0.0, 0.0, None
    if got.shape != expected.shape:
        why = "the shapes differ"
    elif got.dtype != expected.dtype:
        why = "the dtypes differ"
    elif got.size:
        exact = expected.dtype.kind in "biu"
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        a, e = got.astype(wide), expected.astype(wide)
        with np.errstate(all="ignore"):
            difference = np.where((a == e) | (np.isnan(a) & np.isnan(e)), 0.0, np.abs(a - e))
        finite = np.abs(e[np.isfinite(e)])
        scale = float(finite.max()) if finite.size else 0.0
        max_abs = float("inf") if np.isnan(difference).any() else float(difference.max())
        max_rel = max_abs / scale if scale else max_abs
        power = float(np.sqrt(np.mean(np.square(np.abs(e)))))
        rms = float(np.sqrt(np.mean(np.square(difference))))
        rms_rel = rms / power if power else rms
        if expected.dtype.kind == "f" and e.ndim and e.shape[-1] > 1:
            winner = float((a.argmax(-1) == e.argmax(-1)).mean())
        if exact and max_abs:
            why = f"{int(np.count_nonzero(difference))} of {difference.size} elements differ"
        elif not exact and not max_rel <= tolerance:
            why = f"the largest difference is {max_rel:.2g} of the output's scale"
    return OutputCheck(
        name, got.shape, expected.shape, str(got.dtype), str(expected.dtype), max_abs, max_rel, rms_rel, winner, not why, why
    )


def run_paddle(
    graph: str, params: str, inputs: Mapping[str, np.ndarray], python: str | None = None, timeout_s: float = 600.0
) -> list[np.ndarray]:
    """What Paddle Inference gives for a saved model, in fetch order; it runs in its own process.

    ``params`` is the file of the weights, the folder with one file a parameter, or empty.
    """
    with tempfile.TemporaryDirectory(prefix="oarlock-check-") as scratch:
        fed, fetched = Path(scratch, "inputs.npz"), Path(scratch, "outputs.npz")
        save_npz(fed, {name: np.asarray(array) for name, array in inputs.items()})
        script = str(Path(__file__).with_name("paddle_process.py"))
        command = [python or sys.executable, script, graph, params or "-", str(fed), str(fetched)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            raise TargetError(f"Paddle did not finish within {timeout_s:.0f} s", where=graph) from error
        except OSError as error:
            raise InputError(f"the interpreter cannot be started: {error}", where=command[0]) from error
        if done.returncode or not fetched.exists():
            if "No module named 'paddle'" in done.stderr:
                raise TargetError("Paddle is not installed, so there is nothing to compare with", todo="pip install 'oarlock[paddle]'")
            last = [line for line in done.stderr.splitlines() if line.strip()]
            raise TargetError(f"Paddle failed to run the model (exit status {done.returncode}): {last[-1] if last else ''}", where=graph)
        with np.load(fetched, allow_pickle=False) as archive:
            return [archive[name] for name in sorted(archive.files)]
