"""One drawn call through Paddle and through Oarlock."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from drawing import Call, Values

import oarlock
from oarlock.checking.oracle import export_call
from oarlock.runtime.dtypes import numpy_dtype

# The difference allowed, of the result's scale: of float32 what the samples allow, half the digits of float64, and some units in the
# last place of the short types, whose kernels Paddle sums in the type itself or in float32, as they come.
LIMITS = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-9, "complex128": 1e-9, "float16": 4e-3, "bfloat16": 3e-2}
HALF = ("float16", "bfloat16")
# What is no refusal of Paddle's but a mistake in a strategy.
MISTAKES = (NameError, SyntaxError, AttributeError, KeyError, ImportError)


class Refused(Exception):
    """Paddle does not take the call, or saves it as other operators."""


@dataclass
class Tally:
    """What became of the calls of one operator."""

    run: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        return sum(self.refused.values())


def try_call(call: Call, tally: Tally) -> None:
    """Compare one call.  Raises Refused, or AssertionError (with the call as a sample) when Oarlock differs from Paddle or cannot."""
    try:
        with tempfile.TemporaryDirectory(prefix="oarlock-drawn-") as folder:
            expected, arrays = _paddle(call, Path(folder) / "model")
            got = _oarlock(call, Path(folder) / "model.json", arrays)
    except Refused as refusal:
        tally.refused[str(refusal)] += 1
        raise
    tally.run += 1
    if len(got) != len(expected):
        raise AssertionError(f"{len(got)} results, Paddle gives {len(expected)}\n{call!r}")
    for number, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        why = differs(mine, theirs, call.tolerance)
        if why and not _is_nearer(call, got, number):
            raise AssertionError(f"result {number}: {why}\n{call!r}\nOarlock: {_few(mine)}\nPaddle:  {_few(theirs)}")


def _paddle(call: Call, stem: Path) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    arrays = {name: v.array() for name, v in call.inputs.items()}
    held = {name: v.array() for name, v in call.constants.items()}
    declared = {name: [-1 if a in axes else d for a, d in enumerate(arrays[name].shape)] for name, axes in call.unknown.items()}
    try:
        expected = export_call(call.run, arrays, held, stem, dynamic=False, declared=declared)
    except MISTAKES:
        raise
    except Exception as error:
        raise Refused(_short(error)) from error
    saved = set(re.findall(r'"#":"1\.(\w+)"', stem.with_suffix(".json").read_text()))
    if call.operator not in saved and f"{call.operator.removesuffix('_')}" not in saved:
        others = sorted(n for n in saved - {"data", "fetch", "full", "full_int_array"} if not n.startswith("a_"))
        raise Refused(f"saved as {', '.join(others)}")
    return expected, arrays


def _oarlock(call: Call, model: Path, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    try:
        session = oarlock.Session(oarlock.compile(oarlock.load_model(model), target="cpu", threads=1))
        return list(session.run(arrays).values())
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {_short(error)}\n{call!r}") from error


def differs(got: np.ndarray, want: np.ndarray, tolerance: float = 0.0) -> str:
    """Why a result is not Paddle's; "" when it is."""
    if (got.shape, got.dtype) != (want.shape, want.dtype):
        return f"{got.dtype}{list(got.shape)}, Paddle gives {want.dtype}{list(want.shape)}"
    if not want.size:
        return ""
    if want.dtype.name not in LIMITS:
        wrong = np.count_nonzero(got != want)
        return f"{wrong} of {want.size} elements differ" if wrong else ""
    kind = "complex128" if want.dtype.kind == "c" else "float64"
    left, right = got.astype(kind), want.astype(kind)
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(left)) or not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return "what is not finite differs"
    if not finite.any():
        return ""
    error = float(np.abs(left[finite] - right[finite]).max()) / max(1.0, float(np.abs(right[finite]).max()))
    return f"differs by {error:.2g} of its scale" if error > max(LIMITS[want.dtype.name], tolerance) else ""


def _is_nearer(call: Call, got: list[np.ndarray], number: int) -> bool:
    """Whether a result of a half type is near what Paddle gives for the same values in float32: then its kernel of that type is off."""
    short = {v.dtype for v in [*call.inputs.values(), *call.constants.values()]} & set(HALF)
    if not short:
        return False

    def rounded(name: str, given: dict[str, Values]) -> np.ndarray:
        array = given[name].array()
        return array.astype("float32") if given[name].dtype in HALF else array

    arrays = {name: rounded(name, call.inputs) for name in call.inputs}
    held = {name: rounded(name, call.constants) for name in call.constants}
    with tempfile.TemporaryDirectory(prefix="oarlock-drawn-") as folder:
        try:
            wide = export_call(call.run, arrays, held, Path(folder) / "model", dynamic=False)[number]
        except Exception:
            return False
    if wide.dtype == np.float32 and got[number].dtype.name in HALF:
        wide = wide.astype(numpy_dtype(got[number].dtype.name))
    return not differs(got[number], wide, call.tolerance)


def _few(array: np.ndarray) -> str:
    return f"{array.dtype}{list(array.shape)} {np.array2string(array.reshape(-1)[:12].astype(object))}"


def _short(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next((line for line in lines if "Error:" in line), lines[-1] if lines else "")
    return f"{type(error).__name__}: {told}"[:300]
