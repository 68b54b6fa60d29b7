"""Operators that are host calls of numpy's, which is there wherever a model runs: eigenvalues of general matrices, by LAPACK.

An iteration whose order of eigenvalues is that of LAPACK's many cases, and which takes milliseconds, is no sensible kernel.
"""

from __future__ import annotations

import numpy as np

from .host import HostOperator


def eigvals(x: np.ndarray) -> np.ndarray:
    """Eigenvalues [..., n] of matrices [..., n, n], complex.  Paddle gives LAPACK the rows as columns: the order is that of xᵀ."""
    return np.linalg.eigvals(np.swapaxes(x, -1, -2)).astype(_complex(x))


def eig(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues [..., n] and eigenvectors, as columns [..., n, n], complex."""
    values, vectors = np.linalg.eig(x)
    return values.astype(_complex(x)), vectors.astype(_complex(x))


def _complex(x: np.ndarray) -> str:
    return "complex128" if x.dtype.name in ("float64", "complex128") else "complex64"


FUNCTIONS = {
    "eigvals": HostOperator("eigvals", eigvals, infer=lambda x: x[:-1]),
    "eig": HostOperator("eig", eig, infer=lambda x: [x[:-1], x]),
}
