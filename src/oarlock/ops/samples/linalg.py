"""Samples of products, systems of equations and factorisations."""

from typing import Any

import numpy as np

from .base import f32, f64, i64, sample


def _spd(*shape: int, dtype: str = "float32") -> np.ndarray:
    a = f64(*shape)
    return (a @ a.swapaxes(-1, -2) + shape[-1] * np.eye(shape[-1])).astype(dtype)


def _well(*shape: int) -> np.ndarray:
    return (f64(*shape) + 3 * np.eye(shape[-1])).astype("float32")


def _lower(*shape: int) -> np.ndarray:
    return np.linalg.cholesky(_spd(*shape)).astype("float32")


sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=f32(3, 4), y=f32(4, 5))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y, transpose_x=True, transpose_y=True), x=f32(2, 4, 3), y=f32(5, 4))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=f32(2, 1, 3, 4), y=f32(3, 4, 2))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=f32(4), y=f32(4))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=f32(4), y=f32(2, 4, 3))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y, transpose_x=True), x=f64(2, 4, 3), y=f64(4))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=i64(2, 3), y=i64(3, 2))
sample("matmul", lambda paddle, x, y: paddle.matmul(x, y), x=f32(2, 0), y=f32(0, 3))
sample("matmul", lambda paddle, x, w: paddle.matmul(x, w), x=f32(2, 3, 4), constants={"w": f32(4, 5)})
sample("bmm", lambda paddle, x, y: paddle.bmm(x, y), x=f32(2, 3, 4), y=f32(2, 4, 5))
sample("bmm", lambda paddle, x, y: paddle.bmm(x, y), x=f64(3, 1, 4), y=f64(3, 4, 1))
sample("bmm", lambda paddle, x, y: paddle.bmm(x, y), x=f32(0, 3, 2), y=f32(0, 2, 4))
sample("mv", lambda paddle, x, v: paddle.mv(x, v), x=f32(3, 4), v=f32(4))
sample("mv", lambda paddle, x, v: paddle.mv(x, v), x=f64(1, 3), v=f64(3))
sample("mv", lambda paddle, x, v: paddle.mv(x, v), x=f32(0, 3), v=f32(3))
sample("dot", lambda paddle, x, y: paddle.dot(x, y), x=f32(4), y=f32(4))
sample("dot", lambda paddle, x, y: paddle.dot(x, y), x=i64(3, 4), y=i64(3, 4))
sample("dot", lambda paddle, x, y: paddle.dot(x, y), x=f64(2, 3), y=f64(2, 3, seed=1))
sample("addmm", lambda paddle, i, x, y: paddle.addmm(i, x, y), i=f32(2, 4), x=f32(2, 3), y=f32(3, 4))
sample("addmm", lambda paddle, i, x, y: paddle.addmm(i, x, y, beta=0.5, alpha=2.0), i=f32(1, 4), x=f32(2, 3), y=f32(3, 4))
sample("addmm", lambda paddle, i, x, y: paddle.addmm(i, x, y, beta=0.5, alpha=2.0), i=f32(4), x=f32(2, 3), y=f32(3, 4))
sample("baddbmm", lambda paddle, i, x, y: paddle.baddbmm(i, x, y, beta=0.5, alpha=2.0), i=f32(2, 2, 4), x=f32(2, 2, 3), y=f32(2, 3, 4))
sample("baddbmm", lambda paddle, i, x, y: paddle.baddbmm(i, x, y), i=f64(1, 2, 4), x=f64(2, 2, 3), y=f64(2, 3, 4))
sample("baddbmm", lambda paddle, i, x, y: paddle.baddbmm(i, x, y, beta=0.0, alpha=-1.5), i=f32(2, 1, 4), x=f32(2, 2, 3), y=f32(2, 3, 4))
sample("multi_dot", lambda paddle, x, y, z: paddle.linalg.multi_dot([x, y, z]), x=f32(3, 4), y=f32(4, 2), z=f32(2, 5))
sample("multi_dot", lambda paddle, x, y, z: paddle.linalg.multi_dot([x, y, z]), x=f32(4), y=f32(4, 2), z=f32(2))
sample("multi_dot", lambda paddle, x, y: paddle.linalg.multi_dot([x, y]), x=f64(2, 3), y=f64(3))
sample("multi_dot", lambda paddle, *x: paddle.linalg.multi_dot(list(x)), x=f32(2, 5), y=f32(5, 1), z=f32(1, 4), w=f32(4, 3))
for _equation, _shapes in [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]),
    ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (3, 4, 2)]),
    ("ij,ij", [(2, 3), (2, 3)]),
    ("i,j->ji", [(3,), (2,)]),
]:
    sample("einsum", lambda paddle, x, y, e=_equation: paddle.einsum(e, x, y), x=f32(*_shapes[0]), y=f32(*_shapes[1], seed=1))
sample("einsum", lambda paddle, x: paddle.einsum("ijk->ki", x), x=f32(2, 3, 4))
sample("einsum", lambda paddle, x: paddle.einsum("ii->i", x), x=f32(3, 3))
sample("einsum", lambda paddle, x, y, z: paddle.einsum("ab,bc,cd->ad", x, y, z), x=f32(2, 3), y=f32(3, 4), z=f32(4, 2))
sample("cross", lambda paddle, x, y: paddle.cross(x, y), x=f32(3, 4), y=f32(3, 4, seed=1))
sample("cross", lambda paddle, x, y: paddle.cross(x, y, axis=-1), x=i64(2, 3), y=i64(2, 3, seed=1), dynamic="Paddle wants a static 3")
sample("cross", lambda paddle, x, y: paddle.cross(x, y, axis=1), x=f64(2, 3, 2), y=f64(2, 3, 2, seed=1), static=(1,))
sample("kron", lambda paddle, x, y: paddle.kron(x, y), x=f32(2, 3), y=f32(3, 2))
sample("kron", lambda paddle, x, y: paddle.kron(x, y), x=f32(2, 3), y=f32(2))
sample("kron", lambda paddle, x, y: paddle.kron(x, y), x=f64(2, 3, 2), y=f64(2, 1, 3))
sample("kron", lambda paddle, x, y: paddle.kron(x, y), x=i64(3), y=i64(2, 2))
sample("kron", lambda paddle, x, y: paddle.kron(x, y), x=f32(0, 2), y=f32(3, 1))
sample("trace", lambda paddle, x: paddle.trace(x), x=f32(3, 4))
sample("trace", lambda paddle, x: paddle.trace(x, offset=-1, axis1=-1, axis2=1), x=f32(2, 3, 4))
sample("trace", lambda paddle, x: paddle.trace(x, offset=1), x=i64(3, 3).astype("int32"))
sample("matrix_power", lambda paddle, x: paddle.linalg.matrix_power(x, 3), x=f32(2, 3, 3), dynamic="Paddle wants static dims")
sample("matrix_power", lambda paddle, x: paddle.linalg.matrix_power(x, -2), x=_well(3, 3), rtol=1e-4, dynamic="Paddle wants static dims")
sample("matrix_power", lambda paddle, x: paddle.linalg.matrix_power(x, 0), x=f32(2, 3, 3), dynamic="Paddle wants static dims")
sample("bilinear", lambda paddle, x, y, w: paddle.nn.functional.bilinear(x, y, w), x=f32(2, 3), y=f32(2, 4), w=f32(5, 3, 4))
sample(
    "bilinear",
    lambda paddle, x, y, w, c: paddle.nn.functional.bilinear(x, y, w, c),
    x=f32(2, 3),
    y=f32(2, 4),
    w=f32(5, 3, 4),
    c=f32(1, 5),
    dynamic="Paddle wants a bias of static shape",
)
sample("bilinear", lambda paddle, x, y, w: paddle.nn.functional.bilinear(x, y, w), x=f64(1, 2), y=f64(1, 3), w=f64(1, 2, 3))
sample("det", lambda paddle, x: paddle.linalg.det(x), x=f32(2, 4, 4))
sample("det", lambda paddle, x: paddle.linalg.det(x), x=f64(3, 3))
sample("det", lambda paddle, x: paddle.linalg.det(x), x=np.array([[0, 2], [3, 4]], "float32"))
sample("det", lambda paddle, x: paddle.linalg.det(x), x=f64(2, 2, 1, 1))
sample("slogdet", lambda paddle, x: paddle.linalg.slogdet(x), x=f32(2, 4, 4))
sample("slogdet", lambda paddle, x: paddle.linalg.slogdet(x), x=f64(3, 3))
sample("slogdet", lambda paddle, x: paddle.linalg.slogdet(x), x=np.stack([np.zeros([2, 2], "float32"), -_well(2, 2)]))
sample("inverse", lambda paddle, x: paddle.inverse(x), x=_well(2, 4, 4))
sample("inverse", lambda paddle, x: paddle.inverse(x), x=_well(3, 3).astype("float64"), rtol=1e-10)
sample("inverse", lambda paddle, x: paddle.inverse(x), x=_well(2, 1, 2, 2))
sample("solve", lambda paddle, x, y: paddle.linalg.solve(x, y), x=_well(2, 3, 3), y=f32(2, 3, 2))
sample("solve", lambda paddle, x, y: paddle.linalg.solve(x, y), x=_well(3, 3), y=f32(3))
sample("solve", lambda paddle, x, y: paddle.linalg.solve(x, y), x=_well(3, 3).astype("float64"), y=f64(2, 3, 2), rtol=1e-10)
sample("lu", lambda paddle, x: paddle.linalg.lu(x, get_infos=True), x=f32(2, 4, 3))
sample("lu", lambda paddle, x: paddle.linalg.lu(x), x=f64(3, 3), rtol=1e-10)
sample("lu", lambda paddle, x: paddle.linalg.lu(x), x=f32(2, 3, 5))
sample("lu_unpack", lambda paddle, x: paddle.linalg.lu_unpack(*paddle.linalg.lu(x)), x=f32(4, 3))
sample("lu_unpack", lambda paddle, x: paddle.linalg.lu_unpack(*paddle.linalg.lu(x)), x=f64(2, 3, 3), rtol=1e-10)
sample("lu_unpack", lambda paddle, x: paddle.linalg.lu_unpack(*paddle.linalg.lu(x)), x=f32(2, 4))
sample("cholesky", lambda paddle, x: paddle.linalg.cholesky(x), x=_spd(2, 3, 3))
sample("cholesky", lambda paddle, x: paddle.linalg.cholesky(x, upper=True), x=_spd(3, 3, dtype="float64"))
sample("cholesky", lambda paddle, x: paddle.linalg.cholesky(x, upper=True), x=_spd(2, 1, 4, 4))
sample("cholesky", lambda paddle, x: paddle.linalg.cholesky(x), x=_spd(1, 1, dtype="float64"))
sample("cholesky_solve", lambda paddle, x, y: paddle.linalg.cholesky_solve(x, y), x=f32(2, 3, 2), y=_lower(2, 3, 3))
sample("cholesky_solve", lambda paddle, x, y: paddle.linalg.cholesky_solve(x, y, upper=True), x=f32(3, 1), y=_lower(3, 3).T.copy())
sample("cholesky_solve", lambda paddle, x, y: paddle.linalg.cholesky_solve(x, y), x=f64(3, 2), y=_lower(3, 3).astype("float64"))
sample("triangular_solve", lambda paddle, x, y: paddle.linalg.triangular_solve(x, y), x=_well(3, 3), y=f32(3, 2))
sample(
    "triangular_solve",
    lambda paddle, x, y: paddle.linalg.triangular_solve(x, y, upper=False, transpose=True),
    x=_well(2, 3, 3),
    y=f32(3, 2),
)
sample("triangular_solve", lambda paddle, x, y: paddle.linalg.triangular_solve(x, y, unitriangular=True), x=_well(3, 3), y=f32(3, 2))


def _symmetric(*shape: int, dtype: str = "float32") -> np.ndarray:
    a = f64(*shape)
    return (a + a.swapaxes(-1, -2)).astype(dtype)


def _low_rank(*shape: int) -> np.ndarray:
    a = f64(*shape)
    a[..., -1, :] = a[..., 0, :] * 2
    return a.astype("float32")


def _magnitudes(paddle: Any, values: Any) -> list:
    """Singular vectors and eigenvectors are unique up to a sign."""
    return [paddle.abs(v) for v in values]


sample("qr", lambda paddle, x: paddle.linalg.qr(x), x=f32(2, 4, 3))
sample("qr", lambda paddle, x: paddle.linalg.qr(x, mode="complete"), x=f32(4, 3))
sample("qr", lambda paddle, x: paddle.linalg.qr(x), x=f64(3, 5))
sample("qr", lambda paddle, x: paddle.linalg.qr(x, mode="r"), x=f32(3, 3))
sample("eigvalsh", lambda paddle, x: paddle.linalg.eigvalsh(x), x=_symmetric(2, 5, 5))
sample("eigvalsh", lambda paddle, x: paddle.linalg.eigvalsh(x, UPLO="U"), x=f64(4, 4))
sample("eigvalsh", lambda paddle, x: paddle.linalg.eigvalsh(x), x=f32(1, 1))
sample("eigvalsh", lambda paddle, x: paddle.linalg.eigvalsh(x, UPLO="L"), x=f64(2, 1, 3, 3))
sample("eigh", lambda paddle, x: _magnitudes(paddle, paddle.linalg.eigh(x)), x=_symmetric(2, 4, 4))
sample("eigh", lambda paddle, x: _magnitudes(paddle, paddle.linalg.eigh(x, UPLO="U")), x=f64(3, 3))
sample("eigh", lambda paddle, x: _magnitudes(paddle, paddle.linalg.eigh(x)), x=_symmetric(1, 2, 3, 3, dtype="float64"))
sample("eigh", lambda paddle, x: _magnitudes(paddle, paddle.linalg.eigh(x)), x=f32(1, 1))
sample("svd", lambda paddle, x: _magnitudes(paddle, paddle.linalg.svd(x)), x=f32(2, 4, 3))
sample("svd", lambda paddle, x: _magnitudes(paddle, paddle.linalg.svd(x)), x=f64(3, 5))
sample("svd", lambda paddle, x: paddle.linalg.svd(x, full_matrices=True)[1], x=f64(5, 3))
sample("svd", lambda paddle, x: [(u := paddle.linalg.svd(x, full_matrices=True)[0]).T @ u], x=_low_rank(5, 3))
sample("svdvals", lambda paddle, x: paddle.linalg.svdvals(x), x=f32(2, 4, 4))
sample("svdvals", lambda paddle, x: paddle.linalg.svdvals(x), x=f64(3, 5), rtol=1e-10)
sample("svdvals", lambda paddle, x: paddle.linalg.svdvals(x), x=_low_rank(5, 3))
sample("matrix_rank", lambda paddle, x: paddle.linalg.matrix_rank(x), x=_low_rank(2, 4, 4))
sample("matrix_rank", lambda paddle, x: paddle.linalg.matrix_rank(x, tol=1.5), x=f32(4, 5))
sample("matrix_rank", lambda paddle, x, t: paddle.linalg.matrix_rank(x, tol=t), x=f32(2, 4, 4), t=f32(2, low=0.5, high=2.0))
sample("matrix_rank", lambda paddle, x: paddle.linalg.matrix_rank(x, tol=0.5, hermitian=True), x=_symmetric(4, 4))
sample("matrix_rank_atol_rtol", lambda paddle, x: paddle.linalg.matrix_rank(x, atol=0.5, rtol=0.3), x=f32(3, 4, 4))
sample("matrix_rank_atol_rtol", lambda paddle, x: paddle.linalg.matrix_rank(x, rtol=0.3), x=f32(3, 4, 4))
sample("matrix_rank_atol_rtol", lambda paddle, x: paddle.linalg.matrix_rank(x, atol=0.9), x=f32(3, 4, 4))
sample("slogdet_v2", lambda paddle, x: list(paddle._C_ops.slogdet_v2(x)), x=f32(2, 4, 4))
sample("slogdet_v2", lambda paddle, x: list(paddle._C_ops.slogdet_v2(x)), x=f64(3, 3))
sample("slogdet_v2", lambda paddle, x: list(paddle._C_ops.slogdet_v2(x)), x=np.stack([np.zeros([3, 3], "float32"), -_well(3, 3)]))
sample("matmul_with_flatten", lambda paddle, x, y: paddle._C_ops.matmul_with_flatten(x, y, 2, 1), x=f32(2, 3, 4), y=f32(4, 5))
sample("matmul_with_flatten", lambda paddle, x, y: paddle._C_ops.matmul_with_flatten(x, y, 1, 2), x=f32(2, 3, 4), y=f32(3, 4, 5))
sample("matmul_with_flatten", lambda paddle, x, y: paddle._C_ops.matmul_with_flatten(x, y, 1, 1), x=f64(2, 3), y=f64(3, 2, 2))
for _default in (True, False):
    sample(
        "matrix_rank_tol",
        lambda paddle, x, t, d=_default: paddle._C_ops.matrix_rank_tol(x, t, d, False),
        x=_low_rank(2, 4, 3), t=f32(2, low=0.0, high=2.0),
    )  # fmt: skip
sample("matrix_rank_tol", lambda paddle, x, t: paddle._C_ops.matrix_rank_tol(x, t, False, True), x=_symmetric(4, 4), t=f32(3, low=0.5))
