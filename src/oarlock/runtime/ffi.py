"""TVM's foreign function interface by its C ABI (tvm/ffi/c_api.h), without the Python package tvm_ffi.

Importing tvm_ffi takes 50 ms, most of the time in which a process gives its first result; what a session needs of it
is little: functions by name, calls, tensors over numpy's memory and back, and errors.  The two get along in one process,
since both use one libtvm_ffi.so (see tvm_runtime).

References.  An ``Object`` owns one reference and gives it back when Python drops it; an address that this module passes around
as an int owns none.  Tensors made here keep the memory that they lie in alive by DLPack's deleter, arrays made of tensors keep
the tensor.
"""

from __future__ import annotations

import ctypes
import math
import struct
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Self

import numpy as np

from . import dtypes
from .c_abi import ABI, AnyCell, DLTensor, Library, Span

CPU, CUDA, CUDA_HOST = 1, 2, 3  # DLPack's device types
# TVMFFITypeIndex; from _OBJECT on they are objects, which are counted
_NONE, _INT, _BOOL, _FLOAT, _TYPE, _DEVICE, _RAW_STR, _SMALL_STR = 0, 1, 2, 3, 5, 6, 8, 11
_OBJECT, _STR, _FUNCTION, _SHAPE, _TENSOR, _ARRAY = 64, 65, 68, 69, 70, 71
_HEADER = 24  # sizeof(TVMFFIObject): what an object has of its own follows

# DLDataType of one lane → the element type's name
_TYPE_NAMES = {
    code | bits << 8 | 1 << 16: name
    for code, bits, name in (
        *((code, bits, f"{kind}{bits}") for code, kind in ((0, "int"), (1, "uint")) for bits in (8, 16, 32, 64)),
        *((2, bits, f"float{bits}") for bits in (16, 32, 64)),
        (4, 16, "bfloat16"),
        (6, 8, "bool"),
        (10, 8, "float8_e4m3fn"),
        (12, 8, "float8_e5m2"),
    )
}
_TYPES = {name: code for code, name in _TYPE_NAMES.items()}


class ForeignError(Exception):
    """A call into TVM failed; the text is TVM's, without its backtrace."""


# Names of capsules (the DLPack protocol of Python): the second of each once its tensor is taken
_DLPACK, _USED_DLPACK = b"dltensor", b"used_dltensor"
_VERSIONED, _USED_VERSIONED = b"dltensor_versioned", b"used_dltensor_versioned"


_lib: Any = None


def open_library(path: str) -> None:
    """Load libtvm_ffi.so, once a process; OSError when it does not load, or has another ABI."""
    global _lib
    if _lib is not None:
        return
    try:
        library = Library(path)
    except AttributeError as error:
        raise OSError(f"{path}: {error}") from error
    version = (ctypes.c_uint32 * 3)()
    library.version(version)
    if tuple(version[:2]) != ABI:
        raise OSError(f"{path} has version {'.'.join(map(str, version))} of TVM's interface, expected {ABI[0]}.{ABI[1]}")
    Object._release = library.release
    _lib = library


def _check(failed: int) -> None:
    if failed:
        raise _error()


def _error() -> ForeignError:
    """The error that TVM has raised in this thread, as an exception."""
    handle = ctypes.c_uint64()
    _lib.take_error(ctypes.byref(handle))
    if not handle.value:
        return ForeignError("unknown error")
    error = Object(handle.value)
    kind, message = (_text(error.address + _HEADER + place) for place in (0, 16))
    return ForeignError(message or kind)


def _text(address: int) -> str:
    """The string that a TVMFFIByteArray names."""
    content = Span.from_address(address)
    return ctypes.string_at(content.data, content.size).decode(errors="replace")


class Object:
    """A reference to an object of TVM."""

    __slots__ = ("address",)
    _release: Any = None

    def __init__(self, address: int) -> None:
        self.address = address

    @classmethod
    def borrowed(cls, address: int) -> Self:
        """One more reference to an object that somebody else holds."""
        _lib.retain(address)
        return cls(address)

    def __del__(self) -> None:
        self._release(self.address)

    def keep(self) -> None:
        """Never let the object go, nor the library that a function lies in."""
        _lib.retain(self.address)


@dataclass(frozen=True)
class Device:
    """An argument of a TVM function: the device ``number`` of DLPack's type ``kind``."""

    kind: int
    number: int


@dataclass(frozen=True)
class Type:
    """An argument of a TVM function: an element type by its name."""

    name: str


class Function(Object):
    """A function of TVM.  Its arguments: None, bool, int, str, Device, Type, Object and lists of them; its result is one of these."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        return _taken(self._result(arguments))

    def object(self, *arguments: Any) -> Object:
        """A result that is an object, as it is."""
        return Object(self._result(arguments).address)

    def _result(self, arguments: tuple[Any, ...]) -> AnyCell:
        values = (AnyCell * len(arguments))()
        kept = [_fill(value, argument) for value, argument in zip(values, arguments, strict=True)]
        result = AnyCell()
        failed = _lib.call(self.address, values, len(arguments), ctypes.byref(result))
        del kept  # only now may the strings go
        if failed:
            raise _error()
        return result


class Tensor(Object):
    """A tensor; what reads its elements needs one in CPU memory."""

    __slots__ = ()

    @property
    def data(self) -> int:
        """The address of the first element."""
        content = DLTensor.from_address(self.address + _HEADER)
        return content.data + content.offset

    @property
    def shape(self) -> tuple[int, ...]:
        content = DLTensor.from_address(self.address + _HEADER)
        return _ints(content.shape, content.rank)

    @property
    def dtype(self) -> str:
        """The element type's name; TypeError where Oarlock has none for it."""
        return _type_name(DLTensor.from_address(self.address + _HEADER).type)

    @property
    def nbytes(self) -> int:
        content = DLTensor.from_address(self.address + _HEADER)
        return math.prod(_ints(content.shape, content.rank)) * _numpy_type(content.type).itemsize

    @property
    def contiguous(self) -> bool:
        return self._layout()[2] is None

    def array(self, copy_below: int = 0) -> np.ndarray:
        """A writable array: a copy of less than ``copy_below`` bytes, else a view of the memory that keeps the tensor alive."""
        shape, dtype, strides, address = self._layout()
        size = math.prod(shape) * dtype.itemsize
        if not size:
            return np.empty(shape, dtype)  # the address may be null, which numpy refuses
        if size < copy_below and strides is None:
            return np.ndarray(shape, dtype, ctypes.string_at(address, size)).copy()
        carrier = dtypes.carrier(dtype)
        array = np.asarray(_Memory(self, shape, (carrier or dtype).str, strides, address))
        if carrier is not None:
            array = array.view(dtype)
        return array.copy() if size < copy_below else array

    def _layout(self) -> tuple[tuple[int, ...], np.dtype, tuple[int, ...] | None, int]:
        """The shape, the element type, the strides in bytes (None where the elements lie in order) and the address."""
        content = DLTensor.from_address(self.address + _HEADER)
        shape, steps = _ints(content.shape, content.rank), content.strides
        dtype, strides = _numpy_type(content.type), None
        if steps:
            strides = _ints(steps, content.rank)
            if strides == _strides_in_order(shape) or _in_order(shape, strides):
                strides = None
            else:
                strides = tuple(stride * dtype.itemsize for stride in strides)
        return shape, dtype, strides, content.data + content.offset


class _Memory:
    """A tensor's memory as numpy reads it; the array made from it keeps the tensor alive."""

    __slots__ = ("__array_interface__", "tensor")

    def __init__(self, tensor: Tensor, shape: tuple[int, ...], typestr: str, strides: tuple[int, ...] | None, address: int) -> None:
        self.tensor = tensor
        # np.from_dlpack would do, but gives arrays that cannot be written to, and does not know bfloat16.
        self.__array_interface__ = {"version": 3, "data": (address, False), "shape": shape, "typestr": typestr, "strides": strides}


class Call:
    """A function with room for tensors as its arguments, of which the last stay the same.  For one thread at a time."""

    __slots__ = ("_arguments", "_count", "_kept", "_places", "_result")

    def __init__(self, function: Function, first: int, last: list[Tensor]) -> None:
        self._count = first + len(last)
        self._arguments = (AnyCell * self._count)()
        for place in self._arguments:
            place.type = _TENSOR
        for place, tensor in zip(self._arguments[first:], last, strict=True):
            place.address = tensor.address
        self._places = self._arguments[:first]
        self._result = AnyCell()
        self._kept = (function, last)

    def __call__(self, tensors: list[Tensor]) -> Any:
        """What the function returns for ``tensors`` and the last arguments."""
        for place, tensor in zip(self._places, tensors, strict=True):
            place.address = tensor.address
        result = self._result
        result.type = _NONE
        if _lib.call(self._kept[0].address, self._arguments, self._count, ctypes.byref(result)):
            raise _error()
        return _taken(result)


def get_function(name: str) -> Function | None:
    """The function that is registered under ``name``."""
    text, content = _bytes(name)
    handle = ctypes.c_uint64()
    _check(_lib.get_global(ctypes.byref(content), ctypes.byref(handle)))
    return Function(handle.value) if handle.value else None


def _bytes(name: str) -> tuple[ctypes.c_char_p, Span]:
    """The text, which must outlive its use, and the TVMFFIByteArray that names it."""
    data = name.encode()
    text = ctypes.c_char_p(data)
    return text, Span(ctypes.cast(text, ctypes.c_void_p).value or 0, len(data))


def call(name: str, *arguments: Any) -> Any:
    """The result of the registered function ``name``; ForeignError also when there is none."""
    function = get_function(name)
    if function is None:
        raise ForeignError(f"this TVM has no function {name!r}")
    return function(*arguments)


def empty(shape: tuple[int, ...], dtype: str, device: Device, scope: str | None = None) -> Tensor:
    """A new tensor on a device, with nothing in it; ``scope``: in which of its memories, where it has several."""
    sizes = get_function("ffi.Shape")
    if sizes is None:
        raise ForeignError("this TVM has no shapes")
    return call("runtime.TVMTensorAllocWithScope", sizes.object(*shape), Type(dtype), device, scope)


def module_function(module: Object, name: str) -> Function:
    """The function ``name`` of a module (or of one that it imports); ForeignError when it has none."""
    function = call("ffi.ModuleGetFunction", module, name, True)
    if not isinstance(function, Function):
        raise ForeignError(f"the module has no function {name!r}")
    return function


def from_array(array: np.ndarray, dtype: str, alignment: int = 1) -> Tensor | None:
    """A tensor over the memory of a contiguous, writable array of ``dtype``; None when that is not aligned."""
    extended = dtype in dtypes.EXTENDED
    # numpy's DLPack does not know bfloat16: hand the bits over, then name the type.
    capsule = (array.view(dtypes.carrier(array.dtype)) if extended else array).__dlpack__()
    managed = _lib.capsule_pointer(capsule, _DLPACK)
    if ctypes.c_uint64.from_address(managed).value % alignment:  # a DLManagedTensor begins with the address
        return None
    handle = ctypes.c_uint64()
    if _lib.from_dlpack(managed, 0, 0, ctypes.byref(handle)):
        raise _error()
    _lib.capsule_rename(capsule, _USED_DLPACK)  # the tensor is not the capsule's any more
    tensor = Tensor(handle.value)
    return _named(tensor, dtype) if extended else tensor


def from_dlpack(value: Any) -> Tensor:
    """A tensor over the memory of another library's tensor."""
    try:
        capsule = value.__dlpack__(max_version=(1, 1))
    except TypeError:  # from before DLPack 1.0
        capsule = value.__dlpack__()
    handle = ctypes.c_uint64()
    if _lib.capsule_is(capsule, _VERSIONED):
        _check(_lib.from_versioned(_lib.capsule_pointer(capsule, _VERSIONED), 0, 0, ctypes.byref(handle)))
        _lib.capsule_rename(capsule, _USED_VERSIONED)
    else:
        _check(_lib.from_dlpack(_lib.capsule_pointer(capsule, _DLPACK), 0, 0, ctypes.byref(handle)))
        _lib.capsule_rename(capsule, _USED_DLPACK)
    return Tensor(handle.value)


def _named(tensor: Tensor, dtype: str) -> Tensor:
    """The same memory as elements of another type of the same size."""
    content = DLTensor.from_buffer_copy(DLTensor.from_address(tensor.address + _HEADER))
    content.type = _TYPES[dtype]
    if not content.rank:
        content.shape = content.strides = ctypes.addressof(content)  # no dims are read, but null is refused
    handle = ctypes.c_uint64()
    _check(_lib.create_view(tensor.address, ctypes.byref(content), ctypes.byref(handle)))
    return Tensor(handle.value)


def _type_name(code: int) -> str:
    name = _TYPE_NAMES.get(code)
    if name is None:
        raise TypeError(f"unknown element type (DLPack's code {code & 255}, {code >> 8 & 255} bits, {code >> 16} lanes)")
    return name


@cache
def _numpy_type(code: int) -> np.dtype:
    return dtypes.numpy_dtype(_type_name(code))


def _ints(address: int, count: int) -> tuple[int, ...]:
    if not count:
        return ()
    kind, unpack = _INTS[count] if count < len(_INTS) else _ints_of(count)
    return unpack(kind.from_address(address))


def _ints_of(count: int) -> tuple[Any, Any]:
    return ctypes.c_int64 * count, struct.Struct(f"={count}q").unpack_from


_INTS = [_ints_of(count) for count in range(9)]


@lru_cache(maxsize=256)
def _strides_in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def _in_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie in order: the stride of an axis of size 1 does not matter, nor any where there are none."""
    expected = _strides_in_order(shape)
    return 0 in shape or all(size == 1 or a == b for size, a, b in zip(shape, strides, expected, strict=True))


def _fill(value: AnyCell, argument: Any) -> Any:
    """Write ``argument`` into ``value``; what is returned must outlive its use."""
    match argument:
        case None:
            value.type = _NONE
        case bool():
            value.type, value.integer = _BOOL, argument
        case int():
            value.type, value.integer = _INT, argument
        case Device():
            value.type, value.integer = _DEVICE, argument.kind | argument.number << 32
        case Type():
            value.type, value.integer = _TYPE, _TYPES[argument.name]
        case str():
            text = ctypes.c_char_p(argument.encode())
            value.type, value.address = _RAW_STR, ctypes.cast(text, ctypes.c_void_p).value or 0
            return text
        case list():
            return _fill(value, _array(argument))
        case Object():
            value.type, value.address = _type_of(argument.address), argument.address
        case _:
            raise TypeError(f"a {type(argument).__name__} is no argument of a TVM function")
    return argument


def _array(values: list[Any]) -> Object:
    """A TVM array, which as a result would come as a list again."""
    function = get_function("ffi.Array")
    if function is None:
        raise ForeignError("this TVM has no arrays")
    return function.object(*values)


def _type_of(address: int) -> int:
    return ctypes.c_int32.from_address(address + 8).value


def _taken(value: AnyCell, borrowed: bool = False) -> Any:
    """What ``value`` holds; its reference goes to the result unless it is only ``borrowed``."""
    kind = value.type
    if kind < _OBJECT:
        return _plain(value, kind)
    of = Tensor if kind == _TENSOR else Function if kind == _FUNCTION else Object
    thing = of.borrowed(value.address) if borrowed else of(value.address)
    content = value.address + _HEADER
    if kind == _ARRAY:
        # TVMFFISeqCell: the address of the elements and their number, as in a TVMFFIByteArray
        cell = Span.from_address(content)
        return [_taken(AnyCell.from_address(cell.data + 16 * i), borrowed=True) for i in range(cell.size)]
    if kind == _STR:
        return _text(content)
    if kind == _SHAPE:
        cell = Span.from_address(content)
        return _ints(cell.data, cell.size)
    return thing


def _plain(value: AnyCell, kind: int) -> Any:
    if kind == _NONE:
        return None
    if kind == _BOOL:
        return bool(value.integer)
    if kind == _FLOAT:
        return value.real
    if kind == _RAW_STR:
        return ctypes.string_at(value.address).decode(errors="replace")
    if kind == _SMALL_STR:
        return bytes(value)[8 : 8 + value.length].decode(errors="replace")
    return value.integer  # an int; or an address, a device, an element type as its bits
