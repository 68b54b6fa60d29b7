"""The churny TVM calls of the CUDA target alone; see compat.py and compat_gpu.py."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tvm
from tvm import relax

from . import compat
from .runtime.tvm_runtime import registered

_POSTPROCESS = "tvm_callback_cuda_postproc"
_lock = threading.Lock()  # the hook is one for the process


def baseline_cpu() -> str:
    """LLVM's name of the least CPU that a host with a GPU of today has; "" where LLVM's own default does."""
    return "x86-64-v2" if platform.machine() == "x86_64" else ""


def cuda_target(arch: str, host: tvm.target.Target) -> tvm.target.Target:
    """A GPU with the limits that every capability from 7.5 on has."""
    spec = {"kind": "cuda", "arch": arch, "max_threads_per_block": 1024, "max_shared_memory_per_block": 49152, "thread_warp_size": 32}
    return tvm.target.Target(spec, host=host)


def build_vm(mod: tvm.IRModule, target: tvm.target.Target, compile_kernels: Callable[[str], str]) -> relax.VMExecutable:
    """compat.build_vm with the CUDA source of all kernels replaced by what ``compile_kernels`` makes of it."""
    return _built(lambda: compat.build_vm(mod, target), compile_kernels)


def build_functions(functions: dict[str, tvm.tirx.PrimFunc], target: tvm.target.Target, compile_kernels: Callable[[str], str]) -> Any:
    """Scheduled kernels alone, as functions of a module that tvm.runtime calls."""
    mod = tvm.IRModule({name: f.with_attr("global_symbol", name) for name, f in functions.items()})
    with target:
        return _built(lambda: tvm.tirx.build(mod, target=target, pipeline=compat.tir_pipeline()), compile_kernels)


def _built(build: Callable[[], Any], compile_kernels: Callable[[str], str]) -> Any:
    """What ``build`` gives with another compiler of kernels.

    TVM catches what a hook raises as text: an exception of ``compile_kernels`` is kept aside and raised here as it was.
    """
    raised: list[Exception] = []

    def hook(source: str, *_: Any) -> str:
        try:
            return compile_kernels(source)
        except Exception as error:
            raised.append(error)
            return ""

    with _lock, registered(_POSTPROCESS, hook), _forced_text():
        made = build()
    if raised:
        raise raised[0]
    return made


def capture_graphs(mod: tvm.IRModule, weights: int) -> tvm.IRModule:
    """Have the VM capture runs of kernels on memory that is always the same, and replay them: all but what reads an input or writes an
    output.  ``weights``: how many of main's last parameters are the same tensors in every run."""
    main = mod["main"]
    mod = mod.clone()
    mod["main"] = main.with_attr("num_input", len(main.params) - weights)
    with tvm.transform.PassContext(config={"relax.backend.use_cuda_graph": True}):
        return relax.transform.RewriteCUDAGraph()(mod)


def load_intrinsics(mod: tvm.IRModule) -> None:
    """Import what TVM's rule for products needs for ``mod``'s types beforehand.

    TVM parses the text of each tensor core's instruction, and asks for the source of every caller while it does: half a minute.
    """
    types = {str(p.ty.dtype) for f in mod.functions.values() if isinstance(f, tvm.tirx.PrimFunc) for p in compat.tensors(f)}
    if not types & {"float16", "int8"} or "tvm.s_tir.tensor_intrin.cuda" in sys.modules:
        return
    stack, module_of = inspect.stack, inspect.getmodule
    inspect.stack, inspect.getmodule = functools.partial(stack, 0), lambda *_: None  # type: ignore[assignment]
    try:
        importlib.import_module("tvm.s_tir.tensor_intrin.cuda")
    finally:
        inspect.stack, inspect.getmodule = stack, module_of


@contextmanager
def _forced_text() -> Iterator[None]:
    """With a GPU at hand TVM would compile the text itself, at once and for that GPU; without one it keeps it, as we want it to."""
    name = "TVM_COMPILE_FORCE_FALLBACK"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
