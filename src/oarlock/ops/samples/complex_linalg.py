"""Samples of products and factorisations of complex matrices (Paddle's own svd of them fails on the CPU)."""

from typing import Any

import numpy as np

from .base import c64, c128, sample

_EXACT = {"rtol": 1e-11, "atol": 1e-12}


def _hermitian(*shape: int) -> np.ndarray:
    a = c128(*shape)
    return a + a.conj().swapaxes(-1, -2)


def _well(*shape: int) -> np.ndarray:
    return c128(*shape) + 4 * np.eye(shape[-1])


def _low_rank(*shape: int) -> np.ndarray:
    a = c128(*shape)
    a[..., -1, :] = a[..., 0, :] * (2 - 1j)
    return a


def _magnitudes(paddle: Any, values: Any) -> list:
    """Singular vectors and eigenvectors are unique only up to a phase."""
    return [paddle.abs(v) for v in values]


sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=c64(3, 4), y=c64(4, 5))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y, transpose_x=True, transpose_y=True), x=c128(2, 4, 3), y=c128(5, 4), **_EXACT)
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=c64(4), y=c64(2, 4, 3))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=c64(2, 0), y=c64(0, 3))
sample("dot", lambda paddle, x, y: paddle.dot(x, y), x=c128(3, 4), y=c128(3, 4, seed=1), **_EXACT)
sample("einsum", lambda paddle, x, y: paddle.einsum("bij,bjk->ikb", x, y), x=c64(2, 3, 4), y=c64(2, 4, 2))
sample("einsum", lambda paddle, x: paddle.einsum("ijk->kj", x), x=c128(3, 3, 2), **_EXACT)
sample("kron", lambda paddle, x, y: paddle.kron(x, y), x=c64(2, 3), y=c64(3, 2))
sample("cross", lambda paddle, x, y: paddle.cross(x, y), x=c64(3, 4), y=c64(3, 4, seed=1))
for _power in (3, -2, 0):
    sample(
        "matrix_power", lambda paddle, x, n=_power: paddle.linalg.matrix_power(x, n),
        x=_well(2, 3, 3), rtol=1e-9, atol=1e-10, dynamic="Paddle wants static dims",
    )  # fmt: skip
sample("det", lambda paddle, x: paddle.linalg.det(x), x=c64(2, 4, 4))
sample("det", lambda paddle, x: paddle.linalg.det(x), x=c128(3, 3), **_EXACT)
sample("slogdet", lambda paddle, x: paddle.linalg.slogdet(x), x=c64(2, 4, 4))
sample("slogdet_v2", lambda paddle, x: list(paddle._C_ops.slogdet_v2(x)), x=c128(3, 3), **_EXACT)
sample("inverse", lambda paddle, x: paddle.inverse(x), x=_well(2, 4, 4), **_EXACT)
sample("lu", lambda paddle, x: paddle.linalg.lu(x, get_infos=True), x=c128(2, 4, 3), **_EXACT)
sample("triangular_solve", lambda paddle, x, y: paddle.linalg.triangular_solve(x, y), x=_well(3, 3), y=c128(3, 2), **_EXACT)
sample(
    "triangular_solve",
    lambda paddle, x, y: paddle.linalg.triangular_solve(x, y, upper=False, transpose=True, unitriangular=True),
    x=_well(2, 3, 3), y=c128(2, 3, 2), **_EXACT,
)  # fmt: skip
sample("qr", lambda paddle, x: paddle.linalg.qr(x), x=c64(2, 4, 3))
sample("qr", lambda paddle, x: paddle.linalg.qr(x, mode="complete"), x=c128(4, 3), **_EXACT)
sample("qr", lambda paddle, x: paddle.linalg.qr(x, mode="r"), x=c128(3, 5), **_EXACT)
sample("eigvalsh", lambda paddle, x: paddle.linalg.eigvalsh(x), x=_hermitian(2, 5, 5), **_EXACT)
sample("eigvalsh", lambda paddle, x: paddle.linalg.eigvalsh(x, UPLO="U"), x=c64(4, 4))
sample("eigh", lambda paddle, x: _magnitudes(paddle, paddle.linalg.eigh(x)), x=_hermitian(2, 4, 4), **_EXACT)
sample("matrix_rank", lambda paddle, x: paddle.linalg.matrix_rank(x), x=_low_rank(2, 4, 3))
sample("matrix_rank", lambda paddle, x: paddle.linalg.matrix_rank(x, tol=1.5, hermitian=True), x=_hermitian(4, 4))
