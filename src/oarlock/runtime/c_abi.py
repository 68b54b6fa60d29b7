"""TVM's C ABI as ctypes: the structures of tvm/ffi/c_api.h and DLPack that are passed around, and the functions of libtvm_ffi.so."""

from __future__ import annotations

import ctypes
from typing import Any

ABI = (0, 1)  # the version that is written down here


class Payload(ctypes.Union):
    _fields_ = [("integer", ctypes.c_int64), ("real", ctypes.c_double), ("address", ctypes.c_uint64)]


class AnyCell(ctypes.Structure):
    """TVMFFIAny."""

    _anonymous_ = ("value",)
    _fields_ = [("type", ctypes.c_int32), ("length", ctypes.c_uint32), ("value", Payload)]


class Span(ctypes.Structure):
    """TVMFFIByteArray; TVMFFIShapeCell begins with the same two words."""

    _fields_ = [("data", ctypes.c_uint64), ("size", ctypes.c_uint64)]


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_uint64),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("type", ctypes.c_uint32),  # DLDataType: code, bits and lanes in 8, 8 and 16 bits
        ("shape", ctypes.c_uint64),
        ("strides", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
    ]


class Library:
    """The functions of libtvm_ffi.so, and Python's for capsules."""

    def __init__(self, path: str) -> None:
        # Global, as tvm_ffi loads it: TVM's libraries resolve their symbols against it.
        library = ctypes.CDLL(path, ctypes.RTLD_GLOBAL)
        # Calls of TVM functions let go of Python's lock.  What only takes a moment keeps it.
        brief = ctypes.PyDLL(path, handle=library._handle)
        pointer, i32 = ctypes.c_void_p, ctypes.c_int32
        self.version = _function(brief.TVMFFIGetVersion, None, pointer)
        self.call = _function(library.TVMFFIFunctionCall, ctypes.c_int, pointer, pointer, i32, pointer)
        self.release = _function(brief.TVMFFIObjectDecRef, ctypes.c_int, pointer)
        self.retain = _function(brief.TVMFFIObjectIncRef, ctypes.c_int, pointer)
        self.get_global = _function(brief.TVMFFIFunctionGetGlobal, ctypes.c_int, pointer, pointer)
        self.from_dlpack = _function(brief.TVMFFITensorFromDLPack, ctypes.c_int, pointer, i32, i32, pointer)
        self.from_versioned = _function(brief.TVMFFITensorFromDLPackVersioned, ctypes.c_int, pointer, i32, i32, pointer)
        self.create_view = _function(brief.TVMFFITensorCreateUnsafeView, ctypes.c_int, pointer, pointer, pointer)
        self.take_error = _function(brief.TVMFFIErrorMoveFromRaised, None, pointer)
        self.set_error = _function(brief.TVMFFIErrorSetRaisedFromCStr, None, ctypes.c_char_p, ctypes.c_char_p)
        self.create_function = _function(brief.TVMFFIFunctionCreate, ctypes.c_int, pointer, pointer, pointer, pointer)
        self.set_global = _function(brief.TVMFFIFunctionSetGlobal, ctypes.c_int, pointer, pointer, ctypes.c_int)
        python = ctypes.PyDLL(None)  # not ctypes.pythonapi, whose functions everybody shares
        self.capsule_is = _function(python.PyCapsule_IsValid, ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
        self.capsule_pointer = _function(python.PyCapsule_GetPointer, pointer, ctypes.py_object, ctypes.c_char_p)
        self.capsule_rename = _function(python.PyCapsule_SetName, ctypes.c_int, ctypes.py_object, ctypes.c_char_p)


def _function(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype, function.argtypes = result, arguments
    return function
