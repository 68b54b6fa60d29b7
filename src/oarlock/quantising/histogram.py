"""Magnitudes of a tensor over many runs in constant memory, and the scale for its integers that they suggest."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError
from .layers import QMAX

BINS = 2048
METHODS = ("absmax", "percentile", "kl", "mse")
_LEVELS = QMAX + 1  # magnitudes that integers can say, zero among them
_STEP = 8  # bins between two thresholds that ``kl`` tries
_TRIED = 100  # scales that ``mse`` tries


class Histogram:
    """How often each magnitude was seen: ``counts`` of equal bins from 0 to ``top``, which doubles when larger numbers come."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.top = self.largest = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count the magnitudes of ``values``.  InputError when one is no finite number."""
        if not values.size:
            return
        sizes = np.abs(values.reshape(-1))
        largest = float(sizes.max())
        if not math.isfinite(largest):
            raise InputError("the model computes numbers that are not finite", todo="look for this example's fault, or leave it out")
        self.largest = max(self.largest, largest)
        self._reach(largest)
        if self.top:
            bins = np.minimum((sizes * np.float32(BINS / self.top)).astype(np.int32), BINS - 1)
            self.counts += np.bincount(bins, minlength=BINS)
        else:
            self.counts[0] += sizes.size

    def _reach(self, largest: float) -> None:
        """Widen the bins by a power of two until ``largest`` is in one of them."""
        if largest <= self.top:
            return
        if not self.top:
            zeros = self.counts.sum()
            # an end that float32 can divide by
            self.top, self.counts[:], self.counts[0] = max(largest, 1e-30), 0, zeros
            return
        times = 2 ** math.ceil(math.log2(largest / self.top))
        joined = np.zeros(BINS, np.int64)
        np.add.at(joined, np.arange(BINS) // times if times < BINS else np.zeros(BINS, np.int64), self.counts)
        self.top, self.counts = self.top * times, joined

    def scale(self, method: str, percentile: float = 99.99) -> float:
        """The magnitude that the largest integer stands for; 1 where nothing but zeros was seen."""
        if not self.largest:
            return 1.0
        match method:
            case "absmax":
                return self.largest
            case "percentile":
                found = self._percentile(percentile)
            case "kl":
                found = self._kl()
            case "mse":
                found = self._mse()
            case _:
                raise InputError(f"there is no method {method!r}", todo=f"use one of {', '.join(METHODS)}")
        return min(found, self.largest)

    def _percentile(self, percentile: float) -> float:
        reached = np.cumsum(self.counts) >= self.counts.sum() * (percentile / 100)
        return float((np.argmax(reached) + 1) * self.top / BINS)

    def _kl(self) -> float:
        """The threshold whose integers keep the distribution best (least Kullback-Leibler divergence).

        Zeros, which any scale keeps, do not count: after a ReLU they are half of all.
        """
        counts = self.counts.astype(np.float64)
        counts[0] = 0
        last = int(np.flatnonzero(self.counts)[-1]) + 1
        best, found = math.inf, last
        for end in range(_LEVELS, last + _STEP, _STEP):
            end = min(end, last)
            seen = counts[:end].copy()
            seen[-1] += counts[end:].sum()
            if (divergence := _divergence(seen, counts[:end])) < best:
                best, found = divergence, end
        return found * self.top / BINS

    def _mse(self) -> float:
        """The scale with the least mean square of what rounding and clipping take away, of ``_TRIED`` up to the largest magnitude."""
        tried = self.largest * np.arange(_TRIED // 5, _TRIED + 1) / _TRIED
        return float(tried[np.argmin(self.loss(tried))])

    def loss(self, scales: np.ndarray) -> np.ndarray:
        """The sum of the squares of what rounding and clipping take away with each of ``scales``."""
        middles = (np.arange(BINS) + 0.5) * self.top / BINS
        rounded = np.minimum(np.rint(middles * QMAX / scales[:, None]), QMAX) * scales[:, None] / QMAX
        return np.asarray(np.square(middles - rounded) @ self.counts)


def _divergence(seen: np.ndarray, kept: np.ndarray) -> float:
    """Of the distribution ``seen`` from that of ``kept`` in as few levels as integers have, each spread over its bins that hold any."""
    edges = np.linspace(0, len(kept), _LEVELS + 1).astype(int)[:-1]
    level = np.repeat(np.arange(_LEVELS), np.diff([*edges, len(kept)]))
    full = kept > 0
    sums, bins = np.bincount(level, kept, _LEVELS), np.bincount(level, full, _LEVELS)
    spread = np.where(full, (sums / np.maximum(bins, 1))[level], 0.0)
    total, whole = seen.sum(), spread.sum()
    if not total or not whole:
        return math.inf
    p, q = seen / total, np.maximum(spread / whole, 1e-9)  # what is clipped may fall where nothing is kept
    there = p > 0
    return float(np.sum(p[there] * np.log(p[there] / q[there])))
