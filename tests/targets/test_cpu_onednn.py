"""oneDNN's kernels as candidates of the CPU target: numbers against numpy, who may choose them, and what happens without the library."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from runner import Make, dim, module, var
from test_contest import tiny_convolution
from test_cpu_convolutions import CASES, convolve
from tvm import relax

from oarlock import pipeline, targets, tune
from oarlock.errors import ArtifactError, OarlockError, TargetError
from oarlock.kernels import Choices, Records
from oarlock.kernels.records import chooser
from oarlock.runtime import libraries
from oarlock.runtime.artifact import Artifact
from oarlock.runtime.session import Session
from oarlock.runtime.signature import Signature, TensorSpec
from oarlock.targets.cpu import onednn

op = relax.op
installed = pytest.mark.skipif(onednn.headers() is None, reason="oneDNN is not installed (pip install 'oarlock[onednn]')")


def artifact(inputs: Sequence[relax.Var], make: Make, choices: Choices | None = None, **options: object) -> Artifact:
    """A compiled module; by default whatever can be is oneDNN's."""
    target = targets.get("cpu", **{"threads": 1, **options})
    mod = module(inputs, make)
    built = pipeline.build(mod, target, choices=choices or Choices(lambda workload, names: next((n for n in names if "onednn" in n), None)))
    assert not [note for note in built.notes if "does not apply" in note]
    shapes = [tuple(d if isinstance(d, int) else None for d in map(_static, v.ty.shape.values)) for v in inputs]
    signature = Signature(
        tuple(TensorSpec(f"x{i}", str(v.ty.dtype), shape) for i, (v, shape) in enumerate(zip(inputs, shapes, strict=True))),
        tuple(TensorSpec(f"y{i}", str(t.dtype), None) for i, t in enumerate(mod["main"].ret_ty.fields)),
    )
    called = target.libraries_of({kernel["schedule"] for kernel in built.kernels.values()})
    manifest = {"target": "cpu", "runtime": {**target.runtime, "libraries": called}, "kernels": built.kernels}
    return Artifact(built.library, built.weights, signature, manifest)


def _static(d: object) -> object:
    return int(d.value) if hasattr(d, "value") else d


def run(model: Artifact, *arrays: np.ndarray, threads: int | None = None) -> list[np.ndarray]:
    """What a session gives, the second time, when all primitives are there."""
    with Session(model, threads=threads) as session:
        given = {f"x{i}": array for i, array in enumerate(arrays)}
        first = session.run(given)
        again = session.run(given)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    return list(again.values())


def candidates(model: Artifact) -> list[str]:
    return [kernel["candidate"] for kernel in model.manifest["kernels"].values() if kernel["schedule"] == "onednn"]


def numbers(*shape: int, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(sum(shape)).standard_normal(shape) * scale).astype("float32")


# ---- numbers ---------------------------------------------------------------------------------------------------------


@installed
@pytest.mark.parametrize(
    "name,executor,threads",
    [(n, "aot", 1) for n in CASES]
    + [(n, "vm", 1) for n in ("first layer", "pointwise", "depthwise")]
    + [(n, "aot", t) for n in ("first layer", "pointwise", "depthwise 5x5, strides differ", "groups", "uneven padding") for t in (2, 5)],
)
def test_convolution(name: str, executor: str, threads: int) -> None:
    n, c, h, w, o, kernel, strides, padding, dilation, groups = CASES[name]
    x, weight = numbers(n, c, h, w), numbers(o, c // groups, *kernel, scale=1 / np.sqrt(c // groups * kernel[0] * kernel[1]))
    bias = numbers(1, o, 1, 1)

    def make(bb, a):
        y = bb.emit(op.nn.conv2d(a, relax.const(weight), strides=strides, padding=padding, dilation=dilation, groups=groups))
        return op.nn.relu(bb.emit(op.add(y, relax.const(bias))))

    model = artifact([var("x", x.shape)], make, executor=executor, threads=threads)
    assert candidates(model) == ["onednn" if threads == 1 else "onednn parallel"]
    assert model.runtime["libraries"] == ["onednn"]
    if threads > 1:
        assert len({text for number in range(threads) for text in texts_of(model, number)}) > 1  # parts of the result, at once
    (got,) = run(model, x)
    np.testing.assert_allclose(got, np.maximum(convolve(x, weight, strides, padding, dilation, groups) + bias, 0), rtol=1e-5, atol=1e-5)


@installed
@pytest.mark.parametrize("rows", [1, 13])
def test_product(rows: int) -> None:
    x, weight, bias = numbers(rows, 24), numbers(24, 200), numbers(200)
    model = artifact([var("x", x.shape)], lambda bb, a: op.add(bb.emit(op.matmul(a, relax.const(weight))), relax.const(bias)))
    assert candidates(model) == ["onednn"]
    np.testing.assert_allclose(run(model, x)[0], x.astype("float64") @ weight + bias, rtol=1e-5, atol=1e-5)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def f(value: float) -> relax.Expr:
    return relax.const(value, "float32")


def hardswish(bb, y, r):
    gate = bb.emit(op.clip(bb.emit(op.add(y, f(3.0))), 0.0, 6.0))
    return op.multiply(bb.emit(op.multiply(y, gate)), f(1 / 6))


# what follows (block builder, sums, other operand) → expression; the same in numpy; whether oneDNN does it within its call
TAILS = {
    "nothing": (lambda bb, y, r: y, lambda y, r: y, True),
    "relu": (lambda bb, y, r: op.nn.relu(y), lambda y, r: np.maximum(y, 0), True),
    "relu6": (lambda bb, y, r: op.clip(y, 0.0, 6.0), lambda y, r: np.clip(y, 0, 6), False),
    "hardswish": (hardswish, lambda y, r: y * np.clip(y + 3, 0, 6) / 6, True),
    "hardsigmoid": (
        lambda bb, y, r: op.clip(bb.emit(op.add(bb.emit(op.multiply(y, f(0.2))), f(0.5))), 0.0, 1.0),
        lambda y, r: np.clip(y * 0.2 + 0.5, 0, 1),
        False,
    ),
    "sigmoid": (lambda bb, y, r: op.sigmoid(y), lambda y, r: sigmoid(y), True),
    "silu": (lambda bb, y, r: op.nn.silu(y), lambda y, r: y * sigmoid(y), True),
    "residual, relu": (lambda bb, y, r: op.nn.relu(bb.emit(op.add(y, r))), lambda y, r: np.maximum(y + r, 0), True),
    "relu, residual": (lambda bb, y, r: op.add(r, bb.emit(op.nn.relu(y))), lambda y, r: np.maximum(y, 0) + r, True),
    "gate": (lambda bb, y, r: op.multiply(y, r), lambda y, r: y * r, True),
    "less a number": (lambda bb, y, r: op.subtract(y, f(2.0)), lambda y, r: y - 2, True),
    "tanh": (lambda bb, y, r: op.tanh(y), lambda y, r: np.tanh(y), False),
    "from a number": (lambda bb, y, r: op.nn.relu(bb.emit(op.subtract(f(2.0), y))), lambda y, r: np.maximum(2 - y, 0), False),
    "its square": (lambda bb, y, r: op.add(bb.emit(op.multiply(y, y)), r), lambda y, r: y * y + r, False),
}


@installed
@pytest.mark.parametrize("kind,bias", [("conv2d", False), ("conv2d", True), ("pointwise", True), ("depthwise", True)])
@pytest.mark.parametrize("name", TAILS)
def test_what_follows(name: str, kind: str, bias: bool) -> None:
    follow, expected, within = TAILS[name]
    groups, size = (16, 3) if kind == "depthwise" else (1, 3 if kind == "conv2d" else 1)
    channels = 16 if kind == "depthwise" else 20
    x, weight = numbers(1, 16, 9, 7), numbers(channels, 16 // groups, size, size, scale=0.4)
    addend = numbers(1, channels, 1, 1)

    def make(bb, a, other):
        # the second operand of what follows is made by a convolution, too: so it is channels last
        r = bb.emit(op.nn.conv2d(other, relax.const(np.eye(channels, dtype="float32")[:, :, None, None])))
        y = bb.emit(op.nn.conv2d(a, relax.const(weight), padding=size // 2, groups=groups))
        return follow(bb, bb.emit(op.add(y, relax.const(addend))) if bias else y, r)

    other = numbers(1, channels, 9, 7)
    model = artifact([var("x", x.shape), var("r", other.shape)], make)
    texts = texts_of(model)
    (got,) = run(model, x, other)
    y = convolve(x, weight, (1, 1), (size // 2,) * 4, (1, 1), groups) + (addend if bias else 0)
    np.testing.assert_allclose(got, expected(y, other), rtol=1e-5, atol=2e-5)
    assert texts
    if name != "nothing" and within:
        assert any("eltwise" in text or "binary" in text for text in texts), texts
    if not within:
        assert not any("eltwise" in text or "binary mul" in text for text in texts), texts


def texts_of(model: Artifact, number: int = 0) -> list[str]:
    """The texts of calls for this part of a result in a model's library."""
    parts = model.library.replace(b"\n", b"\0").split(b"\0")
    return [p.decode() for p in parts if p.startswith(f"conv2d {number} ".encode())]


@installed
@pytest.mark.parametrize("groups", [1, 16])
def test_what_follows_parts(groups: int) -> None:
    """Each part adds its own part of another tensor, and all the same bias."""
    x, weight, bias = numbers(1, 16, 9, 7), numbers(16, 16 // groups, 3, 3, scale=0.4), numbers(1, 16, 1, 1)

    def make(bb, a):
        first = bb.emit(op.nn.conv2d(a, relax.const(weight), padding=1, groups=groups))
        y = bb.emit(op.add(bb.emit(op.nn.conv2d(first, relax.const(weight), padding=1, groups=groups)), relax.const(bias)))
        return op.nn.relu(bb.emit(op.add(y, first)))

    model = artifact([var("x", x.shape)], make, threads=4)
    assert all("bias binary add full eltwise relu" in text for number in (1, 2, 3) for text in texts_of(model, number)[-1:])
    first = convolve(x, weight, (1, 1), (1, 1, 1, 1), (1, 1), groups)
    want = np.maximum(convolve(first, weight, (1, 1), (1, 1, 1, 1), (1, 1), groups) + bias + first, 0)
    for threads in (1, 2, 4):
        np.testing.assert_allclose(run(model, x, threads=threads)[0], want, rtol=1e-5, atol=2e-5)


@installed
def test_parts_share_packed_weights() -> None:
    """9 MB of weights, packed once for four parts."""
    weight, x = numbers(512, 512, 3, 3, scale=0.01), numbers(1, 512, 8, 8)
    model = artifact([var("x", x.shape)], lambda bb, a: op.nn.conv2d(a, relax.const(weight), padding=1), threads=4)
    with Session(model, threads=1) as session:
        np.add.reduce(model.weights[0].reshape(-1))  # its pages are there
        before = int(Path("/proc/self/statm").read_text().split()[1])
        session.run({"x0": x})
        assert (int(Path("/proc/self/statm").read_text().split()[1]) - before) * 4096 < 25e6


@installed
@pytest.mark.parametrize("name", ["relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "residual, relu"])
def test_not_a_number_stays_what_it_is_in_our_kernels(name: str) -> None:
    follow = TAILS[name][0]
    x, weight = numbers(1, 16, 4, 4), numbers(16, 16, 3, 3)
    x[0, 3, 1, 2] = np.nan
    make = lambda bb, a: follow(bb, bb.emit(op.nn.conv2d(a, relax.const(weight), padding=1)), relax.const(numbers(1, 16, 4, 4)))  # noqa: E731
    theirs, ours = (run(artifact([var("x", x.shape)], make, c), x)[0] for c in (None, Choices()))
    np.testing.assert_array_equal(np.isnan(theirs), np.isnan(ours))


@installed
def test_equal_kernels_have_their_own_weights() -> None:
    x, first, second = numbers(1, 32, 8, 8), numbers(32, 32, 3, 3, scale=0.1), numbers(32, 32, 3, 3, scale=0.1)[::-1].copy()

    def make(bb, a):
        return op.nn.conv2d(bb.emit(op.nn.conv2d(a, relax.const(first), padding=1)), relax.const(second), padding=1)

    model = artifact([var("x", x.shape)], make)
    assert len(candidates(model)) == 1  # one function, called twice
    want = convolve(convolve(x, first, (1, 1), (1, 1, 1, 1), (1, 1), 1), second, (1, 1), (1, 1, 1, 1), (1, 1), 1)
    np.testing.assert_allclose(run(model, x)[0], want, rtol=1e-5, atol=1e-5)


@installed
def test_sessions_side_by_side_and_after_each_other() -> None:
    weight = numbers(32, 32, 3, 3, scale=0.1)
    model = artifact([var("x", (1, 32, 8, 8))], lambda bb, a: op.nn.conv2d(a, relax.const(weight), padding=1))
    x = numbers(1, 32, 8, 8)
    want = convolve(x, weight, (1, 1), (1, 1, 1, 1), (1, 1), 1)
    sessions = [Session(model) for _ in range(3)]
    for _ in range(20):
        session = sessions.pop(0)
        np.testing.assert_allclose(session.run({"x0": x})["y0"], want, rtol=1e-5, atol=1e-5)
        session.close()
        gc.collect()
        sessions.append(Session(model))


@installed
def test_memory_is_given_back() -> None:
    """Packed weights are 9 MB a session: a leak of them would show."""
    weight = numbers(512, 512, 3, 3, scale=0.01)
    model = artifact([var("x", (1, 512, 4, 4))], lambda bb, a: op.nn.conv2d(a, relax.const(weight), padding=1))

    def resident() -> int:
        for _ in range(4):
            run(model, numbers(1, 512, 4, 4))
        gc.collect()
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    before = resident()
    assert resident() - before < 20e6


@installed
def test_threads_of_the_process_are_left_alone() -> None:
    model = artifact([var("x", (1, 16, 8, 8))], lambda bb, a: op.nn.conv2d(a, relax.const(numbers(16, 16, 3, 3))), threads=2)
    path = libraries.find(onednn.LIBRARY)
    assert path is not None
    import ctypes

    omp = ctypes.CDLL(str(path))
    omp.omp_set_num_threads(7)
    for threads in (1, 2):
        run(model, numbers(1, 16, 8, 8), threads=threads)
        assert omp.omp_get_max_threads() == 7


# ---- who chooses it --------------------------------------------------------------------------------------------------


def convolution(bb, a):
    return op.nn.conv2d(a, relax.const(numbers(32, 16, 3, 3)), padding=1)


@installed
def test_it_is_a_candidate_but_never_the_default() -> None:
    choices = Choices()
    model = artifact([var("x", (1, 16, 8, 8))], convolution, choices)
    (names,) = (names for workload, names in choices.asked.items() if workload.startswith("conv2d"))
    assert "onednn" in names[1:8] and names[0] != "onednn"  # among those that a contest tries first
    assert candidates(model) == [] and model.runtime["libraries"] == []
    assert b"oarlock_onednn" not in model.library


@installed
@pytest.mark.parametrize(
    "options,dtype,shape",
    [
        ({"libraries": "none"}, "float32", (1, 16, 8, 8)),
        ({}, "float32", (dim("n"), 16, 8, 8)),
        ({}, "float64", (1, 16, 8, 8)),
    ],
    ids=["option", "symbolic sizes", "float64"],
)
def test_where_it_is_not_a_candidate(options: dict, dtype: str, shape: tuple) -> None:
    choices = Choices()
    weight = numbers(32, 16, 3, 3).astype(dtype)
    artifact([var("x", shape, dtype)], lambda bb, a: op.nn.conv2d(a, relax.const(weight, dtype), padding=1), choices, **options)
    assert not [name for names in choices.asked.values() for name in names if "onednn" in name]


@installed
def test_it_is_no_candidate_for_another_machine() -> None:
    assert targets.get("cpu", threads=1).machine.libraries == ("onednn",)
    assert targets.get("cpu", threads=1, mtriple="aarch64-linux-gnu", mcpu="cortex-a76").machine.libraries == ()


@installed
def test_a_contest_tries_it(tmp_path: Path) -> None:
    """In processes of their own, by the VM, each kernel in its place."""
    found = tune(tiny_convolution(), threads=1, minutes=1, records=tmp_path / "records.json")
    tried = {candidate: entry for _, workload, candidate, entry in Records.load(tmp_path / "records.json") if workload.startswith("conv2d")}
    assert "seconds" in tried["onednn"] and not found.failed


@installed
def test_records_choose_it() -> None:
    target = targets.get("cpu", threads=1)
    key, family = target.record_key
    asked = Choices()
    artifact([var("x", (1, 16, 8, 8))], convolution, asked)
    (workload,) = (w for w in asked.asked if w.startswith("conv2d"))
    records = Records()
    records.put(key, family, workload, asked.asked[workload][0], 2e-5, 100)
    records.put(key, family, workload, "onednn", 1e-5, 100)
    by_records = Choices(chooser([records], key, family))
    assert candidates(artifact([var("x", (1, 16, 8, 8))], convolution, by_records)) == ["onednn"]


def test_without_the_library_its_records_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "packaged", lambda package, end: None)
    target = targets.get("cpu", threads=1)
    key, family = target.record_key
    asked = Choices()
    artifact([var("x", (1, 16, 8, 8))], convolution, asked)
    (workload,) = (w for w in asked.asked if w.startswith("conv2d"))
    first, second, *_ = asked.asked[workload]
    assert "onednn" not in asked.asked[workload]
    records = Records()
    for name, seconds in ((first, 3e-5), (second, 2e-5), ("onednn", 1e-5)):
        records.put(key, family, workload, name, seconds, 100)
    choices = Choices(chooser([records], key, family))
    artifact([var("x", (1, 16, 8, 8))], convolution, choices)
    assert choices.picked[workload] == second


def test_wrong_option() -> None:
    with pytest.raises(TargetError, match="libraries must be"):
        targets.get("cpu", libraries="mkl")


# ---- running without it ----------------------------------------------------------------------------------------------


def needing(names: list[str]) -> Artifact:
    """An artifact whose manifest says that it needs these libraries."""
    x = numbers(1, 16, 8, 8)
    model = artifact([var("x", x.shape)], convolution, Choices())
    model.manifest["runtime"]["libraries"] = names
    return model


def test_a_session_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "packaged", lambda package, end: None)
    with pytest.raises(OarlockError, match=r"kernels of oneDNN.*not installed") as caught:
        Session(needing(["onednn"]))
    assert "oarlock[onednn]" in str(caught.value) and "onednn-cpu-gomp" in str(caught.value)


def test_a_library_that_does_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "libdnnl.so.3").write_bytes(b"no library")
    monkeypatch.setattr(libraries, "packaged", lambda package, end: tmp_path / end)
    with pytest.raises(OarlockError, match="oneDNN does not load"):
        Session(needing(["onednn"]))


def test_an_unknown_library() -> None:
    with pytest.raises(ArtifactError, match="needs the kernel library 'abacus'"):
        Session(needing(["abacus"]))


@installed
def test_an_artifact_without_the_binding() -> None:
    with pytest.raises(ArtifactError, match="does not fit"):
        Session(needing(["onednn"]))


def test_a_damaged_manifest(tmp_path: Path) -> None:
    model = needing([])
    model.manifest["runtime"]["libraries"] = "onednn"
    model.save(tmp_path / "model.oar")
    with pytest.raises(ArtifactError, match="kernel libraries are no list of names"):
        Artifact.load(tmp_path / "model.oar")


@installed
def test_paddle_can_be_imported_afterwards(tmp_path: Path) -> None:
    """Paddle is linked against a newer oneDNN of the same name: it must not be given ours."""
    pytest.importorskip("paddle")
    model = artifact([var("x", (1, 16, 8, 8))], convolution)
    model.save(tmp_path / "model.oar")
    np.save(tmp_path / "x.npy", numbers(1, 16, 8, 8))
    code = f"""
        import sys
        import numpy as np
        import oarlock
        x = np.load({str(tmp_path / "x.npy")!r})
        def run():
            with oarlock.load({str(tmp_path / "model.oar")!r}) as session:
                return session.run({{"x0": x}})["y0"]
        before = run()
        import paddle
        y = paddle.nn.functional.relu(paddle.to_tensor(x))
        assert (run() == before).all() and not np.isnan(before).any()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)
