"""What a drawn call is, the strategies that every family shares, and the list of operators that must have one.

A family registers ``@drawn("relu", …)`` over a function ``(draw, operator) → Call``.  A call is text and descriptions of arrays, so that
what fails can be printed, shrunk, and pasted among the samples (src/oarlock/ops/samples/).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from oarlock.ops.samples import base
from oarlock.ops.samples.detection import boxes
from oarlock.runtime.dtypes import numpy_dtype

MOST_USED = Path(__file__).with_name("most_used.tsv")
FLOATS = ("float32", "float64", "bfloat16")  # of float16 Paddle has hardly a kernel on CPUs
INTEGERS = ("int64", "int32", "uint8", "int8", "int16")
NUMBERS = ("float32", "int64", "float64", "int32", "float16", "bfloat16", "uint8", "int8", "int16")

# What the text of values and calls may name.
NAMES = {name: getattr(base, name) for name in ("f32", "f64", "i64", "boolean", "oddities")}
NAMES |= {"np": np, "boxes": boxes, "numpy_dtype": numpy_dtype, "inf": math.inf, "nan": math.nan}


@dataclass(frozen=True)
class Values:
    """An array of seeded random values; ``grain`` rounds them to its multiples, so that there are ties; ``text`` makes another one."""

    dtype: str
    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 2.0
    seed: int = 0
    grain: float = 0.0
    text: str = ""
    odd: bool = False  # some are NaN, infinite, or a zero with a sign

    def array(self) -> np.ndarray:
        return eval(str(self), NAMES)

    def __str__(self) -> str:
        """The Python that makes it, by the helpers of the samples."""
        if self.text:
            return self.text
        return f"oddities({self._plain()})" if self.odd and numpy_dtype(self.dtype).kind not in "iub" else self._plain()

    def _plain(self) -> str:
        place = "".join(f"{d}, " for d in self.shape)
        if self.dtype == "bool":
            return f"np.asarray(boolean({place}seed={self.seed}))"
        limits = f"low={self.low!r}, high={self.high!r}, seed={self.seed}"
        if numpy_dtype(self.dtype).kind in "iu":
            limits = f"low={math.floor(self.low)}, high={max(math.ceil(self.high), math.floor(self.low) + 1)}, seed={self.seed}"
            made, own = f"i64({place}{limits})", "int64"
        else:
            made, own = (f"f64({place}{limits})", "float64") if self.dtype == "float64" else (f"f32({place}{limits})", "float32")
            if self.grain:
                made = f"(np.round({made} / {self.grain!r}) * {self.grain!r})"
                own = own if own == "float64" else ""
        if not self.shape:
            made, own = f"np.asarray({made})", own if own == "float64" else ""
        if own == self.dtype:
            return made
        return f'{made}.astype(numpy_dtype("bfloat16"))' if self.dtype == "bfloat16" else f'{made}.astype("{self.dtype}")'


@dataclass(frozen=True)
class Call:
    """``code``: an expression of ``paddle`` and the names in inputs and constants.  ``unknown``: axes that are declared unknown (−1)."""

    operator: str
    code: str
    inputs: dict[str, Values]
    constants: dict[str, Values] = field(default_factory=dict)
    unknown: dict[str, tuple[int, ...]] = field(default_factory=dict)
    tolerance: float = 0.0  # of the result's scale, where that of the type is too little: the strategy says why

    def run(self, paddle: Any, *tensors: Any) -> Any:
        names = dict(zip([*self.inputs, *self.constants], tensors, strict=True))
        return eval(self.code, {"paddle": paddle, **NAMES, **names})

    def __repr__(self) -> str:
        """A sample that a person can paste; hypothesis prints it, too."""
        names = ", ".join(["paddle", *self.inputs, *self.constants])
        made = "".join(f"\n    {name}={values}," for name, values in self.inputs.items())
        if self.constants:
            made += "\n    constants={" + ", ".join(f"{name!r}: {values}" for name, values in self.constants.items()) + "},"
        told = {name: list(axes) for name, axes in self.unknown.items() if axes}
        note = f"  # unknown axes: {told}" if told else "  # all dims known"
        return f"sample(\n    {self.operator.removesuffix('_')!r}, lambda {names}: {self.code},{note}{made}\n)"


Strategy = Callable[[Any, str], Call]
STRATEGIES: dict[str, Strategy] = {}


def drawn(*operators: str) -> Callable[[Strategy], Strategy]:
    """Register a function (draw, operator) → Call for these operators."""

    def register(function: Strategy) -> Strategy:
        for name in operators:
            if name in STRATEGIES:
                raise ValueError(f"{name} has a strategy already")
            STRATEGIES[name] = function
        return function

    return register


def calls(operator: str) -> st.SearchStrategy[Call]:
    """Calls of an operator."""
    function = STRATEGIES[operator]

    @st.composite
    def one(draw: Any) -> Call:
        call = function(draw, operator)
        return known(draw, call) if draw(st.integers(0, 6)) == 6 else call

    return one()


def known(draw: Any, call: Call) -> Call:
    """The call with some of its inputs as contents of the program, by which the importer folds what it can."""
    small = [n for n, v in call.inputs.items() if v.dtype in ("int64", "float32", "int32", "float64", "bool") and math.prod(v.shape) <= 64]
    chosen = [name for name in small if flag(draw)]
    if not chosen:
        return call
    made = ", ".join(f"paddle.assign({call.inputs[name]})" for name in chosen)
    inputs = {name: v for name, v in call.inputs.items() if name not in chosen}
    unknown = {name: axes for name, axes in call.unknown.items() if name not in chosen}
    return replace(call, code=f"(lambda {', '.join(chosen)}: {call.code})({made})", inputs=inputs, unknown=unknown)


def most_used() -> dict[str, int]:
    """Operator → the number of models that have it, the most used first."""
    lines = [line.split("\t") for line in MOST_USED.read_text().splitlines() if not line.startswith("#")]
    return {name: int(models) for name, models, _ in lines[1:]}


# The first of each list is what a failure shrinks to.  Sizes: small, larger than a vector, none that divides another, and 0.
SIZES = (2, 3, 1, 4, 5, 2, 3, 1, 7, 8, 16, 17, 33, 0)
MOST = 6000  # elements: larger arrays cost time and find nothing that these do not


def size(draw: Any, least: int = 0, most: int = 33) -> int:
    return draw(st.sampled_from([n for n in SIZES if least <= n <= most]))


def shape(draw: Any, least: int = 0, most: int = 4, zero: bool = True, largest: int = 33) -> tuple[int, ...]:
    """A shape of ``least`` to ``most`` dims, cut where it would have too many elements."""
    dims: list[int] = []
    for _ in range(draw(st.integers(least, most))):
        n = size(draw, 0 if zero else 1, largest)
        dims.append(n if math.prod(dims) * n <= MOST else 2)
    return tuple(dims)


def fits(draw: Any, result: Sequence[int]) -> tuple[int, ...]:
    """A shape that broadcasts to ``result``: leading dims left out, others 1."""
    first = draw(st.integers(0, len(result)))
    return tuple(1 if draw(st.integers(0, 3)) == 3 else d for d in result[first:])


def pick(draw: Any, *choices: Any) -> Any:
    """One of these; a failure shrinks towards the first."""
    return draw(st.sampled_from(choices))


def flag(draw: Any) -> bool:
    return draw(st.booleans())


def axis(draw: Any, rank: int) -> int:
    """An axis of ``rank`` dims, maybe counted from the end."""
    return draw(st.integers(-rank, rank - 1))


def axes(draw: Any, rank: int, least: int = 1) -> list[int]:
    """Different axes in any order, some counted from the end."""
    chosen = draw(st.lists(st.integers(0, rank - 1), min_size=min(least, rank), max_size=rank, unique=True))
    return [a - rank if flag(draw) else a for a in chosen]


def values(
    draw: Any, dtype: str, dims: Sequence[int], low: float = -2.0, high: float = 2.0, grain: float = 0.0, odd: bool = False
) -> Values:
    """Seeded values; ``odd``: sometimes NaN and infinities are among the floats."""
    return Values(dtype, tuple(dims), *limits(dtype, low, high), draw(st.integers(0, 3)), grain, odd=odd and pick(draw, 0, 0, 0, 1) == 1)


def listed(dtype: str, data: Any) -> Values:
    """These very elements (nested lists)."""
    array = np.array(data, dtype)
    return Values(dtype, array.shape, text=f"np.array({array.reshape(-1).tolist()}, {dtype!r}).reshape({list(array.shape)})")


def limits(dtype: str, low: float, high: float) -> tuple[float, float]:
    """Integers of a wider range, so that they are not all alike; none below 0 where the type has none."""
    if numpy_dtype(dtype).kind in "iu" and (low, high) == (-2.0, 2.0):
        low, high = -6.0, 7.0
    return (max(low, 0.0), high) if dtype.startswith("uint") else (low, high)


def unknown(draw: Any, free: dict[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Which of the axes that may be unknown are: none, all, or any."""
    how = pick(draw, "none", "all", "some")
    if how == "none":
        return {}
    return {name: tuple(a for a in may if how == "all" or flag(draw)) for name, may in free.items()}


def everywhere(**inputs: Values) -> dict[str, Sequence[int]]:
    """All axes of these inputs."""
    return {name: range(len(v.shape)) for name, v in inputs.items()}


def expression(function: str, *operands: str, **attributes: Any) -> str:
    """``paddle.function(x, y, key=value)``."""
    return f"{function}({', '.join([*operands, *(f'{k}={v!r}' for k, v in attributes.items())])})"
