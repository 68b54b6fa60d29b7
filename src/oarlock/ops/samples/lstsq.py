"""Samples of least squares and of systems whose factors are known."""

import numpy as np

from .base import f32, f64, sample


def _low_rank(rows: int, columns: int) -> np.ndarray:
    return (f64(rows, 2) @ f64(2, columns)).astype("float64")


for _driver in ("gels", "gelsy", "gelsd", "gelss"):
    for _x, _y in ((f32(5, 3), f32(5, 2)), (f64(3, 5), f64(3, 2)), (f64(2, 4, 3), f64(2, 4, 1)), (f32(4, 4), f32(4, 3))):
        sample(
            "lstsq",
            lambda paddle, x, y, d=_driver: [
                t
                for t, used in zip(paddle.linalg.lstsq(x, y, driver=d), (True, True, d != "gels", d in ("gelsd", "gelss")), strict=True)
                if used
            ],
            x=_x,
            y=_y,
            rtol=2e-4 if _x.dtype == "float32" else 1e-5,
            atol=2e-5 if _x.dtype == "float32" else 1e-6,
        )
for _driver in ("gelsy", "gelsd", "gelss"):
    sample(
        "lstsq",
        lambda paddle, x, y, d=_driver: list(paddle.linalg.lstsq(x, y, rcond=1e-6, driver=d))[:3],
        x=_low_rank(5, 4),
        y=f64(5, 2),
    )
sample(
    "lstsq",
    lambda paddle, x, y: list(paddle.linalg.lstsq(x, y, driver="gelsd")),
    x=f32(3, 0),
    y=f32(3, 2),
    dynamic="with known sizes Paddle's results have other ranks",
)
for _trans in ("N", "T"):
    sample(
        "lu_solve",
        lambda paddle, x, y, t=_trans: paddle.linalg.lu_solve(y, *paddle.linalg.lu(x), t),
        x=f32(4, 4),
        y=f32(4, 2),
        rtol=1e-4,
    )
    sample(
        "lu_solve",
        lambda paddle, x, y, t=_trans: paddle.linalg.lu_solve(y, *paddle.linalg.lu(x), t),
        x=f64(3, 5, 5),
        y=f64(3, 5, 3),
    )
