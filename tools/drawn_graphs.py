"""Drawn programs of a dozen operators with sizes that only the run knows, beside Paddle.

    python tools/drawn_graphs.py [--count 200] [--seed 0] [--steps 10] [--moves] [--keep FOLDER]

Program number i depends on --seed, --steps and i alone.  Steps are drawn so that they are valid for the first sizes of the inputs, and are
run at those and at others; sizes that Paddle itself does not take are left out.  What one operator's samples cannot show is meant to come
up here: common sizes that run time decides, parts of them, shapes made of the contents of tensors, fusion across all that.
With --moves the sizes are known when the program is compiled, and steps only move elements: that shows where kernels read.
A program that is refused, fails or differs is told with its number and its steps.  Exit status 1 when there is one.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import oarlock
from oarlock.checking.compare import compare
from oarlock.checking.oracle import export_call
from oarlock.checking.paddle_process import run as run_paddle

SIZES = ({"a": 3, "b": 4}, {"a": 5, "b": 2}, {"a": 1, "b": 6})
OPTIONS = {"executor": "vm"}  # the plain way in: a third of the time
TOLERANCE = 1e-4
MOST = 3000  # elements of a tensor

Step = tuple[str, Callable[..., Any], list[int]]  # what it is, how, the tensors that it reads


def inputs_of(sizes: dict[str, int], seed: int) -> dict[str, np.ndarray]:
    """The inputs of every program; sizes that are equal here need not be in another run."""
    rng, a, b = np.random.default_rng(seed), sizes["a"], sizes["b"]
    return {
        "x": rng.standard_normal((a, b)).astype("float32"),
        "y": rng.standard_normal((a, 1)).astype("float32"),
        "z": rng.standard_normal((1, b)).astype("float32"),
        "w": rng.standard_normal((2, a, b)).astype("float32"),
        "i": rng.integers(0, min(a, b), (a,)).astype("int64"),
        "n": np.array([a], "int64"),
    }


class Draw:
    """One step for the tensors there are, by their values of the first run."""

    def __init__(self, rng: random.Random, tensors: list[Any], kinds: Sequence[str], chained: bool) -> None:
        self.rng, self.tensors, self.kinds, self.chained = rng, tensors, kinds, chained

    def some(self, fits: Callable[[Any], bool]) -> int:
        """The number of a tensor that fits, later ones more often.  IndexError where there is none."""
        found = [k for k, t in enumerate(self.tensors) if fits(t)]
        return self.rng.choice(found + found[-3:] * 2 + found[-1:] * (8 if self.chained else 0))

    def floats(self, rank: int = 0, most: int = 4) -> int:
        return self.some(lambda t: str(t.dtype) == "paddle.float32" and rank <= len(t.shape) <= most)

    def axis(self, k: int) -> int:
        rank = len(self.tensors[k].shape)
        return self.rng.randrange(-rank, rank)

    def step(self) -> Step:
        return getattr(self, self.rng.choice(self.kinds))()

    # ---- kinds of steps: (text, function of Paddle and tensors, tensors read) ------------------------------------------

    def unary(self) -> Step:
        k, name = self.floats(), self.rng.choice("tanh sigmoid abs floor sin square".split())
        return name, lambda p, t: getattr(p, name)(t), [k]

    def activation(self) -> Step:
        k, name = self.floats(), self.rng.choice("relu gelu silu hardswish leaky_relu".split())
        return name, lambda p, t: getattr(p.nn.functional, name)(t), [k]

    def scale(self) -> Step:
        k, by, plus = self.floats(), self.rng.choice([0.5, 2.0, -1.0]), self.rng.choice([0.0, 1.0])
        return f"* {by} + {plus}", lambda p, t: t * by + plus, [k]

    def binary(self) -> Step:
        left, right = self.floats(), self.floats()
        name = self.rng.choice("add subtract multiply maximum minimum".split())
        return name, lambda p, t, u: getattr(p, name)(t, u), [left, right]

    def where(self) -> Step:
        left, right = self.floats(), self.floats()
        return "where(t > 0, u, t)", lambda p, t, u: p.where(t > 0, u, t), [left, right]

    def slice(self) -> Step:
        k = self.floats(1)
        axis, begin, end = self.axis(k), self.rng.choice([0, 1, -2, -1]), self.rng.choice([1, 2, -1, 10**6])
        return f"slice(axis={axis}, {begin}:{end})", lambda p, t: p.slice(t, [axis], [begin], [end]), [k]

    def strided(self) -> Step:
        k = self.floats(1)
        axis = self.axis(k)
        return f"flip(axis={axis})[::2]", lambda p, t: p.strided_slice(p.flip(t, axis), [axis], [0], [10**6], [2]), [k]

    def flip(self) -> Step:
        k = self.floats(1)
        axis = self.axis(k)
        return f"flip({axis})", lambda p, t: p.flip(t, axis), [k]

    def slice_by_contents(self) -> Step:
        k, n = self.floats(1), self.some(lambda t: str(t.dtype) == "paddle.int64" and t.shape == [1])
        axis = self.axis(k)
        return f"slice(axis={axis}, 0:n - 1)", lambda p, t, n: p.slice(t, [axis], [0], [n - 1]), [k, n]

    def transpose(self) -> Step:
        k = self.floats(2)
        perm = self.rng.sample(range(len(self.tensors[k].shape)), len(self.tensors[k].shape))
        return f"transpose({perm})", lambda p, t: p.transpose(t, perm), [k]

    def flatten(self) -> Step:
        k = self.floats(2)
        first = self.rng.randrange(len(self.tensors[k].shape) - 1)
        return f"flatten({first})", lambda p, t: p.flatten(t, first), [k]

    def rows(self) -> Step:
        k = self.floats(1)
        return "reshape([0, -1])", lambda p, t: p.reshape(t, [0, -1]), [k]

    def by_shape(self) -> Step:
        k = self.floats(2, 2)
        return "reshape([shape[1], shape[0], 1])", lambda p, t: p.reshape(t, [p.shape(t)[1], p.shape(t)[0], 1]), [k]

    def like(self) -> Step:
        k, n = self.floats(1, 1), self.some(lambda t: str(t.dtype) == "paddle.int64" and t.shape == [1])
        return "reshape([-1, n])", lambda p, t, n: p.reshape(t, [-1, n]), [k, n]

    def reduce(self) -> Step:
        k = self.floats(1)
        axis, keep, name = self.axis(k), self.rng.random() < 0.5, self.rng.choice("sum mean max min prod logsumexp".split())
        return f"{name}(axis={axis}, keepdim={keep})", lambda p, t: getattr(p, name)(t, axis=axis, keepdim=keep), [k]

    def softmax(self) -> Step:
        k = self.floats(1)
        axis = self.axis(k)
        return f"softmax(axis={axis})", lambda p, t: p.nn.functional.softmax(t, axis=axis), [k]

    def scan(self) -> Step:
        k = self.floats(1)
        axis = self.axis(k)
        return f"cumsum(axis={axis})", lambda p, t: p.cumsum(t, axis=axis), [k]

    def sort(self) -> Step:
        k = self.floats(1)
        axis, down = self.axis(k), self.rng.random() < 0.5
        return f"sort(axis={axis}, descending={down})", lambda p, t: p.sort(t, axis=axis, descending=down), [k]

    def matmul(self) -> Step:
        left, right = self.floats(1, 3), self.floats(1, 3)
        first, second = self.rng.random() < 0.3, self.rng.random() < 0.5
        return f"matmul(transpose: {first}, {second})", lambda p, t, u: p.matmul(t, u, first, second), [left, right]

    def concat(self) -> Step:
        left, right = self.floats(1), self.floats(1)
        axis = self.axis(left)
        return f"concat(axis={axis})", lambda p, t, u: p.concat([t, u, t], axis=axis), [left, right]

    def stack(self) -> Step:
        left, right = self.floats(0, 3), self.floats(0, 3)
        axis = self.rng.choice([0, -1])
        return f"stack(axis={axis})", lambda p, t, u: p.stack([t, u], axis=axis), [left, right]

    def unsqueeze(self) -> Step:
        k = self.floats(0, 3)
        axis = self.rng.randrange(len(self.tensors[k].shape) + 1)
        return f"unsqueeze({axis})", lambda p, t: p.unsqueeze(t, axis), [k]

    def gather(self) -> Step:
        k, i = self.floats(1), self.some(lambda t: str(t.dtype) == "paddle.int64" and len(t.shape) == 1)
        return "gather(t, i % rows)", lambda p, t, i: p.gather(t, p.mod(i, p.shape(t)[:1].astype("int64"))), [k, i]

    def pad(self) -> Step:
        k = self.floats(1, 2)
        amounts = [self.rng.randrange(3) for _ in range(2 * len(self.tensors[k].shape))]
        return f"pad({amounts})", lambda p, t: p.nn.functional.pad(t, amounts, value=0.5), [k]

    def tile(self) -> Step:
        k = self.floats(1, 3)
        times = [self.rng.choice([1, 1, 2]) for _ in self.tensors[k].shape]
        return f"tile({times})", lambda p, t: p.tile(t, times), [k]

    def repeat(self) -> Step:
        k, times = self.floats(1), self.rng.choice([2, 3])
        axis = self.axis(k)
        return f"repeat_interleave({times}, axis={axis})", lambda p, t: p.repeat_interleave(t, times, axis), [k]

    def roll(self) -> Step:
        k, by = self.floats(1), self.rng.choice([1, 2, -1])
        axis = self.axis(k)
        return f"roll({by}, axis={axis})", lambda p, t: p.roll(t, by, axis), [k]

    def expand(self) -> Step:
        k, u = self.floats(0), self.floats(1)
        return "expand_as", lambda p, t, u: p.expand_as(t, u), [k, u]

    def normalise(self) -> Step:
        k = self.floats(2)
        return "(t - mean) / (std + 1)", lambda p, t: (t - p.mean(t, -1, True)) / (p.std(t, -1, False, True) + 1.0), [k]

    def top(self) -> Step:
        k = self.floats(1)
        amounts = [*[0] * (2 * len(self.tensors[k].shape) - 1), 1]  # one more in each row: of none there is no greatest
        return "argmax(t and 0.3, -1)", lambda p, t: p.argmax(p.nn.functional.pad(t, amounts, value=0.3), -1).reshape([-1]), [k]

    def positions(self) -> Step:
        k = self.floats(1)
        return "arange(shape[0])", lambda p, t: p.arange(p.shape(t)[0].astype("int64"), dtype="int64"), [k]

    def chosen(self) -> Step:
        k = self.floats(1)
        return "masked_select(t > 0)", lambda p, t: p.masked_select(t, t > 0), [k]

    def length(self) -> Step:
        k = self.floats(1)
        return "shape[-1:]", lambda p, t: p.shape(t)[-1:].astype("int64"), [k]

    # ---- of known sizes alone ------------------------------------------------------------------------------------------

    def split_axis(self) -> Step:
        k = self.some(lambda t: str(t.dtype) == "paddle.float32" and len(t.shape) < 4 and any(d > 3 for d in t.shape))
        shape = list(self.tensors[k].shape)
        axis = self.rng.choice([n for n, d in enumerate(shape) if d > 3])
        part = self.rng.choice([d for d in range(2, shape[axis]) if shape[axis] % d == 0])
        new = [*shape[:axis], shape[axis] // part, part, *shape[axis + 1 :]]
        return f"reshape({new})", lambda p, t: p.reshape(t, new), [k]

    def windows(self) -> Step:
        k, size, step = self.floats(4), self.rng.choice([1, 2]), self.rng.choice([1, 2])
        return f"unfold({size}, strides={step})", lambda p, t: p.nn.functional.unfold(t, size, step), [k]

    def shuffle(self) -> Step:
        k = self.floats(4)
        return "pixel_shuffle(2)", lambda p, t: p.nn.functional.pixel_shuffle(t, 2), [k]

    def resize(self) -> Step:
        k = self.floats(4)
        return "interpolate(2)", lambda p, t: p.nn.functional.interpolate(t, scale_factor=2, mode="nearest"), [k]


OF_KNOWN_SIZES = "split_axis windows shuffle resize".split()
MOVES = [*"slice strided flip transpose flatten concat stack pad tile repeat roll".split(), *OF_KNOWN_SIZES]
KINDS = [name for name, member in vars(Draw).items() if callable(member)]
KINDS = [name for name in KINDS if name not in ("__init__", "some", "floats", "axis", "step", *OF_KNOWN_SIZES)]


def drawn(number: int, seed: int, count: int, moves: bool) -> list[Step]:
    """The steps of a program: what Paddle does eagerly at the first sizes, and what stays small there."""
    import paddle

    paddle.disable_static()
    rng = random.Random(f"{seed} {number}")
    tensors = [paddle.to_tensor(a) for a in inputs_of(SIZES[0], number).values()]
    steps: list[Step] = []
    for _ in range(50 * count):
        if len(steps) == count:
            break
        try:
            step = Draw(rng, tensors, MOVES if moves else KINDS, moves).step()
            made = step[1](paddle, *(tensors[k] for k in step[2]))
        except (IndexError, ValueError, RuntimeError, AssertionError, TypeError):
            continue
        array = made.numpy()
        if 0 < array.size <= MOST and np.isfinite(array).all() and np.abs(array).max() < 1e4:
            tensors.append(made)
            steps.append(step)
    return steps


def program(steps: list[Step]) -> Callable[..., Any]:
    """The call that makes a program of the steps; its results are what no step reads."""

    def call(paddle: Any, *given: Any) -> list[Any]:
        tensors = list(given)
        for _, make, reads in steps:
            tensors.append(make(paddle, *(tensors[k] for k in reads)))
        read = {k for _, _, reads in steps for k in reads}
        return [t for k, t in enumerate(tensors) if k >= len(given) and k not in read]

    return call


def one(number: int, seed: int, count: int, moves: bool, folder: Path) -> tuple[str, str]:
    """A program → (match, differ, failed, refused, or paddle: Paddle does not build it), and why."""
    steps = drawn(number, seed, count, moves)
    stem = folder / "model"
    try:
        expected = [export_call(program(steps), inputs_of(SIZES[0], number), {}, stem, dynamic=not moves)]
    except Exception as error:
        print(error, file=sys.stderr)
        return "paddle", f"{type(error).__name__}"
    try:
        session = oarlock.Session(oarlock.compile(oarlock.load_model(stem.with_suffix(".json")), target="cpu", threads=1, options=OPTIONS))
    except oarlock.errors.UnsupportedError as error:
        return "refused", str(error)
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    params = stem.with_suffix(".pdiparams")
    for place, sizes in enumerate(SIZES[: 1 if moves else None]):
        inputs = inputs_of(sizes, number)
        if place:
            try:
                expected.append(run_paddle(str(stem.with_suffix(".json")), str(params) if params.exists() else "-", inputs))
            except Exception:
                continue
        known = {spec.name for spec in session.inputs}
        try:
            got = session.run({k: v for k, v in inputs.items() if k in known})
        except Exception as error:
            return "failed", f"at {sizes}: {type(error).__name__}: {error}"
        for (name, mine), theirs in zip(got.items(), expected[-1], strict=True):
            report = compare(name, mine, theirs, TOLERANCE)
            if not report.ok:
                return "differ", f"at {sizes}, {name}: {report.why} ({mine.dtype}{list(mine.shape)}, {theirs.dtype}{list(theirs.shape)})"
    return "match", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--moves", action="store_true", help="only steps that move elements, at known sizes")
    parser.add_argument("--first", type=int, default=0, help="the number of the first program")
    parser.add_argument("--keep", type=Path, help="a folder that gets the programs that were not right")
    options = parser.parse_args()
    states: Counter[str] = Counter()
    start = time.monotonic()
    for number in range(options.first, options.first + options.count):
        with tempfile.TemporaryDirectory() as scratch:
            state, why = one(number, options.seed, options.steps, options.moves, Path(scratch))
            states[state] += 1
            if state not in ("match", "paddle"):
                steps = drawn(number, options.seed, options.steps, options.moves)
                print(f"{number}: {state}: {why}")
                names = list(inputs_of(SIZES[0], 0))
                for k, (text, _, reads) in enumerate(steps, len(names)):
                    print(f"    t{k} = {text} of {', '.join(names[r] if r < len(names) else f't{r}' for r in reads)}")
                if options.keep:
                    shutil.copytree(scratch, options.keep / str(number), dirs_exist_ok=True)
        if (number + 1) % 20 == 0:
            print(f"[{number + 1 - options.first}/{options.count}, {time.monotonic() - start:.0f} s] {dict(states)}", flush=True)
    print(f"{sum(states.values())} programs: " + ", ".join(f"{n} {state}" for state, n in states.most_common()))
    sys.exit(any(states[s] for s in ("differ", "failed", "refused")))


if __name__ == "__main__":
    main()
