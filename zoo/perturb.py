"""How far Paddle's own result moves with its rounding: python -m zoo.perturb FOLDER → {"moved": part of the output's scale}.

Every float32 weight and input is moved by at most one unit in its last place, at random, which is what any other order of summation does to
the numbers inside a net; the model is run again by Paddle and its outputs compared.  A model that answers with more than the tolerance
amplifies rounding: no two implementations agree on it to that tolerance.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from .export import STEM, paddle_process

_DRAWS = 3


def moved(folder: Path) -> float:
    """The largest change of a float output over the draws, by the output's scale."""
    run = paddle_process().run
    model = str(next(p for p in (folder / f"{STEM}.json", folder / f"{STEM}.pdmodel") if p.exists()))
    weights = folder / f"{STEM}.pdiparams"
    largest = 0.0
    for path in sorted(folder.glob("run-*.npz")):
        with np.load(path) as archive:
            inputs = {n[3:]: archive[n] for n in archive.files if n.startswith("in:")}
            expected = [archive[n] for n in sorted(archive.files) if n.startswith("out:")]
        for draw in range(_DRAWS):
            rng = np.random.default_rng(draw)
            with tempfile.TemporaryDirectory() as scratch:
                params = "-"
                if weights.exists():
                    params = str(Path(scratch) / "moved.pdiparams")
                    _move_weights(weights, Path(params), rng)
                got = run(model, params, {n: _move(a, rng) for n, a in inputs.items()})
            for mine, theirs in zip(got, expected, strict=True):
                if mine.shape != theirs.shape:
                    return float("inf")
                if mine.size and mine.dtype.kind == "f":
                    scale = float(np.abs(theirs).max())
                    largest = max(largest, float(np.abs(mine.astype("f8") - theirs).max()) / (scale or 1.0))
                elif mine.size and (mine != theirs).any():
                    return float("inf")
    return largest


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
    print(json.dumps({"moved": moved(Path(sys.argv[1]))}), file=answer, flush=True)


if __name__ == "__main__":
    main()
