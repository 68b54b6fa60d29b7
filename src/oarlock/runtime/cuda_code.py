"""How a library carries its compiled CUDA kernels.

TVM's compiler, where it runs without a GPU, puts the text of the kernels into the library and leaves compiling to the function
``tvm_callback_cuda_compile`` of the machine that loads it.  Oarlock compiles at once: the text is then a marked container of
PTX or of a cubin, and that function unpacks it.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import tvm_runtime

_PTX, _CUBIN = "//oarlock ptx\n", "//oarlock cubin\n"
_CALLBACK = "tvm_callback_cuda_compile"
_lock = threading.RLock()  # the function is one for the process


def pack(code: bytes, kind: str) -> str:
    """PTX or a cubin as the text that goes into a library."""
    return _PTX + code.decode("ascii") if kind == "ptx" else _CUBIN + base64.b64encode(code).decode("ascii")


def unpack(text: str) -> bytes | None:
    """What ``pack`` packed; None for any other text.  PTX keeps its mark: TVM knows it by its leading slash."""
    if text.startswith(_PTX):
        return text.encode("ascii") + b"\0"  # the driver takes PTX as a C string
    return base64.b64decode(text[len(_CUBIN) :]) if text.startswith(_CUBIN) else None


@contextmanager
def unpacking() -> Iterator[None]:
    """While a library is loaded, have TVM unpack what it finds there; other sources go where they went before.

    Not longer: ``import tvm`` fails where its own function of this name is there already.
    """
    import tvm_ffi  # what calls Python from TVM

    def compiled(source: str, *rest: Any) -> bytes:
        code = unpack(source)
        if code is not None:
            return code
        if before is None:
            raise RuntimeError("the library holds CUDA sources, and nothing is there to compile them")
        return before(source, *rest)

    with _lock:
        before = tvm_ffi.get_global_func(_CALLBACK, allow_missing=True)
        tvm_runtime.from_callable(compiled)  # which says what is missing
        with tvm_runtime.registered(_CALLBACK, compiled):
            yield
