"""Samples of operators that look at numbers and change none, and of digests."""

import numpy as np

from .base import f32, f64, i32, i64, sample


def _asserted(paddle, x, y=None):  # type: ignore[no-untyped-def]
    condition = paddle.shape(x)[0] > 1 if y is None else (x < y).all()
    paddle.static.nn.control_flow.Assert(condition, [x], 2)
    return x * 2


sample("assert", _asserted, x=f32(2, 3))
sample("assert", _asserted, x=f32(4), y=f32(4) + 1)
sample("assert", _asserted, x=i64(2, 1, 3))

_ODD = np.array([[1, np.nan, np.inf, -np.inf], [0, -2, 0.5, -0.0]], "float32")
for _x in (_ODD, _ODD[:, 1:], f32(3, 5), f64(7), np.zeros((2, 2), "float32")):
    sample("check_numerics", lambda paddle, x: list(paddle._C_ops.check_numerics(x, "op", "name", 3, -1, "")), x=_x)

_NEAR = f32(3, 4)
_NAN = np.where(_NEAR > 1, np.float32("nan"), _NEAR)
for _x, _y, _rtol, _equal in (
    (_NEAR, _NEAR, 1e-5, False),
    (_NEAR, _NEAR * np.float32(1 + 1e-3), 1e-2, False),
    (_NAN, _NAN, 1e-5, True),
    (i64(5), i64(5), 0.0, False),
    (f32(), f32(), 1e-5, False),
):
    sample(
        "accuracy_check",
        lambda paddle, x, y, rtol=_rtol, equal=_equal: paddle._C_ops.accuracy_check(x, y, "name", rtol, 1e-8, equal),
        x=_x,
        y=_y,
    )

for _x, _count, _mod in (
    (i64(4, 2, high=50), 3, 1000),
    (i64(3, 9, low=-(10**9), high=10**9), 2, 10**7),
    (i32(5, 1, high=50), 1, 100000),
    (i32(2, 7, low=-50, high=50), 4, 97),
):
    sample(
        "hash",
        lambda paddle, x, n=_count, m=_mod: paddle._C_ops.hash(x, n, m, True),
        x=_x,
        sequences=("x",),
        static=(1,),
    )
