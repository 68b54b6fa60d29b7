"""Products in tile registers (AMX): the choice of tiles anywhere, the numbers where there is AMX."""

from __future__ import annotations

import re

import numpy as np
import pytest
from runner import Program, module, var
from test_cpu_convolutions import convolve
from tvm import relax

from oarlock import errors, pipeline, targets
from oarlock.kernels import Choices
from oarlock.runtime import session
from oarlock.runtime.artifact import Artifact
from oarlock.runtime.machine import cpu_features
from oarlock.runtime.signature import Signature
from oarlock.targets.cpu import amx
from oarlock.targets.cpu.amx import BLOCKS, Sizes

op = relax.op
SERVER = {"mcpu": "sapphirerapids", "mtriple": "x86_64-unknown-linux-gnu"}
runs = pytest.mark.skipif(not {"amx_tile", "amx_int8", "amx_bf16"} <= cpu_features(), reason="this machine has no AMX")


def integers(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-128, 128, shape).astype("int8")


@pytest.mark.parametrize("groups", [1, 2, 16, 17, 24, 29, 36, 60, 144, 4608])
def test_steps_fill_the_depth(groups: int) -> None:
    whole = amx.whole_depth(groups)
    step = amx.depth_step(whole)
    assert groups <= whole and step <= amx.DEPTH and whole % step == 0
    assert whole // step <= 1.5 * -(-groups // amx.DEPTH)
    assert whole == groups or amx.depth_step(groups) < step


@pytest.mark.parametrize("outer", ["data", "weights"])
@pytest.mark.parametrize("block", BLOCKS)
def test_registers_hold_what_products_take(block: tuple[int, int], outer: str) -> None:
    down, across = block
    loads, products, before = amx._nested(down, across, outer)
    held: dict[int, tuple[str, int]] = {}
    done, computed = 0, set()
    for (t, u, data, weights), until in zip(products, before, strict=True):
        for kind, n, register in loads[done:until]:
            assert down * across <= register < 8, "no register of sums"
            held[register] = kind, n
        done = until
        assert held[data] == ("data", t) and held[weights] == ("weights", u)
        computed.add((t, u))
    assert len(computed) == len(products) == down * across and done == len(loads)


@pytest.mark.parametrize("unit", [None, 7, 14, 80])
@pytest.mark.parametrize("columns", [1, 16, 24, 75, 512, None])
@pytest.mark.parametrize("rows", [1, 5, 49, 3136, None])
def test_tiles_fit(rows: int | None, columns: int | None, unit: int | None) -> None:
    machine = targets.get("cpu", threads=2, precision="bfloat16", **SERVER).machine
    tiles = amx.tiles(Sizes(rows, columns, 24, 9, 10**6, unit), "bfloat16", machine)
    assert tiles and len({t.name for t in tiles}) == len(tiles)
    for tile in tiles:
        assert tile.rows % tile.strip == 0 and tile.strip <= amx.ROWS and tile.columns % amx.VECTOR == 0
        assert (tile.rows // tile.strip) * (tile.columns // amx.VECTOR) <= 4
        assert unit is None or unit % tile.strip == 0 or rows is None
        assert tile.ragged == (columns is None or columns % tile.columns != 0)


def test_a_cpu_without_tile_registers_has_no_such_tiles() -> None:
    machine = targets.get("cpu", precision="bfloat16", mcpu="znver4", mtriple=SERVER["mtriple"]).machine
    assert amx.tiles(Sizes(64, 64, 32, 1, 10**6), "bfloat16", machine) == []


def product(m: int, k: int, n: int, dtype: str):
    x, w = integers(m, k), integers(k, n)
    if dtype == "int8":
        from oarlock import compat

        make = lambda bb, a: op.matmul(a, compat.constant(w), out_dtype="int32")  # noqa: E731
    else:
        x, w = x.astype("float32"), w.astype("float32")
        make = lambda bb, a: op.matmul(a, relax.const(w))  # noqa: E731
    return module([var("x", x.shape, dtype)], make), x, x.astype("int64") @ w.astype("int64")


def convolution(n: int, c: int, h: int, w: int, o: int, k: int, s: int, p: int, d: int = 1):
    x, weights = integers(n, c, h, w).astype("float32"), integers(o, c, k, k).astype("float32")
    window = ((s, s), (p, p, p, p), (d, d))
    strides, padding, dilation = window
    mod = module(
        [var("x", x.shape)], lambda bb, a: op.nn.conv2d(a, relax.const(weights), strides=strides, padding=padding, dilation=dilation)
    )
    return mod, x, convolve(x, weights, *window, 1)


def candidates(mod, precision: str, threads: int = 1) -> tuple[str, list[str]]:
    """The workload of the program's product, and its candidates in tile registers."""
    choices = Choices()
    pipeline.build(mod, targets.get("cpu", threads=threads, precision=precision), choices=choices)
    ((workload, names),) = [(w, n) for w, n in choices.asked.items() if w.split()[0] in ("product", "conv2d", "batch_product")]
    return workload, [n for n in names if n.startswith("amx ")]


# whole numbers up to 128: bfloat16 holds them, and sums of their products stay exact in float32 up to 2^24
@runs
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [(64, 64, 64), (49, 96, 100), (37, 58, 24), (1, 576, 33), (16, 26, 8), (300, 32, 200)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_every_candidate_of_a_product(size: tuple[int, int, int], dtype: str, threads: int) -> None:
    m, k, n = size
    if dtype == "int8" and k % 4:
        k += -k % 4
    mod, x, want = product(m, k, n, dtype)
    precision = "int8" if dtype == "int8" else "bfloat16"
    workload, names = candidates(mod, precision, threads)
    assert names
    for name in names[:6]:
        program = Program(mod, precision=precision, threads=threads, choices=Choices.of_plan({workload: name}))
        assert program.built.notes == [] and name in {k.get("candidate") for k in program.built.kernels.values()}
        np.testing.assert_array_equal(program(x)[0], want, err_msg=name)


@runs
@pytest.mark.parametrize(
    "case",
    [(1, 16, 14, 14, 32, 3, 1, 1), (2, 8, 7, 7, 40, 3, 1, 1), (1, 3, 33, 33, 16, 7, 2, 3), (1, 10, 17, 17, 24, 3, 1, 1),
     (1, 12, 20, 20, 16, 1, 2, 0), (1, 8, 19, 23, 8, 3, 1, 2, 2), (1, 4, 5, 3, 16, 2, 1, 0), (1, 8, 14, 14, 16, 1, 2, 0, 2)],
    ids=str,
)  # fmt: skip
def test_every_candidate_of_a_convolution(case: tuple) -> None:
    mod, x, want = convolution(*case)
    workload, names = candidates(mod, "bfloat16")
    assert names
    for name in names:
        program = Program(mod, precision="bfloat16", threads=1, choices=Choices.of_plan({workload: name}))
        assert program.built.notes == []
        np.testing.assert_array_equal(program(x)[0], want, err_msg=name)


@runs
def test_infinities_stay_where_they_are() -> None:
    """What is read past the end of a row or a depth must be zeros, not its neighbours: infinity times zero is not zero."""
    mod, x, _ = product(37, 58, 24, "float32")
    x[5, 3], x[6] = np.inf, np.nan
    got = Program(mod, precision="bfloat16", threads=1)(x)[0]
    assert not np.isfinite(got[5]).all() and np.isnan(got[6]).all()
    assert np.isfinite(np.delete(got, [5, 6], axis=0)).all()


def test_compiling_for_a_machine_with_tile_registers() -> None:
    mod, _, _ = product(64, 64, 64, "float32")
    target = targets.get("cpu", threads=1, precision="bfloat16", **SERVER)
    built = pipeline.build(mod, target)
    assert built.notes == []
    assert any(k.get("candidate", "").startswith("amx ") for k in built.kernels.values())
    assert {"amx_tile", "amx_bf16"} <= set(target.runtime["features"])
    assert "amx_tile" not in targets.get("cpu", **SERVER).runtime["features"], "float32 needs none"


def test_a_system_that_refuses_tile_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "cpu_features", lambda: frozenset({"amx_tile"}))
    monkeypatch.setattr(session, "allow_tile_registers", lambda: False)
    artifact = Artifact(b"", [], Signature((), ()), {"runtime": {"device": "cpu", "features": ["amx_tile"]}})
    with pytest.raises(errors.ArtifactError, match="does not let the process use its tile registers") as raised:
        session.Session(artifact)
    (cpu,) = re.findall("mcpu='(.+)'", str(raised.value))
    for precision in ("bfloat16", "int8"):  # what it says can be done
        named = targets.get("cpu", threads=1, precision=precision, mcpu=cpu, mtriple=SERVER["mtriple"])
        assert "amx_tile" not in named.runtime["features"]
