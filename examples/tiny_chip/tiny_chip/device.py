"""The chip in a process: builds and loads its one library."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
from pathlib import Path

from oarlock.runtime import tvm_runtime
from oarlock.runtime.artifact import Artifact
from oarlock.runtime.devices import Device
from oarlock_xpu import native

SOURCE = Path(__file__).with_name("tiny.cc")


@functools.cache
def load() -> ctypes.CDLL:
    """The runtime, the library function and the plug-in, which are one file here."""
    tvm_runtime.load_runtime()
    cxx = native.compiler()
    library = native.cache_folder() / f"tiny-{hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]}.so"
    if not library.exists():
        made = library.with_suffix(f".{os.getpid()}")
        flags = ["-std=c++17", "-O1", "-fPIC", "-shared", *native.tvm_includes()]
        native.run([cxx, *flags, str(SOURCE), "-o", str(made), *native.tvm_links(found=False), "-ldl"], "tiny.cc")
        made.replace(library)
    return ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


class TinyDevice(Device):
    """The one chip that there is."""

    kind = 12  # DLPack's type for devices that it does not name

    @classmethod
    def open(cls, artifact: Artifact) -> TinyDevice:
        load()
        return cls()
