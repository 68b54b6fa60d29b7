"""exp, log, sigmoid, tanh and erf as arithmetic: how far from the exact value, and the ends of their ranges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from runner import build, dim, var
from tvm import relax

op = relax.op
REFERENCE = {
    "exp": np.exp,
    "log": np.log,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "erf": np.vectorize(math.erf, otypes=["float64"]),
}
ULPS = {"exp": 2, "log": 2, "sigmoid": 3, "tanh": 4, "erf": 5}
SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-45,
    1.1e-38,
    1.2e-38,
    3.4e38,
    -3.4e38,
    1.0,
    -1.0,
    88.7,
    89.0,
    -87.4,
    -103.9,
    -104.1,
    0.99999994,
]


@pytest.mark.parametrize("name", list(REFERENCE))
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_elementary_functions(name: str, dynamic: bool) -> None:
    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(-100, 88, 20000))
    values = np.concatenate([SPECIAL, wide, -wide, rng.uniform(-12, 12, 20000), rng.uniform(0.5, 2, 20000), rng.uniform(-104, 89, 5000)])
    x = values.astype("float32")
    kernel = getattr(op, name)
    got = build([var("x", (dim("n") if dynamic else x.size,))], lambda bb, a: kernel(a))(x)[0]
    with np.errstate(all="ignore"):
        exact = REFERENCE[name](x.astype("float64"))
        want = exact.astype("float32")
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    if name == "sigmoid":  # below, 1 / (1 + e^−x) is 0 where the exact value is subnormal
        assert np.abs(got[x < -87]).max() <= 2e-38
        want[x < -87] = got[x < -87]
        exact[x < -87] = got[x < -87]
    fine = np.isfinite(want)
    np.testing.assert_array_equal(got[~fine & ~np.isnan(want)], want[~fine & ~np.isnan(want)])
    unit = np.spacing(np.maximum(np.abs(want[fine]), np.finfo("float32").tiny)).astype("float64")
    error = np.abs(got[fine].astype("float64") - exact[fine]) / unit
    assert error.max() <= ULPS[name], (x[fine][error.argmax()], error.max())
