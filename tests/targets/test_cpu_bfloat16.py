"""Products of the CPU target on operands rounded to bfloat16 (option precision) against numpy on the same rounded operands."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tvm
from runner import Program, build, dim, module, var
from test_cpu_convolutions import CASES, convolve
from test_cpu_products import softmax
from tvm import relax

from oarlock import compat, errors, pipeline, targets
from oarlock.runtime.machine import cpu_features
from oarlock.targets.cpu import dots

op = relax.op

HERE = "avx512bf16" in compat.llvm_features(targets.get("cpu").tvm_target)
runs = pytest.mark.skipif(not HERE, reason="this machine has no AVX512-BF16")


def rounded(x: np.ndarray) -> np.ndarray:
    return x.astype(ml_dtypes.bfloat16).astype("float64")


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


def operands(program) -> list[str]:
    """What the products of a program take, by their workloads' names ("conv2d bfloat16 …")."""
    return [k["workload"].split()[1] for k in program.built.kernels.values() if k["schedule"] == "tiled"]


@pytest.fixture(params=["vectors"] + ["tiles"] * ("amx_tile" in cpu_features()))
def registers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels on vectors also where there are tile registers."""
    if request.param == "vectors":
        monkeypatch.setattr(dots, "TILE_REGISTERS", {})


@runs
@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("case", CASES)
def test_convolution(case: str, dynamic: bool) -> None:
    n, c, h, wd, o, kernel, strides, padding, dilation, groups = CASES[case]
    x, w, b = normal(n, c, h, wd), normal(o, c // groups, *kernel), normal(1, o, 1, 1)

    def make(bb, a):
        y = op.nn.conv2d(a, relax.const(w), strides=strides, padding=padding, dilation=dilation, groups=groups)
        return op.nn.relu(bb.emit(op.add(bb.emit(y), relax.const(b))))

    shape = (dim("n"), c, dim("h"), dim("w")) if dynamic else x.shape
    program = build([var("x", shape)], make, precision="bfloat16")
    assert program.built.notes == []
    depth = c // groups
    narrow = depth % 2 == 0 and (groups == 1 or o // groups % 4 == 0) or depth == 3 and groups == 1  # a channel of zeros is added
    assert operands(program) == ["bfloat16" if narrow else "float32"]
    a, v = (rounded(x), rounded(w)) if narrow else (x, w)
    want = np.maximum(convolve(a, v, strides, padding, dilation, groups) + b, 0)
    np.testing.assert_allclose(program(x)[0], want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@runs
@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(("depth", "columns"), [(48, 64), (48, 75), (47, 64), (2048, 33), (2, 1)])
def test_linear_layer(depth: int, columns: int, dynamic: bool) -> None:
    x, w = normal(2, 37, depth), normal(depth, columns)
    shape = (dim("n"), dim("s"), depth) if dynamic else x.shape
    program = build([var("x", shape)], lambda bb, a: op.matmul(a, relax.const(w)), precision="bfloat16")
    assert program.built.notes == []
    want = rounded(x) @ rounded(w) if depth % 2 == 0 else x.astype("float64") @ w
    np.testing.assert_allclose(program(x)[0], want, rtol=1e-5, atol=1e-5 * np.abs(want).max())


@runs
@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("length", [37, 40])
def test_attention(length: int, dynamic: bool) -> None:
    """Both operands are made at run time; a depth that is odd, or not known, stays in float32."""
    q, k, v = (normal(2, 3, length, 16) + i for i in range(3))
    n, s = (dim("n"), dim("s")) if dynamic else (2, length)

    def make(bb, q, k, v):
        a = bb.emit(op.matmul(q, bb.emit(op.permute_dims(k, [0, 1, 3, 2]))))
        return op.matmul(bb.emit(op.nn.softmax(a, -1)), v)

    program = build([var(c, (n, 3, s, 16)) for c in "qkv"], make, precision="bfloat16")
    assert program.built.notes == []
    narrow = length % 2 == 0 and not dynamic
    assert sorted(operands(program)) == ["bfloat16", "bfloat16" if narrow else "float32"]
    a = softmax(rounded(q) @ rounded(k).transpose(0, 1, 3, 2))
    want = rounded(a) @ rounded(v) if narrow else a @ v.astype("float64")
    # a probability that lies between two bfloat16 may be rounded to the other one
    np.testing.assert_allclose(program(q, k, v)[0], want, rtol=0.01 if narrow else 1e-5, atol=1e-4)


@runs
def test_a_value_that_products_and_others_read_is_rounded_once() -> None:
    x, w = normal(1, 16, 9, 11), normal(16, 16, 1, 1)

    def make(bb, a):
        y = bb.emit(op.nn.relu(bb.emit(op.nn.conv2d(a, relax.const(w)))))
        z = bb.emit(op.nn.conv2d(y, relax.const(w)))
        return [op.add(z, y), op.nn.max_pool2d(y, pool_size=(2, 2)), y]

    program = build([var("x", x.shape)], make, precision="bfloat16")
    assert program.built.notes == []
    weights = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
    y = rounded(np.maximum(convolve(rounded(x), rounded(w), *weights), 0).astype("float32"))
    total, pooled, itself = program(x)
    np.testing.assert_array_equal(itself, itself.astype(ml_dtypes.bfloat16).astype("float32"))
    # sums in another order may round to the other neighbour now and then
    assert (itself != y).mean() < 0.01
    np.testing.assert_allclose(itself, y, rtol=0.01)
    want = convolve(itself, rounded(w), *weights) + itself
    np.testing.assert_allclose(total, want, rtol=1e-5, atol=1e-4)
    windows = np.stack([itself[:, :, i : i + 8, j : j + 10] for i in (0, 1) for j in (0, 1)])
    np.testing.assert_array_equal(pooled, windows.max(0))


@runs
@pytest.mark.usefixtures("registers")
@pytest.mark.parametrize("channels", [64, 24])
def test_max_pooling_reads_what_is_rounded(channels: int) -> None:
    """The largest of rounded numbers is the largest, rounded: nothing changes but the bytes between the two kernels."""
    x, w, v = normal(1, 16, 13, 10), normal(channels, 16, 3, 3), normal(8, channels, 1, 1)

    def make(bb, a):
        y = bb.emit(op.nn.relu(bb.emit(op.nn.conv2d(a, relax.const(w), padding=1))))
        pooled = bb.emit(op.nn.max_pool2d(y, (3, 3), (2, 2), (1, 1, 1, 1), ceil_mode=True))
        return op.nn.conv2d(pooled, relax.const(v))

    dumped: dict = {}
    mod = module([var("x", x.shape)], make)
    pipeline.build(mod, targets.get("cpu", precision="bfloat16"), dump=dumped.__setitem__)
    stored = [str(p.ty.dtype) for gv, f in dumped["fuse"].functions.items() if "conv2d" in gv.name_hint for p in f.params[-1:]]
    assert stored == ["bfloat16"]
    program = Program(mod, precision="bfloat16")
    assert program.built.notes == []
    y = np.maximum(convolve(rounded(x), rounded(w), (1, 1), (1, 1, 1, 1), (1, 1), 1), 0)
    padded = np.pad(y, [(0, 0), (0, 0), (1, 2), (1, 2)], constant_values=-np.inf)
    windows = [padded[:, :, i : i + 13 : 2, j : j + 11 : 2] for i in range(3) for j in range(3)]
    pooled = rounded(np.max(windows, 0).astype("float32"))
    want = convolve(pooled, rounded(v), (1, 1), (0, 0, 0, 0), (1, 1), 1)
    np.testing.assert_allclose(program(x)[0], want, rtol=0.02, atol=0.01 * np.abs(want).max())


@runs
@pytest.mark.usefixtures("registers")
def test_a_sum_of_two_products_reads_one_of_them_rounded() -> None:
    """As in a residual block whose shortcut is a convolution."""
    x, w, v, u = normal(1, 16, 9, 11), normal(32, 16, 1, 1), normal(32, 16, 1, 1) + 1, normal(8, 32, 1, 1)

    def make(bb, a):
        y, z = (bb.emit(op.nn.conv2d(a, relax.const(k))) for k in (w, v))
        return op.nn.conv2d(bb.emit(op.nn.relu(bb.emit(op.add(y, z)))), relax.const(u))

    dumped: dict = {}
    mod = module([var("x", x.shape)], make)
    pipeline.build(mod, targets.get("cpu", precision="bfloat16"), dump=dumped.__setitem__)
    kernels = [f for gv, f in dumped["fuse"].functions.items() if "product" in gv.name_hint]
    assert sorted(str(f.params[-1].ty.dtype) for f in kernels) == ["bfloat16", "bfloat16", "float32"], "only the model's result is wide"
    program = Program(mod, precision="bfloat16")
    plain = ((1, 1), (0, 0, 0, 0), (1, 1), 1)
    y, z = (convolve(rounded(x), rounded(k), *plain) for k in (w, v))
    want = convolve(rounded(np.maximum(y + rounded(z.astype("float32")), 0).astype("float32")), rounded(u), *plain)
    np.testing.assert_allclose(program(x)[0], want, rtol=0.02, atol=0.01 * np.abs(want).max())


@runs
@pytest.mark.parametrize("count", [1, 7, 64, 1000])
def test_rounding(count: int) -> None:
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38, -3.4e38, 1.00390625, 1.01171875, 1e-30]
    x = np.resize(np.concatenate([special, np.random.default_rng(0).standard_normal(990)]), count).astype("float32")
    program = build([var("x", x.shape)], lambda bb, a: op.astype(bb.emit(op.astype(bb.emit(op.negative(a)), "bfloat16")), "float32"),
                    precision="bfloat16")  # fmt: skip
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(program(x)[0], (-x).astype(ml_dtypes.bfloat16).astype("float32"))


def test_a_cpu_without_the_instructions() -> None:
    with pytest.raises(errors.TargetError, match="x86-64-v3 has no instructions for bfloat16"):
        targets.get("cpu", mcpu="x86-64-v3", precision="bfloat16")


def test_a_precision_that_does_not_exist() -> None:
    with pytest.raises(errors.TargetError, match='one of "float32", "bfloat16", "int8", not .int4'):
        targets.get("cpu", precision="int4")


@runs
def test_values_are_rounded_by_the_instruction() -> None:
    """What comes before a product, exp in it or not, is not rounded by arithmetic on bits."""
    text: list[str] = []

    def keep(stage: str, mod: tvm.IRModule) -> None:
        if stage.endswith("cpu-schedule"):
            text.append(str(mod))

    w = normal(64, 64)
    make = module([var("x", (8, 64))], lambda bb, x: op.matmul(bb.emit(op.nn.silu(bb.emit(op.matmul(x, relax.const(w))))), relax.const(w)))
    pipeline.build(make, targets.get("cpu", threads=1, precision="bfloat16"), dump=keep)
    assert "oarlock.bfloat16_bits" in text[0]
    assert "T.uint32(32767)" not in text[0]
