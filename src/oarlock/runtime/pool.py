"""The threads that parallel kernels run on.

A library with parallel loops brings a pool of its own (targets/cpu/threads.c), as machine code: the runtime stays without any.  The first
such library that a process loads serves all, so that sessions share their threads; it is never unloaded, since the threads are in
it.  Libraries from before, or made for a system that the pool is not written for, run on TVM's pool.
"""

from __future__ import annotations

import threading

from . import ffi

_LAUNCH = b"__TVMBackendParallelLaunch\0"  # what a library with parallel loops asks TVM's loader for
_OWN = "oarlock_threads_1"  # a pool with another interface has another number

_lock = threading.Lock()
_host: int = 0  # the address of the process's pool


def attach(library: bytes, module: ffi.Object, threads: int) -> bool:
    """Have the parallel loops of a loaded library run on ``threads`` threads → whether they need ``tvm_runtime.use_threads`` for that."""
    global _host
    if f"__tvm_ffi_{_OWN}\0".encode() not in library:  # a symbol's name
        return _LAUNCH in library
    setter = ffi.module_function(module, _OWN)
    with _lock:
        address = setter(threads, _host)
        if address and not _host:
            setter.keep()
            _host = address
    return not address
