"""Tensors of kernels beside what the model has for them, in whatever layout they are."""

from __future__ import annotations

import numpy as np

from ..rules.sites import Held, Site, sites
from .compare import TOLERANCE, OutputCheck, compare

__all__ = ["Held", "Site", "beside", "in_layout", "sites"]


def beside(mine: np.ndarray, theirs: np.ndarray, tolerance: float = TOLERANCE["float32"]) -> OutputCheck:
    """What a kernel gives, compared with the reference's in the layout that it has here."""
    laid = in_layout(theirs, mine)
    return compare("", mine, theirs if laid is None else laid, tolerance)


def in_layout(reference: np.ndarray, like: np.ndarray) -> np.ndarray | None:
    """``reference`` in the layout and type of ``like``, which should hold the same, perhaps with channels at another place.

    Where shapes do not tell the layout it is the one that ``like`` is nearest to: in what is finite, and in where that is.
    None where there are more or fewer elements.
    """
    if reference.size != like.size or reference.dtype.kind == "c" or (reference.dtype.kind == "b") != (like.dtype.kind == "b"):
        return None
    layouts = _layouts(reference, like)
    found = [a.reshape(like.shape) for a in [a for a in layouts if a.shape == like.shape] or layouts]
    if len(found) > 1:
        mine = like.astype("float64")
        found.sort(key=lambda a: _distance(a.astype("float64"), mine))
    return found[0].astype(like.dtype)


def _layouts(reference: np.ndarray, like: np.ndarray) -> list[np.ndarray]:
    """As it is, with channels last, and with channels that are last first (of rows of channels too, a row a place)."""
    found = [reference, *(reference.transpose(p) for p in ((0, 2, 3, 1), (0, 3, 1, 2)) if reference.ndim == 4)]
    if like.ndim == 4 and reference.ndim in (2, 3) and reference.shape[-1] == like.shape[1] and reference.size:
        found.append(reference.reshape(len(like), -1, like.shape[1]).transpose(0, 2, 1))
    return found


def _distance(a: np.ndarray, b: np.ndarray) -> tuple[int, float]:
    """How many elements are finite in one alone, and how far the others are from each other."""
    finite = np.isfinite(a) & np.isfinite(b)
    return int((np.isfinite(a) != np.isfinite(b)).sum()), float(np.abs(a[finite] - b[finite]).sum())
