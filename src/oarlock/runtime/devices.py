"""What a session asks of a device that is not the CPU: tensors that go there and come back.

A package brings the device of its target by the entry point group ``oarlock.devices``: the name that the target gives in ``runtime``
(``device``) → a subclass of ``Device``, in a module that needs no compiler.
"""

from __future__ import annotations

import importlib
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

import numpy as np

from ..errors import TargetError
from . import ffi, tvm_runtime
from .arrays import aligned_empty
from .artifact import Artifact

ENTRY_POINTS = "oarlock.devices"
_BUILT_IN = {"cuda": "oarlock.runtime.cuda:Gpu"}


class Workers(Protocol):
    """Devices that run a model together."""

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Outputs by name.  OarlockError when a device failed; there are no further calls then."""

    def close(self) -> None:
        """Let go of the devices."""


class Device(ABC):
    """One device with the tensors that a session keeps there.

    A subclass loads what the device needs and then calls ``__init__``.  TargetError when this machine cannot run the artifact, and why.
    """

    kind: ClassVar[int]
    """DLPack's device type."""
    part: str = ""
    """Which part of an artifact that has several it runs."""
    times: ClassVar[str] = ""
    """What the clock's seconds are, where they are not those of the wall: a sentence for reports."""

    def __init__(self, number: int = 0) -> None:
        self.device = ffi.Device(self.kind, number)
        self._inputs: dict[str, ffi.Tensor] = {}

    @classmethod
    @abstractmethod
    def open(cls, artifact: Artifact) -> Device:
        """The device for an artifact."""

    @classmethod
    def open_workers(cls, artifact: Artifact, threads: int | None) -> Workers:
        """Several devices that run an artifact's parts together.  TargetError where there is no such thing."""
        raise TargetError(f"{cls.__name__} runs no model on several devices", where=artifact.path)

    def load_module(self, library: bytes, where: str) -> ffi.Object:
        """The TVM module in ``library``, an artifact's; ``where`` names that in errors."""
        return tvm_runtime.load_module(library, where)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An uninitialised array of the CPU for inputs and outputs: a device may have memory from and to which copies are fast."""
        return aligned_empty(shape, dtype)

    def upload(self, tensor: ffi.Tensor) -> ffi.Tensor:
        """A copy of a CPU tensor on the device."""
        return _copy(tensor, ffi.empty(tensor.shape, tensor.dtype, self.device))

    def upload_weights(self, tensors: list[ffi.Tensor], artifact: Artifact) -> list[ffi.Tensor]:
        """Copies of an artifact's weights on the device, which stay while the session does."""
        return [self.upload(tensor) for tensor in tensors]

    def input(self, name: str, tensor: ffi.Tensor) -> ffi.Tensor:
        """The same for an input, in memory that is kept while the shape stays the same."""
        kept = self._inputs.get(name)
        if kept is None or kept.shape != tensor.shape:
            kept = self._inputs[name] = ffi.empty(tensor.shape, tensor.dtype, self.device)
        return _copy(tensor, kept)

    def download(self, tensor: ffi.Tensor, into: ffi.Tensor) -> ffi.Tensor:
        """Copy a tensor of the device into one of the CPU; finished after ``synchronise``."""
        return _copy(tensor, into)

    def synchronise(self) -> None:
        """Wait until the device has done all that it was given."""
        ffi.call("runtime.Device_StreamSync", self.device, 0)

    def clock(self) -> float:
        """Seconds, by which a profile times kernels between two calls of ``synchronise``.  A device that models its time gives that."""
        return time.perf_counter()

    def moved(self) -> Mapping[str, Mapping[str, int]] | None:
        """Kind of memory → bytes that kernels ``read`` there, have ``written``, or ``held`` at most, since the last call of this; what is
        not touched is left out.  None where nothing counts."""
        return None

    def close(self) -> None:
        """Let go of the inputs' memory."""
        self._inputs.clear()


def _copy(tensor: ffi.Tensor, into: ffi.Tensor) -> ffi.Tensor:
    if tensor.nbytes:
        ffi.call("runtime.TVMTensorCopyFromTo", tensor, into)
    return into


def open_device(artifact: Artifact) -> Device | None:
    """The device that an artifact runs on; None for the CPU.  TargetError for one that is not known, or cannot run it."""
    return None if artifact.runtime.get("device", "cpu") == "cpu" else _device_class(artifact).open(artifact)


def open_workers(artifact: Artifact, threads: int | None) -> Workers:
    """The devices that run an artifact together.  TargetError as of open_device."""
    return _device_class(artifact).open_workers(artifact, threads)


def _device_class(artifact: Artifact) -> type[Device]:
    name = artifact.runtime.get("device", "cpu")
    place = _BUILT_IN.get(name) or _installed(name)
    if place is None:
        raise TargetError(
            f"the artifact was compiled for the target {artifact.target!r}; this session runs the CPU and {', '.join(_names())}",
            where=artifact.path,
            todo="install the package of that target, or compile the model with target='cpu'",
        )
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise TargetError(f"the package of device {name!r} does not load: {error}", where=place) from error


def _installed(name: str) -> str | None:
    from importlib.metadata import entry_points  # sessions on the CPU start without it

    return next((e.value for e in entry_points(group=ENTRY_POINTS) if e.name == name), None)


def _names() -> list[str]:
    from importlib.metadata import entry_points

    return sorted({*_BUILT_IN, *(e.name for e in entry_points(group=ENTRY_POINTS))})
