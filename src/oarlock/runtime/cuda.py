"""The GPU side of a session: TVM's CUDA runtime library (devices.py has the tensors that go to the GPU and come back).

What running takes besides TVM's runtime libraries: a GPU, NVIDIA's driver (libcuda.so.1), and CUDA's runtime library
(libcudart.so.13, from the package nvidia-cuda-runtime or a toolkit).
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..errors import ArtifactError, OarlockError, TargetError
from . import cuda_code, cuda_libraries, ffi, pinned, tvm_runtime
from .artifact import Artifact
from .devices import Device

_EXISTS, _CAPABILITY = 0, 4  # TVM's kinds of device attributes
_ELSEWHERE = "or compile the model with target='cpu'"


class Gpu(Device):
    """One GPU with the tensors that a session keeps there."""

    kind = ffi.CUDA

    @classmethod
    def open(cls, artifact: Artifact) -> Gpu:
        """The first GPU.  TargetError when the machine cannot run the artifact, and why."""
        _load(artifact.path)
        if not _attribute(0, _EXISTS):
            raise TargetError(
                "CUDA finds no GPU number 0",
                where=artifact.path,
                todo=f"run it on a machine with an NVIDIA GPU (CUDA_VISIBLE_DEVICES hides some), {_ELSEWHERE}",
            )
        _check_capability(str(_attribute(0, _CAPABILITY)), artifact)
        return cls()

    def load_module(self, library: bytes, where: str) -> ffi.Object:
        """The TVM module in ``library``, its kernels among it."""
        with cuda_code.unpacking():
            return tvm_runtime.load_module(library, where)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised array of the CPU, from and to which copies are fast."""
        return pinned.pool.empty(shape, dtype)


def _attribute(number: int, kind: int) -> Any:
    return ffi.call("runtime.GetDeviceAttr", ffi.CUDA, number, kind)


def missing() -> str:
    """Why this process can run nothing on a GPU; "" when it can."""
    try:
        _load("")
    except OarlockError as error:
        return error.what
    return "" if _attribute(0, _EXISTS) else "CUDA finds no GPU"


def architecture() -> str:
    """The first GPU's architecture as the CUDA target names it: "sm_90"."""
    _load("")
    return "sm_" + str(_attribute(0, _CAPABILITY)).replace(".", "")


def _load(where: str) -> None:
    """Load what TVM needs to run on a GPU, once a process."""
    tvm_runtime.load_runtime()
    if ffi.get_function("device_api.cuda") is not None:
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
