"""Finds and loads TVM's runtime library, and never its compiler.

``import tvm`` would load libtvm_compiler.so (250 MB) and a thousand Python objects.  Running an artifact needs
libtvm_runtime.so and libtvm_runtime_extra.so (4.7 MB: the Relax VM, the thread pool, sort and random) over libtvm_ffi.so
(2.5 MB).  They are taken from, in this order:

1. the process, when the ``tvm`` or the ``tvm_ffi`` package was imported before;
2. the folder that the environment variable OARLOCK_RUNTIME_DIR names (a deployment that has only the libraries; where
   libtvm_ffi.so is not among them, the installed tvm_ffi package's is taken.  Do not import ``tvm`` afterwards in such
   a process: its own copies of the libraries would be second ones);
3. the installed ``tvm`` and ``tvm_ffi`` packages, whose Python code is not executed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ArtifactError, OarlockError
from . import ffi

ENV_DIR = "OARLOCK_RUNTIME_DIR"
_INTERFACE, _RUNTIME, _EXTRA = "libtvm_ffi.so", "libtvm_runtime.so", "libtvm_runtime_extra.so"

_lock = threading.Lock()
_loaded: list[ctypes.CDLL] = []
_complete = False
_thread_state = threading.local()


def load_runtime() -> None:
    """Load the runtime library once a process; OarlockError when it is not installed or does not load."""
    global _complete
    with _lock:
        if _complete:
            return
        _open_interface()
        # A second copy of the library beside the one that the tvm package loaded would register everything twice.
        if ffi.get_function("runtime.config_threadpool") is None:
            _loaded.append(_dlopen(f"{_library_dir()}/{_RUNTIME}"))
        if ffi.get_function("tvm.contrib.sort.argsort") is None:
            extra = f"{_library_dir()}/{_EXTRA}"
            if os.path.isfile(extra):
                _loaded.append(_dlopen(extra))
        _complete = True


def _open_interface() -> None:
    try:
        # By its name alone the linker finds the one that is in the process, whoever loaded it, and no other.
        path = _INTERFACE
        ctypes.CDLL(path, os.RTLD_NOLOAD | os.RTLD_GLOBAL)
    except OSError:
        path = _interface_path()
    try:
        ffi.open_library(path)
    except OSError as error:
        raise OarlockError(f"TVM's runtime library does not load: {error}", where=path) from error


def _interface_path() -> str:
    override = os.environ.get(ENV_DIR)
    if override and os.path.isfile(f"{override}/{_INTERFACE}"):
        return f"{override}/{_INTERFACE}"
    folder = _installed("tvm_ffi", _INTERFACE)
    if folder is None:
        raise OarlockError(
            f"TVM's runtime library was not found: {_INTERFACE}",
            where=f"{ENV_DIR}={override} and the installed packages" if override else "the installed packages",
            todo=f"install apache-tvm-ffi, or put it into the folder that {ENV_DIR} names",
        )
    return f"{folder}/{_INTERFACE}"


def _installed(package: str, library: str) -> str | None:
    """The folder of an installed package that has ``library``; the package is found without executing it."""
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        for folder in (f"{root}/lib", f"{root}/lib64"):
            if os.path.isfile(f"{folder}/{library}"):
                return folder
    return None


def load_sidecar(name: str, *, todo: str) -> None:
    """Load one more of TVM's runtime libraries; OarlockError with ``todo`` when it is not installed."""
    path = f"{_library_dir()}/{name}"
    if not os.path.isfile(path):
        raise OarlockError(f"TVM's runtime library {name} was not found", where=os.path.dirname(path), todo=todo)
    with _lock:
        _loaded.append(_dlopen(path))


def _library_dir() -> str:
    override = os.environ.get(ENV_DIR)
    if override:
        if not os.path.isfile(f"{override}/{_RUNTIME}"):
            raise OarlockError(
                "TVM's runtime library was not found",
                where=f"{ENV_DIR}={override}",
                todo=f"put {_RUNTIME}, {_EXTRA} and {_INTERFACE} there, or unset the variable",
            )
        return override
    folder = _installed("tvm", _RUNTIME)
    if folder is None:
        raise OarlockError(
            "TVM's runtime library was not found",
            where="the installed packages",
            todo=f"install apache-tvm, or set {ENV_DIR} to a folder with {_RUNTIME}",
        )
    return folder


def _dlopen(path: str) -> ctypes.CDLL:
    try:
        # Global, since the extra library and kernel libraries resolve their symbols against it.
        return ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise OarlockError(f"TVM's runtime library does not load: {error}", where=path) from error


def load_module(library: bytes, where: str) -> ffi.Object:
    """The TVM module in ``library`` (the bytes of a shared object).  ``where`` names its origin in errors."""
    load_runtime()
    _check_elf(library, where)
    try:
        descriptor = os.memfd_create("oarlock", os.MFD_CLOEXEC)
    except OSError:
        return _load_from_temporary_file(library, where)
    try:
        _write_all(descriptor, library)
        return _load_path(_unique_alias(descriptor), where)
    except ArtifactError:
        # Some kernels and containers forbid execution from a memfd (vm.memfd_noexec, SELinux).
        return _load_from_temporary_file(library, where)
    finally:
        os.close(descriptor)


def _check_elf(library: bytes, where: str) -> None:
    """ArtifactError for bytes that are no whole 64-bit shared object: mapping a part of one ends the process."""
    whole = False
    if len(library) >= 64 and library[:6] == b"\x7fELF\x02\x01":
        (sections,) = struct.unpack_from("<Q", library, 40)
        entry_size, entries = struct.unpack_from("<2H", library, 58)
        whole = 0 < sections <= len(library) - entry_size * entries  # the table of sections ends the file
    if not whole:
        what = "the artifact's library does not load: it is no shared object, or cut short"
        raise ArtifactError(what, where=where, todo="compile the model again")


_aliases = 0


def _unique_alias(descriptor: int) -> str:
    """A path of the descriptor that no earlier library had.

    The dynamic linker takes an equal path for the library that it has loaded already, and descriptors' numbers are used
    again: without this a second model could silently run the first one's code.  A counter, written in binary as "/" and
    "/./", makes each path different and means nothing to the file system.
    """
    global _aliases
    with _lock:
        _aliases += 1
        bits = f"{_aliases:b}"
    return "/proc/self/fd" + "".join("/./" if bit == "1" else "/" for bit in bits) + f"/{descriptor}"


def _load_from_temporary_file(library: bytes, where: str) -> ffi.Object:
    import tempfile

    descriptor, path = tempfile.mkstemp(prefix="oarlock-", suffix=".so")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(library)
        return _load_path(path, where)
    finally:
        os.unlink(path)  # the mapping outlives the name


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _load_path(path: str, where: str) -> ffi.Object:
    try:
        # The loader of shared objects by its registered name: ffi.ModuleLoadFromFile guesses it from the file's extension.
        return ffi.call("ffi.Module.load_from_file.so", path, "so")
    except Exception as error:
        raise ArtifactError(
            f"the artifact's library does not load: {first_line(error)}",
            where=where,
            todo="compile the model again on a machine like this one",
        ) from error


def first_line(error: BaseException) -> str:
    """The message of a TVM error without its backtrace."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].strip() if lines else type(error).__name__


def from_callable(function: Callable[..., Any]) -> ffi.Object:
    """``function`` as a function of TVM; OarlockError where tvm_ffi, which calls Python from C, is not installed.

    ctypes could do it, but a call takes it ten times as long: 7 µs instead of 0.7, which is more than many kernels.
    """
    folder = _installed("tvm_ffi", _INTERFACE)
    # The package would bring a library of its own into a process that has got another.
    if folder is None or os.path.realpath(f"{folder}/{_INTERFACE}") not in _read("/proc/self/maps"):
        raise OarlockError(
            "calls from TVM into Python need the package tvm_ffi" + (f", and its {_INTERFACE}" if folder else ""),
            todo=f"install apache-tvm-ffi, and let {ENV_DIR} name a folder without {_INTERFACE}",
        )
    import tvm_ffi

    converted = tvm_ffi.convert(function)
    return ffi.Object.borrowed(converted.__chandle__())


@contextmanager
def registered(name: str, function: Callable[..., Any]) -> Iterator[None]:
    """``function`` is TVM's of this name for a while; afterwards what had the name before has it again, or nothing."""
    import tvm_ffi

    before = tvm_ffi.get_global_func(name, allow_missing=True)
    tvm_ffi.register_global_func(name, function, override=True)
    try:
        yield
    finally:
        tvm_ffi.registry.remove_global_func(name)
        if before is not None:
            tvm_ffi.register_global_func(name, before, override=True)


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def use_threads(count: int) -> None:
    """Make kernels on TVM's pool called from this thread run on ``count`` threads, this one included (at most one a logical CPU).

    Only for libraries without a pool of their own (pool.py).  TVM keeps one pool of workers for each thread that calls it, made at the
    first call with room for every CPU.
    """
    if getattr(_thread_state, "count", None) == count:
        return
    allowed = os.sched_getaffinity(0)
    # Mode -3: the workers share all the CPUs named.  TVM's default pins each worker to one core, and the calling thread
    # too, so that two processes would sit on the same core and numpy would inherit the pin.
    cpus = [str(cpu) for cpu in sorted(allowed)]
    ffi.call("runtime.config_threadpool", -3, count, cpus, max(count, len(cpus)))
    os.sched_setaffinity(0, allowed)
    _thread_state.count = count
