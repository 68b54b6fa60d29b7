"""Winograd's convolutions against direct ones in float64: sizes that no tile divides, batches, fused tails, threads, both executors.

Greatest errors beside float64, relative to the output's scale, of the kernels on an Emerald Rapids; the data are feature maps as they
come out of ReLU, weights of the usual scale::

    convolution            direct   F(2×2)   F(4×4)   F(4×4) at 0, ±1, ±2
    28×28, 64 → 64        6.3e-07  3.6e-07  1.1e-06   5.5e-06
    28×28, 128 → 128      1.4e-06  5.4e-07  2.0e-06   8.1e-06
    14×14, 256 → 256      1.4e-06  5.9e-07  2.6e-06   1.1e-05
    40×40, 96 → 24        8.3e-07  4.9e-07  1.3e-06   5.4e-06
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from runner import dim, module, var
from test_cpu_convolutions import convolve
from tvm import relax, runtime, tirx

from oarlock import pipeline, targets
from oarlock.kernels import Choices
from oarlock.targets.cpu import winograd
from oarlock.targets.cpu.kernels import Window
from oarlock.targets.cpu.machine import Machine

op = relax.op
LIMIT = 1e-5  # of the output's scale
ONES, SAME = (1, 1), (1, 1, 1, 1)


class Forced:
    """A build whose convolution is made by the first candidate that begins so; its first candidate where that is None."""

    def __init__(self, inputs, make, start: str | None, **options: object) -> None:
        def choose(workload, candidates):
            return next((name for name in candidates if start and name.startswith(start)), None)

        choices = Choices(choose)
        self.built = pipeline.build(module(inputs, make), targets.get("cpu", **{"threads": 1, **options}), choices=choices)
        self.asked = next(names for workload, names in choices.asked.items() if workload.startswith("conv2d"))
        self.picked = next(name for workload, name in choices.picked.items() if workload.startswith("conv2d"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "library.so"
            path.write_bytes(self.built.library)
            self.vm = relax.VirtualMachine(runtime.load_module(str(path)), runtime.cpu())

    def __call__(self, *arrays):
        return self.vm["main"](*[runtime.tensor(np.asarray(a, order="C")) for a in (*arrays, *self.built.weights)])[0].numpy()


def data(n, c, h, w, o, padding=SAME):
    """Input, weights, bias, and a residual of the result's shape."""
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((n, c, h, w)), 0).astype("float32")
    weight = (rng.standard_normal((o, c, 3, 3)) * np.sqrt(2 / (9 * c))).astype("float32")
    bias = rng.standard_normal((1, o, 1, 1)).astype("float32")
    top, left, bottom, right = padding
    residual = rng.standard_normal((n, o, h + top + bottom - 2, w + left + right - 2)).astype("float32")
    return x, weight, bias, residual


def near(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=LIMIT * np.abs(want).max())


CASES = {  # n, c, h, w, o, padding
    "whole tiles": (1, 16, 8, 8, 32, SAME),
    "sizes that no tile divides": (2, 16, 9, 11, 24, SAME),
    "channels that end in shorter vectors": (1, 28, 7, 10, 36, SAME),
    "smaller than a tile": (3, 8, 1, 2, 16, SAME),
    "no padding": (1, 32, 9, 7, 80, (0, 0, 0, 0)),
    "uneven padding": (1, 16, 6, 7, 72, (2, 0, 1, 3)),
    "many blocks": (2, 64, 30, 29, 16, SAME),
    "weights larger than the cache": (1, 192, 7, 7, 96, SAME),
}


@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str, m: int) -> None:
    n, c, h, w, o, padding = CASES[name]
    x, weight, bias, residual = data(n, c, h, w, o, padding)

    def make(bb, a, r):
        y = bb.emit(op.add(op.nn.conv2d(a, relax.const(weight), padding=padding), relax.const(bias)))
        return op.nn.relu(bb.emit(op.add(y, r)))

    program = Forced([var("x", x.shape), var("r", residual.shape)], make, f"winograd{m}")
    assert program.built.notes == [] and program.picked.startswith(f"winograd{m}")
    near(program(x, residual), np.maximum(convolve(x, weight, ONES, padding, ONES, 1) + bias + residual, 0))


@pytest.mark.parametrize("executor", ["aot", "vm"])
@pytest.mark.parametrize("way", ["serial", "parallel", "panels"])
def test_threads(way: str, executor: str, monkeypatch) -> None:
    """Each way to share the work between threads; the same numbers as on one."""
    x, weight, bias, _ = data(2, 64, 14, 14, 128)
    some = winograd.candidates

    def one_way(job, machine):
        ways, _ = some(job, machine)
        return [winograd.replace(ways[0], way=way, block=ways[0].rows)], True

    monkeypatch.setattr(winograd, "candidates", one_way)

    def make(bb, a):
        return op.nn.relu(bb.emit(op.add(op.nn.conv2d(a, relax.const(weight), padding=1), relax.const(bias))))

    program = Forced([var("x", x.shape)], make, "winograd", threads=2, executor=executor)
    assert program.built.notes == [] and program.picked.endswith(way) == (way != "serial")
    near(program(x), np.maximum(convolve(x, weight, ONES, SAME, ONES, 1) + bias, 0))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("m", [2, 4])
def test_symbolic_sizes(m: int, threads: int) -> None:
    """One kernel for many sizes, none of them known when it is made."""
    x, weight, bias, _ = data(1, 16, 1, 1, 48)

    def make(bb, a):
        return op.nn.silu(bb.emit(op.add(op.nn.conv2d(a, relax.const(weight), padding=1), relax.const(bias))))

    program = Forced([var("x", (dim("n"), 16, dim("h"), dim("w")))], make, f"winograd{m}", threads=threads)
    assert program.built.notes == [] and program.picked.startswith(f"winograd{m}")
    for n, h, w in ((1, 1, 1), (2, 9, 5), (1, 40, 33), (0, 4, 4), (3, 16, 16)):
        x = np.random.default_rng(1).standard_normal((n, 16, h, w)).astype("float32")
        got = program(x)
        assert got.shape == (n, 48, h, w)
        if n:
            y = convolve(x, weight, ONES, SAME, ONES, 1) + bias
            near(got, y / (1 + np.exp(-y)))


def test_an_operator_after_it_joins_it() -> None:
    """Bias, a residual and an activation are stored by the convolution itself: one kernel beside those that change layouts."""
    x, weight, bias, residual = data(1, 32, 12, 12, 32)

    def make(bb, a, r):
        y = bb.emit(op.add(op.nn.conv2d(a, relax.const(weight), padding=1), relax.const(bias)))
        return op.nn.relu(bb.emit(op.add(y, r)))

    program = Forced([var("x", x.shape), var("r", residual.shape)], make, "winograd")
    kernels = {name: facts for name, facts in program.built.kernels.items() if "transpose" not in name}
    assert len(kernels) == 1
    assert next(iter(kernels.values()))["schedule"] == "winograd"


def test_the_generic_schedule_of_the_definition(monkeypatch) -> None:
    """What the kernel is written from computes the same, should its own schedule ever refuse."""
    from oarlock.targets.cpu.schedule import dispatch

    monkeypatch.setattr(dispatch, "_LIBRARY", [entry for entry in dispatch._LIBRARY if entry[0] != "winograd"])
    x, weight, *_ = data(1, 16, 7, 9, 24)
    program = Forced([var("x", x.shape)], lambda bb, a: op.nn.conv2d(a, relax.const(weight), padding=1), "winograd")
    near(program(x), convolve(x, weight, ONES, SAME, ONES, 1))


ALIKE = {  # what is no 3 × 3 convolution of stride 1 in float32, or has channels that fill no vectors
    "stride 2": {"strides": (2, 2)},
    "dilated": {"dilation": (2, 2)},
    "groups": {"groups": 2},
    "odd input channels": {"c": 18},
    "odd output channels": {"o": 18},
    "5 × 5": {"kernel": 5},
    "float64": {"dtype": "float64"},
}


@pytest.mark.parametrize("name", ALIKE)
def test_others_stay_direct(name: str) -> None:
    case = {"c": 32, "o": 32, "strides": ONES, "dilation": ONES, "groups": 1, "kernel": 3, "dtype": "float32"} | ALIKE[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, case["c"], 12, 12)).astype(case["dtype"])
    weight = (rng.standard_normal((case["o"], case["c"] // case["groups"], case["kernel"], case["kernel"])) * 0.1).astype(case["dtype"])
    constant = relax.const(weight, case["dtype"])
    attrs = {key: case[key] for key in ("strides", "dilation", "groups")}
    program = Forced([var("x", x.shape, case["dtype"])], lambda bb, a: op.nn.conv2d(a, constant, padding=1, **attrs), "winograd")
    assert not [name for name in program.asked if name.startswith("winograd")]
    near(program(x), convolve(x, weight, case["strides"], SAME, case["dilation"], case["groups"]))


DEFAULTS = {  # batch, height, width, channels, channels → which F(m × m) is the default on AVX-512, if any, as measured on one thread
    (1, 56, 56, 64, 64): 4,
    (1, 28, 28, 128, 128): 4,
    (1, 14, 14, 256, 256): 2,  # F(4 × 4) has 9 MB of weights
    (1, 7, 7, 512, 512): None,  # four times the weights, read for four tiles
    (1, 160, 160, 96, 24): 4,
    (1, 20, 20, 96, 24): 4,
    (1, 64, 64, 4, 4): None,  # the transforms cost more than they save
}


@pytest.mark.parametrize("sizes", DEFAULTS)
def test_where_it_is_the_default(sizes: tuple[int, ...]) -> None:
    ways, better = winograd.candidates(winograd.Job(*sizes), Machine(512, 32, 1))
    assert (ways[0].m if better else None) == DEFAULTS[sizes]


@pytest.mark.parametrize("m", winograd.POINTS)
def test_transforms(m: int) -> None:
    """Aᵀ ((G g) ⊙ (Bᵀ d)) is the convolution, and what the kernel multiplies by is exact in float32."""
    at, g, bt = winograd.matrices(m)
    rng = np.random.default_rng(0)
    d, f = rng.standard_normal(m + 2), rng.standard_normal(3)
    np.testing.assert_allclose(at @ ((g @ f) * (bt @ d)), np.correlate(d, f, "valid"), rtol=0, atol=1e-13)
    for matrix in (at, bt):
        np.testing.assert_array_equal(matrix, matrix.astype("float32"))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("bits,registers", [(512, 32), (256, 16), (128, 32)])
def test_candidates_fit_the_machine(bits: int, registers: int, threads: int) -> None:
    machine = Machine(bits, registers, threads)
    for sizes in [*DEFAULTS, (*(tirx.Var(name, "int64") for name in "nhw"), 64, 24)]:
        job = winograd.Job(*sizes)
        assert winograd.applies("float32", job, 1, Window((3, 3), ONES, SAME, ONES))
        ways, _ = winograd.candidates(job, machine)
        assert len({way.name for way in ways}) == len(ways) and {way.m for way in ways} == {2, 4}
        for way in ways:
            vectors = way.columns // way.lanes
            assert way.rows * vectors + vectors + 1 <= registers and way.block % way.rows == 0 and way.columns % way.lanes == 0
            assert winograd.Winograd.read(way.annotation(Window((3, 3), ONES, (2, 1, 0, 0), ONES))) == (way, 2, 1)
