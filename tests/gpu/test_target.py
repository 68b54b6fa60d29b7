"""The CUDA target without a GPU: options, schedules, what NVRTC makes of the kernels, and errors that say what to do."""

from __future__ import annotations

import re

import models
import numpy as np
import pytest
import tvm
from tvm import s_tir, tirx
from tvm.s_tir import dlight

import oarlock
from oarlock import compat_gpu, targets
from oarlock.errors import TargetError, UnsupportedError
from oarlock.runtime import cuda, cuda_code, cuda_libraries
from oarlock.targets.cuda import nvrtc


@pytest.fixture(scope="module")
def compiler() -> nvrtc.Nvrtc:
    try:
        return nvrtc.Nvrtc()
    except TargetError as error:
        pytest.skip(f"NVRTC is not installed: {error.what}")


def text_of(library: bytes) -> str:
    """The kernels as they stand in a library."""
    start = library.index(b"//oarlock ")
    return library[start : start + int.from_bytes(library[start - 8 : start], "little")].decode()


def unbound(stmt: tirx.Stmt) -> list[str]:
    """What is written outside loops that are bound to threads."""
    if isinstance(stmt, s_tir.SBlockRealize):
        return unbound(stmt.block.body)
    if isinstance(stmt, tirx.SeqStmt):
        return [name for s in stmt.seq for name in unbound(s)]
    if isinstance(stmt, tirx.For):
        return [] if stmt.kind == tirx.ForKind.THREAD_BINDING else unbound(stmt.body)
    return [str(stmt.buffer.name)] if isinstance(stmt, tirx.BufferStore) else []


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", models.CASES)
def test_every_kernel_is_bound_to_threads_and_compiles(name: str, arch: str, compiler: nvrtc.Nvrtc) -> None:
    seen: dict[str, tvm.IRModule] = {}
    artifact = models.CASES[name].artifact("cuda", seen.__setitem__, arch=arch)
    kernels = [f for f in seen["cuda-schedule"].functions.values() if isinstance(f, tirx.PrimFunc)]
    assert kernels and not [name for f in kernels for name in unbound(f.body)]
    before = [f for f in seen["name-sizes"].functions.values() if isinstance(f, tirx.PrimFunc)]
    assert all(unbound(f.body) for f in before)  # the check sees what is unbound
    ptx = text_of(artifact.library)
    assert f".target {arch}" in ptx
    entries = set(re.findall(r"\.visible \.entry (\w+)", ptx))
    assert artifact.manifest["kernels"]
    for kernel in artifact.manifest["kernels"]:
        assert any(entry.startswith(f"{kernel}_kernel") for entry in entries), kernel


def test_products_and_convolutions_go_through_shared_memory(compiler: nvrtc.Nvrtc) -> None:
    kernels = models.CASES["convolutions"].artifact("cuda").manifest["kernels"]
    schedules = {name: facts["schedule"] for name, facts in kernels.items()}
    assert "tile" in schedules.values()
    depthwise = [kind for name, kind in schedules.items() if "conv2d" in name]
    assert depthwise and set(depthwise) == {"elements"}  # nine terms are not worth a block of threads


def test_what_is_shared_fits_the_memory_of_a_block(compiler: nvrtc.Nvrtc) -> None:
    """TVM's rule for a product by a vector keeps the wrong operand in shared memory: 61,440 bytes of this one, where there are 49,152."""

    def attention(bb, x):
        return tvm.relax.op.nn.relu(tvm.relax.op.nn.conv2d(x, models.const(240, 960, 1, 1)))

    seen: dict[str, tvm.IRModule] = {}
    models.Case(attention, (models.rand(1, 960, 1, 1),)).artifact("cuda", seen.__setitem__, format="cubin")
    target = targets.get("cuda").tvm_target
    (kernel,) = (f for f in seen["cuda-schedule"].functions.values() if isinstance(f, tirx.PrimFunc))
    assert compat_gpu.fits_shared_memory(kernel, target)
    (kernel,) = (f for f in seen["name-sizes"].functions.values() if isinstance(f, tirx.PrimFunc))
    wrong = dlight.gpu.GEMV().apply(kernel, target, False)
    assert not compat_gpu.fits_shared_memory(wrong.mod["main"], target)


def test_split_sums_have_their_place_among_the_tensors(compiler: nvrtc.Nvrtc) -> None:
    seen: dict[str, tvm.IRModule] = {}
    case = models.Case(lambda bb, x: tvm.relax.op.matmul(x, models.const(4096, 32)), (models.rand(32, 4096),))
    artifact = case.artifact("cuda", seen.__setitem__)
    (facts,) = artifact.manifest["kernels"].values()
    assert " in " in facts["candidate"]
    (kernel,) = (f for f in seen["cuda-workspaces"].functions.values() if isinstance(f, tirx.PrimFunc))
    (before,) = (f for f in seen["cuda-schedule"].functions.values() if isinstance(f, tirx.PrimFunc))
    assert len(kernel.params) == len(before.params) + 1
    assert not [b for b in kernel.body.block.alloc_buffers if str(b.ty.storage_scope) in ("", "global")]


@pytest.mark.slow
def test_kernels_of_float16_compile(compiler: nvrtc.Nvrtc) -> None:
    ptx = text_of(models.HALF.artifact("cuda", arch="sm_90").library)
    assert "wmma" in ptx  # tensor cores


@pytest.mark.parametrize(
    "options",
    [{"arch": "sm_50"}, {"arch": "gfx90a"}, {"arch": "sm80"}, {"arch": 80}, {"format": "elf"}, {"fast_math": 2}, {"graphs": "often"}],
)
def test_wrong_options(options: dict) -> None:
    with pytest.raises(TargetError, match="arch|format|fast_math|graphs"):
        targets.get("cuda", **options)


def test_an_architecture_that_nvrtc_does_not_know(compiler: nvrtc.Nvrtc) -> None:
    with pytest.raises(TargetError, match="does not compile for sm_99") as error:
        models.CASES["moves"].artifact("cuda", arch="sm_99")
    assert "sm_80" in error.value.todo


def test_without_nvrtc(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(soname: str) -> None:
        raise OSError(f"{soname}: cannot open shared object file")

    nvrtc.nvrtc.cache_clear()
    monkeypatch.setattr(cuda_libraries, "load", nothing)
    with pytest.raises(TargetError, match="NVRTC") as error:
        models.CASES["moves"].artifact("cuda")
    assert 'pip install "oarlock[cuda]"' in error.value.todo


def test_running_without_a_gpu(compiler: nvrtc.Nvrtc, tmp_path) -> None:
    if not cuda.missing():
        pytest.skip("there is a GPU")
    artifact = models.CASES["moves"].artifact("cuda")
    path = artifact.save(tmp_path / "model.oar")
    with pytest.raises(TargetError, match="NVIDIA driver|runtime library|no GPU") as error:
        oarlock.load(path)
    assert error.value.where == str(path) and error.value.todo


def test_kernels_travel_in_the_library(compiler: nvrtc.Nvrtc) -> None:
    cubin = models.CASES["moves"].artifact("cuda", format="cubin")
    code = cuda_code.unpack(text_of(cubin.library))
    assert code is not None and code[:4] == b"\x7fELF"
    assert cubin.runtime["same_generation"] is True
    ptx = models.CASES["moves"].artifact("cuda")
    code = cuda_code.unpack(text_of(ptx.library))
    assert code is not None and code[:2] == b"//" and code.endswith(b"\0")
    assert ptx.runtime["same_generation"] is False
    assert cuda_code.unpack("extern C") is None


def test_exact_functions_unless_fast_math_is_asked_for(compiler: nvrtc.Nvrtc) -> None:
    exact = text_of(models.CASES["functions"].artifact("cuda").library)
    fast = text_of(models.CASES["functions"].artifact("cuda", fast_math=True).library)
    assert "sin.approx" in fast and "sin.approx" not in exact
    assert "div.approx" in fast and "div.approx" not in exact and "div.rn.f32" in exact


def test_functions_of_the_cpu_are_refused(compiler: nvrtc.Nvrtc) -> None:
    def normal(bb, x):
        return tvm.relax.call_dps_packed("tvm.contrib.random.normal", [x], tvm.relax.TensorType((4,), "float32"))

    case = models.Case(normal, (np.zeros(4, "float32"),))
    with pytest.raises(UnsupportedError, match="tvm.contrib.random.normal"):
        case.artifact("cuda")
