"""The native part: three libraries over each other, built by the host's C++ compiler at their first use.

    libxpurt.so       the runtime: the chip's API (xpu/runtime.h), here an emulator
    libxpuapi.so      the kernel library: functions under xdnn names (xpu/xdnn.h), over the runtime
    liboarlock_xpu.so the plug-in: TVM's device, memory and modules, over both

They are kept in ~/.cache/oarlock/xpu, by what they are made of: sources, compiler, CPU and TVM.  ``OARLOCK_XPU_LIBRARIES`` names a
folder that has them already: there each can be exchanged for another one, the vendor's for the emulator.

A fourth, liboarlock.so, is the C++ API (native/xpu/cpp), which no Python loads: it is built when it is asked for (config.py).
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oarlock.errors import TargetError
from oarlock.runtime import tvm_runtime

ENV_LIBRARIES, ENV_CACHE = "OARLOCK_XPU_LIBRARIES", "XDG_CACHE_HOME"
_COMPILERS = ("g++", "c++", "clang++")
_WHERE = "the native part of oarlock_xpu"
# no -ffast-math: numbers are to be Paddle's
_FLAGS = ("-std=c++17", "-fPIC", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-march=native", "-Wall", "-Wextra")


@dataclass(frozen=True)
class Library:
    """``folder``: of its sources under native/xpu; ``needs``: ours that it is linked with; ``tvm``: whether it uses TVM; ``level``: -O…."""

    file: str
    folder: str
    needs: tuple[str, ...] = ()
    tvm: bool = False
    level: str = "-O3"


RUNTIME = Library("libxpurt.so", "runtime")
KERNELS = Library("libxpuapi.so", "kernels", ("libxpurt.so",))
PLUGIN = Library("liboarlock_xpu.so", "plugin", ("libxpurt.so", "libxpuapi.so"), tvm=True, level="-O1")  # it computes nothing
LIBRARIES = (RUNTIME, KERNELS, PLUGIN)  # in the order in which they are loaded
API = Library("liboarlock.so", "cpp", tvm=True, level="-O1")


def sources() -> Path:
    """The folder native/xpu: in the package where a wheel carries it, else in the repository."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_native", here.parents[1] / "native" / "xpu"):
        if folder.is_dir():
            return folder
    raise TargetError("the C++ sources are missing", where=str(here), todo="install oarlock again")


def include_folders() -> list[Path]:
    """Where kernels, and programs that use the runtime, find xpu/….h."""
    return [sources() / library.folder / "include" for library in (RUNTIME, KERNELS)]


def compiler(wanted: str = "") -> str:
    """The C++ compiler: ``wanted``, else $CXX, else the first found.  TargetError when there is none."""
    wanted = wanted or os.environ.get("CXX", "")
    for name in (wanted,) if wanted else _COMPILERS:
        if found := shutil.which(name):
            return found
    raise TargetError(
        f"the C++ compiler {wanted!r} is not there" if wanted else f"no C++ compiler found (looked for {', '.join(_COMPILERS)})",
        where=_WHERE,
        todo="install one (apt install g++), or name it by the environment variable CXX",
    )


def run(command: Sequence[str], what: str) -> None:
    """Run a compiler; TargetError with its messages when it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        raise TargetError(f"{command[0]} does not run: {error.strerror}", where=what) from error
    if done.returncode:
        text = done.stdout.decode(errors="replace").strip()
        raise TargetError(f"{command[0]} failed:\n{text[-4000:]}", where=what, todo=f"the command was: {' '.join(command)[:2000]}")


@functools.cache
def libraries() -> Path:
    """The folder with the three libraries, built if they are not there yet.  TargetError when that fails."""
    if given := os.environ.get(ENV_LIBRARIES):
        folder = Path(given)
        if missing := [library.file for library in LIBRARIES if not (folder / library.file).is_file()]:
            raise TargetError(
                f"{', '.join(missing)} not found", where=f"{ENV_LIBRARIES}={given}", todo="put them there, or unset the variable"
            )
        return folder
    cxx = compiler()
    return _kept(f"lib-{_fingerprint(cxx, LIBRARIES)}", lambda made, scratch: _build(cxx, LIBRARIES, made, scratch))


def api() -> Path:
    """The folder with the C++ API's library, built if it is not there yet.  TargetError when that fails."""
    cxx, beneath = compiler(), libraries()
    flags = [f'-DOARLOCK_XPU_BUILT_IN="{beneath}"', f'-DOARLOCK_PYTHON_BUILT_IN="{sys.executable}"']
    key = hashlib.sha256("\0".join([_fingerprint(cxx, (API,)), *flags]).encode()).hexdigest()[:16]
    return _kept(f"api-{key}", lambda made, scratch: _build(cxx, (API,), made, scratch, flags))


def _kept(name: str, make: Callable[[Path, Path], None]) -> Path:
    """The folder of this name in the cache; where it is not there, ``make`` fills it, and has another one for scratch."""
    folder = cache_folder() / name
    with _locked(folder):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
                made = Path(scratch) / "lib"
                made.mkdir()
                make(made, Path(scratch))
                made.rename(folder)
    return folder


def cache_folder() -> Path:
    """Where built libraries and compiled kernels are kept."""
    folder = Path(os.environ.get(ENV_CACHE) or Path.home() / ".cache") / "oarlock" / "xpu"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TargetError(f"the folder for built libraries cannot be made: {error.strerror}", where=str(folder)) from error
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process builds, others wait for it."""
    with (folder.parent / f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(cxx: str, made: Sequence[Library], into: Path, scratch: Path, flags: Sequence[str] = ()) -> None:
    # objects are kept too: where few sources change, few are compiled
    kept = cache_folder() / "objects"
    kept.mkdir(exist_ok=True)
    jobs: list[tuple[Library, Path, Path]] = []
    for library in made:
        for source in sorted((sources() / library.folder / "src").glob("*.cc")):
            jobs.append((library, source, kept / f"{library.folder}-{source.stem}-{_object_key(cxx, library, source, flags)}.o"))

    def compile_one(job: tuple[Library, Path, Path]) -> None:
        library, source, output = job
        if output.exists():
            return
        made_here = scratch / output.name
        run([cxx, *_FLAGS, library.level, *flags, *_includes(library), "-c", str(source), "-o", str(made_here)], f"{_WHERE}: {source.name}")
        made_here.replace(output)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(compile_one, jobs))
    for library in made:
        objects = [str(output) for owner, _, output in jobs if owner is library]
        links = [f"-l:{name}" for name in library.needs]
        if library.tvm:
            links += tvm_links(found=library is API)
        # found beside this one, or, TVM's, in the process already
        run(
            [
                cxx,
                "-shared",
                "-o",
                str(into / library.file),
                *objects,
                f"-L{into}",
                *links,
                "-Wl,-rpath,$ORIGIN",
                f"-Wl,-soname,{library.file}",
                "-ldl",
            ],
            f"{_WHERE}: {library.file}",
        )


def tvm_links(*, found: bool) -> list[str]:
    """How a library is linked with TVM's; ``found``: they are found where they are now."""
    folders = [_tvm("tvm") / "lib", _tvm("tvm_ffi") / "lib"]
    # the last has the VM, which nobody calls by a symbol, and Disco
    links = [*(f"-L{folder}" for folder in folders), "-ltvm_runtime", "-ltvm_ffi", "-Wl,--no-as-needed", "-ltvm_runtime_extra"]
    return links + (["-Wl,--as-needed", *(f"-Wl,-rpath,{folder}" for folder in folders)] if found else [])


def _object_key(cxx: str, library: Library, source: Path, flags: Sequence[str]) -> str:
    """What an object file is made of: its source, all headers that it may include, the compiler."""
    folders = [sources() / other.folder / "include" for other in (RUNTIME, KERNELS)] + [sources() / library.folder]
    table = (".def",) if library is RUNTIME else ()  # of the chips, which others read at run time
    headers = sorted({p for folder in folders for p in folder.rglob("*") if p.suffix in (".h", *table)})
    digest = hashlib.sha256("\0".join([toolchain(cxx), library.level, *flags, str(_tvm("tvm")) if library.tvm else ""]).encode())
    for path in (source, *headers):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _includes(library: Library) -> list[str]:
    folders = [*include_folders(), sources() / library.folder / "src"]
    if library is API:
        folders = [sources() / library.folder / "include", sources() / library.folder / "src"]
    flags = [f"-I{folder}" for folder in folders]
    if library.tvm:  # as system headers: their warnings are not ours
        flags += tvm_includes()
    return flags


def tvm_includes() -> list[str]:
    """The compiler's flags for TVM's headers, and for the few that its wheel leaves out."""
    folders = (sources() / PLUGIN.folder / "shim", _tvm("tvm") / "include", _tvm("tvm_ffi") / "include")
    return [flag for folder in folders for flag in ("-isystem", str(folder))]


def _tvm(package: str) -> Path:
    """The folder of a package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise TargetError(
            f"the package {package} is not installed, whose headers the plug-in needs", where=_WHERE, todo="install apache-tvm"
        )
    return Path(next(iter(spec.submodule_search_locations)))


@functools.cache
def _fingerprint(cxx: str, made: tuple[Library, ...]) -> str:
    digest = hashlib.sha256()
    root = sources()
    folders = [root / library.folder for library in made]
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.suffix in (".cc", ".h", ".def")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    digest.update(toolchain(cxx).encode())
    for package in ("tvm", "tvm_ffi"):
        folder = _tvm(package)
        digest.update(f"{folder}{[p.stat().st_size for p in sorted((folder / 'lib').glob('*.so'))]}".encode())
    return digest.hexdigest()[:16]


@functools.cache
def toolchain(cxx: str) -> str:
    """What makes the code of equal sources differ: the compiler, its flags, and the CPU that -march=native means."""
    try:
        version = subprocess.run([cxx, "--version"], capture_output=True, check=False, text=True).stdout.splitlines()[:1]
    except OSError as error:
        raise TargetError(f"{cxx} does not run: {error.strerror}", where=_WHERE) from error
    return "\n".join([cxx, *version, *_FLAGS, *(library.level for library in LIBRARIES), platform.machine(), _cpu_flags()])


def _cpu_flags() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "")


_loaded: list[ctypes.CDLL] = []


def load() -> None:
    """Load the libraries once a process, behind TVM's runtime library: the XPU is TVM's device ext_dev then."""
    if _loaded:
        return
    tvm_runtime.load_runtime()
    folder = libraries()
    for library in LIBRARIES:
        try:
            # global, since modules of kernels find what they call by name
            _loaded.append(ctypes.CDLL(str(folder / library.file), ctypes.RTLD_GLOBAL))
        except OSError as error:
            _loaded.clear()
            raise TargetError(
                f"{library.file} does not load: {error}", where=str(folder), todo="remove the folder, so that it is built again"
            ) from error


def runtime() -> ctypes.CDLL:
    """The runtime library, loaded."""
    load()
    return _loaded[0]


if __name__ == "__main__":
    try:
        print(libraries())
    except TargetError as error:
        sys.exit(str(error))
