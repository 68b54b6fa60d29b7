"""The chip's compiler: XPU C++ → what xpu_module_load takes.  For the emulator that is the host's C++ compiler, and a shared object."""

from __future__ import annotations

import hashlib
import os
import shlex
import tempfile
from pathlib import Path

from oarlock.errors import TargetError

from .. import native

# a function call for every access of memory, which the emulator answers (native/xpu/runtime/src/check.cc)
CHECKED = (
    "-DXPU_CHECKED",
    "-g1",
    "-fsanitize=kernel-address",
    "--param=asan-instrumentation-with-call-threshold=0",
    "--param=asan-stack=0",
    "--param=asan-globals=0",
)
# kernels compute as they are written: no product is joined with a sum that the host's compiler finds behind it
_FLAGS = ("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-w")


def host_command(cxx: str, checked: bool) -> list[str]:
    """How the emulator's kernels are compiled, but for source and output."""
    return [cxx, *_FLAGS, *(CHECKED if checked else ()), *(f"-I{folder}" for folder in native.include_folders())]


def compile_kernels(source: str, *, command: str = "", checked: bool = False) -> bytes:
    """The module of a source.

    ``command``: another compiler's, with {source} and {output} in it; empty: the host's, for the emulator.
    Raises TargetError with the compiler's messages.
    """
    cxx = "" if command else native.compiler()
    if command and not ("{source}" in command and "{output}" in command):
        raise TargetError(
            f"{command!r} does not say where source and output go", where="option xcc", todo="write {source} and {output} in it"
        )
    line = host_command(cxx, checked) + ["{source}", "-o", "{output}"] if cxx else shlex.split(command)
    key = hashlib.sha256("\0".join([native.toolchain(cxx) if cxx else "", *line, _headers(), source]).encode()).hexdigest()[:24]
    kept = native.cache_folder() / f"kernels-{key}.so"
    try:
        return kept.read_bytes()
    except FileNotFoundError:
        pass
    with tempfile.TemporaryDirectory(prefix="oarlock-xpu-") as folder:
        path, output = Path(folder) / f"kernels-{key[:8]}.cc", Path(folder) / "kernels.so"
        path.write_text(source, encoding="utf-8")
        places = {"{source}": str(path), "{output}": str(output)}
        native.run([places.get(word, word) for word in line], "target xpu: compiling generated kernels")
        if not output.is_file():
            raise TargetError(f"{line[0]} made no output", where="option xcc")
        code = output.read_bytes()
    scratch = kept.with_name(f".{kept.name}.{os.getpid()}")
    scratch.write_bytes(code)
    scratch.replace(kept)  # in one step: another process may be reading it
    return code


def _headers() -> str:
    """What kernels include, by its content."""
    digest = hashlib.sha256()
    for folder in native.include_folders():
        for path in sorted((folder / "xpu" / "kernel").glob("*.h")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
