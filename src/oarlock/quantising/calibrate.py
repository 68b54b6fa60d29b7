"""Run the float model on examples and count the magnitudes of what its layers read, one example in memory at a time.

What was counted is kept in a file from time to time, so that a run that was cut off goes on where it was, and another method for the
scales or another budget needs no new run.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError, OarlockError
from ..runtime.session import Session
from .data import Example
from .histogram import BINS, Histogram

EVERY_S = 10.0  # between two times that the state is written


def collect(
    opened: Callable[[], Session], taps: int, given: Sequence[Example], state: Path | None, key: str, report: Callable[[int, int], None]
) -> list[Histogram]:
    """The histograms of the outputs ``tap.0`` … of a session over all examples; ``opened`` makes it, where there is anything to run.

    ``state``: a file that counts are kept in; ``key``: what they depend on besides the examples.
    """
    if state is not None:
        key = hashlib.sha256(json.dumps([key, taps, [(e.name, e.mark()) for e in given]]).encode()).hexdigest()
    done, found = _restored(state, key, taps)
    if done >= len(given):
        return found
    written = time.monotonic()
    with opened() as session:
        for number, example in enumerate(given[done:], done):
            report(number, len(given))
            try:
                outputs = session.run(example.read())
                for tap, histogram in enumerate(found):
                    histogram.add(outputs[f"tap.{tap}"])
            except OarlockError as error:
                raise error.at(f"example {example.name}")  # noqa: B904 - the same error
            if state is not None and (number + 1 == len(given) or time.monotonic() - written > EVERY_S):
                _save(state, key, number + 1, found)
                written = time.monotonic()
    report(len(given), len(given))
    return found


def _restored(state: Path | None, key: str, taps: int) -> tuple[int, list[Histogram]]:
    """(examples counted, histograms) of a state file; a fresh start where there is none for this ``key``."""
    fresh = 0, [Histogram() for _ in range(taps)]
    if state is None or not state.exists():
        return fresh
    try:
        with np.load(state, allow_pickle=False) as kept:
            if str(kept["key"]) != key or kept["counts"].shape != (taps, BINS):
                return fresh
            for histogram, counts, top, largest in zip(fresh[1], kept["counts"], kept["tops"], kept["largest"], strict=True):
                histogram.counts[:], histogram.top, histogram.largest = counts, float(top), float(largest)
            return int(kept["done"]), fresh[1]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # damaged: it is made anew
        return 0, [Histogram() for _ in range(taps)]


def _save(state: Path, key: str, done: int, found: Sequence[Histogram]) -> None:
    """Write the state in one step, so that a run that is killed leaves the old one or the new one."""
    scratch = state.with_name(f"{state.name}.{os.getpid()}.tmp")
    counts = np.stack([h.counts for h in found]) if found else np.zeros((0, BINS), np.int64)
    try:
        with scratch.open("wb") as file:
            np.savez_compressed(
                file, key=key, done=done, counts=counts, tops=[h.top for h in found], largest=[h.largest for h in found]
            )  # fmt: skip
        scratch.replace(state)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise InputError(f"what was counted cannot be written: {error.strerror}", where=str(state)) from error
