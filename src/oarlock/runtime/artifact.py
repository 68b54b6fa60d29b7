"""Artifact: a compiled model as one file.

The file is a zip archive with stored (uncompressed) members, readable with any zip tool:

    manifest.json    format version, who compiled what, when, for which target
    signature.json   the inputs and outputs
    weights.json     name, dtype, shape, offset and size of each weight within weights.bin
    library.so       the kernels and the Relax VM's program
    weights.bin      the weights; it and every weight in it begin at a multiple of 64 bytes of the file

so that weights are mapped, not read: they are shared between processes and passed to kernels where they lie.
An artifact may have several programs over the same weights, its parts: one for each of several chips, or for each of several devices that
run the model together.  Their libraries are library.so, library-1.so, …, equal ones once, and the manifest says what each part is of.
An artifact holds machine code: load only files that you would also run as a program.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import mmap
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from ..errors import ArtifactError
from . import dtypes
from .arrays import ALIGNMENT
from .signature import MAX_RANK, Signature

FORMAT = "oarlock"
FORMAT_VERSION = 2  # 1 is an artifact without parts
_MANIFEST, _SIGNATURE, _INDEX, _LIBRARY, _WEIGHTS = "manifest.json", "signature.json", "weights.json", "library.so", "weights.bin"
_AGAIN = "copy the file again, or compile the model again"
_MAX_JSON = 256 << 20
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""What an artifact is read from: a path, the bytes, or a stream."""
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_PADDING_FIELD = 0xD935  # the extra field that zipalign uses for the same purpose


@dataclass(eq=False)
class Part:
    """One of several programs of an artifact.

    weights    which of the artifact's weights it takes, in order, by their numbers
    facts      what of the manifest is its own (runtime, kernels, places, …), JSON values only
    signature  what its program takes and gives, where that is not what the artifact does
    """

    name: str
    library: bytes
    weights: list[int]
    facts: dict[str, Any] = field(default_factory=dict)
    signature: Signature | None = None


@dataclass(eq=False)
class Artifact:
    """A compiled model.

    library    the bytes of a shared object: a Relax VM executable with ``main(inputs…, weights…)``
    weights    arrays in the order that ``main`` takes them (read from a file: views of its private mapping)
    signature  names, element types and dims of the inputs and outputs
    manifest   facts about the compilation (versions, target, options, runtime, source, …), JSON values only
    names      a name for each weight, for people
    path       the file that it was read from, for messages; empty when it was compiled in this process
    parts      its programs, where there are several: ``library`` is the first one's, and ``part`` gives each as an artifact
    """

    library: bytes
    weights: list[np.ndarray]
    signature: Signature
    manifest: dict[str, Any] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    path: str = ""
    parts: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = self.names or [f"w{i}" for i in range(len(self.weights))]
        if len(self.names) != len(self.weights):
            raise ValueError(f"{len(self.names)} names for {len(self.weights)} weights")

    @property
    def target(self) -> str:
        """What the model was compiled for: "cpu", …"""
        return self.manifest.get("target", "cpu")

    @property
    def runtime(self) -> dict[str, Any]:
        """How the library wants to be loaded: device (DLPack's name), machine, threads, and the kernel libraries that it calls, if any."""
        return self.manifest.get("runtime", {})

    @property
    def host_calls(self) -> list[dict[str, Any]]:
        """The operations that run as calls of Python functions (see runtime/host.py); mostly none."""
        return self.manifest.get("host_calls", [])

    @property
    def weight_bytes(self) -> int:
        return sum(w.nbytes for w in self.weights)

    def __repr__(self) -> str:
        return (
            f"Artifact({', '.join(map(str, self.signature.inputs))} -> {', '.join(map(str, self.signature.outputs))}; "
            f"{self.target}, library {len(self.library)} bytes, {len(self.weights)} weights of {self.weight_bytes} bytes)"
        )

    def part(self, name: str) -> Artifact:
        """The artifact of one of the parts, over the same weights."""
        for part in self.parts:
            if part.name == name:
                weights, names = [self.weights[i] for i in part.weights], [self.names[i] for i in part.weights]
                return Artifact(part.library, weights, part.signature or self.signature, self.manifest | part.facts, names, self.path)
        raise ArtifactError(
            f"the artifact has no part {name!r}", where=self.path, todo=f"its parts: {', '.join(p.name for p in self.parts) or 'none'}"
        )

    def to_bytes(self) -> bytes:
        """The artifact as its file would have it."""
        stream = io.BytesIO()
        self.write(stream)
        return stream.getvalue()

    def write(self, stream: BinaryIO) -> None:
        """Write the artifact to a stream, of which nothing but ``write`` is needed: a pipe, a socket's file."""
        self._write(stream)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the artifact to ``path`` (replaced in one step: no reader sees half a file).  Returns the path."""
        path = Path(path)
        if not path.name:
            raise ArtifactError("the artifact cannot be written: that names no file", where=str(path))
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise ArtifactError(f"the artifact cannot be written: {error.strerror}", where=str(path)) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, OSError):
                raise ArtifactError(f"the artifact cannot be written: {error.strerror}", where=str(path)) from error
            raise
        return path

    def _write(self, file: BinaryIO) -> None:
        index, offset = [], 0
        for name, weight in zip(self.names, self.weights, strict=True):
            offset += -offset % ALIGNMENT
            index.append({"name": name, "dtype": weight.dtype.name, "shape": list(weight.shape), "offset": offset, "bytes": weight.nbytes})
            offset += weight.nbytes
        libraries = {self.library: _LIBRARY}
        for part in self.parts:
            libraries.setdefault(part.library, f"library-{len(libraries)}.so")
        manifest = {
            **{"format": FORMAT, "format_version": 1, **self.manifest},
            "format_version": FORMAT_VERSION if self.parts else 1,
            "sha256": {n: hashlib.sha256(code).hexdigest() for code, n in libraries.items()} | {_WEIGHTS: self._weights_sha256()},
        }
        if self.parts:
            manifest["parts"] = [
                {"name": p.name, "library": libraries[p.library], "weights": p.weights, "facts": p.facts}
                | ({"signature": p.signature.to_json()} if p.signature else {})
                for p in self.parts
            ]
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for name, document in ((_MANIFEST, manifest), (_SIGNATURE, self.signature.to_json()), (_INDEX, index)):
                _add_member(archive, name, [json.dumps(document, indent=1, ensure_ascii=False).encode()])
            for code, name in libraries.items():
                _add_member(archive, name, [code])
            _add_member(archive, _WEIGHTS, self._weight_chunks())

    def _weight_chunks(self) -> Iterable[bytes | memoryview]:
        offset = 0
        for weight in self.weights:
            padding = -offset % ALIGNMENT
            if padding:
                yield bytes(padding)
            if weight.nbytes:
                yield np.ascontiguousarray(weight).reshape(-1).view(np.uint8).data
            offset += padding + weight.nbytes

    def _weights_sha256(self) -> str:
        digest = hashlib.sha256()
        for chunk in self._weight_chunks():
            digest.update(chunk)
        return digest.hexdigest()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview, *, verify: bool = True) -> Artifact:
        """The artifact that ``to_bytes``, or a file, has; nothing is written to a disk.  Errors as of ``load``."""
        view = memoryview(data).cast("B")
        if len(view) < _LOCAL_HEADER.size:
            raise ArtifactError(f"this is not an Oarlock artifact: it has {len(view)} bytes", todo=_AGAIN)
        memory = mmap.mmap(-1, len(view), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # aligned as weights want it
        memory[:] = view
        return cls._read(memory, "", verify)

    @classmethod
    def load(cls, path: Source, *, verify: bool = True) -> Artifact:
        """Read an artifact of a file, whose weights are mapped, not copied; of bytes; or of a stream (an object with ``read``).

        Every offset and size is checked against the file, and every member's checksum too; ``verify=False`` leaves out
        the checksum of the weights (a large file then opens at once, and its weights are read when they are used).
        ArtifactError when the file is missing, damaged, not an artifact, or of a newer format.
        """
        if not isinstance(path, str | os.PathLike):
            data = path if isinstance(path, bytes | bytearray | memoryview) else path.read()
            return cls.from_bytes(data, verify=verify)
        path = Path(path)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise ArtifactError("this is not an Oarlock artifact: the file is empty", todo=_AGAIN)
                # A private mapping: its pages are shared until written to, and numpy exports writable memory only by DLPack.
                return cls._read(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), str(path), verify)
        except ArtifactError as error:
            raise error.at(str(path)) from error.__cause__
        except OSError as error:
            raise ArtifactError(f"the artifact cannot be read: {error.strerror or error}", where=str(path)) from error

    @classmethod
    def _read(cls, mapping: mmap.mmap, path: str, verify: bool) -> Artifact:
        if mapping[:4] != b"PK\x03\x04":
            raise ArtifactError(
                "this is not an Oarlock artifact (no zip archive)", todo="give a file that oarlock compile or Artifact.save wrote"
            )
        members = _find_members(mapping)
        for name, (start, length, crc) in members.items():
            if (verify or name != _WEIGHTS) and zlib.crc32(memoryview(mapping)[start : start + length]) != crc:
                raise ArtifactError(f"{name} is damaged (its checksum is wrong)", todo=_AGAIN)
        documents = {name: _read_json(mapping, name, members[name]) for name in (_MANIFEST, _SIGNATURE, _INDEX)}
        manifest = _check_manifest(documents[_MANIFEST])
        names, weights = _map_weights(mapping, documents[_INDEX], members[_WEIGHTS])
        libraries = {name: mapping[start : start + length] for name, (start, length, _) in members.items() if name.startswith("library")}
        parts = [_read_part(entry, libraries, len(weights)) for entry in manifest.pop("parts", [])]
        return cls(libraries[_LIBRARY], weights, Signature.from_json(documents[_SIGNATURE]), manifest, names, path, parts)


def _read_part(entry: Any, libraries: dict[str, bytes], weights: int) -> Part:
    match entry:
        case {"name": str(name), "library": str(library), "weights": list(numbers), "facts": dict(facts)}:
            pass
        case _:
            raise ArtifactError(f"the manifest is damaged: a part is {entry!r:.200}")
    if library not in libraries:
        raise ArtifactError(f"the artifact is damaged: it has no {library!r:.80}", where=f"part {name!r:.80}")
    if not all(isinstance(n, int) and 0 <= n < weights for n in numbers):
        raise ArtifactError("the manifest is damaged: a weight of a part is none of the artifact's", where=f"part {name!r:.80}")
    signature = Signature.from_json(entry["signature"]) if "signature" in entry else None
    return Part(name, libraries[library], numbers, _check_facts(facts), signature)


def _add_member(archive: zipfile.ZipFile, name: str, chunks: Iterable[bytes | memoryview]) -> None:
    info = zipfile.ZipInfo(name)  # dated 1980: equal artifacts are equal files
    info.external_attr = 0o644 << 16
    assert archive.fp is not None
    # The data follow the local header: its fixed part, the name, the padding field, and zipfile's zip64 field.
    start = archive.fp.tell() + _LOCAL_HEADER.size + len(name) + 4 + 20
    padding = -start % ALIGNMENT
    info.extra = struct.pack("<HH", _PADDING_FIELD, padding) + bytes(padding)
    with archive.open(info, "w", force_zip64=True) as member:
        for chunk in chunks:
            member.write(chunk)


def _find_members(mapping: mmap.mmap) -> dict[str, tuple[int, int, int]]:
    """Member name → (start, length, crc32), all within the file."""
    size = len(mapping)
    try:
        with zipfile.ZipFile(cast("BinaryIO", mapping)) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, EOFError, OverflowError, NotImplementedError) as error:
        raise ArtifactError(f"the artifact is damaged or cut short: {error}", todo=_AGAIN) from error
    members: dict[str, tuple[int, int, int]] = {}
    for info in infos:
        if info.filename in members:
            raise ArtifactError(f"the artifact is damaged: {info.filename!r:.80} stands twice in it")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.compress_size != info.file_size:
            raise ArtifactError(f"{info.filename!r:.80} is compressed or encrypted", todo="do not repack artifacts with a zip tool")
        if not 0 <= info.header_offset <= size - _LOCAL_HEADER.size:
            raise ArtifactError(f"the artifact is damaged: {info.filename!r:.80} lies outside the file")
        header = _LOCAL_HEADER.unpack_from(mapping, info.header_offset)
        start = info.header_offset + _LOCAL_HEADER.size + header[9] + header[10]
        if header[0] != b"PK\x03\x04" or not 0 <= info.file_size <= size - start:
            raise ArtifactError(f"the artifact is damaged: {info.filename!r:.80} lies outside the file")
        members[info.filename] = (start, info.file_size, info.CRC)
    missing = [name for name in (_MANIFEST, _SIGNATURE, _INDEX, _LIBRARY, _WEIGHTS) if name not in members]
    if missing:
        raise ArtifactError(f"this is not an Oarlock artifact: it has no {', '.join(missing)}")
    return members


def _read_json(mapping: mmap.mmap, name: str, place: tuple[int, int, int]) -> Any:
    start, length, _ = place
    if length > _MAX_JSON:
        raise ArtifactError(f"{name} is damaged: it has {length} bytes")
    try:
        return json.loads(mapping[start : start + length])
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} is damaged: {error}") from error


def _check_manifest(manifest: Any) -> dict[str, Any]:
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError("this is not an Oarlock artifact: its manifest does not say so")
    version = manifest.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise ArtifactError(f"the manifest is damaged: format version {version!r:.40}")
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"the artifact has format {version}; this Oarlock reads up to {FORMAT_VERSION}",
            todo=f"upgrade oarlock (the file was made by {str(manifest.get('oarlock', 'a newer one')):.40}) or compile the model again",
        )
    if not isinstance(manifest.get("parts", []), list):
        raise ArtifactError("the manifest is damaged: its parts are no list")
    return _check_facts(manifest)


def _check_facts(manifest: dict[str, Any]) -> dict[str, Any]:
    runtime = manifest.get("runtime", {})
    if not isinstance(manifest.get("target", "cpu"), str) or not isinstance(runtime, dict):
        raise ArtifactError("the manifest is damaged: the target is not a name, or its runtime options are no table")
    if not isinstance(manifest.get("host_calls", []), list):
        raise ArtifactError("the manifest is damaged: the host calls are no list")
    for key, what in (("features", "CPU features"), ("libraries", "kernel libraries")):
        names = runtime.get(key, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ArtifactError(f"the manifest is damaged: the {what} are no list of names")
    return manifest


def _map_weights(mapping: mmap.mmap, index: Any, place: tuple[int, int, int]) -> tuple[list[str], list[np.ndarray]]:
    """The names and views of the weights, each within weights.bin."""
    base, length, _ = place
    if not isinstance(index, list):
        raise ArtifactError("weights.json is damaged: it is no list")
    names: list[str] = []
    weights: list[np.ndarray] = []
    for entry in index:
        match entry:
            case {"name": str(name), "dtype": str(dtype), "shape": list(shape), "offset": int(offset), "bytes": int(size)}:
                pass
            case _:
                raise ArtifactError(f"weights.json is damaged: {entry!r:.200}")
        try:
            numpy_dtype = dtypes.numpy_dtype(dtype)
        except KeyError:
            raise ArtifactError(f"weights.json has an unknown element type {dtype!r:.40}", where=f"weight {name!r:.80}") from None
        if len(shape) > MAX_RANK or not all(isinstance(d, int) and d >= 0 for d in shape):
            raise ArtifactError(f"weights.json has a damaged shape {shape!r:.200}", where=f"weight {name!r:.80}")
        if size != math.prod(shape) * numpy_dtype.itemsize or not 0 <= offset <= length - size:
            raise ArtifactError("weights.json is damaged: a weight lies outside weights.bin", where=f"weight {name!r:.80}")
        names.append(name)
        try:
            weights.append(np.ndarray(tuple(shape), numpy_dtype, mapping, base + offset) if size else np.empty(shape, numpy_dtype))
        except (ValueError, OverflowError) as error:  # dims beyond numpy's bounds beside a zero
            raise ArtifactError(f"weights.json has a damaged shape {shape!r:.200}", where=f"weight {name!r:.80}") from error
    return names, weights
