"""Products of integers on the CPU target (option precision="int8"): exact against numpy, and quantised models through the rule."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runner import build, dim, var
from test_cpu_convolutions import CASES, convolve
from tvm import relax, te, tirx

import oarlock
from oarlock import compat, errors, targets
from oarlock.kernels import Choices
from oarlock.runtime.machine import cpu_features
from oarlock.targets.cpu import dots, words

op = relax.op

HERE = bool({"avx512vnni", "avxvnni"} & compat.llvm_features(targets.get("cpu").tvm_target))
runs = pytest.mark.skipif(not HERE, reason="this machine has no AVX-VNNI")


def integers(*shape: int) -> np.ndarray:
    """Every value of int8, the ends often."""
    made = np.random.default_rng(sum(shape)).integers(-128, 128, shape).astype("int8")
    made.reshape(-1)[::7] = -128
    made.reshape(-1)[::5] = 127
    return made


def operands(kernels: dict) -> list[str]:
    return [k["workload"].split()[1] for k in kernels.values() if k["schedule"] == "tiled"]


@pytest.fixture(params=["vectors"] + ["tiles"] * ("amx_tile" in cpu_features()))
def registers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels on vectors also where there are tile registers."""
    if request.param == "vectors":
        monkeypatch.setattr(dots, "TILE_REGISTERS", {})


@runs
@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("case", [c for c, facts in CASES.items() if facts[-1] == 1] + ["groups"])
def test_convolution(case: str, dynamic: bool) -> None:
    check(CASES[case], dynamic)


# c, h, w, kernel, strides, padding (top, left, bottom, right), dilation
DEPTHWISE = {
    "a row of taps and one more": (16, 9, 11, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1)),
    "strides that differ": (24, 9, 11, (5, 5), (2, 1), (2, 2, 2, 2), (1, 1)),
    "two full words a row, a stride of three": (20, 13, 25, (3, 8), (1, 3), (1, 3, 1, 3), (1, 1)),
    "a stride that no step of four is a multiple of": (8, 7, 31, (1, 5), (1, 3), (0, 2, 0, 2), (1, 1)),
    "dilated": (16, 11, 14, (5, 5), (1, 2), (4, 4, 4, 4), (2, 2)),
    "narrower than the kernel": (32, 6, 2, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    "no padding": (12, 9, 9, (3, 2), (1, 1), (0, 0, 0, 0), (1, 1)),
    "padding at one end": (4, 8, 9, (3, 3), (2, 2), (0, 0, 1, 1), (1, 1)),
    "one place": (48, 1, 1, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
}


@runs
@pytest.mark.parametrize("case", DEPTHWISE)
def test_depthwise(case: str) -> None:
    c, h, w, kernel, strides, padding, dilation = DEPTHWISE[case]
    check((2, c, h, w, c, kernel, strides, padding, dilation, c), False)
    check((2, c, h, w, c, kernel, strides, padding, dilation, c), True)


@runs
@pytest.mark.parametrize("threads", [1, 2])
def test_depthwise_candidates(threads: int) -> None:
    """Every candidate gives the same numbers."""
    for number in range(1, 5):
        found = Choices(lambda workload, names, number=number: names[number] if workload.startswith("depthwise uint8") else None)
        check((1, 64, 17, 19, 64, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 64), False, choices=found, threads=threads)
        (workload,) = (workload for workload in found.picked if workload.startswith("depthwise uint8"))
        assert found.picked[workload] == found.asked[workload][number]


@pytest.mark.parametrize(
    ("shape", "groups", "taken"),
    [
        ((16, 1, 3, 3), 16, True),
        ((18, 1, 3, 3), 18, False),
        ((32, 1, 3, 3), 16, False),
        ((16, 8, 3, 3), 2, True),
        ((12, 8, 3, 3), 2, False),
        ((16, 6, 3, 3), 2, False),
        ((5, 3, 3, 3), 1, True),
        ((5, 3, 1, 1), 1, False),
        ((8, 5), 1, True),
        ((6, 5), 1, False),
    ],
)
def test_what_has_a_kernel(shape: tuple, groups: int, taken: bool) -> None:
    assert words.takes(shape, groups) == taken
    assert words.pays(shape, groups, None) == words.pays(shape, groups, 14) == taken
    assert words.pays(shape, groups, 7) == (taken and not (groups > 1 and shape[1] == 1))


def check(facts: tuple, dynamic: bool, **options: object) -> None:
    """A convolution of every value of int8, times a number, is numpy's."""
    n, c, h, wd, o, kernel, strides, padding, dilation, groups = facts
    x, w = integers(n, c, h, wd), integers(o, c // groups, *kernel)

    def make(bb, a):
        facts = {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}
        y = op.nn.conv2d(a, compat.constant(w), **facts, out_dtype="int32")
        return op.multiply(bb.emit(op.astype(bb.emit(y), "float32")), relax.const(0.5, "float32"))

    shape = (dim("n"), c, dim("h"), dim("w")) if dynamic else x.shape
    program = build([var("x", shape, "int8")], make, precision="int8", **options)
    assert program.built.notes == []
    assert operands(program.built.kernels) == ["uint8" if words.takes(w.shape, groups) else "int8"]
    np.testing.assert_array_equal(program(x)[0], convolve(x, w, strides, padding, dilation, groups).astype("float32") * 0.5)


@runs
@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(("depth", "columns"), [(48, 64), (48, 75), (4, 1), (2048, 33), (8192, 16)])
def test_matmul(depth: int, columns: int, dynamic: bool) -> None:
    x, w = integers(2, 37, depth), integers(depth, columns)
    shape = (dim("n"), dim("s"), depth) if dynamic else x.shape
    program = build(
        [var("x", shape, "int8")], lambda bb, a: op.matmul(a, compat.constant(w), out_dtype="int32"), precision="int8"
    )  # fmt: skip
    assert program.built.notes == []
    assert operands(program.built.kernels) == ["uint8"]
    np.testing.assert_array_equal(program(x)[0], x.astype("int32") @ w.astype("int32"))


@runs
def test_integers_that_others_read_too() -> None:
    x, w = integers(1, 16, 9, 11), integers(16, 16, 3, 3)

    def make(bb, a):
        y = bb.emit(op.maximum(a, compat.constant(np.array(-5, "int8"))))
        z = bb.emit(op.nn.conv2d(y, compat.constant(w), padding=(1, 1), out_dtype="int32"))
        return [z, op.add(z, bb.emit(op.astype(y, "int32"))), y]

    program = build([var("x", x.shape, "int8")], make, precision="int8")
    y = np.maximum(x, -5)
    want = convolve(y, w, (1, 1), (1, 1, 1, 1), (1, 1), 1)
    for got, right in zip(program(x), [want, want + y, y], strict=True):
        np.testing.assert_array_equal(got, right)


QUANTISE = """
import sys, numpy as np, paddle
from paddle import nn
from paddle.quantization import PTQ, QuantConfig
from paddle.quantization.observers import AbsmaxObserver

paddle.seed(3)
first = [nn.Conv2D(3, 16, 3, padding=1), nn.BatchNorm2D(16), nn.ReLU(), nn.Conv2D(16, 16, 3, groups=16)]
net = nn.Sequential(*first, nn.Conv2D(16, 24, 1, bias_attr=False), nn.Hardswish(), nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(24, 10))
net.eval()
config = QuantConfig(activation=None, weight=None)
config.add_type_config([nn.Conv2D, nn.Linear], activation=AbsmaxObserver(), weight=AbsmaxObserver())
quantised = PTQ(config).quantize(net)
x = np.load(sys.argv[1] + "/x.npy")
quantised(paddle.to_tensor(x))
made = PTQ(config).convert(quantised)
made.eval()
paddle.jit.save(made, sys.argv[1] + "/model", input_spec=[paddle.static.InputSpec(list(x.shape), "float32", "x")])
"""


@runs
def test_a_quantised_model(tmp_path: Path) -> None:
    """Near what floats give, which are compared with Paddle elsewhere."""
    pytest.importorskip("paddle", reason="paddlepaddle quantises the model")
    x = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    # in a process of its own: Paddle's observers do not work where programs were made before
    subprocess.run([sys.executable, "-c", QUANTISE, str(tmp_path)], check=True, capture_output=True)
    model = oarlock.load_model(tmp_path)
    outputs = {}
    for precision in ("float32", "int8"):
        artifact = oarlock.compile(model, options={"precision": precision, "executor": "vm"})
        assert ("uint8" in operands(artifact.manifest["kernels"])) == (precision == "int8")
        (outputs[precision],) = oarlock.Session(artifact).run({"x": x}).values()
    scale = np.abs(outputs["float32"]).max()
    np.testing.assert_allclose(outputs["int8"], outputs["float32"], atol=0.02 * scale)
    assert np.sqrt(np.mean((outputs["int8"] - outputs["float32"]) ** 2)) < 0.005 * scale


def test_a_cpu_without_the_instructions() -> None:
    with pytest.raises(errors.TargetError, match="x86-64-v3 has no instructions for int8"):
        targets.get("cpu", mcpu="x86-64-v3", precision="int8")


def test_what_is_rounded_in_vectors() -> None:
    """Rounding to the nearest, ties to even, is exact in every lane and at the ends."""
    x = np.concatenate([np.arange(-140, 140) / 2, [1e30, -1e30, 0.49999997, -0.5, 8388609.0, -0.0, np.inf, -np.inf]]).astype("float32")

    def make(bb, a):
        return bb.emit_te(lambda t: te.compute(t.shape, lambda *i: tirx.nearbyint(t(*i)), name="whole"), a)

    np.testing.assert_array_equal(build([var("x", (4, 72))], make)(x.reshape(4, 72))[0], np.round(x).reshape(4, 72))


def test_tvm_rounds_one_by_one() -> None:
    """When this fails, the attribute that compat.py gives to nearbyint can go."""
    code = "import tvm; print(tvm.ir.Op.get('tirx.nearbyint').get_attr('TVectorizable'))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "None"
