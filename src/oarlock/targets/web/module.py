"""WebAssembly modules: linking kernels, what a module imports, custom sections."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import InternalError, TargetError, UnsupportedError

INITIAL_BYTES = 4 << 20  # what the runtime's memory has at least: the kernels' constants and their stack
STACK_BYTES = 1 << 20
RPC_BYTES = 64 << 20  # LOW_BYTES of web/src/rpc-machine.ts
MOST_BYTES = 4 << 30
_MAGIC = b"\0asm\x01\0\0\0"
_CUSTOM, _IMPORT, _EXPORT, _CODE = 0, 2, 7, 10
_FUNCTION = 0  # of the kinds of imports and exports

# What web/src/imports.ts and maths.ts have for kernels to import.
_UNARY = """acos acosh asin asinh atan atanh cbrt ceil cos cosh erf erfc exp exp2 exp10 expm1 fabs floor lgamma log log10 log1p
log2 nearbyint rint round sin sinh sqrt tan tanh trunc""".split()
_BINARY = "atan2 copysign fmax fmin fmod hypot nextafter pow".split()
KNOWN = frozenset(
    [name + end for name in _UNARY + _BINARY for end in ("", "f")]
    + ["TVMBackendAllocWorkspace", "TVMBackendFreeWorkspace", "TVMFFIErrorSetRaisedFromCStr", "TVMFFIErrorSetRaisedFromCStrParts"]
    + ["TVMFFIEnvModRegisterSystemLibSymbol"]
)
SHARED = KNOWN | {"TVMBackendParallelLaunch"}  # … of modules that share their memory
RPC = SHARED | {"TVMBackendParallelBarrier"}  # … and what web/src/rpc-machine.ts has


def link(kernels: Path, exports: Sequence[str], *, shared: bool = False) -> bytes:
    """The module of an object file's functions ``exports``, on memory that it imports.

    ``shared``: that memory is shared by instances in several threads; each has a stack of its own, and calls the others' functions.

    Raises TargetError where there is no linker, InternalError where it fails, UnsupportedError for a function that the runtime has not.
    """
    shape = [f"--export={name}" for name in exports]
    if shared:
        shape += ["--shared-memory", "--export-table"]
    return _linked([kernels], kernels.with_suffix(".wasm"), shape, INITIAL_BYTES, SHARED if shared else KNOWN)


def link_packed(objects: Sequence[Path], out: Path) -> bytes:
    """The module of all functions of object files that take packed arguments, for the page of ``oarlock web rpc``.

    Raises what link does.
    """
    made = _linked(objects, out, ["--export-dynamic", "--export-table", "--growable-table"], RPC_BYTES, RPC)
    pointers = {name.removeprefix("__") for name in exported(made) if name.startswith("__TVM")}  # to functions, for who loads the module
    if missing := sorted(pointers - RPC):
        raise _missing(missing)
    return made


def _linked(objects: Sequence[Path], out: Path, shape: Sequence[str], initial_bytes: int, known: frozenset[str]) -> bytes:
    if importlib.util.find_spec("ziglang") is None:
        raise TargetError("there is no linker for WebAssembly", where="target web", todo="pip install 'oarlock[web]'")
    memory = [f"--initial-memory={initial_bytes}", f"--max-memory={MOST_BYTES}", "-z", f"stack-size={STACK_BYTES}", "--stack-first"]
    common = ["--no-entry", "--import-memory", "--allow-undefined", "--gc-sections", "-s", "-O2", "--export=__heap_base"]
    common.append("--export=__stack_pointer")  # put back where a kernel ended midway; a thread has its own
    # exported, so that it is left to the caller, who leaves it: else every call of a kernel runs it
    common.append("--export=__wasm_call_ctors")
    command = [sys.executable, "-m", "ziglang", "wasm-ld", *common, *memory, *shape, "-o", str(out), *map(str, objects)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise InternalError(f"wasm-ld failed: {done.stderr.strip()[-400:]}")
    made = out.read_bytes()
    if missing := sorted(set(imports(made)) - known - {"memory"}):
        raise _missing(missing)
    return made


def _missing(names: Sequence[str]) -> UnsupportedError:
    what = f"kernels call functions of C that the web runtime does not have: {', '.join(names)}"
    return UnsupportedError(what, where="target web", todo="please report it with the model")


def imports(module: bytes) -> list[str]:
    """The names of all that a module imports."""
    return [name for _, name in _imported(module)]


def exported(module: bytes) -> list[str]:
    """The names of all that a module exports."""
    return [name for _, name, _ in _exported(module)]


def code_bytes(module: bytes) -> dict[str, int]:
    """Bytes of code by exported function: its own, and that of the functions after it which nobody outside can call."""
    starts = {index: name for kind, name, index in _exported(module) if kind == _FUNCTION}
    functions = sum(kind == _FUNCTION for kind, _ in _imported(module))
    sizes: list[int] = []
    for kind, body in _sections(module):
        if kind != _CODE:
            continue
        count, at = _number(body, 0)
        for _ in range(count):
            size, at = _number(body, at)
            sizes.append(size)
            at += size
    found: dict[str, int] = {}
    owner = ""
    for index, size in enumerate(sizes, functions):
        owner = starts.get(index, owner)
        found[owner] = found.get(owner, 0) + size
    return found


def with_section(module: bytes, name: str, content: bytes) -> bytes:
    """The module with a custom section at its end."""
    title = name.encode()
    body = _encoded(len(title)) + title + content
    return module + bytes([_CUSTOM]) + _encoded(len(body)) + body


def section(module: bytes, name: str) -> bytes | None:
    """The content of a module's custom section; None where it has none of that name."""
    for kind, body in _sections(module):
        if kind == _CUSTOM:
            title, at = _text(body, 0)
            if title == name:
                return body[at:]
    return None


def _sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    if module[: len(_MAGIC)] != _MAGIC:
        raise InternalError("not a WebAssembly module")
    at = len(_MAGIC)
    while at < len(module):
        kind = module[at]
        size, at = _number(module, at + 1)
        yield kind, module[at : at + size]
        at += size


def _imported(module: bytes) -> Iterator[tuple[int, str]]:
    """The kind and name of each import."""
    for section_kind, body in _sections(module):
        if section_kind != _IMPORT:
            continue
        count, at = _number(body, 0)
        for _ in range(count):
            _, at = _text(body, at)
            name, at = _text(body, at)
            yield body[at], name
            at = _skip_type(body, at)


def _exported(module: bytes) -> Iterator[tuple[int, str, int]]:
    """The kind, name and index of each export."""
    for section_kind, body in _sections(module):
        if section_kind != _EXPORT:
            continue
        count, at = _number(body, 0)
        for _ in range(count):
            name, at = _text(body, at)
            kind = body[at]
            index, at = _number(body, at + 1)
            yield kind, name, index


def _skip_type(body: bytes, at: int) -> int:
    """Past the kind and type of an import: a function's index, a table, a memory, a global or a tag."""
    kind = body[at]
    at += 1
    if kind == 1:
        at += 1  # the type of the table's elements
    if kind in (1, 2):
        limits, at = body[at], at + 1
        _, at = _number(body, at)
        return _number(body, at)[1] if limits & 1 else at
    if kind == 3:
        return at + 2
    if kind == 4:
        at += 1
    return _number(body, at)[1]


def _number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _text(data: bytes, at: int) -> tuple[str, int]:
    size, at = _number(data, at)
    return data[at : at + size].decode(), at + size
