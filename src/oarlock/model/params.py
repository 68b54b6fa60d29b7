"""Read Paddle's weights: combined ``.pdiparams`` files and folders with one file a parameter.

One tensor stands as ``u32 version | u64 LoD levels, each u64 length + bytes | u32 version | i32 size | TensorDesc | raw
values``; TensorDesc is a protobuf message: field 1 the dtype, field 2 the dims.  The arrays are read-only views into the
file, which is mapped into memory, not read.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

from ..errors import ModelError
from .limits import DAMAGED, check_dims
from .program import Parameter, TensorType

DTYPES: dict[int, str] = {
    0: "bool", 1: "int16", 2: "int32", 3: "int64", 4: "float16", 5: "float32", 6: "float64", 20: "uint8", 21: "int8",
    22: "bfloat16", 23: "complex64", 24: "complex128", 32: "float8_e4m3fn", 33: "float8_e5m2",
    36: "uint16", 37: "uint32", 38: "uint64",
}  # fmt: skip
"""Paddle's dtype codes (VarType.Type in framework.proto)."""

_DESCRIPTION_LIMIT = 4096
"""Bytes of a TensorDesc: a dtype and at most 64 dims take fewer than a thousand."""


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a dtype name; bfloat16 and float8 are ml_dtypes'."""
    extra = getattr(ml_dtypes, name, None)
    return np.dtype(name if extra is None else extra)


def map_file(path: Path) -> memoryview:
    """The file's bytes, mapped read-only.  An empty file cannot be mapped and gives an empty view."""
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise ModelError(f"the file cannot be read: {error}", where=str(path), todo="check that it exists and may be read") from None


def read_tensors(buffer: bytes | memoryview, where: str, limit: int | None = None) -> list[np.ndarray]:
    """Every tensor of a combined file, in its order, as read-only views.  ``limit``: more tensors than that are an error."""
    view = memoryview(buffer).cast("B").toreadonly()
    tensors: list[np.ndarray] = []
    position = 0
    while position < len(view):
        if limit is not None and len(tensors) == limit:
            raise ModelError(
                f"the file goes on after the {limit} tensors that the program stores",
                where=f"{where}: byte {position}",
                todo="give the .pdiparams that was saved with this program",
            )
        array, position = _read_tensor(view, position, f"{where}: tensor {len(tensors)} at byte {position}")
        tensors.append(array)
    return tensors


def bind_combined(parameters: Mapping[str, Parameter], names: Sequence[str], buffer: bytes | memoryview, where: str) -> None:
    """Give the parameters ``names`` their data from a combined file.

    The file has no names: the tensors stand in sorted order of the names of the parameters that are stored.
    """
    names = sorted(names)
    tensors = read_tensors(buffer, where, limit=len(names))
    if len(tensors) != len(names):
        raise ModelError(
            f"the file holds {len(tensors)} tensors, but the program stores {len(names)} parameters",
            where=where,
            todo="give the .pdiparams that was saved with this program; check that the download is complete",
        )
    for name, array in zip(names, tensors, strict=True):
        _bind(parameters[name], array, where)


def bind_separate(parameters: Mapping[str, Parameter], names: Sequence[str], folder: Path) -> None:
    """Give the parameters ``names`` their data from the files of these names in ``folder``."""
    for name in names:
        path = inside(folder, name)
        if not os.path.isfile(path):
            raise ModelError(
                f"the file of the parameter {name!r} is missing", where=str(path), todo="put the parameter files beside the program"
            )
        tensors = read_tensors(map_file(path), str(path), limit=1)
        if not tensors:
            raise ModelError(f"the file of the parameter {name!r} is empty", where=str(path), todo=DAMAGED)
        _bind(parameters[name], tensors[0], str(path))


def inside(folder: Path, name: str, graph: Path | None = None) -> Path:
    """``folder/name``, which must stay in the folder, also when links are followed.

    With ``graph`` it may also stand beside what that link leads to: caches keep models as folders of links.
    """
    try:
        path = folder / name
        homes = [folder.resolve()] if graph is None else [folder.resolve(), graph.resolve().parent]
        if not name or Path(name).is_absolute() or not any(path.resolve().is_relative_to(home) for home in homes):
            raise ValueError
    except (ValueError, OSError, RuntimeError):  # a null character, a name that is too long, links that go in a circle
        raise ModelError(
            f"the name {name!r} leads outside the model's folder",
            where=str(folder),
            todo="do not use this model: its file names are not safe",
        ) from None
    return path


def _bind(parameter: Parameter, array: np.ndarray, where: str) -> None:
    declared = parameter.type
    if declared.dtype not in DTYPES.values():
        raise ModelError(f"the parameter {parameter.name!r} is declared {declared.dtype}", where=where, todo=DAMAGED)
    if array.dtype != numpy_dtype(declared.dtype):
        raise ModelError(
            f"the parameter {parameter.name!r} is declared {declared.dtype} but stored as {array.dtype}",
            where=where,
            todo="give the weights that were saved with this program",
        )
    fits = len(array.shape) == len(declared.shape) and all(d in (-1, n) for d, n in zip(declared.shape, array.shape, strict=True))
    if not fits:
        raise ModelError(
            f"the parameter {parameter.name!r} is declared {declared} but stored with shape {array.shape}",
            where=where,
            todo="give the weights that were saved with this program",
        )
    parameter.type = TensorType(declared.dtype, array.shape, declared.lod_level)
    parameter.data = array


def _read_tensor(view: memoryview, position: int, where: str) -> tuple[np.ndarray, int]:
    """The tensor at ``position`` and where the next one begins.  Nothing is allocated before its length is checked."""

    def take(size: int) -> memoryview:
        nonlocal position
        if size < 0 or size > len(view) - position:
            raise ModelError(f"{size} bytes are needed, {len(view) - position} are left", where=where, todo=DAMAGED)
        position += size
        return view[position - size : position]

    def number(form: str) -> int:
        return struct.unpack(form, take(struct.calcsize(form)))[0]

    def version() -> None:
        if (found := number("<I")) != 0:
            raise ModelError(f"the tensor format version is {found}; only 0 exists", where=where, todo=DAMAGED)

    version()
    levels = number("<Q")
    if levels > (len(view) - position) // 8:
        raise ModelError(f"{levels} LoD levels do not fit into the file", where=where, todo=DAMAGED)
    for _ in range(levels):
        take(number("<Q"))
    version()
    size = number("<i")
    if not 0 <= size <= _DESCRIPTION_LIMIT:
        raise ModelError(f"a tensor description has {size} bytes", where=where, todo=DAMAGED)
    name, dims = _tensor_description(bytes(take(size)), where)
    dtype = numpy_dtype(name)
    if -1 in dims:
        raise ModelError(f"a stored tensor has the shape {dims}", where=where, todo=DAMAGED)
    count = 1
    for d in dims:
        count *= d
    array = np.frombuffer(take(count * dtype.itemsize), dtype).reshape(dims)
    array.flags.writeable = False
    return array, position


def _tensor_description(data: bytes, where: str) -> tuple[str, tuple[int, ...]]:
    """dtype and dims of a TensorDesc message."""
    code: int | None = None
    dims: list[int] = []
    position = 0

    def varint() -> int:
        nonlocal position
        value = 0
        for shift in range(0, 70, 7):
            if position >= len(data):
                break
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value & 0xFFFFFFFFFFFFFFFF
        raise ModelError("a tensor description is cut short", where=where, todo=DAMAGED)

    while position < len(data):
        key = varint()
        if key == 0x08:  # field 1, varint
            code = varint()
        elif key == 0x10:  # field 2, one dim
            dims.append(_signed(varint()))
        elif key == 0x12:  # field 2, packed dims
            end = varint() + position
            if end > len(data):
                raise ModelError("a tensor description is cut short", where=where, todo=DAMAGED)
            while position < end:
                dims.append(_signed(varint()))
            if position != end:
                raise ModelError("a tensor description is cut short", where=where, todo=DAMAGED)
        else:
            raise ModelError(f"a tensor description has an unknown field (key {key})", where=where, todo=DAMAGED)
    if code not in DTYPES:
        raise ModelError(f"a tensor has the unknown dtype code {code}", where=where, todo=DAMAGED)
    return DTYPES[code], check_dims(dims, where)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
