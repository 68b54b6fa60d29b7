"""The GPU side of a session: TVM's CUDA runtime library, and tensors that go to the GPU and come back.

What running takes besides TVM's runtime libraries: a GPU, NVIDIA's driver (libcuda.so.1), and CUDA's runtime library
(libcudart.so.13, from the package nvidia-cuda-runtime or a toolkit).
"""

from __future__ import annotations

import ctypes

import tvm_ffi

from ..errors import ArtifactError, OarlockError, TargetError
from . import cuda_code, cuda_libraries, tvm_runtime
from .artifact import Artifact

DEVICE_TYPE = 2  # DLPack's
_EXISTS, _CAPABILITY = 0, 4  # TVM's kinds of device attributes
_ELSEWHERE = "or compile the model with target='cpu'"


class Gpu:
    """One GPU with the tensors that a session keeps there.  TargetError when the machine cannot run the artifact, and why."""

    def __init__(self, artifact: Artifact, number: int = 0) -> None:
        _load(artifact.path)
        self.device = tvm_ffi.device("cuda", number)
        self._copy = tvm_ffi.get_global_func("runtime.TVMTensorCopyFromTo")
        self._allocate = tvm_ffi.get_global_func("runtime.TVMTensorAllocWithScope")
        self._attribute = tvm_ffi.get_global_func("runtime.GetDeviceAttr")
        self._synchronise = tvm_ffi.get_global_func("runtime.Device_StreamSync")
        self._inputs: dict[str, tvm_ffi.Tensor] = {}
        if not self._attribute(DEVICE_TYPE, number, _EXISTS):
            raise TargetError(
                f"CUDA finds no GPU number {number}",
                where=artifact.path,
                todo=f"run it on a machine with an NVIDIA GPU (CUDA_VISIBLE_DEVICES hides some), {_ELSEWHERE}",
            )
        _check_capability(str(self._attribute(DEVICE_TYPE, number, _CAPABILITY)), artifact)

    def upload(self, tensor: tvm_ffi.Tensor) -> tvm_ffi.Tensor:
        """A copy of a CPU tensor on the GPU."""
        out = self._allocate(tvm_ffi.Shape(tensor.shape), tensor.dtype, self.device, None)
        if tensor.numel():
            self._copy(tensor, out)
        return out

    def input(self, name: str, tensor: tvm_ffi.Tensor) -> tvm_ffi.Tensor:
        """The same for an input, in memory that is kept while the shape stays the same."""
        kept = self._inputs.get(name)
        if kept is None or tuple(kept.shape) != tuple(tensor.shape):
            kept = self._inputs[name] = self.upload(tensor)
        elif tensor.numel():
            self._copy(tensor, kept)
        return kept

    def download(self, tensor: tvm_ffi.Tensor, into: tvm_ffi.Tensor) -> None:
        """Copy a tensor of the GPU into one of the CPU; finished after ``synchronise``."""
        if tensor.numel():
            self._copy(tensor, into)

    def synchronise(self) -> None:
        """Wait until the GPU has done all that it was given."""
        self._synchronise(self.device, 0)

    def close(self) -> None:
        self._inputs.clear()


def missing() -> str:
    """Why this process can run nothing on a GPU; "" when it can."""
    try:
        _load("")
    except OarlockError as error:
        return error.what
    return "" if tvm_ffi.get_global_func("runtime.GetDeviceAttr")(DEVICE_TYPE, 0, _EXISTS) else "CUDA finds no GPU"


def architecture() -> str:
    """The first GPU's architecture as the CUDA target names it: "sm_90"."""
    _load("")
    return "sm_" + str(tvm_ffi.get_global_func("runtime.GetDeviceAttr")(DEVICE_TYPE, 0, _CAPABILITY)).replace(".", "")


def _load(where: str) -> None:
    """Load what TVM needs to run on a GPU, once a process."""
    tvm_runtime.load_runtime()
    if tvm_runtime.registered("device_api.cuda"):
        _unpack_once()
        return
    try:
        ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise TargetError(
            f"there is no NVIDIA driver here to run the artifact on a GPU: {error}",
            where=where,
            todo=f"run it on a machine with an NVIDIA GPU and a driver for CUDA {cuda_libraries.MAJOR} (580 or later), {_ELSEWHERE}",
        ) from error
    try:
        cuda_libraries.load(f"libcudart.so.{cuda_libraries.MAJOR}")
    except OSError as error:
        raise TargetError(
            f"CUDA's runtime library is not there: {error}",
            where=where,
            todo=f'pip install "oarlock[cuda]", or set CUDA_HOME to a CUDA {cuda_libraries.MAJOR} toolkit',
        ) from error
    tvm_runtime.load_sidecar(
        "libtvm_runtime_cuda.so",
        todo="install apache-tvm 0.27.0.post1 for Linux, whose wheel has it (OARLOCK_RUNTIME_DIR must have it beside the others)",
    )
    _unpack_once()


_unpacking: list[bool] = []


def _unpack_once() -> None:
    if not _unpacking:
        cuda_code.register_unpacking()
        _unpacking.append(True)


def _check_capability(found: str, artifact: Artifact) -> None:
    """``found``: the GPU's compute capability as "8.6"."""
    wanted, same = artifact.runtime.get("capability"), artifact.runtime.get("same_generation")
    if not isinstance(wanted, int):
        raise ArtifactError("the manifest is damaged: it does not say which GPUs the kernels are for", where=artifact.path)
    major, _, minor = found.partition(".")
    has = int(major) * 10 + int(minor or 0)
    if has < wanted or (same and has // 10 != wanted // 10):
        raise TargetError(
            f"the artifact was compiled for compute capability {wanted // 10}.{wanted % 10}; this GPU has {found}",
            where=artifact.path,
            todo=f"compile the model again with the option arch=sm_{major}{minor}",
        )

