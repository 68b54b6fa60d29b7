"""The candidates of the CPU target compute the same: whatever records say, the numbers are right."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tvm
from tvm import relax

from oarlock import pipeline, targets
from oarlock.kernels import Choices

rng = np.random.default_rng(0)
# input [N, C, H, W], weights [O, I, KH, KW], stride, padding, groups
CONVOLUTIONS = [
    ((1, 16, 9, 13), (48, 16, 3, 3), 1, 1, 1),
    ((2, 3, 17, 20), (24, 3, 3, 3), 2, 1, 1),
    ((1, 8, 7, 7), (20, 8, 1, 1), 1, 0, 1),  # pointwise; 20 columns end within a vector
    ((1, 32, 6, 10), (32, 8, 3, 3), 1, 1, 4),
    ((1, 40, 9, 11), (40, 1, 5, 5), 1, 2, 40),
    ((1, 32, 12, 9), (32, 1, 3, 3), 2, 1, 32),
]
PRODUCTS = [((13, 24), (24, 200)), ((1, 64), (64, 60))]
BATCH = (2, 3, 10, 12), (2, 3, 12, 40)


def convolved(x: np.ndarray, w: np.ndarray, stride: int, padding: int, groups: int) -> np.ndarray:
    """By the definition, in float64."""
    x = np.pad(x.astype("float64"), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, axis=1), np.split(w.astype("float64"), groups), strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", a, b) for a, b in parts], axis=1)


def numbers(shape: Sequence[int]) -> np.ndarray:
    return rng.standard_normal(shape).astype("float32")


@pytest.fixture(scope="module")
def case() -> tuple[tvm.IRModule, list[np.ndarray], list[np.ndarray]]:
    """A module with every kind of kernel, its inputs, and what it gives.  The rows of the last product are symbolic."""
    inputs: list[np.ndarray] = []
    expected: list[np.ndarray] = []
    variables: list[relax.Var] = []
    outs = []

    def variable(array: np.ndarray, shape: Sequence = ()) -> relax.Var:
        inputs.append(array)
        variables.append(relax.Var(f"x{len(inputs)}", relax.TensorType(tuple(shape or array.shape), "float32")))
        return variables[-1]

    op = relax.op
    for x_shape, w_shape, stride, padding, groups in CONVOLUTIONS:
        x, w = numbers(x_shape), numbers(w_shape)
        y = op.nn.conv2d(variable(x), relax.const(w), strides=stride, padding=padding, groups=groups)
        outs.append(op.nn.relu(y))
        expected.append(np.maximum(convolved(x, w, stride, padding, groups), 0))
    for x_shape, w_shape in PRODUCTS:
        x, w = numbers(x_shape), numbers(w_shape)
        outs.append(op.matmul(variable(x), relax.const(w)))
        expected.append(x.astype("float64") @ w)
    x, w = numbers(PRODUCTS[0][0]), numbers(PRODUCTS[0][1])
    outs.append(op.matmul(variable(x, (tvm.tirx.Var("n", "int64"), 24)), relax.const(w)))
    expected.append(x.astype("float64") @ w)
    a, b = (numbers(shape) for shape in BATCH)
    outs.append(op.matmul(variable(a), variable(b)))
    expected.append(a.astype("float64") @ b)
    a, b = numbers(BATCH[0]), numbers((2, 3, 40, 12))
    outs.append(op.matmul(variable(a), op.permute_dims(variable(b), [0, 1, 3, 2])))
    expected.append(a.astype("float64") @ b.transpose(0, 1, 3, 2))
    builder = relax.BlockBuilder()
    with builder.function("main", variables):
        builder.emit_func_output(relax.Tuple([builder.emit(out) for out in outs]))
    return builder.get(), inputs, expected


@pytest.mark.parametrize("mcpu,threads,tried", [("native", 1, 12), ("native", 2, 8), ("x86-64-v3", 1, 6)])
def test_candidates_are_right(case: tuple, mcpu: str, threads: int, tried: int) -> None:
    module, inputs, expected = case
    target = targets.get("cpu", mcpu=mcpu, threads=threads, libraries="none")  # oneDNN's has tests of its own
    number, most = 0, 1
    while number < most:

        def chooser(workload: str, names: Sequence[str], number: int = number) -> str:
            return names[min(number, len(names) - 1)]

        choices = Choices(chooser)
        built = pipeline.build(module, target, choices=choices)
        most = min(tried, max(map(len, choices.asked.values())))
        assert len(choices.asked) >= len(expected)
        assert not [line for line in built.notes if "does not apply" in line], choices.picked
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, "library.so")
            library.write_bytes(built.library)
            vm = relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
            results = vm["main"](*map(tvm.runtime.tensor, inputs), *map(tvm.runtime.tensor, built.weights))
        for got, want in zip(results, expected, strict=True):
            assert np.allclose(got.numpy(), want, rtol=1e-4, atol=1e-4), choices.picked
        number += 1
    assert most == tried
