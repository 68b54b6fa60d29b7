"""Complex tensors where the samples do not reach: what a session takes and gives, files, loops, branches, arrays, weights, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.checking import check
from oarlock.errors import InputError, UnsupportedOperators
from oarlock.inputs import random_inputs
from oarlock.ops import fft_kernels
from oarlock.ops.samples.base import c64, c128, f32
from oarlock.runtime.signature import TensorSpec

pytest.importorskip("paddle", reason="paddlepaddle is the oracle")


def exported(tmp_path: Path, call: Callable[..., Any], dynamic: bool = False, **inputs: np.ndarray) -> tuple[Path, list[np.ndarray]]:
    """A saved model of a call, and what Paddle gives."""
    from oarlock.checking.oracle import export_call

    expected = export_call(call, inputs, {}, tmp_path / "model", dynamic=dynamic)
    return tmp_path / "model.json", expected


def same(got: dict[str, np.ndarray], expected: list[np.ndarray], rtol: float = 1e-5) -> None:
    assert len(got) == len(expected)
    for mine, theirs in zip(got.values(), expected, strict=True):
        assert mine.shape == theirs.shape
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol)


# ---- inputs and outputs --------------------------------------------------------------------------------------------------


def test_a_session_takes_and_gives_numpy_complex_arrays(tmp_path: Path) -> None:
    x = c64(4, 3)
    model, expected = exported(tmp_path, lambda paddle, x: [x * x, paddle.real(x)], x=x, dynamic=True)
    oarlock.compile(model, records=False).save(tmp_path / "model.oar")
    session = oarlock.Session(tmp_path / "model.oar")
    (spec,) = session.inputs
    assert (spec.dtype, len(spec.shape or ())) == ("complex64", 2)
    assert [s.dtype for s in session.outputs] == ["complex64", "float32"]
    same(session.run({"x": x}), expected)
    turned = np.asfortranarray(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    for given in (turned, frozen, x[::1]):
        same(session.run({"x": given}), expected)
    same(session.run({"x": x[::2]}), [x[::2] * x[::2], x[::2].real])
    staged = session.empty("x", (4, 3))
    staged[...] = x
    same(session.run({"x": staged}), expected)
    same(session.run({"x": [[1 + 2j, 3.0], [0, -1j]]}), [np.array([[-3 + 4j, 9], [0, -1]], "complex64"), np.float32([[1, 3], [0, 0]])])
    assert session.run({"x": np.zeros((0, 3), "complex64")})[session.outputs[0].name].shape == (0, 3)
    for wrong in (x.astype("complex128"), x.real.copy(), x.view("float32")):
        with pytest.raises(InputError, match="expected complex64"):
            session.run({"x": wrong})
    with pytest.raises(InputError, match="rank 1, expected 2"):
        session.run({"x": x[0]})


def test_dlpack_and_scalars(tmp_path: Path) -> None:
    import paddle

    x = c64()
    model, expected = exported(tmp_path, lambda paddle, x: paddle.conj(x), x=x)
    session = oarlock.Session(oarlock.compile(model, records=False))
    same(session.run({"x": x}), expected)
    same(session.run({"x": complex(x)}), expected)
    paddle.disable_static()
    try:
        same(session.run({"x": paddle.to_tensor(x)}), expected)
    finally:
        paddle.enable_static()


def test_large_outputs_stay_valid(tmp_path: Path) -> None:
    x = c128(80, 80)
    model, _ = exported(tmp_path, lambda paddle, x: x + x, x=x)
    session = oarlock.Session(oarlock.compile(model, records=False))
    (first,) = session.run({"x": x}).values()
    (second,) = session.run({"x": x * 3}).values()
    session.close()
    np.testing.assert_array_equal(first, x + x)
    np.testing.assert_array_equal(second, x * 3 + x * 3)


def test_check_compares_complex_outputs(tmp_path: Path) -> None:
    model, _ = exported(tmp_path, lambda paddle, x: paddle.fft.fft(x), x=c64(2, 8))
    assert check(model).ok
    from oarlock.checking.compare import compare

    right = c64(3)
    assert compare("y", right, right).ok
    wrong = compare("y", right + np.complex64(1j), right)
    assert not wrong.ok and wrong.max_abs == pytest.approx(1.0, rel=1e-5)


def test_random_inputs_are_complex() -> None:
    made = random_inputs([TensorSpec("x", "complex128", (3, 4))])["x"]
    assert made.dtype == np.complex128 and made.imag.any()


def test_weights_of_a_complex_dtype(tmp_path: Path) -> None:
    import paddle

    numbers = np.array([1 + 2j, 3 - 1j, 0.5j], "complex64")

    class Rotary(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("turns", paddle.to_tensor(numbers))

        def forward(self, x: Any) -> Any:
            return paddle.as_real(paddle.as_complex(x) * self.turns)

    paddle.disable_static()
    try:
        layer = Rotary()
        layer.eval()
        paddle.jit.save(layer, str(tmp_path / "rotary"), input_spec=[paddle.static.InputSpec([-1, 3, 2], "float32", "x")])
    finally:
        paddle.enable_static()
    x = f32(4, 3, 2)
    session = oarlock.Session(oarlock.compile(tmp_path / "rotary.json", records=False))
    product = (x[..., 0] + 1j * x[..., 1]) * numbers
    same(session.run({"x": x}), [np.stack([product.real, product.imag], -1).astype("float32")])


# ---- control flow --------------------------------------------------------------------------------------------------------


def _loop(paddle: Any, x: Any, n: Any) -> Any:
    """zⁿ in a loop that carries complex tensors, and the powers in an array."""
    powers = paddle.tensor.create_array("complex64")
    i = paddle.zeros([1], "int64")
    z = paddle.ones_like(x)
    powers = paddle.tensor.array_write(z, paddle.zeros([1], "int64"), powers)

    def body(i: Any, z: Any, powers: Any) -> list:
        z = z * x
        i = i + 1
        powers = paddle.tensor.array_write(z, i, powers)
        return [i, z, powers]

    i, z, powers = paddle.static.nn.while_loop(lambda i, z, powers: (i < n).all(), body, [i, z, powers])
    stacked, _ = paddle.tensor.manipulation.tensor_array_to_tensor(powers, 0, use_stack=True)
    return [z, stacked, paddle.tensor.array_length(powers)]


@pytest.mark.parametrize("dynamic", [False, True])
def test_loops_carry_complex_tensors(tmp_path: Path, dynamic: bool) -> None:
    x, n = c64(3), np.array([4], "int64")
    model, expected = exported(tmp_path, lambda paddle, x, n: _loop(paddle, x, n)[:1], x=x, n=n, dynamic=False)
    same(oarlock.Session(oarlock.compile(model, shapes={"x": (None,)} if dynamic else None, records=False)).run({"x": x, "n": n}), expected)
    np.testing.assert_allclose(expected[0], x**4, rtol=1e-4)


def test_arrays_of_complex_tensors_in_a_loop(tmp_path: Path) -> None:
    x, n = c64(3), np.array([4], "int64")
    model, expected = exported(tmp_path, _loop, x=x, n=n)
    same(oarlock.Session(oarlock.compile(model, records=False)).run({"x": x, "n": n}), expected)


def test_branches_yield_complex_tensors(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any, c: Any) -> Any:
        return paddle.static.nn.cond(c.any(), lambda: paddle.exp(x), lambda: paddle.conj(x) * 2.0)

    x = c64(2, 3)
    model, _ = exported(tmp_path, call, x=x, c=np.array([True]))
    session = oarlock.Session(oarlock.compile(model, records=False))
    same(session.run({"x": x, "c": np.array([True])}), [np.exp(x)])
    same(session.run({"x": x, "c": np.array([False])}), [np.conj(x) * 2])


# ---- refusals and lengths ------------------------------------------------------------------------------------------------


def test_operators_that_do_not_take_complex_tensors_say_so(tmp_path: Path) -> None:
    model, _ = exported(tmp_path, lambda paddle, x: paddle.nn.functional.softplus(x), x=c64(3))
    program = oarlock.load_model(model)
    for op in program.block.ops:
        if op.name == "pd_op.softplus":
            op.name, op.attrs = "pd_op.relu", {}
    with pytest.raises(UnsupportedOperators, match="relu.*'x' is complex.*paddle.real and paddle.imag"):
        oarlock.compile(program)


@pytest.mark.parametrize("n", [1, 2, 6, 7, 13, 59, 60, 61, 62, 97, 121, 128, 251, 1000, 1021])
def test_factors_and_roots_of_every_length(n: int) -> None:
    """Against numpy in float64: within 4e-16 · log₂ n."""
    from oarlock.ops.fft_kernels import factors, smooth_length

    assert np.prod(factors(n), initial=1) == n
    assert smooth_length(2 * n - 1) >= 2 * n - 1 and max(factors(smooth_length(2 * n - 1)), default=1) <= 5
    roots = fft_kernels.roots_of_unity(n, -1)
    np.testing.assert_allclose(roots, np.exp(-2j * np.pi * np.arange(n) / n), atol=4e-16 * max(1, np.log2(n)))


def test_a_dynamic_length_is_as_exact(tmp_path: Path) -> None:
    model, _ = exported(tmp_path, lambda paddle, x: [paddle.fft.fft(x), paddle.fft.irfft(x)], x=c128(2, 9), dynamic=True)
    session = oarlock.Session(oarlock.compile(model, records=False))
    for n in (2, 3, 8, 100, 521):
        x = c128(2, n)
        forward, back = session.run({"x": x}).values()
        for got, want in ((forward, np.fft.fft(x)), (back, np.fft.irfft(x))):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-14 * np.abs(want).max() * np.log2(n + 1))


def test_a_dynamic_length_may_be_0(tmp_path: Path) -> None:
    model, _ = exported(tmp_path, lambda paddle, x: paddle.fft.fft(x), x=c128(2, 9), dynamic=True)
    (got,) = oarlock.Session(oarlock.compile(model, records=False)).run({"x": c128(2, 0)}).values()
    assert got.shape == (2, 0)


def test_functions_whose_oracle_is_inexact(tmp_path: Path) -> None:
    """Paddle's exp of complex128 is good to 7e-8 only: numpy is the oracle."""

    def call(paddle: Any, x: Any) -> list:
        f = paddle.nn.functional
        return [paddle.exp(x), f.sigmoid(x), f.silu(x), f.log_sigmoid(x), paddle.expm1(x)]

    x = c128(64, low=-5.0, high=5.0)
    model, _ = exported(tmp_path, call, x=x)
    sigmoid = 1 / (1 + np.exp(-x))
    session = oarlock.Session(oarlock.compile(model, records=False))
    same(session.run({"x": x}), [np.exp(x), sigmoid, x * sigmoid, -np.log(1 + np.exp(-x)), np.expm1(x)], 1e-12)
