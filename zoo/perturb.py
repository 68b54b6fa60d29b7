"""Whether rounding explains what differs from Paddle: python -m zoo.perturb FOLDER → {"rounding": …, "said": …}.

Every float32 weight and input is moved by at most one unit in its last place, at random, which is what any other order of summation does to
the numbers inside a net, and the model is run again by Paddle.  zoo.compare leaves those of Oarlock's outputs that differ (ours-N.npz);
each is judged by the same output of Paddle's runs, never by another one:

  a float output    is explained where Paddle's own moves at least half as far as Oarlock's is away
  an integer output is explained where every element that differs is one that Paddle's run changes too, to the same number
  another shape     is explained where one of Paddle's runs has that shape
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from .export import STEM, paddle_process

_DRAWS, _MORE = 3, 12  # runs of Paddle; so many where integers are not explained yet

Judgement = tuple[bool, str]


def judged(mine: np.ndarray, theirs: np.ndarray, draws: list[np.ndarray]) -> Judgement:
    """Whether Paddle's own runs explain that ``mine`` is not ``theirs``, and what they show."""
    if mine.dtype != theirs.dtype:
        return False, "Paddle's type is another one"
    alike = [d for d in draws if d.shape == theirs.shape]
    if mine.shape != theirs.shape:
        found = any(d.shape == mine.shape for d in draws)
        return found, f"Paddle's own output {'has that' if found else 'never has that'} shape"
    if mine.dtype.kind not in "fc":
        wrong = mine != theirs
        same = np.zeros(mine.shape, bool)
        for d in alike:
            same |= d == mine
        left = int((wrong & ~same).sum())
        if left:
            return False, f"Paddle's own output keeps {left} of the {int(wrong.sum())} integers that differ"
        return True, f"Paddle's own output has these {int(wrong.sum())} other integers, too,"
    away, moves = _distance(mine, theirs), max((_distance(d, theirs) for d in alike), default=0.0)
    return bool(np.isfinite(away) and moves * 2 > away), f"Paddle's own output moves by {moves:.1g} of its scale"


def _distance(array: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference, by the reference's scale; infinite where NaN or infinity stands at another place."""
    if not array.size:
        return 0.0
    left, right = (v.astype("c16" if v.dtype.kind == "c" else "f8") for v in (array, reference))
    finite = np.isfinite(right)
    if not np.array_equal(finite, np.isfinite(left)) or not np.array_equal(left[~finite], right[~finite], equal_nan=True):
        return float("inf")
    if not finite.any():
        return 0.0
    return float(np.abs(left[finite] - right[finite]).max()) / (float(np.abs(right[finite]).max()) or 1.0)


def judge(folder: Path) -> Judgement:
    """Whether rounding explains every output that zoo.compare left."""
    said = []
    for path in sorted(folder.glob("ours-*.npz")):
        number = path.stem.split("-")[1]
        with np.load(path) as archive:
            ours = {n: archive[n] for n in archive.files}
        inputs, expected = _run(folder / f"run-{number}.npz")
        draws: list[list[np.ndarray]] = []
        for at, (name, mine) in enumerate(ours.items()):
            place = int(name.removeprefix("out:"))
            for count in (_DRAWS, _MORE):
                draws += [_drawn(folder, inputs, draw) for draw in range(len(draws), count)]
                good, what = judged(mine, expected[place], [d[place] for d in draws])
                if good or mine.dtype.kind in "fc":
                    break
            said.append(what)
            if not good:
                return False, f"{what} (run-{number}, output {at + 1} of {len(ours)} that differ)"
    return bool(said), said[0] if said else "there is no output to judge"


def _run(path: Path) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    with np.load(path) as archive:
        inputs = {n[3:]: archive[n] for n in archive.files if n.startswith("in:")}
        return inputs, [archive[n] for n in sorted(archive.files) if n.startswith("out:")]


def _drawn(folder: Path, inputs: dict[str, np.ndarray], draw: int) -> list[np.ndarray]:
    """What Paddle gives for weights and inputs moved at random."""
    model = next(p for p in (folder / f"{STEM}.json", folder / f"{STEM}.pdmodel") if p.exists())
    weights, rng = folder / f"{STEM}.pdiparams", np.random.default_rng(draw)
    with tempfile.TemporaryDirectory() as scratch:
        params = "-"
        if weights.exists():
            params = str(Path(scratch) / "moved.pdiparams")
            _move_weights(weights, Path(params), rng)
        return list(paddle_process().run(str(model), params, {n: _move(a, rng) for n, a in inputs.items()}))


def _move(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if array.dtype != np.float32:
        return array
    steps = rng.integers(-1, 2, array.shape)
    return np.where(steps == 0, array, np.nextafter(array, np.where(steps > 0, np.inf, -np.inf).astype(np.float32)))


def _move_weights(source: Path, target: Path, rng: np.random.Generator) -> None:
    """Copy a .pdiparams file: per tensor u32 0 | u64 0 | u32 0 | i32 n | description of n bytes | numbers."""
    data = bytearray(source.read_bytes())
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 16 : at + 20], "little")
        description, at = bytes(data[at + 20 : at + 20 + size]), at + 20 + size
        kind, dims = _description(description)
        width = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16}[kind]
        length = width * int(np.prod(dims, dtype=np.int64))
        if kind == 5:
            numbers = np.frombuffer(bytes(data[at : at + length]), "<f4")
            data[at : at + length] = _move(numbers, rng).astype("<f4").tobytes()
        at += length
    target.write_bytes(data)


def _description(message: bytes) -> tuple[int, list[int]]:
    """TensorDesc: field 1 the data type, field 2 the dims (varints, packed or not)."""
    at, kind, dims = 0, 5, []

    def varint() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag = varint()
        if tag == 8:
            kind = varint()
        elif tag == 16:
            dims.append(varint())
        else:  # packed dims
            end = varint() + at
            while at < end:
                dims.append(varint())
    return kind, dims


def main() -> None:
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    rounding, said = judge(Path(sys.argv[1]))
    print(json.dumps({"rounding": rounding, "said": said}), file=answer, flush=True)


if __name__ == "__main__":
    main()
