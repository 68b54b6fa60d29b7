"""Kernel libraries: what the kernels of an artifact may call beside TVM's runtime.  Its manifest names them (``runtime``, ``libraries``).

A library is opened by its path, and handed to the artifact's own code by its handle: nothing is linked by name, since the process may
hold another one of the same name (PaddlePaddle brings a oneDNN).
"""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArtifactError, OarlockError
from . import ffi, tvm_runtime


@dataclass(frozen=True)
class Library:
    """``file``: its name; ``package``: the Python package that has it, and ``headers`` the one to compile against it."""

    name: str
    title: str
    file: str
    package: str
    headers: str
    extra: str


_lock = threading.Lock()
KNOWN = {"onednn": Library("onednn", "oneDNN", "libdnnl.so.3", "onednn-cpu-gomp", "onednn-devel-cpu-gomp", "oarlock[onednn]")}


def packaged(package: str, end: str) -> Path | None:
    """The file of an installed Python package whose path ends with ``end``; None when one of them is not there."""
    import importlib.metadata  # 10 ms, which other artifacts need not spend

    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())).resolve() for file in files if f"/{file.as_posix()}".endswith(f"/{end}"))
    return next((path for path in found if path.is_file()), None)


def find(library: Library) -> Path | None:
    """The library's file: in the folder of TVM's runtime where OARLOCK_RUNTIME_DIR names one that has it, else in its package."""
    override = os.environ.get(tvm_runtime.ENV_DIR)
    if override and (path := Path(override, library.file)).is_file():
        return path
    return packaged(library.package, library.file)


def open_for(module: ffi.Object, name: str, where: str) -> None:
    """Hand the library ``name`` to the code in ``module``.

    ``where``: the artifact, for errors.  Raises OarlockError when the library is missing or does not load.
    """
    library = KNOWN.get(name)
    if library is None:
        raise ArtifactError(
            f"the artifact needs the kernel library {name!r:.40}, which this Oarlock does not know",
            where=where,
            todo="upgrade oarlock, or compile the model again with the installed version",
        )
    path = find(library)
    if path is None:
        override = os.environ.get(tvm_runtime.ENV_DIR)
        raise OarlockError(
            f"the artifact has kernels of {library.title}, whose library {library.file} is not installed",
            where=f"{where or 'the artifact'} (looked into the package {library.package}" + (f" and {override})" if override else ")"),
            todo=f"pip install '{library.extra}', or compile the model again with the option libraries=none",
        )
    try:
        handle = ctypes.CDLL(str(path))._handle  # local: its functions must not take the place of another oneDNN's
    except OSError as error:
        raise OarlockError(f"the kernel library {library.title} does not load: {error}", where=str(path)) from error
    try:
        with _lock:  # a binding may change what all share: onednn/binding.c hides the library's name, in memory that it opens for writing
            ffi.module_function(module, f"oarlock_{name}_open")(handle)
    except Exception as error:
        raise ArtifactError(
            f"the kernel library {library.title} does not fit: {tvm_runtime.first_line(error)}",
            where=f"{path}, for {where or 'the artifact'}",
            todo="compile the model again with the installed version",
        ) from error
