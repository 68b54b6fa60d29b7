"""The variants of a model for the web, the best first; beside the command line, which offers them before TVM is loaded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """``features``: LLVM's.  ``needs``: the same as the runtime names it (web/src/types.ts: Need).

    ``threads``: its loops are scheduled for so many; how many run them is decided where the model is loaded.
    """

    features: tuple[str, ...]
    needs: tuple[str, ...]
    threads: int = 1


_SHARED = ("+atomics", "+bulk-memory")  # what memory that several threads share takes

VARIANTS = {  # the best first
    "relaxed-simd-threads": Variant(("+simd128", "+relaxed-simd", *_SHARED), ("simd", "relaxed-simd", "threads"), 4),
    "simd128-threads": Variant(("+simd128", *_SHARED), ("simd", "threads"), 4),
    "relaxed-simd": Variant(("+simd128", "+relaxed-simd"), ("simd", "relaxed-simd")),
    "simd128": Variant(("+simd128",), ("simd",)),
    "plain": Variant((), ()),
}
WEBGPU = "webgpu"  # the variant for GPUs, by the target of that name
EVERY = (*VARIANTS, WEBGPU)  # the GPU last: that it is faster cannot be known here
ALONE = tuple(name for name, variant in VARIANTS.items() if variant.threads == 1)  # of one thread: compared kernel by kernel

# The engines that stand side by side in a browser (targets/web/profiler/engines.py), by the names that reports have.
OURS, GPU, ORT, ORT_GPU, PADDLEJS = ENGINES = ("oarlock", "oarlock webgpu", "onnxruntime-web", "onnxruntime-web webgpu", "paddle.js")
