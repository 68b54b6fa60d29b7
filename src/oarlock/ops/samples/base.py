"""What a sample is, and short names for its inputs."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Sample:
    """One call: ``call(paddle, *inputs)`` in Paddle's static graph mode gives the output(s) to compare.

    inputs      name → array, the values fed
    constants   name → array, values that the saved program holds as parameters (passed after the inputs, by name order given)
    rtol, atol  tolerance, relative to Paddle's own result (float32 kernels summed in another order: 1e-5 · scale)
    dynamic     whether to try it with every dim unknown as well; a reason (str) when the operator cannot
    static      axes (of every input) that stay known then, because Paddle itself asks for them (channels)
    xfail       why it is known to fail ("" : it must pass); strict: it must fail then
    seed_free   the output is random: compare shape and dtype only
    sequences   inputs whose rows Paddle is told to be one sequence (LoD)
    astray      types of the main operand that Paddle's own kernel computes wrong: its float32 says what is right
    """

    operator: str
    call: Callable[..., Any]
    inputs: dict[str, np.ndarray]
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    rtol: float = 1e-5
    atol: float = 1e-6
    dynamic: bool | str = True
    static: tuple[int, ...] = ()
    xfail: str = ""
    seed_free: bool = False
    astray: tuple[str, ...] = ()
    label: str = ""
    sequences: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.operator}-{self.label}" if self.label else self.operator


SAMPLES: list[Sample] = []


def sample(
    operator: str,
    call: Callable[..., Any],
    *,
    constants: dict[str, np.ndarray] | None = None,
    rtol: float = 1e-5,
    atol: float = 1e-6,
    dynamic: bool | str = True,
    static: tuple[int, ...] = (),
    xfail: str = "",
    seed_free: bool = False,
    sequences: tuple[str, ...] = (),
    astray: tuple[str, ...] = (),
    **inputs: np.ndarray,
) -> None:
    """Add a sample; its label is a number within its operator."""
    number = sum(1 for s in SAMPLES if s.operator == operator)
    label = str(number)
    run = (rtol, atol, dynamic, static, xfail, seed_free, astray)
    SAMPLES.append(Sample(operator, call, inputs, constants or {}, *run, label, sequences))


def _rng(*key: Any) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(repr(key).encode()))


def f32(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """Uniform float32."""
    return _rng(shape, low, high, seed).uniform(low, high, shape).astype("float32")


def f64(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """Uniform float64."""
    return _rng(shape, low, high, seed).uniform(low, high, shape)


def c64(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """Both parts uniform, complex64."""
    return c128(*shape, low=low, high=high, seed=seed).astype("complex64")


def c128(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """Both parts uniform, complex128."""
    return f64(*shape, low=low, high=high, seed=seed) + 1j * f64(*shape, low=low, high=high, seed=seed + 1000)


def i64(*shape: int, low: int = 0, high: int = 10, seed: int = 0) -> np.ndarray:
    """Integers low ≤ v < high, int64."""
    return _rng(shape, low, high, seed).randint(low, high, shape).astype("int64")


def i32(*shape: int, low: int = 0, high: int = 10, seed: int = 0) -> np.ndarray:
    """Integers low ≤ v < high, int32."""
    return i64(*shape, low=low, high=high, seed=seed).astype("int32")


def boolean(*shape: int, seed: int = 0) -> np.ndarray:
    """Fair coin."""
    return _rng(shape, seed).rand(*shape) > 0.5


def oddities(array: np.ndarray) -> np.ndarray:
    """The same floats, of which every third is NaN, ∞, −∞, 0 or −0."""
    out = array.reshape(-1).copy()
    odd = np.array([np.nan, np.inf, 0.0, -np.inf, -0.0], out.dtype)
    out[1::3] = np.resize(odd, out[1::3].size)
    return out.reshape(array.shape)
