"""NVRTC, NVIDIA's compiler as a library: CUDA C++ → PTX or cubin.  It needs neither a GPU nor a driver."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from ...errors import InternalError, TargetError
from ...runtime import cuda_libraries

_WHERE = "target cuda: compiling kernels with NVRTC"

# What the head of TVM's CUDA sources asks of libcu++, which would be one more package of 10 MB.
_HEADERS = {
    "cuda/std/cstdint": """#pragma once
namespace cuda { namespace std {
typedef signed char int8_t; typedef short int16_t; typedef int int32_t; typedef long long int64_t;
typedef unsigned char uint8_t; typedef unsigned short uint16_t; typedef unsigned int uint32_t; typedef unsigned long long uint64_t;
} }
""",
    "cuda/std/type_traits": """#pragma once
namespace cuda { namespace std {
template <class A, class B> struct is_same { static constexpr bool value = false; };
template <class A> struct is_same<A, A> { static constexpr bool value = true; };
template <class A, class B> inline constexpr bool is_same_v = is_same<A, B>::value;
template <class T> struct is_floating_point { static constexpr bool value = is_same_v<T, float> || is_same_v<T, double>; };
template <class T> struct is_signed { static constexpr bool value = T(-1) < T(0); };
template <class T> struct is_unsigned { static constexpr bool value = T(0) < T(-1); };
template <class T> struct is_integral { static constexpr bool value = false; };
template <> struct is_integral<bool> { static constexpr bool value = true; };
template <> struct is_integral<signed char> { static constexpr bool value = true; };
template <> struct is_integral<unsigned char> { static constexpr bool value = true; };
template <> struct is_integral<short> { static constexpr bool value = true; };
template <> struct is_integral<unsigned short> { static constexpr bool value = true; };
template <> struct is_integral<int> { static constexpr bool value = true; };
template <> struct is_integral<unsigned int> { static constexpr bool value = true; };
template <> struct is_integral<long long> { static constexpr bool value = true; };
template <> struct is_integral<unsigned long long> { static constexpr bool value = true; };
template <bool B, class T = void> struct enable_if {};
template <class T> struct enable_if<true, T> { typedef T type; };
template <bool B, class T, class F> struct conditional { typedef T type; };
template <class T, class F> struct conditional<false, T, F> { typedef F type; };
} }
""",
}


class Nvrtc:
    """The loaded library.  TargetError when it is not installed."""

    def __init__(self) -> None:
        try:
            # NVRTC opens this one by its plain name, which finds it only when it is loaded already.
            builtins = f"libnvrtc-builtins.so.{cuda_libraries.MAJOR}."
            for minor in range(10):
                if path := cuda_libraries.find_library(f"{builtins}{minor}"):
                    ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
            self._lib = cuda_libraries.load(f"libnvrtc.so.{cuda_libraries.MAJOR}")
        except OSError as error:
            raise TargetError(
                f"NVRTC, the compiler of CUDA kernels, is not there: {error}",
                where=_WHERE,
                todo='pip install "oarlock[cuda]" (nvidia-cuda-nvrtc and nvidia-cuda-runtime 13), or set CUDA_HOME to a CUDA 13 toolkit',
            ) from error
        self._lib.nvrtcGetErrorString.restype = ctypes.c_char_p

    def architectures(self) -> list[int]:
        """The compute capabilities that it compiles for: [75, 80, …]."""
        count = ctypes.c_int()
        self._check(self._lib.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        numbers = (ctypes.c_int * count.value)()
        self._check(self._lib.nvrtcGetSupportedArchs(numbers))
        return sorted(numbers)

    def compile(self, source: str, arch: str, result: str, options: tuple[str, ...] = ()) -> bytes:
        """``result``: "ptx" or "cubin".  InternalError with NVRTC's messages when the source does not compile."""
        program = ctypes.c_void_p()
        names = (ctypes.c_char_p * len(_HEADERS))(*(name.encode() for name in _HEADERS))
        texts = (ctypes.c_char_p * len(_HEADERS))(*(text.encode() for text in _HEADERS.values()))
        self._check(self._lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", len(_HEADERS), texts, names))
        try:
            given = [f"--gpu-architecture={arch}", "--std=c++17", "--disable-warnings", *options]
            given += [f"-I{folder}" for folder in cuda_libraries.include_folders()]
            status = self._lib.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*(o.encode() for o in given)))
            if status:
                messages = self._bytes(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
                raise InternalError(f"NVRTC does not compile the kernels ({self._text(status)}):\n{messages[-4000:]}")
            code = self._bytes(program, "PTX" if result == "ptx" else "CUBIN")
            return code.rstrip(b"\0") if result == "ptx" else code
        finally:
            self._lib.nvrtcDestroyProgram(ctypes.byref(program))

    def _bytes(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self._lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self._lib, f"nvrtcGet{what}")(program, buffer))
        return buffer.raw

    def _check(self, status: int) -> None:
        if status:
            raise InternalError(f"NVRTC failed: {self._text(status)}")

    def _text(self, status: int) -> Any:
        return self._lib.nvrtcGetErrorString(status).decode()


@functools.cache
def nvrtc() -> Nvrtc:
    """The one copy of NVRTC in this process."""
    return Nvrtc()
