"""Linear layers of weights in the order of tensor cores: Paddle's CPU makes the weights, numpy the product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_without_oracle import F, check, rand, run

paddle = pytest.importorskip("paddle", reason="paddlepaddle orders the weights")


def quantised(rows: int, columns: int, bits: int, arch: int, group: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A float16 weight that integers say exactly; those integers as Paddle stores them; and their scales."""
    rng, top = np.random.RandomState(rows + columns + bits), 127 if bits == 8 else 7
    span = rows if group < 0 else group
    whole = rng.randint(-top, top + 1, (rows, columns))
    whole[::span] = np.where(rng.rand(rows // span, columns) < 0.5, top, -top)  # so that the scale is known
    scales = 2.0 ** -rng.randint(6, 9, (rows // span, columns))
    numbers = (whole * np.repeat(scales, span, 0)).astype("float16")
    with paddle.base.dygraph.guard(paddle.CPUPlace()):
        stored, scale = paddle._C_ops.weight_quantize(paddle.to_tensor(numbers), f"weight_only_int{bits}", arch, group)
        stored, scale = stored.numpy(), scale.numpy()
    np.testing.assert_allclose(scale.reshape(scales.shape), scales, rtol=1e-3)
    return numbers, stored, scale


CASES = [(64, 16, 8, 80, -1), (128, 32, 8, 75, -1), (128, 16, 8, 90, 64), (64, 32, 4, 80, -1), (256, 16, 4, 86, 128), (128, 64, 4, 89, 64)]


@pytest.mark.parametrize(("rows", "columns", "bits", "arch", "group"), CASES)
@pytest.mark.parametrize("biased", [True, False])
def test_linear(rows: int, columns: int, bits: int, arch: int, group: int, biased: bool) -> None:
    numbers, stored, scale = quantised(rows, columns, bits, arch, group)
    x, bias = rand(2, 3, rows), rand(columns)
    operands: dict[str, Any] = {"x": x, "weight": stored, "bias": bias if biased else None, "weight_scale": scale.astype("float32")}
    (out,) = run("weight_only_linear", operands, {"weight_dtype": f"int{bits}", "arch": arch, "group_size": group})
    check(out, x.astype(F) @ numbers.astype(F) + (bias if biased else 0.0), 2e-4)


@pytest.mark.parametrize(("rows", "columns", "bits", "arch", "group"), CASES)
def test_dequantize(rows: int, columns: int, bits: int, arch: int, group: int) -> None:
    numbers, stored, scale = quantised(rows, columns, bits, arch, group)
    (out,) = run("weight_dequantize", {"x": stored, "scale": scale}, {"algo": f"weight_only_int{bits}", "group_size": group})
    assert out.dtype == np.float16
    np.testing.assert_allclose(out.astype(F), numbers.astype(F), rtol=1e-3)
