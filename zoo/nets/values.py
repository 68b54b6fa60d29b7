"""Inputs that random numbers alone do not make: (numpy generator, shape) → array."""

from __future__ import annotations

import numpy as np


def sorted_boxes(rng, shape):
    """Boxes (x0, y0, x1, y1) on a page of 30×30, ascending."""
    return np.sort(rng.integers(0, 30, shape), -1)


def boxes(rng, shape):
    corner = rng.random((shape[0], 2)) * 20
    return np.concatenate([corner, corner + 5 + rng.random((shape[0], 2)) * 10], 1)


def pixels(rng, shape):
    return rng.integers(0, 255, shape)


def history_mask(rng, shape):
    """0 where a history has an item, a large negative number after its end."""
    lengths = np.array([10, 7, 4, 2, 6])[: shape[0]]
    return np.where(np.arange(shape[1])[None] < lengths[:, None], 0.0, -1e9)
