"""Which operations of the model each call of a kernel stands for: manifest["calls"] of compiled models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import oarlock
from oarlock.checking.oracle import export_call
from oarlock.profiling.roofline import origins
from oarlock.rules.origins import name_of, number, stem

paddle = pytest.importorskip("paddle", reason="paddlepaddle writes the models")

# no work of their own: what tells sizes, and views
WEIGHTLESS = {"full", "full_int_array", "shape64", "reshape", "data", "parameter", "fetch", "yield", "combine", "split", "while"}


def calls(call: Any, inputs: dict[str, np.ndarray], folder: Path, **options: Any) -> tuple[dict[str, list], dict[str, str], Any]:
    """The calls as (kernel, [operators]), what each number is called, the manifest."""
    export_call(call, inputs, {}, folder / "model", dynamic=True)
    manifest = oarlock.compile(folder / "model.json", threads=1, options={"executor": "vm", **options}).manifest
    named = {int(number): operator for number, (operator, _) in manifest["operations"].items()}
    made = {name: [(kernel, [named[n] for n in numbers]) for kernel, numbers in sites] for name, sites in manifest["calls"].items()}
    return made, named, manifest


def block(paddle: Any, x: Any) -> Any:
    paddle.seed(1)
    first, norm = paddle.nn.Conv2D(8, 16, 3, padding=1), paddle.nn.BatchNorm2D(16)
    second = paddle.nn.Conv2D(16, 16, 1)
    norm.eval()
    y = paddle.nn.functional.relu(norm(first(x)))
    return paddle.nn.functional.softmax((second(y) + y).mean([2, 3]))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_operation_of_a_convolutional_block_is_found(precision: str, tmp_path: Path) -> None:
    options = {"precision": precision, "mcpu": "sapphirerapids"} if precision != "float32" else {}
    made, named, _ = calls(block, {"x": np.ones((2, 8, 12, 12), "float32")}, tmp_path, **options)
    program = oarlock.load_model(tmp_path / "model.json")
    wanted = Counter(op.short_name for op in program.walk() if op.short_name not in WEIGHTLESS)
    found = Counter(operator for operator in named.values() if operator not in WEIGHTLESS)
    assert found == wanted and found["conv2d"] == 2
    (first,) = [operators for _, operators in made["main"] if "batch_norm" in operators or "batch_norm_" in operators]
    assert "conv2d" in first and "relu" in first, "folded and fused, and told as one"
    (softmax,) = [operators for kernel, operators in made["main"] if "softmax" in kernel]
    assert "softmax" in softmax


def test_calls_of_one_kernel_are_told_apart(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any) -> Any:
        for _ in range(3):
            x = paddle.nn.functional.softmax(x.transpose([0, 2, 1]).cumsum(1), axis=1).transpose([0, 2, 1])
        return x

    made, _, manifest = calls(call, {"x": np.ones((2, 5, 7), "float32")}, tmp_path)
    numbers = [tuple(numbers) for sites in manifest["calls"].values() for _, numbers in sites if numbers]
    assert len(set(numbers)) == len(numbers)
    kernels = Counter(kernel for kernel, _ in made["main"])
    assert max(kernels.values()) == 3, "one kernel for three layers"
    repeated = next(kernel for kernel, count in kernels.items() if count == 3)
    assert len(set(origins(manifest)[repeated]["handles"])) == 3


def test_the_body_of_a_loop_has_its_operations(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any, n: Any) -> Any:
        i = paddle.zeros([], "int64")

        def body(i: Any, x: Any) -> Any:
            return i + 1, paddle.tanh(x) * 0.5

        return paddle.static.nn.while_loop(lambda i, x: i < n, body, [i, x])[1]

    made, _, _ = calls(call, {"x": np.ones((4, 5), "float32"), "n": np.array(3)}, tmp_path)
    inside = [operators for name, sites in made.items() if name != "main" for _, operators in sites]
    assert any("tanh" in operators for operators in inside)


def test_a_product_whose_reader_joins_it_gives_both_operations(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any) -> Any:
        paddle.seed(2)
        y = paddle.nn.Linear(16, 32)(x)
        return y, paddle.nn.functional.sigmoid(y).sum(0)

    made, named, _ = calls(call, {"x": np.ones((9, 16), "float32")}, tmp_path)
    assert {"matmul", "add", "sigmoid", "sum"} <= set(named.values())
    assert any("matmul" in operators and "add" in operators for _, operators in made["main"])


def test_calls_of_the_host_are_among_the_calls(tmp_path: Path) -> None:
    def call(paddle: Any, x: Any) -> Any:
        return paddle.real(paddle.linalg.eigvals(paddle.tanh(x))).sum()

    made, _, manifest = calls(call, {"x": np.eye(3, dtype="float32")}, tmp_path)
    (host,) = [operators for name, operators in made["main"] if name not in manifest["kernels"]]
    assert host == ["eigvals"] and len(manifest["host_calls"]) == 1
    assert any("tanh" in operators for _, operators in made["main"])


def test_names() -> None:
    assert stem(name_of("conv2d", 12)) == "conv2d_op12_" and number("conv2d_op12_3") == 12
    assert number("lv12") is None and stem("x_op1") == ""
    assert number("shape_op3_op14_") == 14, "the model's own names may look like ours"
