"""Samples of ops/setitem.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .base import boolean, f32, i64, sample


def _put(where: Any) -> Any:
    """x[where] = v (a tensor), or 7 without one."""

    def call(paddle: Any, x: Any, v: Any = None) -> Any:
        return paddle.static.setitem(paddle.assign(x), where, 7 if v is None else v)

    return call


sample("set_value", _put(1), x=f32(3, 4))
sample("set_value", _put((slice(None), slice(1, 3))), x=i64(3, 4))
sample("set_value", _put((slice(None, None, 2), -1)), x=f32(5, 4))
sample("set_value", _put((slice(None, None, -2),)), x=f32(5, 2))
sample("set_value", _put((slice(4, 0, -3), slice(-3, None))), x=f32(5, 4))
sample("set_value", _put((Ellipsis, slice(1, 2))), x=boolean(2, 3, 4))
sample("set_value_with_tensor", _put((slice(1, None),)), x=f32(3, 4), v=f32(2, 4))
sample("set_value_with_tensor", _put((slice(None), 2)), x=f32(3, 4), v=f32(3))
sample("set_value_with_tensor", _put((slice(None), slice(3, 0, -1))), x=f32(3, 4), v=f32(3, 3))
sample("set_value_with_tensor", _put((0, None, slice(None, None, 2))), x=f32(3, 4), v=f32(1, 2))
sample("set_value_with_tensor", _put((slice(0, 2), 1)), x=i64(3, 4, 2), v=i64(1))


def _at(paddle: Any, x: Any, v: Any, i: Any) -> Any:
    return paddle.static.setitem(paddle.assign(x), (slice(None), i), v)


sample("set_value_with_tensor", _at, x=f32(3, 4), v=f32(3), i=np.asarray(2))
