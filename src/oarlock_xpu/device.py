"""The XPU for a session: loads the native part, and checks that the device is the chip that the artifact was compiled for."""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from oarlock.errors import ArtifactError, TargetError
from oarlock.runtime import ffi
from oarlock.runtime.artifact import Artifact
from oarlock.runtime.devices import Device, Workers

from . import native

EXT_DEV = 12  # DLPack's type for devices that it does not name


class Xpu(Device):
    """The first XPU of this process; in the emulator the artifact's chip."""

    kind = EXT_DEV
    _counted: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    times = "times are modelled for the chip, not measured: launches, products at the matrix units' rate, bytes at the memories'"

    @classmethod
    def open(cls, artifact: Artifact) -> Xpu:
        """TargetError when the libraries cannot be built, or the device is a chip that the artifact has no code for."""
        if len(artifact.parts) > 1:
            names = [part.name for part in artifact.parts]
            found = current_chip(native.runtime())
            if found not in names:
                raise TargetError(
                    f"the artifact has code for the chips {', '.join(names)}, and the device is a {found}",
                    where=artifact.path,
                    todo=f"compile the model with --option chips={','.join([*names, found])}",
                )
            device = cls()
            device.part = found
            return device
        wanted = artifact.runtime.get("chip")
        if not isinstance(wanted, str):
            raise ArtifactError("the manifest is damaged: it does not say for which chip the kernels are", where=artifact.path)
        become(wanted)
        return cls()

    @classmethod
    def open_workers(cls, artifact: Artifact, threads: int | None) -> Workers:
        """An XPU for each part of the artifact, each in a process of its own but for the first."""
        from .parallel.session import open_workers

        return open_workers(artifact, threads)

    def clock(self) -> float:
        """Modelled seconds of all that the device has done; with the vendor's runtime those of the wall."""
        if getattr(native.runtime(), "xpu_sim_counters", None) is None:
            return time.perf_counter()
        return float(counters()["modelled_us"]) * 1e-6

    def moved(self) -> Mapping[str, Mapping[str, int]] | None:
        """GDDR and L3, and what a core or matrix unit had of local memory and a cluster of shared memory, as the emulator counts them."""
        if getattr(native.runtime(), "xpu_sim_counters", None) is None:
            return None
        now, before = counters()["kernels"], self._counted
        self._counted = now
        found: dict[str, dict[str, int]] = {}
        for name, kernel in now.items():
            old = before.get(name, {})
            if old.get("launches", 0) > kernel["launches"]:  # somebody began to count anew
                old = {}
            if old.get("launches", 0) == kernel["launches"]:
                continue
            for memory, field in (("GDDR", "gm"), ("L3", "l3")):
                for how in ("read", "written"):
                    if size := kernel[f"{field}_{how}"] - old.get(f"{field}_{how}", 0):
                        sizes = found.setdefault(memory, {})
                        sizes[how] = sizes.get(how, 0) + size
            for memory, field in (("local", "lm_peak"), ("shared", "sm_peak")):
                if kernel[field]:
                    found[memory] = {"held": max(kernel[field], found.get(memory, {}).get("held", 0))}
        return found

    def upload_weights(self, tensors: list[ffi.Tensor], artifact: Artifact) -> list[ffi.Tensor]:
        """Those that the plan of memory has there go to L3 as long as it has room (another session's may be in it), others to GDDR."""
        fast = set(artifact.manifest.get("memory", {}).get("weights_in_l3", []))
        return [self._in_l3(tensor) if number in fast else self.upload(tensor) for number, tensor in enumerate(tensors)]

    def _in_l3(self, tensor: ffi.Tensor) -> ffi.Tensor:
        into = ffi.empty(tensor.shape, tensor.dtype, self.device, "global.l3")
        ffi.call("runtime.TVMTensorCopyFromTo", tensor, into)
        return into


def become(chip: str) -> None:
    """Make the emulator this chip; with the vendor's runtime, check that the device is one.  TargetError when it is another one."""
    library = native.runtime()
    if current_chip(library) == chip:
        return
    configure = getattr(library, "xpu_sim_configure", None)
    if configure is None or configure(chip.encode(), 1):
        why = last_error(library) if configure is not None else "it is no emulator"
        raise TargetError(
            f"the artifact was compiled for the chip {chip}, and the device is a {current_chip(library)} ({why})",
            todo=f"close other sessions first, or compile the model for xpu/{current_chip(library)}",
        )


def current_chip(library: ctypes.CDLL) -> str:
    """The chip of this process' first device, as targets name it."""
    name = ctypes.c_char_p()
    if library.xpu_device_name(ctypes.byref(name), 0):
        raise TargetError(f"there is no XPU: {last_error(library)}")
    return (name.value or b"").decode().lower()


def last_error(library: ctypes.CDLL) -> str:
    """What the runtime says of the last error of this thread."""
    library.xpu_last_error_text.restype = ctypes.c_char_p
    return library.xpu_last_error_text().decode(errors="replace")


def counters(*, reset: bool = False) -> dict[str, Any]:
    """What the emulator counted since the last reset: launches, bytes and *modelled* times by kernel (xpu/sim.h has the fields)."""
    library = native.runtime()
    read = getattr(library, "xpu_sim_counters", None)
    if read is None:
        raise TargetError("the runtime library counts nothing: it is no emulator")
    read.restype = ctypes.c_char_p
    found = json.loads(read())
    if reset:
        library.xpu_sim_reset_counters()
    return found
